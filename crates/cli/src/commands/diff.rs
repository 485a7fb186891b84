//! `bytefacts diff`: what has changed from one run to another.

pub(super) mod edits;
pub(super) mod run_tree;
pub(super) mod side;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytefacts_audit::changes::{self, Change, Changes, Class, Making};
use bytefacts_landing::{RunDocument, RunId};
use futures::FutureExt as _;
use serde::Serialize;

use self::edits::Edits;
use self::run_tree::StoredTree;
use crate::args::{Diff, Format};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::paint::{BOLD, GREEN, Paint, RED, YELLOW};
use crate::summary::{count, thousands};
use crate::table::{Layout, Limits, render};

/// The answer, for programs.
#[derive(Serialize)]
struct Answer<'a> {
    before: &'a str,
    after: &'a str,
    alarm: bool,
    made: [&'a Making; 2],
    counts: Vec<(Class, u64)>,
    #[serde(flatten)]
    changes: &'a Changes,
    /// What code of the same source does otherwise; null where there is none, or it was not to be read.
    edits: Option<&'a Edits>,
}

/// Runs the command.
///
/// # Errors
/// When the facts or a run do not exist, or cannot be read.
pub async fn run(args: Diff, output: &mut Output) -> anyhow::Result<Exit> {
    let facts = Facts::open(&args.facts)?;
    let before = committed(&facts, Some(&args.before)).await?;
    let after = committed(&facts, args.after.as_deref()).await?;
    if let Some(file) = &args.file {
        return side::run(&facts, (&before.run.run_id, &after.run.run_id), file, &args, output).await;
    }
    let sides = (Side::open(&facts, before).await?, Side::open(&facts, after).await?);
    let changes = compared(&sides).boxed().await?;
    let edits = if args.no_edits { None } else { edits::of(&facts, (sides.0.id(), sides.1.id()), &changes).boxed().await? };
    match args.format {
        Format::Json => output.data(serde_json::to_string_pretty(&answer(&sides, &changes, edits.as_ref()))? + "\n")?,
        Format::Text => output.data(text(&facts, &sides, (&changes, edits.as_ref()), args.show, Paint { colour: output.colour() })?)?,
    }
    Ok(if changes.count(Class::SameSourceDifferentFacts) == 0 { Exit::Clean } else { Exit::Findings })
}

async fn compared((before, after): &(Side, Side)) -> anyhow::Result<Changes> {
    Ok(changes::compare((&before.tree, &before.making), (&after.tree, &after.making)).await?)
}

/// One of the two runs.
struct Side {
    document: RunDocument,
    tree: StoredTree,
    making: Making,
}

impl Side {
    async fn open(facts: &Facts, document: RunDocument) -> anyhow::Result<Self> {
        let tree = StoredTree::of(facts, &document.run.run_id).await?;
        let making = run_tree::making(facts, &document.run).await?;
        Ok(Self { document, tree, making })
    }

    fn id(&self) -> &RunId {
        &self.document.run.run_id
    }
}

/// A committed run, the current one unless it is named.
async fn committed(facts: &Facts, run: Option<&str>) -> anyhow::Result<RunDocument> {
    let id = match run {
        Some(id) => RunId::new(id).map_err(|error| UsageError(format!("{id}: {error}")))?,
        None => facts.current().await?.with_context(|| facts.nothing_committed())?,
    };
    match facts.store.committed(&id).await.with_context(|| facts.unreadable())? {
        Some(document) => Ok(document),
        None => bail!("run {id} is not committed at {}: `bytefacts runs --facts {}` lists those that are", facts.shown(), facts.shown()),
    }
}

fn answer<'a>((before, after): &'a (Side, Side), changes: &'a Changes, edits: Option<&'a Edits>) -> Answer<'a> {
    Answer {
        before: before.id().as_str(),
        after: after.id().as_str(),
        alarm: changes.count(Class::SameSourceDifferentFacts) > 0,
        made: [&before.making, &after.making],
        counts: Class::ALL.into_iter().map(|class| (class, changes.count(class))).collect(),
        changes,
        edits,
    }
}

fn text(
    facts: &Facts,
    (before, after): &(Side, Side),
    (changes, edits): (&Changes, Option<&Edits>),
    show: usize,
    paint: Paint,
) -> anyhow::Result<String> {
    let mut text = String::new();
    let files = |side: &Side| count(side.document.run.rows, "file");
    writeln!(
        text,
        "{} {} ({}) → {} ({}) at {}\n",
        paint.paint(BOLD, "runs"),
        before.id(),
        files(before),
        after.id(),
        files(after),
        facts.shown()
    )?;
    for (what, one, other) in [
        ("interpreter", before.making.interpreter.to_string(), after.making.interpreter.to_string()),
        ("options", before.making.options.to_string(), after.making.options.to_string()),
        ("analysis", before.making.analyzer.clone(), after.making.analyzer.clone()),
        ("schema", before.making.schema.clone(), after.making.schema.clone()),
    ] {
        if one != other {
            writeln!(text, "{} {what}: {one} → {other}", paint.paint(YELLOW, "made differently:"))?;
        }
    }
    let rows: Vec<(Class, u64)> = Class::ALL.into_iter().map(|class| (class, changes.count(class))).filter(|(_, n)| *n > 0).collect();
    if !rows.is_empty() {
        let column = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
        let table = RecordBatch::try_from_iter([
            ("what", column(rows.iter().map(|(class, _)| class.as_str().to_owned()).collect())),
            ("files", column(rows.iter().map(|(_, n)| thousands(*n)).collect())),
        ])?;
        text.push_str(&render(Layout::Grid(Limits::default()), &table)?);
    }
    for (class, found) in rows {
        let style = if class == Class::SameSourceDifferentFacts { RED } else { BOLD };
        writeln!(text, "\n{}", paint.paint(style, class.as_str()))?;
        for change in changes.changes.iter().filter(|change| change.class == class).take(show) {
            writeln!(text, "  {}", line(change))?;
        }
        if found > show as u64 {
            writeln!(text, "  … and {} more", thousands(found - show as u64))?;
        }
    }
    if let Some(edits) = edits {
        text.push_str(&edits::text(edits, show, paint)?);
    }
    let alarms = changes.count(Class::SameSourceDifferentFacts);
    let verdict = match (alarms, changes.changes.is_empty()) {
        (0, true) => paint.paint(GREEN, "the same facts"),
        (0, false) => paint.paint(GREEN, "every difference is explained"),
        (alarms, _) => paint.paint(RED, &format!("{} made the same way from the same source have different facts", count(alarms, "file"))),
    };
    let cost = changes.cost;
    writeln!(text, "\n{verdict}; read {} in {}", count(cost.digests, "digest"), count(cost.nodes, "node"))?;
    if alarms > 0 {
        let shown = facts.shown();
        writeln!(text, "`bytefacts diff {} {} --facts {shown} --file PATH` shows one side by side", before.id(), after.id())?;
    }
    Ok(text)
}

fn line(change: &Change) -> String {
    let from = change.from.as_ref().map(|from| format!(" (from {})", named(from.repo.as_deref(), &from.path)));
    named(change.repo.as_deref(), &change.path) + &from.unwrap_or_default()
}

/// A file as people name it.
fn named(repo: Option<&str>, path: &str) -> String {
    repo.map_or_else(|| path.to_owned(), |repo| format!("{repo}/{path}"))
}
