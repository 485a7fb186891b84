//! The binary as its users meet it: output, exit codes, messages.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{bytefacts, folder, python, run, small_corpus, write_files};

async fn extracted(root: &Path) -> String {
    let corpus = small_corpus();
    let facts = root.join("facts").to_str().unwrap().to_owned();
    let (code, _, stderr) = run(bytefacts(root, &["extract", corpus.path().to_str().unwrap(), "--out", &facts, "--run-id", "one"]).await);
    assert_eq!(code, 0, "{stderr}");
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn extract_sums_up_for_people_and_for_programs() {
    let (root, corpus) = (folder(), small_corpus());
    let facts = root.path().join("facts");
    let args = ["extract", corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap(), "--format", "json", "--progress", "always"];
    let (code, stdout, stderr) = run(bytefacts(root.path(), &args).await);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((summary["files"].as_u64(), summary["repositories"].as_u64()), (Some(38), Some(4)));
    assert_eq!(summary["errors"][0]["error_type"], "SyntaxError");
    assert_eq!(summary["current"], true);
    assert!(summary["instructions"].as_u64().unwrap() > 1000 && summary["cpu_seconds"].as_f64().unwrap() > 0.0, "{stdout}");
    assert!(stderr.contains("38/38 files"), "progress was asked for: {stderr}");

    // Again, for people: everything is in the cache, and nothing is drawn where nobody looks.
    let (code, stdout, stderr) = run(bytefacts(root.path(), &args[..4]).await);
    assert_eq!((code, stderr.lines().count()), (0, 1), "the run and nothing else: {stderr}");
    assert!(stdout.contains("38 of 38 files") && stdout.contains("1 × SyntaxError (error, stage compile)"), "{stdout}");
}

/// The second pod of a Job whose first one died after the commit asks for what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_committed_run_that_is_asked_for_once_more_answers_as_before_and_does_nothing() {
    let (root, corpus) = (folder(), small_corpus());
    let (place, facts) = (corpus.path().to_str().unwrap(), root.path().join("facts").to_str().unwrap().to_owned());
    let extract = async |more: &[&str]| {
        let args = ["extract", place, "--out", &facts, "--run-id", "one", "--format", "json"];
        run(bytefacts(root.path(), &[&args[..], more].concat()).await)
    };
    let all_files = || walk(Path::new(&facts));
    // Findings are findings the second time too.
    let (code, stdout, stderr) = extract(&["--fail-on", "error"]).await;
    assert_eq!(code, 3, "{stderr}");
    let (first, files): (Value, _) = (serde_json::from_str(&stdout).unwrap(), all_files());
    // How work is dealt out is no other question.
    let (code, stdout, stderr) = extract(&["--fail-on", "error", "--jobs", "1", "--executors", "1"]).await;
    assert_eq!((code, stderr.lines().count()), (3, 1), "{stderr}");
    assert!(stderr.contains("run one has been committed to") && stderr.contains("nothing is left to do"), "{stderr}");
    let second: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&first["committed_before"], &second["committed_before"]), (&Value::Bool(false), &Value::Bool(true)));
    for same in ["run", "digest", "corpus", "repository", "current", "files", "units", "errors", "data_bytes", "python"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    assert_eq!(extract(&[]).await.0, 0);
    let (code, stdout, _) = run(bytefacts(root.path(), &["extract", "--resume", "one", "--out", &facts]).await);
    assert!(code == 0 && stdout.contains("was committed before; nothing was done"), "{stdout}");

    for (other, what) in
        [(&["--optimize", "2"][..], "another optimize:"), (&["--repo", "x", "--oracle", "1"][..], "another repository, oracle:")]
    {
        let (code, _, stderr) = extract(other).await;
        assert!(code == 2 && stderr.contains(what), "{other:?}: {stderr}");
    }
    assert_eq!(all_files(), files, "what is committed was not touched, and nothing was added");
}

/// Every file below a folder, with its size, in order.
fn walk(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push((path.clone(), path.metadata().unwrap().len()));
        }
    }
    found.sort();
    found
}

/// `cargo run` becomes the program by `exec`, so that the time of its compilers is that of children of the program.
#[tokio::test(flavor = "multi_thread")]
async fn the_cpu_time_of_a_job_is_its_own() {
    let (root, corpus) = (folder(), small_corpus());
    let facts = root.path().join("facts");
    let extract =
        bytefacts(root.path(), &["extract", corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap(), "--format", "json"]).await;
    // A child that uses five seconds, as the system counts them.
    let script = r#"(ulimit -t 5; while :; do :; done) 2>/dev/null; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(extract.get_program()).args(extract.get_args());
    command.envs(extract.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    let cpu = summary["cpu_seconds"].as_f64().unwrap();
    assert!(cpu > 0.0 && cpu < 5.0, "{cpu} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_lists_runs_and_their_files() {
    let root = folder();
    let facts = extracted(root.path()).await;
    let (code, stdout, _) = run(bytefacts(root.path(), &["runs", "--facts", &facts, "--format", "json"]).await);
    assert_eq!(code, 0);
    let runs: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(runs.as_array().map(Vec::len), Some(1));
    assert!(stdout.contains("\"one\"") && stdout.contains("bytecode_files_v1/landed=one/"), "{stdout}");
    let (code, stdout, _) = run(bytefacts(root.path(), &["runs", "--facts", &facts]).await);
    assert_eq!(code, 0);
    assert!(stdout.contains("one"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_answers_as_table_csv_and_json() {
    let root = folder();
    let facts = extracted(root.path()).await;
    let sql = "SELECT repo, count(*) AS files FROM bytecode_files_v1 GROUP BY repo ORDER BY repo NULLS FIRST";
    let (code, csv, stderr) = run(bytefacts(root.path(), &["sql", "--facts", &facts, "--format", "csv", sql]).await);
    assert_eq!((code, csv.as_str()), (0, "repo,files\n,1\na,12\nb,13\nc d,12\n"), "{stderr}");
    let (_, json, _) = run(bytefacts(root.path(), &["sql", "--facts", &facts, "--format", "json", sql]).await);
    let rows: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[1], serde_json::json!({ "repo": "a", "files": 12 }));
    let (_, table, _) = run(bytefacts(root.path(), &["sql", "--facts", &facts, sql]).await);
    assert!(table.contains(" c d  |    12"), "{table}");
    let (code, tables, _) = run(bytefacts(root.path(), &["sql", "--facts", &facts, "SHOW TABLES"]).await);
    assert!(code == 0 && tables.contains("py_bc_instructions") && tables.contains("columns"), "{tables}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong_and_set_the_exit_code() {
    let root = folder();
    let facts = extracted(root.path()).await;
    write_files(root.path(), &[("settings.yaml", b"embedded:\n  executers: 3\n"), ("a file", b"")]);
    let settings = root.path().join("settings.yaml").to_str().unwrap().to_owned();
    let (file, nowhere) =
        (root.path().join("a file").to_str().unwrap().to_owned(), root.path().join("nowhere").to_str().unwrap().to_owned());
    let cases: [(&[&str], i32, &str); 9] = [
        (&["sql", "--facts", &facts, "SELECT nonsense FROM bytecode_files_v1"], 1, "nonsense"),
        (&["sql", "--facts", &nowhere, "SELECT 1 FROM bytecode_files_v1"], 1, "nowhere"),
        (&["extract", ".", "--out", &format!("{file}/facts")], 1, "cannot write facts to"),
        (&["extract", ".", "--out", &facts, "--run-id", "../x"], 2, "--run-id"),
        (&["extract", ".", "--out", &facts, "--run-id", "one"], 2, "has been committed"),
        (&["extract", ".", "--out", &facts, "--config", &settings], 2, "executers"),
        (&["extract", ".", "--out", "ftp://host/facts"], 2, "ftp"),
        (&["extract", ".", "--out", &facts, "--optimize", "3"], 2, "--optimize"),
        (&["extract", ".", "--out", &facts, "--python", &file], 1, "a file"),
    ];
    for (args, expected, message) in cases {
        let (code, _, stderr) = run(bytefacts(root.path(), args).await);
        assert_eq!(code, expected, "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_interpreter_the_ways_to_get_one_are_told() {
    let root = folder();
    let mut command = bytefacts(root.path(), &["extract", ".", "--out", root.path().to_str().unwrap()]).await;
    command.env_clear().env("HOME", root.path()).env("PATH", root.path());
    let (code, _, stderr) = run(command);
    assert_eq!(code, 1);
    for way in ["bytefacts python install", "--python", "BYTEFACTS_PYTHON"] {
        assert!(stderr.contains(way), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dis_prints_the_facts_of_one_file() {
    let root = folder();
    write_files(root.path(), &[("m.py", b"def f(a):\n    for x in a:\n        yield x + 1\n"), ("bad.py", b"x = (\n")]);
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (code, stdout, stderr) = run(bytefacts(root.path(), &["dis", &path("m.py")]).await);
    assert_eq!(code, 0, "{stderr}");
    for part in ["FOR_ITER", "yield x + 1", "STOPITERATION"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert!(!stdout.contains('\x1b'), "no colour where there is no terminal");
    let (code, stdout, _) = run(bytefacts(root.path(), &["dis", &path("m.py"), "--format", "json"]).await);
    let row: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, row["code_objects"].as_array().or_else(|| row[0]["code_objects"].as_array()).map(Vec::len)), (0, Some(2)));
    let (code, stdout, stderr) = run(bytefacts(root.path(), &["dis", &path("bad.py")]).await);
    assert_eq!(code, 1);
    assert!(format!("{stdout}{stderr}").contains("was never closed"), "{stdout}{stderr}");
}

/// Runs go on a word only; what only they name goes after the grace period, what others name stays.
#[tokio::test(flavor = "multi_thread")]
async fn gc_lets_runs_go_by_rules_and_on_a_word_only() {
    let (root, corpus) = (folder(), small_corpus());
    let facts = root.path().join("facts").to_str().unwrap().to_owned();
    for (run_id, source) in [("one", "a = 1\n"), ("two", "a = 2\n"), ("three", "a = 3\n")] {
        write_files(corpus.path(), &[("a/changing.py", source.as_bytes())]);
        let args = ["extract", corpus.path().to_str().unwrap(), "--out", &facts, "--run-id", run_id];
        let (code, _, stderr) = run(bytefacts(root.path(), &args).await);
        assert_eq!(code, 0, "{stderr}");
    }
    let gc = async |more: &[&str]| run(bytefacts(root.path(), &[&["gc", "--facts", &facts], more].concat()).await);
    let listed = async || {
        let (_, stdout, _) = run(bytefacts(root.path(), &["runs", "--facts", &facts, "--format", "json"]).await);
        let runs: Value = serde_json::from_str(&stdout).unwrap();
        runs.as_array().unwrap().iter().map(|run| run["run"]["run_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let (code, stdout, stderr) = gc(&["--keep", "1"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("would let go run one\nwould let go run two\n") && stdout.contains("--yes"), "{stdout}");
    assert_eq!(listed().await, ["three", "two", "one"]);
    assert_eq!(gc(&["--yes"]).await.0, 2, "a word without a rule is wrong usage");
    assert_eq!(gc(&["--older-than", "soon"]).await.0, 2);

    let (code, stdout, _) = gc(&["--keep", "1", "--yes", "--format", "json"]).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["let_go"], report["data_files"].as_u64()), (0, &serde_json::json!(["one", "two"]), Some(0)));
    assert_eq!(listed().await, ["three"]);
    // Whoever reads one by name is not disturbed within the grace period.
    let count = ["sql", "--facts", &facts, "--run", "one", "--format", "csv", "SELECT count(*) FROM bytecode_files_v1"];
    assert!(run(bytefacts(root.path(), &count).await).1.contains("39"));

    let (code, stdout, stderr) = gc(&["--grace-hours", "0"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("deleted ") && !stdout.starts_with("deleted 0 "), "{stdout}");
    assert_eq!(run(bytefacts(root.path(), &count).await).0, 1, "run one is gone");
    let (code, stdout, stderr) = run(bytefacts(root.path(), &["validate", "--facts", &facts]).await);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let again = ["extract", corpus.path().to_str().unwrap(), "--out", &facts, "--run-id", "one"];
    assert_eq!(run(bytefacts(root.path(), &again).await).0, 2, "a name is not given again");
}

/// A run of which nobody has seen the end is listed with the command that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn runs_shows_what_is_unfinished_and_how_to_go_on() {
    let root = folder();
    let facts = extracted(root.path()).await;
    // As if the client had died before its commit.
    std::fs::remove_file(Path::new(&facts).join("runs/one/run.json")).unwrap();
    std::fs::remove_file(Path::new(&facts).join("current.json")).unwrap();
    let (code, stdout, stderr) = run(bytefacts(root.path(), &["runs", "--facts", &facts]).await);
    assert_eq!(code, 0, "{stderr}");
    let line = stdout.lines().last().unwrap();
    let how = format!("`bytefacts extract --resume one --out {facts}` goes on");
    assert!(line.starts_with("unfinished: one (") && line.contains(" done, last written to ") && line.ends_with(&how), "{stdout}");
    let (code, _, stderr) = run(bytefacts(root.path(), &["extract", "--resume", "one", "--out", &facts]).await);
    assert_eq!(code, 0, "{stderr}");
    let (_, stdout, _) = run(bytefacts(root.path(), &["runs", "--facts", &facts]).await);
    assert!(!stdout.contains("unfinished"), "{stdout}");
}

/// A folder that cannot be listed is one row, whatever is in it, and a mount that is missing none: neither is to make readers see a corpus without
/// the files that nobody has looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_what_nobody_could_list_is_held_back() {
    let (root, corpus) = (folder(), folder());
    let files: Vec<_> = (0..40).map(|n| format!("r{}/f{n:02}.py", n % 4)).collect();
    write_files(corpus.path(), &files.iter().map(|path| (path.as_str(), b"x = 1\n".as_slice())).collect::<Vec<_>>());
    let facts = root.path().join("facts").display().to_string();
    let extract = async |run: &str, tolerance: &[(&str, &str)]| {
        let args = ["extract", corpus.path().to_str().unwrap(), "--out", &facts, "--run-id", run, "--format", "json"];
        let mut command = bytefacts(root.path(), &args).await;
        command.envs(tolerance.iter().copied());
        let (code, stdout, stderr) = self::run(command);
        (code, serde_json::from_str::<Value>(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}")))
    };
    assert_eq!(extract("whole", &[]).await.0, 0);

    // No name that the system takes leads there, whoever asks.
    const DEEP: &str = "import os, sys; [os.mkdir(name) or os.chdir(name) for name in [sys.argv[1]] * 20]";
    let name = "d".repeat(250);
    let mut python = Command::new(python().await.executable);
    assert!(python.args(["-c", DEEP, &name]).current_dir(corpus.path().join("r0")).status().unwrap().success());
    let (code, summary) = extract("unlisted", &[]).await;
    assert_eq!(
        (code, &summary["current"], &summary["errors"][0]["error_type"]),
        (3, &json!(false), &json!("UnreadableFolder")),
        "{summary}"
    );
    assert!(summary["held_back"].as_str().unwrap().starts_with("1 folder could not be listed"), "{summary}");
    assert_eq!(extract("unlisted", &[("BYTEFACTS_CLIENT__MAX_UNREAD_SHARE", "1")]).await.1["current"], true);
    std::fs::remove_dir_all(corpus.path().join("r0").join(&name)).unwrap();
    assert_eq!(extract("listed", &[]).await.0, 0);

    // Three of four mounts are gone, and then one of them.
    let away = ["r1", "r2", "r3"].map(|repository| (corpus.path().join(repository), root.path().join(repository)));
    for (mount, away) in &away {
        std::fs::rename(mount, away).unwrap();
        std::fs::create_dir(mount).unwrap();
    }
    let (code, summary) = extract("gone", &[]).await;
    assert_eq!((code, &summary["current"]), (3, &json!(false)), "{summary}");
    assert_eq!(summary["gone"], json!({ "repositories": 3, "files": 30, "of_files": 40 }));
    assert!(summary["held_back"].as_str().unwrap().starts_with("30 of 40 files of the run before are gone"), "{summary}");
    for (mount, away) in &away[1..] {
        std::fs::remove_dir(mount).unwrap();
        std::fs::rename(away, mount).unwrap();
    }
    let (code, summary) = extract("deleted", &[]).await;
    assert_eq!((code, &summary["current"], &summary["gone"]["files"]), (0, &json!(true), &json!(10)), "{summary}");
}

/// A corpus whose files vanish while it is read is committed for whoever looks, and does not become current.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_too_much_is_unreadable_is_held_back() {
    let root = folder();
    let facts = extracted(root.path()).await;
    let corpus = small_corpus();
    // Listed, and not to be read: links that lead nowhere.
    for number in 0..20 {
        std::os::unix::fs::symlink("nowhere.py", corpus.path().join(format!("a/link{number}.py"))).unwrap();
    }
    let args = ["extract", corpus.path().to_str().unwrap(), "--out", &facts, "--run-id", "two", "--another-corpus", "--format", "json"];
    let (code, stdout, stderr) = run(bytefacts(root.path(), &args).await);
    let summary: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
    assert_eq!((code, &summary["current"]), (3, &Value::Bool(false)), "{stdout}");
    assert!(summary["held_back"].as_str().unwrap().starts_with("20 of 58 files could not be read"), "{stdout}");
    let (_, stdout, _) =
        run(bytefacts(root.path(), &["sql", "--facts", &facts, "--format", "csv", "SELECT count(*) FROM bytecode_files_v1"]).await);
    assert!(stdout.contains("38"), "readers see the run before: {stdout}");

    let mut lenient = bytefacts(root.path(), &["extract", "--resume", "two", "--out", &facts]).await;
    lenient.env("BYTEFACTS_CLIENT__MAX_UNREAD_SHARE", "0.5");
    let (code, stdout, stderr) = run(lenient);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (_, stdout, _) =
        run(bytefacts(root.path(), &["sql", "--facts", &facts, "--format", "csv", "SELECT count(*) FROM bytecode_files_v1"]).await);
    assert!(stdout.contains("58"), "{stdout}");
}
