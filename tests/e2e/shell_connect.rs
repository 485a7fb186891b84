//! The SQL shell against a server.

use std::process::Command;
use std::time::{Duration, Instant};

use rexpect::session::{PtySession, spawn_command};
use serde_json::Value;

use crate::service::{Service, ask_text};
use crate::service_access::{certify, with_users};
use crate::support::{bytefacts, folder, not_tested, query_text, run, write_files};

const PROMPT: &str = "bytefacts> ";
/// Everything takes long where the machine is busy.
const TIMEOUT_MS: u64 = 600_000;

/// Runs `bytefacts sql --connect`; exit code, stdout and stderr.
async fn sql(address: &str, args: &[&str]) -> (i32, String, String) {
    let home = folder();
    run(bytefacts(home.path(), &[&["sql", "--connect", address], args].concat()).await)
}

fn address(service: &Service) -> String {
    format!("grpc://{}", service.daemon.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_answers_as_facts_do() {
    let service = Service::start(&[], "").await;
    service.commit("later", "x = 1\n").await;
    let server = address(&service);
    let counts = "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY n DESC, opname";
    let expected = query_text(service.facts.path(), counts).await;
    let (code, stdout, stderr) = sql(&server, &["-c", counts, "--format", "json"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let found: Vec<_> =
        found.as_array().unwrap().iter().map(|row| vec![row["opname"].as_str().unwrap().to_owned(), row["n"].to_string()]).collect();
    assert_eq!(found, expected);

    // A script, a run of one's own, and what is set.
    let script = "SET bytefacts.run = 'run-1';\nSELECT count(*) AS n FROM bytecode_files_v1; RESET bytefacts.run;\nSELECT count(*) AS n FROM bytecode_files_v1";
    let (code, stdout, stderr) = sql(&server, &["--format", "csv", script]).await;
    assert_eq!(code, 0, "{stderr}");
    let numbers: Vec<_> = stdout.lines().filter_map(|line| line.parse::<u64>().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] > numbers[1] && numbers[1] == 1, "{stdout}");
    let (code, stdout, _) = sql(&server, &["--run", "run-1", "--format", "csv", "SELECT count(*) AS n FROM bytecode_files_v1"]).await;
    assert_eq!((code, stdout.lines().nth(1)), (0, Some(numbers[0].to_string().as_str())));

    // Errors of a server read like those of facts.
    let (code, _, stderr) = sql(&server, &["SELECT * FROM py_bc_block"]).await;
    assert!(code == 1 && stderr.contains("did you mean py_bc_blocks?"), "{stderr}");
    // With hints of the server's, and none of the shell's beside them.
    for question in ["SELECT * FROM py_bc_block", "SELECT nope FROM py_bc_blocks", "SELECT 1 FROM py_bc_blocks WHERE start_offset = \"x\""]
    {
        let (code, _, stderr) = sql(&server, &[question]).await;
        assert!(code == 1 && stderr.contains("hint: SHOW ") && !stderr.contains("hint: \\d"), "{question}: {stderr}");
        assert!(stderr.matches("double quotes").count() <= 1, "{question}: {stderr}");
    }
    let (code, _, stderr) = sql(&server, &["SELECT 1; DROP TABLE x"]).await;
    assert!(code == 1 && stderr.contains("statement 2 failed: DROP TABLE x") && stderr.contains("only reads facts"), "{stderr}");
    let (code, _, stderr) = sql(&server, &["--run", "never", "SELECT 1 FROM bytecode_files_v1"]).await;
    assert!(code == 1 && stderr.contains("run never is not committed"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_or_does_not_know_us_says_so() {
    let (home, service) = with_users().await;
    write_files(home.path(), &[("right", b"secret\n"), ("wrong", b"guess\n"), ("token", b"good token\n")]);
    let (server, file) = (address(&service), |name: &str| home.path().join(name).display().to_string());
    let (right, wrong, token) = (file("right"), file("wrong"), file("token"));
    let question = "SELECT 40 + 2 AS n";
    for login in [&["--user", "ada", "--password-file", &right][..], &["--token-file", &token]] {
        let (code, stdout, stderr) = sql(&server, &[login, &["--format", "csv", question]].concat()).await;
        assert_eq!((code, stdout.as_str()), (0, "n\n42\n"), "{stderr}");
    }
    for (login, said) in [
        (&["--user", "ada", "--password-file", &wrong][..], "the server refuses the login"),
        (&["--token-file", &wrong], "the server refuses the login"),
        (&[], "--user NAME with --password-file FILE"),
        (&["--token-file", "/nowhere"], "cannot read /nowhere"),
    ] {
        let (code, stdout, stderr) = sql(&server, &[login, &[question]].concat()).await;
        assert!(code == 1 && stdout.is_empty() && stderr.contains(said), "{login:?}: {code} {stderr}");
        assert!(!stderr.contains("guess") && !stderr.contains("secret"), "{stderr}");
    }
    let (code, _, stderr) = sql("grpc://127.0.0.1:1", &[question]).await;
    assert!(code == 1 && stderr.contains("no server answers at 127.0.0.1:1: Connection refused"), "{stderr}");
    for (wrong, login) in [("localhost:50052", &[][..]), ("http://localhost:50052", &[]), (&server, &["--user", "ada"])] {
        let (code, _, stderr) = sql(wrong, &[login, &[question]].concat()).await;
        assert_eq!(code, 2, "{wrong} {login:?}: {stderr}");
    }
    let nothing = run(bytefacts(home.path(), &["sql", question]).await);
    assert!(nothing.0 == 2 && nothing.2.contains("--facts FACTS, or --connect"), "{nothing:?}");
}

/// Who is connected to and says nothing is given up after ten seconds, with or without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_not_waited_for_long() {
    let home = folder();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    // Its connections are taken by the system, and nobody looks at them.
    let mut ways = vec![(format!("grpc://localhost:{port}"), Vec::new())];
    if certify(home.path(), "own") {
        ways.push((format!("grpc+tls://localhost:{port}"), vec!["--ca".to_owned(), home.path().join("own.pem").display().to_string()]));
    } else {
        not_tested("a server that says nothing and TLS", "there is no openssl");
    }
    for (address, ca) in ways {
        let args: Vec<_> = ca.iter().map(String::as_str).chain(["SELECT 1"]).collect();
        let (code, stdout, stderr) = sql(&address, &args).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{address}");
        // Who waits longer has other reasons: a ping that is not answered, or a time that is over.
        assert!(stderr.contains("no server answers at") && stderr.contains("it says nothing"), "{address}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_encrypts_is_known_by_its_certificate() {
    let home = folder();
    if !(certify(home.path(), "own") && certify(home.path(), "other")) {
        not_tested("the shell and TLS", "there is no openssl");
        return;
    }
    let path = |name: &str| home.path().join(name).display().to_string();
    let service = Service::start(&["--tls-cert", &path("own.pem"), "--tls-key", &path("own.key")], "").await;
    let port = service.daemon.address.port();
    let question = "SELECT 42 AS n";
    let (code, stdout, stderr) =
        sql(&format!("grpc+tls://localhost:{port}"), &["--ca", &path("own.pem"), "--format", "csv", question]).await;
    assert_eq!((code, stdout.as_str()), (0, "n\n42\n"), "{stderr}");
    let (code, _, stderr) = sql(&format!("grpc+tls://localhost:{port}"), &["--ca", &path("other.pem"), question]).await;
    assert!(code == 1 && stderr.contains("no server answers at") && stderr.contains("certificate"), "{stderr}");
    let (code, _, stderr) = sql(&format!("grpc://localhost:{port}"), &[question]).await;
    assert!(code == 1 && stderr.contains("it encrypts: take grpc+tls://"), "{stderr}");
    let plain = Service::start(&[], "").await;
    let (code, _, stderr) = sql(&format!("grpc+tls://{}", plain.daemon.address), &["--ca", &path("own.pem"), question]).await;
    assert!(code == 1 && stderr.contains("it does not encrypt: take grpc://"), "{stderr}");
    let (code, _, stderr) = sql(&format!("grpc+tls://localhost:{port}"), &["--ca", &path("none.pem"), question]).await;
    assert!(code == 1 && stderr.contains("none.pem"), "{stderr}");
}

/// A shell on a terminal of 80 columns.
async fn shell(service: &Service, home: &tempfile::TempDir) -> PtySession {
    let shell = bytefacts(home.path(), &["sql", "--connect", &address(service)]).await;
    let mut command = Command::new("sh");
    command.args(["-c", "stty rows 24 cols 80; \"$0\" \"$@\"; echo ended with $?"]);
    command.arg(shell.get_program()).args(shell.get_args());
    command.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs([("TERM", "xterm"), ("NO_COLOR", "1"), ("PAGER", "")]);
    let mut session = spawn_command(command, Some(TIMEOUT_MS)).unwrap();
    session.exp_string("Server grpc://").unwrap();
    session.exp_string(PROMPT).unwrap();
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_helps_as_it_does_over_facts() {
    let (service, home) = (Service::start(&[], "").await, folder());
    let mut session = shell(&service, &home).await;
    let mut ask = |line: &str| {
        session.send_line(line).unwrap();
        session.exp_string(PROMPT).unwrap()
    };
    let shown = ask("\\d");
    for name in ["bytecode_files_v1", "py_bc_calls", "bytefacts.runs", "system.queries", "changes('RUN', 'RUN')"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    assert!(ask("\\d py_bc_blocks").contains("whether a path from the entry leads here"));
    assert!(ask("\\d system.bins").contains("whether it is on record"));
    assert!(ask("\\runs").contains("run-1"));
    assert!(ask("\\timing off").contains("times are hidden"));
    let shown = ask("select count(*) as n from bytefacts.runs;");
    assert!(shown.contains("(1 row)"), "{shown}");
    assert!(ask("select nope from py_bc_blocks;").contains("error: "));
    session.send("select 1 from py_bc_instructions i where i.code\t").unwrap();
    session.flush().unwrap();
    session.exp_string("code_unit_id").unwrap();
    session.send_control('c').unwrap();
    session.exp_string(PROMPT).unwrap();
    session.send_line("\\q").unwrap();
    session.exp_string("ended with 0").unwrap();
}

/// Names to be completed are asked for while the user types: the prompt is there although the server cannot tell them, and what it tells later is used.
#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_does_not_wait_for_names() {
    let (service, home) = (Service::start(&[], "").await, folder());
    // Whoever asks which run is current waits for a writer, as for a store that does not answer.
    let (current, kept) = (service.facts.path().join("current.json"), service.facts.path().join("kept.json"));
    std::fs::rename(&current, &kept).unwrap();
    assert!(Command::new("mkfifo").arg(&current).status().unwrap().success());
    let mut session = shell(&service, &home).await;
    session.send("sel\t").unwrap();
    session.flush().unwrap();
    session.exp_string("select").unwrap();
    session.send_control('c').unwrap();
    session.exp_string(PROMPT).unwrap();
    // A writer comes and goes, and the file is there again.
    let writer = std::fs::OpenOptions::new().read(true).write(true).open(&current).unwrap();
    std::fs::rename(&kept, &current).unwrap();
    drop(writer);
    session.send_line("\\d").unwrap();
    session.exp_string("py_bc_blocks").unwrap();
    session.exp_string(PROMPT).unwrap();
    session.send("select 1 from py_bc_instructions i where i.code\t").unwrap();
    session.flush().unwrap();
    session.exp_string("code_unit_id").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_query_on_the_server_too() {
    let (service, home) = (Service::start(&[], "").await, folder());
    let mut session = shell(&service, &home).await;
    // What the shell asks for itself is over.
    let begun = Instant::now();
    let asked =
        "SELECT count(*) FROM system.queries WHERE state <> 'running' AND statement LIKE '%routine_name%' AND statement NOT LIKE '%LIKE%'";
    while ask_text(&mut service.client().await, asked).await != [["1"]] {
        assert!(begun.elapsed() < Duration::from_secs(60), "names of functions are not asked for");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let open = |wanted: f64| {
        let begun = Instant::now();
        while service.daemon.metric("bytefacts_sql_queries_open") != wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "open queries are not {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // Of one nothing comes before its end; the other's rows never end.
    for endless in [
        "select count(*) from py_bc_instructions a, py_bc_instructions b, py_bc_instructions c where a.offset + b.offset > c.offset;",
        "select a.opname from py_bc_instructions a, py_bc_instructions b, py_bc_instructions c;",
    ] {
        session.send_line(endless).unwrap();
        open(1.0);
        session.send_control('c').unwrap();
        session.exp_string("stopped").unwrap();
        session.exp_string(PROMPT).unwrap();
        open(0.0);
    }
    session.send_line("select 6 * 7 as answer;").unwrap();
    session.exp_string("    42").unwrap();
    let states =
        ask_text(&mut service.client().await, "SELECT state FROM system.queries WHERE statement LIKE '%py_bc_instructions c%'").await;
    assert_eq!(states.len(), 2);
    assert!(states.iter().flatten().all(|state| state == "cancelled" || state == "left"), "{states:?}");
}
