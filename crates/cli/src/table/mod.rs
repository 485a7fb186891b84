//! Rows of query results as text: a table for people, CSV and JSON for programs.
//!
//! CSV and JSON are written batch by batch, so that a result may be larger than memory.

mod auto;
mod cells;
mod csv;
mod expanded;
mod grid;
mod json;
pub mod width;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

pub use grid::Limits;

/// How rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A line a row, columns one below the other. Null is `∅`, as in `Expanded`.
    Grid(Limits),
    /// A line a value, for rows too wide for a grid; values are never cut.
    Expanded(Limits),
    /// As `Grid`, but as `Expanded` if a row of that is wider than the limit.
    Auto(Limits),
    /// Comma-separated values with a header. Null is empty, an empty text is `""`, nested values are JSON text.
    Csv,
    /// A JSON array with an object a line; nested values are JSON too.
    Json,
}

/// Writes the rows of one result. What it writes is appended to a text that the caller passes on and clears.
pub enum RowWriter {
    /// See [`Layout::Grid`].
    Grid(grid::Grid),
    /// See [`Layout::Expanded`].
    Expanded(expanded::Expanded),
    /// See [`Layout::Auto`].
    Auto(auto::Auto),
    /// See [`Layout::Csv`].
    Csv(csv::Csv),
    /// See [`Layout::Json`].
    Json(json::Json),
}

impl RowWriter {
    /// A writer of rows of `schema`.
    pub fn new(layout: Layout, schema: &Schema) -> Self {
        match layout {
            Layout::Grid(limits) => Self::Grid(grid::Grid::new(schema, limits)),
            Layout::Expanded(limits) => Self::Expanded(expanded::Expanded::new(schema, limits)),
            Layout::Auto(limits) => Self::Auto(auto::Auto::new(schema, limits)),
            Layout::Csv => Self::Csv(csv::Csv::new(schema)),
            Layout::Json => Self::Json(json::Json::default()),
        }
    }

    /// Appends the rows of a batch to `out`, or keeps them until the column widths are known.
    ///
    /// # Errors
    /// When a column has a type that cannot be written as text.
    pub fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        match self {
            Self::Grid(grid) => grid.write(batch, out),
            Self::Expanded(expanded) => expanded.write(batch, out),
            Self::Auto(auto) => auto.write(batch, out),
            Self::Csv(csv) => csv.write(batch, out),
            Self::Json(json) => json.write(batch, out),
        }
    }

    /// Appends what is left; titles of the columns that were left out, since a line is too short for them.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub fn finish(self, out: &mut String) -> Result<Vec<String>, ArrowError> {
        match self {
            Self::Grid(mut grid) => {
                grid.finish(out);
                return Ok(grid.left_out().to_vec());
            }
            Self::Auto(auto) => return auto.finish(out),
            Self::Expanded(expanded) => expanded.finish(out),
            Self::Csv(csv) => csv.finish(out),
            Self::Json(json) => json.finish(out)?,
        }
        Ok(Vec::new())
    }
}

/// One batch as text, for results that are small by nature.
///
/// # Errors
/// As [`RowWriter::write`].
pub fn render(layout: Layout, batch: &RecordBatch) -> Result<String, ArrowError> {
    let mut out = String::new();
    let mut writer = RowWriter::new(layout, &batch.schema());
    writer.write(batch, &mut out)?;
    writer.finish(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
