//! `AuditExec`: takes rows that name units, derives each, records it, and answers a row for it.
//!
//! It has a memory source as its child and names units by rows, as `AnalyzeExec` does and for its reasons.

use std::sync::Arc;

use arrow::array::{AsArray as _, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use bytefacts_audit::digests::SourceFile;
use bytefacts_audit::matrix::Condition;
use bytefacts_audit::night::NightError;
use bytefacts_corpus::Entry;
use bytefacts_landing::{AttemptId, RunId};
use bytefacts_query::operator::{RECOMPUTE, check_sliced, single_child_properties};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, interval_at};

use super::job::AuditJob;
use super::records::{AuditRecords, LeftOut, UnitRecord};
use super::unit::{AuditWorker, OpenBin, UnitError, level};
use crate::error::{landing_error, lasting, pool_error, transient};
use crate::node::Node;
use crate::signs::NOTE_EVERY;

/// The metric of files, each under each condition, in units on record.
pub const AUDITED_FILES_METRIC: &str = "audited_files";

/// The schema of the answer: a row for each unit, and whether it has a record. What the budget leaves out has none.
#[must_use]
pub fn audited_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("bin", DataType::Int32, false),
        Field::new("condition", DataType::Utf8, false),
        Field::new("files", DataType::Int64, false),
        Field::new("recorded", DataType::Boolean, false),
    ]))
}

/// The schema of the input: a row names a unit.
pub(super) fn units_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("bin", DataType::Int32, false), Field::new("condition", DataType::Utf8, false)]))
}

/// Units as a batch of [`units_schema`].
pub(super) fn units_batch(units: &[(u32, String)]) -> Result<RecordBatch> {
    let bins: Int32Array = units.iter().map(|(bin, _)| bin.cast_signed()).collect();
    let conditions: StringArray = units.iter().map(|(_, condition)| Some(condition.as_str())).collect();
    Ok(RecordBatch::try_new(units_schema(), vec![Arc::new(bins), Arc::new(conditions)])?)
}

fn units_of(batch: &RecordBatch) -> Result<Vec<(u32, String)>> {
    let bins = batch.column_by_name("bin").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let conditions = batch.column_by_name("condition").and_then(|column| column.as_string_opt::<i32>());
    let (Some(bins), Some(conditions)) = (bins, conditions) else { return internal_err!("rows that name no units: {}", batch.schema()) };
    Ok((0..batch.num_rows()).map(|row| (bins.value(row).cast_unsigned(), conditions.value(row).to_owned())).collect())
}

/// Derives the units that its input names.
#[derive(Debug)]
pub struct AuditExec {
    audit: AuditJob,
    input: Arc<dyn ExecutionPlan>,
    node: Option<Arc<Node>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AuditExec {
    /// An operator over rows that name units. It can run only where there is a node.
    #[must_use]
    pub fn new(audit: AuditJob, input: Arc<dyn ExecutionPlan>, node: Option<Arc<Node>>) -> Self {
        let properties = single_child_properties(EquivalenceProperties::new(audited_schema()), &input);
        Self { audit, input, node, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// What is asked.
    #[must_use]
    pub fn audit(&self) -> &AuditJob {
        &self.audit
    }

    /// Refuses a child that Ballista would not slice: it would have every unit done by every task.
    ///
    /// # Errors
    /// When the child is not a memory source.
    pub fn check_input(&self) -> Result<()> {
        check_sliced(self.name(), &self.input)
    }
}

impl DisplayAs for AuditExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "AuditExec: audit={}, corpus={}", self.audit.audit, self.audit.job.corpus)
    }
}

impl ExecutionPlan for AuditExec {
    fn name(&self) -> &'static str {
        "AuditExec"
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
        let [input] = children.as_slice() else { return internal_err!("AuditExec takes one child, got {}", children.len()) };
        Ok(Arc::new(Self::new(self.audit.clone(), Arc::clone(input), self.node.clone())))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(node) = self.node.clone() else { return internal_err!("AuditExec was executed on a process that is no executor") };
        let mut input = self.input.execute(partition, context)?;
        let files = MetricBuilder::new(&self.metrics).counter(AUDITED_FILES_METRIC, partition);
        let audit = self.audit.clone();
        let mut output = RecordBatchReceiverStreamBuilder::new(self.schema(), 2);
        let rows = output.tx();
        output.spawn(async move {
            let work = Work::begin(audit, &node, files).await?;
            while let Some(batch) = input.next().await {
                // Units of a task are of one bin, one after the other.
                for units in units_of(&batch?)?.chunk_by(|a, b| a.0 == b.0) {
                    let answer = work.bin(units).await?;
                    if rows.send(Ok(answer)).await.is_err() {
                        return Ok(()); // nobody listens any more
                    }
                }
            }
            Ok(())
        });
        Ok(output.build())
    }
}

/// A bin that is worked on, and the memory that is taken for it.
struct Open<'a> {
    bin: OpenBin<'a>,
    _memory: OwnedSemaphorePermit,
}

/// A note that a unit was begun. Dropping it takes the note back unless the unit has a record: whoever drops it is alive.
struct Begun {
    records: AuditRecords,
    bin: u32,
    condition: String,
    attempt: AttemptId,
    has_record: bool,
    /// The process's: a task's own may end before the note is gone.
    runtime: Handle,
}

impl Begun {
    async fn note(work: &Work<'_>, bin: u32, condition: &str) -> Result<Self> {
        let (records, attempt, runtime) = (work.records.clone(), work.attempt.clone(), work.node.runtime().clone());
        let begun = Self { records, bin, condition: condition.to_owned(), attempt, has_record: false, runtime };
        begun.records.begin(bin, condition, &begun.attempt).await.map_err(landing_error)?;
        Ok(begun)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.has_record {
            return;
        }
        let (records, bin, attempt) = (self.records.clone(), self.bin, self.attempt.clone());
        let condition = std::mem::take(&mut self.condition);
        self.runtime.spawn(async move {
            if let Err(error) = records.give_up(bin, &condition, &attempt).await {
                tracing::debug!(%error, bin, condition, "cannot note that a bin was given up; whoever comes next is careful");
            }
        });
    }
}

/// One task at work.
struct Work<'a> {
    audit: AuditJob,
    node: &'a Node,
    worker: AuditWorker,
    records: AuditRecords,
    attempt: AttemptId,
    files: Count,
}

impl<'a> Work<'a> {
    async fn begin(audit: AuditJob, node: &'a Node, files: Count) -> Result<Self> {
        let facts = node.stores().open_facts(&audit.job.facts).map_err(lasting)?;
        let run = RunId::new(audit.job.run.as_str()).map_err(lasting)?;
        // Another interpreter would be drift, not indeterminism.
        node.interpreter_of(&audit.job, &facts, &run).await?;
        let bench = AuditWorker::bench(&audit.job, node.interpreter().clone(), Vec::new()).map_err(lasting)?;
        let worker = AuditWorker::new(&audit.job, run, node.stores(), bench)?;
        let records = AuditRecords::new(facts, RunId::new(audit.audit.as_str()).map_err(lasting)?);
        Ok(Self { audit, node, worker, records, attempt: node.next_attempt(), files })
    }

    /// Derives units of one bin, those that have no record, until the night's CPU time is spent; a row for each.
    async fn bin(&self, units: &[(u32, String)]) -> Result<RecordBatch> {
        let (mut open, mut counts) = (None, Vec::with_capacity(units.len()));
        for (bin, condition) in units {
            let record = match self.records.unit(*bin, condition).await.map_err(landing_error)? {
                Some(record) => Some(record),
                None if self.records.is_spent().await.map_err(landing_error)? => None,
                None => Some(self.noting(*bin, self.unit(*bin, condition, &mut open)).await?),
            };
            let files = record.as_ref().map_or(0, |record| record.verdicts.len());
            self.files.add(files);
            counts.push((i64::try_from(files).unwrap_or(i64::MAX), record.is_some()));
        }
        let bins: Int32Array = units.iter().map(|(bin, _)| bin.cast_signed()).collect();
        let conditions: StringArray = units.iter().map(|(_, condition)| Some(condition.as_str())).collect();
        let files: Int64Array = counts.iter().map(|(files, _)| *files).collect();
        let recorded: BooleanArray = counts.iter().map(|(_, recorded)| Some(*recorded)).collect();
        Ok(RecordBatch::try_new(audited_schema(), vec![Arc::new(bins), Arc::new(conditions), Arc::new(files), Arc::new(recorded)])?)
    }

    /// Derives a unit and records it. An attempt before this one that has not ended makes it careful: a file of the bin may have killed who made it.
    async fn unit<'b>(&'b self, bin: u32, name: &str, open: &mut Option<Open<'b>>) -> Result<UnitRecord> {
        let Some(condition) = self.audit.conditions.get(name) else {
            return internal_err!("a unit of a condition {name} that there is not");
        };
        let careful = self.records.unfinished(bin, name).await.map_err(landing_error)? > 0;
        if careful {
            tracing::warn!(
                audit = self.audit.audit,
                bin,
                condition = name,
                "attempts at this bin did not end: its files are tried one by one"
            );
            *open = None;
        }
        let mut begun = Begun::note(self, bin, name).await?;
        let recorded = self.recorded(bin, name, condition, careful, open).await;
        if careful {
            // What was found out holds for this level of optimisation, and nobody else is to wait for the memory.
            *open = None;
        }
        begun.has_record = recorded.is_ok();
        recorded
    }

    async fn recorded<'b>(
        &'b self,
        bin: u32,
        name: &str,
        condition: &Condition,
        careful: bool,
        open: &mut Option<Open<'b>>,
    ) -> Result<UnitRecord> {
        let opened = match open {
            Some(opened) => opened,
            None => open.insert(self.open(bin, level(condition), careful).await?),
        };
        let record = opened.bin.under(name, condition).await.map_err(unit_error)?;
        tracing::info!(audit = self.audit.audit, bin, condition = name, files = record.verdicts.len(), "bin derived under a condition");
        let record = self.records.record(bin, name, record).await.map_err(landing_error)?;
        self.node.progress().add_audited();
        Ok(record)
    }

    /// Opens a bin, without the files that are known to kill at a level of optimisation. For a careful attempt each of the others is tried first, and
    /// all of the node's memory is taken meanwhile, so that nothing else runs out of it.
    async fn open(&self, bin: u32, level: Option<u8>, careful: bool) -> Result<Open<'_>> {
        let files = self.records.bin(bin).await.map_err(landing_error)?;
        // What its sources take is taken of what this node may hold, beside the files that are extracted.
        let bytes = if careful { u64::MAX } else { self.worker.bytes(&files).await };
        let memory = self.node.reserve(bytes).await?;
        let mut opened = self.worker.open(&files).await.map_err(unit_error)?;
        let mut left_out = self.records.left_out(bin, level).await.map_err(landing_error)?;
        if careful && left_out.is_empty() {
            let killers = self.killers(opened.files(), level).await?;
            if !killers.is_empty() {
                left_out = self.records.leave_out(bin, level, killers).await.map_err(landing_error)?;
            }
        }
        opened.leave_out(&left_out);
        Ok(Open { bin: opened, _memory: memory })
    }

    /// The files that kill whoever works on them, each tried in a process of its own.
    async fn killers(&self, files: &[SourceFile], level: Option<u8>) -> Result<Vec<LeftOut>> {
        let mut job = self.audit.job.clone();
        job.options.optimize = level.unwrap_or(job.options.optimize);
        let Some(trials) = self.node.trials(&job)? else { return Ok(Vec::new()) };
        let mut killers = Vec::new();
        for file in files {
            let SourceFile { repo, path, source, .. } = file.clone();
            let entry = Entry { repo, path, size: source.len() as u64 };
            if let Some(killer) = trials.of(entry.clone(), source).await? {
                killers.push(LeftOut { repo: entry.repo, path: entry.path, reason: killer.to_string() });
            }
        }
        Ok(killers)
    }

    /// Waits for work on a bin, and notes at its beginning and now and then that it gets on.
    async fn noting<T>(&self, bin: u32, work: impl Future<Output = T>) -> T {
        let mut ticks = interval_at(Instant::now(), NOTE_EVERY);
        tokio::pin!(work);
        for tick in 0.. {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => {
                    if let Err(error) = self.records.note(bin, &self.attempt, tick).await {
                        tracing::debug!(%error, audit = self.audit.audit, bin, "cannot note that a bin gets on");
                    }
                }
            }
        }
        work.await
    }
}

/// A want of workers and a store that does not answer may pass; what errs in the analysis errs anywhere.
fn unit_error(error: UnitError) -> DataFusionError {
    match error {
        UnitError::Read { ref source, .. } if source.is_fault() => lasting(error),
        UnitError::Read { .. } => transient(error),
        UnitError::Night(NightError::Pool { source, .. }) => pool_error(source),
        UnitError::Night(NightError::Derive(error)) | UnitError::Derive(error) => lasting(error),
        UnitError::Facts(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;
    use crate::audit::job::tests::audit;

    #[test]
    fn units_come_back_and_only_memory_is_cut() {
        let units = vec![(3, "reversed".to_owned()), (4, "a".to_owned())];
        let batch = units_batch(&units).unwrap();
        assert_eq!(units_of(&batch).unwrap(), units);
        let source = MemorySourceConfig::try_new_exec(&[vec![batch]], units_schema(), None).unwrap();
        AuditExec::new(audit(), source, None).check_input().unwrap();
        assert!(AuditExec::new(audit(), Arc::new(EmptyExec::new(units_schema())), None).check_input().is_err());
    }
}
