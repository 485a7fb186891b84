//! The chart: `tests/helm/run` renders and judges it, and says what it left out for want of a tool.

use std::path::Path;
use std::process::Command;

use crate::support::{not_tested, python};

#[tokio::test]
async fn the_chart_renders_keeps_its_policies_and_refuses_what_contradicts_itself() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/helm/run");
    let mut command = Command::new(python().await.executable);
    let output = command.arg(script).args(["--binary", env!("CARGO_BIN_EXE_bytefacts")]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines() {
        if let Some(what) = line.strip_prefix("NOT TESTED: ") {
            not_tested("the chart", what);
        }
    }
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
