//! `FlattenExec`: rows of the nested table in, rows of a flat table out.
//!
//! Filters are tested here, where a file and a unit are still one row each, and what an element has from around it is repeated for the elements
//! that pass. It holds no state but what it is asked for, and its child is an ordinary scan of Parquet files, so that it runs wherever its plan is
//! sent.

use std::sync::Arc;

use bytefacts_facts::flat::FlatTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::condition::Condition;
use crate::files_scan::FilesScan;
use crate::operator::{RECOMPUTE, single_child_properties};
use crate::rows::Flattened;

/// Files read at a time, of which the elements lie in memory: some ten thousands of instructions.
pub(crate) const FILES: usize = 32;

/// The share of rows that is expected to pass a condition.
const PASSING: f64 = 0.2;

/// Streams the rows of a flat table from rows of the root table that have at least what its columns and conditions are made of.
#[derive(Debug)]
pub struct FlattenExec {
    table: &'static FlatTable,
    columns: Vec<usize>,
    conditions: Arc<[Condition]>,
    input: Arc<dyn ExecutionPlan>,
    /// What the input reads, as long as it is a scan that was made for this.
    scan: Option<FilesScan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FlattenExec {
    /// An operator over a scan of the root table; `columns` are those of the flat table that come out, in this order.
    ///
    /// # Errors
    /// When the table does not have so many columns.
    pub fn try_new(table: &'static FlatTable, columns: Vec<usize>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::filtered(table, columns, Vec::new(), input)
    }

    /// The same of rows that pass conditions.
    ///
    /// # Errors
    /// As [`FlattenExec::try_new`].
    pub(crate) fn filtered(
        table: &'static FlatTable,
        columns: Vec<usize>,
        conditions: impl Into<Arc<[Condition]>>,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        let schema = Arc::new(table.schema().project(&columns)?);
        let properties = single_child_properties(EquivalenceProperties::new(schema), &input);
        let (conditions, metrics) = (conditions.into(), ExecutionPlanMetricsSet::new());
        Ok(Self { table, columns, conditions, input, scan: None, properties, metrics })
    }

    /// The same over the files of a run, of which it reads no more than it needs.
    ///
    /// # Errors
    /// When the files cannot be named.
    pub(crate) fn over(
        table: &'static FlatTable,
        columns: Vec<usize>,
        conditions: Vec<Condition>,
        scan: FilesScan,
        config: &ConfigOptions,
    ) -> Result<Self> {
        let needed = table.narrowed(needed(&columns, &conditions).filter_map(|column| table.columns.get(column)));
        let files = FILES.min(config.execution.batch_size.get());
        let input = scan.plan(&needed, None, Some(files), config.execution.target_partitions)?;
        Ok(Self { scan: Some(scan), ..Self::filtered(table, columns, conditions, input)? })
    }

    /// The same over another input; what is expected of the rows stays.
    ///
    /// # Errors
    /// As [`FlattenExec::over`].
    pub(crate) fn on(&self, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let over = Self::filtered(self.table, self.columns.clone(), Arc::clone(&self.conditions), input)?;
        Ok(Self { scan: self.scan.clone(), ..over })
    }

    /// The flat table.
    #[must_use]
    pub fn table(&self) -> &'static FlatTable {
        self.table
    }

    /// The columns of it that come out.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// What a row must pass.
    pub(crate) fn conditions(&self) -> &Arc<[Condition]> {
        &self.conditions
    }

    /// What its input reads.
    pub(crate) fn scan(&self) -> Option<&FilesScan> {
        self.scan.as_ref()
    }

    /// The columns of the table that it needs, some perhaps twice.
    pub(crate) fn needed(&self) -> impl Iterator<Item = usize> {
        needed(&self.columns, &self.conditions)
    }

    /// How many rows come out.
    fn rows(&self) -> Precision<usize> {
        let all = self.scan.as_ref().map_or(Precision::Absent, |scan| scan.elements(&self.table.path.join(".")));
        self.conditions.iter().fold(all, |rows, _| rows.with_estimated_selectivity(PASSING))
    }
}

fn needed<'a>(columns: &'a [usize], conditions: &'a [Condition]) -> impl Iterator<Item = usize> + use<'a> {
    columns.iter().chain(conditions.iter().flat_map(Condition::columns)).copied()
}

impl DisplayAs for FlattenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let names: Vec<_> = self.columns.iter().filter_map(|i| self.table.columns.get(*i)).map(|column| column.name.as_str()).collect();
        write!(f, "FlattenExec: list={}, columns=[{}]", self.table.path.join("."), names.join(", "))?;
        for (nth, condition) in self.conditions.iter().enumerate() {
            write!(f, "{}{}", if nth == 0 { ", where=" } else { " AND " }, condition.whole())?;
        }
        Ok(())
    }
}

impl ExecutionPlan for FlattenExec {
    fn name(&self) -> &'static str {
        "FlattenExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        for condition in &*self.conditions {
            if visit(condition.whole())? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else { return internal_err!("FlattenExec takes one child, got {}", children.len()) };
        // Of another input nothing is known.
        let scan = self.scan.clone().filter(|_| Arc::ptr_eq(input, &self.input));
        let replaced = Self::filtered(self.table, self.columns.clone(), Arc::clone(&self.conditions), Arc::clone(input))?;
        Ok(Arc::new(Self { scan, ..replaced }))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = if args.partition().is_none() { self.rows() } else { Precision::Absent };
        Ok(Arc::new(Statistics::new_unknown(&self.schema()).with_num_rows(rows)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (table, columns, conditions, schema) = (self.table, self.columns.clone(), Arc::clone(&self.conditions), self.schema());
        let most = context.session_config().batch_size().max(1);
        let input = self.input.execute(partition, context)?;
        let rows = input.map(move |batch| -> Result<_> {
            let batch = batch?;
            let timer = metrics.elapsed_compute().timer();
            let flattened = Flattened::new(table, &columns, &conditions, Arc::clone(&schema), &batch, most)?;
            timer.done();
            let metrics = metrics.clone();
            Ok(futures::stream::iter(flattened.starts()).map(move |start| {
                let _timer = metrics.elapsed_compute().timer();
                flattened.piece(start).record_output(&metrics)
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.try_flatten())))
    }
}
