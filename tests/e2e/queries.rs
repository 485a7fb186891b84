//! Queries on a cluster: the rows that one process gives, and nothing of what is not allowed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytefacts_cluster::{Embedded, EmbeddedOptions, JobState, QueryCluster, RemoteScheduler};
use bytefacts_engine::Node;
use bytefacts_query::facts_session;
use bytefacts_stores::{Access, Allowed, Stores};
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::common::collect;
use datafusion::prelude::SessionContext;

use crate::support::{Shape, extract, folder, library_corpus, nodes, python, url};

/// A cluster of two executors of a core each, which open what their lists allow.
struct Cluster {
    embedded: Embedded,
    nodes: Vec<Arc<Node>>,
    queries: QueryCluster,
}

impl Cluster {
    async fn with_access(access: Access) -> Self {
        let (shape, stores) = (Shape::default(), Arc::new(Stores::default().with_access(access)));
        let nodes = nodes(&shape, &shape.options, &python().await, &stores);
        let embedded = Embedded::start(&nodes, stores, EmbeddedOptions { cores_per_executor: 1 }).await.unwrap();
        let queries = QueryCluster::new(&embedded.url());
        Self { embedded, nodes, queries }
    }

    /// What the cluster answers; the plan is made here.
    async fn ask(&self, session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream> {
        let plan = session.sql(sql).await?.create_physical_plan().await?;
        self.queries.run(plan, &session.copied_config()).await
    }

    async fn stop(self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
        self.embedded.stop().await;
    }
}

async fn local(facts: &Path) -> SessionContext {
    facts_session(&Stores::default(), &url(facts), None).unwrap()
}

/// A session that plans for a cluster, in more parts than it has cores.
async fn planning(facts: &Path) -> SessionContext {
    let mut state = QueryCluster::planning(local(facts).await.state());
    state.config_mut().options_mut().execution.target_partitions = 5;
    SessionContext::new_with_state(state)
}

async fn sorted_rows(stream: SendableRecordBatchStream, sql: &str) -> Vec<Vec<String>> {
    let schema = stream.schema();
    let batches = collect(stream).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    for batch in &batches {
        assert_eq!(batch.schema(), schema, "{sql}: what is announced is what comes");
    }
    let mut rows = crate::support::texts(&batches);
    rows.sort();
    rows
}

/// Everything that a plan is made of goes through the wire at least once: scans, filters, joins of all kinds, aggregates, sorts, limits, windows,
/// subqueries, unions, functions of ours, and results without rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gives_the_rows_that_one_process_gives() {
    let (corpus, facts) = (library_corpus(&python().await, &["asyncio", "json", "email"]), folder());
    extract(corpus.path(), facts.path(), &Shape { bins: 9, ..Shape::default() }).await;
    let (cluster, here, there) = (Cluster::with_access(Access::default()).await, local(facts.path()).await, planning(facts.path()).await);
    for sql in [
        "SELECT count(*) FROM py_bc_instructions",
        "SELECT opname, count(*) AS n, avg(arg) FROM py_bc_instructions GROUP BY opname",
        "SELECT repo, path, co_qualname FROM py_bc_code_units WHERE repo = 'json' ORDER BY code_len DESC, path, co_qualname LIMIT 7",
        "SELECT u.repo, count(*), count(DISTINCT i.argval_str) FROM py_bc_instructions i JOIN py_bc_code_units u USING (code_unit_id) GROUP BY u.repo",
        "SELECT u.code_unit_id, e.edge_id FROM py_bc_code_units u LEFT JOIN py_bc_cfg_edges e ON u.code_unit_id = e.code_unit_id AND e.kind = 'exception'",
        "SELECT count(*) FROM py_bc_instructions a FULL JOIN py_bc_cfg_edges e ON a.code_unit_id = e.code_unit_id AND a.offset = e.cond_instr_offset",
        "SELECT path FROM bytecode_files_v1 WHERE path NOT IN (SELECT path FROM py_bc_code_units WHERE unit_kind = 'class')",
        "SELECT path FROM bytecode_files_v1 f WHERE EXISTS (SELECT 1 FROM py_bc_code_units u WHERE u.file_id = f.file_id AND u.code_len > 2000)",
        "SELECT co_name, code_len FROM py_bc_code_units WHERE code_len = (SELECT max(code_len) FROM py_bc_code_units)",
        "SELECT repo, path, row_number() OVER (PARTITION BY repo ORDER BY path) AS n FROM bytecode_files_v1",
        "SELECT repo FROM bytecode_files_v1 UNION SELECT opname FROM py_bc_instructions",
        "SELECT repo FROM bytecode_files_v1 INTERSECT SELECT repo FROM py_bc_code_units WHERE unit_kind = 'lambda'",
        "SELECT instr_id FROM py_bc_instructions WHERE repo = 'json' AND opname = 'CALL'",
        "SELECT repo, path, code_objects FROM bytecode_files_v1 WHERE repo = 'json'",
        "SELECT * FROM bytecode_errors",
        "SELECT opname FROM py_bc_instructions WHERE opname = 'NO_SUCH'",
        "SELECT opname FROM py_bc_instructions WHERE repo = 'nowhere'",
        "SELECT sum(arg), count(*) FROM py_bc_instructions WHERE repo = 'nowhere'",
        "WITH pairs AS (SELECT opname, lead(opname) OVER (PARTITION BY code_unit_id ORDER BY instr_index) AS next FROM py_bc_instructions) \
         SELECT opname, next, count(*) FROM pairs WHERE next IS NOT NULL GROUP BY opname, next",
        "SELECT 1 AS one",
        "SELECT path, kind, bound_as, drops FROM py_bc_handlers",
        "SELECT u.path, u.co_qualname, g.n FROM py_bc_code_units u LEFT JOIN (SELECT code_unit_id, count(*) AS n FROM py_bc_instructions \
         WHERE argval_str LIKE 'get%' AND path <> 'x' GROUP BY code_unit_id) g USING (code_unit_id) WHERE u.unit_kind = 'function'",
    ] {
        let expected = sorted_rows(here.sql(sql).await.unwrap().execute_stream().await.unwrap(), sql).await;
        let answer = cluster.ask(&there, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found = sorted_rows(answer, sql).await;
        assert_eq!(found, expected, "{sql}");
    }
    cluster.stop().await;
}

/// An executor reads facts that jobs may name, and no other file, whatever a plan says.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_reads_allowed_facts_only() {
    let (corpus, facts, others) = (crate::support::small_corpus(), folder(), folder());
    for facts in [&facts, &others] {
        extract(corpus.path(), facts.path(), &Shape::default()).await;
    }
    let allowed = Allowed::of(&[facts.path().display().to_string()]).unwrap();
    let cluster = Cluster::with_access(Access { corpus: Allowed::Everything, facts: allowed }).await;
    let sql = "SELECT max(code_len) FROM py_bc_code_units";
    let answer = cluster.ask(&planning(facts.path()).await, sql).await.unwrap();
    assert!(collect(answer).await.unwrap()[0].num_rows() == 1);
    let refused = cluster.ask(&planning(others.path()).await, sql).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("it is no part of facts that are allowed here"), "{refused}");
    cluster.stop().await;
}

/// Whoever gives a query up ends its job.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_nobody_waits_for_ends() {
    let (corpus, facts) = (library_corpus(&python().await, &["asyncio"]), folder());
    extract(corpus.path(), facts.path(), &Shape::default()).await;
    let (cluster, session) = (Cluster::with_access(Access::default()).await, planning(facts.path()).await);
    let endless = "SELECT count(*) FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c WHERE a.opname || b.opname || c.opname = 'x'";
    let scheduler = RemoteScheduler::new(&cluster.embedded.url());
    let state = async || scheduler.status().await.unwrap().jobs.first().map(|job| job.state);
    let begun = Instant::now();
    {
        let asked = cluster.ask(&session, endless);
        tokio::pin!(asked);
        while state().await != Some(JobState::Running) {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::select! {
                answer = &mut asked => panic!("it was to take longer: {:?}", answer.map(drop)),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    }
    while state().await != Some(JobState::Cancelled) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", state().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.stop().await;
}
