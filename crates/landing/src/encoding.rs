//! How columns are encoded: the cheapest in CPU that is still small.
//!
//! A row of the root holds tens of thousands of values, nearly all of them in some ninety nested columns, so that this is
//! what landing costs. A dictionary hashes each value: that pays for text of few distinct values, and for nothing else.
//! Statistics are kept only where readers filter.

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::errors::Result;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use crate::writer::WriterOptions;

/// Written into each file as its author. Fixed, so that the same rows give the same bytes whatever library wrote them.
const CREATED_BY: &str = "bytefacts";

/// Columns of the root that readers filter by.
const FILTERED: [&str; 3] = ["path", "file_id", "file_sha256"];

/// Properties of files of this schema.
pub(crate) fn properties(schema: &Schema, options: &WriterOptions) -> Result<WriterProperties> {
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let names = leaf_names(schema);
    let level = ZstdLevel::try_new(options.zstd_level)?;
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
        .set_dictionary_enabled(false)
        // Deeply nested leaves have many levels a row: fewer, larger batches of them.
        .set_write_batch_size(8192)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_sorting_columns(sorting(&names));
    for (name, column) in names.iter().zip(columns.columns()) {
        if FILTERED.contains(&name.as_str()) {
            properties = properties.set_column_statistics_enabled(column.path().clone(), EnabledStatistics::Chunk);
        }
        if matches!(column.physical_type(), Type::INT32 | Type::INT64) {
            // Offsets, lines and depths move in small steps, so that little is left for zstd.
            properties = properties.set_column_encoding(column.path().clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if options.dictionaries.iter().any(|suffix| ends_with(name, suffix)) {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), true);
        }
    }
    Ok(properties.build())
}

/// Files are sorted by path.
fn sorting(names: &[String]) -> Option<Vec<SortingColumn>> {
    let index = names.iter().position(|name| name == "path")?;
    Some(vec![SortingColumn { column_idx: i32::try_from(index).ok()?, descending: false, nulls_first: false }])
}

/// Whether the dotted `name` ends in the dotted `suffix`.
fn ends_with(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Names of the leaf columns in order: dotted, without what Parquet adds for lists.
fn leaf_names(schema: &Schema) -> Vec<String> {
    let mut names = Vec::new();
    for field in schema.fields() {
        add_leaves(field, field.name(), &mut names);
    }
    names
}

fn add_leaves(field: &Field, name: &str, names: &mut Vec<String>) {
    match field.data_type() {
        DataType::Struct(fields) => {
            for field in fields {
                add_leaves(field, &format!("{name}.{}", field.name()), names);
            }
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => {
            add_leaves(item, name, names);
        }
        _ => names.push(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Fields;
    use parquet::schema::types::ColumnPath;
    use std::sync::Arc;

    /// `{code: [{opname, line}], attrs: {key: value}, path}`.
    fn schema() -> Schema {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let unit = Fields::from(vec![text("opname"), Field::new("line", DataType::Int32, true)]);
        let units = Arc::new(Field::new("item", DataType::Struct(unit), true));
        let entry = Fields::from(vec![Field::new("keys", DataType::Utf8, false), text("values")]);
        let entries = Arc::new(Field::new("entries", DataType::Struct(entry), false));
        Schema::new(vec![
            Field::new("code", DataType::List(units), true),
            Field::new("attrs", DataType::Map(entries, false), true),
            text("path"),
        ])
    }

    #[test]
    fn leaves_are_named_without_what_parquet_adds() {
        assert_eq!(leaf_names(&schema()), ["code.opname", "code.line", "attrs.keys", "attrs.values", "path"]);
        let columns = ArrowSchemaConverter::new().convert(&schema()).unwrap();
        assert_eq!(columns.num_columns(), 5);
    }

    #[test]
    fn dictionaries_are_for_the_named_columns_and_statistics_for_filters() {
        let options = WriterOptions { dictionaries: vec!["code.opname".into(), "keys".into(), "name".into()], ..WriterOptions::default() };
        let properties = properties(&schema(), &options).unwrap();
        let columns = ArrowSchemaConverter::new().convert(&schema()).unwrap();
        let paths: Vec<&ColumnPath> = columns.columns().iter().map(|c| c.path()).collect();
        let dictionaries = paths.iter().map(|path| properties.dictionary_enabled(path));
        // `opname` ends in `name` as text, but not as a path.
        assert_eq!(dictionaries.collect::<Vec<_>>(), [true, false, true, false, false]);
        assert_eq!(properties.statistics_enabled(paths[4]), EnabledStatistics::Chunk);
        assert_eq!(properties.statistics_enabled(paths[0]), EnabledStatistics::None);
        assert_eq!(properties.sorting_columns().unwrap()[0].column_idx, 4);
    }
}
