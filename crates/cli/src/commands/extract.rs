//! `bytefacts extract`: the main job, on the embedded cluster or on another one.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, bail};
use bytefacts_cache::{Cache, CacheOptions, Secret, SharedPlace};
use bytefacts_cluster::{Client, Embedded, EmbeddedOptions, JobSettings};
use bytefacts_compile::{Environment, Interpreter, WorkerSettings, cache_dir, discover};
use bytefacts_corpus::Location;
use bytefacts_engine::{
    Finished, InterpreterId, Job, NOTE_EVERY, Node, NodeOptions, Patience, Progress, SingleRepository, run_job, single_repository,
};
use bytefacts_landing::{Committed, Created, FactsStore, RunHeader, RunId, RunState, SystemClock, Tolerance};
use bytefacts_stores::Stores;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::address::scheduler_url;
use crate::args::{Extract, Format, JobArgs, ProgressMode};
use crate::commands::trial;
use crate::config::Settings;
use crate::daemon::fresh_number;
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::place::{location, shown};
use crate::progress::ProgressBar;
use crate::signals::Signals;
use crate::summary::Summary;

/// Runs the command.
///
/// # Errors
/// When the job did not end in a committed run.
pub async fn run(args: Extract, output: &mut Output) -> anyhow::Result<Exit> {
    let settings = Settings::load(&args)?;
    if args.detach && settings.client.cluster.is_none() {
        return Err(UsageError(
            "--detach leaves the job to a cluster: name one by --cluster; the embedded one ends with this process".to_owned(),
        )
        .into());
    }
    check_options(&args.job, &settings)?;
    let facts = location(&args.out, "--out")?;
    let summary = match (args.resume, args.corpus) {
        (Some(run), _) => resume(&settings, &args.job, &run, facts, output).await?,
        (None, Some(corpus)) => {
            let corpus = location(&corpus, "CORPUS")?;
            check_apart(&corpus, &facts)?;
            // What a cluster sees under a path may not be here.
            if settings.client.cluster.is_none() {
                check_corpus(&corpus)?;
            }
            let repo = match args.repo {
                None if !args.tree => recognised_repository(&settings, &corpus, output).await,
                repo => repo,
            };
            let wanted = Wanted { corpus, repo, facts, another_corpus: args.another_corpus };
            extract(&settings, &args.job, interpreter(&settings).await?, wanted, output).await?
        }
        (None, None) => return Err(UsageError("CORPUS is missing".to_owned()).into()),
    };
    match args.job.format {
        Format::Text => output.data(summary.text())?,
        Format::Json => output.data(serde_json::to_string_pretty(&summary)? + "\n")?,
    }
    Ok(summary.exit(args.job.fail_on))
}

/// The name of the single repository that `corpus` looks like, if it does.
pub async fn recognised_repository(settings: &Settings, corpus: &Location, output: &Output) -> Option<String> {
    match single_repository(corpus, &Stores::new(settings.stores)).await {
        Ok(found) => {
            let SingleRepository { name, marker } = found?;
            output
                .note(format!("{marker} is in the corpus: it is one repository, {name}; --tree takes its folders as repositories instead"));
            Some(name)
        }
        // The scheduler may see what this machine does not, and says so if not.
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::info!("whether the corpus is one repository is unknown, its folders are taken as repositories: {error:#}");
            None
        }
    }
}

/// Refuses facts inside the corpus: they would be part of what they are made from.
pub fn check_apart(corpus: &Location, facts: &Location) -> anyhow::Result<()> {
    let (Some(corpus), Some(facts)) = (corpus.local_path(), facts.local_path()) else { return Ok(()) };
    // What is not there yet is where its parent really is.
    let real = facts.ancestors().find_map(|parent| Some(parent.canonicalize().ok()?.join(facts.strip_prefix(parent).ok()?)));
    let inside = |facts: &Path, corpus: &Path| facts.starts_with(corpus);
    if inside(facts, corpus) || corpus.canonicalize().ok().zip(real).is_some_and(|(corpus, facts)| inside(&facts, &corpus)) {
        let (facts, corpus) = (facts.display(), corpus.display());
        return Err(UsageError(format!("--out: {facts} lies inside the corpus {corpus}: choose a place outside")).into());
    }
    Ok(())
}

/// Refuses options of the embedded cluster for a job that another one does: what is ignored without a word is taken for granted.
fn check_options(args: &JobArgs, settings: &Settings) -> Result<(), UsageError> {
    if settings.client.cluster.is_none() {
        return Ok(());
    }
    for (given, option, instead) in [
        (args.jobs.is_some(), "--jobs", "each executor is told its cores by `bytefacts executor --cores`"),
        (args.executors.is_some(), "--executors", "a cluster has those that were started by `bytefacts executor`"),
        (args.python.is_some(), "--python", "each executor has its own interpreter, by `bytefacts executor --python`"),
        (args.shared_cache.is_some(), "--shared-cache", "each executor is told by `bytefacts executor --shared-cache`"),
        (
            args.options.memory_budget_bytes.is_some(),
            "--memory-budget-bytes",
            "each executor has its own setting executor.memory_budget_bytes",
        ),
    ] {
        if given {
            return Err(UsageError(format!("{option} is of the embedded cluster and does nothing on another one: {instead}")));
        }
    }
    Ok(())
}

/// The interpreter of this machine. A job for a cluster needs none here: its executors' own decides.
async fn interpreter(settings: &Settings) -> anyhow::Result<Option<Interpreter>> {
    if settings.client.cluster.is_some() {
        return Ok(None);
    }
    Ok(Some(discover(settings.python.as_deref()).await?))
}

/// What is to be extracted, and where to.
pub struct Wanted {
    /// The corpus.
    pub corpus: Location,
    /// The name of the only repository that it is, if it is one.
    pub repo: Option<String>,
    /// Where the facts go.
    pub facts: Location,
    /// Whether it may take the place of another corpus there.
    pub another_corpus: bool,
}

/// Extracts a corpus.
///
/// # Errors
/// When the job did not end in a committed run.
pub async fn extract(
    settings: &Settings,
    args: &JobArgs,
    interpreter: Option<Interpreter>,
    wanted: Wanted,
    output: &Output,
) -> anyhow::Result<Summary> {
    let Wanted { corpus, repo, facts, another_corpus } = wanted;
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
        interpreter: interpreter.as_ref().map(InterpreterId::of),
        use_cache: settings.cache.enabled,
    };
    let work = Work::open(settings, args, run, facts)?;
    if let Some(committed) = work.committed().await? {
        work.check_same_request(&committed.document.run, &job)?;
        return Ok(work.found(&committed, output));
    }
    check_reachable(settings).await?;
    if !another_corpus {
        work.check_same_corpus(&job).await?;
    }
    work.record(&job).await?;
    output.note(format!("run {}: {} into {}", work.run, shown(&corpus), shown(&work.facts)));
    work.run(&job, interpreter).await
}

/// Goes on with a run as it was asked for.
///
/// # Errors
/// When it was never asked for, or did not end in a committed run.
pub async fn resume(settings: &Settings, args: &JobArgs, run: &str, facts: Location, output: &Output) -> anyhow::Result<Summary> {
    let run = RunId::new(run).map_err(|error| UsageError(format!("--resume: {error}")))?;
    let work = Work::open(settings, args, run, facts)?;
    if let Some(committed) = work.committed().await? {
        return Ok(work.found(&committed, output));
    }
    check_reachable(settings).await?;
    let Some(recorded) = work.store.job(&work.run).await.with_context(|| work.unusable())? else {
        return Err(UsageError(format!("no run {} was begun at {}", work.run, work.facts.uri())).into());
    };
    let mut job: Job = serde_json::from_slice(&recorded).with_context(|| format!("run {} was begun by another version", work.run))?;
    // A folder of facts may have been moved, or be known by another name here.
    job.facts = work.facts.uri().to_owned();
    // Where units come from is nothing that rows depend on.
    job.use_cache = settings.cache.enabled;
    output.note(format!("run {}: {} into {}", work.run, job.corpus, shown(&work.facts)));
    work.run(&job, interpreter(settings).await?).await
}

/// Makes sure that somebody listens where the scheduler should be, if there should be one.
///
/// # Errors
/// When nobody does.
pub async fn check_reachable(settings: &Settings) -> anyhow::Result<()> {
    let Some(url) = &settings.client.cluster else { return Ok(()) };
    let url = scheduler_url(url)?;
    let authority = url.strip_prefix("df://").unwrap_or(&url);
    let begun = Instant::now();
    loop {
        let reason = match timeout(KNOCK, TcpStream::connect(authority)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        // One that was started together with this client is given a moment.
        if begun.elapsed() >= KNOCK {
            bail!("no scheduler answers at {authority}: {reason}; is it running, and is the address right?");
        }
        sleep(KNOCK / 6).await;
    }
}

/// How long a client holds on to what it has given to a cluster.
pub fn patience(settings: &Settings) -> Patience {
    let own = &settings.client;
    let patience = Patience {
        stall: Duration::from_secs(own.stall_seconds.max(1)),
        unreachable: Duration::from_secs(own.unreachable_seconds.max(1)),
        fruitless: own.fruitless.max(1),
        ..Patience::default()
    };
    if patience.stall <= NOTE_EVERY {
        tracing::warn!(
            "client.stall_seconds is {}, but executors at slow files give a sign of life each {} s: such files may be taken for a job that stands still",
            own.stall_seconds,
            NOTE_EVERY.as_secs()
        );
    }
    patience
}

/// Says so when the cluster has no executor, since its work then waits without a sign, and when it has some again.
pub async fn tell_of_executors(client: &Client, settings: &Settings, work: &str) -> Infallible {
    let mut missing = false;
    loop {
        sleep(LOOK_FOR_EXECUTORS).await;
        // That a scheduler does not answer is said elsewhere.
        let Ok(executors) = client.executors().await else { continue };
        match (missing, executors) {
            (false, 0) => {
                let scheduler = settings.client.cluster.as_deref().unwrap_or_default();
                tracing::warn!(
                    "the cluster has no executor: {work} waits for one, as `bytefacts executor --scheduler {}` starts it",
                    scheduler.strip_prefix("df://").unwrap_or(scheduler)
                );
            }
            (true, 1..) => tracing::warn!(executors, "the cluster has executors again"),
            _ => {}
        }
        missing = executors == 0;
    }
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
    signals: Signals,
}

impl<'a> Work<'a> {
    fn open(settings: &'a Settings, args: &JobArgs, run: RunId, facts: Location) -> anyhow::Result<Self> {
        let stores = Arc::new(Stores::new(settings.stores));
        let store = stores.open(facts.uri())?.facts();
        store.check_writable().with_context(|| format!("cannot write facts to {}", facts.uri()))?;
        Ok(Self {
            settings,
            progress: args.progress,
            run,
            facts,
            stores,
            store,
            begun: Instant::now(),
            cpu_before: cpu_time()?,
            signals: Signals::listen()?,
        })
    }

    /// What to say before the error of a store.
    fn unusable(&self) -> String {
        format!("cannot use the facts at {}", shown(&self.facts))
    }

    /// The run as it was committed, if nothing of it is left to do.
    async fn committed(&self) -> anyhow::Result<Option<Committed>> {
        let run = &self.run;
        match self.store.run_state(run).await.with_context(|| self.unusable())? {
            RunState::New | RunState::Open => Ok(None),
            RunState::Committed(document) => {
                let current = self.store.current().await.with_context(|| self.unusable())?;
                // A client that died between the commit and the move of `current` has left that to do.
                let is_done = current.as_ref().is_some_and(|current| current.order() >= (document.run.sequence, run));
                Ok(is_done.then(|| Committed { document: *document, newly: false, current, held_back: None }))
            }
            RunState::Abandoned => Err(UsageError(format!("run {run} was given up or let go: choose another --run-id")).into()),
        }
    }

    /// Sums up a run that was committed before: who asks once more for what is there, such as the second pod of a Job whose first one died
    /// after the commit, gets the same answer, and the same exit code.
    fn found(&self, committed: &Committed, output: &Output) -> Summary {
        output.note(format!("run {} has been committed to {} already: nothing is left to do", self.run, shown(&self.facts)));
        Summary::new(committed, repo_of(&committed.document.run), self.facts.uri(), self.begun.elapsed(), None)
    }

    /// Refuses a run that was committed as another one than is asked for: it would be taken for what it is not. How work was dealt out, and by
    /// which interpreter, is none of the question: the run tells.
    fn check_same_request(&self, committed: &RunHeader, job: &Job) -> anyhow::Result<()> {
        let mut other = Vec::new();
        if committed.corpus != job.corpus {
            other.push("corpus".to_owned());
        }
        if repo_of(committed) != job.repo.as_deref() {
            other.push("repository".to_owned());
        }
        let asked = serde_json::to_value(&job.options)?;
        // (An option that its version did not have cannot have been another.)
        let differs = |key: &str, value: &serde_json::Value| committed.options.get(key).is_some_and(|was| was != value);
        other.extend(asked.as_object().into_iter().flatten().filter(|(key, value)| differs(key, value)).map(|(key, _)| key.clone()));
        if other.is_empty() {
            return Ok(());
        }
        let (run, facts, other) = (&self.run, self.facts.uri(), other.join(", "));
        Err(UsageError(format!("run {run} has been committed to {facts} already, with another {other}: choose another --run-id")).into())
    }

    /// Refuses a corpus that is not the one of the current run: whoever reads the facts would find another corpus in its place.
    async fn check_same_corpus(&self, job: &Job) -> anyhow::Result<()> {
        let Some(current) = self.store.current().await.with_context(|| self.unusable())? else { return Ok(()) };
        let RunState::Committed(document) = self.store.run_state(&current.run_id).await.with_context(|| self.unusable())? else {
            return Ok(());
        };
        let described = |uri: &str, repo: Option<&str>| match repo {
            Some(repo) => format!("{uri} as the repository {repo}"),
            None => uri.to_owned(),
        };
        let there = described(&document.run.corpus, repo_of(&document.run));
        let here = described(&job.corpus, job.repo.as_deref());
        if there == here {
            return Ok(());
        }
        Err(UsageError(format!(
            "the facts at {} are of {there} (run {}), not of {here}: choose another --out, or say by --another-corpus that this one takes its place",
            shown(&self.facts),
            current.run_id
        ))
        .into())
    }

    /// Writes down what the run is to do, or makes sure that it was begun as the same.
    async fn record(&self, job: &Job) -> anyhow::Result<()> {
        let document = serde_json::to_vec_pretty(job)?;
        let Created::Existing(first) = self.store.create_job(&self.run, document.into()).await.with_context(|| self.unusable())? else {
            return Ok(());
        };
        let first: Job = serde_json::from_slice(&first).with_context(|| format!("run {} was begun by another version", self.run))?;
        let mut other = Vec::new();
        for (what, same) in [
            ("corpus", first.corpus == job.corpus),
            ("repository", first.repo == job.repo),
            ("extract options", first.options == job.options),
            ("dealing of bins", first.bins == job.bins),
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
            tracing::warn!(%error, "could not tidy up behind the run; `bytefacts gc` will");
        }
        Ok(Summary::new(&committed, job.repo.as_deref(), self.facts.uri(), self.begun.elapsed(), cpu))
    }

    async fn embedded(&self, job: &Job, interpreter: Interpreter) -> anyhow::Result<Finished> {
        let (settings, progress) = (self.settings, Arc::new(Progress::default()));
        let cores = settings.cores_per_executor();
        let options =
            NodeOptions { workers: cores, memory_budget_bytes: settings.extract.memory_budget_bytes, worker: WorkerSettings::default() };
        let cache = open_cache(settings, &self.stores)?;
        let trial = trial::command()?;
        let nodes: Vec<_> = (0..settings.embedded.executors)
            .map(|_| {
                let (stores, progress) = (Arc::clone(&self.stores), Arc::clone(&progress));
                Arc::new(Node::new(options.clone(), interpreter.clone(), stores, cache.clone(), progress).with_trials(trial.clone()))
            })
            .collect();
        let cluster = Embedded::start(&nodes, Arc::clone(&self.stores), EmbeddedOptions { cores_per_executor: cores }).await?;
        let client = Client::new(cluster.url(), Arc::clone(&self.stores), self.job_settings(job));
        let patience = Patience { stall: Duration::from_secs(self.settings.client.stall_seconds.max(1)), ..Patience::embedded() };
        let result = self.follow(&client, job, patience, progress, false).await;
        let in_order = async {
            for (number, node) in nodes.iter().enumerate() {
                let peaks = node.peaks().await;
                tracing::debug!(number, peaks.memory_bytes, peaks.parallel_bytes, "the most that an executor held at a time");
                node.shutdown().await;
            }
            cluster.stop().await;
        };
        // Too short for that, and the end of the process does the rest.
        let _: Option<()> = self.signals.bounded(in_order).await;
        result
    }

    async fn on_cluster(&self, url: &str, job: &Job) -> anyhow::Result<Finished> {
        let url = scheduler_url(url)?;
        let patience = patience(self.settings);
        let client = Client::new(url, Arc::clone(&self.stores), self.job_settings(job)).with_tls(self.settings.cluster_tls.client()?);
        self.follow(&client, job, patience, Arc::new(Progress::default()), true).await
    }

    fn job_settings(&self, job: &Job) -> JobSettings {
        JobSettings {
            max_partitions_per_task: self.settings.bins.per_task.unwrap_or(1),
            ends_with_client: !self.settings.client.detach,
            ..JobSettings::for_run(&job.run)
        }
    }

    /// What the user may type to have the run go on.
    fn resume_command(&self) -> String {
        let cluster = self.settings.client.cluster.as_ref().map(|url| format!(" --cluster {url}")).unwrap_or_default();
        format!("bytefacts extract --resume {} --out {}{cluster}", self.run, shown(&self.facts))
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
        let of_client = &self.settings.client;
        let tolerance = Tolerance { unread: of_client.max_unread_share, gone: of_client.max_gone_share };
        let bar = ProgressBar::start(self.progress, self.store.clone(), self.run.clone(), Arc::clone(&progress));
        let work = format!("run {}", self.run);
        let result = tokio::select! {
            result = run_job(client, job, &self.stores, &SystemClock, patience, tolerance, remote.then_some(&*progress)) => {
                result.map_err(Into::into)
            }
            never = tell_of_executors(client, self.settings, &work), if remote => match never {},
            signal = self.signals.first() => Err(self.leave(client, signal, remote).await),
        };
        bar.stop().await;
        result
    }

    /// Ends the job with its client, unless the user wants to leave it to the cluster; what there is to say of it.
    async fn leave(&self, client: &Client, signal: &str, remote: bool) -> anyhow::Error {
        let cluster = self.settings.client.cluster.as_ref().filter(|_| remote);
        let (run, resume) = (&self.run, self.resume_command());
        if let Some(url) = cluster.filter(|_| self.settings.client.detach) {
            return anyhow!(
                "{signal}: the cluster goes on with run {run}, `bytefacts status --cluster {url}` shows how far it is; `{resume}` commits it"
            );
        }
        // Whoever ends a process does not wait long for it.
        match (self.signals.bounded(client.end_job()).await, cluster) {
            (Some(Ok(())), _) | (_, None) => anyhow!("ended by {signal}; what is done is kept: `{resume}` goes on"),
            (_, Some(url)) => anyhow!(
                "ended by {signal}; the scheduler does not answer, and run {run} may go on: `bytefacts cancel {run} --cluster {url}` ends it, \
                 `{resume}` goes on with it"
            ),
        }
    }
}

/// The name of the only repository that a committed run is of, if it is of one.
fn repo_of(run: &RunHeader) -> Option<&str> {
    run.options.get("repo").and_then(serde_json::Value::as_str)
}

/// How often it is seen whether the cluster has executors.
const LOOK_FOR_EXECUTORS: Duration = Duration::from_secs(3);

/// How long a scheduler may take to answer the first knock at its door.
const KNOCK: Duration = Duration::from_secs(3);

/// Fails early, and in the user's words, on what the scheduler would only find out later.
pub fn check_corpus(corpus: &Location) -> anyhow::Result<()> {
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
/// When the shared tier's store cannot be opened, or its secret not be read. Whether the store answers shows later, and is no error.
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
            if cache.shared_secret.is_none() {
                tracing::warn!(
                    "the shared cache is not sealed (cache.shared_secret): whoever may write there decides what is taken for compiled code"
                );
            }
            Cache::open_shared(
                &options,
                SharedPlace { store: place.store, path: place.path, secret: secret(cache.shared_secret.as_deref())? },
            )
        }
        None => Cache::open(&options),
    })))
}

/// The secret that seals what is in the shared cache.
///
/// # Errors
/// When its file cannot be read, or holds no secret.
pub fn secret(file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    let Some(file) = file else { return Ok(None) };
    let content = std::fs::read(file).with_context(|| format!("cache.shared_secret: cannot read {}", file.display()))?;
    Ok(Some(Secret::new(&content).with_context(|| format!("cache.shared_secret: {} is no secret", file.display()))?))
}

/// CPU time of this process and of its children that have ended. These may be children of what this process was before: `cargo run` becomes
/// the program that it has built, by `exec`, and leaves it the time of all its compilers.
pub fn cpu_time() -> anyhow::Result<Duration> {
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
