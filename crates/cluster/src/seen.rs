//! What the stages of a job tell of it.

use ballista_core::serde::protobuf::task_status;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use bytefacts_engine::{AUDITED_FILES_METRIC, AuditExec, ERRORS_METRIC, FILES_METRIC, Job, LandExec};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

use crate::status::JobProgress;

/// What the stages of a job tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub run: Option<String>,
    pub audit: Option<String>,
    pub corpus: Option<String>,
    pub facts: Option<String>,
    pub progress: JobProgress,
    pub reruns: u64,
}

/// Looks at all stages, and closer at the one that lands or derives, if the job has one.
pub(crate) fn look_at(graph: &dyn ExecutionGraph) -> Seen {
    let reruns = graph.stages().values().map(|stage| reruns(stage) as u64).sum();
    let working = graph.stages().values().find_map(|stage| Some((stage, working(stage.plan())?)));
    let Some((stage, (job, audit))) = working else { return Seen { reruns, ..Seen::default() } };
    let mut progress = JobProgress { bins: bins(stage), bins_done: bins_done(stage), ..JobProgress::default() };
    for metrics in metrics(stage) {
        count(metrics, &mut progress);
    }
    let (run, audit) = (Some(job.run.clone()), audit.map(str::to_owned));
    Seen { run, audit, corpus: Some(job.corpus.clone()), facts: Some(job.facts.clone()), progress, reruns }
}

/// How often a stage was begun again.
fn reruns(stage: &ExecutionStage) -> usize {
    match stage {
        ExecutionStage::UnResolved(stage) => stage.stage_attempt_num,
        ExecutionStage::Resolved(stage) => stage.stage_attempt_num,
        ExecutionStage::Running(stage) => stage.stage_attempt_num,
        ExecutionStage::Successful(stage) => stage.stage_attempt_num,
        ExecutionStage::Failed(stage) => stage.stage_attempt_num,
    }
}

/// The job whose work a plan is, and the audit, if it is of one.
fn working(plan: &dyn ExecutionPlan) -> Option<(&Job, Option<&str>)> {
    if let Some(land) = plan.downcast_ref::<LandExec>() {
        return Some((land.job(), None));
    }
    if let Some(audit) = plan.downcast_ref::<AuditExec>() {
        return Some((&audit.audit().job, Some(&audit.audit().audit)));
    }
    plan.children().into_iter().find_map(|child| working(child.as_ref()))
}

/// A partition of the stage that lands is a bin, one of the stage that audits a bin under some conditions.
fn bins(stage: &ExecutionStage) -> Option<u64> {
    match stage {
        ExecutionStage::UnResolved(_) => None,
        ExecutionStage::Resolved(stage) => Some(stage.partitions as u64),
        ExecutionStage::Running(stage) => Some(stage.partitions as u64),
        ExecutionStage::Successful(stage) => Some(stage.partitions as u64),
        ExecutionStage::Failed(stage) => Some(stage.partitions as u64),
    }
}

fn bins_done(stage: &ExecutionStage) -> u64 {
    let done = stage.task_infos().unwrap_or_default().iter();
    let done = done.filter(|task| matches!(task.task_status, task_status::Status::Successful(_)));
    done.map(|task| task.global_input_partition_ids.len() as u64).sum()
}

fn metrics(stage: &ExecutionStage) -> &[MetricsSet] {
    match stage {
        ExecutionStage::UnResolved(_) | ExecutionStage::Resolved(_) => &[],
        ExecutionStage::Running(stage) => stage.stage_metrics.as_deref().unwrap_or_default(),
        ExecutionStage::Successful(stage) => &stage.stage_metrics,
        ExecutionStage::Failed(stage) => stage.stage_metrics.as_deref().unwrap_or_default(),
    }
}

/// Adds what `LandExec` or `AuditExec` has counted.
fn count(metrics: &MetricsSet, progress: &mut JobProgress) {
    for metric in metrics.iter() {
        let MetricValue::Count { name, count } = metric.value() else { continue };
        let count = count.value() as u64;
        if name == FILES_METRIC || name == AUDITED_FILES_METRIC {
            progress.files += count;
        } else if let Some(stage) = name.strip_prefix(ERRORS_METRIC) {
            *progress.errors.entry(stage.to_owned()).or_default() += count;
        }
    }
}
