//! A column chunk: pages of one leaf, encoded and compressed, until their row group is closed.

use std::mem;

use arrow::array::{Array, ArrayRef};
use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, Encoding, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::levels::Levels;
use super::statistics::ColumnStatistics;
use super::values::{self, DictionaryEncoder};

/// What all columns share: buffers and the compressor.
pub(super) struct PageCompressor {
    zstd: Compressor<'static>,
    page: Vec<u8>,
}

impl PageCompressor {
    pub(super) fn new(level: ZstdLevel) -> Result<Self> {
        Ok(Self { zstd: Compressor::new(level.compression_level()).map_err(|e| ParquetError::External(e.into()))?, page: Vec::new() })
    }

    /// The room of the page buffer, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.page.capacity()
    }

    /// The page, compressed; it is empty afterwards.
    fn compress(&mut self) -> Result<(Bytes, usize)> {
        let mut compressed = Vec::with_capacity(zstd::zstd_safe::compress_bound(self.page.len()));
        self.zstd.compress_to_buffer(&self.page, &mut compressed).map_err(|e| ParquetError::External(e.into()))?;
        let size = self.page.len();
        self.page.clear();
        Ok((compressed.into(), size))
    }
}

/// The pages of a leaf.
pub(super) struct ColumnChunk {
    column: ColumnDescPtr,
    nullable: bool,
    pages: Pages,
    encoder: DictionaryEncoder,
    /// Of a column that readers filter by.
    statistics: Option<ColumnStatistics>,
    /// What the values of the open row group take decoded and without a dictionary, in bytes.
    decoded: usize,
    /// The same of the row groups before it.
    decoded_before: u64,
}

/// Where a page stands, and how many rows it begins behind the page before it.
struct PageLocation {
    offset: usize,
    size: usize,
    rows: usize,
}

#[derive(Default)]
struct Pages {
    bytes: Vec<u8>,
    uncompressed: usize,
    num_values: usize,
    encodings: Vec<Encoding>,
    /// Of data pages.
    locations: Vec<PageLocation>,
}

impl Pages {
    /// Appends a page; tells what it takes with its header.
    fn write(&mut self, page: Page, uncompressed: usize) -> Result<usize> {
        let mut sink = TrackedWrite::new(mem::take(&mut self.bytes));
        // Page headers have 32 bits with a sign for both sizes.
        if i32::try_from(uncompressed).is_err() || i32::try_from(page.buffer().len()).is_err() {
            return Err(ParquetError::General(format!("a page of {uncompressed} bytes, which is more than Parquet knows")));
        }
        let written = SerializedPageWriter::new(&mut sink).write_page(CompressedPage::new(page, uncompressed))?;
        self.uncompressed += written.uncompressed_size;
        self.bytes = sink.into_inner()?;
        Ok(written.compressed_size)
    }
}

/// Bytes that are no text: bounds are cut between characters, and these would be as long as the values.
fn is_binary(column: &ColumnDescPtr) -> bool {
    column.physical_type() == Type::BYTE_ARRAY && column.converted_type() != ConvertedType::UTF8
}

impl ColumnChunk {
    pub(super) fn new(column: ColumnDescPtr, nullable: bool, with_statistics: bool) -> Self {
        Self {
            nullable,
            pages: Pages::default(),
            encoder: DictionaryEncoder::default(),
            statistics: if with_statistics && !is_binary(&column) { ColumnStatistics::new(column.physical_type()) } else { None },
            column,
            decoded: 0,
            decoded_before: 0,
        }
    }

    /// What is allocated, in bytes.
    pub(super) fn memory(&self) -> usize {
        let locations = self.pages.locations.capacity() * size_of::<PageLocation>();
        let statistics = self.statistics.as_ref().map_or(0, ColumnStatistics::memory);
        self.pages.bytes.capacity() + locations + self.encoder.dictionary.memory() + statistics
    }

    /// What the values of the open row group take decoded and without a dictionary, in bytes.
    pub(super) fn decoded(&self) -> usize {
        self.decoded
    }

    /// The same of all row groups.
    pub(super) fn decoded_in_all(&self) -> u64 {
        self.decoded_before + self.decoded as u64
    }

    /// What is held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.pages.bytes.len() + self.encoder.dictionary.bytes()
    }

    /// Adds a page.
    pub(super) fn write(&mut self, array: &ArrayRef, levels: &Levels, compressor: &mut PageCompressor) -> Result<()> {
        let own = array.logical_nulls();
        let nulls = levels.nulls(own.as_ref());
        levels.encode(self.nullable, own.as_ref(), &mut compressor.page)?;
        let encoded = values::encode(array, nulls.as_ref(), &mut self.encoder, &mut compressor.page)?;
        self.decoded += encoded.decoded;
        if let Some(statistics) = &mut self.statistics {
            statistics.add_page(array, nulls.as_ref())?;
        }
        self.pages.num_values += levels.len();
        if !self.pages.encodings.contains(&encoded.encoding) {
            self.pages.encodings.push(encoded.encoding);
        }
        let (buf, uncompressed) = compressor.compress()?;
        let page = Page::DataPage {
            buf,
            num_values: u32::try_from(levels.len()).map_err(|e| ParquetError::External(e.into()))?,
            encoding: encoded.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let offset = self.pages.bytes.len();
        let size = self.pages.write(page, uncompressed)?;
        self.pages.locations.push(PageLocation { offset, size, rows: levels.rows() });
        Ok(())
    }

    /// The bytes of the chunk and what its row group needs to know of it. Afterwards another one begins.
    pub(super) fn finish(
        &mut self,
        rows: usize,
        compression: Compression,
        compressor: &mut PageCompressor,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let data = mem::take(&mut self.pages);
        let encoder = mem::take(&mut self.encoder);
        let mut pages = Pages { uncompressed: data.uncompressed, ..Pages::default() };
        let mut encodings = data.encodings;
        encodings.push(Encoding::RLE);
        let has_dictionary = encodings.contains(&Encoding::RLE_DICTIONARY);
        if has_dictionary {
            encodings.push(Encoding::PLAIN);
            encoder.dictionary.encode(&mut compressor.page)?;
            let (buf, uncompressed) = compressor.compress()?;
            let num_values = u32::try_from(encoder.dictionary.len()).map_err(|e| ParquetError::External(e.into()))?;
            pages.write(Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false }, uncompressed)?;
        }
        let data_page_offset = pages.bytes.len();
        pages.bytes.extend_from_slice(&data.bytes);
        let mut metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_encodings(encodings)
            .set_compression(compression)
            .set_num_values(i64_of(data.num_values)?)
            .set_total_compressed_size(i64_of(pages.bytes.len())?)
            .set_total_uncompressed_size(i64_of(pages.uncompressed)?)
            .set_data_page_offset(i64_of(data_page_offset)?)
            .set_dictionary_page_offset(has_dictionary.then_some(0));
        let mut column_index = None;
        if let Some(statistics) = &mut self.statistics {
            let (chunk, pages) = statistics.finish()?;
            metadata = metadata.set_statistics(chunk);
            column_index = Some(pages);
        }
        let mut offset_index = OffsetIndexBuilder::new();
        for PageLocation { offset, size, rows } in data.locations {
            offset_index.append_row_count(i64_of(rows)?);
            let size = i32::try_from(size).map_err(|e| ParquetError::External(e.into()))?;
            offset_index.append_offset_and_size(i64_of(data_page_offset + offset)?, size);
        }
        self.decoded_before += mem::take(&mut self.decoded) as u64;
        let result = ColumnCloseResult {
            bytes_written: pages.bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index,
            offset_index: Some(offset_index.build()),
        };
        Ok((pages.bytes.into(), result))
    }
}

fn i64_of(number: usize) -> Result<i64> {
    i64::try_from(number).map_err(|error| ParquetError::External(error.into()))
}
