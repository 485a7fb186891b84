//! What a night found, counted together; and the forms in which others read it.

pub mod html;
pub mod intoto;
pub mod junit;
pub mod markdown;
pub mod sarif;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::table::{audit_columns, summary_columns};
use crate::allow::{AllowList, Allowed, Entry, Stale};
use crate::cause;
use crate::digests::FORMS;
use crate::drift::Cluster;
use crate::night::{Gap, Kind, Verdict};
use crate::pyc::Status;

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
    /// Second interpreters: versions, and digests of their binaries by which they are told apart. Where they lie is no result.
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
    /// Why it is let pass, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Allowed>,
}

/// What became of the `.pyc` files of the corpus that the night looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PycReport {
    /// Files by status.
    pub counts: BTreeMap<Status, u64>,
    /// Those that somebody has to look at, by path.
    pub findings: Vec<PycFinding>,
}

/// A `.pyc` file that is not what its source compiles to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PycFinding {
    /// Its path in the corpus.
    pub path: String,
    /// What became of it.
    pub status: Status,
    /// In words.
    pub reason: String,
}

/// What makes a night one that somebody has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// Other facts.
    Bad,
    /// Those, second derivations that failed, and entries of the allow-list that have expired.
    Findings,
    /// Those, and `.pyc` files that are not what their sources compile to.
    Pyc,
    /// Nothing.
    Never,
}

/// What a night came to, by its verdicts alone: what is on record and in statements does not hang on what ends a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of the sample was derived again, and nothing differs, has failed or is allowed no longer.
    Passed,
    /// Nothing differs but what is allowed; something has failed, was left out, or is allowed no longer, or nothing was derived at all.
    Warned,
    /// Something differs.
    Failed,
}

/// An earlier night, for the trend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Night {
    /// Name of its audit.
    pub audit: String,
    /// Its number.
    pub night: u64,
    /// Its preset.
    pub preset: String,
    /// Whether nothing of its sample was left out for want of time.
    pub complete: bool,
    /// Files of the run.
    pub files: u64,
    /// Files that were derived again.
    pub covered: u64,
    /// Its verdicts.
    pub verdicts: Counts,
}

/// How a second interpreter compiles the same files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The interpreter.
    pub interpreter: String,
    /// Files that both compiled, or found the fault of.
    pub compared: u64,
    /// Files whose code or error differs.
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
    /// Whether nothing of the sample was left out because the CPU time was spent.
    pub complete: bool,
    /// All verdicts: one for each file and condition.
    pub verdicts: Counts,
    /// Findings that the allow-list lets pass.
    pub allowed: u64,
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
    /// Entries of the allow-list that have expired.
    pub stale: Vec<Stale>,
    /// Entries of the allow-list that have not, and match no finding of this night.
    #[serde(default)]
    pub unmatched: Vec<Entry>,
    /// `.pyc` files, if the night looked at any.
    pub pyc: Option<PycReport>,
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
        let mut complete = true;
        let mut causes: BTreeMap<(Kind, &str), u64> = BTreeMap::new();
        let mut files: BTreeMap<(&Option<String>, &str), bool> = BTreeMap::new();
        for verdict in verdicts {
            let (counts, streams) = by_condition.entry(&verdict.condition).or_default();
            counts.add(verdict.kind, 1);
            *streams += u64::from(verdict.kind == Kind::Good && verdict.cause.is_some());
            if verdict.kind == Kind::Unknown {
                // The reason may say more, another thing for each file.
                let reason = verdict.gap.map_or_else(|| verdict.reason.clone(), |gap| gap.reason().to_owned());
                *unknown.entry(reason).or_default() += 1;
            }
            complete &= verdict.gap != Some(Gap::Budget);
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
            .map(|verdict| Finding { id: finding_id(verdict), verdict: verdict.clone(), repeat: repeat(verdict), allowed: None })
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
            complete,
            verdicts: total,
            allowed: 0,
            conditions_counted,
            unknown,
            causes,
            findings,
            drift,
            stale: Vec::new(),
            unmatched: Vec::new(),
            pyc: None,
            plan,
        }
    }

    /// Says of the findings which of them a list lets pass on a day, in days since 1970. What another list has said is forgotten.
    pub fn allow(&mut self, list: &AllowList, today: i64) {
        for finding in &mut self.findings {
            finding.allowed = list.allows(&finding.verdict, &file_name(&finding.verdict), today);
        }
        self.allowed = self.findings.iter().filter(|finding| finding.allowed.is_some()).count() as u64;
        let found: Vec<_> = self.findings.iter().map(|finding| (&finding.verdict, file_name(&finding.verdict))).collect();
        self.stale = list.stale(&found, today);
        self.unmatched = list.unmatched(&found, today);
    }

    /// Whether nothing was found that somebody has to look at. What is allowed does not count.
    #[must_use]
    pub fn passes(&self, fail_on: FailOn, max_unknown_share: Option<f64>) -> bool {
        let of = |kind: Kind| self.findings.iter().any(|finding| finding.verdict.kind == kind && finding.allowed.is_none());
        let pyc = || self.pyc.as_ref().is_some_and(|pyc| !pyc.findings.is_empty());
        let found = match fail_on {
            FailOn::Never => return true,
            FailOn::Bad => of(Kind::Bad),
            FailOn::Findings => of(Kind::Bad) || of(Kind::Fail) || !self.stale.is_empty(),
            FailOn::Pyc => of(Kind::Bad) || of(Kind::Fail) || !self.stale.is_empty() || pyc(),
        };
        !found && max_unknown_share.is_none_or(|share| self.unknown_share() <= share)
    }

    /// What it came to.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let differs = |finding: &Finding| finding.verdict.kind == Kind::Bad && finding.allowed.is_none();
        if self.findings.iter().any(differs) {
            Standing::Failed
        } else if self.findings.is_empty() && self.stale.is_empty() && self.complete && self.covered > 0 {
            Standing::Passed
        } else {
            Standing::Warned
        }
    }

    /// How much of the night's sample was not covered, over files and conditions: 0 to 1. What other nights cover does not count.
    #[must_use]
    pub fn unknown_share(&self) -> f64 {
        let conditions = self.plan.conditions.len() as u64;
        let beyond = self.files.saturating_sub(self.sampled) * conditions;
        let all = self.sampled * conditions;
        if all == 0 { 0.0 } else { self.verdicts.unknown.saturating_sub(beyond) as f64 / all as f64 }
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

/// The statement that finds all findings of an audit.
#[must_use]
pub fn findings_sql(audit: &str) -> String {
    format!(
        "SELECT verdict, cause, condition, repo, path, reason FROM bytefacts.determinism_audit_v1 \
         WHERE audit = '{}' AND verdict IN ('bad', 'fail') ORDER BY verdict, cause, repo, path, condition",
        audit.replace('\'', "''")
    )
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
    use crate::edits::{Line, Mark, UnitLines};
    use crate::night;

    /// Five lines of a code object.
    fn sides() -> UnitLines {
        let line = |mark, left: &str, right: &str| {
            let there = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Line { mark, left: there(left), right: there(right) }
        };
        let lines = vec![
            line(Mark::Same, "    3     0 RESUME 0", "    3     0 RESUME 0"),
            line(Mark::Changed, "    4     2 LOAD_CONST ('a', 'b')", "    4     2 LOAD_CONST ('b', 'a')"),
            line(Mark::Added, "", "    4     4 GET_ITER"),
            line(Mark::Removed, "    4     4 <it>", ""),
            line(Mark::Skipped, "12", ""),
        ];
        UnitLines { unit: "<module>.f@3".to_owned(), differs: true, lines }
    }

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
                let mut verdict = night::unknown(&name, condition, Gap::Budget, "");
                (verdict.kind, verdict.gap, verdict.reason) = (Kind::Good, None, String::new());
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
                    if verdict.kind == Kind::Bad {
                        verdict.sides = vec![sides()];
                    }
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
            inserted: 627,
            removed: 0,
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

    /// So many nights before.
    pub(crate) fn nights(count: usize) -> Vec<Night> {
        let night = |n: usize| Night {
            audit: format!("a<{n}>"),
            night: n as u64,
            preset: "<nightly>".to_owned(),
            complete: n.is_multiple_of(2),
            files: 70,
            covered: 10,
            verdicts: Counts { good: 20, bad: (n % 3) as u64, fail: 0, unknown: 120 },
        };
        (0..count).map(night).collect()
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
    fn what_makes_a_night_fail_is_said_by_kind() {
        let (clean, mut found) = (report(0), report(10));
        for fail_on in [FailOn::Bad, FailOn::Findings, FailOn::Pyc, FailOn::Never] {
            assert!(clean.passes(fail_on, None));
            assert_eq!(found.passes(fail_on, None), fail_on == FailOn::Never);
        }
        found.findings.retain(|finding| finding.verdict.kind == Kind::Fail);
        assert!(found.passes(FailOn::Bad, None) && !found.passes(FailOn::Findings, None));
        let finding = PycFinding { path: "a.pyc".to_owned(), status: Status::Differs, reason: String::new() };
        let with_pyc = Report { pyc: Some(PycReport { findings: vec![finding], ..PycReport::default() }), ..report(0) };
        assert!(with_pyc.passes(FailOn::Findings, None) && !with_pyc.passes(FailOn::Pyc, None));
    }

    #[test]
    fn what_a_night_came_to_follows_from_its_verdicts_whatever_ends_the_command() {
        let (clean, found) = (report(0), report(10));
        assert_eq!((clean.standing(), found.standing()), (Standing::Passed, Standing::Failed));
        assert!(found.passes(FailOn::Never, None), "and the command ends well");
        let failed = |kind: Kind| {
            let mut report = report(10);
            report.findings.retain(|finding| finding.verdict.kind == kind);
            report
        };
        assert_eq!(failed(Kind::Fail).standing(), Standing::Warned);
        let allowed = Allowed { reason: "known".to_owned(), owner: "o".to_owned(), link: "l".to_owned(), until: "2027-01-31".to_owned() };
        let mut known = failed(Kind::Bad);
        known.findings.iter_mut().for_each(|finding| finding.allowed = Some(allowed.clone()));
        assert_eq!(known.standing(), Standing::Warned);
        assert_eq!(Report { complete: false, ..report(0) }.standing(), Standing::Warned);
        assert_eq!(Report { covered: 0, ..report(0) }.standing(), Standing::Warned, "of nothing nothing is known");
        let mut expired = report(0);
        let list = AllowList::parse(EXPIRED).unwrap();
        expired.allow(&list, 30_000);
        assert_eq!((expired.stale.len(), expired.standing()), (1, Standing::Warned));
    }

    /// An entry whose last day is over.
    const EXPIRED: &str = "version: 1
allow:
  - {files: '**', cause: C09, reason: known, owner: o@example.org, link: 'https://example.org/1', until: 2026-01-31}
";

    #[test]
    fn the_share_of_what_is_unknown_is_of_the_sample_alone() {
        // Of 61 files other nights cover all; they are no gap of this one.
        assert_eq!(report(0).unknown_share(), 0.0);
        assert!(report(0).complete && report(0).passes(FailOn::Findings, Some(0.0)));
        let plan = report(0).plan;
        let name = |n: u32| Name { repo: None, path: format!("{n}.py") };
        let mut verdicts: Vec<Verdict> = (0..3)
            .flat_map(|n| ["hash-seed-1", "reversed"].map(|condition| night::unknown(&name(n), condition, Gap::SourceGone, "x")))
            .collect();
        let of = |verdicts: &[Verdict]| Report::new(plan.clone(), verdicts, &BTreeMap::new(), Vec::new(), &|_| String::new());
        assert_eq!((of(&verdicts).unknown_share(), of(&verdicts).complete), (1.0, true));
        assert!(!of(&verdicts).passes(FailOn::Findings, Some(0.99)) && of(&verdicts).passes(FailOn::Findings, None));
        assert!(of(&verdicts).passes(FailOn::Never, Some(0.0)));
        assert_eq!(of(&verdicts).unknown, [("the source cannot be read any more".to_owned(), 6)].into(), "details are not reasons");
        verdicts[0] = night::unknown(&name(0), "hash-seed-1", Gap::Budget, "");
        assert!(!of(&verdicts).complete);
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
