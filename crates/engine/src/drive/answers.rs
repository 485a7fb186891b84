//! What a cluster answers, held against the bins of the run. Records decide; an answer that differs from them is only worth knowing of.

use std::collections::BTreeMap;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytefacts_landing::BinIndex;
use datafusion::common::DataFusionError;

/// Tells of answers that are not one for every bin.
pub(super) fn compare(run: &str, expected: &BinIndex, answers: &[RecordBatch]) {
    match landed_rows(answers) {
        Ok(landed) => {
            if let Some(detail) = coverage_fault(expected, &landed) {
                tracing::warn!(run, detail, "the cluster did not answer for every bin exactly once: its records decide");
            }
        }
        Err(error) => tracing::warn!(run, %error, "the cluster's answer is not readable: its records decide"),
    }
}

/// Rows that each bin's answers claim, in the order of the answers.
fn landed_rows(answers: &[RecordBatch]) -> Result<BTreeMap<u32, Vec<u64>>, DataFusionError> {
    let mut landed: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for batch in answers {
        let bins = batch.column(0).as_primitive_opt::<Int32Type>();
        let rows = batch.column(1).as_primitive_opt::<Int64Type>();
        let (Some(bins), Some(rows)) = (bins, rows) else {
            return Err(DataFusionError::Internal(format!("unexpected answer of a job: {}", batch.schema())));
        };
        for i in 0..bins.len() {
            landed.entry(bins.value(i).cast_unsigned()).or_default().push(rows.value(i).cast_unsigned());
        }
    }
    Ok(landed)
}

/// What is wrong with the answers, if anything: a bin that is missing, doubled, unknown, or of other rows than it has files.
fn coverage_fault(expected: &BinIndex, landed: &BTreeMap<u32, Vec<u64>>) -> Option<String> {
    let mut faults = Vec::new();
    for (number, bin) in expected.numbered() {
        match landed.get(&number).map_or(&[][..], Vec::as_slice) {
            [rows] if *rows == bin.files => {}
            [] => faults.push(format!("bin {number} is missing")),
            [rows] => faults.push(format!("bin {number} has {rows} rows for {} files", bin.files)),
            answers => faults.push(format!("bin {number} came back {} times", answers.len())),
        }
    }
    let is_known = |bin: &u32| usize::try_from(*bin).is_ok_and(|bin| bin < expected.bins.len());
    faults.extend(landed.keys().filter(|bin| !is_known(bin)).map(|bin| format!("bin {bin} is not of this run")));
    const SHOWN: usize = 5;
    let more = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    let text = faults.join(", ");
    (!text.is_empty()).then(|| if more > 0 { format!("{text}, and {more} more") } else { text })
}

#[cfg(test)]
mod tests {
    use bytefacts_landing::IndexedBin;

    use super::*;

    /// Bins of so many files each.
    fn expect(files: &[u64]) -> BinIndex {
        let first = bytefacts_landing::FileName::new(None, "a.py");
        let bin = |files| IndexedBin { shard: 0, offset: 0, length: 0, files, source_bytes: 0, cost_us: 0, first: first.clone() };
        BinIndex { shards: Vec::new(), bins: files.iter().map(|files| bin(*files)).collect() }
    }

    #[test]
    fn each_bin_once_with_a_row_a_file_is_no_fault() {
        let landed = BTreeMap::from([(0, vec![3]), (1, vec![2])]);
        assert_eq!(coverage_fault(&expect(&[3, 2]), &landed), None);
    }

    #[test]
    fn every_kind_of_fault_is_named() {
        let landed = BTreeMap::from([(0, vec![3, 3]), (1, vec![1]), (9, vec![1])]);
        assert_eq!(
            coverage_fault(&expect(&[3, 2, 1]), &landed).as_deref(),
            Some("bin 0 came back 2 times, bin 1 has 1 rows for 2 files, bin 2 is missing, bin 9 is not of this run")
        );
    }

    #[test]
    fn a_long_list_of_faults_is_cut() {
        assert!(coverage_fault(&expect(&[1; 8]), &BTreeMap::new()).unwrap().ends_with("bin 4 is missing, and 3 more"));
    }
}
