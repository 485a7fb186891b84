//! The root of facts that `--facts` names, for commands that only read it.

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytefacts_corpus::Location;
use bytefacts_landing::{FactsStore, Manifest, RunDocument, RunId};
use bytefacts_stores::Stores;

use crate::exit::UsageError;
use crate::place::{location, shown};

/// How many runs an error names.
const NAMED_RUNS: usize = 5;

/// A root of facts.
pub struct Facts {
    /// Where it is.
    pub location: Location,
    /// The object stores, shared with the SQL session.
    pub stores: Arc<Stores>,
    /// Its runs.
    pub store: FactsStore,
}

impl Facts {
    /// Opens the facts that `--facts` names.
    ///
    /// # Errors
    /// When the text is no location, or a local folder does not exist. Nothing is created, and no object store is asked yet.
    pub fn open(text: &str) -> anyhow::Result<Self> {
        let location = location(text, "--facts")?;
        if let Some(folder) = location.local_path() {
            let shown = folder.display();
            match std::fs::metadata(folder) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => bail!("the facts {shown} are no folder"),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    bail!("there are no facts at {shown}: `bytefacts extract CORPUS --out {shown}` makes some")
                }
                Err(error) => return Err(error).with_context(|| format!("cannot read the facts at {shown}")),
            }
        }
        let stores = Arc::new(Stores::default());
        let place = stores.open(location.uri())?;
        Ok(Self { location, stores, store: place.facts() })
    }

    /// As the user writes it: a path, or a URI.
    pub fn shown(&self) -> String {
        shown(&self.location)
    }

    /// The run of a given id, or the current one.
    ///
    /// # Errors
    /// When it is not committed, or the store cannot be read.
    pub async fn manifest(&self, run: Option<&str>) -> anyhow::Result<Manifest> {
        let document = self.document(run).await?;
        self.store.whole(document).await.with_context(|| self.unreadable())
    }

    /// The run of a given id, or the current one, without its lists, which are not fetched.
    ///
    /// # Errors
    /// As [`Facts::manifest`].
    pub async fn document(&self, run: Option<&str>) -> anyhow::Result<RunDocument> {
        let id = match run {
            Some(id) => RunId::new(id).map_err(|error| UsageError(format!("--run: {error}")))?,
            None => self.current().await?.with_context(|| self.nothing_committed())?,
        };
        match self.store.committed(&id).await.with_context(|| self.unreadable())? {
            Some(document) => Ok(document),
            None => bail!("run {id} is not committed at {}; {}", self.shown(), self.committed().await?),
        }
    }

    /// The id of the current run.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn current(&self) -> anyhow::Result<Option<RunId>> {
        let current = self.store.current().await.with_context(|| self.unreadable())?;
        Ok(current.map(|current| current.run_id))
    }

    /// What to say where there is no run.
    pub fn nothing_committed(&self) -> String {
        let shown = self.shown();
        format!("no run is committed at {shown}: `bytefacts extract CORPUS --out {shown}` commits one")
    }

    /// What to say before the error of a store.
    pub fn unreadable(&self) -> String {
        format!("cannot read the facts at {}", self.shown())
    }

    async fn committed(&self) -> anyhow::Result<String> {
        let runs = self.store.runs().await.with_context(|| self.unreadable())?;
        let newest: Vec<_> = runs.iter().take(NAMED_RUNS).map(|run| run.run_id.as_str()).collect();
        Ok(match newest.as_slice() {
            [] => "no run is".to_owned(),
            ids => format!("those that are, newest first: {}{}", ids.join(", "), if runs.len() > NAMED_RUNS { ", …" } else { "" }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Facts::open(text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn facts_that_are_not_there_say_how_to_make_some() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("facts");
        assert!(refused(missing.to_str().unwrap()).contains("extract CORPUS --out"));
        assert!(!missing.exists(), "reading creates nothing");

        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(refused(file.to_str().unwrap()).contains("no folder"));

        let empty = Facts::open(folder.path().to_str().unwrap()).unwrap();
        let error = empty.manifest(None).await.unwrap_err().to_string();
        assert!(error.starts_with("no run is committed"), "{error}");
        let error = empty.manifest(Some("r1")).await.unwrap_err().to_string();
        assert!(error.starts_with("run r1 is not committed"), "{error}");
    }

    #[test]
    fn what_is_no_location_is_wrong_usage() {
        assert!(refused("ftp://host/x").contains("--facts"));
    }
}
