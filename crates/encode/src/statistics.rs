//! What readers skip by: the least and the greatest value and the number of nulls, of each page and of the whole chunk.
//!
//! Columns of the root have them. A leaf of a list has not: no reader turns a condition on an element into one on pages, and
//! what a page holds of a list, some ten thousand instructions of hundreds of functions, spans nearly all there is (`examples/encodings.rs` of
//! `bytefacts-facts` counts how much).

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int32Type, Int64Type};
use parquet::basic::{BoundaryOrder, Type};
use parquet::errors::Result;
use parquet::file::metadata::ColumnIndexBuilder;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::bound::{self, Bound};
use super::shape;

/// The least and the greatest of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span<T> {
    least: T,
    greatest: T,
}

impl<T: Ord + Copy> Span<T> {
    fn of(values: impl Iterator<Item = T>) -> Option<Self> {
        values.fold(None, |span: Option<Self>, value| match span {
            None => Some(Self { least: value, greatest: value }),
            Some(Self { least, greatest }) => Some(Self { least: least.min(value), greatest: greatest.max(value) }),
        })
    }
}

impl<T: Ord> Span<T> {
    fn join(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), greatest: self.greatest.max(other.greatest) }
    }
}

/// The values of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PageSpan {
    Integers(Span<i64>),
    Texts(Span<Vec<u8>>),
}

/// Statistics of a chunk and its pages.
#[derive(Debug)]
pub(super) struct ColumnStatistics {
    /// Nulls and, if it has values, the span of each page.
    pages: Vec<(u64, Option<PageSpan>)>,
    physical: Type,
}

impl ColumnStatistics {
    /// None of a type that has none.
    pub(super) fn new(physical: Type) -> Option<Self> {
        matches!(physical, Type::INT32 | Type::INT64 | Type::BYTE_ARRAY).then(|| Self { pages: Vec::new(), physical })
    }

    /// Notes a page of these values.
    pub(super) fn add_page(&mut self, array: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<()> {
        let count = nulls.map_or(0, NullBuffer::null_count) as u64;
        self.pages.push((count, span(array, nulls)?));
        Ok(())
    }

    /// What is allocated, in bytes.
    pub(super) fn memory(&self) -> usize {
        let texts = self.pages.iter().map(|(_, span)| match span {
            Some(PageSpan::Texts(Span { least, greatest })) => least.capacity() + greatest.capacity(),
            _ => 0,
        });
        self.pages.capacity() * size_of::<(u64, Option<PageSpan>)>() + texts.sum::<usize>()
    }

    /// The statistics of the chunk, and the index of its pages; afterwards another chunk begins.
    pub(super) fn finish(&mut self) -> Result<(Statistics, ColumnIndexMetaData)> {
        let pages = std::mem::take(&mut self.pages);
        let mut index = ColumnIndexBuilder::new(self.physical);
        index.set_boundary_order(order(&pages)?);
        let (mut nulls, mut all) = (0, None);
        for (page_nulls, span) in pages {
            nulls += page_nulls;
            let count = i64::try_from(page_nulls).map_err(|_| shape("more nulls than a page can have"))?;
            match &span {
                // Bounds of nothing but nulls are to be empty.
                None => index.append(true, Vec::new(), Vec::new(), count),
                Some(span) => {
                    let (least, greatest) = self.bounds(span.clone())?;
                    index.append(false, least.value, greatest.value, count);
                }
            }
            all = match (all, span) {
                (Some(all), Some(span)) => Some(join(all, span)?),
                (all, span) => all.or(span),
            };
        }
        Ok((self.statistics(nulls, all)?, index.build()?))
    }

    fn statistics(&self, nulls: u64, span: Option<PageSpan>) -> Result<Statistics> {
        Ok(match (self.physical, span) {
            (Type::INT32, None) => Statistics::int32(None, None, None, Some(nulls), false),
            (Type::INT64, None) => Statistics::int64(None, None, None, Some(nulls), false),
            (Type::INT32, Some(PageSpan::Integers(span))) => {
                Statistics::int32(Some(int32(span.least)?), Some(int32(span.greatest)?), None, Some(nulls), false)
            }
            (Type::INT64, Some(PageSpan::Integers(span))) => {
                Statistics::int64(Some(span.least), Some(span.greatest), None, Some(nulls), false)
            }
            (_, span) => {
                let (least, greatest) = span.map(|span| self.bounds(span)).transpose()?.unzip();
                let is_exact = |bound: &Option<Bound>| bound.as_ref().is_some_and(|bound| bound.is_exact);
                let exact = (is_exact(&least), is_exact(&greatest));
                let value = |bound: Option<Bound>| bound.map(|bound| bound.value.into());
                let statistics = ValueStatistics::new(value(least), value(greatest), None, Some(nulls), false);
                Statistics::ByteArray(statistics.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
            }
        })
    }

    /// Bounds in Parquet's plain encoding.
    fn bounds(&self, span: PageSpan) -> Result<(Bound, Bound)> {
        let exact = |value: Vec<u8>| Bound { value, is_exact: true };
        Ok(match (self.physical, span) {
            (_, PageSpan::Texts(Span { least, greatest })) => (bound::least(least), bound::greatest(greatest)),
            (Type::INT32, PageSpan::Integers(Span { least, greatest })) => {
                (exact(int32(least)?.to_le_bytes().into()), exact(int32(greatest)?.to_le_bytes().into()))
            }
            (_, PageSpan::Integers(Span { least, greatest })) => (exact(least.to_le_bytes().into()), exact(greatest.to_le_bytes().into())),
        })
    }
}

fn int32(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|_| shape("a value beyond the type of its column"))
}

fn join(one: PageSpan, other: PageSpan) -> Result<PageSpan> {
    match (one, other) {
        (PageSpan::Integers(one), PageSpan::Integers(other)) => Ok(PageSpan::Integers(one.join(other))),
        (PageSpan::Texts(one), PageSpan::Texts(other)) => Ok(PageSpan::Texts(one.join(other))),
        _ => Err(shape("pages of different types in one chunk")),
    }
}

/// Whether bounds go up, or down, from page to page; readers search then instead of looking at all.
fn order(pages: &[(u64, Option<PageSpan>)]) -> Result<BoundaryOrder> {
    let (mut ascending, mut descending) = (true, true);
    let mut spans = pages.iter().filter_map(|(_, span)| span.as_ref());
    let mut before = spans.next();
    for span in spans {
        let (least, greatest) = match (before, span) {
            (Some(PageSpan::Integers(before)), PageSpan::Integers(span)) => {
                (before.least.cmp(&span.least), before.greatest.cmp(&span.greatest))
            }
            (Some(PageSpan::Texts(before)), PageSpan::Texts(span)) => (before.least.cmp(&span.least), before.greatest.cmp(&span.greatest)),
            _ => return Err(shape("pages of different types in one chunk")),
        };
        ascending &= least.is_le() && greatest.is_le();
        descending &= least.is_ge() && greatest.is_ge();
        before = Some(span);
    }
    Ok(match (ascending, descending) {
        (true, _) => BoundaryOrder::ASCENDING,
        (false, true) => BoundaryOrder::DESCENDING,
        (false, false) => BoundaryOrder::UNORDERED,
    })
}

/// The span of the values that are there; none if there are none.
fn span(array: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<Option<PageSpan>> {
    match array.data_type() {
        DataType::Int32 => Ok(integers::<Int32Type>(array, nulls)),
        DataType::Int64 => Ok(integers::<Int64Type>(array, nulls)),
        DataType::Utf8 => Ok(texts(array.as_string(), live(array.len(), nulls))),
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Ok(bytes(live(array.len(), nulls).map(|index| array.value(index))))
        }
        DataType::Dictionary(..) => {
            let array = array.as_dictionary::<Int32Type>();
            let keys = array.keys().values();
            let values = array.values().as_string_opt::<i32>().ok_or_else(|| shape("a dictionary of no texts"))?;
            let mut seen = vec![false; values.len()];
            for index in live(array.len(), nulls) {
                let key = keys.get(index).and_then(|key| usize::try_from(*key).ok());
                *key.and_then(|key| seen.get_mut(key)).ok_or_else(|| shape("a key of no value"))? = true;
            }
            Ok(texts(values, seen.into_iter().enumerate().filter_map(|(key, seen)| seen.then_some(key))))
        }
        other => Err(shape(&format!("statistics of a column of type {other}"))),
    }
}

/// The positions of values that are there.
fn live(len: usize, nulls: Option<&NullBuffer>) -> impl Iterator<Item = usize> {
    (0..len).filter(move |index| nulls.is_none_or(|nulls| nulls.is_valid(*index)))
}

fn integers<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef, nulls: Option<&NullBuffer>) -> Option<PageSpan> {
    let array = array.as_primitive::<T>();
    Span::of(live(array.len(), nulls).map(|index| array.value(index).into())).map(PageSpan::Integers)
}

fn texts(array: &StringArray, positions: impl Iterator<Item = usize>) -> Option<PageSpan> {
    bytes(positions.map(|position| array.value(position).as_bytes()))
}

fn bytes<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<PageSpan> {
    let Span { least, greatest } = Span::of(values)?;
    Some(PageSpan::Texts(Span { least: least.into(), greatest: greatest.into() }))
}
