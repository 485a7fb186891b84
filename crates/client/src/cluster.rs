//! Queries of a session on a cluster's executors, with no server in between.
//!
//! The session plans, and ships the physical plan. A logical plan, as Ballista's own clients ship it, would have to name tables that the scheduler can
//! make anew, and it would plan a second time: what is announced need not be what comes. A scheduler cuts a physical plan into stages and changes
//! nothing else in it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::optimizer::with_ballista_optimizer_rules;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use bytefacts_query::operator::runs_on_a_cluster;
use bytefacts_query::{FlattenExec, OneRunPlanner, QueryCodec, Underway, of_task};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::explain::ExplainExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions, displayable,
};
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{Stream, TryStreamExt as _};

use crate::error::ClientError;
use crate::scheduler::Scheduler;

/// The largest message to and from a scheduler, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What the names of jobs begin with that answer queries; then comes what tells one from another.
const QUERY: &str = "query/";

/// How often a query is run at most.
const TRIES: usize = 3;

/// A state whose queries run on a cluster: nothing in a plan waits for what another task finds out, and joins spill.
pub(crate) fn on_cluster(state: SessionState, scheduler: Scheduler, cores: usize) -> SessionState {
    let mut config = state.config().clone().upgrade_for_ballista();
    if let Some(tls) = scheduler.tls().cloned() {
        config = config.with_ballista_override_create_grpc_client_endpoint(Arc::new(move |endpoint| Ok(tls.endpoint(&endpoint)?)));
    }
    let config = config.with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES).with_ballista_adaptive_query_planner(false);
    // The catalog is there, and another of its name would take its place.
    let config = config.with_create_default_catalog_and_schema(false).with_target_partitions(cores.max(1));
    let rules = with_ballista_optimizer_rules(state.optimizers());
    let builder = SessionStateBuilder::new_from_existing(state).with_config(config).with_optimizer_rules(rules);
    builder.with_query_planner(Arc::new(ClusterPlanner { scheduler })).build()
}

/// Plans as a session of this process does, and has the whole run on the cluster.
#[derive(Debug)]
struct ClusterPlanner {
    scheduler: Scheduler,
}

#[async_trait]
impl QueryPlanner for ClusterPlanner {
    async fn create_physical_plan(&self, logical_plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = OneRunPlanner.create_physical_plan(logical_plan, state).await?;
        if reads_files_alone(&plan)? && runs_on_a_cluster(&plan)? {
            Ok(Arc::new(OnCluster::new(plan, self.scheduler.clone(), state.config().clone())))
        } else {
            // What only this process has is told by it, and what a cluster would never end is done by it.
            Ok(plan)
        }
    }
}

/// Whether a plan reads data files, and nothing that only this process has.
fn reads_files_alone(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let (mut files, mut others) = (false, plan.downcast_ref::<ExplainExec>().is_some());
    plan.apply(|node| {
        if node.children().is_empty() && node.downcast_ref::<EmptyExec>().is_none() && node.downcast_ref::<PlaceholderRowExec>().is_none() {
            let source = node.downcast_ref::<DataSourceExec>();
            match source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>()) {
                Some(_) => files = true,
                None => others = true,
            }
        }
        files |= node.downcast_ref::<FlattenExec>().is_some();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(files && !others)
}

/// A plan that a cluster runs. It has no children here: what is below is none of this process's business.
#[derive(Debug)]
struct OnCluster {
    plan: Arc<dyn ExecutionPlan>,
    scheduler: Scheduler,
    config: SessionConfig,
    properties: Arc<PlanProperties>,
}

impl OnCluster {
    fn new(plan: Arc<dyn ExecutionPlan>, scheduler: Scheduler, config: SessionConfig) -> Self {
        let equivalence = EquivalenceProperties::new(plan.schema());
        let partitioning = Partitioning::UnknownPartitioning(1);
        let properties = Arc::new(PlanProperties::new(equivalence, partitioning, EmissionType::Final, Boundedness::Bounded));
        Self { plan, scheduler, config, properties }
    }
}

impl DisplayAs for OnCluster {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "OnCluster: scheduler={}, plan={}", self.scheduler.url(), displayable(self.plan.as_ref()).one_line())
    }
}

impl ExecutionPlan for OnCluster {
    fn name(&self) -> &'static str {
        "OnCluster"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("OnCluster has no children") }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("OnCluster has one partition, not {partition}");
        }
        let (plan, scheduler, config) = (Arc::clone(&self.plan), self.scheduler.clone(), self.config.clone());
        let rows = futures::stream::once(async move { run(&scheduler, plan, &config).await }).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// Runs a plan. The stream comes when the cluster has all of the answer; whoever drops the stream, or this call, ends the job.
///
/// Ballista 55 may count what a lost executor had done twice, without an error. An answer during which one was lost is not given: the query is run again.
async fn run(scheduler: &Scheduler, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<SendableRecordBatchStream> {
    for _ in 0..TRIES {
        let mut random = [0; 8];
        getrandom::getrandom(&mut random).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let client = hex::encode(random);
        let before = scheduler.status().await?;
        let mut underway = Underway::new(end(scheduler.clone(), client.clone()));
        let named = config.clone().with_ballista_job_name(&format!("{QUERY}{client}"));
        let codec = QueryCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()));
        let (url, ballista, schema) = (scheduler.url(), named.ballista_config(), plan.schema());
        let answer = execute_physical_plan::<PhysicalPlanNode>(url, &ballista, Arc::clone(&plan), &codec, client.clone(), named);
        let answer = answer.await.map_err(|error| of_task(&error).unwrap_or(error))?;
        if scheduler.status().await?.is_undisturbed(&client, &before) {
            return Ok(Box::pin(Rows { schema, answer, underway }));
        }
        underway.is_over();
        tracing::warn!("an executor was lost while a query ran: it is run again");
    }
    exec_err!("executors were lost while the query ran, {TRIES} times in a row: ask again when the cluster is steady")
}

/// Ends the job of a client. It may be over, or the scheduler gone: then there is nothing to end.
async fn end(scheduler: Scheduler, client: String) {
    if let Err(error) = scheduler.end(&client).await {
        tracing::debug!(%error, "a query that nobody waits for could not be ended");
    }
}

struct Rows {
    schema: SchemaRef,
    answer: SendableRecordBatchStream,
    underway: Underway,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.answer.as_mut().poll_next(context);
        if matches!(next, Poll::Ready(None)) {
            self.underway.is_over();
        }
        next.map_err(|error| of_task(&error).unwrap_or(error))
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The session's state on the cluster of a scheduler.
pub(crate) async fn planned_for(state: SessionState, scheduler: Scheduler) -> Result<SessionState, ClientError> {
    let cores = scheduler.status().await?.cores();
    Ok(on_cluster(state, scheduler, cores))
}
