//! Listings of a sample that CPython 3.13 compiled (`tests/make.py`), and of code that no compiler writes.

use bytefacts_bytecode::{Code, Const, PyStr};
use insta::assert_snapshot;

use bytefacts_compile::Diagnostic;

use super::*;

const SAMPLE: &[u8] = include_bytes!("tests/sample.marshal");
const SOURCE: &[u8] = include_bytes!("tests/sample.py");
const PLAIN: Paint = Paint { colour: false };

fn show(unit: Option<&str>, caches: bool, positions: bool, paint: Paint) -> String {
    let module = marshal::read_code(SAMPLE).unwrap();
    let units = units(&module);
    let source = Source::new(SOURCE);
    let shown = Shown { path: "sample.py", source: &source, caches, positions, paint };
    chosen(&units, unit).unwrap().into_iter().map(|unit| unit::header(unit, paint) + &listing::listing(unit.code, &shown)).collect()
}

#[test]
fn a_file_is_listed_unit_by_unit() {
    assert_snapshot!(show(None, false, false, PLAIN));
}

#[test]
fn caches_and_positions_are_shown_on_demand() {
    assert_snapshot!(show(Some("Stack.__init__"), true, true, PLAIN));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let coloured = show(None, true, true, Paint { colour: true });
    assert!(coloured.contains("\u{1b}["));
    // No escape of the source gets through: all that is left when styles are taken out is the plain listing.
    let mut stripped = String::new();
    for part in coloured.split('\u{1b}') {
        stripped.push_str(part.strip_prefix('[').and_then(|rest| rest.split_once('m')).map_or(part, |(_, text)| text));
    }
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(trimmed(&stripped), trimmed(&show(None, true, true, PLAIN)));
}

#[test]
fn a_unit_is_chosen_by_name_with_all_inside_it() {
    let module = marshal::read_code(SAMPLE).unwrap();
    let units = units(&module);
    let names = |name: &str| -> Vec<String> {
        chosen(&units, Some(name)).unwrap().iter().map(|unit| unit.code.qualname.to_text().into_owned()).collect()
    };
    let drain = ["Stack.drain", "Stack.drain.<locals>.<lambda>"];
    assert_eq!(names("Stack.drain"), drain);
    assert_eq!(names("<module>.Stack@6.drain@10"), drain);
    assert_eq!(names("Stack.drain.<lambda>"), drain[1..]);
    assert_eq!(names("<module>").len(), units.len());
    let error = chosen(&units, Some("drain")).unwrap_err().to_string();
    assert!(error.contains("Stack.drain") && error.starts_with("no unit is called drain"), "{error}");
}

fn code(bytes: Vec<u8>, consts: Vec<Const>) -> Code {
    let mut code = marshal::read_code(SAMPLE).unwrap();
    code.code = bytes;
    code.consts = consts;
    code.linetable = Vec::new();
    code.exceptiontable = Vec::new();
    code
}

#[test]
fn a_long_argument_has_its_prefix_and_a_long_constant_is_cut() {
    use bytefacts_bytecode::opcode::op;
    let mut consts = vec![Const::None; 256];
    consts.push(Const::Str(PyStr::new(&[b'x'; 5_000]).unwrap()));
    // One location entry without a position covers the three code units.
    let mut code = code(vec![op::EXTENDED_ARG, 1, op::LOAD_CONST, 0, op::RETURN_VALUE, 0], consts);
    code.linetable = vec![0x80 | 15 << 3 | 2];
    let source = Source::new(b"");
    let text = listing::listing(&code, &Shown { path: "x", source: &source, caches: false, positions: false, paint: PLAIN });
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[2].contains("EXTENDED_ARG") && lines[2].ends_with(" 1"), "{text}");
    assert!(lines[3].contains("LOAD_CONST") && lines[3].contains("256  'xxx") && lines[3].ends_with('…'), "{text}");
    assert!(text.len() < 1_000);
}

#[test]
fn damaged_code_is_an_error_and_no_panic() {
    let source = Source::new(b"");
    let shown = Shown { path: "x", source: &source, caches: true, positions: true, paint: PLAIN };
    let text = listing::listing(&code(vec![100], Vec::new()), &shown);
    assert!(text.contains("error: "), "{text}");
}

#[test]
fn a_diagnostic_points_at_its_place() {
    let diagnostic = |source_line: &str, col, end_col| Diagnostic {
        stage: "compile".to_owned(),
        severity: bytefacts_compile::Severity::Error,
        error_type: "SyntaxError".to_owned(),
        message: "invalid syntax".to_owned(),
        line1: Some(3),
        col,
        end_line1: Some(3),
        end_col,
        source_line: Some(source_line.to_owned()),
    };
    let show = |source_line: &str, col, end_col| diagnostic::render(&diagnostic(source_line, col, end_col), "bad.py", PLAIN);
    let expected = "bad.py:3:5: error[compile]: SyntaxError: invalid syntax\n     3 │ x = == 1\n       │     ^^\n";
    assert_eq!(show("x = == 1", Some(4), Some(6)), expected);
    // A tab is four columns wide here, and a wide character two.
    assert!(show("\t漢 = = 1", Some(5), Some(6)).ends_with("│     漢 = = 1\n       │          ^\n"));
    // Behind the end of the line.
    assert!(show("x = (", Some(5), None).ends_with("│ x = (\n       │      ^\n"));
    // Only the place that matters of a long line.
    let long = show(&format!("{}!{}", "a".repeat(1_000), "b".repeat(1_000)), Some(1_000), Some(1_001));
    let lines: Vec<_> = long.lines().collect();
    let column = |line: &str, what: char| line.chars().position(|c| c == what);
    assert_eq!(column(lines[1], '!'), column(lines[2], '^'), "{long}");
    assert!(long.len() < 500);
    // Without a place there is only the message.
    let nowhere = Diagnostic { line1: None, col: None, source_line: None, ..diagnostic("", None, None) };
    assert_eq!(diagnostic::render(&nowhere, "bad.py", PLAIN), "bad.py: error[compile]: SyntaxError: invalid syntax\n");
}

#[test]
fn the_json_row_is_one_object_with_all_columns() {
    let interpreter = Interpreter {
        executable: "python3.13".into(),
        version: "3.13.0".to_owned(),
        magic: "f30d0d0a".to_owned(),
        implementation: "cpython".to_owned(),
        stdlib: "lib".into(),
    };
    let compiled = Compiled { outcome: Outcome::Code(Bytes::from_static(SAMPLE)), warnings: Vec::new(), cpu: std::time::Duration::ZERO };
    let text = row("sample.py", SOURCE, compiled, &interpreter, CompileOptions::default()).unwrap();
    assert_eq!(text.lines().count(), 1);
    let row: serde_json::Value = serde_json::from_str(&text).unwrap();
    let columns: Vec<_> = bytefacts_facts::schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(row.as_object().unwrap().keys().cloned().collect::<Vec<_>>(), columns);
    assert_eq!(row["path"], "sample.py");
    assert_eq!(row["repo"], serde_json::Value::Null);
    assert_eq!(row["attrs"]["python_version"], "3.13.0");
    assert_eq!(row["code_objects"][0]["qualname"], "<module>");
}
