//! Concluded audits of the run: what their headers name, and whether it adds up.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use bytefacts_facts::validate::{Check, Tally};
use bytefacts_landing::{AuditCounts, AuditHeader, FactsStore, LandingError, Manifest};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::ValidateError;

/// The tables of an audit. Their rows count verdicts in one of two ways.
const TABLES: [(&str, CountsOf); 2] = [("determinism_audit_v1", verdicts), ("determinism_summary_v1", sums)];

/// Counts what is in rows; `None` if they are not the rows of an audit.
type CountsOf = fn(&RecordBatch) -> Option<AuditCounts>;

pub(super) async fn check(facts: &FactsStore, manifest: &Manifest, tally: &mut Tally) -> Result<(), ValidateError> {
    for audit in facts.audits().await?.into_iter().filter(|audit| audit.header.run == manifest.run.run_id) {
        let header = audit.header;
        let name = Some(header.audit.as_str());
        let (whole, expected) = (header.verdicts.total(), header.files.saturating_mul(header.conditions));
        let of_run = header.run_digest == manifest.run.digest && header.files == manifest.run.rows;
        tally.expect(Check::AuditVerdicts, of_run && whole == expected, None, name, || {
            if of_run {
                format!("has {whole} verdicts, not {expected}: {} files under {} conditions", header.files, header.conditions)
            } else {
                "is of a run of another digest, or of another number of files".to_owned()
            }
        });
        for document in header.documents.values() {
            let damaged = match facts.audit_result(document).await {
                Ok(_) => None,
                Err(LandingError::Damaged { reason, .. }) => Some(reason),
                Err(error) => return Err(error.into()),
            };
            tally.expect(Check::AuditDocuments, damaged.is_none(), None, Some(&document.key), || damaged.unwrap_or_default());
        }
        for (table, counts) in TABLES {
            let wrong = tables(facts, &header, table, counts).await?;
            tally.expect(Check::AuditTables, wrong.is_none(), None, name, || format!("{table} {}", wrong.unwrap_or_default()));
        }
    }
    Ok(())
}

/// What is wrong with a table of an audit. One that is gone or damaged is a finding of its own already.
async fn tables(facts: &FactsStore, header: &AuditHeader, table: &str, counts: CountsOf) -> Result<Option<String>, ValidateError> {
    let Some(document) = header.documents.get(table) else { return Ok(Some("is not named by the header".to_owned())) };
    let Ok(bytes) = facts.audit_result(document).await else { return Ok(None) };
    // Parquet's reader may panic on bytes that are none.
    let read = tokio::task::spawn_blocking(move || read(bytes, counts)).await;
    let Ok(Some((rows, found))) = read else { return Ok(Some("cannot be read as what it should be".to_owned())) };
    let (wanted, unknown) = (header.verdicts, found.unknown <= header.verdicts.unknown);
    let same = (found.good, found.bad, found.fail) == (wanted.good, wanted.bad, wanted.fail) && unknown;
    Ok(if rows != document.rows {
        Some(format!("has {rows} rows, the header says {}", document.rows))
    } else if !same {
        Some(format!("counts {found:?}, the header {wanted:?}"))
    } else {
        None
    })
}

fn read(bytes: Bytes, counts: CountsOf) -> Option<(u64, AuditCounts)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).ok()?.build().ok()?;
    let (mut rows, mut sum) = (0, AuditCounts::default());
    for batch in reader {
        let batch = batch.ok()?;
        rows += batch.num_rows() as u64;
        let more = counts(&batch)?;
        sum.good += more.good;
        sum.bad += more.bad;
        sum.fail += more.fail;
        sum.unknown += more.unknown;
    }
    Some((rows, sum))
}

/// Rows that are a verdict each. Files of other nights are in none of them.
fn verdicts(rows: &RecordBatch) -> Option<AuditCounts> {
    let column = rows.column_by_name("verdict")?.as_string_opt::<i32>()?;
    let mut counts = AuditCounts::default();
    for verdict in column {
        match verdict? {
            "good" => counts.good += 1,
            "bad" => counts.bad += 1,
            "fail" => counts.fail += 1,
            "unknown" => counts.unknown += 1,
            _ => return None,
        }
    }
    Some(counts)
}

/// Rows that count the verdicts of a condition.
fn sums(rows: &RecordBatch) -> Option<AuditCounts> {
    let sum = |name: &str| {
        let column = rows.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        (column.null_count() == 0).then(|| column.values().iter().map(|value| u64::try_from(*value).unwrap_or(0)).sum::<u64>())
    };
    Some(AuditCounts { good: sum("good")?, bad: sum("bad")?, fail: sum("fail")?, unknown: sum("unknown")? })
}
