//! A look at a running scheduler: what its cluster does, of which Ballista knows one part and we another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballista_core::JobId;
use ballista_core::serde::protobuf::job_status;
use ballista_scheduler::cluster::JobState as ClusterJobs;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use futures::FutureExt as _;

use crate::events::Events;
use crate::jobs::{JobState, Jobs, Submitted, now_ms};
use crate::seen::{Seen, look_at};
use crate::session::{Work, run_and_client};
use crate::status::{ClusterStatus, ExecutorStatus, JobStatus};

pub(crate) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// A look at a running scheduler.
#[derive(Clone)]
pub struct SchedulerView {
    server: Server,
    job_state: Arc<dyn ClusterJobs>,
    events: Arc<Events>,
    jobs: Arc<Jobs>,
    /// What was last seen of each job, and whether that is the last there is to see.
    seen: Arc<Mutex<BTreeMap<String, (Seen, bool)>>>,
}

impl SchedulerView {
    pub(crate) fn new(server: Server, job_state: Arc<dyn ClusterJobs>, jobs: Arc<Jobs>, events: Arc<Events>) -> Self {
        Self { server, job_state, jobs, events, seen: Arc::default() }
    }

    /// Whether it has the executors that it needs.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.server.is_ready()
    }

    /// Executors of the cluster: those heard of within the timeout.
    #[must_use]
    pub fn executors(&self) -> usize {
        // The state is in memory, so that the answer is there at once.
        let state = self.server.state.executor_manager.get_executors_state().now_or_never();
        state.and_then(Result::ok).map_or(0, |executors| executors.len())
    }

    /// Jobs that wait to be planned.
    #[must_use]
    pub fn queued_jobs(&self) -> usize {
        self.server.pending_job_number()
    }

    /// Jobs under way.
    #[must_use]
    pub fn running_jobs(&self) -> usize {
        self.server.running_job_number()
    }

    /// How many jobs came and how they ended.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// How the jobs are, unless just now they cannot be looked at.
    #[must_use]
    pub fn job_status_now(&self) -> Option<Vec<JobStatus>> {
        self.job_status().now_or_never()
    }

    /// Executors that went without a word, since the scheduler started.
    #[must_use]
    pub fn lost_executors(&self) -> u64 {
        self.events.lost()
    }

    /// How the cluster is.
    pub async fn status(&self) -> ClusterStatus {
        let (executors, jobs) = (self.executor_status().await, self.job_status().await);
        ClusterStatus { version: env!("CARGO_PKG_VERSION").to_owned(), ready: self.is_ready(), executors, jobs }
    }

    /// Ends the jobs that a client has left.
    pub(crate) async fn end_jobs_of(&self, client: &str) {
        for job in self.job_status().await.into_iter().filter(|job| !job.state.is_over() && job.client.as_deref() == Some(client)) {
            tracing::warn!(job = job.id, client, "its client has gone without a word: the job is ended");
            if let Err(error) = self.server.cancel_job(job.id.as_str().into()).await {
                tracing::warn!(job = job.id, %error, "a job that nobody waits for could not be ended");
            }
        }
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
        let name = known.as_ref().and_then(|known| run_and_client(&known.job_name));
        let seen = self.see(&id, submitted.state).await;
        let until = submitted.ended_ms.unwrap_or_else(now_ms);
        let (run, audit) = match name.and_then(|(work, _)| work) {
            Some(Work::Run(run)) => (Some(run.to_owned()), None),
            Some(Work::Audit(audit)) => (None, Some(audit.to_owned())),
            None => (None, None),
        };
        JobStatus {
            id,
            run: seen.run.or(run),
            audit: seen.audit.or(audit),
            client: name.map(|(_, client)| client.to_owned()),
            state: submitted.state,
            corpus: seen.corpus,
            facts: seen.facts,
            submitted_at_ms: submitted.at_ms,
            ended_at_ms: submitted.ended_ms,
            seconds: until.saturating_sub(submitted.at_ms) / 1000,
            progress: seen.progress,
            reruns: seen.reruns,
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
            Some(running) => Some(look_at(running.execution_graph.read().await.as_ref())),
            None => self.job_state.get_execution_graph(&job).await.ok().flatten().map(|graph| look_at(graph.as_ref())),
        };
        let seen = seen.unwrap_or(before);
        self.sightings().insert(id.to_owned(), (seen.clone(), state.is_over()));
        seen
    }

    fn sightings(&self) -> MutexGuard<'_, BTreeMap<String, (Seen, bool)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
