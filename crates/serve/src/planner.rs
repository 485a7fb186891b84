//! Plans: from a statement that has passed the gate to one that runs, with the schema that is announced for it.
//!
//! Each statement has a session of its own, made from one that was stripped of all ways out: no table function but `changes`, no file format, no table factory,
//! and no store is named but that of the facts. Its memory and its temporary files are its own too, so that their limits are those of one query.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytefacts_landing::RunId;
use bytefacts_query::operator::runs_on_a_cluster;
use bytefacts_query::{CHANGES, ChangesFunction, GuardedOperators, concatenation, guarded};
use datafusion::catalog::TableFunction;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{ParamValues, Result, ScalarValue, TableReference, exec_err, plan_err, resources_err};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Parsed;

use crate::catalog;
use crate::gate::{self, Statement};
use crate::listing::OPTIONS;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::options::{Execution, Limits, SessionOptions};
use crate::plan::{Asked, Planned, Prepared};
use crate::queries::Queries;
use crate::record::Whose;
use crate::runs::Runs;
use crate::spread::{Executors, Spread, scanned_bytes};
use crate::{width, wire};

/// Rows of a batch. Fewer than the engine's own default, since rows of the root table may be megabytes each.
const BATCH_ROWS: usize = 2048;

/// Functions that make of a few bytes of a statement as many bytes of memory as it says, which no limit sees.
const GREEDY: [&str; 12] = [
    "repeat",
    "lpad",
    "rpad",
    "range",
    "generate_series",
    "gen_series",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
];

/// Bytes of a constant that is long wherever it stands.
const LONG_CONSTANT: usize = 1 << 10;

/// Bytes that the constants of a statement may have.
const CONSTANTS: usize = 32 << 20;

/// Bytes that constants may have in the rows of a batch.
const BATCH_CONSTANTS: usize = 64 << 20;

/// How many memory consumers an error about memory names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN;

/// Makes plans.
pub(crate) struct Planner {
    base: SessionState,
    environment: Arc<RuntimeEnv>,
    runs: Arc<Runs>,
    queries: Arc<Queries>,
    partitions: usize,
    spread: Option<Spread>,
    metrics: Arc<Metrics>,
    /// The columns of tables that were asked for.
    columns: Mutex<BTreeMap<&'static str, SchemaRef>>,
}

impl Planner {
    /// Over the runs of a place.
    ///
    /// # Errors
    /// When the session cannot be made, a fault of ours.
    pub(crate) fn new(
        runs: Arc<Runs>,
        queries: Arc<Queries>,
        partitions: usize,
        spread: Option<Spread>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let place = runs.place();
        let environment = RuntimeEnvBuilder::new().build_arc()?;
        environment.register_object_store(&place.root, Arc::clone(&place.store));
        let state = runs.session()?.state();
        // An alias brings a function back under its other names: those that have one of these are gone as a whole.
        let is_greedy =
            |name: &str, aliases: &[String]| GREEDY.contains(&name) || aliases.iter().any(|alias| GREEDY.contains(&alias.as_str()));
        let functions = left(state.scalar_functions(), |function| (function.name(), is_greedy(function.name(), function.aliases())));
        // What is left of those that make much of little is asked beforehand how much.
        let functions = functions.iter().map(guarded).chain([Arc::new(concatenation())]).collect();
        let mut operators = state.expr_planners().to_vec();
        operators.push(Arc::new(GuardedOperators));
        let aggregates = left(state.aggregate_functions(), |function| (function.name(), is_greedy(function.name(), function.aliases())));
        let changes = Arc::new(ChangesFunction::new(place.clone()));
        let base = SessionStateBuilder::new_from_existing(state)
            .with_expr_planners(operators)
            .with_scalar_functions(functions)
            .with_aggregate_functions(aggregates)
            .with_table_functions(HashMap::from([(CHANGES.to_owned(), Arc::new(TableFunction::new(CHANGES.to_owned(), changes)))]))
            .with_table_factories(HashMap::new())
            .with_file_formats(Vec::new())
            .build();
        Ok(Self { base, environment, runs, queries, partitions, spread, metrics, columns: Mutex::default() })
    }

    /// The runs.
    pub(crate) fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }

    /// Plans a statement. Where its columns have been announced before its parameters were known, that is what is delivered.
    ///
    /// # Errors
    /// When it names what there is not, does not fit together, or changes anything.
    pub(crate) async fn plan(
        &self,
        statement: &Parsed,
        parameters: Option<ParamValues>,
        announced: Option<&Schema>,
        asked: &Asked<'_>,
    ) -> Result<Planned> {
        let session = self.session(asked).await?;
        let mut logical = logical(&session, statement).await?;
        if let Some(parameters) = parameters {
            logical = logical.with_param_values(parameters)?;
        }
        let (plan, context, executors) = self.physical(session.state(), logical, asked).await?;
        let own = wire::schema(&plan.schema());
        let schema = announced.and_then(|announced| as_announced(announced, &own)).unwrap_or(own);
        Ok(Planned { plan, context, executors, schema })
    }

    /// The plan that runs, what it runs with, and who runs it unless this process does: executors where the session says so, or where it reads much.
    async fn physical(
        &self,
        state: SessionState,
        logical: LogicalPlan,
        asked: &Asked<'_>,
    ) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>, Option<Arc<dyn Executors>>)> {
        self.metrics.plans.inc();
        let is_told = matches!(logical, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
        let spread = match asked.options.execution {
            Execution::Local => None,
            _ if is_told => None,
            Execution::Auto => self.spread.as_ref(),
            Execution::Cluster => Some(self.spread.as_ref().map_or_else(no_cluster, Ok)?),
        };
        let optimized = state.optimize(&logical)?;
        let executors = match spread {
            Some(spread) => match (scanned_bytes(&state, &optimized).await?, asked.options.execution) {
                (None, Execution::Cluster) if is_of_the_session(&optimized)? => None,
                (None, Execution::Cluster) => {
                    return plan_err!("bytefacts.execution is cluster, and the query reads what only this server has: take auto or local");
                }
                (Some(_), Execution::Cluster) => Some(&spread.executors),
                (bytes, _) => bytes.is_some_and(|bytes| bytes >= spread.least_bytes).then_some(&spread.executors),
            },
            None => None,
        };
        if let Some(executors) = executors {
            let mut state = executors.planning(state.clone());
            state.config_mut().options_mut().execution.target_partitions = executors.cores().await?.max(1);
            executors.limit(state.config_mut(), &asked.limits);
            let (plan, context) = planned(state.optimize(&logical)?, state).await?;
            // What a cluster would not read or never end is done here, whatever the session wants: the rows are the same.
            if runs_on_a_cluster(&plan)? {
                return Ok((plan, context, Some(Arc::clone(executors))));
            }
        }
        let (plan, context) = planned(optimized, state).await?;
        Ok((plan, context, None))
    }

    /// Whether there is what a session has chosen.
    ///
    /// # Errors
    /// When there is not, or the store does not say.
    pub(crate) async fn check(&self, options: &SessionOptions) -> Result<()> {
        if options.execution == Execution::Cluster && self.spread.is_none() {
            return no_cluster();
        }
        match &options.run {
            Some(run) => self.runs.check(run).await,
            None => Ok(()),
        }
    }

    /// The columns and the parameters of a statement.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub(crate) async fn prepare(&self, statement: &Parsed, parameters: &[String], asked: &Asked<'_>) -> Result<Prepared> {
        let session = self.session(asked).await?;
        let plan = logical(&session, statement).await?;
        let types = parameter_types(&plan)?;
        let type_of = |name: &String| types.get(name).cloned().unwrap_or(DataType::Utf8);
        let fields = parameters.iter().map(|name| Field::new(name.trim_start_matches('$'), type_of(name), true));
        let announced = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let schema = if parameters.is_empty() {
            let plan = session.execute_logical_plan(plan).await?.create_physical_plan().await?;
            wire::schema(&plan.schema())
        } else {
            // With a null for each parameter the types are there, and all that may be null.
            let null = |name: &String| Ok((name.trim_start_matches('$').to_owned(), ScalarValue::try_from(type_of(name))?));
            let nulls = parameters.iter().map(null).collect::<Result<HashMap<_, _>>>()?;
            wire::schema(plan.with_param_values(ParamValues::from(nulls))?.schema().as_arrow())
        };
        Ok(Prepared { schema, parameters: wire::schema(&announced), types })
    }

    /// The schema that a query of all columns of a table of the contract answers; without columns where no run is committed. Of every run it is the
    /// same. It is that of the plan: what a view says by itself may be stricter about nulls than what is delivered.
    ///
    /// # Errors
    /// When there is no such table.
    pub(crate) async fn columns_of(&self, run: Option<&RunId>, name: &'static str) -> Result<SchemaRef> {
        if let Some(known) = lock(&self.columns).get(name) {
            return Ok(Arc::clone(known));
        }
        let current = match run {
            Some(run) => Some(run.clone()),
            None => self.runs.current().await?,
        };
        let Some(run) = current else { return Ok(Arc::new(Schema::empty())) };
        let statement = gate::read(&format!("SELECT * FROM {}.\"{run}\".\"{name}\"", catalog::RUNS));
        let Ok(Statement::Query { parsed, .. }) = statement else { return plan_err!("there is no table {name}") };
        // No cluster is asked for what only names columns.
        let options = SessionOptions { execution: Execution::Local, ..SessionOptions::default() };
        let asked = Asked { sees: Whose::All, options: &options, limits: Limits::default() };
        let schema = self.plan(&parsed, None, None, &asked).await?.schema;
        lock(&self.columns).insert(name, Arc::clone(&schema));
        Ok(schema)
    }

    async fn session(&self, asked: &Asked<'_>) -> Result<SessionContext> {
        let SessionOptions { run, catalog, schema, .. } = asked.options;
        let run = match run {
            Some(run) => Some(run.clone()),
            None => self.runs.current().await?,
        };
        let mut config = SessionConfig::from(self.base.config().options().as_ref().clone())
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(catalog.as_deref().unwrap_or(catalog::FACTS), schema.as_deref().unwrap_or(catalog::PUBLIC))
            .with_information_schema(true)
            .with_target_partitions(self.partitions)
            .with_batch_size(BATCH_ROWS);
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let executors = self.spread.as_ref().map(|spread| Arc::clone(&spread.executors));
        let state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_config(config)
            .with_catalog_list(catalog::of(&self.runs, run, &self.queries, asked, executors))
            .with_runtime_env(self.environment_of(&asked.limits)?)
            .build();
        Ok(SessionContext::new_with_state(state))
    }

    /// What one query runs in: the stores and caches of all, memory and temporary files of its own.
    fn environment_of(&self, limits: &Limits) -> Result<Arc<RuntimeEnv>> {
        let memory = FairSpillPool::new(usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX));
        let mode = if limits.spill_bytes == 0 { DiskManagerMode::Disabled } else { DiskManagerMode::OsTmpDirectory };
        let files = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limits.spill_bytes);
        RuntimeEnvBuilder::from_runtime_env(&self.environment)
            .with_memory_pool(Arc::new(TrackConsumersPool::new(memory, NAMED_CONSUMERS)))
            .with_disk_manager_builder(files)
            .build_arc()
    }
}

/// Whether a plan reads nothing but what the session is: its options, and what can be named. That is told whoever answers its queries.
fn is_of_the_session(plan: &LogicalPlan) -> Result<bool> {
    let mut tables = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.push(scan.table_name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let is_told = |table: &TableReference| match table.schema() {
        Some("information_schema") => true,
        Some(schema) => schema == OPTIONS.schema && table.table() == OPTIONS.name,
        None => false,
    };
    Ok(!tables.is_empty() && tables.iter().all(is_told))
}

/// How an optimized plan is carried out, in batches that are not too large.
async fn planned(optimized: LogicalPlan, mut state: SessionState) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
    *state.config_mut() = state.config().clone().with_batch_size(batch_rows(&optimized)?);
    let plan = state.query_planner().create_physical_plan(&optimized, &state).await?;
    Ok((plan, state.task_ctx()))
}

fn no_cluster<T>() -> Result<T> {
    plan_err!("bytefacts.execution is cluster, and this server knows none: it was started without --cluster")
}

/// Rows of a batch of a plan. A constant of a statement is as long as its text or longer, and stands in each row: where it is long, batches are short.
///
/// # Errors
/// When no batch would be short enough.
fn batch_rows(plan: &LogicalPlan) -> Result<usize> {
    let mut bytes = 0;
    plan.apply_with_subqueries(|node| {
        let is_shown = matches!(node, LogicalPlan::Projection(_));
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr
                    && (is_shown || value.size() >= LONG_CONSTANT)
                {
                    bytes += value.size();
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if bytes > CONSTANTS {
        return resources_err!("the constants of the statement have become {bytes} bytes, of {CONSTANTS} at most: shorten them");
    }
    Ok((BATCH_CONSTANTS / bytes.max(1)).clamp(1, BATCH_ROWS))
}

/// The functions that are left, each once and in the order of their names, by what is said of one: its name, and whether it goes.
fn left<F>(all: &HashMap<String, Arc<F>>, said: impl Fn(&F) -> (&str, bool)) -> Vec<Arc<F>> {
    let by_name: BTreeMap<_, _> = all.values().filter(|function| !said(function).1).map(|function| (said(function).0, function)).collect();
    by_name.into_values().map(Arc::clone).collect()
}

/// The plan of a statement that only reads.
async fn logical(session: &SessionContext, statement: &Parsed) -> Result<LogicalPlan> {
    let plan = session.state().statement_to_plan(statement.clone()).await?;
    width::check_plan(&plan)?;
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
    // What operators become, such as `||` between lists, the engine takes from elsewhere than the session.
    let guarded = plan.transform_up_with_subqueries(|node| node.map_expressions(|expr| expr.transform_up(under_guard)))?;
    Ok(guarded.data)
}

/// A call of a function, under guard where it needs it.
fn under_guard(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return Ok(Transformed::no(expr)) };
    let under_guard = guarded(&func);
    let is_other = !Arc::ptr_eq(&under_guard, &func);
    let call = Expr::ScalarFunction(ScalarFunction::new_udf(under_guard, args));
    Ok(if is_other { Transformed::yes(call) } else { Transformed::no(call) })
}

/// The types of parameters, by name, of which the plan tells them.
fn parameter_types(plan: &LogicalPlan) -> Result<BTreeMap<String, DataType>> {
    let known = plan.get_parameter_types()?.into_iter().filter_map(|(name, known)| Some((name, known?)));
    let mut types: BTreeMap<_, _> = known.filter(|(_, known)| known != &DataType::Null).collect();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for bound in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = bound.as_ref() {
                    types.insert(placeholder.id.clone(), DataType::Int64);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(types)
}

/// The announced schema, if what comes is of its types; with a null wherever one may come.
fn as_announced(announced: &Schema, own: &Schema) -> Option<SchemaRef> {
    if announced.fields().len() != own.fields().len() {
        return None;
    }
    let fields = announced.fields().iter().zip(own.fields()).map(|(announced, own)| {
        let fits = announced.name() == own.name() && announced.data_type().equals_datatype(own.data_type());
        fits.then(|| announced.as_ref().clone().with_nullable(announced.is_nullable() || own.is_nullable()))
    });
    Some(Arc::new(Schema::new_with_metadata(fields.collect::<Option<Vec<_>>>()?, announced.metadata().clone())))
}

/// The values of the parameters that stand in one row, as the statement takes them.
///
/// # Errors
/// When there are more rows or fewer values.
pub(crate) fn values(batch: &RecordBatch, names: &[String], types: &BTreeMap<String, DataType>) -> Result<ParamValues> {
    if batch.num_rows() != 1 {
        return exec_err!("a statement takes one row of parameters at a time, and got {}", batch.num_rows());
    }
    if batch.num_columns() < names.len() {
        return exec_err!("the statement has {} parameters, and got {}", names.len(), batch.num_columns());
    }
    let numbers: Vec<Option<usize>> = names.iter().map(|name| name.strip_prefix('$').and_then(|number| number.parse().ok())).collect();
    let value = |column: usize, wanted: Option<&DataType>| -> Result<ScalarValue> {
        let given = ScalarValue::try_from_array(batch.column(column), 0)?;
        // A value that does not fit its type stays what it is: the comparison then finds what both are.
        let fitting = |wanted: &DataType| given.cast_to(wanted).ok().filter(|cast| cast.is_null() == given.is_null());
        Ok(wanted.and_then(fitting).unwrap_or(given))
    };
    if numbers.iter().all(Option::is_some) {
        let count = numbers.iter().flatten().copied().max().unwrap_or(0);
        if batch.num_columns() < count {
            return exec_err!("the statement has a parameter ${count}, and got {} values", batch.num_columns());
        }
        let wanted = |number: usize| types.get(&format!("${number}"));
        let values = (1..=count).map(|number| value(number - 1, wanted(number)));
        return Ok(ParamValues::from(values.collect::<Result<Vec<_>>>()?));
    }
    let by_name = names.iter().map(|name| {
        let wanted = types.get(name);
        let name = name.trim_start_matches('$');
        let Some((column, _)) = batch.schema_ref().column_with_name(name) else {
            return exec_err!("the statement has a parameter ${name}, and got none of that name");
        };
        Ok((name.to_owned(), value(column, wanted)?))
    });
    Ok(ParamValues::from(by_name.collect::<Result<HashMap<_, _>>>()?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn row(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn number(value: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![value]))
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("${name}")).collect()
    }

    fn value(values: &ParamValues, name: &str) -> ScalarValue {
        values.get_placeholders_with_values(name).unwrap().value().clone()
    }

    #[test]
    fn values_take_the_types_of_their_parameters_where_they_fit() {
        let types = BTreeMap::from([("$1".to_owned(), DataType::Int32), ("$2".to_owned(), DataType::Int32)]);
        let batch = row(vec![("0", number(7)), ("1", number(1 << 40))]);
        let values = values(&batch, &named(&["1", "2"]), &types).unwrap();
        assert_eq!(value(&values, "$1"), ScalarValue::Int32(Some(7)));
        assert_eq!(value(&values, "$2"), ScalarValue::Int64(Some(1 << 40)), "it is too large for the type, and stays what it is");
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let types = BTreeMap::from([("$who".to_owned(), DataType::Utf8)]);
        let batch = row(vec![("n", number(3)), ("who", Arc::new(StringArray::from(vec!["x"])))]);
        let values = values(&batch, &named(&["who", "n"]), &types).unwrap();
        assert_eq!(value(&values, "$who"), ScalarValue::Utf8(Some("x".into())));
        assert_eq!(value(&values, "$n"), ScalarValue::Int64(Some(3)));
    }

    #[test]
    fn values_that_lack_are_named() {
        let types = BTreeMap::new();
        let error = |batch: &RecordBatch, names: &[&str]| values(batch, &named(names), &types).unwrap_err().to_string();
        assert!(error(&row(vec![("0", number(1))]), &["1", "2"]).contains("2 parameters, and got 1"));
        assert!(error(&row(vec![("0", number(1))]), &["who"]).contains("$who"));
        assert!(error(&row(vec![("0", number(1))]), &["3"]).contains("$3"));
        let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert!(error(&row(vec![("0", two)]), &["1"]).contains("one row of parameters"));
    }
}
