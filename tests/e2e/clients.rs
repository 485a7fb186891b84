//! The data files of a run, read by clients that are not ours: each at a version that was the newest when this was written.
//!
//! Where the package index cannot be reached some are left out, never all; with `BYTEFACTS_ALL_CLIENTS=1` none may be.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{bytefacts, folder, not_tested, python, run, write_files};

const PYARROW: &str = "pyarrow==26.0.1";
const POLARS: &str = "polars==2.1.0";
/// DuckDB, which hands over Arrow.
pub const DUCKDB: [&str; 2] = ["duckdb==2.0.1", PYARROW];
/// ADBC, with what reads its answers.
pub const ADBC: [&str; 5] = ["adbc-driver-flightsql==1.13.0", "adbc-driver-manager==1.13.0", PYARROW, "pandas==3.1.1", POLARS];
/// What runs a notebook.
pub const NOTEBOOK: [&str; 3] = ["nbclient==0.11.0", "nbformat==5.11.1", "ipykernel==7.4.0"];

/// What reads Parquet, beside our own SQL.
const CLIENTS: [(&str, &[&str]); 5] = [
    ("pyarrow", &[PYARROW]),
    ("duckdb", &DUCKDB),
    ("polars", &[POLARS, PYARROW]),
    ("datafusion", &["datafusion==55.0.0", PYARROW]),
    ("fastparquet", &["fastparquet==2026.9.0", PYARROW]),
];

/// The inputs that others' bug reports have led to.
pub fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/cases")
}

/// Names of repositories that readers take for values of other types, for null, for escapes of something else, or for one another.
pub fn names() -> Vec<String> {
    const VALUES: [&str; 16] = [
        "42",
        "007",
        "1e5",
        "1_000",
        "0x1F",
        "-1",
        "2024-01-31",
        "12:30:00",
        "2024-01-31 12:30:00",
        "NaN",
        "inf",
        "true",
        "null",
        "NULL",
        "None",
        "٣",
    ];
    const FOLDERS: [&str; 18] = [
        "__HIVE_DEFAULT_PARTITION__",
        "repo=x",
        "a=b",
        "a",
        "A",
        " a",
        "..a",
        "a.",
        "a b",
        "a+b",
        "a:b",
        "a~b",
        "a%20b",
        "a%2520b",
        "%41",
        "100%",
        // One letter, in both of its spellings.
        "\u{e9}",
        "e\u{301}",
    ];
    let long = ["x".repeat(220), "x".repeat(221), "日本語".repeat(26)];
    VALUES.into_iter().chain(FOLDERS).map(str::to_owned).chain(long).collect()
}

/// A corpus of the cases and of what readers get wrong: [`names`], separators in names, a file without a repository, files that cannot be read
/// beside others that can.
pub fn corpus_of_cases() -> tempfile::TempDir {
    let corpus = folder();
    for repo in std::fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()) {
        let target = corpus.path().join(repo.file_name().unwrap());
        std::fs::create_dir_all(&target).unwrap();
        for file in std::fs::read_dir(repo).unwrap().map(|entry| entry.unwrap()) {
            std::fs::copy(file.path(), target.join(file.file_name())).unwrap();
        }
    }
    for name in names() {
        write_files(corpus.path(), &[(&format!("{name}/module.py"), format!("name = '{name}'\n").as_bytes())]);
    }
    write_files(corpus.path(), &[("loose.py", b"x = 0\n"), ("mixed/here.py", b"x = 1\n"), ("mixed/there.py", b"y = 2\n")]);
    for name in ["missing.py", "gone.py"] {
        std::os::unix::fs::symlink("nowhere.py", corpus.path().join("mixed").join(name)).unwrap();
    }
    // Three files of one name, if repository and path are joined by U+001F, and one beside them.
    write_files(corpus.path(), &[("r/a\u{1f}b.py", b"zwei = 2; f(zwei)\n"), ("r\u{1f}a/b.py", b"eins = 1\n"), ("r/quiet.py", b"x = 1\n")]);
    write_files(corpus.path(), &[("r\u{1f}a\u{1f}b.py", b"def drei(): return 3\n")]);
    corpus
}

/// The same with texts of some megabytes in a leaf: constants that are long once they are folded.
fn corpus() -> tempfile::TempDir {
    let corpus = corpus_of_cases();
    for n in 0..4 {
        let source = format!("x = ((b'\\x{:02x}' * 4096,) * 250,) * 2\n", 128 + n);
        write_files(corpus.path(), &[(&format!("large/folded_{n}.py"), source.as_bytes())]);
    }
    corpus
}

/// A Python with packages of the index, installed once into the tests' own folder; none if the index cannot be reached.
pub async fn installed(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    let ready = folder.join("ready");
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let lock = std::fs::File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let python = python().await.executable;
    let quietly = |command: &mut Command| command.stdout(Stdio::null()).status().unwrap().success();
    // What was installed for other versions is no use.
    let packages_text = packages.join("\n");
    if std::fs::read_to_string(&ready).ok().as_ref() != Some(&packages_text) {
        assert!(quietly(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder)));
        if !quietly(
            Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]).args(packages),
        ) {
            return None;
        }
        std::fs::write(ready, packages_text).unwrap();
    }
    Some(folder.join("bin/python"))
}

/// Why a client is not there.
pub const UNREACHABLE: &str = "the package index cannot be reached";

/// Says aloud what is not tested for want of a client, where that may be.
pub fn without(what: &str, reason: &str) {
    assert!(std::env::var_os("BYTEFACTS_ALL_CLIENTS").is_none(), "{what}: {reason}");
    not_tested(what, reason);
}

/// What a client says of the files.
fn ask(python: &Path, name: &str, files: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/clients.py");
    let mut command = Command::new(python);
    command.arg(script).arg(name).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(files.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `bytefacts runs` says of a run, and where its data files are.
async fn data_files(cache: &Path, facts: &Path, id: &str) -> (Value, Vec<PathBuf>) {
    let line = ["runs", "--facts", facts.to_str().unwrap(), "--run", id, "--format", "json"];
    let (code, manifest, stderr) = run(bytefacts(cache, &line).await);
    assert_eq!(code, 0, "{stderr}");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let files = manifest["files"].as_array().unwrap().iter().map(|file| facts.join(file["key"].as_str().unwrap())).collect();
    (manifest, files)
}

/// Rows of `bytefacts sql`, each as the list of its values.
async fn sql(cache: &Path, facts: &str, query: &str) -> Vec<Vec<Value>> {
    let (code, json, stderr) = run(bytefacts(cache, &["sql", "--facts", facts, "--format", "json", query]).await);
    assert_eq!(code, 0, "{query}: {stderr}");
    // An array of them, or one a line.
    let rows: Vec<Value> =
        serde_json::from_str(&json).unwrap_or_else(|_| json.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
    let names = ["a", "b", "c", "d", "e", "f"];
    rows.iter().map(|row| names.iter().filter(|_| row.is_object()).map_while(|name| row.get(*name).cloned()).collect()).collect()
}

/// What `bytefacts sql` answers to the questions of `clients.py`, but for the digest of whole rows.
async fn ours(cache: &Path, facts: &str) -> Value {
    let one = |rows: Vec<Vec<Value>>| rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    let columns = "repo AS a, path AS b, file_id AS c, file_sha256 AS d, source_bytes AS e, source_lines AS f";
    let rows = sql(cache, facts, &format!("SELECT {columns} FROM bytecode_files_v1 ORDER BY repo NULLS FIRST, path")).await;
    let no_hash = one(sql(cache, facts, "SELECT path AS a FROM bytecode_files_v1 WHERE file_sha256 IS NULL ORDER BY path").await);
    let with_hash = one(sql(cache, facts, "SELECT path AS a FROM bytecode_files_v1 WHERE file_sha256 IS NOT NULL ORDER BY path").await);
    let hashes = one(sql(cache, facts, "SELECT count(file_sha256) AS a FROM bytecode_files_v1").await);
    let nulls_first =
        one(sql(cache, facts, "SELECT path AS a FROM bytecode_files_v1 ORDER BY file_sha256 NULLS FIRST, path LIMIT 1").await);
    let null_or =
        one(sql(cache, facts, "SELECT count(*) AS a FROM bytecode_files_v1 WHERE file_sha256 IS NULL OR path = 'module.py'").await);
    let a_path = one(sql(cache, facts, "SELECT repo AS a FROM bytecode_files_v1 WHERE path = 'module.py' ORDER BY repo NULLS FIRST").await);
    let opnames = sql(cache, facts, "SELECT opname AS a, count(*) AS b FROM py_bc_instructions GROUP BY opname").await;
    let opnames = opnames.into_iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].clone())).collect::<serde_json::Map<_, _>>();
    let longest = one(sql(cache, facts, "SELECT max(character_length(argrepr)) AS a FROM py_bc_instructions").await);
    json!({
        "rows": rows,
        "no_hash": no_hash,
        "with_hash": with_hash,
        "hashes": hashes[0],
        "nulls_first": nulls_first[0],
        "null_or": null_or[0],
        "a_path": a_path,
        "opnames": opnames,
        "longest": longest[0],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_reads_what_our_sql_reads() {
    let (corpus, facts, cache) = (corpus(), folder(), folder());
    let [corpus_path, facts_path] = [corpus.path(), facts.path()].map(|path| path.display().to_string());
    let (code, _, stderr) = run(bytefacts(cache.path(), &["extract", &corpus_path, "--out", &facts_path, "--run-id", "read"]).await);
    assert_eq!(code, 0, "{stderr}");
    let (manifest, files) = data_files(cache.path(), facts.path(), "read").await;
    let files = json!({ "files": files.iter().map(|file| json!({ "path": file })).collect::<Vec<_>>() });

    let ours = ours(cache.path(), &facts_path).await;
    assert_eq!(ours["no_hash"], json!(["gone.py", "missing.py"]));
    let files_landed = ours["rows"].as_array().unwrap().len();
    assert_eq!(Some(files_landed as u64), manifest["run"]["rows"].as_u64());
    assert_eq!(ours["with_hash"].as_array().unwrap().len(), files_landed - 2);
    assert_eq!((&ours["hashes"], &ours["nulls_first"]), (&json!(files_landed - 2), &json!("gone.py")));
    // One of the cases has a module.py, too.
    let mut with_module = names();
    with_module.push("scopes".to_owned());
    with_module.sort();
    assert_eq!((&ours["a_path"], &ours["null_or"]), (&json!(with_module), &json!(with_module.len() + 2)));
    assert!(ours["longest"].as_u64().unwrap() > 8_000_000);
    let mut whole: Option<Value> = None;
    let mut asked = 0;
    for (name, packages) in CLIENTS {
        let Some(python) = installed(name, packages).await else {
            without(&format!("{name} reads our files"), UNREACHABLE);
            continue;
        };
        asked += 1;
        let answer = ask(&python, name, &files);
        for (question, answer) in answer.as_object().unwrap().iter().filter(|(_, answer)| !answer.is_null()) {
            if question == "whole" {
                assert_eq!(whole.get_or_insert_with(|| answer.clone()), answer, "{name}: whole rows");
            } else {
                assert_eq!(answer, &ours[question], "{name}: {question}");
            }
        }
        let answered: Vec<_> = answer.as_object().unwrap().iter().filter(|(_, answer)| !answer.is_null()).map(|(name, _)| name).collect();
        println!("{name} answers as we do: {answered:?}");
    }
    assert!(asked > 0, "nobody but us has read the files");
}

/// Facts are of the source and of nothing else: not of the addresses of the processes that made them, nor of how many these were, nor of the hash
/// seed of whoever started them, nor of how their program was built. (That of the workers is a part of the interpreter: CPython orders locals of inlined comprehensions by it.)
#[tokio::test(flavor = "multi_thread")]
async fn two_runs_of_the_cases_write_the_same_bytes() {
    let (corpus, cache) = (corpus(), folder());
    let large = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/large_cases");
    for file in ["quadratic/loop.py", "quadratic/sequence.py", "folding/eight.py", "folding/forty.py"] {
        write_files(corpus.path(), &[(&format!("large_cases/{file}"), &std::fs::read(large.join(file)).unwrap())]);
    }
    let other = std::env::var_os("BYTEFACTS_OTHER_BINARY");
    if other.is_none() {
        not_tested("another build writes the same bytes", "BYTEFACTS_OTHER_BINARY=PROGRAM names one, such as target/release/bytefacts");
    }
    let mut runs = vec![("1", "1", None), ("4242", "1", None), ("1", "3", None)];
    runs.extend(other.as_ref().map(|program| ("7", "2", Some(program))));
    let mut written = Vec::new();
    for (seed, executors, program) in &runs {
        let facts = folder();
        let paths = [corpus.path(), facts.path()].map(|path| path.display().to_string());
        let line = ["extract", &paths[0], "--out", &paths[1], "--no-cache", "--run-id", "same", "--executors", executors, "--jobs", "3"];
        let mut command = bytefacts(cache.path(), &line).await;
        // Which files a data file has is decided by the bins, and by default their number by the cores.
        command.env("PYTHONHASHSEED", seed).env("BYTEFACTS_BINS__COUNT", "6");
        if let Some(program) = program {
            let ours = std::mem::replace(&mut command, Command::new(program));
            command.args(ours.get_args()).env_remove("BYTEFACTS_CONFIG");
            command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        }
        let (code, _, stderr) = run(command);
        assert_eq!(code, 0, "{stderr}");
        let mut files: Vec<Vec<u8>> =
            data_files(cache.path(), facts.path(), "same").await.1.iter().map(|file| std::fs::read(file).unwrap()).collect();
        files.sort();
        written.push(files);
    }
    assert!(written[0].iter().map(Vec::len).sum::<usize>() > 100_000);
    assert!(written[0].len() > 3, "{} data files: three executors have nothing to share", written[0].len());
    for (run, bytes) in runs.iter().zip(&written) {
        assert!(*bytes == written[0], "the bytes of this run (seed, executors, program) are others: {run:?}");
    }
}
