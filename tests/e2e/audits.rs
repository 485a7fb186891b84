//! `audit`, `diff` and `pyc`, as a user runs them: on real runs, with a poisoned cache, a source that changes, an audit that is ended.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A corpus, its facts and a cache of their own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("r/a.py", "'about'\ndef f(x):\n    assert x, {1, 'a', 2.5}\n    return [y for y in x]\n");
        place.write("r/b.py", "class C:\n    def g(self):\n        self.b = self.a = '\\d'\n");
        place.write("s/broken.py", "x = (\n");
        place.write("s/c.py", "import foo\nz = {'foo', 2, 3}\n");
        place
    }

    fn path(&self, below: &str) -> String {
        self.folder.path().join(below).to_str().unwrap().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join("corpus").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn bytefacts(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
        command.env("BYTEFACTS_CACHE_DIR", self.path("cache")).env_remove("BYTEFACTS_FACTS").args(arguments).output().unwrap()
    }

    fn extract(&self, run: &str) {
        let (corpus, facts) = (self.path("corpus"), self.path("facts"));
        let output = self.bytefacts(&[
            "extract",
            &corpus,
            "--out",
            &facts,
            "--run-id",
            run,
            "--jobs",
            "1",
            "--executors",
            "1",
            "--progress",
            "never",
        ]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The report of an audit and its exit code.
    fn audit(&self, arguments: &[&str]) -> (Value, i32) {
        let (corpus, facts) = (self.path("corpus"), self.path("facts"));
        let output = self
            .bytefacts(&[&["audit", &corpus, "--facts", &facts, "--night", "1", "--jobs", "1", "--format", "json"], arguments].concat());
        let code = output.status.code().unwrap();
        assert!([0, 3].contains(&code), "{}", text(&output.stderr));
        (serde_json::from_slice(&output.stdout).unwrap(), code)
    }

    fn diff(&self, arguments: &[&str]) -> (Value, i32) {
        let facts = self.path("facts");
        let output = self.bytefacts(&[&["diff", "--facts", &facts, "--format", "json"], arguments].concat());
        (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr))), output.status.code().unwrap())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn a_run_is_deterministic_under_every_condition_and_the_counts_add_up() {
    let place = Place::new();
    place.extract("one");
    let (report, code) = place.audit(&["--run", "one", "--preset", "full"]);
    assert_eq!(code, 0, "{report:#}");
    let counts = &report["verdicts"];
    let conditions = report["conditions"].as_object().unwrap().len() as u64;
    assert!(conditions >= 18);
    assert_eq!((&report["files"], &report["sampled"], &report["covered"]), (&4.into(), &4.into(), &4.into()));
    assert_eq!(counts["good"], 4 * conditions);
    assert_eq!((&counts["bad"], &counts["fail"], &counts["unknown"]), (&0.into(), &0.into(), &0.into()));

    // What was found is kept, and found again by a second call, which derives nothing.
    let audit = report["audit"].as_str().unwrap();
    let folder = place.folder.path().join("facts/audits").join(audit);
    for name in ["plan.json", "bins/000000.json", "determinism_audit_v1.parquet", "determinism_summary_v1.parquet", "report.json"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    let before = fs::metadata(folder.join("bins/000000.json")).unwrap().modified().unwrap();
    assert_eq!(place.audit(&["--run", "one", "--preset", "full"]).0, report);
    assert_eq!(fs::metadata(folder.join("bins/000000.json")).unwrap().modified().unwrap(), before);

    // An audit that was ended before it had a report goes on with the bins that are done.
    fs::remove_file(folder.join("report.json")).unwrap();
    fs::remove_file(folder.join("determinism_audit_v1.parquet")).unwrap();
    assert_eq!(place.audit(&["--run", "one", "--preset", "full"]).0, report);
    assert!(folder.join("report.json").exists());
}

#[test]
fn the_sample_rotates_and_says_what_it_leaves_out() {
    let place = Place::new();
    place.extract("one");
    let mut covered = 0;
    for night in 0..7 {
        let night = night.to_string();
        let (corpus, facts) = (place.path("corpus"), place.path("facts"));
        let output = place.bytefacts(&[
            "audit",
            &corpus,
            "--facts",
            &facts,
            "--run",
            "one",
            "--condition",
            "reversed",
            "--night",
            &night,
            "--format",
            "json",
        ]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        covered += report["covered"].as_u64().unwrap();
        let counts = &report["verdicts"];
        assert_eq!(counts["good"].as_u64().unwrap() + counts["unknown"].as_u64().unwrap(), 4);
    }
    assert_eq!(covered, 4, "seven nights cover each file once");
}

#[test]
fn a_poisoned_cache_is_found() {
    let place = Place::new();
    place.extract("clean");
    // Whoever may write to a cache forges code: here one constant of one unit, in its place.
    let files = files_below(&place.folder.path().join("cache/units"));
    let poisoned = files.iter().filter(|path| forge(path, b"about", b"abaut")).count();
    assert_eq!(poisoned, 1);
    place.write("r/new.py", "a = 1\n"); // so that the bin is not taken over as it is
    place.extract("poisoned");
    let (report, code) = place.audit(&["--run", "poisoned", "--preset", "full", "--condition", "committed", "--condition", "hash-seed-1"]);
    assert_eq!(code, 3, "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report:#}");
    let finding = &findings[0];
    assert_eq!((&finding["path"], &finding["cause"], &finding["condition"]), (&"a.py".into(), &"X01".into(), &"committed".into()));
    let difference = &finding["difference"];
    assert!(
        difference["left"].as_str().unwrap().contains("about") && difference["right"].as_str().unwrap().contains("abaut"),
        "{finding:#}"
    );

    // The command that repeats it does.
    let words: Vec<&str> = finding["repeat"].as_str().unwrap().split(' ').skip(1).collect();
    let again = place.bytefacts(&words);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    assert!(text(&again.stdout).contains("bad r/a.py under committed (X01)"), "{}", text(&again.stdout));

    // And between the runs it is the alarm.
    let (changes, code) = place.diff(&["clean", "poisoned"]);
    assert_eq!(code, 3);
    assert_eq!(changes["changes"][0]["class"], "same_source_different_facts");
    assert_eq!(changes["changes"][0]["path"], "a.py");
    let (side, code) = place.diff(&["clean", "poisoned", "--file", "r/a.py"]);
    assert_eq!(code, 3);
    assert_eq!(side["units"].as_array().unwrap().len(), 1);
}

/// Changes bytes in the value of a cache entry, and digests it as whoever knows the form would. Gives whether they were there.
fn forge(path: &Path, from: &[u8], to: &[u8]) -> bool {
    let file = fs::read(path).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (Some(length), Ok(key)) = (file.get(8..16), hex::decode(name)) else { return false };
    let length: [u8; 8] = length.try_into().unwrap();
    let mut value = zstd::bulk::decompress(&file[48..], u64::from_le_bytes(length) as usize).unwrap();
    let Some(at) = value.windows(from.len()).position(|window| window == from) else { return false };
    value[at..at + to.len()].copy_from_slice(to);
    let compressed = zstd::bulk::compress(&value, 1).unwrap();
    let digest = Sha256::new().chain_update(key).chain_update(&file[..8]).chain_update(length).chain_update(&compressed).finalize();
    fs::write(path, [&file[..16], digest.as_slice(), &compressed].concat()).unwrap();
    true
}

#[test]
fn a_source_that_changed_since_the_run_is_not_judged() {
    let place = Place::new();
    place.extract("one");
    place.write("r/a.py", "other\n");
    fs::remove_file(place.folder.path().join("corpus/s/c.py")).unwrap();
    let (report, code) = place.audit(&["--run", "one", "--preset", "full", "--condition", "reversed"]);
    assert_eq!(code, 0);
    assert_eq!((&report["verdicts"]["good"], &report["verdicts"]["unknown"]), (&2.into(), &2.into()), "{report:#}");
    assert_eq!(report["causes"][0]["code"], "C39");
}

#[test]
fn a_run_that_was_made_by_another_interpreter_and_wrong_names_are_refused() {
    let place = Place::new();
    place.extract("one");
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    for (arguments, message) in [
        (&["--preset", "hourly"][..], "there is no preset hourly: there are full, nightly, quick"),
        (&["--condition", "moon"], "there is no condition moon"),
        (&["--only", "r/zz.py"], "does not cover r/zz.py"),
        (&["--matrix", "/nonexistent"], "cannot read /nonexistent"),
    ] {
        let output = place.bytefacts(&[&["audit", &corpus, "--facts", &facts, "--run", "one"], arguments].concat());
        assert!(matches!(output.status.code(), Some(1 | 2)));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
}

#[test]
fn an_audit_without_a_run_extracts_one_and_writes_every_report() {
    let place = Place::new();
    let reports = place.folder.path().join("reports");
    fs::create_dir(&reports).unwrap();
    let path = |name: &str| reports.join(name).to_str().unwrap().to_owned();
    let (report, code) = place.audit(&[
        "--preset",
        "full",
        "--condition",
        "reversed",
        "--markdown",
        &path("m.md"),
        "--html",
        &path("h.html"),
        "--junit",
        &path("j.xml"),
        "--sarif",
        &path("s.json"),
    ]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["verdicts"]["good"], 4);
    for (name, has) in [("m.md", "**Deterministic.** 4 good"), ("h.html", "</html>"), ("j.xml", "</testsuites>"), ("s.json", "\"2.1.0\"")] {
        assert!(fs::read_to_string(reports.join(name)).unwrap().contains(has), "{name}");
    }
}

#[test]
fn runs_are_compared_by_name_content_and_making() {
    let place = Place::new();
    place.extract("one");
    let (same, code) = place.diff(&["one", "one"]);
    assert_eq!((code, same["changes"].as_array().unwrap().len(), &same["cost"]["digests"]), (0, 0, &2.into()));
    fs::create_dir(place.folder.path().join("corpus/t")).unwrap();
    fs::rename(place.folder.path().join("corpus/s/c.py"), place.folder.path().join("corpus/t/c.py")).unwrap();
    place.write("t/copy.py", &fs::read_to_string(place.folder.path().join("corpus/r/b.py")).unwrap());
    place.write("r/a.py", "x = 1\n");
    place.write("r/new.py", "x = 2\n");
    fs::remove_file(place.folder.path().join("corpus/s/broken.py")).unwrap();
    place.extract("two");
    let (changes, code) = place.diff(&["one", "two"]);
    let found: Vec<(&str, &str)> =
        changes["changes"].as_array().unwrap().iter().map(|c| (c["class"].as_str().unwrap(), c["path"].as_str().unwrap())).collect();
    let expected = [("source_changed", "a.py"), ("moved", "c.py"), ("copied", "copy.py"), ("added", "new.py"), ("removed", "broken.py")];
    assert_eq!((code, found), (0, expected.to_vec()));
    // The later run is the current one unless it is named.
    assert_eq!(place.diff(&["one"]).0["changes"], changes["changes"]);
}

#[test]
fn pyc_files_are_judged_by_the_sources_beside_them() {
    let place = Place::new();
    let corpus = place.path("corpus");
    let python = place.bytefacts(&["python", "find", "--format", "json"]);
    let python: Value = serde_json::from_slice(&python.stdout).unwrap_or_default();
    let executable = python["executable"].as_str().map(str::to_owned).unwrap_or_else(|| "python3.13".to_owned());
    fs::remove_file(place.folder.path().join("corpus/s/broken.py")).unwrap();
    let compiled = Command::new(executable).args(["-I", "-m", "compileall", "-q", "-o0", "-o2", &corpus]).status().unwrap();
    assert!(compiled.success());
    let clean = place.bytefacts(&["pyc", &corpus, "--jobs", "1"]);
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean.stdout));
    place.write("r/a.py", "x = 1\n");
    let found = place.bytefacts(&["pyc", &corpus, "--jobs", "1", "--format", "json"]);
    assert_eq!(found.status.code(), Some(3));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let differing: Vec<&str> =
        found["files"].as_array().unwrap().iter().filter(|f| f["status"] == "differs").map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(differing, ["r/__pycache__/a.cpython-313.opt-2.pyc", "r/__pycache__/a.cpython-313.pyc"]);
}
