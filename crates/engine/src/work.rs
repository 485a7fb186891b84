//! What travels from `AnalyzeExec` to `LandExec` beside a row's facts: which bin it belongs to and what making it took.
//!
//! These columns stand behind the contract's columns in the stream and are never written to a file.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::common::{Result, internal_err};

/// The work record of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The bin that the row belongs to.
    pub bin: u32,
    /// Files of that bin, so that whoever lands it knows whether it is whole.
    pub bin_files: u64,
    /// The row stands for a whole bin that an earlier attempt has landed; its facts mean nothing.
    pub landed: bool,
    /// Units in the file.
    pub units: u64,
    /// Instructions in the file.
    pub instructions: u64,
    /// Bytes of source.
    pub source_bytes: u64,
    /// CPU microseconds that the compile worker spent on the file; 0 when it came from the cache.
    pub compile_cpu_us: u64,
    /// Microseconds that decoding, analysis and the row took.
    pub analyse_us: u64,
    /// Whether the compiled unit came from the node's cache.
    pub cache_hit: bool,
    /// Whether it came from the tier that nodes share.
    pub shared_hit: bool,
    /// Whether an oracle has compared the whole file.
    pub judged: bool,
    /// Values in which the oracle differs.
    pub differences: u64,
    /// Whether the row is what the source makes it, and not what happened to whoever read or compiled it.
    pub reproducible: bool,
}

const NAMES: [&str; 13] = [
    "_bin",
    "_bin_files",
    "_landed",
    "_units",
    "_instructions",
    "_source_bytes",
    "_compile_cpu_us",
    "_analyse_us",
    "_cache_hit",
    "_shared_hit",
    "_judged",
    "_differences",
    "_reproducible",
];

/// `facts` followed by the work columns.
#[must_use]
pub fn schema_with_work(facts: &Schema) -> SchemaRef {
    use DataType::{Boolean, Int32, Int64};
    let types = [Int32, Int64, Boolean, Int64, Int64, Int64, Int64, Int64, Boolean, Boolean, Boolean, Int64, Boolean];
    let work = NAMES.iter().zip(types).map(|(name, data_type)| Arc::new(Field::new(*name, data_type, false)));
    Arc::new(Schema::new_with_metadata(facts.fields().iter().cloned().chain(work).collect::<Vec<_>>(), facts.metadata().clone()))
}

/// Appends the work columns to a batch of facts, one record a row.
///
/// # Errors
/// When the batch and the records differ in length.
pub fn attach(facts: &RecordBatch, work: &[Work], schema: &SchemaRef) -> Result<RecordBatch> {
    let signed = |get: fn(&Work) -> u64| -> ArrayRef { Arc::new(work.iter().map(|w| get(w).cast_signed()).collect::<Int64Array>()) };
    let mut columns = facts.columns().to_vec();
    columns.extend([
        Arc::new(work.iter().map(|w| w.bin.cast_signed()).collect::<Int32Array>()) as ArrayRef,
        signed(|w| w.bin_files),
        Arc::new(work.iter().map(|w| Some(w.landed)).collect::<BooleanArray>()),
        signed(|w| w.units),
        signed(|w| w.instructions),
        signed(|w| w.source_bytes),
        signed(|w| w.compile_cpu_us),
        signed(|w| w.analyse_us),
        Arc::new(work.iter().map(|w| Some(w.cache_hit)).collect::<BooleanArray>()),
        Arc::new(work.iter().map(|w| Some(w.shared_hit)).collect::<BooleanArray>()),
        Arc::new(work.iter().map(|w| Some(w.judged)).collect::<BooleanArray>()),
        signed(|w| w.differences),
        Arc::new(work.iter().map(|w| Some(w.reproducible)).collect::<BooleanArray>()),
    ]);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// A row that stands for the whole of a landed bin.
///
/// # Errors
/// When `schema` has columns that are neither nullable nor text.
pub fn landed_marker(bin: u32, schema: &SchemaRef) -> Result<RecordBatch> {
    let facts: Vec<_> = schema.fields().iter().take(schema.fields().len().saturating_sub(NAMES.len())).cloned().collect();
    let column = |field: &Arc<Field>| -> ArrayRef {
        if field.is_nullable() { new_null_array(field.data_type(), 1) } else { Arc::new(StringArray::from(vec![""])) }
    };
    let columns = facts.iter().map(column).collect();
    let row = RecordBatch::try_new(Arc::new(Schema::new(facts)), columns)?;
    attach(&row, &[Work { bin, landed: true, ..Work::default() }], schema)
}

/// Splits a batch into its facts and its work records: the inverse of [`attach`].
///
/// # Errors
/// When the last columns are not the work columns.
pub fn detach(batch: &RecordBatch) -> Result<(RecordBatch, Vec<Work>)> {
    let Some(first) = batch.num_columns().checked_sub(NAMES.len()) else { return internal_err!("a batch without work columns") };
    let column = |i: usize| batch.column(first + i);
    let int = |i: usize| column(i).as_primitive_opt::<Int64Type>();
    let flag = |i: usize| column(i).as_boolean_opt();
    let bin = column(0).as_primitive_opt::<Int32Type>();
    let (
        Some(bin),
        Some(bin_files),
        Some(landed),
        Some(units),
        Some(instructions),
        Some(bytes),
        Some(cpu),
        Some(analyse),
        Some(hit),
        Some(shared_hit),
        Some(judged),
        Some(differences),
        Some(reproducible),
    ) = (bin, int(1), flag(2), int(3), int(4), int(5), int(6), int(7), flag(8), flag(9), flag(10), int(11), flag(12))
    else {
        return internal_err!("work columns of unexpected types: {}", batch.schema());
    };
    let work = (0..batch.num_rows())
        .map(|row| Work {
            bin: bin.value(row).cast_unsigned(),
            bin_files: bin_files.value(row).cast_unsigned(),
            landed: landed.value(row),
            units: units.value(row).cast_unsigned(),
            instructions: instructions.value(row).cast_unsigned(),
            source_bytes: bytes.value(row).cast_unsigned(),
            compile_cpu_us: cpu.value(row).cast_unsigned(),
            analyse_us: analyse.value(row).cast_unsigned(),
            cache_hit: hit.value(row),
            shared_hit: shared_hit.value(row),
            judged: judged.value(row),
            differences: differences.value(row).cast_unsigned(),
            reproducible: reproducible.value(row),
        })
        .collect();
    let facts = batch.project(&(0..first).collect::<Vec<_>>())?;
    Ok((facts, work))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn detach_gives_back_what_attach_took() {
        let schema = Schema::new(vec![Field::new("path", DataType::Utf8, false)]);
        let facts = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(StringArray::from(vec!["a.py", "b.py"]))]).unwrap();
        let work = [
            Work { bin: 7, bin_files: 9, units: 3, instructions: 40, source_bytes: 100, compile_cpu_us: 9, ..Work::default() },
            Work { bin: u32::MAX, landed: true, cache_hit: true, shared_hit: true, judged: true, differences: 5, ..Work::default() },
        ];
        let batch = attach(&facts, &work, &schema_with_work(&schema)).unwrap();
        let (back, records) = detach(&batch).unwrap();
        assert_eq!(back.columns(), facts.columns());
        assert_eq!(records, work);
    }

    #[test]
    fn a_batch_of_other_columns_is_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("path", DataType::Utf8, false)]));
        assert!(detach(&RecordBatch::new_empty(schema)).is_err());
    }
}
