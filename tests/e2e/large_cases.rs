//! Small sources with large facts, of others' bug reports: analyses hung at them, or took all memory. Here each has the facts that CPython has, or
//! one error that says what is left out; time and memory stay within bounds; and the file beside them is as it would be without them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{DUCKDB, UNREACHABLE, cases, installed, without};
use crate::support::{bytefacts, folder, not_tested, query_text, run, write_files};

/// The most resident memory that the job may take. What is limited is facts: at 512 MiB a file, of which there are some copies on the way.
const MOST_BYTES: u64 = 3 << 30;

/// The most of it for a few bytes of source that become one constant of 16.7 million characters.
const MOST_BYTES_OF_ONE_CONSTANT: u64 = 1 << 30;

/// What CPython 3.13 says: path, code objects, instructions, `EXTENDED_ARG`s among them, bytes of code, the deepest stack.
const QUADRATIC: [[&str; 6]; 2] = [["loop.py", "2", "19764", "1747", "83546", "3"], ["sequence.py", "2", "19755", "1745", "83510", "3"]];

/// The most resident memory that a process has had, in bytes; none of one that is gone.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// The summary of a job that ends well, and the most resident memory that it has had, in bytes.
async fn extract_watched(corpus: &Path, facts: &Path, home: &Path, oracle: &str) -> (Value, u64) {
    let paths = [corpus, facts].map(|path| path.display().to_string());
    let line = ["extract", &paths[0], "--out", &paths[1], "--no-cache", "--jobs", "1", "--oracle", oracle, "--format", "json"];
    let (stdout, taken) = watched(bytefacts(home, &line).await).await;
    (serde_json::from_slice(&stdout).unwrap(), taken)
}

/// What a command says that ends well, and the most resident memory that it has had, in bytes.
async fn watched(mut command: Command) -> (Vec<u8>, u64) {
    let mut job = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut taken = 0;
    while job.try_wait().unwrap().is_none() {
        taken = taken.max(peak(job.id()).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = job.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    (output.stdout, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_left_out_and_said_and_all_else_is_right() {
    let (corpus, facts, home) = (folder(), folder(), folder());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/large_cases");
    for file in ["quadratic/loop.py", "quadratic/sequence.py", "folding/eight.py", "folding/forty.py"] {
        write_files(corpus.path(), &[(file, &std::fs::read(cases.join(file)).unwrap())]);
    }
    write_files(corpus.path(), &[("folding/beside.py", b"x = 1\n")]);
    let (summary, taken) = extract_watched(corpus.path(), facts.path(), home.path(), "1").await;
    assert!(taken < MOST_BYTES, "it took {taken} bytes");
    assert_eq!(summary["oracle"], json!({ "files": 3, "differences": 0, "not_judged": 0 }), "all that have facts");

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

/// Wherever the text is on its way, there are some copies of it and not dozens: the row, what is encoded, what the judge compares it with.
#[tokio::test(flavor = "multi_thread")]
async fn a_few_bytes_that_fold_to_one_long_constant_have_all_their_facts_in_less_than_a_gigabyte() {
    let (corpus, home) = (folder(), folder());
    write_files(corpus.path(), &[("folding/small.py", &std::fs::read(cases().join("folding/small.py")).unwrap())]);
    for (oracle, judged) in [("0", Value::Null), ("1", json!({ "files": 1, "differences": 0, "not_judged": 0 }))] {
        let facts = folder();
        let (summary, taken) = extract_watched(corpus.path(), facts.path(), home.path(), oracle).await;
        assert!((1..MOST_BYTES_OF_ONE_CONSTANT).contains(&taken), "--oracle {oracle}: it took {taken} bytes");
        assert_eq!(summary["oracle"], judged);
        // Nothing is left out: four tuples, in each of which there are 255 times 4,096 bytes that CPython writes with four characters each.
        assert_eq!(query_text(facts.path(), "SELECT count(*) FROM bytecode_errors").await, [["0"]]);
        let constants = "SELECT const_type, character_length(const_repr) FROM py_bc_consts ORDER BY const_index";
        assert_eq!(query_text(facts.path(), constants).await, [["tuple", "16716788"], ["none", "4"]]);
        let instructions = "SELECT opname, character_length(argrepr) FROM py_bc_instructions ORDER BY instr_index";
        let expected = [["RESUME", "0"], ["LOAD_CONST", "16716788"], ["STORE_NAME", "1"], ["RETURN_CONST", "4"]];
        assert_eq!(query_text(facts.path(), instructions).await, expected);
        assert_eq!(query_text(facts.path(), "SELECT code_len, stacksize FROM py_bc_code_units").await, [["8", "1"]]);
    }
}

/// How long the text of one of the constants is: four tuples of 255 times 4,096 bytes, whatever the byte, each written with four characters.
const LONG: u64 = 16_716_788;

/// What pyarrow and DuckDB say of data files: the largest leaf of a file as the footer has it, how many rows pyarrow reads, a file as a whole, the
/// longest `argrepr` by DuckDB. A nested column that takes more than 2 GiB in a whole file pyarrow 26 does not read, however it is cut into row groups
/// (`Nested data conversions not implemented for chunked array outputs`).
const READ_BY_OTHERS: &str = "
import json, sys
import duckdb, pyarrow.parquet as pq
largest = rows = 0
for path in sys.argv[1:]:
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(nth) for nth in range(metadata.num_row_groups)]
    sizes = [sum(group.column(leaf).total_uncompressed_size for group in groups) for leaf in range(metadata.num_columns)]
    largest = max(largest, *sizes)
    rows += pq.read_table(path, columns=['code_objects']).num_rows
longest = 'SELECT max(len(i.argrepr)) FROM (SELECT unnest(c.instructions) AS i FROM (SELECT unnest(code_objects) AS c FROM read_parquet(?)))'
print(json.dumps([largest, rows, duckdb.connect().execute(longest, [sys.argv[1:]]).fetchone()[0]]))
";

/// More than 2 GiB of text in each of several leaves of one bin: a reader holds a leaf of a row group in offsets of 31 bits. It takes minutes, and
/// pyarrow some gigabytes of memory: `BYTEFACTS_LARGE=1` runs it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bin_of_more_than_two_gigabytes_in_a_leaf_is_read_by_everybody() {
    const FILES: u64 = 26;
    const CONSTANTS: u64 = 5;
    const { assert!(FILES * CONSTANTS * LONG > 1 << 31) };
    if std::env::var_os("BYTEFACTS_LARGE").is_none() {
        return not_tested("leaves of more than 2 GiB", "BYTEFACTS_LARGE=1 says so");
    }
    let (corpus, facts, home) = (folder(), folder(), folder());
    for file in 0..FILES {
        let constant = |n| format!("x{n} = ((b'\\x{:02x}' * 4096,) * 255,) * 4\n", 128 + file);
        let source: String = (0..CONSTANTS).map(constant).collect();
        write_files(corpus.path(), &[(&format!("large/folded_{file:03}.py"), source.as_bytes())]);
    }
    let paths = [corpus.path(), facts.path()].map(|path| path.display().to_string());
    let begun = Instant::now();
    let took = |what: &str, taken: u64| {
        println!("{what}: {:.0} s since the beginning, {} MiB at most", begun.elapsed().as_secs_f64(), taken >> 20)
    };

    let line = ["extract", &paths[0], "--out", &paths[1], "--no-cache", "--jobs", "1", "--run-id", "large"];
    let mut job = bytefacts(home.path(), &line).await;
    job.env("BYTEFACTS_BINS__COUNT", "1");
    took("extract", watched(job).await.1);
    let constants = "SELECT count(*) AS n, max(character_length(argrepr)) AS longest, sum(character_length(argrepr)) AS characters
        FROM py_bc_instructions WHERE opname = 'LOAD_CONST'";
    let (said, taken) = watched(bytefacts(home.path(), &["sql", "--facts", &paths[1], "--format", "csv", constants]).await).await;
    let n = FILES * CONSTANTS;
    assert_eq!(String::from_utf8(said).unwrap(), format!("n,longest,characters\n{n},{LONG},{}\n", n * LONG));
    took("sql", taken);
    let (said, taken) = watched(bytefacts(home.path(), &["validate", "--facts", &paths[1]]).await).await;
    assert!(String::from_utf8(said).unwrap().contains("clean: "));
    took("validate", taken);

    let (code, manifest, stderr) = run(bytefacts(home.path(), &["runs", "--facts", &paths[1], "--run", "large", "--format", "json"]).await);
    assert_eq!(code, 0, "{stderr}");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!((&manifest["run"]["bins"], &manifest["run"]["rows"]), (&json!(1), &json!(FILES)));
    let files = manifest["files"].as_array().unwrap().iter().map(|file| facts.path().join(file["key"].as_str().unwrap()));
    let Some(python) = installed("duckdb", &DUCKDB).await else {
        return without("others read leaves of more than 2 GiB", UNREACHABLE);
    };
    let mut others = Command::new(python);
    others.args(["-c", READ_BY_OTHERS]).args(files);
    let (said, taken) = watched(others).await;
    took("pyarrow and DuckDB", taken);
    let [largest, rows, longest] = serde_json::from_slice::<[u64; 3]>(&said).unwrap();
    println!("the largest leaf of a file has {largest} bytes");
    assert!((1 << 29..1 << 31).contains(&largest), "{largest}");
    assert_eq!((rows, longest), (FILES, LONG));
}
