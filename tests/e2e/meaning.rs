//! The views of meaning: what they say of code is what CPython's `ast` and `symtable` say of its source.
//!
//! The judge (`tests/judge/meaning.py`) derives the rows anew from the source and compares them. `BYTEFACTS_MEANING_EVERY=1` has it judge the
//! whole standard library instead of every twenty-fourth file.

use std::path::Path;
use std::process::Command;

use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use bytefacts_facts::views;
use serde_json::Value;

use crate::sql::hold_in;
use crate::support::{Shape, extract, folder, judge, python, query, query_text};

/// What the judge compares, by view: columns, and what is joined for them.
const QUERIES: [(&str, &str, &str); 11] = [
    ("attributes", "access, attribute, dotted", ""),
    ("calls", "callee, callee_name, is_unpacked, positional_count, keyword_count, keyword_names", ""),
    ("call_arguments", "callee, v.kind, position, keyword, value", ""),
    ("bases", "class_name, v.kind, position, keyword, base", ""),
    (
        "decorators",
        "decorator, is_call, nth, u.co_name AS decorated, u.firstlineno AS decorated_line",
        "LEFT JOIN py_bc_code_units u ON u.code_unit_id = v.decorated_code_unit_id",
    ),
    ("imports", "statement, module, level, v.name, bound_as, concat(u.co_name, '@', u.firstlineno) AS unit", UNIT),
    ("handlers", "v.kind, is_bare, caught, catches_all, bound_as, raises, reraises, logs, reads_exception, is_empty, drops", ""),
    ("names", "line_number, v.name, access, scope, concat(u.co_name, '@', u.firstlineno) AS unit", UNIT),
    ("constants", "literal", ""),
    ("awaits", "v.kind, awaited", ""),
    ("global_writes", "line_number, v.name, access", ""),
];

const UNIT: &str = "JOIN py_bc_code_units u USING (code_unit_id)";

/// Rows of every view as JSON, one file a view, for the judge.
async fn write_rows(facts: &Path, rows: &Path) {
    for (view, columns, joined) in QUERIES {
        let sql = format!(
            "SELECT v.path, v.pos_start_line, v.pos_start_col, v.pos_end_line, v.pos_end_col, {columns} FROM py_bc_{view} v {joined} ORDER BY v.path"
        );
        let file = std::fs::File::create(rows.join(format!("{view}.jsonl"))).unwrap();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(std::io::BufWriter::new(file));
        for batch in query(facts, &sql).await {
            writer.write(&batch).unwrap();
        }
        writer.finish().unwrap();
    }
}

async fn judgement(facts: &Path, sources: &Path) -> Value {
    let rows = folder();
    write_rows(facts, rows.path()).await;
    let output = Command::new(&python().await.executable)
        .args(["-I", "-B", "-X", "utf8"])
        .arg(judge("meaning.py"))
        .args([rows.path(), sources])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_agreement(judgement: &Value) {
    let differences: Vec<_> = judgement["differences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let shown: String = differences.iter().take(20).map(|difference| format!("{difference}\n")).collect();
    assert!(differences.is_empty(), "{} differences:\n{shown}", differences.len());
}

/// The files of the standard library, every n-th of them, as a corpus.
async fn sample(every: usize, target: &Path) {
    let listing = Command::new(&python().await.executable).args(["-I", "-B"]).arg(judge("stdlib.py")).arg("--json").output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    for line in listing.lines().step_by(every) {
        let entry: Value = serde_json::from_str(line).unwrap();
        let copy = target.join(entry["corpus_path"].as_str().unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(entry["path"].as_str().unwrap(), copy).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_say_of_the_standard_library_what_its_source_says() {
    let every = std::env::var("BYTEFACTS_MEANING_EVERY").map_or(24, |every| every.parse().unwrap());
    let (corpus, facts) = (folder(), folder());
    sample(every, corpus.path()).await;
    extract(corpus.path(), facts.path(), &Shape { repo: Some("library"), ..Shape::default() }).await;
    let judgement = judgement(facts.path(), corpus.path()).await;
    println!("{} files, compared {}, left out {}", judgement["files"], judgement["compared"], judgement["left_out"]);
    assert_agreement(&judgement);
    let compared = |view: &str| judgement["compared"][view].as_u64().unwrap_or(0);
    assert!(judgement["files"].as_u64().unwrap() > 50 && compared("calls") > 5_000 && compared("names") > 20_000, "{judgement}");
}

/// The judge would see a view that is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn the_judge_finds_what_is_missing_and_what_is_too_much() {
    let (corpus, facts, rows) = (meaning_corpus(), folder(), folder());
    extract(&corpus, facts.path(), &Shape { repo: Some("shop"), ..Shape::default() }).await;
    write_rows(facts.path(), rows.path()).await;
    for view in QUERIES.map(|(view, ..)| view) {
        let file = rows.path().join(format!("{view}.jsonl"));
        let text = std::fs::read_to_string(&file).unwrap();
        // The first row goes, and another one stands on another line.
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.remove(0);
        let mut moved: Value = serde_json::from_str(&lines[0]).unwrap();
        moved["pos_start_line"] = 900.into();
        moved["line_number"] = 901.into();
        lines.push(moved.to_string());
        std::fs::write(&file, lines.join("\n")).unwrap();
    }
    let output = Command::new(&python().await.executable)
        .args(["-I", "-B", "-X", "utf8"])
        .arg(judge("meaning.py"))
        .args([rows.path(), &corpus])
        .output()
        .unwrap();
    let judgement: Value = serde_json::from_slice(&output.stdout).unwrap();
    let differences = judgement["differences"].to_string();
    for view in QUERIES.map(|(view, ..)| view) {
        assert!(differences.contains(&format!("{view} pkg/")), "nothing found in {view}: {differences}");
    }
}

fn meaning_corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/meaning/corpus/shop")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_say_of_each_construct_what_the_judge_says() {
    let facts = folder();
    extract(&meaning_corpus(), facts.path(), &Shape { repo: Some("shop"), ..Shape::default() }).await;
    let judgement = judgement(facts.path(), &meaning_corpus()).await;
    assert_agreement(&judgement);
}

/// The known answers, one file a view.
#[tokio::test(flavor = "multi_thread")]
async fn every_slt_file_of_the_views_of_meaning_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/meaning");
    hold_in(&folder).await;
}

/// Ids of instructions resolve, whatever the view.
#[tokio::test(flavor = "multi_thread")]
async fn rows_join_with_the_instructions() {
    let facts = folder();
    extract(&meaning_corpus(), facts.path(), &Shape { repo: Some("shop"), ..Shape::default() }).await;
    for (view, ..) in QUERIES {
        let sql = format!(
            "SELECT count(*), count(v.instr_id), count(i.instr_id) FROM py_bc_{view} v LEFT JOIN py_bc_instructions i \
             ON i.instr_id = v.instr_id AND i.code_unit_id = v.code_unit_id AND i.instr_index = v.instr_index AND i.\"offset\" = v.\"offset\""
        );
        let rows = query_text(facts.path(), &sql).await;
        assert!(rows[0][0] != "0" && rows[0][1] == rows[0][2] && (view == "names" || rows[0][0] == rows[0][1]), "{view}: {rows:?}");
        assert!(views::by_name(&format!("py_bc_{view}")).is_some());
    }
}

/// A session without flat tables can have the views too.
#[tokio::test(flavor = "multi_thread")]
async fn unnesting_gives_the_same_rows() {
    let facts = folder();
    extract(&meaning_corpus(), facts.path(), &Shape { repo: Some("shop"), ..Shape::default() }).await;
    for view in views::all().iter().filter(|view| view.of_meaning) {
        let (mut found, mut expected) =
            (query_text(facts.path(), &format!("SELECT * FROM {}", view.name)).await, query_text(facts.path(), &view.unnested).await);
        found.sort();
        expected.sort();
        assert!(!found.is_empty() && found == expected, "{}", view.name);
    }
}

/// The first example of SQL that the README gives, on code of which the answer is known.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_readme_is_right() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let sql = readme.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the README has an example of SQL");
    let facts = folder();
    extract(&meaning_corpus(), facts.path(), &Shape { repo: Some("shop"), ..Shape::default() }).await;
    let rows = query_text(facts.path(), sql).await;
    assert_eq!(
        rows,
        [
            ["pkg/handlers.py", "nothing", "10", "NULL"],
            ["pkg/handlers.py", "two", "18", "ValueError"],
            ["pkg/handlers.py", "passed_on", "37", "NULL"],
            ["pkg/handlers.py", "groups", "46", "TypeError, KeyError"],
            ["pkg/handlers.py", "in_finally", "69", "OSError"],
            ["pkg/names.py", "C.m", "31", "ValueError"],
        ]
    );
}
