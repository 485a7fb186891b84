//! A column chunk: pages of one leaf, encoded and compressed, until their row group is closed.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::bound::{self, Bound};
use super::levels::Levels;
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
    /// Where readers filter.
    statistics: Option<ChunkStatistics>,
}

/// What readers skip row groups by.
#[derive(Default)]
struct ChunkStatistics {
    /// Of values that are not there, for whatever reason. Readers take a count that is not written for zero, and skip the row
    /// group when they look for nulls.
    nulls: u64,
    /// The least and the greatest value.
    bounds: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Default)]
struct Pages {
    bytes: Vec<u8>,
    uncompressed: usize,
    num_values: usize,
    encodings: Vec<Encoding>,
}

impl Pages {
    fn write(&mut self, page: Page, uncompressed: usize) -> Result<()> {
        let mut sink = TrackedWrite::new(std::mem::take(&mut self.bytes));
        // Page headers have 32 bits with a sign for both sizes.
        if i32::try_from(uncompressed).is_err() || i32::try_from(page.buffer().len()).is_err() {
            return Err(ParquetError::General(format!("a page of {uncompressed} bytes, which is more than Parquet knows")));
        }
        let written = SerializedPageWriter::new(&mut sink).write_page(CompressedPage::new(page, uncompressed))?;
        self.uncompressed += written.uncompressed_size;
        self.bytes = sink.into_inner()?;
        Ok(())
    }
}

impl ColumnChunk {
    pub(super) fn new(column: ColumnDescPtr, nullable: bool, with_statistics: bool) -> Self {
        Self {
            column,
            nullable,
            pages: Pages::default(),
            encoder: DictionaryEncoder::default(),
            statistics: with_statistics.then(ChunkStatistics::default),
        }
    }

    /// What is allocated, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.pages.bytes.capacity() + self.encoder.dictionary.memory()
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
        let encoding = values::encode(array, nulls.as_ref(), &mut self.encoder, &mut compressor.page)?;
        self.note_statistics(array, nulls.as_ref(), levels.len());
        self.pages.num_values += levels.len();
        if !self.pages.encodings.contains(&encoding) {
            self.pages.encodings.push(encoding);
        }
        let (buf, uncompressed) = compressor.compress()?;
        let page = Page::DataPage {
            buf,
            num_values: u32::try_from(levels.len()).map_err(|e| ParquetError::External(e.into()))?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.pages.write(page, uncompressed)
    }

    /// Counts the nulls among so many levels, and widens the bounds of texts.
    fn note_statistics(&mut self, array: &ArrayRef, nulls: Option<&NullBuffer>, levels: usize) {
        let Some(ChunkStatistics { nulls: count, bounds }) = &mut self.statistics else { return };
        *count += (levels + nulls.map_or(0, NullBuffer::null_count) - array.len()) as u64;
        if *array.data_type() != DataType::Utf8 {
            return;
        }
        let is_there = |index: &usize| nulls.is_none_or(|nulls| nulls.is_valid(*index));
        let array = array.as_string::<i32>();
        for index in (0..array.len()).filter(is_there) {
            let value = array.value(index).as_bytes();
            match bounds {
                None => *bounds = Some((value.into(), value.into())),
                Some((least, _)) if value < least.as_slice() => *least = value.into(),
                Some((_, greatest)) if value > greatest.as_slice() => *greatest = value.into(),
                Some(_) => {}
            }
        }
    }

    /// The bytes of the chunk and what its row group needs to know of it. Afterwards another one begins.
    pub(super) fn finish(
        &mut self,
        rows: usize,
        compression: Compression,
        compressor: &mut PageCompressor,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let data = std::mem::take(&mut self.pages);
        let encoder = std::mem::take(&mut self.encoder);
        let mut pages = Pages { uncompressed: data.uncompressed, ..Pages::default() };
        let mut encodings = data.encodings;
        encodings.push(Encoding::RLE);
        let has_dictionary = encodings.contains(&Encoding::RLE_DICTIONARY);
        if has_dictionary {
            encodings.push(Encoding::PLAIN);
            encoder.dictionary.encode(&mut compressor.page);
            let (buf, uncompressed) = compressor.compress()?;
            let num_values = u32::try_from(encoder.dictionary.len()).map_err(|e| ParquetError::External(e.into()))?;
            pages.write(Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false }, uncompressed)?;
        }
        let data_page_offset = pages.bytes.len();
        pages.bytes.extend_from_slice(&data.bytes);
        let size = |bytes: usize| i64::try_from(bytes).map_err(|e| ParquetError::External(e.into()));
        let mut metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_encodings(encodings)
            .set_compression(compression)
            .set_num_values(size(data.num_values)?)
            .set_total_compressed_size(size(pages.bytes.len())?)
            .set_total_uncompressed_size(size(pages.uncompressed)?)
            .set_data_page_offset(size(data_page_offset)?)
            .set_dictionary_page_offset(has_dictionary.then_some(0));
        if let Some(ChunkStatistics { nulls, bounds }) = self.statistics.as_mut().map(std::mem::take) {
            let (least, greatest) = bounds.map(|(least, greatest)| (bound::least(least), bound::greatest(greatest))).unzip();
            let is_exact = |bound: &Option<Bound>| bound.as_ref().is_some_and(|bound| bound.is_exact);
            let (least_is_exact, greatest_is_exact) = (is_exact(&least), is_exact(&greatest));
            let value = |bound: Option<Bound>| bound.map(|bound| ByteArray::from(bound.value));
            let statistics = ValueStatistics::new(value(least), value(greatest), None, Some(nulls), false);
            let statistics = statistics.with_min_is_exact(least_is_exact).with_max_is_exact(greatest_is_exact);
            metadata = metadata.set_statistics(Statistics::ByteArray(statistics));
        }
        let result = ColumnCloseResult {
            bytes_written: pages.bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok((pages.bytes.into(), result))
    }
}
