//! Types that say themselves how many bytes each of their values takes, nulls too: a few bytes of a statement would be all the memory that there is.

use std::str::FromStr as _;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Bytes that a type may take for a value by itself.
const MOST: u64 = 4096;

/// Bytes of a number in a list whose length is fixed, or more.
const NUMBER: u64 = 16;

/// Functions that take a type as a text.
const BY_TEXT: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// Bytes that each value of a type takes whatever it is, as far as its text can make them many.
fn fixed_bytes(of: &DataType) -> u64 {
    match of {
        DataType::FixedSizeBinary(bytes) => u64::try_from(*bytes).unwrap_or(u64::MAX),
        DataType::FixedSizeList(item, count) => {
            u64::try_from(*count).unwrap_or(u64::MAX).saturating_mul(fixed_bytes(item.data_type()).max(NUMBER))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => fixed_bytes(item.data_type()),
        DataType::Struct(fields) => fields.iter().fold(0, |all: u64, field| all.saturating_add(fixed_bytes(field.data_type()))),
        DataType::Dictionary(_, values) => fixed_bytes(values),
        DataType::RunEndEncoded(_, values) => fixed_bytes(values.data_type()),
        DataType::Union(fields, _) => fields.iter().fold(0, |all: u64, (_, field)| all.saturating_add(fixed_bytes(field.data_type()))),
        _ => 0,
    }
}

fn check_type(of: &DataType) -> Result<()> {
    let bytes = fixed_bytes(of);
    if bytes > MOST {
        return plan_err!("a type whose values all take {bytes} bytes, of {MOST} at most: take Binary or a list instead");
    }
    Ok(())
}

/// Refuses a plan that casts to such a type.
///
/// # Errors
/// When it does.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::Cast(cast) => check_type(cast.field.data_type())?,
                    Expr::TryCast(cast) => check_type(cast.field.data_type())?,
                    Expr::ScalarFunction(ScalarFunction { func, args }) if BY_TEXT.contains(&func.name()) => {
                        if let Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) = args.get(1) {
                            // What is no type is refused by the function itself, in its own words.
                            DataType::from_str(text).map_or(Ok(()), |of| check_type(&of))?;
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Whether values of a client may have these columns: of each, the bytes that came are about those that it takes.
///
/// # Errors
/// When a type makes many of few.
pub(crate) fn check_values(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        check_type(field.data_type())?;
        if makes_much(field.data_type()) {
            return plan_err!("values of type {} cannot be bound: take a list of texts or numbers", field.data_type());
        }
    }
    Ok(())
}

/// Nulls and runs take no bytes however many they are. They are small by themselves, and large in a list that is cast.
fn makes_much(of: &DataType) -> bool {
    let inside = |of: &DataType| of == &DataType::Null || makes_much(of);
    match of {
        DataType::RunEndEncoded(..) | DataType::Union(..) => true,
        DataType::FixedSizeList(item, _)
        | DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => inside(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| inside(field.data_type())),
        DataType::Dictionary(_, values) => inside(values),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn checked(sql: &str) -> Result<()> {
        check_plan(&SessionContext::new().state().create_logical_plan(sql).await?)
    }

    #[tokio::test]
    async fn types_that_are_large_by_themselves_are_refused_wherever_they_stand() {
        for of in ["FixedSizeBinary(2000000000)", "FixedSizeList(2000000000 x FixedSizeBinary(2000000000))", "List(FixedSizeBinary(5000))"]
        {
            for sql in [
                format!("SELECT arrow_cast(NULL, '{of}')"),
                format!("SELECT 1 WHERE 1 IN (SELECT 1 WHERE arrow_cast(NULL, '{of}') IS NULL)"),
            ] {
                let error = checked(&sql).await.unwrap_err().to_string();
                assert!(error.contains("4096 at most"), "{sql}: {error}");
            }
        }
        for sql in ["SELECT CAST(NULL AS INT[1000000][1000000])", "SELECT TRY_CAST(NULL AS INT[1000000])"] {
            assert!(checked(sql).await.is_err(), "{sql}");
        }
        for sql in ["SELECT arrow_cast(NULL, 'FixedSizeBinary(16)')", "SELECT CAST(NULL AS INT[])", "SELECT CAST([1, 2] AS INT[2])"] {
            checked(sql).await.unwrap();
        }
    }

    #[test]
    fn values_of_few_bytes_that_become_many_are_refused() {
        let bound = |of: DataType| check_values(&Schema::new(vec![Field::new("v", of, true)]));
        let item = |of: DataType| Arc::new(Field::new("item", of, true));
        for of in [
            DataType::FixedSizeBinary(i32::MAX),
            DataType::List(item(DataType::Null)),
            DataType::FixedSizeList(item(DataType::Int8), 1 << 20),
            DataType::RunEndEncoded(Arc::new(Field::new("run_ends", DataType::Int32, false)), item(DataType::Int8)),
        ] {
            assert!(bound(of.clone()).is_err(), "{of}");
        }
        for of in [DataType::Null, DataType::Utf8, DataType::List(item(DataType::Utf8)), DataType::FixedSizeBinary(16)] {
            bound(of.clone()).unwrap();
        }
    }
}
