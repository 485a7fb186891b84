//! The crate for clients: its example, its connection, and sessions whose queries run on a cluster with no server in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_client::{ClientError, Connection, Credentials, Options, cluster_session, session};
use bytefacts_cluster::{JobState, RemoteScheduler};
use bytefacts_stores::Stores;
use datafusion::catalog::{Session, TableProvider};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::processes::{Daemon, Processes};
use crate::service::Service;
use crate::service_access::with_users;
use crate::support::{Shape, extract, folder, library_corpus, python, texts, url, write_files};

#[path = "../../crates/client/examples/ask.rs"]
mod example;

/// A cluster of two executors of a core each.
async fn cluster(processes: &Processes) -> (Daemon, [Daemon; 2]) {
    let scheduler = processes.scheduler(0).await;
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    (scheduler, executors)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_gets_one_answer_by_three_ways() {
    let (processes, facts) = (Processes::new(), folder());
    extract(library_corpus(&python().await, &["json"]).path(), facts.path(), &Shape::default()).await;
    let (scheduler, _executors) = cluster(&processes).await;
    let location = url(facts.path());
    let service = Service::over(facts, &[], "").await;
    let (server, there) = (format!("grpc://{}", service.daemon.address), format!("df://{}", scheduler.address));
    let answers = example::ask(&server, &location, Some(&there)).await.unwrap();
    assert_eq!(answers.len(), 3);
    assert!(answers[0].contains("LOAD_"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let status = RemoteScheduler::new(&there).status().await.unwrap();
    assert_eq!(status.jobs.iter().map(|job| job.state).collect::<Vec<_>>(), [JobState::Completed], "one of them was the cluster's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_cluster_gives_the_rows_of_a_local_one() {
    let (processes, facts) = (Processes::new(), folder());
    let corpus = library_corpus(&python().await, &["json", "email"]);
    extract(corpus.path(), facts.path(), &Shape { run: "first", ..Shape::default() }).await;
    write_files(corpus.path(), &[("json/new.py", b"new = 1\n")]);
    extract(corpus.path(), facts.path(), &Shape::default()).await;
    let (scheduler, _executors) = cluster(&processes).await;
    let (location, there) = (url(facts.path()), format!("df://{}", scheduler.address));
    let local = session(&Stores::default(), &location, None).unwrap();
    let remote = cluster_session(&there, None, &Stores::default(), &location, None).await.unwrap();
    let jobs = async || RemoteScheduler::new(&there).status().await.unwrap().jobs.len();
    let mut asked = 0;
    for (sql, is_theirs) in [
        ("SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY n DESC, opname", true),
        ("SELECT callee, count(*) AS n FROM py_bc_calls GROUP BY callee ORDER BY n DESC, callee LIMIT 9", true),
        ("SELECT count(*) FROM py_bc_instructions i JOIN py_bc_blocks b USING (block_id) WHERE b.kind = 'handler'", true),
        ("SELECT path, change FROM changes('first', 'run-1')", true),
        ("SELECT opname FROM py_bc_instructions WHERE opname = 'NO_SUCH'", true),
        ("SELECT run_id, files FROM bytefacts.runs ORDER BY sequence", false),
        ("SELECT count(*) FROM information_schema.tables WHERE table_type = 'VIEW'", false),
        ("SELECT 1 + 1 AS two", false),
    ] {
        let expected = texts(&local.sql(sql).await.unwrap().collect().await.unwrap());
        let answer = remote.sql(sql).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(texts(&answer), expected, "{sql}");
        asked += usize::from(is_theirs);
        assert_eq!(jobs().await, asked, "{sql}: what reads data files is the cluster's, and nothing else");
    }
    let error = cluster_session("df://127.0.0.1:1", None, &Stores::default(), &location, None).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("no server answers at df://127.0.0.1:1"), "{error}");
}

/// A table that does something before or after it is scanned.
struct Staged {
    table: Arc<dyn TableProvider>,
    before: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
    after: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Staged")
    }
}

#[async_trait]
impl TableProvider for Staged {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        (self.before)().await;
        let scan = self.table.scan(state, projection, filters, limit).await;
        (self.after)();
        scan
    }
}

/// A run that becomes current between the scans of two tables of a query is shown by none of them, and by both in the next query.
#[tokio::test(flavor = "multi_thread")]
async fn all_tables_of_a_query_show_one_run() {
    let (facts, corpus) = (folder(), folder());
    let current = facts.path().join("current.json");
    write_files(corpus.path(), &[("a.py", b"a = 1\n"), ("b.py", b"b = 1\n")]);
    extract(corpus.path(), facts.path(), &Shape { run: "first", ..Shape::default() }).await;
    let (first, later) = (facts.path().join("first.json"), facts.path().join("later.json"));
    std::fs::rename(&current, &first).unwrap();
    write_files(corpus.path(), &[("c.py", b"c = 1\n")]);
    extract(corpus.path(), facts.path(), &Shape { run: "later", ..Shape::default() }).await;
    std::fs::rename(&current, &later).unwrap();
    std::fs::rename(&first, &current).unwrap();

    let session = session(&Stores::default(), &url(facts.path()), None).unwrap();
    let table = session.table_provider("bytecode_files_v1").await.unwrap();
    let scanned = Arc::new(Notify::new());
    let (tell, told) = (Arc::clone(&scanned), Arc::clone(&scanned));
    let before = Staged {
        table: Arc::clone(&table),
        before: Box::new(|| Box::pin(std::future::ready(()))),
        after: Box::new(move || tell.notify_one()),
    };
    let after = Staged {
        table,
        before: Box::new(move || {
            let (told, current, later) = (Arc::clone(&told), current.clone(), later.clone());
            Box::pin(async move {
                told.notified().await;
                // A second query finds it moved.
                let _: std::io::Result<()> = std::fs::rename(later, current);
            })
        }),
        after: Box::new(|| ()),
    };
    session.register_table("scanned_first", Arc::new(before)).unwrap();
    session.register_table("scanned_then", Arc::new(after)).unwrap();
    let files = "SELECT count(DISTINCT path) FROM (SELECT 1 AS t, path FROM scanned_first UNION ALL SELECT 2, path FROM scanned_then) \
                 GROUP BY t ORDER BY t";
    for expected in [["2", "2"], ["3", "3"]] {
        let found = texts(&session.sql(files).await.unwrap().collect().await.unwrap());
        assert_eq!(found.concat(), expected);
    }
}

/// Whoever lets a query of a cluster session go ends its job.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_a_cluster_that_nobody_waits_for_ends() {
    let (processes, facts) = (Processes::new(), folder());
    extract(library_corpus(&python().await, &["json"]).path(), facts.path(), &Shape::default()).await;
    let (scheduler, _executors) = cluster(&processes).await;
    let there = format!("df://{}", scheduler.address);
    let remote = cluster_session(&there, None, &Stores::default(), &url(facts.path()), None).await.unwrap();
    let state = async || RemoteScheduler::new(&there).status().await.unwrap().jobs.first().map(|job| job.state);
    let until = async |wanted: JobState| {
        let begun = Instant::now();
        while state().await != Some(wanted) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", state().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let endless = "SELECT count(*) FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c WHERE a.opname || b.opname || c.opname = 'x'";
    let mut answer = remote.sql(endless).await.unwrap().execute_stream().await.unwrap();
    let asked = tokio::spawn(async move { answer.next().await.is_some() });
    until(JobState::Running).await;
    asked.abort();
    until(JobState::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_knows_tables_keeps_what_is_set_and_ends_what_it_lets_go() {
    let service = Service::start(&[], "").await;
    service.commit("later", "x = 1\n").await;
    let options = Options::new(&format!("grpc://{}", service.daemon.address));
    let connection = Connection::open(&options).await.unwrap();
    let tables = connection.tables().await.unwrap();
    let named = |name: &str| tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!((named("py_bc_blocks").kind.as_str(), named("runs").schema.as_str()), ("VIEW", "bytefacts"));
    let block = named("py_bc_blocks").columns.field_with_name("block_id").unwrap().clone();
    assert!(block.metadata().contains_key("ARROW:FLIGHT:SQL:REMARKS"), "it says what it means");
    for name in ["executors", "jobs", "bins", "cache", "queries"] {
        assert_eq!(named(name).schema, "system");
    }

    let files =
        async |connection: &Connection| texts(&connection.rows("SELECT count(*) FROM bytecode_files_v1").await.unwrap())[0][0].clone();
    assert_eq!(files(&connection).await, "1");
    assert!(!connection.ask("SET bytefacts.run = 'run-1'").await.unwrap().has_rows());
    assert_ne!(files(&connection).await, "1", "it is kept");
    assert_eq!(files(&Connection::open(&options).await.unwrap()).await, "1", "by this connection alone");
    let of_run = Options { run: Some("run-1".to_owned()), ..options.clone() };
    assert_ne!(files(&Connection::open(&of_run).await.unwrap()).await, "1");

    let endless = "SELECT a.opname FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c";
    let answer = connection.ask(endless).await.unwrap();
    assert_eq!(service.daemon.metric("bytefacts_sql_queries_open"), 1.0);
    drop(answer);
    let begun = Instant::now();
    while service.daemon.metric("bytefacts_sql_queries_open") > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = connection.rows("DROP TABLE x").await.unwrap_err().to_string();
    assert!(error.contains("only reads"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_refused_in_words() {
    let (_home, service) = with_users().await;
    let address = format!("grpc://{}", service.daemon.address);
    let open = async |credentials| Connection::open(&Options { credentials, ..Options::new(&address) }).await;
    let password = |password: &str| Credentials::Password { user: "ada".to_owned(), password: password.to_owned() };
    for known in [password("secret"), Credentials::Token("good token".to_owned())] {
        assert_eq!(texts(&open(known).await.unwrap().rows("SELECT 42").await.unwrap()), [["42"]]);
    }
    for unknown in [password("wrong"), Credentials::Token("wrong".to_owned()), Credentials::None] {
        let error = open(unknown).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused(_)), "{error}");
    }
    let nobody = Connection::open(&Options::new("grpc://127.0.0.1:1")).await.unwrap_err();
    assert!(matches!(nobody, ClientError::Unreachable { .. }) && nobody.to_string().contains("refused"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tables_tell_of_the_cluster_of_bins_and_of_the_cache() {
    let (processes, facts) = (Processes::new(), folder());
    let manifest = extract(library_corpus(&python().await, &["json"]).path(), facts.path(), &Shape { bins: 3, ..Shape::default() }).await;
    let (scheduler, _executors) = cluster(&processes).await;
    let service = Service::over(facts, &["--cluster", &format!("df://{}", scheduler.address)], "").await;
    let connection = Connection::open(&Options::new(&format!("grpc://{}", service.daemon.address))).await.unwrap();
    let ask = async |sql: &str| texts(&connection.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")));
    let executors = ask("SELECT node, cores, cores_in_use, version FROM system.executors ORDER BY node").await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(executors, [["n1", "1", "0", version], ["n2", "1", "0", version]]);
    assert!(ask("SELECT * FROM system.jobs").await.is_empty());
    ask("SET bytefacts.execution = 'cluster'").await;
    ask("SELECT count(*) FROM py_bc_instructions").await;
    ask("SET bytefacts.execution = 'auto'").await;
    assert_eq!(
        ask("SELECT state, run_id, bins, error, ended_at IS NULL FROM system.jobs").await,
        [["completed", "NULL", "NULL", "NULL", "false"]]
    );
    let (bins, files) = (manifest.run.bins.to_string(), manifest.run.stats.files.to_string());
    assert_eq!(
        ask("SELECT count(*), sum(files), bool_and(landed), min(run_id) FROM system.bins").await,
        [[bins.as_str(), &files, "true", "run-1"]]
    );
    assert_eq!(ask("SELECT files, hits + misses FROM system.cache").await, [[files.as_str(), &files]]);
    let queries = ask("SELECT state, rows FROM system.queries WHERE statement LIKE 'SELECT count(*) FROM py_bc_instructions%'").await;
    assert_eq!(queries, [["finished", "1"]]);
    // What lists columns asks nobody, so that it works when the cluster is gone; and who asks the cluster is told.
    scheduler.kill();
    assert_eq!(ask("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'system'").await, [["6"]]);
    let error = connection.rows("SELECT * FROM system.executors").await.unwrap_err().to_string();
    assert!(error.contains("the scheduler does not answer"), "{error}");
}

/// Without a cluster there are the same columns, and no rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_alone_has_no_executors() {
    let service = Service::start(&[], "").await;
    let connection = Connection::open(&Options::new(&format!("grpc://{}", service.daemon.address))).await.unwrap();
    for table in ["executors", "jobs"] {
        let answer = connection.ask(&format!("SELECT * FROM system.{table}")).await.unwrap();
        assert!(answer.schema().fields().len() >= 8, "{table}");
        assert!(
            connection.rows(&format!("SELECT * FROM system.{table}")).await.unwrap().iter().all(|batch| batch.num_rows() == 0),
            "{table}"
        );
    }
}

/// A session that Ballista itself makes knows no view, and reads data files that are allowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_ballistas_own_reads_the_files_of_a_run() {
    let (mut processes, facts) = (Processes::new(), folder());
    let manifest = extract(library_corpus(&python().await, &["json"]).path(), facts.path(), &Shape::default()).await;
    processes.environment.push(("BYTEFACTS_ACCESS__FACTS".to_owned(), format!("['{}']", facts.path().display())));
    let (scheduler, _executors) = cluster(&processes).await;
    let url = format!("df://{}", scheduler.address);
    let foreign = bytefacts_cluster::job_session(&url, Arc::default(), &bytefacts_cluster::JobSettings::for_run("x")).await.unwrap();
    let files: Vec<_> = manifest.files.iter().map(|file| facts.path().join(&file.key).display().to_string()).collect();
    let rows = foreign.read_parquet(files, Default::default()).await.unwrap().count().await.unwrap();
    assert_eq!(rows as u64, manifest.run.rows);
    let views = bytefacts_query::register_facts(&foreign, &Stores::default(), &crate::support::url(facts.path()), None);
    let asked = match views {
        Ok(()) => foreign.sql("SELECT count(*) FROM py_bc_instructions").await.unwrap().collect().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(asked.is_err(), "its plans name tables that no scheduler can make anew: docs/sql.md says so");
}
