//! What the tests share: the interpreter, corpora, jobs in this process, the binary, and reading facts back.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use bytefacts_cache::Cache;
use bytefacts_cluster::{Embedded, EmbeddedOptions, JobSettings, job_session};
use bytefacts_compile::{Interpreter, WorkerSettings, discover};
use bytefacts_corpus::{BinOptions, Location, Target};
use bytefacts_engine::node::{Node, NodeOptions, identity};
use bytefacts_engine::stores::Stores;
use bytefacts_engine::{ExtractOptions, Job, JobError, Progress, facts_session, run_job};
use bytefacts_landing::{FactsStore, Manifest, SystemClock};
use tempfile::TempDir;

/// The CPython 3.13 of this machine.
pub async fn python() -> Interpreter {
    discover(None).await.expect("the tests need a CPython 3.13")
}

/// A script of the judge in this repository.
pub fn judge(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/judge").join(script)
}

/// A fresh folder.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes files, given as (path, content), below a folder.
pub fn write_files(root: &Path, files: &[(&str, &[u8])]) {
    for (path, content) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// A corpus of three repositories, a loose file and a file that does not compile: enough for several bins.
pub fn small_corpus() -> TempDir {
    let corpus = folder();
    write_files(corpus.path(), &[("loose.py", b"answer = 42\n"), ("b/broken.py", b"def f(:\n")]);
    for repo in ["a", "b", "c d"] {
        for i in 0..12 {
            let source = format!(
                "import os\n\nclass C{i}:\n    def m(self, x):\n        return [y * {i} for y in range(x) if y % 2]\n\n\
                 async def g():\n    async with a as b:\n        await b\n\ntry:\n    C{i}().m({i})\nexcept* ValueError as e:\n    print(e)\n"
            );
            write_files(corpus.path(), &[(&format!("{repo}/pkg{}/m{i}.py", i % 3), source.as_bytes())]);
        }
    }
    corpus
}

/// The shape of a job in this process.
#[derive(Clone)]
pub struct Shape {
    pub run: &'static str,
    pub executors: usize,
    pub cores: usize,
    pub max_partitions_per_task: usize,
    pub bins: u32,
    pub hash_seed: Option<u32>,
    pub cache: Option<Arc<Cache>>,
    pub repo: Option<&'static str>,
    pub exclude: Vec<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            run: "run-1",
            executors: 2,
            cores: 1,
            max_partitions_per_task: 1,
            bins: 5,
            hash_seed: Some(0),
            cache: None,
            repo: None,
            exclude: Vec::new(),
        }
    }
}

/// The location of a folder as a URL.
pub fn url(folder: &Path) -> String {
    Location::local(folder).unwrap().uri().to_owned()
}

/// The job that [`extract`] runs.
pub fn job(corpus: &Path, facts: &Path, shape: &Shape, python: &Interpreter) -> Job {
    Job {
        corpus: url(corpus),
        repo: shape.repo.map(str::to_owned),
        facts: url(facts),
        run: shape.run.to_owned(),
        options: ExtractOptions { exclude: shape.exclude.clone(), ..ExtractOptions::default() },
        bins: BinOptions { target: Target::Bins(shape.bins) },
        interpreter: identity(python),
    }
}

/// Extracts `corpus` into `facts` on an embedded cluster of this process, to the commit.
pub async fn try_extract(corpus: &Path, facts: &Path, shape: &Shape) -> Result<Manifest, JobError> {
    try_extract_job(corpus, facts, shape, |_| ()).await
}

/// As [`try_extract`], of a job that is changed before it is run.
pub async fn try_extract_job(corpus: &Path, facts: &Path, shape: &Shape, change: impl FnOnce(&mut Job)) -> Result<Manifest, JobError> {
    let python = python().await;
    let mut job = job(corpus, facts, shape, &python);
    change(&mut job);
    let stores = Arc::new(Stores::default());
    let options =
        NodeOptions { workers: shape.cores, memory_budget_bytes: 64 << 20, worker: WorkerSettings { hash_seed: shape.hash_seed } };
    let progress = Arc::new(Progress::default());
    let nodes: Vec<_> = (0..shape.executors)
        .map(|_| Arc::new(Node::new(options.clone(), python.clone(), Arc::clone(&stores), shape.cache.clone(), Arc::clone(&progress))))
        .collect();
    let cluster = Embedded::start(&nodes, Arc::clone(&stores), EmbeddedOptions { cores_per_executor: shape.cores }).await.unwrap();
    let settings = JobSettings { max_partitions_per_task: shape.max_partitions_per_task, ..JobSettings::for_run(shape.run) };
    let session = job_session(&cluster.url(), Arc::clone(&stores), &settings).await.unwrap();
    let finished = run_job(&session, &job, &stores, &SystemClock).await;
    for node in &nodes {
        node.shutdown().await;
    }
    cluster.stop().await;
    Ok(finished?.committed.manifest)
}

/// As [`try_extract`], of a job that must end well.
pub async fn extract(corpus: &Path, facts: &Path, shape: &Shape) -> Manifest {
    try_extract(corpus, facts, shape).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Facts in a local folder.
pub fn store(facts: &Path) -> FactsStore {
    Stores::default().open(&url(facts)).unwrap().facts()
}

/// The rows that `sql` gives over the current run of `facts`.
pub async fn query(facts: &Path, sql: &str) -> Vec<RecordBatch> {
    let session = facts_session(&Stores::default(), &url(facts), None).await.unwrap();
    session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).collect().await.unwrap()
}

/// As [`query`], each row as its columns' texts; null is `NULL`.
pub async fn query_text(facts: &Path, sql: &str) -> Vec<Vec<String>> {
    let options = arrow::util::display::FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in query(facts, sql).await {
        let columns: Vec<_> =
            batch.columns().iter().map(|c| arrow::util::display::ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    rows
}

/// The `bytefacts` binary with arguments, in an environment that finds the same interpreter and no cache of the user's.
pub async fn bytefacts(cache: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bytefacts"));
    command.args(args).env("BYTEFACTS_PYTHON", python().await.executable).env("BYTEFACTS_CACHE_DIR", cache).env_remove("BYTEFACTS_CONFIG");
    command
}

/// Runs a command; its exit code, stdout and stderr.
pub fn run(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A text column of a struct or batch, by name.
pub fn text(column: Option<&arrow::array::ArrayRef>) -> &arrow::array::StringArray {
    column.expect("the column exists").as_string()
}

/// The value at `row`, unless null.
pub fn at(column: &arrow::array::StringArray, row: usize) -> Option<&str> {
    (!column.is_null(row)).then(|| column.value(row))
}
