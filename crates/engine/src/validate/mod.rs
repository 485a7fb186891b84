//! Whether a committed run keeps what the contract promises: schema, views and ids as `crates/facts` defines them.
//!
//! The checks on rows stand in [`bytefacts_facts::validate`]. Here is what needs a store or a session: data files against the manifest, the fold
//! of digests, files listed against files written, ids over the whole run, the catalogue of a session, audits of the run.
//!
//! Data files are read one batch at a time and as many at the same time as there are cores. What grows with the run is 8 bytes for each id (see
//! [`unique`]), up to a limit above which they go to temporary files, and what files and bins overlap, and one repository's rows.

mod audits;
mod catalog;
mod data_file;
mod error;
mod report;
mod run;
mod unique;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytefacts_facts::validate::{Check, Tally, ValidateOptions};
use bytefacts_landing::{FactsStore, LandedFile, Manifest};
use bytefacts_stores::Stores;
use futures::{StreamExt as _, TryStreamExt as _};

use self::data_file::{DataFile, FileReport};
pub use self::error::ValidateError;
pub use self::report::Report;
use self::run::RunFold;
use self::unique::{RepeatedIds, UniqueIds};

/// How a run is validated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Findings kept for each check; all are counted.
    pub keep: usize,
    /// Data files read at the same time.
    pub concurrency: usize,
    /// Ids kept in memory, 8 bytes each.
    pub ids_in_memory: usize,
}

impl Default for Options {
    /// 20 findings a check, a data file a core, 256 MiB of ids.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { keep: 20, concurrency: cores, ids_in_memory: 32 << 20 }
    }
}

/// Called with the number of rows that have been checked since the last call.
pub type OnRows = Arc<dyn Fn(u64) + Send + Sync>;

/// Validates a committed run of the facts at `location` (a URL).
///
/// # Errors
/// When the store, the session or the disk fails. Data that is missing or damaged is a finding.
pub async fn validate(
    stores: &Stores,
    location: &str,
    manifest: &Manifest,
    options: &Options,
    on_rows: OnRows,
) -> Result<Report, ValidateError> {
    let facts = stores.open(location)?.facts();
    let row_options = ValidateOptions { terminators: terminators(manifest), keep: options.keep };
    let index = facts.bins(&manifest.run.run_id).await?;
    let mut run = RunFold::new(&facts, manifest, index.as_ref(), options.keep);
    let mut ids = UniqueIds::new(options.ids_in_memory);

    // In the order of the manifest, that is, of the first names.
    let mut reports = futures::stream::iter(manifest.files.iter().cloned())
        .map(|file| spawn(file, facts.clone(), row_options.clone(), Arc::clone(&on_rows)))
        .buffered(options.concurrency.max(1));
    while let Some(report) = reports.try_next().await? {
        run.take(report.summary).await?;
        ids.add(report.ids)?;
    }
    drop(reports);
    let Report { mut tally, totals } = run.finish().await?;

    let (looked, repeated) = ids.repeated()?;
    for (check, ids) in looked {
        // Whether an id is the right one has been counted already, for those of which that is checked.
        let more = ids.saturating_sub(tally.count(check).looked);
        tally.looked(check, more);
    }
    if !repeated.is_empty() {
        name_repeated(&facts, manifest, &row_options, repeated, &mut tally).await?;
    }
    catalog::check(stores, location, &manifest.run.run_id, &mut tally).await?;
    snapshot(&facts, manifest, &mut tally).await?;
    audits::check(&facts, manifest, &mut tally).await?;
    Ok(Report { tally, totals })
}

/// Checks a data file on a thread of the runtime.
async fn spawn(file: LandedFile, facts: FactsStore, options: ValidateOptions, on_rows: OnRows) -> Result<FileReport, ValidateError> {
    let (named, keep) = (file.clone(), options.keep);
    let task = tokio::spawn(async move { DataFile::new(&facts, file).check(&options, &*on_rows).await });
    match task.await {
        Ok(report) => report,
        // Parquet's reader may panic on bytes that are none.
        Err(_) => {
            let mut report = FileReport::unreadable(named, keep);
            report.fault(Check::FileReadable, "its reader broke down");
            Ok(report)
        }
    }
}

/// Reads the data files once more to say where the ids stand that occur more than once.
async fn name_repeated(
    facts: &FactsStore,
    manifest: &Manifest,
    options: &ValidateOptions,
    repeated: BTreeMap<(Check, u64), u64>,
    tally: &mut Tally,
) -> Result<(), ValidateError> {
    let mut named = RepeatedIds::new(repeated, tally);
    for file in &manifest.files {
        DataFile::new(facts, file.clone()).pass_ids(options, &mut named).await?;
    }
    Ok(())
}

/// The recorded snapshot of the schema is there.
async fn snapshot(facts: &FactsStore, manifest: &Manifest, tally: &mut Tally) -> Result<(), ValidateError> {
    let Some(record) = &manifest.schema else { return Ok(()) };
    let found = facts.schema_snapshot(&record.snapshot).await?;
    tally.expect(Check::SchemaSnapshot, found.is_some(), None, None, || {
        format!("the snapshot {} is gone, or is not what its digest says", record.snapshot)
    });
    Ok(())
}

/// The opcodes that end blocks in the run.
fn terminators(manifest: &Manifest) -> Vec<String> {
    let names = manifest.run.options.get("terminator_opnames").and_then(|names| names.as_array());
    match names {
        Some(names) => names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        None => crate::job::ExtractOptions::default().terminator_opnames,
    }
}
