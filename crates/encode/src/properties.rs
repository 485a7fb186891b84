//! What a file says about itself, and which of its columns have statistics.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::Result;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use crate::EncodeOptions;

/// Written into each file as its author. Fixed, so that the same rows give the same bytes whatever library wrote them.
const CREATED_BY: &str = "bytefacts";

/// Columns of the root that readers filter by, which have their least and greatest value in each row group.
const FILTERED: [&str; 3] = ["path", "file_id", "file_sha256"];

/// How the files of one schema are written.
#[derive(Debug, Clone)]
pub struct FileProperties {
    pub(super) columns: SchemaDescriptor,
    pub(super) properties: WriterPropertiesPtr,
    pub(super) level: ZstdLevel,
}

impl FileProperties {
    /// Properties of files for rows of this schema, which are sorted by path.
    ///
    /// # Errors
    /// If Parquet has no such columns, or zstd no such level.
    pub fn new(schema: &Schema, options: &EncodeOptions) -> Result<Self> {
        let schema = &plain_schema(schema);
        let columns = ArrowSchemaConverter::new().convert(schema)?;
        let level = ZstdLevel::try_new(options.zstd_level)?;
        let by_path = columns.columns().iter().position(|column| column.path().string() == "path");
        let sorting = by_path.and_then(|index| i32::try_from(index).ok()).map(|column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: false,
        });
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_sorting_columns(sorting.map(|column| vec![column]));
        for name in FILTERED {
            properties = properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Chunk);
        }
        let mut properties = properties.build();
        add_encoded_arrow_schema_to_metadata(schema, &mut properties);
        Ok(Self { columns, properties: properties.into(), level })
    }

    /// Whether a column has statistics.
    pub(super) fn has_bounds(&self, column: &ColumnPath) -> bool {
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
