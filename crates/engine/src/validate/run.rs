//! What only a whole run shows: files listed, totals, digests from the files to the run.

use std::collections::BTreeMap;
use std::pin::Pin;

use bytefacts_corpus::decode_bin;
use bytefacts_facts::digest::{Digest, fold_repository, fold_run};
use bytefacts_facts::validate::{Check, CheckedRow, Tally, Totals};
use bytefacts_landing::{BinIndex, FactsStore, FileName, InOrder, LandingError, Manifest, RepoSummary};
use futures::{Stream, StreamExt as _};
use serde_json::Value;

use super::data_file::FileSummary;
use super::error::ValidateError;
use super::report::Report;

/// Takes the data files in the order of the manifest and brings their rows into one order: a file of one huge source stands amid the rows of
/// another.
pub(crate) struct RunFold<'a> {
    manifest: &'a Manifest,
    tally: Tally,
    totals: Totals,
    rows: InOrder<Option<Digest>>,
    listed: Option<Listed<'a>>,
    /// Whether all rows of all files could be read.
    complete: bool,
    open: Option<OpenRepo>,
    /// Repositories of the manifest that no row has been seen of yet.
    summaries: std::iter::Peekable<std::slice::Iter<'a, RepoSummary>>,
    folded: Vec<(Option<String>, Digest)>,
}

/// The repository whose rows are being taken.
struct OpenRepo {
    repo: Option<String>,
    rows: u64,
    /// Of the rows that claim one.
    digests: Vec<(String, Digest)>,
}

impl<'a> RunFold<'a> {
    pub(crate) fn new(facts: &'a FactsStore, manifest: &'a Manifest, index: Option<&'a BinIndex>, keep: usize) -> Self {
        Self {
            manifest,
            tally: Tally::new(keep),
            totals: Totals::default(),
            rows: InOrder::default(),
            listed: index.map(|index| Listed::new(facts, index)),
            complete: true,
            open: None,
            summaries: manifest.repos.iter().peekable(),
            folded: Vec::new(),
        }
    }

    /// Takes the next data file.
    pub(crate) async fn take(&mut self, file: FileSummary) -> Result<(), ValidateError> {
        let FileSummary { file, tally, totals, rows, attrs, complete } = file;
        self.tally.merge(tally);
        self.totals.add(&totals);
        self.complete &= complete;
        if let Some(attrs) = attrs {
            self.attrs(&file.key, &attrs);
        }
        self.pass_on(Some(&file.first)).await?;
        for CheckedRow { repo, path, digest } in rows {
            let name = FileName { repo, path };
            if self.rows.insert(name.clone(), digest).is_some() {
                self.about(Check::RunFiles, &name, "has more than one row");
            }
        }
        Ok(())
    }

    /// Takes the rows up to `limit`, in the order of their names, and compares them with what is listed.
    async fn pass_on(&mut self, limit: Option<&FileName>) -> Result<(), ValidateError> {
        let rows: Vec<_> = self.rows.before(limit).collect();
        for (name, digest) in rows {
            self.compare_with_listed(&name).await?;
            if self.open.as_ref().is_some_and(|open| open.repo != name.repo) {
                self.close();
            }
            let open = self.open.get_or_insert_with(|| OpenRepo { repo: name.repo, rows: 0, digests: Vec::new() });
            open.rows += 1;
            open.digests.extend(digest.map(|digest| (name.path, digest)));
        }
        Ok(())
    }

    /// Files listed = rows written: each once, no others.
    async fn compare_with_listed(&mut self, row: &FileName) -> Result<(), ValidateError> {
        loop {
            let Some(listed) = &mut self.listed else { return Ok(()) };
            match listed.next_up_to(row).await? {
                Next::Same => {
                    self.tally.looked(Check::RunFiles, 1);
                    return Ok(());
                }
                Next::None => {
                    self.about(Check::RunFiles, row, "has a row more than the run's bins list it");
                    return Ok(());
                }
                Next::Before(name) => self.without_row(&name),
                Next::Twice(name) => self.about(Check::RunFiles, &name, "is listed twice"),
                Next::Damaged(message) => {
                    self.tally.expect(Check::RunFiles, false, None, None, || message);
                    self.listed = None;
                }
            }
        }
    }

    /// A file that is listed has no row. (A data file that could not be read has been found fault with.)
    fn without_row(&mut self, name: &FileName) {
        if self.complete {
            self.about(Check::RunFiles, name, "is listed in the run's bins and has no row");
        }
    }

    /// Finds fault with a source file.
    fn about(&mut self, check: Check, name: &FileName, message: &str) {
        self.tally.expect(check, false, name.repo.as_deref(), Some(&name.path), || message.to_owned());
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
        let Some(OpenRepo { repo, rows, digests }) = self.open.take() else { return };
        while let Some(summary) = self.summaries.next_if(|summary| summary.repo < repo) {
            self.without_rows(summary);
        }
        let folded = fold_repository(digests.iter().map(|(path, digest)| (path.as_str(), *digest)));
        match self.summaries.next_if(|summary| summary.repo == repo) {
            // Some of its rows may stand in the file that could not be read.
            Some(_) if !self.complete => {}
            Some(RepoSummary { files, digest, .. }) => {
                self.tally.expect(Check::RunTotals, *files == rows, repo.as_deref(), None, || {
                    format!("has {rows} rows, the manifest says {files} files")
                });
                let hex = hex(&folded);
                self.tally.expect(Check::DigestRepository, *digest == hex, repo.as_deref(), None, || {
                    format!("the digest of its rows is {hex}, the manifest says {digest}")
                });
            }
            None => self.tally.expect(Check::RunTotals, false, repo.as_deref(), None, || "the manifest has no such repository".to_owned()),
        }
        self.folded.push((repo, folded));
    }

    fn without_rows(&mut self, summary: &RepoSummary) {
        if self.complete {
            self.tally.expect(Check::RunTotals, false, summary.repo.as_deref(), None, || "is in the manifest and has no rows".to_owned());
        }
    }

    /// Compares the run with its header.
    pub(crate) async fn finish(mut self) -> Result<Report, ValidateError> {
        self.pass_on(None).await?;
        self.close();
        while let Some(summary) = self.summaries.next() {
            self.without_rows(summary);
        }
        while let Some(listed) = &mut self.listed {
            match listed.next().await? {
                Next::Before(name) => self.without_row(&name),
                Next::Twice(name) => self.about(Check::RunFiles, &name, "is listed twice"),
                Next::Damaged(message) => {
                    self.tally.expect(Check::RunFiles, false, None, None, || message);
                    self.listed = None;
                }
                Next::Same | Next::None => self.listed = None,
            }
        }
        if self.complete {
            self.header();
        }
        Ok(Report { tally: self.tally, totals: self.totals })
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

/// The files of the run's bins, in the order of their names.
struct Listed<'a> {
    bins: Pin<Box<dyn Stream<Item = Result<Vec<u8>, LandingError>> + Send + 'a>>,
    /// Of each bin the least name that any bin behind it begins with.
    limits: std::vec::IntoIter<Option<FileName>>,
    names: InOrder<()>,
    ready: std::vec::IntoIter<FileName>,
    twice: Vec<FileName>,
    peeked: Option<FileName>,
}

/// What comes next of what is listed.
enum Next {
    /// The file that was asked for.
    Same,
    /// A file before it.
    Before(FileName),
    /// A file that is listed more than once.
    Twice(FileName),
    /// The bins cannot be read further.
    Damaged(String),
    /// No file up to the one that was asked for.
    None,
}

impl<'a> Listed<'a> {
    fn new(facts: &'a FactsStore, index: &'a BinIndex) -> Self {
        // Bins overlap where a huge file has one of its own, so that only what stands before all further bins is sure.
        let mut limits = Vec::with_capacity(index.bins.len());
        let mut least: Option<&FileName> = None;
        for bin in index.bins.iter().rev() {
            limits.push(least.cloned());
            least = Some(least.map_or(&bin.first, |least| least.min(&bin.first)));
        }
        limits.reverse();
        Self {
            bins: facts.bin_contents(index).boxed(),
            limits: limits.into_iter(),
            names: InOrder::default(),
            ready: Vec::new().into_iter(),
            twice: Vec::new(),
            peeked: None,
        }
    }

    /// The next file, unless it stands behind `limit`.
    async fn next_up_to(&mut self, limit: &FileName) -> Result<Next, ValidateError> {
        match self.next().await? {
            Next::Before(name) if name == *limit => Ok(Next::Same),
            Next::Before(name) if name > *limit => {
                self.peeked = Some(name);
                Ok(Next::None)
            }
            other => Ok(other),
        }
    }

    /// The next file.
    async fn next(&mut self) -> Result<Next, ValidateError> {
        if let Some(name) = self.peeked.take() {
            return Ok(Next::Before(name));
        }
        loop {
            if let Some(name) = self.twice.pop() {
                return Ok(Next::Twice(name));
            }
            if let Some(name) = self.ready.next() {
                return Ok(Next::Before(name));
            }
            let Some(content) = self.bins.next().await else {
                self.ready = self.names.before(None).map(|(name, ())| name).collect::<Vec<_>>().into_iter();
                return Ok(match self.ready.next() {
                    Some(name) => Next::Before(name),
                    None => Next::None,
                });
            };
            let bin = match content {
                Ok(content) => decode_bin(&content).map_err(|error| error.to_string()),
                Err(error @ LandingError::Damaged { .. }) => Err(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            let files = match bin {
                Ok(bin) => bin.files,
                Err(error) => return Ok(Next::Damaged(format!("the bins cannot be read: {error}"))),
            };
            for file in files {
                let name = FileName { repo: file.repo, path: file.path };
                if self.names.insert(name.clone(), ()).is_some() {
                    self.twice.push(name);
                }
            }
            let limit = self.limits.next().flatten();
            self.ready = self.names.before(limit.as_ref()).map(|(name, ())| name).collect::<Vec<_>>().into_iter();
        }
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
