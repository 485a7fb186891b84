//! What a night found, counted together; and the forms in which others read it.

pub mod html;
pub mod junit;
pub mod markdown;
pub mod sarif;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::table::{audit_batch, summary_batch};
use crate::cause;
use crate::digests::FORMS;
use crate::drift::Cluster;
use crate::night::{Kind, Verdict};

/// Version of the report's form.
pub const VERSION: u32 = 1;

/// Counts of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The same facts.
    pub good: u64,
    /// Other facts.
    pub bad: u64,
    /// Second derivations that failed.
    pub fail: u64,
    /// Not covered.
    pub unknown: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, kind: Kind, n: u64) {
        match kind {
            Kind::Good => self.good += n,
            Kind::Bad => self.bad += n,
            Kind::Fail => self.fail += n,
            Kind::Unknown => self.unknown += n,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.good + self.bad + self.fail + self.unknown
    }
}

/// What a night was asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the audit.
    pub audit: String,
    /// The run.
    pub run: String,
    /// Its root digest.
    pub run_digest: String,
    /// Where its sources are.
    pub corpus: String,
    /// Where its facts are.
    pub facts: String,
    /// The night.
    pub night: u64,
    /// Nights after which all files were covered.
    pub nights: u64,
    /// The preset.
    pub preset: String,
    /// SHA-256 of the matrix.
    pub matrix: String,
    /// The interpreter of the run.
    pub interpreter: Value,
    /// Conditions by name, and what they are about.
    pub conditions: BTreeMap<String, String>,
    /// Second interpreters: versions and how they are told apart.
    pub others: Vec<String>,
}

/// A condition, counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionCounts {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// Its verdicts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Good ones whose marshal streams differ: informational.
    pub streams: u64,
}

/// A cause, counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCounts {
    /// Its code.
    pub code: String,
    /// What it is.
    pub title: String,
    /// What it did.
    pub kind: Kind,
    /// How often.
    pub count: u64,
}

/// A finding: what is bad or has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable name of it: the same file, condition and cause have the same on any night.
    pub id: String,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The command that repeats it.
    pub repeat: String,
}

/// How a second interpreter compiles the same files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The interpreter.
    pub interpreter: String,
    /// Files that both compiled.
    pub compared: u64,
    /// Files whose code differs.
    pub differing: u64,
    /// Files of which one of them has no code.
    pub failed: u64,
    /// Instructions that it has more.
    pub instructions: i64,
    /// Equal edits, the most frequent first.
    pub clusters: Vec<Cluster>,
}

/// What a night found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub version: u32,
    /// What was asked.
    #[serde(flatten)]
    pub plan: Plan,
    /// Names and versions of the digests that were compared, cheapest first.
    pub forms: Vec<String>,
    /// Files of the run.
    pub files: u64,
    /// Those of this night.
    pub sampled: u64,
    /// Those of them that were derived again.
    pub covered: u64,
    /// All verdicts: one for each file and condition.
    pub verdicts: Counts,
    /// By condition.
    pub conditions_counted: Vec<ConditionCounts>,
    /// Why files and conditions were not covered.
    pub unknown: BTreeMap<String, u64>,
    /// By cause.
    pub causes: Vec<CauseCounts>,
    /// What is bad or has failed.
    pub findings: Vec<Finding>,
    /// Second interpreters.
    pub drift: Vec<DriftReport>,
}

impl Report {
    /// Counts verdicts together. `others` are files, by reason, that no condition covers; `repeat` gives the command that repeats a verdict.
    #[must_use]
    pub fn new(
        plan: Plan,
        verdicts: &[Verdict],
        others: &BTreeMap<String, u64>,
        drift: Vec<DriftReport>,
        repeat: &dyn Fn(&Verdict) -> String,
    ) -> Self {
        let mut by_condition: BTreeMap<&str, (Counts, u64)> =
            plan.conditions.keys().map(|name| (name.as_str(), Default::default())).collect();
        let mut unknown: BTreeMap<String, u64> = BTreeMap::new();
        let mut causes: BTreeMap<(Kind, &str), u64> = BTreeMap::new();
        let mut files: BTreeMap<(&Option<String>, &str), bool> = BTreeMap::new();
        for verdict in verdicts {
            let (counts, streams) = by_condition.entry(&verdict.condition).or_default();
            counts.add(verdict.kind, 1);
            *streams += u64::from(verdict.kind == Kind::Good && verdict.cause.is_some());
            if verdict.kind == Kind::Unknown {
                *unknown.entry(verdict.reason.clone()).or_default() += 1;
            }
            if let Some(cause) = &verdict.cause {
                *causes.entry((verdict.kind, cause)).or_default() += 1;
            }
            *files.entry((&verdict.repo, &verdict.path)).or_default() |= verdict.kind != Kind::Unknown;
        }
        let conditions = plan.conditions.len() as u64;
        let beyond: u64 = others.values().sum();
        for (reason, count) in others {
            *unknown.entry(reason.clone()).or_default() += count * conditions;
        }
        for (counts, _) in by_condition.values_mut() {
            counts.add(Kind::Unknown, beyond);
        }
        let mut total = Counts::default();
        for (counts, _) in by_condition.values() {
            for (kind, n) in
                [(Kind::Good, counts.good), (Kind::Bad, counts.bad), (Kind::Fail, counts.fail), (Kind::Unknown, counts.unknown)]
            {
                total.add(kind, n);
            }
        }
        let conditions_counted = by_condition
            .into_iter()
            .map(|(name, (counts, streams))| ConditionCounts {
                name: name.to_owned(),
                about: plan.conditions.get(name).cloned().unwrap_or_default(),
                counts,
                streams,
            })
            .collect();
        let mut causes: Vec<CauseCounts> = causes
            .into_iter()
            .map(|((kind, code), count)| CauseCounts {
                code: code.to_owned(),
                title: cause::by_code(code).map_or("", |cause| cause.title).to_owned(),
                kind,
                count,
            })
            .collect();
        causes.sort_by(|a, b| (severity(a.kind), b.count, &a.code).cmp(&(severity(b.kind), a.count, &b.code)));
        let mut findings: Vec<Finding> = verdicts
            .iter()
            .filter(|verdict| matches!(verdict.kind, Kind::Bad | Kind::Fail))
            .map(|verdict| Finding { id: finding_id(verdict), verdict: verdict.clone(), repeat: repeat(verdict) })
            .collect();
        findings.sort_by(|a, b| {
            let key = |f: &Finding| {
                (
                    severity(f.verdict.kind),
                    f.verdict.cause.clone(),
                    f.verdict.repo.clone(),
                    f.verdict.path.clone(),
                    f.verdict.condition.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        let (sampled, covered) = (files.len() as u64, files.values().filter(|covered| **covered).count() as u64);
        Self {
            version: VERSION,
            forms: FORMS.map(str::to_owned).to_vec(),
            files: sampled + beyond,
            sampled,
            covered,
            verdicts: total,
            conditions_counted,
            unknown,
            causes,
            findings,
            drift,
            plan,
        }
    }

    /// Whether something is bad or has failed.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        self.verdicts.bad + self.verdicts.fail > 0
    }
}

/// The worst first.
fn severity(kind: Kind) -> u8 {
    match kind {
        Kind::Bad => 0,
        Kind::Fail => 1,
        Kind::Unknown => 2,
        Kind::Good => 3,
    }
}

/// A name that follows from file, condition and cause.
fn finding_id(verdict: &Verdict) -> String {
    use blake2::{Blake2b, Digest as _, digest::consts::U8};
    let mut hash = Blake2b::<U8>::new();
    let parts = [verdict.repo.as_deref().unwrap_or(""), &verdict.path, &verdict.condition, verdict.cause.as_deref().unwrap_or("")];
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// A file as people name it.
#[must_use]
pub fn file_name(verdict: &Verdict) -> String {
    verdict.repo.as_ref().map_or_else(|| verdict.path.clone(), |repo| format!("{repo}/{}", verdict.path))
}

/// Text inside XML and HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML 1.0 has no place for these, not even as references.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::changes::Name;
    use crate::difference::{Difference, FieldKind};
    use crate::drift::Example;
    use crate::night;

    /// A report of so many findings.
    pub(crate) fn report(findings: usize) -> Report {
        let plan = Plan {
            audit: "a".to_owned(),
            run: "r1".to_owned(),
            run_digest: "00".repeat(32),
            corpus: "/corpus".to_owned(),
            facts: "/facts".to_owned(),
            night: 3,
            nights: 7,
            preset: "nightly".to_owned(),
            matrix: "11".repeat(32),
            interpreter: serde_json::json!({ "version": "3.13.0", "magic": "f30d0d0a" }),
            conditions: [("hash-seed-1", "another hash seed"), ("reversed", "the bin from its end")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .into(),
            others: vec!["3.13.1".to_owned()],
        };
        let mut verdicts = Vec::new();
        for n in 0..findings.max(4) {
            let name = Name { repo: Some("r".to_owned()), path: format!("a<{n}>&\u{1}.py") };
            for (index, condition) in ["hash-seed-1", "reversed"].into_iter().enumerate() {
                let mut verdict = night::unknown(&name, condition, None, "");
                verdict.kind = Kind::Good;
                if n < findings && index == 0 {
                    verdict.kind = if n % 5 == 4 { Kind::Fail } else { Kind::Bad };
                    verdict.cause = Some(["C09", "C16", "X00", "C31", "C28"][n % 5].to_owned());
                    verdict.reason = "<it> & it".to_owned();
                    verdict.difference = Some(Difference {
                        unit: "<module>.f@3".to_owned(),
                        field: "instructions[1]".to_owned(),
                        left: "LOAD_CONST ('a', 'b')".to_owned(),
                        right: "LOAD_CONST ('b', 'a')".to_owned(),
                        kind: FieldKind::ConstOrder,
                    });
                } else if n == 1 {
                    verdict.cause = Some("C03".to_owned());
                }
                verdicts.push(verdict);
            }
        }
        let others = [("covered by another night".to_owned(), 60), ("unreadable".to_owned(), 1)].into();
        let example = Example {
            file: "r/x.py".to_owned(),
            unit: "<module>.<genexpr>@2".to_owned(),
            line: Some(2),
            left: vec!["LOAD_FAST .0".to_owned(), "FOR_ITER to L2".to_owned()],
            right: vec!["LOAD_FAST .0".to_owned(), "GET_ITER".to_owned(), "FOR_ITER to L2".to_owned()],
        };
        let cluster = Cluster {
            edit: "GET_ITER inserted before FOR_ITER".to_owned(),
            places: 627,
            files: 116,
            kinds: [("genexpr".to_owned(), 600), ("function".to_owned(), 27)].into(),
            instructions: 627,
            example,
        };
        let drift = DriftReport {
            interpreter: "3.13.1".to_owned(),
            compared: 300,
            differing: 116,
            failed: 0,
            instructions: 627,
            clusters: vec![cluster],
        };
        Report::new(plan, &verdicts, &others, vec![drift], &|verdict| format!("bytefacts audit --only '{}'", file_name(verdict)))
    }

    #[test]
    fn counts_add_up_to_files_times_conditions() {
        let report = report(10);
        assert_eq!(report.files, 10 + 61);
        assert_eq!(report.verdicts.total(), report.files * 2);
        assert_eq!(report.verdicts, Counts { good: 10, bad: 8, fail: 2, unknown: 122 });
        let by_condition: u64 = report.conditions_counted.iter().map(|condition| condition.counts.total()).sum();
        assert_eq!(by_condition, report.verdicts.total());
        assert_eq!(report.unknown.values().sum::<u64>(), report.verdicts.unknown);
        assert_eq!(report.findings.len(), 10);
        assert_eq!(report.conditions_counted[1].streams, 1);
        assert!(report.causes.first().is_some_and(|cause| cause.kind == Kind::Bad));
    }

    #[test]
    fn a_finding_keeps_its_name_from_night_to_night() {
        assert_eq!(report(10).findings.iter().map(|f| f.id.clone()).collect::<Vec<_>>(), {
            let mut other = report(10);
            other.plan.night = 9;
            other.findings.iter().map(|f| f.id.clone()).collect::<Vec<_>>()
        });
        let ids: std::collections::BTreeSet<_> = report(10).findings.into_iter().map(|finding| finding.id).collect();
        assert_eq!(ids.len(), 10);
    }
}
