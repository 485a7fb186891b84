//! Runs statements and commands one after the other, for scripts and for the shell.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail};
use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use futures::StreamExt as _;

use super::input::{self, Parsed, Piece};
use super::meta::{self, Expansion, Meta};
use super::sink::{Screen, Sink, Wanted};
use super::source::Source;
use super::{message, schema};
use crate::output::Output;
use crate::summary::{count, thousands};
use crate::table::{Layout, Limits, RowWriter, render, width};

/// A statement in an error message is cut to so many columns.
const QUOTED_COLUMNS: usize = 70;

/// Files may run one another so deeply.
const INCLUDED: usize = 16;

/// Who answers, and where results go.
pub struct Console<'a> {
    /// Who answers.
    pub source: Source<'a>,
    /// The streams of the process.
    pub output: &'a mut Output,
    /// How rows are written.
    pub layout: Layout,
    /// Whether the number of rows is noted behind each result, and how long it took.
    pub footer: Footer,
    /// Where results go.
    pub sink: Sink,
    /// Results since the last input, which a blank line keeps apart.
    results: usize,
    /// Files that are run by one another now.
    included: usize,
}

/// What stands behind a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footer {
    /// Nothing.
    None,
    /// The number of rows.
    Rows,
    /// The number of rows and the time.
    RowsAndTime,
}

/// What a statement came to.
struct Outcome {
    /// Rows of its result.
    rows: usize,
    /// Whether it has a result at all: DDL has none.
    is_query: bool,
    /// Columns for which a line of the terminal is too short.
    left_out: Vec<String>,
}

impl<'a> Console<'a> {
    /// A console that writes rows in `layout`.
    pub fn new(source: Source<'a>, output: &'a mut Output, layout: Layout) -> Self {
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let footer = if terminal && matches!(layout, Layout::Grid(_)) { Footer::Rows } else { Footer::None };
        let sink = Sink::new(terminal && std::io::stdin().is_terminal() && footer == Footer::Rows);
        Self { source, output, layout, footer, sink, results: 0, included: 0 }
    }

    /// Runs a script up to the first error.
    ///
    /// # Errors
    /// What went wrong, and in which statement if there are several.
    pub async fn script(&mut self, script: &str) -> anyhow::Result<()> {
        // All is parsed before anything runs.
        let mut steps = Vec::new();
        let mut statements = 0;
        for piece in input::pieces(script) {
            match piece {
                Piece::Command(line) => steps.push(Step::Command(meta::parse(&line).map_err(|text| anyhow!(text))?)),
                Piece::Sql(sql) => {
                    let parsed = input::statements(&sql).map_err(|error| message::error(&error, &[]))?;
                    statements += parsed.len();
                    steps.extend(parsed.into_iter().map(|statement| Step::Statement(Box::new(statement))));
                }
            }
        }
        let mut number = 0;
        for step in steps {
            match step {
                Step::Command(command) => {
                    if self.command(command).await?.is_break() {
                        break;
                    }
                }
                Step::Statement(statement) => {
                    number += 1;
                    let text = statement.text.clone();
                    let result = self.statement(*statement).await;
                    result.map_err(|error| if statements > 1 { in_statement(number, &text, error) } else { error })?;
                }
            }
        }
        Ok(())
    }

    /// Tells that what comes now answers a new input.
    pub fn new_input(&mut self) {
        self.results = 0;
        // What was stopped in a file has left it.
        self.included = 0;
    }

    /// Runs one statement and writes its result.
    ///
    /// # Errors
    /// What went wrong, in words for the user.
    pub async fn statement(&mut self, statement: Parsed) -> anyhow::Result<()> {
        let begun = Instant::now();
        let outcome = self.stream(statement).await;
        let Outcome { rows, is_query, left_out } = match outcome {
            Ok(outcome) => outcome,
            Err(Failure::Output(error)) => return Err(error),
            Err(Failure::Query(error)) => return Err(self.explain(&error).await),
        };
        let time = match self.footer {
            Footer::None => return Ok(()),
            Footer::Rows => String::new(),
            Footer::RowsAndTime => format!(", {:.3} s", begun.elapsed().as_secs_f64()),
        };
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            self.output.note(format!("the line is too short for {}: {names}; \\x shows all", count(left_out.len() as u64, "column")));
        }
        let count = count(rows as u64, "row");
        self.output.note(match self.shown_rows() {
            _ if !is_query => format!("(done{time})"),
            Some(shown) if rows > shown => {
                format!("({count}, the first {shown} shown, {} left out{time})", thousands((rows - shown) as u64))
            }
            _ => format!("({count}{time})"),
        });
        Ok(())
    }

    /// Runs a command.
    ///
    /// # Errors
    /// What went wrong, in words for the user.
    pub async fn command(&mut self, command: Meta) -> anyhow::Result<ControlFlow<()>> {
        match command {
            Meta::List => {
                let tables = self.source.tables().await.map_err(|error| message::error(&error, &[]))?;
                self.whole(&schema::list(&tables)?).await?;
            }
            Meta::Describe(name) => match self.source.columns(&name).await {
                Ok(columns) => self.whole(&schema::describe(&name, &columns)?).await?,
                Err(error) => return Err(self.explain(&error).await),
            },
            Meta::Runs => {
                let text = self.source.runs().await?;
                self.text(&text).await?;
            }
            Meta::Expanded(wanted) => self.expand(wanted),
            Meta::Pager(wanted) => {
                let paged = wanted.unwrap_or(!self.sink.is_paged());
                self.sink.set_paged(paged);
                self.output.note(format!("the pager is {}", if paged { "on" } else { "off" }));
            }
            Meta::Timing(wanted) => {
                let shown = wanted.unwrap_or(self.footer != Footer::RowsAndTime);
                self.footer = if shown { Footer::RowsAndTime } else { Footer::Rows };
                self.output.note(format!("times are {}", if shown { "shown" } else { "hidden" }));
            }
            Meta::Include(file) => return self.include(&file).await,
            Meta::Redirect(file) => self.sink.redirect(file.as_deref())?,
            Meta::Help => self.text(&meta::help()).await?,
            Meta::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Has rows shown with a line a value, or a line a row; without a word for it, the other way than now.
    fn expand(&mut self, wanted: Option<Expansion>) {
        let (Layout::Grid(limits) | Layout::Expanded(limits) | Layout::Auto(limits)) = self.layout else { return };
        let other = if matches!(self.layout, Layout::Expanded(_)) { Expansion::Off } else { Expansion::On };
        let (layout, said) = match wanted.unwrap_or(other) {
            Expansion::On => (Layout::Expanded(limits), "one line a value"),
            Expansion::Off => (Layout::Grid(limits), "one line a row"),
            Expansion::Auto => (Layout::Auto(limits), "one line a value for rows that are wider than the terminal"),
        };
        self.layout = layout;
        self.output.note(said);
    }

    /// Runs the statements and commands of a file.
    async fn include(&mut self, file: &Path) -> anyhow::Result<ControlFlow<()>> {
        let script = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        if self.included == INCLUDED {
            bail!("{}: files that run one another are nested too deeply", file.display());
        }
        self.included += 1;
        let result = Box::pin(self.script(&script)).await;
        self.included -= 1;
        result.with_context(|| file.display().to_string())?;
        Ok(ControlFlow::Continue(()))
    }

    /// Writes a table that is shown whole, whatever the limits: documentation that is cut helps nobody.
    async fn whole(&mut self, rows: &RecordBatch) -> anyhow::Result<()> {
        let layout = match self.layout {
            Layout::Grid(_) | Layout::Expanded(_) | Layout::Auto(_) => Layout::Grid(Limits::default()),
            programs => programs,
        };
        let text = render(layout, rows)?;
        self.text(&text).await
    }

    /// Writes a text as a result.
    async fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.sink.begin();
        self.sink.write(text, self.output).await?;
        self.sink.end(self.output).await
    }

    async fn explain(&self, error: &DataFusionError) -> anyhow::Error {
        let tables = self.source.tables().await.unwrap_or_default();
        message::error(error, &tables.into_iter().map(|table| table.name).collect::<Vec<_>>())
    }

    fn shown_rows(&self) -> Option<usize> {
        match self.layout {
            _ if self.sink.is_file() => None,
            Layout::Grid(limits) | Layout::Expanded(limits) | Layout::Auto(limits) => limits.rows,
            Layout::Csv | Layout::Json => None,
        }
    }

    async fn stream(&mut self, parsed: Parsed) -> Result<Outcome, Failure> {
        let layout = self.layout_of(&parsed.statement);
        let selects = matches!(&parsed.statement, Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)));
        let mut stream = self.source.start(parsed).await?;
        let schema = stream.schema();
        if schema.fields().is_empty() {
            if selects {
                return Err(
                    DataFusionError::Plan("the query has no columns: begin it with SELECT, such as SELECT * FROM …".to_owned()).into()
                );
            }
            // DDL does its work when its empty result is read.
            while let Some(batch) = stream.next().await {
                batch?;
            }
            return Ok(Outcome { rows: 0, is_query: false, left_out: Vec::new() });
        }
        let mut writer = RowWriter::new(layout, &schema);
        let mut text = if self.results > 0 && matches!(layout, Layout::Grid(_)) { "\n".to_owned() } else { String::new() };
        self.results += 1;
        let mut rows = 0;
        self.sink.begin();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            writer.write(&batch, &mut text).map_err(DataFusionError::from)?;
            if self.flush(&mut text).await? == Wanted::No {
                break;
            }
        }
        let left_out = writer.finish(&mut text).map_err(DataFusionError::from)?;
        self.flush(&mut text).await?;
        self.sink.end(self.output).await.map_err(Failure::Output)?;
        Ok(Outcome { rows, is_query: true, left_out })
    }

    /// How the rows of a statement are laid out now: a terminal may have changed its size, and a file has none.
    fn layout_of(&self, statement: &Statement) -> Layout {
        let width = Screen::now().map(|screen| screen.width);
        let fitted = |limits: Limits| match limits.width {
            _ if self.sink.is_file() => Limits::default(),
            Some(_) => Limits { width, ..limits },
            None => limits,
        };
        match (self.layout, statement) {
            // A plan is read line by line, and whole.
            (Layout::Grid(limits) | Layout::Auto(limits), Statement::Explain(_)) => Layout::Grid(Limits { width: None, ..limits }),
            (Layout::Grid(limits), _) => Layout::Grid(fitted(limits)),
            (Layout::Auto(limits), _) => Layout::Auto(fitted(limits)),
            (Layout::Expanded(limits), _) => Layout::Expanded(fitted(limits)),
            (programs, _) => programs,
        }
    }

    async fn flush(&mut self, text: &mut String) -> Result<Wanted, Failure> {
        if text.is_empty() {
            return Ok(Wanted::Yes);
        }
        let wanted = self.sink.write(text, self.output).await.map_err(Failure::Output)?;
        text.clear();
        Ok(wanted)
    }
}

/// A part of a parsed script.
enum Step {
    Command(Meta),
    Statement(Box<Parsed>),
}

/// Whose fault it is.
enum Failure {
    Query(DataFusionError),
    Output(anyhow::Error),
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::Query(error)
    }
}

fn in_statement(number: usize, text: &str, error: anyhow::Error) -> anyhow::Error {
    let quoted = text.split_whitespace().collect::<Vec<_>>().join(" ");
    error.context(format!("statement {number} failed: {}", width::cut(&width::printable(&quoted), QUOTED_COLUMNS)))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::facts::Facts;

    /// The error of a script, and whether its first statement ran.
    async fn failed(script: &str) -> (String, bool) {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(folder.path().to_str().unwrap()).unwrap();
        let session = SessionContext::new();
        let mut output = Output::plain();
        let mut console = Console::new(Source::Here { session: session.clone(), facts: &facts }, &mut output, Layout::Csv);
        let error = console.script(script).await.unwrap_err();
        (format!("{error:#}"), session.table_exist("first").unwrap())
    }

    #[tokio::test]
    async fn an_error_names_its_statement_and_ends_the_script() {
        let (error, ran) = failed("CREATE TABLE first AS SELECT 1; SELECT\n nope; CREATE TABLE third AS SELECT 1").await;
        assert!(error.starts_with("statement 2 failed: SELECT nope: No field named nope"), "{error}");
        assert!(ran);
        let (error, _) = failed("SELECT nope").await;
        assert!(error.starts_with("No field named nope"), "there is only one: {error}");
    }

    #[tokio::test]
    async fn nothing_runs_if_anything_does_not_parse() {
        for script in ["CREATE TABLE first AS SELECT 1; SELEC 2", "CREATE TABLE first AS SELECT 1;\n\\nonsense"] {
            assert!(!failed(script).await.1, "{script}");
        }
    }

    #[tokio::test]
    async fn a_file_is_run_and_results_go_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(folder.path().to_str().unwrap()).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("inner.sql"), "SELECT 1 AS one;\n\\q\nSELECT nope;").unwrap();
        std::fs::write(path("endless.sql"), format!("\\i {}", path("endless.sql").display())).unwrap();
        std::fs::write(path("wrong.sql"), "SELECT nope;").unwrap();
        let mut output = Output::plain();
        let limits = Limits { rows: Some(1), width: Some(10) };
        let mut console = Console::new(Source::Here { session: SessionContext::new(), facts: &facts }, &mut output, Layout::Grid(limits));
        let (inner, out) = (path("inner.sql"), path("out"));
        let script =
            format!("\\o {}\n\\i {}\nSELECT '{}' AS wide UNION ALL SELECT 'x';\n\\o", out.display(), inner.display(), "w".repeat(30));
        console.script(&script).await.unwrap();
        let written = std::fs::read_to_string(out).unwrap();
        assert!(written.starts_with(" one\n-----\n   1\n"), "{written}");
        assert!(written.contains(&"w".repeat(30)) && written.lines().count() == 8, "a file is no terminal: {written}");

        let error = async |name: &str, console: &mut Console<'_>| {
            format!("{:#}", console.script(&format!("\\i {}", path(name).display())).await.unwrap_err())
        };
        assert!(error("none.sql", &mut console).await.starts_with("cannot read "));
        assert!(error("wrong.sql", &mut console).await.contains("wrong.sql: No field named nope"));
        assert!(error("endless.sql", &mut console).await.contains("nested too deeply"));
    }

    #[tokio::test]
    async fn a_command_can_end_a_script() {
        let folder = tempfile::tempdir().unwrap();
        let facts = Facts::open(folder.path().to_str().unwrap()).unwrap();
        let mut output = Output::plain();
        let mut console = Console::new(Source::Here { session: SessionContext::new(), facts: &facts }, &mut output, Layout::Csv);
        console.script("\\x\n\\q\nSELECT nope;").await.unwrap();
    }
}
