//! The flat tables of a session, in a schema of their own: scans that read only what their columns need.
//!
//! A scan asks the root table for columns that are *narrower* than the contract's: `code_objects` with nothing but `instructions` in it, and in
//! these nothing but `opname`. DataFusion's Parquet reader then reads those leaves and no others, and makes nulls of what an older file lacks.
//! [`FlattenExec`] above it makes rows of the elements that pass the filters.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_facts::flat::{self, FlatTable};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::condition::Condition;
use crate::facts_table::FactsTable;
use crate::flatten::FlattenExec;
use crate::look_up::LookUps;

/// The flat tables of a run. They are found by name and not listed: what is listed is the contract.
#[derive(Debug)]
pub(crate) struct FlatTables {
    facts: Arc<FactsTable>,
    look_ups: Arc<LookUps>,
}

impl FlatTables {
    pub(crate) fn new(facts: Arc<FactsTable>) -> Self {
        Self { facts, look_ups: Arc::default() }
    }
}

#[async_trait]
impl SchemaProvider for FlatTables {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let (facts, look_ups) = (Arc::clone(&self.facts), Arc::clone(&self.look_ups));
        Ok(flat::by_name(name).map(|table| Arc::new(FlatTableScan { facts, look_ups, table }) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        flat::by_name(name).is_some()
    }
}

/// A flat table of a run.
#[derive(Debug)]
struct FlatTableScan {
    facts: Arc<FactsTable>,
    look_ups: Arc<LookUps>,
    table: &'static FlatTable,
}

/// Whether a filter can be tested row by row, wherever it stands.
fn is_plain(filter: &Expr) -> Result<bool> {
    let is_else = filter.exists(|part| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_))
            || matches!(part, Expr::OuterReferenceColumn(..) | Expr::Placeholder(_)))
    })?;
    Ok(!is_else && !filter.is_volatile())
}

impl FlatTableScan {
    /// Whether all columns of a filter are those of the file, so that it may be asked of the root table.
    fn is_on_files(&self, filter: &Expr) -> bool {
        let of_file = |name: &str| self.table.column(name).is_some_and(|column| column.level == 0);
        filter.column_refs().iter().all(|column| of_file(&column.name))
    }
}

#[async_trait]
impl TableProvider for FlatTableScan {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let supported = |filter: &&Expr| match is_plain(filter)? {
            true => Ok(TableProviderFilterPushDown::Exact),
            false => Ok(TableProviderFilterPushDown::Unsupported),
        };
        filters.iter().map(supported).collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>, // rows of this table, not of the root table
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.map_or_else(|| (0..self.table.columns.len()).collect(), Clone::clone);
        let names = DFSchema::try_from(self.table.schema())?;
        let conditions = filters.iter().map(|filter| Condition::new(self.table, state.create_physical_expr(filter.clone(), &names)?));
        let conditions = conditions.collect::<Result<Vec<_>>>()?;
        let of_files: Vec<_> = filters.iter().filter(|filter| self.is_on_files(filter)).cloned().collect();
        let mut scan = self.facts.files_scan(state, &of_files).await?;
        if let Some(of_units) = self.look_ups.files_of_units(state, &scan, filters).await? {
            scan = self.facts.files_scan(state, &[of_files, vec![of_units]].concat()).await?;
        }
        FlattenExec::over(self.table, columns, conditions, scan, state.config().options()).map(|flatten| Arc::new(flatten) as _)
    }
}
