//! `ByFileExec`: a part of a plan that is done for some source files at a time, from one scan.
//!
//! A unit lies in one file, and so does all that has its id. What joins, groups or orders by it needs to know of no other file: such a part of a
//! plan (`work`) is run again and again, each time for some dozens of files. It builds small tables that stay in the processor's caches, in the
//! place of one over the whole run; nothing is exchanged between partitions; and what several of its scans need is read once.
//!
//! Its child is an ordinary scan of Parquet files. The work is no child, since whoever spreads plans is to cut the scan and nothing else.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};

use crate::operator::{RECOMPUTE, single_child_properties};

/// Bytes of files, as they are read, that the work is done for at a time, for each row of a batch of the session: some megabytes, enough to make up
/// for starting it, and not many times what the processor's caches hold.
const BYTES_AT_HAND: usize = 1 << 10;

/// Does the work for some files after the others.
#[derive(Debug)]
pub struct ByFileExec {
    /// A plan of one partition over [`AtHandExec`].
    work: Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
    /// How many rows are expected.
    rows: Precision<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ByFileExec {
    /// Work over a scan of the root table.
    pub(crate) fn new(work: Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>, rows: Precision<usize>) -> Self {
        let properties = single_child_properties(EquivalenceProperties::new(work.schema()), &input);
        Self { work, input, rows: rows.to_inexact(), properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// What is done for the files at hand.
    pub(crate) fn work(&self) -> &Arc<dyn ExecutionPlan> {
        &self.work
    }
}

impl DisplayAs for ByFileExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ByFileExec: ")?;
        write_work(&self.work, f)
    }
}

/// Writes a plan into one line.
fn write_work(plan: &Arc<dyn ExecutionPlan>, f: &mut fmt::Formatter) -> fmt::Result {
    if plan.downcast_ref::<AtHandExec>().is_some() {
        return write!(f, "files");
    }
    let line = DisplayableExecutionPlan::new(plan.as_ref()).one_line().to_string();
    write!(f, "{}", line.trim_end())?;
    for (nth, child) in plan.children().into_iter().enumerate() {
        write!(f, "{}", if nth == 0 { " (" } else { ", " })?;
        write_work(child, f)?;
    }
    if plan.children().is_empty() { Ok(()) } else { write!(f, ")") }
}

impl ExecutionPlan for ByFileExec {
    fn name(&self) -> &'static str {
        "ByFileExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else { return internal_err!("ByFileExec takes one child, got {}", children.len()) };
        Ok(Arc::new(Self::new(Arc::clone(&self.work), Arc::clone(input), self.rows)))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = if args.partition().is_none() { self.rows } else { Precision::Absent };
        Ok(Arc::new(Statistics::new_unknown(&self.schema()).with_num_rows(rows)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let at_hand = AtHand::default();
        let mut work = over(&self.work, &at_hand)?;
        let bytes = BYTES_AT_HAND.saturating_mul(context.session_config().batch_size());
        let files = by_bytes(self.input.execute(partition, Arc::clone(&context))?, bytes);
        let rows = files.map(move |files| -> Result<_> {
            at_hand.put(files?);
            // What an operator has found out it would keep for the next files.
            work = reset_plan_states(Arc::clone(&work))?;
            work.execute(0, Arc::clone(&context))
        });
        let rows = rows.try_flatten().map(move |batch| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// The work over a shelf of its own.
fn over(work: &Arc<dyn ExecutionPlan>, at_hand: &AtHand) -> Result<Arc<dyn ExecutionPlan>> {
    let fill = |plan: Arc<dyn ExecutionPlan>| match plan.downcast_ref::<AtHandExec>() {
        Some(leaf) => Ok(Transformed::yes(Arc::new(AtHandExec { files: at_hand.clone(), ..AtHandExec::new(leaf.schema()) }) as _)),
        None => Ok(Transformed::no(plan)),
    };
    Arc::clone(work).transform_up(fill).data()
}

/// Batches together that have at least so many bytes.
fn by_bytes(input: SendableRecordBatchStream, least: usize) -> impl Stream<Item = Result<Vec<RecordBatch>>> {
    stream::try_unfold(input, move |mut input| async move {
        let (mut files, mut bytes) = (Vec::new(), 0);
        while bytes < least {
            let Some(batch) = input.next().await else { break };
            let batch = batch?;
            bytes += batch.get_array_memory_size();
            files.push(batch);
        }
        Ok(if files.is_empty() { None } else { Some((files, input)) })
    })
}

/// The files that the work is done for at the moment.
#[derive(Clone, Debug, Default)]
struct AtHand(Arc<Mutex<Arc<Vec<RecordBatch>>>>);

impl AtHand {
    fn put(&self, files: Vec<RecordBatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(files);
    }

    fn get(&self) -> Arc<Vec<RecordBatch>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The leaf of the work: the files at hand.
#[derive(Debug)]
pub(crate) struct AtHandExec {
    files: AtHand,
    properties: Arc<PlanProperties>,
}

impl AtHandExec {
    /// No files yet, of this schema.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { files: AtHand::default(), properties: Arc::new(properties) }
    }
}

impl DisplayAs for AtHandExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "AtHandExec")
    }
}

impl ExecutionPlan for AtHandExec {
    fn name(&self) -> &'static str {
        "AtHandExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }
    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>, _: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let files = self.files.get();
        let batches = stream::iter((0..files.len()).map(move |nth| Ok(files[nth].clone())));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
