//! The audit log of the SQL service: what it says, and what it never does.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow_flight::{Action, CancelFlightInfoRequest};
use prost::Message as _;
use serde_json::Value;
use sha2::Digest as _;
use tempfile::TempDir;
use tonic::Request;

use crate::service::{ENDLESS, Service, ask, ask_number};
use crate::service_access::users;
use crate::support::{Shape, extract, folder, write_files};

/// A service with users that logs nothing but what it must.
async fn quiet(settings: &str) -> (TempDir, Service) {
    let home = folder();
    write_files(home.path(), &[("users.yaml", users().as_bytes())]);
    let file = home.path().join("users.yaml").display().to_string();
    let facts = folder();
    extract(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/corpus"), facts.path(), &Shape::default()).await;
    let environment = [("BYTEFACTS_LOG", "off"), ("BYTEFACTS_LOG_FORMAT", "json")];
    let service = Service::over_with(facts, &["--users", &file], settings, &environment).await;
    (home, service)
}

fn events(service: &Service) -> Vec<Value> {
    service.daemon.log().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The named fields of events, as text; what an event does not have is a dash.
fn fields(events: &[Value], names: &[&str]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    events.iter().map(|event| names.iter().map(|name| text(&event[*name])).collect::<Vec<_>>().join(" ")).collect()
}

fn sha256(text: &str) -> String {
    hex::encode(sha2::Sha256::digest(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_and_who_is_not_is_logged_without_what_shows_it() {
    let (_home, service) = quiet("").await;
    service.client().await.handshake("ada", "secret").await.unwrap();
    service.client().await.handshake("ada", "a wrong one").await.unwrap_err();
    // A password where a name belongs.
    service.client().await.handshake("mellon", "x").await.unwrap_err();
    let mut client = service.client().await;
    client.set_token("a forged token".to_owned());
    ask(&mut client, "SELECT 1").await.unwrap_err();
    ask(&mut service.client().await, "SELECT 1").await.unwrap_err();
    let events = events(&service);
    assert_eq!(
        fields(&events, &["target", "level", "event", "user", "error"]),
        [
            "bytefacts::audit info login ada -",
            "bytefacts::audit info denied ada the user name or the password is wrong",
            "bytefacts::audit info denied - the user name or the password is wrong",
            "bytefacts::audit info denied - the token is not known here",
            "bytefacts::audit info denied - a login is needed: a user name and a password (Basic), or a token (Bearer)",
        ]
    );
    for event in &events {
        assert!(event["client"].as_str().unwrap().parse::<SocketAddr>().unwrap().ip().is_loopback(), "{event}");
    }
    for secret in ["secret", "wrong one", "mellon", "forged"] {
        assert!(!service.daemon.log().contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_logged_with_who_asked_and_what_came_of_it() {
    let (_home, service) = quiet("serve: {early_milliseconds: 100}").await;
    let mut ada = service.client().await;
    ada.handshake("ada", "secret").await.unwrap();
    let long = format!("SELECT count(*) FROM bytefacts.runs -- {}", "x".repeat(4000));
    assert_eq!(ask_number(&mut ada, &long).await, 1);
    ask(&mut ada, "SELECT 1 / 0").await.unwrap_err();
    ask(&mut ada, "DROP TABLE t").await.unwrap_err();
    ask(&mut ada, "SELECT nonsense\nFROM bytefacts.runs").await.unwrap_err();
    ada.prepare("SELECT nothing FROM bytefacts.runs".to_owned(), None).await.map(drop).unwrap_err();
    ada.execute_update("SET bytefacts.run = 'run-1'".to_owned(), None).await.unwrap();
    ask(&mut ada, "SET bytefacts.run = 'nightly'").await.unwrap_err();
    let info = ada.execute(ENDLESS.to_owned(), None).await.unwrap();
    let body = CancelFlightInfoRequest::new(info).encode_to_vec().into();
    let mut cancel = Request::new(Action { r#type: "CancelFlightInfo".to_owned(), body });
    cancel.metadata_mut().insert("authorization", format!("Bearer {}", ada.token().unwrap()).parse().unwrap());
    ada.inner_mut().do_action(cancel).await.unwrap();
    let begun = Instant::now();
    while service.daemon.metric("bytefacts_sql_queries_open") > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let mut events = events(&service);
    assert_eq!(events.remove(0)["event"], "login");
    let cancelled = events.split_off(7);
    assert_eq!(
        fields(&events, &["event", "user", "outcome", "rows", "execution", "option", "value"]),
        [
            "query ada finished 1 local - -",
            "query ada failed 0 local - -",
            "refused ada - - - - -",
            "refused ada - - - - -",
            "refused ada - - - - -",
            "option ada set - - bytefacts.run run-1",
            "option ada refused - - bytefacts.run nightly",
        ]
    );
    // The log has the beginning of a statement, and what all of it hashes to.
    assert_eq!(events[0]["statement_sha256"], sha256(&long).as_str());
    assert!(events[0]["statement"].as_str().unwrap().len() < 3000 && events[0]["bytes"].as_u64().unwrap() > 0);
    assert!(events[0]["milliseconds"].is_u64() && events[0]["query"].as_str().unwrap().len() > 8);
    for (event, statement, said) in [
        (&events[1], "SELECT 1 / 0", "Divide by zero"),
        (&events[2], "DROP TABLE t", "only reads"),
        (&events[3], "SELECT nonsense\nFROM bytefacts.runs", "nonsense"),
        (&events[4], "SELECT nothing FROM bytefacts.runs", "nothing"),
    ] {
        assert_eq!(event["statement"], statement);
        assert_eq!(event["statement_sha256"], sha256(statement).as_str());
        assert!(event["error"].as_str().unwrap().contains(said), "{event}");
    }
    assert!(events[6]["error"].as_str().unwrap().contains("not committed"), "{}", events[6]);

    // Who cancels, and what is cancelled by it, come in no order.
    let mut said = fields(&cancelled, &["event", "user", "outcome", "statement"]);
    said.sort();
    assert_eq!(said, ["cancel ada cancelled -".to_owned(), format!("query ada cancelled {ENDLESS}")]);
    assert_eq!(cancelled[0]["query"], cancelled[1]["query"]);
    for event in events.iter().chain(&cancelled) {
        assert!(event["client"].as_str().unwrap().parse::<SocketAddr>().unwrap().ip().is_loopback(), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_switches_it_off() {
    let (_home, service) = quiet("serve: {audit_log: false}").await;
    let mut ada = service.client().await;
    ada.handshake("ada", "secret").await.unwrap();
    assert_eq!(ask_number(&mut ada, "SELECT count(*) FROM bytefacts.runs").await, 1);
    ask(&mut ada, "DROP TABLE t").await.unwrap_err();
    ask(&mut service.client().await, "SELECT 1").await.unwrap_err();
    assert_eq!(service.daemon.log(), "");
}
