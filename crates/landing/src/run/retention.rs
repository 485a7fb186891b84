//! Which committed runs are kept: rules, and nothing but rules.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};

use crate::model::{Current, RunHeader};
use crate::names::RunId;
use crate::{LandingError, Result};

/// What to keep. A run that any rule keeps stays; the current run always does, and so do runs that came after it. A run that was held back takes
/// nobody's place. Days, weeks and months are of UTC, weeks begin on Monday.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest runs.
    pub last: Option<u32>,
    /// The newest run of each of so many days that have any.
    pub daily: Option<u32>,
    /// Of each of so many weeks.
    pub weekly: Option<u32>,
    /// Of each of so many months.
    pub monthly: Option<u32>,
    /// All that were committed less than this ago.
    pub younger_than: Option<Duration>,
}

impl Keep {
    /// The runs to let go, oldest first.
    ///
    /// # Errors
    /// Without a rule.
    pub fn let_go(&self, runs: &[RunHeader], current: Option<&Current>, now_ms: u64) -> Result<Vec<RunId>> {
        if *self == Self::default() {
            return Err(LandingError::NoRule);
        }
        let mut newest_first: Vec<&RunHeader> = runs.iter().collect();
        newest_first.sort_by(|a, b| (b.sequence, &b.run_id).cmp(&(a.sequence, &a.run_id)));
        let is_current = |run: &RunHeader| current.is_some_and(|current| current.run_id == run.run_id);
        let good: Vec<&RunHeader> = newest_first.iter().filter(|run| !run.held_back || is_current(run)).copied().collect();

        let mut kept: BTreeSet<&RunId> = good.iter().take(places(self.last)).map(|run| &run.run_id).collect();
        if let Some(current) = current {
            let and_after = newest_first.iter().filter(|run| (run.sequence, &run.run_id) >= current.order());
            kept.extend(and_after.map(|run| &run.run_id));
        }
        if let Some(age) = self.younger_than {
            let since = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            kept.extend(newest_first.iter().filter(|run| run.committed_at_ms > since).map(|run| &run.run_id));
        }
        kept.extend(newest_of_each(&good, self.daily, |at| (at.year(), at.ordinal())));
        kept.extend(newest_of_each(&good, self.weekly, |at| (at.iso_week().year(), at.iso_week().week())));
        kept.extend(newest_of_each(&good, self.monthly, |at| (at.year(), at.month())));
        Ok(newest_first.iter().rev().map(|run| &run.run_id).filter(|id| !kept.contains(id)).cloned().collect())
    }
}

fn places(count: Option<u32>) -> usize {
    count.map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// The newest run of each of the first `count` periods that have runs.
fn newest_of_each<'a>(newest_first: &[&'a RunHeader], count: Option<u32>, period: fn(DateTime<Utc>) -> (i32, u32)) -> Vec<&'a RunId> {
    let mut seen = BTreeSet::new();
    let mut newest = Vec::new();
    for run in newest_first {
        let at = i64::try_from(run.committed_at_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        if seen.len() < places(count) && seen.insert(period(at)) {
            newest.push(&run.run_id);
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BinStats;

    const DAY_MS: u64 = 86_400_000;
    /// Monday, 2025-01-06, noon.
    const MONDAY_MS: u64 = 1_736_164_800_000;

    fn run(day: u64) -> RunHeader {
        RunHeader {
            run_id: RunId::new(format!("d{day:03}")).unwrap(),
            sequence: day + 1,
            parent: None,
            committed_at_ms: MONDAY_MS + day * DAY_MS,
            started_at_ms: 0,
            schema_name: String::new(),
            schema_version: 1,
            corpus: String::new(),
            interpreter: serde_json::Value::Null,
            options: serde_json::Value::Null,
            bins: 0,
            bins_taken_over: 0,
            repositories: 0,
            data_files: 0,
            data_bytes: 0,
            landed_bytes: 0,
            rows: 0,
            gone: None,
            held_back: false,
            stats: BinStats::default(),
            digest: String::new(),
        }
    }

    /// A run a day for 100 days; those that stay.
    fn kept(keep: &Keep) -> Vec<u64> {
        let runs: Vec<_> = (0..100).map(run).collect();
        let current = Current { run_id: runs[99].run_id.clone(), sequence: 100 };
        let gone = keep.let_go(&runs, Some(&current), MONDAY_MS + 99 * DAY_MS + 1).unwrap();
        assert!(gone.is_sorted(), "oldest first");
        (0..100).filter(|day| !gone.contains(&run(*day).run_id)).collect()
    }

    #[test]
    fn a_run_stays_that_any_rule_keeps() {
        assert_eq!(kept(&Keep { last: Some(3), ..Keep::default() }), [97, 98, 99]);
        assert_eq!(kept(&Keep { daily: Some(2), ..Keep::default() }), [98, 99]);
        // Day 99 is a Tuesday, so that its week has two days; those before end on Sundays.
        assert_eq!(kept(&Keep { weekly: Some(3), ..Keep::default() }), [90, 97, 99]);
        // 6 January + 99 days is 15 April.
        assert_eq!(kept(&Keep { monthly: Some(9), ..Keep::default() }), [25, 53, 84, 99]);
        assert_eq!(kept(&Keep { younger_than: Some(Duration::from_millis(2 * DAY_MS + 2)), ..Keep::default() }), [97, 98, 99]);
        assert_eq!(kept(&Keep { last: Some(1), weekly: Some(2), ..Keep::default() }), [97, 99]);
    }

    #[test]
    fn the_current_run_stays_even_if_it_is_old_and_so_does_what_came_after_it() {
        let runs: Vec<_> = (0..4).map(run).collect();
        let current = Current { run_id: runs[1].run_id.clone(), sequence: 2 };
        let gone = Keep { last: Some(1), ..Keep::default() }.let_go(&runs, Some(&current), MONDAY_MS).unwrap();
        assert_eq!(gone, [runs[0].run_id.clone()]);
    }

    #[test]
    fn a_run_that_was_held_back_takes_nobodys_place() {
        let mut runs: Vec<_> = (0..4).map(run).collect();
        runs[2].held_back = true;
        let current = Current { run_id: runs[3].run_id.clone(), sequence: 4 };
        let gone = Keep { last: Some(2), ..Keep::default() }.let_go(&runs, Some(&current), MONDAY_MS).unwrap();
        assert_eq!(gone, [runs[0].run_id.clone(), runs[2].run_id.clone()]);
    }

    #[test]
    fn no_rule_is_an_error_and_lets_nothing_go() {
        assert!(matches!(Keep::default().let_go(&[run(0)], None, 0), Err(LandingError::NoRule)));
        assert_eq!(Keep { last: Some(0), ..Keep::default() }.let_go(&[run(0)], None, 0).unwrap(), [run(0).run_id]);
    }
}
