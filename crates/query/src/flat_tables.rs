//! The flat tables of a session, in a schema of their own: scans that read only what their columns need.
//!
//! A scan asks the root table for columns that are *narrower* than the contract's: `code_objects` with nothing but `instructions` in it, and in
//! these nothing but `opname`. DataFusion's Parquet reader then reads those leaves and no others, and makes nulls of what an older file lacks.
//! [`FlattenExec`] above it makes rows of the elements.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_facts::flat::{self, FlatTable};
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::facts_table::FactsTable;
use crate::flatten::FlattenExec;

/// Files read at a time, of which the elements lie in memory: some ten thousands of instructions.
const FILES: usize = 32;

/// The flat tables of a run. They are found by name and not listed: what is listed is the contract.
#[derive(Debug)]
pub(crate) struct FlatTables {
    facts: Arc<FactsTable>,
}

impl FlatTables {
    pub(crate) fn new(facts: Arc<FactsTable>) -> Self {
        Self { facts }
    }
}

#[async_trait]
impl SchemaProvider for FlatTables {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = |table| Arc::new(FlatTableScan { facts: Arc::clone(&self.facts), table }) as Arc<dyn TableProvider>;
        Ok(flat::by_name(name).map(table))
    }

    fn table_exist(&self, name: &str) -> bool {
        flat::by_name(name).is_some()
    }
}

/// A flat table of a run.
#[derive(Debug)]
struct FlatTableScan {
    facts: Arc<FactsTable>,
    table: &'static FlatTable,
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
        let of_root = self.facts.supports_filters_pushdown(filters)?;
        let supported =
            |(filter, of_root): (&&Expr, _)| if self.is_on_files(filter) { of_root } else { TableProviderFilterPushDown::Unsupported };
        Ok(filters.iter().zip(of_root).map(supported).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>, // rows of this table, not of the root table
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.map_or_else(|| (0..self.table.columns.len()).collect(), Clone::clone);
        let needed = self.table.narrowed(columns.iter().filter_map(|i| self.table.columns.get(*i)));
        let files = FILES.min(state.config().batch_size());
        let scan = self.facts.read(state, &needed, filters, None, Some(files)).await?;
        Ok(Arc::new(FlattenExec::try_new(self.table, columns, scan)?))
    }
}
