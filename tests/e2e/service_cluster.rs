//! SQL over the wire whose work is a cluster's: the rows that one process gives, whatever happens to executors, and no job that outlives its reader.
//!
//! `BYTEFACTS_TRIALS=N` kills N executors under queries instead of a few, at moments of `BYTEFACTS_SEED=N`.

use std::time::{Duration, Instant};

use bytefacts_cluster::{JobState, RemoteScheduler};
use futures::TryStreamExt as _;
use nix::sys::signal::Signal;
use tonic::Code;

use crate::chaos::{Random, number};
use crate::processes::{Daemon, Processes};
use crate::service::{Client, Service, ask, ask_number, ask_text};
use crate::support::{Shape, extract, folder, library_corpus, python};

/// A service over some of the library, with a cluster of two executors.
struct Spread {
    processes: Processes,
    scheduler: Daemon,
    executors: Vec<Daemon>,
    service: Service,
}

impl Spread {
    async fn start(settings: &str) -> Self {
        let (processes, facts) = (Processes::new(), folder());
        let corpus = library_corpus(&python().await, &["asyncio", "json", "email"]);
        extract(corpus.path(), facts.path(), &Shape { bins: 9, ..Shape::default() }).await;
        let scheduler = processes.scheduler(0).await;
        let executors = vec![processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
        let service = Service::over(facts, &["--cluster", &format!("df://{}", scheduler.address)], settings).await;
        Self { processes, scheduler, executors, service }
    }

    /// A client whose queries run there.
    async fn client(&self, execution: &str) -> Client {
        let mut client = self.service.client().await;
        client.set_header("bytefacts.execution", execution);
        client
    }

    fn plans(&self) -> f64 {
        self.service.daemon.metric("bytefacts_sql_plans_total")
    }

    fn jobs(&self) -> u64 {
        let (_, metrics) = self.scheduler.get("/metrics");
        let completed =
            metrics.lines().find_map(|line| line.strip_prefix("bytefacts_jobs_total{outcome=\"completed\"} ")?.parse::<f64>().ok());
        completed.unwrap_or_default() as u64
    }
}

const QUESTIONS: [&str; 6] = [
    // Of all rows the manifest knows the count, and nobody reads anything.
    "SELECT count(opname) AS n FROM py_bc_instructions",
    "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY n DESC, opname LIMIT 5",
    "SELECT u.repo, count(DISTINCT i.argval_str) AS n FROM py_bc_instructions i JOIN py_bc_code_units u USING (code_unit_id) \
     GROUP BY u.repo ORDER BY u.repo",
    "SELECT path FROM bytecode_files_v1 WHERE path NOT IN (SELECT path FROM py_bc_code_units WHERE unit_kind = 'class') ORDER BY path",
    "SELECT co_name, code_len FROM py_bc_code_units WHERE code_len = (SELECT max(code_len) FROM py_bc_code_units)",
    "SELECT opname FROM py_bc_instructions WHERE opname = 'NO_SUCH'",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_gives_what_the_server_gives() {
    let spread = Spread::start("serve: {cluster_bytes: 1}").await;
    let (mut local, mut cluster, mut auto) = (spread.client("local").await, spread.client("cluster").await, spread.client("auto").await);
    for sql in QUESTIONS {
        let (before, plans) = (spread.jobs(), spread.plans());
        let expected = ask_text(&mut local, sql).await;
        assert_eq!(spread.jobs(), before, "{sql}: what is local asks no cluster");
        assert_eq!(ask_text(&mut cluster, sql).await, expected, "{sql}");
        // Above the threshold, which is a byte here.
        assert_eq!(ask_text(&mut auto, sql).await, expected, "{sql}");
        assert_eq!(spread.jobs(), before + 2, "{sql}");
        assert_eq!(spread.plans(), plans + 3.0, "{sql}: each is planned once");
    }
    // What only the server has stays there, and who wants it elsewhere is told.
    assert!(ask_number(&mut auto, "SELECT count(*) FROM bytefacts.runs").await == 1);
    let refused = ask(&mut cluster, "SELECT * FROM bytefacts.runs").await.unwrap_err();
    assert!(refused.message().contains("what only this server has"), "{refused}");
    assert_eq!(ask_text(&mut cluster, "SHOW bytefacts.execution").await[0][1], "cluster");
    assert_eq!(ask_text(&mut cluster, "SHOW TABLES").await, ask_text(&mut local, "SHOW TABLES").await);
    // A cluster of Ballista 55 never ends a union of what reads nothing and a scan.
    for nothing in ["SELECT co_qualname AS t FROM py_bc_code_units WHERE co_qualname = 'a' AND co_qualname = 'b'", "SELECT 'x' AS t"] {
        let sql = format!("SELECT count(*) AS n FROM (SELECT opname AS t FROM py_bc_instructions UNION {nothing})");
        assert_eq!(ask_text(&mut cluster, &sql).await, ask_text(&mut local, &sql).await, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_queries_stay_with_the_server_and_a_server_alone_says_so() {
    let spread = Spread::start("").await;
    let mut auto = spread.client("auto").await;
    assert!(ask_number(&mut auto, QUESTIONS[0]).await > 10_000);
    assert_eq!(spread.jobs(), 0, "less than the threshold");
    let alone = Service::start(&[], "").await;
    let mut client = alone.client().await;
    client.set_header("bytefacts.execution", "cluster");
    let refused = ask(&mut client, QUESTIONS[0]).await.unwrap_err();
    assert!(refused.message().contains("started without --cluster"), "{refused}");
}

/// An executor dies while queries run: each answers right, or says clearly that it was lost; none hangs.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_wrong_when_an_executor_dies() {
    let mut spread = Spread::start("").await;
    let mut expected = Vec::new();
    let mut local = spread.client("local").await;
    for sql in QUESTIONS {
        expected.push(ask_text(&mut local, sql).await);
    }
    let (mut right, mut lost) = (0, Vec::new());
    let (rounds, seed) = (number("BYTEFACTS_TRIALS").unwrap_or(4), number("BYTEFACTS_SEED").unwrap_or(9));
    let mut random = Random(seed);
    for round in 0..rounds {
        let mut client = spread.client("cluster").await;
        let asked = tokio::spawn(async move {
            let mut answers = Vec::new();
            for sql in QUESTIONS {
                answers.push(ask(&mut client, sql).await.map(|(_, batches)| crate::support::texts(&batches)));
            }
            answers
        });
        tokio::time::sleep(Duration::from_millis(100 + random.below(1_500))).await;
        spread.executors.remove(0).kill();
        let node = if round % 2 == 0 { "n1" } else { "n2" };
        let executor = spread.processes.executor(node, spread.scheduler.address).await;
        spread.executors.push(executor);
        let answers = tokio::time::timeout(Duration::from_secs(180), asked).await.expect("a query hangs").unwrap();
        for ((answer, expected), sql) in answers.into_iter().zip(&expected).zip(QUESTIONS) {
            match answer {
                Ok(rows) => {
                    assert_eq!(&rows, expected, "round {round}: {sql}");
                    right += 1;
                }
                Err(status) => lost.push(status.message().to_owned()),
            }
        }
    }
    eprintln!("seed {seed}: {right} queries answered right, {} lost: {lost:?}", lost.len());
    assert!(right > 0 && lost.iter().all(|words| !words.is_empty() && !words.contains("panicked")), "{lost:?}");
}

/// A query that takes seconds on this cluster, in stages that fetch from each other.
const LONG: &str = "SELECT count(*) AS n FROM py_bc_instructions a JOIN py_bc_instructions b ON a.path = b.path AND a.opname = b.opname \
                    AND a.\"offset\" < b.\"offset\"";

/// An executor is killed with a task of a query in its hands. The answer that the scheduler then has may count rows twice: it is not given, but the
/// query run again, which shows in a further job.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_lost_executor_is_not_given() {
    let mut spread = Spread::start("").await;
    let scheduler = RemoteScheduler::new(&spread.scheduler.address.to_string());
    let expected = ask_number(&mut spread.client("local").await, LONG).await;
    let mut lost = Vec::new();
    for _ in 0..5 {
        let jobs_before = scheduler.status().await.unwrap().jobs.len();
        let mut client = spread.client("cluster").await;
        let asked = tokio::spawn(async move { ask(&mut client, LONG).await });
        let victim = spread.executors.remove(0);
        let begun = Instant::now();
        loop {
            let status = scheduler.status().await.unwrap();
            if status.executors.iter().any(|executor| executor.id == victim.id && executor.cores_in_use > 0) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60) && !asked.is_finished(), "it has got no task");
        }
        victim.kill();
        spread.executors.push(spread.processes.executor("n1", spread.scheduler.address).await);
        match tokio::time::timeout(Duration::from_secs(240), asked).await.expect("the query hangs").unwrap() {
            Ok((_, batches)) => {
                assert_eq!(crate::support::texts(&batches), [[expected.to_string()]]);
                let jobs = scheduler.status().await.unwrap().jobs.len() - jobs_before;
                assert!(jobs >= 2, "the answer is that of the one job whose executor was lost");
                assert!(spread.service.daemon.log().contains("it is run again"));
                return;
            }
            // It failed as a whole, which is as good an end, but shows nothing.
            Err(status) => lost.push(status.message().to_owned()),
        }
    }
    panic!("no query has outlived its executor: {lost:?}");
}

/// What a user may take holds for each executor that works on the query.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_on_executors_too() {
    let spread = Spread::start("serve: {query_memory_bytes: 2000000, query_spill_bytes: 0}").await;
    let mut client = spread.client("cluster").await;
    // All ids at once, in an order: what groups hands over early what it has no memory for, and what joins takes the smaller side.
    let sql = "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY instr_id || 'x') AS n FROM py_bc_instructions)";
    let status = ask(&mut client, sql).await.map(|_| panic!("it has had the memory")).unwrap_err();
    // Which of its operators had none is a matter of who was first.
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(!status.message().contains("DataFusionError"), "in words: {status}");
    assert!(ask_number(&mut client, QUESTIONS[0]).await > 0);
}

/// The same service in the scheduler itself, with its executors for what reads much.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_answers_sql_too() {
    let (processes, facts) = (Processes::new(), folder());
    let corpus = library_corpus(&python().await, &["json"]);
    extract(corpus.path(), facts.path(), &Shape { bins: 3, ..Shape::default() }).await;
    let path = facts.path().display().to_string();
    let line = ["scheduler", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0", "--facts", &path];
    let scheduler = Daemon::start(processes.command(&line).await, &processes.home.path().join("scheduler.log"));
    let _executor = processes.executor("n1", scheduler.address).await;
    let mut client = crate::service::client(scheduler.sql.unwrap()).await;
    let here = ask_text(&mut client, QUESTIONS[1]).await;
    assert_eq!(here.len(), 5);
    client.set_header("bytefacts.execution", "cluster");
    assert_eq!(ask_text(&mut client, QUESTIONS[1]).await, here);
    assert!(scheduler.metric("bytefacts_sql_queries_total") >= 2.0 && scheduler.metric("bytefacts_executors") == 1.0);
    assert_eq!(scheduler.terminate(), Some(0));
    let lacking = crate::support::run(processes.command(&["scheduler", "--listen", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0"]).await);
    assert!(lacking.0 == 2 && lacking.2.contains("--facts"), "{}", lacking.2);
}

/// A cluster that is not there is said at once, and found when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_yet_is_waited_for() {
    let processes = Processes::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let service = Service::start(&["--cluster", &format!("df://127.0.0.1:{port}")], "").await;
    let begun = Instant::now();
    let said = async |words: &str| {
        while !service.daemon.log().contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(90), "{}", service.daemon.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    said("the cluster is not there").await;
    assert!(service.daemon.log().contains("bytefacts scheduler"), "{}", service.daemon.log());
    assert!(ask_number(&mut service.client().await, "SELECT count(*) FROM bytefacts.runs").await == 1, "it answers by itself");
    let scheduler = processes.scheduler(port).await;
    let _executor = processes.executor("n1", scheduler.address).await;
    said("the cluster is there").await;
    let mut client = service.client().await;
    client.set_header("bytefacts.execution", "cluster");
    assert!(ask_number(&mut client, QUESTIONS[0]).await > 0);

    let taken = ["serve", "--facts", ".", "--listen", &service.daemon.address.to_string(), "--probes", "127.0.0.1:0"];
    let (code, _, stderr) = crate::support::run(processes.command(&taken).await);
    assert!(code == 1 && stderr.contains("another process does") && stderr.contains("--listen"), "{code} {stderr}");
}

/// Whoever lets go of a result ends its job.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_cancelled_ends_on_the_cluster() {
    let spread = Spread::start("serve: {early_milliseconds: 100}").await;
    let scheduler = RemoteScheduler::new(&spread.scheduler.address.to_string());
    let mut client = spread.client("cluster").await;
    let endless = "SELECT count(*) FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c WHERE a.opname || b.opname || c.opname = 'x'";
    let info = client.execute(endless.to_owned(), None).await.unwrap();
    let becomes = async |state: JobState| {
        let begun = Instant::now();
        let last = async || scheduler.status().await.unwrap().jobs.last().map(|job| job.state);
        while last().await != Some(state) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{:?}, not {state:?}", last().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    becomes(JobState::Running).await;
    let mut reading = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let read = tokio::time::timeout(Duration::from_millis(300), reading.try_next()).await;
    assert!(read.is_err(), "it was to take longer: {read:?}");
    drop(reading);
    becomes(JobState::Cancelled).await;

    // A server that is killed cancels nothing: the scheduler does.
    client.execute(endless.to_owned(), None).await.unwrap();
    becomes(JobState::Running).await;
    spread.service.daemon.signal(Signal::SIGKILL);
    becomes(JobState::Cancelled).await;
}

/// A scheduler that is gone is said in words, and soon.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_gone_is_said() {
    let mut spread = Spread::start("").await;
    let mut client = spread.client("cluster").await;
    let port = spread.scheduler.address.port();
    std::mem::replace(&mut spread.scheduler, spread.processes.scheduler(0).await).kill();
    let begun = Instant::now();
    let status = ask(&mut client, QUESTIONS[0]).await.unwrap_err();
    assert!(status.message().contains("the scheduler does not answer") && status.message().contains(&port.to_string()), "{status}");
    assert!(status.code() != Code::Ok && begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let mut local = spread.client("local").await;
    assert!(ask_number(&mut local, QUESTIONS[0]).await > 0, "the server goes on by itself");
}
