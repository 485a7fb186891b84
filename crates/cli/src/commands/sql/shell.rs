//! The interactive shell.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::Context as _;
use bytefacts_compile::{Environment, cache_dir};
use bytefacts_landing::RunHeader;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::complete::{Names, complete};
use super::console::{Console, Footer};
use super::{VALUE_COLUMNS, input, message, meta};
use crate::summary::count;
use crate::table::{Layout, Limits};

const PROMPT: &str = "bytefacts> ";

/// More rows than this are counted and not shown.
const SHOWN_ROWS: usize = 200;

/// Lets the user ask until they leave. An error of theirs is shown, and the shell goes on.
///
/// # Errors
/// When the terminal cannot be read or written.
pub async fn run(mut console: Console<'_>, run: &RunHeader) -> anyhow::Result<()> {
    if let Layout::Grid(_) = console.layout {
        console.layout = Layout::Grid(Limits { rows: Some(SHOWN_ROWS), value_columns: Some(VALUE_COLUMNS) });
        console.footer = Footer::RowsAndTime;
    }
    console.output.note(format!(
        "Run {} of {}: {}. \\d lists the views, \\? helps, \\q leaves.",
        run.run_id,
        console.facts.shown(),
        count(run.stats.files, "file")
    ));

    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).build();
    let mut editor: Editor<Assistant, DefaultHistory> = Editor::with_config(config).context("cannot use the terminal")?;
    let history = history_file();
    if let Some(file) = &history {
        // The first shell finds no history.
        let _: rustyline::Result<()> = editor.load_history(file);
    }
    loop {
        let names = Names::of(&console.session).await.map_err(|error| message::error(&error, &[]))?;
        editor.set_helper(Some(Assistant { names, colour: console.output.colour() }));
        match tokio::task::block_in_place(|| editor.readline(PROMPT)) {
            Ok(input) => {
                let input = input.trim();
                if !input.is_empty() {
                    editor.add_history_entry(input).context("cannot keep the history")?;
                    if obey(&mut console, input).await? {
                        break;
                    }
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
    if let Some(Err(error)) = history.map(|file| editor.save_history(&file)) {
        tracing::warn!(%error, "the history of the shell is lost");
    }
    Ok(())
}

/// Does what was typed; true is goodbye. Fails only when the output is gone.
async fn obey(console: &mut Console<'_>, input: &str) -> anyhow::Result<bool> {
    if input.starts_with('\\') || input::is_farewell(input) {
        let command = match meta::parse(input) {
            Ok(command) => command,
            Err(text) => {
                console.output.note(text);
                return Ok(false);
            }
        };
        return match console.command(command).await {
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
    console.new_input();
    for statement in statements {
        // Dropping the query ends it.
        let result = tokio::select! {
            result = console.statement(statement) => result,
            signal = tokio::signal::ctrl_c() => {
                signal.context("cannot listen for Ctrl-C")?;
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
    if error.downcast_ref::<std::io::Error>().is_some() {
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
    names: Names,
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

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if input::is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(line, position, &self.names))
    }
}
