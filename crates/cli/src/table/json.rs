//! A JSON array with one object a line.

use std::io::Write;
use std::mem;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::writer::{JsonFormat, Writer, WriterBuilder};

/// See [`super::Layout::Json`].
pub struct Json {
    writer: Writer<Vec<u8>, Lines>,
    rows: usize,
}

impl Default for Json {
    fn default() -> Self {
        Self { writer: WriterBuilder::new().with_explicit_nulls(true).build(Vec::new()), rows: 0 }
    }
}

impl Json {
    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.writer.write(batch)?;
            self.pass_on(out);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, out: &mut String) -> Result<(), ArrowError> {
        if self.rows == 0 {
            out.push_str("[]\n");
            return Ok(());
        }
        self.writer.finish()?;
        self.pass_on(out);
        Ok(())
    }

    fn pass_on(&mut self, out: &mut String) {
        out.push_str(&String::from_utf8_lossy(&mem::take(self.writer.get_mut())));
    }
}

/// Where the line breaks are.
#[derive(Debug, Default)]
struct Lines;

impl JsonFormat for Lines {
    fn start_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"[")?)
    }

    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        Ok(writer.write_all(if is_first_row { b"\n" } else { b",\n" })?)
    }

    fn end_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"\n]\n")?)
    }
}
