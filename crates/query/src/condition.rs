//! Conditions on the rows of a flat table, tested where their columns are: once a file, a unit or an element, before anything is repeated.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::SchemaRef;
use bytefacts_facts::flat::FlatTable;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};

/// A condition on columns of a flat table.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// As it was asked for, over all columns of the table.
    whole: Arc<dyn PhysicalExpr>,
    /// The columns of the table that it needs.
    columns: Vec<usize>,
    /// The level that all of them lie on, if it is one.
    level: Option<usize>,
    /// The condition over these columns alone, and what they are.
    test: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

impl Condition {
    /// A condition over all columns of a table.
    ///
    /// # Errors
    /// When the table has no such columns.
    pub(crate) fn new(table: &FlatTable, whole: Arc<dyn PhysicalExpr>) -> Result<Self> {
        let mut columns: Vec<usize> = collect_columns(&whole).iter().map(datafusion::physical_expr::expressions::Column::index).collect();
        columns.sort_unstable();
        columns.dedup();
        let schema = Arc::new(table.schema().project(&columns)?);
        let test = reassign_expr_columns(Arc::clone(&whole), &schema)?;
        let mut levels = columns.iter().filter_map(|column| table.columns.get(*column)).map(|column| column.level);
        let first = levels.next();
        let level = first.filter(|first| levels.all(|level| level == *first));
        Ok(Self { whole, columns, level, test, schema })
    }

    /// As it was asked for, over all columns of the table.
    pub(crate) fn whole(&self) -> &Arc<dyn PhysicalExpr> {
        &self.whole
    }

    /// The columns of the table that it needs.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The level that all of its columns lie on, if it is one.
    pub(crate) fn level(&self) -> Option<usize> {
        self.level
    }

    /// Which of so many rows pass; `values` are those of its columns. As in SQL, unknown is no.
    ///
    /// # Errors
    /// When it cannot be told for a row.
    pub(crate) fn passes(&self, values: Vec<ArrayRef>, rows: usize) -> Result<BooleanArray> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), values, &options)?;
        let passes = self.test.evaluate(&batch)?.into_array(rows)?;
        let passes = passes.as_boolean_opt().ok_or_else(|| internal_datafusion_err!("{} is no condition", self.whole))?;
        Ok(if passes.nulls().is_some() { prep_null_mask_filter(passes) } else { passes.clone() })
    }
}
