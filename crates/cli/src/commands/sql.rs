//! `bytefacts sql`: one statement, a script, or a shell.
//!
//! A session reads one run from its start to its end, so that all its answers agree even while a new run is committed. Statements may read and write
//! other files (`CREATE EXTERNAL TABLE`, `COPY`): they run with the user's own rights and nothing else.

mod complete;
mod console;
mod input;
mod message;
mod meta;
mod schema;
mod shell;

use std::io::{IsTerminal as _, Read as _};

use anyhow::Context as _;
use bytefacts_engine::facts_session;

use self::console::Console;
use crate::args::{Sql, TableFormat};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::table::{Layout, Limits};

/// On a terminal each line of a value is cut to so many columns.
const VALUE_COLUMNS: usize = 100;

/// Runs the command.
///
/// # Errors
/// When the facts cannot be read, or a statement fails; statements behind it are not run then.
pub async fn run(args: Sql, output: &mut Output) -> anyhow::Result<Exit> {
    let terminal = std::io::stdout().is_terminal();
    if args.statement.as_deref().is_some_and(|statement| statement.trim().is_empty()) {
        return Err(UsageError("the statement is empty".to_owned()).into());
    }
    let facts = Facts::open(&args.facts)?;
    let manifest = facts.manifest(args.run.as_deref()).await?;
    let run = manifest.run.run_id.clone();
    let session = facts_session(&facts.stores, facts.location.uri(), Some(run)).await.map_err(|error| message::error(&error, &[]))?;

    let layout = match args.format {
        TableFormat::Table => Layout::Grid(Limits { rows: None, value_columns: terminal.then_some(VALUE_COLUMNS) }),
        TableFormat::Csv => Layout::Csv,
        TableFormat::Json => Layout::Json,
    };
    let mut console = Console::new(session, &facts, output, layout);
    match args.statement {
        Some(statement) => console.script(&statement).await?,
        None if terminal && std::io::stdin().is_terminal() => shell::run(console, &manifest.run).await?,
        None => {
            let mut script = String::new();
            std::io::stdin().read_to_string(&mut script).context("cannot read statements from stdin")?;
            console.script(&script).await?;
        }
    }
    Ok(Exit::Clean)
}
