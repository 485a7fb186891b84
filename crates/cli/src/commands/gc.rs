//! `bytefacts gc`: deletes what no committed run names.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use bytefacts_landing::{AttemptId, FixedClock, Swept};
use serde::Serialize;

use crate::args::{Format, Gc};
use crate::daemon::fresh_number;
use crate::exit::Exit;
use crate::facts::Facts;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// When the facts cannot be read, or something cannot be deleted.
pub async fn run(args: Gc, output: &mut Output) -> anyhow::Result<Exit> {
    let facts = Facts::open(&args.facts)?;
    let grace = Duration::from_secs_f64(args.grace_hours * 3600.0);
    let now = match facts.store.now(&AttemptId::from_random(fresh_number().into())).await {
        // Who may only read may still ask.
        Err(error) if args.dry_run => {
            tracing::warn!(%error, "cannot learn the store's time; what rests is judged by this machine's clock");
            SystemTime::now()
        }
        now => now?,
    };
    let clock = FixedClock(now);
    let swept = if args.dry_run { facts.store.survey(&clock, grace).await } else { facts.store.sweep(&clock, grace).await }?;
    let report = Report::new(&swept, args.dry_run);
    match args.format {
        Format::Text => output.data(report.text())?,
        Format::Json => output.data(serde_json::to_string_pretty(&report)? + "\n")?,
    }
    Ok(Exit::Clean)
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    data_files: u64,
    data_bytes: u64,
    documents: u64,
    staged_files: u64,
    abandoned_runs: Vec<String>,
}

impl Report {
    fn new(swept: &Swept, dry_run: bool) -> Self {
        Self {
            dry_run,
            data_files: swept.data_files,
            data_bytes: swept.data_bytes,
            documents: swept.documents,
            staged_files: swept.staged_files,
            abandoned_runs: swept.abandoned_runs.iter().map(ToString::to_string).collect(),
        }
    }

    fn text(&self) -> String {
        let deleted = if self.dry_run { "would delete" } else { "deleted" };
        let mut text = format!(
            "{deleted} {} data files ({} bytes), {} documents of dead runs, {} temporary files\n",
            self.data_files, self.data_bytes, self.documents, self.staged_files
        );
        for run in &self.abandoned_runs {
            // Writing to a string does not fail.
            let _: std::fmt::Result = writeln!(
                text,
                "{} run {run}: nothing of it was written within the grace period",
                if self.dry_run { "would give up" } else { "gave up" }
            );
        }
        text
    }
}
