//! The oracle: CPython judges the landed rows of its whole standard library.
//!
//! For every file the judge (`tests/judge/dis_facts.py`) compiles it once more and derives all that CPython itself can say: instructions, positions,
//! lines, labels, constants, exception tables, errors. Each value is compared with the one in the Parquet files that a real job has landed.

use std::fmt::Debug;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, RecordBatch, StructArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use bytefacts_compile::Interpreter;
use bytefacts_landing::LandedFile;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use crate::support::{Shape, at, extract, folder, judge, python, text};

type Ints = Vec<Option<i64>>;
type Texts = Vec<Option<String>>;

/// A record of the judge; its format stands at the top of `dis_facts.py`.
#[derive(Deserialize)]
struct Record {
    file_id: String,
    file_sha256: String,
    error: Option<CompileError>,
    warnings: Vec<Warning>,
    caches: Vec<Vec<(String, i64, String)>>,
    units: Vec<Unit>,
}

#[derive(Deserialize)]
struct CompileError {
    stage: String,
    error_type: String,
    message: String,
    line1: Option<i64>,
    col: Option<i64>,
    end_line1: Option<i64>,
    end_col: Option<i64>,
}

#[derive(Deserialize)]
struct Warning {
    error_type: String,
    message: String,
    line1: Option<i64>,
}

#[derive(Deserialize)]
struct Unit {
    code_unit_id: String,
    parent_code_unit_id: Option<String>,
    unit_kind: String,
    code_id: String,
    qualname: String,
    co_qualname: String,
    co_filename: String,
    name: String,
    firstlineno1: i64,
    argcount: i64,
    posonlyargcount: i64,
    kwonlyargcount: i64,
    nlocals: i64,
    flags: i64,
    stacksize: i64,
    code_len: i64,
    varnames: Texts,
    freevars: Texts,
    cellvars: Texts,
    names: Texts,
    code_path: Ints,
    flags_detail: Vec<String>,
    consts: Consts,
    line_table: LineTable,
    exception_table: ExceptionTable,
    instructions: Instructions,
}

#[derive(Deserialize)]
struct Consts {
    const_repr: Texts,
    const_type: Texts,
    child_code_unit_id: Texts,
}

#[derive(Deserialize)]
struct LineTable {
    offset: Ints,
    line1: Ints,
    line0: Ints,
}

#[derive(Deserialize)]
struct ExceptionTable {
    start_offset: Ints,
    end_offset: Ints,
    target_offset: Ints,
    depth: Ints,
    lasti: Vec<bool>,
}

#[derive(Deserialize)]
struct Instructions {
    offset: Ints,
    start_offset: Ints,
    end_offset: Ints,
    opname: Texts,
    opcode: Ints,
    arg: Ints,
    argval_kind: Texts,
    argval_int: Ints,
    argval_str: Texts,
    argrepr: Texts,
    line_number: Ints,
    starts_line: Ints,
    label: Ints,
    jump_target: Ints,
    cache: Vec<Option<usize>>,
    start_line0: Ints,
    start_col: Ints,
    end_line0: Ints,
    end_col: Ints,
    byte_start: Ints,
    byte_len: Ints,
}

/// A running judge: a request in, a record out.
struct Judge {
    child: Child,
    requests: ChildStdin,
    records: BufReader<ChildStdout>,
}

impl Judge {
    fn start(python: &Interpreter) -> Self {
        let mut child = Command::new(&python.executable)
            .args(["-I", "-X", "utf8"])
            .arg(judge("dis_facts.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { requests: child.stdin.take().unwrap(), records: BufReader::new(child.stdout.take().unwrap()), child }
    }

    fn ask(&mut self, file: &Path, repo: Option<&str>, corpus_path: &str) -> Record {
        let request = serde_json::json!({ "path": file, "corpus_path": corpus_path, "repo": repo, "optimize": 0 });
        writeln!(self.requests, "{request}").unwrap();
        self.requests.flush().unwrap();
        let mut line = Vec::new();
        self.records.read_until(b'\n', &mut line).unwrap();
        serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{corpus_path}: {error}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was compared, and where the two differ.
#[derive(Default)]
struct Tally {
    files: u64,
    failed: u64,
    units: u64,
    instructions: u64,
    differences: Vec<String>,
}

impl Tally {
    fn compare<T: PartialEq + Debug + ?Sized>(&mut self, place: &str, field: &str, ours: &T, cpython: &T) {
        if ours != cpython {
            self.differ(place, field, format!("ours {ours:?}, CPython {cpython:?}"));
        }
    }

    fn differ(&mut self, place: &str, field: &str, what: String) {
        const KEPT: usize = 40;
        if self.differences.len() < KEPT {
            self.differences.push(format!("{place}, {field}: {}", what.chars().take(400).collect::<String>()));
        }
    }

    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.failed += other.failed;
        self.units += other.units;
        self.instructions += other.instructions;
        self.differences.extend(other.differences);
    }
}

/// Every column that `dis` has equals `dis`, every file has a row, and every bad file its structured error: over the whole library.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_standard_library_equals_dis() {
    let python = python().await;
    let facts = folder();
    let shape = Shape { repo: Some("stdlib"), exclude: vec!["site-packages".to_owned()], bins: 16, ..Shape::default() };
    let manifest = extract(&python.stdlib, facts.path(), &shape).await;

    let listed = Command::new(&python.executable).arg(judge("stdlib.py")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap().lines().count() as u64;
    assert_eq!(manifest.run.stats.files, listed, "every file of the library has a row");

    // Two judges, each over every other data file: judging takes most of the time.
    let tasks: Vec<_> = (0..2)
        .map(|part| {
            let files: Vec<_> = manifest.files.iter().skip(part).step_by(2).cloned().collect();
            let (root, python) = (facts.path().to_owned(), python.clone());
            tokio::task::spawn_blocking(move || judge_files(&root, &files, &python))
        })
        .collect();
    let mut tally = Tally::default();
    for task in tasks {
        tally.add(task.await.unwrap());
    }
    assert!(tally.differences.is_empty(), "{} or more differences\n{}", tally.differences.len(), tally.differences.join("\n"));
    assert_eq!((tally.files, tally.units), (manifest.run.stats.files, manifest.run.stats.units));
    assert_eq!(tally.instructions, manifest.run.stats.instructions);
    assert!(tally.failed > 0, "the library's deliberately bad files are among them");
    println!(
        "{} files ({} do not compile), {} units, {} instructions: no difference",
        tally.files, tally.failed, tally.units, tally.instructions
    );
}

fn judge_files(facts: &Path, files: &[LandedFile], python: &Interpreter) -> Tally {
    let mut judge = Judge::start(python);
    let mut tally = Tally::default();
    for file in files {
        let reader = std::fs::File::open(facts.join(&file.key)).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(reader).unwrap().with_batch_size(16).build().unwrap() {
            let batch = batch.unwrap();
            let (repo, path) = (text(batch.column_by_name("repo")), text(batch.column_by_name("path")));
            for row in 0..batch.num_rows() {
                let source: PathBuf = python.stdlib.join(path.value(row));
                let record = judge.ask(&source, at(repo, row), path.value(row));
                compare_file(&mut tally, path.value(row), &batch, row, &record);
            }
        }
    }
    tally
}

fn compare_file(tally: &mut Tally, path: &str, batch: &RecordBatch, row: usize, record: &Record) {
    tally.files += 1;
    let own = |name| at(text(batch.column_by_name(name)), row);
    tally.compare(path, "file_id", &own("file_id"), &Some(record.file_id.as_str()));
    tally.compare(path, "file_sha256", &own("file_sha256"), &Some(record.file_sha256.as_str()));
    compare_errors(tally, path, &elements(batch.column_by_name("errors"), row), record);

    let units = elements(batch.column_by_name("code_objects"), row);
    tally.compare(path, "number of units", &units.len(), &record.units.len());
    for (i, unit) in record.units.iter().enumerate().take(units.len()) {
        tally.units += 1;
        let place = format!("{path} {}", unit.qualname);
        compare_unit(tally, &place, &units.slice(i, 1), unit, &record.caches);
    }
}

fn compare_errors(tally: &mut Tally, path: &str, errors: &StructArray, record: &Record) {
    type Row = (String, String, String, String, [Option<i64>; 4]);
    let texts = ["severity", "stage", "error_type", "message"].map(|name| strings(errors, name));
    let positions = ["line1", "col", "end_line1", "end_col"].map(|name| ints(errors, name));
    let ours: Vec<Row> = (0..errors.len())
        .map(|i| {
            let [severity, stage, kind, message] = texts.each_ref().map(|t| t[i].clone().unwrap_or_default());
            (severity, stage, kind, message, positions.each_ref().map(|p| p[i]))
        })
        .collect();
    let mut expected: Vec<Row> = Vec::new();
    if let Some(e) = &record.error {
        tally.failed += 1;
        let position = [e.line1, e.col, e.end_line1, e.end_col];
        expected.push(("error".into(), e.stage.clone(), e.error_type.clone(), e.message.clone(), position));
    }
    for w in &record.warnings {
        // A warning has a line and nothing else.
        expected.push(("warning".into(), "compile".into(), w.error_type.clone(), w.message.clone(), [w.line1, None, None, None]));
    }
    tally.compare(path, "errors", &ours, &expected);
}

fn compare_unit(tally: &mut Tally, place: &str, row: &StructArray, unit: &Unit, caches: &[Vec<(String, i64, String)>]) {
    for (name, cpython) in [
        ("code_unit_id", Some(&unit.code_unit_id)),
        ("parent_code_unit_id", unit.parent_code_unit_id.as_ref()),
        ("unit_kind", Some(&unit.unit_kind)),
        ("code_id", Some(&unit.code_id)),
        ("qualname", Some(&unit.qualname)),
        ("co_qualname", Some(&unit.co_qualname)),
        ("co_filename", Some(&unit.co_filename)),
        ("name", Some(&unit.name)),
        ("consts_json", Some(&serde_json::to_string(&unit.consts.const_repr).unwrap())),
    ] {
        let mut ours = strings(row, name);
        if name == "consts_json" {
            // JSON may be spaced and escaped in more than one way.
            let parsed: Option<Texts> = ours[0].as_ref().map(|json| serde_json::from_str(json).unwrap());
            ours = vec![parsed.map(|texts| serde_json::to_string(&texts).unwrap())];
        }
        tally.compare(place, name, &ours, &vec![cpython.cloned()]);
    }
    for (name, cpython) in [
        ("firstlineno1", unit.firstlineno1),
        ("argcount", unit.argcount),
        ("posonlyargcount", unit.posonlyargcount),
        ("kwonlyargcount", unit.kwonlyargcount),
        ("nlocals", unit.nlocals),
        ("flags", unit.flags),
        ("stacksize", unit.stacksize),
        ("code_len", unit.code_len),
    ] {
        tally.compare(place, name, &ints(row, name), &vec![Some(cpython)]);
    }
    for (name, cpython) in
        [("varnames", &unit.varnames), ("freevars", &unit.freevars), ("cellvars", &unit.cellvars), ("names", &unit.names)]
    {
        tally.compare(place, name, &text_list(&list(row, name)), cpython);
    }
    tally.compare(place, "code_path", &int_array(&list(row, "code_path")), &unit.code_path);
    let detail = row.column_by_name("flags_detail").unwrap().as_struct();
    let set: Vec<_> =
        detail.fields().iter().zip(detail.columns()).filter(|(_, c)| c.as_boolean().value(0)).map(|(f, _)| f.name().clone()).collect();
    tally.compare(place, "flags_detail", &set, &unit.flags_detail);

    let consts = structs(row, "consts");
    tally.compare(place, "const_index", &ints(&consts, "const_index"), &indices(consts.len()));
    tally.compare(place, "const_repr", &strings(&consts, "const_repr"), &unit.consts.const_repr);
    tally.compare(place, "const_type", &strings(&consts, "const_type"), &unit.consts.const_type);
    tally.compare(place, "child_code_unit_id", &strings(&consts, "child_code_unit_id"), &unit.consts.child_code_unit_id);

    let lines = structs(row, "line_table");
    for (name, cpython) in [("offset", &unit.line_table.offset), ("line1", &unit.line_table.line1), ("line0", &unit.line_table.line0)] {
        tally.compare(place, &format!("line_table.{name}"), &ints(&lines, name), cpython);
    }

    let entries = structs(row, "exception_table");
    let table = &unit.exception_table;
    tally.compare(place, "exc_index", &ints(&entries, "exc_index"), &indices(entries.len()));
    for (name, cpython) in [
        ("start_offset", &table.start_offset),
        ("end_offset", &table.end_offset),
        ("target_offset", &table.target_offset),
        ("depth", &table.depth),
    ] {
        tally.compare(place, &format!("exception_table.{name}"), &ints(&entries, name), cpython);
    }
    let lasti: Vec<_> = entries.column_by_name("lasti").unwrap().as_boolean().values().iter().collect();
    tally.compare(place, "exception_table.lasti", &lasti, &table.lasti);

    compare_instructions(tally, place, &structs(row, "instructions"), &unit.instructions, caches);
}

fn compare_instructions(tally: &mut Tally, place: &str, rows: &StructArray, cpython: &Instructions, caches: &[Vec<(String, i64, String)>]) {
    tally.instructions += rows.len() as u64;
    let int_columns: [(&str, &Ints); 11] = [
        ("offset", &cpython.offset),
        ("start_offset", &cpython.start_offset),
        ("end_offset", &cpython.end_offset),
        ("opcode", &cpython.opcode),
        ("baseopcode", &cpython.opcode),
        ("arg", &cpython.arg),
        ("oparg", &cpython.arg),
        ("line_number", &cpython.line_number),
        ("starts_line", &cpython.starts_line),
        ("label", &cpython.label),
        ("jump_target", &cpython.jump_target),
    ];
    tally.compare(place, "instr_index", &ints(rows, "instr_index"), &indices(cpython.offset.len()));
    for (name, expected) in int_columns {
        tally.compare(place, name, &ints(rows, name), expected);
    }
    tally.compare(place, "argval_int", &longs(rows.column_by_name("argval_int").unwrap()), &cpython.argval_int);
    for (name, expected) in [
        ("opname", &cpython.opname),
        ("baseopname", &cpython.opname),
        ("argval_kind", &cpython.argval_kind),
        ("argval_str", &cpython.argval_str),
        ("argrepr", &cpython.argrepr),
    ] {
        tally.compare(place, name, &strings(rows, name), expected);
    }
    let targets: Vec<_> = rows.column_by_name("is_jump_target").unwrap().as_boolean().values().iter().collect();
    tally.compare(place, "is_jump_target", &targets, &cpython.label.iter().map(Option::is_some).collect());

    let span = rows.column_by_name("span").unwrap().as_struct();
    for (name, field, expected) in [
        ("start", "line0", &cpython.start_line0),
        ("start", "col", &cpython.start_col),
        ("end", "line0", &cpython.end_line0),
        ("end", "col", &cpython.end_col),
        ("byte_span", "byte_start", &cpython.byte_start),
        ("byte_span", "byte_len", &cpython.byte_len),
    ] {
        let part = column(span, name).as_struct();
        let is_null = |i: usize| span.is_null(i) || part.is_null(i);
        let ours: Ints = ints(part, field).into_iter().enumerate().map(|(i, value)| value.filter(|_| !is_null(i))).collect();
        tally.compare(place, &format!("span.{name}.{field}"), &ours, expected);
    }

    let lists: &ListArray = rows.column_by_name("cache_info").unwrap().as_list();
    for (i, cache) in cpython.cache.iter().enumerate().take(lists.len()) {
        let entries = lists.value(i);
        let entries = entries.as_struct();
        let (names, sizes, data) = (strings(entries, "name"), ints(entries, "size"), strings(entries, "data_hex"));
        let ours: Vec<_> = (0..entries.len()).map(|k| (names[k].clone().unwrap(), sizes[k].unwrap(), data[k].clone().unwrap())).collect();
        let expected = cache.map_or(&[][..], |index| &caches[index]);
        if ours != expected {
            tally.differ(place, "cache_info", format!("instruction {i}: ours {ours:?}, CPython {expected:?}"));
        }
    }
}

/// The elements of the list in `row`, as structs.
fn elements(column: Option<&ArrayRef>, row: usize) -> StructArray {
    column.expect("the column exists").as_list::<i32>().value(row).as_struct().clone()
}

/// The list in the one row of `row`.
fn list(row: &StructArray, name: &str) -> ArrayRef {
    row.column_by_name(name).unwrap_or_else(|| panic!("{name}")).as_list::<i32>().value(0)
}

fn structs(row: &StructArray, name: &str) -> StructArray {
    list(row, name).as_struct().clone()
}

fn column<'a>(rows: &'a StructArray, name: &str) -> &'a ArrayRef {
    rows.column_by_name(name).unwrap_or_else(|| panic!("there is no column {name}"))
}

fn ints(rows: &StructArray, name: &str) -> Ints {
    int_array(column(rows, name))
}

fn int_array(array: &ArrayRef) -> Ints {
    numbers::<Int32Type>(array).map(|v| v.map(i64::from)).collect()
}

fn longs(array: &ArrayRef) -> Ints {
    numbers::<Int64Type>(array).collect()
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> impl Iterator<Item = Option<T::Native>> {
    array.as_primitive::<T>().iter()
}

fn strings(rows: &StructArray, name: &str) -> Texts {
    text_list(column(rows, name))
}

fn text_list(array: &ArrayRef) -> Texts {
    array.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
}

fn indices(length: usize) -> Ints {
    (0..length as i64).map(Some).collect()
}
