//! `bytefacts extract`: the main job, on an embedded cluster.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use bytefacts_cache::{Cache, CacheOptions};
use bytefacts_cluster::{Embedded, EmbeddedOptions, JobSettings, job_session};
use bytefacts_compile::{Environment, Interpreter, WorkerSettings, cache_dir, discover};
use bytefacts_corpus::Location;
use bytefacts_engine::node::{Node, NodeOptions, identity};
use bytefacts_engine::stores::Stores;
use bytefacts_engine::{Finished, Job, Progress, run_job};
use bytefacts_landing::{RunId, RunState, SystemClock};

use crate::args::{Extract, Format, JobArgs};
use crate::config::Settings;
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
    let interpreter = discover(settings.python.as_deref()).await?;
    let corpus = location(&args.corpus, "CORPUS")?;
    let facts = location(&args.out, "FACTS")?;
    let summary = extract(&settings, &args.job, interpreter, corpus, args.repo, facts).await?;
    match args.job.format {
        Format::Text => output.data(summary.text())?,
        Format::Json => output.data(serde_json::to_string_pretty(&summary)? + "\n")?,
    }
    Ok(summary.exit())
}

/// The location that the user gave as `what`.
pub fn location(text: &str, what: &str) -> anyhow::Result<Location> {
    Location::parse(text).map_err(|error| UsageError(format!("{what}: {error}")).into())
}

/// Extracts `corpus` into `facts`.
pub async fn extract(
    settings: &Settings,
    args: &JobArgs,
    interpreter: Interpreter,
    corpus: Location,
    repo: Option<String>,
    facts: Location,
) -> anyhow::Result<Summary> {
    let begun = Instant::now();
    check_corpus(&corpus)?;
    let run = match &args.run_id {
        Some(id) => RunId::new(id.as_str()).map_err(|error| UsageError(format!("--run-id: {error}")))?,
        None => RunId::generate(SystemTime::now(), fresh_number()),
    };
    let stores = Arc::new(Stores::default());
    let store = stores.open(facts.uri())?.facts();
    store.check_writable().with_context(|| format!("cannot write facts to {}", facts.uri()))?;
    match store.run_state(&run).await? {
        RunState::New | RunState::Open => {}
        RunState::Committed(_) => {
            return Err(UsageError(format!("run {run} has been committed to {} already: choose another --run-id", facts.uri())).into());
        }
        RunState::Abandoned => return Err(UsageError(format!("run {run} was given up and swept: choose another --run-id")).into()),
    }

    let job = Job {
        corpus: corpus.uri().to_owned(),
        repo,
        facts: facts.uri().to_owned(),
        run: run.to_string(),
        options: settings.extract.clone(),
        bins: settings.bin_options(),
        interpreter: identity(&interpreter),
    };
    let progress = Arc::new(Progress::default());
    let cores = settings.cores_per_executor();
    let options =
        NodeOptions { workers: cores, memory_budget_bytes: settings.extract.memory_budget_bytes, worker: WorkerSettings::default() };
    let cache = open_cache(settings);
    let nodes: Vec<_> = (0..settings.embedded.executors)
        .map(|_| Arc::new(Node::new(options.clone(), interpreter.clone(), Arc::clone(&stores), cache.clone(), Arc::clone(&progress))))
        .collect();

    let cluster = Embedded::start(&nodes, Arc::clone(&stores), EmbeddedOptions { cores_per_executor: cores }).await?;
    let bar = ProgressBar::start(args.progress, store, run.clone(), progress);
    let settings = JobSettings { max_partitions_per_task: settings.bins.per_task.unwrap_or(1), ..JobSettings::for_run(&job.run) };
    let result = async {
        let session = job_session(&cluster.url(), Arc::clone(&stores), &settings).await?;
        let finished = run_job(&session, &job, &stores, &SystemClock).await?;
        anyhow::Ok(finished)
    };
    let result = tokio::select! {
        result = result => result,
        signal = tokio::signal::ctrl_c() => {
            signal.context("cannot listen for Ctrl-C")?;
            Err(anyhow::anyhow!("interrupted; what is done is kept: `--run-id {run}` resumes this run"))
        }
    };
    bar.stop().await;
    for (number, node) in nodes.iter().enumerate() {
        let peaks = node.peaks().await;
        tracing::debug!(number, peaks.memory_bytes, peaks.parallel_bytes, "the most that an executor held at a time");
        node.shutdown().await;
    }
    cluster.stop().await;
    let Finished { committed, swept } = result?;
    if let Err(error) = swept {
        tracing::warn!(%error, "could not tidy up behind the run; the next run will");
    }
    let current = committed.current.run_id == committed.manifest.run.run_id;
    Ok(Summary::new(&committed.manifest, facts.uri(), current, !committed.newly, begun.elapsed(), cpu_time()?))
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

fn open_cache(settings: &Settings) -> Option<Arc<Cache>> {
    let cache = &settings.cache;
    if !cache.enabled {
        return None;
    }
    let folder = cache.folder.clone().or_else(|| cache_dir(&Environment::from_process()).map(|dir| dir.join("units")));
    Some(Arc::new(Cache::open(&CacheOptions { folder, memory_bytes: cache.memory_bytes, disk_bytes: cache.disk_bytes })))
}

/// A number that tells apart two runs of the same second.
fn fresh_number() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    (random >> 32) as u32
}

/// CPU time of this process and of the compile workers that have ended.
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
