//! One bin of a night: its sources, derived first as the run did and then under each condition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use bytefacts_audit::changes::{FileFacts, Name};
use bytefacts_audit::digests::{DeriveError, Derived, Deriver, SourceFile};
use bytefacts_audit::edits;
use bytefacts_audit::matrix::Condition;
use bytefacts_audit::night::{self, Bench, Gap, Kind, NightError, Verdict, judge, judge_landed, killer, no_worker, unknown};
use bytefacts_audit::row;
use bytefacts_bytecode::flow::UnknownOpname;
use bytefacts_compile::{Interpreter, PoolError};
use bytefacts_corpus::{Corpus, Entry, ReadError};
use bytefacts_landing::RunId;
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use datafusion::common::{DataFusionError, internal_err};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::dis;
use super::records::{LeftOut, UnitRecord};
use crate::job::{InterpreterId, Job, open_corpus};

/// Files that are asked for their size at a time.
const SIZES: usize = 16;

/// Why a unit has no verdicts. No file is at fault.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The corpus does not answer.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file that was asked for.
        path: String,
        /// What is wrong.
        source: ReadError,
    },
    /// There is no worker for the first derivation, or the analysis errs.
    #[error(transparent)]
    Night(#[from] NightError),
    /// A row could not be made again.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The run's rows cannot be read.
    #[error(transparent)]
    Facts(#[from] DataFusionError),
}

/// What works on bins.
pub struct AuditWorker {
    corpus: Corpus,
    bench: Bench,
    job: Arc<Job>,
    /// What reads the run's rows: one for all bins, since it knows the run's files.
    session: SessionContext,
}

impl AuditWorker {
    /// Equips a worker for the run that a job has made. Nothing is read yet.
    ///
    /// # Errors
    /// When the corpus cannot be opened, or is not allowed.
    pub fn new(job: &Job, run: RunId, stores: &Stores, bench: Bench) -> Result<Self, DataFusionError> {
        let session = facts_session(stores, &job.facts, Some(run))?;
        Ok(Self { corpus: open_corpus(job, stores)?, bench, job: Arc::new(job.clone()), session })
    }

    /// What derives the files of a job.
    ///
    /// # Errors
    /// When a terminator is no opcode's name.
    pub fn bench(job: &Job, interpreter: Interpreter, others: Vec<Interpreter>) -> Result<Bench, UnknownOpname> {
        Ok(Bench {
            deriver: Deriver { attrs: job.attrs(&InterpreterId::of(&interpreter)), options: job.row_options()? },
            options: job.options.compile_options(),
            limits: job.options.compile_limits(),
            interpreter,
            others,
        })
    }

    /// Bytes that the sources of a bin take, before they are read.
    pub async fn bytes(&self, bin: &[(Name, FileFacts)]) -> u64 {
        let names: Vec<_> = bin.iter().map(|(name, _)| entry(name)).collect();
        let size = |entry: Entry| async move { self.corpus.size(&entry).await };
        futures::stream::iter(names)
            .map(size)
            .buffer_unordered(SIZES)
            .fold(0, |sum: u64, size| async move { sum.saturating_add(size) })
            .await
    }

    /// Reads the sources of a bin.
    ///
    /// # Errors
    /// When the corpus does not answer.
    pub async fn open(&self, bin: &[(Name, FileFacts)]) -> Result<OpenBin<'_>, UnitError> {
        let mut opened =
            OpenBin { worker: self, files: Vec::new(), landed: Vec::new(), gaps: Vec::new(), left_out: Vec::new(), first: Vec::new() };
        for (name, facts) in bin {
            match self.source(name, facts).await? {
                Ok(file) => {
                    opened.files.push(file);
                    opened.landed.push(*facts);
                }
                Err((gap, detail)) => opened.gaps.push((name.clone(), gap, detail)),
            }
        }
        Ok(opened)
    }

    /// The source of a file if it is the one that the run had, else why not.
    async fn source(&self, name: &Name, landed: &FileFacts) -> Result<Result<SourceFile, (Gap, String)>, UnitError> {
        let source = match self.corpus.read(&entry(name)).await {
            Ok(source) => source,
            Err(error) if error.is_transient() || error.is_fault() => {
                return Err(UnitError::Read { path: name.path.clone(), source: error });
            }
            Err(error) => return Ok(Err((Gap::SourceGone, error.error_type().to_owned()))),
        };
        let sha256 = Sha256::digest(&source).into();
        if landed.source != Some(sha256) {
            return Ok(Err((Gap::SourceChanged, String::new())));
        }
        Ok(Ok(SourceFile { repo: name.repo.clone(), path: name.path.clone(), source, sha256 }))
    }

    /// A verdict on a landed row, with the first field in which the row differs from a fresh one, and the instructions that do.
    async fn explained(&self, mut verdict: Verdict, file: &SourceFile, fresh: &Derived) -> Result<Verdict, UnitError> {
        if verdict.kind == Kind::Bad
            && let Some(landed) = self.row(file).await?
        {
            let fresh = self.bench.deriver.row(file, fresh.compiled.clone())?;
            verdict.difference = row::first_difference(&fresh, &landed).or(verdict.difference);
            verdict.sides = edits::cut(edits::edited(row::side_by_side(&fresh, &landed, night::AROUND)), night::SIDES);
        }
        Ok(verdict)
    }

    /// The `marshal_digest` that the run has landed of each of these files that has one.
    async fn marshal_digests(&self, files: &[SourceFile]) -> Result<BTreeMap<Name, String>, DataFusionError> {
        let paths: BTreeSet<String> = files.iter().map(|file| quoted(&file.path)).collect();
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        let paths = paths.into_iter().collect::<Vec<_>>().join(", ");
        let query = format!("SELECT repo, path, marshal_digest FROM bytecode_files_v1 WHERE path IN ({paths})");
        let mut digests = BTreeMap::new();
        for batch in self.session.sql(&query).await?.collect().await? {
            let column = |name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let (Some(repo), Some(path), Some(digest)) = (column("repo"), column("path"), column("marshal_digest")) else {
                return internal_err!("a run without digests of its code: {}", batch.schema());
            };
            for ((repo, path), digest) in repo.iter().zip(path).zip(digest) {
                if let (Some(path), Some(digest)) = (path, digest) {
                    digests.insert(Name { repo: repo.map(str::to_owned), path: path.to_owned() }, digest.to_owned());
                }
            }
        }
        Ok(digests)
    }

    /// The row that the run has landed of a file.
    async fn row(&self, file: &SourceFile) -> Result<Option<RecordBatch>, DataFusionError> {
        let repo = file.repo.as_ref().map_or_else(|| "IS NULL".to_owned(), |repo| format!("= {}", quoted(repo)));
        let query = format!("SELECT * FROM bytecode_files_v1 WHERE path = {} AND repo {repo}", quoted(&file.path));
        let batches = self.session.sql(&query).await?.collect().await?;
        let Some(first) = batches.first() else { return Ok(None) };
        let rows = concat_batches(&first.schema(), &batches)?;
        Ok((rows.num_rows() == 1).then_some(rows))
    }
}

/// A bin that is worked on: its sources, and what is derived of them as conditions need it.
pub struct OpenBin<'a> {
    worker: &'a AuditWorker,
    files: Vec<SourceFile>,
    landed: Vec<FileFacts>,
    gaps: Vec<(Name, Gap, String)>,
    /// Files that are not derived, and why.
    left_out: Vec<LeftOut>,
    /// First derivations, by level of optimisation; `None` is the run's.
    first: Vec<(Option<u8>, Vec<Derived>)>,
}

impl OpenBin<'_> {
    /// Its sources.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Leaves those of its files out that are among these: each of them fails under every condition, for its reason. To be called before anything is
    /// derived.
    pub(super) fn leave_out(&mut self, known: &[LeftOut]) {
        let both = std::mem::take(&mut self.files).into_iter().zip(std::mem::take(&mut self.landed));
        for (file, landed) in both {
            match known.iter().find(|other| (&other.repo, &other.path) == (&file.repo, &file.path)) {
                Some(known) => self.left_out.push(known.clone()),
                None => {
                    self.files.push(file);
                    self.landed.push(landed);
                }
            }
        }
    }

    /// Derives the bin under a condition, and judges each file. The first derivation is charged to the condition that needs it first.
    ///
    /// # Errors
    /// When there is no worker for the first derivation, or the facts cannot be read.
    pub async fn under(&mut self, name: &str, condition: &Condition) -> Result<UnitRecord, UnitError> {
        let worker = self.worker;
        let mut verdicts: Vec<Verdict> = self.gaps.iter().map(|(file, gap, detail)| unknown(file, name, *gap, detail)).collect();
        verdicts.extend(self.left_out.iter().map(|LeftOut { repo, path, reason }| {
            let file = Name { repo: repo.clone(), path: path.clone() };
            killer(&file, name, reason)
        }));
        // Another level of optimisation has a first derivation of its own.
        let level = level(condition);
        let mut cpu = self.derive_first(name, level).await?;
        let first = self.first(level);
        if condition.committed {
            let marshal = worker.marshal_digests(&self.files).await?;
            for (file, (landed, first)) in self.files.iter().zip(self.landed.iter().zip(first)) {
                let marshal = marshal.get(&name_of(file)).map(String::as_str);
                verdicts.push(worker.explained(judge_landed(name, file, landed, marshal, first), file, first).await?);
            }
        } else if condition.dis {
            let (judged, took) = dis::judged(name, &worker.bench, &worker.job, &self.files, first).await?;
            verdicts.extend(judged);
            cpu += took;
        } else {
            match night::derive(&worker.bench, name, condition, &self.files).await {
                Ok(second) => {
                    cpu += second.cpu;
                    let pairs = self.files.iter().zip(first.iter().zip(&second.files));
                    verdicts.extend(pairs.map(|(file, (first, second))| judge(name, condition, file, first, second)));
                }
                // A condition under which no worker starts is a failure of the condition, not of the audit. A worker that others have killed is neither.
                Err(error @ NightError::Pool { source: PoolError::Start { .. }, .. }) => {
                    verdicts.extend(self.files.iter().map(|file| no_worker(&name_of(file), name, &error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(UnitRecord { cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), verdicts })
    }

    /// The bin as the run's interpreter derives it and as a second one does, by its place among the others.
    ///
    /// # Errors
    /// When there is no worker.
    pub async fn by_second(&mut self, index: usize) -> Result<(&[SourceFile], &[Derived], Vec<Derived>), UnitError> {
        self.derive_first("first", None).await?;
        let condition = Condition { python: Some(index), ..Condition::default() };
        let second = night::derive(&self.worker.bench, "python", &condition, &self.files).await?;
        Ok((&self.files, self.first(None), second.files))
    }

    async fn derive_first(&mut self, name: &str, level: Option<u8>) -> Result<Duration, UnitError> {
        if self.first.iter().any(|(known, _)| *known == level) {
            return Ok(Duration::ZERO);
        }
        let derived = night::derive(&self.worker.bench, name, &Condition::baseline(level), &self.files).await?;
        self.first.push((level, derived.files));
        Ok(derived.cpu)
    }

    fn first(&self, level: Option<u8>) -> &[Derived] {
        self.first.iter().find(|(known, _)| *known == level).map_or(&[], |(_, derived)| derived)
    }
}

/// The level of optimisation of the first derivation that a condition is compared with; `None` is the run's.
pub(super) fn level(condition: &Condition) -> Option<u8> {
    if condition.varies_nothing() { None } else { condition.optimize }
}

fn entry(name: &Name) -> Entry {
    Entry { repo: name.repo.clone(), path: name.path.clone(), size: 0 }
}

/// Text as a statement has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn name_of(file: &SourceFile) -> Name {
    Name { repo: file.repo.clone(), path: file.path.clone() }
}
