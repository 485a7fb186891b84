//! Wall clocks that are set while a job runs, on the scheduler, on executors and on the client: the rows are those of an undisturbed run.
//!
//! The clock of each process is its own, by a library that is preloaded (`clock.c`, made by the C compiler that Rust links with).

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::chaos::{LIMIT, check, corpus, landed, undisturbed};
use crate::processes::{Daemon, Processes};
use crate::support::{Gate, folder, preloadable, python, run, store};

const HOURS: i64 = 3_600;
const DAYS: i64 = 24 * HOURS;

/// The wall clock of a process.
struct Clock {
    file: File,
    path: PathBuf,
}

impl Clock {
    fn new(home: &Path, name: &str) -> Self {
        let path = home.join(format!("{name}.clock"));
        let clock = Self { file: File::options().create_new(true).write(true).open(&path).unwrap(), path };
        clock.set(0);
        clock
    }

    /// Sets it to so many seconds from the true time.
    fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// The library; `None`, said aloud, where it cannot be made.
fn library(home: &Path) -> Option<PathBuf> {
    preloadable(home, "clock.c", "clocks that are set")
}

/// Processes that are started from now on live by this clock.
fn live_by(processes: &mut Processes, library: &Path, clock: &Clock, gate: &Gate) {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    processes.environment = [
        ("LD_PRELOAD", text(library)),
        ("CLOCK_OFFSET", text(&clock.path)),
        ("BYTEFACTS_LOG_FORMAT", "json".to_owned()),
        ("BYTEFACTS_LOG", "info".to_owned()),
        ("BYTEFACTS_CACHE__ENABLED", "false".to_owned()),
        ("BYTEFACTS_CLIENT__STALL_SECONDS", "10".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    processes.environment.push(gate.variable());
}

/// A scheduler with a clock of its own, and two executors that live by the true time, as all do that are started from now on.
async fn scheduler_of_another_time(processes: &mut Processes, library: &Path, gate: &Gate) -> (Clock, Daemon, [Daemon; 2]) {
    let [clock, true_time] = ["scheduler", "others"].map(|name| Clock::new(processes.home.path(), name));
    live_by(processes, library, &clock, gate);
    let scheduler = processes.scheduler(0).await;
    live_by(processes, library, &true_time, gate);
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    (clock, scheduler, executors)
}

/// Days on which a daemon wrote into its log, by its own clock.
fn days(daemon: &Daemon) -> BTreeSet<String> {
    let lines = daemon.log();
    let stamp = |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["timestamp"].as_str()?.get(..10)?.to_owned());
    lines.lines().filter_map(stamp).collect()
}

/// One process after another, and then all of them, are two hours ahead and then three days behind while a job runs.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_set_change_no_row() {
    let (corpus, facts, mut processes) = (corpus().await, folder(), Processes::new());
    let Some(library) = library(processes.home.path()) else { return };
    let expected = undisturbed(corpus.path()).await;
    let [scheduler_clock, executor_clock, client_clock] = ["scheduler", "executor", "client"].map(|n| Clock::new(processes.home.path(), n));
    let gate = Gate::closed(&python().await);
    live_by(&mut processes, &library, &scheduler_clock, &gate);
    let scheduler = processes.scheduler(0).await;
    live_by(&mut processes, &library, &executor_clock, &gate);
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    live_by(&mut processes, &library, &client_clock, &gate);

    for (run, clocks) in [
        ("scheduler", &[&scheduler_clock][..]),
        ("executors", &[&executor_clock]),
        ("client", &[&client_clock]),
        ("all", &[&scheduler_clock, &executor_clock, &client_clock]),
    ] {
        let args = [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", run];
        let mut job = processes.extract(scheduler.address, &args).await;
        landed(facts.path(), run, 3).await;
        clocks.iter().for_each(|clock| clock.set(2 * HOURS));
        landed(facts.path(), run, 7).await;
        clocks.iter().for_each(|clock| clock.set(-3 * DAYS));
        assert!(job.is_running(), "{run}: the clock was set too late to show anything");
        gate.open();
        let (code, _, stderr) = job.end(LIMIT).await;
        assert_eq!(code, 0, "{run}: {stderr}");
        check(facts.path(), run, &expected).await;
        let committed = store(facts.path()).runs().await.unwrap().into_iter().find(|r| r.run_id.as_str() == run).unwrap().committed_at_ms;
        let late = SystemTime::UNIX_EPOCH + Duration::from_millis(committed) > SystemTime::now() - Duration::from_hours(24);
        assert_eq!(late, !["client", "all"].contains(&run), "{run}: the client's clock was not set");
        clocks.iter().for_each(|clock| clock.set(0));
        gate.close();
    }
    for daemon in executors.iter().chain([&scheduler]) {
        assert!(days(daemon).len() >= 2, "the clock of {} was not set", daemon.id);
    }
}

/// The scheduler's clock runs away in leaps, so that executors seem long dead again and again while they work.
#[tokio::test(flavor = "multi_thread")]
async fn executors_that_seem_dead_again_and_again_finish_the_run() {
    let (corpus, facts, mut processes) = (corpus().await, folder(), Processes::new());
    let Some(library) = library(processes.home.path()) else { return };
    let expected = undisturbed(corpus.path()).await;
    let gate = Gate::closed(&python().await);
    let (clock, scheduler, _executors) = scheduler_of_another_time(&mut processes, &library, &gate).await;
    processes.environment.push(("BYTEFACTS_BINS__COUNT".to_owned(), "60".to_owned()));
    let args = [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r"];
    let mut job = processes.extract(scheduler.address, &args).await;
    let lost = || scheduler.log().matches("heartbeat timed out").count();
    let (begun, mut leaps) = (Instant::now(), 0);
    while leaps < 400 || lost() == 0 {
        assert!(job.is_running() && begun.elapsed() < LIMIT, "the clock's leaps did no harm: this shows nothing");
        leaps += 1;
        clock.set(leaps * 2 * HOURS);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gate.open();
    let (code, _, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    check(facts.path(), "r", &expected).await;
    eprintln!("executors were taken for dead {} times", lost());
}

/// The scheduler's clock goes back by three days at the moment at which an executor dies: for three days it takes the dead for alive. The client
/// sees that the run stands still.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_dies_as_the_clock_goes_back_is_not_waited_for() {
    let (corpus, facts, mut processes) = (corpus().await, folder(), Processes::new());
    let Some(library) = library(processes.home.path()) else { return };
    let expected = undisturbed(corpus.path()).await;
    let gate = Gate::closed(&python().await);
    let (clock, scheduler, [dying, _living]) = scheduler_of_another_time(&mut processes, &library, &gate).await;
    let args = [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r"];
    let job = processes.extract(scheduler.address, &args).await;
    landed(facts.path(), "r", 3).await;
    gate.reached().await;
    dying.kill();
    clock.set(-3 * DAYS);
    gate.open();
    let (code, _, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    check(facts.path(), "r", &expected).await;
}

/// A client whose clock is a week ahead tidies up behind its run and again when asked to, and leaves alone a run of somebody else that is not at
/// its end: files are dated by the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_time_sweeps_nobody_elses_run() {
    let (corpus, facts, mut processes) = (corpus().await, folder(), Processes::new());
    let Some(library) = library(processes.home.path()) else { return };
    let expected = undisturbed(corpus.path()).await;
    let gate = Gate::closed(&python().await);
    let clock = Clock::new(processes.home.path(), "client");
    processes.environment.push(gate.variable());
    let scheduler = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let arguments = |run: &'static str| [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", run];
    let interrupted = processes.extract(scheduler.address, &arguments("slow")).await;
    landed(facts.path(), "slow", 3).await;
    gate.reached().await;
    interrupted.kill();
    gate.open();

    live_by(&mut processes, &library, &clock, &gate);
    clock.set(7 * DAYS);
    let (code, _, stderr) = processes.extract(scheduler.address, &arguments("fast")).await.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    check(facts.path(), "fast", &expected).await;
    for more in [&[][..], &["--dry-run"]] {
        let gc = processes.command(&[&["gc", "--facts", facts.path().to_str().unwrap()], more].concat()).await;
        let (code, said, stderr) = run(gc);
        let keeps_all = said.contains("there is nothing to do") || said.contains(" 0 data files");
        assert!(code == 0 && keeps_all && !said.contains("slow"), "{code} {said} {stderr}");
    }
    clock.set(0);
    let resumed = processes.extract(scheduler.address, &["--resume", "slow", "--out", facts.path().to_str().unwrap()]).await;
    let (code, _, stderr) = resumed.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    check(facts.path(), "slow", &expected).await;
}
