//! The SQL service, asked by clients that are not ours: ADBC with pyarrow, pandas and polars on top, and the JDBC
//! driver where there is a Java.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytefacts_facts::views;
use serde_json::{Value, json};

use crate::clients::{ADBC, UNREACHABLE, installed, without};
use crate::service::Service;
use crate::service_access::{certify, with_users};
use crate::support::{Shape, extract, folder, not_tested, query_text, write_files};

/// A script beside the tests.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e").join(name)
}

/// What the script answers; none if the package index cannot be reached.
async fn adbc(arguments: &[&str]) -> Option<Value> {
    let Some(python) = installed("adbc", &ADBC).await else {
        without("ADBC asks the SQL service", UNREACHABLE);
        return None;
    };
    let names: Vec<_> = views::all().iter().map(|view| view.name).chain(["bytecode_files_v1"]).collect();
    let mut command = Command::new(python);
    command.arg(script("service_clients.py")).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(names).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A service over two runs: `first`, of one file, and then the corpus of `tests/sql`.
pub async fn over_two_runs() -> Service {
    let (corpus, facts) = (folder(), folder());
    write_files(corpus.path(), &[("one.py", b"answer = 42\n")]);
    extract(corpus.path(), facts.path(), &Shape { run: "first", ..Shape::default() }).await;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/corpus");
    extract(&corpus, facts.path(), &Shape::default()).await;
    Service::over(facts, &[], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_gets_what_our_sql_says() {
    let service = over_two_runs().await;
    let facts = service.facts.path();
    let Some(answer) = adbc(&[&format!("grpc://{}", service.daemon.address)]).await else { return };

    let counts = "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY opname";
    let ours: Vec<_> = query_text(facts, counts).await.into_iter().map(|row| json!([row[0], row[1].parse::<u64>().unwrap()])).collect();
    for reader in ["pyarrow", "pandas", "polars"] {
        assert_eq!(answer["readers"][reader], json!(ours), "{reader}");
    }
    let mut files = 0;
    for name in views::all().iter().map(|view| view.name).chain(["bytecode_files_v1"]) {
        let count: u64 = query_text(facts, &format!("SELECT count(*) FROM {name}")).await[0][0].parse().unwrap();
        assert_eq!(answer["views"][name], json!([count, true]), "{name}");
        files = count;
    }
    let loads = ours.iter().find(|row| row[0] == "LOAD_CONST").unwrap()[1].clone();
    assert_eq!(answer["parameters"], json!([[{"n": loads}], [{"n": loads}], 2, [{"n": 0}]]));
    assert_eq!(answer["empty"], answer["columns"].as_array().unwrap().len());
    assert_eq!(answer["session"], json!([files, 1]), "an option is kept by a cookie");
    assert_eq!(answer["header"], json!(1), "an option is given by a header");
    assert_eq!(answer["vendor"], "bytefacts");
    assert_eq!(answer["table_types"], json!(["SYSTEM TABLE", "TABLE", "VIEW"]));
    for run in ["first", "run-1"] {
        assert_eq!(answer["tree"]["runs"][run], answer["tree"]["facts"]["public"], "{run}");
    }
    assert_eq!(
        answer["tree"]["facts"]["bytefacts"],
        json!(["determinism_audit_v1", "determinism_summary_v1", "errors", "files", "repositories", "runs"])
    );
    assert_eq!(answer["columns"][0], json!(["repo", "repository key in the corpus"]));
    assert_eq!(answer["long"][0], 15 << 20);
    let kinds: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|error| error[0].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ProgrammingError"; 3]);
    for (error, said) in [(&answer["errors"][0], "nonsense"), (&answer["errors"][1], "only reads"), (&answer["long"][1], "fewer columns")] {
        assert!(error[1].as_str().unwrap().contains(said), "{error}");
    }
    assert_ne!(answer["cancelled"][0], "nothing");
    assert!(answer["cancelled"][1].as_f64().unwrap() < 10.0, "{}", answer["cancelled"]);
    assert_eq!(answer["after"], json!([{"a": 42}]));
    assert_eq!(service.daemon.metric("bytefacts_sql_queries_open"), 0.0, "what was cancelled is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_logs_in() {
    let (_home, service) = with_users().await;
    let Some(answer) = adbc(&[&format!("grpc://{}", service.daemon.address), "ada", "secret", "good token"]).await else { return };
    for known in ["password", "token"] {
        assert_eq!(answer[known], json!([{"a": 42}]), "{known}");
    }
    for (unknown, said) in [("wrong_password", "wrong"), ("wrong_token", "not known"), ("none", "a login is needed")] {
        assert!(answer[unknown][1].as_str().unwrap().contains(said), "{unknown}: {}", answer[unknown]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_trusts_the_certificate_that_is_there_now() {
    let home = folder();
    let path = |name: &str| home.path().join(name).display().to_string();
    if !(certify(home.path(), "old") && certify(home.path(), "new")) {
        not_tested("TLS of the SQL service", "there is no openssl");
        return;
    }
    let place = |name: &str| {
        for suffix in ["pem", "key"] {
            std::fs::copy(home.path().join(format!("{name}.{suffix}")), home.path().join(format!("used.{suffix}"))).unwrap();
        }
    };
    place("old");
    let service = Service::start(&["--tls-cert", &path("used.pem"), "--tls-key", &path("used.key")], "").await;
    let uri = format!("grpc+tls://localhost:{}", service.daemon.address.port());
    let trusted = async || adbc(&[&uri, &path("old.pem"), &path("new.pem")]).await;
    let Some(answer) = trusted().await else { return };
    assert_eq!(answer, json!(["nothing", "OperationalError"]));
    // The certificate rotates; a key that is not its own changes nothing.
    place("new");
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(trusted().await.unwrap(), json!(["OperationalError", "nothing"]));
    std::fs::copy(home.path().join("old.key"), home.path().join("used.key")).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(trusted().await.unwrap(), json!(["OperationalError", "nothing"]));
    assert!(service.daemon.log().contains("not the key of the certificate"), "{}", service.daemon.log());
    assert!(service.client_without_tls().await.is_err());
}

/// The JDBC driver, as the package index of Java has it; none if that cannot be reached or there is no Java.
pub fn jdbc_driver() -> Option<PathBuf> {
    const DRIVER: &str = "org.apache.arrow:flight-sql-jdbc-driver:18.3.0";
    let works = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works(Command::new("java").arg("-version")) {
        without("JDBC asks the SQL service", "there is no java");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients/jdbc");
    std::fs::create_dir_all(&folder).unwrap();
    let driver = folder.join("flight-sql-jdbc-driver-18.3.0.jar");
    let copy = ["-q", "dependency:copy", &format!("-Dartifact={DRIVER}"), &format!("-DoutputDirectory={}", folder.display())];
    if !driver.exists() && !works(Command::new("mvn").current_dir(&folder).args(copy)) {
        without("JDBC asks the SQL service", "Maven is not there, or cannot reach its index");
        return None;
    }
    Some(driver)
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_gets_what_our_sql_says() {
    let service = over_two_runs().await;
    let Some(driver) = jdbc_driver() else { return };
    let facts = service.facts.path();
    let counts = query_text(facts, "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY opname").await;
    let loads = counts.iter().find(|row| row[0] == "LOAD_CONST").unwrap()[1].clone();
    let files = query_text(facts, "SELECT count(*) FROM bytecode_files_v1").await[0][0].clone();
    let counts: Vec<_> = counts.iter().map(|row| row.join(" ")).collect();

    let url = format!("jdbc:arrow-flight-sql://{}?useEncryption=false", service.daemon.address);
    let mut command = Command::new("java");
    command.args(["--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp"]).arg(driver).arg(script("ServiceClient.java")).arg(url);
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{stdout}{stderr}");
    let said: Vec<_> = stdout.lines().collect();
    let expected = [
        "product: bytefacts true 0".to_owned(),
        "catalogs: [facts, runs]".to_owned(),
        "tables: [py_bc_blocks VIEW]".to_owned(),
        "column: [repo VARCHAR repository key in the corpus]".to_owned(),
        "key: [block_id]".to_owned(),
        format!("counts: [{}]", counts.join(", ")),
        format!("nested: {files}"),
        "empty: []".to_owned(),
        "nulls: [null  null]".to_owned(),
        format!("prepared: [{loads}]"),
        "prepared: [0]".to_owned(),
        format!("before: [{files}]"),
        "update: 0".to_owned(),
        "after: [1]".to_owned(),
    ];
    assert_eq!(said[..expected.len()], expected, "{stderr}");
    let [nonsense, drop, division, cancelled] = said[expected.len()..] else { panic!("{said:?}") };
    assert!(nonsense.contains("nonsense") && drop.contains("only reads") && division.contains("Divide by zero"), "{said:?}");
    assert_eq!(cancelled, "cancelled: soon");
    assert_eq!(service.daemon.metric("bytefacts_sql_queries_open"), 0.0, "what was cancelled is over");
}
