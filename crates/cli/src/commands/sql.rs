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
mod sink;
mod threads;

use std::io::{IsTerminal as _, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use bytefacts_query::facts_session;

use self::console::Console;
use self::sink::Screen;
use crate::args::{Sql, TableFormat};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::signals::Termination;
use crate::table::{Layout, Limits};

/// Columns of a terminal that does not say.
const LINE: usize = 80;

/// Runs the command.
///
/// # Errors
/// When the facts cannot be read, or a statement fails; statements behind it are not run then.
pub async fn run(args: Sql, output: &mut Output) -> anyhow::Result<Exit> {
    let terminal = std::io::stdout().is_terminal();
    if args.statement.as_deref().is_some_and(|statement| statement.trim().is_empty()) {
        return Err(UsageError("the statement is empty".to_owned()).into());
    }
    let interactive = args.statement.is_none() && terminal && std::io::stdin().is_terminal();
    // The shell listens for itself.
    let termination = if interactive { None } else { Some(Termination::listen()?) };
    let facts = Facts::open(&args.facts)?;
    let manifest = facts.manifest(args.run.as_deref()).await?;
    let run = manifest.run.run_id.clone();
    let session = facts_session(&facts.stores, facts.location.uri(), Some(run)).await.map_err(|error| message::error(&error, &[]))?;

    let layout = match args.format {
        TableFormat::Table => {
            Layout::Grid(Limits { rows: None, width: terminal.then(|| Screen::now().map_or(LINE, |screen| screen.width)) })
        }
        TableFormat::Csv => Layout::Csv,
        TableFormat::Json => Layout::Json,
    };
    let mut console = Console::new(session, &facts, output, layout);
    let Some(mut termination) = termination else {
        shell::run(console, &manifest.run).await?;
        return Ok(Exit::Clean);
    };
    let script = match args.statement {
        Some(statement) => statement,
        None => {
            let mut script = String::new();
            std::io::stdin().read_to_string(&mut script).context("cannot read statements from stdin")?;
            script
        }
    };
    let paging = console.sink.paging();
    tokio::select! {
        result = console.script(&script) => result?,
        interrupted = interrupted(&paging) => {
            interrupted?;
            bail!("ended by Ctrl-C");
        }
        () = termination.comes() => bail!("ended by SIGTERM"),
    }
    Ok(Exit::Clean)
}

/// Waits for Ctrl-C; as long as a pager has the terminal, it is meant for that.
async fn interrupted(paging: &AtomicBool) -> anyhow::Result<()> {
    loop {
        tokio::signal::ctrl_c().await.context("cannot listen for Ctrl-C")?;
        if !paging.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
}
