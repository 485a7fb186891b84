//! The results as columns: of `determinism_audit_v1`, a row for each file and condition that the night looked at, and of `determinism_summary_v1`, a
//! row for each condition. Their names, types and meanings are those of the tables that SQL shows, which `bytefacts_query::listings` defines: whoever
//! writes them puts both together.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

use super::Report;
use crate::Digest;
use crate::night::Verdict;

/// The columns of `determinism_audit_v1`, in its order.
#[must_use]
pub fn audit_columns(report: &Report, verdicts: &[Verdict]) -> Vec<ArrayRef> {
    let plan = &report.plan;
    let texts = |of: &dyn Fn(&Verdict) -> Option<String>| Arc::new(verdicts.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let numbers = |of: &dyn Fn(&Verdict) -> Option<i64>| Arc::new(verdicts.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    let digest = |digest: Option<Digest>| digest.map(hex::encode);
    let first = |of: &dyn Fn(&crate::digests::Digests) -> Option<Digest>| texts(&|verdict| digest(verdict.first.as_ref().and_then(of)));
    let second = |of: &dyn Fn(&crate::digests::Digests) -> Option<Digest>| texts(&|verdict| digest(verdict.second.as_ref().and_then(of)));
    let difference = |of: &dyn Fn(&crate::difference::Difference) -> String| texts(&|verdict| verdict.difference.as_ref().map(of));
    vec![
        texts(&|_| Some(plan.audit.clone())),
        texts(&|_| Some(plan.run.clone())),
        numbers(&|_| i64::try_from(plan.night).ok()),
        texts(&|verdict| verdict.repo.clone()),
        texts(&|verdict| Some(verdict.path.clone())),
        texts(&|verdict| Some(verdict.condition.clone())),
        texts(&|verdict| Some(verdict.kind.as_str().to_owned())),
        texts(&|verdict| verdict.cause.clone()),
        texts(&|verdict| verdict.gap.map(|gap| gap.as_str().to_owned())),
        texts(&|verdict| Some(verdict.reason.clone())),
        difference(&|found| found.unit.clone()),
        difference(&|found| found.field.clone()),
        difference(&|found| found.left.clone()),
        difference(&|found| found.right.clone()),
        texts(&|_| Some(report.forms.join(" "))),
        first(&|digests| digests.raw),
        second(&|digests| digests.raw),
        first(&|digests| digests.marshal),
        second(&|digests| digests.marshal),
        first(&|digests| Some(digests.facts)),
        second(&|digests| Some(digests.facts)),
        first(&|digests| digests.shape),
        second(&|digests| digests.shape),
    ]
}

/// The columns of `determinism_summary_v1`, in its order.
#[must_use]
pub fn summary_columns(report: &Report) -> Vec<ArrayRef> {
    let (plan, rows) = (&report.plan, &report.conditions_counted);
    let texts = |of: &dyn Fn(&super::ConditionCounts) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let numbers = |of: &dyn Fn(&super::ConditionCounts) -> u64| {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX)))) as ArrayRef
    };
    vec![
        texts(&|_| plan.audit.clone()),
        texts(&|_| plan.run.clone()),
        texts(&|_| plan.run_digest.clone()),
        numbers(&|_| plan.night),
        numbers(&|_| plan.nights),
        texts(&|_| plan.preset.clone()),
        texts(&|_| plan.matrix.clone()),
        Arc::new(rows.iter().map(|_| Some(report.complete)).collect::<BooleanArray>()),
        texts(&|row| row.name.clone()),
        texts(&|row| row.about.clone()),
        numbers(&|_| report.files),
        numbers(&|_| report.sampled),
        numbers(&|_| report.covered),
        numbers(&|row| row.counts.good),
        numbers(&|row| row.counts.bad),
        numbers(&|row| row.counts.fail),
        numbers(&|row| row.counts.unknown),
        numbers(&|row| row.streams),
    ]
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};

    use super::*;
    use crate::night::{Gap, unknown};
    use crate::report::tests::report;

    #[test]
    fn rows_are_one_for_each_verdict_and_each_condition() {
        let report = report(3);
        let name = crate::changes::Name { repo: None, path: "a".to_owned() };
        let verdicts = [unknown(&name, "c", Gap::SourceGone, "why"), unknown(&name, "d", Gap::Budget, "")];
        let columns = audit_columns(&report, &verdicts);
        assert!(columns.iter().all(|column| column.len() == 2));
        assert_eq!(columns[7].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("C39"), None]);
        assert_eq!(columns[8].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("source_gone"), Some("budget")]);
        assert!(summary_columns(&report).iter().all(|column| column.len() == 2));
    }
}
