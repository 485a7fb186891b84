//! The SQL service under load: clients that ask the cookbook's questions, here and on the cluster, while a corpus is extracted on the same executors
//! and these are killed. Every answer is compared with the one that was given at rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use tonic::transport::{Channel, Endpoint};

use crate::daemon::Daemon;
use crate::process::{median, say, sibling, stdlib};

/// The shape of the load.
pub struct Load {
    /// Clients at a time.
    pub clients: usize,
    /// How long they ask.
    pub time: Duration,
    /// Whether executors are killed meanwhile.
    pub kills: bool,
    /// Whether a corpus is extracted meanwhile.
    pub extraction: bool,
}

/// A query that has no answer after so long hangs.
const HANGS: Duration = Duration::from_secs(180);

/// How often an executor is killed.
const KILL: Duration = Duration::from_secs(15);

/// A question of the cookbook, with its answer at rest.
struct Question {
    name: String,
    sql: String,
    answer: Vec<String>,
}

/// What the clients have met.
#[derive(Default)]
struct Met {
    seconds: BTreeMap<&'static str, Vec<f64>>,
    wrong: Vec<String>,
    hung: u64,
    lost: BTreeMap<String, u64>,
}

/// Measures.
pub fn service(load: &Load) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(under_load(load))
}

async fn under_load(load: &Load) -> anyhow::Result<()> {
    let bytefacts = sibling("bytefacts")?;
    let library = stdlib(&bytefacts)?;
    let home = tempfile::tempdir()?;
    let facts = home.path().join("facts");
    let cluster = Cluster::start(&bytefacts, home.path(), 2)?;
    let at_rest = extract(&bytefacts, &library, &facts, &cluster.url(), "r0").await?;
    say(format!("the extraction alone: {at_rest:.1} s"))?;

    let mut serve = Command::new(&bytefacts);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--format", "json", "--cluster", &cluster.url(), "--facts"]);
    let server = Daemon::start(serve.arg(&facts).env("BYTEFACTS_SERVE__QUERIES_PER_USER", "512"))?;
    let questions = Arc::new(questions(&server.address).await?);
    say(format!("{} questions of the cookbook are answered at rest", questions.len()))?;

    let met = Arc::new(Mutex::new(Met::default()));
    let end = Instant::now() + load.time;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..load.clients {
        clients.spawn(ask_until(end, number, server.address.clone(), Arc::clone(&questions), Arc::clone(&met)));
    }
    let cluster = Arc::new(tokio::sync::Mutex::new(cluster));
    let killing = load.kills.then(|| tokio::spawn(kill_until(end, Arc::clone(&cluster))));
    let (mut extractions, mut failures) = (Vec::new(), Vec::new());
    while load.extraction && Instant::now() < end {
        let (out, url) = (home.path().join(format!("facts-{}", extractions.len() + failures.len())), cluster.lock().await.url());
        match extract(&bytefacts, &library, &out, &url, "r").await {
            Ok(seconds) => extractions.push(seconds),
            Err(error) => failures.push(error.to_string()),
        }
        std::fs::remove_dir_all(&out).or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let kills = match killing {
        Some(killing) => killing.await??,
        None => 0,
    };
    let met = std::mem::take(&mut *met.lock().unwrap_or_else(PoisonError::into_inner));
    for (execution, mut seconds) in met.seconds {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| seconds.get(((seconds.len() as f64 * share) as usize).min(seconds.len() - 1)).copied().unwrap_or_default();
        say(format!("{execution}: {} answers, p50 {:.2} s, p99 {:.2} s, longest {:.2} s", seconds.len(), at(0.5), at(0.99), at(1.0)))?;
    }
    if !extractions.is_empty() {
        let under = median(extractions.clone());
        say(format!("extraction under load: {under:.1} s (median of {}), {:.2} x the time alone", extractions.len(), under / at_rest))?;
    }
    say(format!(
        "{kills} executors were killed; {} wrong answers, {} hung, server at most {} MiB",
        met.wrong.len(),
        met.hung,
        server.peak()? >> 20
    ))?;
    for (words, count) in &met.lost {
        say(format!("{count:>5} times: {words}"))?;
    }
    for failure in &failures {
        say(format!("an extraction failed: {failure}"))?;
    }
    if !met.wrong.is_empty() || met.hung > 0 {
        bail!("wrong: {:?}; hung: {}", met.wrong, met.hung);
    }
    Ok(())
}

/// A scheduler and executors.
struct Cluster {
    bytefacts: PathBuf,
    home: PathBuf,
    scheduler: Daemon,
    executors: Vec<Daemon>,
    started: usize,
}

impl Cluster {
    fn start(bytefacts: &Path, home: &Path, executors: usize) -> anyhow::Result<Self> {
        let mut scheduler = Command::new(bytefacts);
        scheduler.args(["scheduler", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--format", "json"]);
        let scheduler = Daemon::start(scheduler.env("BYTEFACTS_SCHEDULER__EXECUTOR_TIMEOUT_SECONDS", "8"))?;
        let mut cluster = Self { bytefacts: bytefacts.to_owned(), home: home.to_owned(), scheduler, executors: Vec::new(), started: 0 };
        for _ in 0..executors {
            cluster.join()?;
        }
        Ok(cluster)
    }

    fn url(&self) -> String {
        format!("df://{}", self.scheduler.address)
    }

    fn join(&mut self) -> anyhow::Result<()> {
        self.started += 1;
        let mut executor = Command::new(&self.bytefacts);
        executor.args(["executor", "--scheduler", &self.scheduler.address, "--node", &format!("load-{}", self.started), "--cores", "1"]);
        executor.args(["--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--format", "json"]);
        executor.env("BYTEFACTS_CACHE__ENABLED", "false").env("BYTEFACTS_EXECUTOR__WORK_DIR", self.home.join("work"));
        self.executors.push(Daemon::start(&mut executor)?);
        Ok(())
    }
}

/// Kills an executor again and again, each time once another one is there; how many.
async fn kill_until(end: Instant, cluster: Arc<tokio::sync::Mutex<Cluster>>) -> anyhow::Result<usize> {
    let mut kills = 0;
    while Instant::now() + KILL < end {
        tokio::time::sleep(KILL).await;
        let mut cluster = cluster.lock().await;
        // Dropping it kills it without a word.
        drop(cluster.executors.remove(0));
        kills += 1;
        cluster.join()?;
    }
    Ok(kills)
}

/// Seconds of an extraction of a corpus on a cluster.
async fn extract(bytefacts: &Path, corpus: &Path, out: &Path, url: &str, run: &str) -> anyhow::Result<f64> {
    let mut extract = tokio::process::Command::new(bytefacts);
    extract.arg("extract").arg(corpus).args(["--repo", "stdlib", "--exclude", "site-packages", "--progress", "never", "--run-id", run]);
    extract.args(["--cluster", url, "--no-cache", "--out"]).arg(out);
    let begun = Instant::now();
    let output = extract.kill_on_drop(true).output().await?;
    // What does not compile is a finding, not a failure.
    if !matches!(output.status.code(), Some(0 | 3)) {
        bail!("{}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned());
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn client(address: &str, execution: &'static str) -> anyhow::Result<FlightSqlServiceClient<Channel>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = FlightSqlServiceClient::new(channel);
    client.set_header("bytefacts.execution", execution);
    Ok(client)
}

/// The cookbook, with the answers at rest.
async fn questions(address: &str) -> anyhow::Result<Vec<Question>> {
    let cookbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cookbook");
    let mut files = std::fs::read_dir(&cookbook)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let mut client = client(address, "local").await?;
    let mut questions = Vec::new();
    for file in files {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let sql = std::fs::read_to_string(&file)?;
        let answer = match ask(&mut client, &sql).await {
            Ok(answer) => answer,
            // Some compare two runs, and here is one.
            Err(error) => {
                say(format!("left out: {name}: {error}"))?;
                continue;
            }
        };
        questions.push(Question { name, sql, answer });
    }
    Ok(questions)
}

/// The rows of an answer as texts, sorted: what a question does not order may come in any order.
async fn ask(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> anyhow::Result<Vec<String>> {
    let info = client.execute(sql.to_owned(), None).await?;
    let mut rows = Vec::new();
    for endpoint in info.endpoint {
        let mut stream = client.do_get(endpoint.ticket.context("an endpoint without a ticket")?).await?;
        while let Some(batch) = stream.try_next().await? {
            let options = FormatOptions::new().with_null("NULL");
            let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("\t"));
            }
        }
    }
    rows.sort();
    Ok(rows)
}

/// Asks one question after the other, each client in an order of its own.
async fn ask_until(
    end: Instant,
    number: usize,
    address: String,
    questions: Arc<Vec<Question>>,
    met: Arc<Mutex<Met>>,
) -> anyhow::Result<()> {
    let execution = if number.is_multiple_of(2) { "local" } else { "cluster" };
    let mut client = client(&address, execution).await?;
    let mut turn = number * 7;
    while Instant::now() < end {
        let question = questions.get(turn % questions.len()).context("there is no question")?;
        turn += 1 + number % 3;
        let begun = Instant::now();
        let answer = tokio::time::timeout(HANGS, ask(&mut client, &question.sql)).await;
        let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(Ok(rows)) if rows == question.answer => met.seconds.entry(execution).or_default().push(begun.elapsed().as_secs_f64()),
            Ok(Ok(_)) => met.wrong.push(format!("{} ({execution})", question.name)),
            Ok(Err(error)) => *met.lost.entry(error.to_string()).or_default() += 1,
            Err(_) => met.hung += 1,
        }
    }
    Ok(())
}
