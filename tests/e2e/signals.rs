//! SIGTERM and Ctrl-C end every command in order, soon, and with what to do next; a second one ends it at once.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::processes::{Processes, cpu};
use crate::support::{bytefacts, folder, library_corpus, python, run, small_corpus, store};

/// What is told to end takes a second. This is what a machine may need that does other things too; what is not told goes on for longer.
const SOON: Duration = Duration::from_secs(20);

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Starts a job and waits until it says its run's id on stderr; the process, the id, and the rest of stderr.
fn begun(mut command: Command) -> (Child, String, impl FnOnce() -> String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let run = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without telling its run: {said}");
        if let Some((run, _)) = line.strip_prefix("run ").and_then(|rest| rest.split_once(':')) {
            break run.to_owned();
        }
        said += &line;
    };
    let rest = move || {
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        rest
    };
    (child, run, rest)
}

/// Interrupts a job under way, and has the command that it prints go on with it.
async fn interrupted_and_resumed(command: Command, signal: Signal, name: &str, facts: &Path, cache: &Path) {
    let (mut child, id, rest) = begun(command);
    let run_id = bytefacts_landing::RunId::new(id.clone()).unwrap();
    while store(facts).notes_of_run(&run_id).await.unwrap().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "the job is over before a bin of it is seen to be begun");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(child.try_wait().unwrap().is_none(), "the job is over before it is interrupted");
    let sent = Instant::now();
    send(&child, signal);
    let code = child.wait().unwrap().code();
    let took = sent.elapsed();
    let stderr = rest();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(took < SOON, "{took:?}: {stderr}");
    let facts_text = facts.to_str().unwrap();
    let expected = format!("error: ended by {name}; what is done is kept: `bytefacts extract --resume {id} --out {facts_text}` goes on\n");
    assert_eq!(stderr, expected);
    let (code, _, stderr) = run(bytefacts(cache, &["extract", "--resume", &id, "--out", facts_text]).await);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(store(facts).current().await.unwrap().unwrap().run_id.as_str(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_told_to_end_tells_how_to_go_on() {
    let corpus = library_corpus(&python().await, &["asyncio", "email", "idlelib", "encodings", "unittest", "test"]);
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "Ctrl-C")] {
        let (facts, cache) = (folder(), folder());
        let args = ["extract", corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--jobs", "1"];
        let command = bytefacts(cache.path(), &args).await;
        interrupted_and_resumed(command, signal, name, facts.path(), cache.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_that_is_told_to_end_tells_how_to_go_on() {
    let (facts, cache) = (folder(), folder());
    let command = bytefacts(cache.path(), &["demo", "--out", facts.path().to_str().unwrap(), "--jobs", "1"]).await;
    interrupted_and_resumed(command, Signal::SIGTERM, "SIGTERM", facts.path(), cache.path()).await;
}

/// What reads says that it was ended, too: a service manager's log shows nothing else of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_reads_facts_says_that_it_was_ended() {
    let (corpus, home) = (library_corpus(&python().await, &["asyncio", "email", "unittest"]), folder());
    let facts = home.path().join("facts");
    let facts = facts.to_str().unwrap();
    let (code, _, stderr) = run(bytefacts(home.path(), &["extract", corpus.path().to_str().unwrap(), "--out", facts]).await);
    assert_eq!(code, 0, "{stderr}");
    let endless = "SELECT count(*) FROM py_bc_instructions AS a, py_bc_instructions AS b WHERE a.opname || b.opname = 'x'";
    let start = async |args: &[&str]| {
        let mut command = bytefacts(home.path(), args).await;
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // The one never ends; the other takes so much, of which the first third is long before its end.
    let validate = ["validate", "--facts", facts];
    let (mut whole, mut taken) = (start(&validate).await, Duration::ZERO);
    while whole.try_wait().unwrap().is_none() {
        taken = taken.max(cpu(whole.id()).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let commands: [(&[&str], &str, Duration); 2] = [
        (&["sql", "--facts", facts, endless], "error: ended by SIGTERM", Duration::from_secs(1)),
        (&validate, "error: ended by SIGTERM;", taken / 3),
    ];
    for (args, words, after) in commands {
        let mut child = start(args).await;
        while cpu(child.id()).unwrap_or_default() < after {
            assert!(child.try_wait().unwrap().is_none(), "{args:?} is over before it is ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let sent = Instant::now();
        send(&child, Signal::SIGTERM);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(1) && said.starts_with(words) && sent.elapsed() < SOON, "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_daemon_that_drains() {
    let (corpus, mut processes) = (small_corpus(), Processes::new());
    processes.environment = vec![("BYTEFACTS_SCHEDULER__DRAIN_SECONDS".to_owned(), "300".to_owned())];
    let scheduler = processes.scheduler(0).await;
    let facts = processes.home.path().join("facts");
    // No executor comes, so that the job waits.
    let job = processes.extract(scheduler.address, &[corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap()]).await;
    let begun = Instant::now();
    while scheduler.metric("bytefacts_jobs_running") < 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", scheduler.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scheduler.signal(Signal::SIGTERM);
    let told = Instant::now();
    while !scheduler.log().contains("leaving") {
        assert!(told.elapsed() < Duration::from_secs(60), "{}", scheduler.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = Instant::now();
    assert_eq!(scheduler.terminate(), Some(128 + 15));
    assert!(sent.elapsed() < SOON);
    job.kill();
}
