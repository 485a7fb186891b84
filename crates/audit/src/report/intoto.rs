//! The report as an in-toto statement: of which run it speaks, what it was asked, and what came out. It is not signed: whoever wants others to trust
//! it signs it.

use serde_json::{Value, json};

use super::{Counts, Report, Standing};

/// Something that the statement is about, by its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Digests in lower hex, by algorithm.
    pub digest: Vec<(&'static str, String)>,
}

/// The statement, whose predicate is `test-result/v0.1` with the counts beside what that demands.
#[must_use]
pub fn statement(report: &Report, subjects: &[Subject]) -> Value {
    let plan = &report.plan;
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|subject| {
            let digest: serde_json::Map<_, _> =
                subject.digest.iter().map(|(algorithm, value)| ((*algorithm).to_owned(), Value::from(value.as_str()))).collect();
            json!({ "name": subject.name, "digest": digest })
        })
        .collect();
    // A condition of which nothing is known has neither passed nor failed.
    let named = |of: &dyn Fn(&Counts) -> bool| -> Vec<&str> {
        report.conditions_counted.iter().filter(|condition| of(&condition.counts)).map(|condition| condition.name.as_str()).collect()
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": match report.standing() { Standing::Passed => "PASSED", Standing::Warned => "WARNED", Standing::Failed => "FAILED" },
            "configuration": [{ "name": "matrix", "digest": { "sha256": plan.matrix } }],
            "passedTests": named(&|counts| counts.bad + counts.fail == 0 && counts.good > 0),
            "warnedTests": named(&|counts| counts.bad == 0 && counts.fail > 0),
            "failedTests": named(&|counts| counts.bad > 0),
            "determinism": {
                "signed": false,
                "audit": plan.audit,
                "run": plan.run,
                "night": plan.night,
                "preset": plan.preset,
                "interpreter": plan.interpreter,
                "forms": report.forms,
                "complete": report.complete,
                "files": report.files,
                "sampled": report.sampled,
                "covered": report.covered,
                "verdicts": report.verdicts,
                "allowed": report.allowed,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn it_names_its_subject_and_says_what_passed_and_that_nobody_signed() {
        let subject = [Subject { name: "run.json".to_owned(), digest: vec![("sha256", "00".repeat(32))] }];
        let clean = statement(&report(0), &subject);
        assert_eq!((&clean["predicate"]["result"], &clean["subject"][0]["digest"]["sha256"]), (&"PASSED".into(), &"00".repeat(32).into()));
        assert_eq!(clean["predicate"]["determinism"]["signed"], false);
        assert_eq!(clean["predicate"]["passedTests"], json!(["hash-seed-1", "reversed"]));
        let found = statement(&report(10), &subject);
        assert_eq!((&found["predicate"]["result"], &found["predicate"]["failedTests"]), (&"FAILED".into(), &json!(["hash-seed-1"])));
        let nothing = Report { covered: 0, ..report(0) };
        assert_eq!(statement(&nothing, &subject)["predicate"]["result"], "WARNED");
    }
}
