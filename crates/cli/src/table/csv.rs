//! Comma-separated values as RFC 4180 has them, with line feeds.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::cells::Cells;

/// See [`super::Layout::Csv`].
pub struct Csv {
    /// The header, until it is written.
    header: Option<String>,
}

impl Csv {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut header = String::new();
        for (index, field) in schema.fields().iter().enumerate() {
            push(index, Some(field.name()), &mut header);
        }
        header.push('\n');
        Self { header: Some(header) }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        out.extend(self.header.take());
        let (schema, options) = (batch.schema(), Cells::options());
        let mut cells = Cells::new(batch, schema.fields(), &options)?;
        for row in 0..batch.num_rows() {
            cells.row(row, |column, text| push(column, text, out))?;
            out.push('\n');
        }
        Ok(())
    }

    pub(super) fn finish(self, out: &mut String) {
        out.extend(self.header);
    }
}

/// Appends the value of a column. Quotes tell an empty text from a null, and keep blanks that readers would trim.
fn push(column: usize, text: Option<&str>, out: &mut String) {
    if column > 0 {
        out.push(',');
    }
    let Some(text) = text else { return };
    let plain = !text.is_empty() && text.trim() == text && !text.contains([',', '"', '\n', '\r']);
    if plain {
        out.push_str(text);
    } else {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    }
}
