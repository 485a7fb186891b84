//! What is drawn of code that CPython 3.13 compiled (`../dis/tests/make.py`).

use bytefacts_bytecode::Unit;
use bytefacts_graph::{dot, svg};
use insta::assert_snapshot;

use super::*;

const SAMPLE: &[u8] = include_bytes!("../dis/tests/sample.marshal");
const SOURCE: &[u8] = include_bytes!("../dis/tests/sample.py");

fn picture(unit: &Unit<'_>, data_flow: bool, max_blocks: usize) -> anyhow::Result<bytefacts_graph::Graph> {
    let source = Source::new(SOURCE);
    picture::of(unit, &picture::Shown { path: "sample.py", source: &source, made_by: "CPython 3.13.0", data_flow, max_blocks })
}

fn named(name: &str, data_flow: bool) -> String {
    let module = marshal::read_code(SAMPLE).unwrap();
    let units = units(&module);
    let unit = units.iter().find(|unit| unit.code.qualname.to_text() == name).unwrap();
    dot(&picture(unit, data_flow, 100).unwrap())
}

#[test]
fn a_generator_with_handlers_and_its_data_flow() {
    assert_snapshot!(named("Stack.drain", true));
}

#[test]
fn a_coroutine() {
    assert_snapshot!(named("main", false));
}

#[test]
fn every_unit_can_be_drawn() {
    let module = marshal::read_code(SAMPLE).unwrap();
    for unit in &units(&module) {
        let graph = picture(unit, true, 100).unwrap();
        assert!(svg(&graph).ends_with("</svg>\n"), "{}", unit.qualpath);
    }
}

#[test]
fn a_picture_that_nobody_can_read_is_refused_with_the_number_of_its_blocks() {
    let module = marshal::read_code(SAMPLE).unwrap();
    let units = units(&module);
    let drain = units.iter().find(|unit| unit.code.qualname.to_text() == "Stack.drain").unwrap();
    let error = picture(drain, false, 5).unwrap_err();
    assert!(error.downcast_ref::<UsageError>().is_some());
    let blocks = error.to_string().rsplit(' ').next().unwrap().parse::<usize>().unwrap();
    assert!(picture(drain, false, blocks - 1).is_err() && picture(drain, false, blocks).is_ok());
}

#[test]
fn a_file_that_promises_another_format_is_refused() {
    for (out, option, format) in [("x.png", "--svg", "svg"), ("x", "--svg", "svg"), ("x.dot", "--svg", "svg"), ("x.svg", "--dot", "dot")] {
        let error = check_extension(Some(Path::new(out)), option, format).unwrap_err().to_string();
        assert!(error.starts_with(option) && error.contains(&format!("name it x.{format}")), "{error}");
    }
    for (out, format) in [("x.svg", "svg"), ("a.b/x.SVG", "svg"), ("-", "svg"), ("x.dot", "dot"), ("x.gv", "dot"), ("-", "dot")] {
        assert!(check_extension(Some(Path::new(out)), "--x", format).is_ok(), "{out}");
    }
    assert!(check_extension(None, "--svg", "svg").is_ok());
}
