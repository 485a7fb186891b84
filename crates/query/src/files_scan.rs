//! What a scan reads of a run, before it is a plan: so that several scans of one run can become one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema};
use bytefacts_facts::schema as facts_schema;
use bytefacts_landing::LandedFile;
use bytefacts_stores::Place;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::error::external;
use crate::skipping::select;

/// The data files of a run that may hold a row that passes a filter on the columns of the root table.
#[derive(Clone, Debug)]
pub(crate) struct FilesScan {
    place: Place,
    /// All files of the run.
    run: Arc<Vec<LandedFile>>,
    /// The positions of those that are read, unless they are all.
    kept: Option<Arc<BTreeSet<usize>>>,
    /// What spares row groups, pages and rows. Rows that do not pass may come all the same.
    predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl FilesScan {
    pub(crate) fn new(place: Place, run: Arc<Vec<LandedFile>>, predicate: Option<Arc<dyn PhysicalExpr>>) -> Self {
        let kept = predicate.as_ref().map(|predicate| {
            let selected: BTreeSet<&str> =
                select(&run, Some(predicate), &facts_schema()).into_iter().map(|file| file.key.as_str()).collect();
            let positions = (0..).zip(run.iter()).filter(|(_, file)| selected.contains(file.key.as_str())).map(|(position, _)| position);
            Arc::new(positions.collect())
        });
        Self { place, run, kept, predicate }
    }

    /// Whether both are of one run, as it was looked up once.
    pub(crate) fn is_of_same_run(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.run, &other.run)
    }

    /// What is in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let predicate = match (&self.predicate, &other.predicate) {
            (Some(one), Some(two)) if one != two => {
                Some(Arc::new(BinaryExpr::new(Arc::clone(one), Operator::And, Arc::clone(two))) as Arc<dyn PhysicalExpr>)
            }
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        let kept = match (&self.kept, &other.kept) {
            (Some(one), Some(two)) => Some(Arc::new(one.intersection(two).copied().collect())),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Self { kept, predicate, ..self.clone() }
    }

    /// What is in one of both, and perhaps more.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let predicate = if self.predicate == other.predicate { self.predicate.clone() } else { None };
        let kept = self.kept.as_ref().zip(other.kept.as_ref()).map(|(one, two)| Arc::new(one.union(two).copied().collect()));
        Self { kept, predicate, ..self.clone() }
    }

    fn files(&self) -> impl Iterator<Item = &LandedFile> {
        let is_kept = |position: &usize| self.kept.as_ref().is_none_or(|kept| kept.contains(position));
        (0..).zip(self.run.iter()).filter(move |(position, _)| is_kept(position)).map(|(_, file)| file)
    }

    /// How many source files there are, exactly if all of them are read.
    pub(crate) fn rows(&self) -> Precision<usize> {
        self.sum(|file| Some(file.rows))
    }

    /// How many elements a list has, by the names that lead to it joined by dots; unknown of files that were landed before they were counted. It is
    /// exact if all of them are read.
    pub(crate) fn elements(&self, path: &str) -> Precision<usize> {
        // What an older file lacks it has no element of.
        self.sum(|file| (!file.elements.is_empty()).then(|| file.elements.get(path).copied().unwrap_or(0)))
    }

    fn sum(&self, of: impl Fn(&LandedFile) -> Option<u64>) -> Precision<usize> {
        let sum = self.files().map(of).sum::<Option<u64>>().and_then(|sum| usize::try_from(sum).ok());
        match (sum, &self.predicate) {
            (Some(sum), None) => Precision::Exact(sum),
            (Some(sum), Some(_)) => Precision::Inexact(sum),
            (None, _) => Precision::Absent,
        }
    }

    /// A scan of some columns in this order, each with as much nested in it as its field has, which may be less than the files have; `rows` is how
    /// many source files make a batch.
    pub(crate) fn plan(
        &self,
        columns: &Fields,
        limit: Option<usize>,
        rows: Option<usize>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let contract = facts_schema();
        let narrowed = contract.fields().iter().map(|field| columns.find(field.name()).map_or(field, |(_, narrowed)| narrowed).clone());
        let file_schema = Arc::new(Schema::new_with_metadata(narrowed.collect::<Vec<_>>(), contract.metadata().clone()));
        let wanted = columns.iter().map(|field| Ok(file_schema.index_of(field.name())?)).collect::<Result<Vec<_>>>()?;
        if self.files().next().is_none() {
            // A scan of no files has no partitions, and an aggregate above it would answer no row.
            return Ok(Arc::new(EmptyExec::new(Arc::new(file_schema.project(&wanted)?))));
        }
        let statistics = Statistics::new_unknown(&file_schema).with_num_rows(self.rows());
        let mut source = ParquetSource::new(TableSchema::from(Arc::clone(&file_schema)));
        if let Some(predicate) = &self.predicate {
            // Row groups and pages whose statistics refuse the filter are skipped, and of rows that do not pass nothing but the filter's columns
            // is decoded.
            source = source.with_predicate(Arc::clone(predicate)).with_pushdown_filters(true);
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(&self.place.root)?, Arc::new(source))
            .with_file_groups(self.groups(partitions)?)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit)
            .with_batch_size(rows)
            .with_statistics(statistics)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The files in their order, in groups of about equal bytes.
    fn groups(&self, partitions: usize) -> Result<Vec<FileGroup>> {
        let facts = self.place.facts();
        let (partitions, all) = (partitions.max(1) as u64, self.files().map(|file| file.bytes).sum::<u64>().max(1));
        let (mut groups, mut before): (Vec<Vec<PartitionedFile>>, u64) = (Vec::new(), 0);
        let mut group = None;
        for file in self.files() {
            let path = facts.path_of(&file.key).map_err(external)?;
            let mut partitioned = PartitionedFile::new(path.to_string(), file.bytes);
            partitioned.object_meta.location = path; // `new` would parse the key a second time
            // By where its middle lies in all bytes.
            let of_file = (before + file.bytes / 2) * partitions / all;
            before += file.bytes;
            match groups.last_mut().filter(|_| group == Some(of_file)) {
                Some(last) => last.push(partitioned),
                None => groups.push(vec![partitioned]),
            }
            group = Some(of_file);
        }
        Ok(groups.into_iter().map(FileGroup::new).collect())
    }
}
