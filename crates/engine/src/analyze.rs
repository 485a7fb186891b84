//! `AnalyzeExec`: takes rows that name bins and streams the facts of every file in them.
//!
//! It has a child on purpose. Ballista 55 cuts a stage into tasks by cutting its leaves, and knows only its own kinds of leaves: a custom leaf
//! would be shipped whole to every task and its rows doubled without an error. Rows, not partition numbers, name bins, for the same reason.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use bytefacts_corpus::Bin;
use bytefacts_facts::{RowBuilder, coded_schema};
use bytefacts_landing::{AttemptId, BinRecord, FactsStore, RunId};
use bytefacts_query::operator::{RECOMPUTE, single_child_properties};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt as _;
use tokio::sync::mpsc::Sender;

use crate::care::{Care, OwnAttempts};
use crate::error::{external, landing_error};
use crate::job::Job;
use crate::node::Node;
use crate::progress::StageCounts;
use crate::reuse::LandedBins;
use crate::unit::{Loaded, Loader};
use crate::work::{self, Work, schema_with_work};

/// The schema of `AnalyzeExec`'s input: one row a bin, which names the bin and where it is written down.
#[must_use]
pub fn bins_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("bin_id", DataType::Int32, false),
        Field::new("shard", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("length", DataType::Int64, false),
    ]))
}

/// A row of [`bins_schema`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinRow {
    /// The bin.
    pub bin: u32,
    /// The key of the shard of bins that it is in.
    pub shard: String,
    /// Where it begins there, in bytes.
    pub offset: u64,
    /// Its length there, in bytes.
    pub length: u64,
}

/// Streams the facts of the bins that its input names.
#[derive(Debug)]
pub struct AnalyzeExec {
    job: Job,
    input: Arc<dyn ExecutionPlan>,
    node: Option<Arc<Node>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AnalyzeExec {
    /// An operator over rows of [`bins_schema`]. It can run only where there is a node.
    #[must_use]
    pub fn new(job: Job, input: Arc<dyn ExecutionPlan>, node: Option<Arc<Node>>) -> Self {
        let properties = single_child_properties(EquivalenceProperties::new(schema_with_work(&coded_schema())), &input);
        Self { job, input, node, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Refuses a child that Ballista would not slice: doubled rows are worse than a failed job.
    ///
    /// # Errors
    /// When the child is not a memory source.
    pub fn check_input(&self) -> Result<()> {
        let sliceable = self
            .input
            .downcast_ref::<DataSourceExec>()
            .is_some_and(|source| source.data_source().downcast_ref::<MemorySourceConfig>().is_some());
        if sliceable {
            Ok(())
        } else {
            internal_err!("AnalyzeExec over {}: only a memory source is cut into tasks correctly", self.input.name())
        }
    }
}

impl DisplayAs for AnalyzeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "AnalyzeExec: run={}, corpus={}", self.job.run, self.job.corpus)
    }
}

impl ExecutionPlan for AnalyzeExec {
    fn name(&self) -> &'static str {
        "AnalyzeExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }
    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else { return internal_err!("AnalyzeExec takes one child, got {}", children.len()) };
        Ok(Arc::new(Self::new(self.job.clone(), Arc::clone(input), self.node.clone())))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(node) = self.node.clone() else { return internal_err!("AnalyzeExec was executed on a process that is no executor") };
        let mut bins = self.input.execute(partition, context)?;
        let files = MetricBuilder::new(&self.metrics).counter("files", partition);
        let job = self.job.clone();
        let mut output = RecordBatchReceiverStreamBuilder::new(self.schema(), 2);
        let rows = output.tx();
        let attempts = OwnAttempts::new(&node);
        let own = attempts.clone();
        output.spawn(async move {
            let mut analysis = Analysis::begin(job, node, attempts, rows, files).await?;
            while let Some(batch) = bins.next().await {
                for bin in bin_rows(&batch?)? {
                    analysis.bin(bin).await?;
                }
            }
            Ok(())
        });
        // Whoever lands the rows holds the stream until the last bin has its record. If it is dropped before, the attempts are taken back.
        let rows = output.build().inspect(move |_| {
            let _ = &own;
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// Rows of [`bins_schema`] as a batch.
///
/// # Errors
/// When an offset is beyond 2^63.
pub(crate) fn bins_batch(rows: &[BinRow]) -> Result<RecordBatch> {
    use arrow::array::{Int32Array, Int64Array, StringArray};
    Ok(RecordBatch::try_new(
        bins_schema(),
        vec![
            Arc::new(rows.iter().map(|r| r.bin.cast_signed()).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|r| Some(r.shard.as_str())).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.offset.cast_signed()).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.length.cast_signed()).collect::<Int64Array>()),
        ],
    )?)
}

fn bin_rows(batch: &RecordBatch) -> Result<Vec<BinRow>> {
    let long = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let bin = batch.column_by_name("bin_id").and_then(|c| c.as_primitive_opt::<Int32Type>());
    let shard = batch.column_by_name("shard").and_then(|c| c.as_string_opt::<i32>());
    let (Some(bin), Some(shard), Some(offset), Some(length)) = (bin, shard, long("offset"), long("length")) else {
        return internal_err!("rows that name no bins: {}", batch.schema());
    };
    let row = |i| BinRow {
        bin: bin.value(i).cast_unsigned(),
        shard: shard.value(i).to_owned(),
        offset: offset.value(i).cast_unsigned(),
        length: length.value(i).cast_unsigned(),
    };
    Ok((0..bin.len()).map(row).collect())
}

/// A batch is sent on when its rows take this many bytes: large enough to amortise, small enough that several fit in memory beside their Parquet.
const BATCH_BYTES: usize = 16 << 20;

/// The analysis of one partition's bins.
struct Analysis {
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
    work: Vec<Work>,
}

impl Analysis {
    async fn begin(job: Job, node: Arc<Node>, attempts: OwnAttempts, rows: Sender<Result<RecordBatch>>, files: Count) -> Result<Self> {
        let facts = node.stores().open_facts(&job.facts).map_err(external)?;
        let run = RunId::new(job.run.clone()).map_err(external)?;
        let interpreter = node.interpreter_of(&job, &facts, &run).await?;
        let builder = RowBuilder::new(&job.attrs(&interpreter), job.row_options().map_err(external)?);
        Ok(Self {
            facts,
            run,
            schema: schema_with_work(&coded_schema()),
            builder: Some(builder),
            attempts,
            landed_bins: node.landed_bins(&job),
            loader: Arc::new(Loader::new(job.clone(), &interpreter, Arc::clone(&node)).await?),
            job,
            node,
            rows,
            files,
            work: Vec::new(),
        })
    }

    /// Streams the rows of one bin, in the order of its files.
    async fn bin(&mut self, row: BinRow) -> Result<()> {
        // An attempt whose result was lost with its executor has left a record: its work is not done again.
        if let Some(record) = self.facts.bin_record(&self.run, row.bin).await.map_err(landing_error)? {
            self.node.progress().add_landed(record.stats.files, record.stats.source_bytes);
            return self.send_landed(row.bin).await;
        }
        let Some(end) = row.offset.checked_add(row.length) else {
            return internal_err!("bin {} of run {} lies beyond all files: {} + {}", row.bin, self.run, row.offset, row.length);
        };
        let content = self.facts.bin_content(&row.shard, row.offset..end).await.map_err(landing_error)?;
        let bin = bytefacts_corpus::decode_bin(&content).map_err(external)?;
        if bin.bin_id != row.bin {
            return internal_err!("the bins of run {} have bin {} where bin {} should be", self.run, bin.bin_id, row.bin);
        }
        if let Some(record) = self.take_over(&bin).await {
            self.node.progress().add_record(&record.stats);
            tracing::info!(run = %self.run, bin = row.bin, files = record.stats.files, "bin taken over, nothing of it has changed");
            return self.send_landed(row.bin).await;
        }
        let care = Arc::new(Care::begin(&self.job, &self.facts, &self.run, row.bin, &self.node, &self.attempts).await?);
        let streamed = self.files(bin, &care).await;
        if streamed.is_err() {
            care.forget().await;
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
        let attempt = AttemptId::new(self.node.next_attempt()).map_err(external)?;
        landed.take_over(&sources, &self.facts, &self.run, bin.bin_id, attempt).await.map_err(landing_error)
    }

    async fn files(&mut self, bin: Bin, care: &Arc<Care>) -> Result<()> {
        let bin_files = bin.files.len() as u64;
        let loader = Arc::clone(&self.loader);
        let loaded = futures::stream::iter(bin.files)
            // Memory is reserved in the order of the files, so that the file that all others wait for is never the one that waits for memory.
            .then(|entry| {
                let care = Arc::clone(care);
                async move { care.reserve(entry.size).await.map(|permit| (entry, permit)) }
            })
            .map(move |reserved| {
                let (loader, care) = (Arc::clone(&loader), Arc::clone(care));
                SpawnedTask::spawn(async move {
                    let (entry, permit) = reserved?;
                    if care.is_careful() { loader.load_carefully(entry, &care, permit).await } else { loader.load(entry, permit).await }
                })
                .join_unwind()
            })
            .buffered(care.files_in_flight());
        futures::pin_mut!(loaded);
        let mut builder = self.builder.take();
        while let Some(file) = loaded.next().await {
            let file = file.map_err(external)??;
            let Some(rows) = builder.take() else { return internal_err!("the row builder is gone") };
            let (rows, work, errors) = append(rows, file, bin.bin_id).await?;
            self.node.progress().add_file(&work, &errors);
            care.file_done().await;
            self.files.add(1);
            self.work.push(Work { bin_files, ..work });
            let full = rows.bytes() >= BATCH_BYTES;
            builder = Some(rows);
            if full {
                flush(&mut builder, &mut self.work, &self.schema, &self.rows).await?;
            }
        }
        flush(&mut builder, &mut self.work, &self.schema, &self.rows).await?;
        self.builder = builder;
        Ok(())
    }

    /// Tells `LandExec` that the bin has a record.
    async fn send_landed(&self, bin: u32) -> Result<()> {
        let _: Result<(), _> = self.rows.send(Ok(work::landed_marker(bin, &self.schema)?)).await;
        Ok(())
    }
}

/// Appends one file's row on a thread that may be busy for long.
async fn append(mut rows: RowBuilder, file: Loaded, bin: u32) -> Result<(RowBuilder, Work, StageCounts)> {
    let task = SpawnedTask::spawn_blocking(move || {
        let (work, errors) = file.append_to(&mut rows, bin)?;
        Ok((rows, work, errors))
    });
    task.join_unwind().await.map_err(external)?
}

async fn flush(
    builder: &mut Option<RowBuilder>,
    work: &mut Vec<Work>,
    schema: &SchemaRef,
    rows: &Sender<Result<RecordBatch>>,
) -> Result<()> {
    let Some(builder) = builder else { return Ok(()) };
    if work.is_empty() {
        return Ok(());
    }
    let batch = builder.finish_coded().map_err(external)?;
    let batch = work::attach(&batch, work, schema)?;
    work.clear();
    // A closed channel means that nobody needs the rows any more; the stream's end aborts this task.
    let _: Result<(), _> = rows.send(Ok(batch)).await;
    Ok(())
}
