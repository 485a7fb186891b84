//! One file on its way to a row: read it (`Loader`), look it up or compile it (`Examiner`); then its facts are appended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytefacts_cache::{Cache, Tier};
use bytefacts_compile::{Compiled, Diagnostic, Outcome};
use bytefacts_corpus::{Corpus, Entry, ReadError};
use bytefacts_facts::{FactError, FileInput, RowBuilder, RunAttrs, Severity};
use bytefacts_stores::explain;
use bytes::Bytes;
use datafusion::common::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::Node;
use super::attempt::Attempt;
use super::compilers::Compilers;
use super::judge::{Case, Judgement, judge};
use super::outcome;
use super::reuse::FileIdentity;
use super::trial::Killer;
use crate::error::{lasting, pool_error, transient};
use crate::job::{InterpreterId, Job, open_corpus};
use crate::metrics::{FileMetrics, StageCounts};

/// What reading the files of a job needs, and all that comes after it.
pub(crate) struct Loader {
    corpus: Corpus,
    examiner: Examiner,
}

/// What becomes of the sources of a job's files, wherever they come from.
pub(crate) struct Examiner {
    node: Arc<Node>,
    job: Arc<Job>,
    compilers: Compilers,
    key_prefix: Vec<u8>,
    attrs: RunAttrs,
}

/// A file that was read and compiled, or the reason why not.
pub(crate) struct Loaded {
    entry: Entry,
    source: Option<Content>,
    errors: Vec<FactError>,
    code: Option<Bytes>,
    compile_cpu: Duration,
    /// Where the compiled code came from, unless it was compiled here.
    cached: Option<Tier>,
    reproducible: bool,
    judgement: Option<Judgement>,
    /// Held until the row is built.
    _memory: OwnedSemaphorePermit,
}

/// Why a file could not be read that may be in order: a fault of the disk, the store or the set-up.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} of corpus {corpus}: {error}: {cause}; see that every executor reaches the corpus and may read it, then resume the run under its id"
)]
struct Unread {
    corpus: String,
    path: String,
    error: ReadError,
    cause: String,
}

struct Content {
    bytes: Bytes,
    sha256: [u8; 32],
}

impl Loader {
    pub(crate) async fn new(job: Job, interpreter: &InterpreterId, node: Arc<Node>) -> Result<Self> {
        let corpus = open_corpus(&job, node.stores())?;
        Ok(Self { corpus, examiner: Examiner::new(Arc::new(job), interpreter, node).await? })
    }

    /// Reads and compiles one file. A bad file is a result; only a fault of this node or of the store is an error.
    pub(crate) async fn load(&self, entry: Entry, memory: OwnedSemaphorePermit) -> Result<Loaded> {
        match self.read(&entry).await? {
            Ok(source) => self.examiner.examine(entry, source, memory).await,
            Err(unreadable) => Ok(Loaded::failed(entry, unreadable, memory)),
        }
    }

    /// Like [`Loader::load`], but the file is tried alone first, and left alone if it is a killer. No cache is asked: what it holds was not tried.
    pub(crate) async fn load_carefully(&self, entry: Entry, attempt: &Attempt, memory: OwnedSemaphorePermit) -> Result<Loaded> {
        let source = match self.read(&entry).await? {
            Ok(source) => source,
            Err(unreadable) => return Ok(Loaded::failed(entry, unreadable, memory)),
        };
        match attempt.try_alone(&entry, &source).await? {
            Some(killer) => Ok(Loaded::failed(entry, quarantined(&killer), memory)),
            None => self.examiner.examine_afresh(entry, source, memory).await,
        }
    }

    /// The bytes of a file, or what its row says in place of them.
    async fn read(&self, entry: &Entry) -> Result<Result<Bytes, FactError>> {
        match self.corpus.read(entry).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(error) if error.is_transient() => Err(transient(self.unread(entry, error))),
            Err(error) if error.is_fault() => Err(lasting(self.unread(entry, error))),
            Err(error) => Ok(Err(read_failure(&error))),
        }
    }

    /// What the files of a bin are now; `None` if one of them cannot be read.
    pub(crate) async fn identify(&self, files: &[Entry]) -> Result<Option<Vec<FileIdentity>>> {
        let node = &self.examiner.node;
        let identified = futures::stream::iter(files.to_vec())
            // In the order of the files, as in analysis: the one that all others wait for never waits for memory.
            .then(|entry| {
                let node = Arc::clone(node);
                async move { node.reserve(entry.size).await.map(|memory| (entry, memory)) }
            })
            .map(|reserved| async move {
                let (entry, _memory) = reserved?;
                let bytes = match self.corpus.read(&entry).await {
                    Ok(bytes) => bytes,
                    Err(error) if error.is_transient() => return Err(transient(error)),
                    Err(_) => return Ok(None),
                };
                let length = bytes.len() as u64;
                let (_, sha256) = hash(bytes).await?;
                Ok(Some(FileIdentity { repo: entry.repo, path: entry.path, bytes: length, sha256 }))
            })
            .buffered(node.files_in_flight());
        let identified: Vec<Option<FileIdentity>> = identified.try_collect().await?;
        Ok(identified.into_iter().collect())
    }

    /// A fault that keeps a file from being read, with all that whoever has to mend it needs to know.
    fn unread(&self, entry: &Entry, error: ReadError) -> Unread {
        let path = entry.repo.iter().map(String::as_str).chain([entry.path.as_str()]).collect::<Vec<_>>().join("/");
        let said = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref().map_or_else(|| cause.to_string(), explain);
        let cause = std::error::Error::source(&error).map(said).unwrap_or_default();
        Unread { corpus: self.examiner.job.corpus.clone(), path, error, cause }
    }
}

impl Examiner {
    pub(crate) async fn new(job: Arc<Job>, interpreter: &InterpreterId, node: Arc<Node>) -> Result<Self> {
        Ok(Self {
            compilers: node.compilers(&job).await?,
            key_prefix: outcome::key_prefix(&job, interpreter),
            attrs: job.attrs(interpreter),
            job,
            node,
        })
    }

    /// A builder of the job's rows.
    ///
    /// # Errors
    /// When the job's options make no sense.
    pub(crate) fn row_builder(&self) -> Result<RowBuilder> {
        Ok(RowBuilder::new(&self.attrs, self.job.row_options().map_err(lasting)?))
    }

    /// Waits until a file fits the node's memory budget.
    ///
    /// # Errors
    /// Never: the budget is not closed.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        self.node.reserve(bytes).await
    }

    /// Looks a source up or compiles it. A bad file is a result; only a fault of this node is an error.
    pub(crate) async fn examine(&self, entry: Entry, source: Bytes, memory: OwnedSemaphorePermit) -> Result<Loaded> {
        let cache = self.node.cache().filter(|_| self.job.use_cache).map(Arc::as_ref);
        self.examine_with(cache, entry, source, memory).await
    }

    /// Like [`Examiner::examine`], of the source alone.
    pub(crate) async fn examine_afresh(&self, entry: Entry, source: Bytes, memory: OwnedSemaphorePermit) -> Result<Loaded> {
        self.examine_with(None, entry, source, memory).await
    }

    async fn examine_with(&self, cache: Option<&Cache>, entry: Entry, source: Bytes, memory: OwnedSemaphorePermit) -> Result<Loaded> {
        // Given back as soon as the workers are done with the file: its row may still have to wait for those before it.
        let _parallel = self.compilers.parallel.reserve(source.len() as u64).await?;
        let mut loaded = Loaded::new(entry, memory);
        let (bytes, sha256) = hash(source).await?;
        loaded.source = Some(Content { bytes: bytes.clone(), sha256 });

        let (compiled, cached) = self.compile(cache, bytes.clone(), &sha256).await?;
        loaded.cached = cached;
        loaded.reproducible = compiled.is_reproducible();
        loaded.compile_cpu = if cached.is_some() { Duration::ZERO } else { compiled.cpu };
        match compiled.outcome {
            Outcome::Code(code) => loaded.code = Some(code),
            Outcome::Failed(failure) => loaded.errors.push(fact_error(failure)),
        }
        loaded.errors.extend(compiled.warnings.into_iter().map(fact_error));
        if let Some(code) = &loaded.code
            && self.job.options.oracle.takes(&sha256)
        {
            let Entry { repo, path, .. } = loaded.entry.clone();
            let case = Case { attrs: self.attrs.clone(), repo, path, source: bytes, sha256, code: code.clone() };
            loaded.judgement = Some(judge(&self.compilers.pool, &self.job, case).await?);
        }
        Ok(loaded)
    }

    /// The compiled code from the cache, else from a worker; and the tier of the cache that had it.
    async fn compile(&self, cache: Option<&Cache>, source: Bytes, sha256: &[u8; 32]) -> Result<(Compiled, Option<Tier>)> {
        let Some(cache) = cache else {
            return Ok((self.compilers.pool.compile(source).await.map_err(pool_error)?, None));
        };
        let key = outcome::key(&self.key_prefix, sha256);
        if let Some((value, tier)) = cache.lookup(key).await
            && let Some(compiled) = outcome::decode(&value)
        {
            return Ok((compiled, Some(tier)));
        }
        let compiled = self.compilers.pool.compile(source).await.map_err(pool_error)?;
        if compiled.is_reproducible() {
            cache.put_async(key, outcome::encode(&compiled).map_err(lasting)?).await;
        }
        Ok((compiled, None))
    }
}

/// Hashing a large file would hold up the other tasks of an async thread.
async fn hash(bytes: Bytes) -> Result<(Bytes, [u8; 32])> {
    const INLINE: usize = 256 << 10;
    if bytes.len() <= INLINE {
        let digest = Sha256::digest(&bytes).into();
        return Ok((bytes, digest));
    }
    let task = tokio::task::spawn_blocking(move || {
        let digest = Sha256::digest(&bytes).into();
        (bytes, digest)
    });
    task.await.map_err(lasting)
}

impl Loaded {
    fn new(entry: Entry, memory: OwnedSemaphorePermit) -> Self {
        Self {
            entry,
            source: None,
            errors: Vec::new(),
            code: None,
            compile_cpu: Duration::ZERO,
            cached: None,
            judgement: None,
            reproducible: false,
            _memory: memory,
        }
    }

    /// A file of which there is nothing but the reason why.
    fn failed(entry: Entry, error: FactError, memory: OwnedSemaphorePermit) -> Self {
        Self { errors: vec![error], ..Self::new(entry, memory) }
    }

    /// Appends the file's row, and tells what making it took.
    pub(crate) fn append_to(mut self, rows: &mut RowBuilder) -> Result<(FileMetrics, StageCounts)> {
        let judgement = self.judgement.unwrap_or_default();
        self.errors.extend(judgement.errors);
        let (source, sha256) = self.source.as_ref().map_or((None, None), |s| (Some(s.bytes.as_ref()), Some(s.sha256)));
        let input = FileInput {
            repo: self.entry.repo.as_deref(),
            path: &self.entry.path,
            source,
            sha256,
            code: self.code.as_deref(),
            errors: self.errors,
        };
        let begun = Instant::now();
        let stats = rows.append(input).map_err(lasting)?;
        let metrics = FileMetrics {
            units: stats.units as u64,
            instructions: stats.instructions,
            source_bytes: source.map_or(0, |s| s.len() as u64),
            compile_cpu_us: u64::try_from(self.compile_cpu.as_micros()).unwrap_or(u64::MAX),
            analyse_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            cache_hit: self.cached.is_some(),
            shared_hit: self.cached == Some(Tier::Shared),
            judged: judgement.complete,
            differences: judgement.differences,
            reproducible: self.reproducible,
        };
        let mut errors = StageCounts::new();
        for error in stats.errors.iter().filter(|error| error.severity == Severity::Error) {
            *errors.entry(error.stage.clone()).or_default() += 1;
        }
        Ok((metrics, errors))
    }
}

fn read_failure(error: &ReadError) -> FactError {
    FactError { stage: "read".to_owned(), error_type: error.error_type().to_owned(), message: error.to_string(), ..FactError::default() }
}

/// Why a file is left alone. The words say what killed and nothing of where.
fn quarantined(killer: &Killer) -> FactError {
    FactError { stage: "quarantine".to_owned(), error_type: "Quarantined".to_owned(), message: killer.to_string(), ..FactError::default() }
}

/// A compiler's diagnostic as an error of the contract.
#[must_use]
pub fn fact_error(diagnostic: Diagnostic) -> FactError {
    FactError {
        error_type: diagnostic.error_type,
        message: diagnostic.message,
        attrs: Vec::new(),
        stage: diagnostic.stage,
        line1: diagnostic.line1,
        col: diagnostic.col,
        end_line1: diagnostic.end_line1,
        end_col: diagnostic.end_col,
        source_line: diagnostic.source_line,
        code_unit_id: None,
        severity: match diagnostic.severity {
            bytefacts_compile::Severity::Error => Severity::Error,
            bytefacts_compile::Severity::Warning => Severity::Warning,
        },
    }
}
