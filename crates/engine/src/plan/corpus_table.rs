//! `CorpusTable`: the corpus as a table of landed bins. Scanning it plans the job.
//!
//! The client ships the table as a [`Job`]; `scan` runs on the scheduler, where it lists the corpus, packs bins and writes them down as they come.
//! Their index is created once: a resubmission, or an `EXPLAIN`, finds it and plans the very same bins.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_corpus::{Bin, ListError, Location, Notes, encode_bin, pack, pack_one};
use bytefacts_landing::{BinIndex, BinsWriter, FactsStore, FileName, IndexedBin, PlannedBin, RunId};
use bytefacts_stores::Stores;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio::sync::mpsc;

use super::analyze::AnalyzeExec;
use super::bins::{BinRow, bins_batch, bins_schema};
use super::land::{LandExec, landed_schema};
use crate::attempt_id::fresh_attempt;
use crate::error::{landing_error, lasting, list_error};
use crate::job::{Job, open_corpus};
use crate::signs::{NOTE_EVERY, note_planning};

/// A corpus whose scan extracts and lands its facts.
#[derive(Debug)]
pub struct CorpusTable {
    job: Job,
    stores: Arc<Stores>,
    /// How often it is noted that the plan is being made.
    note_every: Duration,
}

impl CorpusTable {
    /// The table of `job`. Nothing is read before it is scanned.
    #[must_use]
    pub fn new(job: Job, stores: Arc<Stores>) -> Self {
        Self { job, stores, note_every: NOTE_EVERY }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The bins of the run, as rows for `AnalyzeExec`, the costly ones first: those on record, else freshly packed ones.
    async fn bins(&self) -> Result<Vec<BinRow>> {
        let facts = self.stores.open_facts(&self.job.facts).map_err(lasting)?;
        let run = RunId::new(self.job.run.clone()).map_err(lasting)?;
        let index = match facts.bins(&run).await.map_err(landing_error)? {
            Some(recorded) => recorded,
            // Listing, packing and writing bins down may take long, and somebody waits.
            None => note_planning(&facts, &run, self.note_every, self.write_bins(&facts, &run)).await?,
        };
        // Long ones first, so that short ones even out the end (longest processing time first).
        let mut bins: Vec<(u32, &IndexedBin)> = index.numbered().collect();
        bins.sort_by_key(|(number, bin)| (Reverse(bin.cost_us), *number));
        let row = |(number, bin): (u32, &IndexedBin)| {
            let shard = usize::try_from(bin.shard).ok().and_then(|shard| index.shards.get(shard));
            let Some(shard) = shard else { return internal_err!("bin {number} of run {run} is in a shard that there is not") };
            Ok(BinRow { bin: number, shard: shard.key.clone(), offset: bin.offset, length: bin.length })
        };
        bins.into_iter().map(row).collect()
    }

    /// Lists the corpus, packs bins and writes them down as they come.
    async fn write_bins(&self, facts: &FactsStore, run: &RunId) -> Result<BinIndex> {
        let corpus = open_corpus(&self.job, &self.stores)?;
        let inventory = corpus.list().await.map_err(|error| list_error(error, &shown(&self.job.corpus)))?;
        note_left_out(&self.job.run, &inventory.notes);
        let mut writer = BinsWriter::new(facts, run, fresh_attempt()).await.map_err(landing_error)?;
        let (packed, mut bins) = mpsc::channel(2);
        let (options, one_bin) = (self.job.bins, inventory.files() < self.job.options.parallel_min_files);
        // A large listing is read from temporary files, which blocks.
        let packing = SpawnedTask::spawn_blocking(move || {
            let entries = inventory.entries()?;
            if one_bin {
                if let Some(bin) = pack_one(entries)? {
                    let _: Result<(), _> = packed.blocking_send(bin);
                }
                return Ok(());
            }
            for bin in pack(entries, inventory.cost_us(), options) {
                if packed.blocking_send(bin?).is_err() {
                    break; // the store has failed, and says so below
                }
            }
            Ok::<(), ListError>(())
        });
        while let Some(bin) = bins.recv().await {
            let content = encode_bin(&bin).map_err(lasting)?;
            let Some(planned) = planned(&bin) else { return internal_err!("bin {} of run {run} is empty", bin.bin_id) };
            writer.push(planned, &content).await.map_err(landing_error)?;
        }
        packing.join_unwind().await.map_err(lasting)?.map_err(|error| list_error(error, &shown(&self.job.corpus)))?;
        writer.finish().await.map_err(landing_error)
    }
}

/// What the index says of a bin; `None` if it has no files.
fn planned(bin: &Bin) -> Option<PlannedBin> {
    let first = bin.files.first()?;
    Some(PlannedBin {
        files: bin.files.len() as u64,
        source_bytes: bin.files.iter().map(|file| file.size).sum(),
        cost_us: bin.cost_us,
        first: FileName::new(first.repo.as_deref(), &first.path),
    })
}

#[async_trait]
impl TableProvider for CorpusTable {
    fn schema(&self) -> SchemaRef {
        landed_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>, // every bin is landed, whatever the limit
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bins = self.bins().await?;
        if bins.is_empty() {
            return Err(lasting(format!("run {} has no bins: its corpus has no Python files", self.job.run)));
        }
        let partitions = bins.iter().map(|bin| Ok(vec![bins_batch(std::slice::from_ref(bin))?])).collect::<Result<Vec<_>>>()?;
        let source = MemorySourceConfig::try_new_exec(&partitions, bins_schema(), None)?;
        let analyze = Arc::new(AnalyzeExec::new(self.job.clone(), source, None));
        Ok(Arc::new(LandExec::try_new(self.job.clone(), analyze, projection.cloned(), None)?))
    }
}

/// A place as the user writes it: a path, or a URI.
fn shown(place: &str) -> String {
    let path = Location::parse(place).ok().and_then(|location| Some(location.local_path()?.display().to_string()));
    path.unwrap_or_else(|| place.to_owned())
}

/// What a listing leaves out on purpose is said once, where the corpus is listed.
fn note_left_out(run: &str, notes: &Notes) {
    let surprising = notes.linked_folders.count + notes.unreadable_folders.count;
    if surprising > 0 {
        tracing::warn!(run, left_out = %notes, links = ?notes.linked_folders.examples, unreadable = ?notes.unreadable_folders.examples, "not everything in the corpus was taken");
    } else if !notes.is_empty() {
        tracing::info!(run, left_out = %notes, "listed the corpus");
    }
}

#[cfg(test)]
mod tests;
