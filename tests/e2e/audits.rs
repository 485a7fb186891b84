//! `audit`, `diff` and `pyc`, as a user runs them: on real runs, with a poisoned cache, a source that changes, an audit that is ended. What they tell in
//! which form is `audit_reports.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::judged::WRONG_NAME;
use crate::support::{GATED, Gate, python, with_patched_dis};

/// A corpus, its facts and a cache of their own.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("r/a.py", "'about'\ndef f(x):\n    assert x, {1, 'a', 2.5}\n    return [y for y in x]\n");
        place.write("r/b.py", "class C:\n    def g(self):\n        self.b = self.a = '\\d'\n");
        place.write("s/broken.py", "x = (\n");
        place.write("s/c.py", "import foo\nz = {'foo', 2, 3}\n");
        place
    }

    pub fn path(&self, below: &str) -> String {
        self.folder.path().join(below).to_str().unwrap().to_owned()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join("corpus").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn bytefacts(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
        command.env("BYTEFACTS_CACHE_DIR", self.path("cache")).env_remove("BYTEFACTS_FACTS").args(arguments).output().unwrap()
    }

    pub fn extract(&self, run: &str) {
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
    pub fn audit(&self, arguments: &[&str]) -> (Value, i32) {
        let (corpus, facts) = (self.path("corpus"), self.path("facts"));
        let output = self
            .bytefacts(&[&["audit", &corpus, "--facts", &facts, "--night", "1", "--jobs", "1", "--format", "json"], arguments].concat());
        let code = output.status.code().unwrap();
        assert!([0, 3].contains(&code), "{}", text(&output.stderr));
        (serde_json::from_slice(&output.stdout).unwrap(), code)
    }

    pub fn diff(&self, arguments: &[&str]) -> (Value, i32) {
        let facts = self.path("facts");
        let output = self.bytefacts(&[&["diff", "--facts", &facts, "--format", "json"], arguments].concat());
        (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr))), output.status.code().unwrap())
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
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

    // What was found is kept, and shown again by a second call, which derives nothing.
    let audit = report["audit"].as_str().unwrap();
    let folder = place.folder.path().join("facts/audits").join(audit);
    let names = documents(&place, audit);
    for start in
        ["asked.json", "audit.json", "determinism_audit_v1-", "determinism_summary_v1-", "plan.json", "report-", "units/000000/reversed"]
    {
        assert!(names.iter().any(|name| name.starts_with(start)), "{start}: {names:?}");
    }
    let before = fs::metadata(folder.join("units/000000/reversed.json")).unwrap().modified().unwrap();
    assert_eq!(place.audit(&["--run", "one", "--preset", "full"]).0, report);

    // An audit that was ended before it had a header goes on with the units that are done.
    fs::remove_file(folder.join("audit.json")).unwrap();
    fs::remove_file(folder.join(names.iter().find(|name| name.starts_with("determinism_audit")).unwrap())).unwrap();
    fs::remove_file(folder.join("units/000000/imports.json")).unwrap();
    assert_eq!(place.audit(&["--run", "one", "--preset", "full"]).0, report);
    assert_eq!(fs::metadata(folder.join("units/000000/reversed.json")).unwrap().modified().unwrap(), before);
    assert_eq!(documents(&place, audit), names);

    // A record that is damaged is no record of good.
    fs::remove_file(folder.join("audit.json")).unwrap();
    fs::write(folder.join("units/000000/reversed.json"), "[{").unwrap();
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let output = place.bytefacts(&["audit", &corpus, "--facts", &facts, "--night", "1", "--run", "one", "--preset", "full"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is damaged"), "{}", text(&output.stderr));
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

    // Both sides stand beside each other, as derived first on the left.
    let side = |line: &Value| (line["left"].as_str().unwrap_or("").to_owned(), line["right"].as_str().unwrap_or("").to_owned());
    let changed = finding["sides"][0]["lines"].as_array().unwrap().iter().find(|line| line["mark"] == "changed").map(side);
    let (left, right) = changed.unwrap();
    assert!(left.ends_with("LOAD_CONST 'about'") && right.ends_with("LOAD_CONST 'abaut'"), "{left} {right}");

    // The command that repeats it does.
    let words: Vec<&str> = finding["repeat"].as_str().unwrap().split(' ').skip(1).collect();
    let again = place.bytefacts(&words);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    let said = text(&again.stdout);
    assert!(said.contains("bad r/a.py under committed (X01)"), "{said}");
    assert!(said.lines().any(|line| line.contains("LOAD_CONST 'about'") && line.contains(" ~ ") && line.contains("'abaut'")), "{said}");

    // And between the runs it is the alarm.
    let (changes, code) = place.diff(&["clean", "poisoned"]);
    assert_eq!(code, 3);
    assert_eq!(changes["changes"][0]["class"], "same_source_different_facts");
    assert_eq!(changes["changes"][0]["path"], "a.py");
    let (side, code) = place.diff(&["clean", "poisoned", "--file", "r/a.py"]);
    assert_eq!(code, 3);
    assert_eq!(side["units"].as_array().unwrap().len(), 1);
}

/// The interpreter that compiles judges, by another path than ours.
#[tokio::test(flavor = "multi_thread")]
async fn dis_is_asked_and_what_it_says_otherwise_is_named() {
    let place = Place::new();
    place.extract("one");
    let dis = ["--run", "one", "--preset", "full", "--condition", "dis"];
    let (report, code) = place.audit(&dis);
    assert_eq!((code, &report["verdicts"]["good"]), (0, &4.into()), "{report:#}");
    let tools = tempfile::tempdir().unwrap();
    let wrong = with_patched_dis(&python().await, tools.path(), WRONG_NAME);
    let by_another = ["--condition", "repeat", "--python", wrong.executable.to_str().unwrap()];
    let (report, code) = place.audit(&[&dis[..], &by_another].concat());
    assert_eq!((code, &report["verdicts"]["bad"], &report["verdicts"]["good"]), (3, &1.into(), &7.into()), "{report:#}");
    let finding = &report["findings"][0];
    assert_eq!((&finding["path"], &finding["condition"], &finding["cause"]), (&"a.py".into(), &"dis".into(), &"X02".into()));
    let found = &finding["difference"];
    assert_eq!(
        (&found["field"], &found["left"], &found["right"]),
        (&"instructions.opname".into(), &"\"GET_ITER\"".into(), &"\"GET_IT\"".into())
    );
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

/// The documents of an audit, by their names below its folder.
pub fn documents(place: &Place, audit: &str) -> Vec<String> {
    let folder = place.folder.path().join("facts/audits").join(audit);
    let mut names: Vec<_> =
        files_below(&folder).iter().map(|path| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Rows of `bytefacts sql`, each as an object.
pub fn sql(place: &Place, statement: &str) -> Vec<Value> {
    // It may begin with a comment.
    let output = place.bytefacts(&["sql", "--facts", &place.path("facts"), "--format", "json", &format!("--command={statement}")]);
    assert!(output.status.success(), "{statement}: {}", text(&output.stderr));
    let json = text(&output.stdout);
    serde_json::from_str(&json).unwrap_or_else(|_| json.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A document of JSON.
pub fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A run with a file whose cached unit somebody has forged: under `committed` it is bad.
pub fn poisoned() -> Place {
    let place = Place::new();
    place.extract("clean");
    let files = files_below(&place.folder.path().join("cache/units"));
    assert_eq!(files.iter().filter(|path| forge(path, b"about", b"abaut")).count(), 1);
    place.write("r/new.py", "a = 1\n"); // so that the bin is not taken over as it is
    place.extract("poisoned");
    place
}

/// What audits it under that condition.
pub const POISONED: [&str; 6] = ["--run", "poisoned", "--preset", "full", "--condition", "committed"];

/// A matrix of bins of one file each.
fn small_bins(place: &Place) -> String {
    let path = place.path("matrix.yaml");
    let conditions = "conditions: {again: {about: again}, seed: {hash_seed: 1}, imports: {imports: [json]}}\n";
    fs::write(&path, format!("version: 1\nbin_files: 1\n{conditions}presets: {{p: {{minutes: 60, nights: 1, conditions: all}}}}\n"))
        .unwrap();
    path
}

/// A command that audits the corpus and does not wait.
fn spawn(place: &Place, gate: &Gate, matrix: &str) -> Child {
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let arguments = ["audit", &corpus, "--facts", &facts, "--night", "1", "--jobs", "8", "--matrix", matrix, "--preset", "p"];
    let python = gate.python.executable.to_str().unwrap();
    Command::new(env!("CARGO_BIN_EXE_bytefacts"))
        .env("BYTEFACTS_CACHE_DIR", place.path("cache"))
        .env_remove("BYTEFACTS_FACTS")
        .args(arguments)
        .args(["--python", python, "--resume-unfinished", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until so many documents lie below folders of that name in the audits.
async fn recorded(place: &Place, child: &mut Child, folder: &str, count: usize) {
    for _ in 0..18_000 {
        let audits = place.folder.path().join("facts/audits");
        let all = if audits.exists() { files_below(&audits) } else { Vec::new() };
        let is_one = |path: &&PathBuf| {
            path.ancestors().any(|parent| parent.ends_with(folder)) && path.extension().is_some_and(|extension| extension == "json")
        };
        if all.iter().filter(is_one).count() >= count {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before {count} of {folder} were recorded");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} of {folder} are never recorded");
}

/// SIGKILL at several points of an audit, and its command again: what was done is kept, byte for byte, and the verdicts are those of an audit that
/// nobody has killed. It is found by itself; so is what was killed while it was extracting.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_is_killed_at_any_moment_goes_on_by_the_same_command() {
    let gate = Gate::closed(&python().await);
    gate.open();
    let (undisturbed, place) = (Place::new(), Place::new());
    for place in [&undisturbed, &place] {
        place.write("r/gated.py", &format!("{GATED} = 1\n"));
    }
    let matrix = small_bins(&undisturbed);
    let output = spawn(&undisturbed, &gate, &matrix).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(expected["verdicts"]["good"], 15);

    // While the corpus is extracted: units are in no cache yet, and one waits at the gate.
    gate.close();
    let matrix = small_bins(&place);
    let mut killed = spawn(&place, &gate, &matrix);
    gate.reached().await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let begun = fs::read_dir(place.folder.path().join("facts/runs")).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(begun.len(), 1);
    // Extracted to its end by a second process, which is killed in the audit: units are cached now, and only derivations come to the gate.
    gate.open();
    let mut extracting = spawn(&place, &gate, &matrix);
    recorded(&place, &mut extracting, "units", 1).await;
    extracting.kill().unwrap();
    extracting.wait().unwrap();
    gate.close();
    let audit = fs::read_dir(place.folder.path().join("facts/audits")).unwrap().next().unwrap().unwrap().path();
    // As if it had done nothing yet; a bin of three of the 15 units waits at the gate.
    fs::remove_dir_all(audit.join("units")).unwrap();
    fs::remove_file(audit.join("audit.json")).ok(); // where it was faster than the kill
    for count in [1, 6, 12] {
        let mut killed = spawn(&place, &gate, &matrix);
        recorded(&place, &mut killed, "units", count).await;
        let signal = if count == 6 { Signal::SIGTERM } else { Signal::SIGKILL };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(killed.wait().unwrap().code(), (count == 6).then_some(1));
        assert!(!audit.join("audit.json").exists());
    }
    let units = files_below(&audit.join("units")).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let kept: Vec<_> = units.map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path)).collect();
    assert_eq!(kept.len(), 12);
    gate.open();
    let output = spawn(&place, &gate, &matrix).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdicts"], expected["verdicts"]);
    assert_eq!(report["conditions_counted"], expected["conditions_counted"]);
    assert_eq!(report["run"].as_str(), begun[0].to_str(), "the run that was killed while it was extracted");
    for (written, path) in kept {
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written, "{}", path.display());
    }
    assert_eq!(fs::read_dir(place.folder.path().join("facts/runs")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(place.folder.path().join("facts/audits")).unwrap().count(), 1);

    // It is concluded: the same command begins another one, of another run.
    let output = spawn(&place, &gate, &matrix).wait_with_output().unwrap();
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(again["run"], report["run"]);
    // Who asks for something else does not go on with what is not his.
    fs::remove_file(place.folder.path().join("facts/audits").join(again["audit"].as_str().unwrap()).join("audit.json")).unwrap();
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let python = gate.python.executable.to_str().unwrap();
    let arguments = ["audit", &corpus, "--facts", &facts, "--python", python, "--resume-unfinished", "--matrix", &matrix, "--preset", "p"];
    for other in [&["--night", "3"][..], &["--night", "1", "--condition", "seed"]] {
        let output = place.bytefacts(&[&arguments[..], other, &["--format", "json"]].concat());
        let other: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        assert_ne!(other["run"], again["run"]);
    }
    // The night after goes on with what the night before has left.
    let days = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let today = days();
    let (before, now) = ((today - 1).to_string(), [&arguments[..], &["--format", "json"]].concat());
    let output = place.bytefacts(&[&now[..], &["--night", &before]].concat());
    let left: Value = serde_json::from_slice(&output.stdout).unwrap();
    fs::remove_file(place.folder.path().join("facts/audits").join(left["audit"].as_str().unwrap()).join("audit.json")).unwrap();
    let output = place.bytefacts(&now);
    let resumed: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Where midnight came in between, the night before is another one.
    assert!((&resumed["run"], &resumed["night"]) == (&left["run"], &left["night"]) || days() != today);
    assert_eq!(resumed["verdicts"], expected["verdicts"]);
}

#[test]
fn two_audits_at_once_do_no_harm_and_agree() {
    let place = Place::new();
    place.extract("one");
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let arguments = ["audit", &corpus, "--facts", &facts, "--run", "one", "--night", "1", "--preset", "full", "--format", "json"];
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(env!("CARGO_BIN_EXE_bytefacts"))
                .env("BYTEFACTS_CACHE_DIR", place.path("cache"))
                .args(arguments)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let reports: Vec<Value> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0));
            serde_json::from_slice(&output.stdout).unwrap()
        })
        .collect();
    assert_eq!((&reports[0], &reports[0]), (&reports[1], &reports[2]));
    let names = documents(&place, reports[0]["audit"].as_str().unwrap());
    assert_eq!(names.iter().filter(|name| name.ends_with(".parquet")).count(), 2, "{names:?}");
}

#[test]
fn what_the_budget_leaves_out_is_told_by_a_value_and_an_audit_with_more_covers_it() {
    let place = Place::new();
    place.extract("one");
    let asked = ["--run", "one", "--preset", "full", "--condition", "reversed"];
    let (report, code) = place.audit(&[&asked[..], &["--minutes", "0"]].concat());
    assert_eq!((code, &report["complete"], &report["verdicts"]["unknown"], &report["covered"]), (0, &false.into(), &4.into(), &0.into()));
    let rows = sql(&place, "SELECT DISTINCT gap, verdict FROM bytefacts.determinism_audit_v1");
    assert_eq!((rows.len(), &rows[0]["gap"], &rows[0]["verdict"]), (1, &"budget".into(), &"unknown".into()));
    let (_, code) = place.audit(&[&asked[..], &["--minutes", "0", "--max-unknown-share", "0.5"]].concat());
    assert_eq!(code, 3);
    let (_, code) = place.audit(&[&asked[..], &["--minutes", "0", "--max-unknown-share", "0.5", "--fail-on", "never"]].concat());
    assert_eq!(code, 0);
    let (report, code) = place.audit(&[&asked[..], &["--max-unknown-share", "0"]].concat());
    assert_eq!((code, &report["complete"], &report["verdicts"]["good"]), (0, &true.into(), &4.into()));
    // A file called budget is no budget.
    place.write("r/budget.py", "x = (\n");
    place.extract("two");
    fs::remove_file(place.folder.path().join("corpus/r/budget.py")).unwrap();
    let (report, _) = place.audit(&["--run", "two", "--preset", "full", "--condition", "reversed"]);
    assert_eq!((&report["complete"], &report["verdicts"]["unknown"]), (&true.into(), &1.into()));
}

/// What was spent is on record with what was done for it, so that whoever goes on has the rest of the night's CPU time and no more.
#[test]
fn a_night_that_is_gone_on_with_has_what_is_left_of_its_budget() {
    let place = Place::new();
    place.extract("one");
    let matrix = small_bins(&place);
    let asked = ["--run", "one", "--preset", "p", "--matrix", &matrix, "--minutes", "1"];
    let (whole, code) = place.audit(&asked);
    assert_eq!((code, &whole["complete"], &whole["verdicts"]["good"]), (0, &true.into(), &12.into()), "{whole:#}");
    let folder = place.folder.path().join("facts/audits").join(whole["audit"].as_str().unwrap());
    let unit = folder.join("units/000000/again.json");
    let mut record: Value = read(unit.to_str().unwrap());
    assert!(record["cpu_us"].as_u64().unwrap() > 0, "{record}");
    for (spent, good) in [(60_000_000, 1), (0, 12)] {
        // As it was when it was killed after one unit.
        fs::remove_file(folder.join("audit.json")).unwrap();
        fs::remove_dir_all(folder.join("units")).unwrap();
        fs::create_dir_all(unit.parent().unwrap()).unwrap();
        record["cpu_us"] = spent.into();
        fs::write(&unit, record.to_string()).unwrap();
        let (report, _) = place.audit(&asked);
        assert_eq!((&report["verdicts"]["good"], &report["complete"]), (&good.into(), &(good == 12).into()), "{report:#}");
        assert_eq!((&report["sampled"], &report["night"]), (&whole["sampled"], &whole["night"]), "the files are the same");
    }
}

#[test]
fn gc_lets_audits_go_with_their_runs_and_validate_knows_them() {
    let place = poisoned();
    let (of_clean, _) = place.audit(&["--run", "clean", "--preset", "full", "--condition", "committed"]);
    let (of_poisoned, _) = place.audit(&POISONED);
    let audit = |report: &Value| report["audit"].as_str().unwrap().to_owned();
    let facts = place.path("facts");
    let validate = || {
        let output = place.bytefacts(&["validate", "--facts", &facts, "--run", "poisoned", "--format", "json", "--progress", "never"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let of = |check: &str| {
            let row = report["checks"].as_array().unwrap().iter().find(|row| row["check"] == check).unwrap().clone();
            (row["looked_at"].as_u64().unwrap(), row["findings"].as_u64().unwrap())
        };
        [of("audit.documents"), of("audit.verdicts"), of("audit.tables")]
    };
    assert_eq!(validate(), [(3, 0), (1, 0), (2, 0)]);
    // A table that was changed, one of another audit, a header that was changed: each is found.
    let folder = place.folder.path().join("facts/audits").join(audit(&of_poisoned));
    let table = documents(&place, &audit(&of_poisoned)).into_iter().find(|name| name.starts_with("determinism_audit")).unwrap();
    let good = fs::read(folder.join(&table)).unwrap();
    fs::write(folder.join(&table), &good[..good.len() - 1]).unwrap();
    assert_eq!(validate()[0], (3, 1));
    fs::remove_file(folder.join(&table)).unwrap();
    assert_eq!(validate()[0], (3, 1));
    fs::write(folder.join(&table), &good).unwrap();
    let header = fs::read_to_string(folder.join("audit.json")).unwrap();
    fs::write(folder.join("audit.json"), header.replace("\"bad\":1", "\"bad\":0").replace("\"bad\": 1", "\"bad\": 0")).unwrap();
    assert_eq!(validate()[1..], [(1, 1), (2, 2)]);
    fs::write(folder.join("audit.json"), &header).unwrap();
    assert_eq!(validate(), [(3, 0), (1, 0), (2, 0)]);

    let gc = |arguments: &[&str]| {
        let output = place.bytefacts(&[&["gc", "--facts", &facts, "--format", "json", "--grace-hours", "0"], arguments].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        report["audits"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(gc(&["--keep", "1", "--yes"]).is_empty(), "let go, and deleted by the next");
    assert_eq!(gc(&["--dry-run"]), [audit(&of_clean)]);
    assert!(!documents(&place, &audit(&of_clean)).is_empty());
    assert_eq!(gc(&[]), [audit(&of_clean)]);
    assert!(files_below(&place.folder.path().join("facts/audits")).iter().all(|path| path.starts_with(&folder)));
    let left = documents(&place, &audit(&of_poisoned));
    assert!(left.iter().all(|name| !name.starts_with("units")) && left.len() == 6, "{left:?}");
    assert_eq!(validate(), [(3, 0), (1, 0), (2, 0)]);
    // What is left is all that it takes to show it again.
    assert_eq!(place.audit(&POISONED).0, of_poisoned);
    assert_eq!(sql(&place, "SELECT DISTINCT run FROM bytefacts.determinism_audit_v1").len(), 1);
}
