//! One bin of a night: its sources, derived first as the run did and then under each condition.

use anyhow::Context as _;
use bytefacts_audit::changes::{FileFacts, Name};
use bytefacts_audit::digests::{Derived, SourceFile};
use bytefacts_audit::drift::Drifts;
use bytefacts_audit::matrix::Condition;
use bytefacts_audit::night::{self, Bench, Kind, NightError, Verdict, judge, judge_landed, unknown};
use bytefacts_audit::row;
use bytefacts_bytecode::marshal;
use bytefacts_compile::Outcome;
use bytefacts_corpus::{Corpus, Entry};
use bytefacts_landing::RunId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::commands::diff::side::row_of;
use crate::facts::Facts;

/// What a bin came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct BinRecord {
    /// One for each file and condition.
    pub(super) verdicts: Vec<Verdict>,
    /// One for each second interpreter.
    pub(super) drift: Vec<BinDrift>,
}

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
    pub(super) conditions: &'a [(String, Condition)],
    pub(super) run: &'a RunId,
}

impl Worker<'_> {
    /// A record of a bin that is not worked on.
    pub(super) fn left_out(&self, bin: &[(Name, FileFacts)], reason: &str) -> BinRecord {
        let verdicts = bin.iter().flat_map(|(name, _)| self.unknown(name, None, reason));
        BinRecord { verdicts: verdicts.collect(), drift: Vec::new() }
    }

    fn unknown<'a>(&'a self, name: &'a Name, cause: Option<&'a str>, reason: &'a str) -> impl Iterator<Item = Verdict> + 'a {
        self.conditions.iter().map(move |(condition, _)| unknown(name, condition, cause, reason))
    }

    /// Derives a bin under every condition.
    ///
    /// # Errors
    /// When the corpus cannot be reached, or there is no worker for the first derivation.
    pub(super) async fn work(&self, bin: &[(Name, FileFacts)]) -> anyhow::Result<BinRecord> {
        let mut record = BinRecord::default();
        let (mut files, mut landed) = (Vec::new(), Vec::new());
        for (name, facts) in bin {
            match self.source(name, facts).await? {
                Ok(file) => {
                    files.push(file);
                    landed.push(*facts);
                }
                Err((cause, reason)) => record.verdicts.extend(self.unknown(name, cause, &reason)),
            }
        }
        let first = night::derive(self.bench, "first", &Condition::baseline(None), &files).await?;
        let mut of_level: Vec<(u8, Vec<Derived>)> = Vec::new();
        for (name, condition) in self.conditions {
            if condition.committed {
                for (file, (landed, first)) in files.iter().zip(landed.iter().zip(&first)) {
                    record.verdicts.push(self.explained(judge_landed(name, file, landed, first), file, first).await?);
                }
                continue;
            }
            // Another level of optimisation has a first derivation of its own.
            let baseline = match condition.optimize {
                None => &first,
                Some(level) => {
                    if !of_level.iter().any(|(known, _)| *known == level) {
                        let derived = night::derive(self.bench, name, &Condition::baseline(Some(level)), &files).await?;
                        of_level.push((level, derived));
                    }
                    of_level.iter().find(|(known, _)| *known == level).map_or(&first, |(_, derived)| derived)
                }
            };
            match night::derive(self.bench, name, condition, &files).await {
                Ok(second) => {
                    let pairs = files.iter().zip(baseline.iter().zip(&second));
                    record.verdicts.extend(pairs.map(|(file, (first, second))| judge(name, condition, file, first, second)));
                }
                // A condition under which no worker lives is a failure of the condition, not of the audit.
                Err(error @ NightError::Pool { .. }) => record.verdicts.extend(files.iter().map(|file| failed(file, name, &error))),
                Err(error) => return Err(error.into()),
            }
        }
        for index in 0..self.bench.others.len() {
            let condition = Condition { python: Some(index), ..Condition::default() };
            let second = night::derive(self.bench, "python", &condition, &files).await?;
            record.drift.push(drift(&files, &first, &second));
        }
        Ok(record)
    }

    /// The source of a file if it is the one that the run had, else why not.
    async fn source(&self, name: &Name, landed: &FileFacts) -> anyhow::Result<Result<SourceFile, (Option<&'static str>, String)>> {
        let entry = Entry { repo: name.repo.clone(), path: name.path.clone(), size: 0 };
        let source = match self.corpus.read(&entry).await {
            Ok(source) => source,
            Err(error) if error.is_transient() => return Err(error).with_context(|| format!("cannot read {}", name.path)),
            Err(error) => return Ok(Err((Some("C39"), format!("the source cannot be read any more: {error}")))),
        };
        let sha256 = Sha256::digest(&source).into();
        if landed.source != Some(sha256) {
            return Ok(Err((Some("C39"), "the source has changed since it was extracted".to_owned())));
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

fn failed(file: &SourceFile, condition: &str, error: &NightError) -> Verdict {
    let name = Name { repo: file.repo.clone(), path: file.path.clone() };
    Verdict { kind: Kind::Fail, ..unknown(&name, condition, Some("X03"), &error.to_string()) }
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
