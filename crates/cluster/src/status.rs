//! How a cluster is: its executors and its jobs, as `bytefacts status` shows them.

use std::collections::BTreeMap;

use ballista_core::JobId;
use ballista_core::serde::protobuf::{job_status, task_status};
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use bytefacts_engine::{ERRORS_METRIC, FILES_METRIC, LandExec};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use serde::{Deserialize, Serialize};

use crate::jobs::{JobState, Submitted, now_ms};
use crate::scheduler::SchedulerView;
use crate::session::run_of;

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The version of the scheduler.
    pub version: String,
    /// Whether it has the executors that it needs.
    pub ready: bool,
    /// Its executors, by id.
    pub executors: Vec<ExecutorStatus>,
    /// The jobs that are under way and the last that ended, the oldest first.
    pub jobs: Vec<JobStatus>,
}

/// How an executor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorStatus {
    /// Its id, which changes when it restarts.
    pub id: String,
    /// The node that it runs on, unless it says nothing.
    pub node: Option<String>,
    /// The host under which the others find it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Bins that it works on at a time.
    pub cores: u32,
    /// Those that it works on now.
    pub cores_in_use: u32,
    /// Seconds since it was heard of.
    pub silent_seconds: Option<u64>,
    /// Its version of bytefacts.
    pub version: Option<String>,
    /// The version of its CPython.
    pub python: Option<String>,
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The scheduler's name for it.
    pub id: String,
    /// The run that it works on; a run that is submitted again has several jobs.
    pub run: Option<String>,
    /// What became of it.
    pub state: JobState,
    /// Where its corpus is, once it is planned.
    pub corpus: Option<String>,
    /// Where its facts go, once it is planned.
    pub facts: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub submitted_at_ms: u64,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
    /// Seconds from the first until the end, or until now.
    pub seconds: u64,
    /// How far it is.
    pub progress: JobProgress,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Its bins, once it is planned.
    pub bins: Option<u64>,
    /// Those that are landed.
    pub bins_done: u64,
    /// The files in them.
    pub files: u64,
    /// The errors in these, by the stage that they arose in.
    pub errors: BTreeMap<String, u64>,
}

impl SchedulerView {
    /// How the cluster is.
    pub async fn status(&self) -> ClusterStatus {
        let (executors, jobs) = (self.executor_status().await, self.job_status().await);
        ClusterStatus { version: env!("CARGO_PKG_VERSION").to_owned(), ready: self.is_ready(), executors, jobs }
    }

    /// How the jobs are, the oldest first.
    pub async fn job_status(&self) -> Vec<JobStatus> {
        let mut jobs = Vec::new();
        for (id, submitted) in self.jobs().list() {
            jobs.push(self.job(id, submitted).await);
        }
        self.sightings().retain(|id, _| jobs.iter().any(|job| job.id == *id));
        jobs
    }

    async fn executor_status(&self) -> Vec<ExecutorStatus> {
        let in_use = self.cores_in_use().await;
        let known = self.server.state.executor_manager.get_executors_state().await.unwrap_or_default();
        let now_seconds = now_ms() / 1000;
        let mut executors: Vec<_> = known
            .into_iter()
            .map(|(executor, heard_of, _)| {
                let introduction = self.events.introduction(&executor.id);
                ExecutorStatus {
                    node: introduction.as_ref().map(|said| said.node.clone()),
                    version: introduction.as_ref().map(|said| said.version.clone()),
                    python: introduction.map(|said| said.python),
                    cores_in_use: in_use.get(&executor.id).copied().unwrap_or_default(),
                    cores: executor.specification.vcores,
                    silent_seconds: heard_of.map(|at| now_seconds.saturating_sub(at.as_secs())),
                    host: executor.host,
                    port: executor.port,
                    id: executor.id,
                }
            })
            .collect();
        executors.sort_by(|a, b| a.id.cmp(&b.id));
        executors
    }

    async fn cores_in_use(&self) -> BTreeMap<String, u32> {
        let mut in_use = BTreeMap::new();
        let running = self.server.state.task_manager.get_running_job_cache();
        for id in self.jobs().under_way() {
            let Some(job) = running.get(&JobId::from(id)) else { continue };
            let graph = job.execution_graph.read().await;
            for task in graph.running_tasks() {
                *in_use.entry(task.executor_id).or_default() += graph.task_vcores(task.stage_id, task.task_id).unwrap_or(1);
            }
        }
        in_use
    }

    async fn job(&self, id: String, submitted: Submitted) -> JobStatus {
        let job = JobId::from(id.as_str());
        let known = self.server.state.task_manager.get_job_status(&job).await.ok().flatten();
        let error = match known.as_ref().and_then(|known| known.status.as_ref()) {
            Some(job_status::Status::Failed(failed)) if submitted.state == JobState::Failed => Some(failed.error.clone()),
            _ => None,
        };
        let seen = self.see(&id, submitted.state).await;
        let until = submitted.ended_ms.unwrap_or_else(now_ms);
        JobStatus {
            id,
            run: seen.run.or_else(|| known.as_ref().and_then(|known| run_of(&known.job_name)).map(str::to_owned)),
            state: submitted.state,
            corpus: seen.corpus,
            facts: seen.facts,
            submitted_at_ms: submitted.at_ms,
            ended_at_ms: submitted.ended_ms,
            seconds: until.saturating_sub(submitted.at_ms) / 1000,
            progress: seen.progress,
            error,
        }
    }

    /// What there is to see of a job. Of one that is over it is looked for once: its stages may be many, and do not change any more.
    async fn see(&self, id: &str, state: JobState) -> Seen {
        let (before, last) = self.sightings().get(id).cloned().unwrap_or_default();
        if last {
            return before;
        }
        let job = JobId::from(id);
        let running = self.server.state.task_manager.get_running_job_cache().get(&job).cloned();
        let seen = match running {
            Some(running) => look_at(running.execution_graph.read().await.as_ref()),
            None => self.job_state.get_execution_graph(&job).await.ok().flatten().and_then(|graph| look_at(graph.as_ref())),
        };
        let seen = seen.unwrap_or(before);
        self.sightings().insert(id.to_owned(), (seen.clone(), state.is_over()));
        seen
    }
}

/// What the stages of a job tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub run: Option<String>,
    pub corpus: Option<String>,
    pub facts: Option<String>,
    pub progress: JobProgress,
}

/// Looks at the stage that lands, if the job has one.
pub(crate) fn look_at(graph: &dyn ExecutionGraph) -> Option<Seen> {
    let (stage, land) = graph.stages().values().find_map(|stage| Some((stage, landing(stage.plan())?)))?;
    let job = land.job();
    let mut progress = JobProgress { bins: bins(stage), bins_done: bins_done(stage), ..JobProgress::default() };
    for metrics in metrics(stage) {
        count(metrics, &mut progress);
    }
    Some(Seen { run: Some(job.run.clone()), corpus: Some(job.corpus.clone()), facts: Some(job.facts.clone()), progress })
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
