//! What a running cluster tells those who watch it: every metric by an independent reader, figures that come back to nothing, and why a daemon is not ready.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::chaos::{LIMIT, landed};
use crate::processes::{Daemon, Processes, get};
use crate::s3::S3;
use crate::servers::{environment, free_port, put};
use crate::service::{NOT_SERVING, SERVING, Service, health};
use crate::service_access::certify;
use crate::support::{GATED, Gate, Shape, extract, folder, python, run, write_files};

/// The reader.
const READER: &str = "prometheus-client==0.23.1";

/// A family of a scrape, as the reader has it.
#[derive(Debug, Deserialize)]
struct Family {
    r#type: String,
    help: String,
    labels: Vec<String>,
}

/// The families of a scrape.
async fn scrape(daemon: &Daemon) -> BTreeMap<String, Family> {
    let (status, text) = daemon.get("/metrics");
    assert_eq!(status, 200);
    let python = environment("prometheus-client", READER, |_| {}).await.join("bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/metrics.py");
    let mut reader = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "the reader does not read {text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A metric as docs/metrics.md has it: name, type, labels, and the daemons that tell it.
#[derive(Debug, PartialEq, Eq)]
struct Documented {
    kind: String,
    labels: BTreeSet<String>,
    daemons: BTreeSet<String>,
}

fn documented() -> BTreeMap<String, Documented> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let words = |cell: &str| cell.split(',').map(|word| word.trim().trim_matches('`').to_owned()).filter(|word| !word.is_empty()).collect();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, daemons, _] = cells.as_slice() else { panic!("{row}") };
        let labels = if *labels == "-" { BTreeSet::new() } else { words(labels) };
        (name.trim_matches('`').to_owned(), Documented { kind: (*kind).to_owned(), labels, daemons: words(daemons) })
    })
    .collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is there and stays the same for a second.
async fn settled(what: &str, value: impl Fn() -> Option<f64>) -> f64 {
    let (begun, mut seen) = (Instant::now(), (Instant::now(), None));
    loop {
        assert!(begun.elapsed() < LIMIT, "{what} did not settle");
        match value() {
            Some(value) if seen.1 == Some(value) && seen.0.elapsed() > Duration::from_secs(1) => return value,
            value if seen.1 != value => seen = (Instant::now(), value),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_read_by_an_independent_reader_and_is_in_the_docs() {
    let (corpus, facts, mut processes) = (folder(), folder(), Processes::new());
    write_files(corpus.path(), &[("r/a.py", b"x = 1\n"), ("r/b.py", b"def f(:\n")]);
    extract(corpus.path(), facts.path(), &Shape::default()).await;
    let authority = processes.home.path().join("ca");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/development-ca.sh");
    assert!(Command::new("sh").arg(script).arg(&authority).output().unwrap().status.success());
    for (name, file) in [("AUTHORITY", "ca.pem"), ("CERTIFICATE", "member.pem"), ("KEY", "member.key")] {
        processes.environment.push((format!("BYTEFACTS_CLUSTER_TLS__{name}"), authority.join(file).display().to_string()));
    }
    let path = facts.path().display().to_string();
    let args = ["scheduler", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0", "--facts", &path];
    let scheduler = Daemon::start(processes.command(&args).await, &processes.home.path().join("scheduler.log"));
    let executor = processes.executor("n1", scheduler.address).await;
    let job = processes.extract(scheduler.address, &[corpus.path().to_str().unwrap(), "--out", &path, "--run-id", "r2"]).await;
    let (code, _, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(certify(processes.home.path(), "sql"));
    let file = |name: &str| processes.home.path().join(name).display().to_string();
    let (cert, key) = (file("sql.pem"), file("sql.key"));
    let service = Service::over(facts, &["--tls-cert", &cert, "--tls-key", &key], "").await;
    for daemon in [&service.daemon, &scheduler] {
        until("the time of the current run", || daemon.metric("bytefacts_current_run_timestamp_seconds") > 1.7e9).await;
    }

    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let documented = documented();
    for (name, daemon) in [("scheduler", &scheduler), ("executor", &executor), ("sql", &service.daemon)] {
        let families = scrape(daemon).await;
        assert!(families.len() > 15, "{name}: {families:?}");
        for (metric, family) in families {
            let known = documented.get(&metric).unwrap_or_else(|| panic!("{metric} of the {name} is not in docs/metrics.md"));
            assert_eq!(family.r#type, known.kind, "{metric}");
            assert_eq!(family.labels.iter().cloned().collect::<BTreeSet<_>>(), known.labels, "{metric} of the {name}");
            assert!(family.help.ends_with('.') && !family.help.is_empty(), "{metric}: {:?}", family.help);
            assert_eq!(metric.ends_with("_total"), family.r#type == "counter", "{metric}");
            for scale in ["milliseconds", "_ms", "_us", "_kb", "_mb", "_percent"] {
                assert!(!metric.contains(scale), "{metric} is in no base unit");
            }
            told.entry(metric).or_default().insert(name.to_owned());
        }
    }
    for (metric, known) in &documented {
        let by = told.get(metric).cloned().unwrap_or_default();
        // Of audits there are none here, and SQL is told by whoever answers it.
        if !metric.starts_with("bytefacts_audit_") {
            let expected: BTreeSet<_> = known
                .daemons
                .iter()
                .flat_map(|who| if who == "all" { vec!["scheduler", "executor", "sql"] } else { vec![who.as_str()] })
                .collect();
            let sql = expected.contains("sql") && !expected.contains("scheduler");
            let by: BTreeSet<_> = by.iter().map(String::as_str).filter(|who| !(sql && *who == "scheduler")).collect();
            assert_eq!(by, expected, "who tells {metric}");
        }
    }

    // Certificates end when they are said to.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let text = executor.get("/metrics").1;
    for (of, least, most) in [("cluster", 29.0, 30.1), ("cluster_authority", 3649.0, 3650.1)] {
        let line = format!("bytefacts_certificate_not_after_timestamp_seconds{{use=\"{of}\"}} ");
        let end: f64 = text.lines().find_map(|l| l.strip_prefix(&line)).unwrap_or_else(|| panic!("{of}: {text}")).parse().unwrap();
        let days = (end - now) / 86_400.0;
        assert!(days > least && days < most, "{of}: {days} days");
    }
    let python = python().await.version;
    assert!(
        text.contains(&format!("python=\"{python}\"")) && text.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))),
        "{text}"
    );
    // All stages are there before anything goes wrong in them.
    assert!(text.contains("bytefacts_errors_total{stage=\"quarantine\"} 0"), "{text}");
    assert!(text.contains("bytefacts_errors_total{stage=\"compile\"} "), "{text}");
    assert_eq!(executor.metric("bytefacts_bin_seconds_count"), executor.metric("bytefacts_bins_landed_total"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bins_that_wait_are_told_while_there_are_any_and_none_however_a_job_ends() {
    let (corpus, facts, mut processes, gate) = (folder(), folder(), Processes::new(), Gate::closed(&python().await));
    let files: Vec<_> = (0..40).map(|n| (format!("r{n}/a.py"), format!("{GATED} = {n}\n"))).collect();
    write_files(corpus.path(), &files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect::<Vec<_>>());
    processes.environment.push(gate.variable());
    let scheduler = processes.scheduler(0).await;
    let waiting = || scheduler.metric("bytefacts_bins_waiting");
    let out = facts.path().to_str().unwrap();
    let job = async |run: &str, more: &[&str]| {
        let args = [corpus.path().to_str().unwrap(), "--out", out, "--run-id", run, "--no-cache", "--parallel-min-files", "1"];
        processes.extract(scheduler.address, &[&args, more].concat()).await
    };
    assert_eq!(waiting(), 0.0);
    // With no executor at all, whoever scales sees that some are wanted.
    let cancelled = job("cancelled", &[]).await;
    let all = settled("bins of the first job", || Some(waiting()).filter(|bins| *bins > 1.0)).await;
    let executor = processes.executor("n1", scheduler.address).await;
    let url = format!("df://{}", scheduler.address);
    assert!(processes.command(&["cancel", "cancelled", "--cluster", &url]).await.output().unwrap().status.success());
    until("the end of a cancelled job", || waiting() == 0.0).await;
    cancelled.kill();

    // That of a client that is killed is ended, unless it was to go on without it.
    let killed = job("killed", &[]).await;
    until("bins of the second job", || waiting() == all).await;
    killed.kill();
    until("the end of a job whose client was killed", || waiting() == 0.0).await;
    let orphan = job("orphan", &["--detach"]).await;
    until("bins of a job that goes on", || waiting() == all).await;
    orphan.kill();
    assert_eq!(waiting(), all);
    gate.open();
    landed(facts.path(), "orphan", all as usize).await;
    until("the end of a job without a client", || waiting() == 0.0).await;

    // One that fails: the corpus is gone under it.
    gate.close();
    let failing = job("failing", &[]).await;
    until("bins of a job that fails", || waiting() > 0.0).await;
    std::fs::remove_dir_all(corpus.path()).unwrap();
    gate.open();
    let (code, _, _) = failing.end(LIMIT).await;
    assert_ne!(code, 0);
    until("the end of a job that failed", || waiting() == 0.0).await;
    until("the end of all work", || executor.metric("bytefacts_bins_running") == 0.0).await;
    assert!(scheduler.metric("bytefacts_jobs_total") >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_that_go_without_a_word_are_counted_and_those_that_drain_are_not() {
    let processes = Processes::new();
    let scheduler = processes.scheduler(0).await;
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    until("two executors", || scheduler.metric("bytefacts_executors") == 2.0).await;
    let [drained, killed] = executors;
    assert_eq!(drained.terminate(), Some(0));
    killed.kill();
    until("no executor", || scheduler.metric("bytefacts_executors") == 0.0).await;
    until("the count of one that was lost", || scheduler.metric("bytefacts_executors_lost_total") == 1.0).await;
    // The one that has drained is gone by then, by either way in which a scheduler lets it go.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(scheduler.metric("bytefacts_executors_lost_total"), 1.0);
}

/// As a pod whose image has lost its CPython, or has another: alive, not ready, with the reason, until there is one.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_without_an_interpreter_is_not_ready_and_says_why() {
    let processes = Processes::new();
    let scheduler = processes.scheduler(0).await;
    let python = processes.home.path().join("python3.13");
    let (probes, address) = (SocketAddr::from(([127, 0, 0, 1], free_port())), scheduler.address.to_string());
    let listen = probes.to_string();
    let args = ["executor", "--scheduler", &address, "--node", "n1", "--listen", "127.0.0.1:0", "--probes", &listen];
    let command = async |seconds: &str| {
        let mut command = processes.command(&args).await;
        command.env("BYTEFACTS_PYTHON", &python).env("BYTEFACTS_EXECUTOR__INTERPRETER_SECONDS", seconds);
        command
    };
    // By hand it ends at once.
    let (code, said, stderr) = run(command("0").await);
    assert!(code == 1 && said.is_empty() && stderr.contains("the Python that BYTEFACTS_PYTHON names does not fit"), "{code} {stderr}");

    let (command, log) = (command("600").await, processes.home.path().join("n1.log"));
    let starting = tokio::task::spawn_blocking(move || Daemon::start(command, &log));
    let answer = |path: &str| get(probes, path).unwrap_or_default();
    let reason = |words: &str| {
        let (status, text) = answer("/readyz");
        status == 503 && text.starts_with("not ready: the Python that BYTEFACTS_PYTHON names does not fit: ") && text.contains(words)
    };
    until("the reason", || reason("python3.13: ")).await;
    assert_eq!(answer("/healthz").0, 200, "who waits is alive");
    assert!(answer("/metrics").1.contains("bytefacts_build_info"));
    // One that is none.
    write_files(processes.home.path(), &[("other", b"#!/bin/sh\nexit 3\n")]);
    std::fs::set_permissions(processes.home.path().join("other"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("other", &python).unwrap();
    until("another reason", || reason("3")).await;
    std::fs::remove_file(&python).unwrap();
    std::os::unix::fs::symlink(crate::support::python().await.executable, &python).unwrap();
    let executor = starting.await.unwrap();
    until("the executor", || executor.get("/readyz").0 == 200).await;
    assert_eq!(executor.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_reach_its_stores_is_not_ready_and_says_why() {
    let (s3, mut processes) = (S3::start().await, Processes::new());
    let scheduler = processes.scheduler(0).await;
    processes.environment = S3::environment(s3.address);
    let places = "[s3://bucket/corpus, s3://later/facts, '*']";
    processes.environment.push(("BYTEFACTS_ACCESS__FACTS".to_owned(), places.to_owned()));
    let executor = processes.executor("n1", scheduler.address).await;
    let ready = |daemon: &Daemon| daemon.get("/readyz");
    until("a reason", || {
        ready(&executor) == (503, "not ready: the object store of s3://later/facts: the bucket does not exist\n".to_owned())
    })
    .await;
    assert_eq!(executor.get("/healthz").0, 200, "who is not ready is alive");
    put(s3.address.port(), "/later").unwrap();
    until("the store", || ready(&executor).0 == 200).await;
    assert!(executor.metric("bytefacts_store_requests_total") >= 3.0);
    let counted = executor.get("/metrics").1;
    assert!(counted.contains("operation=\"list\",outcome=\"ok\"") || counted.contains("outcome=\"ok\",operation=\"list\""), "{counted}");

    // A service of SQL tells it by gRPC too.
    let line = ["serve", "--facts", "s3://sometime/facts", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0"];
    let service = Daemon::start(processes.command(&line).await, &processes.home.path().join("serve.log"));
    until("a reason", || ready(&service).1.ends_with("the bucket does not exist\n")).await;
    assert_eq!(health(service.address).await, NOT_SERVING);
    put(s3.address.port(), "/sometime").unwrap();
    until("the store", || ready(&service).0 == 200).await;
    let begun = Instant::now();
    while health(service.address).await != SERVING {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is ready, and says by gRPC that it is not");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A store where nobody listens, and a scheduler that is gone.
    processes.environment.retain(|(name, _)| name != "AWS_ENDPOINT");
    processes.environment.push(("AWS_ENDPOINT".to_owned(), format!("http://127.0.0.1:{}", free_port())));
    let lost = processes.executor("n2", scheduler.address).await;
    until("a reason", || ready(&lost).1.starts_with("not ready: the object store of s3://bucket/corpus: ")).await;
    let address = scheduler.address;
    scheduler.kill();
    until("another reason", || ready(&executor) == (503, format!("not ready: the scheduler at {address} does not answer\n"))).await;
}
