//! The commit: from the records of all bins to one manifest, created once.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use crate::Result;
use crate::clock::Clock;
use crate::error::LandingError;
use crate::id::RunId;
use crate::record::{BinRecord, BinStats, Current, LandedFile, Manifest, RepoSummary, RunHeader, Verdict};
use crate::snapshot::SchemaSnapshot;
use crate::store::{CONCURRENCY, FactsStore};

/// A bin that a run must have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedBin {
    /// The bin.
    pub bin_id: u32,
    /// Source files in it.
    pub files: u64,
}

/// What a commit is told about its run.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// The run.
    pub run_id: RunId,
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
    /// All bins of the run.
    pub expected: Vec<ExpectedBin>,
    /// The tables and views that clients will see of the run.
    pub schema: SchemaSnapshot,
}

/// A run that is committed, by this call or an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The manifest.
    pub manifest: Manifest,
    /// Whether this call created it.
    pub newly: bool,
    /// The current run now; another one if a newer run was committed meanwhile.
    pub current: Current,
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
    /// Commits a run all of whose bins are recorded, and moves `current` to it.
    ///
    /// Can be repeated: a run that is committed already is returned as it was committed then, and `current` is moved if
    /// that was missed. The manifest is created once, so that of several commits of a run one decides.
    ///
    /// # Errors
    /// If bins are missing ([`LandingError::Incomplete`]), a record contradicts its bin or a data file is not there in
    /// its full size; if the run was swept ([`LandingError::Abandoned`]); or if the store fails. In each case what was
    /// current stays so.
    pub async fn commit(&self, request: &CommitRequest, fold: &dyn Fold, clock: &dyn Clock) -> Result<Committed> {
        let run = &request.run_id;
        let (verdict, newly) = match self.verdict(run).await? {
            Some(verdict) => (verdict, false),
            None => {
                let records = self.records(request).await?;
                let parent = self.current().await?;
                let schema = self.record_schema(&request.schema, parent.as_ref()).await?;
                let manifest = Manifest { schema: Some(schema), ..assemble(request, &records, parent, fold, clock)? };
                self.check_files(&manifest.files).await?;
                self.decide(run, Verdict::Committed(Box::new(manifest))).await?
            }
        };
        let Verdict::Committed(manifest) = verdict else {
            return Err(LandingError::Abandoned { run_id: run.clone() });
        };
        let next = Current { run_id: run.clone(), sequence: manifest.run.sequence };
        let current = self.advance(&next).await?;
        Ok(Committed { manifest: *manifest, newly, current })
    }

    /// The records of all expected bins, by bin, and of no others.
    async fn records(&self, request: &CommitRequest) -> Result<Vec<BinRecord>> {
        let run = &request.run_id;
        let expected = by_id(&request.expected)?;
        let finished: BTreeSet<u32> = self.finished_bins(run).await?.into_iter().collect();
        let missing: Vec<u32> = expected.keys().filter(|id| !finished.contains(id)).copied().collect();
        if !missing.is_empty() {
            return Err(LandingError::Incomplete { run_id: run.clone(), expected: expected.len(), missing });
        }
        if let Some(&bin_id) = finished.iter().find(|id| !expected.contains_key(id)) {
            return Err(inconsistent(bin_id, "the run has no such bin"));
        }
        futures::stream::iter(expected)
            .map(async |(bin_id, files)| {
                let record = self.bin_record(run, bin_id).await?;
                let record = record.ok_or_else(|| LandingError::Incomplete {
                    run_id: run.clone(),
                    expected: finished.len(),
                    missing: vec![bin_id],
                })?;
                check_record(&record, run, bin_id, files)?;
                Ok(record)
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn check_files(&self, files: &[LandedFile]) -> Result<()> {
        futures::stream::iter(files)
            .map(Ok)
            .try_for_each_concurrent(CONCURRENCY, async |file| self.check_size(&file.key, file.bytes).await)
            .await
    }
}

fn by_id(expected: &[ExpectedBin]) -> Result<BTreeMap<u32, u64>> {
    let mut by_id = BTreeMap::new();
    for bin in expected {
        if by_id.insert(bin.bin_id, bin.files).is_some() {
            return Err(inconsistent(bin.bin_id, "it is expected twice"));
        }
    }
    Ok(by_id)
}

/// Files listed = rows written = digests taken.
fn check_record(record: &BinRecord, run: &RunId, bin_id: u32, files: u64) -> Result<()> {
    if (&record.run_id, record.bin_id) != (run, bin_id) {
        let reason = format!("it speaks of bin {} of {}", record.bin_id, record.run_id);
        return Err(inconsistent(bin_id, reason));
    }
    let digests: usize = record.digests.iter().map(|r| r.files.len()).sum();
    let (rows, taken) = (record.rows(), record.stats.files);
    if rows == files && taken == files && digests as u64 == files {
        return Ok(());
    }
    let reason = format!("{files} files listed, {taken} taken in, {rows} rows, {digests} digests");
    Err(inconsistent(bin_id, reason))
}

fn inconsistent(bin_id: u32, reason: impl Into<String>) -> LandingError {
    LandingError::Record { bin_id, reason: reason.into() }
}

fn assemble(
    request: &CommitRequest,
    records: &[BinRecord],
    parent: Option<Current>,
    fold: &dyn Fold,
    clock: &dyn Clock,
) -> Result<Manifest> {
    let mut files: Vec<LandedFile> = records.iter().flat_map(|r| r.files.clone()).collect();
    files.sort_by(|a, b| (&a.repo, &a.key).cmp(&(&b.repo, &b.key)));
    let mut stats = BinStats::default();
    for record in records {
        stats.add(&record.stats);
    }

    let by_repo = digests_by_repo(records)?;
    let folded: Vec<(Option<&str>, Digest)> = by_repo.iter().map(|(repo, files)| (*repo, fold.repository(*repo, files))).collect();
    let repos = folded.iter().zip(by_repo.values());
    let repos: Vec<RepoSummary> = repos
        .map(|((repo, digest), of_repo)| RepoSummary {
            repo: repo.map(str::to_owned),
            files: of_repo.len() as u64,
            bytes: bytes_of(&files, *repo),
            digest: hex::encode(digest),
        })
        .collect();

    Ok(Manifest {
        run: RunHeader {
            run_id: request.run_id.clone(),
            sequence: parent.as_ref().map_or(0, |p| p.sequence) + 1,
            parent: parent.map(|p| p.run_id),
            committed_at_ms: clock.now_millis(),
            started_at_ms: request.started_at_ms,
            schema_name: request.schema_name.clone(),
            schema_version: request.schema_version,
            corpus: request.corpus.clone(),
            interpreter: request.interpreter.clone(),
            options: request.options.clone(),
            bins: u32::try_from(records.len()).unwrap_or(u32::MAX),
            repositories: repos.len() as u64,
            data_files: files.len() as u64,
            data_bytes: files.iter().map(|f| f.bytes).sum(),
            rows: files.iter().map(|f| f.rows).sum(),
            stats,
            digest: hex::encode(fold.run(&folded)),
        },
        repos,
        files,
        schema: None,
    })
}

/// Bytes of the data files of one repository; `files` are sorted by repository.
fn bytes_of(files: &[LandedFile], repo: Option<&str>) -> u64 {
    let start = files.partition_point(|f| f.repo.as_deref() < repo);
    let from_start = files.iter().skip(start);
    from_start.take_while(|f| f.repo.as_deref() == repo).map(|f| f.bytes).sum()
}

type DigestsByRepo<'a> = BTreeMap<Option<&'a str>, Vec<(&'a str, Digest)>>;

/// All files of each repository in path order, whichever bins they were in.
fn digests_by_repo(records: &[BinRecord]) -> Result<DigestsByRepo<'_>> {
    let mut by_repo = DigestsByRepo::new();
    for record in records {
        for of_bin in &record.digests {
            let of_repo = by_repo.entry(of_bin.repo.as_deref()).or_default();
            for file in &of_bin.files {
                let mut digest = Digest::default();
                hex::decode_to_slice(&file.digest, &mut digest).map_err(|_| {
                    let reason = format!("digest of {:?} is not 64 hex digits", file.path);
                    inconsistent(record.bin_id, reason)
                })?;
                of_repo.push((&file.path, digest));
            }
        }
    }
    for (repo, files) in &mut by_repo {
        files.sort_unstable();
        if let Some([(path, _), _]) = files.array_windows().find(|[a, b]| a.0 == b.0) {
            let bin_id = records.iter().rfind(|r| names(r, *repo, path));
            let reason = format!("file {path:?} of repository {repo:?} was done before");
            return Err(inconsistent(bin_id.map_or(0, |r| r.bin_id), reason));
        }
    }
    Ok(by_repo)
}

fn names(record: &BinRecord, repo: Option<&str>, path: &str) -> bool {
    let of_repo = record.digests.iter().filter(|d| d.repo.as_deref() == repo);
    of_repo.flat_map(|d| &d.files).any(|f| f.path == path)
}
