//! One run for all tables of a query.
//!
//! Tables look which run is current when they are scanned, so that a session that lives for days sees a new run at once. A run may become current
//! between two scans of one query: the first of them looks, and the others show what it has found.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytefacts_landing::RunId;
use bytefacts_stores::Place;
use datafusion::catalog::Session;
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use futures::lock::Mutex;

use crate::error::external;

/// Plans as DataFusion does, with one look for each query at which run is current.
#[derive(Debug)]
pub struct OneRunPlanner;

#[async_trait]
impl QueryPlanner for OneRunPlanner {
    async fn create_physical_plan(&self, logical_plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else { return internal_err!("a session without its state") };
        let mut state = state.clone();
        state.config_mut().set_extension(Arc::new(Looked::default()));
        DefaultPhysicalPlanner::default().create_physical_plan(logical_plan, &state).await
    }
}

/// What a query has found to be current, by the place of the facts. Locked while somebody looks: scans of a query are planned at the same time.
#[derive(Debug, Default)]
struct Looked(Mutex<BTreeMap<String, Option<RunId>>>);

/// The run that is current at a place, for all tables of the query that is being planned.
pub(crate) async fn current(place: &Place, state: &dyn Session) -> Result<Option<RunId>> {
    let look = async || Ok::<_, DataFusionError>(place.facts().current().await.map_err(external)?.map(|current| current.run_id));
    let Some(looked) = state.config().get_extension::<Looked>() else { return look().await };
    let name = format!("{}{}", place.root, place.path);
    let mut known = looked.0.lock().await;
    if let Some(run) = known.get(&name) {
        return Ok(run.clone());
    }
    let run = look().await?;
    known.insert(name, run.clone());
    Ok(run)
}
