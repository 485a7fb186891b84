//! What audits tell: reports in every form, tables in SQL, metrics, and what is let pass.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::audits::{POISONED, Place, documents, files_below, poisoned, read, sql, text};
use crate::clients::installed;
use crate::support::{not_tested, python, python_with_patched};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_audits_have_found_is_asked_for_in_sql_here_and_of_the_service() {
    let place = poisoned();
    let count = "SELECT count(*) AS n FROM bytefacts.determinism_audit_v1";
    assert_eq!(sql(&place, count)[0]["n"], 0, "before there is any");
    assert!(sql(&place, "SELECT audit, verdict FROM bytefacts.determinism_audit_v1").is_empty());
    let (report, _) = place.audit(&[&POISONED[..], &["--condition", "reversed"]].concat());
    let (clean, _) = place.audit(&["--run", "clean", "--preset", "full", "--condition", "reversed"]);
    // An audit that was begun and not concluded is in no table, nor is what lies about.
    let audits = place.folder.path().join("facts/audits");
    fs::create_dir_all(audits.join("begun/units/000000")).unwrap();
    fs::write(audits.join("begun/units/000000/reversed.json"), "[]").unwrap();
    let one = files_below(&audits.join(report["audit"].as_str().unwrap())).into_iter().find(|path| path.extension().unwrap() == "parquet");
    fs::copy(one.unwrap(), audits.join("begun/determinism_audit_v1-00.parquet")).unwrap();

    let both = report["files"].as_u64().unwrap() * 2 + clean["files"].as_u64().unwrap();
    let by_verdict =
        "SELECT run, verdict, count(*) AS n, count(cause) AS causes FROM bytefacts.determinism_audit_v1 GROUP BY 1, 2 ORDER BY 1, 2";
    let rows = sql(&place, by_verdict);
    assert_eq!(rows.iter().map(|row| row["n"].as_u64().unwrap()).sum::<u64>(), both);
    let of = |run: &str, verdict: &str| {
        rows.iter().find(|row| row["run"] == run && row["verdict"] == verdict).map_or(0, |row| row["n"].as_u64().unwrap())
    };
    for verdict in ["good", "bad", "fail", "unknown"] {
        assert_eq!(of("poisoned", verdict), report["verdicts"][verdict].as_u64().unwrap(), "{verdict}");
        assert_eq!(of("clean", verdict), clean["verdicts"][verdict].as_u64().unwrap(), "{verdict}");
    }
    // The statement that reports give finds what they show.
    let statement = bytefacts_audit::report::findings_sql(report["audit"].as_str().unwrap());
    let found = sql(&place, &statement);
    assert_eq!((found.len(), &found[0]["path"], &found[0]["cause"]), (1, &"a.py".into(), &"X01".into()));
    let difference = "SELECT field, value_first, value_second FROM bytefacts.determinism_audit_v1 WHERE verdict = 'bad'";
    assert!(sql(&place, difference)[0]["value_second"].as_str().unwrap().contains("abaut"));
    let summary = "SELECT condition, good, bad, complete FROM bytefacts.determinism_summary_v1 WHERE run = 'poisoned' ORDER BY condition";
    let rows = sql(&place, summary);
    assert_eq!((&rows[0]["condition"], &rows[0]["bad"], &rows[0]["complete"]), (&"committed".into(), &1.into(), &true.into()));
    assert_eq!(sql(&place, "SELECT sum(files * 1) AS n FROM bytefacts.determinism_summary_v1")[0]["n"], both);

    // What docs/audit.md tells to ask is answered.
    let text_of = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.md")).unwrap();
    let block = text_of.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    for statement in block.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        assert!(!sql(&place, statement).is_empty(), "{statement}");
    }
    // Columns say what they mean.
    let described = place.bytefacts(&["sql", "--facts", &place.path("facts"), "-c", "\\d bytefacts.determinism_audit_v1"]);
    let described = text(&described.stdout);
    assert!(described.contains("under what it was derived again"), "{described}");

    // The service shows the same, with types, and neither writes nor reads anything else.
    let facts = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(place.folder.path().join("facts/.")).arg(facts.path()).status().unwrap();
    assert!(copied.success());
    let service = crate::service::Service::over(facts, &[], "").await;
    let mut client = service.client().await;
    assert_eq!(crate::service::ask_number(&mut client, count).await, i64::try_from(both).unwrap());
    let bad = "SELECT path, cause FROM bytefacts.determinism_audit_v1 WHERE verdict = 'bad'";
    assert_eq!(crate::service::ask_text(&mut client, bad).await, [["a.py", "X01"]]);
    let typed = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'determinism_summary_v1' AND data_type = 'Int64'";
    assert_eq!(crate::service::ask_number(&mut client, typed).await, 10);
    let denied = crate::service::ask(&mut client, "DELETE FROM bytefacts.determinism_audit_v1").await;
    assert!(denied.is_err());
}

/// What a file of a table holds is what the table is said to hold: names, types, nulls and meanings.
#[test]
fn tables_of_audits_are_what_sql_says_they_are() {
    use bytefacts_query::listings::{AUDIT, AUDIT_SUMMARY};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let place = Place::new();
    place.extract("one");
    let (report, _) = place.audit(&["--run", "one", "--condition", "reversed"]);
    let folder = place.folder.path().join("facts/audits").join(report["audit"].as_str().unwrap());
    for listing in [&AUDIT, &AUDIT_SUMMARY] {
        let name = documents(&place, report["audit"].as_str().unwrap()).into_iter().find(|name| name.starts_with(listing.name)).unwrap();
        let file = fs::File::open(folder.join(name)).unwrap();
        let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
        assert_eq!(schema.fields(), listing.arrow_schema().fields());
        assert!(listing.columns.iter().all(|(.., doc)| !doc.is_empty()));
    }
}

/// As node_exporter reads them: a name, labels and a number a line.
#[test]
fn metrics_of_the_newest_audit_go_into_a_file() {
    let place = poisoned();
    let path = place.path("audit.prom");
    let written = |arguments: &[&str]| {
        place.audit(&[arguments, &["--metrics-file", &path]].concat());
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    };
    let found: std::collections::BTreeMap<String, f64> = written(&POISONED);
    assert!(found.contains_key("bytefacts_current_run_timestamp_seconds"));
    assert!(found.keys().all(|name| !name.starts_with("bytefacts_audit_")), "one condition by hand is no night: {found:?}");
    let matrix = place.path("one.yaml");
    let presets = "presets: {one: {minutes: 9, nights: 1, conditions: all}}";
    fs::write(&matrix, format!("version: 1\nbin_files: 64\nconditions: {{committed: {{committed: true}}}}\n{presets}\n")).unwrap();
    let of_run = |run| ["--run", run, "--preset", "one", "--matrix", &matrix];
    let verdicts = |found: &std::collections::BTreeMap<String, f64>| {
        ["bad", "good"].map(|verdict| found[&format!("bytefacts_audit_verdicts{{preset=\"one\",verdict=\"{verdict}\"}}")])
    };
    let at = |what: &str| format!("bytefacts_audit_last_{what}_timestamp_seconds{{preset=\"one\"}}");
    let found = written(&of_run("poisoned"));
    assert_eq!(verdicts(&found), [1.0, 4.0], "{found:?}");
    assert!(found.contains_key(&at("complete")) && !found.contains_key(&at("success")), "no audit has found nothing yet");
    let found = written(&of_run("clean"));
    assert_eq!((verdicts(&found), found["bytefacts_audit_unknown_share{preset=\"one\"}"]), ([0.0, 4.0], 0.0));
    assert!(found[&at("report")] == found[&at("success")] && found[&at("success")] > 1.7e9, "{found:?}");
    // It takes the place of the other at once, and leaves nothing beside it.
    let beside = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(beside.into_iter().all(|name| !name.contains(".bytefacts-")));
    // What one file is looked at for says nothing of the night.
    fs::remove_file(&path).unwrap();
    place.audit(&[&POISONED[..], &["--only", "r/a.py", "--metrics-file", &path]].concat());
    assert!(!Path::new(&path).exists());
}

/// A gateway of Prometheus as far as a push sees it: it answers what it is told to, and gives what it was asked.
fn gateway(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = std::thread::spawn(move || {
        let asked = answers.iter().map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut reader, mut head, mut length) = (BufReader::new(stream.try_clone().unwrap()), String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let from = head.len();
                reader.read_line(&mut head).unwrap();
                if let Some(said) = head[from..].to_lowercase().strip_prefix("content-length:") {
                    length = said.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            head + &text(&body)
        });
        asked.collect()
    });
    (address, asked)
}

#[test]
fn metrics_are_pushed_to_a_gateway_and_who_does_not_take_them_is_told_of() {
    let place = Place::new();
    place.extract("one");
    let one = ["--run", "one", "--preset", "quick", "--fail-on", "never"];
    // A gateway that begins is asked again.
    let (address, asked) = gateway(&["503 Service Unavailable", "200 OK"]);
    let (_, code) = place.audit(&[&one[..], &["--metrics-push", &format!("http://me:secret@{address}")]].concat());
    assert_eq!(code, 0);
    for request in asked.join().unwrap() {
        assert!(request.starts_with("PUT /metrics/job/bytefacts_audit HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("authorization: basic bwu6c2vjcmv0"), "{request}");
        for metric in ["bytefacts_audit_last_report_timestamp_seconds{preset=\"quick\"}", "bytefacts_current_run_timestamp_seconds"] {
            assert!(request.lines().any(|line| line.starts_with(metric)), "{metric}: {request}");
        }
    }
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let pushed = |address: &str| {
        let night = ["audit", &corpus, "--facts", &facts, "--night", "1"];
        let output = place.bytefacts(&[&night[..], &one, &["--metrics-push", address]].concat());
        (output.status.code().unwrap(), text(&output.stderr))
    };
    let (address, asked) = gateway(&["400 Bad Request"]);
    let (code, said) = pushed(&format!("http://me:secret@{address}/metrics/job/mine"));
    assert!(
        code == 1 && said.contains("refuses the metrics: 400") && said.contains("/metrics/job/mine") && !said.contains("secret"),
        "{said}"
    );
    assert_eq!(asked.join().unwrap().len(), 1, "it is not asked again");
    assert_eq!(pushed("nowhere:9091").0, 2, "before anything is done");
    // Where it says who pushes, it is better not said on a command line.
    let (address, asked) = gateway(&["200 OK"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
    command
        .args(["audit", &corpus, "--facts", &facts, "--night", "1"])
        .args(one)
        .env("BYTEFACTS_METRICS_PUSH", format!("http://{address}"));
    let output = command.env("BYTEFACTS_CACHE_DIR", place.path("cache")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(asked.join().unwrap().len(), 1);
}

#[test]
fn what_is_allowed_passes_until_its_day_and_stays_bad() {
    let place = poisoned();
    let list = |name: &str, until: &str| {
        let entry = format!("{{files: 'r/*.py', cause: X01, reason: a test, owner: us, link: 'https://example.org/1', until: {until}}}");
        fs::write(place.folder.path().join(name), format!("version: 1\nallow:\n  - {entry}\n")).unwrap();
        place.path(name)
    };
    let (known, expired) = (list("known.yaml", "2999-12-31"), list("expired.yaml", "2001-01-01"));
    let junit = place.path("junit.xml");
    let (report, code) = place.audit(&[&POISONED[..], &["--allow", &known, "--junit", &junit]].concat());
    assert_eq!((code, &report["verdicts"]["bad"], &report["allowed"]), (0, &1.into(), &1.into()), "{report:#}");
    assert_eq!(report["findings"][0]["allowed"]["owner"], "us");
    assert_eq!(report["unmatched"].as_array().unwrap().len(), 0);
    let junit = fs::read_to_string(junit).unwrap();
    assert!(junit.contains("failures=\"0\"") && junit.contains("allowed until 2999-12-31"), "{junit}");
    // The same audit is judged anew by what is allowed now.
    let (report, code) = place.audit(&[&POISONED[..], &["--allow", &expired]].concat());
    assert_eq!((code, &report["allowed"], &report["stale"][0]["matches"]), (3, &0.into(), &1.into()));
    let (report, code) = place.audit(&POISONED);
    assert_eq!((code, report["stale"].as_array().unwrap().len()), (3, 0));
    // An entry that has expired is a finding of a clean night too.
    let clean = ["--run", "clean", "--preset", "full", "--condition", "committed", "--allow"];
    // One that nothing is found for is told of, and no more.
    let (report, code) = place.audit(&[&clean[..], &[&known]].concat());
    assert_eq!((code, &report["unmatched"][0]["files"]), (0, &"r/*.py".into()), "{report:#}");
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let said = place.bytefacts(&[&["audit", &corpus, "--facts", &facts, "--night", "1"], &clean[..], &[&known]].concat());
    assert!(text(&said.stdout).contains("allowed but matched by no finding tonight: r/*.py (X01), us"), "{}", text(&said.stdout));
    assert_eq!(place.audit(&[&clean[..], &[&expired]].concat()).1, 3);
    assert_eq!(place.audit(&[&clean[..], &[&expired, "--fail-on", "bad"]].concat()).1, 0);
    for wrong in ["version: 1\nallow: [{files: '**'}]", "version: 9\nallow: []", "]"] {
        fs::write(place.folder.path().join("wrong.yaml"), wrong).unwrap();
        let (corpus, facts, wrong) = (place.path("corpus"), place.path("facts"), place.path("wrong.yaml"));
        let output = place.bytefacts(&["audit", &corpus, "--facts", &facts, "--run", "clean", "--allow", &wrong]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("allow-list"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn every_form_of_the_report_is_what_its_schema_says() {
    let Some(validator) = installed("schemas", &["jsonschema==4.26.0", "xmlschema==4.3.2"]).await else {
        not_tested("schemas of reports", "the package index cannot be reached");
        return;
    };
    let place = poisoned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repository = |path: &str| root.join(path).to_str().unwrap().to_owned();
    let mut jobs = Vec::new();
    let mut keep = |schema: &str, name: &str, document: &Value| {
        fs::write(place.folder.path().join(name), document.to_string()).unwrap();
        jobs.push(serde_json::json!({ "schema": repository(schema), "document": place.path(name) }));
    };
    let allowed = "version: 1\nallow: [{files: '**', cause: X01, reason: r, owner: o, link: l, until: 2999-01-01},\n\
                   {files: '**', cause: C09, condition: reversed, reason: r, owner: o, link: l, until: 2001-01-01}]\n";
    fs::write(place.folder.path().join("allowed.yaml"), allowed).unwrap();
    fs::write(place.folder.path().join("corpus/r/orphan.pyc"), "x").unwrap();
    // A second interpreter that compiles something else.
    let python = python().await;
    let other = tempfile::tempdir().unwrap();
    let patch = "import builtins as _b\n\
                 def _more(source, *arguments, _behind=_b.compile, **options):\n    \
                     return _behind(source + b'\\nz9 = [1]\\n' if isinstance(source, bytes) and b'def f' in source else source, *arguments, **options)\n\
                 _b.compile = _more\n";
    let other = python_with_patched("warnings", &python, other.path(), patch);
    let pythons = ["--python", python.executable.to_str().unwrap(), "--python", other.executable.to_str().unwrap()];
    let path = |name: &str| place.path(name);
    let (sarif, junit, intoto) = (path("s.json"), path("j.xml"), path("i.json"));
    let written = ["--sarif", &sarif, "--junit", &junit, "--intoto", &intoto];
    for (name, arguments) in [
        ("clean", vec!["--run", "clean", "--preset", "full"]),
        ("found", [&POISONED[..], &["--condition", "reversed"]].concat()),
        ("allowed", [&POISONED[..], &["--allow", &path("allowed.yaml")]].concat()),
        ("drift", [&["--run", "poisoned", "--preset", "full", "--condition", "reversed"][..], &pythons].concat()),
        ("unknown", vec!["--run", "clean", "--preset", "full", "--minutes", "0"]),
    ] {
        let (report, _) = place.audit(&[&arguments[..], &written].concat());
        keep("docs/schemas/audit.json", &format!("{name}.json"), &report);
        for (schema, file) in [("tests/e2e/schemas/sarif-schema-2.1.0.json", &sarif), ("tests/e2e/schemas/intoto.json", &intoto)] {
            keep(schema, &format!("{name}-{}", Path::new(file).file_name().unwrap().to_str().unwrap()), &read(file));
        }
        let text = fs::read_to_string(&junit).unwrap();
        fs::write(path(&format!("{name}.xml")), text).unwrap();
        if name == "drift" {
            assert!(!report["drift"][0]["clusters"].as_array().unwrap().is_empty(), "{report:#}");
            let others = report["others"].to_string();
            assert!(!others.contains('/') && others.contains("build"), "no path of a machine: {others}");
        }
        if name == "allowed" {
            assert_eq!(read(&sarif)["runs"][0]["results"][0]["suppressions"][0]["status"], "accepted");
            assert_eq!(report["pyc"]["counts"]["damaged"], 1);
        }
    }
    keep("docs/schemas/diff.json", "diff.json", &place.diff(&["clean", "poisoned"]).0);
    keep("docs/schemas/diff.json", "side.json", &place.diff(&["clean", "poisoned", "--file", "r/a.py"]).0);
    for name in ["clean", "found", "allowed", "drift", "unknown"] {
        jobs.push(serde_json::json!({ "schema": repository("tests/e2e/schemas/junit-10.xsd"), "document": path(&format!("{name}.xml")) }));
    }
    // The statement is about the document that commits the run.
    let (_, _) = place.audit(&[&POISONED[..], &written].concat());
    let statement = read(&intoto);
    let header = fs::read(place.folder.path().join("facts/runs/poisoned/run.json")).unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], hex::encode(Sha256::digest(header)));
    assert_eq!((&statement["predicate"]["result"], &statement["predicate"]["determinism"]["signed"]), (&"FAILED".into(), &false.into()));

    let mut command = Command::new(validator);
    command.arg(root.join("tests/e2e/schemas.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), jobs.len());
    for answer in &answers {
        assert!(answer["refused"].as_u64().unwrap() >= 3, "a schema that refuses nothing: {answer}");
    }
    assert!(answers.iter().any(|answer| answer["refused"].as_u64().unwrap() > 30), "schemas see deep places");
}

#[test]
fn nights_before_are_the_trend_and_what_was_found_before_is_known() {
    let place = poisoned();
    let (page, sarif) = (place.path("h.html"), place.path("s.json"));
    let (corpus, facts) = (place.path("corpus"), place.path("facts"));
    let at = |night: &str| {
        let arguments =
            [&["audit", &corpus, "--facts", &facts, "--night", night, "--html", &page, "--sarif", &sarif], &POISONED[..]].concat();
        let output = place.bytefacts(&arguments);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        (fs::read_to_string(&page).unwrap(), read(&sarif)["runs"][0]["results"][0]["baselineState"].clone())
    };
    let (first, state) = at("1");
    assert!(!first.contains("id=\"trend\"") && state.is_null(), "there is nothing before the first night");
    let (second, state) = at("2");
    assert!(second.contains("id=\"trend\"") && second.contains("<th scope=\"row\">2</th>") && second.contains("<th scope=\"row\">1</th>"));
    assert_eq!(state, "unchanged");
    // The page of the first night stays what it was.
    assert_eq!(at("1").0, first);
}
