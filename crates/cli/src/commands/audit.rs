//! `bytefacts audit`: derives a sample of a run's files again under other conditions, and says what differs and why.
//!
//! ```text
//! what is asked ─▶ run (or extract one) ─▶ sample of the night, in bins ─▶ each bin under each condition ─▶ record of both   (asked.rs, work.rs)
//!                                                                          records ─▶ tables, report, header; files   (results.rs)
//! ```
//!
//! An audit is named by what it was asked to do, so that the same command goes on with one that was ended, and two at once do the same work and
//! agree: what is created first counts. What a killed process has done is on record, each bin under each condition for itself.

mod asked;
mod bins;
mod cluster;
mod results;
mod spending;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytefacts_audit::allow::AllowList;
use bytefacts_audit::changes::{self, FileFacts, Name};
use bytefacts_audit::drift::Drifts;
use bytefacts_audit::matrix::{BUILT_IN, Condition, Matrix};
use bytefacts_audit::night::{self, Sample, Verdict, sample};
use bytefacts_audit::report::{FailOn, Plan, PycFinding, PycReport, Report};
use bytefacts_compile::Interpreter;
use bytefacts_engine::{AuditWorker, InterpreterId, Job};
use bytefacts_landing::{AuditAsked, Manifest, RunId};
use futures::FutureExt as _;
use sha2::{Digest as _, Sha256};

use self::asked::{Extraction, Interpreters};
use self::cluster::OnCluster;
use self::work::Done;
use crate::args::{Audit, AuditFailOn, Format};
use crate::commands::diff::run_tree::StoredTree;
use crate::commands::{extract, pyc};
use crate::config::Settings;
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::place::location;
use crate::push::Gateway;
use crate::signals::Signals;

/// Runs the command.
///
/// # Errors
/// When the run or the corpus cannot be read, no interpreter is to be had, or results cannot be written.
pub async fn run(args: Audit, output: &mut Output) -> anyhow::Result<Exit> {
    let signals = Signals::listen()?;
    let policy = Policy::of(&args)?;
    let gateway = args.metrics_push.as_deref().map(Gateway::new).transpose()?;
    let (matrix, text) = matrix(&args)?;
    let conditions = conditions(&args, &matrix)?;
    let by_hand = is_by_hand(&args, &matrix, &conditions)?;
    let settings = Settings::load(&args)?;
    // One file is looked at where it is asked for.
    let on_cluster = settings.client.cluster.is_some() && args.only.is_none();
    let interpreters = Interpreters::of(&args, on_cluster).await?;
    if on_cluster {
        extract::check_reachable(&settings).await?;
    }
    let extraction = if args.run.is_none() { Some(Extraction::of(&args, settings.clone(), output).await?) } else { None };
    let request = asked::request(&args, &text, &conditions, &interpreters, extraction.as_ref())?;
    let facts = asked::facts(&args)?;
    let asked = asked::audit(&args, &facts, request, output).await?;
    let mut report = match results::concluded(&facts, &asked).await?.filter(|_| args.only.is_none()) {
        Some(report) => report,
        None => {
            let writing = || format!("cannot write the audit to {}", facts.shown());
            if args.only.is_none() {
                facts.store.ask_audit(&asked).await.with_context(writing)?;
            }
            if let Some(extraction) = extraction {
                extraction.run(&args, &facts, &asked.run, interpreters.first.clone(), output).await?;
            }
            let manifest = facts.manifest(Some(asked.run.as_str())).await?;
            let night = Night::new(&args, &facts, &asked, manifest, &matrix, &text, conditions, interpreters, on_cluster).boxed().await?;
            let cluster = if on_cluster { Some(OnCluster::new(&settings, &facts, &asked.audit)?) } else { None };
            let done = tokio::select! {
                done = night.work(&args, &facts, cluster.as_ref(), output).boxed() => done?,
                signal = signals.first() => {
                    let how = if args.run.is_some() { "" } else { " with --resume-unfinished" };
                    let left = match &cluster {
                        Some(cluster) => cluster.end(&signals, &asked.audit).await,
                        None => String::new(),
                    };
                    bail!("ended by {signal}; what is done is kept, the same command{how} goes on{left}")
                }
            };
            let mut report = night.report(&args, &done);
            report.pyc = night.pyc(&args, on_cluster, output).await?;
            policy.apply(&mut report);
            match args.only {
                Some(_) => report,
                None => results::conclude(&facts, &asked, report, &done.verdicts, by_hand).await?,
            }
        }
    };
    policy.apply(&mut report);
    results::write(&args, &facts, &report, gateway.as_ref()).await?;
    match args.format {
        Format::Json => output.data(serde_json::to_string_pretty(&report)? + "\n")?,
        Format::Text => output.data(results::text(&report, &policy, args.only.is_some(), output.colour())?)?,
    }
    Ok(if policy.passes(&report) { Exit::Clean } else { Exit::Findings })
}

/// What ends the command with exit code 3.
struct Policy {
    allow: AllowList,
    fail_on: FailOn,
    max_unknown_share: Option<f64>,
}

impl Policy {
    fn of(args: &Audit) -> anyhow::Result<Self> {
        let allow = match &args.allow {
            None => AllowList::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                AllowList::parse(&text).map_err(|error| UsageError(format!("--allow: {error}")))?
            }
        };
        let fail_on = match args.fail_on {
            AuditFailOn::Bad => FailOn::Bad,
            AuditFailOn::Findings => FailOn::Findings,
            AuditFailOn::Pyc => FailOn::Pyc,
            AuditFailOn::Never => FailOn::Never,
        };
        Ok(Self { allow, fail_on, max_unknown_share: args.max_unknown_share })
    }

    /// Says of a report what is allowed today.
    fn apply(&self, report: &mut Report) {
        report.allow(&self.allow, asked::today());
    }

    fn passes(&self, report: &Report) -> bool {
        report.passes(self.fail_on, self.max_unknown_share)
    }
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

/// Whether conditions are others than those of the preset.
fn is_by_hand(args: &Audit, matrix: &Matrix, conditions: &[(String, Condition)]) -> anyhow::Result<bool> {
    let of_preset = matrix.conditions_of(&args.preset).map_err(|error| UsageError(format!("--preset: {error}")))?;
    let names = |conditions: &[(String, Condition)]| conditions.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    Ok(names(&of_preset) != names(conditions))
}

/// An audit, ready to be worked on.
struct Night {
    audit: RunId,
    plan: Plan,
    sample: Sample,
    /// The interpreter of the run, if this machine has it, and those that are compared with it.
    interpreter: Option<Interpreter>,
    others: Vec<Interpreter>,
    conditions: Vec<(String, Condition)>,
    job: Job,
    landed: RunId,
    budget: Duration,
}

impl Night {
    #[expect(clippy::too_many_arguments, reason = "all that an audit is of, each of another kind")]
    async fn new(
        args: &Audit,
        facts: &Facts,
        asked: &AuditAsked,
        manifest: Manifest,
        matrix: &Matrix,
        text: &str,
        conditions: Vec<(String, Condition)>,
        interpreters: Interpreters,
        on_cluster: bool,
    ) -> anyhow::Result<Self> {
        let header = manifest.run;
        let run = &header.run_id;
        let recorded =
            facts.store.job(run).await.with_context(|| facts.unreadable())?.with_context(|| format!("run {run} has no job on record"))?;
        let mut job: Job = serde_json::from_slice(&recorded).with_context(|| format!("run {run} was made by another version"))?;
        let made_by: InterpreterId = serde_json::from_value(header.interpreter.clone()).context("the run does not say what compiled it")?;
        let interpreter = match interpreters.first {
            Some(first) if InterpreterId::of(&first) == made_by => Some(first),
            // That of this machine is not needed, and nobody has named it.
            _ if on_cluster && args.python.is_empty() => None,
            Some(first) => {
                return Err(UsageError(format!(
                    "run {run} was compiled by {} {}, and {} is {}: name the run's interpreter by --python first, others after it",
                    made_by.implementation,
                    made_by.version,
                    first.executable.display(),
                    first.version
                ))
                .into());
            }
            None => bail!("no interpreter was looked for"),
        };
        // The corpus may have another name here.
        job.corpus = location(&args.corpus, "CORPUS")?.uri().to_owned();
        facts.location.uri().clone_into(&mut job.facts);
        job.interpreter = Some(made_by);
        let preset = matrix.presets.get(&args.preset).ok_or_else(|| anyhow!("preset {} is gone", args.preset))?;
        let tree = StoredTree::of(facts, run).await?;
        let files: Vec<(Name, FileFacts)> = changes::files(&tree).await?;
        let sample = sample(&files, asked.night, preset.nights, matrix.bin_files);
        let plan = Plan {
            audit: asked.audit.to_string(),
            run: run.to_string(),
            run_digest: header.digest.clone(),
            corpus: args.corpus.clone(),
            facts: facts.shown(),
            night: asked.night,
            nights: preset.nights,
            preset: args.preset.clone(),
            matrix: hex::encode(Sha256::digest(text)),
            interpreter: header.interpreter.clone(),
            conditions: conditions.iter().map(|(name, condition)| (name.clone(), condition.about.clone())).collect(),
            others: interpreters.named,
        };
        let budget = Duration::from_secs(60 * args.minutes.unwrap_or(preset.minutes));
        Ok(Self {
            audit: asked.audit.clone(),
            landed: run.clone(),
            plan,
            sample,
            interpreter,
            others: interpreters.others,
            conditions,
            job,
            budget,
        })
    }

    /// What derives here; none where this machine has not the run's interpreter.
    fn worker(&self, facts: &Facts) -> anyhow::Result<Option<AuditWorker>> {
        let Some(interpreter) = self.interpreter.clone() else { return Ok(None) };
        let bench = AuditWorker::bench(&self.job, interpreter, self.others.clone())?;
        let worker = AuditWorker::new(&self.job, self.landed.clone(), &facts.stores, bench);
        worker.map(Some).map_err(|error| anyhow!("{error}"))
    }

    /// What became of the `.pyc` files that the night covers, if the corpus is a folder that is here and holds any.
    async fn pyc(&self, args: &Audit, on_cluster: bool, output: &Output) -> anyhow::Result<Option<PycReport>> {
        let corpus = location(&args.corpus, "CORPUS")?;
        // What a cluster sees under a path may not be here.
        let is_here = |folder: &&Path| !on_cluster || folder.is_dir();
        let wanted = corpus.local_path().filter(|_| !args.no_pyc && args.only.is_none());
        let Some(folder) = wanted.filter(is_here) else { return Ok(None) };
        let Some(interpreter) = &self.interpreter else {
            output.note("`.pyc` files are compared here, and this machine has not the interpreter of the run: they are left alone");
            return Ok(None);
        };
        let (root, mut files) = pyc::listed(folder)?;
        files.retain(|file| night::covers(file, self.plan.night, self.plan.nights));
        if files.is_empty() {
            return Ok(None);
        }
        let judged = pyc::judge_all(&root, files, interpreter, args.jobs).await?;
        let mut report = PycReport::default();
        for file in judged {
            let provenance = file.provenance;
            *report.counts.entry(provenance.status).or_default() += 1;
            if provenance.status.is_finding() {
                report.findings.push(PycFinding { path: file.path, status: provenance.status, reason: provenance.reason });
            }
        }
        Ok(Some(report))
    }

    fn report(&self, args: &Audit, done: &Done) -> Report {
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
        for (interpreter, of_bins) in self.plan.others.iter().zip(&done.drift) {
            let (mut drifts, mut compared, mut failed) = (Drifts::default(), 0, 0);
            for of_bin in of_bins {
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
        let repeat = |verdict: &Verdict| results::repeat(args, &self.plan, verdict);
        Report::new(self.plan.clone(), &done.verdicts, &others, drift, &repeat)
    }
}
