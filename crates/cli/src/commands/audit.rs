//! `bytefacts audit`: derives a sample of a run's files again under other conditions, and says what differs and why.
//!
//! ```text
//! what is asked ─▶ run (or extract one) ─▶ sample of the night, in bins ─▶ each bin under each condition ─▶ record of both   (asked.rs, bins.rs)
//!                                                                          records ─▶ tables, report, header; files   (results.rs)
//! ```
//!
//! An audit is named by what it was asked to do, so that the same command goes on with one that was ended, and two at once do the same work and
//! agree: what is created first counts. What a killed process has done is on record, each bin under each condition for itself.

mod asked;
mod bins;
mod results;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytefacts_audit::allow::AllowList;
use bytefacts_audit::changes::{self, FileFacts, Name};
use bytefacts_audit::digests::Deriver;
use bytefacts_audit::drift::Drifts;
use bytefacts_audit::matrix::{BUILT_IN, Condition, Matrix};
use bytefacts_audit::night::{self, Bench, Gap, Sample, Verdict, sample};
use bytefacts_audit::report::{FailOn, Plan, PycFinding, PycReport, Report};
use bytefacts_engine::{InterpreterId, Job, open_corpus};
use bytefacts_landing::{AuditAsked, Created, Manifest, RunId};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use self::asked::{Extraction, Interpreters};
use self::bins::{Bin, BinDrift, Worker};
use crate::args::{Audit, AuditFailOn, Format};
use crate::commands::diff::run_tree::StoredTree;
use crate::commands::extract::cpu_time;
use crate::commands::pyc;
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::place::location;
use crate::signals::Signals;

/// Runs the command.
///
/// # Errors
/// When the run or the corpus cannot be read, no interpreter is to be had, or results cannot be written.
pub async fn run(args: Audit, output: &mut Output) -> anyhow::Result<Exit> {
    let signals = Signals::listen()?;
    let policy = Policy::of(&args)?;
    let (matrix, text) = matrix(&args)?;
    let conditions = conditions(&args, &matrix)?;
    let interpreters = Interpreters::of(&args).await?;
    let extraction = if args.run.is_none() { Some(Extraction::of(&args, output).await?) } else { None };
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
            let night = Night::new(&args, &facts, &asked, manifest, &matrix, &text, conditions, interpreters).await?;
            let work = night.work(&args, &facts, output);
            let done = tokio::select! {
                done = work => done?,
                signal = signals.first() => bail!(
                    "ended by {signal}; what is done is kept, the same command{} goes on",
                    if args.run.is_some() { "" } else { " with --resume-unfinished" }
                ),
            };
            let mut report = night.report(&args, &done);
            report.pyc = night.pyc(&args).await?;
            policy.apply(&mut report);
            match args.only {
                Some(_) => report,
                None => results::conclude(&facts, &asked, report, &done.verdicts, &policy).await?,
            }
        }
    };
    policy.apply(&mut report);
    results::write(&args, &facts, &report, &policy).await?;
    match args.format {
        Format::Json => output.data(serde_json::to_string_pretty(&report)? + "\n")?,
        Format::Text => output.data(results::text(&report, &policy, output.colour())?)?,
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

/// What was done: the verdicts, one for each file of the sample and condition, and for each second interpreter what it does otherwise, bin by bin.
#[derive(Default)]
struct Done {
    verdicts: Vec<Verdict>,
    drift: Vec<Vec<BinDrift>>,
}

/// What is on record of an audit when its work begins.
#[derive(Default)]
struct Recorded {
    units: BTreeSet<String>,
    drift: BTreeSet<String>,
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
    ) -> anyhow::Result<Self> {
        let header = manifest.run;
        let (run, interpreter) = (&header.run_id, interpreters.first);
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
        let bench = Bench {
            deriver: Deriver { attrs: job.attrs(&id), options: job.row_options()? },
            options: job.options.compile_options(),
            limits: job.options.compile_limits(),
            interpreter,
            others: interpreters.others,
        };
        let budget = Duration::from_secs(60 * args.minutes.unwrap_or(preset.minutes));
        Ok(Self { audit: asked.audit.clone(), landed: run.clone(), plan, sample, bench, conditions, job, budget })
    }

    /// Works on what has no record yet, within the budget, and gives all that is done.
    async fn work(&self, args: &Audit, facts: &Facts, output: &Output) -> anyhow::Result<Done> {
        let corpus = open_corpus(&self.job, &facts.stores).map_err(|error| anyhow!("{error}"))?;
        let worker = Worker { facts, corpus, bench: &self.bench, run: &self.landed };
        if let Some(only) = &args.only {
            return self.work_on(&worker, only).await;
        }
        let plan = serde_json::to_vec_pretty(&self.plan)?;
        let writing = || format!("cannot write the audit to {}", facts.shown());
        let mut recorded = Recorded::default();
        if let Created::Existing(_) =
            facts.store.create_audit_document(&self.audit, "plan.json", plan.into()).await.with_context(writing)?
        {
            let listed = async |folder: &str| facts.store.audit_documents(&self.audit, folder).await.with_context(|| facts.unreadable());
            recorded.units = listed(UNITS).await?.into_iter().collect();
            recorded.drift = listed(DRIFT).await?.into_iter().collect();
            let all = self.sample.bins.len() * self.conditions.len();
            output.note(format!("going on with audit {}: {} of {all} bins under a condition are done", self.audit, recorded.units.len()));
        } else {
            output.note(format!("audit {}: {} bins under {} conditions", self.audit, self.sample.bins.len(), self.conditions.len()));
        }
        let begun = cpu_time()?;
        let at_once = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
        let bins = self.sample.bins.iter().enumerate();
        let bins: Vec<_> = bins.map(|(number, bin)| self.work_bin(&worker, &recorded, number, bin, begun).boxed()).collect();
        let bins: Vec<Done> = futures::stream::iter(bins).buffered(at_once).try_collect().await?;
        let mut all = Done { drift: vec![Vec::new(); self.bench.others.len()], ..Done::default() };
        for bin in bins {
            all.verdicts.extend(bin.verdicts);
            for (of_interpreter, of_bin) in all.drift.iter_mut().zip(bin.drift) {
                of_interpreter.extend(of_bin);
            }
        }
        Ok(all)
    }

    /// A bin under each condition and by each second interpreter: what is on record, else what work on it gives.
    async fn work_bin(
        &self,
        worker: &Worker<'_>,
        recorded: &Recorded,
        number: usize,
        bin: &[(Name, FileFacts)],
        begun: Duration,
    ) -> anyhow::Result<Done> {
        let mut done = Done::default();
        let mut opened = None;
        let is_spent = || anyhow::Ok(cpu_time()?.saturating_sub(begun) > self.budget);
        for (condition_name, condition) in &self.conditions {
            let name = format!("{number:06}/{condition_name}.json");
            if recorded.units.contains(&name) {
                done.verdicts.extend(self.record::<Vec<Verdict>>(worker.facts, UNITS, &name).await?);
            } else if is_spent()? {
                // It has no record: what the budget leaves out is not done.
                done.verdicts.extend(bin.iter().map(|(file, _)| night::unknown(file, condition_name, Gap::Budget, "")));
            } else {
                let verdicts = open(&mut opened, worker, bin).await?.under(condition_name, condition).await?;
                done.verdicts.extend(self.recorded(worker.facts, UNITS, &name, verdicts).await?);
            }
        }
        for index in 0..self.bench.others.len() {
            let name = format!("{number:06}/{index}.json");
            done.drift.push(if recorded.drift.contains(&name) {
                vec![self.record(worker.facts, DRIFT, &name).await?]
            } else if is_spent()? {
                Vec::new()
            } else {
                let drift = open(&mut opened, worker, bin).await?.drift(index).await?;
                vec![self.recorded(worker.facts, DRIFT, &name, drift).await?]
            });
        }
        Ok(done)
    }

    /// What is on record under a name.
    async fn record<T: DeserializeOwned>(&self, facts: &Facts, folder: &str, name: &str) -> anyhow::Result<T> {
        let found = facts.store.audit_document(&self.audit, &format!("{folder}/{name}")).await.with_context(|| facts.unreadable())?;
        let bytes = found.with_context(|| format!("{folder}/{name} of audit {} is gone: was it let go?", self.audit))?;
        self.parsed(folder, name, &bytes)
    }

    /// Records what was done; what stands there if somebody was faster.
    async fn recorded<T: DeserializeOwned + Serialize>(&self, facts: &Facts, folder: &str, name: &str, done: T) -> anyhow::Result<T> {
        let bytes = serde_json::to_vec(&done)?;
        let created = facts.store.create_audit_document(&self.audit, &format!("{folder}/{name}"), bytes.into()).await;
        match created.with_context(|| format!("cannot write the audit to {}", facts.shown()))? {
            Created::New => Ok(done),
            Created::Existing(first) => self.parsed(folder, name, &first),
        }
    }

    fn parsed<T: DeserializeOwned>(&self, folder: &str, name: &str, bytes: &[u8]) -> anyhow::Result<T> {
        serde_json::from_slice(bytes).with_context(|| format!("{folder}/{name} of audit {} is damaged", self.audit))
    }

    /// Works on the bin of one file, and keeps what is said of that file.
    async fn work_on(&self, worker: &Worker<'_>, only: &str) -> anyhow::Result<Done> {
        let is_it = |name: &Name| name.path == only || name.repo.as_ref().is_some_and(|repo| format!("{repo}/{}", name.path) == only);
        let Some(bin) = self.sample.bins.iter().find(|bin| bin.iter().any(|(name, _)| is_it(name))) else {
            bail!("night {} does not cover {only}: name the night whose sample has it by --night, or take --preset full", self.plan.night);
        };
        let mut done = Done::default();
        let mut opened = Bin::open(worker, bin).await?;
        for (name, condition) in &self.conditions {
            done.verdicts.extend(opened.under(name, condition).await?);
        }
        done.verdicts.retain(|verdict| is_it(&Name { repo: verdict.repo.clone(), path: verdict.path.clone() }));
        Ok(done)
    }

    /// What became of the `.pyc` files that the night covers, if the corpus is a folder and holds any.
    async fn pyc(&self, args: &Audit) -> anyhow::Result<Option<PycReport>> {
        let corpus = location(&args.corpus, "CORPUS")?;
        let Some(folder) = corpus.local_path().filter(|_| !args.no_pyc && args.only.is_none()) else { return Ok(None) };
        let (root, mut files) = pyc::listed(folder)?;
        files.retain(|file| night::covers(file, self.plan.night, self.plan.nights));
        if files.is_empty() {
            return Ok(None);
        }
        let judged = pyc::judge_all(&root, files, &self.bench.interpreter, args.jobs).await?;
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

/// Folder of the records of bins under conditions.
const UNITS: &str = "units";
/// Folder of the records of bins by second interpreters.
const DRIFT: &str = "drift";

/// The bin, whose sources are read when the first condition needs them.
async fn open<'a, 'b>(
    opened: &'b mut Option<Bin<'a>>,
    worker: &'a Worker<'a>,
    bin: &[(Name, FileFacts)],
) -> anyhow::Result<&'b mut Bin<'a>> {
    if opened.is_none() {
        *opened = Some(Bin::open(worker, bin).await?);
    }
    opened.as_mut().context("a bin that was opened is open")
}
