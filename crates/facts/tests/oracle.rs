//! The comparison with the oracle of the compile workers: sound rows have no difference, a wrong value is found and named.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod common;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use bytefacts_facts::{
    FactError, FileInput, Options, RowBuilder,
    oracle::{Comparison, Findings, MORE, STAGE},
};
use common::{attrs, run_python, standard_library_folder};
use serde_json::{Value, json};

/// Of how many files one is judged here; an end-to-end test judges the whole library.
const EVERY_NTH: usize = 60;

/// A file's row and what the oracle says.
struct Judged {
    path: String,
    row: RecordBatch,
    frames: Vec<Value>,
}

fn row(path: &str, source: &[u8], code: &[u8], include_cfg: bool) -> RecordBatch {
    let mut builder = RowBuilder::new(&attrs(include_cfg), Options::default());
    builder.append(FileInput { path, source: Some(source), code: Some(code), ..FileInput::default() }).unwrap();
    builder.finish().unwrap()
}

fn judge(folder: &str, every_nth: usize, include_cfg: bool) -> Vec<Judged> {
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/../compile/src/oracle.py");
    let output = run_python("judge.py", &[oracle, folder, &every_nth.to_string()]);
    let mut rest = output.as_slice();
    let mut part = || {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let (part, after) = after.split_at(usize::try_from(u64::from_le_bytes(*len)).unwrap());
        rest = after;
        Some(part)
    };
    let mut files = Vec::new();
    while let Some(path) = part() {
        let path = String::from_utf8(path.to_vec()).unwrap();
        let (source, code) = (part().unwrap(), part().unwrap());
        let row = row(&path, source, code, include_cfg);
        let mut frames = Vec::new();
        while let Some(frame) = part().filter(|frame| !frame.is_empty()) {
            frames.push(serde_json::from_slice(frame).unwrap());
        }
        files.push(Judged { path, row, frames });
    }
    files
}

/// One small file of many kinds of instructions.
fn small() -> Judged {
    let folder = folder_with("def f(x, *, y='é'):\n    for i in x:\n        if i: yield i.a\n    return {1, 'b'} is y\n");
    judge(folder.to_str().unwrap(), 1, true).remove(0)
}

/// A folder of this test's own with one file.
fn folder_with(source: &str) -> std::path::PathBuf {
    let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.py"), source).unwrap();
    folder
}

fn compare(row: &RecordBatch, frames: &[Value]) -> Findings {
    let mut comparison = Comparison::new(row).unwrap();
    for frame in frames {
        comparison.take(frame.to_string().as_bytes()).unwrap();
    }
    comparison.finish()
}

fn only(findings: Findings) -> FactError {
    assert_eq!((findings.differences, findings.errors.len()), (1, 1), "{:?}", findings.errors);
    findings.errors.into_iter().next().unwrap()
}

#[test]
fn rows_of_the_standard_library_have_no_difference() {
    let mut units = 0;
    for include_cfg in [true, false] {
        for file in judge(&standard_library_folder(), EVERY_NTH, include_cfg) {
            let findings = compare(&file.row, &file.frames);
            assert_eq!(findings, Findings::default(), "{}", file.path);
            units += file.frames.iter().filter(|frame| frame.get("unit").is_some()).count();
        }
    }
    assert!(units > 1_000, "{units} units");
}

/// A column that the oracle forgets would never differ.
#[test]
fn the_oracle_speaks_of_every_column_that_dis_has() {
    let mut columns = BTreeSet::new();
    for frame in small().frames {
        for (table, values) in frame.as_object().unwrap() {
            columns.extend(values.as_object().unwrap().keys().map(|column| format!("{table}.{column}")));
        }
    }
    insta::assert_snapshot!(columns.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_wrong_value_in_any_column_is_found_and_named() {
    let Judged { row, frames, .. } = small();
    let mut changed = 0;
    for nth in 0..frames.len() {
        for (table, columns) in frames[nth].as_object().unwrap() {
            for column in columns.as_object().unwrap().keys() {
                let mut frames = frames.clone();
                let Some(value) = frames[nth][table][column].as_array_mut().and_then(|values| values.first_mut()) else { continue };
                *value = match &*value {
                    Value::Bool(value) => json!(!value),
                    Value::Number(value) => json!(value.as_i64().unwrap() + 1),
                    Value::String(value) => json!(format!("{value}x")),
                    Value::Array(values) => json!([values.as_slice(), &[json!("x")]].concat()),
                    // Our null says that nothing jumps here, or that nobody knows the depth.
                    Value::Null if column == "stack_effect_jump" => continue,
                    _ => json!("x"),
                };
                let error = only(compare(&row, &frames));
                let name = if table == "unit" { column.clone() } else { format!("{table}.{column}") };
                assert_eq!((error.stage.as_str(), error.error_type.as_str()), (STAGE, name.as_str()));
                assert!(error.code_unit_id.unwrap().starts_with("bc_code:"));
                changed += 1;
            }
        }
    }
    assert!(changed > 100, "{changed}");
}

#[test]
fn a_difference_says_both_values_and_where() {
    let Judged { row, mut frames, .. } = small();
    frames[3]["instructions"]["opname"][4] = json!("LOAD_QUICK");
    let error = only(compare(&row, &frames));
    assert_eq!(error.message, r#"ours "GET_ITER", CPython "LOAD_QUICK""#);
    assert_eq!(error.attrs, [("instr_index".to_owned(), "4".to_owned()), ("offset".to_owned(), "8".to_owned())]);

    let Judged { row, mut frames, .. } = small();
    frames[2]["unit"]["varnames"][0] = json!(["x", "y", "j"]);
    assert_eq!(only(compare(&row, &frames)).message, r#"ours [x, y, i], CPython "j" as element 2"#);
}

#[test]
fn missing_and_surplus_rows_and_units_are_found() {
    let name = |row, frames: &[Value]| {
        let error = only(compare(row, frames));
        (error.error_type, error.message)
    };
    let Judged { row, frames, .. } = small();
    assert_eq!(name(&row, &frames[..2]), ("code_objects".to_owned(), "ours 2 rows, CPython 1 rows".to_owned()));
    let mut more = frames.clone();
    more.extend_from_slice(&frames[2..]);
    assert_eq!(name(&row, &more), ("code_objects".to_owned(), "ours 2 rows, CPython 3 rows".to_owned()));
    assert_eq!(name(&row, &frames[..3]).0, "instructions");

    let mut line = frames.clone();
    for column in ["offset", "line1", "line0"] {
        line[0]["line_table"][column].as_array_mut().unwrap().pop();
    }
    let (error_type, message) = name(&row, &line);
    assert_eq!(error_type, "line_table");
    assert!(message.starts_with("ours ") && message.contains("CPython"), "{message}");
}

#[test]
fn a_flood_of_differences_is_counted_and_cut() {
    let Judged { row, frames, .. } = judge(&folder_with(&"x = 1\n".repeat(2_000)).to_string_lossy(), 1, true).remove(0);
    let mut frames = frames;
    for name in frames[1]["instructions"]["opname"].as_array_mut().unwrap() {
        *name = json!("NOPE");
    }
    let findings = compare(&row, &frames);
    assert_eq!((findings.differences, findings.errors.len()), (4_002, 1_001));
    assert_eq!(findings.errors.last().unwrap().error_type, MORE);
    assert!(findings.errors.last().unwrap().message.starts_with("3002 more"));
}

#[test]
fn what_is_no_frame_is_an_error() {
    let row = small().row;
    for frame in [r#"{"unit""#, "[]", r#"{"units":{}}"#, r#"{"unit":{},"instructions":{"opnames":[]}}"#, r#"{"unit":{"name":3}}"#, "{} {}"]
    {
        assert!(Comparison::new(&row).unwrap().take(frame.as_bytes()).is_err(), "{frame}");
    }
}
