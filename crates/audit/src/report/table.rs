//! The results as rows: `determinism_audit_v1`, one for each file and condition that the night looked at, and `determinism_summary_v1`, one for
//! each condition.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;

use super::Report;
use crate::Digest;
use crate::night::Verdict;

/// The rows of `determinism_audit_v1`.
///
/// # Errors
/// Never for what this crate makes.
pub fn audit_batch(report: &Report, verdicts: &[Verdict]) -> Result<RecordBatch, ArrowError> {
    let plan = &report.plan;
    let texts = |of: &dyn Fn(&Verdict) -> Option<String>| Arc::new(verdicts.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let numbers = |of: &dyn Fn(&Verdict) -> Option<i64>| Arc::new(verdicts.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    let digest = |digest: Option<Digest>| digest.map(hex::encode);
    let first = |of: &dyn Fn(&crate::digests::Digests) -> Option<Digest>| texts(&|verdict| digest(verdict.first.as_ref().and_then(of)));
    let second = |of: &dyn Fn(&crate::digests::Digests) -> Option<Digest>| texts(&|verdict| digest(verdict.second.as_ref().and_then(of)));
    let difference = |of: &dyn Fn(&crate::difference::Difference) -> String| texts(&|verdict| verdict.difference.as_ref().map(of));
    RecordBatch::try_from_iter([
        ("audit", texts(&|_| Some(plan.audit.clone()))),
        ("run", texts(&|_| Some(plan.run.clone()))),
        ("night", numbers(&|_| i64::try_from(plan.night).ok())),
        ("repo", texts(&|verdict| verdict.repo.clone())),
        ("path", texts(&|verdict| Some(verdict.path.clone()))),
        ("condition", texts(&|verdict| Some(verdict.condition.clone()))),
        ("verdict", texts(&|verdict| Some(verdict.kind.as_str().to_owned()))),
        ("cause", texts(&|verdict| verdict.cause.clone())),
        ("reason", texts(&|verdict| Some(verdict.reason.clone()))),
        ("unit", difference(&|found| found.unit.clone())),
        ("field", difference(&|found| found.field.clone())),
        ("value_first", difference(&|found| found.left.clone())),
        ("value_second", difference(&|found| found.right.clone())),
        ("forms", texts(&|_| Some(report.forms.join(" ")))),
        ("raw_first", first(&|digests| digests.raw)),
        ("raw_second", second(&|digests| digests.raw)),
        ("marshal_first", first(&|digests| digests.marshal)),
        ("marshal_second", second(&|digests| digests.marshal)),
        ("facts_first", first(&|digests| Some(digests.facts))),
        ("facts_second", second(&|digests| Some(digests.facts))),
        ("shape_first", first(&|digests| digests.shape)),
        ("shape_second", second(&|digests| digests.shape)),
    ])
}

/// The rows of `determinism_summary_v1`.
///
/// # Errors
/// Never for what this crate makes.
pub fn summary_batch(report: &Report) -> Result<RecordBatch, ArrowError> {
    let (plan, rows) = (&report.plan, &report.conditions_counted);
    let texts = |of: &dyn Fn(&super::ConditionCounts) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let numbers = |of: &dyn Fn(&super::ConditionCounts) -> u64| {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX)))) as ArrayRef
    };
    RecordBatch::try_from_iter([
        ("audit", texts(&|_| plan.audit.clone())),
        ("run", texts(&|_| plan.run.clone())),
        ("run_digest", texts(&|_| plan.run_digest.clone())),
        ("night", numbers(&|_| plan.night)),
        ("nights", numbers(&|_| plan.nights)),
        ("preset", texts(&|_| plan.preset.clone())),
        ("matrix", texts(&|_| plan.matrix.clone())),
        ("condition", texts(&|row| row.name.clone())),
        ("about", texts(&|row| row.about.clone())),
        ("files", numbers(&|_| report.files)),
        ("sampled", numbers(&|_| report.sampled)),
        ("covered", numbers(&|_| report.covered)),
        ("good", numbers(&|row| row.counts.good)),
        ("bad", numbers(&|row| row.counts.bad)),
        ("fail", numbers(&|row| row.counts.fail)),
        ("unknown", numbers(&|row| row.counts.unknown)),
        ("streams", numbers(&|row| row.streams)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::night::{Kind, unknown};
    use crate::report::tests::report;

    #[test]
    fn rows_are_one_for_each_verdict_and_each_condition() {
        let report = report(3);
        let name = crate::changes::Name { repo: None, path: "a".to_owned() };
        let verdicts = [unknown(&name, "c", Some("C39"), "why"), unknown(&name, "d", None, "")];
        let rows = audit_batch(&report, &verdicts).unwrap();
        assert_eq!((rows.num_rows(), Kind::Unknown.as_str()), (2, "unknown"));
        assert_eq!(summary_batch(&report).unwrap().num_rows(), 2);
    }
}
