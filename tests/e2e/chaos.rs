//! A cluster of real processes, and what may happen to it: whatever is killed, frozen or cut off, and whenever, the run ends with the digests of
//! an undisturbed embedded run, with no row lost or doubled.
//!
//! `BYTEFACTS_TRIALS=N` makes N random trials instead of a few; `BYTEFACTS_SEED=N` repeats those of a seed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytefacts_landing::Manifest;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::processes::{Daemon, Processes};
use crate::servers::free_port;
use crate::support::{GATED, Gate, Shape, extract, folder, python, query_text, store, write_files};

/// How long a disturbed job may take: losses are noticed within seconds.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Files of the standard library in three repositories, and one at which a [`Gate`] stands: some seconds of work, or as long as a test needs.
pub async fn corpus() -> TempDir {
    let (corpus, library) = (folder(), python().await.stdlib);
    for (repo, folders) in [
        ("a", ["json", "email", "concurrent/futures"]),
        ("b", ["asyncio", "unittest", "xml/dom"]),
        ("c", ["collections", "importlib", "logging"]),
    ] {
        for folder in folders {
            for entry in std::fs::read_dir(library.join(folder)).unwrap() {
                let from = entry.unwrap().path();
                if from.extension().is_some_and(|e| e == "py") {
                    let to = corpus.path().join(repo).join(folder).join(from.file_name().unwrap());
                    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                    std::fs::copy(from, to).unwrap();
                }
            }
        }
    }
    write_files(corpus.path(), &[("b/asyncio/gated.py", format!("{GATED} = 1\n").as_bytes())]);
    corpus
}

pub async fn undisturbed(corpus: &Path) -> Manifest {
    extract(corpus, folder().path(), &Shape { run: "undisturbed", ..Shape::default() }).await
}

/// The run is committed, complete and right: rows as many as files, each once, the same digests from the files up.
pub async fn check(facts: &Path, run: &str, expected: &Manifest) {
    let facts_store = store(facts);
    let run = bytefacts_landing::RunId::new(run).unwrap();
    assert_eq!(facts_store.current().await.unwrap().unwrap().run_id, run);
    let manifest = facts_store.manifest(&run).await.unwrap().unwrap();
    assert_eq!(manifest.run.digest, expected.run.digest);
    let digests = |m: &Manifest| m.repos.iter().map(|r| (r.repo.clone(), r.files, r.digest.clone())).collect::<Vec<_>>();
    assert_eq!(digests(&manifest), digests(expected));
    let counts = query_text(facts, "SELECT count(*), count(DISTINCT file_id) FROM bytecode_files_v1").await;
    let rows = expected.run.rows.to_string();
    assert_eq!(counts, [[rows.clone(), rows]]);
}

/// Waits until the run has so many bins on record, or the time is over.
pub async fn landed(facts: &Path, run: &str, bins: usize) {
    let (facts, run) = (store(facts), bytefacts_landing::RunId::new(run).unwrap());
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if facts.finished_bins(&run).await.unwrap().len() >= bins {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {bins} bins were landed within {LIMIT:?}");
}

/// The same job by processes as by the embedded cluster: the same digest; health, readiness and metrics tell of it; logs name run and bin.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_processes_gives_what_the_embedded_one_gives() {
    let (corpus, facts, mut processes) = (corpus().await, folder(), Processes::new());
    let expected = undisturbed(corpus.path()).await;
    processes.environment.push(("BYTEFACTS_LOG_FORMAT".to_owned(), "json".to_owned()));
    // Nobody begins before both have a task: otherwise the faster one might do all.
    let gate = Gate::with(&python().await, "", "");
    processes.environment.push(gate.variable());
    let scheduler = processes.scheduler(0).await;
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let job = processes
        .extract(scheduler.address, &[corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r"])
        .await;
    let begun = Instant::now();
    while executors.iter().any(|executor| executor.metric("bytefacts_tasks_running") == 0.0) {
        assert!(begun.elapsed() < LIMIT, "an executor has nothing to do");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gate.open();
    let (code, stdout, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["files"], expected.run.stats.files);
    assert_eq!(summary["python"], format!("cpython {}", python().await.version), "the executors' own interpreter decides");
    check(facts.path(), "r", &expected).await;

    let sum = |name: &str| executors.iter().map(|e| e.metric(name)).sum::<f64>() as u64;
    let stats = &expected.run.stats;
    assert_eq!(sum("bytefacts_files_total"), stats.files);
    assert_eq!(sum("bytefacts_source_bytes_total"), stats.source_bytes);
    assert_eq!(sum("bytefacts_instructions_total"), stats.instructions);
    assert_eq!(sum("bytefacts_bins_landed_total"), u64::from(store(facts.path()).runs().await.unwrap()[0].bins));
    assert_eq!(sum("bytefacts_unit_cache_hits_total") + sum("bytefacts_unit_cache_misses_total"), stats.files);
    assert!(executors.iter().all(|e| e.metric("bytefacts_compile_cpu_seconds_total") > 0.0), "each executor had work");
    assert_eq!(scheduler.metric("bytefacts_executors") as u64, 2);
    assert_eq!(scheduler.get("/metrics").1.lines().filter(|l| *l == "bytefacts_jobs_total{outcome=\"completed\"} 1").count(), 1);
    for daemon in executors.iter().chain([&scheduler]) {
        assert_eq!(daemon.get("/healthz"), (200, "alive\n".to_owned()));
        assert_eq!(daemon.get("/readyz").0, 200);
        assert_eq!(daemon.get("/nothing").0, 404);
    }
    let landed = executors.iter().flat_map(|e| e.log().lines().map(str::to_owned).collect::<Vec<_>>());
    let landed = landed.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok()).filter(|l| l["message"] == "bin landed");
    let bins = landed
        .inspect(|line| assert!(line["run"] == "r" && line["task"].as_str().unwrap().starts_with("TID "), "{line}"))
        .filter_map(|line| line["bin"].as_u64())
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(bins.len() as u64, sum("bytefacts_bins_landed_total"));
    let [a, b] = executors;
    assert_eq!((a.terminate(), b.terminate(), scheduler.terminate()), (Some(0), Some(0), Some(0)));
}

/// A bounded, repeatable source of moments and choices.
pub struct Random(pub u64);

impl Random {
    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a trial does to the cluster.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillExecutor,
    KillAllExecutors,
    KillScheduler,
    KillClient,
    FreezeExecutor,
    DrainExecutor,
}

const FAULTS: [Fault; 6] =
    [Fault::KillExecutor, Fault::KillAllExecutors, Fault::KillScheduler, Fault::KillClient, Fault::FreezeExecutor, Fault::DrainExecutor];

/// A variable of whoever runs the tests that is a number.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One trial after another on one cluster: a fault at a random moment of a job under way, and the run must end as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_the_run_ends_as_if_nothing_had_happened() {
    let (corpus, facts, mut processes, gate) = (corpus().await, folder(), Processes::new(), Gate::closed(&python().await));
    let expected = undisturbed(corpus.path()).await;
    processes.environment.push(gate.variable());
    let trials = number("BYTEFACTS_TRIALS").unwrap_or(FAULTS.len() as u64);
    let mut random = Random(number("BYTEFACTS_SEED").unwrap_or(3));
    // Every job starts from nothing: what an earlier one has cached passes the gate.
    let arguments = |run: &str| {
        [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", run, "--no-cache"].map(str::to_owned)
    };

    // Its port is its own, so that nobody has it while it is away.
    let mut scheduler = processes.scheduler(free_port()).await;
    let mut executors: Vec<Daemon> = Vec::new();
    for node in ["n1", "n2"] {
        executors.push(processes.executor(node, scheduler.address).await);
    }
    let mut survived = Vec::new();
    for trial in 0..trials {
        let fault = FAULTS[usize::try_from(trial).unwrap() % FAULTS.len()];
        let run = format!("trial-{trial}");
        let args = arguments(&run);
        let mut job = processes.extract(scheduler.address, &args.each_ref().map(String::as_str)).await;
        // A run that nobody has begun cannot be resumed.
        let least = usize::from(matches!(fault, Fault::KillClient));
        landed(facts.path(), &run, least.max(random.below(9) as usize)).await;
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        assert!(job.is_running(), "{run} is over before its {fault:?}");
        let begun = Instant::now();
        match fault {
            Fault::KillExecutor => {
                let node = if random.below(2) == 0 { "n1" } else { "n2" };
                let index = executors.iter().position(|e| e.id.starts_with(node)).unwrap();
                executors.remove(index).kill();
                // As Kubernetes does: the node comes back under its name, at once.
                executors.push(processes.executor(node, scheduler.address).await);
            }
            Fault::KillAllExecutors => {
                executors.drain(..).for_each(Daemon::kill);
                tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
                for node in ["n1", "n2"] {
                    executors.push(processes.executor(node, scheduler.address).await);
                }
            }
            Fault::KillScheduler => {
                let port = scheduler.address.port();
                scheduler.kill();
                tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
                scheduler = processes.scheduler(port).await;
            }
            Fault::KillClient => {
                job.kill();
                job = processes.extract(scheduler.address, &["--resume", &run, "--out", facts.path().to_str().unwrap()]).await;
            }
            Fault::FreezeExecutor => {
                executors[0].signal(Signal::SIGSTOP);
                tokio::time::sleep(Duration::from_secs(12)).await; // longer than the scheduler's patience
                executors[0].signal(Signal::SIGCONT);
            }
            Fault::DrainExecutor => {
                let leaving = executors.remove(0);
                let node = leaving.id.rsplit_once('-').unwrap().0.to_owned();
                // What it has begun it ends before it goes.
                leaving.signal(Signal::SIGTERM);
                gate.open();
                assert_eq!(leaving.wait(), Some(0), "an executor leaves in good order under load");
                executors.push(processes.executor(&node, scheduler.address).await);
            }
        }
        gate.open();
        let (code, _, stderr) = job.end(LIMIT).await;
        let over = matches!(fault, Fault::KillClient) && stderr.contains("has been committed");
        assert!(code == 0 || over, "trial {trial}, {fault:?}: {stderr}");
        check(facts.path(), &run, &expected).await;
        survived.push(format!("{fault:?}: {:.1} s", begun.elapsed().as_secs_f64()));
        gate.close();
    }
    eprintln!("{} trials survived, each of which hit a job under way:\n{}", survived.len(), survived.join("\n"));
}

/// Cuts every connection through it whenever it is told to.
struct Wire {
    address: std::net::SocketAddr,
    cut: tokio::sync::watch::Sender<u64>,
    is_down: Arc<AtomicBool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Wire {
    async fn to(server: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = tokio::sync::watch::channel(0);
        let is_down = Arc::new(AtomicBool::new(false));
        let refuses = Arc::clone(&is_down);
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                if refuses.load(Ordering::SeqCst) {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut server) = tokio::net::TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, cut, is_down, accepting }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Lets nothing through from now on, or again.
    fn set_down(&self, down: bool) {
        self.is_down.store(down, Ordering::SeqCst);
        self.cut();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ballista 55 never repeats a status that was lost on its way: the job would stand still for ever. The client notices, and the run ends.
#[tokio::test(flavor = "multi_thread")]
async fn lost_messages_do_not_stop_a_run() {
    let (corpus, facts, mut processes, gate) = (corpus().await, folder(), Processes::new(), Gate::closed(&python().await));
    let expected = undisturbed(corpus.path()).await;
    processes.environment.push(("BYTEFACTS_CLIENT__STALL_SECONDS".to_owned(), "10".to_owned()));
    processes.environment.push(gate.variable());
    let scheduler = processes.scheduler(0).await;
    let wire = Wire::to(scheduler.address).await;
    let executors = [processes.executor("n1", wire.address).await, processes.executor("n2", wire.address).await];
    let args = [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r"];
    let mut job = processes.extract(scheduler.address, &args).await;
    // What is said of the bin that is held is lost for certain.
    gate.reached().await;
    let lost = || executors.iter().map(|e| e.log().matches("poll work loop failed").count()).sum::<usize>();
    let run = bytefacts_landing::RunId::new("r").unwrap();
    let (before, bins) = (lost(), store(facts.path()).finished_bins(&run).await.unwrap().len());
    wire.set_down(true);
    gate.open();
    landed(facts.path(), "r", bins + 1).await;
    let begun = Instant::now();
    while lost() == before {
        assert!(begun.elapsed() < LIMIT, "no message is lost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wire.set_down(false);
    // And of others it may be.
    let mut cuts = 0;
    while job.is_running() && cuts < 60 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        wire.cut();
        cuts += 1;
    }
    let (code, _, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 0, "{stderr}");
    check(facts.path(), "r", &expected).await;
    eprintln!("{cuts} cuts, {} lost messages; the client said:\n{stderr}", lost());
}

/// Two jobs at a time into the same facts: both are committed and whole, the later one is current, and neither sweeps the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_a_time_into_the_same_facts_do_no_harm() {
    let (corpus, facts, processes) = (corpus().await, folder(), Processes::new());
    let expected = undisturbed(corpus.path()).await;
    let scheduler = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let args = |run: &'static str| [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", run];
    let (a, b) = (processes.extract(scheduler.address, &args("a")).await, processes.extract(scheduler.address, &args("b")).await);
    for job in [a, b] {
        let (code, _, stderr) = job.end(LIMIT).await;
        assert_eq!(code, 0, "{stderr}");
    }
    let runs = store(facts.path()).runs().await.unwrap();
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert_eq!(run.digest, expected.run.digest, "{}", run.run_id);
        let manifest = store(facts.path()).manifest(&run.run_id).await.unwrap().unwrap();
        assert!(manifest.files.iter().all(|file| facts.path().join(&file.key).exists()), "{}", run.run_id);
    }
    check(facts.path(), runs[0].run_id.as_str(), &expected).await;
}

/// A cache that cannot be used costs time and a warning, and no row.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_written_costs_only_the_cache() {
    let (corpus, facts, home) = (crate::support::small_corpus(), folder(), folder());
    let expected = undisturbed(corpus.path()).await;
    write_files(home.path(), &[("file", b"where the cache's folder should be")]);
    let cache = home.path().join("file").display().to_string();
    let mut command = crate::support::bytefacts(
        home.path(),
        &["extract", corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r"],
    )
    .await;
    command.env("BYTEFACTS_CACHE__FOLDER", cache);
    let (code, _, stderr) = crate::support::run(command);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("cannot use the cache folder"), "{stderr}");
    check(facts.path(), "r", &expected).await;
}
