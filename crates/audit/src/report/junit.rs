//! The report as JUnit XML: a test suite a condition, a case a finding, and one case for all that is good.

use std::fmt::Write as _;

use super::{Finding, Report, escaped, file_name};
use crate::night::Kind;

/// Writes the report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String does not fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, text: &mut String) -> std::fmt::Result {
    // A case each for findings, for what is good and for what is unknown.
    let cases = |name: &str| of(report, name).count() + 2;
    let total: usize = report.conditions_counted.iter().map(|condition| cases(&condition.name)).sum();
    // What is allowed is skipped, not failed.
    let count = |kind: Kind, name: Option<&str>| {
        let of_kind = report.findings.iter().filter(|finding| finding.verdict.kind == kind && finding.allowed.is_none());
        of_kind.filter(|finding| name.is_none_or(|name| finding.verdict.condition == name)).count()
    };
    let (bad, fail) = (count(Kind::Bad, None), count(Kind::Fail, None));
    let name = escaped(&format!("determinism of run {}", report.plan.run));
    writeln!(text, "<testsuites name=\"{name}\" tests=\"{total}\" failures=\"{bad}\" errors=\"{fail}\">")?;
    for condition in &report.conditions_counted {
        let counts = &condition.counts;
        let (name, tests) = (escaped(&condition.name), cases(&condition.name));
        let allowed = of(report, &condition.name).filter(|finding| finding.allowed.is_some()).count();
        let unknown = usize::from(counts.unknown > 0);
        let skipped = unknown + allowed;
        writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{}\" errors=\"{}\" skipped=\"{skipped}\">",
            count(Kind::Bad, Some(&condition.name)),
            count(Kind::Fail, Some(&condition.name))
        )?;
        writeln!(text, "    <testcase classname=\"{name}\" name=\"{} files with the same facts\"/>", counts.good)?;
        write!(text, "    <testcase classname=\"{name}\" name=\"{} files not covered\"", counts.unknown)?;
        writeln!(text, "{}", if unknown == 0 { "/>" } else { "><skipped message=\"the sample rotates\"/></testcase>" })?;
        for finding in of(report, &condition.name) {
            let verdict = &finding.verdict;
            if let Some(allowed) = &finding.allowed {
                writeln!(
                    text,
                    "    <testcase classname=\"{name}\" name=\"{}\"><skipped message=\"{}\"/></testcase>",
                    escaped(&file_name(verdict)),
                    escaped(&format!("allowed until {}: {} ({}, {})", allowed.until, allowed.reason, allowed.owner, allowed.link))
                )?;
                continue;
            }
            let element = if verdict.kind == Kind::Bad { "failure" } else { "error" };
            let cause = escaped(verdict.cause.as_deref().unwrap_or("none"));
            writeln!(
                text,
                "    <testcase classname=\"{name}\" name=\"{}\"><{element} type=\"{cause}\" message=\"{}\">{}</{element}></testcase>",
                escaped(&file_name(verdict)),
                escaped(&verdict.reason),
                escaped(&format!("{}\nrepeat: {}", finding.id, finding.repeat))
            )?;
        }
        writeln!(text, "  </testsuite>")?;
    }
    writeln!(text, "</testsuites>")
}

/// The findings of a condition.
fn of<'a>(report: &'a Report, condition: &'a str) -> impl Iterator<Item = &'a Finding> {
    report.findings.iter().filter(move |finding| finding.verdict.condition == condition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn counts_of_suites_are_those_of_their_cases_and_text_is_escaped() {
        let xml = render(&report(10));
        assert_eq!(xml.matches("<testcase ").count(), 10 + 4);
        assert!(xml.contains("tests=\"14\" failures=\"8\" errors=\"2\""), "{xml}");
        assert_eq!((xml.matches("<failure ").count(), xml.matches("<error ").count()), (8, 2));
        assert!(xml.contains("a&lt;0&gt;&amp;\u{fffd}.py") && !xml.contains('\u{1}'));
    }
}
