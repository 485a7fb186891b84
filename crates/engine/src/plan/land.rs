//! `LandExec`: writes the rows of each bin as Parquet, records the bin, and answers with one small row a bin.

use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytefacts_landing::BinRecord;
use bytefacts_query::operator::{RECOMPUTE, single_child_properties};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt as _;

use super::landing::Landing;
use crate::job::Job;
use crate::node::Node;

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
