//! `bytefacts extract`: the main job, on the embedded cluster or on another one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, bail};
use bytefacts_cache::{Cache, CacheOptions, SharedPlace};
use bytefacts_cluster::{Client, Embedded, EmbeddedOptions, JobSettings};
use bytefacts_compile::{Environment, Interpreter, WorkerSettings, cache_dir, discover};
use bytefacts_corpus::Location;
use bytefacts_engine::node::{Node, NodeOptions, identity};
use bytefacts_engine::stores::Stores;
use bytefacts_engine::{Finished, Job, Patience, Progress, run_job};
use bytefacts_landing::{Created, FactsStore, RunId, RunState, SystemClock};
use tokio::time::timeout;

use crate::args::{Extract, Format, JobArgs, ProgressMode};
use crate::config::Settings;
use crate::daemon::{fresh_number, termination};
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::progress::ProgressBar;
use crate::summary::Summary;

/// Runs the command.
///
/// # Errors
/// When the job did not end in a committed run.
pub async fn run(args: Extract, output: &mut Output) -> anyhow::Result<Exit> {
    let mut settings = Settings::load(&args.job)?;
    settings.extract.exclude.extend(args.exclude);
    if args.cluster.is_some() {
        settings.client.cluster = args.cluster;
    }
    settings.client.detach |= args.detach;
    if args.detach && settings.client.cluster.is_none() {
        return Err(UsageError(
            "--detach leaves the job to a cluster: name one by --cluster; the embedded one ends with this process".to_owned(),
        )
        .into());
    }
    let facts = location(&args.out, "--out")?;
    let summary = match (args.resume, args.corpus) {
        (Some(run), _) => resume(&settings, &args.job, &run, facts).await?,
        (None, Some(corpus)) => {
            let corpus = location(&corpus, "CORPUS")?;
            extract(&settings, &args.job, interpreter(&settings).await?, corpus, args.repo, facts).await?
        }
        (None, None) => return Err(UsageError("CORPUS is missing".to_owned()).into()),
    };
    match args.job.format {
        Format::Text => output.data(summary.text())?,
        Format::Json => output.data(serde_json::to_string_pretty(&summary)? + "\n")?,
    }
    Ok(summary.exit())
}

/// The interpreter of this machine. A job for a cluster needs none here: without one that is named, the executors' own decides.
async fn interpreter(settings: &Settings) -> anyhow::Result<Option<Interpreter>> {
    if settings.client.cluster.is_some() && settings.python.is_none() {
        return Ok(None);
    }
    Ok(Some(discover(settings.python.as_deref()).await?))
}

/// The location that the user gave as `what`.
pub fn location(text: &str, what: &str) -> anyhow::Result<Location> {
    Location::parse(text).map_err(|error| UsageError(format!("{what}: {error}")).into())
}

/// Extracts `corpus` into `facts`.
pub async fn extract(
    settings: &Settings,
    args: &JobArgs,
    interpreter: Option<Interpreter>,
    corpus: Location,
    repo: Option<String>,
    facts: Location,
) -> anyhow::Result<Summary> {
    // What a cluster sees under a path may not be here.
    if settings.client.cluster.is_none() {
        check_corpus(&corpus)?;
    }
    let run = match &args.run_id {
        Some(id) => RunId::new(id.as_str()).map_err(|error| UsageError(format!("--run-id: {error}")))?,
        None => RunId::generate(SystemTime::now(), fresh_number()),
    };
    let job = Job {
        corpus: corpus.uri().to_owned(),
        repo,
        facts: facts.uri().to_owned(),
        run: run.to_string(),
        options: settings.extract.clone(),
        bins: settings.bin_options(),
        interpreter: interpreter.as_ref().map(identity),
    };
    let work = Work::open(settings, args, run, facts)?;
    work.check_new().await?;
    work.record(&job).await?;
    work.run(&job, interpreter).await
}

/// Goes on with a run as it was asked for.
async fn resume(settings: &Settings, args: &JobArgs, run: &str, facts: Location) -> anyhow::Result<Summary> {
    let run = RunId::new(run).map_err(|error| UsageError(format!("--resume: {error}")))?;
    let work = Work::open(settings, args, run, facts)?;
    work.check_new().await?;
    let Some(recorded) = work.store.job(&work.run).await? else {
        return Err(UsageError(format!("no run {} was begun at {}", work.run, work.facts.uri())).into());
    };
    let mut job: Job = serde_json::from_slice(&recorded).with_context(|| format!("run {} was begun by another version", work.run))?;
    // A folder of facts may have been moved, or be known by another name here.
    job.facts = work.facts.uri().to_owned();
    work.run(&job, interpreter(settings).await?).await
}

/// A run to be done, and where.
struct Work<'a> {
    settings: &'a Settings,
    progress: ProgressMode,
    run: RunId,
    facts: Location,
    stores: Arc<Stores>,
    store: FactsStore,
    begun: Instant,
    /// CPU time until it was begun.
    cpu_before: Duration,
}

impl<'a> Work<'a> {
    fn open(settings: &'a Settings, args: &JobArgs, run: RunId, facts: Location) -> anyhow::Result<Self> {
        let stores = Arc::new(Stores::new(settings.stores));
        let store = stores.open(facts.uri())?.facts();
        store.check_writable().with_context(|| format!("cannot write facts to {}", facts.uri()))?;
        Ok(Self { settings, progress: args.progress, run, facts, stores, store, begun: Instant::now(), cpu_before: cpu_time()? })
    }

    /// Refuses a run that is over and done with.
    async fn check_new(&self) -> anyhow::Result<()> {
        let (run, facts) = (&self.run, self.facts.uri());
        match self.store.run_state(run).await? {
            RunState::New | RunState::Open => Ok(()),
            RunState::Committed(manifest) => {
                // A client that died between the commit and the move of `current` has left that to do.
                let current = self.store.current().await?;
                if current.is_none_or(|current| current.order() < (manifest.run.sequence, run)) {
                    return Ok(());
                }
                Err(UsageError(format!("run {run} has been committed to {facts} already: choose another --run-id")).into())
            }
            RunState::Abandoned => Err(UsageError(format!("run {run} was given up and swept: choose another --run-id")).into()),
        }
    }

    /// Writes down what the run is to do, or makes sure that it was begun as the same.
    async fn record(&self, job: &Job) -> anyhow::Result<()> {
        let document = serde_json::to_vec_pretty(job)?;
        let Created::Existing(first) = self.store.create_job(&self.run, document.into()).await? else { return Ok(()) };
        let first: Job = serde_json::from_slice(&first).with_context(|| format!("run {} was begun by another version", self.run))?;
        let mut other = Vec::new();
        for (what, same) in [
            ("corpus", first.corpus == job.corpus),
            ("repository", first.repo == job.repo),
            ("extract options", first.options == job.options),
            ("interpreter", first.interpreter == job.interpreter || first.interpreter.is_none() || job.interpreter.is_none()),
        ] {
            if !same {
                other.push(what);
            }
        }
        if other.is_empty() {
            return Ok(());
        }
        let run = &self.run;
        let other = other.join(", ");
        Err(UsageError(format!("run {run} was begun with another {other}: go on with it by --resume {run}, or choose another --run-id"))
            .into())
    }

    async fn run(&self, job: &Job, interpreter: Option<Interpreter>) -> anyhow::Result<Summary> {
        let (finished, cpu) = match (&self.settings.client.cluster, interpreter) {
            (Some(url), _) => (self.on_cluster(url, job).await?, None),
            (None, Some(interpreter)) => {
                let finished = self.embedded(job, interpreter).await?;
                (finished, Some(cpu_time()?.saturating_sub(self.cpu_before)))
            }
            (None, None) => bail!("no interpreter was looked for"),
        };
        let Finished { committed, swept } = finished;
        if let Err(error) = swept {
            tracing::warn!(%error, "could not tidy up behind the run; the next run will");
        }
        let current = committed.current.run_id == committed.manifest.run.run_id;
        Ok(Summary::new(&committed.manifest, self.facts.uri(), current, !committed.newly, self.begun.elapsed(), cpu))
    }

    async fn embedded(&self, job: &Job, interpreter: Interpreter) -> anyhow::Result<Finished> {
        let (settings, progress) = (self.settings, Arc::new(Progress::default()));
        let cores = settings.cores_per_executor();
        let options =
            NodeOptions { workers: cores, memory_budget_bytes: settings.extract.memory_budget_bytes, worker: WorkerSettings::default() };
        let cache = open_cache(settings, &self.stores)?;
        let nodes: Vec<_> = (0..settings.embedded.executors)
            .map(|_| {
                let (stores, progress) = (Arc::clone(&self.stores), Arc::clone(&progress));
                Arc::new(Node::new(options.clone(), interpreter.clone(), stores, cache.clone(), progress))
            })
            .collect();
        let cluster = Embedded::start(&nodes, Arc::clone(&self.stores), EmbeddedOptions { cores_per_executor: cores }).await?;
        let client = Client::new(cluster.url(), Arc::clone(&self.stores), self.job_settings(job));
        let result = self.follow(&client, job, Patience::embedded(), progress, false).await;
        for (number, node) in nodes.iter().enumerate() {
            let peaks = node.peaks().await;
            tracing::debug!(number, peaks.memory_bytes, peaks.parallel_bytes, "the most that an executor held at a time");
            node.shutdown().await;
        }
        cluster.stop().await;
        result
    }

    async fn on_cluster(&self, url: &str, job: &Job) -> anyhow::Result<Finished> {
        let url = scheduler_url(url)?;
        let own = &self.settings.client;
        let patience = Patience {
            stall: Duration::from_secs(own.stall_seconds.max(1)),
            unreachable: Duration::from_secs(own.unreachable_seconds.max(1)),
            fruitless: own.fruitless.max(1),
            ..Patience::default()
        };
        let client = Client::new(url, Arc::clone(&self.stores), self.job_settings(job));
        self.follow(&client, job, patience, Arc::new(Progress::default()), true).await
    }

    fn job_settings(&self, job: &Job) -> JobSettings {
        JobSettings { max_partitions_per_task: self.settings.bins.per_task.unwrap_or(1), ..JobSettings::for_run(&job.run) }
    }

    /// Runs the job under a progress bar, until it ends or the user ends it. Where executors are not of this process, `remote`, progress is
    /// read off the records.
    async fn follow(
        &self,
        client: &Client,
        job: &Job,
        patience: Patience,
        progress: Arc<Progress>,
        remote: bool,
    ) -> anyhow::Result<Finished> {
        let told_to_end = termination()?;
        let bar = ProgressBar::start(self.progress, self.store.clone(), self.run.clone(), Arc::clone(&progress));
        let result = tokio::select! {
            result = run_job(client, job, &self.stores, &SystemClock, patience, remote.then_some(&*progress)) => result.map_err(Into::into),
            signal = told_to_end => Err(self.leave(client, signal, remote).await),
        };
        bar.stop().await;
        result
    }
}

impl Work<'_> {
    /// Ends the job with its client, unless the user wants to leave it to the cluster; what there is to say of it.
    async fn leave(&self, client: &Client, signal: &str, remote: bool) -> anyhow::Error {
        let cluster = self.settings.client.cluster.as_ref().filter(|_| remote);
        let on = cluster.map(|url| format!(" --cluster {url}")).unwrap_or_default();
        let resume = format!("`bytefacts extract --resume {} --out {}{on}`", self.run, self.facts.uri());
        if let Some(url) = cluster.filter(|_| self.settings.client.detach) {
            let run = &self.run;
            return anyhow!(
                "{signal}: the cluster goes on with run {run}, `bytefacts status --cluster {url}` shows how far it is; {resume} commits it"
            );
        }
        let run = &self.run;
        // Whoever ends a process does not wait long for it.
        match (timeout(Duration::from_secs(3), client.end_job()).await, cluster) {
            (Ok(Ok(())), _) | (_, None) => anyhow!("{signal}: run {run} was interrupted; what is done is kept: {resume} goes on"),
            (_, Some(url)) => anyhow!(
                "{signal}: the scheduler does not answer, and run {run} may go on: `bytefacts cancel {run} --cluster {url}` ends it, {resume} goes on with it"
            ),
        }
    }
}

/// The URL of a scheduler as the client wants it.
pub fn scheduler_url(url: &str) -> anyhow::Result<String> {
    let authority = url.strip_prefix("df://").unwrap_or(url);
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(_) if !authority.contains('/') => Ok(format!("df://{authority}")),
        _ => Err(UsageError(format!("--cluster: df://HOST:PORT is needed, this is {url:?}")).into()),
    }
}

/// Fails early, and in the user's words, on what the scheduler would only find out later.
fn check_corpus(corpus: &Location) -> anyhow::Result<()> {
    let Some(folder) = corpus.local_path() else { return Ok(()) };
    match std::fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => bail!("the corpus {} is not a folder", folder.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("the corpus {} does not exist", folder.display()),
        Err(error) => Err(error).with_context(|| format!("cannot read the corpus {}", folder.display())),
    }
}

/// The cache as the settings want it.
///
/// # Errors
/// When the shared tier's store cannot be opened. Whether it answers shows later, and is no error.
pub fn open_cache(settings: &Settings, stores: &Stores) -> anyhow::Result<Option<Arc<Cache>>> {
    let cache = &settings.cache;
    if !cache.enabled {
        return Ok(None);
    }
    let folder = cache.folder.clone().or_else(|| cache_dir(&Environment::from_process()).map(|dir| dir.join("units")));
    let options = CacheOptions { folder, memory_bytes: cache.memory_bytes, disk_bytes: cache.disk_bytes };
    Ok(Some(Arc::new(match settings.shared_cache()? {
        Some(location) => {
            let place = stores.open(location.uri())?;
            Cache::open_shared(&options, SharedPlace { store: place.store, path: place.path })
        }
        None => Cache::open(&options),
    })))
}

/// CPU time of this process and of its children that have ended. These may be children of what this process was before: `cargo run` becomes
/// the program that it has built, by `exec`, and leaves it the time of all its compilers.
fn cpu_time() -> anyhow::Result<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;
    let mut total = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who).context("cannot read the CPU time")?;
        for time in [usage.user_time(), usage.system_time()] {
            total += Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0));
        }
    }
    Ok(total)
}
