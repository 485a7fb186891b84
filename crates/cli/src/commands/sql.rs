//! `bytefacts sql`: one statement, a script, or a shell, over facts or against a server.
//!
//! Over facts a session reads one run from its start to its end, so that all its answers agree even while a new run is committed. Statements may read and write
//! other files (`CREATE EXTERNAL TABLE`, `COPY`): they run with the user's own rights and nothing else. What a
//! server may be asked it says itself.

mod complete;
mod console;
mod input;
mod message;
mod meta;
mod schema;
mod shell;
mod sink;
mod source;
mod threads;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use bytefacts_client::{ClientError, Connection, Credentials, Options};
use bytefacts_query::{facts_session, register_listings};

use self::console::Console;
use self::sink::Screen;
use self::source::Source;
use crate::args::{Sql, TableFormat};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::signals::Termination;
use crate::summary::count;
use crate::table::{Layout, Limits};

/// Columns of a terminal that does not say.
const LINE: usize = 80;

/// Runs the command.
///
/// # Errors
/// When the facts cannot be read, or a statement fails; statements behind it are not run then.
pub async fn run(args: Sql, output: &mut Output) -> anyhow::Result<Exit> {
    let terminal = std::io::stdout().is_terminal();
    let statement = args.statement.clone().or_else(|| args.command.clone());
    if statement.as_deref().is_some_and(|statement| statement.trim().is_empty()) {
        return Err(UsageError("the statement is empty".to_owned()).into());
    }
    let interactive = statement.is_none() && terminal && std::io::stdin().is_terminal();
    // The shell listens for itself.
    let termination = if interactive { None } else { Some(Termination::listen()?) };
    let facts = match (&args.connect, &args.facts) {
        (Some(_), _) => None,
        (None, Some(facts)) => Some(Facts::open(facts)?),
        (None, None) => return Err(UsageError("say what to ask: --facts FACTS, or --connect grpc://HOST:PORT".to_owned()).into()),
    };
    let (source, greeting) = match &facts {
        Some(facts) => over_facts(facts, args.run.as_deref()).await?,
        None => of_server(&args).await?,
    };
    let layout = match args.format {
        TableFormat::Table => {
            Layout::Grid(Limits { rows: None, width: terminal.then(|| Screen::now().map_or(LINE, |screen| screen.width)) })
        }
        TableFormat::Csv => Layout::Csv,
        TableFormat::Json => Layout::Json,
    };
    let mut console = Console::new(source, output, layout);
    let Some(mut termination) = termination else {
        shell::run(console, &greeting).await?;
        return Ok(Exit::Clean);
    };
    let script = match statement {
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

/// A session over a run of facts, and how the shell greets.
async fn over_facts<'a>(facts: &'a Facts, run: Option<&str>) -> anyhow::Result<(Source<'a>, String)> {
    let run = facts.document(run).await?.run;
    let (location, id) = (facts.location.uri(), Some(run.run_id.clone()));
    let opened = async {
        let session = facts_session(&facts.stores, location, id.clone())?;
        register_listings(&session, &facts.stores, location, id)?;
        Ok(session)
    };
    let session = opened.await.map_err(|error| message::error(&error, &[]))?;
    let greeting = format!("Run {} of {}: {}.", run.run_id, facts.shown(), count(run.stats.files, "file"));
    Ok((Source::Here { session, facts }, greeting))
}

/// A connection to a server, and how the shell greets.
async fn of_server<'a>(args: &Sql) -> anyhow::Result<(Source<'a>, String)> {
    let address = args.connect.clone().unwrap_or_default();
    let secret = |file: &Path| {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        // An editor ends the line.
        Ok::<_, anyhow::Error>(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    let credentials = match (&args.user, &args.password_file, &args.token_file) {
        (Some(user), Some(file), None) => Credentials::Password { user: user.clone(), password: secret(file)? },
        (None, None, Some(file)) => Credentials::Token(secret(file)?),
        (None, None, None) => Credentials::None,
        _ => return Err(UsageError("a login is --user NAME with --password-file FILE, or --token-file FILE".to_owned()).into()),
    };
    let options = Options { address, credentials, ca: args.ca.clone(), run: args.run.clone() };
    let connection = match Connection::open(&options).await {
        Ok(connection) => connection,
        Err(error @ ClientError::Address(_)) => return Err(UsageError(format!("--connect: {error}")).into()),
        Err(error @ ClientError::Refused(_)) if options.credentials == Credentials::None => {
            bail!("{error}\nhint: --user NAME with --password-file FILE, or --token-file FILE")
        }
        Err(error) => return Err(error.into()),
    };
    let greeting = format!("Server {}.", connection.address());
    Ok((Source::server(connection), greeting))
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
