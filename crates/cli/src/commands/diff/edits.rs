//! What code of the same source does otherwise in another run, equal edits counted together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use bytefacts_audit::changes::{Change, Changes, Class, Name};
use bytefacts_audit::drift::{Cluster, Drifts};
use bytefacts_landing::RunId;
use bytefacts_query::facts_session;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;
use serde::Serialize;

use crate::facts::Facts;
use crate::paint::{BOLD, DIM, Paint, RED};
use crate::summary::{count, signed, thousands};

/// Files whose rows of both runs are held at a time.
const AT_ONCE: usize = 64;

/// Equal edits between two runs.
#[derive(Debug, Serialize)]
pub struct Edits {
    /// Of which files: those that were made differently, or those that nobody can explain.
    class: Class,
    /// Files whose rows were compared.
    files: u64,
    /// Instructions more in the later run, over all of them.
    instructions: i64,
    /// Instructions that the later run alone has.
    inserted: u64,
    /// Instructions that the earlier run alone has.
    removed: u64,
    /// The edits, the most frequent first.
    clusters: Vec<Cluster>,
}

/// Reads the rows of the files that have the same source and other facts, and counts what they do otherwise. `None` where there are none.
///
/// # Errors
/// When the rows cannot be read.
pub async fn of(facts: &Facts, (before, after): (&RunId, &RunId), changes: &Changes) -> anyhow::Result<Option<Edits>> {
    let class = if changes.drift.is_empty() { Class::SameSourceDifferentFacts } else { Class::Drift };
    let files: Vec<&Change> = changes.changes.iter().filter(|change| change.class == class).collect();
    if files.is_empty() {
        return Ok(None);
    }
    let session = |run: &RunId| facts_session(&facts.stores, facts.location.uri(), Some(run.clone()));
    let sessions = (session(before)?, session(after)?);
    let mut drifts = Drifts::default();
    for files in files.chunks(AT_ONCE) {
        let (lefts, rights) = (rows(&sessions.0, files).await?, rows(&sessions.1, files).await?);
        for change in files {
            let name = name(change);
            let (Some(left), Some(right)) = (lefts.get(&name), rights.get(&name)) else {
                anyhow::bail!("the digests of {} are there and its rows are not: `bytefacts validate` says what is wrong", name.path);
            };
            drifts.add_rows(&super::named(name.repo.as_deref(), &name.path), left, right);
        }
    }
    let clusters = drifts.clusters();
    let (inserted, removed) = clusters.iter().fold((0, 0), |(inserted, removed), of| (inserted + of.inserted, removed + of.removed));
    Ok(Some(Edits { class, files: files.len() as u64, instructions: drifts.instructions, inserted, removed, clusters }))
}

fn name(change: &Change) -> Name {
    Name { repo: change.repo.clone(), path: change.path.clone() }
}

/// The rows of files, which are in order of their names, each a batch of its own.
async fn rows(session: &SessionContext, files: &[&Change]) -> anyhow::Result<BTreeMap<Name, RecordBatch>> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let paths: Vec<String> = files.iter().map(|change| quoted(&change.path)).collect();
    let mut query = format!("SELECT * FROM bytecode_files_v1 WHERE path IN ({})", paths.join(", "));
    // Data files of other repositories are not opened.
    if let (Some(first), Some(last)) = (files.first(), files.last()) {
        match (&first.repo, &last.repo) {
            (None, None) => query.push_str(" AND repo IS NULL"),
            (None, Some(last)) => query.push_str(&format!(" AND (repo IS NULL OR repo <= {})", quoted(last))),
            (Some(first), Some(last)) => query.push_str(&format!(" AND repo >= {} AND repo <= {}", quoted(first), quoted(last))),
            (Some(first), None) => query.push_str(&format!(" AND repo >= {}", quoted(first))),
        }
        if first.repo == last.repo {
            query.push_str(&format!(" AND path >= {} AND path <= {}", quoted(&first.path), quoted(&last.path)));
        }
    }
    let mut wanted: BTreeMap<Name, Option<RecordBatch>> = files.iter().map(|change| (name(change), None)).collect();
    let mut batches = session.sql(&query).await?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let text = |column: &str| batch.column_by_name(column).and_then(|column| column.as_string_opt::<i32>());
        let (repos, paths) = text("repo").zip(text("path")).context("rows without names")?;
        for at in 0..batch.num_rows() {
            let repo = (!repos.is_null(at)).then(|| repos.value(at).to_owned());
            // Another repository may have a file of that path.
            if let Some(row) = wanted.get_mut(&Name { repo, path: paths.value(at).to_owned() }) {
                *row = Some(batch.slice(at, 1));
            }
        }
    }
    Ok(wanted.into_iter().filter_map(|(name, row)| Some((name, row?))).collect())
}

/// Edits as lines, at most `show` of them.
///
/// # Errors
/// Never: writing to a text does not fail.
pub fn text(edits: &Edits, show: usize, paint: Paint) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let (style, what) = match edits.class {
        Class::Drift => (BOLD, "drift"),
        _ => (RED, "not explained"),
    };
    writeln!(
        text,
        "\n{}: equal edits in the code of {}, {} instructions ({} inserted, {} removed)",
        paint.paint(style, what),
        count(edits.files, "file"),
        signed(edits.instructions),
        thousands(edits.inserted),
        thousands(edits.removed)
    )?;
    text.push_str(&clusters(&edits.clusters, show, paint)?);
    Ok(text)
}

/// Equal edits, two lines each: how often and what, and an example.
///
/// # Errors
/// Never: writing to a text does not fail.
pub fn clusters(clusters: &[Cluster], show: usize, paint: Paint) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for cluster in clusters.iter().take(show) {
        let (places, files) = (count(cluster.places, "place"), count(cluster.files, "file"));
        writeln!(text, "  {places} in {files}{}: {}", instructions(cluster.instructions), cluster.sentence())?;
        let example = &cluster.example;
        let side = |lines: &[String]| if lines.is_empty() { "nothing".to_owned() } else { lines.join(" | ") };
        let shown = format!("    {}: {} → {}", example.place(), side(&example.left), side(&example.right));
        writeln!(text, "{}", paint.paint(DIM, &shown))?;
    }
    let rest = clusters.get(show.min(clusters.len())..).unwrap_or_default();
    if !rest.is_empty() {
        let (places, more) = rest.iter().fold((0, 0), |(places, n), of| (places + of.places, n + of.instructions));
        let (edits, places) = (count(rest.len() as u64, "other edit"), count(places, "place"));
        writeln!(text, "  … and {edits} in {places}{}", instructions(more))?;
    }
    Ok(text)
}

/// How many instructions there are more or less, if it is another number.
fn instructions(more: i64) -> String {
    if more == 0 { String::new() } else { format!(", {} instructions", signed(more)) }
}
