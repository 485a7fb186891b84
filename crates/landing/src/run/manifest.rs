//! What is read of committed runs.

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use crate::documents::{CONCURRENCY, Created, FactsStore, from_json, store_error, to_json};
use crate::model::{Current, Decision, LandedFile, LetGo, Manifest, RunDocument, RunHeader, add_up};
use crate::names::{RunId, keys};
use crate::{LandingError, Result};

impl FactsStore {
    /// A committed run without its lists.
    ///
    /// # Errors
    /// If the store fails or holds something else than a run, or an earlier version has landed it.
    pub async fn committed(&self, run: &RunId) -> Result<Option<RunDocument>> {
        Ok(match self.decision(run).await? {
            Some(Decision::Committed(document)) => Some(*document),
            Some(Decision::Abandoned { .. }) | None => None,
        })
    }

    /// The data files of a committed run, in order of their first names.
    ///
    /// # Errors
    /// If the store fails or a shard is damaged.
    pub async fn files(&self, run: &RunDocument) -> Result<Vec<LandedFile>> {
        let files = self.read_shards(&run.files).await?;
        if add_up(&files) {
            return Ok(files);
        }
        let key = keys::header(&run.run.run_id);
        Err(LandingError::Damaged { key, reason: "the figures of its files are beyond all numbers when they are added".to_owned() })
    }

    /// A committed run with its lists.
    ///
    /// # Errors
    /// As [`FactsStore::committed`], and if a shard is damaged.
    pub async fn manifest(&self, run: &RunId) -> Result<Option<Manifest>> {
        match self.committed(run).await? {
            Some(document) => self.whole(document).await.map(Some),
            None => Ok(None),
        }
    }

    /// A committed run with its lists.
    ///
    /// # Errors
    /// If the store fails or a shard is damaged.
    pub async fn whole(&self, document: RunDocument) -> Result<Manifest> {
        let (repos, files) = (self.read_shards(&document.repos).await?, self.files(&document).await?);
        Ok(Manifest { run: document.run, schema: document.schema, repos, files })
    }

    /// The current run.
    ///
    /// # Errors
    /// If the store fails or holds something else than a pointer.
    pub async fn current(&self) -> Result<Option<Current>> {
        self.document("current run", keys::CURRENT).await
    }

    /// Committed runs that were not let go, newest first. Runs that an earlier version has landed are left out, with a warning.
    ///
    /// # Errors
    /// If the store fails or holds something else than decisions.
    pub async fn runs(&self) -> Result<Vec<RunHeader>> {
        let mut headers: Vec<RunHeader> = futures::stream::iter(self.run_ids().await?)
            .map(async |run| self.header_of(&run).await)
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(async |header| Ok(header))
            .try_collect()
            .await?;
        headers.sort_by(|a, b| (b.sequence, &b.run_id).cmp(&(a.sequence, &a.run_id)));
        Ok(headers)
    }

    async fn header_of(&self, run: &RunId) -> Result<Option<RunHeader>> {
        match self.committed(run).await {
            Ok(Some(document)) => Ok(self.let_go(run).await?.is_none().then_some(document.run)),
            Ok(None) => Ok(None),
            Err(error @ LandingError::OlderLayout { .. }) => {
                tracing::warn!("{error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// All runs that have left something behind, in whatever state.
    pub(crate) async fn run_ids(&self) -> Result<Vec<RunId>> {
        let prefix = self.path_of(keys::RUNS_FOLDER)?;
        let listing = self.store().list_with_delimiter(Some(&prefix)).await;
        let folders = listing.map_err(|e| store_error("list", keys::RUNS_FOLDER, e))?;
        let names = folders.common_prefixes.iter().filter_map(Path::filename);
        // Folders of other names are none of ours.
        let mut ids: Vec<_> = names.filter_map(|name| RunId::new(name).ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// What is decided of a run.
    pub(crate) async fn decision(&self, run: &RunId) -> Result<Option<Decision>> {
        match self.document("run", &keys::header(run)).await? {
            Some(decision) => Ok(Some(decision)),
            None if self.is_older(run).await? => Err(LandingError::OlderLayout { run_id: run.clone() }),
            None => Ok(None),
        }
    }

    /// Whether an earlier version has begun or committed a run.
    pub(crate) async fn is_older(&self, run: &RunId) -> Result<bool> {
        for key in [keys::older_manifest(run), keys::older_bins(run)] {
            if self.meta(&key).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decides the fate of a run unless it is decided; returns what is decided.
    pub(crate) async fn decide(&self, run: &RunId, decision: Decision) -> Result<(Decision, bool)> {
        let key = keys::header(run);
        let bytes = to_json("run", &key, &decision)?;
        match self.create(&key, bytes.clone()).await? {
            Created::New => Ok((decision, true)),
            // Also after a first try that succeeded, but whose answer was lost.
            Created::Existing(found) if found == bytes => Ok((decision, true)),
            Created::Existing(found) => Ok((from_json("run", &key, &found)?, false)),
        }
    }

    /// The mark of a run that was let go.
    pub(crate) async fn let_go(&self, run: &RunId) -> Result<Option<LetGo>> {
        self.document("mark of a run that was let go", &keys::let_go(run)).await
    }
}
