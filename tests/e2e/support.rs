//! What the tests share: the interpreter, corpora, jobs in this process, the binary, and reading facts back.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use bytefacts_cache::Cache;
use bytefacts_cluster::{Client, Embedded, EmbeddedOptions, JobSettings};
use bytefacts_compile::{Interpreter, WorkerSettings, discover};
use bytefacts_corpus::{BinOptions, Location, Target};
use bytefacts_engine::trial::TrialCommand;
use bytefacts_engine::{ExtractOptions, InterpreterId, Job, JobCluster, JobError, Node, NodeOptions, Patience, Progress, run_job};
use bytefacts_landing::{FactsStore, Manifest, SystemClock, Tolerance};
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use serde_json::{Value, json};
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
    pub options: ExtractOptions,
    pub python: Option<Interpreter>,
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
            options: ExtractOptions::default(),
            python: None,
        }
    }
}

/// The Python files of some folders of the standard library, copied to a corpus in which each folder is a repository.
pub fn library_corpus(python: &Interpreter, folders: &[&str]) -> TempDir {
    let corpus = folder();
    for name in folders {
        copy_python_files(&python.stdlib.join(name), &corpus.path().join(name));
    }
    corpus
}

fn copy_python_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_python_files(&path, &to.join(name));
        } else if path.extension().is_some_and(|extension| extension == "py") {
            std::fs::create_dir_all(to).unwrap();
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The same interpreter with a module `dis` of its own, which is the real one and then does `patch`: a judge that errs.
pub fn with_patched_dis(python: &Interpreter, folder: &Path, patch: &str) -> Interpreter {
    python_with_patched("dis", python, folder, patch)
}

/// The same interpreter with a module of its own, which is the real one and then does `patch`.
pub fn python_with_patched(module: &str, python: &Interpreter, folder: &Path, patch: &str) -> Interpreter {
    use std::os::unix::fs::PermissionsExt as _;
    let real = format!(
        "import os as _os\n_path = _os.path.join(_os.path.dirname(_os.__file__), '{module}.py')\n\
         exec(compile(open(_path).read(), _path, 'exec'))\n"
    );
    std::fs::write(folder.join(format!("{module}.py")), format!("{real}{patch}\n")).unwrap();
    let executable = folder.join("python3.13");
    let home = python.executable.parent().and_then(Path::parent).unwrap();
    // It calls itself by its own name, so that who looks behind it finds it again.
    let script = format!(
        "#!/usr/bin/env bash\nPYTHONHOME='{}' PYTHONPATH='{}' exec -a \"$0\" '{}' \"$@\"\n",
        home.display(),
        folder.display(),
        python.executable.display()
    );
    std::fs::write(&executable, script).unwrap();
    std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
    Interpreter { executable, ..python.clone() }
}

/// What a source holds at which a [`Gate`] stands.
pub const GATED: &str = "GATED";

/// A CPython whose workers stand still before sources with [`GATED`] in them until they are let through. What a test does meanwhile it does to
/// a job under way, however fast or slow the machine is.
pub struct Gate {
    /// The interpreter.
    pub python: Interpreter,
    folder: TempDir,
    seen: Mutex<BTreeSet<OsString>>,
}

impl Gate {
    /// A gate that is closed.
    pub fn closed(python: &Interpreter) -> Self {
        Self::with(python, GATED, "")
    }

    /// A closed gate before every source with this in it; the interpreter does `patch` too.
    pub fn with(python: &Interpreter, mark: &str, patch: &str) -> Self {
        let folder = folder();
        let place = folder.path().display();
        let gate = format!(
            "{patch}\nimport builtins as _builtins, os as _os, time as _time\n\
             def _gated(source, *arguments, _behind=_builtins.compile, **options):\n\
             \x20   if isinstance(source, bytes) and b'{mark}' in source:\n\
             \x20       _os.close(_os.open(f'{place}/at-{{_os.getpid()}}', _os.O_CREAT | _os.O_WRONLY))\n\
             \x20       while not _os.path.exists('{place}/open'):\n\
             \x20           _time.sleep(0.01)\n\
             \x20   return _behind(source, *arguments, **options)\n\
             _builtins.compile = _gated\n"
        );
        let python = python_with_patched("warnings", python, folder.path(), &gate);
        Self { python, folder, seen: Mutex::default() }
    }

    /// The variable that has a process use it.
    pub fn variable(&self) -> (String, String) {
        ("BYTEFACTS_PYTHON".to_owned(), self.python.executable.display().to_string())
    }

    pub fn open(&self) {
        std::fs::write(self.folder.path().join("open"), "").unwrap();
    }

    /// A worker that was seen there before is seen anew: executors keep theirs from job to job.
    pub fn close(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name();
            if name == "open" || name.to_string_lossy().starts_with("at-") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        self.seen.lock().unwrap().clear();
    }

    /// Whether there is a worker at it that was not seen before. Of several one is seen, so that each is counted.
    fn see(&self) -> bool {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut at_it = names.filter(|name| name.to_string_lossy().starts_with("at-"));
        let mut seen = self.seen.lock().unwrap();
        at_it.any(|name| seen.insert(name))
    }

    /// Waits until a worker stands at it that was not seen there before.
    pub async fn reached(&self) {
        let begun = Instant::now();
        while !self.see() {
            assert!(begun.elapsed() < Duration::from_secs(180), "nobody comes to the gate");
            tokio::time::sleep(Duration::from_millis(10)).await;
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
        options: ExtractOptions { exclude: shape.exclude.clone(), ..shape.options.clone() },
        bins: BinOptions { target: Target::Bins(shape.bins) },
        interpreter: Some(InterpreterId::of(python)),
        use_cache: true,
    }
}

/// The nodes of an embedded cluster of this shape.
pub fn nodes(shape: &Shape, extract: &ExtractOptions, python: &Interpreter, stores: &Arc<Stores>) -> Vec<Arc<Node>> {
    let options = NodeOptions {
        workers: shape.cores,
        memory_budget_bytes: extract.memory_budget_bytes,
        worker: WorkerSettings { hash_seed: shape.hash_seed, ..WorkerSettings::default() },
    };
    let progress = Arc::new(Progress::default());
    (0..shape.executors)
        .map(|_| {
            let node = Node::new(options.clone(), python.clone(), Arc::clone(stores), shape.cache.clone(), Arc::clone(&progress));
            let program = env!("CARGO_BIN_EXE_bytefacts").into();
            Arc::new(node.with_trials(TrialCommand { program, arguments: vec!["trial".into()] }))
        })
        .collect()
}

/// Extracts `corpus` into `facts` on an embedded cluster of this process, to the commit.
pub async fn try_extract(corpus: &Path, facts: &Path, shape: &Shape) -> Result<Manifest, JobError> {
    try_extract_job(corpus, facts, shape, |_| ()).await
}

/// As [`try_extract`], of a job that is changed before it is run.
pub async fn try_extract_job(corpus: &Path, facts: &Path, shape: &Shape, change: impl FnOnce(&mut Job)) -> Result<Manifest, JobError> {
    try_extract_on(corpus, facts, shape, change, |client| Box::new(client)).await
}

/// As [`try_extract_job`], by what is made of the client of the cluster.
pub async fn try_extract_on(
    corpus: &Path,
    facts: &Path,
    shape: &Shape,
    change: impl FnOnce(&mut Job),
    through: impl FnOnce(Client) -> Box<dyn JobCluster>,
) -> Result<Manifest, JobError> {
    let python = match &shape.python {
        Some(python) => python.clone(),
        None => python().await,
    };
    let mut job = job(corpus, facts, shape, &python);
    change(&mut job);
    let stores = Arc::new(Stores::default());
    let nodes = nodes(shape, &job.options, &python, &stores);
    let cluster = Embedded::start(&nodes, Arc::clone(&stores), EmbeddedOptions { cores_per_executor: shape.cores }).await.unwrap();
    let settings = JobSettings { max_partitions_per_task: shape.max_partitions_per_task, ..JobSettings::for_run(shape.run) };
    let client = Client::new(cluster.url(), Arc::clone(&stores), settings);
    let finished = run_job(&*through(client), &job, &stores, &SystemClock, Patience::embedded(), ANYTHING, None).await;
    for node in &nodes {
        let peaks = node.peaks().await;
        assert!(peaks.parallel_bytes <= job.options.parallel_max_bytes.max(4096), "{peaks:?} of {:?}", job.options);
        node.shutdown().await;
    }
    cluster.stop().await;
    let document = finished?.committed.document;
    let facts = stores.open(&job.facts)?.facts();
    Ok(facts.whole(document).await?)
}

/// As [`try_extract`], of a job that must end well.
pub async fn extract(corpus: &Path, facts: &Path, shape: &Shape) -> Manifest {
    try_extract(corpus, facts, shape).await.unwrap_or_else(|error| panic!("{error}"))
}

/// All files of a bad corpus may be so.
const ANYTHING: Tolerance = Tolerance { unread: 1.0, gone: 1.0 };

/// A run's manifest as JSON: its header and its lists.
pub fn manifest_json(facts: &Path, run: &str) -> Value {
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(facts.join("runs").join(run).join("run.json")).unwrap()).unwrap();
    for list in ["repos", "files"] {
        let mut entries = Vec::new();
        for shard in manifest[list].as_array().unwrap() {
            let bytes = std::fs::read(facts.join(shard["key"].as_str().unwrap())).unwrap();
            let lines = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap();
            entries.extend(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        manifest[list] = entries.into();
    }
    manifest
}

/// Changes the manifest of a run, and makes its shards agree with it: a forger who is careful.
pub fn edit_manifest(facts: &Path, run: &str, edit: impl FnOnce(&mut Value)) {
    let mut manifest = manifest_json(facts, run);
    edit(&mut manifest);
    for list in ["repos", "files"] {
        let entries = manifest[list].as_array().unwrap();
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        let bytes = zstd::encode_all(lines.as_bytes(), 3).unwrap();
        let key = format!("runs/{run}/manifest/edited-{list}-000000.zst");
        std::fs::create_dir_all(facts.join(format!("runs/{run}/manifest"))).unwrap();
        std::fs::write(facts.join(&key), &bytes).unwrap();
        let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        manifest[list] = json!([{"key": key, "bytes": bytes.len(), "sha256": sha256, "entries": entries.len()}]);
    }
    std::fs::write(facts.join("runs").join(run).join("run.json"), manifest.to_string()).unwrap();
}

/// Facts in a local folder.
pub fn store(facts: &Path) -> FactsStore {
    Stores::default().open(&url(facts)).unwrap().facts()
}

/// The rows that `sql` gives over the current run of `facts`.
pub async fn query(facts: &Path, sql: &str) -> Vec<RecordBatch> {
    let session = facts_session(&Stores::default(), &url(facts), None).unwrap();
    session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).collect().await.unwrap()
}

/// As [`query`], each row as its columns' texts; null is `NULL`.
pub async fn query_text(facts: &Path, sql: &str) -> Vec<Vec<String>> {
    texts(&query(facts, sql).await)
}

/// Each row as its columns' texts; null is `NULL`.
pub fn texts(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = arrow::util::display::FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
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

/// Says aloud that this machine does not let a test run. What a macro prints nobody sees of a test that passes.
pub fn not_tested(what: &str, reason: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "\n*** NOT TESTED: {what}: {reason}\n").unwrap();
}

/// A library to be preloaded into processes, made from its source beside the tests by the C compiler that Rust links with; `None`, said aloud, where it
/// cannot be made.
pub fn preloadable(home: &Path, source: &str, what: &str) -> Option<PathBuf> {
    let library = home.join(source).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e").join(source);
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").output();
    let reason = match made {
        Ok(output) if output.status.success() && cfg!(target_os = "linux") => return Some(library),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    not_tested(&format!("{what}, which needs Linux and a C compiler called cc"), &reason);
    None
}

/// A text column of a struct or batch, by name.
pub fn text(column: Option<&arrow::array::ArrayRef>) -> &arrow::array::StringArray {
    column.expect("the column exists").as_string()
}

/// The value at `row`, unless null.
pub fn at(column: &arrow::array::StringArray, row: usize) -> Option<&str> {
    (!column.is_null(row)).then(|| column.value(row))
}
