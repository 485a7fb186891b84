//! What `AnalyzeExec` does: bins in, the rows of their files out.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytefacts_corpus::Bin;
use bytefacts_facts::{RowBuilder, coded_schema};
use bytefacts_landing::{BinRecord, FactsStore, RunId};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::metrics::Count;
use futures::StreamExt as _;
use tokio::sync::mpsc::Sender;

use super::bins::BinRow;
use super::envelope::{Envelope, attach, landed_marker, schema_with_envelopes};
use crate::error::{landing_error, lasting};
use crate::job::Job;
use crate::metrics::{FileMetrics, StageCounts};
use crate::node::Node;
use crate::node::attempt::Attempt;
use crate::node::file::{Loaded, Loader};
use crate::node::open_attempts::OwnAttempts;
use crate::node::reuse::LandedBins;

/// A batch is sent on when its rows take this many bytes: large enough to amortise, small enough that several fit in memory beside their Parquet.
const BATCH_BYTES: usize = 16 << 20;

/// The analysis of one partition's bins.
pub(super) struct Analysis {
    node: Arc<Node>,
    loader: Arc<Loader>,
    facts: FactsStore,
    run: RunId,
    schema: SchemaRef,
    rows: Sender<Result<RecordBatch>>,
    files: Count,
    job: Job,
    attempts: OwnAttempts,
    landed_bins: Option<LandedBins>,
    /// Taken while a blocking thread appends to it.
    builder: Option<RowBuilder>,
    envelopes: Vec<Envelope>,
}

impl Analysis {
    pub(super) async fn begin(
        job: Job,
        node: Arc<Node>,
        attempts: OwnAttempts,
        rows: Sender<Result<RecordBatch>>,
        files: Count,
    ) -> Result<Self> {
        let facts = node.stores().open_facts(&job.facts).map_err(lasting)?;
        let run = RunId::new(job.run.clone()).map_err(lasting)?;
        let interpreter = node.interpreter_of(&job, &facts, &run).await?;
        let builder = RowBuilder::new(&job.attrs(&interpreter), job.row_options().map_err(lasting)?);
        Ok(Self {
            facts,
            run,
            schema: schema_with_envelopes(&coded_schema()),
            builder: Some(builder),
            attempts,
            landed_bins: node.landed_bins(&job),
            loader: Arc::new(Loader::new(job.clone(), &interpreter, Arc::clone(&node)).await?),
            job,
            node,
            rows,
            files,
            envelopes: Vec::new(),
        })
    }

    /// Streams the rows of one bin, in the order of its files.
    pub(super) async fn bin(&mut self, row: BinRow) -> Result<()> {
        // An attempt whose result was lost with its executor has left a record: its work is not done again.
        if let Some(record) = self.facts.bin_record(&self.run, row.bin).await.map_err(landing_error)? {
            self.node.progress().add_landed(record.stats.files, record.stats.source_bytes);
            return self.send_landed(row.bin).await;
        }
        let content = self.facts.bin_content(&row.shard, row.range()?).await.map_err(landing_error)?;
        let bin = bytefacts_corpus::decode_bin(&content).map_err(lasting)?;
        if bin.bin_id != row.bin {
            return internal_err!("the bins of run {} have bin {} where bin {} should be", self.run, bin.bin_id, row.bin);
        }
        if let Some(record) = self.take_over(&bin).await {
            self.node.progress().add_record(&record.stats);
            tracing::info!(run = %self.run, bin = row.bin, files = record.stats.files, "bin taken over, nothing of it has changed");
            return self.send_landed(row.bin).await;
        }
        let attempt = Arc::new(Attempt::begin(&self.job, &self.facts, &self.run, row.bin, &self.node, &self.attempts).await?);
        let streamed = self.files(bin, &attempt).await;
        if streamed.is_err() {
            attempt.forget().await;
        }
        streamed
    }

    /// Lands what this node landed before of the very same files, if it has.
    ///
    /// Taking a bin over can only help: what goes wrong on the way leaves no record, and the bin is done afresh. A fault that is not only that
    /// of the copy comes up again there.
    async fn take_over(&self, bin: &Bin) -> Option<BinRecord> {
        self.try_take_over(bin).await.unwrap_or_else(|error| {
            tracing::warn!(run = %self.run, bin = bin.bin_id, %error, "the bin cannot be taken over and is done afresh");
            None
        })
    }

    async fn try_take_over(&self, bin: &Bin) -> Result<Option<BinRecord>> {
        let Some(landed) = &self.landed_bins else { return Ok(None) };
        if !landed.may_have(&bin.files).await {
            return Ok(None);
        }
        let Some(mut sources) = self.loader.identify(&bin.files).await? else { return Ok(None) };
        sources.sort();
        landed.take_over(&sources, &self.facts, &self.run, bin.bin_id, self.node.next_attempt()).await.map_err(landing_error)
    }

    async fn files(&mut self, bin: Bin, attempt: &Arc<Attempt>) -> Result<()> {
        let bin_files = bin.files.len() as u64;
        let loader = Arc::clone(&self.loader);
        let loaded = futures::stream::iter(bin.files)
            // Memory is reserved in the order of the files, so that the file that all others wait for is never the one that waits for memory.
            .then(|entry| {
                let attempt = Arc::clone(attempt);
                async move { attempt.reserve(entry.size).await.map(|permit| (entry, permit)) }
            })
            .map(move |reserved| {
                let (loader, attempt) = (Arc::clone(&loader), Arc::clone(attempt));
                SpawnedTask::spawn(async move {
                    let (entry, permit) = reserved?;
                    if attempt.is_careful() {
                        loader.load_carefully(entry, &attempt, permit).await
                    } else {
                        loader.load(entry, permit).await
                    }
                })
                .join_unwind()
            })
            .buffered(attempt.files_in_flight());
        futures::pin_mut!(loaded);
        let mut builder = self.builder.take();
        while let Some(file) = loaded.next().await {
            let file = file.map_err(lasting)??;
            let Some(rows) = builder.take() else { return internal_err!("the row builder is gone") };
            let (rows, metrics, errors) = append(rows, file).await?;
            self.node.progress().add_file(&metrics, &errors);
            attempt.file_done().await;
            self.files.add(1);
            self.envelopes.push(Envelope { bin: bin.bin_id, bin_files, landed: false, metrics });
            let full = rows.bytes() >= BATCH_BYTES;
            builder = Some(rows);
            if full {
                flush(&mut builder, &mut self.envelopes, &self.schema, &self.rows).await?;
            }
        }
        flush(&mut builder, &mut self.envelopes, &self.schema, &self.rows).await?;
        self.builder = builder;
        Ok(())
    }

    /// Tells `LandExec` that the bin has a record.
    async fn send_landed(&self, bin: u32) -> Result<()> {
        let _: Result<(), _> = self.rows.send(Ok(landed_marker(bin, &self.schema)?)).await;
        Ok(())
    }
}

/// Appends one file's row on a thread that may be busy for long.
async fn append(mut rows: RowBuilder, file: Loaded) -> Result<(RowBuilder, FileMetrics, StageCounts)> {
    let task = SpawnedTask::spawn_blocking(move || {
        let (metrics, errors) = file.append_to(&mut rows)?;
        Ok((rows, metrics, errors))
    });
    task.join_unwind().await.map_err(lasting)?
}

async fn flush(
    builder: &mut Option<RowBuilder>,
    envelopes: &mut Vec<Envelope>,
    schema: &SchemaRef,
    rows: &Sender<Result<RecordBatch>>,
) -> Result<()> {
    let Some(builder) = builder else { return Ok(()) };
    if envelopes.is_empty() {
        return Ok(());
    }
    let batch = builder.finish_coded().map_err(lasting)?;
    let batch = attach(&batch, envelopes, schema)?;
    envelopes.clear();
    // A closed channel means that nobody needs the rows any more; the stream's end aborts this task.
    let _: Result<(), _> = rows.send(Ok(batch)).await;
    Ok(())
}
