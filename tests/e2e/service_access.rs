//! Who may ask the SQL service.

use std::path::Path;

use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use prost::Message as _;
use sha2::Digest as _;
use tempfile::TempDir;
use tonic::{Code, Request, Status};

use crate::service::{Client, Service, ask, ask_number, ask_text, fetch};
use crate::support::{bytefacts, folder, run, write_files};

/// `secret`, hashed by the program of Argon2's authors: `echo -n secret | argon2 saltsaltsalt -id -t 1 -k 64 -p 1 -e`.
const SECRET: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Sm3MnLdCFk0Af+croKgebRoqqmhbKd88iiW3yUOXn78";

fn sha256(token: &str) -> String {
    hex::encode(sha2::Sha256::digest(token))
}

/// A file of ada, with a password, bob, with tokens, and an operator.
pub fn users() -> String {
    format!(
        "users:\n- name: ada\n  password: {SECRET}\n- name: bob\n  limits: {{rows: 3}}\n  tokens:\n  - sha256: {}\n  - {{sha256: {}, expires: 2020-01-01T00:00:00Z}}\n- name: oncall\n  operator: true\n  tokens: [{{sha256: {}}}]\n",
        sha256("good token"),
        sha256("old token"),
        sha256("token of an operator")
    )
}

/// A service whose users are ada, with a password, and bob, with tokens.
pub async fn with_users() -> (TempDir, Service) {
    let home = folder();
    write_files(home.path(), &[("users.yaml", users().as_bytes())]);
    let file = home.path().join("users.yaml").display().to_string();
    let service = Service::start(&["--users", &file], "").await;
    (home, service)
}

async fn denied(client: &mut Client) -> Status {
    let status = ask(client, "SELECT 1").await.map(|_| panic!("it was answered")).unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_in_by_password_and_by_token_and_nobody_else() {
    let (home, service) = with_users().await;
    let mut nobody = service.client().await;
    assert!(denied(&mut nobody).await.message().contains("a login is needed"));

    let mut ada = service.client().await;
    ada.handshake("ada", "secret").await.unwrap();
    assert_eq!(ask_number(&mut ada, "SELECT count(*) FROM bytefacts.runs").await, 1);
    for (name, password) in [("ada", "wrong"), ("bob", "secret"), ("eve", "secret")] {
        let error = service.client().await.handshake(name, password).await.unwrap_err().to_string();
        assert!(error.contains("the user name or the password is wrong"), "{name}: {error}");
    }
    assert!(service.client().await.handshake("ada", "").await.unwrap_err().to_string().contains("no password"));

    let mut bob = service.client().await;
    bob.set_token("good token".to_owned());
    assert_eq!(ask_number(&mut bob, "SELECT count(*) FROM bytefacts.runs").await, 1);
    bob.set_token("old token".to_owned());
    assert!(denied(&mut bob).await.message().contains("expired"));
    bob.set_token("another token".to_owned());
    denied(&mut bob).await;
    bob.set_token(format!("{}x", ada.token().unwrap()));
    denied(&mut bob).await;
    assert!(service.daemon.metric("bytefacts_sql_unauthenticated_total") >= 8.0);

    // Basic with every call.
    let mut direct = service.client().await;
    direct.set_header("authorization", "Basic YWRhOnNlY3JldA");
    assert_eq!(ask_number(&mut direct, "SELECT count(*) FROM bytefacts.runs").await, 1);

    // The file changes: ada's login ends, bob's token goes on.
    write_files(home.path(), &[("users.yaml", users().replace("- name: ada", "- name: eva").as_bytes())]);
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert!(denied(&mut ada).await.message().contains("log in again"));
    bob.set_token("good token".to_owned());
    assert_eq!(ask_number(&mut bob, "SELECT count(*) FROM bytefacts.runs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_user_asks_is_nothing_to_another() {
    let (_home, service) = with_users().await;
    let (mut ada, mut bob) = (service.client().await, service.client().await);
    ada.handshake("ada", "secret").await.unwrap();
    bob.set_token("good token".to_owned());
    let of_ada = ada.execute("SELECT path FROM bytecode_files_v1".to_owned(), None).await.unwrap();
    assert_eq!(fetch(&mut bob, of_ada.clone()).await.unwrap_err().code(), Code::NotFound);
    assert!(fetch(&mut ada, of_ada).await.is_ok());
    ask(&mut bob, "SELECT 1").await.unwrap();
    let seen = "SELECT DISTINCT \"user\" FROM system.queries ORDER BY 1";
    assert_eq!(ask_text(&mut bob, seen).await, [["bob"]]);
    assert_eq!(ask_text(&mut ada, seen).await, [["ada"]]);
    let mut operator = service.client().await;
    operator.set_token("token of an operator".to_owned());
    assert_eq!(ask_text(&mut operator, seen).await, [["ada"], ["bob"]]);
    assert_eq!(fetch(&mut operator, bob.execute("SELECT 1".to_owned(), None).await.unwrap()).await.unwrap_err().code(), Code::NotFound);
    let status = ask(&mut bob, "SELECT path FROM bytecode_files_v1").await.unwrap_err();
    assert!(status.message().contains("more than 3 rows"), "bob has limits of his own: {status}");
    assert!(ask_text(&mut ada, "SELECT path FROM bytecode_files_v1").await.len() > 3);
}

/// No call is answered without a login.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_asks_who_it_is() {
    let (_home, service) = with_users().await;
    let mut client = service.client().await;
    let client = client.inner_mut();
    let command = CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None }.as_any().encode_to_vec();
    let descriptor = FlightDescriptor::new_cmd(command.clone());
    let data = || Request::new(futures::stream::iter([FlightData::default()]));
    let answers: Vec<(&str, Result<(), Status>)> = vec![
        ("handshake", client.handshake(futures::stream::iter([HandshakeRequest::default()])).await.map(drop)),
        ("list_flights", client.list_flights(Criteria::default()).await.map(drop)),
        ("get_flight_info", client.get_flight_info(descriptor.clone()).await.map(drop)),
        ("poll_flight_info", client.poll_flight_info(descriptor.clone()).await.map(drop)),
        ("get_schema", client.get_schema(descriptor).await.map(drop)),
        ("do_get", client.do_get(Ticket::new(command)).await.map(drop)),
        ("do_put", client.do_put(data()).await.map(drop)),
        ("do_exchange", client.do_exchange(data()).await.map(drop)),
        ("do_action", client.do_action(Action::new("GetSessionOptions", vec![])).await.map(drop)),
        ("list_actions", client.list_actions(Empty::default()).await.map(drop)),
    ];
    for (call, answer) in answers {
        assert_eq!(answer.map_err(|status| status.code()), Err(Code::Unauthenticated), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_a_login_is_demanded_or_its_lack_is_said() {
    let (facts, home) = (folder(), folder());
    let facts = facts.path().display().to_string();
    write_files(home.path(), &[("bad.yaml", b"users: [{name: ada}]"), ("serve.yaml", b"serve: {usres: x}")]);
    let refused = async |args: &[&str]| {
        let line = ["serve", "--facts", &facts, "--listen", "0.0.0.0:0", "--probes", "127.0.0.1:0"];
        run(bytefacts(home.path(), &[&line, args].concat()).await)
    };
    let (code, _, stderr) = refused(&[]).await;
    assert!(code == 2 && stderr.contains("--users") && stderr.contains("--insecure"), "{code}: {stderr}");
    let bad = home.path().join("bad.yaml").display().to_string();
    let (code, _, stderr) = refused(&["--users", &bad]).await;
    assert!(code == 2 && stderr.contains("neither a password nor a token"), "{code}: {stderr}");
    let (code, _, stderr) = refused(&["--users", "/nowhere/users.yaml"]).await;
    assert!(code == 2 && stderr.contains("/nowhere/users.yaml"), "{code}: {stderr}");
    let settings = home.path().join("serve.yaml").display().to_string();
    let (code, _, stderr) = refused(&["--insecure", "--config", &settings]).await;
    assert!(code == 2 && stderr.contains("did you mean `users`?"), "{code}: {stderr}");
    let (code, _, stderr) = refused(&["--insecure", "--tls-cert", &bad, "--tls-key", &bad]).await;
    assert!(code == 2 && stderr.contains("bad.yaml"), "{code}: {stderr}");
    let service = Service::start(&["--listen", "0.0.0.0:0", "--insecure"], "").await;
    assert!(service.daemon.address.ip().is_unspecified());
    assert!(Path::new(&service.facts.path()).exists());
}

/// Writes a certificate for this machine and its key, made by `openssl`; false where there is none.
pub fn certify(folder: &Path, name: &str) -> bool {
    let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
    let mut command = std::process::Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]);
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(file("key")).arg("-out").arg(file("pem"));
    command.output().is_ok_and(|output| output.status.success())
}
