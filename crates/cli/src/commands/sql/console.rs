//! Runs statements and commands one after the other, for scripts and for the shell.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::anyhow;
use arrow::array::RecordBatch;
use datafusion::common::Result as DataFusionResult;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::StreamExt as _;

use super::input::{self, Piece};
use super::meta::{self, Meta};
use super::{message, schema};
use crate::commands::runs;
use crate::facts::Facts;
use crate::output::Output;
use crate::table::{Layout, Limits, RowWriter, render, width};

/// A statement in an error message is cut to so many columns.
const QUOTED_COLUMNS: usize = 70;

/// A session, and where its results go.
pub struct Console<'a> {
    /// The session.
    pub session: SessionContext,
    /// The facts that it reads.
    pub facts: &'a Facts,
    /// The streams of the process.
    pub output: &'a mut Output,
    /// How rows are written.
    pub layout: Layout,
    /// Whether the number of rows is noted behind each result, and how long it took.
    pub footer: Footer,
    /// Results so far.
    results: usize,
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
}

impl<'a> Console<'a> {
    /// A console that writes rows in `layout`.
    pub fn new(session: SessionContext, facts: &'a Facts, output: &'a mut Output, layout: Layout) -> Self {
        use std::io::IsTerminal as _;
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let footer = if terminal && matches!(layout, Layout::Grid(_)) { Footer::Rows } else { Footer::None };
        Self { session, facts, output, layout, footer, results: 0 }
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
                    let text = statement.to_string();
                    let result = self.statement(*statement).await;
                    result.map_err(|error| if statements > 1 { in_statement(number, &text, error) } else { error })?;
                }
            }
        }
        Ok(())
    }

    /// Runs one statement and writes its result.
    ///
    /// # Errors
    /// What went wrong, in words for the user.
    pub async fn statement(&mut self, statement: Statement) -> anyhow::Result<()> {
        let begun = Instant::now();
        let outcome = self.stream(statement).await;
        let Outcome { rows, is_query } = match outcome {
            Ok(outcome) => outcome,
            Err(Failure::Output(error)) => return Err(error),
            Err(Failure::Query(error)) => {
                let names = schema::tables(&self.session).await.unwrap_or_default();
                return Err(message::error(&error, &names.into_iter().map(|table| table.name).collect::<Vec<_>>()));
            }
        };
        let time = match self.footer {
            Footer::None => return Ok(()),
            Footer::Rows => String::new(),
            Footer::RowsAndTime => format!(", {:.3} s", begun.elapsed().as_secs_f64()),
        };
        let count = crate::summary::count(rows as u64, "row");
        self.output.note(match self.shown_rows() {
            _ if !is_query => format!("(done{time})"),
            Some(shown) if rows > shown => format!("({count}, the first {shown} shown, {} left out{time})", rows - shown),
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
                let rows = schema::list(&self.session).await.map_err(|error| message::error(&error, &[]))?;
                self.whole(&rows)?;
            }
            Meta::Describe(name) => match schema::describe(&self.session, &name).await {
                Ok(rows) => self.whole(&rows)?,
                Err(error) => {
                    let names = schema::tables(&self.session).await.unwrap_or_default();
                    return Err(message::error(&error, &names.into_iter().map(|table| table.name).collect::<Vec<_>>()));
                }
            },
            Meta::Runs => {
                let text = runs::list(self.facts).await?;
                self.output.data(text)?;
            }
            Meta::Expanded => {
                self.layout = match self.layout {
                    Layout::Grid(limits) => Layout::Expanded(limits),
                    Layout::Expanded(limits) => Layout::Grid(limits),
                    programs => programs,
                };
                self.output.note(format!("one line a {}", if matches!(self.layout, Layout::Expanded(_)) { "value" } else { "row" }));
            }
            Meta::Timing => {
                self.footer = if self.footer == Footer::RowsAndTime { Footer::Rows } else { Footer::RowsAndTime };
                self.output.note(format!("times are {}", if self.footer == Footer::RowsAndTime { "shown" } else { "hidden" }));
            }
            Meta::Help => self.output.data(meta::HELP)?,
            Meta::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Writes a table that is shown whole, whatever the limits: documentation that is cut helps nobody.
    fn whole(&mut self, rows: &RecordBatch) -> anyhow::Result<()> {
        let layout = match self.layout {
            Layout::Grid(_) | Layout::Expanded(_) => Layout::Grid(Limits::default()),
            programs => programs,
        };
        self.output.data(render(layout, rows)?)
    }

    fn shown_rows(&self) -> Option<usize> {
        match self.layout {
            Layout::Grid(limits) | Layout::Expanded(limits) => limits.rows,
            Layout::Csv | Layout::Json => None,
        }
    }

    async fn stream(&mut self, statement: Statement) -> Result<Outcome, Failure> {
        // A plan is read line by line, and whole.
        let layout = match (self.layout, &statement) {
            (Layout::Grid(limits), Statement::Explain(_)) => Layout::Grid(Limits { value_columns: None, ..limits }),
            (layout, _) => layout,
        };
        let mut stream = start(&self.session, statement).await?;
        let schema = stream.schema();
        if schema.fields().is_empty() {
            // DDL does its work when its empty result is read.
            while let Some(batch) = stream.next().await {
                batch?;
            }
            return Ok(Outcome { rows: 0, is_query: false });
        }
        let mut writer = RowWriter::new(layout, &schema);
        let mut text = if self.results > 0 && matches!(layout, Layout::Grid(_)) { "\n".to_owned() } else { String::new() };
        self.results += 1;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            writer.write(&batch, &mut text).map_err(DataFusionError::from)?;
            self.flush(&mut text)?;
        }
        writer.finish(&mut text).map_err(DataFusionError::from)?;
        self.flush(&mut text)?;
        Ok(Outcome { rows, is_query: true })
    }

    fn flush(&mut self, text: &mut String) -> Result<(), Failure> {
        if !text.is_empty() {
            self.output.data(&*text).map_err(Failure::Output)?;
            text.clear();
        }
        Ok(())
    }
}

/// A part of a parsed script.
enum Step {
    Command(Meta),
    Statement(Box<Statement>),
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

async fn start(session: &SessionContext, statement: Statement) -> DataFusionResult<SendableRecordBatchStream> {
    let plan = session.state().statement_to_plan(statement).await?;
    session.execute_logical_plan(plan).await?.execute_stream().await
}

fn in_statement(number: usize, text: &str, error: anyhow::Error) -> anyhow::Error {
    let quoted = text.split_whitespace().collect::<Vec<_>>().join(" ");
    error.context(format!("statement {number} failed: {}", width::cut(&width::printable(&quoted), QUOTED_COLUMNS)))
}
