//! Audits over seeds and nights: what the hash seed alone decides, what an audit came to, and what is new in it.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::python;

/// A corpus and its facts, with a run `one`.
struct Place {
    folder: TempDir,
}

impl Place {
    fn of(files: &[(&str, &str)]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let path = place.folder.path().join("corpus").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (corpus, facts) = (place.path("corpus"), place.path("facts"));
        let line = ["extract", &corpus, "--out", &facts, "--run-id", "one", "--jobs", "1", "--executors", "1", "--progress", "never"];
        assert_eq!(place.bytefacts(&line).1, 0);
        place
    }

    fn path(&self, below: &str) -> String {
        self.folder.path().join(below).to_str().unwrap().to_owned()
    }

    /// What a command prints, and its exit code.
    fn bytefacts(&self, arguments: &[&str]) -> (String, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
        command.env("BYTEFACTS_CACHE_DIR", self.path("cache")).env_remove("BYTEFACTS_FACTS").args(arguments);
        let output = command.output().unwrap();
        let code = output.status.code().unwrap();
        assert!([0, 3].contains(&code), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), code)
    }

    /// The report of an audit of the run, and its exit code.
    fn audit(&self, arguments: &[&str]) -> (Value, i32) {
        let (corpus, facts) = (self.path("corpus"), self.path("facts"));
        let line = ["audit", &corpus, "--facts", &facts, "--run", "one", "--jobs", "1", "--format", "json"];
        let (printed, code) = self.bytefacts(&[&line, arguments].concat());
        (serde_json::from_str(&printed).unwrap(), code)
    }

    /// A matrix whose preset `p` covers all files in some nights under all of these conditions.
    fn matrix(&self, conditions: &str, nights: u32) -> String {
        let path = self.path("matrix.yaml");
        let presets = format!("presets: {{p: {{minutes: 60, nights: {nights}, conditions: all}}}}");
        fs::write(&path, format!("version: 1\nbin_files: 4\nconditions: {{{conditions}}}\n{presets}\n")).unwrap();
        path
    }
}

/// A condition that drops columns: whatever has code is bad.
const COLUMNS: &str = "columns: {environment: {PYTHONNODEBUGRANGES: '1'}}";

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_order_that_cpython_draws_from_the_hash_seed_is_good_and_named() {
    let source = "def outer(aa, bb, cc):\n    class D:\n        r = [(lambda: (aa, bb, cc)) for x in ()]\n";
    let place = Place::of(&[("r/a.py", source), ("r/b.py", "x = [y for y in ()]\n")]);
    let matrix = place.matrix("again: {}, one: {hash_seed: 1}, level: {hash_seed: 1, optimize: 2}", 1);
    let (report, code) = place.audit(&["--matrix", &matrix, "--preset", "p"]);
    assert_eq!((code, &report["verdicts"]["good"], &report["verdicts"]["bad"]), (0, &6.into(), &0.into()), "{report:#}");
    let [cause] = report["causes"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!((cause["code"].as_str(), cause["kind"].as_str(), &cause["count"]), (Some("C47"), Some("good"), &2.into()), "{report:#}");
}

#[test]
fn what_ends_the_command_decides_nothing_that_is_on_record() {
    let place = Place::of(&[("r/a.py", "x = f(1)\n")]);
    let (matrix, statement) = (place.matrix(COLUMNS, 1), place.path("statement.json"));
    let (report, code) = place.audit(&["--matrix", &matrix, "--preset", "p", "--fail-on", "never", "--intoto", &statement]);
    assert_eq!((code, &report["verdicts"]["bad"]), (0, &1.into()), "{report:#}");
    assert_eq!(json(&statement)["predicate"]["result"], "FAILED");
    let header = json(&format!("{}/audits/{}/audit.json", place.path("facts"), report["audit"].as_str().unwrap()));
    assert_eq!((&header["passed"], &header["by_hand"]), (&false.into(), &false.into()), "{header:#}");
}

#[test]
fn what_is_new_is_told_by_the_last_audit_that_covered_the_file() {
    let names: Vec<String> = (0..12).map(|n| format!("r/a{n}.py")).collect();
    let place = Place::of(&names.iter().map(|name| (name.as_str(), "x = f(1)\n")).collect::<Vec<_>>());
    let (matrix, sarif) = (place.matrix(COLUMNS, 2), place.path("s.json"));
    let states = |night: &str| {
        let (report, code) = place.audit(&["--matrix", &matrix, "--preset", "p", "--night", night, "--sarif", &sarif]);
        assert_eq!(code, 3, "{report:#}");
        let log = json(&sarif);
        let states: Vec<Value> =
            log["runs"][0]["results"].as_array().unwrap().iter().map(|result| result["baselineState"].clone()).collect();
        assert!(!states.is_empty() && states.len() < 12, "a night covers some of the files");
        states
    };
    assert!(states("2").iter().all(Value::is_null), "there is nothing before");
    assert!(states("3").iter().all(|state| state == "new"), "no audit has covered these");
    assert!(states("4").iter().all(|state| state == "unchanged"), "the night between covered others");
}

/// As those of another release of the compiler are.
#[tokio::test]
async fn what_pyc_files_hold_otherwise_is_told_by_equal_edits() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.py", "b.py", "c.py", "d.py"];
    let write = |text: &str, names: &[&str]| names.iter().for_each(|name| fs::write(folder.path().join(name), text).unwrap());
    write("x = f(1)\n", &names);
    let mut compileall = Command::new(python().await.executable);
    assert!(compileall.args(["-I", "-m", "compileall", "-q"]).arg(folder.path()).status().unwrap().success());
    write("x = f(2)\n", &names[..3]);
    write("x = g\n", &names[3..]);
    let place = Place { folder };
    let line = ["pyc", place.folder.path().to_str().unwrap(), "--jobs", "1"];
    let (printed, code) = place.bytefacts(&[&line[..], &["--format", "json"]].concat());
    let answer: Value = serde_json::from_str(&printed).unwrap();
    let edits = answer["edits"].as_array().unwrap();
    assert_eq!((code, &edits[0]["edit"], &edits[0]["files"]), (3, &"LOAD_CONST with another constant".into(), &3.into()), "{answer:#}");
    assert!(edits[1..].iter().all(|edit| edit["files"] == 1 && edit["example"]["file"] == "__pycache__/d.cpython-313.pyc"), "{answer:#}");
    let (text, _) = place.bytefacts(&line);
    assert!(
        text.contains("equal edits: in many files") && text.contains("3 places in 3 files: LOAD_CONST with another constant"),
        "{text}"
    );
}
