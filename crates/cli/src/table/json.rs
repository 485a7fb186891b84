//! A JSON array with one object a line.

use std::io::Write;
use std::mem;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::writer::{JsonFormat, Writer, WriterBuilder};

/// See [`super::Layout::Json`].
pub struct Json(Writer<Vec<u8>, Lines>);

impl Default for Json {
    fn default() -> Self {
        Self(WriterBuilder::new().with_explicit_nulls(true).build(Vec::new()))
    }
}

impl Json {
    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut String) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        self.pass_on(out);
        Ok(())
    }

    pub(super) fn finish(mut self, out: &mut String) -> Result<(), ArrowError> {
        self.0.finish()?;
        self.pass_on(out);
        Ok(())
    }

    fn pass_on(&mut self, out: &mut String) {
        out.push_str(&String::from_utf8_lossy(&mem::take(self.0.get_mut())));
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
