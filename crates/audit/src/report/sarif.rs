//! The report as SARIF 2.1.0: causes are rules, findings are results with a fingerprint that stays from night to night.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Report, file_name};
use crate::cause;
use crate::night::Kind;

/// Results that readers take: GitHub takes 25,000 a run and shows 5,000. The worst come first.
const MOST_RESULTS: usize = 5_000;

/// The report as a SARIF log. `known` are the names of the findings that were there when their files were covered last, if there was an audit before.
#[must_use]
pub fn log(report: &Report, known: Option<&BTreeSet<String>>) -> Value {
    let findings: Vec<_> = report.findings.iter().take(MOST_RESULTS).collect();
    let mut codes: Vec<&str> = findings.iter().filter_map(|finding| finding.verdict.cause.as_deref()).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| {
            let title = cause::by_code(code).map_or("", |cause| cause.title);
            json!({ "id": code, "shortDescription": { "text": title }, "defaultConfiguration": { "level": "error" } })
        })
        .collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let verdict = &finding.verdict;
            let code = verdict.cause.as_deref().unwrap_or("X00");
            let place = json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&file_name(verdict)) } } });
            let mut result = json!({
                "ruleId": code,
                "ruleIndex": codes.iter().position(|other| *other == code).unwrap_or_default(),
                "level": if verdict.kind == Kind::Bad { "error" } else { "warning" },
                "message": { "text": format!("{}: {} (repeat: {})", verdict.condition, verdict.reason, finding.repeat) },
                "locations": [place],
                "partialFingerprints": { "bytefacts/v1": finding.id },
                "properties": { "condition": verdict.condition },
            });
            if let (Some(known), Some(result)) = (known, result.as_object_mut()) {
                let state = if known.contains(&finding.id) { "unchanged" } else { "new" };
                result.insert("baselineState".to_owned(), state.into());
            }
            if let (Some(allowed), Some(result)) = (&finding.allowed, result.as_object_mut()) {
                let why = format!("{} (until {}, {}, {})", allowed.reason, allowed.until, allowed.owner, allowed.link);
                result.insert("suppressions".to_owned(), json!([{ "kind": "external", "status": "accepted", "justification": why }]));
            }
            result
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "bytefacts audit", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "properties": { "run": report.plan.run, "night": report.plan.night, "findings": report.findings.len(), "verdicts": report.verdicts },
            "results": results,
        }],
    })
}

/// A relative path as a reference: RFC 3986 allows few characters.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn results_name_rules_that_are_there_and_stay_below_what_readers_take() {
        let log = log(&report(6_000), None);
        let run = &log["runs"][0];
        let (rules, results) = (run["tool"]["driver"]["rules"].as_array().unwrap(), run["results"].as_array().unwrap());
        assert_eq!((results.len(), &run["properties"]["findings"]), (MOST_RESULTS, &json!(6_000)));
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
        assert!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().starts_with("r/a%3C"));
        assert_eq!(results[0]["level"], "error");
        assert!(results[0].get("baselineState").is_none() && results[0].get("suppressions").is_none());
    }

    #[test]
    fn what_was_found_before_is_told_from_what_is_new() {
        let report = report(10);
        let known = BTreeSet::from([report.findings[3].id.clone()]);
        let log = log(&report, Some(&known));
        let states: Vec<_> = log["runs"][0]["results"].as_array().unwrap().iter().map(|result| result["baselineState"].clone()).collect();
        assert_eq!(states.iter().filter(|state| *state == "new").count(), 9);
        assert_eq!(states[3], "unchanged");
    }
}
