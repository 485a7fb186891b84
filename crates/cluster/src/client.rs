//! The client's side of a Ballista cluster: submits extraction jobs, cancels them, and knows whether the scheduler is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use ballista_core::execution_plans::DistributedQueryExec;
use bytefacts_engine::{CorpusTable, Job, JobCluster, lasting};
use bytefacts_stores::Stores;
use bytefacts_tls::ClientTls;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion_proto::protobuf::LogicalPlanNode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::attendance::Attending;
use crate::jobs::JobState;
use crate::remote::{RemoteScheduler, RestError};
use crate::session::{JobSettings, Work, job_session_with, run_and_client};

/// A client of the cluster whose scheduler listens at a URL.
pub struct Client {
    url: String,
    pub(crate) stores: Arc<Stores>,
    settings: JobSettings,
    scheduler: RemoteScheduler,
    /// The plan that was submitted last: it knows the job's id.
    submitted: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    /// Somebody else has ended the run: it is not submitted again.
    ended_by_others: AtomicBool,
}

/// How long a scheduler may take to answer the knock at its door.
const KNOCK: Duration = Duration::from_secs(5);

impl Client {
    /// A client of the scheduler at `url` (`df://host:port`). Nothing is connected yet.
    #[must_use]
    pub fn new(url: String, stores: Arc<Stores>, settings: JobSettings) -> Self {
        let scheduler = RemoteScheduler::new(&url);
        Self { url, stores, settings, scheduler, submitted: Mutex::new(None), ended_by_others: AtomicBool::new(false) }
    }

    /// The same, encrypted, where there is something to show.
    #[must_use]
    pub fn with_tls(self, tls: Option<ClientTls>) -> Self {
        Self { scheduler: self.scheduler.with_tls(tls), ..self }
    }

    /// What its jobs are known by.
    fn client(&self) -> Option<&str> {
        run_and_client(&self.settings.name).map(|(_, client)| client)
    }

    /// The id that the scheduler gave the job submitted last, if it got so far.
    fn job_id(&self) -> Option<String> {
        let submitted = self.submitted.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = submitted.as_ref().and_then(distributed)?;
        plan.job_id().map(Into::into)
    }

    /// Ends what was submitted last: its tasks too, wherever they run.
    ///
    /// # Errors
    /// When the scheduler does not answer; the job may then go on.
    pub async fn end_job(&self) -> Result<(), RestError> {
        for id in self.under_way().await? {
            self.scheduler.cancel(&id).await?;
        }
        Ok(())
    }

    /// How many executors the cluster has.
    ///
    /// # Errors
    /// When the scheduler does not answer.
    pub async fn executors(&self) -> Result<usize, RestError> {
        Ok(self.scheduler.status().await?.executors.len())
    }

    /// The jobs of this client that are under way: the one whose id it knows, else, as long as no answer has come, those of its name. Other
    /// clients may be at the same run.
    async fn under_way(&self) -> Result<Vec<String>, RestError> {
        if let Some(id) = self.job_id() {
            return Ok(vec![id]);
        }
        let client = self.client();
        let jobs = self.scheduler.status().await?.jobs;
        Ok(jobs.into_iter().filter(|job| !job.state.is_over() && job.client.as_deref() == client).map(|job| job.id).collect())
    }

    /// Whether somebody has ended the job that was submitted last.
    async fn was_cancelled(&self) -> bool {
        let (Some(id), Ok(status)) = (self.job_id(), self.scheduler.status().await) else { return false };
        status.jobs.iter().any(|job| job.id == id && job.state == JobState::Cancelled)
    }

    fn submit_again(&self) -> Result<()> {
        if self.ended_by_others.load(Ordering::Relaxed) {
            let work = run_and_client(&self.settings.name).and_then(|(work, _)| work);
            return Err(lasting(match work {
                Some(Work::Audit(audit)) => format!("audit {audit} was cancelled"),
                Some(Work::Run(run)) => format!("run {run} was cancelled"),
                None => "the query was cancelled".to_owned(),
            }));
        }
        Ok(())
    }

    /// Has the cluster scan a table whose scan is work, and gives the columns of what it answers, in the order of those that name a part of the work.
    pub(crate) async fn submit_scan(&self, table: Arc<dyn TableProvider>, columns: &str, order: &str) -> Result<Vec<RecordBatch>> {
        const TABLE: &str = "bytefacts_work";
        self.submit_again()?;
        let _attending = match self.client() {
            Some(client) if self.settings.ends_with_client => Some(Attending::begin(&self.scheduler, client).await),
            _ => None,
        };
        // A session of its own: one that a lost scheduler knew means nothing to the next.
        let session = job_session_with(&self.url, Arc::clone(&self.stores), &self.settings, self.scheduler.tls()).await?;
        session.register_table(TABLE, table)?;
        // The order keeps the work out of the final stage, whose results Ballista 55 loses with an executor (adaptive planning off).
        let query = session.sql(&format!("SELECT {columns} FROM {TABLE} ORDER BY {order}")).await?;
        let plan = query.create_physical_plan().await?;
        *self.submitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&plan));
        let answers = collect(plan, session.task_ctx()).await;
        if answers.is_err() && self.was_cancelled().await {
            self.ended_by_others.store(true, Ordering::Relaxed);
            self.submit_again()?;
        }
        answers
    }
}

/// The operator that has a cluster do the work, at the root of a client's plan or below what the client itself does.
fn distributed(plan: &Arc<dyn ExecutionPlan>) -> Option<&DistributedQueryExec<LogicalPlanNode>> {
    plan.downcast_ref().or_else(|| plan.children().into_iter().find_map(distributed))
}

#[async_trait]
impl JobCluster for Client {
    async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>> {
        let corpus = CorpusTable::new(job.clone(), Arc::clone(&self.stores));
        self.submit_scan(Arc::new(corpus), "bin_id, rows", "bin_id").await
    }

    async fn cancel(&self) {
        if let Err(error) = self.end_job().await {
            tracing::debug!(%error, "the job could not be cancelled; what it still lands does no harm");
        }
    }

    async fn is_reachable(&self) -> bool {
        matches!(timeout(KNOCK, TcpStream::connect(self.scheduler.address())).await, Ok(Ok(_)))
    }
}
