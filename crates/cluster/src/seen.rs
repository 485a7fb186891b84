//! What the stages of a job tell of it.

use ballista_core::serde::protobuf::task_status;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use bytefacts_engine::{ERRORS_METRIC, FILES_METRIC, LandExec};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

use crate::status::JobProgress;

/// What the stages of a job tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub run: Option<String>,
    pub corpus: Option<String>,
    pub facts: Option<String>,
    pub progress: JobProgress,
    pub reruns: u64,
}

/// Looks at all stages, and closer at the one that lands, if the job has one.
pub(crate) fn look_at(graph: &dyn ExecutionGraph) -> Seen {
    let reruns = graph.stages().values().map(|stage| reruns(stage) as u64).sum();
    let landed = graph.stages().values().find_map(|stage| Some((stage, landing(stage.plan())?)));
    let Some((stage, land)) = landed else { return Seen { reruns, ..Seen::default() } };
    let job = land.job();
    let mut progress = JobProgress { bins: bins(stage), bins_done: bins_done(stage), ..JobProgress::default() };
    for metrics in metrics(stage) {
        count(metrics, &mut progress);
    }
    Seen { run: Some(job.run.clone()), corpus: Some(job.corpus.clone()), facts: Some(job.facts.clone()), progress, reruns }
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

fn landing(plan: &dyn ExecutionPlan) -> Option<&LandExec> {
    plan.downcast_ref().or_else(|| plan.children().into_iter().find_map(|child| landing(child.as_ref())))
}

/// A partition of the stage that lands is a bin.
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

/// Adds what `LandExec` has counted.
fn count(metrics: &MetricsSet, progress: &mut JobProgress) {
    for metric in metrics.iter() {
        let MetricValue::Count { name, count } = metric.value() else { continue };
        let count = count.value() as u64;
        if name == FILES_METRIC {
            progress.files += count;
        } else if let Some(stage) = name.strip_prefix(ERRORS_METRIC) {
            *progress.errors.entry(stage.to_owned()).or_default() += count;
        }
    }
}
