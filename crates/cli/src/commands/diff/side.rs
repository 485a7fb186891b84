//! One file of two runs, instruction by instruction.

use std::fmt::Write as _;

use anyhow::bail;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use bytefacts_audit::difference::Difference;
use bytefacts_audit::edits::{Line, Mark, UnitLines};
use bytefacts_audit::row;
use bytefacts_landing::RunId;
use bytefacts_query::facts_session;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::args::{Diff, Format};
use crate::exit::Exit;
use crate::facts::Facts;
use crate::output::Output;
use crate::paint::{BOLD, DIM, GREEN, Paint, RED, YELLOW};

/// What a terminal has that does not say.
const COLUMNS: usize = 140;

#[derive(Serialize)]
struct Answer {
    file: String,
    before: Option<Digests>,
    after: Option<Digests>,
    first_difference: Option<Difference>,
    units: Vec<UnitLines>,
}

#[derive(Clone, Serialize)]
struct Digests {
    source: Option<String>,
    facts: Option<String>,
    marshal: Option<String>,
}

/// Shows a file of two runs. Ends with 3 if its source is the same and its facts differ.
///
/// # Errors
/// When neither run has it, or the facts cannot be read.
pub async fn run(facts: &Facts, (before, after): (&RunId, &RunId), file: &str, args: &Diff, output: &mut Output) -> anyhow::Result<Exit> {
    let (one, other) = (row_of(facts, before, file).await?, row_of(facts, after, file).await?);
    if one.is_none() && other.is_none() {
        bail!("neither run {before} nor run {after} has a file {file}");
    }
    let empty = |row: &Option<RecordBatch>| row.as_ref().map(|row| row.slice(0, 0));
    let Some((left, right)) = one.clone().or_else(|| empty(&other)).zip(other.clone().or_else(|| empty(&one))) else {
        bail!("the rows of {file} cannot be read");
    };
    let answer = Answer {
        file: file.to_owned(),
        before: one.as_ref().map(digests),
        after: other.as_ref().map(digests),
        first_difference: row::first_difference(&left, &right),
        units: row::side_by_side(&left, &right, args.context),
    };
    match args.format {
        Format::Json => output.data(serde_json::to_string_pretty(&answer)? + "\n")?,
        Format::Text => {
            output.data(text(&answer, (before, after), Paint { colour: output.colour() })?)?;
        }
    }
    let alarm = match (&answer.before, &answer.after) {
        (Some(before), Some(after)) => before.source == after.source && before.facts != after.facts,
        _ => false,
    };
    Ok(if alarm { Exit::Findings } else { Exit::Clean })
}

/// The row of a file, by its path or by repository and path.
pub async fn row_of(facts: &Facts, run: &RunId, file: &str) -> anyhow::Result<Option<RecordBatch>> {
    let session = facts_session(&facts.stores, facts.location.uri(), Some(run.clone()))?;
    let quoted = file.replace('\'', "''");
    let query = format!("SELECT * FROM bytecode_files_v1 WHERE path = '{quoted}' OR concat(repo, '/', path) = '{quoted}'");
    let batches = session.sql(&query).await?.collect().await?;
    let Some(first) = batches.first() else { return Ok(None) };
    let rows = concat_batches(&first.schema(), &batches)?;
    if rows.num_rows() > 1 {
        let repos = rows.column_by_name("repo").and_then(|column| column.as_string_opt::<i32>());
        let repos = repos.map(|repos| repos.iter().map(|repo| format!("{}/{file}", repo.unwrap_or(""))).collect::<Vec<_>>());
        bail!("{file} is {} files of run {run}: say which by {}", rows.num_rows(), repos.unwrap_or_default().join(" or "));
    }
    Ok((rows.num_rows() == 1).then_some(rows))
}

fn digests(row: &RecordBatch) -> Digests {
    let text = |name: &str| {
        let column = row.column_by_name(name)?.as_string_opt::<i32>()?;
        (!column.is_null(0)).then(|| column.value(0).to_owned())
    };
    Digests { source: text("file_sha256"), facts: text("facts_digest"), marshal: text("marshal_digest") }
}

fn text(answer: &Answer, (before, after): (&RunId, &RunId), paint: Paint) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}\n", paint.paint(BOLD, &answer.file))?;
    let (one, other) = (answer.before.as_ref(), answer.after.as_ref());
    let absent = "not there".to_owned();
    for (name, of) in [
        ("source", (|digests: &Digests| digests.source.clone()) as fn(&Digests) -> Option<String>),
        ("facts", |digests| digests.facts.clone()),
        ("marshal", |digests| digests.marshal.clone()),
    ] {
        let shown = |side: Option<&Digests>| side.map_or_else(|| absent.clone(), |side| of(side).unwrap_or_else(|| "none".to_owned()));
        let (one, other) = (shown(one), shown(other));
        let same = one == other;
        let short = |digest: &str| digest.chars().take(16).collect::<String>();
        let told =
            if same { paint.paint(DIM, &format!("{} in both", short(&one))) } else { format!("{} → {}", short(&one), short(&other)) };
        writeln!(text, "{name:<9}{told}")?;
    }
    match &answer.first_difference {
        None => writeln!(text, "\n{}", paint.paint(GREEN, "the rows are equal"))?,
        Some(found) if one.is_some() && other.is_some() => {
            writeln!(text, "\n{} {}: {} → {}", paint.paint(YELLOW, "first difference"), found.field, found.left, found.right)?;
        }
        Some(_) => {}
    }
    text.push_str(&side_by_side(&answer.units, [before.as_str(), after.as_str()], paint)?);
    Ok(text)
}

/// Code objects of two sides, as wide as the terminal is.
///
/// # Errors
/// Never: writing to a text does not fail.
pub fn side_by_side(units: &[UnitLines], heads: [&str; 2], paint: Paint) -> Result<String, std::fmt::Error> {
    let columns = terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| usize::from(width.0));
    // Two columns and a mark between them.
    let width = (columns.saturating_sub(3) / 2).max(30);
    let mut text = String::new();
    for unit in units {
        writeln!(text, "\n{}", paint.paint(BOLD, &unit.unit))?;
        writeln!(text, "{}", paint.paint(DIM, &format!("{} {}", padded(heads[0], width + 2), heads[1])))?;
        if unit.lines.iter().all(|line| line.mark == Mark::Skipped) {
            writeln!(text, "{}", paint.paint(DIM, "the same instructions: what differs stands beside them"))?;
            continue;
        }
        for line in &unit.lines {
            writeln!(text, "{}", shown(line, width, paint))?;
        }
    }
    Ok(text)
}

fn shown(line: &Line, width: usize, paint: Paint) -> String {
    let (left, right) = (line.left.as_deref().unwrap_or(""), line.right.as_deref().unwrap_or(""));
    if line.mark == Mark::Skipped {
        return paint.paint(DIM, &format!("   ⋯ {left} more"));
    }
    let (left, right) = (padded(left, width), padded(right, width).trim_end().to_owned());
    let (mark, left, right) = match line.mark {
        Mark::Changed => ("~", paint.paint(RED, &left), paint.paint(GREEN, &right)),
        Mark::Removed => ("-", paint.paint(RED, &left), right),
        Mark::Added => ("+", left, paint.paint(GREEN, &right)),
        Mark::Same | Mark::Skipped => (" ", paint.paint(DIM, &left), paint.paint(DIM, &right)),
    };
    format!("{left} {mark} {right}").trim_end().to_owned()
}

/// Text of exactly so many columns.
fn padded(text: &str, width: usize) -> String {
    let mut shown = String::new();
    let mut used = 0;
    for character in text.chars() {
        let character = if character.is_control() { '·' } else { character };
        let wide = character.to_string().width();
        if used + wide > width.saturating_sub(1) {
            shown.push('…');
            used += 1;
            break;
        }
        shown.push(character);
        used += wide;
    }
    shown + &" ".repeat(width.saturating_sub(used))
}
