//! `bytefacts runs`: what is committed.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytefacts_landing::{ColumnChange, FileName, Manifest, RunHeader, SchemaRecord};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Format, Runs};
use crate::exit::Exit;
use crate::facts::Facts;
use crate::output::Output;
use crate::summary::{bytes, count, plural, thousands, utc};
use crate::table::{Layout, Limits, render};

/// Characters of a digest that tell runs and files apart by eye.
const DIGEST_PREFIX: usize = 12;

/// A run as JSON: its manifest, untouched, and whether it is current.
#[derive(Serialize)]
struct Run<'a> {
    current: bool,
    #[serde(flatten)]
    manifest: &'a Manifest,
}

/// Runs the command.
///
/// # Errors
/// When the facts do not exist or cannot be read, or the run asked for is not committed. Facts without a run are no error.
pub async fn run(args: Runs, output: &mut Output) -> anyhow::Result<Exit> {
    let facts = Facts::open(&args.facts)?;
    match (&args.run, args.format) {
        (None, Format::Text) => output.data(list(&facts).await?)?,
        (None, Format::Json) => all_as_json(&facts, output).await?,
        (Some(id), format) => {
            let manifest = facts.manifest(Some(id)).await?;
            let run = Run { current: facts.current().await?.as_ref() == Some(&manifest.run.run_id), manifest: &manifest };
            output.data(match format {
                Format::Text => details(&run)?,
                Format::Json => serde_json::to_string_pretty(&run)? + "\n",
            })?;
        }
    }
    Ok(Exit::Clean)
}

/// The committed runs as a table, newest first, or a line that says that there are none.
///
/// # Errors
/// When the facts cannot be read.
pub async fn list(facts: &Facts) -> anyhow::Result<String> {
    let runs = facts.store.runs().await.with_context(|| facts.unreadable())?;
    let unfinished = unfinished(facts).await?;
    if runs.is_empty() {
        return Ok(facts.nothing_committed() + "\n" + &unfinished);
    }
    let current = facts.current().await?;
    let rows = rows(&runs, |run| current.as_ref() == Some(&run.run_id))?;
    Ok(render(Layout::Grid(Limits::default()), &rows)? + &unfinished)
}

/// A line for each run that was begun and did not end, with how to go on; nothing if there is none.
async fn unfinished(facts: &Facts) -> anyhow::Result<String> {
    let mut text = String::new();
    for (run, last_write_ms) in facts.store.unfinished().await.with_context(|| facts.unreadable())? {
        let bins = facts.store.bins(&run).await.with_context(|| facts.unreadable())?;
        let far = match bins {
            Some(index) => {
                let done = facts.store.finished_bins(&run).await.with_context(|| facts.unreadable())?.len();
                format!("{} of {} done", thousands(done as u64), count(index.bins.len() as u64, "bin"))
            }
            None => "not listed yet".to_owned(),
        };
        let shown = facts.shown();
        writeln!(
            text,
            "unfinished: {run} ({far}, last written to {}): `bytefacts extract --resume {run} --out {shown}` goes on",
            utc(last_write_ms)
        )?;
    }
    Ok(text)
}

fn rows(runs: &[RunHeader], is_current: impl Fn(&RunHeader) -> bool) -> anyhow::Result<RecordBatch> {
    let text = |value: &dyn Fn(&RunHeader) -> String| Arc::new(StringArray::from_iter_values(runs.iter().map(value))) as ArrayRef;
    let number = |value: &dyn Fn(&RunHeader) -> u64| {
        let numbers = runs.iter().map(|run| i64::try_from(value(run)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef
    };
    let columns = [
        ("run", text(&|run| run.run_id.to_string())),
        ("current", text(&|run| if is_current(run) { "*".to_owned() } else { String::new() })),
        ("committed", text(&|run| utc(run.committed_at_ms))),
        ("repositories", number(&|run| run.repositories)),
        ("files", number(&|run| run.stats.files)),
        ("units", number(&|run| run.stats.units)),
        ("instructions", number(&|run| run.stats.instructions)),
        ("errors", number(&|run| run.stats.errors_of("error"))),
        ("warnings", number(&|run| run.stats.errors_of("warning"))),
        ("data files", number(&|run| run.data_files)),
        ("size", text(&|run| bytes(run.data_bytes))),
        ("python", text(&|run| interpreter(run, "version"))),
        ("digest", text(&|run| prefix(&run.digest))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// An array of all runs, written one by one: a run of many repositories has many files.
async fn all_as_json(facts: &Facts, output: &mut Output) -> anyhow::Result<()> {
    let runs = facts.store.runs().await.with_context(|| facts.unreadable())?;
    let current = facts.current().await?;
    output.data("[")?;
    let mut separator = "\n";
    for header in &runs {
        let manifest = facts.store.manifest(&header.run_id).await.with_context(|| facts.unreadable())?;
        // A run can only go if somebody deletes it right now.
        let Some(manifest) = manifest else { continue };
        let run = Run { current: current.as_ref() == Some(&header.run_id), manifest: &manifest };
        output.data(format!("{separator}{}", serde_json::to_string(&run)?))?;
        separator = ",\n";
    }
    output.data(if runs.is_empty() { "]\n" } else { "\n]\n" })
}

/// All that is known of a run, for people.
fn details(run: &Run<'_>) -> anyhow::Result<String> {
    let Manifest { run: header, schema, repos, files } = run.manifest;
    let stats = &header.stats;
    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name:<16}{value}");
    line("run", format!("{}{}", header.run_id, if run.current { " (current)" } else { "" }))?;
    line("committed", utc(header.committed_at_ms))?;
    line("started", utc(header.started_at_ms))?;
    line("parent", header.parent.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string))?;
    line("corpus", header.corpus.clone())?;
    line("interpreter", pairs(&header.interpreter))?;
    line("options", pairs(&header.options))?;
    line("schema", format!("{} version {}", header.schema_name, header.schema_version))?;
    for (nth, text) in schema.iter().flat_map(schema_lines).enumerate() {
        line(if nth == 0 { "snapshot" } else { "" }, text)?;
    }
    line(
        "files",
        format!(
            "{} ({} of source) in {}",
            thousands(stats.files),
            bytes(stats.source_bytes),
            plural(header.repositories, "repository", "repositories")
        ),
    )?;
    line("facts", format!("{}, {}", count(stats.units, "code object"), count(stats.instructions, "instruction")))?;
    let shared = if stats.cache_shared_hits == 0 { String::new() } else { format!(" ({} shared)", thousands(stats.cache_shared_hits)) };
    line("cache", format!("{}{shared}, {} compiled", plural(stats.cache_hits, "hit", "hits"), thousands(stats.cache_misses)))?;
    let taken_over = match header.bins_taken_over {
        0 => String::new(),
        bins => format!(" ({} of them unchanged; {} are new)", thousands(u64::from(bins)), bytes(header.landed_bytes)),
    };
    line(
        "landed",
        format!(
            "{}, {}, from {}{taken_over}",
            count(header.data_files, "data file"),
            bytes(header.data_bytes),
            count(u64::from(header.bins), "bin")
        ),
    )?;
    line("digest", header.digest.clone())?;
    for (nth, error) in stats.errors.iter().enumerate() {
        let name = if nth == 0 { "errors" } else { "" };
        line(name, format!("{} × {} ({}, stage {})", thousands(error.count), error.error_type, error.severity, error.stage))?;
    }
    if stats.errors.is_empty() {
        line("errors", "none".to_owned())?;
    }

    let grid = Layout::Grid(Limits::default());
    let texts = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
    let numbers = |values: Vec<u64>| {
        Arc::new(Int64Array::from_iter_values(values.into_iter().map(|n| i64::try_from(n).unwrap_or(i64::MAX)))) as ArrayRef
    };
    let repo = |repo: &Option<String>| repo.clone().unwrap_or_default();
    let name = |name: &FileName| match &name.repo {
        Some(repo) => format!("{repo}: {}", name.path),
        None => name.path.clone(),
    };
    let repos = RecordBatch::try_from_iter([
        ("repository", texts(repos.iter().map(|r| repo(&r.repo)).collect())),
        ("files", numbers(repos.iter().map(|r| r.files).collect())),
        ("digest", texts(repos.iter().map(|r| prefix(&r.digest)).collect())),
    ])?;
    let files = RecordBatch::try_from_iter([
        ("data file", texts(files.iter().map(|f| f.key.clone()).collect())),
        ("from", texts(files.iter().map(|f| name(&f.first)).collect())),
        ("to", texts(files.iter().map(|f| name(&f.last)).collect())),
        ("rows", numbers(files.iter().map(|f| f.rows).collect())),
        ("bytes", numbers(files.iter().map(|f| f.bytes).collect())),
        ("sha256", texts(files.iter().map(|f| prefix(&f.sha256)).collect())),
    ])?;
    Ok(format!("{text}\n{}\n{}", render(grid, &repos)?, render(grid, &files)?))
}

/// What a run recorded of its schema: a line, and one for each change since the run before.
fn schema_lines(record: &SchemaRecord) -> Vec<String> {
    let delta = &record.delta;
    let mut changes = Vec::new();
    changes.extend(delta.added_tables.iter().map(|table| format!("+ {table}")));
    changes.extend(delta.removed_tables.iter().map(|table| format!("- {table}")));
    let column = |sign: char, change: &ColumnChange| format!("{sign} {}: {} {}", change.table, change.column, change.data_type);
    changes.extend(delta.added_columns.iter().map(|change| column('+', change)));
    changes.extend(delta.removed_columns.iter().map(|change| column('-', change)));
    changes.extend(delta.retyped.iter().map(|change| {
        let column = change.column.as_deref().map(|column| format!(": {column}")).unwrap_or_default();
        format!("~ {}{column} {} -> {}", change.table, change.from, change.to)
    }));
    changes.extend(delta.reordered_tables.iter().map(|table| format!("~ {table}: columns in another order")));
    let summary = match &delta.since {
        None => "nothing to compare it with".to_owned(),
        Some(since) if delta.is_empty() => format!("unchanged since run {since}"),
        Some(since) => format!("{} since run {since}", count(changes.len() as u64, "change")),
    };
    changes.insert(0, format!("{} ({summary})", prefix(&record.snapshot)));
    changes
}

fn prefix(digest: &str) -> String {
    digest.chars().take(DIGEST_PREFIX).collect()
}

fn interpreter(run: &RunHeader, key: &str) -> String {
    run.interpreter.get(key).and_then(Value::as_str).unwrap_or("?").to_owned()
}

/// `a=1, b="x"`.
fn pairs(value: &Value) -> String {
    match value {
        Value::Object(entries) => entries.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytefacts_landing::{BinStats, LandedFile, RepoSummary, Retyped, RunId, SchemaDelta};
    use insta::assert_snapshot;

    use super::*;

    fn manifest(id: &str, files: u64) -> Manifest {
        let mut stats =
            BinStats { files, units: 12, instructions: 3_456, source_bytes: 1_234_567, cache_misses: files, ..BinStats::default() };
        stats.count_error("compile", "SyntaxError", "error", 2);
        stats.count_error("compile", "SyntaxWarning", "warning", 5);
        let repo = Some("a/b c".to_owned());
        Manifest {
            run: RunHeader {
                run_id: RunId::new(id).unwrap(),
                sequence: 2,
                parent: Some(RunId::new("first").unwrap()),
                committed_at_ms: 1_763_833_333_999,
                started_at_ms: 951_782_399_000,
                schema_name: "bytecode_files_v1".to_owned(),
                schema_version: 1,
                corpus: "file:///corpus".to_owned(),
                interpreter: serde_json::json!({ "version": "3.13.0", "magic": "f30d0d0a" }),
                options: serde_json::json!({ "optimize": 0, "exclude": ["x"] }),
                bins: 1,
                bins_taken_over: 0,
                repositories: 1,
                data_files: 1,
                data_bytes: 4_567_890,
                landed_bytes: 4_567_890,
                rows: files,
                gone: None,
                held_back: false,
                stats,
                digest: "0123456789abcdef".repeat(4),
            },
            repos: vec![RepoSummary { repo: repo.clone(), files, digest: "fedcba9876543210".repeat(4) }],
            files: vec![LandedFile {
                key: "bytecode_files_v1/landed=first/000000-a-0000.parquet".to_owned(),
                rows: files,
                bytes: 4_567_890,
                sha256: "00112233445566778899".repeat(3),
                first: FileName::new(repo.as_deref(), "a.py"),
                last: FileName::new(repo.as_deref(), "z.py"),
                elements: BTreeMap::from([("code_objects".to_owned(), 7)]),
            }],
            schema: None,
        }
    }

    #[test]
    fn runs_are_a_table() {
        let runs = [manifest("second", 2_134).run, manifest("first", 1).run];
        let rows = rows(&runs, |run| run.run_id.as_str() == "second").unwrap();
        assert_snapshot!(render(Layout::Grid(Limits::default()), &rows).unwrap());
    }

    #[test]
    fn a_run_is_shown_whole() {
        let manifest = manifest("second", 2_134);
        assert_snapshot!(details(&Run { current: true, manifest: &manifest }).unwrap());
    }

    #[test]
    fn json_is_the_manifest_and_whether_it_is_current() {
        let manifest = manifest("second", 1);
        let mut json = serde_json::to_value(Run { current: true, manifest: &manifest }).unwrap();
        assert_eq!(json.as_object_mut().unwrap().remove("current"), Some(Value::Bool(true)));
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), manifest);
    }

    #[test]
    fn a_change_of_the_schema_is_a_line() {
        let change = |column: &str| ColumnChange { table: "t".to_owned(), column: column.to_owned(), data_type: "Utf8".to_owned() };
        let delta = SchemaDelta {
            since: Some(RunId::new("first").unwrap()),
            added_tables: vec!["new".to_owned()],
            removed_tables: vec!["old".to_owned()],
            added_columns: vec![change("a.b")],
            removed_columns: vec![change("c")],
            retyped: vec![Retyped {
                table: "t".to_owned(),
                column: Some("d".to_owned()),
                from: "Int32".to_owned(),
                to: "Int64".to_owned(),
            }],
            reordered_tables: vec!["t".to_owned()],
        };
        let record = SchemaRecord { snapshot: "0123456789abcdef".repeat(4), delta };
        let lines = [
            "0123456789ab (6 changes since run first)",
            "+ new",
            "- old",
            "+ t: a.b Utf8",
            "- t: c Utf8",
            "~ t: d Int32 -> Int64",
            "~ t: columns in another order",
        ];
        assert_eq!(schema_lines(&record), lines);

        let unchanged = SchemaDelta { since: Some(RunId::new("first").unwrap()), ..SchemaDelta::default() };
        let record = SchemaRecord { delta: unchanged, ..record };
        assert_eq!(schema_lines(&record), ["0123456789ab (unchanged since run first)"]);
        let record = SchemaRecord { delta: SchemaDelta::default(), ..record };
        assert_eq!(schema_lines(&record), ["0123456789ab (nothing to compare it with)"]);
        let manifest = Manifest { schema: Some(record), ..manifest("second", 1) };
        assert!(details(&Run { current: true, manifest: &manifest }).unwrap().contains("\nsnapshot        0123456789ab (nothing"));
    }

    #[tokio::test]
    async fn facts_without_a_run_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(folder.path().to_str().unwrap()).unwrap();
        assert!(list(&facts).await.unwrap().starts_with("no run is committed at "));
    }
}
