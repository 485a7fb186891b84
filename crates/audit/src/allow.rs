//! Findings that are known and let pass until a day: a list in YAML, of which every entry has an owner, a link and an end.

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use crate::cause;
use crate::night::Verdict;

/// A list of what is allowed.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    entries: Vec<(Pattern, Entry, i64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    allow: Vec<Entry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Which files: a pattern for the repository, a slash and the path. `*` stays within a folder, `**` does not.
    pub files: String,
    /// Code of the cause.
    pub cause: String,
    /// The condition; every one if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Why it may pass.
    pub reason: String,
    /// Who sees to it.
    pub owner: String,
    /// Where that is written down.
    pub link: String,
    /// The last day on which it passes, as 2026-12-31.
    pub until: String,
}

/// Why a finding passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Why.
    pub reason: String,
    /// Who sees to it.
    pub owner: String,
    /// Where that is written down.
    pub link: String,
    /// The last day on which it passes.
    pub until: String,
}

/// An entry that has expired, which is a finding of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// Findings of this night that it let pass before.
    pub matches: u64,
}

/// Why a list is none.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    /// It is no YAML of this form.
    #[error("the allow-list cannot be read: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// It says what cannot be.
    #[error("{0}")]
    Invalid(String),
}

impl AllowList {
    /// Reads a list.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, AllowError> {
        let document: Document = serde_yaml::from_str(text)?;
        let invalid = |what: String| AllowError::Invalid(what);
        if document.version != 1 {
            return Err(invalid(format!("the allow-list is of version {}, this program knows 1", document.version)));
        }
        let mut entries = Vec::new();
        for (number, entry) in (1..).zip(document.allow) {
            let wrong = |what: String| invalid(format!("entry {number} of the allow-list: {what}"));
            for (field, value) in [("reason", &entry.reason), ("owner", &entry.owner), ("link", &entry.link)] {
                if value.trim().is_empty() {
                    return Err(wrong(format!("{field} is empty")));
                }
            }
            if cause::by_code(&entry.cause).is_none() {
                return Err(wrong(format!("{} is the code of no cause: docs/audit.md lists them", entry.cause)));
            }
            let until = day(&entry.until).ok_or_else(|| wrong(format!("until: {:?} is no day such as 2026-12-31", entry.until)))?;
            let pattern = Pattern::new(&entry.files).map_err(|error| wrong(format!("files: {:?}: {error}", entry.files)))?;
            entries.push((pattern, entry, until));
        }
        Ok(Self { entries })
    }

    /// Why a verdict on a file passes on a day, in days since 1970, if it does.
    #[must_use]
    pub fn allows(&self, verdict: &Verdict, file: &str, today: i64) -> Option<Allowed> {
        let (_, entry, _) = self.entries.iter().find(|item| item.2 >= today && matches(item, verdict, file))?;
        let Entry { reason, owner, link, until, .. } = entry.clone();
        Some(Allowed { reason, owner, link, until })
    }

    /// The entries that have expired by a day, with how many of these verdicts, each with its file, they would let pass.
    #[must_use]
    pub fn stale(&self, verdicts: &[(&Verdict, String)], today: i64) -> Vec<Stale> {
        let expired = self.entries.iter().filter(|item| item.2 < today);
        let stale = expired.map(|item| Stale {
            entry: item.1.clone(),
            matches: verdicts.iter().filter(|(verdict, file)| matches(item, verdict, file)).count() as u64,
        });
        stale.collect()
    }

    /// The entries that have not expired by a day and match none of these verdicts, each with its file: nothing of what they were written for was
    /// found. Files that another night covers may still need them.
    #[must_use]
    pub fn unmatched(&self, verdicts: &[(&Verdict, String)], today: i64) -> Vec<Entry> {
        let open = self.entries.iter().filter(|item| item.2 >= today);
        let idle = open.filter(|item| !verdicts.iter().any(|(verdict, file)| matches(item, verdict, file)));
        idle.map(|item| item.1.clone()).collect()
    }
}

fn matches((pattern, entry, _): &(Pattern, Entry, i64), verdict: &Verdict, file: &str) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    verdict.cause.as_deref() == Some(&entry.cause)
        && entry.condition.as_ref().is_none_or(|condition| *condition == verdict.condition)
        && pattern.matches_with(file, options)
}

/// A day of the calendar in days since 1970.
fn day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse::<i64>().ok()
    };
    let (year, month, date) = (part(4)?, part(2)?, part(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month - 1).ok()?)?;
    let length = lengths.get(before.len())?;
    if parts.next().is_some() || !(1..=*length).contains(&date) {
        return None;
    }
    // Leap days before the year, less those before 1970.
    let leaps = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    Some((year - 1970) * 365 + leaps(year) - leaps(1970) + before.iter().sum::<i64>() + date - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FailOn;
    use crate::report::tests::report;

    fn list(entries: &[(&str, &str, &str)]) -> AllowList {
        let entry = |(files, cause, until): &(&str, &str, &str)| {
            format!("  - {{files: '{files}', cause: {cause}, reason: known, owner: ann, link: 'https://example.org/1', until: {until}}}\n")
        };
        AllowList::parse(&format!("version: 1\nallow:\n{}", entries.iter().map(entry).collect::<String>())).unwrap()
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (text, days) in [("1970-01-01", 0), ("1972-02-29", 789), ("2000-03-01", 11_017), ("2026-11-30", 20_787), ("2100-03-01", 47_541)]
        {
            assert_eq!(day(text), Some(days), "{text}");
        }
        for wrong in
            ["2026-02-29", "2100-02-29", "2026-13-01", "2026-00-01", "2026-1-1", "2026-01-00", "26-01-01", "2026-01-01-1", "+026-01-01"]
        {
            assert_eq!(day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_entry_that_nothing_was_found_for_is_told_of_until_it_expires() {
        let found = report(10);
        let found: Vec<_> = found.findings.iter().map(|finding| (&finding.verdict, crate::report::file_name(&finding.verdict))).collect();
        let of = |list: &AllowList, today| list.unmatched(&found, today).into_iter().map(|entry| entry.files).collect::<Vec<_>>();
        let list = list(&[("r/*.py", "C09", "1970-01-03"), ("r/*.py", "C27", "1970-01-03"), ("q/**", "C09", "1970-01-03")]);
        assert_eq!(of(&list, 2), ["r/*.py", "q/**"]);
        assert!(of(&list, 3).is_empty(), "what has expired is told of as that");
    }

    #[test]
    fn what_is_allowed_passes_to_its_last_day_and_then_no_more() {
        // Files of the report are `r/a<N>&….py`, eight bad and two failed, of five causes.
        let all = list(&[
            ("r/*.py", "C09", "2026-12-31"),
            ("r/*", "C16", "2026-12-31"),
            ("**", "X00", "2027-01-31"),
            ("r/*", "C31", "2026-12-31"),
        ]);
        let last = day("2026-12-31").unwrap();
        let mut report = report(10);
        report.allow(&all, last);
        assert_eq!((report.allowed, report.stale.len()), (8, 0));
        assert!(report.passes(FailOn::Bad, None) && !report.passes(FailOn::Findings, None), "two have failed");
        report.allow(&all, last + 1);
        assert_eq!((report.allowed, report.stale.len()), (2, 3));
        assert_eq!(report.stale[0].matches, 2);
        assert!(!report.passes(FailOn::Bad, None));
        report.allow(&AllowList::default(), last);
        assert!(report.allowed == 0 && report.findings.iter().all(|finding| finding.allowed.is_none()));
    }

    #[test]
    fn an_expired_entry_is_a_finding_even_if_it_matches_nothing() {
        let mut clean = report(0);
        clean.allow(&list(&[("r/*", "C09", "2026-01-01")]), day("2026-01-02").unwrap());
        assert!(!clean.passes(FailOn::Findings, None) && clean.passes(FailOn::Bad, None));
        assert_eq!(clean.stale[0].matches, 0);
    }

    #[test]
    fn patterns_stay_within_their_folder_and_causes_and_conditions_are_told_apart() {
        let allowed = |entries: &[(&str, &str, &str)]| {
            let mut report = report(10);
            report.allow(&list(entries), 0);
            report.allowed
        };
        assert_eq!(allowed(&[("*", "C09", "2026-01-01")]), 0, "a star does not cross a slash");
        assert_eq!(allowed(&[("**/*.py", "C09", "2026-01-01")]), 2);
        assert_eq!(allowed(&[("r/*.py", "C08", "2026-01-01")]), 0);
        let other = "version: 1\nallow: [{files: '**', cause: C09, condition: reversed, reason: r, owner: o, link: l, until: 2026-01-01}]";
        let mut report = report(10);
        report.allow(&AllowList::parse(other).unwrap(), 0);
        assert_eq!(report.allowed, 0, "these were found under another condition");
    }

    #[test]
    fn an_entry_without_owner_link_or_end_is_refused() {
        let error = |entry: &str| AllowList::parse(&format!("version: 1\nallow: [{{{entry}}}]")).unwrap_err().to_string();
        let whole = "files: '**', cause: C09, reason: r, owner: o, link: l, until: 2026-01-01";
        assert!(AllowList::parse(&format!("version: 1\nallow: [{{{whole}}}]")).is_ok());
        for field in ["owner", "link", "until", "reason"] {
            let without: Vec<_> = whole.split(", ").filter(|part| !part.starts_with(field)).collect();
            assert!(error(&without.join(", ")).contains(&format!("missing field `{field}`")), "{field}");
        }
        assert!(error(&whole.replace("owner: o", "owner: ' '")).contains("owner is empty"));
        assert!(error(&whole.replace("C09", "C99")).contains("C99 is the code of no cause"));
        assert!(error(&whole.replace("2026-01-01", "never")).contains("is no day"));
        assert!(error(&whole.replace("'**'", "'a[b'")).contains("files"));
        assert!(error(&format!("{whole}, expiry: x")).contains("unknown field"));
        assert!(AllowList::parse("version: 2\nallow: []").unwrap_err().to_string().contains("version 2"));
    }
}
