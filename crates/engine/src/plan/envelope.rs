//! What travels from `AnalyzeExec` to `LandExec` beside a row's facts: which bin it belongs to and what making it took.
//!
//! These columns stand behind the contract's columns in the stream and are never written to a file.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::common::{Result, internal_err};

use crate::metrics::FileMetrics;

/// The envelope of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// The bin that the row belongs to.
    pub(crate) bin: u32,
    /// Files of that bin, so that whoever lands it knows whether it is whole.
    pub(crate) bin_files: u64,
    /// The row stands for a whole bin that an earlier attempt has landed; its facts mean nothing.
    pub(crate) landed: bool,
    /// What making the row took.
    pub(crate) metrics: FileMetrics,
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

/// `facts` followed by the columns of envelopes.
pub(crate) fn schema_with_envelopes(facts: &Schema) -> SchemaRef {
    use DataType::{Boolean, Int32, Int64};
    let types = [Int32, Int64, Boolean, Int64, Int64, Int64, Int64, Int64, Boolean, Boolean, Boolean, Int64, Boolean];
    let envelopes = NAMES.iter().zip(types).map(|(name, data_type)| Arc::new(Field::new(*name, data_type, false)));
    Arc::new(Schema::new_with_metadata(facts.fields().iter().cloned().chain(envelopes).collect::<Vec<_>>(), facts.metadata().clone()))
}

/// Appends envelopes to a batch of facts, one a row.
///
/// # Errors
/// When they are not as many as the rows.
pub(crate) fn attach(facts: &RecordBatch, envelopes: &[Envelope], schema: &SchemaRef) -> Result<RecordBatch> {
    let signed =
        |get: fn(&Envelope) -> u64| -> ArrayRef { Arc::new(envelopes.iter().map(|e| get(e).cast_signed()).collect::<Int64Array>()) };
    let flag = |get: fn(&Envelope) -> bool| -> ArrayRef { Arc::new(envelopes.iter().map(|e| Some(get(e))).collect::<BooleanArray>()) };
    let mut columns = facts.columns().to_vec();
    columns.extend([
        Arc::new(envelopes.iter().map(|e| e.bin.cast_signed()).collect::<Int32Array>()) as ArrayRef,
        signed(|e| e.bin_files),
        flag(|e| e.landed),
        signed(|e| e.metrics.units),
        signed(|e| e.metrics.instructions),
        signed(|e| e.metrics.source_bytes),
        signed(|e| e.metrics.compile_cpu_us),
        signed(|e| e.metrics.analyse_us),
        flag(|e| e.metrics.cache_hit),
        flag(|e| e.metrics.shared_hit),
        flag(|e| e.metrics.judged),
        signed(|e| e.metrics.differences),
        flag(|e| e.metrics.reproducible),
    ]);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// A row that stands for the whole of a landed bin.
///
/// # Errors
/// When `schema` has columns that are neither nullable nor text.
pub(crate) fn landed_marker(bin: u32, schema: &SchemaRef) -> Result<RecordBatch> {
    let facts: Vec<_> = schema.fields().iter().take(schema.fields().len().saturating_sub(NAMES.len())).cloned().collect();
    let column = |field: &Arc<Field>| -> ArrayRef {
        if field.is_nullable() { new_null_array(field.data_type(), 1) } else { Arc::new(StringArray::from(vec![""])) }
    };
    let columns = facts.iter().map(column).collect();
    let row = RecordBatch::try_new(Arc::new(Schema::new(facts)), columns)?;
    attach(&row, &[Envelope { bin, landed: true, ..Envelope::default() }], schema)
}

/// Splits a batch into its facts and their envelopes: the inverse of [`attach`].
///
/// # Errors
/// When the last columns are none of envelopes.
pub(crate) fn detach(batch: &RecordBatch) -> Result<(RecordBatch, Vec<Envelope>)> {
    let Some(first) = batch.num_columns().checked_sub(NAMES.len()) else { return internal_err!("a batch without envelopes") };
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
        return internal_err!("envelopes of unexpected types: {}", batch.schema());
    };
    let envelopes = (0..batch.num_rows())
        .map(|row| Envelope {
            bin: bin.value(row).cast_unsigned(),
            bin_files: bin_files.value(row).cast_unsigned(),
            landed: landed.value(row),
            metrics: FileMetrics {
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
            },
        })
        .collect();
    let facts = batch.project(&(0..first).collect::<Vec<_>>())?;
    Ok((facts, envelopes))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn detach_gives_back_what_attach_took() {
        let schema = Schema::new(vec![Field::new("path", DataType::Utf8, false)]);
        let facts = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(StringArray::from(vec!["a.py", "b.py"]))]).unwrap();
        let metrics = FileMetrics { units: 3, instructions: 40, source_bytes: 100, compile_cpu_us: 9, ..FileMetrics::default() };
        let other = FileMetrics { cache_hit: true, shared_hit: true, judged: true, differences: 5, ..FileMetrics::default() };
        let envelopes = [
            Envelope { bin: 7, bin_files: 9, landed: false, metrics },
            Envelope { bin: u32::MAX, bin_files: 0, landed: true, metrics: other },
        ];
        let batch = attach(&facts, &envelopes, &schema_with_envelopes(&schema)).unwrap();
        let (back, detached) = detach(&batch).unwrap();
        assert_eq!(back.columns(), facts.columns());
        assert_eq!(detached, envelopes);
    }

    #[test]
    fn a_batch_of_other_columns_is_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("path", DataType::Utf8, false)]));
        assert!(detach(&RecordBatch::new_empty(schema)).is_err());
    }
}
