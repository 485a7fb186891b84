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
use bytefacts_engine::{PhysicalCodec, words};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::Stream;
use tokio::runtime::Handle;

use crate::remote::RemoteScheduler;
use crate::session::{MAX_MESSAGE_BYTES, fresh_client, query_name};

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

    /// Runs a plan that was made by a state of [`QueryCluster::planning`], with its settings. The stream comes when the cluster has all of the answer;
    /// whoever drops the stream, or this call, ends the job.
    ///
    /// # Errors
    /// In our own words where the cluster has them: when it cannot be reached, has no executor in time, or fails.
    pub async fn run(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<SendableRecordBatchStream> {
        let client = fresh_client();
        let config = config.clone().with_ballista_job_name(&query_name(&client));
        let schema = plan.schema();
        let mut job = Underway { scheduler: Some(self.scheduler.clone()), client: client.clone() };
        let codec = PhysicalCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()), None);
        let url = format!("http://{}", self.scheduler.address());
        let ballista = config.ballista_config();
        match execute_physical_plan::<PhysicalPlanNode>(url, &ballista, plan, &codec, client, config).await {
            Ok(answer) => Ok(Box::pin(Answer { schema, answer, job })),
            Err(error) => {
                job.is_over();
                Err(DataFusionError::Execution(words(&error)))
            }
        }
    }
}

/// A job that is ended when nobody waits for it any more.
struct Underway {
    scheduler: Option<RemoteScheduler>,
    client: String,
}

impl Underway {
    fn is_over(&mut self) {
        self.scheduler = None;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let (Some(scheduler), Ok(runtime)) = (self.scheduler.take(), Handle::try_current()) else { return };
        let client = std::mem::take(&mut self.client);
        runtime.spawn(async move {
            // It may be over, or the scheduler gone: then there is nothing to end.
            let Ok(status) = scheduler.status().await else { return };
            for job in status.jobs.iter().filter(|job| job.client.as_deref() == Some(&client) && !job.state.is_over()) {
                if let Err(error) = scheduler.cancel(&job.id).await {
                    tracing::debug!(%error, job = job.id, "a query that nobody waits for could not be ended");
                }
            }
        });
    }
}

/// What a cluster has answered.
struct Answer {
    schema: SchemaRef,
    answer: SendableRecordBatchStream,
    job: Underway,
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.answer.as_mut().poll_next(context);
        if let Poll::Ready(None | Some(Err(_))) = &next {
            self.job.is_over();
        }
        next.map_err(|error| DataFusionError::Execution(words(&error)))
    }
}

impl RecordBatchStream for Answer {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
