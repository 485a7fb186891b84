//! `bytefacts config`: the same verdict as the commands', and as a validator of JSON Schema that others wrote.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::servers::environment;
use crate::support::{bytefacts, folder, run, write_files};

/// Whose word on the schema counts.
const VALIDATOR: &str = "jsonschema==4.26.0";

const SCRIPT: &str = "
import json, sys
from jsonschema import Draft202012Validator
asked = json.load(sys.stdin)
Draft202012Validator.check_schema(asked['schema'])
validator = Draft202012Validator(asked['schema'])
json.dump([validator.is_valid(document) for document in asked['documents']], sys.stdout)
";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string(shipped("bytefacts.schema.json")).unwrap()).unwrap()
}

/// What the validator says of documents.
async fn valid(documents: &[Value]) -> Vec<bool> {
    let python = environment("jsonschema", VALIDATOR, |_| {}).await.join("bin/python");
    let mut validator = Command::new(python).args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let asked = json!({"schema": schema(), "documents": documents});
    validator.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = validator.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exit code and output of a command about settings, in an environment without any.
async fn config(args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let home = folder();
    let mut command = bytefacts(home.path(), &[&["config"], args].concat()).await;
    command.env_remove("BYTEFACTS_PYTHON").envs(variables.iter().copied());
    run(command)
}

/// A document that says one thing.
fn says(key: &str, value: Value) -> Value {
    match key.split_once('.') {
        Some((section, key)) => json!({section: {key: value}}),
        None => json!({key: value}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_and_the_parser_say_the_same_of_every_setting() {
    let schema = schema();
    let text = std::fs::read_to_string(shipped("bytefacts.yaml")).unwrap();
    let shipped: Value = serde_yaml::from_str(&text).unwrap();
    let mut documents = vec![shipped, json!(null), json!({}), json!({"scheduler": null}), json!({"sheduler": {}}), json!([]), json!("x")];
    let mut keys = 0;
    for (section, about) in schema["properties"].as_object().unwrap() {
        documents.push(json!({section: {"no_such_key": 1}}));
        let within = about["properties"].as_object();
        let settings: Vec<_> = match within {
            Some(within) => within.keys().map(|key| format!("{section}.{key}")).collect(),
            None => vec![section.clone()],
        };
        for key in settings {
            keys += 1;
            // Those of a pair are checked together, which a schema could say and people could not read.
            if key.starts_with("cluster_tls.") || key.starts_with("serve.tls_") {
                continue;
            }
            for value in [
                json!(null),
                json!(true),
                json!(-1),
                json!(0),
                json!(1),
                json!(2),
                json!(3),
                json!(0.5),
                json!(1.5),
                json!(65_535),
                json!(65_536),
                json!(1_u64 << 20),
                json!(u64::MAX),
                json!("text"),
                json!("127.0.0.1:1"),
                json!("df://127.0.0.1:1"),
                json!(""),
                json!([]),
                json!(["RERAISE"]),
                json!(["file:///x"]),
                json!([1]),
                json!({}),
                json!({"a": 1}),
            ] {
                documents.push(says(&key, value));
            }
        }
    }
    assert!(keys > 70, "{keys}");
    let folder = folder();
    let verdicts = valid(&documents).await;
    let (mut taken, mut differing) = (0, Vec::new());
    for (index, (document, by_schema)) in documents.iter().zip(verdicts).enumerate() {
        let name = format!("{index}.yaml");
        write_files(folder.path(), &[(&name, document.to_string().as_bytes())]);
        let checked = bytefacts_check(&folder.path().join(&name));
        taken += usize::from(checked);
        if checked != by_schema {
            differing.push(document.to_string());
        }
    }
    assert!(taken > 150, "{taken} of {} documents are sound", documents.len());
    // What only the parser knows: which opcodes and places there are, and what a list of none, or a text of none, means.
    let known = ["terminator_opnames", "access", "include", "exclude", "cache", "\"node\""];
    let unexpected: Vec<_> = differing.iter().filter(|document| !known.iter().any(|known| document.contains(known))).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// Whether `bytefacts config check` takes a file; in an environment without settings.
fn bytefacts_check(file: &Path) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BYTEFACTS_")) {
        command.env_remove(name);
    }
    let output = command.args(["config", "check", file.to_str().unwrap()]).output().unwrap();
    match output.status.code() {
        Some(0) => true,
        Some(2) => false,
        code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_what_is_shipped() {
    for (action, name) in [("default", "bytefacts.yaml"), ("schema", "bytefacts.schema.json")] {
        let (code, stdout, stderr) = config(&[action], &[]).await;
        assert!(code == 0 && stdout == std::fs::read_to_string(shipped(name)).unwrap(), "{action}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_all_that_is_wrong_and_ends_with_2() {
    let folder = folder();
    write_files(
        folder.path(),
        &[
            ("bad.yaml", b"executor:\n  coers: 4\nscheduler:\n  listen: 0.0.0.0:50050\n  drain_seconds: soon\n"),
            ("good.yaml", b"executor: {cores: 2}\n"),
            ("remark.yaml", b"scheduler:\n  listen: 0.0.0.0:50050\n"),
        ],
    );
    let file = |name: &str| folder.path().join(name).display().to_string();
    let bad = file("bad.yaml");
    let (code, stdout, _) = config(&["check", &bad], &[("BYTEFACTS_EXECUTOR__CORES", "0")]).await;
    assert_eq!(code, 2, "{stdout}");
    for line in [
        format!("{bad}:2: executor.coers: there is no such setting; did you mean executor.cores?"),
        format!("{bad}:5: scheduler.drain_seconds: invalid type: string \"soon\", expected u64; set a whole number of at least 0"),
        "BYTEFACTS_EXECUTOR__CORES: executor.cores: it is at least 1".to_owned(),
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is not in {stdout}");
    }
    let (code, stdout, _) = config(&["check", &bad, "--format", "json"], &[]).await;
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &said["sound"], &said["findings"][0]["line"]), (2, &json!(false), &json!(2)));

    let (code, stdout, _) = config(&["check", &file("good.yaml")], &[]).await;
    assert!(code == 0 && stdout.ends_with("the settings are sound\n") && stdout.lines().count() == 1, "{stdout}");
    let (code, stdout, _) = config(&["check", &file("remark.yaml")], &[]).await;
    assert!(code == 0 && stdout.contains(":2: remark: scheduler.listen: 0.0.0.0:50050 is reached from other machines"), "{stdout}");
    let (code, _, stderr) = config(&["check", &file("missing.yaml")], &[]).await;
    assert!(code == 2 && stderr.contains("missing.yaml"), "{stderr}");
    // The file of the environment, and stdin.
    let (code, stdout, _) = config(&["check"], &[("BYTEFACTS_CONFIG", &bad)]).await;
    assert!(code == 2 && stdout.contains("bad.yaml:2"), "{stdout}");
    let home = crate::support::folder();
    let mut command = bytefacts(home.path(), &["config", "check", "-"]).await;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a:\n  b: 1\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("stdin:1: a: there is no such section"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_is_shown_with_who_has_said_so() {
    let folder = folder();
    write_files(folder.path(), &[("s.yaml", b"# mine\nexecutor:\n  cores: 2\n  node: n1\n")]);
    let file = folder.path().join("s.yaml").display().to_string();
    let variables = [("BYTEFACTS_EXECUTOR__DRAIN_SECONDS", "7")];
    let (code, stdout, stderr) = config(&["show", "--config", &file, "--", "executor", "--cores", "4"], &variables).await;
    assert_eq!(code, 0, "{stderr}");
    for line in [
        "  cores: 4  # --cores".to_owned(),
        format!("  node: \"n1\"  # {file}:4"),
        "  drain_seconds: 7  # BYTEFACTS_EXECUTOR__DRAIN_SECONDS".to_owned(),
        "  connect_seconds: 300  # default".to_owned(),
        "python: null  # default".to_owned(),
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is not in {stdout}");
    }
    // It is a file that says the same.
    write_files(folder.path(), &[("shown.yaml", stdout.as_bytes())]);
    let shown = folder.path().join("shown.yaml").display().to_string();
    let values = |text: &str| text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    let (_, again, _) = config(&["show", "--config", &shown], &[]).await;
    assert_eq!(values(&stdout), values(&again));

    let (code, stdout, _) = config(&["show", "--format", "json"], &[("BYTEFACTS_PYTHON", "/p")]).await;
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &said[0]), (0, &json!({"key": "python", "value": "/p", "from": "BYTEFACTS_PYTHON"})));
    let (code, _, stderr) = config(&["show", "--", "runs", "--facts", "x"], &[]).await;
    assert!(code == 2 && stderr.contains("has no settings"), "{stderr}");
    let (code, _, stderr) = config(&["show", "--", "executor", "--coers", "4"], &[]).await;
    assert!(code == 2 && stderr.contains("--cores"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_refuses_what_the_check_refuses() {
    let folder = folder();
    write_files(folder.path(), &[("s.yaml", b"serve: {running: 0, connections: 0}\ncluster_tls: {key: k.pem}\n")]);
    let file = folder.path().join("s.yaml").display().to_string();
    let home = crate::support::folder();
    let (code, _, stderr) = run(bytefacts(home.path(), &["executor", "--config", &file]).await);
    for part in ["serve.running: it is at least 1", "serve.connections: it is at least 1", "cluster_tls.authority"] {
        assert!(code == 2 && stderr.contains(part), "{stderr}");
    }
}

/// Nobody would read it, and the node would have another name than its owner thinks.
#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_ours_that_is_no_text_is_refused_by_every_command() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let home = folder();
    for args in [&["config", "check"][..], &["runs"], &["--help"]] {
        for (name, value, said) in [
            (&b"BYTEFACTS_EXECUTOR__NODE"[..], &b"n\xff"[..], "the value of BYTEFACTS_EXECUTOR__NODE is no UTF-8"),
            (b"BYTEFACTS_FACTS", b"/\xff", "the value of BYTEFACTS_FACTS is no UTF-8"),
            (b"BYTEFACTS_\xff", b"1", "the variable BYTEFACTS_\u{fffd} has a name that is no UTF-8"),
        ] {
            let mut command = bytefacts(home.path(), args).await;
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
            let (code, _, stderr) = run(command);
            assert!(code == 2 && stderr.contains(said), "{args:?}: {code}: {stderr}");
        }
    }
}
