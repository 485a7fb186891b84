//! What only a whole run shows: files listed, totals, digests from the files to the run.

use std::collections::{BTreeMap, BTreeSet};

use bytefacts_corpus::decode_bins;
use bytefacts_facts::digest::{Digest, fold_repository, fold_run};
use bytefacts_facts::validate::{Check, Tally, Totals};
use bytefacts_landing::{FactsStore, Manifest, RepoSummary};
use serde_json::Value;

use super::data_file::FileSummary;
use super::{Report, ValidateError};

/// Takes the data files in the order of the manifest, repository by repository.
pub(crate) struct RunFold<'a> {
    manifest: &'a Manifest,
    tally: Tally,
    totals: Totals,
    /// The files of the bins that no row has been seen of yet.
    listed: BTreeMap<Option<String>, BTreeSet<String>>,
    /// Whether the bins could be read.
    has_bins: bool,
    /// Whether all rows of all files could be read.
    complete: bool,
    open: Option<OpenRepo>,
    folded: Vec<(Option<String>, Digest)>,
}

/// The repository whose data files are being taken.
struct OpenRepo {
    repo: Option<String>,
    digests: Vec<(String, Digest)>,
    bytes: u64,
    complete: bool,
}

impl<'a> RunFold<'a> {
    pub(crate) async fn new(facts: &FactsStore, manifest: &'a Manifest, keep: usize) -> Result<Self, ValidateError> {
        let mut tally = Tally::new(keep);
        let mut listed: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
        let bins = facts.bins(&manifest.run.run_id).await?;
        let bins = bins.map(|bins| decode_bins(&bins));
        let has_bins = matches!(bins, Some(Ok(_)));
        match bins {
            None => {}
            Some(Err(error)) => tally.expect(Check::RunFiles, false, None, None, || format!("the bin manifest is damaged: {error}")),
            Some(Ok(bins)) => {
                for entry in bins.into_iter().flat_map(|bin| bin.files) {
                    let (repo, path) = (entry.repo.clone(), entry.path.clone());
                    tally.expect(
                        Check::RunFiles,
                        listed.entry(entry.repo).or_default().insert(entry.path),
                        repo.as_deref(),
                        Some(&path),
                        || "is listed twice".to_owned(),
                    );
                }
            }
        }
        Ok(Self { manifest, tally, totals: Totals::default(), listed, has_bins, complete: true, open: None, folded: Vec::new() })
    }

    /// Takes the next data file.
    pub(crate) fn take(&mut self, file: FileSummary) {
        let FileSummary { file, tally, totals, digests, attrs, complete } = file;
        self.tally.merge(tally);
        self.totals.add(&totals);
        self.complete &= complete;
        if let Some(attrs) = attrs {
            self.attrs(&file.key, &attrs);
        }
        if self.has_bins {
            let listed = self.listed.entry(file.repo.clone()).or_default();
            for (path, _) in &digests {
                if !listed.remove(path) {
                    self.tally.expect(Check::RunFiles, false, file.repo.as_deref(), Some(path), || {
                        "has a row more than the run's bins list it".to_owned()
                    });
                }
            }
        }
        if self.open.as_ref().is_some_and(|open| open.repo != file.repo) {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| OpenRepo { repo: file.repo, digests: Vec::new(), bytes: 0, complete: true });
        open.digests.extend(digests);
        open.bytes += file.bytes;
        open.complete &= complete;
    }

    /// Rows say of interpreter and options what the manifest says.
    fn attrs(&mut self, key: &str, attrs: &[(String, String)]) {
        let run = &self.manifest.run;
        let recorded = [
            ("python_version", run.interpreter.get("version")),
            ("python_magic", run.interpreter.get("magic")),
            ("python_implementation", run.interpreter.get("implementation")),
            ("optimize", run.options.get("optimize")),
            ("dont_inherit", run.options.get("dont_inherit")),
            ("adaptive", run.options.get("adaptive")),
            ("include_cfg", run.options.get("include_cfg_derivations")),
        ];
        for (name, recorded) in recorded {
            let recorded = match recorded {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(value)) => if *value { "True" } else { "False" }.to_owned(),
                Some(other) => other.to_string(),
                None => continue,
            };
            let found = attrs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            self.tally.expect(Check::RunTotals, found == Some(&recorded), None, Some(key), || {
                format!("its rows say {name}={found:?}, the manifest says {recorded:?}")
            });
        }
    }

    /// Compares the repository that is complete now with its summary.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let repo = open.repo.as_deref();
        if open.complete {
            let folded = fold_repository(open.digests.iter().map(|(path, digest)| (path.as_str(), *digest)));
            let summary = self.manifest.repos.iter().find(|summary| summary.repo == open.repo);
            match summary {
                Some(RepoSummary { files, bytes, digest, .. }) => {
                    let rows = open.digests.len() as u64;
                    let same = (*files, *bytes) == (rows, open.bytes);
                    self.tally.expect(Check::RunTotals, same, repo, None, || {
                        format!("has {rows} rows in {} bytes, the manifest says {files} files in {bytes} bytes", open.bytes)
                    });
                    let hex = hex(&folded);
                    self.tally.expect(Check::DigestRepository, *digest == hex, repo, None, || {
                        format!("the digest of its rows is {hex}, the manifest says {digest}")
                    });
                }
                None => self.tally.expect(Check::RunTotals, false, repo, None, || "the manifest has no such repository".to_owned()),
            }
            self.folded.push((open.repo, folded));
        }
    }

    /// Compares the run with its header.
    pub(crate) fn finish(mut self) -> Report {
        self.close();
        for (repo, paths) in &self.listed {
            // A data file that could not be read has been found fault with.
            for path in paths.iter().filter(|_| self.complete) {
                self.tally.find(Check::RunFiles, || bytefacts_facts::validate::Finding {
                    check: Check::RunFiles,
                    repo: repo.clone(),
                    path: Some(path.clone()),
                    code_unit_id: None,
                    place: bytefacts_facts::validate::Place::Whole,
                    message: "is listed in the run's bins and has no row".to_owned(),
                });
            }
        }
        if self.complete {
            self.header();
        }
        Report { tally: self.tally, totals: self.totals }
    }

    fn header(&mut self) {
        let (run, totals, files) = (&self.manifest.run, &self.totals, &self.manifest.files);
        let figures = [
            ("rows", run.rows, totals.rows),
            ("files", run.stats.files, totals.rows),
            ("code objects", run.stats.units, totals.units),
            ("instructions", run.stats.instructions, totals.instructions),
            ("bytes of source", run.stats.source_bytes, totals.source_bytes),
            ("data files", run.data_files, files.len() as u64),
            ("bytes of data files", run.data_bytes, files.iter().map(|file| file.bytes).sum()),
            ("repositories", run.repositories, self.folded.len() as u64),
        ];
        for (name, claimed, counted) in figures {
            self.tally.expect(Check::RunTotals, claimed == counted, None, None, || {
                format!("the manifest says {claimed} {name}, there are {counted}")
            });
        }
        let claimed: BTreeMap<_, _> = (run.stats.errors.iter())
            .map(|error| ((error.stage.clone(), error.error_type.clone(), error.severity.clone()), error.count))
            .collect();
        self.tally.expect(Check::RunTotals, claimed == totals.errors, None, None, || {
            format!("the manifest counts the errors {claimed:?}, the rows have {:?}", totals.errors)
        });
        let folded = hex(&fold_run(self.folded.iter().map(|(repo, digest)| (repo.as_deref(), *digest))));
        self.tally.expect(Check::DigestRun, run.digest == folded, None, None, || {
            format!("the digest of its rows is {folded}, the manifest says {}", run.digest)
        });
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
