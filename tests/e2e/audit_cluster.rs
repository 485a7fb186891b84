//! Audits on a cluster of processes: the same verdicts as on one machine, whoever dies meanwhile, and nothing that an executor does not allow.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::chaos::LIMIT;
use crate::processes::{Daemon, Processes};
use crate::support::{GATED, Gate, folder, python, write_files};

/// An interpreter that compiles what has `SEEDED` in it otherwise under hash seed 1, and stands still before what has [`GATED`] in it.
const FAULT: &str = "import builtins as _b, os as _o\n\
    def _seeded(source, *arguments, _behind=_b.compile, **options):\n    \
        more = b'\\nz9 = [1]\\n' if isinstance(source, bytes) and b'SEEDED' in source and _o.environ.get('PYTHONHASHSEED') == '1' else b''\n    \
        return _behind(source + more if more else source, *arguments, **options)\n\
    _b.compile = _seeded\n";

/// What is behind [`FAULT`] where [`KILLER`] is compiled: it kills whoever has started the worker.
const DEADLY: &str = "import signal as _s, time as _t\n\
    def _deadly(source, *arguments, _behind=_b.compile, _master=_o.getppid(), **options):\n    \
        if isinstance(source, bytes) and b'def f11(' in source:\n        \
            _o.kill(_master, _s.SIGABRT)\n        \
            _t.sleep(60)\n    \
        return _behind(source, *arguments, **options)\n\
    _b.compile = _deadly\n";
/// The file that has what [`DEADLY`] looks for.
const KILLER: &str = "m11.py";

/// Bins of two files, under conditions of which one finds something.
const MATRIX: &str = "version: 1\nbin_files: 2\nconditions:\n  \
    again: {about: again}\n  \
    landed: {committed: true}\n  \
    optimized: {optimize: 1, order: reversed}\n  \
    seed: {hash_seed: 1}\n  \
    surroundings: {umask: 63, folder: /tmp, imports: [json], environment: {TZ: Etc/GMT+12}, stack_bytes: 33554432}\n\
    presets: {p: {minutes: 1, nights: 1, conditions: all}}\n";

const CONDITIONS: u64 = 5;
const FILES: u64 = 12;

/// A corpus, its facts of one run, a matrix, and processes whose interpreter is behind a gate.
struct Place {
    processes: Processes,
    gate: Gate,
    corpus: TempDir,
    facts: TempDir,
}

impl Place {
    /// The run is extracted; the gate is open.
    async fn new() -> Self {
        let gate = Gate::with(&python().await, GATED, FAULT);
        gate.open();
        let (mut processes, corpus, facts) = (Processes::new(), folder(), folder());
        processes.environment.push(gate.variable());
        for n in 0..FILES {
            let mark = match n {
                0 => "SEEDED = 1",
                1..9 => GATED,
                _ => "plain = 1",
            };
            let source = format!("{mark}\ndef f{n}(x):\n    assert x, {{1, 'a', 2.5}}\n    return [y for y in x]\n");
            write_files(corpus.path(), &[(&format!("r{}/m{n}.py", n % 3), source.as_bytes())]);
        }
        write_files(corpus.path(), &[("matrix.yaml", MATRIX.as_bytes())]);
        let place = Self { processes, gate, corpus, facts };
        let extract = ["extract", place.corpus(), "--out", place.facts(), "--run-id", "one", "--progress", "never"];
        let output = place.processes.command(&extract).await.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        place
    }

    fn corpus(&self) -> &str {
        self.corpus.path().to_str().unwrap()
    }

    fn facts(&self) -> &str {
        self.facts.path().to_str().unwrap()
    }

    /// The command of an audit of facts, all words but who derives.
    async fn audit(&self, facts: &str, more: &[&str]) -> Command {
        let matrix = self.corpus.path().join("matrix.yaml");
        let words = ["audit", self.corpus(), "--facts", facts, "--night", "1", "--preset", "p", "--no-pyc", "--format", "json"];
        let mut command = self.processes.command(&[&words[..], &["--matrix", matrix.to_str().unwrap()], more].concat()).await;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What the machine itself finds, in facts of its own.
    async fn expected(&self) -> Value {
        let copy = self.copy();
        let output = self.audit(copy.path().to_str().unwrap(), &["--run", "one"]).await.output().unwrap();
        report(&output, 3, &[(copy.path().to_str().unwrap(), self.facts())])
    }

    fn copy(&self) -> TempDir {
        let copy = folder();
        assert!(Command::new("cp").arg("-a").arg(self.facts.path().join(".")).arg(copy.path()).status().unwrap().success());
        copy
    }

    /// The same command, that a cluster is to do.
    async fn on_cluster(&self, scheduler: &Daemon, more: &[&str]) -> Child {
        let url = format!("df://{}", scheduler.address);
        self.audit(self.facts(), &[&["--run", "one", "--cluster", &url], more].concat()).await.spawn().unwrap()
    }

    /// Waits until the cluster works on a job: the gate was reached before, by a client that is gone.
    async fn has_a_job(&self, scheduler: &Daemon) {
        for _ in 0..600 {
            if self.jobs(scheduler).await.iter().any(|job| job["state"] == "running") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no job is begun");
    }

    /// The jobs of the cluster, as `bytefacts jobs` has them.
    async fn jobs(&self, scheduler: &Daemon) -> Vec<Value> {
        let url = format!("df://{}", scheduler.address);
        let output = self.processes.command(&["jobs", "--cluster", &url, "--format", "json"]).await.output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    /// The folder of the only audit.
    fn folder(&self) -> std::path::PathBuf {
        let mut audits = fs::read_dir(self.facts.path().join("audits")).unwrap();
        let only = audits.next().unwrap().unwrap().path();
        assert!(audits.next().is_none());
        only
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The report of a command that ended with this code, with places renamed.
fn report(output: &Output, code: i32, places: &[(&str, &str)]) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    let said = places.iter().fold(text(&output.stdout), |said, (from, to)| said.replace(from, to));
    serde_json::from_str(&said).unwrap()
}

/// How many units have a record.
fn recorded(audit: &Path) -> usize {
    let bins = fs::read_dir(audit.join("units")).into_iter().flatten().flatten();
    let of = |bin: fs::DirEntry| fs::read_dir(bin.path()).into_iter().flatten().flatten().filter(|unit| named_json(&unit.path())).count();
    bins.map(of).sum()
}

fn named_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Ends by itself, within what a slow machine takes.
async fn end(mut child: Child) -> Output {
    for _ in 0..3_000 {
        if child.try_wait().unwrap().is_some() {
            return child.wait_with_output().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().unwrap();
    panic!("an audit does not end: {}", text(&child.wait_with_output().unwrap().stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_find_what_one_machine_finds_and_say_what_they_do() {
    let place = Place::new().await;
    let expected = place.expected().await;
    assert_eq!(expected["verdicts"]["bad"], 1, "{expected:#}");
    assert_eq!(expected["verdicts"]["good"], FILES * CONDITIONS - 1);
    let finding = &expected["findings"][0];
    assert_eq!((&finding["path"], &finding["condition"]), (&"m0.py".into(), &"seed".into()));

    let scheduler = place.processes.scheduler(0).await;
    let executors = [place.processes.executor("one", scheduler.address).await, place.processes.executor("two", scheduler.address).await];
    place.gate.close();
    let client = place.on_cluster(&scheduler, &[]).await;
    // Each has one core and so one worker at a time: two at the gate are of two executors.
    place.gate.reached().await;
    place.gate.reached().await;
    let audit = place.folder();
    let name = audit.file_name().unwrap().to_str().unwrap();
    let jobs = place.jobs(&scheduler).await;
    let job = jobs.iter().find(|job| job["audit"] == name).unwrap_or_else(|| panic!("{jobs:?}"));
    assert_eq!((&job["run"], &job["state"], &job["progress"]["bins"]), (&"one".into(), &"running".into(), &30.into()));
    let url = format!("df://{}", scheduler.address);
    let status = place.processes.command(&["status", "--cluster", &url]).await.output().unwrap();
    assert!(text(&status.stdout).contains(name), "{}", text(&status.stdout));
    place.gate.open();
    let output = end(client).await;
    assert_eq!(report(&output, 3, &[]), expected);
    for executor in &executors {
        assert!(executor.log().contains("bin derived under a condition"), "{}", executor.log());
    }
    // The same command shows it again, and needs nobody for it; so does the one without a cluster.
    drop(executors);
    assert_eq!(report(&end(place.on_cluster(&scheduler, &[]).await).await, 3, &[]), expected);
    assert_eq!(report(&place.audit(place.facts(), &["--run", "one"]).await.output().unwrap(), 3, &[]), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_killed_changes_nothing() {
    let place = Place::new().await;
    let expected = place.expected().await;
    let scheduler = place.processes.scheduler(0).await;
    let (killed, stays) =
        (place.processes.executor("one", scheduler.address).await, place.processes.executor("two", scheduler.address).await);
    place.gate.close();
    let client = place.on_cluster(&scheduler, &[]).await;
    place.gate.reached().await;
    place.gate.reached().await;
    killed.kill();
    place.gate.open();
    assert_eq!(report(&end(client).await, 3, &[]), expected);
    drop(stays);
}

/// A file that kills whoever works on it fails under each condition, and all others have their verdicts.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_kills_executors_fails_and_the_audit_goes_on() {
    let mut place = Place::new().await;
    let gate = Gate::with(&python().await, GATED, &format!("{FAULT}{DEADLY}"));
    gate.open();
    place.processes.environment.push(gate.variable());
    let scheduler = place.processes.scheduler(0).await;
    let nodes = ["one", "two"];
    let mut executors = Vec::new();
    for node in nodes {
        executors.push(place.processes.executor(node, scheduler.address).await);
    }
    let (mut client, mut deaths, begun) = (place.on_cluster(&scheduler, &[]).await, 0, Instant::now());
    while client.try_wait().unwrap().is_none() && begun.elapsed() < LIMIT {
        // As Kubernetes does: what ends comes back.
        for (executor, node) in executors.iter_mut().zip(nodes) {
            if !executor.is_running() {
                deaths += 1;
                *executor = place.processes.executor(node, scheduler.address).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let report = report(&end(client).await, 3, &[]);
    assert!(deaths > 0, "the first death is unnoticed");
    let of = |verdict: &str| report["verdicts"][verdict].as_u64().unwrap();
    assert_eq!((of("fail"), of("bad"), of("unknown")), (CONDITIONS, 1, 0), "{report:#}");
    assert_eq!(of("good"), FILES * CONDITIONS - CONDITIONS - 1);
    let failed: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "fail").collect();
    assert_eq!(failed.len() as u64, CONDITIONS, "{report:#}");
    for finding in failed {
        assert_eq!((&finding["path"], &finding["cause"]), (&KILLER.into(), &"C28".into()));
        assert_eq!(finding["reason"], "3 processes that worked on nothing else died of it (SIGABRT); it is left out");
    }
}

/// A unit that waits for memory has read nothing yet: what changes meanwhile it finds changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_takes_memory_before_it_reads() {
    let mut place = Place::new().await;
    // The smallest that there is: a unit takes all of it.
    place.processes.environment.push(("BYTEFACTS_EXECUTOR__MEMORY_BUDGET_BYTES".to_owned(), "4096".to_owned()));
    let scheduler = place.processes.scheduler(0).await;
    let executor = place.processes.executor_with("one", scheduler.address, &["--cores", "2"]).await;
    place.gate.close();
    let client = place.on_cluster(&scheduler, &[]).await;
    place.gate.reached().await;
    let begun = Instant::now();
    while executor.metric("bytefacts_files_waiting_for_memory") < 1.0 {
        assert!(begun.elapsed() < LIMIT, "no second unit waits for memory");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let done = recorded(&place.folder()) as u64;
    for n in 0..FILES {
        let file = place.corpus.path().join(format!("r{}/m{n}.py", n % 3));
        let source = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{source}# changed\n")).unwrap();
    }
    place.gate.open();
    let output = end(client).await;
    let report = report(&output, output.status.code().filter(|code| [0, 3].contains(code)).unwrap_or(0), &[]);
    let changed = FILES * CONDITIONS - 2 * (done + 1);
    assert_eq!(report["unknown"]["the source has changed since it was extracted"], changed, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_killed_or_cancelled_goes_on_by_the_same_command() {
    let place = Place::new().await;
    let expected = place.expected().await;
    let scheduler = place.processes.scheduler(0).await;
    let _executors = [place.processes.executor("one", scheduler.address).await, place.processes.executor("two", scheduler.address).await];
    let url = format!("df://{}", scheduler.address);
    place.gate.close();
    // Somebody else ends it: the client says so, and its tasks end.
    let client = place.on_cluster(&scheduler, &[]).await;
    place.gate.reached().await;
    let name = place.folder().file_name().unwrap().to_str().unwrap().to_owned();
    let cancelled = place.processes.command(&["cancel", &name, "--cluster", &url]).await.output().unwrap();
    assert!(text(&cancelled.stdout).contains(&format!("of audit {name}: cancelled")), "{}", text(&cancelled.stderr));
    let output = end(client).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("audit {name} was cancelled")), "{}", text(&output.stderr));

    // Told to end, it ends its job too.
    let client = place.on_cluster(&scheduler, &[]).await;
    place.has_a_job(&scheduler).await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(client.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = end(client).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the same command goes on"), "{}", text(&output.stderr));
    for _ in 0..100 {
        if place.jobs(&scheduler).await.iter().all(|job| job["state"] == "cancelled") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(place.jobs(&scheduler).await.iter().all(|job| job["state"] == "cancelled"));

    // Killed, it leaves its job behind for a while; the same command goes on beside it, and what is on record is not done again.
    let mut client = place.on_cluster(&scheduler, &[]).await;
    place.has_a_job(&scheduler).await;
    let before = recorded(&place.folder());
    client.kill().unwrap();
    client.wait().unwrap();
    let again = place.on_cluster(&scheduler, &[]).await;
    place.gate.open();
    let output = end(again).await;
    assert_eq!(report(&output, 3, &[]), expected);
    assert!(text(&output.stderr).contains("going on with audit"), "{}", text(&output.stderr));
    assert!(recorded(&place.folder()) == usize::try_from(FILES / 2 * CONDITIONS).unwrap() && before < recorded(&place.folder()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_executor_does_not_allow_it_refuses_in_words() {
    let place = Place::new().await;
    let scheduler = place.processes.scheduler(0).await;
    let address = scheduler.address.to_string();
    let words = ["executor", "--scheduler", &address, "--node", "shy", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0"];
    let mut shy = place.processes.command(&words).await;
    shy.env("BYTEFACTS_ACCESS__FACTS", "['/elsewhere']");
    let shy = Daemon::start(shy, &place.processes.home.path().join("shy.log"));
    let output = end(place.on_cluster(&scheduler, &[]).await).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("is not allowed here: it is not at or below one of the places of `access.facts`"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(recorded(&place.folder()), 0);
    drop(shy);

    // Nor does one set variables that have others load what lies about, whoever asks.
    let _executor = place.processes.executor("one", scheduler.address).await;
    fs::write(
        place.corpus.path().join("matrix.yaml"),
        "version: 1\nconditions: {loaded: {environment: {LD_PRELOAD: /tmp/x.so}}}\npresets: {p: {minutes: 1, nights: 1, conditions: all}}\n",
    )
    .unwrap();
    let output = end(place.on_cluster(&scheduler, &[]).await).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("executors do not set the variable `LD_PRELOAD`"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_extracts_and_keeps_to_the_budget_of_the_night() {
    let place = Place::new().await;
    let scheduler = place.processes.scheduler(0).await;
    let url = format!("df://{}", scheduler.address);
    let fresh = folder();
    let nothing = ["--run", "one", "--cluster", &url, "--minutes", "0"];
    let output = place.audit(place.copy().path().to_str().unwrap(), &nothing).await.output().unwrap();
    assert_eq!(report(&output, 0, &[])["verdicts"]["unknown"], FILES * CONDITIONS, "with no executor there");
    let _executor = place.processes.executor("one", scheduler.address).await;
    let output = place.audit(fresh.path().to_str().unwrap(), &["--cluster", &url]).await.output().unwrap();
    let report_of_fresh = report(&output, 3, &[]);
    assert_eq!((&report_of_fresh["verdicts"]["bad"], &report_of_fresh["complete"]), (&1.into(), &true.into()));

    // While a unit is derived, another one is recorded that says that it has taken the whole minute: no further one is begun.
    place.gate.close();
    let client = place.on_cluster(&scheduler, &[]).await;
    place.gate.reached().await;
    let audit = place.folder();
    fs::create_dir_all(audit.join("units/000005")).unwrap();
    fs::write(audit.join("units/000005/seed.json"), "{\"cpu_us\": 60000000, \"verdicts\": []}").unwrap();
    for _ in 0..600 {
        if audit.join("spent.json").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(audit.join("spent.json").exists());
    place.gate.open();
    let output = end(client).await;
    // What was found before may be the finding.
    let report = report(&output, output.status.code().filter(|code| [0, 3].contains(code)).unwrap_or(0), &[]);
    assert_eq!(report["complete"], false, "{report:#}");
    assert!(report["verdicts"]["unknown"].as_u64().unwrap() > FILES, "{report:#}");
    assert_eq!(report["unknown"]["the budget of CPU time is spent"], report["verdicts"]["unknown"]);
}
