//! What encodings and indexes cost and bring, leaf by leaf: `python3.13 crates/facts/tests/common/compile.py FOLDER > frames`, then
//! `cargo run --release -p bytefacts-facts --example encodings -- frames`.
//!
//! Texts that no dictionary holds are written by the `parquet` crate in both encodings that there are for them; the last table says
//! in how many pages a value could be, judged by the least and the greatest of each page.

#[path = "../tests/common/frames.rs"]
mod frames;

use std::{collections::BTreeMap, error::Error, fs, io::Write as _};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use bytefacts_encode::{EncodeOptions, FileEncoder, FileProperties};
use bytefacts_facts::{FileInput, Options, RowBuilder, coded_schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

fn main() -> Result<(), Box<dyn Error>> {
    let frames = std::env::args().nth(1).ok_or("usage: encodings FRAMES")?;
    let batches = batches(&frames::read_frames(&fs::read(frames)?))?;
    let mut out = std::io::stdout().lock();

    let properties = FileProperties::new(&coded_schema(), &EncodeOptions::default())?;
    let mut encoder = FileEncoder::try_new(Vec::new(), &coded_schema(), &properties)?;
    batches.iter().try_for_each(|batch| encoder.write(batch))?;
    encoder.finish()?;
    let ours = encoder.inner().clone();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(ours.clone()))?;
    let index = |range: fn(&parquet::file::metadata::ColumnChunkMetaData) -> Option<i32>| {
        metadata.row_groups().iter().flat_map(|group| group.columns()).filter_map(range).map(i64::from).sum::<i64>()
    };
    let (columns, offsets) = (index(|chunk| chunk.column_index_length()), index(|chunk| chunk.offset_index_length()));
    writeln!(out, "{} bytes in {} pages a leaf; column indexes {columns}, offset indexes {offsets}", ours.len(), batches.len())?;

    let plain_texts = leaves(&metadata, |chunk| {
        let mut encodings = chunk.encodings();
        encodings.all(|encoding| encoding != Encoding::RLE_DICTIONARY) && chunk.column_descr().physical_type() == Type::BYTE_ARRAY
    });
    let by_lengths = sizes(&batches, &plain_texts, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY))?;
    let by_values = sizes(&batches, &plain_texts, Some(Encoding::PLAIN))?;
    let mut total = [0, 0];
    for leaf in &plain_texts {
        let both = [by_lengths[&leaf.string()], by_values[&leaf.string()]];
        total = [total[0] + both[0], total[1] + both[1]];
        writeln!(out, "{leaf}: DELTA_LENGTH_BYTE_ARRAY {}, PLAIN {}", both[0], both[1])?;
    }
    let more = 100.0 * (total[1] - total[0]) as f64 / ours.len() as f64;
    writeln!(out, "together: DELTA_LENGTH_BYTE_ARRAY {}, PLAIN {}: {more:+.2} % of the file", total[0], total[1])?;

    let is_integer = |physical| matches!(physical, Type::INT32 | Type::INT64);
    let integers = leaves(&metadata, |chunk| is_integer(chunk.column_descr().physical_type()));
    let sum = |sizes: BTreeMap<String, i64>| integers.iter().filter_map(|leaf| sizes.get(&leaf.string())).sum::<i64>();
    let by_differences = sum(sizes(&batches, &integers, Some(Encoding::DELTA_BINARY_PACKED))?);
    let by_dictionary = sum(sizes(&batches, &[], None)?);
    let more = 100.0 * (by_dictionary - by_differences) as f64 / ours.len() as f64;
    writeln!(out, "integers: DELTA_BINARY_PACKED {by_differences}, dictionaries {by_dictionary}: {more:+.2} % of the file")?;

    for name in ["opname", "argval_str", "line_number"] {
        let pages: Vec<ArrayRef> = batches.iter().map(|batch| instruction_column(batch, name)).collect::<Result<_, _>>()?;
        writeln!(out, "instructions.{name}: a value could be in {:.1} % of the pages", 100.0 * could_be(&pages))?;
    }
    Ok(())
}

fn batches(files: &[frames::Unit]) -> Result<Vec<RecordBatch>, Box<dyn Error>> {
    let mut builder = RowBuilder::new(&frames::attrs(true), Options::default());
    let mut batches = Vec::new();
    for file in files {
        let code = (!file.code.is_empty()).then_some(file.code.as_slice());
        // What stands for a SHA-256 is as long, and compresses as badly.
        let sha256 = bytefacts_facts::digest::marshal(&file.source);
        builder.append(FileInput {
            repo: Some("demo"),
            path: &file.path,
            source: Some(&file.source),
            code,
            sha256: Some(sha256),
            errors: Vec::new(),
        })?;
        if builder.bytes() >= 16 << 20 {
            batches.push(builder.finish_coded()?);
        }
    }
    batches.push(builder.finish_coded()?);
    Ok(batches)
}

/// The leaves whose chunks are all so.
fn leaves(metadata: &ParquetMetaData, are: impl Fn(&parquet::file::metadata::ColumnChunkMetaData) -> bool) -> Vec<ColumnPath> {
    let columns = metadata.file_metadata().schema_descr().columns().iter().enumerate();
    let chosen = columns.filter(|(leaf, _)| metadata.row_groups().iter().all(|group| are(group.column(*leaf))));
    chosen.map(|(_, column)| column.path().clone()).collect()
}

/// The bytes of each leaf, of those named in that encoding and without a dictionary.
fn sizes(batches: &[RecordBatch], leaves: &[ColumnPath], encoding: Option<Encoding>) -> Result<BTreeMap<String, i64>, Box<dyn Error>> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None);
    for (leaf, encoding) in leaves.iter().zip(encoding.into_iter().cycle()) {
        properties = properties.set_column_dictionary_enabled(leaf.clone(), false).set_column_encoding(leaf.clone(), encoding);
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), coded_schema(), Some(properties.build()))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    let metadata = writer.close()?;
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let mut sizes = BTreeMap::new();
    for chunk in chunks {
        *sizes.entry(chunk.column_path().string()).or_default() += chunk.compressed_size();
    }
    Ok(sizes)
}

fn instruction_column(batch: &RecordBatch, name: &str) -> Result<ArrayRef, Box<dyn Error>> {
    let units = batch.column_by_name("code_objects").ok_or("no units")?.as_list::<i32>().values().as_struct();
    let instructions = units.column_by_name("instructions").ok_or("no instructions")?.as_list::<i32>().values().as_struct();
    let column = instructions.column_by_name(name).ok_or("no such column")?;
    Ok(if column.data_type() == &DataType::Int32 { column.clone() } else { cast(column, &DataType::Utf8)? })
}

/// In which share of the pages a value is not ruled out by the least and the greatest one; of every 997th value.
fn could_be(pages: &[ArrayRef]) -> f64 {
    let keys = |page: &ArrayRef| -> Vec<String> {
        match page.as_string_opt::<i32>() {
            Some(texts) => texts.iter().flatten().map(str::to_owned).collect(),
            None => page.as_primitive::<Int32Type>().iter().flatten().map(|number| format!("{number:010}")).collect(),
        }
    };
    let pages: Vec<Vec<String>> = pages.iter().map(keys).collect();
    let spans: Vec<_> = pages.iter().filter_map(|page| page.iter().min().zip(page.iter().max())).collect();
    let (mut looked, mut possible) = (0_u32, 0_u32);
    for value in pages.iter().flatten().step_by(997) {
        looked += spans.len() as u32;
        possible += spans.iter().filter(|(least, greatest)| *least <= value && value <= *greatest).count() as u32;
    }
    f64::from(possible) / f64::from(looked.max(1))
}
