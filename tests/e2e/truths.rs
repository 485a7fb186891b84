//! The inputs of others' bug reports: what is landed of each is what CPython 3.13.0 says of it. The expected values are not ours: they were taken
//! from its code objects and its `dis`.

use std::path::Path;

use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use serde_json::{Value, json};

use crate::clients::{corpus_of_cases, names};
use crate::support::{bytefacts, folder, query_text, run, texts, url};

/// Repository and path; code objects, instructions, `EXTENDED_ARG`s among them, bytes of code, the deepest stack; entries of exception tables, and
/// the deepest stack that one of them leaves.
const SIZES: [[&str; 9]; 19] = [
    ["(none)", "loose.py", "1", "4", "0", "8", "1", "0", "0"],
    ["(none)", "r\u{1f}a\u{1f}b.py", "2", "7", "0", "14", "1", "0", "0"],
    ["folding", "limits.py", "1", "35", "0", "84", "16", "0", "0"],
    ["folding", "many.py", "1", "25002", "0", "80004", "3", "0", "0"],
    ["folding", "neighbour.py", "1", "4", "0", "8", "1", "0", "0"],
    ["folding", "small.py", "1", "4", "0", "8", "1", "0", "0"],
    ["mixed", "here.py", "1", "4", "0", "8", "1", "0", "0"],
    ["mixed", "there.py", "1", "4", "0", "8", "1", "0", "0"],
    ["quadratic", "many_variables.py", "2", "6047", "1237", "20912", "4", "0", "0"],
    ["r", "a\u{1f}b.py", "1", "9", "0", "24", "3", "0", "0"],
    ["r", "quiet.py", "1", "4", "0", "8", "1", "0", "0"],
    ["r\u{1f}a", "b.py", "1", "4", "0", "8", "1", "0", "0"],
    ["scopes", "argument.py", "3", "42", "0", "102", "5", "1", "2"],
    ["scopes", "cell.py", "4", "76", "0", "184", "5", "3", "2"],
    ["scopes", "class_body.py", "3", "134", "0", "312", "9", "6", "7"],
    ["scopes", "mangled.py", "4", "100", "0", "250", "9", "2", "4"],
    ["scopes", "mixed.py", "3", "90", "0", "216", "10", "6", "7"],
    ["scopes", "module.py", "2", "113", "0", "260", "8", "6", "6"],
    ["scopes", "outer.py", "4", "83", "0", "190", "7", "2", "3"],
];

/// The same of each of the files in [`names`].
const SIZES_OF_A_NAME: [&str; 7] = ["1", "4", "0", "8", "1", "0", "0"];

/// Repository, path, stage, type, severity and message. None has a position: the first warns while it folds, at no line of the source, and where the
/// last two have `0x…` CPython has an address, another one in every process.
const ERRORS: [[&str; 6]; 5] = [
    [
        "folding",
        "limits.py",
        "compile",
        "DeprecationWarning",
        "warning",
        "Bitwise inversion '~' on bool is deprecated and will be removed in Python 3.16. This returns the bitwise inversion of the underlying int \
         object and is usually not what you expect from negating a bool. Use the 'not' operator for boolean negation or ~int(x) if you really \
         want the bitwise inversion of the underlying int.",
    ],
    ["mixed", "gone.py", "read", "BrokenSymlink", "error", "the file is a symbolic link without a target"],
    ["mixed", "missing.py", "read", "BrokenSymlink", "error", "the file is a symbolic link without a target"],
    [
        "shelf",
        "one.py",
        "compile",
        "SystemError",
        "error",
        "_PyST_GetScope(name='__classdict__') failed: unknown scope in unit <module> (0x…); symbols: {'Regal': 4098}; locals: {}; globals: {}",
    ],
    [
        "shelf",
        "two.py",
        "compile",
        "SystemError",
        "error",
        "_PyST_GetScope(name='__classdict__') failed: unknown scope in unit <module> (0x…); symbols: {'Schrank': 4098}; locals: {}; globals: {}",
    ],
];

/// Definitions that reach uses, by the instructions' places: definition, use, namespace, name, and what defines it.
///
/// In `stapel(n)` of argument.py a comprehension has a cell `n` of its own. The closure within it (13) has that cell (7), and behind it the slot is
/// what it was, so that the use there (25) sees the argument again.
const REACHES_OF_ARGUMENT: [[&str; 5]; 5] = [
    ["NULL", "3", "cell", "n", "argument"],
    ["0", "6", "local", "n", "instr"],
    ["7", "13", "local", "n", "instr"],
    ["22", "24", "local", "fs", "instr"],
    ["NULL", "25", "cell", "n", "argument"],
];

/// In `tuer()` of outer.py CPython 3.13 saves one slot and makes the comprehension's cell in another, that of the free variable, and never puts that
/// back: the uses behind it (31, 32, 40) see what the comprehension's last round has stored (16), or without a round the closure's own cell (0), both
/// of which can be seen when it is run.
const REACHES_OF_OUTER: [[&str; 5]; 9] = [
    ["1", "8", "local", "schild", "instr"],
    ["15", "17", "local", "n", "instr"],
    ["9", "18", "local", "schild", "instr"],
    ["0", "31", "cell", "schild", "instr"],
    ["16", "31", "cell", "schild", "instr"],
    ["0", "32", "cell", "schild", "instr"],
    ["16", "32", "cell", "schild", "instr"],
    ["0", "40", "cell", "schild", "instr"],
    ["16", "40", "cell", "schild", "instr"],
];

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_are_what_cpython_says_of_them() {
    let (corpus, facts, cache) = (corpus_of_cases(), folder(), folder());
    let [corpus_path, facts_path] = [corpus.path(), facts.path()].map(|path| path.display().to_string());
    let line = ["extract", &corpus_path, "--out", &facts_path, "--no-cache", "--oracle", "1", "--format", "json"];
    let mut command = bytefacts(cache.path(), &line).await;
    // Several data files, so that a filter for a repository leaves some out.
    command.env("BYTEFACTS_BINS__COUNT", "4");
    let (code, summary, stderr) = run(command);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let compiled = SIZES.len() + names().len();
    assert_eq!(summary["oracle"], json!({ "files": compiled, "differences": 0, "not_judged": 0 }));
    let (code, report, stderr) = run(bytefacts(cache.path(), &["validate", "--facts", &facts_path]).await);
    assert_eq!(code, 0, "{report}{stderr}");

    let facts = facts.path();
    assert_eq!(sizes(facts).await, expected_sizes());
    let position = "line1 IS NULL AND col IS NULL AND end_line1 IS NULL AND end_col IS NULL";
    let errors =
        format!("SELECT repo, path, stage, error_type, severity, message FROM bytecode_errors WHERE {position} ORDER BY repo, path");
    assert_eq!(query_text(facts, &errors).await, ERRORS);
    assert_eq!(query_text(facts, "SELECT count(*) FROM bytecode_errors").await, [[ERRORS.len().to_string()]]);
    assert_eq!(reaches(facts, "argument.py", "stapel").await, REACHES_OF_ARGUMENT);
    assert_eq!(reaches(facts, "outer.py", "raum.<locals>.tuer").await, REACHES_OF_OUTER);
    every_name_is_of_one_repository(facts).await;
    ids_are_of_one_thing(facts, compiled + 4).await;
}

/// What there is of each file that compiles, sorted.
async fn sizes(facts: &Path) -> Vec<Vec<String>> {
    let units = "SELECT file_id, count(*) AS units, sum(code_len) AS bytes, max(stacksize) AS stack FROM py_bc_code_units GROUP BY file_id";
    let instructions = "SELECT file_id, count(*) AS instructions, count(*) FILTER (WHERE opname = 'EXTENDED_ARG') AS extended
        FROM py_bc_instructions GROUP BY file_id";
    let exceptions = "SELECT file_id, count(*) AS entries, max(depth) AS deepest FROM bytecode_exception_table GROUP BY file_id";
    let sql = format!(
        "SELECT coalesce(f.repo, '(none)'), f.path, units, instructions, extended, bytes, stack, coalesce(entries, 0), coalesce(deepest, 0)
         FROM bytecode_files_v1 AS f
         JOIN ({units}) AS u ON u.file_id = f.file_id
         JOIN ({instructions}) AS i ON i.file_id = f.file_id
         LEFT JOIN ({exceptions}) AS e ON e.file_id = f.file_id"
    );
    let mut rows = query_text(facts, &sql).await;
    rows.sort();
    rows
}

fn expected_sizes() -> Vec<Vec<String>> {
    let of_name = |name: String| [[name, "module.py".to_owned()].to_vec(), SIZES_OF_A_NAME.map(str::to_owned).to_vec()].concat();
    let mut rows: Vec<Vec<String>> = SIZES.into_iter().map(|row| row.map(str::to_owned).to_vec()).collect();
    rows.extend(names().into_iter().map(of_name));
    rows.sort();
    rows
}

/// Which definitions reach which uses in a function of the cases about scopes.
async fn reaches(facts: &Path, path: &str, function: &str) -> Vec<Vec<String>> {
    let sql = format!(
        "SELECT def_instr_index, use_instr_index, namespace, symbol, producer_kind
         FROM py_bc_reaches AS r JOIN py_bc_code_units AS u ON u.code_unit_id = r.code_unit_id
         WHERE u.repo = 'scopes' AND u.path = '{path}' AND co_qualname = '{function}'
         ORDER BY use_instr_index, def_instr_index"
    );
    query_text(facts, &sql).await
}

/// A name is found by a filter for it and by no other, whatever it looks like, and null is not the text that says so.
async fn every_name_is_of_one_repository(facts: &Path) {
    let session = facts_session(&Stores::default(), &url(facts), None).unwrap();
    for name in names() {
        let sql = format!("SELECT count(*), max(repo), max(path) FROM bytecode_files_v1 WHERE repo = '{name}'");
        let found = session.sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(texts(&found), [["1".to_owned(), name, "module.py".to_owned()]]);
    }
    let without = query_text(facts, "SELECT path FROM bytecode_files_v1 WHERE repo IS NULL ORDER BY path").await;
    assert_eq!(without, [["loose.py"], ["r\u{1f}a\u{1f}b.py"]]);
}

/// Files and code objects whose names are one text when they are joined have different ids, and a join by these multiplies no row.
async fn ids_are_of_one_thing(facts: &Path, files: usize) {
    let files = files.to_string();
    let files = files.as_str();
    let ids = "SELECT count(*), count(DISTINCT file_id) FROM bytecode_files_v1";
    assert_eq!(query_text(facts, ids).await, [[files, files]]);
    let joined = "SELECT count(*) FROM bytecode_files_v1 AS a JOIN bytecode_files_v1 AS b ON a.file_id = b.file_id";
    assert_eq!(query_text(facts, joined).await, [[files]]);
    let separated = "SELECT count(*), count(DISTINCT code_unit_id), count(DISTINCT file_id) FROM py_bc_code_units
        WHERE strpos(concat(repo, '/', path), chr(31)) > 0";
    assert_eq!(query_text(facts, separated).await, [["4", "4", "3"]]);
    let units = "SELECT count(*) = count(DISTINCT code_unit_id) FROM py_bc_code_units";
    assert_eq!(query_text(facts, units).await, [["true"]]);
}
