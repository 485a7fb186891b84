//! The values of a leaf, and how they are encoded.

use std::ops::Range;
use std::slice::SliceIndex;

use arrow::array::{Array, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};

use super::delta::{self, Integer};
use super::dictionary::Dictionary;
use super::{rle, shape};

/// What became of a page's values.
pub(super) struct Encoded {
    pub(super) encoding: Encoding,
    /// What readers need for them, in bytes, once they are decoded: each text with an offset, nulls too.
    pub(super) decoded: usize,
}

/// Appends the values of a leaf that are not null.
///
/// Texts get codes of the dictionary, if there is one; it is dropped once it does not pay.
pub(super) fn encode(
    array: &dyn Array,
    nulls: Option<&NullBuffer>,
    dictionary: &mut DictionaryEncoder,
    out: &mut Vec<u8>,
) -> Result<Encoded> {
    let fixed = |encoding, decoded| Encoded { encoding, decoded };
    match array.data_type() {
        DataType::Boolean => Ok(fixed(booleans(array.as_boolean().values(), nulls, out), array.len().div_ceil(8))),
        DataType::Int32 => Ok(fixed(integers(array.as_primitive::<Int32Type>().values(), nulls, out)?, array.len() * size_of::<i32>())),
        DataType::Int64 => Ok(fixed(integers(array.as_primitive::<Int64Type>().values(), nulls, out)?, array.len() * size_of::<i64>())),
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            texts(&Texts { offsets: array.value_offsets(), bytes: array.value_data() }, nulls, dictionary, out)
        }
        DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
            let array = array.as_dictionary::<Int32Type>();
            let values = array.values().as_string::<i32>();
            let values = Texts { offsets: values.value_offsets(), bytes: values.value_data() };
            if let Some(bytes) = dictionary.encode_codes(&values, array.keys().values(), nulls, out) {
                return Ok(fixed(Encoding::RLE_DICTIONARY, array.len() * size_of::<i32>() + bytes));
            }
            let expanded = take(array.values(), array.keys(), None)?;
            encode(&expanded, nulls, dictionary, out)
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            texts(&Texts { offsets: array.value_offsets(), bytes: array.value_data() }, nulls, dictionary, out)
        }
        other => Err(ParquetError::NYI(format!("columns of type {other}"))),
    }
}

/// What no leaf of a column takes more of once it is decoded, in bytes: a bound that looks at no value, but for those of dictionaries.
///
/// # Errors
/// If the column's parts do not fit each other, or it has a type that is not encoded.
pub(super) fn most_decoded(column: &dyn Array) -> Result<usize> {
    let texts = |count: usize, bytes: usize| count * size_of::<i32>() + bytes;
    match column.data_type() {
        DataType::Boolean => Ok(column.len().div_ceil(8)),
        DataType::Int32 => Ok(column.len() * size_of::<i32>()),
        DataType::Int64 => Ok(column.len() * size_of::<i64>()),
        DataType::Utf8 => Ok(texts(column.len(), span(column.as_string::<i32>().value_offsets())?.len())),
        DataType::Binary => Ok(texts(column.len(), span(column.as_binary::<i32>().value_offsets())?.len())),
        DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
            let array = column.as_dictionary::<Int32Type>();
            let offsets = array.values().as_string::<i32>().value_offsets();
            let longest = offsets.array_windows().map(|[start, end]| (end - start) as usize).max().unwrap_or(0);
            Ok(texts(column.len(), column.len().saturating_mul(longest)))
        }
        DataType::Struct(_) => column.as_struct().columns().iter().try_fold(0, |most, column| Ok(most_decoded(column)?.max(most))),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let elements = span(list.value_offsets())?;
            most_decoded(&list.values().slice(elements.start, elements.len()))
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let entries = span(map.value_offsets())?;
            most_decoded(&map.entries().slice(entries.start, entries.len()))
        }
        other => Err(ParquetError::NYI(format!("columns of type {other}"))),
    }
}

/// From the first offset to the last.
fn span(offsets: &[i32]) -> Result<Range<usize>> {
    let ends = offsets.first().zip(offsets.last()).ok_or_else(|| shape("a column without offsets"))?;
    Ok(offset(*ends.0)?..offset(*ends.1)?)
}

fn offset(offset: i32) -> Result<usize> {
    usize::try_from(offset).map_err(|_| shape("an offset below zero"))
}

/// A part of a column, which ends before it should where the column is not what it says.
fn part<T>(values: &[T], range: impl SliceIndex<[T], Output = [T]>) -> Result<&[T]> {
    values.get(range).ok_or_else(|| shape("a column that is shorter than it says"))
}

fn booleans(values: &BooleanBuffer, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> Encoding {
    let values = match nulls {
        None => values.sliced(),
        Some(nulls) => nulls.valid_indices().map(|index| values.value(index)).collect::<BooleanBuffer>().sliced(),
    };
    out.extend_from_slice(&values);
    Encoding::PLAIN
}

fn integers<T: Integer>(values: &[T], nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> Result<Encoding> {
    match nulls {
        None => delta::encode(values, out),
        Some(nulls) => {
            let mut valid = Vec::with_capacity(nulls.len() - nulls.null_count());
            for (start, end) in nulls.valid_slices() {
                valid.extend_from_slice(part(values, start..end)?);
            }
            delta::encode(&valid, out);
        }
    }
    Ok(Encoding::DELTA_BINARY_PACKED)
}

/// Texts or bytes, one behind the other.
struct Texts<'a> {
    offsets: &'a [i32],
    bytes: &'a [u8],
}

impl Texts<'_> {
    /// Where a value stands in the bytes.
    fn range(&self, index: usize) -> Option<Range<usize>> {
        Some(*self.offsets.get(index)? as usize..*self.offsets.get(index + 1)? as usize)
    }

    fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The ranges of values that are not null.
    fn ranges(&self, nulls: Option<&NullBuffer>) -> Vec<(usize, usize)> {
        match nulls {
            None => vec![(0, self.len())],
            Some(nulls) => nulls.valid_slices().collect(),
        }
    }
}

/// The dictionary of a column chunk.
#[derive(Debug, Default)]
pub(super) struct DictionaryEncoder {
    pub(super) dictionary: Dictionary,
    /// Whether further pages are encoded without it.
    closed: bool,
}

/// A dictionary is for values that come this often on average.
const REPEATS: usize = 2;

impl DictionaryEncoder {
    /// Appends the codes of texts, unless that does not pay.
    fn encode_texts(&mut self, texts: &Texts<'_>, ranges: &[(usize, usize)], out: &mut Vec<u8>) -> bool {
        let count = ranges.iter().map(|(start, end)| end - start).sum();
        self.encode(count, out, |dictionary, codes| {
            for &(start, end) in ranges {
                for [start, end] in texts.offsets.get(start..=end)?.array_windows() {
                    codes.push(dictionary.code(texts.bytes, *start as usize..*end as usize)?);
                }
            }
            Some(())
        })
    }

    /// Appends the codes of texts that are coded already, if in another way, unless that does not pay; tells what the texts take.
    fn encode_codes(&mut self, values: &Texts<'_>, keys: &[i32], nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> Option<usize> {
        let count = keys.len() - nulls.map_or(0, NullBuffer::null_count);
        let mut translation: Vec<Option<(u32, usize)>> = vec![None; values.len()];
        let mut translate = |dictionary: &mut Dictionary, key: i32| {
            let known = translation.get_mut(key as usize)?;
            if known.is_none() {
                let range = values.range(key as usize)?;
                *known = dictionary.code(values.bytes, range.clone()).map(|code| (code, range.len()));
            }
            *known
        };
        let ranges = nulls.map_or_else(|| vec![(0, keys.len())], |nulls| nulls.valid_slices().collect());
        let mut bytes = 0;
        let pays = self.encode(count, out, |dictionary, codes| {
            for (start, end) in ranges {
                for key in keys.get(start..end)? {
                    let (code, length) = translate(dictionary, *key)?;
                    codes.push(code);
                    bytes += length;
                }
            }
            Some(())
        });
        pays.then_some(bytes)
    }

    /// Appends what `code` finds for so many values; it finds nothing once the dictionary is full.
    fn encode(&mut self, count: usize, out: &mut Vec<u8>, code: impl FnOnce(&mut Dictionary, &mut Vec<u32>) -> Option<()>) -> bool {
        if self.closed {
            return false;
        }
        let is_first = self.dictionary.len() == 0;
        let mut codes = Vec::with_capacity(count);
        let is_full = code(&mut self.dictionary, &mut codes).is_none();
        if is_full || is_first && self.dictionary.len() * REPEATS > count {
            self.closed = true;
            if is_first {
                self.dictionary = Dictionary::default();
            }
            return false;
        }
        let width = rle::width(self.dictionary.len().saturating_sub(1) as u64);
        out.push(width as u8);
        rle::hybrid(&codes, width, out);
        true
    }
}

fn texts(texts: &Texts<'_>, nulls: Option<&NullBuffer>, encoder: &mut DictionaryEncoder, out: &mut Vec<u8>) -> Result<Encoded> {
    let ranges = texts.ranges(nulls);
    let decoded = texts.len() * size_of::<i32>() + span(texts.offsets)?.len();
    if encoder.encode_texts(texts, &ranges, out) {
        return Ok(Encoded { encoding: Encoding::RLE_DICTIONARY, decoded });
    }
    // `DELTA_LENGTH_BYTE_ARRAY` would save a quarter of a percent of a file of ours, and not all readers know it: see
    // `examples/encodings.rs` of `bytefacts-facts`.
    out.reserve(decoded);
    for &(start, end) in &ranges {
        for [start, end] in part(texts.offsets, start..=end)?.array_windows() {
            let value = part(texts.bytes, offset(*start)?..offset(*end)?)?;
            out.extend_from_slice(&(end - start).to_le_bytes());
            out.extend_from_slice(value);
        }
    }
    Ok(Encoded { encoding: Encoding::PLAIN, decoded })
}
