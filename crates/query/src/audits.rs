//! What audits have found, as tables: the Parquet files that the headers of concluded audits name, and no others.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytefacts_landing::AuditDocument;
use bytefacts_stores::Place;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::error::external;

/// One of the tables of audits: as many rows as all nights have found, so that they are read as a query wants them and never held together.
#[derive(Debug)]
pub(crate) struct AuditTable {
    place: Place,
    name: &'static str,
    schema: SchemaRef,
}

impl AuditTable {
    pub(crate) fn new(place: Place, name: &'static str, schema: SchemaRef) -> Self {
        Self { place, name, schema }
    }

    /// The files, those of the oldest audit first.
    async fn files(&self) -> Result<Vec<AuditDocument>> {
        let audits = self.place.facts().audits().await.map_err(external)?;
        let of_table = audits.into_iter().rev().filter_map(|mut audit| audit.header.documents.remove(self.name));
        Ok(of_table.filter(|file| file.rows > 0).collect())
    }
}

#[async_trait]
impl TableProvider for AuditTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // A filter may spare row groups and pages; rows are tested above the scan.
        Ok(filters.iter().map(|_| TableProviderFilterPushDown::Inexact).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, files) = (self.schema(), self.files().await?);
        if files.is_empty() {
            // A scan of no files has no partitions, and an aggregate above it would answer no row.
            let columns = projection.map_or_else(|| Ok(Arc::clone(&schema)), |columns| schema.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(columns)));
        }
        let rows = files.iter().map(|file| file.rows).sum::<u64>();
        let rows = usize::try_from(rows)
            .map_or(Precision::Absent, |rows| if filters.is_empty() { Precision::Exact(rows) } else { Precision::Inexact(rows) });
        let mut source = ParquetSource::new(TableSchema::from(Arc::clone(&schema)));
        if let Some(filter) = conjunction(filters.iter().filter(|filter| !filter.is_volatile()).cloned()) {
            source = source.with_predicate(state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&schema))?)?);
        }
        let facts = self.place.facts();
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); state.config().target_partitions().clamp(1, files.len())];
        let count = groups.len();
        for (number, file) in files.iter().enumerate() {
            let path = facts.path_of(&file.key).map_err(external)?;
            let mut partitioned = PartitionedFile::new(path.to_string(), file.bytes);
            partitioned.object_meta.location = path; // `new` would parse the key a second time
            if let Some(group) = groups.get_mut(number % count) {
                group.push(partitioned);
            }
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(&self.place.root)?, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_statistics(Statistics::new_unknown(&schema).with_num_rows(rows))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
