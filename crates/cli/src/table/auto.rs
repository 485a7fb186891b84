//! A grid where it fits, else a line a value.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;

use super::grid::{Grid, Limits};
use super::{Layout, RowWriter};

/// The layout follows from this many rows.
const MEASURED_ROWS: usize = 5_000;

/// See [`super::Layout::Auto`].
pub struct Auto {
    schema: SchemaRef,
    limits: Limits,
    /// Batches that wait for the layout, and their rows.
    waiting: (Vec<RecordBatch>, usize),
    /// Where rows go once it is known.
    chosen: Option<Box<RowWriter>>,
}

impl Auto {
    pub(super) fn new(schema: &Schema, limits: Limits) -> Self {
        Self { schema: schema.clone().into(), limits, waiting: (Vec::new(), 0), chosen: None }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        if let Some(chosen) = &mut self.chosen {
            return chosen.write(batch, out);
        }
        let (batches, rows) = &mut self.waiting;
        batches.push(batch.clone());
        *rows += batch.num_rows();
        if *rows >= self.limits.rows.unwrap_or(MEASURED_ROWS).min(MEASURED_ROWS) {
            self.choose(out)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self, out: &mut String) -> Result<Vec<String>, ArrowError> {
        if self.chosen.is_none() {
            self.choose(out)?;
        }
        self.chosen.map_or_else(|| Ok(Vec::new()), |chosen| chosen.finish(out))
    }

    /// Measures the rows that wait, chooses the layout, and writes them.
    fn choose(&mut self, out: &mut String) -> Result<(), ArrowError> {
        let (batches, _) = std::mem::take(&mut self.waiting);
        let mut measured = Grid::new(&self.schema, self.limits);
        measured.measure(&batches)?;
        let layout = if measured.is_too_wide() { Layout::Expanded(self.limits) } else { Layout::Grid(self.limits) };
        let mut writer = RowWriter::new(layout, &self.schema);
        for batch in &batches {
            writer.write(batch, out)?;
        }
        self.chosen = Some(Box::new(writer));
        Ok(())
    }
}
