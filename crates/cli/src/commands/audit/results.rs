//! Where the results of a night go: tables beside the facts, files that were asked for, and the terminal.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytefacts_audit::night::{Kind, Verdict};
use bytefacts_audit::report::{Plan, Report, audit_batch, file_name, html, junit, markdown, sarif, summary_batch};
use bytefacts_landing::RunId;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::bins::BinRecord;
use crate::args::Audit;
use crate::facts::Facts;
use crate::paint::{BOLD, DIM, GREEN, Paint, RED, YELLOW};
use crate::summary::{count, thousands};
use crate::table::{Layout, Limits, render};

/// Findings that the terminal shows.
const SHOWN: usize = 20;
/// Edits of a second interpreter that it shows.
const EDITS: usize = 10;

/// Commits the results: tables first, the report last, each created once. An audit that has a report is complete. One whose budget was spent has
/// none yet, so that it can be gone on with.
///
/// # Errors
/// When the store fails.
pub(super) async fn store(facts: &Facts, audit: &RunId, report: &Report, records: &[BinRecord]) -> anyhow::Result<()> {
    if report.unknown.keys().any(|reason| reason.contains("budget")) {
        return Ok(());
    }
    let verdicts: Vec<Verdict> = records.iter().flat_map(|record| record.verdicts.iter().cloned()).collect();
    let documents = [
        ("determinism_audit_v1.parquet", parquet_of(&audit_batch(report, &verdicts)?)?),
        ("determinism_summary_v1.parquet", parquet_of(&summary_batch(report)?)?),
        ("report.json", serde_json::to_vec_pretty(report)?),
    ];
    for (name, bytes) in documents {
        let writing = || format!("cannot write {name} of audit {audit} to {}", facts.shown());
        facts.store.create_audit_document(audit, name, bytes.into()).await.with_context(writing)?;
    }
    Ok(())
}

fn parquet_of(batch: &RecordBatch) -> anyhow::Result<Vec<u8>> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// Writes the files that were asked for.
///
/// # Errors
/// When one cannot be written.
pub(super) fn write(args: &Audit, report: &Report) -> anyhow::Result<()> {
    let write = |path: &Path, text: String| std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    if let Some(path) = &args.markdown {
        write(path, markdown::render(report))?;
    }
    if let Some(path) = &args.html {
        write(path, html::render(report))?;
    }
    if let Some(path) = &args.junit {
        write(path, junit::render(report))?;
    }
    if let Some(path) = &args.sarif {
        write(path, serde_json::to_string_pretty(&sarif::log(report))?)?;
    }
    Ok(())
}

/// The command that derives a verdict's bin again under its condition and shows that file.
pub(super) fn repeat(args: &Audit, plan: &Plan, verdict: &Verdict) -> String {
    let mut command = format!("bytefacts audit {} --facts {} --run {}", quoted(&args.corpus), quoted(&args.facts), quoted(&plan.run));
    command.push_str(&format!(" --preset {} --night {}", quoted(&plan.preset), plan.night));
    if let Some(matrix) = &args.matrix {
        command.push_str(&format!(" --matrix {}", quoted(&matrix.display().to_string())));
    }
    if let Some(python) = args.python.first() {
        command.push_str(&format!(" --python {}", quoted(&python.display().to_string())));
    }
    command.push_str(&format!(" --condition {} --only {}", verdict.condition, quoted(&file_name(verdict))));
    command
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The report for a terminal.
///
/// # Errors
/// When a table cannot be rendered, which is a fault of this program.
pub(super) fn text(report: &Report, colour: bool) -> anyhow::Result<String> {
    let paint = Paint { colour };
    let (plan, verdicts) = (&report.plan, &report.verdicts);
    let mut text = String::new();
    writeln!(
        text,
        "{} {} of run {}: {} of {} in tonight's sample, {} covered\n",
        paint.paint(BOLD, "night"),
        plan.night,
        plan.run,
        thousands(report.sampled),
        count(report.files, "file"),
        thousands(report.covered)
    )?;
    let column = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
    let rows = &report.conditions_counted;
    let figure = |of: &dyn Fn(&bytefacts_audit::report::ConditionCounts) -> u64| {
        column(rows.iter().map(|row| if of(row) == 0 { "-".to_owned() } else { thousands(of(row)) }).collect())
    };
    let table = RecordBatch::try_from_iter([
        ("condition", column(rows.iter().map(|row| row.name.clone()).collect())),
        ("good", figure(&|row| row.counts.good)),
        ("bad", figure(&|row| row.counts.bad)),
        ("fail", figure(&|row| row.counts.fail)),
        ("unknown", figure(&|row| row.counts.unknown)),
        ("streams", figure(&|row| row.streams)),
    ])?;
    text.push_str(&render(Layout::Grid(Limits::default()), &table)?);
    if !report.causes.is_empty() {
        writeln!(text)?;
        for cause in &report.causes {
            writeln!(text, "{} {} × {} ({})", paint.paint(BOLD, &cause.code), thousands(cause.count), cause.title, cause.kind.as_str())?;
        }
    }
    for finding in report.findings.iter().take(SHOWN) {
        let verdict = &finding.verdict;
        let style = if verdict.kind == Kind::Bad { RED } else { YELLOW };
        let cause = verdict.cause.as_deref().unwrap_or("no cause");
        writeln!(text, "\n{} {} under {} ({cause})", paint.paint(style, verdict.kind.as_str()), file_name(verdict), verdict.condition)?;
        writeln!(text, "  {}", verdict.reason)?;
        // Most reasons show it themselves.
        if let Some(found) = verdict.difference.as_ref().filter(|found| !verdict.reason.contains(&found.field)) {
            let place = if found.unit.is_empty() { found.field.clone() } else { format!("{} of {}", found.field, found.unit) };
            writeln!(text, "  {place}: {} → {}", found.left, found.right)?;
        }
        writeln!(text, "  {}", paint.paint(DIM, &finding.repeat))?;
    }
    if report.findings.len() > SHOWN {
        writeln!(text, "\n… and {}", count((report.findings.len() - SHOWN) as u64, "more finding"))?;
    }
    for drift in &report.drift {
        writeln!(
            text,
            "\n{} to CPython {}: {} of {} compile to other code, {:+} instructions",
            paint.paint(BOLD, "drift"),
            drift.interpreter,
            thousands(drift.differing),
            count(drift.compared, "file"),
            drift.instructions
        )?;
        for cluster in drift.clusters.iter().take(EDITS) {
            writeln!(text, "  {} in {}: {}", count(cluster.places, "place"), count(cluster.files, "file"), cluster.edit)?;
        }
        if drift.clusters.len() > EDITS {
            writeln!(text, "  … and {}", count((drift.clusters.len() - EDITS) as u64, "other edit"))?;
        }
    }
    for (reason, n) in &report.unknown {
        writeln!(text, "\n{} {}: {reason}", paint.paint(DIM, "unknown"), thousands(*n))?;
    }
    let verdict = match (verdicts.bad, verdicts.fail) {
        (0, 0) => paint.paint(GREEN, "deterministic"),
        (bad, fail) => paint.paint(RED, &format!("{} bad, {} failed", thousands(bad), thousands(fail))),
    };
    writeln!(
        text,
        "\n{verdict}: {} good, {} bad, {} fail, {} unknown = {} × {}",
        thousands(verdicts.good),
        thousands(verdicts.bad),
        thousands(verdicts.fail),
        thousands(verdicts.unknown),
        count(report.files, "file"),
        count(plan.conditions.len() as u64, "condition")
    )?;
    Ok(text)
}
