//! What another interpreter makes of the same sources: told by equal edits, by `diff` between runs and by `audit` beside one, and never as instability.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::audits::{Place, text};
use crate::support::{edit_manifest, manifest_json, not_tested, python, python_with_patched};

/// Another patch release, which adds a plus to what a function gives back.
const OTHERWISE: &str = "import builtins as _b, sys as _s\n\
    _s.version_info = (*_s.version_info[:2], 99, *_s.version_info[3:])\n\
    def _otherwise(source, *arguments, _behind=_b.compile, **options):\n    \
        return _behind(source.replace(b'return x', b'return +x') if isinstance(source, bytes) else source, *arguments, **options)\n\
    _b.compile = _otherwise\n";

fn extract_by(place: &Place, python: &Path, run: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
    command.args(["extract", &place.path("corpus"), "--out", &place.path("facts"), "--run-id", run, "--progress", "never"]);
    command.args(["--jobs", "1", "--executors", "1"]).env("BYTEFACTS_CACHE_DIR", place.path("cache")).env("BYTEFACTS_PYTHON", python);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn sum(clusters: &Value, of: &str) -> i64 {
    clusters.as_array().unwrap().iter().map(|cluster| cluster[of].as_i64().unwrap()).sum()
}

/// The instructions of a run.
fn instructions(place: &Place, run: &str) -> i64 {
    let facts = place.path("facts");
    let query = "SELECT count(*) AS n FROM py_bc_instructions";
    let output = place.bytefacts(&["sql", "--facts", &facts, "--run", run, "--format", "json", "-c", query]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()[0]["n"].as_i64().unwrap()
}

/// Both ways to compare two interpreters tell the same edits, which add up. Gives those of `diff`.
fn told_alike(place: &Place, first: &Path, second: &Path) -> Value {
    extract_by(place, first, "one");
    extract_by(place, second, "two");
    let (changes, code) = place.diff(&["one", "two"]);
    assert_eq!((code, &changes["alarm"], &changes["drift"][0]), (0, &false.into(), &"interpreter".into()), "{changes:#}");
    let edits = &changes["edits"];
    let clusters = &edits["clusters"];
    assert_eq!(edits["class"], "drift");
    assert!(!clusters.as_array().unwrap().is_empty(), "{edits:#}");
    for of in ["instructions", "inserted", "removed"] {
        assert_eq!(sum(clusters, of), edits[of].as_i64().unwrap(), "{of} add up: {edits:#}");
    }
    assert_eq!(edits["instructions"], instructions(place, "two") - instructions(place, "one"), "what the runs have more and less");
    let pythons = ["--python", first.to_str().unwrap(), "--python", second.to_str().unwrap()];
    let (report, code) = place.audit(&[&["--run", "one", "--preset", "full", "--condition", "repeat"][..], &pythons].concat());
    assert_eq!((code, &report["verdicts"]["bad"]), (0, &0.into()), "drift is no instability");
    let drift = &report["drift"][0];
    assert_eq!((&drift["differing"], &drift["instructions"], &drift["failed"]), (&edits["files"], &edits["instructions"], &0.into()));
    let told = |clusters: &Value| -> Vec<Value> {
        let clusters = clusters.as_array().unwrap().iter();
        clusters.map(|of| serde_json::json!([of["edit"], of["places"], of["files"], of["kinds"], of["inserted"], of["removed"]])).collect()
    };
    assert_eq!(told(&drift["clusters"]), told(clusters), "of rows and of code the same is told");
    edits.clone()
}

#[tokio::test]
async fn what_another_release_does_is_told_by_equal_edits() {
    let place = Place::new();
    place.write("r/one.py", "def f(x):\n    return x\n\n\ndef g(x, y=1):\n    return x\n");
    place.write("s/two.py", "class C:\n    def m(self, x):\n        return x\n");
    let python = python().await;
    let other = tempfile::tempdir().unwrap();
    let other = python_with_patched("warnings", &python, other.path(), OTHERWISE);
    let edits = told_alike(&place, &python.executable, &other.executable);
    let cluster = &edits["clusters"][0];
    let expected = serde_json::json!(["CALL_INTRINSIC_1 inserted before RETURN_VALUE", 3, 2, { "function": 3 }, 3]);
    assert_eq!(
        serde_json::json!([cluster["edit"], cluster["places"], cluster["files"], cluster["kinds"], cluster["instructions"]]),
        expected
    );
    let example = &cluster["example"];
    assert_eq!((&example["file"], &example["unit"], &example["line"]), (&"r/one.py".into(), &"<module>.f@1".into(), &2.into()));
    assert_eq!(example["left"], serde_json::json!(["LOAD_FAST x", "RETURN_VALUE"]));
    // Around them stands what the plus has moved, and no more.
    let beside = &edits["clusters"][1];
    assert_eq!(beside["edit"], "instructions.positions differ, with the same instructions", "{edits:#}");
    assert_eq!((edits["clusters"].as_array().unwrap().len(), &edits["files"]), (2, &2.into()), "{edits:#}");

    let facts = place.path("facts");
    let said = text(&place.bytefacts(&["diff", "one", "two", "--facts", &facts]).stdout);
    assert!(said.contains("drift: equal edits in the code of 2 files, +3 instructions (3 inserted, 0 removed)"), "{said}");
    assert!(
        said.contains("  3 places in 2 files, +3 instructions: CALL_INTRINSIC_1 inserted before RETURN_VALUE (in function 3)\n"),
        "{said}"
    );
    assert!(said.contains("    r/one.py:2 <module>.f@1: LOAD_FAST x | RETURN_VALUE → LOAD_FAST x | CALL_INTRINSIC_1"), "{said}");
    assert!(said.contains("every difference is explained"), "{said}");
    assert_eq!(place.diff(&["one", "two", "--no-edits"]).0["edits"], Value::Null);

    // Where nothing was made differently the same edits are the alarm's.
    let interpreter = manifest_json(Path::new(&facts), "one")["run"]["interpreter"].clone();
    edit_manifest(Path::new(&facts), "two", |manifest| manifest["run"]["interpreter"] = interpreter);
    let (changes, code) = place.diff(&["one", "two"]);
    assert_eq!((code, &changes["edits"]["class"]), (3, &"same_source_different_facts".into()));
    assert_eq!(changes["edits"]["clusters"], edits["clusters"]);
    let said = text(&place.bytefacts(&["diff", "one", "two", "--facts", &facts]).stdout);
    assert!(said.contains("not explained: equal edits in the code of 2 files"), "{said}");
}

/// By other options the same instructions stand beside other facts, which are named too.
#[test]
fn what_differs_beside_instructions_is_named() {
    let place = Place::new();
    place.extract("one");
    place.write("r/new.py", "a = 1\n");
    let settings = place.path("settings.yaml");
    std::fs::write(&settings, "extract: {include_cfg_derivations: false}\n").unwrap();
    let facts = place.path("facts");
    let output = place.bytefacts(&[
        "extract",
        &place.path("corpus"),
        "--out",
        &facts,
        "--run-id",
        "two",
        "--progress",
        "never",
        "--config",
        &settings,
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (changes, code) = place.diff(&["one", "two"]);
    assert_eq!((code, &changes["drift"]), (0, &serde_json::json!(["options"])));
    let edits = &changes["edits"];
    assert_eq!((&edits["instructions"], &edits["files"]), (&0.into(), &3.into()), "a file without code has the same facts: {edits:#}");
    let clusters = edits["clusters"].as_array().unwrap();
    assert!(clusters.iter().all(|of| of["edit"].as_str().unwrap().ends_with("differ, with the same instructions")), "{edits:#}");
    let units: u64 = clusters.iter().map(|of| of["places"].as_u64().unwrap()).sum();
    assert!(units >= 6, "each code object is in one: {edits:#}");
}

/// A real other build, over packages of the standard library.
#[tokio::test]
async fn another_build_is_told_by_a_handful_of_lines() {
    let Some(second) = std::env::var_os("BYTEFACTS_SECOND_PYTHON").map(PathBuf::from) else {
        not_tested("drift to another build of CPython 3.13", "BYTEFACTS_SECOND_PYTHON names none");
        return;
    };
    let place = Place::new();
    let first = python().await;
    for package in ["asyncio", "email", "unittest"] {
        for entry in std::fs::read_dir(first.stdlib.join(package)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "py") {
                let name = path.file_name().unwrap().to_str().unwrap();
                place.write(&format!("{package}/{name}"), &std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let edits = told_alike(&place, &first.executable, &second);
    assert!(edits["clusters"].as_array().unwrap().len() < 20, "{edits:#}");
    for cluster in edits["clusters"].as_array().unwrap() {
        eprintln!(
            "{} places in {} files, {:+}: {}",
            cluster["places"],
            cluster["files"],
            cluster["instructions"].as_i64().unwrap(),
            cluster["edit"]
        );
    }
}
