//! What who runs a cluster relies on: daemons that say what they wait for and end when told, jobs that can be seen and ended, and lists of what
//! jobs may name.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytefacts_cluster::{JobSettings, job_session};
use bytefacts_stores::Stores;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::chaos::{LIMIT, check, corpus, landed, undisturbed};
use crate::processes::{Daemon, Processes, get};
use crate::servers::free_port;
use crate::support::{Gate, folder, python, run, small_corpus, url};

/// Asks until an answer is as it should be.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(180), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What `bytefacts COMMAND … --cluster` says, as JSON.
async fn ask(processes: &Processes, scheduler: &Daemon, command: &[&str]) -> Value {
    let cluster = format!("df://{}", scheduler.address);
    let mut args = command.to_vec();
    args.extend(["--cluster", &cluster, "--format", "json"]);
    let (code, stdout, stderr) = run(processes.command(&args).await);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// The jobs of a run, the oldest first.
async fn jobs_of(processes: &Processes, scheduler: &Daemon, run: &str) -> Vec<Value> {
    let jobs = ask(processes, scheduler, &["jobs"]).await;
    jobs.as_array().unwrap().iter().filter(|job| job["run"] == run).cloned().collect()
}

/// An executor without a scheduler is alive and not ready, says what it waits for, and ends when it is told to, long before it has waited enough.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_waits_says_so_and_ends_when_told() {
    let processes = Processes::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (scheduler, probes) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let log = processes.home.path().join("waiting.log");
        let args = ["executor", "--scheduler", &scheduler, "--node", "n", "--listen", "127.0.0.1:0", "--probes", &probes];
        let mut command = processes.command(&args).await;
        let mut child = command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let probes = probes.parse().unwrap();
        let alive = until("the probes of an executor that waits", async || get(probes, "/healthz").ok()).await;
        assert_eq!(alive, (200, "alive\n".to_owned()));
        assert_eq!(get(probes, "/readyz").unwrap().0, 503);
        assert!(get(probes, "/metrics").unwrap().1.contains("bytefacts_scheduler_connected 0"));
        let said = || std::fs::read_to_string(&log).unwrap();
        until("what it waits for", async || said().contains("waiting for the scheduler").then_some(())).await;
        assert!(said().contains(&scheduler), "{}", said());

        let told = Instant::now();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let code = child.wait().unwrap().code();
        assert!(told.elapsed() < Duration::from_secs(20), "{signal}: {:?}", told.elapsed());
        assert_eq!(code, Some(0), "{}", said());
        assert_eq!(said().matches("waiting for the scheduler").count(), 1, "once, and then every 30 s: {}", said());
    }
}

/// Executors ask an idle scheduler once a second, not twenty times, and yet work begins at once.
/// Two executors of one name on one machine keep their own work, and what a killed one has left goes with the next.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_removes_what_killed_ones_have_left_and_nothing_of_a_live_one() {
    let processes = Processes::new();
    let scheduler = processes.scheduler(0).await;
    let leave = |executor: &Daemon| {
        let file = processes.home.path().join("work/bytefacts-executor").join(&executor.id).join("job/part");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "rows").unwrap();
        file
    };
    let first = processes.executor("n", scheduler.address).await;
    let of_first = leave(&first);
    let second = processes.executor("n", scheduler.address).await;
    let of_second = leave(&second);
    assert!(of_first.exists(), "the first one lives");
    second.kill();
    assert!(of_second.exists(), "nobody has removed it");
    let third = processes.executor("n", scheduler.address).await;
    assert!(of_first.exists() && !of_second.exists(), "the second one is gone");
    let of_third = leave(&third);
    for executor in [first, third] {
        assert_eq!(executor.terminate(), Some(0));
    }
    assert!(!of_first.exists() && !of_third.exists(), "who ends in order leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_scheduler_takes_next_to_no_cpu() {
    const WATCHED: Duration = Duration::from_secs(5);
    const TIMES: usize = 8;
    let processes = Processes::new();
    let scheduler = processes.scheduler(0).await;
    let mut executors = Vec::new();
    for node in ["n1", "n2", "n3"] {
        executors.push(processes.executor(node, scheduler.address).await);
    }
    until("three executors are known", async || (scheduler.metric("bytefacts_executors") == 3.0).then_some(())).await;
    // What starts has something to do; it is idle at the latest after some times. Who is asked twenty times a second never is.
    let mut taken = Vec::new();
    while taken.len() < TIMES {
        let before = scheduler.cpu();
        tokio::time::sleep(WATCHED).await;
        taken.push(scheduler.cpu() - before);
        // This is a debug build; one for users takes a fraction of it.
        if taken.last().is_some_and(|taken| *taken * 50 < WATCHED) {
            return;
        }
    }
    panic!("an idle scheduler took {taken:?}, each in {WATCHED:?}");
}

/// A run can be seen with its progress, ended by its name, and gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_seen_is_ended_and_goes_on() {
    let (corpus, facts, mut processes, gate) = (corpus().await, folder(), Processes::new(), Gate::closed(&python().await));
    let settings = "scheduler: {executor_timeout_seconds: 120}\nexecutor: {cores: 1}\nbins: {count: 14}\n";
    std::fs::write(processes.home.path().join("settings.yaml"), settings).unwrap();
    processes.environment.push(gate.variable());
    let expected = undisturbed(corpus.path()).await;
    let scheduler = processes.scheduler(0).await;
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let out = facts.path().to_str().unwrap();
    let client = processes.extract(scheduler.address, &[corpus.path().to_str().unwrap(), "--out", out, "--run-id", "r"]).await;
    // Of three bins on two executors one at least was reported, and one is not to end. Nothing gets on while it is looked at.
    landed(facts.path(), "r", 3).await;
    gate.reached().await;
    for executor in &executors {
        executor.signal(Signal::SIGSTOP);
    }

    let status = ask(&processes, &scheduler, &["status"]).await;
    let job = &status["jobs"][0];
    assert_eq!((&job["run"], &job["state"]), (&"r".into(), &"running".into()), "{status}");
    assert_eq!(job["corpus"], url(corpus.path()));
    let bins = job["progress"]["bins"].as_u64().unwrap();
    assert!(bins > 2 && job["progress"]["bins_done"].as_u64().unwrap() <= bins, "{status}");
    let nodes: Vec<_> = status["executors"].as_array().unwrap().iter().map(|executor| executor["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["n1", "n2"]);
    for executor in status["executors"].as_array().unwrap() {
        assert_eq!((&executor["cores"], &executor["version"]), (&1.into(), &env!("CARGO_PKG_VERSION").into()), "{status}");
        assert!(executor["python"].as_str().unwrap().starts_with("3.13."), "{status}");
        assert!(executor["silent_seconds"].as_u64().unwrap() < 60, "{status}");
    }
    assert!(status["executors"].as_array().unwrap().iter().any(|executor| executor["cores_in_use"] == 1), "{status}");
    let waiting = scheduler.metric("bytefacts_bins_waiting") as u64;
    assert!(waiting > 0 && waiting < bins, "{waiting} of {bins}");

    let ended = ask(&processes, &scheduler, &["cancel", "r"]).await;
    assert_eq!(ended[0]["state"], "cancelled", "{ended}");
    let (code, _, stderr) = client.end(LIMIT).await;
    assert!(code == 1 && stderr.contains("run r was cancelled") && !stderr.contains("again"), "it is over, and said once: {code} {stderr}");
    // The tasks under way end with their job.
    for executor in &executors {
        executor.signal(Signal::SIGCONT);
    }
    until("the tasks of a cancelled job end", async || {
        executors.iter().all(|executor| executor.metric("bytefacts_tasks_running") == 0.0).then_some(())
    })
    .await;
    assert_eq!(jobs_of(&processes, &scheduler, "r").await.len(), 1, "it was not submitted again");

    gate.open();
    let resumed = processes.extract(scheduler.address, &["--resume", "r", "--out", out]).await;
    let (code, _, stderr) = resumed.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    check(facts.path(), "r", &expected).await;
    let jobs = jobs_of(&processes, &scheduler, "r").await;
    let last = jobs.last().unwrap();
    assert_eq!((&last["state"], &last["progress"]["bins_done"]), (&"completed".into(), &bins.into()), "{jobs:?}");
    assert_eq!(last["progress"]["files"], expected.run.stats.files, "bins that the first job landed count too");
    assert_eq!(scheduler.metric("bytefacts_run_files") as u64, expected.run.stats.files);
    assert_eq!(scheduler.metric("bytefacts_bins_waiting"), 0.0);
    let metrics = scheduler.get("/metrics").1;
    assert_eq!(scheduler.metric("bytefacts_jobs_submitted_total"), 2.0);
    for (outcome, count) in [("completed", 1), ("failed", 0), ("cancelled", 1)] {
        assert!(metrics.contains(&format!("bytefacts_jobs_total{{outcome=\"{outcome}\"}} {count}\n")), "{metrics}");
    }
}

/// A client that is told to end ends its job, unless it is to leave it to the cluster; either way its run goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_ended_ends_its_job_or_leaves_it() {
    let (corpus, mut processes, gate) = (corpus().await, Processes::new(), Gate::closed(&python().await));
    let expected = undisturbed(corpus.path()).await;
    processes.environment.push(gate.variable());
    let scheduler = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    for (name, signal, more, end) in [
        ("term", Signal::SIGTERM, &[][..], "cancelled"),
        ("int", Signal::SIGINT, &[], "cancelled"),
        // Without a word: who is killed has none.
        ("kill", Signal::SIGKILL, &[], "cancelled"),
        ("left", Signal::SIGTERM, &["--detach"], "completed"),
        ("orphan", Signal::SIGKILL, &["--detach"], "completed"),
    ] {
        let facts = folder();
        let out = facts.path().to_str().unwrap();
        let mut args = vec![corpus.path().to_str().unwrap(), "--out", out, "--run-id", name, "--no-cache"];
        args.extend(more);
        let client = processes.extract(scheduler.address, &args).await;
        landed(facts.path(), name, 1).await;
        gate.reached().await;
        client.signal(signal);
        let (code, _, stderr) = client.end(Duration::from_secs(60)).await;
        let says_how = stderr.contains(&format!("--resume {name} --out {out} --cluster df://"));
        assert!(if signal == Signal::SIGKILL { code == -1 } else { code == 1 && says_how }, "{name}: {code} {stderr}");
        if end == "completed" {
            gate.open();
        }
        until(&format!("{name}: the job is {end}"), async || {
            let jobs = jobs_of(&processes, &scheduler, name).await;
            (jobs.len() == 1 && jobs[0]["state"] == end).then_some(())
        })
        .await;
        gate.open();
        let resumed = processes.extract(scheduler.address, &["--resume", name, "--out", out]).await;
        let (code, _, stderr) = resumed.end(LIMIT).await;
        assert_eq!(code, 0, "{name}: {stderr}");
        check(facts.path(), name, &expected).await;
        gate.close();
    }
    let (code, _, stderr) = run(processes.command(&["extract", "corpus", "--out", "facts", "--detach"]).await);
    assert!(code == 2 && stderr.contains("--detach"), "{stderr}");
}

/// An executor that was not upgraded with its scheduler is told of, by the scheduler's log and by whoever is asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_of_another_version_is_told_of() {
    let processes = Processes::new();
    let scheduler = processes.scheduler(0).await;
    let executor = processes.executor("n1", scheduler.address).await;
    let said = async |command: &str| {
        let (code, stdout, stderr) = run(processes.command(&[command, "--cluster", &format!("df://{}", scheduler.address)]).await);
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    until("the executor", async || said("executors").await.contains("n1").then_some(())).await;
    assert!(!said("status").await.contains("another version"));
    // The same executor, as one of another version would introduce itself.
    let introduction = format!(r#"{{"id":"{}","node":"n1","version":"0.0.1","python":"3.13.0"}}"#, executor.id);
    let mut other = std::net::TcpStream::connect(scheduler.address).unwrap();
    let length = introduction.len();
    let head =
        format!("POST /bytefacts/v1/events HTTP/1.1\r\nhost: s\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    std::io::Write::write_all(&mut other, (head + &introduction).as_bytes()).unwrap();
    let mark = format!("0.0.1 (not {})", env!("CARGO_PKG_VERSION"));
    until("the mark", async || said("executors").await.contains(&mark).then_some(())).await;
    let status = said("status").await;
    assert!(status.contains("; 1 of another version: `bytefacts executors` shows which"), "{status}");
    assert!(scheduler.log().contains("an executor of another version"), "{}", scheduler.log());
}

/// A scheduler that is not there is said in words, within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_not_there_is_said_in_words() {
    let processes = Processes::new();
    let nobody = format!("df://127.0.0.1:{}", free_port());
    for command in [&["status"][..], &["jobs"], &["executors"], &["cancel", "r"]] {
        let mut args = command.to_vec();
        args.extend(["--cluster", &nobody]);
        let (code, stdout, stderr) = run(processes.command(&args).await);
        assert!(code == 1 && stdout.is_empty(), "{command:?}: {code} {stdout}");
        assert!(stderr.starts_with("error: the scheduler does not answer at 127.0.0.1:") && !stderr.contains("Error {"), "{stderr}");
        let (code, _, stderr) = run(processes.command(command).await);
        assert!(code == 2 && stderr.contains("--cluster"), "{stderr}");
    }
}

/// Daemons do what their lists allow: the scheduler refuses the others, and so does an executor whose scheduler does not.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_name_what_is_allowed_and_nothing_else() {
    let (corpus, secrets, facts, elsewhere, mut processes) = (small_corpus(), small_corpus(), folder(), folder(), Processes::new());
    let lists = [("BYTEFACTS_ACCESS__CORPUS", corpus.path()), ("BYTEFACTS_ACCESS__FACTS", facts.path())];
    let open = processes.scheduler(0).await;
    processes.environment.extend(lists.map(|(name, place)| (name.to_owned(), format!("['{}']", place.display()))));
    let careful = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", open.address).await, processes.executor("n2", careful.address).await];
    let settings = "client: {fruitless: 1}\nbins: {count: 4}\n";
    std::fs::write(processes.home.path().join("settings.yaml"), settings).unwrap();
    for scheduler in [&open, &careful] {
        for (n, (from, to, refused)) in [
            (secrets.path(), facts.path(), Some("access.corpus")),
            (corpus.path(), elsewhere.path(), Some("access.facts")),
            (corpus.path(), facts.path(), None),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("{}-{n}", scheduler.address.port());
            let args = [from.to_str().unwrap(), "--out", to.to_str().unwrap(), "--run-id", &name, "--another-corpus"];
            let (code, _, stderr) = processes.extract(scheduler.address, &args).await.end(LIMIT).await;
            match refused {
                Some(key) => assert!(code == 1 && stderr.contains("is not allowed here") && stderr.contains(key), "{name}: {stderr}"),
                None => assert_eq!(code, 0, "{name}: {stderr}"),
            }
        }
    }
    let landed = |folder: &std::path::Path| walk(folder).into_iter().filter(|path| path.ends_with(".parquet")).count();
    assert_eq!(landed(elsewhere.path()), 0, "nothing is written where nothing may be");
    assert!(landed(facts.path()) > 0);

    // Nor is there another way, such as a plan of DataFusion's own.
    let file = walk(facts.path()).into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let secret = secrets.path().join("secret.parquet");
    std::fs::copy(&file, &secret).unwrap();
    let session = job_session(&format!("df://{}", careful.address), Arc::new(Stores::default()), &JobSettings::for_run("x")).await.unwrap();
    let read = session.read_parquet(secret.to_str().unwrap(), Default::default()).await.unwrap();
    let refused = read.clone().collect().await.unwrap_err().to_string();
    assert!(refused.contains("it is no part of facts that are allowed here"), "{refused}");
    let target = facts.path().join("written.parquet").display().to_string();
    let copied = format!("COPY (SELECT 1 AS x) TO '{target}' STORED AS PARQUET");
    let refused = async { session.sql(&copied).await?.collect().await }.await.unwrap_err().to_string();
    assert!(refused.contains("queries only read") && !std::path::Path::new(&target).exists(), "{refused}");
}

/// Paths of all files below a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path.display().to_string());
        }
    }
    files
}

/// A daemon that others reach does nothing until it is said what it may; and one that listens everywhere is found where it is.
#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_all_is_told_what_is_allowed_and_is_found() {
    let (corpus, facts, mut processes) = (small_corpus(), folder(), Processes::new());
    std::fs::write(processes.home.path().join("settings.yaml"), "client: {fruitless: 1}\n").unwrap();
    let args = |name| [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", name].map(str::to_owned);
    let everywhere = async |processes: &Processes| {
        let command = processes.command(&["scheduler", "--listen", "0.0.0.0:0", "--insecure", "--probes", "127.0.0.1:0"]).await;
        Daemon::start(command, &processes.home.path().join("everywhere.log"))
    };
    let mute = everywhere(&processes).await;
    let here = |daemon: &Daemon| std::net::SocketAddr::from(([127, 0, 0, 1], daemon.address.port()));
    let (code, _, stderr) = processes.extract(here(&mute), &args("mute").each_ref().map(String::as_str)).await.end(LIMIT).await;
    assert!(code == 1 && stderr.contains("BYTEFACTS_ACCESS__CORPUS"), "{stderr}");

    for kind in ["CORPUS", "FACTS"] {
        processes.environment.push((format!("BYTEFACTS_ACCESS__{kind}"), "['*']".to_owned()));
    }
    let scheduler = everywhere(&processes).await;
    let at = here(&scheduler).to_string();
    let command = ["executor", "--scheduler", &at, "--node", "n1", "--listen", "0.0.0.0:0", "--insecure", "--probes", "127.0.0.1:0"];
    let executor = Daemon::start(processes.command(&command).await, &processes.home.path().join("n1.log"));
    let cluster = format!("df://{at}");
    let host = until("the executor's address", async || {
        let (_, stdout, _) = run(processes.command(&["executors", "--cluster", &cluster, "--format", "json"]).await);
        serde_json::from_str::<Value>(&stdout).ok()?[0]["host"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(host, "127.0.0.1", "where the scheduler sees it, not 0.0.0.0");
    let (code, _, stderr) = processes.extract(here(&scheduler), &args("told").each_ref().map(String::as_str)).await.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(executor.terminate(), Some(0));
}

/// The checks of a doctor, by name, and its exit code.
async fn doctor(processes: &Processes, args: &[&str]) -> (i32, std::collections::BTreeMap<String, Value>) {
    let mut all = vec!["doctor", "--format", "json"];
    all.extend(args);
    let (code, stdout, stderr) = run(processes.command(&all).await);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code} {stdout} {stderr}"));
    assert_eq!(report["healthy"], code == 0, "{report}");
    assert!(!stdout.contains("not-to-be-seen"), "a secret is shown: {stdout}");
    let checks = report["checks"].as_array().unwrap().iter();
    (code, checks.map(|check| (check["name"].as_str().unwrap().to_owned(), check.clone())).collect())
}

/// Several clients may be at one run, as after a restart: one that is interrupted ends its own job, and not that of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_interrupted_ends_nobody_elses_job() {
    let (corpus, facts, processes) = (small_corpus(), folder(), Processes::new());
    let scheduler = processes.scheduler(0).await;
    let out = facts.path().to_str().unwrap();
    let first = processes.extract(scheduler.address, &[corpus.path().to_str().unwrap(), "--out", out, "--run-id", "r"]).await;
    until("the first job is there", async || (scheduler.metric("bytefacts_jobs_running") > 0.0).then_some(())).await;
    let second = processes.extract(scheduler.address, &["--resume", "r", "--out", out]).await;
    until("the second job is there", async || (scheduler.metric("bytefacts_jobs_running") > 1.0).then_some(())).await;
    first.signal(Signal::SIGINT);
    let (code, _, stderr) = first.end(Duration::from_secs(60)).await;
    assert!(code == 1 && stderr.contains("ended by Ctrl-C"), "{code} {stderr}");
    let _executor = processes.executor("n1", scheduler.address).await;
    let (code, _, stderr) = second.end(Duration::from_secs(120)).await;
    assert!(code == 0 && !stderr.contains("cancelled"), "{code} {stderr}");
}

/// A job of a cluster without executors stands without a sign: its client says why, and once, and that it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_says_that_its_cluster_has_no_executor() {
    let (corpus, facts, processes) = (small_corpus(), folder(), Processes::new());
    let scheduler = processes.scheduler(0).await;
    let args = [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r"];
    let mut job = processes.extract(scheduler.address, &args).await;
    let waits =
        format!("the cluster has no executor: run r waits for one, as `bytefacts executor --scheduler {}` starts it", scheduler.address);
    job.says(&waits);
    let _executor = processes.executor("n1", scheduler.address).await;
    let (code, _, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stderr.matches(&waits).count(), 1, "{stderr}");
}

/// A doctor finds a real store, a folder and a cluster in order, leaves nothing behind, and says what is wrong where something is.
#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_says_what_is_in_order_and_what_is_not() {
    let (mut processes, s3) = (Processes::new(), crate::s3::S3::start().await);
    processes.environment.extend(crate::s3::S3::environment(s3.address));
    let scheduler = processes.scheduler(0).await;
    let cluster = format!("df://{}", scheduler.address);

    let (code, checks) = doctor(&processes, &["--facts", "s3://bucket/facts", "--cluster", &cluster]).await;
    assert_eq!(code, 1, "there is no executor: {checks:#?}");
    assert_eq!(checks["cluster: executors"]["verdict"], "fail");
    let _executor = processes.executor("n1", scheduler.address).await;
    until("the executor introduces itself", async || (doctor(&processes, &["--cluster", &cluster]).await.0 == 0).then_some(())).await;
    let (code, checks) = doctor(&processes, &["--facts", "s3://bucket/facts", "--cluster", &cluster]).await;
    assert_eq!(code, 0, "{checks:#?}");
    for name in [
        "interpreter",
        "facts: create-only put",
        "facts: compare-and-swap",
        "facts: get",
        "facts: delete",
        "facts: clock",
        "cluster: executors",
    ] {
        assert_eq!(checks[name]["verdict"], "ok", "{name}: {checks:#?}");
    }
    let said = checks["facts: settings"]["found"].as_str().unwrap();
    assert!(said.contains("region us-east-1") && said.contains("AWS_ACCESS_KEY_ID") && said.contains("in the path"), "{said}");
    // Nothing is left: there is nothing to be read as a corpus either.
    let (code, checks) = doctor(&processes, &["--corpus", "s3://bucket"]).await;
    assert_eq!((code, &checks["corpus: list"]["verdict"]), (1, &"fail".into()), "{checks:#?}");

    for (args, name) in [
        (["--facts", "s3://no-such-bucket/facts"], "facts: list"),
        (["--corpus", "s3://no-such-bucket"], "corpus: list"),
        (["--python", "/no/such/python"], "interpreter"),
        (["--cluster", "df://127.0.0.1:1"], "cluster: scheduler"),
        (["--facts", "/proc/facts"], "facts: put"),
    ] {
        let begun = Instant::now();
        let (code, checks) = doctor(&processes, &args).await;
        assert!(code == 1 && begun.elapsed() < Duration::from_secs(120), "{args:?}");
        assert_eq!(checks[name]["verdict"], "fail", "{args:?}: {checks:#?}");
        assert!(
            checks[name]["advice"].is_string() && !checks[name]["found"].as_str().unwrap().contains("Error {"),
            "{args:?}: {checks:#?}"
        );
    }

    processes.environment.push(("BYTEFACTS_CACHE__SHARED".to_owned(), "s3://bucket/units".to_owned()));
    let (code, checks) = doctor(&processes, &[]).await;
    let verdict = |name: &str| checks[name]["verdict"].as_str().unwrap().to_owned();
    assert_eq!((code, verdict("shared cache: put and get"), verdict("shared cache: seal")), (0, "ok".to_owned(), "warn".to_owned()));
    processes.environment.push(("BYTEFACTS_CACHE__SHARED".to_owned(), "s3://no-such-bucket/units".to_owned()));
    let (code, checks) = doctor(&processes, &[]).await;
    assert_eq!((code, &checks["shared cache: put and get"]["verdict"]), (1, &"fail".into()));
    processes.environment.truncate(processes.environment.len() - 2);

    let (corpus, facts) = (small_corpus(), folder());
    let (code, checks) =
        doctor(&processes, &["--corpus", corpus.path().to_str().unwrap(), "--facts", facts.path().to_str().unwrap()]).await;
    assert_eq!(code, 0, "{checks:#?}");
    assert_eq!(walk(facts.path()), Vec::<String>::new());
}
