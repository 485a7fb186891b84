//! Equal answers: generated queries, answered by the service itself, by a cluster's executors, and by DuckDB over rows that Python has flattened from
//! the nested files by the contract alone.
//!
//! `BYTEFACTS_TRIALS=500` asks so many instead of a sample, of seed `BYTEFACTS_SEED=N`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, UInt64Type};
use bytefacts_client::{Connection, Options};
use bytefacts_facts::views::{self, View};
use serde_json::{Value, json};

use crate::chaos::{Random, number};
use crate::clients::{DUCKDB, UNREACHABLE, installed, without};
use crate::processes::Processes;
use crate::service::Service;
use crate::support::{Shape, extract, folder, library_corpus, manifest_json, python};

/// How many are asked without a word.
const SAMPLE: u64 = 60;
/// What they are made of without a word.
const SEED: u64 = 13;

/// The views of the contract that a program can flatten in an afternoon. Those of meaning have judges of their own.
const VIEWS: [&str; 14] = [
    "py_bc_code_units",
    "py_bc_instructions",
    "py_bc_line_table",
    "bytecode_exception_table",
    "py_bc_blocks",
    "py_bc_cfg_edges",
    "py_bc_dfg_edges",
    "py_bc_reaches",
    "py_bc_consts",
    "py_bc_cache_entries",
    "py_bc_flags_detail",
    "py_bc_def_use_events",
    "bytecode_errors",
    "py_bc_metadata",
];

/// Views that belong together, and by which columns.
const JOINS: [(&str, &str, &str, &str); 14] = [
    ("py_bc_instructions", "code_unit_id", "py_bc_code_units", "code_unit_id"),
    ("py_bc_instructions", "block_id", "py_bc_blocks", "block_id"),
    ("py_bc_blocks", "code_unit_id", "py_bc_code_units", "code_unit_id"),
    ("py_bc_cfg_edges", "src_block_id", "py_bc_blocks", "block_id"),
    ("py_bc_cfg_edges", "cond_instr_id", "py_bc_instructions", "instr_id"),
    ("py_bc_dfg_edges", "dst_instr_id", "py_bc_instructions", "instr_id"),
    ("py_bc_dfg_edges", "src_instr_id", "py_bc_instructions", "instr_id"),
    ("py_bc_reaches", "def_instr_id", "py_bc_instructions", "instr_id"),
    ("py_bc_def_use_events", "instr_id", "py_bc_instructions", "instr_id"),
    ("py_bc_cache_entries", "instr_id", "py_bc_instructions", "instr_id"),
    ("py_bc_consts", "child_code_unit_id", "py_bc_code_units", "code_unit_id"),
    ("bytecode_exception_table", "code_unit_id", "py_bc_flags_detail", "code_unit_id"),
    ("py_bc_code_units", "file_id", "py_bc_metadata", "file_id"),
    ("bytecode_errors", "file_id", "py_bc_metadata", "file_id"),
];

/// Texts that occur, and some that do not.
const TEXTS: [&str; 22] = [
    "LOAD_CONST",
    "CALL",
    "LOAD_FAST",
    "STORE_FAST",
    "RETURN_CONST",
    "POP_TOP",
    "self",
    "None",
    "name",
    "const",
    "local",
    "function",
    "module",
    "class",
    "normal",
    "handler",
    "USE_STACK",
    "USE_LOCAL",
    "define",
    "branch",
    "json",
    "no such text",
];

/// Parts of texts, as patterns of LIKE.
const PATTERNS: [&str; 10] = ["LOAD%", "%e%", "%_FAST", "%a_e%", "s%", "%JUMP%", "_", "%.py", "%(%", "%'%"];

/// Makes queries: the same for each seed, whatever the machine.
struct Queries {
    random: Random,
}

/// A view under an alias.
struct Source {
    view: &'static View,
    alias: &'static str,
}

impl Source {
    fn new(name: &str, alias: &'static str) -> Self {
        Self { view: views::by_name(name).unwrap(), alias }
    }

    /// Its columns of plain types.
    fn columns(&self) -> Vec<(String, &'static DataType)> {
        let plain = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Int32 | DataType::Int64 | DataType::Boolean);
        let columns = self.view.columns.iter().filter(|column| plain(&column.data_type));
        columns.map(|column| (format!("{}.\"{}\"", self.alias, column.name), &column.data_type)).collect()
    }
}

impl Queries {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn view(&mut self, alias: &'static str) -> Source {
        let name = *self.one(&VIEWS);
        Source::new(name, alias)
    }

    fn column(&mut self, from: &Source) -> (String, &'static DataType) {
        let columns = from.columns();
        self.one(&columns).clone()
    }

    fn column_of(&mut self, from: &Source, wanted: impl Fn(&DataType) -> bool) -> Option<String> {
        let columns: Vec<_> = from.columns().into_iter().filter(|(_, data_type)| wanted(data_type)).collect();
        if columns.is_empty() { None } else { Some(self.one(&columns).0.clone()) }
    }

    /// A number about as large as those that occur.
    fn number(&mut self) -> i64 {
        let most = *self.one(&[3, 10, 50, 300, 3000]);
        i64::try_from(self.below(most)).unwrap() - i64::from(self.below(8) == 0)
    }

    fn condition(&mut self, from: &[&Source], depth: usize) -> String {
        if depth > 0 && self.below(3) > 0 {
            let (left, right) = (self.condition(from, depth - 1), self.condition(from, depth - 1));
            return match self.below(3) {
                0 => format!("({left} AND {right})"),
                1 => format!("({left} OR {right})"),
                _ => format!("NOT ({left})"),
            };
        }
        let from = *self.one(from);
        let (column, data_type) = self.column(from);
        let form = self.below(8);
        match (data_type, form) {
            (_, 0) => format!("{column} IS NULL"),
            (_, 1) => format!("{column} IS NOT NULL"),
            (DataType::Utf8, 2 | 3) => format!("{column} = '{}'", self.one(&TEXTS)),
            (DataType::Utf8, 4) => format!("{column} LIKE '{}'", self.one(&PATTERNS).replace('\'', "''")),
            (DataType::Utf8, 5) => format!("{column} IN ('{}', '{}', '{}')", self.one(&TEXTS), self.one(&TEXTS), self.one(&TEXTS)),
            (DataType::Utf8, 6) => format!("length({column}) > {}", self.below(20)),
            (DataType::Utf8, _) => format!("{column} < '{}'", self.one(&TEXTS)),
            (DataType::Boolean, 2..=4) => column,
            (DataType::Boolean, _) => format!("({column} IS DISTINCT FROM true)"),
            (_, 2) => format!("{column} BETWEEN {} AND {}", self.number(), self.number() + 20),
            (_, 3) => format!("{column} IN ({}, {}, {})", self.number(), self.number(), self.number()),
            (_, 4) => format!("{column} % {} = {}", self.below(7) + 2, self.below(3)),
            (_, 5) => format!("({column} IS DISTINCT FROM {})", self.number()),
            (_, 6) => format!("{column} <> {}", self.number()),
            _ => format!("{column} >= {}", self.number()),
        }
    }

    /// WHERE and what stands behind it, or nothing.
    fn filter(&mut self, from: &[&Source]) -> String {
        let depth = self.below(3);
        if self.below(5) == 0 { String::new() } else { format!(" WHERE {}", self.condition(from, depth)) }
    }

    fn aggregate(&mut self, from: &Source) -> String {
        let form = self.below(9);
        let whole = self.column_of(from, |data_type| matches!(data_type, DataType::Int32));
        match (form, whole) {
            (0, _) => "count(*)".to_owned(),
            (1, _) => format!("count({})", self.column(from).0),
            (2, _) => format!("count(DISTINCT {})", self.column(from).0),
            (3, Some(column)) => format!("sum({column})"),
            // A thousandth is exact enough, and text of it the same everywhere.
            (4, Some(column)) => format!("CAST(round(avg({column}) * 1000) AS BIGINT)"),
            (5, Some(column)) => format!("max({column} + {})", self.number()),
            (6, _) => format!("count(*) FILTER (WHERE {})", self.condition(&[from], 0)),
            (7, _) => {
                let text = self.column_of(from, |data_type| *data_type == DataType::Utf8).unwrap();
                format!("min({text}), max(length({text}))")
            }
            (_, _) => match self.column_of(from, |data_type| *data_type == DataType::Boolean) {
                Some(flag) => format!("bool_and({flag}), bool_or({flag})"),
                None => "count(*)".to_owned(),
            },
        }
    }

    /// Two of them, which must not have one name.
    fn aggregates(&mut self, one: &Source, two: &Source) -> (String, String) {
        let (one, two) = (self.aggregate(one), self.aggregate(two));
        let same = one == two;
        (one, if same { "count(*) + 1".to_owned() } else { two })
    }

    /// A value of a row.
    fn value(&mut self, from: &Source) -> String {
        let (column, data_type) = self.column(from);
        match (data_type, self.below(6)) {
            (DataType::Utf8, 0) => format!("coalesce({column}, 'none')"),
            (DataType::Utf8, 1) => format!("substr({column}, 1, {})", self.below(6) + 1),
            (DataType::Utf8, 2) => format!("length({column})"),
            (DataType::Utf8, 3) => format!("CASE WHEN {column} LIKE '{}' THEN 'a' ELSE 'b' END", self.one(&PATTERNS).replace('\'', "''")),
            (DataType::Int32, 0) => format!("coalesce({column}, -1)"),
            (DataType::Int32, 1) => format!("{column} * 2 - {}", self.number()),
            (DataType::Int32, 2) => format!("CASE WHEN {column} > {} THEN {column} END", self.number()),
            (DataType::Boolean, 0) => format!("NOT {column}"),
            _ => column,
        }
    }

    fn query(&mut self) -> String {
        match self.below(10) {
            0 => {
                let from = self.view("v");
                let (one, two) = self.aggregates(&from, &from);
                let filter = self.filter(&[&from]);
                format!("SELECT {one} AS a, {two} AS b FROM {} v{filter}", from.view.name)
            }
            1 => {
                let from = self.view("v");
                let values: Vec<_> = (0..=self.below(4)).map(|_| self.value(&from)).collect();
                let order: Vec<_> =
                    (1..=values.len()).map(|nth| format!("{nth}{} NULLS LAST", if nth % 2 == 0 { " DESC" } else { "" })).collect();
                let distinct = if self.below(2) == 0 { "DISTINCT " } else { "" };
                let (filter, offset) = (self.filter(&[&from]), self.below(3));
                // The same value may come twice, which our engine wants to have two names.
                let values = values.iter().enumerate().map(|(nth, value)| format!("{value} AS v{nth}")).collect::<Vec<_>>();
                let (values, order) = (values.join(", "), order.join(", "));
                format!(
                    "SELECT {distinct}{values} FROM {} v{filter} ORDER BY {order} LIMIT {} OFFSET {offset}",
                    from.view.name,
                    self.below(40) + 1
                )
            }
            2 | 3 => self.grouped(),
            4 | 5 => self.joined(),
            6 => self.nested(),
            7 => self.united(),
            8 => self.windowed(),
            _ => {
                let (from, inner) = (self.view("v"), self.view("w"));
                let column = self.column_of(&from, |data_type| *data_type == DataType::Utf8).unwrap();
                let filter = self.filter(&[&inner]);
                let most = self.column_of(&inner, |data_type| *data_type == DataType::Int32).unwrap_or_else(|| "length(w.path)".to_owned());
                let than = self.column_of(&from, |data_type| *data_type == DataType::Int32).unwrap_or_else(|| "length(v.path)".to_owned());
                format!(
                    "WITH c AS (SELECT {column} AS k, {than} AS n FROM {} v) SELECT k, count(*) FROM c WHERE n >= (SELECT max({most}) % 50 FROM {} w{filter}) \
                     GROUP BY k",
                    from.view.name, inner.view.name
                )
            }
        }
    }

    fn grouped(&mut self) -> String {
        let from = self.view("v");
        let mut keys: Vec<_> = (0..=self.below(2)).map(|_| self.value(&from)).collect();
        let mut names = BTreeSet::new();
        keys.retain(|key| names.insert(key.clone()));
        let (one, two) = self.aggregates(&from, &from);
        let filter = self.filter(&[&from]);
        let having = if self.below(3) == 0 { format!(" HAVING count(*) > {}", self.below(20)) } else { String::new() };
        let (groups, keys) = ((1..=keys.len()).map(|nth| nth.to_string()).collect::<Vec<_>>().join(", "), keys.join(", "));
        format!("SELECT {keys}, {one} AS a, {two} AS b FROM {} v{filter} GROUP BY {groups}{having}", from.view.name)
    }

    fn joined(&mut self) -> String {
        let (left, left_key, right, right_key) = *self.one(&JOINS);
        let (left, right) = (Source::new(left, "l"), Source::new(right, "r"));
        let join = *self.one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let side = if self.below(2) == 0 { &left } else { &right };
        let (key, one) = (self.value(side), self.aggregate(&left));
        let (two, filter) = (self.aggregate(&right), self.filter(&[&left, &right]));
        let (left, right) = (left.view.name, right.view.name);
        format!(
            "SELECT {key}, {one} AS a, {two} AS b FROM {left} l {join} {right} r ON l.\"{left_key}\" = r.\"{right_key}\"{filter} GROUP BY 1"
        )
    }

    /// Whether there is something elsewhere.
    fn nested(&mut self) -> String {
        let (left, left_key, right, right_key) = *self.one(&JOINS);
        let (left, right) = (Source::new(left, "l"), Source::new(right, "r"));
        let (one, inner) = (self.aggregate(&left), self.condition(&[&right], 1));
        let (key, right) = (self.value(&left), right.view.name);
        let condition = match self.below(3) {
            0 => format!("EXISTS (SELECT 1 FROM {right} r WHERE r.\"{right_key}\" = l.\"{left_key}\" AND {inner})"),
            1 => format!("NOT EXISTS (SELECT 1 FROM {right} r WHERE r.\"{right_key}\" = l.\"{left_key}\" AND {inner})"),
            _ => format!("l.\"{left_key}\" IN (SELECT r.\"{right_key}\" FROM {right} r WHERE {inner})"),
        };
        format!("SELECT {key}, {one} FROM {} l WHERE {condition} GROUP BY 1", left.view.name)
    }

    fn united(&mut self) -> String {
        let (a, b) = (self.view("a"), self.view("b"));
        let text = |data_type: &DataType| *data_type == DataType::Utf8;
        let (one, two) = (self.column_of(&a, text).unwrap(), self.column_of(&b, text).unwrap());
        let (left, right) = (self.filter(&[&a]), self.filter(&[&b]));
        let operator = *self.one(&["UNION", "UNION", "INTERSECT", "EXCEPT"]);
        let (a, b) = (a.view.name, b.view.name);
        format!(
            "SELECT count(*), min(t), max(t) FROM (SELECT {one} AS t FROM {a} a{left} {operator} SELECT {two} AS t FROM {b} b{right}) u"
        )
    }

    fn windowed(&mut self) -> String {
        let (name, order) = *self.one(&[
            ("py_bc_instructions", "instr_index"),
            ("py_bc_blocks", "block_index"),
            ("py_bc_consts", "const_index"),
            ("py_bc_def_use_events", "event_index"),
        ]);
        let from = Source::new(name, "v");
        let text = self.column_of(&from, |data_type| *data_type == DataType::Utf8).unwrap();
        let whole = self.column_of(&from, |data_type| *data_type == DataType::Int32).unwrap();
        let value = match self.below(5) {
            0 => format!("lag({text}) OVER w"),
            1 => format!("lead({text}, 2) OVER w"),
            2 => "row_number() OVER w % 5".to_owned(),
            3 => format!("sum({whole}) OVER w"),
            _ => format!("max({whole}) OVER (PARTITION BY v.code_unit_id)"),
        };
        let filter = self.filter(&[&from]);
        format!(
            "SELECT k, x, count(*) FROM (SELECT {text} AS k, {value} AS x FROM {name} v{filter} WINDOW w AS (PARTITION BY v.code_unit_id ORDER BY v.\"{order}\")) t \
             GROUP BY k, x"
        )
    }
}

/// Values of plain types, as JSON has them.
fn rows(batches: &[RecordBatch]) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| match column.data_type() {
                _ if column.is_null(row) => Value::Null,
                DataType::Utf8 => column.as_string::<i32>().value(row).into(),
                DataType::Boolean => column.as_boolean().value(row).into(),
                DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
                DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
                DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
                // What a number without a sign and one with it come to.
                DataType::Decimal128(_, 0) => i64::try_from(column.as_primitive::<Decimal128Type>().value(row)).unwrap().into(),
                other => panic!("a value of type {other}"),
            });
            rows.push(Value::Array(values.collect()));
        }
    }
    rows
}

/// Rows in an order that every engine has.
fn sorted(mut rows: Vec<Value>) -> Vec<String> {
    let mut texts: Vec<_> = rows.drain(..).map(|row| row.to_string()).collect();
    texts.sort_unstable();
    texts
}

#[test]
fn queries_are_the_same_for_a_seed() {
    let made = |seed| {
        let mut queries = Queries { random: Random(seed) };
        (0..100).map(|_| queries.query()).collect::<Vec<_>>()
    };
    assert_eq!(made(1), made(1));
    let different: BTreeSet<_> = made(1).into_iter().chain(made(2)).collect();
    assert!(different.len() > 190, "{}", different.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_engines_answer_alike() {
    let Some(judge) = installed("duckdb", &DUCKDB).await else {
        return without("DuckDB answers as we do", UNREACHABLE);
    };
    let (facts, processes) = (folder(), Processes::new());
    let corpus = library_corpus(&python().await, &["json", "importlib"]);
    crate::support::write_files(corpus.path(), &[("json/broken.py", b"def f(:\n"), ("loose.py", b"assert (1, 'x')\n")]);
    extract(corpus.path(), facts.path(), &Shape { bins: 7, ..Shape::default() }).await;
    let files: Vec<_> = manifest_json(facts.path(), "run-1")["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| facts.path().join(file["key"].as_str().unwrap()).display().to_string())
        .collect();
    let scheduler = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let service = Service::over(facts, &["--cluster", &format!("df://{}", scheduler.address)], "").await;
    let connect = async |execution: &str| {
        let connection = Connection::open(&Options::new(&format!("grpc://{}", service.daemon.address))).await.unwrap();
        connection.rows(&format!("SET bytefacts.execution = '{execution}'")).await.unwrap();
        connection
    };
    let (here, there) = (connect("local").await, connect("cluster").await);

    let (count, seed) = (number("BYTEFACTS_TRIALS").unwrap_or(SAMPLE), number("BYTEFACTS_SEED").unwrap_or(SEED));
    let mut made = Queries { random: Random(seed) };
    let queries: Vec<_> = (0..count).map(|_| made.query()).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/equal_answers.py");
    let mut command = Command::new(judge);
    let mut judge = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    judge.stdin.take().unwrap().write_all(json!({"files": files, "queries": queries}).to_string().as_bytes()).unwrap();
    let judged = tokio::task::spawn_blocking(move || judge.wait_with_output().unwrap());

    let mut ours = Vec::new();
    for query in &queries {
        let mut answers = Vec::new();
        for connection in [&here, &there] {
            answers.push(connection.rows(query).await.map(|batches| sorted(rows(&batches))).map_err(|error| error.to_string()));
        }
        ours.push(answers);
    }
    let judged = judged.await.unwrap();
    assert!(judged.status.success());
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    for name in VIEWS {
        let flat: BTreeSet<_> =
            Source::new(name, "v").columns().iter().map(|(column, _)| column.replace(['"'], "").replace("v.", "")).collect();
        let theirs: BTreeSet<_> =
            judged["columns"][name].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        assert_eq!(flat, theirs, "{name}: both know the same columns");
    }
    let (mut wrong, mut with_rows) = (String::new(), 0);
    for ((query, ours), theirs) in queries.iter().zip(&ours).zip(judged["answers"].as_array().unwrap()) {
        let theirs = theirs.as_array().map(|rows| sorted(rows.clone())).ok_or_else(|| theirs["error"].to_string());
        with_rows += usize::from(theirs.as_ref().is_ok_and(|rows| rows.len() > 1));
        let [here, there] = &ours[..] else { panic!("two answers") };
        if [here, there].iter().any(|ours| **ours != theirs) {
            let short = |answer: &Result<Vec<String>, String>| match answer {
                Ok(rows) => format!("{} rows {:?}", rows.len(), rows.iter().take(4).collect::<Vec<_>>()),
                Err(error) => format!("error {error}"),
            };
            let _ = writeln!(wrong, "{query}\n  here    {}\n  cluster {}\n  DuckDB  {}", short(here), short(there), short(&theirs));
        }
    }
    assert!(wrong.is_empty(), "of {count} queries of seed {seed}, {with_rows} with more than one row:\n{wrong}");
    assert!(with_rows * 3 > queries.len(), "{with_rows} of {count} queries have more than a row: the others say little");
}
