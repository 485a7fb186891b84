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

/// No text is cut to less than this for the sake of the line's width: whole columns are left out instead.
const LEAST_COLUMNS: usize = 12;

/// How much of a result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The first rows; `None` is all.
    pub rows: Option<usize>,
    /// Columns of the terminal that a line may take; `None` is any number.
    pub width: Option<usize>,
}

/// A value's lines, made harmless.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| width::printable(line).into_owned()).collect()
}

/// See [`super::Layout::Grid`].
pub struct Grid {
    columns: Vec<Column>,
    limits: Limits,
    /// Rows taken in so far.
    rows: usize,
    /// Rows that wait for the widths; `None` once these are fixed and the header is written.
    waiting: Option<Vec<Row>>,
    /// Titles of the columns for which the line is too short.
    left_out: Vec<String>,
}

struct Column {
    title: String,
    width: usize,
    to_the_right: bool,
    /// Whether what is wider is cut.
    is_cut: bool,
}

/// The lines of each value.
type Row = Vec<Vec<String>>;

impl Grid {
    pub(super) fn new(schema: &Schema, limits: Limits) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| {
            let title = width::printable(field.name()).into_owned();
            Column { width: width::of(&title), title, to_the_right: field.data_type().is_numeric(), is_cut: false }
        };
        let columns = schema.fields().iter().map(column).collect();
        Self { columns, limits, rows: 0, waiting: Some(Vec::new()), left_out: Vec::new() }
    }

    /// Whether the rows so far are wider than a line may be.
    pub(super) fn is_too_wide(&self) -> bool {
        self.limits.width.is_some_and(|limit| line_width(&self.columns, usize::MAX) > limit)
    }

    /// Titles of the columns that were left out, since a line is too short for them.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        let (schema, options) = (batch.schema(), Cells::options());
        let mut cells = Cells::new(batch, schema.fields(), &options)?;
        for index in 0..batch.num_rows() {
            if self.limits.rows.is_some_and(|limit| self.rows >= limit) {
                break;
            }
            let mut row = Row::with_capacity(self.columns.len());
            cells.row(index, |_, text| row.push(lines(text.unwrap_or(NULL))))?;
            self.rows += 1;
            self.take(row, out);
        }
        // Whoever asked for a few rows sees them as soon as they are there.
        if self.limits.rows.is_some_and(|limit| self.rows >= limit) {
            self.lay_out(out);
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut String) {
        self.lay_out(out);
    }

    /// Widens the columns to what the first rows need.
    pub(super) fn measure(&mut self, batches: &[RecordBatch]) -> Result<(), ArrowError> {
        let mut left = self.limits.rows.unwrap_or(MEASURED_ROWS);
        for batch in batches {
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            let (schema, options) = (batch.schema(), Cells::options());
            let mut cells = Cells::new(&batch, schema.fields(), &options)?;
            for index in 0..batch.num_rows() {
                cells.row(index, |column, text| {
                    if let Some(column) = self.columns.get_mut(column) {
                        column.widen(&lines(text.unwrap_or(NULL)), self.limits);
                    }
                })?;
            }
        }
        Ok(())
    }

    fn take(&mut self, row: Row, out: &mut String) {
        let Some(waiting) = &mut self.waiting else { return write_row(&self.columns, &row, out) };
        for (column, lines) in self.columns.iter_mut().zip(&row) {
            column.widen(lines, self.limits);
        }
        waiting.push(row);
        if waiting.len() >= MEASURED_ROWS {
            self.lay_out(out);
        }
    }

    /// Cuts texts, the widest first, and then leaves out the last columns, until a line takes no more than `limit`.
    fn fit(&mut self, limit: usize) {
        while self.columns.len() > 1 && line_width(&self.columns, LEAST_COLUMNS) > limit {
            self.left_out.extend(self.columns.pop().map(|column| column.title));
        }
        self.left_out.reverse();
        let widest = self.columns.iter().map(|column| column.width).max().unwrap_or(0);
        let most = (1..=widest).rev().find(|most| line_width(&self.columns, *most) <= limit).unwrap_or(LEAST_COLUMNS);
        for column in &mut self.columns {
            column.width = column.least(most);
            column.is_cut = !column.to_the_right;
        }
    }

    /// Fixes the widths and writes the header and all that waits.
    fn lay_out(&mut self, out: &mut String) {
        let Some(waiting) = mem::take(&mut self.waiting) else { return };
        if self.columns.is_empty() {
            return;
        }
        if let Some(limit) = self.limits.width {
            self.fit(limit);
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

/// Columns of the terminal that a line takes whose texts take no more than `most` each: a blank on either side, and a bar between.
fn line_width(columns: &[Column], most: usize) -> usize {
    columns.iter().map(|column| column.least(most) + 2).sum::<usize>() + columns.len().saturating_sub(1)
}

impl Column {
    /// Makes room for a value.
    fn widen(&mut self, lines: &[String], limits: Limits) {
        let widest = lines.iter().map(|line| width::of(line)).max().unwrap_or(0);
        self.width = self.width.max(if limits.width.is_some() { widest } else { widest.min(PADDED_COLUMNS) });
    }

    /// Its width where texts take no more than `most`. A number that is cut is another number.
    fn least(&self, most: usize) -> usize {
        if self.to_the_right { self.width } else { self.width.min(most) }
    }
}

/// A value of several lines makes a row of several lines; a `+` behind a line says that its value goes on.
fn write_row(columns: &[Column], row: &Row, out: &mut String) {
    let height = row.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for nth in 0..height {
        let mut line = String::new();
        for (index, (column, lines)) in columns.iter().zip(row).enumerate() {
            let text = lines.get(nth).map_or("", String::as_str);
            let text = if column.is_cut { width::cut(text, column.width) } else { text.into() };
            let blanks = " ".repeat(column.width.saturating_sub(width::of(&text)));
            let (before, after) = if column.to_the_right { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
            let goes_on = if nth + 1 < lines.len() { "+" } else { " " };
            line.extend([if index > 0 { "|" } else { "" }, " ", before, &text, after, goes_on]);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
