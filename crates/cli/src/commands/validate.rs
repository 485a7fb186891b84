//! `bytefacts validate`: whether a committed run keeps what the contract promises.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::anyhow;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytefacts_engine::validate::{Options, Report, validate};
use bytefacts_facts::validate::{Check, Finding, Tally};
use bytefacts_landing::Manifest;
use serde::Serialize;

use crate::args::{Format, Validate};
use crate::exit::Exit;
use crate::facts::Facts;
use crate::output::Output;
use crate::paint::{GREEN, Paint, RED, YELLOW};
use crate::progress::files_bar;
use crate::signals::Signals;
use crate::summary::{count, thousands};
use crate::table::{Layout, Limits, render};

/// What was looked at and found, for programs.
#[derive(Serialize)]
struct Result<'a> {
    run: &'a str,
    facts: String,
    clean: bool,
    files: u64,
    code_objects: u64,
    instructions: u64,
    data_files: u64,
    findings_in_total: u64,
    excused_in_total: u64,
    checks: Vec<CheckRow>,
    findings: Vec<FindingRow<'a>>,
}

/// A check.
#[derive(Serialize)]
struct CheckRow {
    check: &'static str,
    severity: &'static str,
    demands: &'static str,
    looked_at: u64,
    things: &'static str,
    findings: u64,
    /// Violations that an error row of their unit explains.
    excused: u64,
}

/// A finding.
#[derive(Serialize)]
struct FindingRow<'a> {
    check: &'static str,
    severity: &'static str,
    repo: Option<&'a str>,
    path: Option<&'a str>,
    code_unit_id: Option<&'a str>,
    r#where: Option<String>,
    message: &'a str,
}

/// Runs the command.
///
/// # Errors
/// When the facts or the run do not exist, or cannot be read.
pub async fn run(args: Validate, output: &mut Output) -> anyhow::Result<Exit> {
    let signals = Signals::listen()?;
    let facts = Facts::open(&args.facts)?;
    let manifest = facts.manifest(args.run.as_deref()).await?;
    let (bar, on_files) = files_bar(args.progress, manifest.run.rows);
    let options = Options { keep: args.show, ..Options::default() };
    let report = tokio::select! {
        report = validate(&facts.stores, facts.location.uri(), &manifest, &options, on_files) => report.map_err(Into::into),
        signal = signals.first() => Err(anyhow!("ended by {signal}; nothing is known of the run yet")),
    };
    bar.finish_and_clear();
    let report = report?;
    match args.format {
        Format::Text => output.data(text(&facts.shown(), &manifest, &report, Paint { colour: output.colour() })?)?,
        Format::Json => output.data(serde_json::to_string_pretty(&result(facts.shown(), &manifest, &report))? + "\n")?,
    }
    Ok(if report.tally.found() == 0 { Exit::Clean } else { Exit::Findings })
}

fn result<'a>(facts: String, manifest: &'a Manifest, report: &'a Report) -> Result<'a> {
    let Report { tally, totals } = report;
    let checks = rows(tally);
    Result {
        run: manifest.run.run_id.as_str(),
        facts,
        clean: tally.found() == 0,
        files: totals.rows,
        code_objects: totals.units,
        instructions: totals.instructions,
        data_files: manifest.files.len() as u64,
        findings_in_total: tally.found(),
        excused_in_total: checks.iter().map(|row| row.excused).sum(),
        checks,
        findings: tally.findings().map(finding).collect(),
    }
}

fn rows(tally: &Tally) -> Vec<CheckRow> {
    let row = |check: &Check| {
        let figures = tally.count(*check);
        CheckRow {
            check: check.name(),
            severity: check.severity().as_str(),
            demands: check.demand(),
            looked_at: figures.looked,
            things: check.noun(),
            findings: figures.found,
            excused: figures.excused,
        }
    };
    Check::ALL.iter().map(row).collect()
}

fn finding(finding: &Finding) -> FindingRow<'_> {
    FindingRow {
        check: finding.check.name(),
        severity: finding.check.severity().as_str(),
        repo: finding.repo.as_deref(),
        path: finding.path.as_deref(),
        code_unit_id: finding.code_unit_id.as_deref(),
        r#where: Some(finding.place.to_string()).filter(|place| !place.is_empty()),
        message: &finding.message,
    }
}

/// A table of the checks, the findings below it, and a last line that says it all.
fn text(facts: &str, manifest: &Manifest, report: &Report, paint: Paint) -> anyhow::Result<String> {
    let Report { tally, totals } = report;
    let mut text = String::new();
    writeln!(
        text,
        "run {} at {facts}: {}, {}, {} in {}\n",
        manifest.run.run_id,
        count(totals.rows, "file"),
        count(totals.units, "code object"),
        count(totals.instructions, "instruction"),
        count(manifest.files.len() as u64, "data file")
    )?;
    text.push_str(&table(&rows(tally))?);

    for check in Check::ALL {
        let found = tally.count(*check).found;
        if found == 0 {
            continue;
        }
        let style = if check.severity().as_str() == "error" { RED } else { YELLOW };
        let heading = format!("{}: {}", check.severity().as_str(), check.name());
        writeln!(text, "\n{} ({}) {}", paint.paint(style, &heading), count(found, "finding"), check.demand())?;
        let mut shown = 0;
        for finding in tally.findings().filter(|finding| finding.check == *check) {
            shown += 1;
            let place = finding.place.to_string();
            let parts = [finding.repo.as_deref(), finding.path.as_deref(), finding.code_unit_id.as_deref(), Some(place.as_str())];
            let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
            let colon = if parts.is_empty() { "" } else { ": " };
            writeln!(text, "  {}{colon}{}", parts.join(", "), finding.message)?;
        }
        if shown < found {
            writeln!(text, "  … and {} more", thousands(found - shown))?;
        }
    }

    let looked: u64 = Check::ALL.iter().map(|check| tally.count(*check).looked).sum();
    let excused: u64 = Check::ALL.iter().map(|check| tally.count(*check).excused).sum();
    let verdict = match tally.found() {
        0 => paint.paint(GREEN, "clean"),
        found => paint.paint(RED, &count(found, "finding")),
    };
    write!(text, "\n{verdict}: {} checks on {}", Check::ALL.len(), count(looked, "thing"))?;
    if excused > 0 {
        write!(text, "; {} in units whose error rows explain them", count(excused, "violation"))?;
    }
    text.push('\n');
    Ok(text)
}

fn table(rows: &[CheckRow]) -> anyhow::Result<String> {
    let column = |text: &dyn Fn(&CheckRow) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(text))) as ArrayRef;
    let looked = |row: &CheckRow| match row.looked_at {
        0 => format!("no {}: nothing to check", row.things),
        looked => format!("{} {}", thousands(looked), row.things),
    };
    let figure = |n: u64| if n == 0 { "-".to_owned() } else { thousands(n) };
    let mut columns = vec![
        ("check", column(&|row| row.check.to_owned())),
        ("looked at", column(&looked)),
        ("findings", column(&|row| figure(row.findings))),
    ];
    if rows.iter().any(|row| row.excused > 0) {
        columns.push(("excused", column(&|row| figure(row.excused))));
    }
    Ok(render(Layout::Grid(Limits::default()), &RecordBatch::try_from_iter(columns)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_anything_to_look_at_says_so() {
        let mut tally = Tally::new(1);
        tally.expect(Check::FileRows, false, None, Some("x.parquet"), || "has 1 rows".to_owned());
        let table = table(&rows(&tally)).unwrap();
        let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        assert!(line("block.partition").contains("no blocks: nothing to check"), "{table}");
        assert!(line("file.rows").contains("1 data files"), "{table}");
        assert!(!table.contains("excused"));
    }
}
