//! Files that kill whoever works on them, and files that are there when something else kills: the former are quarantined always, the latter
//! never.
//!
//! `BYTEFACTS_TRIALS=N` makes N random trials instead of a few; `BYTEFACTS_SEED=N` repeats those of a seed.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytefacts_compile::Interpreter;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::chaos::{LIMIT, Random, check, number, undisturbed};
use crate::processes::Processes;
use crate::support::{GATED, Gate, Shape, bytefacts, extract, folder, not_tested, python, python_with_patched, query_text, write_files};

/// What a killer's source holds, and nobody else's.
const MARK: &str = "KILLER";
const POISON: &str = "poison.py";

/// A CPython that, when it compiles a source with the mark in it, does `deed` first.
fn deadly(python: &Interpreter, folder: &Path, deed: &str) -> Interpreter {
    python_with_patched("warnings", python, folder, &deadly_patch(deed))
}

fn deadly_patch(deed: &str) -> String {
    format!(
        "import builtins as _builtins, os as _os, signal as _signal, time as _time\n\
         _compile, _master = _builtins.compile, _os.getppid()\n\
         def _deadly(source, *arguments, **options):\n\
         \x20   if isinstance(source, bytes) and b'{MARK}' in source:\n\
         \x20       {deed}\n\
         \x20   return _compile(source, *arguments, **options)\n\
         _builtins.compile = _deadly\n"
    )
}

/// Kills whoever has started the worker: an executor, or what an executor has put in its place.
const KILLS_ITS_MASTER: &str = "_os.kill(_master, _signal.SIGABRT); _time.sleep(60)";

/// Some files in three repositories.
fn corpus_of_some_files() -> TempDir {
    let corpus = folder();
    for repo in ["a", "b", "c"] {
        for file in 0..4 {
            let source = functions(1_500, &format!("of_{file}"));
            write_files(corpus.path(), &[(&format!("{repo}/m{file}.py"), source.as_bytes())]);
        }
    }
    corpus
}

/// A file at which a gate stands, so that whatever happens happens while it is worked on; and others.
fn corpus_with_a_held_file() -> TempDir {
    let corpus = corpus_of_some_files();
    write_files(corpus.path(), &[("b/held.py", format!("{GATED} = 1\n").as_bytes())]);
    corpus
}

fn functions(count: usize, name: &str) -> String {
    (0..count).map(|i| format!("def f{i}_{name}(a, b):\n    return [a + {i} for c in b if c]\n")).collect()
}

/// The embedded extraction of a corpus in several bins, with two executors of a core each.
async fn extraction(python: &Interpreter, home: &Path, corpus: &Path, facts: &Path, run: &str) -> Command {
    let settings = home.join("settings.yaml");
    if !settings.exists() {
        write_files(home, &[("settings.yaml", b"bins: {count: 6}")]);
    }
    let args = ["extract", corpus.to_str().unwrap(), "--out", facts.to_str().unwrap(), "--run-id", run, "--no-cache", "--jobs", "2"];
    let mut command = bytefacts(&home.join("cache"), &args).await;
    command.args(["--progress", "never", "--format", "json", "--config"]).arg(settings).env("BYTEFACTS_PYTHON", &python.executable);
    command
}

/// Starts it, and signals it when it is at the held file, or some time later. It must be under way.
async fn disturb(mut command: Command, gate: &Gate, later: Duration, signal: Signal) {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    gate.reached().await;
    tokio::time::sleep(later).await;
    assert!(child.try_wait().unwrap().is_none(), "it ended although a file is held");
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    child.wait().unwrap();
}

async fn quarantined(facts: &Path) -> Vec<Vec<String>> {
    query_text(facts, "SELECT path, error_type, message FROM bytecode_errors WHERE stage = 'quarantine' ORDER BY path").await
}

/// What each file's facts are, by repository and path, in a run without a killer.
type Digests = Vec<Vec<String>>;

async fn digests(facts: &Path) -> Digests {
    let digests = "SELECT repo, path, facts_digest FROM bytecode_files_v1 WHERE path <> 'poison.py' ORDER BY repo NULLS FIRST, path";
    query_text(facts, digests).await
}

/// The digests of a corpus that nobody disturbs.
async fn undisturbed_digests(corpus: &Path) -> Digests {
    let facts = folder();
    extract(corpus, facts.path(), &Shape { run: "undisturbed", ..Shape::default() }).await;
    digests(facts.path()).await
}

/// The killer is a row that says so; every other file, its neighbours in repository and bin too, has the facts that it would have had; no row is
/// lost or doubled.
async fn only_the_killer_is_missing(facts: &Path, run: &str, expected: &Digests) {
    let rows = quarantined(facts).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(row[..2], [POISON, "Quarantined"]);
    assert_eq!(row[2], "3 processes that worked on nothing else died of it (SIGABRT); it is left out");
    let run = bytefacts_landing::RunId::new(run).unwrap();
    let committed = crate::support::store(facts).committed(&run).await.unwrap().unwrap();
    assert_eq!(&digests(facts).await, expected);
    let files = expected.len() as u64 + 1;
    assert_eq!((committed.run.stats.files, committed.run.rows), (files, files), "every file has its row");
    let counts = query_text(facts, "SELECT count(*), count(DISTINCT file_id) FROM bytecode_files_v1").await;
    assert_eq!(counts, [[files.to_string(), files.to_string()]], "no row is lost or doubled");
}

/// Where everything is one process, the killer takes the whole job with it, once. The next attempt finds it out.
#[tokio::test(flavor = "multi_thread")]
async fn a_killer_takes_an_embedded_job_with_it_once() {
    let (corpus, facts, home) = (corpus_of_some_files(), folder(), folder());
    let (expected, deadly) = (undisturbed_digests(corpus.path()).await, deadly(&python().await, home.path(), KILLS_ITS_MASTER));
    write_files(corpus.path(), &[(&format!("b/{POISON}"), format!("{MARK} = 1\n").as_bytes())]);
    let first = extraction(&deadly, home.path(), corpus.path(), facts.path(), "r").await.output().unwrap();
    assert_eq!(first.status.signal(), Some(Signal::SIGABRT as i32), "{}", String::from_utf8_lossy(&first.stderr));
    let second = extraction(&deadly, home.path(), corpus.path(), facts.path(), "r").await.output().unwrap();
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "a file that was given up is a finding: {stderr}");
    assert!(stderr.contains(POISON), "{stderr}");
    only_the_killer_is_missing(facts.path(), "r", &expected).await;
}

/// On a cluster, executors come back, and the job goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_killer_takes_one_executor_with_it_and_the_job_goes_on() {
    let (corpus, facts, mut processes) = (corpus_of_some_files(), folder(), Processes::new());
    let expected = undisturbed_digests(corpus.path()).await;
    let deadly = deadly(&python().await, processes.home.path(), KILLS_ITS_MASTER);
    write_files(corpus.path(), &[(&format!("b/{POISON}"), format!("{MARK} = 1\n").as_bytes())]);
    processes.environment.push(("BYTEFACTS_PYTHON".to_owned(), deadly.executable.display().to_string()));
    let scheduler = processes.scheduler(0).await;
    let start = || processes.executor_with("n1", scheduler.address, &["--cores", "2"]);
    let mut executor = start().await;
    let args = [corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", "r", "--no-cache"];
    let mut job = processes.extract(scheduler.address, &args).await;
    let (begun, mut deaths) = (Instant::now(), 0);
    while job.is_running() && begun.elapsed() < LIMIT {
        if !executor.is_running() {
            deaths += 1;
            executor = start().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (code, _, stderr) = job.end(LIMIT).await;
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(deaths, 1, "the first death is unnoticed, and there is no other");
    only_the_killer_is_missing(facts.path(), "r", &expected).await;
}

/// Whoever else is killed meanwhile, and by whom: the killer is blamed, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_killer_is_told_from_those_who_are_killed_beside_it() {
    // So many are hit before the run can end.
    const LEAST: u32 = 2;
    let (corpus, mut processes) = (corpus_with_a_held_file(), Processes::new());
    let expected = undisturbed_digests(corpus.path()).await;
    let gate = Gate::with(&python().await, GATED, &deadly_patch(KILLS_ITS_MASTER));
    write_files(corpus.path(), &[(&format!("b/{POISON}"), format!("{MARK} = 1\n").as_bytes())]);
    processes.environment.push(gate.variable());
    let scheduler = processes.scheduler(0).await;
    let nodes = ["n1", "n2"];
    let mut executors = Vec::new();
    for node in nodes {
        executors.push(processes.executor_with(node, scheduler.address, &["--cores", "1"]).await);
    }
    let (trials, seed) = (number("BYTEFACTS_TRIALS").unwrap_or(1), number("BYTEFACTS_SEED").unwrap_or(7));
    let (mut random, mut hits) = (Random(seed), 0);
    for trial in 0..trials {
        let facts = folder();
        let client = async |run: &[&str]| {
            let args = [&["--out", facts.path().to_str().unwrap()], run].concat();
            processes.extract(scheduler.address, &args).await
        };
        let mut job = client(&[corpus.path().to_str().unwrap(), "--run-id", "r", "--no-cache"]).await;
        let (mut second, begun, mut hits_here) = (None, Instant::now(), 0);
        let mut next = begun + Duration::from_millis(500 + random.below(2_000));
        while job.is_running() && begun.elapsed() < LIMIT {
            // As Kubernetes does: what ends comes back.
            for (executor, node) in executors.iter_mut().zip(nodes) {
                if !executor.is_running() {
                    *executor = processes.executor_with(node, scheduler.address, &["--cores", "1"]).await;
                }
            }
            if Instant::now() >= next {
                hits_here += 1;
                next += Duration::from_millis(500 + random.below(4_000));
                match random.below(5) {
                    node @ 0..2 => executors[usize::try_from(node).unwrap()].signal(Signal::SIGKILL),
                    2 => executors[usize::try_from(random.below(2)).unwrap()].signal(Signal::SIGTERM),
                    3 => {
                        job.signal(if random.below(2) == 0 { Signal::SIGINT } else { Signal::SIGKILL });
                        job.end(LIMIT).await;
                        job = client(&["--resume", "r"]).await;
                    }
                    _ if second.is_none() => second = Some(client(&["--resume", "r"]).await),
                    _ => hits_here -= 1,
                }
                if hits_here == LEAST {
                    gate.open();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for client in second.into_iter().chain([job]) {
            let (code, _, stderr) = client.end(LIMIT).await;
            assert!(code == 3 || stderr.contains("has been committed"), "trial {trial} of seed {seed}: {code} {stderr}");
        }
        only_the_killer_is_missing(facts.path(), "r", &expected).await;
        assert!(hits_here >= LEAST, "trial {trial} of seed {seed}: a file was held, and yet the run ended");
        hits += hits_here;
        gate.close();
    }
    eprintln!("seed {seed}: {trials} trials with a killer, {hits} others killed, drained, or joined: the killer alone is quarantined");
}

/// However often a job is interrupted or killed, and always at the same file: it is not blamed.
#[tokio::test(flavor = "multi_thread")]
async fn interrupts_and_kills_are_no_fault_of_a_file() {
    let (corpus, gate) = (corpus_with_a_held_file(), Gate::closed(&python().await));
    let expected = undisturbed(corpus.path()).await;
    let (trials, seed) = (number("BYTEFACTS_TRIALS").unwrap_or(1), number("BYTEFACTS_SEED").unwrap_or(5));
    let mut random = Random(seed);
    for trial in 0..trials {
        let (facts, home) = (folder(), folder());
        for _ in 0..7 {
            let signal = if random.below(3) == 0 { Signal::SIGINT } else { Signal::SIGKILL };
            let command = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await;
            disturb(command, &gate, Duration::from_millis(random.below(1_000)), signal).await;
        }
        gate.open();
        let last = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await.output().unwrap();
        let stderr = String::from_utf8_lossy(&last.stderr);
        assert!(last.status.code() == Some(0) || stderr.contains("has been committed"), "trial {trial} of seed {seed}: {stderr}");
        check(facts.path(), "r", &expected).await;
        assert_eq!(quarantined(facts.path()).await, Vec::<Vec<String>>::new(), "trial {trial} of seed {seed}");
        gate.close();
    }
    eprintln!("seed {seed}: {trials} trials of seven jobs, each hit at the held file, 0 files quarantined");
}

/// The same where one file is a killer: everything is one process, so that it takes each job with it that comes to it unwarned, and interrupts and
/// kills come on top, at the held file or wherever they meet the job. In the end it alone is blamed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killer_is_told_from_interrupts_and_kills_of_the_whole_job() {
    let corpus = corpus_with_a_held_file();
    let expected = undisturbed_digests(corpus.path()).await;
    let gate = Gate::with(&python().await, GATED, &deadly_patch(KILLS_ITS_MASTER));
    write_files(corpus.path(), &[(&format!("b/{POISON}"), format!("{MARK} = 1\n").as_bytes())]);
    let (trials, seed) = (number("BYTEFACTS_TRIALS").unwrap_or(1), number("BYTEFACTS_SEED").unwrap_or(11));
    let (mut random, mut hits, mut taken_along) = (Random(seed), 0, 0);
    for trial in 0..trials {
        let (facts, home) = (folder(), folder());
        let job = async || {
            let mut command = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await;
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for _ in 0..5 {
            let mut child = job().await;
            let (pid, later) = (Pid::from_raw(child.id().cast_signed()), Duration::from_millis(random.below(4_000)));
            let signal = if random.below(3) == 0 { Signal::SIGINT } else { Signal::SIGKILL };
            let (begun, mut ended) = (Instant::now(), None);
            while begun.elapsed() < later && ended.is_none() {
                ended = child.try_wait().unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            match ended {
                Some(status) => {
                    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "trial {trial} of seed {seed}: a file is held: {status}");
                    taken_along += 1;
                }
                None => {
                    kill(pid, signal).unwrap();
                    child.wait().unwrap();
                    hits += 1;
                }
            }
        }
        gate.open();
        // The killer may take one more with it: the first that comes to it.
        let mut last = job().await.wait_with_output().unwrap();
        if last.status.signal() == Some(Signal::SIGABRT as i32) {
            taken_along += 1;
            last = job().await.wait_with_output().unwrap();
        }
        let stderr = String::from_utf8_lossy(&last.stderr);
        assert!(
            last.status.code() == Some(3) || stderr.contains("has been committed"),
            "trial {trial} of seed {seed}: {} {stderr}",
            last.status
        );
        only_the_killer_is_missing(facts.path(), "r", &expected).await;
        gate.close();
    }
    eprintln!("seed {seed}: {trials} trials of jobs with a killer, {hits} jobs hit, {taken_along} killed by it: it alone is quarantined");
}

/// A job that stands still in this process ends after `client.stall_seconds`, blames no file, and goes on when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_job_that_stands_still_is_given_up_and_goes_on() {
    let (corpus, facts, home, gate) = (corpus_with_a_held_file(), folder(), folder(), Gate::closed(&python().await));
    let expected = undisturbed(corpus.path()).await;
    let mut command = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await;
    let output = command.env("BYTEFACTS_CLIENT__STALL_SECONDS", "2").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && stderr.contains("the job stands still: no file was done for 2 s"),
        "{:?} {stderr}",
        output.status
    );
    gate.open();
    let last = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await.output().unwrap();
    assert_eq!(last.status.code(), Some(0), "{}", String::from_utf8_lossy(&last.stderr));
    check(facts.path(), "r", &expected).await;
    assert_eq!(quarantined(facts.path()).await, Vec::<Vec<String>>::new());
}

/// Clients of one run are at the same file at the same time, and each sees the notes of the others; that a single death would do to blame a
/// file makes no difference, for there is none.
#[tokio::test(flavor = "multi_thread")]
async fn further_clients_are_no_fault_of_a_file() {
    let (corpus, facts, homes) = (corpus_with_a_held_file(), folder(), [folder(), folder(), folder()]);
    let (expected, gate) = (undisturbed(corpus.path()).await, Gate::closed(&python().await));
    let mut clients = Vec::new();
    for home in &homes {
        write_files(home.path(), &[("settings.yaml", b"bins: {count: 6}\nextract: {quarantine_after: 1}")]);
        let mut command = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await;
        clients.push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        gate.reached().await;
    }
    // All are at the file now, and their notes say so.
    assert!(clients.iter_mut().all(|client: &mut Child| client.try_wait().unwrap().is_none()));
    let run = bytefacts_landing::RunId::new("r").unwrap();
    let notes = crate::support::store(facts.path()).notes_of_run(&run).await.unwrap();
    assert!(notes.iter().filter(|note| note.ends_with("-begun")).count() >= homes.len(), "{notes:?}");
    gate.open();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) || stderr.contains("has been committed"), "{stderr}");
    }
    check(facts.path(), "r", &expected).await;
    assert_eq!(quarantined(facts.path()).await, Vec::<Vec<String>>::new());
}

/// A job that is interrupted takes its notes back: who resumes it need not be careful. It gives itself a second for that, which may be too little
/// where much else runs, and then leaves them: nothing is lost by it. So one of several jobs must show it.
#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_leaves_no_notes() {
    const JOBS: usize = 10;
    let (corpus, facts, home, gate) = (corpus_with_a_held_file(), folder(), folder(), Gate::closed(&python().await));
    for job in 0..JOBS {
        let run = bytefacts_landing::RunId::new(format!("r{job}")).unwrap();
        let mut command = extraction(&gate.python, home.path(), corpus.path(), facts.path(), run.as_str()).await;
        let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        gate.reached().await;
        let notes = async || crate::support::store(facts.path()).notes_of_run(&run).await.unwrap();
        assert!(!notes().await.is_empty(), "a bin is begun");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        child.wait().unwrap();
        if notes().await.is_empty() {
            return;
        }
    }
    panic!("{JOBS} jobs that were interrupted left notes");
}

/// A control group of its own for what a test starts, removed with it.
struct Group(std::path::PathBuf);

impl Group {
    /// A group whose processes have so much memory together; `None` where this machine does not let a test make one.
    fn new(name: &str, bytes: u64) -> Option<Self> {
        let name = format!("bytefacts-{name}-{}", std::process::id());
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let group = Path::new(root).join(&name);
            if std::fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Self(group);
            if std::fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// The command, as a member of the group from its first moment on; with a score by which the kernel chooses whom to kill.
    fn member(&self, command: &Command, score: u32) -> Command {
        let mut member = Command::new("sh");
        let join = format!("echo $$ > \"$0\" && echo {score} > /proc/self/oom_score_adj && exec \"$@\"");
        member.args(["-c", &join]).arg(self.0.join("cgroup.procs")).arg(command.get_program());
        member.args(command.get_args());
        member.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        member
    }
}

impl Group {
    /// How many of its processes the kernel has killed for want of memory.
    fn kills(&self) -> u64 {
        let counters = ["memory.events", "memory.oom_control"].map(|file| std::fs::read_to_string(self.0.join(file)).unwrap_or_default());
        let kills = counters.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("oom_kill "));
        kills.map_or(0, |kills| kills.parse().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Of a test that failed some may live.
        for process in std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines().flat_map(str::parse) {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50)); // its last process is on its way out
        }
    }
}

const GROUP_BYTES: u64 = 700 << 20;

/// A file whose compilation takes more memory than there is: the kernel says so, alone it takes it too, and so it is an error row like any limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_takes_all_memory_becomes_a_row() {
    let Some(group) = Group::new("hungry", GROUP_BYTES) else {
        return not_tested("files that take all memory", "no control group can be made");
    };
    let (corpus, facts, home) = (corpus_of_some_files(), folder(), folder());
    let expected = undisturbed(corpus.path()).await;
    let hungry = deadly(&python().await, home.path(), "_all = [bytes(range(256)) * 4096 for _ in range(3000)]");
    write_files(corpus.path(), &[(&format!("b/{POISON}"), format!("{MARK} = 1\n").as_bytes())]);
    let output = group.member(&extraction(&hungry, home.path(), corpus.path(), facts.path(), "r").await, 0).output().unwrap();
    // A machine with more memory might say something else.
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let errors = query_text(facts.path(), "SELECT path, stage, error_type, message FROM bytecode_errors").await;
    assert_eq!(errors, [[POISON, "compile", "MemoryLimit", "more memory than the executor has"]]);
    let counts = query_text(facts.path(), "SELECT count(*) FROM bytecode_files_v1 WHERE cardinality(code_objects) > 0").await;
    assert_eq!(counts, [[expected.run.stats.files.to_string()]]);
}

/// A neighbour that takes all memory, and whom the kernel spares: it kills ours in its place, again and again at the same file. The job may die
/// of it, and goes on when the neighbour is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_hungry_neighbour_is_no_fault_of_a_file() {
    let Some(group) = Group::new("neighbour", GROUP_BYTES) else { return not_tested("hungry neighbours", "no control group can be made") };
    let (corpus, facts, home) = (corpus_with_a_held_file(), folder(), folder());
    let (expected, python) = (undisturbed(corpus.path()).await, python().await);
    let gate = Gate::closed(&python);
    let mut neighbour = Command::new(&python.executable);
    // It takes a little at a time, up to all that there is.
    let takes = format!(
        "import time\nheld = []\nwhile len(held) < {}:\n    held.append(bytes(range(256)) * 4096)\n    time.sleep(0.003)\ntime.sleep(600)\n",
        GROUP_BYTES >> 20
    );
    neighbour.args(["-c", &takes]).stderr(Stdio::null());
    let (mut killed, mut dead_jobs) = (0, 0);
    for round in 0..6 {
        let mut job = group.member(&extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await, 1000);
        let mut job = job.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The neighbour comes when somebody is at the file, and stays until the kernel has killed somebody for it.
        gate.reached().await;
        let (begun, before) = (Instant::now(), group.kills());
        let mut beside = group.member(&neighbour, 0).spawn().unwrap();
        while group.kills() == before {
            assert!(begun.elapsed() < LIMIT, "round {round}: the kernel kills nobody");
            assert!(beside.try_wait().unwrap().is_none(), "round {round}: the kernel does not spare the neighbour");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        killed += group.kills() - before;
        dead_jobs += u32::from(job.try_wait().unwrap().is_some_and(|status| status.signal().is_some()));
        for child in [&mut job, &mut beside] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    gate.open();
    let output = extraction(&gate.python, home.path(), corpus.path(), facts.path(), "r").await.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(0) || stderr.contains("has been committed"), "{stderr}");
    check(facts.path(), "r", &expected).await;
    eprintln!("the neighbour had {killed} processes of six jobs killed, {dead_jobs} jobs among them; 0 files quarantined");
}
