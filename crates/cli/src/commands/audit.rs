//! `bytefacts audit`: derives a sample of a run's files again under other conditions, and says what differs and why.
//!
//! ```text
//! run (or extract one) ─▶ sample of the night, in bins ─▶ each bin under each condition ─▶ record of the bin     (bins.rs)
//!                                                         records ─▶ report, tables, files                       (results.rs)
//! ```
//!
//! An audit is named by what it was asked to do, so that the same command goes on with one that was ended, and two at once do the same work and
//! agree: what is created first counts.

mod bins;
mod results;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use bytefacts_audit::changes::{self, FileFacts, Name};
use bytefacts_audit::digests::Deriver;
use bytefacts_audit::drift::Drifts;
use bytefacts_audit::matrix::{BUILT_IN, Condition, Matrix};
use bytefacts_audit::night::{Bench, Sample, sample};
use bytefacts_audit::report::{Plan, Report};
use bytefacts_compile::{Environment, Interpreter, discover, probe};
use bytefacts_engine::{InterpreterId, Job, open_corpus};
use bytefacts_landing::{Created, Manifest, RunId};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use self::bins::{BinRecord, Worker};
use crate::args::{Audit, FailOn, Format, JobArgs, ProgressMode};
use crate::commands::diff::run_tree::StoredTree;
use crate::commands::extract::{self, Wanted, cpu_time};
use crate::config::Settings;
use crate::daemon::fresh_number;
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::options::OptionArgs;
use crate::output::Output;
use crate::place::location;
use crate::signals::Signals;

/// Runs the command.
///
/// # Errors
/// When the run or the corpus cannot be read, no interpreter is to be had, or results cannot be written.
pub async fn run(args: Audit, output: &mut Output) -> anyhow::Result<Exit> {
    let signals = Signals::listen()?;
    let (matrix, text) = matrix(&args)?;
    let conditions = conditions(&args, &matrix)?;
    let interpreters = interpreters(&args).await?;
    let run = match &args.run {
        Some(run) => run.clone(),
        None => extracted(&args, output).await?,
    };
    let facts = Facts::open(&args.facts)?;
    let manifest = facts.manifest(Some(&run)).await?;
    let night = Night::new(&args, &facts, manifest, &matrix, &text, conditions, interpreters).await?;
    let work = night.work(&args, &facts, output);
    let records = tokio::select! {
        records = work => records?,
        signal = signals.first() => bail!("ended by {signal}; what is done is kept, the same command with --run {run} goes on"),
    };
    let report = night.report(&args, &records);
    if args.only.is_none() {
        results::store(&facts, &night.audit, &report, &records).await?;
    }
    results::write(&args, &report)?;
    match args.format {
        Format::Json => output.data(serde_json::to_string_pretty(&report)? + "\n")?,
        Format::Text => output.data(results::text(&report, output.colour())?)?,
    }
    Ok(if report.has_findings() { Exit::Findings } else { Exit::Clean })
}

/// The matrix and its text.
fn matrix(args: &Audit) -> anyhow::Result<(Matrix, String)> {
    let text = match &args.matrix {
        None => BUILT_IN.to_owned(),
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
    };
    let matrix = Matrix::parse(&text).map_err(|error| UsageError(error.to_string()))?;
    Ok((matrix, text))
}

/// The conditions of the preset, or those that were named.
fn conditions(args: &Audit, matrix: &Matrix) -> anyhow::Result<Vec<(String, Condition)>> {
    let of_preset = matrix.conditions_of(&args.preset).map_err(|error| UsageError(format!("--preset: {error}")))?;
    if args.condition.is_empty() {
        return Ok(of_preset);
    }
    let mut named = BTreeMap::new();
    for name in &args.condition {
        let condition = matrix.condition(name).map_err(|error| UsageError(format!("--condition: {error}")))?;
        named.insert(name.clone(), condition.clone());
    }
    Ok(named.into_iter().collect())
}

/// The interpreter of the run, and those that are compared with it.
async fn interpreters(args: &Audit) -> anyhow::Result<(Interpreter, Vec<Interpreter>)> {
    let first = discover(args.python.first().map(std::path::PathBuf::as_path)).await?;
    let environment = Environment::from_process();
    let mut others = Vec::new();
    for path in args.python.iter().skip(1) {
        others.push(probe(&environment, path).await.with_context(|| format!("--python {} does not fit", path.display()))?);
    }
    Ok((first, others))
}

/// Extracts the corpus, as `bytefacts extract` does, and gives the run's name.
async fn extracted(args: &Audit, output: &Output) -> anyhow::Result<String> {
    let run = RunId::generate(SystemTime::now(), fresh_number()).to_string();
    let job = JobArgs {
        python: args.python.first().cloned(),
        jobs: args.jobs,
        executors: None,
        config: args.config.clone(),
        run_id: Some(run.clone()),
        no_cache: false,
        shared_cache: None,
        progress: ProgressMode::Never,
        format: Format::Text,
        fail_on: FailOn::Never,
        options: OptionArgs::default(),
    };
    let settings = Settings::load(&job)?;
    if settings.client.cluster.is_some() {
        return Err(
            UsageError("an audit extracts on the embedded cluster: extract on yours first, and name the run by --run".to_owned()).into()
        );
    }
    let interpreter = discover(args.python.first().map(std::path::PathBuf::as_path)).await?;
    let (corpus, facts) = (location(&args.corpus, "CORPUS")?, location(&args.facts, "--facts")?);
    extract::check_apart(&corpus, &facts)?;
    extract::check_corpus(&corpus)?;
    let repo = extract::recognised_repository(&settings, &corpus, output).await;
    let wanted = Wanted { corpus, repo, facts, another_corpus: false };
    extract::extract(&settings, &job, Some(interpreter), wanted, output).await?;
    Ok(run)
}

/// An audit, ready to be worked on.
struct Night {
    audit: RunId,
    plan: Plan,
    sample: Sample,
    bench: Bench,
    conditions: Vec<(String, Condition)>,
    job: Job,
    landed: RunId,
    budget: Duration,
}

impl Night {
    async fn new(
        args: &Audit,
        facts: &Facts,
        manifest: Manifest,
        matrix: &Matrix,
        text: &str,
        conditions: Vec<(String, Condition)>,
        (interpreter, others): (Interpreter, Vec<Interpreter>),
    ) -> anyhow::Result<Self> {
        let header = manifest.run;
        let run = &header.run_id;
        let recorded =
            facts.store.job(run).await.with_context(|| facts.unreadable())?.with_context(|| format!("run {run} has no job on record"))?;
        let mut job: Job = serde_json::from_slice(&recorded).with_context(|| format!("run {run} was made by another version"))?;
        let id = InterpreterId::of(&interpreter);
        let made_by: InterpreterId = serde_json::from_value(header.interpreter.clone()).context("the run does not say what compiled it")?;
        if made_by != id {
            return Err(UsageError(format!(
                "run {run} was compiled by {} {}, and {} is {}: name the run's interpreter by --python first, others after it",
                made_by.implementation,
                made_by.version,
                interpreter.executable.display(),
                id.version
            ))
            .into());
        }
        // The corpus may have another name here.
        job.corpus = location(&args.corpus, "CORPUS")?.uri().to_owned();
        let preset = matrix.presets.get(&args.preset).ok_or_else(|| anyhow!("preset {} is gone", args.preset))?;
        let night = args.night.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86_400));
        let tree = StoredTree::of(facts, run).await?;
        let files: Vec<(Name, FileFacts)> = changes::files(&tree).await?;
        let sample = sample(&files, night, preset.nights, matrix.bin_files);
        let mut plan = Plan {
            audit: String::new(),
            run: run.to_string(),
            run_digest: header.digest.clone(),
            corpus: args.corpus.clone(),
            facts: facts.shown(),
            night,
            nights: preset.nights,
            preset: args.preset.clone(),
            matrix: hex(&Sha256::digest(text)),
            interpreter: header.interpreter.clone(),
            conditions: conditions.iter().map(|(name, condition)| (name.clone(), condition.about.clone())).collect(),
            others: others.iter().map(|other| format!("{} at {}", other.version, other.executable.display())).collect(),
        };
        let asked = serde_json::to_vec(&(&plan.run, plan.night, &plan.preset, &plan.matrix, &plan.conditions, &plan.others, args.minutes))?;
        let audit = format!("{run}.night-{night}.{}.{}", args.preset, hex(&Sha256::digest(asked)).chars().take(8).collect::<String>());
        let audit = RunId::new(audit.as_str()).map_err(|error| anyhow!("{audit} is no name for an audit: {error}"))?;
        plan.audit = audit.to_string();
        let bench = Bench {
            deriver: Deriver { attrs: job.attrs(&id), options: job.row_options()? },
            options: job.options.compile_options(),
            limits: job.options.compile_limits(),
            interpreter,
            others,
        };
        let budget = Duration::from_secs(60 * args.minutes.unwrap_or(preset.minutes));
        Ok(Self { audit, landed: run.clone(), plan, sample, bench, conditions, job, budget })
    }

    /// Works on the bins that have no record yet, within the budget, and gives the records of all.
    async fn work(&self, args: &Audit, facts: &Facts, output: &Output) -> anyhow::Result<Vec<BinRecord>> {
        let corpus = open_corpus(&self.job, &facts.stores).map_err(|error| anyhow!("{error}"))?;
        let worker = Worker { facts, corpus, bench: &self.bench, conditions: &self.conditions, run: &self.landed };
        if let Some(only) = &args.only {
            return self.work_on(&worker, only).await;
        }
        let plan = serde_json::to_vec_pretty(&self.plan)?;
        let writing = || format!("cannot write the audit to {}", facts.shown());
        if let Created::Existing(_) =
            facts.store.create_audit_document(&self.audit, "plan.json", plan.into()).await.with_context(writing)?
        {
            output.note(format!("going on with audit {}", self.audit));
        } else {
            output.note(format!("audit {}: {} bins under {} conditions", self.audit, self.sample.bins.len(), self.conditions.len()));
        }
        let begun = cpu_time()?;
        let at_once = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
        let bins = self.sample.bins.iter().enumerate();
        let bins: Vec<_> = bins.map(|(number, bin)| self.work_bin(&worker, facts, number, bin, begun).boxed()).collect();
        futures::stream::iter(bins).buffered(at_once).try_collect().await
    }

    /// The record of a bin: the one that there is, else what work on it gives.
    async fn work_bin(
        &self,
        worker: &Worker<'_>,
        facts: &Facts,
        number: usize,
        bin: &[(Name, FileFacts)],
        begun: Duration,
    ) -> anyhow::Result<BinRecord> {
        let name = format!("bins/{number:06}.json");
        if let Some(done) = facts.store.audit_document(&self.audit, &name).await.with_context(|| facts.unreadable())? {
            return serde_json::from_slice(&done).with_context(|| format!("{name} of audit {} is damaged", self.audit));
        }
        // What the budget leaves out is not recorded: a later call with more minutes may cover it.
        if cpu_time()?.saturating_sub(begun) > self.budget {
            return Ok(worker.left_out(bin, "the budget of CPU time is spent"));
        }
        let record = worker.work(bin).await?;
        let bytes = serde_json::to_vec(&record)?;
        let created = facts.store.create_audit_document(&self.audit, &name, bytes.into()).await;
        match created.with_context(|| format!("cannot write the audit to {}", facts.shown()))? {
            Created::New => Ok(record),
            Created::Existing(first) => Ok(serde_json::from_slice(&first)?),
        }
    }

    /// Works on the bin of one file, and keeps what is said of that file.
    async fn work_on(&self, worker: &Worker<'_>, only: &str) -> anyhow::Result<Vec<BinRecord>> {
        let is_it = |name: &Name| name.path == only || name.repo.as_ref().is_some_and(|repo| format!("{repo}/{}", name.path) == only);
        let Some(bin) = self.sample.bins.iter().find(|bin| bin.iter().any(|(name, _)| is_it(name))) else {
            bail!("night {} does not cover {only}: name the night whose sample has it by --night, or take --preset full", self.plan.night);
        };
        let mut record = worker.work(bin).await?;
        record.verdicts.retain(|verdict| is_it(&Name { repo: verdict.repo.clone(), path: verdict.path.clone() }));
        record.drift = vec![bins::BinDrift::default(); self.bench.others.len()];
        Ok(vec![record])
    }

    fn report(&self, args: &Audit, records: &[BinRecord]) -> Report {
        let verdicts: Vec<_> = records.iter().flat_map(|record| record.verdicts.iter().cloned()).collect();
        let mut others = BTreeMap::new();
        if args.only.is_none() {
            for (reason, count) in [
                ("another night covers it", self.sample.other_nights),
                ("its source could not be read when it was extracted", self.sample.unreadable),
            ] {
                if count > 0 {
                    others.insert(reason.to_owned(), count);
                }
            }
        }
        let mut drift = Vec::new();
        for (index, interpreter) in self.plan.others.iter().enumerate() {
            let (mut drifts, mut compared, mut failed) = (Drifts::default(), 0, 0);
            for of_bin in records.iter().filter_map(|record| record.drift.get(index)) {
                drifts.merge(of_bin.drifts.clone());
                compared += of_bin.compared;
                failed += of_bin.failed;
            }
            drift.push(bytefacts_audit::report::DriftReport {
                interpreter: interpreter.clone(),
                compared,
                differing: drifts.files,
                failed,
                instructions: drifts.instructions,
                clusters: drifts.clusters(),
            });
        }
        let repeat = |verdict: &bytefacts_audit::night::Verdict| results::repeat(args, &self.plan, verdict);
        Report::new(self.plan.clone(), &verdicts, &others, drift, &repeat)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
