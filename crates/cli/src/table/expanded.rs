//! A line a value: for rows that are too wide for a grid.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::cells::{Cells, NULL};
use super::grid::{self, Limits};
use super::width;

/// See [`super::Layout::Expanded`].
pub struct Expanded {
    titles: Vec<String>,
    limits: Limits,
    rows: usize,
}

impl Expanded {
    pub(super) fn new(schema: &Schema, limits: Limits) -> Self {
        let titles: Vec<_> = schema.fields().iter().map(|field| width::printable(field.name()).into_owned()).collect();
        let widest = titles.iter().map(|title| width::of(title)).max().unwrap_or(0);
        let padded = titles.iter().map(|title| format!("{title}{}", " ".repeat(widest - width::of(title))));
        Self { titles: padded.collect(), limits, rows: 0 }
    }

    /// The names alone if there was no row.
    pub(super) fn finish(self, out: &mut String) {
        if self.rows == 0 {
            for title in &self.titles {
                out.push_str(title);
                out.push_str(" |\n");
            }
        }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        let (schema, options) = (batch.schema(), Cells::options());
        let mut cells = Cells::new(batch, schema.fields(), &options)?;
        for index in 0..batch.num_rows() {
            if self.titles.is_empty() || self.limits.rows.is_some_and(|limit| self.rows >= limit) {
                break;
            }
            self.rows += 1;
            out.push_str(&format!("-[ row {} ]{}\n", self.rows, "-".repeat(20)));
            cells.row(index, |column, text| {
                let lines = grid::lines(text.unwrap_or(NULL));
                let title = self.titles.get(column).map_or("", String::as_str);
                let blank = " ".repeat(width::of(title));
                for nth in 0..lines.len().max(1) {
                    let line = lines.get(nth).map_or("", String::as_str);
                    out.push_str(format!("{} | {line}", if nth == 0 { title } else { &blank }).trim_end());
                    out.push('\n');
                }
            })?;
        }
        Ok(())
    }
}
