//! Bins as rows: what `AnalyzeExec` takes. A row names its bin and where that is written down, and holds none of its files.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray as _, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::common::{Result, internal_err};

/// The schema of `AnalyzeExec`'s input: one row a bin, which names the bin and where it is written down.
pub(crate) fn bins_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("bin_id", DataType::Int32, false),
        Field::new("shard", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("length", DataType::Int64, false),
    ]))
}

/// A row of [`bins_schema`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BinRow {
    /// The bin.
    pub(crate) bin: u32,
    /// The key of the shard of bins that it is in.
    pub(crate) shard: String,
    /// Where it begins there, in bytes.
    pub(crate) offset: u64,
    /// Its length there, in bytes.
    pub(crate) length: u64,
}

impl BinRow {
    /// The bytes of the shard that are the bin's.
    ///
    /// # Errors
    /// When there can be no such part of anything: a row may be anybody's.
    pub(crate) fn range(&self) -> Result<Range<u64>> {
        match self.offset.checked_add(self.length) {
            Some(end) => Ok(self.offset..end),
            None => internal_err!("bin {} lies beyond the end of any shard: {} + {}", self.bin, self.offset, self.length),
        }
    }
}

/// Rows of [`bins_schema`] as a batch.
///
/// # Errors
/// Never: the columns are those of the schema.
pub(crate) fn bins_batch(rows: &[BinRow]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(
        bins_schema(),
        vec![
            Arc::new(rows.iter().map(|r| r.bin.cast_signed()).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|r| Some(r.shard.as_str())).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.offset.cast_signed()).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.length.cast_signed()).collect::<Int64Array>()),
        ],
    )?)
}

/// The rows of a batch of [`bins_schema`].
///
/// # Errors
/// When it is none.
pub(crate) fn bin_rows(batch: &RecordBatch) -> Result<Vec<BinRow>> {
    let long = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let bin = batch.column_by_name("bin_id").and_then(|c| c.as_primitive_opt::<Int32Type>());
    let shard = batch.column_by_name("shard").and_then(|c| c.as_string_opt::<i32>());
    let (Some(bin), Some(shard), Some(offset), Some(length)) = (bin, shard, long("offset"), long("length")) else {
        return internal_err!("rows that name no bins: {}", batch.schema());
    };
    let row = |i| BinRow {
        bin: bin.value(i).cast_unsigned(),
        shard: shard.value(i).to_owned(),
        offset: offset.value(i).cast_unsigned(),
        length: length.value(i).cast_unsigned(),
    };
    Ok((0..bin.len()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers travel as signed ones, so that the greatest of them look like -1: they come back, and together they are no range.
    #[test]
    fn a_bin_beyond_the_end_of_any_shard_is_refused() {
        let row = |offset, length| BinRow { bin: 7, shard: "s".to_owned(), offset, length };
        let sent = [row(0, 3), row(u64::MAX - 3, 3), row(u64::MAX, 1), row(1, u64::MAX), row(u64::MAX, u64::MAX)];
        let came = bin_rows(&bins_batch(&sent).unwrap()).unwrap();
        assert_eq!(came, sent);
        let ranges: Vec<_> = came.iter().map(|row| row.range().ok()).collect();
        assert_eq!(ranges, [Some(0..3), Some(u64::MAX - 3..u64::MAX), None, None, None]);
    }
}
