//! `FactsTable`: a committed run as the table `bytecode_files_v1`.
//!
//! The run is looked up when the table is scanned (`one_run.rs`), so that a session that lives for days sees a new run as soon as it is current. Its list of
//! files never changes and is fetched once. Only files that the manifest names are read: what lies beside them may belong to an attempt that
//! lost, or to another run.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_facts::schema as facts_schema;
use bytefacts_landing::{LandedFile, RunId};
use bytefacts_stores::Place;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::lock::Mutex;

use crate::error::external;
use crate::files_scan::FilesScan;
use crate::one_run;

/// A run of facts as a table.
#[derive(Debug)]
pub struct FactsTable {
    place: Place,
    run: Option<RunId>,
    /// The files of the run that was scanned last. Locked while they are fetched: the engine plans the scans of a query at the same time, and all
    /// are to know that they are of one run.
    files: Mutex<Option<(RunId, Arc<Vec<LandedFile>>)>>,
}

impl FactsTable {
    /// The current run of the facts at `place`, or the run of a given id.
    #[must_use]
    pub fn new(place: Place, run: Option<RunId>) -> Self {
        Self { place, run, files: Mutex::new(None) }
    }

    /// Some of the files of a run, and nothing else of it.
    pub(crate) fn of_files(place: Place, run: RunId, files: Vec<LandedFile>) -> Self {
        Self { place, run: Some(run.clone()), files: Mutex::new(Some((run, Arc::new(files)))) }
    }

    /// The files of the run that the table shows to a query.
    async fn files(&self, state: &dyn Session) -> Result<Arc<Vec<LandedFile>>> {
        let facts = self.place.facts();
        let run = match &self.run {
            Some(run) => run.clone(),
            None => match one_run::current(&self.place, state).await? {
                Some(current) => current,
                None => return plan_err!("no run has been committed to these facts yet: extract a corpus into them first"),
            },
        };
        let mut known = self.files.lock().await;
        if let Some((of, files)) = &*known
            && *of == run
        {
            return Ok(Arc::clone(files));
        }
        let Some(document) = facts.committed(&run).await.map_err(external)? else {
            return plan_err!("run {run} is not committed: `bytefacts runs` lists those that are");
        };
        let files = Arc::new(facts.files(&document).await.map_err(external)?);
        *known = Some((run, Arc::clone(&files)));
        Ok(files)
    }

    /// A scan of the run, of which filters may spare files, row groups, pages and rows.
    pub(crate) async fn files_scan(&self, state: &dyn Session, filters: &[Expr]) -> Result<FilesScan> {
        let contract = facts_schema();
        let filters = filters.iter().filter(|filter| !filter.is_volatile()).cloned();
        let predicate = match conjunction(filters) {
            Some(filter) => Some(state.create_physical_expr(filter, &DFSchema::try_from(contract)?)?),
            None => None,
        };
        Ok(FilesScan::new(self.place.clone(), self.files(state).await?, predicate))
    }
}

#[async_trait]
impl TableProvider for FactsTable {
    fn schema(&self) -> SchemaRef {
        facts_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // A filter may spare files and row groups; rows are tested above the scan.
        Ok(filters.iter().map(|_| TableProviderFilterPushDown::Inexact).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(facts_schema().project(columns)?),
            None => facts_schema(),
        };
        let scan = self.files_scan(state, filters).await?;
        scan.plan(schema.fields(), limit, None, state.config().target_partitions())
    }
}
