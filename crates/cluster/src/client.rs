//! The client's side of a Ballista cluster: submits extraction jobs, cancels them, and knows whether the scheduler is there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use bytefacts_engine::stores::Stores;
use bytefacts_engine::{CorpusTable, Job, JobCluster};
use datafusion::common::Result;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion_proto::protobuf::LogicalPlanNode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::session::{JobSettings, job_session};

/// A client of the cluster whose scheduler listens at a URL.
pub struct Client {
    url: String,
    stores: Arc<Stores>,
    settings: JobSettings,
    /// The plan that was submitted last: it knows the job's id.
    submitted: Mutex<Option<Arc<dyn ExecutionPlan>>>,
}

const TABLE: &str = "bytefacts_corpus";

/// How long a scheduler may take to answer the knock at its door.
const KNOCK: Duration = Duration::from_secs(5);

impl Client {
    /// A client of the scheduler at `url` (`df://host:port`). Nothing is connected yet.
    #[must_use]
    pub fn new(url: String, stores: Arc<Stores>, settings: JobSettings) -> Self {
        Self { url, stores, settings, submitted: Mutex::new(None) }
    }

    fn authority(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, authority)| authority)
    }

    /// The id that the scheduler gave the job submitted last, if it got so far.
    fn job_id(&self) -> Option<String> {
        let submitted = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = submitted.as_ref().and_then(distributed)?;
        plan.job_id().map(Into::into)
    }
}

/// The operator that has a cluster do the work, at the root of a client's plan or below what the client itself does.
fn distributed(plan: &Arc<dyn ExecutionPlan>) -> Option<&DistributedQueryExec<LogicalPlanNode>> {
    plan.downcast_ref().or_else(|| plan.children().into_iter().find_map(distributed))
}

#[async_trait]
impl JobCluster for Client {
    async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>> {
        // A session of its own: one that a lost scheduler knew means nothing to the next.
        let session = job_session(&self.url, Arc::clone(&self.stores), &self.settings).await?;
        session.register_table(TABLE, Arc::new(CorpusTable::new(job.clone(), Arc::clone(&self.stores))))?;
        // The order keeps the analysis out of the final stage, whose results Ballista 55 loses with an executor (adaptive planning off).
        let query = session.sql(&format!("SELECT bin_id, rows FROM {TABLE} ORDER BY bin_id")).await?;
        let plan = query.create_physical_plan().await?;
        *self.submitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&plan));
        collect(plan, session.task_ctx()).await
    }

    async fn cancel(&self) {
        let Some(job_id) = self.job_id() else { return };
        let cancelled = timeout(KNOCK, async {
            let mut scheduler = SchedulerGrpcClient::connect(format!("http://{}", self.authority())).await?;
            let answer = scheduler.cancel_job(CancelJobParams { job_id: job_id.clone() }).await;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer.map(drop)?)
        });
        if let Ok(Err(error)) = cancelled.await {
            tracing::debug!(%error, job_id, "the job could not be cancelled; what it still lands does no harm");
        }
    }

    async fn is_reachable(&self) -> bool {
        matches!(timeout(KNOCK, TcpStream::connect(self.authority())).await, Ok(Ok(_)))
    }
}
