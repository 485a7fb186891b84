//! `bytefacts gc`: lets runs go, and deletes what no kept run names.

use std::time::{Duration, SystemTime};

use bytefacts_landing::{AttemptId, FixedClock, Keep, RunId, Swept};
use serde::Serialize;

use crate::args::{Format, Gc};
use crate::daemon::fresh_number;
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// When the facts cannot be read, or something cannot be deleted.
pub async fn run(args: Gc, output: &mut Output) -> anyhow::Result<Exit> {
    let facts = Facts::open(&args.facts)?;
    let grace = Duration::from_secs_f64(args.grace_hours * 3600.0);
    let keep = keep(&args);
    if args.yes && keep.is_none() {
        return Err(UsageError("--yes lets runs go that rules do not keep, and there is no rule: --keep 30, say".to_owned()).into());
    }
    // With rules nothing is touched without a word, garbage included.
    let only_shown = args.dry_run || (keep.is_some() && !args.yes);
    let now = match facts.store.now(&AttemptId::from_random(fresh_number().into())).await {
        // Who may only read may still ask.
        Err(error) if only_shown => {
            tracing::warn!(%error, "cannot learn the store's time; what rests is judged by this machine's clock");
            SystemTime::now()
        }
        now => now?,
    };
    let (clock, keep) = (FixedClock(now), keep.as_ref());
    let swept = if only_shown { facts.store.survey(keep, &clock, grace).await } else { facts.store.collect(keep, &clock, grace).await }?;
    let report = Report::new(&swept, only_shown, keep.is_some() && !args.dry_run);
    match args.format {
        Format::Text => output.data(report.text())?,
        Format::Json => output.data(serde_json::to_string_pretty(&report)? + "\n")?,
    }
    Ok(Exit::Clean)
}

/// The rules, if there is one.
fn keep(args: &Gc) -> Option<Keep> {
    let keep = Keep {
        last: args.keep,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        younger_than: args.older_than,
    };
    (keep != Keep::default()).then_some(keep)
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    let_go: Vec<String>,
    data_files: u64,
    data_bytes: u64,
    documents: u64,
    staged_files: u64,
    abandoned_runs: Vec<String>,
    older_runs: Vec<String>,
    audits: Vec<String>,
    /// Whether a word is missing, and only that.
    #[serde(skip)]
    wants_yes: bool,
}

impl Report {
    fn new(swept: &Swept, dry_run: bool, has_rules: bool) -> Self {
        let names = |runs: &[RunId]| runs.iter().map(ToString::to_string).collect();
        Self {
            dry_run,
            let_go: names(&swept.let_go),
            data_files: swept.data_files,
            data_bytes: swept.data_bytes,
            documents: swept.documents,
            staged_files: swept.staged_files,
            abandoned_runs: names(&swept.abandoned_runs),
            older_runs: names(&swept.older_runs),
            audits: names(&swept.audits),
            wants_yes: dry_run && has_rules,
        }
    }

    /// Whether anything is, or would be, other than before.
    fn does_something(&self) -> bool {
        let runs = [&self.let_go, &self.abandoned_runs, &self.audits];
        runs.iter().any(|runs| !runs.is_empty()) || [self.data_files, self.documents, self.staged_files].iter().any(|number| *number > 0)
    }

    fn text(&self) -> String {
        let would = |done: &'static str, to_do: &'static str| if self.dry_run { to_do } else { done };
        let mut lines = Vec::new();
        for run in &self.let_go {
            lines.push(format!("{} run {run}", would("let go", "would let go")));
        }
        for run in &self.abandoned_runs {
            lines.push(format!("{} run {run}: nothing of it was written within the grace period", would("gave up", "would give up")));
        }
        for run in &self.older_runs {
            lines.push(format!("left alone run {run}: an earlier version has landed it; when nobody needs it, delete bytecode_files_v1/repo=*/{run}-*.parquet and runs/{run} by hand"));
        }
        for audit in &self.audits {
            lines.push(format!("{} audit {audit}: its run is gone", would("deleted", "would delete")));
        }
        if !self.does_something() {
            lines.push("there is nothing to do: every run is kept, and nothing is there that no run names".to_owned());
            return lines.join("\n") + "\n";
        }
        lines.push(format!(
            "{} {} data files ({} bytes), {} documents of dead runs and lost attempts, {} temporary files",
            would("deleted", "would delete"),
            self.data_files,
            self.data_bytes,
            self.documents,
            self.staged_files
        ));
        if !self.let_go.is_empty() {
            lines.push("what only the runs name that are let go is deleted by the first `bytefacts gc` after the grace period".to_owned());
        }
        if self.wants_yes {
            lines.push("nothing was changed: --yes does it".to_owned());
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_asked_for_only_where_it_would_do_something() {
        let shown = |swept: &Swept| Report::new(swept, true, true).text();
        let run = || vec![RunId::new("one").unwrap()];
        let nothing = "there is nothing to do: every run is kept, and nothing is there that no run names\n";
        assert_eq!(shown(&Swept::default()), nothing);
        assert_eq!(Report::new(&Swept::default(), false, false).text(), nothing);
        // Which is left alone in any case.
        assert!(shown(&Swept { older_runs: run(), ..Swept::default() }).ends_with(nothing));
        for something in [
            Swept { let_go: run(), ..Swept::default() },
            Swept { abandoned_runs: run(), ..Swept::default() },
            Swept { audits: run(), ..Swept::default() },
            Swept { data_files: 1, ..Swept::default() },
            Swept { documents: 1, ..Swept::default() },
            Swept { staged_files: 1, ..Swept::default() },
        ] {
            assert!(shown(&something).ends_with("nothing was changed: --yes does it\n"), "{something:?}");
        }
    }
}
