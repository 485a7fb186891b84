//! Bad inputs: each is a row with its structured error, and none costs another file its row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::AsArray as _;
use arrow::datatypes::Int32Type;
use serde::Deserialize;

use crate::records::assert_equal_to_unnesting;
use crate::support::{Shape, at, bytefacts, extract, folder, judge, python, query, query_text, run, text, write_files};

/// What CPython does with a bad input, and the stage at which the contract wants its error.
#[derive(Deserialize)]
struct Expected {
    repo: Option<String>,
    path: Option<String>,
    path_hex: String,
    stage: Option<String>,
    error_type: Option<String>,
    cpython: Option<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    error: Option<CompileError>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct CompileError {
    error_type: String,
    message: String,
    line1: Option<i32>,
    col: Option<i32>,
    end_line1: Option<i32>,
    end_col: Option<i32>,
}

#[derive(Deserialize)]
struct Warning {
    error_type: String,
}

/// One error row.
#[derive(Debug, PartialEq)]
struct Found {
    stage: String,
    error_type: String,
    message: String,
    severity: String,
    position: [Option<i32>; 4],
}

/// Makes the corpus of bad inputs with the judge; its folder, and what CPython says of each file. Asking CPython takes a minute or more, so that
/// `BYTEFACTS_BAD_INPUTS` may name a folder that the judge has made before.
async fn bad_corpus(root: &Path) -> (PathBuf, Vec<Expected>) {
    let folder = match std::env::var_os("BYTEFACTS_BAD_INPUTS") {
        Some(folder) => folder.into(),
        None => {
            let made = Command::new(python().await.executable).arg(judge("bad_inputs.py")).arg(root.join("bad")).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            root.join("bad")
        }
    };
    let expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    (folder.join("corpus"), expected)
}

/// What is in the corpus and, on purpose, no file of it: a `.git` folder, links to folders, folders, and what has no Python extension.
const LEFT_OUT: [&str; 5] =
    ["links/folder_loop", "names/.git/hook.py", "names/UPPER.PY", "special/folder_named.py", "special/not_python.txt"];

/// The errors of every file, by repository and path.
async fn errors(facts: &Path) -> BTreeMap<(String, String), Vec<Found>> {
    let sql =
        "SELECT f.repo, f.path, e['stage'] AS stage, e['error_type'] AS error_type, e['message'] AS message, e['severity'] AS severity,
                 e['line1'] AS line1, e['col'] AS col, e['end_line1'] AS end_line1, e['end_col'] AS end_col
               FROM (SELECT repo, path, unnest(errors) AS e FROM bytecode_files_v1) AS f";
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for batch in query(facts, sql).await {
        let [repo, path, stage, error_type, message, severity] =
            ["repo", "path", "stage", "error_type", "message", "severity"].map(|name| text(batch.column_by_name(name)));
        let ints = ["line1", "col", "end_line1", "end_col"].map(|name| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>());
        for row in 0..batch.num_rows() {
            let int = |i: usize| (!arrow::array::Array::is_null(ints[i], row)).then(|| ints[i].value(row));
            let key = (at(repo, row).unwrap_or_default().to_owned(), path.value(row).to_owned());
            found.entry(key).or_default().push(Found {
                stage: stage.value(row).to_owned(),
                error_type: error_type.value(row).to_owned(),
                message: message.value(row).to_owned(),
                severity: severity.value(row).to_owned(),
                position: [int(0), int(1), int(2), int(3)],
            });
        }
    }
    found
}

/// The text under which a name that is not UTF-8 stands in a row: undecodable bytes as lone surrogates, as Python writes them.
fn escaped(path_hex: &str) -> (String, String) {
    let bytes = hex::decode(path_hex).unwrap();
    let text = bytefacts_corpus::encode_name(&bytes);
    let (repo, path) = text.split_once('/').unwrap();
    (repo.to_owned(), path.to_owned())
}

/// The whole list of the issue, and more: what compiles compiles, what does not has CPython's own error with its position, and each has one row.
#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_is_a_row_with_its_error() {
    let root = folder();
    let (corpus, mut expected) = bad_corpus(root.path()).await;
    let whole = expected.len();
    expected.retain(|file| !LEFT_OUT.contains(&String::from_utf8_lossy(&hex::decode(&file.path_hex).unwrap()).as_ref()));
    assert_eq!(expected.len(), whole - LEFT_OUT.len());
    let facts = root.path().join("facts");
    let manifest = extract(&corpus, &facts, &Shape { bins: 6, ..Shape::default() }).await;

    assert_eq!(manifest.run.stats.files, expected.len() as u64);
    let rows = query_text(&facts, "SELECT coalesce(repo, ''), path, count(*) FROM bytecode_files_v1 GROUP BY 1, 2").await;
    let rows: BTreeMap<_, _> = rows.into_iter().map(|row| ((row[0].clone(), row[1].clone()), row[2].clone())).collect();
    let errors = errors(&facts).await;

    let mut faults = Vec::new();
    for file in &expected {
        let key = match (&file.repo, &file.path) {
            (Some(repo), Some(path)) => (repo.clone(), path.clone()),
            _ => escaped(&file.path_hex),
        };
        if rows.get(&key).map(String::as_str) != Some("1") {
            faults.push(format!("{key:?} has {:?} rows", rows.get(&key)));
            continue;
        }
        let none = Vec::new();
        let found = errors.get(&key).unwrap_or(&none);
        if let Some(fault) = fault(file, found) {
            faults.push(format!("{key:?}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let sane = without_monsters(&corpus, &facts, root.path()).await;
    extract(&sane, &root.path().join("sane-facts"), &Shape::default()).await;
    assert!(assert_equal_to_unnesting(&root.path().join("sane-facts")).await > 1_000);
}

/// A copy of the corpus that lacks the files of which so much became that unnesting their rows takes minutes.
async fn without_monsters(corpus: &Path, facts: &Path, root: &Path) -> PathBuf {
    let copy = root.join("sane");
    assert!(Command::new("cp").arg("-a").arg(corpus).arg(&copy).status().unwrap().success());
    let monsters = "SELECT repo, path FROM bytecode_files_v1 LEFT JOIN
                      (SELECT repo, path, count(*) AS instructions FROM py_bc_instructions GROUP BY 1, 2) USING (repo, path)
                    WHERE source_bytes > 100000 OR instructions > 5000";
    let monsters = query_text(facts, monsters).await;
    assert!(!monsters.is_empty());
    for monster in monsters {
        std::fs::remove_file(copy.join(&monster[0]).join(&monster[1])).unwrap();
    }
    copy
}

/// How the errors of a row differ from what is expected of the file.
fn fault(expected: &Expected, found: &[Found]) -> Option<String> {
    let (warnings, failures): (Vec<_>, Vec<_>) = found.iter().partition(|f| f.severity == "warning");
    let stages: Vec<_> = failures.iter().map(|f| f.stage.as_str()).collect();
    match expected.stage.as_deref() {
        // Limits decide between an outcome of CPython's and one of ours.
        Some("any") => return None,
        None if stages.is_empty() => {}
        None => return Some(format!("compiles in CPython, here: {failures:?}")),
        Some(stage) if stages == [stage] => {}
        Some(stage) => return Some(format!("should fail at stage {stage}, here: {failures:?}")),
    }
    let Some(verdict) = &expected.cpython else {
        let types: Vec<_> = failures.iter().map(|f| f.error_type.as_str()).collect();
        let named = expected.error_type.as_deref().is_none_or(|t| t == "any" || types == [t]);
        return (!named).then(|| format!("should be {:?}, is {types:?}", expected.error_type));
    };
    if let Some(error) = &verdict.error {
        let Some(failure) = failures.first() else { return Some(format!("should fail with {}", error.message)) };
        let position = [error.line1, error.col, error.end_line1, error.end_col];
        let message_differs = failure.message != error.message && !failure.message.ends_with('…');
        if failure.error_type != error.error_type || message_differs || failure.position != position {
            return Some(format!("CPython: {} {} {position:?}, here: {failure:?}", error.error_type, error.message));
        }
    }
    let types: Vec<_> = warnings.iter().map(|w| &w.error_type).collect();
    let wanted: Vec<_> = verdict.warnings.iter().map(|w| &w.error_type).collect();
    (types != wanted).then(|| format!("warnings {wanted:?} in CPython, here {types:?}"))
}

/// A file that goes between listing and reading is an error row; the run's bins were recorded before, so the test can delete it in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanishes_after_the_listing_is_an_error_row() {
    let (corpus, facts) = (folder(), folder());
    write_files(corpus.path(), &[("r/stays.py", b"a = 1\n"), ("r/goes.py", b"b = 2\n")]);
    let shape = Shape::default();
    // Planning the job records its bins; running it comes later.
    let job = crate::support::job(corpus.path(), facts.path(), &shape, &python().await);
    crate::interruption::record_bins(&job).await;
    std::fs::remove_file(corpus.path().join("r/goes.py")).unwrap();
    extract(corpus.path(), facts.path(), &shape).await;
    let rows = query_text(facts.path(), "SELECT path, stage, error_type FROM bytecode_errors").await;
    assert_eq!(rows, [["goes.py", "read", "FileNotFound"]]);
    assert_eq!(query_text(facts.path(), "SELECT count(*) FROM bytecode_files_v1").await, [["2"]]);
}

/// What is no input at all ends with one clear message, exit code 1, and no traces of a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_corpus_that_is_none_is_refused_with_a_clear_message() {
    let root = folder();
    write_files(root.path(), &[("file.py", b""), ("text/readme.txt", b"no source")]);
    std::fs::create_dir(root.path().join("empty")).unwrap();
    let cases = [("missing", "does not exist"), ("file.py", "is not a folder"), ("empty", "is empty"), ("text", "holds no Python file")];
    for (corpus, message) in cases {
        let (corpus, facts) = (root.path().join(corpus), root.path().join("facts"));
        let args = ["extract", corpus.to_str().unwrap(), "--out", facts.to_str().unwrap()];
        let (code, stdout, stderr) = run(bytefacts(root.path(), &args).await);
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
        assert!(!facts.join("current.json").exists());
    }
}
