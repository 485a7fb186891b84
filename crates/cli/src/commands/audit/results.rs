//! Where the results of a night go: tables and a report beside the facts, files that were asked for, and the terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use bytefacts_audit::night::{Kind, Verdict};
use bytefacts_audit::report::intoto::{self, Subject};
use bytefacts_audit::report::{
    Counts, Night, Plan, Report, Standing, audit_columns, file_name, findings_sql, html, junit, markdown, sarif, summary_columns,
};
use bytefacts_landing::{AuditAsked, AuditCounts, AuditHeader, ConcludedAudit, RunId};
use bytefacts_query::listings;
use object_store::ObjectStoreExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest as _, Sha256};

use super::super::diff::edits::clusters;
use super::super::diff::side::side_by_side;
use super::Policy;
use crate::args::Audit;
use crate::facts::Facts;
use crate::freshness;
use crate::paint::{BOLD, DIM, GREEN, Paint, RED, YELLOW};
use crate::push::Gateway;
use crate::summary::{count, signed, thousands};
use crate::table::{Layout, Limits, render};

/// Findings that the terminal shows.
const SHOWN: usize = 20;
/// Edits of a second interpreter that it shows.
const EDITS: usize = 10;
/// Audits before this one that are asked whether they have had a finding too, at most.
const LOOKED_BACK: usize = 100;
/// The report among the documents of an audit.
const REPORT: &str = "report";

/// The report of an audit, if it is concluded.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn concluded(facts: &Facts, asked: &AuditAsked) -> anyhow::Result<Option<Report>> {
    match facts.store.audit_header(&asked.audit).await.with_context(|| facts.unreadable())? {
        Some(header) => report_of(facts, &header).await.map(Some),
        None => Ok(None),
    }
}

async fn report_of(facts: &Facts, header: &AuditHeader) -> anyhow::Result<Report> {
    let document = header.documents.get(REPORT).with_context(|| format!("audit {} has no report", header.audit))?;
    let bytes = facts.store.audit_result(document).await.with_context(|| facts.unreadable())?;
    serde_json::from_slice(&bytes).with_context(|| format!("the report of audit {} is of another version", header.audit))
}

/// Commits the results: tables and report under names that say their content, then the header that names them. The report that stands is returned:
/// another process may have been faster. `by_hand` are audits of other conditions than the preset's.
///
/// # Errors
/// When the store fails.
pub(super) async fn conclude(
    facts: &Facts,
    asked: &AuditAsked,
    report: Report,
    verdicts: &[Verdict],
    by_hand: bool,
) -> anyhow::Result<Report> {
    let audit = &asked.audit;
    let tables = [
        (&listings::AUDIT, listings::AUDIT.rows(audit_columns(&report, verdicts))?),
        (&listings::AUDIT_SUMMARY, listings::AUDIT_SUMMARY.rows(summary_columns(&report))?),
    ];
    let mut documents = BTreeMap::new();
    let writing = |name: &str| format!("cannot write {name} of audit {audit} to {}", facts.shown());
    for (listing, rows) in tables {
        let (name, count) = (listing.name, rows.num_rows() as u64);
        let kept = facts.store.keep_audit_result(audit, name, "parquet", count, parquet_of(&rows)?.into()).await;
        documents.insert(name.to_owned(), kept.with_context(|| writing(name))?);
    }
    let bytes = serde_json::to_vec_pretty(&report)?;
    let kept = facts.store.keep_audit_result(audit, REPORT, "json", report.findings.len() as u64, bytes.into()).await;
    documents.insert(REPORT.to_owned(), kept.with_context(|| writing(REPORT))?);
    let Counts { good, bad, fail, unknown } = report.verdicts;
    let header = AuditHeader {
        audit: audit.clone(),
        run: asked.run.clone(),
        run_digest: report.plan.run_digest.clone(),
        corpus: report.plan.corpus.clone(),
        night: report.plan.night,
        preset: report.plan.preset.clone(),
        complete: report.complete,
        passed: report.standing() == Standing::Passed,
        by_hand,
        conditions: report.plan.conditions.len() as u64,
        files: report.files,
        sampled: report.sampled,
        covered: report.covered,
        verdicts: AuditCounts { good, bad, fail, unknown },
        allowed: report.allowed,
        documents,
    };
    let standing = facts.store.conclude_audit(&header).await.with_context(|| writing("the header"))?;
    if standing == header { Ok(report) } else { report_of(facts, &standing).await }
}

fn parquet_of(batch: &RecordBatch) -> anyhow::Result<Vec<u8>> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// Writes the files that were asked for, and pushes metrics.
///
/// # Errors
/// When one cannot be written, what it tells of cannot be read, or the gateway does not take the metrics.
pub(super) async fn write(args: &Audit, facts: &Facts, report: &Report, gateway: Option<&Gateway>) -> anyhow::Result<()> {
    let write = |path: &Path, text: String| std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    let mut earlier = Vec::new();
    if args.html.is_some() || args.sarif.is_some() {
        earlier = facts.store.audits().await.with_context(|| facts.unreadable())?;
        // Only what came before: the page of an audit is the same whenever it is written.
        let own = earlier.iter().find(|audit| audit.header.audit.as_str() == report.plan.audit).map(|audit| audit.concluded_at_ms);
        earlier.retain(|audit| audit.header.audit.as_str() != report.plan.audit && own.is_none_or(|own| audit.concluded_at_ms <= own));
    }
    if let Some(path) = &args.markdown {
        write(path, markdown::render(report))?;
    }
    if let Some(path) = &args.html {
        write(path, html::render(report, &earlier.iter().map(night).collect::<Vec<_>>()))?;
    }
    if let Some(path) = &args.junit {
        write(path, junit::render(report))?;
    }
    if let Some(path) = &args.sarif {
        let known = known_before(facts, report, &earlier).await?;
        write(path, serde_json::to_string_pretty(&sarif::log(report, known.as_ref()))?)?;
    }
    let path = args.metrics_file.as_ref();
    if args.only.is_none() && (path.is_some() || gateway.is_some()) {
        let figures = freshness::textfile(&facts.store).await.with_context(|| facts.unreadable())?;
        if let Some(path) = path {
            replace(path, &figures)?;
        }
        if let Some(gateway) = gateway {
            gateway.push(&figures).await?;
        }
    }
    if let Some(path) = &args.intoto {
        let subjects = subjects(facts, &report.plan).await?;
        write(path, serde_json::to_string_pretty(&intoto::statement(report, &subjects))? + "\n")?;
    }
    Ok(())
}

/// Puts a file in the place of another at once: whoever collects metrics may read it at any moment.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let writing = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A name that no collector takes for one of its own.
    let mut staged = tempfile::Builder::new().prefix(".bytefacts-").suffix(".tmp").tempfile_in(folder).with_context(writing)?;
    staged.write_all(text.as_bytes()).with_context(writing)?;
    // The collector is another user.
    staged.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).with_context(writing)?;
    staged.persist(path).with_context(writing)?;
    Ok(())
}

fn night(audit: &ConcludedAudit) -> Night {
    let header = &audit.header;
    let AuditCounts { good, bad, fail, unknown } = header.verdicts;
    Night {
        audit: header.audit.to_string(),
        night: header.night,
        preset: header.preset.clone(),
        complete: header.complete,
        files: header.files,
        covered: header.covered,
        verdicts: Counts { good, bad, fail, unknown },
    }
}

/// Names of the findings that the last audit of the preset which covered their file and condition has had too: the night before covered other files.
/// `None` where there is no audit before.
async fn known_before(facts: &Facts, report: &Report, earlier: &[ConcludedAudit]) -> anyhow::Result<Option<BTreeSet<String>>> {
    let of_preset = earlier.iter().filter(|audit| audit.header.preset == report.plan.preset);
    let before: Vec<_> = of_preset.take(LOOKED_BACK).collect();
    if before.is_empty() {
        return Ok(None);
    }
    let of = |verdict: &Verdict| (verdict.repo.clone(), verdict.path.clone(), verdict.condition.clone());
    let mut open: BTreeMap<_, _> = report.findings.iter().map(|finding| (of(&finding.verdict), finding)).collect();
    let mut known = BTreeSet::new();
    for audit in before {
        if open.is_empty() {
            break;
        }
        for (file, found) in covered_by(facts, &audit.header).await? {
            if let Some(finding) = open.remove(&file)
                && found.is_some_and(|cause| cause == finding.verdict.cause)
            {
                known.insert(finding.id.clone());
            }
        }
    }
    Ok(Some(known))
}

/// A file by repository and path, and a condition.
type Covered = (Option<String>, String, String);

/// What an audit has covered; with the cause, where it has found something.
async fn covered_by(facts: &Facts, header: &AuditHeader) -> anyhow::Result<Vec<(Covered, Option<Option<String>>)>> {
    let name = listings::AUDIT.name;
    let document = header.documents.get(name).with_context(|| format!("audit {} has no {name}", header.audit))?;
    let bytes = facts.store.audit_result(document).await.with_context(|| facts.unreadable())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let columns = ["repo", "path", "condition", "verdict", "cause"];
    let mask = ProjectionMask::columns(reader.parquet_schema(), columns);
    let mut covered = Vec::new();
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let texts = columns.map(|column| batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>()));
        let [Some(repo), Some(path), Some(condition), Some(verdict), Some(cause)] = texts else {
            bail!("{name} of audit {} is of another version", header.audit);
        };
        for row in 0..batch.num_rows() {
            let text = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_owned());
            let found = match verdict.value(row) {
                "unknown" => continue,
                "good" => None,
                _ => Some(text(cause)),
            };
            covered.push(((text(repo), path.value(row).to_owned(), condition.value(row).to_owned()), found));
        }
    }
    Ok(covered)
}

/// What a statement is about: the document that commits the run and names all that belongs to it by digests, and the digest of its facts.
async fn subjects(facts: &Facts, plan: &Plan) -> anyhow::Result<Vec<Subject>> {
    let run = RunId::new(plan.run.as_str())?;
    let name = facts.store.header_key(&run);
    let path = facts.store.path_of(&name)?;
    let header = facts.store.store().get(&path).await.with_context(|| facts.unreadable())?;
    let bytes = header.bytes().await.with_context(|| facts.unreadable())?;
    Ok(vec![
        Subject { name, digest: vec![("sha256", hex::encode(Sha256::digest(&bytes)))] },
        Subject { name: format!("facts of run {run}"), digest: vec![("bytefacts_run_1", plan.run_digest.clone())] },
    ])
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

/// The report for a terminal, `with_sides` with the instructions of each finding side by side.
///
/// # Errors
/// When a table cannot be rendered, which is a fault of this program.
pub(super) fn text(report: &Report, policy: &Policy, with_sides: bool, colour: bool) -> anyhow::Result<String> {
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
        let allowed =
            finding.allowed.as_ref().map(|allowed| format!(", allowed until {}: {}", allowed.until, allowed.reason)).unwrap_or_default();
        let kind = paint.paint(style, verdict.kind.as_str());
        writeln!(text, "\n{kind} {} under {} ({cause}){allowed}", file_name(verdict), verdict.condition)?;
        writeln!(text, "  {}", verdict.reason)?;
        // Most reasons show it themselves.
        if let Some(found) = verdict.difference.as_ref().filter(|found| !verdict.reason.contains(&found.field)) {
            let place = if found.unit.is_empty() { found.field.clone() } else { format!("{} of {}", found.field, found.unit) };
            writeln!(text, "  {place}: {} → {}", found.left, found.right)?;
        }
        writeln!(text, "  {}", paint.paint(DIM, &finding.repeat))?;
        if with_sides {
            text.push_str(&side_by_side(&verdict.sides, ["first", "under the condition"], paint)?);
        }
    }
    if report.findings.len() > SHOWN {
        writeln!(text, "\n… and {}: {}", count((report.findings.len() - SHOWN) as u64, "more finding"), findings_sql(&plan.audit))?;
    }
    for stale in report.stale.iter().take(SHOWN) {
        let entry = &stale.entry;
        writeln!(
            text,
            "\n{} until {}: {} ({}), {}, {}, {}; {} tonight",
            paint.paint(RED, "allowed"),
            entry.until,
            entry.files,
            entry.cause,
            entry.reason,
            entry.owner,
            entry.link,
            count(stale.matches, "finding")
        )?;
    }
    for entry in report.unmatched.iter().take(SHOWN) {
        let condition = entry.condition.as_ref().map(|condition| format!(" under {condition}")).unwrap_or_default();
        writeln!(
            text,
            "\n{} but matched by no finding tonight: {} ({}{condition}), {}, {}",
            paint.paint(DIM, "allowed"),
            entry.files,
            entry.cause,
            entry.owner,
            entry.link
        )?;
    }
    if report.unmatched.len() > SHOWN {
        writeln!(text, "… and {}", count((report.unmatched.len() - SHOWN) as u64, "more such entry"))?;
    }
    if let Some(pyc) = &report.pyc {
        let counts: Vec<String> = pyc.counts.iter().map(|(status, n)| format!("{} {}", thousands(*n), status.as_str())).collect();
        writeln!(text, "\n{} {}", paint.paint(BOLD, ".pyc"), counts.join(", "))?;
        for file in pyc.findings.iter().take(SHOWN) {
            writeln!(text, "  {} {}: {}", file.status.as_str(), file.path, file.reason)?;
        }
        if pyc.findings.len() > SHOWN {
            writeln!(text, "  … and {} more: `bytefacts pyc` has all of them", thousands((pyc.findings.len() - SHOWN) as u64))?;
        }
    }
    for drift in &report.drift {
        writeln!(
            text,
            "\n{} to CPython {}: {} of {} compile to other code, {} instructions",
            paint.paint(BOLD, "drift"),
            drift.interpreter,
            thousands(drift.differing),
            count(drift.compared, "file"),
            signed(drift.instructions)
        )?;
        text.push_str(&clusters(&drift.clusters, EDITS, paint)?);
    }
    for (reason, n) in report.unknown.iter().take(SHOWN) {
        writeln!(text, "\n{} {}: {reason}", paint.paint(DIM, "unknown"), thousands(*n))?;
    }
    let verdict = match (verdicts.bad, verdicts.fail) {
        (0, 0) if report.covered == 0 => paint.paint(YELLOW, "nothing was derived again"),
        (0, 0) => paint.paint(GREEN, "deterministic"),
        (bad, fail) => paint.paint(RED, &format!("{} bad, {} failed", thousands(bad), thousands(fail))),
    };
    let verdict = if report.allowed > 0 { format!("{verdict}, {} of these allowed", thousands(report.allowed)) } else { verdict };
    if policy.max_unknown_share.is_some_and(|share| report.unknown_share() > share) {
        let share = (report.unknown_share() * 1000.0).round() / 10.0;
        writeln!(text, "\n{} {share} % of the sample was not covered, more than --max-unknown-share allows", paint.paint(RED, "unknown"))?;
    }
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
