//! Small sources with large facts, of others' bug reports: analyses hung at them, or took all memory. Here each has the facts that CPython has, or
//! one error that says what is left out; time and memory stay within bounds; and the file beside them is as it would be without them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{bytefacts, folder, query_text, write_files};

/// The most resident memory that the job may take. What is limited is facts: at 512 MiB a file, of which there are some copies on the way.
const MOST_BYTES: u64 = 3 << 30;

/// What CPython 3.13 says: path, code objects, instructions, `EXTENDED_ARG`s among them, bytes of code, the deepest stack.
const QUADRATIC: [[&str; 6]; 2] = [["loop.py", "2", "19764", "1747", "83546", "3"], ["sequence.py", "2", "19755", "1745", "83510", "3"]];

/// The most resident memory that a process has had, in bytes; none of one that is gone.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_left_out_and_said_and_all_else_is_right() {
    let (corpus, facts, home) = (folder(), folder(), folder());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/large_cases");
    for file in ["quadratic/loop.py", "quadratic/sequence.py", "folding/eight.py", "folding/forty.py"] {
        write_files(corpus.path(), &[(file, &std::fs::read(cases.join(file)).unwrap())]);
    }
    write_files(corpus.path(), &[("folding/beside.py", b"x = 1\n")]);
    let paths = [corpus.path(), facts.path()].map(|path| path.display().to_string());
    let line = ["extract", &paths[0], "--out", &paths[1], "--no-cache", "--jobs", "1", "--oracle", "1", "--format", "json"];
    let mut job = bytefacts(home.path(), &line).await.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut taken = 0;
    while job.try_wait().unwrap().is_none() {
        taken = taken.max(peak(job.id()).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = job.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(taken < MOST_BYTES, "it took {taken} bytes");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["oracle"], serde_json::json!({ "files": 3, "differences": 0, "not_judged": 0 }), "all that have facts");

    let errors = query_text(facts.path(), "SELECT path, stage, error_type FROM bytecode_errors ORDER BY path").await;
    let expected = [
        ["eight.py", "disassembly", "FactsTooLarge"],
        ["forty.py", "disassembly", "FactsTooLarge"],
        ["loop.py", "stack_effect", "EdgeLimit"],
        ["sequence.py", "stack_effect", "EdgeLimit"],
    ];
    assert_eq!(errors, expected);
    let beside = "SELECT path, opname FROM py_bc_instructions WHERE repo = 'folding' ORDER BY instr_index";
    let beside = query_text(facts.path(), beside).await;
    assert_eq!(beside, ["RESUME", "LOAD_CONST", "STORE_NAME", "RETURN_CONST"].map(|opname| ["beside.py", opname]));

    let units = "SELECT path, count(*) AS units, sum(code_len) AS bytes, max(stacksize) AS stack FROM py_bc_code_units GROUP BY path";
    let instructions = "SELECT path, count(*) AS instructions, count(*) FILTER (WHERE opname = 'EXTENDED_ARG') AS extended
        FROM py_bc_instructions GROUP BY path";
    let sizes = format!(
        "SELECT u.path, units, instructions, extended, bytes, stack FROM ({units}) AS u JOIN ({instructions}) AS i ON u.path = i.path
         WHERE u.path <> 'beside.py' ORDER BY u.path"
    );
    assert_eq!(query_text(facts.path(), &sizes).await, QUADRATIC);
    // A use behind all these branches is reached through the points where they meet, by every definition.
    let reached = "SELECT path, max(definitions) > 1600 FROM (
            SELECT path, use_instr_index, count(*) AS definitions FROM py_bc_reaches WHERE symbol = 'b' GROUP BY path, use_instr_index
        ) GROUP BY path ORDER BY path";
    assert_eq!(query_text(facts.path(), reached).await, [["loop.py", "true"], ["sequence.py", "true"]]);
    assert_eq!(query_text(facts.path(), "SELECT 1 FROM py_bc_reaches LIMIT 10").await.len(), 10);
}
