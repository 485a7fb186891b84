//! Encodes record batches as Parquet.
//!
//! The writer of the `parquet` crate derives the levels of each leaf anew, from the root down. A row of ours has some 150
//! leaves, of which forty share one list of instructions: here levels are derived once for a list, and their encoding is
//! shared. What is left is a tight loop over each leaf's values. The types are those that the rows have; the file itself
//! (magic, metadata, page headers) is left to the `parquet` crate.
//!
//! Each batch written becomes one page of every column, so that batches should have some megabytes: a few hundred kilobytes a
//! leaf. A batch with a leaf that is much larger is cut into several. Pages so begin with a row, and those of all columns with the same
//! one, so that whoever has found rows by the index of one column reads no other page of the others.

mod bound;
mod check;
mod chunk;
mod delta;
mod dictionary;
mod elements;
mod levels;
mod properties;
mod rle;
mod statistics;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

pub use self::check::{StatisticsCheck, Violation};
use self::chunk::{ColumnChunk, PageCompressor};
pub use self::elements::ElementCounts;
use self::levels::Levels;
pub use self::properties::FileProperties;

/// How files are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Level of zstd; 1 is the cheapest.
    pub zstd_level: i32,
    /// A row group is closed before one of its leaves takes more than this many bytes, decoded and without a dictionary. Readers
    /// number the bytes of a column with 31 bits, and many read a leaf of a row group as a whole. One row may take more.
    pub leaf_bytes: usize,
    /// A batch whose largest leaf may take more than this many bytes decoded is cut into several pages, at rows. One row may take more.
    pub page_bytes: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { zstd_level: 1, leaf_bytes: 512 << 20, page_bytes: 16 << 20 }
    }
}

/// Writes a Parquet file.
pub struct FileEncoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Node>,
    compressor: PageCompressor,
    compression: Compression,
    /// Of the open row group.
    rows: usize,
    max_leaf_bytes: usize,
    page_bytes: usize,
}

/// A column.
enum Node {
    Leaf(Box<ColumnChunk>),
    Struct { nullable: bool, fields: Vec<Node> },
    List { nullable: bool, element: Box<Node>, count: ElementCount },
}

/// How many elements a list or a map has, over all rows.
struct ElementCount {
    /// The names from the column down to it, joined by dots.
    path: String,
    elements: u64,
}

impl<W: Write + Send> FileEncoder<W> {
    /// Begins a file of that schema, which the properties are of.
    ///
    /// # Errors
    /// If the schema has other columns than the properties, or the sink fails.
    pub fn try_new(sink: W, schema: &Schema, properties: &FileProperties) -> Result<Self> {
        let mut leaves = properties.columns.columns().iter().cloned();
        let columns = schema.fields().iter().map(|field| Node::new("", field, &mut leaves, properties)).collect::<Result<_>>()?;
        let file = SerializedFileWriter::new(sink, properties.columns.root_schema_ptr(), Arc::clone(&properties.properties))?;
        Ok(Self {
            file,
            columns,
            compressor: PageCompressor::new(properties.level)?,
            compression: Compression::ZSTD(properties.level),
            rows: 0,
            max_leaf_bytes: properties.leaf_bytes,
            page_bytes: properties.page_bytes,
        })
    }

    /// Adds rows of the schema to the open row group, and closes it where a leaf grows too large.
    ///
    /// # Errors
    /// If the batch has another schema or its values cannot be encoded. What the file holds is undefined then.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut most = 0;
        for column in batch.columns() {
            most = values::most_decoded(column)?.max(most);
        }
        if most > self.page_bytes.min(self.max_leaf_bytes) && batch.num_rows() > 1 {
            let half = batch.num_rows() / 2;
            self.write(&batch.slice(0, half))?;
            return self.write(&batch.slice(half, batch.num_rows() - half));
        }
        let decoded = self.most(ColumnChunk::decoded);
        if decoded.saturating_add(most) > self.max_leaf_bytes {
            self.flush()?;
        }
        let root = Levels::root(batch.num_rows())?;
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.write(array, &root, &mut self.compressor)?;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Rows of the open row group.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What is allocated for the open row group and the page in work, in bytes: for whoever keeps a budget of memory. The sink
    /// counts what waits in it.
    pub fn memory(&self) -> usize {
        self.sum(ColumnChunk::memory) + self.compressor.memory()
    }

    /// The pages and dictionaries of the open row group, in bytes: about what it will take in the file.
    pub fn bytes(&self) -> usize {
        self.sum(ColumnChunk::bytes)
    }

    /// What the largest leaf of the file takes so far, over all its row groups, decoded and without a dictionary, in bytes.
    pub fn decoded(&self) -> u64 {
        self.most(ColumnChunk::decoded_in_all)
    }

    fn most<T: Ord + Copy + Default>(&self, of: impl Fn(&ColumnChunk) -> T) -> T {
        let mut most = T::default();
        self.columns.iter().for_each(|column| column.visit(&mut |leaf| most = most.max(of(leaf))));
        most
    }

    fn sum(&self, of: impl Fn(&ColumnChunk) -> usize) -> usize {
        let mut sum = 0;
        self.columns.iter().for_each(|column| column.visit(&mut |leaf| sum += of(leaf)));
        sum
    }

    /// How many elements each list and map has over all rows so far, by the names that lead to it, joined by dots.
    pub fn elements(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for column in &self.columns {
            column.push_elements(&mut counts);
        }
        counts
    }

    /// Closes the row group, if it has rows.
    ///
    /// # Errors
    /// If the sink fails.
    pub fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.finish(&mut |chunk| {
                let (bytes, result) = chunk.finish(self.rows, self.compression, &mut self.compressor)?;
                group.append_column(&bytes, result)
            })?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Closes the file.
    ///
    /// # Errors
    /// If the sink fails.
    pub fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.file.finish().map(drop)
    }

    /// The sink.
    pub fn inner(&self) -> &W {
        self.file.inner()
    }

    /// The sink, out of which may be taken what was written.
    pub fn inner_mut(&mut self) -> &mut W {
        self.file.inner_mut()
    }
}

impl Node {
    /// The column of a field that lies in `parent`, which ends with a dot where it is not the root.
    fn new(parent: &str, field: &Field, leaves: &mut impl Iterator<Item = ColumnDescPtr>, properties: &FileProperties) -> Result<Self> {
        let nullable = field.is_nullable();
        match field.data_type() {
            DataType::Struct(fields) => {
                let parent = format!("{parent}{}.", field.name());
                let fields = fields.iter().map(|field| Self::new(&parent, field, leaves, properties)).collect::<Result<_>>()?;
                Ok(Self::Struct { nullable, fields })
            }
            DataType::List(element) | DataType::Map(element, _) => {
                let path = format!("{parent}{}", field.name());
                // The element has a name of its own in Arrow, which nobody asks for.
                let element = Self::new_element(&format!("{path}."), element, leaves, properties)?;
                Ok(Self::List { nullable, element: Box::new(element), count: ElementCount { path, elements: 0 } })
            }
            _ => {
                let column = leaves.next().ok_or_else(|| shape("fewer leaves than fields"))?;
                let has_statistics = properties.has_statistics(column.path());
                Ok(Self::Leaf(Box::new(ColumnChunk::new(column, nullable, has_statistics))))
            }
        }
    }

    /// What a list in `parent` is of.
    fn new_element(
        parent: &str,
        element: &Field,
        leaves: &mut impl Iterator<Item = ColumnDescPtr>,
        properties: &FileProperties,
    ) -> Result<Self> {
        match element.data_type() {
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|field| Self::new(parent, field, leaves, properties)).collect::<Result<_>>()?;
                Ok(Self::Struct { nullable: element.is_nullable(), fields })
            }
            _ => Self::new(parent, element, leaves, properties),
        }
    }

    fn push_elements(&self, counts: &mut BTreeMap<String, u64>) {
        match self {
            Self::Leaf(_) => {}
            Self::Struct { fields, .. } => fields.iter().for_each(|field| field.push_elements(counts)),
            Self::List { element, count, .. } => {
                counts.insert(count.path.clone(), count.elements);
                element.push_elements(counts);
            }
        }
    }

    fn write(&mut self, array: &ArrayRef, levels: &Levels, compressor: &mut PageCompressor) -> Result<()> {
        if array.len() != levels.elements() {
            return Err(shape(&format!("{} values where the columns around them have {}", array.len(), levels.elements())));
        }
        match (self, array.data_type()) {
            (Self::Leaf(chunk), _) => chunk.write(array, levels, compressor),
            (Self::Struct { nullable, fields }, DataType::Struct(_)) => {
                let levels = levels.of_struct(*nullable, array.nulls())?;
                let mut columns = array.as_struct().columns().iter();
                fields.iter_mut().zip(&mut columns).try_for_each(|(field, column)| field.write(column, &levels, compressor))
            }
            (Self::List { nullable, element, count }, DataType::List(_)) => {
                let list = array.as_list::<i32>();
                let (levels, elements) = levels.of_list(*nullable, list.nulls(), list.value_offsets(), list.values())?;
                count.elements += elements.len() as u64;
                element.write(&elements, &levels, compressor)
            }
            (Self::List { nullable, element, count }, DataType::Map(..)) => {
                let map = array.as_map();
                let entries: ArrayRef = Arc::new(map.entries().clone());
                let (levels, entries) = levels.of_list(*nullable, map.nulls(), map.value_offsets(), &entries)?;
                count.elements += entries.len() as u64;
                element.write(&entries, &levels, compressor)
            }
            (_, found) => Err(shape(&format!("a column of type {found} where the schema has another"))),
        }
    }

    /// Shows the leaves in order.
    fn visit(&self, see: &mut impl FnMut(&ColumnChunk)) {
        match self {
            Self::Leaf(chunk) => see(chunk),
            Self::Struct { fields, .. } => fields.iter().for_each(|field| field.visit(see)),
            Self::List { element, .. } => element.visit(see),
        }
    }

    /// Hands the leaves over in order.
    fn finish(&mut self, take: &mut impl FnMut(&mut ColumnChunk) -> Result<()>) -> Result<()> {
        match self {
            Self::Leaf(chunk) => take(chunk),
            Self::Struct { fields, .. } => fields.iter_mut().try_for_each(|field| field.finish(take)),
            Self::List { element, .. } => element.finish(take),
        }
    }
}

pub(crate) fn shape(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}
