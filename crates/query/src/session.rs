//! The session that answers SQL over facts: one function for all who ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytefacts_facts::flat;
use bytefacts_landing::RunId;
use bytefacts_stores::Stores;
use datafusion::catalog::{CatalogProvider, SchemaProvider};
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
use crate::views::Views;
use crate::yielding::Yielding;

/// The name of the root table.
pub const FACTS_TABLE: &str = "bytecode_files_v1";

/// A local session over the facts at `location` (a URL), with the root table, the functions and every view.
///
/// # Errors
/// When the location cannot be opened.
pub fn facts_session(stores: &Stores, location: &str, run: Option<RunId>) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(true);
    // The contract knows plain types only: no view types, in tables or in results.
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new_with_default_features().with_config(config).build();
    let session = SessionContext::new_with_state(with_our_rules(state));
    register_facts(&session, stores, location, run)?;
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

/// Registers the root table, the id functions, `changes`, the flat tables and every view with a session, in place of its default schema.
///
/// # Errors
/// As [`facts_session`].
pub fn register_facts(session: &SessionContext, stores: &Stores, location: &str, run: Option<RunId>) -> Result<()> {
    let place = stores.open(location).map_err(external)?;
    session.runtime_env().register_object_store(&place.root, Arc::clone(&place.store));
    for function in udf::all() {
        session.register_udf(function);
    }
    session.register_udtf(CHANGES, Arc::new(ChangesFunction::new(place.clone())));
    let facts = Arc::new(FactsTable::new(place, run));
    let flat_tables: Arc<dyn SchemaProvider> = Arc::new(FlatTables::new(Arc::clone(&facts)));
    let catalog = default_catalog(session)?;
    catalog.register_schema(flat::SCHEMA, Arc::clone(&flat_tables))?;
    let views = Views::new(session.state(), BTreeMap::from([(flat::SCHEMA, flat_tables)]));
    views.register_table(FACTS_TABLE.to_owned(), facts)?;
    catalog.register_schema(&session.copied_config().options().catalog.default_schema, Arc::new(views))?;
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

#[cfg(test)]
mod tests {
    use bytefacts_facts::views;
    use bytefacts_stores::Stores;

    use super::*;

    /// Over facts that nobody reads.
    fn session() -> SessionContext {
        facts_session(&Stores::default(), &format!("file://{}", std::env::temp_dir().display()), None).unwrap()
    }

    #[tokio::test]
    async fn every_view_can_be_planned_and_is_planned_once() {
        let session = session();
        for view in views::all() {
            let (first, second) = (session.table_provider(view.name).await.unwrap(), session.table_provider(view.name).await.unwrap());
            assert!(Arc::ptr_eq(&first, &second), "{}", view.name);
            let names: Vec<_> = first.schema().fields().iter().map(|field| field.name().clone()).collect();
            assert_eq!(names, view.columns.iter().map(|column| column.name).collect::<Vec<_>>(), "{}", view.name);
        }
        assert!(session.table_provider("py_bc_nothing").await.is_err());
    }

    /// What a session has is found by those who list it, and a name of one's own is beside the views.
    #[tokio::test]
    async fn views_are_listed_and_others_can_be_made() {
        let session = session();
        session.sql("CREATE VIEW mine AS SELECT opname FROM py_bc_instructions").await.unwrap();
        let names = session.catalog("datafusion").unwrap().schema("public").unwrap().table_names();
        assert_eq!(names.len(), 2 + views::all().len());
        assert!(session.sql("SELECT opname FROM mine").await.is_ok());
        let error = session.sql("CREATE VIEW py_bc_instructions AS SELECT 1").await.unwrap_err();
        assert!(error.to_string().contains("already exists"), "{error}");
    }

    /// A server has a session for each run, and lets it go.
    #[tokio::test]
    async fn a_session_that_is_let_go_is_gone() {
        let session = session();
        session.table_provider("py_bc_calls").await.unwrap();
        let catalogs = Arc::downgrade(session.state().catalog_list());
        drop(session);
        assert!(catalogs.upgrade().is_none(), "something of the session keeps it");
    }
}
