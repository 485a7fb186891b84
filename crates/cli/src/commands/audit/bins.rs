//! One bin of a night: its sources, derived first as the run did and then under each condition.

use anyhow::Context as _;
use bytefacts_audit::changes::{FileFacts, Name};
use bytefacts_audit::digests::{Derived, SourceFile};
use bytefacts_audit::drift::Drifts;
use bytefacts_audit::matrix::Condition;
use bytefacts_audit::night::{self, Bench, Gap, Kind, NightError, Verdict, judge, judge_landed, no_worker, unknown};
use bytefacts_audit::row;
use bytefacts_bytecode::marshal;
use bytefacts_compile::Outcome;
use bytefacts_corpus::{Corpus, Entry};
use bytefacts_landing::RunId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::commands::diff::side::row_of;
use crate::facts::Facts;

/// How a second interpreter compiles the files of a bin.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct BinDrift {
    pub(super) compared: u64,
    pub(super) failed: u64,
    pub(super) drifts: Drifts,
}

/// What works on bins.
pub(super) struct Worker<'a> {
    pub(super) facts: &'a Facts,
    pub(super) corpus: Corpus,
    pub(super) bench: &'a Bench,
    pub(super) run: &'a RunId,
}

/// A bin that is worked on: its sources, and what is derived of them as conditions need it.
pub(super) struct Bin<'a> {
    worker: &'a Worker<'a>,
    files: Vec<SourceFile>,
    landed: Vec<FileFacts>,
    gaps: Vec<(Name, Gap, String)>,
    /// First derivations, by level of optimisation; `None` is the run's.
    first: Vec<(Option<u8>, Vec<Derived>)>,
}

impl<'a> Bin<'a> {
    /// Reads the sources of a bin.
    ///
    /// # Errors
    /// When the corpus cannot be reached.
    pub(super) async fn open(worker: &'a Worker<'a>, bin: &[(Name, FileFacts)]) -> anyhow::Result<Self> {
        let mut opened = Self { worker, files: Vec::new(), landed: Vec::new(), gaps: Vec::new(), first: Vec::new() };
        for (name, facts) in bin {
            match worker.source(name, facts).await? {
                Ok(file) => {
                    opened.files.push(file);
                    opened.landed.push(*facts);
                }
                Err((gap, detail)) => opened.gaps.push((name.clone(), gap, detail)),
            }
        }
        Ok(opened)
    }

    /// Derives the bin under a condition, and judges each file.
    ///
    /// # Errors
    /// When there is no worker for the first derivation, or the facts cannot be read.
    pub(super) async fn under(&mut self, name: &str, condition: &Condition) -> anyhow::Result<Vec<Verdict>> {
        let worker = self.worker;
        let mut verdicts: Vec<Verdict> = self.gaps.iter().map(|(file, gap, detail)| unknown(file, name, *gap, detail)).collect();
        // Another level of optimisation has a first derivation of its own.
        let level = if condition.committed { None } else { condition.optimize };
        self.derive_first(name, level).await?;
        let first = self.first(level);
        if condition.committed {
            for (file, (landed, first)) in self.files.iter().zip(self.landed.iter().zip(first)) {
                verdicts.push(worker.explained(judge_landed(name, file, landed, first), file, first).await?);
            }
            return Ok(verdicts);
        }
        match night::derive(worker.bench, name, condition, &self.files).await {
            Ok(second) => {
                let pairs = self.files.iter().zip(first.iter().zip(&second));
                verdicts.extend(pairs.map(|(file, (first, second))| judge(name, condition, file, first, second)));
            }
            // A condition under which no worker lives is a failure of the condition, not of the audit.
            Err(error @ NightError::Pool { .. }) => verdicts.extend(self.files.iter().map(|file| no_worker(&name_of(file), name, &error))),
            Err(error) => return Err(error.into()),
        }
        Ok(verdicts)
    }

    /// How a second interpreter, by its place on the command line, compiles the bin.
    ///
    /// # Errors
    /// When there is no worker.
    pub(super) async fn drift(&mut self, index: usize) -> anyhow::Result<BinDrift> {
        self.derive_first("first", None).await?;
        let condition = Condition { python: Some(index), ..Condition::default() };
        let second = night::derive(self.worker.bench, "python", &condition, &self.files).await?;
        Ok(drift(&self.files, self.first(None), &second))
    }

    async fn derive_first(&mut self, name: &str, level: Option<u8>) -> anyhow::Result<()> {
        if !self.first.iter().any(|(known, _)| *known == level) {
            let derived = night::derive(self.worker.bench, name, &Condition::baseline(level), &self.files).await?;
            self.first.push((level, derived));
        }
        Ok(())
    }

    fn first(&self, level: Option<u8>) -> &[Derived] {
        self.first.iter().find(|(known, _)| *known == level).map_or(&[], |(_, derived)| derived)
    }
}

fn name_of(file: &SourceFile) -> Name {
    Name { repo: file.repo.clone(), path: file.path.clone() }
}

impl Worker<'_> {
    /// The source of a file if it is the one that the run had, else why not.
    async fn source(&self, name: &Name, landed: &FileFacts) -> anyhow::Result<Result<SourceFile, (Gap, String)>> {
        let entry = Entry { repo: name.repo.clone(), path: name.path.clone(), size: 0 };
        let source = match self.corpus.read(&entry).await {
            Ok(source) => source,
            Err(error) if error.is_transient() => return Err(error).with_context(|| format!("cannot read {}", name.path)),
            Err(error) => return Ok(Err((Gap::SourceGone, error.error_type().to_owned()))),
        };
        let sha256 = Sha256::digest(&source).into();
        if landed.source != Some(sha256) {
            return Ok(Err((Gap::SourceChanged, String::new())));
        }
        Ok(Ok(SourceFile { repo: name.repo.clone(), path: name.path.clone(), source, sha256 }))
    }

    /// A verdict on a landed row, with the first field in which the row differs from a fresh one.
    async fn explained(&self, mut verdict: Verdict, file: &SourceFile, fresh: &Derived) -> anyhow::Result<Verdict> {
        if verdict.kind != Kind::Bad {
            return Ok(verdict);
        }
        let name = file.repo.as_ref().map_or_else(|| file.path.clone(), |repo| format!("{repo}/{}", file.path));
        if let Some(landed) = row_of(self.facts, self.run, &name).await? {
            let fresh = self.bench.deriver.row(file, fresh.compiled.clone())?;
            verdict.difference = row::first_difference(&fresh, &landed).or(verdict.difference);
        }
        Ok(verdict)
    }
}

fn drift(files: &[SourceFile], first: &[Derived], second: &[Derived]) -> BinDrift {
    let mut drift = BinDrift::default();
    for (file, (first, second)) in files.iter().zip(first.iter().zip(second)) {
        let name = file.repo.as_ref().map_or_else(|| file.path.clone(), |repo| format!("{repo}/{}", file.path));
        match (&first.compiled.outcome, &second.compiled.outcome) {
            (Outcome::Code(one), Outcome::Code(other)) => {
                drift.compared += 1;
                match (marshal::read_code(one), marshal::read_code(other)) {
                    (Ok(one), Ok(other)) => {
                        drift.drifts.add(&name, &one, &other);
                    }
                    _ => drift.failed += 1,
                }
            }
            (Outcome::Failed(_), Outcome::Failed(_)) => drift.compared += 1,
            _ => drift.failed += 1,
        }
    }
    drift
}
