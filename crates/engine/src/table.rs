//! `CorpusTable`: the corpus as a table of landed bins. Scanning it plans the job.
//!
//! The client ships the table as a [`Job`]; `scan` runs on the scheduler, where it lists the corpus, packs bins and records them. The record is
//! created once: a resubmission, or an `EXPLAIN`, finds it and plans the very same bins.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_corpus::{Location, Notes, encode_bins, index_bins, pack, pack_one};
use bytefacts_landing::{Created, RunId};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::analyze::{AnalyzeExec, BinRow, bins_batch, bins_schema};
use crate::corpus::open_corpus;
use crate::error::{external, landing_error, list_error};
use crate::job::Job;
use crate::land::{LandExec, landed_schema};
use crate::stores::Stores;

/// A corpus whose scan extracts and lands its facts.
#[derive(Debug)]
pub struct CorpusTable {
    job: Job,
    stores: Arc<Stores>,
}

impl CorpusTable {
    /// The table of `job`. Nothing is read before it is scanned.
    #[must_use]
    pub fn new(job: Job, stores: Arc<Stores>) -> Self {
        Self { job, stores }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The bins of the run, as rows for `AnalyzeExec`: those on record, else freshly packed ones.
    async fn bins(&self) -> Result<Vec<BinRow>> {
        let facts = self.stores.open(&self.job.facts).map_err(external)?.facts();
        let run = RunId::new(self.job.run.clone()).map_err(external)?;

        let recorded = match facts.bins(&run).await.map_err(landing_error)? {
            Some(recorded) => recorded,
            None => {
                let inventory =
                    open_corpus(&self.job, &self.stores)?.list().await.map_err(|error| list_error(error, &shown(&self.job.corpus)))?;
                note_left_out(&inventory.notes);
                let bins = if (inventory.entries.len() as u64) < self.job.options.parallel_min_files {
                    Vec::from_iter(pack_one(inventory.entries))
                } else {
                    pack(inventory.entries, self.job.bins)
                };
                let (fresh, _) = encode_bins(&bins).map_err(external)?;
                match facts.create_bins(&run, fresh.clone()).await.map_err(landing_error)? {
                    Created::New => fresh,
                    Created::Existing(first) => first,
                }
            }
        };
        // Bins are numbered by their lines.
        let lines = index_bins(&recorded).map_err(external)?;
        Ok((0..).zip(lines).map(|(bin, line)| BinRow { bin, offset: line.start, length: line.end - line.start }).collect())
    }
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
            return Err(external(format!("run {} has no bins: its corpus has no Python files", self.job.run)));
        }
        let partitions = bins.iter().map(|bin| Ok(vec![bins_batch(&[*bin])?])).collect::<Result<Vec<_>>>()?;
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
fn note_left_out(notes: &Notes) {
    let surprising = notes.linked_folders.count + notes.unreadable_folders.count;
    if surprising > 0 {
        tracing::warn!(left_out = %notes, links = ?notes.linked_folders.examples, unreadable = ?notes.unreadable_folders.examples, "not everything in the corpus was taken");
    } else if !notes.is_empty() {
        tracing::info!(left_out = %notes, "listed the corpus");
    }
}
