//! The SQL service as explorers of databases see it, by the JDBC driver: what they ask before anybody asks anything, every table, every type, logins.

use std::io::Write as _;
use std::process::{Command, Stdio};

use arrow::datatypes::DataType;
use bytefacts_facts::schema::FILE;
use bytefacts_facts::views;
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use sha2::Digest as _;

use crate::service::{EXPRESSIONS, Service};
use crate::service_access::{certify, with_users};
use crate::service_clients::{jdbc_driver, over_two_runs, script};
use crate::support::{folder, not_tested, query, query_text, texts};

/// What the explorer says of services, a question and its answer a line; none where there is no Java or no driver.
fn explore(what: &str, urls: &[String], input: &str) -> Option<Vec<(String, String)>> {
    let driver = jdbc_driver()?;
    let mut command = Command::new("java");
    command
        .args(["-Duser.timezone=UTC", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp"])
        .arg(driver)
        .arg(script("ServiceExplorer.java"))
        .arg(what)
        .args(urls);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{stdout}{stderr}");
    let said = stdout.lines().map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line}{stderr}")));
    Some(said.map(|(question, answer)| (question.to_owned(), answer.to_owned())).collect())
}

fn url(service: &Service, options: &str) -> String {
    format!("jdbc:arrow-flight-sql://{}?{options}", service.daemon.address)
}

/// The answers to one kind of question.
fn of<'a>(said: &'a [(String, String)], question: &str) -> Vec<&'a str> {
    said.iter().filter(|(asked, _)| asked == question).map(|(_, answer)| answer.as_str()).collect()
}

/// What the driver 18.3.0 answers by itself, with nothing, whatever it is connected to.
const UNASKED: [&str; 8] = [
    "getTypeInfo 0",
    "getClientInfoProperties 0",
    "getIndexInfo of py_bc_blocks 0",
    "getBestRowIdentifier of py_bc_blocks 0",
    "getProcedures 0",
    "getFunctions 0",
    "getUDTs 0",
    "getTablePrivileges 0",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_explorer_asks_all_that_it_asks_and_every_column_has_its_comment() {
    let service = over_two_runs().await;
    let Some(said) = explore("metadata", &[url(&service, "useEncryption=false")], "") else { return };
    assert_eq!(of(&said, "threw"), [""; 0], "nothing is refused");
    let rows = of(&said, "rows");
    let told = format!("getTables of facts {}", views::all().len() + 1);
    let expected = [
        "getCatalogs 2",
        "getSchemas of facts 3",
        "getTableTypes 3",
        "getPrimaryKeys of bytecode_files_v1 1",
        "getPrimaryKeys of py_bc_blocks 1",
        "getImportedKeys of py_bc_blocks 0",
        "getExportedKeys of py_bc_blocks 0",
        "getCrossReference 0",
        &told,
    ];
    for answered in expected.into_iter().chain(UNASKED) {
        assert!(rows.contains(&answered), "{answered}: {rows:#?}");
    }
    let values = of(&said, "value");
    for answered in ["getDatabaseProductName bytefacts", "isReadOnly true", "connection.isValid true", "statement true 2 false -1"] {
        assert!(values.contains(&answered), "{answered}: {values:#?}");
    }
    let keywords = values.iter().find(|value| value.starts_with("getSQLKeywords ")).unwrap();
    assert!(keywords.contains("QUALIFY"), "{keywords}");
    // Columns come with what they mean.
    let mut documented: Vec<_> = FILE.columns.iter().map(|column| format!("bytecode_files_v1.{} {}", column.name, column.doc)).collect();
    for view in views::all() {
        documented.extend(view.columns.iter().map(|column| format!("{}.{} {}", view.name, column.name, column.doc)));
    }
    documented.sort();
    let mut columns = of(&said, "column");
    columns.sort_unstable();
    assert_eq!(columns, documented);
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_reads_every_table_as_our_sql_does() {
    let service = over_two_runs().await;
    let Some(said) = explore("tables", &[url(&service, "useEncryption=false")], "") else { return };
    let is_plain = |of: &DataType| of.is_integer() || of.is_string() || matches!(of, DataType::Boolean | DataType::Dictionary(..));
    let session = facts_session(&Stores::default(), &crate::support::url(service.facts.path()), None).unwrap();
    let mut expected = Vec::new();
    for name in views::all().iter().map(|view| view.name).chain(["bytecode_files_v1"]) {
        let table = session.table(name).await.unwrap();
        let plain = table.schema().fields().iter().filter(|field| is_plain(field.data_type()));
        let plain: Vec<_> = plain.map(|field| format!("\"{}\"", field.name())).collect();
        let rows = texts(&query(service.facts.path(), &format!("SELECT {} FROM {name}", plain.join(", "))).await);
        let mut lines: Vec<_> = rows.iter().map(|row| row.join("\u{1f}") + "\n").collect();
        lines.sort();
        // Of a result without rows the driver tells every column twice (18.3).
        let told = if rows.is_empty() { 2 * plain.len() } else { plain.len() };
        expected.push(format!("{name} {} {told} {}", rows.len(), hex::encode(sha2::Sha256::digest(lines.concat()))));
    }
    expected.sort();
    let mut tables = of(&said, "table");
    tables.sort_unstable();
    assert_eq!(tables, expected);
}

/// Of each expression its type, its value, null beside it, and the same type without a row.
#[tokio::test(flavor = "multi_thread")]
async fn jdbc_knows_every_type_with_and_without_a_value() {
    let service = over_two_runs().await;
    let Some(said) = explore("types", &[url(&service, "useEncryption=false")], &(EXPRESSIONS.join("\n") + "\n")) else { return };
    let said: Vec<_> = said.iter().map(|(expression, answer)| format!("{expression}: {answer}")).collect();
    let expected = EXPRESSIONS.iter().zip(AS_JDBC);
    let expected: Vec<_> =
        expected.map(|(expression, [of_type, value])| format!("{expression}: {of_type} | {value} | null | {of_type}")).collect();
    assert_eq!(said, expected);
}

/// What [`EXPRESSIONS`] are to the driver: type and value.
const AS_JDBC: [[&str; 2]; EXPRESSIONS.len()] = [
    ["NULL", "null"],
    ["BOOLEAN", "true"],
    ["TINYINT", "1"],
    ["SMALLINT", "1"],
    ["INTEGER", "1"],
    ["BIGINT", "1"],
    ["INTEGER", "1"],
    ["FLOAT", "1.5"],
    ["DOUBLE", "1.5"],
    ["DECIMAL", "1.25"],
    ["VARCHAR", "text"],
    ["VARCHAR", "view"],
    ["LONGVARCHAR", "large"],
    ["VARCHAR", "word"],
    ["VARBINARY", "00ff"],
    ["VARBINARY", "00ff"],
    ["DATE", "2026-01-31"],
    ["TIMESTAMP", "2026-01-31 12:00:00.0"],
    ["TIME", "12:00:00"],
    ["JAVA_OBJECT", "P1M PT0S"],
    ["ARRAY", r#"["a",null]"#],
    ["ARRAY", r#"["in a list"]"#],
    ["JAVA_OBJECT", r#"{"a":1,"b":"in a struct"}"#],
    ["JAVA_OBJECT", r#"{"k":"v"}"#],
];

/// The URLs of docs/sql.md: a run, a login, TLS; and what is wrong is said.
#[tokio::test(flavor = "multi_thread")]
async fn jdbc_chooses_a_run_and_logs_in_by_its_url() {
    let service = over_two_runs().await;
    let all = query_text(service.facts.path(), "SELECT count(*) FROM bytecode_files_v1").await[0][0].clone();
    let (_home, with_users) = with_users().await;
    let home = folder();
    let path = |suffix: &str| home.path().join(format!("own.{suffix}")).display().to_string();
    if !certify(home.path(), "own") {
        not_tested("TLS by JDBC", "there is no openssl");
        return;
    }
    let encrypted = Service::start(&["--tls-cert", &path("pem"), "--tls-key", &path("key")], "").await;
    let by_name = |options: &str| format!("jdbc:arrow-flight-sql://localhost:{}?{options}", encrypted.daemon.address.port());
    let urls = [
        url(&service, "useEncryption=false"),
        url(&service, "useEncryption=false&bytefacts.run=first"),
        url(&service, "useEncryption=false&bytefacts.run=nightly"),
        url(&with_users, "useEncryption=false&user=ada&password=secret"),
        url(&with_users, "useEncryption=false&token=good%20token"),
        url(&with_users, "useEncryption=false&user=ada&password=wrong"),
        url(&with_users, "useEncryption=false&token=another"),
        url(&with_users, "useEncryption=false"),
        by_name(&format!("useEncryption=true&tlsRootCerts={}", path("pem"))),
        by_name("useEncryption=true&useSystemTrustStore=true"),
    ];
    let Some(said) = explore("connect", &urls, "") else { return };
    let expected = [
        ("files", &*all),
        ("files", "1"),
        ("error", "run nightly is not committed"),
        ("files", &*all),
        ("files", &*all),
        ("error", "the user name or the password is wrong"),
        ("error", "the token is not known here"),
        ("error", "a login is needed"),
        ("files", &*all),
        ("error", ""),
    ];
    assert_eq!(said.len(), expected.len());
    for (((question, answer), (expected, words)), url) in said.iter().zip(expected).zip(&urls) {
        assert!(question == expected && answer.contains(words) && (question == "error" || answer == words), "{url}: {question}: {answer}");
    }
}
