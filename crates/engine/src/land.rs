//! `LandExec`: writes the rows of each bin as Parquet, records the bin, and answers with one small row a bin.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytefacts_facts::coded_schema;
use bytefacts_landing::{AttemptId, BinRecord, BinStats, BinWriter, FactsStore, FileDigest, RepoDigests, RunId, WriterOptions};
use bytefacts_query::operator::{RECOMPUTE, single_child_properties};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt as _;

use crate::error::{external, landing_error};
use crate::job::Job;
use crate::node::Node;
use crate::reuse::{LandedBins, Source};
use crate::work::{self, Work};

/// The schema of `LandExec`'s answer: one row a bin.
#[must_use]
pub fn landed_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("bin_id", DataType::Int32, false),
        Field::new("attempt", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
    ]))
}

/// Lands each bin that its input streams.
#[derive(Debug)]
pub struct LandExec {
    job: Job,
    input: Arc<dyn ExecutionPlan>,
    projection: Option<Vec<usize>>,
    node: Option<Arc<Node>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LandExec {
    /// An operator over the stream of `AnalyzeExec`.
    ///
    /// # Errors
    /// When `projection` names a column that [`landed_schema`] does not have.
    pub fn try_new(job: Job, input: Arc<dyn ExecutionPlan>, projection: Option<Vec<usize>>, node: Option<Arc<Node>>) -> Result<Self> {
        let schema = match &projection {
            Some(columns) => Arc::new(landed_schema().project(columns)?),
            None => landed_schema(),
        };
        let properties = single_child_properties(EquivalenceProperties::new(schema), &input);
        Ok(Self { job, input, projection, node, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The columns of [`landed_schema`] that are asked for; all without one.
    #[must_use]
    pub fn projection(&self) -> Option<&[usize]> {
        self.projection.as_deref()
    }
}

impl DisplayAs for LandExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "LandExec: run={}, facts={}", self.job.run, self.job.facts)
    }
}

impl ExecutionPlan for LandExec {
    fn name(&self) -> &'static str {
        "LandExec"
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
        let [input] = children.as_slice() else { return internal_err!("LandExec takes one child, got {}", children.len()) };
        Ok(Arc::new(Self::try_new(self.job.clone(), Arc::clone(input), self.projection.clone(), self.node.clone())?))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(node) = self.node.clone() else { return internal_err!("LandExec was executed on a process that is no executor") };
        let task = context.task_id().unwrap_or_default();
        let mut input = self.input.execute(partition, context)?;
        let (metrics, of) = (self.metrics.clone(), partition);
        let tell = move |record: &BinRecord| count_landed(&metrics, of, record);
        let (job, projection) = (self.job.clone(), self.projection.clone());
        let mut output = RecordBatchReceiverStreamBuilder::new(self.schema(), 2);
        let rows = output.tx();
        output.spawn(async move {
            let mut landing = Landing::new(&job, &node, task)?;
            while let Some(batch) = input.next().await {
                let records = match batch {
                    Ok(batch) => landing.take(&batch).await,
                    Err(error) => Err(error),
                };
                match records {
                    Ok(records) => {
                        for record in records {
                            tell(&record);
                            if rows.send(answer(&record, projection.as_deref())).await.is_err() {
                                landing.abort().await;
                                return Ok(()); // nobody listens any more
                            }
                        }
                    }
                    Err(error) => {
                        landing.abort().await;
                        return Err(error);
                    }
                }
            }
            if let Some(record) = landing.finish().await? {
                tell(&record);
                let _: Result<(), _> = rows.send(answer(&record, projection.as_deref())).await;
            }
            Ok(())
        });
        Ok(output.build())
    }
}

/// The metric of files in landed bins.
pub const FILES_METRIC: &str = "landed_files";

/// What the metrics of errors in landed bins begin with; the stage follows.
pub const ERRORS_METRIC: &str = "landed_errors_";

/// Tells the scheduler, to which metrics travel, how far the run is.
fn count_landed(metrics: &ExecutionPlanMetricsSet, partition: usize, record: &BinRecord) {
    let add = |name: String, count: u64| {
        MetricBuilder::new(metrics).counter(name, partition).add(usize::try_from(count).unwrap_or(usize::MAX));
    };
    add("landed_bytes".to_owned(), record.files.iter().map(|f| f.bytes).sum());
    add(FILES_METRIC.to_owned(), record.stats.files);
    for error in record.stats.errors.iter().filter(|error| error.severity == "error") {
        add(format!("{ERRORS_METRIC}{}", error.stage), error.count);
    }
}

/// The row that stands for a landed bin.
fn answer(record: &BinRecord, projection: Option<&[usize]>) -> Result<RecordBatch> {
    let batch = RecordBatch::try_new_with_options(
        landed_schema(),
        vec![
            Arc::new(Int32Array::from(vec![record.bin_id.cast_signed()])),
            Arc::new(StringArray::from(vec![record.attempt.as_str()])),
            Arc::new(Int64Array::from(vec![record.rows().cast_signed()])),
        ],
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    Ok(match projection {
        Some(columns) => batch.project(columns)?,
        None => batch,
    })
}

/// The bin being written, and how the next one is begun.
struct Landing<'a> {
    facts: FactsStore,
    run: RunId,
    schema: SchemaRef,
    node: &'a Node,
    landed_bins: Option<LandedBins>,
    /// Ballista's name of the task, for the log.
    task: String,
    open: Option<OpenBin>,
}

struct OpenBin {
    bin: u32,
    /// Files that it has, as it is written down.
    expected: u64,
    attempt: AttemptId,
    writer: BinWriter,
    stats: BinStats,
    digests: Vec<RepoDigests>,
    /// What the bin was made of; none once a row was not reproducible.
    sources: Option<Vec<Source>>,
    begun: Instant,
}

impl<'a> Landing<'a> {
    fn new(job: &Job, node: &'a Node, task: String) -> Result<Self> {
        let run = RunId::new(job.run.clone()).map_err(external)?;
        Ok(Self {
            facts: node.stores().open_facts(&job.facts).map_err(external)?,
            run,
            schema: coded_schema(),
            node,
            landed_bins: node.landed_bins(job),
            task,
            open: None,
        })
    }

    /// Writes the rows of a batch; returns the bins that it completed.
    async fn take(&mut self, batch: &RecordBatch) -> Result<Vec<BinRecord>> {
        let (facts, work) = work::detach(batch)?;
        let mut done = Vec::new();
        let mut start = 0;
        for same_bin in work.chunk_by(|a, b| a.bin == b.bin && a.landed == b.landed) {
            let rows = facts.slice(start, same_bin.len());
            start += same_bin.len();
            let Some(first) = same_bin.first() else { continue };
            if self.open.as_ref().is_some_and(|open| open.bin != first.bin) {
                done.extend(self.finish().await?);
            }
            if first.landed {
                match self.facts.bin_record(&self.run, first.bin).await.map_err(landing_error)? {
                    Some(record) => done.push(record),
                    None => return internal_err!("bin {} of run {} was landed and has no record", first.bin, self.run),
                }
            } else {
                self.write(first, &rows, same_bin).await?;
            }
        }
        Ok(done)
    }

    async fn write(&mut self, first: &Work, rows: &RecordBatch, work: &[Work]) -> Result<()> {
        let (bin, expected) = (first.bin, first.bin_files);
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let attempt = AttemptId::new(self.node.next_attempt()).map_err(external)?;
                let writer = BinWriter::new(&self.facts, &self.run, bin, &attempt, &self.schema, WriterOptions::default());
                let writer = writer.map_err(landing_error)?;
                let (stats, digests) = Default::default();
                let sources = self.landed_bins.is_some().then(Vec::new);
                self.open.insert(OpenBin { bin, expected, attempt, writer, stats, digests, sources, begun: Instant::now() })
            }
        };
        open.writer.write(rows).await.map_err(landing_error)?;
        count(&mut open.stats, rows, work)?;
        note_sources(&mut open.sources, rows, work)?;
        note_digests(&mut open.digests, rows)
    }

    /// Completes the open bin, if there is one.
    async fn finish(&mut self) -> Result<Option<BinRecord>> {
        let Some(mut open) = self.open.take() else { return Ok(None) };
        open.stats.wall_us = u64::try_from(open.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        match open.writer.finish(open.expected, open.stats, open.digests).await {
            Ok(record) => {
                self.node.open_attempts().landed(&self.facts, &self.run, open.bin).await;
                // Of another attempt's record the sources are not known: a file may have changed between its read and this one's.
                if record.attempt == open.attempt
                    && let (Some(landed), Some(sources)) = (&self.landed_bins, open.sources)
                {
                    landed.keep(sources, &self.facts, &record, None).await;
                }
                self.node.progress().add_bin(record.files.iter().map(|f| f.bytes).sum());
                tracing::info!(run = %self.run, bin = open.bin, task = self.task, files = record.stats.files, rows = record.rows(), "bin landed");
                Ok(Some(record))
            }
            Err(error) => {
                self.node.open_attempts().failed(&self.run, open.bin).await;
                Err(landing_error(error))
            }
        }
    }

    /// Gives the open bin up and removes what it wrote.
    async fn abort(&mut self) {
        if let Some(open) = self.open.take() {
            open.writer.abort().await;
            self.node.open_attempts().failed(&self.run, open.bin).await;
        }
    }
}

/// Adds rows to the figures of their bin.
fn count(stats: &mut BinStats, rows: &RecordBatch, work: &[Work]) -> Result<()> {
    for w in work {
        stats.files += 1;
        stats.units += w.units;
        stats.instructions += w.instructions;
        stats.source_bytes += w.source_bytes;
        stats.compile_cpu_us += w.compile_cpu_us;
        stats.analyse_cpu_us += w.analyse_us;
        stats.oracle_files += u64::from(w.judged);
        stats.oracle_differences += w.differences;
        stats.cache_shared_hits += u64::from(w.shared_hit);
        if w.cache_hit {
            stats.cache_hits += 1;
        } else {
            stats.cache_misses += 1;
        }
    }
    let errors = rows.column_by_name("errors").and_then(|c| c.as_list_opt::<i32>());
    let Some(errors) = errors else { return internal_err!("rows without a list of errors") };
    let values = errors.values();
    let offsets = errors.value_offsets();
    let (Some(from), Some(to)) = (offsets.first(), offsets.last()) else { return Ok(()) };
    let Some(structs) = values.as_struct_opt() else { return internal_err!("errors are no structs") };
    let text = |name: &str| structs.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let (Some(stage), Some(kind), Some(severity)) = (text("stage"), text("error_type"), text("severity")) else {
        return internal_err!("errors lack stage, error_type or severity");
    };
    for i in usize::try_from(*from).unwrap_or(0)..usize::try_from(*to).unwrap_or(0) {
        stats.count_error(stage.value(i), kind.value(i), severity.value(i), 1);
    }
    Ok(())
}

/// Notes what each row was made of, as long as all rows are what their sources make them.
fn note_sources(sources: &mut Option<Vec<Source>>, rows: &RecordBatch, work: &[Work]) -> Result<()> {
    let Some(noted) = sources else { return Ok(()) };
    let text = |name: &str| rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let (Some(repo), Some(path), Some(digest)) = (text("repo"), text("path"), text("file_sha256")) else {
        return internal_err!("rows lack repo, path or file_sha256");
    };
    for (row, work) in work.iter().enumerate() {
        let mut sha256 = [0; 32];
        if !work.reproducible || digest.is_null(row) || hex::decode_to_slice(digest.value(row), &mut sha256).is_err() {
            *sources = None;
            return Ok(());
        }
        let repo = (!repo.is_null(row)).then(|| repo.value(row).to_owned());
        noted.push(Source { repo, path: path.value(row).to_owned(), bytes: work.source_bytes, sha256 });
    }
    Ok(())
}

/// Notes the digest of each row under its repository; rows come sorted by repository and path.
fn note_digests(digests: &mut Vec<RepoDigests>, rows: &RecordBatch) -> Result<()> {
    let text = |name: &str| rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let (Some(repo), Some(path), Some(digest)) = (text("repo"), text("path"), text("facts_digest")) else {
        return internal_err!("rows lack repo, path or facts_digest");
    };
    for row in 0..rows.num_rows() {
        let repo = (!repo.is_null(row)).then(|| repo.value(row));
        let file = FileDigest { path: path.value(row).to_owned(), digest: digest.value(row).to_owned() };
        match digests.last_mut() {
            Some(last) if last.repo.as_deref() == repo => last.files.push(file),
            _ => digests.push(RepoDigests { repo: repo.map(str::to_owned), files: vec![file] }),
        }
    }
    Ok(())
}
