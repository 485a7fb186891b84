//! What docs/sql.md and the notebook tell others to run, run as it stands there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::clients::{ADBC, DUCKDB, NOTEBOOK, UNREACHABLE, installed, without};
use crate::service::Service;
use crate::support::{bytefacts, folder, query_text};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The code block of docs/sql.md that begins so.
fn block(language: &str, beginning: &str) -> String {
    let text = std::fs::read_to_string(repository("docs/sql.md")).unwrap();
    let fence = format!("```{language}\n{beginning}");
    let (_, rest) = text.split_once(&fence).unwrap_or_else(|| panic!("docs/sql.md has no block {beginning}"));
    format!("{beginning}{}", rest.split_once("```").unwrap().0)
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_reads_the_files_of_a_run_by_their_list() {
    let Some(python) = installed("duckdb", &DUCKDB).await else {
        return without("DuckDB reads a run", UNREACHABLE);
    };
    let (service, home) = (Service::start(&[], "").await, folder());
    // What an attempt has left that lost must not be read.
    let facts = service.facts.path();
    let landed = facts.join("bytecode_files_v1/landed=run-1");
    let one = std::fs::read_dir(&landed).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&one, landed.join("left-behind.parquet")).unwrap();
    std::fs::write(home.path().join("ask.py"), block("python", "# duckdb")).unwrap();
    let program = bytefacts(home.path(), &[]).await;
    let place = Path::new(program.get_program()).parent().unwrap().to_owned();
    let path = std::env::join_paths([place].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap()))).unwrap();
    let output = Command::new(python).arg(home.path().join("ask.py")).env("PATH", path).env("FACTS", facts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = query_text(facts, "SELECT unit_kind, count(*) FROM py_bc_code_units GROUP BY unit_kind ORDER BY unit_kind").await;
    let expected: Vec<_> = counts.iter().map(|row| format!("('{}', {})", row[0], row[1])).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("[{}]", expected.join(", ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notebook_runs() {
    let Some(python) = installed("notebook", &[&NOTEBOOK[..], &ADBC].concat()).await else {
        return without("the notebook runs", UNREACHABLE);
    };
    let service = Service::start(&[], "").await;
    service.commit("second", "x = eval('1')\n").await;
    let home = folder();
    let mut command = Command::new(python);
    command.arg(repository("tests/e2e/notebook.py")).arg(repository("docs/facts.ipynb"));
    command.env("BYTEFACTS_SERVER", format!("grpc://{}", service.daemon.address)).env("IPYTHONDIR", home.path());
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Vec<String> = serde_json::from_slice::<Value>(&output.stdout)
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    let [runs, opcodes, calls, _handlers, changes] = &shown[..] else { panic!("{shown:?}") };
    assert!(runs.contains("run-1") && runs.contains("second"), "{runs}");
    assert!(opcodes.contains("RESUME") && opcodes.contains("share"), "{opcodes}");
    assert!(calls.contains("eval"), "{calls}");
    assert!(changes.contains("added") && changes.contains("removed"), "{changes}");
}
