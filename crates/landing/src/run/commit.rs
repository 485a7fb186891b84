//! The commit: from the records of all bins to a manifest, and to one header that is created once.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::order::InOrder;
use super::records::check;
use super::shards::{ShardStore, ShardWriter, known};
use super::tolerance::{HeldBack, ReadErrors, Tolerance};
use crate::documents::{CONCURRENCY, Clock, FactsStore};
use crate::model::{
    BinIndex, BinRecord, BinStats, Current, Decision, Gone, LandedFile, RepoDigests, RepoSummary, RunDocument, RunHeader, SchemaSnapshot,
    Shard,
};
use crate::names::{AttemptId, FileName, RunId, keys};
use crate::{LandingError, Result};

/// What a commit is told about its run.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The run.
    pub run_id: RunId,
    /// Names what this commit writes before it decides; nobody else may have it.
    pub attempt: AttemptId,
    /// When it was started, in milliseconds since 1970, UTC.
    pub started_at_ms: u64,
    /// Corpus, as it was given.
    pub corpus: String,
    /// Name of the schema.
    pub schema_name: String,
    /// Version of the schema.
    pub schema_version: u32,
    /// Interpreter that compiled.
    pub interpreter: Value,
    /// Options of the run.
    pub options: Value,
    /// The tables and views that clients will see of the run.
    pub schema: SchemaSnapshot,
    /// How much of the corpus may be missing if the run is to become current.
    pub tolerance: Tolerance,
    /// The errors by which it is missing.
    pub read_errors: ReadErrors,
}

/// A run that is committed, by this call or an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The run.
    pub document: RunDocument,
    /// Whether this call created it.
    pub newly: bool,
    /// The current run now; another one if a newer run was committed meanwhile or this one is held back. None if there is none.
    pub current: Option<Current>,
    /// Why the run did not become current.
    pub held_back: Option<HeldBack>,
}

/// A digest of 256 bits.
type Digest = [u8; 32];

/// How digests fold upwards; the facts define it.
pub trait Fold: Send + Sync {
    /// Digest of a repository from the paths and digests of its files, in path order.
    fn repository(&self, repo: Option<&str>, files: &[(&str, [u8; 32])]) -> [u8; 32];
    /// Digest of a run from its repositories, in sort order.
    fn run(&self, repos: &[(Option<&str>, [u8; 32])]) -> [u8; 32];
}

impl FactsStore {
    /// Commits a run all of whose bins are recorded, and moves `current` to it, unless too much of its corpus is missing.
    ///
    /// Can be repeated: a run that is committed already is returned as it was committed then, and `current` is moved if
    /// that was missed. The header is created once, so that of several commits of a run one decides.
    ///
    /// # Errors
    /// If bins are missing ([`LandingError::Incomplete`]), a record contradicts its bin or a data file is not there in
    /// its full size; if the run was swept ([`LandingError::Abandoned`]); or if the store fails. In each case what was
    /// current stays so.
    pub async fn commit(&self, request: &CommitRequest, fold: &dyn Fold, clock: &dyn Clock) -> Result<Committed> {
        let run = &request.run_id;
        let (decision, newly) = match self.decision(run).await? {
            Some(decision) => (decision, false),
            None => {
                let document = self.assemble(request, fold, clock).await?;
                self.decide(run, Decision::Committed(Box::new(document))).await?
            }
        };
        let Decision::Committed(document) = decision else {
            return Err(LandingError::Abandoned { run_id: run.clone() });
        };
        if self.let_go(run).await?.is_some() {
            return Err(LandingError::Abandoned { run_id: run.clone() });
        }
        let held_back = request.tolerance.forbids(&document.run, &request.read_errors);
        let current = match held_back {
            Some(_) => self.current().await?,
            None => Some(self.documents().advance(&Current { run_id: run.clone(), sequence: document.run.sequence }).await?),
        };
        Ok(Committed { document: *document, newly, current, held_back })
    }

    /// Reads the records in the order of the names of their files, and writes the manifest's shards as it goes: what is held at a time is what
    /// overlaps, one repository, and the digests of all repositories.
    async fn assemble(&self, request: &CommitRequest, fold: &dyn Fold, clock: &dyn Clock) -> Result<RunDocument> {
        let run = &request.run_id;
        let index = self.bins(run).await?.ok_or_else(|| LandingError::NoBins { run_id: run.clone() })?;
        self.check_finished(run, &index).await?;
        let parent = self.current().await?;
        let schema = self.record_schema(&request.schema, parent.as_ref()).await?;
        let before = self.document_of(parent.as_ref()).await?;
        let (known_files, known_repos) = before.as_ref().map(|before| (known(&before.files), known(&before.repos))).unwrap_or_default();
        let store =
            |kind, known| ShardStore { facts: self, folder: keys::manifest_folder(run), attempt: request.attempt.clone(), kind, known };

        let mut files =
            Files { writer: ShardWriter::new(store("files", known_files)), waiting: InOrder::default(), totals: Totals::default() };
        let mut repos = Repos { writer: ShardWriter::new(store("repos", known_repos)), fold, open: None, folded: Vec::new() };
        let mut digests: InOrder<Digest> = InOrder::default();
        let mut in_order: Vec<(u32, FileName, u64)> = index.numbered().map(|(bin, of)| (bin, of.first.clone(), of.files)).collect();
        in_order.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
        let mut records = futures::stream::iter(in_order)
            .map(async |(bin_id, first, expected)| {
                let (record, digests) = self.checked_record(run, bin_id, expected).await?;
                self.check_files(&record.files).await?;
                Ok::<_, LandingError>((first, record, digests))
            })
            .buffered(CONCURRENCY);
        while let Some((first, record, of_bin)) = records.try_next().await? {
            repos.take(digests.before(Some(&first))).await?;
            files.take(Some(&first)).await?;
            insert(&mut digests, &first, &record, of_bin)?;
            files.add(record)?;
        }
        drop(records);
        repos.take(digests.before(None)).await?;
        files.take(None).await?;

        let bins = u32::try_from(index.bins.len()).map_err(|_| inconsistent(u32::MAX, "the run has more bins than can be numbered"))?;
        let folded = repos.finish().await?;
        // Under another name (the option `repo`) a corpus has other repositories.
        let is_same =
            |before: &RunDocument| before.run.corpus == request.corpus && before.run.options.get("repo") == request.options.get("repo");
        let gone = match before.filter(is_same) {
            Some(before) => self.gone(&before, &folded).await?,
            None => None,
        };
        let totals = files.totals;
        let file_shards = files.writer.finish().await?;
        let mut document = RunDocument {
            run: RunHeader {
                run_id: run.clone(),
                sequence: parent.as_ref().map_or(0, |p| p.sequence) + 1,
                parent: parent.map(|p| p.run_id),
                committed_at_ms: clock.now_millis(),
                started_at_ms: request.started_at_ms,
                schema_name: request.schema_name.clone(),
                schema_version: request.schema_version,
                corpus: request.corpus.clone(),
                interpreter: request.interpreter.clone(),
                options: request.options.clone(),
                bins,
                bins_taken_over: totals.taken_over,
                repositories: folded.repos.len() as u64,
                data_files: totals.files,
                data_bytes: totals.bytes,
                landed_bytes: totals.landed_bytes,
                rows: totals.rows,
                gone,
                held_back: false,
                stats: totals.stats,
                digest: hex::encode(folded.digest),
            },
            schema: Some(schema),
            files: file_shards,
            repos: folded.shards,
        };
        document.run.held_back = request.tolerance.forbids(&document.run, &request.read_errors).is_some();
        Ok(document)
    }

    /// Every bin has a record, and no other has.
    async fn check_finished(&self, run: &RunId, index: &BinIndex) -> Result<()> {
        let finished: BTreeSet<u32> = self.finished_bins(run).await?.into_iter().collect();
        let missing: Vec<u32> = index.numbered().map(|(bin, _)| bin).filter(|bin| !finished.contains(bin)).collect();
        if !missing.is_empty() {
            return Err(LandingError::Incomplete { run_id: run.clone(), expected: index.bins.len(), missing });
        }
        match finished.iter().find(|bin| usize::try_from(**bin).is_ok_and(|bin| bin >= index.bins.len())) {
            Some(&bin_id) => Err(inconsistent(bin_id, "the run has no such bin")),
            None => Ok(()),
        }
    }

    /// The record of a bin, and its digests apart from it.
    async fn checked_record(&self, run: &RunId, bin_id: u32, expected: u64) -> Result<(BinRecord, Vec<RepoDigests>)> {
        let incomplete = || LandingError::Incomplete { run_id: run.clone(), expected: 1, missing: vec![bin_id] };
        let (mut record, of_origin) = self.record_and_digests(run, bin_id).await?.ok_or_else(incomplete)?;
        if (&record.run_id, record.bin_id) != (run, bin_id) {
            let reason = format!("it speaks of bin {} of {}", record.bin_id, record.run_id);
            return Err(inconsistent(bin_id, reason));
        }
        check(&record, expected)?;
        let digests = of_origin.unwrap_or_else(|| std::mem::take(&mut record.digests));
        Ok((record, digests))
    }

    async fn check_files(&self, files: &[LandedFile]) -> Result<()> {
        for file in files {
            self.check_size(&file.key, file.bytes).await?;
        }
        Ok(())
    }

    /// The current run, which is not let go before another is current.
    async fn document_of(&self, current: Option<&Current>) -> Result<Option<RunDocument>> {
        let Some(current) = current else { return Ok(None) };
        match self.committed(&current.run_id).await {
            Err(LandingError::OlderLayout { .. }) => Ok(None),
            found => found,
        }
    }

    /// What an earlier run had and these repositories have not.
    async fn gone(&self, before: &RunDocument, folded: &Folded) -> Result<Option<Gone>> {
        let mut gone = Gone { repositories: 0, files: 0, of_files: before.run.rows };
        for shard in &before.repos {
            // Repositories in a shard that both runs have are in both.
            if folded.shards.contains(shard) {
                continue;
            }
            let had: Vec<RepoSummary> = match self.read_shard(shard).await {
                Ok(had) => had,
                // What has become of an earlier run is `validate`'s to say, and keeps nobody from committing.
                Err(error @ (LandingError::Damaged { .. } | LandingError::Corrupt { .. })) => {
                    tracing::warn!(%error, run = %before.run.run_id, "of a damaged run it is not known which repositories it had");
                    continue;
                }
                Err(error) => return Err(error),
            };
            for repo in had {
                if folded.repos.binary_search_by(|(name, _)| name.cmp(&repo.repo)).is_err() {
                    gone.repositories += 1;
                    gone.files += repo.files;
                }
            }
        }
        Ok((gone.repositories > 0).then_some(gone))
    }
}

fn inconsistent(bin_id: u32, reason: impl Into<String>) -> LandingError {
    LandingError::Record { bin_id, reason: reason.into() }
}

/// Takes the digests of a bin in, of which `first` is the first.
fn insert(digests: &mut InOrder<Digest>, first: &FileName, record: &BinRecord, of_bin: Vec<RepoDigests>) -> Result<()> {
    let mut count = 0;
    for RepoDigests { repo, files } in of_bin {
        for file in files {
            let mut digest = Digest::default();
            hex::decode_to_slice(&file.digest, &mut digest)
                .map_err(|_| inconsistent(record.bin_id, format!("digest of {:?} is not 64 hex digits", file.path)))?;
            let name = FileName { repo: repo.clone(), path: file.path };
            count += 1;
            if name < *first {
                return Err(inconsistent(
                    record.bin_id,
                    format!("file {:?} of repository {:?} stands before its first", name.path, name.repo),
                ));
            }
            if digests.insert(name.clone(), digest).is_some() {
                let reason = format!("file {:?} of repository {:?} was done before", name.path, name.repo);
                return Err(inconsistent(record.bin_id, reason));
            }
        }
    }
    let rows = record.rows();
    if count == rows { Ok(()) } else { Err(inconsistent(record.bin_id, format!("{rows} rows, {count} digests"))) }
}

/// The list of data files in the making, and the sums.
struct Files<'a> {
    writer: ShardWriter<'a>,
    waiting: InOrder<LandedFile>,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    files: u64,
    bytes: u64,
    landed_bytes: u64,
    rows: u64,
    taken_over: u32,
    stats: BinStats,
}

impl Totals {
    /// `None` where a sum is beyond 64 bits.
    fn add(&mut self, record: &BinRecord) -> Option<()> {
        self.stats.add(&record.stats)?;
        self.taken_over += u32::from(record.origin.is_some());
        for file in &record.files {
            self.files += 1;
            let landed_bytes = if record.origin.is_some() { 0 } else { file.bytes };
            for (sum, more) in [(&mut self.bytes, file.bytes), (&mut self.landed_bytes, landed_bytes), (&mut self.rows, file.rows)] {
                *sum = sum.checked_add(more)?;
            }
        }
        Some(())
    }
}

impl Files<'_> {
    fn add(&mut self, record: BinRecord) -> Result<()> {
        self.totals.add(&record).ok_or_else(|| inconsistent(record.bin_id, "with it, the figures of the run are beyond all numbers"))?;
        for file in record.files {
            self.waiting.insert(file.first.clone(), file);
        }
        Ok(())
    }

    async fn take(&mut self, limit: Option<&FileName>) -> Result<()> {
        for (_, file) in self.waiting.before(limit) {
            self.writer.push(&file).await?;
        }
        Ok(())
    }
}

/// The list of repositories in the making.
struct Repos<'a> {
    writer: ShardWriter<'a>,
    fold: &'a dyn Fold,
    open: Option<OpenRepo>,
    folded: Vec<(Option<String>, Digest)>,
}

/// All repositories of a run, in sort order.
struct Folded {
    shards: Vec<Shard>,
    repos: Vec<(Option<String>, Digest)>,
    digest: Digest,
}

struct OpenRepo {
    repo: Option<String>,
    files: Vec<(String, Digest)>,
}

impl Repos<'_> {
    /// Takes files in order of their names.
    async fn take(&mut self, files: impl Iterator<Item = (FileName, Digest)>) -> Result<()> {
        for (FileName { repo, path }, digest) in files {
            if self.open.as_ref().is_some_and(|open| open.repo != repo) {
                self.close().await?;
            }
            let open = self.open.get_or_insert_with(|| OpenRepo { repo, files: Vec::new() });
            open.files.push((path, digest));
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let Some(OpenRepo { repo, files }) = self.open.take() else { return Ok(()) };
        let of_repo: Vec<(&str, Digest)> = files.iter().map(|(path, digest)| (path.as_str(), *digest)).collect();
        let digest = self.fold.repository(repo.as_deref(), &of_repo);
        let summary = RepoSummary { repo: repo.clone(), files: files.len() as u64, digest: hex::encode(digest) };
        self.writer.push(&summary).await?;
        self.folded.push((repo, digest));
        Ok(())
    }

    async fn finish(mut self) -> Result<Folded> {
        self.close().await?;
        let folded: Vec<(Option<&str>, Digest)> = self.folded.iter().map(|(repo, digest)| (repo.as_deref(), *digest)).collect();
        let digest = self.fold.run(&folded);
        Ok(Folded { shards: self.writer.finish().await?, repos: self.folded, digest })
    }
}
