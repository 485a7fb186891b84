//! The session that answers SQL over facts: one function for all who ask.

use std::sync::Arc;

use bytefacts_facts::{flat, views};
use bytefacts_landing::RunId;
use bytefacts_stores::Stores;
use datafusion::catalog::{CatalogProvider, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::changes::{CHANGES, ChangesFunction};
use crate::error::external;
use crate::facts_table::FactsTable;
use crate::flat_tables::FlatTables;
use crate::listings::{self, Listings};
use crate::locality::ByFile;
use crate::one_run::OneRunPlanner;
use crate::udf;
use crate::yielding::Yielding;

/// The name of the root table.
pub const FACTS_TABLE: &str = "bytecode_files_v1";

/// A local session over the facts at `location` (a URL), with the root table, the functions and every view.
///
/// # Errors
/// When the location cannot be opened, or a view does not fit the schema (a fault of ours).
pub async fn facts_session(stores: &Stores, location: &str, run: Option<RunId>) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(true);
    // The contract knows plain types only: no view types, in tables or in results.
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new_with_default_features().with_config(config).build();
    let session = SessionContext::new_with_state(with_our_rules(state));
    register_facts(&session, stores, location, run).await?;
    Ok(session)
}

/// A state that plans as this one does, but that all tables of a query show one run, what needs to know of one source file at a time is done so, and
/// joins give way.
fn with_our_rules(state: SessionState) -> SessionState {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(ByFile)];
    rules.extend(state.physical_optimizers().iter().map(Arc::clone));
    rules.push(Arc::new(Yielding));
    let builder = SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(rules);
    builder.with_query_planner(Arc::new(OneRunPlanner)).build()
}

/// Registers the root table, the id functions, `changes`, the flat tables and every view with a session.
///
/// # Errors
/// As [`facts_session`].
pub async fn register_facts(session: &SessionContext, stores: &Stores, location: &str, run: Option<RunId>) -> Result<()> {
    let place = stores.open(location).map_err(external)?;
    session.runtime_env().register_object_store(&place.root, Arc::clone(&place.store));
    for function in udf::all() {
        session.register_udf(function);
    }
    session.register_udtf(CHANGES, Arc::new(ChangesFunction::new(place.clone()).await?));
    let facts = Arc::new(FactsTable::new(place, run));
    session.register_table(FACTS_TABLE, Arc::clone(&facts) as Arc<dyn TableProvider>)?;
    default_catalog(session)?.register_schema(flat::SCHEMA, Arc::new(FlatTables::new(facts)))?;
    for view in views::all() {
        session.sql(&format!("CREATE VIEW {} AS {}", view.name, view.sql)).await?;
    }
    Ok(())
}

/// Registers the schema `bytefacts` with a session: its runs, and the data files, repositories and errors of one of them, or of none.
///
/// # Errors
/// When the location cannot be opened.
pub fn register_listings(session: &SessionContext, stores: &Stores, location: &str, run: Option<RunId>) -> Result<()> {
    let place = stores.open(location).map_err(external)?;
    default_catalog(session)?.register_schema(listings::SCHEMA, Arc::new(Listings::new(place, run)))?;
    Ok(())
}

fn default_catalog(session: &SessionContext) -> Result<Arc<dyn CatalogProvider>> {
    let name = session.copied_config().options().catalog.default_catalog.clone();
    match session.catalog(&name) {
        Some(catalog) => Ok(catalog),
        None => plan_err!("the session has no catalog {name}"),
    }
}
