//! A table for people: columns one below the other, numbers to the right.

use std::mem;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::cells::{Cells, NULL};
use super::width;

/// Column widths follow from this many rows. Later rows are laid out as they come, whatever their number; a value that is wider sticks out.
const MEASURED_ROWS: usize = 5_000;

/// No column is padded beyond this; a wider value sticks out.
const PADDED_COLUMNS: usize = 120;

/// How much of a result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The first rows; `None` is all.
    pub rows: Option<usize>,
    /// Columns of the terminal that each line of a value may take; `None` is any number.
    pub value_columns: Option<usize>,
}

impl Limits {
    /// A value's lines, made harmless and cut.
    pub(super) fn lines(self, text: &str) -> Vec<String> {
        let line = |line: &str| {
            let line = width::printable(line);
            self.value_columns.map_or_else(|| line.to_string(), |columns| width::cut(&line, columns).into_owned())
        };
        text.lines().map(line).collect()
    }
}

/// See [`super::Layout::Grid`].
pub struct Grid {
    columns: Vec<Column>,
    limits: Limits,
    /// Rows taken in so far.
    rows: usize,
    /// Rows that wait for the widths; `None` once these are fixed and the header is written.
    waiting: Option<Vec<Row>>,
}

struct Column {
    title: String,
    width: usize,
    to_the_right: bool,
}

/// The lines of each value.
type Row = Vec<Vec<String>>;

impl Grid {
    pub(super) fn new(schema: &Schema, limits: Limits) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| {
            let title = width::printable(field.name()).into_owned();
            Column { width: width::of(&title), title, to_the_right: field.data_type().is_numeric() }
        };
        Self { columns: schema.fields().iter().map(column).collect(), limits, rows: 0, waiting: Some(Vec::new()) }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        let (schema, options) = (batch.schema(), Cells::options());
        let mut cells = Cells::new(batch, schema.fields(), &options)?;
        for index in 0..batch.num_rows() {
            if self.limits.rows.is_some_and(|limit| self.rows >= limit) {
                break;
            }
            let mut row = Row::with_capacity(self.columns.len());
            cells.row(index, |_, text| row.push(self.limits.lines(text.unwrap_or(NULL))))?;
            self.rows += 1;
            self.take(row, out);
        }
        // Whoever asked for a few rows sees them as soon as they are there.
        if self.limits.rows.is_some_and(|limit| self.rows >= limit) {
            self.lay_out(out);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, out: &mut String) {
        self.lay_out(out);
    }

    fn take(&mut self, row: Row, out: &mut String) {
        let Some(waiting) = &mut self.waiting else { return write_row(&self.columns, &row, out) };
        for (column, lines) in self.columns.iter_mut().zip(&row) {
            let widest = lines.iter().map(|line| width::of(line)).max().unwrap_or(0);
            column.width = column.width.max(widest.min(PADDED_COLUMNS));
        }
        waiting.push(row);
        if waiting.len() >= MEASURED_ROWS {
            self.lay_out(out);
        }
    }

    /// Fixes the widths and writes the header and all that waits.
    fn lay_out(&mut self, out: &mut String) {
        let Some(waiting) = mem::take(&mut self.waiting) else { return };
        if self.columns.is_empty() {
            return;
        }
        write_row(&self.columns, &self.columns.iter().map(|column| vec![column.title.clone()]).collect(), out);
        let rules: Vec<_> = self.columns.iter().map(|column| "-".repeat(column.width + 2)).collect();
        out.push_str(&rules.join("+"));
        out.push('\n');
        for row in &waiting {
            write_row(&self.columns, row, out);
        }
    }
}

/// A value of several lines makes a row of several lines; a `+` behind a line says that its value goes on.
fn write_row(columns: &[Column], row: &Row, out: &mut String) {
    let height = row.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for nth in 0..height {
        let mut line = String::new();
        for (index, (column, lines)) in columns.iter().zip(row).enumerate() {
            let text = lines.get(nth).map_or("", String::as_str);
            let blanks = " ".repeat(column.width.saturating_sub(width::of(text)));
            let (before, after) = if column.to_the_right { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
            let goes_on = if nth + 1 < lines.len() { "+" } else { " " };
            line.extend([if index > 0 { "|" } else { "" }, " ", before, text, after, goes_on]);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
