//! `AuditTable`: a night's bins under conditions, as a table. Scanning it plans what has no record yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_landing::RunId;
use bytefacts_stores::Stores;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, not_impl_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::exec::{AuditExec, audited_schema, units_batch, units_schema};
use super::job::AuditJob;
use super::records::AuditRecords;
use super::unit::level;
use crate::error::{landing_error, lasting};

/// Tasks that a night of few bins is cut into at least, as far as it has so many units. One of many bins has a task for each: its first derivation is
/// made once, as where nothing is spread.
const TASKS: usize = 64;

/// A night whose scan derives its bins.
#[derive(Debug)]
pub struct AuditTable {
    audit: AuditJob,
    stores: Arc<Stores>,
}

impl AuditTable {
    /// The table of an audit. Nothing is read before it is scanned.
    #[must_use]
    pub fn new(audit: AuditJob, stores: Arc<Stores>) -> Self {
        Self { audit, stores }
    }

    /// What is asked.
    #[must_use]
    pub fn audit(&self) -> &AuditJob {
        &self.audit
    }

    /// The units without a record, as the tasks that they are done in.
    async fn tasks(&self) -> Result<Vec<Vec<(u32, String)>>> {
        let facts = self.stores.open_facts(&self.audit.job.facts).map_err(lasting)?;
        let records = AuditRecords::new(facts, RunId::new(self.audit.audit.as_str()).map_err(lasting)?);
        let recorded = records.recorded().await.map_err(landing_error)?;
        // Those of one level of optimisation together: they are compared with the same first derivation.
        let mut conditions: Vec<_> = self.audit.conditions.iter().map(|(name, condition)| (level(condition), name)).collect();
        conditions.sort();
        let units = (0..self.audit.bins).flat_map(|bin| conditions.iter().map(move |(_, name)| (bin, (*name).clone())));
        let units: Vec<_> = units.filter(|unit| !recorded.contains(unit)).collect();
        Ok(cut(units))
    }
}

/// Cuts units into tasks, each of one bin.
fn cut(units: Vec<(u32, String)>) -> Vec<Vec<(u32, String)>> {
    let mut bins: BTreeMap<u32, Vec<(u32, String)>> = BTreeMap::new();
    for unit in units {
        bins.entry(unit.0).or_default().push(unit);
    }
    let parts = TASKS.div_ceil(bins.len().max(1));
    bins.values().flat_map(|units| units.chunks(units.len().div_ceil(parts).max(1))).map(<[_]>::to_vec).collect()
}

#[async_trait]
impl TableProvider for AuditTable {
    fn schema(&self) -> SchemaRef {
        audited_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>, // every unit is derived, whatever the limit
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if projection.is_some_and(|columns| !columns.iter().copied().eq(0..audited_schema().fields().len())) {
            return not_impl_err!("an audit is asked for with all of its columns");
        }
        let tasks = self.tasks().await?;
        let mut partitions: Vec<Vec<RecordBatch>> = tasks.iter().map(|task| Ok(vec![units_batch(task)?])).collect::<Result<_>>()?;
        if partitions.is_empty() {
            // Others have been faster. A source without a partition is none.
            partitions.push(vec![units_batch(&[])?]);
        }
        let source = MemorySourceConfig::try_new_exec(&partitions, units_schema(), None)?;
        Ok(Arc::new(AuditExec::new(self.audit.clone(), source, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(bins: u32, conditions: usize) -> Vec<(u32, String)> {
        (0..bins).flat_map(|bin| (0..conditions).map(move |condition| (bin, format!("c{condition}")))).collect()
    }

    #[test]
    fn few_bins_are_cut_and_many_are_a_task_each() {
        for (bins, conditions, tasks) in [(0, 9, 0), (1, 1, 1), (3, 2, 6), (27, 20, 81), (64, 9, 64), (1000, 9, 1000)] {
            let all = units(bins, conditions);
            let cut = cut(all.clone());
            assert_eq!(cut.len(), tasks, "{bins} × {conditions}");
            assert!(cut.iter().all(|task| task.iter().all(|unit| unit.0 == task[0].0)), "a task is of one bin");
            assert_eq!(cut.concat(), all);
        }
    }
}
