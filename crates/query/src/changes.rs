//! `changes('run-a', 'run-b')`: what differs between two committed runs, a row for each file.
//!
//! It is a full join, name by name, of what the runs say of their files, and reads no more than that: which data files may hold a difference the
//! manifests say ([`Changed`]), and of these the columns of files are read and nothing of their code.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytefacts_facts::schema as facts_schema;
use bytefacts_landing::{Changed, FactsStore, Manifest, RunHeader, RunId};
use bytefacts_stores::Place;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err, plan_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt as _;
use futures::lock::Mutex;

use crate::error::external;
use crate::facts_table::FactsTable;

/// The name of the function.
pub const CHANGES: &str = "changes";

/// Its columns, each with its meaning.
pub const CHANGES_COLUMNS: [(&str, &str); 8] = [
    ("repo", "repository; null for a file without one"),
    ("path", "path inside the repository"),
    (
        "change",
        "`added`, `removed`, `source` (other bytes), `drift` (same source, different facts, and made differently), `facts` (same source, made alike, \
         different facts: an alarm), `unread` (in one of the runs it could not be read)",
    ),
    ("drift", "what differs in how the runs made the file: `interpreter`, `options`, `analyzer`, `schema`; null if nothing does"),
    ("file_sha256_a", "SHA-256 of the source in the first run"),
    ("file_sha256_b", "SHA-256 of the source in the second run"),
    ("facts_digest_a", "digest of the facts in the first run"),
    ("facts_digest_b", "digest of the facts in the second run"),
];

/// What the function is, of both sides. The parser takes all that stands behind DISTINCT FROM for one expression, AND included: hence the brackets.
const JOIN: &str = "
    SELECT repo, path,
           CASE WHEN is_new THEN 'added'
                WHEN is_gone THEN 'removed'
                WHEN file_sha256_a IS NULL OR file_sha256_b IS NULL THEN 'unread'
                WHEN file_sha256_a <> file_sha256_b THEN 'source'
                WHEN drift IS NOT NULL THEN 'drift'
                ELSE 'facts' END AS change,
           drift, file_sha256_a, file_sha256_b, facts_digest_a, facts_digest_b
    FROM (SELECT coalesce(a.repo, b.repo) AS repo, coalesce(a.path, b.path) AS path,
                 a.path IS NULL AS is_new, b.path IS NULL AS is_gone,
                 CASE WHEN a.path IS NOT NULL AND b.path IS NOT NULL THEN nullif(concat_ws(', ',
                     CASE WHEN a.interpreter IS DISTINCT FROM b.interpreter THEN 'interpreter' END,
                     CASE WHEN a.options IS DISTINCT FROM b.options THEN 'options' END,
                     CASE WHEN a.attrs['analyzer_version'] IS DISTINCT FROM b.attrs['analyzer_version'] THEN 'analyzer' END,
                     CASE WHEN a.schema_version IS DISTINCT FROM b.schema_version THEN 'schema' END), '') END AS drift,
                 a.file_sha256 AS file_sha256_a, b.file_sha256 AS file_sha256_b,
                 a.facts_digest AS facts_digest_a, b.facts_digest AS facts_digest_b
          FROM a FULL JOIN b ON (a.repo IS NOT DISTINCT FROM b.repo) AND (a.path IS NOT DISTINCT FROM b.path)
          WHERE a.path IS NULL OR b.path IS NULL OR a.facts_digest IS DISTINCT FROM b.facts_digest)";

/// Columns of a side that are the root table's.
const OF_FILE: [&str; 5] = ["repo", "path", "file_sha256", "facts_digest", "attrs"];
/// Columns of a side that are the run's: what all of its files were made with.
const OF_RUN: [&str; 3] = ["interpreter", "options", "schema_version"];

/// Options of a run that change no fact of a file: which files are taken, and how work is shared out.
const WITHOUT_EFFECT: [&str; 9] = [
    "include",
    "exclude",
    "extend_exclude",
    "virtual_environments",
    "respect_gitignore",
    "oracle",
    "parallel_min_files",
    "parallel_max_bytes",
    "memory_budget_bytes",
];

/// Runs that an error names.
const NAMED_RUNS: usize = 10;

/// The table function, over the runs of a place.
#[derive(Debug)]
pub struct ChangesFunction {
    place: Place,
}

impl ChangesFunction {
    /// Over the runs at a place.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place }
    }
}

/// [`JOIN`] over sides of no run, planned once.
fn join() -> Result<LogicalPlan> {
    static PLANNED: OnceLock<LogicalPlan> = OnceLock::new();
    if let Some(planned) = PLANNED.get() {
        return Ok(planned.clone());
    }
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let session = SessionContext::new_with_config(config);
    for side in [Which::A, Which::B] {
        session.register_table(side.name(), Arc::new(EmptyTable::new(side_schema()?)))?;
    }
    // Its tables are at hand, so that nothing waits.
    let planned = session.state().create_logical_plan(JOIN).now_or_never();
    let Some(planned) = planned.transpose()? else { return internal_err!("the plan of {CHANGES} waits for something") };
    Ok(PLANNED.get_or_init(|| planned).clone())
}

impl TableFunctionImpl for ChangesFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let id = |expr: &Expr| match expr {
            Expr::Literal(value, _) => value.try_as_str().flatten().and_then(|text| RunId::new(text).ok()),
            _ => None,
        };
        let ids: Vec<_> = args.exprs().iter().map(id).collect();
        let [Some(a), Some(b)] = ids.as_slice() else {
            return plan_err!("{CHANGES} takes the ids of two runs, as texts: {CHANGES}('night-1', 'night-2')");
        };
        let pair = Arc::new(Pair { place: self.place.clone(), a: a.clone(), b: b.clone(), compared: Mutex::default() });
        let with_sides = join()?.transform(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            let which = if scan.table_name.table() == Which::A.name() { Which::A } else { Which::B };
            scan.source = provider_as_source(Arc::new(Side { pair: Arc::clone(&pair), which }));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })?;
        Ok(Arc::new(ViewTable::new(with_sides.data, None)))
    }
}

/// One of the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    A,
    B,
}

impl Which {
    const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// Two runs, compared once, by whichever side is planned first.
#[derive(Debug)]
struct Pair {
    place: Place,
    a: RunId,
    b: RunId,
    compared: Mutex<Option<Arc<Compared>>>,
}

/// What their manifests say.
#[derive(Debug)]
struct Compared {
    changed: Changed,
    /// Values of the columns [`OF_RUN`] of each.
    made: [[String; 3]; 2],
}

impl Pair {
    async fn compared(&self) -> Result<Arc<Compared>> {
        let mut compared = self.compared.lock().await;
        if let Some(compared) = &*compared {
            return Ok(Arc::clone(compared));
        }
        let facts = self.place.facts();
        let (a, b) = (manifest(&facts, &self.a).await?, manifest(&facts, &self.b).await?);
        let made = [made_with(&a.run), made_with(&b.run)];
        let found = Arc::new(Compared { changed: Changed::between(&a, &b), made });
        *compared = Some(Arc::clone(&found));
        Ok(found)
    }
}

/// The manifest of a run that somebody has named.
async fn manifest(facts: &FactsStore, run: &RunId) -> Result<Manifest> {
    if let Some(manifest) = facts.manifest(run).await.map_err(external)? {
        return Ok(manifest);
    }
    let runs = facts.runs().await.map_err(external)?;
    let names: Vec<_> = runs.iter().take(NAMED_RUNS).map(|run| run.run_id.as_str()).collect();
    let more = if runs.len() > NAMED_RUNS { ", …" } else { "" };
    match names.as_slice() {
        [] => plan_err!("run {run} is not committed, and no other run is"),
        names => plan_err!("run {run} is not committed; these are, the newest first: {}{more}", names.join(", ")),
    }
}

/// What all files of a run were made with, as far as their facts may depend on it.
fn made_with(run: &RunHeader) -> [String; 3] {
    let mut options = run.options.clone();
    if let Some(options) = options.as_object_mut() {
        options.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
    }
    [run.interpreter.to_string(), options.to_string(), run.schema_version.to_string()]
}

fn side_schema() -> Result<SchemaRef> {
    let contract = facts_schema();
    let of_file = OF_FILE.iter().map(|name| Ok(contract.field_with_name(name)?.clone())).collect::<Result<Vec<_>>>()?;
    let of_run = OF_RUN.iter().map(|name| Field::new(*name, DataType::Utf8, false));
    Ok(Arc::new(Schema::new(of_file.into_iter().chain(of_run).collect::<Vec<_>>())))
}

/// The files of one run that may differ from the other's.
#[derive(Debug)]
struct Side {
    pair: Arc<Pair>,
    which: Which,
}

#[async_trait]
impl TableProvider for Side {
    fn schema(&self) -> SchemaRef {
        // The names are the contract's.
        side_schema().unwrap_or_else(|_| Arc::new(Schema::empty()))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>, // none comes here: a full join needs all rows of both
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let compared = self.pair.compared().await?;
        let (run, files, made) = match self.which {
            Which::A => (&self.pair.a, &compared.changed.before, &compared.made[0]),
            Which::B => (&self.pair.b, &compared.changed.after, &compared.made[1]),
        };
        let contract = facts_schema();
        let columns = OF_FILE.iter().map(|name| Ok(contract.index_of(name)?)).collect::<Result<Vec<_>>>()?;
        let filter = of_repositories(&compared.changed.repos);
        let table = FactsTable::of_files(self.pair.place.clone(), run.clone(), files.clone());
        let scan = table.scan(state, Some(&columns), std::slice::from_ref(&filter), None).await?;
        // The scan spares files and row groups by the filter; rows are tested here. A repository that is the same in both is in neither.
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(scan.schema())?)?;
        let rows: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(filter, scan)?);
        let value = |column: &usize| -> (Arc<dyn PhysicalExpr>, String) {
            match (OF_FILE.get(*column), OF_RUN.iter().zip(made).nth(column.saturating_sub(OF_FILE.len()))) {
                (None, Some((name, text))) => (Arc::new(Literal::new(ScalarValue::from(text.as_str()))), (*name).to_owned()),
                (name, _) => {
                    let name = name.copied().unwrap_or_default();
                    (Arc::new(Column::new(name, *column)), name.to_owned())
                }
            }
        };
        let wanted = projection.map_or_else(|| (0..OF_FILE.len() + OF_RUN.len()).collect(), Clone::clone);
        Ok(Arc::new(ProjectionExec::try_new(wanted.iter().map(value), rows)?))
    }
}

/// Whether a row is of one of these repositories.
fn of_repositories(repos: &[Option<String>]) -> Expr {
    if repos.is_empty() {
        return lit(false);
    }
    let named = col("repo").in_list(repos.iter().flatten().map(|repo| lit(repo.as_str())).collect(), false);
    if repos.contains(&None) { named.or(col("repo").is_null()) } else { named }
}
