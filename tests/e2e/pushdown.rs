//! Flat tables and views answer what they would answer if every row were read and nothing were pushed down: random questions, asked twice.
//!
//! The other side knows nothing of our operators: DataFusion unnests the nested table with all of its columns into tables in memory, and a plain
//! session asks these. `BYTEFACTS_PUSHDOWN=N` asks N questions of each kind, `BYTEFACTS_SEED=N` others.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use bytefacts_facts::{flat, views};
use bytefacts_query::{FACTS_TABLE, facts_session, id_functions};
use bytefacts_stores::Stores;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider as _};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::support::{Shape, extract, folder, texts, url};

/// Numbers that follow from a seed.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// The rows of a table, to take values from that occur.
struct Table {
    name: String,
    columns: Vec<(String, DataType)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn plain(&self) -> Vec<usize> {
        let is_plain = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Int32 | DataType::Int64 | DataType::Boolean);
        (0..self.columns.len()).filter(|column| is_plain(&self.columns[*column].1)).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|(column, _)| column == name)
    }

    /// A value of a column, as SQL writes it; null where there is none.
    fn value(&self, column: usize, noise: &mut Noise) -> String {
        let Some(value) = (!self.rows.is_empty()).then(|| noise.one(&self.rows)[column].clone()) else { return "NULL".to_owned() };
        match &self.columns[column].1 {
            DataType::Utf8 if value != "NULL" => format!("'{}'", value.replace('\'', "''")),
            _ => value,
        }
    }

    /// A condition on columns of the table under an alias.
    fn condition(&self, alias: &str, noise: &mut Noise, depth: usize) -> String {
        if depth > 0 && noise.below(2) == 0 {
            let (one, two) = (self.condition(alias, noise, depth - 1), self.condition(alias, noise, depth - 1));
            return match noise.below(3) {
                0 => format!("({one} AND {two})"),
                1 => format!("({one} OR {two})"),
                _ => format!("(NOT {one} AND {two})"),
            };
        }
        let plain = self.plain();
        let at = *noise.one(&plain);
        let (name, kind) = (&self.columns[at].0, &self.columns[at].1);
        let column = format!("{alias}.\"{name}\"");
        let value = self.value(at, noise);
        let like: Vec<usize> = plain.iter().copied().filter(|other| self.columns[*other].1 == *kind).collect();
        let other = format!("{alias}.\"{}\"", self.columns[*noise.one(&like)].0);
        let condition = match (noise.below(9), kind) {
            (0, _) => format!("{column} IS NULL"),
            (1, _) => format!("{column} IS NOT NULL"),
            (2, DataType::Boolean) => column,
            (2, _) => format!("{column} <= {value}"),
            (3, _) => format!("{column} <> {value}"),
            (4, _) => format!("{column} IN ({value}, {}, NULL)", self.value(at, noise)),
            (5, _) => format!("{column} = {other}"),
            (6, DataType::Utf8) => format!("{column} LIKE concat(left({value}, 3), '%')"),
            (6, DataType::Int32 | DataType::Int64) => format!("{column} % 3 = 1"),
            (7, _) => format!("{column} IS DISTINCT FROM {value}"),
            _ => format!("{column} = {value}"),
        };
        format!("({condition})")
    }

    fn some_columns(&self, alias: &str, noise: &mut Noise) -> String {
        let count = 1 + noise.below(4);
        let columns: Vec<_> = (0..count).map(|nth| format!("{alias}.\"{}\" AS {alias}{nth}", noise.one(&self.columns).0)).collect();
        columns.join(", ")
    }
}

struct Both {
    ours: SessionContext,
    plain: SessionContext,
    tables: Vec<Table>,
}

async fn collect(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

impl Both {
    async fn over(facts: &Path) -> Self {
        let ours = facts_session(&Stores::default(), &url(facts), None).unwrap();
        for setting in ["target_partitions = 3", "batch_size = 40"] {
            collect(&ours, &format!("SET datafusion.execution.{setting}")).await;
        }
        let mut config = SessionConfig::new();
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let plain = SessionContext::new_with_config(config);
        let records = Arc::new(MemorySchemaProvider::new());
        plain.catalog("datafusion").unwrap().register_schema(flat::SCHEMA, Arc::clone(&records) as _).unwrap();
        id_functions().into_iter().for_each(|function| plain.register_udf(function));

        let mut tables = Vec::new();
        let table = |name: &str, batches: Vec<RecordBatch>, schema: arrow::datatypes::SchemaRef| {
            let columns = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
            let rows = texts(&batches);
            (Table { name: name.to_owned(), columns, rows }, Arc::new(MemTable::try_new(schema, vec![batches]).unwrap()))
        };
        for of in flat::all() {
            let frame = ours.sql(&of.unnested(&of.columns.iter().collect::<Vec<_>>())).await.unwrap();
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let (known, rows) = table(&format!("{}.{}", flat::SCHEMA, of.name), frame.collect().await.unwrap(), schema);
            records.register_table(of.name.clone(), rows).unwrap();
            tables.push(known);
        }
        let root = ours.table(FACTS_TABLE).await.unwrap();
        let schema = Arc::new(root.schema().as_arrow().clone());
        let (known, rows) = table(FACTS_TABLE, root.collect().await.unwrap(), schema);
        plain.register_table(FACTS_TABLE, rows).unwrap();
        tables.push(known);
        for view in views::all() {
            collect(&plain, &format!("CREATE VIEW {} AS {}", view.name, view.sql)).await;
            // A view of meaning takes seconds as tables in memory; what it is made of is asked for all the same.
            if !view.of_meaning {
                let frame = plain.table(view.name).await.unwrap();
                let schema = Arc::new(frame.schema().as_arrow().clone());
                tables.push(table(view.name, frame.collect().await.unwrap(), schema).0);
            }
        }
        Self { ours, plain, tables }
    }

    /// Compares the answers; how many rows they have.
    async fn compare(&self, sql: &str) -> usize {
        let (mut found, mut expected) = (texts(&collect(&self.ours, sql).await), texts(&collect(&self.plain, sql).await));
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found.len(), expected.len(), "{sql}");
        assert!(found == expected, "{sql}");
        found.len()
    }

    fn with<'a>(&'a self, columns: &[&str], noise: &mut Noise) -> &'a Table {
        let having: Vec<_> = self.tables.iter().filter(|table| columns.iter().all(|column| table.has(column))).collect();
        let &table = noise.one(&having);
        table
    }
}

async fn facts() -> tempfile::TempDir {
    let (corpus, facts) = (folder(), folder());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    for repository in ["sql/corpus", "sql/meaning/corpus", "cookbook/corpus"] {
        copy(&tests.join(repository), &corpus.path().join(repository.replace('/', "-")));
    }
    // Several data files, so that there are several partitions, of which each has some files.
    extract(corpus.path(), facts.path(), &Shape { bins: 4, ..Shape::default() }).await;
    facts
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_pushed_down_changes_an_answer() {
    let facts = facts().await;
    let both = Both::over(facts.path()).await;
    let mut noise = Noise(number("BYTEFACTS_SEED", 1));
    let (mut rows, mut limited) = (0, 0);
    for nth in 0..number("BYTEFACTS_PUSHDOWN", 120) {
        let table = noise.one(&both.tables);
        let (columns, condition) = (table.some_columns("t", &mut noise), table.condition("t", &mut noise, 2));
        let from = format!("FROM {} t WHERE {condition}", table.name);
        rows += both.compare(&format!("SELECT {columns} {from}")).await;
        both.compare(&format!("SELECT count(*) AS n {from}")).await;
        both.compare(&format!("SELECT count(*) AS n FROM {}", table.name)).await;
        let group = &table.columns[*noise.one(&table.plain())].0;
        both.compare(&format!("SELECT t.\"{group}\" AS g, count(*) AS n {from} GROUP BY t.\"{group}\"")).await;
        if nth % 4 == 0 {
            // Any rows will do, but they must be so many, and be some of all.
            let limit = 1 + noise.below(20);
            let some = texts(&collect(&both.ours, &format!("SELECT {columns} {from} LIMIT {limit}")).await);
            let mut all = texts(&collect(&both.plain, &format!("SELECT {columns} {from}")).await);
            assert_eq!(some.len(), all.len().min(limit), "{from} LIMIT {limit}");
            for row in some {
                let at = all.iter().position(|other| *other == row).unwrap_or_else(|| panic!("{from}: {row:?}"));
                all.swap_remove(at);
                limited += 1;
            }
        }
    }
    assert!(rows > 1_000 && limited > 50, "the questions ask for something: {rows}, {limited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_together_by_file_is_what_would_be_brought_together_at_once() {
    let facts = facts().await;
    let both = Both::over(facts.path()).await;
    let mut noise = Noise(number("BYTEFACTS_SEED", 1) ^ 0x5eed);
    let (mut rows, mut by_file) = (0, 0);
    for _ in 0..number("BYTEFACTS_PUSHDOWN", 60) {
        let key = if noise.below(4) == 0 { "file_id" } else { "code_unit_id" };
        let (a, b) = (both.with(&[key], &mut noise), both.with(&[key], &mut noise));
        let mut on = format!("b.{key} = a.{key}");
        // What has many elements a unit is joined by the instruction too.
        for (one, two) in [("instr_index", "instr_index"), ("dst_instr_index", "instr_index"), ("instr_index", "dst_instr_index")] {
            if a.has(one) && b.has(two) {
                let _ = write!(on, " AND b.{two} = a.{one}");
                break;
            }
        }
        if noise.below(2) == 0 {
            let _ = write!(on, " AND {}", b.condition("b", &mut noise, 1));
        }
        let sample = |table: &Table, alias: &str, noise: &mut Noise| match table.rows.len() {
            0..=400 => "true".to_owned(),
            _ => table.condition(alias, noise, 1),
        };
        let (of_a, of_b) = (sample(a, "a", &mut noise), sample(b, "b", &mut noise));
        let columns = format!("{}, {}", a.some_columns("a", &mut noise), b.some_columns("b", &mut noise));
        let from_b = format!("(SELECT * FROM {} b WHERE {of_b}) b", b.name);
        let sql = match noise.below(9) {
            0 => format!("SELECT {columns} FROM {} a LEFT JOIN {from_b} ON {on} WHERE {of_a}", a.name),
            1 => format!("SELECT {columns} FROM (SELECT * FROM {} a WHERE {of_a}) a RIGHT JOIN {from_b} ON {on}", a.name),
            2 => format!("SELECT {columns} FROM (SELECT * FROM {} a WHERE {of_a}) a FULL JOIN {from_b} ON {on}", a.name),
            3 => format!(
                "SELECT {} FROM {} a WHERE {of_a} AND EXISTS (SELECT 1 FROM {} b WHERE {on} AND {of_b})",
                a.some_columns("a", &mut noise),
                a.name,
                b.name
            ),
            4 => format!(
                "SELECT {} FROM {} a WHERE {of_a} AND NOT EXISTS (SELECT 1 FROM {} b WHERE {on} AND {of_b})",
                a.some_columns("a", &mut noise),
                a.name,
                b.name
            ),
            5 => format!(
                "SELECT a.{key}, g.n, g.least FROM {} a LEFT JOIN (SELECT b.{key}, count(*) AS n, min(b.path) AS least FROM {} b WHERE {of_b} \
                 GROUP BY b.{key}) g ON g.{key} = a.{key} WHERE {of_a}",
                a.name, b.name
            ),
            6 => format!("SELECT b.{key}, count(*) AS n, count(DISTINCT b.path) AS paths FROM {} b WHERE {of_b} GROUP BY b.{key}", b.name),
            7 => format!("SELECT b.{key}, b.path, count(*) OVER (PARTITION BY b.{key}) AS n FROM {} b WHERE {of_b}", b.name),
            _ => format!("SELECT {columns} FROM {} a JOIN {from_b} ON {on} WHERE {of_a}", a.name),
        };
        rows += both.compare(&sql).await;
        let plan = texts(&collect(&both.ours, &format!("EXPLAIN {sql}")).await);
        by_file += usize::from(plan.iter().flatten().any(|line| line.contains("ByFileExec")));
    }
    assert!(rows > 500 && by_file > 20, "the questions ask for something, by file: {rows}, {by_file}");
}

/// A chain of joins over one scan, windows and what has no partner, in one part of the plan.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_meaning_are_the_same_by_file() {
    let facts = facts().await;
    let both = Both::over(facts.path()).await;
    let mut rows = 0;
    for view in views::all().iter().filter(|view| view.of_meaning) {
        rows += both.compare(&format!("SELECT * FROM {}", view.name)).await;
    }
    assert!(rows > 500, "{rows}");
}
