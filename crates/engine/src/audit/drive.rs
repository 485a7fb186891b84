//! The client's side of an audit on a cluster: submit it until every unit has a record, or the CPU time of the night is spent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytefacts_landing::LandingError;
use datafusion::common::DataFusionError;
use futures::{StreamExt as _, TryStreamExt as _};

use super::job::AuditJob;
use super::records::{AuditRecords, UnitRecord};
use crate::drive::{JobCluster, JobError, Patience, Watched, supervise};

/// What an audit needs of a cluster beside what a job does.
#[async_trait]
pub trait AuditCluster: JobCluster {
    /// Has the cluster derive what has no record.
    ///
    /// # Errors
    /// When the cluster fails the job, or cannot be reached.
    async fn submit_audit(&self, audit: &AuditJob) -> Result<Vec<RecordBatch>, DataFusionError>;
}

/// Records read at the same time.
const RECORDS: usize = 16;

/// An audit under way, as its records show it.
pub struct AuditWatch<'a> {
    records: &'a AuditRecords,
    units: BTreeSet<(u32, String)>,
    budget: Duration,
    on_files: &'a (dyn Fn(u64) + Send + Sync),
    done: BTreeMap<(u32, String), UnitRecord>,
    spent: Duration,
    said_spent: bool,
}

impl<'a> AuditWatch<'a> {
    /// An audit of these units, of which nothing has been seen yet; `on_files` is told of each record's files when it is seen.
    pub fn new(
        records: &'a AuditRecords,
        units: BTreeSet<(u32, String)>,
        budget: Duration,
        on_files: &'a (dyn Fn(u64) + Send + Sync),
    ) -> Self {
        Self { records, units, budget, on_files, done: BTreeMap::new(), spent: Duration::ZERO, said_spent: false }
    }

    /// Looks for further records.
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn look(&mut self) -> Result<(), LandingError> {
        let recorded = self.records.recorded().await?;
        let new: Vec<_> = recorded.into_iter().filter(|unit| self.units.contains(unit) && !self.done.contains_key(unit)).collect();
        let records = self.records;
        let read = |unit: (u32, String)| async move { Ok((records.unit(unit.0, &unit.1).await?, unit)) };
        let mut found = futures::stream::iter(new).map(read).buffer_unordered(RECORDS);
        while let Some((record, unit)) = found.try_next().await.map_err(|error: LandingError| error)? {
            let Some(record) = record else { continue };
            self.spent += Duration::from_micros(record.cpu_us);
            (self.on_files)(record.verdicts.len() as u64);
            self.done.insert(unit, record);
        }
        Ok(())
    }

    /// How many records were seen.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.done.len()
    }

    /// Charges CPU time, in microseconds, that other records say was spent.
    pub fn charge(&mut self, cpu_us: u64) {
        self.spent += Duration::from_micros(cpu_us);
    }

    /// CPU time that the records say was spent, by whomever.
    #[must_use]
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// What is on record, as far as it was seen.
    #[must_use]
    pub fn into_done(self) -> BTreeMap<(u32, String), UnitRecord> {
        self.done
    }

    fn has_all(&self) -> bool {
        self.done.len() == self.units.len()
    }
}

#[async_trait]
impl Watched for AuditWatch<'_> {
    fn name(&self) -> &str {
        self.records.audit().as_str()
    }

    async fn look(&mut self) -> Result<(), JobError> {
        Self::look(self).await?;
        if !self.said_spent && !self.has_all() && self.spent >= self.budget {
            // Executors finish the units that they are at, and begin no others.
            self.records.say_spent().await?;
            self.said_spent = true;
        }
        Ok(())
    }

    fn done(&self) -> usize {
        self.done.len()
    }

    fn is_whole(&self) -> bool {
        self.has_all() || self.said_spent
    }

    async fn notes(&self) -> Result<BTreeSet<String>, LandingError> {
        self.records.notes().await
    }
}

/// Has a cluster derive the units of an audit that have no record, and waits until they have, or the budget is spent. Everything that the cluster
/// has recorded is then in `watch`.
///
/// # Errors
/// See [`JobError`]. Whatever failed, what is on record is not done again.
pub async fn run_audit(
    cluster: &dyn AuditCluster,
    audit: &AuditJob,
    watch: &mut AuditWatch<'_>,
    patience: Patience,
) -> Result<(), JobError> {
    supervise(cluster, || cluster.submit_audit(audit), watch, patience).await?;
    Ok(())
}
