//! `AnalyzeExec`: takes rows that name bins and streams the facts of every file in them.
//!
//! It has a child on purpose. Ballista 55 cuts a stage into tasks by cutting its leaves, and knows only its own kinds of leaves: a custom leaf
//! would be shipped whole to every task and its rows doubled without an error. Rows, not partition numbers, name bins, for the same reason.

use std::sync::Arc;

use bytefacts_facts::coded_schema;
use bytefacts_query::operator::{RECOMPUTE, check_sliced, single_child_properties};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt as _;

use super::analysis::Analysis;
use super::bins::bin_rows;
use super::envelope::schema_with_envelopes;
use crate::job::Job;
use crate::node::Node;
use crate::node::open_attempts::OwnAttempts;

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
    /// An operator over rows that name bins. It can run only where there is a node.
    #[must_use]
    pub fn new(job: Job, input: Arc<dyn ExecutionPlan>, node: Option<Arc<Node>>) -> Self {
        let properties = single_child_properties(EquivalenceProperties::new(schema_with_envelopes(&coded_schema())), &input);
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
        check_sliced(self.name(), &self.input)
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
        let attempts = OwnAttempts::new(node.open_attempts(), node.runtime());
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
