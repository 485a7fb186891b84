//! Encodes record batches as Parquet.
//!
//! The writer of the `parquet` crate derives the levels of each leaf anew, from the root down. A row of ours has some 150
//! leaves, of which forty share one list of instructions: here levels are derived once for a list, and their encoding is
//! shared. What is left is a tight loop over each leaf's values. The types are those that the rows have; the file itself
//! (magic, metadata, page headers) is left to the `parquet` crate.
//!
//! Each batch written becomes one page of every column, so that batches should have some megabytes.

mod chunk;
mod delta;
mod dictionary;
mod levels;
mod properties;
mod rle;
#[cfg(test)]
mod tests;
mod values;

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

use self::chunk::{Chunk, Workshop};
use self::levels::Place;
pub(crate) use self::properties::FileProperties;

/// Writes a Parquet file.
pub(crate) struct FileEncoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Node>,
    workshop: Workshop,
    compression: Compression,
    /// Of the open row group.
    rows: usize,
}

/// A column.
enum Node {
    Leaf(Box<Chunk>),
    Struct { nullable: bool, fields: Vec<Node> },
    List { nullable: bool, element: Box<Node> },
}

impl<W: Write + Send> FileEncoder<W> {
    /// Begins a file of that schema, which the properties are of.
    pub(crate) fn try_new(sink: W, schema: &Schema, properties: &FileProperties) -> Result<Self> {
        let mut leaves = properties.columns.columns().iter().cloned();
        let columns = schema.fields().iter().map(|field| Node::new(field, &mut leaves, properties)).collect::<Result<_>>()?;
        let file = SerializedFileWriter::new(sink, properties.columns.root_schema_ptr(), Arc::clone(&properties.properties))?;
        Ok(Self { file, columns, workshop: Workshop::new(properties.level)?, compression: Compression::ZSTD(properties.level), rows: 0 })
    }

    /// Adds rows of the schema to the open row group.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let root = Place::root(batch.num_rows());
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.write(array, &root, &mut self.workshop)?;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Rows of the open row group.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// What the open row group takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Node::bytes).sum()
    }

    /// Closes the row group, if it has rows.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.finish(&mut |chunk| {
                let (bytes, result) = chunk.finish(self.rows, self.compression, &mut self.workshop)?;
                group.append_column(&bytes, result)
            })?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Closes the file.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file.finish().map(drop)
    }

    pub(crate) fn inner(&self) -> &W {
        self.file.inner()
    }

    pub(crate) fn inner_mut(&mut self) -> &mut W {
        self.file.inner_mut()
    }
}

impl Node {
    fn new(field: &Field, leaves: &mut impl Iterator<Item = ColumnDescPtr>, properties: &FileProperties) -> Result<Self> {
        let nullable = field.is_nullable();
        match field.data_type() {
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|field| Self::new(field, leaves, properties)).collect::<Result<_>>()?;
                Ok(Self::Struct { nullable, fields })
            }
            DataType::List(element) | DataType::Map(element, _) => {
                Ok(Self::List { nullable, element: Box::new(Self::new(element, leaves, properties)?) })
            }
            _ => {
                let column = leaves.next().ok_or_else(|| shape("fewer leaves than fields"))?;
                let has_bounds = properties.has_bounds(column.path());
                Ok(Self::Leaf(Box::new(Chunk::new(column, nullable, has_bounds))))
            }
        }
    }

    fn write(&mut self, array: &ArrayRef, place: &Place, workshop: &mut Workshop) -> Result<()> {
        match (self, array.data_type()) {
            (Self::Leaf(chunk), _) => chunk.write(array, place, workshop),
            (Self::Struct { nullable, fields }, DataType::Struct(_)) => {
                let place = place.of_struct(*nullable, array.nulls());
                let mut columns = array.as_struct().columns().iter();
                fields.iter_mut().zip(&mut columns).try_for_each(|(field, column)| field.write(column, &place, workshop))
            }
            (Self::List { nullable, element }, DataType::List(_)) => {
                let list = array.as_list::<i32>();
                let (place, elements) = place.of_list(*nullable, list.nulls(), list.value_offsets(), list.values())?;
                element.write(&elements, &place, workshop)
            }
            (Self::List { nullable, element }, DataType::Map(..)) => {
                let map = array.as_map();
                let entries: ArrayRef = Arc::new(map.entries().clone());
                let (place, entries) = place.of_list(*nullable, map.nulls(), map.value_offsets(), &entries)?;
                element.write(&entries, &place, workshop)
            }
            (_, found) => Err(shape(&format!("a column of type {found} where the schema has another"))),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Leaf(chunk) => chunk.bytes(),
            Self::Struct { fields, .. } => fields.iter().map(Self::bytes).sum(),
            Self::List { element, .. } => element.bytes(),
        }
    }

    /// Hands the leaves over in order.
    fn finish(&mut self, take: &mut impl FnMut(&mut Chunk) -> Result<()>) -> Result<()> {
        match self {
            Self::Leaf(chunk) => take(chunk),
            Self::Struct { fields, .. } => fields.iter_mut().try_for_each(|field| field.finish(take)),
            Self::List { element, .. } => element.finish(take),
        }
    }
}

fn shape(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}
