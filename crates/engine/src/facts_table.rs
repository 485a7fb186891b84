//! `FactsTable`: a committed run as the table `bytecode_files_v1`.
//!
//! The run is looked up when the table is scanned, so that a session that lives for days sees a new run as soon as it is current. Only files that
//! the manifest names are read: what lies beside them may belong to an attempt that lost.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use bytefacts_facts::schema as facts_schema;
use bytefacts_landing::{FactsStore, LandedFile, Manifest, RunId};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::local;
use crate::stores::Place;

/// A run of facts as a table.
#[derive(Debug)]
pub struct FactsTable {
    place: Place,
    run: Option<RunId>,
}

impl FactsTable {
    /// The current run of the facts at `place`, or the run of a given id.
    #[must_use]
    pub fn new(place: Place, run: Option<RunId>) -> Self {
        Self { place, run }
    }

    fn facts(&self) -> FactsStore {
        self.place.facts()
    }

    /// The manifest of the run that the table shows now.
    async fn manifest(&self) -> Result<Manifest> {
        let facts = self.facts();
        let run = match &self.run {
            Some(run) => run.clone(),
            None => match facts.current().await.map_err(local)? {
                Some(current) => current.run_id,
                None => return plan_err!("no run has been committed to these facts yet: extract a corpus into them first"),
            },
        };
        match facts.manifest(&run).await.map_err(local)? {
            Some(manifest) => Ok(manifest),
            None => plan_err!("run {run} is not committed: `bytefacts runs` lists those that are"),
        }
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
        let manifest = self.manifest().await?;
        let (on_repo, on_rows): (Vec<_>, Vec<_>) =
            filters.iter().cloned().partition(|f| !f.is_volatile() && f.column_refs().iter().all(|column| column.name == PARTITION));
        let files = select(manifest.files, on_repo, state)?;

        // In the files the partition column is missing; the scan appends it last, the contract has it first.
        let contract = facts_schema();
        let in_files = contract.fields().iter().filter(|field| field.name() != PARTITION);
        let in_files: Vec<_> = in_files.map(|field| columns.find(field.name()).map_or(field, |(_, narrowed)| narrowed)).cloned().collect();
        let file_schema = Arc::new(Schema::new_with_metadata(in_files, contract.metadata().clone()));
        let wanted = columns.iter().map(|field| file_schema.index_of(field.name()).unwrap_or(file_schema.fields().len())).collect();
        let table_schema = TableSchema::builder(file_schema)
            .with_table_partition_cols(vec![Arc::new(Field::new(PARTITION, DataType::Utf8, true))])
            .build();

        let mut source = ParquetSource::new(table_schema);
        if let Some(predicate) = conjunction(on_rows) {
            // Row groups whose statistics refuse the filter are skipped.
            let columns = DFSchema::try_from(contract)?;
            source = source.with_predicate(state.create_physical_expr(predicate, &columns)?);
        }
        let facts = self.facts();
        let files = files.into_iter().map(|file| {
            let path = facts.path_of(&file.key).map_err(local)?;
            let mut partitioned = PartitionedFile::new(path.to_string(), file.bytes);
            partitioned.object_meta.location = path; // `new` would parse the key a second time
            Ok(partitioned.with_partition_values(vec![ScalarValue::Utf8(file.repo)]))
        });
        let files = FileGroup::new(files.collect::<Result<Vec<_>>>()?);
        let groups = files.split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.place.root.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit)
            .with_batch_size(rows)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The one column that stands in the files' paths.
const PARTITION: &str = "repo";

#[async_trait]
impl TableProvider for FactsTable {
    fn schema(&self) -> SchemaRef {
        facts_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // A filter on the repository alone chooses files, so no row that it refuses is ever read. The others are tested again above the scan.
        let on_partition = |filter: &&Expr| filter.column_refs().iter().all(|column| column.name == PARTITION);
        let answer = |exact| if exact { TableProviderFilterPushDown::Exact } else { TableProviderFilterPushDown::Inexact };
        Ok(filters.iter().map(|filter| answer(on_partition(filter) && !filter.is_volatile())).collect())
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

/// The files whose repository passes all of `filters`.
fn select(files: Vec<LandedFile>, filters: Vec<Expr>, state: &dyn Session) -> Result<Vec<LandedFile>> {
    let Some(filter) = conjunction(filters) else { return Ok(files) };
    let schema = Arc::new(Schema::new(vec![Field::new(PARTITION, DataType::Utf8, true)]));
    let repos: ArrayRef = Arc::new(files.iter().map(|file| file.repo.as_deref()).collect::<StringArray>());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![repos])?;
    let verdicts = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?.evaluate(&batch)?.into_array(files.len())?;
    let verdicts = verdicts.as_boolean();
    Ok(files.into_iter().enumerate().filter(|(i, _)| verdicts.is_valid(*i) && verdicts.value(*i)).map(|(_, file)| file).collect())
}
