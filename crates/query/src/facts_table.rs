//! `FactsTable`: a committed run as the table `bytecode_files_v1`.
//!
//! The run is looked up when the table is scanned, so that a session that lives for days sees a new run as soon as it is current. Its list of
//! files never changes and is fetched once. Only files that the manifest names are read: what lies beside them may belong to an attempt that
//! lost, or to another run.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt64Array};
use arrow::datatypes::{Fields, Schema, SchemaRef};
use async_trait::async_trait;
use bytefacts_facts::schema as facts_schema;
use bytefacts_landing::{FactsStore, LandedFile, RunId};
use bytefacts_stores::Place;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::error::external;

/// A run of facts as a table.
#[derive(Debug)]
pub struct FactsTable {
    place: Place,
    run: Option<RunId>,
    /// The files of the run that was scanned last.
    files: Mutex<Option<(RunId, Arc<Vec<LandedFile>>)>>,
}

impl FactsTable {
    /// The current run of the facts at `place`, or the run of a given id.
    #[must_use]
    pub fn new(place: Place, run: Option<RunId>) -> Self {
        Self { place, run, files: Mutex::new(None) }
    }

    /// Some of the files of a run, and nothing else of it.
    pub(crate) fn of_files(place: Place, run: RunId, files: Vec<LandedFile>) -> Self {
        Self { place, run: Some(run.clone()), files: Mutex::new(Some((run, Arc::new(files)))) }
    }

    fn facts(&self) -> FactsStore {
        self.place.facts()
    }

    /// The files of the run that the table shows now.
    async fn files(&self) -> Result<Arc<Vec<LandedFile>>> {
        let facts = self.facts();
        let run = match &self.run {
            Some(run) => run.clone(),
            None => match facts.current().await.map_err(external)? {
                Some(current) => current.run_id,
                None => return plan_err!("no run has been committed to these facts yet: extract a corpus into them first"),
            },
        };
        if let Some((of, files)) = &*self.files.lock().unwrap_or_else(PoisonError::into_inner)
            && *of == run
        {
            return Ok(Arc::clone(files));
        }
        let Some(document) = facts.committed(&run).await.map_err(external)? else {
            return plan_err!("run {run} is not committed: `bytefacts runs` lists those that are");
        };
        let files = Arc::new(facts.files(&document).await.map_err(external)?);
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, Arc::clone(&files)));
        Ok(files)
    }

    /// A scan of some columns in this order, each with as much nested in it as its field has, which may be less than the files have; `rows` is how
    /// many files make a batch.
    pub(crate) async fn read(
        &self,
        state: &dyn Session,
        columns: &Fields,
        filters: &[Expr],
        limit: Option<usize>,
        rows: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let contract = facts_schema();
        let filters = filters.iter().filter(|filter| !filter.is_volatile()).cloned();
        let predicate = match conjunction(filters) {
            Some(filter) => Some(state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&contract))?)?),
            None => None,
        };
        let all = self.files().await?;
        let files = select(&all, predicate.as_ref(), &contract);

        let narrowed = contract.fields().iter().map(|field| columns.find(field.name()).map_or(field, |(_, narrowed)| narrowed).clone());
        let file_schema = Arc::new(Schema::new_with_metadata(narrowed.collect::<Vec<_>>(), contract.metadata().clone()));
        let wanted = columns.iter().map(|field| Ok(file_schema.index_of(field.name())?)).collect::<Result<Vec<_>>>()?;
        if files.is_empty() {
            // A scan of no files has no partitions, and an aggregate above it would answer no row.
            return Ok(Arc::new(EmptyExec::new(Arc::new(file_schema.project(&wanted)?))));
        }
        let mut source = ParquetSource::new(TableSchema::from(Arc::clone(&file_schema)));
        if let Some(predicate) = predicate {
            // Row groups whose statistics refuse the filter are skipped.
            source = source.with_predicate(predicate);
        }
        let facts = self.facts();
        let files = files.into_iter().map(|file| {
            let path = facts.path_of(&file.key).map_err(external)?;
            let mut partitioned = PartitionedFile::new(path.to_string(), file.bytes);
            partitioned.object_meta.location = path; // `new` would parse the key a second time
            Ok(partitioned)
        });
        let files = FileGroup::new(files.collect::<Result<Vec<_>>>()?);
        let groups = files.split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(&self.place.root)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit)
            .with_batch_size(rows)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[async_trait]
impl TableProvider for FactsTable {
    fn schema(&self) -> SchemaRef {
        facts_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // A filter may spare files and row groups; rows are tested above the scan.
        Ok(filters.iter().map(|_| TableProviderFilterPushDown::Inexact).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(facts_schema().project(columns)?),
            None => facts_schema(),
        };
        self.read(state, schema.fields(), filters, limit, None).await
    }
}

/// The files that may hold a row that passes the filter, by the names that they span. Skipping is no more than a help: where it does not work, all
/// are read.
fn select<'a>(files: &'a [LandedFile], filter: Option<&Arc<dyn PhysicalExpr>>, schema: &SchemaRef) -> Vec<&'a LandedFile> {
    let Some(filter) = filter else { return files.iter().collect() };
    let pruning = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(Arc::clone(filter));
    match pruning.and_then(|pruning| pruning.prune(&Spans(files))) {
        Ok(kept) => files.iter().zip(kept).filter_map(|(file, kept)| kept.then_some(file)).collect(),
        Err(error) => {
            tracing::debug!(%error, "no file can be skipped by this filter");
            files.iter().collect()
        }
    }
}

/// What the manifest says of the columns `repo` and `path` of each file. Rows are sorted by both, without a repository first.
struct Spans<'a>(&'a [LandedFile]);

impl Spans<'_> {
    fn texts<'b>(&'b self, of: impl Fn(&'b LandedFile) -> Option<&'b str>) -> ArrayRef {
        Arc::new(self.0.iter().map(of).collect::<StringArray>())
    }
}

/// Whether all rows are of one repository, or of none.
fn is_of_one(file: &LandedFile) -> bool {
    file.first.repo == file.last.repo
}

impl PruningStatistics for Spans<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            // Of a file that begins without a repository, the least that there may be is the empty text; if it ends so, there is none.
            "repo" => Some(self.texts(|file| file.last.repo.as_ref().map(|_| file.first.repo.as_deref().unwrap_or_default()))),
            "path" => Some(self.texts(|file| is_of_one(file).then_some(file.first.path.as_str()))),
            _ => None,
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name.as_str() {
            "repo" => Some(self.texts(|file| file.last.repo.as_deref())),
            "path" => Some(self.texts(|file| is_of_one(file).then_some(file.last.path.as_str()))),
            _ => None,
        }
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = |file: &LandedFile| match column.name.as_str() {
            "path" => Some(0),
            "repo" if file.first.repo.is_some() => Some(0),
            "repo" if file.last.repo.is_none() => Some(file.rows),
            _ => None,
        };
        matches!(column.name.as_str(), "repo" | "path").then(|| Arc::new(self.0.iter().map(nulls).collect::<UInt64Array>()) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.iter().map(|file| Some(file.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

#[cfg(test)]
mod tests {
    use bytefacts_landing::FileName;
    use datafusion::prelude::{SessionContext, col, lit};

    use super::*;

    type Name = (Option<&'static str>, &'static str);

    /// Files from the first to the last of these names.
    fn files(spans: &[(Name, Name)]) -> Vec<LandedFile> {
        let name = |(repo, path): Name| FileName::new(repo, path);
        let file = |(number, (first, last)): (usize, &(Name, Name))| LandedFile {
            key: number.to_string(),
            rows: 5,
            bytes: 1,
            sha256: String::new(),
            first: name(*first),
            last: name(*last),
        };
        spans.iter().enumerate().map(file).collect()
    }

    fn kept(files: &[LandedFile], filter: Expr) -> String {
        let schema = facts_schema();
        let columns = DFSchema::try_from(Arc::clone(&schema)).unwrap();
        let filter = SessionContext::new().create_physical_expr(filter, &columns).unwrap();
        select(files, Some(&filter), &schema).iter().map(|file| file.key.as_str()).collect()
    }

    #[test]
    fn a_filter_spares_the_files_that_cannot_have_a_row_for_it() {
        let files = files(&[
            ((None, "a.py"), (None, "z.py")),
            ((None, "b.py"), (Some("a"), "m.py")),
            ((Some("a"), "m.py"), (Some("a"), "z.py")),
            ((Some("a"), "z.py"), (Some("c"), "b.py")),
            ((Some("d"), "a.py"), (Some("d"), "c.py")),
        ]);
        assert_eq!(kept(&files, col("repo").eq(lit("a"))), "123");
        assert_eq!(kept(&files, col("repo").eq(lit("b"))), "3");
        assert_eq!(kept(&files, col("repo").eq(lit(""))), "1", "a repository of no name sorts behind no repository");
        assert_eq!(kept(&files, col("repo").eq(lit("x"))), "");
        assert_eq!(kept(&files, col("repo").is_null()), "01");
        assert_eq!(kept(&files, col("repo").is_not_null()), "1234");
        assert_eq!(kept(&files, col("repo").in_list(vec![lit("b"), lit("d")], false)), "34");
        assert_eq!(kept(&files, col("path").eq(lit("n.py"))), "0123");
        assert_eq!(kept(&files, col("path").lt(lit("a.py"))), "13");
        assert_eq!(kept(&files, col("repo").eq(lit("a")).and(col("path").gt(lit("n.py")))), "123");
        assert_eq!(kept(&files, col("repo").eq(lit("d")).or(col("path").eq(lit("0.py")))), "134");
        assert_eq!(kept(&files, col("file_id").eq(lit("x"))), "01234");
    }
}
