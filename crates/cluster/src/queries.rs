//! Queries over facts, spread over a cluster's executors.
//!
//! Whoever asks plans, so that what is announced is what comes back; the scheduler cuts the plan into stages and changes nothing else in it. An
//! executor reads what `access.facts` allows, as for jobs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::optimizer::with_ballista_optimizer_rules;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use bytefacts_engine::{PhysicalCodec, fresh_attempt, words};
use bytefacts_query::{Underway, of_task};
use bytefacts_tls::ClientTls;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::Stream;

use crate::attendance::Attending;
use crate::quota::Quota;
use crate::remote::{RemoteScheduler, RestError};
use crate::session::{MAX_MESSAGE_BYTES, query_name, with_tls};
use crate::status::ClusterStatus;

/// A cluster that answers queries.
#[derive(Clone, Debug)]
pub struct QueryCluster {
    scheduler: RemoteScheduler,
}

impl QueryCluster {
    /// The cluster whose scheduler listens at `df://host:port`. Nothing is connected yet.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { scheduler: RemoteScheduler::new(url) }
    }

    /// The same, encrypted, where there is something to show.
    #[must_use]
    pub fn with_tls(self, tls: Option<ClientTls>) -> Self {
        Self { scheduler: self.scheduler.with_tls(tls) }
    }

    /// Whether its scheduler answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn knock(&self) -> std::result::Result<(), RestError> {
        self.scheduler.status().await.map(drop)
    }

    /// A state that plans what a cluster can run: nothing in a plan waits for what another task finds out, and joins spill.
    #[must_use]
    pub fn planning(state: SessionState) -> SessionState {
        let config = state.config().clone().upgrade_for_ballista();
        let config = config.with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES).with_ballista_adaptive_query_planner(false);
        // The catalog is there, and another of its name would take its place.
        let config = config.with_create_default_catalog_and_schema(false);
        let rules = with_ballista_optimizer_rules(state.optimizers());
        SessionStateBuilder::new_from_existing(state).with_config(config).with_optimizer_rules(rules).build()
    }

    /// Has the settings of a plan say what each executor may give to it.
    pub fn limit(config: &mut SessionConfig, memory_bytes: u64, spill_bytes: u64) {
        let mut quota = Quota::default();
        (quota.memory_bytes, quota.spill_bytes) = (memory_bytes, spill_bytes);
        config.options_mut().extensions.insert(quota);
    }

    /// Cores of its executors, together, as far as a plan is cut into so many parts.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn cores(&self) -> Result<usize> {
        let cores: usize = self.status().await?.executors.iter().map(|executor| usize::try_from(executor.cores).unwrap_or(1)).sum();
        Ok(cores.min(MOST_PARTS))
    }

    /// Runs a plan that was made by a state of [`QueryCluster::planning`], with its settings. The stream comes when the cluster has all of the answer;
    /// whoever drops the stream, or this call, ends the job.
    ///
    /// Ballista 55 may count what a lost executor had done twice, without an error. An answer during which one was lost is not given: the query is
    /// run again.
    ///
    /// # Errors
    /// In our own words where the cluster has them: when it cannot be reached, has no executor in time, fails, or loses executors again and again.
    pub async fn run(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<SendableRecordBatchStream> {
        for _ in 0..TRIES {
            let client = fresh_attempt().to_string();
            let before = self.status().await?;
            let mut answer = self.submit(Arc::clone(&plan), config, &client).await?;
            let now = self.status().await?;
            if is_whole(&before, &now, &client) {
                return Ok(Box::pin(answer));
            }
            answer.job.is_over();
            tracing::warn!(client, "an executor was lost while a query ran: it is run again");
        }
        Err(DataFusionError::External(Box::new(Unsteady)))
    }

    async fn submit(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig, client: &str) -> Result<Answer> {
        let config = with_tls(config.clone().with_ballista_job_name(&query_name(client)), self.scheduler.tls());
        let schema = plan.schema();
        let attending = Attending::begin(&self.scheduler, client).await;
        let job = Underway::new(end(self.scheduler.clone(), client.to_owned()));
        let codec = PhysicalCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()), None);
        let url = format!("http://{}", self.scheduler.address());
        let ballista = config.ballista_config();
        match execute_physical_plan::<PhysicalPlanNode>(url, &ballista, plan, &codec, client.to_owned(), config).await {
            Ok(answer) => Ok(Answer { schema, answer, job, _attending: attending }),
            Err(error) => Err(in_words(&error)),
        }
    }

    /// How the cluster is.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn status(&self) -> Result<ClusterStatus> {
        self.scheduler.status().await.map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

/// What a query failed with: its statement's fault, or one of the cluster and of stores, which may be gone the next time.
fn in_words(error: &DataFusionError) -> DataFusionError {
    of_task(error).unwrap_or_else(|| DataFusionError::External(words(error).into()))
}

/// Parts of a plan that are worked on at a time, however large a cluster is: each stage sends from each part to each.
const MOST_PARTS: usize = 256;

/// How often a query is run at most.
const TRIES: usize = 3;

/// Whether no executor was lost while a client's query ran, by how the cluster was before and is now.
fn is_whole(before: &ClusterStatus, now: &ClusterStatus, client: &str) -> bool {
    let is_there = |id: &str| now.executors.iter().any(|executor| executor.id == id);
    let job = now.jobs.iter().find(|job| job.client.as_deref() == Some(client));
    // A scheduler that no longer knows the job is another one.
    job.is_some_and(|job| job.reruns == 0) && before.executors.iter().all(|executor| is_there(&executor.id))
}

/// Executors were lost under each try.
#[derive(Debug, thiserror::Error)]
#[error("executors were lost while the query ran, {TRIES} times in a row: ask again when the cluster is steady")]
struct Unsteady;

/// Ends the job of a client. It may be over, or the scheduler gone: then there is nothing to end.
async fn end(scheduler: RemoteScheduler, client: String) {
    let Ok(status) = scheduler.status().await else { return };
    for job in status.jobs.iter().filter(|job| job.client.as_deref() == Some(&client) && !job.state.is_over()) {
        if let Err(error) = scheduler.cancel(&job.id).await {
            tracing::debug!(%error, job = job.id, "a query that nobody waits for could not be ended");
        }
    }
}

/// What a cluster has answered.
struct Answer {
    schema: SchemaRef,
    answer: SendableRecordBatchStream,
    job: Underway,
    _attending: Attending,
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.answer.as_mut().poll_next(context);
        if matches!(next, Poll::Ready(None)) {
            self.job.is_over();
        }
        next.map_err(|error| in_words(&error))
    }
}

impl RecordBatchStream for Answer {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobState;
    use crate::status::{ExecutorStatus, JobProgress, JobStatus};

    fn executor(id: &str) -> ExecutorStatus {
        ExecutorStatus {
            id: id.to_owned(),
            node: None,
            host: "h".to_owned(),
            port: 1,
            cores: 1,
            cores_in_use: 0,
            silent_seconds: None,
            version: None,
            python: None,
        }
    }

    fn job(client: &str, reruns: u64) -> JobStatus {
        JobStatus {
            id: client.to_owned(),
            run: None,
            audit: None,
            client: Some(client.to_owned()),
            state: JobState::Completed,
            corpus: None,
            facts: None,
            submitted_at_ms: 0,
            ended_at_ms: None,
            seconds: 0,
            progress: JobProgress::default(),
            reruns,
            error: None,
        }
    }

    fn status(executors: &[&str], jobs: Vec<JobStatus>) -> ClusterStatus {
        ClusterStatus { version: String::new(), ready: true, executors: executors.iter().map(|id| executor(id)).collect(), jobs }
    }

    #[test]
    fn an_answer_is_given_only_if_nothing_was_lost_meanwhile() {
        let before = status(&["a", "b"], Vec::new());
        let is_whole = |executors: &[&str], jobs: Vec<JobStatus>| is_whole(&before, &status(executors, jobs), "q");
        assert!(is_whole(&["a", "b"], vec![job("other", 3), job("q", 0)]));
        assert!(is_whole(&["a", "b", "c"], vec![job("q", 0)]), "one that has come is no loss");
        assert!(!is_whole(&["a", "b"], vec![job("q", 1)]), "a stage was begun again");
        assert!(!is_whole(&["a", "c"], vec![job("q", 0)]), "an executor has gone, and another has come");
        assert!(!is_whole(&["a", "b"], Vec::new()), "the scheduler is another one");
    }
}
