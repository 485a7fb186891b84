//! What an audit is asked to do: how it is named by that, and how one that did not end is found again.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use bytefacts_audit::matrix::Condition;
use bytefacts_compile::{Environment, Interpreter, discover, probe};
use bytefacts_engine::InterpreterId;
use bytefacts_landing::{AuditAsked, RunId, RunState};
use sha2::{Digest as _, Sha256};

use crate::args::{Audit, FailOn, Format, JobArgs};
use crate::commands::extract::{self, Wanted};
use crate::config::Settings;
use crate::daemon::fresh_number;
use crate::exit::UsageError;
use crate::facts::Facts;
use crate::options::OptionArgs;
use crate::output::Output;
use crate::place::location;

/// Characters of a digest in a name.
const SHORT: usize = 8;

/// The interpreter of the run, and those that are compared with it.
pub(super) struct Interpreters {
    /// That of the run. None where a cluster derives, and this machine has no such one.
    pub(super) first: Option<Interpreter>,
    pub(super) others: Vec<Interpreter>,
    /// What the others are, wherever they lie.
    pub(super) named: Vec<String>,
}

impl Interpreters {
    /// Those that `--python` names; where executors derive, none need be here.
    ///
    /// # Errors
    /// When one is none.
    pub(super) async fn of(args: &Audit, on_cluster: bool) -> anyhow::Result<Self> {
        let first = match discover(args.python.first().map(PathBuf::as_path)).await {
            Err(error) if on_cluster && args.python.is_empty() => {
                tracing::info!(%error, "this machine has no interpreter: the cluster's have");
                None
            }
            first => Some(first?),
        };
        let environment = Environment::from_process();
        let (mut others, mut named) = (Vec::new(), Vec::new());
        for path in args.python.iter().skip(1) {
            let other = probe(&environment, path).await.with_context(|| format!("--python {} does not fit", path.display()))?;
            named.push(build(&other).await?);
            others.push(other);
        }
        Ok(Self { first, others, named })
    }
}

/// A build by its version and its binary: two of one version are told apart, and a path, which is of one machine, enters no result.
async fn build(interpreter: &Interpreter) -> anyhow::Result<String> {
    let path = &interpreter.executable;
    let binary = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{} (build {})", interpreter.version, short(&Sha256::digest(binary))))
}

pub(super) fn short(digest: &[u8]) -> String {
    hex::encode(digest).chars().take(SHORT).collect()
}

/// The night that is asked for: days since 1970 unless the user says another.
pub(super) fn night(args: &Audit) -> u64 {
    args.night.unwrap_or_else(|| u64::try_from(today()).unwrap_or(0))
}

/// Days since 1970, UTC.
pub(super) fn today() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_secs() / 86_400).unwrap_or(i64::MAX))
}

/// What a run is extracted with, if the audit does that.
pub(super) struct Extraction {
    job: JobArgs,
    settings: Settings,
    repo: Option<String>,
}

impl Extraction {
    /// As `bytefacts extract` would do it, here or on the cluster of the settings.
    ///
    /// # Errors
    /// When corpus or facts do not fit.
    pub(super) async fn of(args: &Audit, settings: Settings, output: &Output) -> anyhow::Result<Self> {
        let job = JobArgs {
            python: args.python.first().cloned(),
            jobs: args.jobs,
            executors: None,
            config: args.config.clone(),
            run_id: None,
            no_cache: false,
            shared_cache: None,
            progress: args.progress,
            format: Format::Text,
            fail_on: FailOn::Never,
            options: OptionArgs::default(),
        };
        let (corpus, facts) = (location(&args.corpus, "CORPUS")?, location(&args.facts, "--facts")?);
        extract::check_apart(&corpus, &facts)?;
        // What a cluster sees under a path may not be here.
        if settings.client.cluster.is_none() {
            extract::check_corpus(&corpus)?;
        }
        let repo = extract::recognised_repository(&settings, &corpus, output).await;
        Ok(Self { job, settings, repo })
    }

    /// Has the run committed: from wherever it stands.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) async fn run(
        mut self,
        args: &Audit,
        facts: &Facts,
        run: &RunId,
        interpreter: Option<Interpreter>,
        output: &Output,
    ) -> anyhow::Result<()> {
        // A cluster's own decide.
        let interpreter = interpreter.filter(|_| self.settings.client.cluster.is_none());
        match facts.store.run_state(run).await.with_context(|| facts.unreadable())? {
            RunState::Abandoned => bail!("run {run} was given up or let go"),
            // A client that died between the commit and the move of `current` has left that to do.
            RunState::Committed(document) => {
                let current = facts.store.current().await.with_context(|| facts.unreadable())?;
                if current.is_some_and(|current| current.order() >= (document.run.sequence, run)) {
                    return Ok(());
                }
            }
            RunState::New | RunState::Open => {}
        }
        if facts.store.job(run).await.with_context(|| facts.unreadable())?.is_some() {
            // As it was begun, by another machine perhaps, which has other cores.
            extract::resume(&self.settings, &self.job, run.as_str(), facts.location.clone(), output).await?;
            return Ok(());
        }
        self.job.run_id = Some(run.to_string());
        let (corpus, facts) = (location(&args.corpus, "CORPUS")?, facts.location.clone());
        let wanted = Wanted { corpus, repo: self.repo, facts, another_corpus: false };
        extract::extract(&self.settings, &self.job, interpreter, wanted, output).await?;
        Ok(())
    }

    fn as_asked(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::json!({ "options": self.settings.extract, "bins": self.settings.bins.count, "repo": self.repo }))
    }
}

/// Digest of what is asked but for the night, and for the run if that is left to the audit. Who derives is not asked: executors go on with what was
/// begun here, and the other way round. The interpreter is that of the run, and is asked for only where the run is still to be made by it.
///
/// # Errors
/// When the corpus is no place.
pub(super) fn request(
    args: &Audit,
    matrix: &str,
    conditions: &[(String, Condition)],
    interpreters: &Interpreters,
    extraction: Option<&Extraction>,
) -> anyhow::Result<String> {
    let made_here = extraction.filter(|extraction| extraction.settings.client.cluster.is_none());
    let names: Vec<&str> = conditions.iter().map(|(name, _)| name.as_str()).collect();
    let asked = serde_json::json!({
        "corpus": location(&args.corpus, "CORPUS")?.uri(),
        "run": args.run,
        "extraction": extraction.map(Extraction::as_asked).transpose()?,
        "preset": args.preset,
        "matrix": hex::encode(Sha256::digest(matrix)),
        "conditions": names,
        "interpreter": made_here.and(interpreters.first.as_ref()).map(InterpreterId::of),
        "others": interpreters.named,
        "minutes": args.minutes,
        "pyc": !args.no_pyc,
    });
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(&asked)?)))
}

/// The audit that is to be done: one that did not end if the user wants that and there is one, else a new one, or the same as ever of a run that is
/// named.
///
/// # Errors
/// When the facts cannot be read, or the run's name is none.
pub(super) async fn audit(args: &Audit, facts: &Facts, request: String, output: &Output) -> anyhow::Result<AuditAsked> {
    let night = night(args);
    if args.resume_unfinished
        && let Some(asked) = unfinished(facts, &request, args.night.unwrap_or_else(|| night.saturating_sub(1))..=night).await?
    {
        output.note(format!("going on with audit {}, which did not end", asked.audit));
        return Ok(asked);
    }
    let run = match &args.run {
        Some(run) => RunId::new(run.as_str()).map_err(|error| UsageError(format!("--run: {error}")))?,
        None => RunId::generate(SystemTime::now(), fresh_number()),
    };
    let preset = &args.preset;
    let name = format!("{run}.night-{night}.{preset}.{}", request.get(..SHORT).unwrap_or(&request));
    // The names of runs and presets may leave no room, or have what names of audits have not.
    let named = RunId::new(name).or_else(|_| {
        let all = Sha256::digest(format!("{run}\n{preset}\n{request}"));
        RunId::new(format!("night-{night}.{}", hex::encode(all)))
    });
    let audit = named.map_err(|error| anyhow!("the audit has no name: {error}"))?;
    Ok(AuditAsked { audit, run, night, request, extracts: args.run.is_none() })
}

/// The newest audit that was asked for the same in these nights, did not end, and can be gone on with.
async fn unfinished(facts: &Facts, request: &str, nights: std::ops::RangeInclusive<u64>) -> anyhow::Result<Option<AuditAsked>> {
    let mut found = facts.store.unfinished_audits().await.with_context(|| facts.unreadable())?;
    found.retain(|asked| asked.extracts && asked.request == request && nights.contains(&asked.night));
    // Runs that the audit names are named by their time.
    found.sort_by(|a, b| (b.night, &b.run).cmp(&(a.night, &a.run)));
    for asked in found {
        match facts.store.run_state(&asked.run).await.with_context(|| facts.unreadable())? {
            RunState::Abandoned => tracing::info!(audit = %asked.audit, "its run was given up: it cannot be gone on with"),
            RunState::New | RunState::Open | RunState::Committed(_) => return Ok(Some(asked)),
        }
    }
    Ok(None)
}

/// The facts, which there need not be yet where the audit makes the first.
///
/// # Errors
/// When they cannot be read, or not be written.
pub(super) fn facts(args: &Audit) -> anyhow::Result<Facts> {
    if args.run.is_none()
        && let Some(folder) = location(&args.facts, "--facts")?.local_path()
    {
        create(folder)?;
    }
    Facts::open(&args.facts)
}

fn create(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot write facts to {}", folder.display()))
}
