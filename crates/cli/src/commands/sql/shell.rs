//! The interactive shell.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::Context as _;
use bytefacts_compile::{Environment, cache_dir};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::signal::unix::{SignalKind, signal};

use super::complete::complete;
use super::console::{Console, Footer};
use super::source::AtHand;
use super::{LINE, input, interrupted, message, meta};
use crate::signals;
use crate::table::{Layout, Limits};

const PROMPT: &str = "bytefacts> ";
/// Before further lines of a statement.
const CONTINUATION: &str = "        -> ";

/// More rows than this are counted and not shown.
const SHOWN_ROWS: usize = 200;

/// Lets the user ask until they leave. An error of theirs is shown, and the shell goes on.
///
/// # Errors
/// When the terminal cannot be read or written.
pub async fn run(mut console: Console<'_>, greeting: &str) -> anyhow::Result<()> {
    if let Layout::Grid(_) = console.layout {
        console.layout = Layout::Grid(Limits { rows: Some(SHOWN_ROWS), width: Some(LINE) });
        console.footer = Footer::RowsAndTime;
    }
    console.output.note(format!("{greeting} \\d lists the views, \\? helps, \\q leaves."));

    give_terminal_back_on_sigterm()?;
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).build();
    let mut editor: Editor<Assistant, DefaultHistory> = Editor::with_config(config).context("cannot use the terminal")?;
    let history = history_file();
    if let Some(file) = &history {
        // The first shell finds no history.
        let _: rustyline::Result<()> = editor.load_history(file);
    }
    let mut typed = String::new();
    loop {
        let names = console.source.names().await.map_err(|error| message::error(&error, &[]))?;
        editor.set_helper(Some(Assistant { names, above: typed.clone(), colour: console.output.colour() }));
        let prompt = if typed.is_empty() { PROMPT } else { CONTINUATION };
        match tokio::task::block_in_place(|| editor.readline(prompt)) {
            Ok(line) => {
                typed.push_str(&line);
                typed.push('\n');
                if !input::is_complete(&typed) {
                    continue;
                }
                let input = std::mem::take(&mut typed);
                let input = input.trim();
                if input.is_empty() {
                    continue;
                }
                editor.add_history_entry(input).context("cannot keep the history")?;
                // At once: the shell may be killed.
                if let Some(file) = &history
                    && let Err(error) = editor.append_history(file)
                {
                    tracing::warn!(%error, "the history of the shell is lost");
                }
                if obey(&mut console, input).await? {
                    break;
                }
            }
            // What was begun is given up.
            Err(ReadlineError::Interrupted) => typed.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
    Ok(())
}

/// Ends the shell on SIGTERM, which may come while a line is edited: the terminal is left as it was found.
fn give_terminal_back_on_sigterm() -> anyhow::Result<()> {
    let found = tcgetattr(std::io::stdin()).context("cannot use the terminal")?;
    let kind = SignalKind::terminate();
    let mut terminate = signal(kind).context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        terminate.recv().await;
        // A terminal that is gone needs nothing.
        let _: nix::Result<()> = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &found);
        std::process::exit(signals::BY_SIGNAL + kind.as_raw_value());
    });
    Ok(())
}

/// Does what was typed; true is goodbye. Fails only when the output is gone.
async fn obey(console: &mut Console<'_>, input: &str) -> anyhow::Result<bool> {
    console.new_input();
    if input.starts_with('\\') || input::is_farewell(input) {
        let command = match meta::parse(input) {
            Ok(command) => command,
            Err(text) => {
                console.output.note(text);
                return Ok(false);
            }
        };
        let paging = console.sink.paging();
        // A file may hold a long query.
        let result = tokio::select! {
            result = console.command(command) => result,
            signal = interrupted(&paging) => {
                signal?;
                console.output.note("stopped");
                return Ok(false);
            }
        };
        return match result {
            Ok(flow) => Ok(flow.is_break()),
            Err(error) => show(console, error).map(|()| false),
        };
    }
    let statements = match input::statements(input) {
        Ok(statements) => statements,
        Err(error) => {
            console.output.note(format!("error: {}", message::explain(&error, &[])));
            return Ok(false);
        }
    };
    for statement in statements {
        let paging = console.sink.paging();
        // Dropping the query ends it.
        let result = tokio::select! {
            result = console.statement(statement) => result,
            signal = interrupted(&paging) => {
                signal?;
                console.output.note("stopped");
                return Ok(false);
            }
        };
        if let Err(error) = result {
            show(console, error)?;
            return Ok(false);
        }
    }
    Ok(false)
}

/// Shows an error of the user's; hands on one of the terminal's.
fn show(console: &Console<'_>, error: anyhow::Error) -> anyhow::Result<()> {
    // Files that are read and written for the user have a context.
    if error.is::<std::io::Error>() && error.chain().count() == 1 {
        return Err(error);
    }
    console.output.note(format!("error: {error:#}"));
    Ok(())
}

/// The file that keeps the history, in a folder that exists; `None` if there is no place for it.
fn history_file() -> Option<PathBuf> {
    let folder = cache_dir(&Environment::from_process())?;
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql-history"))
}

/// What helps while typing.
struct Assistant {
    names: AtHand,
    /// The lines of the statement above this one.
    above: String,
    colour: bool,
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        if self.colour { Cow::Owned(format!("\x1b[1m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }
}

impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(&self.above, line, position, &self.names.names()))
    }
}
