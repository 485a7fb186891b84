//! What a file says about itself, and which of its columns have statistics.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use crate::EncodeOptions;

/// Written into each file as its author, in the form that parquet-java parses: it warns of others and may ignore their
/// statistics. It names the crate's version and, in the place of a commit, the revision of the encoding, which goes up when
/// the same rows give other bytes: so builds of one version write the same bytes, whatever they were made from.
const CREATED_BY: &str = concat!("bytefacts version ", env!("CARGO_PKG_VERSION"), " (build 2)");

/// What rows are sorted by, as far as the schema has it. A row without a repository comes first.
const SORTED: [&str; 2] = ["repo", "path"];

/// How the files of one schema are written.
#[derive(Debug, Clone)]
pub struct FileProperties {
    pub(super) columns: SchemaDescriptor,
    pub(super) properties: WriterPropertiesPtr,
    pub(super) level: ZstdLevel,
    pub(super) leaf_bytes: usize,
    pub(super) page_bytes: usize,
}

impl FileProperties {
    /// Properties of files for rows of this schema, which are sorted by repository, if they have one, and path.
    ///
    /// # Errors
    /// If Parquet has no such columns, or zstd no such level.
    pub fn new(schema: &Schema, options: &EncodeOptions) -> Result<Self> {
        let schema = &plain_schema(schema);
        let columns = ArrowSchemaConverter::new().convert(schema)?;
        let level = ZstdLevel::try_new(options.zstd_level)?;
        let mut sorting = Vec::new();
        for name in SORTED {
            if let Some(index) = columns.columns().iter().position(|column| column.path().parts() == [name]) {
                let column_idx = i32::try_from(index).map_err(|error| ParquetError::External(error.into()))?;
                sorting.push(SortingColumn { column_idx, descending: false, nulls_first: name == "repo" });
            }
        }
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_sorting_columns(Some(sorting).filter(|sorting| !sorting.is_empty()));
        for column in columns.columns().iter().filter(|column| column.max_rep_level() == 0) {
            properties = properties.set_column_statistics_enabled(column.path().clone(), EnabledStatistics::Page);
        }
        let mut properties = properties.build();
        add_encoded_arrow_schema_to_metadata(schema, &mut properties);
        Ok(Self { columns, properties: properties.into(), level, leaf_bytes: options.leaf_bytes, page_bytes: options.page_bytes })
    }

    /// Whether a column has statistics.
    pub(super) fn has_statistics(&self, column: &ColumnPath) -> bool {
        self.properties.statistics_enabled(column) != EnabledStatistics::None
    }
}

/// The schema with texts in the place of their dictionaries, which files have.
fn plain_schema(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| plain_field(field));
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

fn plain_field(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| plain_field(field)).collect()),
        DataType::List(element) => DataType::List(Arc::new(plain_field(element))),
        DataType::Map(entry, sorted) => DataType::Map(Arc::new(plain_field(entry)), *sorted),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}
