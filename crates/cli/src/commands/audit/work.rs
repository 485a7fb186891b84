//! The work of a night: each bin under each condition has a record, made here or by a cluster's executors, or is left out for want of CPU time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, anyhow, bail};
use bytefacts_audit::changes::{FileFacts, Name};
use bytefacts_audit::night::{self, Gap, Verdict};
use bytefacts_engine::{AuditJob, AuditRecords, AuditWatch, AuditWorker, OpenBin, UnitRecord};
use bytefacts_landing::Created;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::Night;
use super::bins::{BinDrift, drift};
use super::cluster::OnCluster;
use super::spending::Spending;
use crate::args::Audit;
use crate::facts::Facts;
use crate::output::Output;
use crate::progress::files_bar;

/// What was done: the verdicts, one for each file of the sample and condition, and for each second interpreter what it does otherwise, bin by bin.
#[derive(Default)]
pub(super) struct Done {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) drift: Vec<Vec<BinDrift>>,
}

/// Folder of the records of bins by second interpreters.
const DRIFT: &str = "drift";

/// Documents written at a time.
const DOCUMENTS: usize = 16;

/// A bin under a condition, by their number and name.
type Unit = (u32, String);

/// The files of a bin.
type Bin = [(Name, FileFacts)];

/// What is needed to work on bins here.
struct Here<'a> {
    worker: &'a AuditWorker,
    records: &'a AuditRecords,
    spending: &'a Spending,
    on_files: &'a (dyn Fn(u64) + Send + Sync),
}

impl Night {
    /// Works on what has no record yet, within the budget, and gives all that is done.
    ///
    /// # Errors
    /// When the facts, the corpus or the cluster fail, or there are no workers.
    pub(super) async fn work(&self, args: &Audit, facts: &Facts, cluster: Option<&OnCluster<'_>>, output: &Output) -> anyhow::Result<Done> {
        let worker = self.worker(facts)?;
        if let Some(only) = &args.only {
            let worker = worker.context("one file is derived here, by the interpreter of the run")?;
            return self.work_on(&worker, only).await;
        }
        let writing = || format!("cannot write the audit to {}", facts.shown());
        let records = AuditRecords::new(facts.store.clone(), self.audit.clone());
        let plan = serde_json::to_vec_pretty(&self.plan)?;
        let created = facts.store.create_audit_document(&self.audit, "plan.json", plan.into()).await.with_context(writing)?;
        let (bins, conditions) = (self.sample.bins.len(), self.conditions.len());
        let files: usize = self.sample.bins.iter().map(Vec::len).sum();
        let (bar, on_files) = files_bar(args.progress, (files * conditions) as u64);
        let on_files = move |files: u64| on_files(files);
        let mut watch = AuditWatch::new(&records, self.units()?, self.budget, &on_files);
        watch.look().await.with_context(|| facts.unreadable())?;
        match created {
            Created::New => output.note(format!("audit {}: {bins} bins under {conditions} conditions", self.audit)),
            Created::Existing(_) => output.note(format!(
                "going on with audit {}: {} of {} bins under a condition are done",
                self.audit,
                watch.seen(),
                bins * conditions
            )),
        }
        let drifts = self.recorded_drifts(&records).await.with_context(|| facts.unreadable())?;
        let by_drifts: u64 = drifts.values().map(|drift| drift.cpu_us).sum();
        watch.charge(by_drifts);
        if let Some(cluster) = cluster {
            let numbered = self.numbered()?.into_iter();
            let bins: Vec<_> = numbered.map(|(number, bin)| records.plan_bin(number, bin).boxed()).collect();
            futures::stream::iter(bins).buffer_unordered(DOCUMENTS).try_collect::<()>().await.with_context(writing)?;
            cluster.derive(&self.job_of()?, &mut watch).await?;
        }
        let spending = Spending::new(self.budget, watch.spent())?;
        let on_record = watch.into_done();
        let at_once = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
        let here = worker.as_ref().map(|worker| Here { worker, records: &records, spending: &spending, on_files: &on_files });
        // What a cluster has left out is left out for want of CPU time.
        let derives = cluster.is_none();
        let work = |(number, bin)| self.work_bin(here.as_ref(), derives, &on_record, &drifts, number, bin).boxed();
        let bins: Vec<_> = self.numbered()?.into_iter().map(work).collect();
        let bins: Vec<Done> = futures::stream::iter(bins).buffered(at_once).try_collect().await?;
        bar.finish_and_clear();
        let mut all = Done { drift: vec![Vec::new(); self.others.len()], ..Done::default() };
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
        here: Option<&Here<'_>>,
        derives: bool,
        on_record: &BTreeMap<Unit, UnitRecord>,
        drifts: &BTreeMap<(u32, usize), BinDrift>,
        number: u32,
        bin: &[(Name, FileFacts)],
    ) -> anyhow::Result<Done> {
        let mut done = Done::default();
        let mut opened = None;
        for (name, condition) in &self.conditions {
            if let Some(record) = on_record.get(&(number, name.clone())) {
                done.verdicts.extend(record.verdicts.iter().cloned());
                continue;
            }
            match here {
                Some(here) if derives && !here.spending.is_over()? => {
                    let mut record = open(&mut opened, here.worker, bin).await?.under(name, condition).await?;
                    record.cpu_us = here.spending.charge()?;
                    (here.on_files)(record.verdicts.len() as u64);
                    done.verdicts.extend(here.records.record(number, name, record).await?.verdicts);
                }
                // It has no record: what the budget leaves out is not done.
                _ => done.verdicts.extend(bin.iter().map(|(file, _)| night::unknown(file, name, Gap::Budget, ""))),
            }
        }
        for index in 0..self.others.len() {
            done.drift.push(match (drifts.get(&(number, index)), here) {
                (Some(drift), _) => vec![drift.clone()],
                (None, Some(here)) if !here.spending.is_over()? => {
                    let (files, first, second) = open(&mut opened, here.worker, bin).await?.by_second(index).await?;
                    let drift = BinDrift { cpu_us: here.spending.charge()?, ..drift(files, first, &second) };
                    vec![here.records.create(&drift_name(number, index), drift).await?]
                }
                (None, _) => Vec::new(),
            });
        }
        Ok(done)
    }

    /// Works on the bin of one file, and keeps what is said of that file.
    async fn work_on(&self, worker: &AuditWorker, only: &str) -> anyhow::Result<Done> {
        let is_it = |name: &Name| name.path == only || name.repo.as_ref().is_some_and(|repo| format!("{repo}/{}", name.path) == only);
        let Some(bin) = self.sample.bins.iter().find(|bin| bin.iter().any(|(name, _)| is_it(name))) else {
            bail!("night {} does not cover {only}: name the night whose sample has it by --night, or take --preset full", self.plan.night);
        };
        let mut done = Done::default();
        let mut opened = worker.open(bin).await?;
        for (name, condition) in &self.conditions {
            done.verdicts.extend(opened.under(name, condition).await?.verdicts);
        }
        done.verdicts.retain(|verdict| is_it(&Name { repo: verdict.repo.clone(), path: verdict.path.clone() }));
        Ok(done)
    }

    /// The bins by their numbers.
    fn numbered(&self) -> anyhow::Result<Vec<(u32, &Bin)>> {
        let numbered = self.sample.bins.iter().enumerate().map(|(number, bin)| Ok((u32::try_from(number)?, bin.as_slice())));
        numbered.collect::<anyhow::Result<_>>().map_err(|_| anyhow!("a night of more bins than there are numbers for them"))
    }

    fn units(&self) -> anyhow::Result<BTreeSet<Unit>> {
        let bins = self.numbered()?.into_iter();
        Ok(bins.flat_map(|(number, _)| self.conditions.iter().map(move |(name, _)| (number, name.clone()))).collect())
    }

    /// What a cluster is asked for.
    fn job_of(&self) -> anyhow::Result<AuditJob> {
        Ok(AuditJob {
            audit: self.audit.to_string(),
            job: self.job.clone(),
            bins: u32::try_from(self.sample.bins.len())?,
            conditions: self.conditions.iter().cloned().collect(),
        })
    }

    /// What is on record of second interpreters, by bin and interpreter.
    async fn recorded_drifts(&self, records: &AuditRecords) -> bytefacts_landing::Result<BTreeMap<(u32, usize), BinDrift>> {
        let mut drifts = BTreeMap::new();
        if self.others.is_empty() {
            return Ok(drifts);
        }
        for bin in 0..u32::try_from(self.sample.bins.len()).unwrap_or(u32::MAX) {
            for index in 0..self.others.len() {
                if let Some(drift) = records.read(&drift_name(bin, index)).await? {
                    drifts.insert((bin, index), drift);
                }
            }
        }
        Ok(drifts)
    }
}

fn drift_name(bin: u32, index: usize) -> String {
    format!("{DRIFT}/{bin:06}/{index}.json")
}

/// The bin, whose sources are read when the first condition needs them.
async fn open<'a, 'b>(
    opened: &'b mut Option<OpenBin<'a>>,
    worker: &'a AuditWorker,
    bin: &[(Name, FileFacts)],
) -> anyhow::Result<&'b mut OpenBin<'a>> {
    if opened.is_none() {
        *opened = Some(worker.open(bin).await?);
    }
    opened.as_mut().context("a bin that was opened is open")
}
