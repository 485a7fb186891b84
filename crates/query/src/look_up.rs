//! Units that are looked up by their ids: which source files they are in is read first, and of no other file anything.
//!
//! Ids are hashes, of which no statistics of a file or a page say anything, and a reader of Parquet tests a filter on what is nested only when it
//! has decoded all that was asked for. A unit has one id and some forty instructions, and of an instruction several columns are asked for: so the ids
//! alone are a hundredth of what would be read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::AsArray as _;
use bytefacts_facts::flat;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_plan::collect;
use datafusion::prelude::{col, lit};

use crate::condition::Condition;
use crate::files_scan::FilesScan;
use crate::flatten::FlattenExec;

/// The table whose rows are units.
const UNITS: &str = "code_objects";
/// Its column that is looked up.
const UNIT: &str = "code_unit_id";
/// The root table's, by which files are told apart.
const FILE: &str = "file_id";

/// Units among which one is looked up while a query is planned: a hundred megabytes of ids, a fraction of a second. Where there are more, the query
/// itself finds them, on whatever executes it.
const MOST_UNITS: usize = 2_000_000;

/// Files that are named one by one.
const MOST_FILES: usize = 1_000;

/// What was looked up last: one query asks several times, for each of its tables and to know how much it will read.
#[derive(Debug, Default)]
pub(crate) struct LookUps(Mutex<Option<LookUp>>);

#[derive(Debug)]
struct LookUp {
    scan: FilesScan,
    filters: Vec<Expr>,
    files: Option<Expr>,
}

impl LookUps {
    /// The source files in which the units lie that the filters ask for by their ids, as a filter on the root table; `scan` is what the filters leave
    /// without. None where no filter does, or too many would have to be looked through.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(crate) async fn files_of_units(&self, state: &dyn Session, scan: &FilesScan, filters: &[Expr]) -> Result<Option<Expr>> {
        let is_little = scan.elements(UNITS).get_value().is_some_and(|units| *units <= MOST_UNITS);
        if !is_little || !filters.iter().any(looks_up) {
            return Ok(None);
        }
        let last = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last()
            && last.scan.is_of_same_run(scan)
            && last.filters == filters
        {
            return Ok(last.files.clone());
        }
        let files = look_up(state, scan, filters).await?;
        *last() = Some(LookUp { scan: scan.clone(), filters: filters.to_vec(), files: files.clone() });
        Ok(files)
    }
}

async fn look_up(state: &dyn Session, scan: &FilesScan, filters: &[Expr]) -> Result<Option<Expr>> {
    let Some(table) = flat::by_name(UNITS) else { return internal_err!("there is no table {UNITS}") };
    let names = DFSchema::try_from(table.schema())?;
    let looks_up = filters.iter().filter(|filter| looks_up(filter));
    let conditions = looks_up.map(|filter| Condition::new(table, state.create_physical_expr(filter.clone(), &names)?));
    let conditions = conditions.collect::<Result<Vec<_>>>()?;
    let units = FlattenExec::over(table, vec![table.schema().index_of(FILE)?], conditions, scan.clone(), state.config().options())?;
    let mut files = BTreeSet::new();
    for batch in collect(Arc::new(units), state.task_ctx()).await? {
        files.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    if files.is_empty() {
        return Ok(Some(lit(false)));
    }
    let files: Vec<Expr> = files.into_iter().map(lit).collect();
    Ok((files.len() <= MOST_FILES).then(|| col(FILE).in_list(files, false)))
}

/// Whether a filter says which ids a unit may have.
fn looks_up(filter: &Expr) -> bool {
    let is_unit = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == UNIT);
    let is_value = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            (is_unit(left) && is_value(right)) || (is_value(left) && is_unit(right))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => looks_up(left) && looks_up(right),
        Expr::InList(list) => !list.negated && is_unit(&list.expr) && list.list.iter().all(is_value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_looks_units_up_where_it_names_them() {
        let unit = || col(UNIT);
        for filter in [
            unit().eq(lit("a")),
            lit("a").eq(unit()),
            unit().in_list(vec![lit("a"), lit("b")], false),
            unit().eq(lit("a")).or(unit().eq(lit("b"))),
        ] {
            assert!(looks_up(&filter), "{filter}");
        }
        for filter in [
            unit().not_eq(lit("a")),
            unit().in_list(vec![lit("a")], true),
            unit().eq(col("parent_id")),
            unit().eq(lit("a")).or(col("opname").eq(lit("b"))),
            unit().is_not_null(),
            col("file_id").eq(lit("a")),
        ] {
            assert!(!looks_up(&filter), "{filter}");
        }
    }
}
