//! Functions that may make much of little, each asked beforehand how much it would make of a batch.
//!
//! What a function holds while it works is counted by no memory pool, and it does not give way before it is done: `replace` makes of two texts of a
//! megabyte one of a terabyte. A guarded function refuses what is beyond a bound. `||` is no function to the engine, and here becomes one.

use std::sync::Arc;

use arrow::array::{Array, AsArray as _};
use arrow::compute::kernels::concat_elements::concat_elements_dyn;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err, plan_err, resources_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Bytes that a function may make of a batch of rows.
const MOST_BYTES: usize = 256 << 20;

/// Steps that a function may take for a batch of rows, where they are more than its bytes.
const MOST_STEPS: usize = 1 << 31;

/// Functions whose result may be longer than their arguments, or takes longer to find.
const GROWING: [&str; 24] = [
    "array_append",
    "array_concat",
    "array_prepend",
    "array_repeat",
    "array_replace_all",
    "array_to_string",
    "chr",
    "concat",
    "concat_ws",
    "encode",
    "initcap",
    "levenshtein",
    "lower",
    "make_array",
    "map",
    "named_struct",
    "overlay",
    "regexp_replace",
    "replace",
    "string_to_array",
    "struct",
    "to_hex",
    "translate",
    "upper",
];

/// A function under guard, if it is one that needs it.
#[must_use]
pub fn guarded(function: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if GROWING.contains(&function.name()) && !function.inner().is::<Guarded>() {
        Arc::new(ScalarUDF::from(Guarded { inner: Arc::clone(function) }))
    } else {
        Arc::clone(function)
    }
}

/// The function that `||` becomes.
#[must_use]
pub fn concatenation() -> ScalarUDF {
    ScalarUDF::from(Concatenation { signature: Signature::user_defined(Volatility::Immutable) })
}

/// Makes [`concatenation`] of `||` between texts. To be asked after whoever knows lists.
#[derive(Debug)]
pub struct GuardedOperators;

impl ExprPlanner for GuardedOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { left, right, .. } = expr;
        let function = ScalarFunction::new_udf(Arc::new(concatenation()), vec![left, right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(function)))
    }
}

/// Another function, which is asked first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded {
    inner: Arc<ScalarUDF>,
}

// `simplify` is left out: it may put the function itself, without its guard, in the place of this one.
impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check(self.name(), &args.args, args.number_rows)?;
        self.inner.invoke_with_args(args)
    }
}

/// `a || b` of texts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Concatenation {
    signature: Signature,
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        "bytefacts_concatenation"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else { return plan_err!("|| takes two values") };
        let (left, right) = BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = types else { return plan_err!("|| takes two values") };
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        check("||", &args.args, args.number_rows)?;
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let [left, right] = args.args.as_slice() else { return exec_err!("|| takes two values") };
        let rows = if is_scalar { 1 } else { args.number_rows };
        let joined = concat_elements_dyn(&left.to_array(rows)?, &right.to_array(rows)?)?;
        if is_scalar { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?)) } else { Ok(ColumnarValue::Array(joined)) }
    }
}

/// Refuses what would be too much.
fn check(name: &str, args: &[ColumnarValue], rows: usize) -> Result<()> {
    let (bytes, steps) = estimate(name, args, rows);
    if bytes > MOST_BYTES {
        return resources_err!(
            "{name} would make {} MiB of {rows} rows at once, of {} MiB at most: shorten its arguments first, such as by substr",
            bytes >> 20,
            MOST_BYTES >> 20
        );
    }
    if steps > MOST_STEPS {
        return resources_err!("{name} would take too long for texts of this length: shorten them first, such as by substr");
    }
    Ok(())
}

/// Bytes that a function makes at most, and the steps that it takes.
fn estimate(name: &str, args: &[ColumnarValue], rows: usize) -> (usize, usize) {
    let all = args.iter().fold(0, |all: usize, arg| all.saturating_add(bytes(arg, rows)));
    let length = |arg: usize, row: usize| args.get(arg).map_or(0, |value| length(value, row));
    let over_rows = |of: &dyn Fn(usize) -> usize| (0..rows).fold(0, |all: usize, row| all.saturating_add(of(row)));
    let bytes = match name {
        "replace" => over_rows(&|row| {
            let places = length(0, row) / length(1, row).max(1) + 1;
            length(0, row).saturating_add(places.saturating_mul(length(2, row)))
        }),
        // Each byte may be matched, and each two of the replacement name the match.
        "regexp_replace" => {
            over_rows(&|row| length(0, row).saturating_add((length(0, row) + 1).saturating_mul(length(2, row).saturating_mul(2))))
        }
        "concat_ws" => all.saturating_add(args.first().map_or(0, |separator| bytes(separator, rows)).saturating_mul(args.len())),
        "array_to_string" => {
            let elements = args.first().map_or(0, elements);
            let longest = (0..rows).map(|row| length(1, row).max(length(2, row))).max().unwrap_or_default();
            all.saturating_add(
                elements
                    .saturating_mul(if matches!(args.first(), Some(ColumnarValue::Scalar(_))) { rows } else { 1 })
                    .saturating_mul(longest),
            )
        }
        "overlay" | "translate" | "upper" | "lower" | "initcap" | "encode" | "string_to_array" => all.saturating_mul(2),
        _ => all,
    };
    let steps = if name == "levenshtein" { over_rows(&|row| length(0, row).saturating_mul(length(1, row))) } else { 0 };
    (bytes, steps)
}

/// Bytes of the values of an argument, each as often as there are rows.
fn bytes(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Array(array) => bytes_of(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array().map_or(0, |array| bytes_of(&array)).saturating_mul(rows),
    }
}

fn bytes_of(array: &dyn Array) -> usize {
    fn span<O: Copy + TryInto<usize>>(offsets: &[O]) -> usize {
        let at = |offset: Option<&O>| offset.and_then(|offset| (*offset).try_into().ok()).unwrap_or_default();
        at(offsets.last()).saturating_sub(at(offsets.first()))
    }
    match array.data_type() {
        DataType::Utf8 => span(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => span(array.as_string::<i64>().value_offsets()),
        DataType::Binary => span(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => span(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(|length| length as usize).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

/// Bytes of the text of a row; of what is no text none.
fn length(value: &ColumnarValue, row: usize) -> usize {
    fn of(array: &dyn Array, row: usize) -> usize {
        if row >= array.len() || array.is_null(row) {
            return 0;
        }
        match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value_length(row).try_into().unwrap_or_default(),
            DataType::LargeUtf8 => array.as_string::<i64>().value_length(row).try_into().unwrap_or_default(),
            DataType::Utf8View => array.as_string_view().value(row).len(),
            _ => 0,
        }
    }
    match value {
        ColumnarValue::Array(array) => of(array, row),
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => {
            text.len()
        }
        ColumnarValue::Scalar(_) => 0,
    }
}

/// How many elements the lists of an argument have.
fn elements(value: &ColumnarValue) -> usize {
    let of = |array: &dyn Array| match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().values().len(),
        DataType::LargeList(_) => array.as_list::<i64>().values().len(),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().values().len(),
        _ => 0,
    };
    match value {
        ColumnarValue::Array(array) => of(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array().map_or(0, |array| of(&array)),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::error::DataFusionError;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    fn session() -> SessionContext {
        // Doubling lies deep.
        let config = SessionConfig::new().set_usize("datafusion.sql_parser.recursion_limit", 500);
        let state = SessionContext::new_with_config(config).state();
        let functions = state.scalar_functions().values().map(guarded).collect();
        let mut planners = state.expr_planners().to_vec();
        planners.push(Arc::new(GuardedOperators));
        let state = SessionStateBuilder::new_from_existing(state).with_scalar_functions(functions).with_expr_planners(planners).build();
        SessionContext::new_with_state(state)
    }

    async fn answer(sql: &str) -> Result<String> {
        let batches = session().sql(sql).await?.collect().await?;
        Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
    }

    #[tokio::test]
    async fn guarded_functions_answer_what_they_do_without_guard() {
        for sql in [
            "SELECT 'a' || 'b'",
            "SELECT a || b || 1 || NULL, 1 || a, a || '-' || b AS c FROM (VALUES ('x', 'y'), (NULL, 'z')) AS t(a, b)",
            "SELECT make_array(1) || make_array(2), make_array('a') || 'b'",
            "SELECT upper(a || 'b') AS u, count(*) FROM (VALUES ('x'), ('y')) AS t(a) GROUP BY a || 'b' ORDER BY u",
            "SELECT replace('aXbX', 'X', '--'), regexp_replace('aXbX', 'X', '-', 'g'), concat('a', 1, NULL), concat_ws('/', 'a', 'b', a) FROM (VALUES ('c')) AS t(a)",
            "SELECT array_to_string(make_array('a', 'b', NULL), ', ', '?'), array_append(make_array(1), 2), levenshtein('kitten', 'sitting')",
            "SELECT overlay('Txxxxas' placing 'hom' from 2 for 4), translate('12345', '143', 'ax'), initcap('hi thomas'), named_struct('a', 1)",
        ] {
            let expected = SessionContext::new().sql(sql).await.unwrap().collect().await.unwrap();
            let expected = arrow::util::pretty::pretty_format_batches(&expected).unwrap().to_string();
            assert_eq!(answer(sql).await.unwrap(), expected, "{sql}");
        }
    }

    /// Texts that double are soon larger than any memory; each of these would take many gigabytes.
    #[test]
    fn what_would_be_too_much_is_refused_before_it_is_made() {
        // What lies so deep takes more stack than a test has.
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(move || runtime().block_on(too_much()));
        thread.unwrap().join().unwrap();
    }

    async fn too_much() {
        // Each step has a name of its own: of two projections of one name DataFusion 55 drops one.
        let doubled = |times: usize, start: &str, step: &str| {
            let start = format!("SELECT {start} AS s0 FROM (VALUES ('x'), ('y')) AS t(a)");
            let inner =
                (0..times).fold(start, |inner, n| format!("SELECT {} AS s{} FROM ({inner})", step.replace("{}", &format!("s{n}")), n + 1));
            format!("SELECT s{times} AS s FROM ({inner})")
        };
        for sql in [
            doubled(30, "a", "{} || {}"),
            doubled(30, "a", "concat({}, {})"),
            doubled(30, "a", "concat({}, {}, {})"),
            doubled(4, "a || 'xxxxxxxxxxxxxxxx'", "replace(replace({}, 'x', {}), 'x', {})"),
            doubled(4, "a || 'xxxxxxxxxxxxxxxx'", "regexp_replace(regexp_replace({}, 'x', {}, 'g'), 'x', {}, 'g')"),
            doubled(30, "make_array(a)", "array_concat({}, {})"),
            format!("SELECT levenshtein(s, s) FROM ({})", doubled(20, "a", "{} || {}")),
            format!("SELECT array_to_string(make_array({}), s) FROM ({})", vec!["'a'"; 500].join(", "), doubled(20, "a", "{} || {}")),
        ] {
            let error = answer(&sql).await.unwrap_err();
            let root = error.find_root();
            assert!(matches!(root, DataFusionError::ResourcesExhausted(_)), "{}: {root}", &sql[..60]);
        }
    }
}
