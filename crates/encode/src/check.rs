//! Whether what a file says of its values is true: counts and bounds of chunks and pages, and where pages begin.
//!
//! Readers believe them and skip what they need not read, so that a wrong one loses rows without an error. The values are
//! looked at as they are read anyway, and by other code than that which writes.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::kernels::aggregate::{max, max_binary, max_string, min, min_binary, min_string};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use parquet::basic::BoundaryOrder;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::{ColumnIndex, ColumnIndexMetaData};
use parquet::file::statistics::Statistics;

/// Something that a file says of its values and that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the column.
    pub column: String,
    /// Position of the row group.
    pub row_group: usize,
    /// Position of the page; none if it is the whole chunk.
    pub page: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, row_group, page, reason } = self;
        write!(f, "row group {row_group}")?;
        if !column.is_empty() {
            write!(f, ", column {column}")?;
        }
        if let Some(page) = page {
            write!(f, ", page {page}")?;
        }
        write!(f, ": {reason}")
    }
}

/// Compares statistics and indexes of a file with its rows, which it takes in their order, all columns of them.
///
/// Only columns of the root have statistics that can be compared; those of lists are to have none.
pub struct StatisticsCheck {
    metadata: Arc<ParquetMetaData>,
    columns: Vec<CheckedColumn>,
    /// Rows taken of the row group at hand.
    row: usize,
    row_group: usize,
    violations: Vec<Violation>,
}

/// A column of the root.
struct CheckedColumn {
    leaf: usize,
    name: String,
    /// The values of the row group so far.
    chunk: Seen,
    /// The values of the page at hand so far.
    page: Seen,
    page_index: usize,
    /// The values of the last page that had any.
    last: Option<(Value, Value)>,
    ascending: bool,
    descending: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Boolean(bool),
    Integer(i64),
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Bytes(value) => write!(f, "{:?}", String::from_utf8_lossy(value)),
        }
    }
}

/// Values that were read.
#[derive(Debug, Clone, Default)]
struct Seen {
    nulls: u64,
    span: Option<(Value, Value)>,
}

/// What is said of values.
#[derive(Debug, Default)]
struct Stated {
    nulls: Option<u64>,
    least: Option<Value>,
    greatest: Option<Value>,
    least_is_exact: bool,
    greatest_is_exact: bool,
}

impl StatisticsCheck {
    /// A check of the file with this metadata; the page indexes are compared if they have been read.
    #[must_use]
    pub fn new(metadata: Arc<ParquetMetaData>) -> Self {
        let schema = metadata.file_metadata().schema_descr();
        let flat = schema.columns().iter().enumerate().filter(|(_, column)| column.path().parts().len() == 1);
        let columns = flat
            .map(|(leaf, column)| CheckedColumn {
                leaf,
                name: column.name().to_owned(),
                chunk: Seen::default(),
                page: Seen::default(),
                page_index: 0,
                last: None,
                ascending: true,
                descending: true,
            })
            .collect();
        let mut check = Self { metadata, columns, row: 0, row_group: 0, violations: Vec::new() };
        check.layout();
        check.skip_empty_row_groups();
        check
    }

    /// Takes the next rows.
    pub fn take(&mut self, batch: &RecordBatch) {
        let mut start = 0;
        while start < batch.num_rows() {
            let Some(left) = self.rows_of(self.row_group).map(|rows| rows.saturating_sub(self.row)).filter(|left| *left > 0) else {
                return self.find("", None, "rows behind the last row group".to_owned());
            };
            let length = left.min(batch.num_rows() - start);
            self.take_of_row_group(&batch.slice(start, length));
            start += length;
            self.row += length;
            if length == left {
                self.close_row_group();
            }
        }
    }

    /// What has been found. All rows must have been taken.
    #[must_use]
    pub fn finish(mut self) -> Vec<Violation> {
        if self.row_group < self.metadata.num_row_groups() {
            self.find("", None, "fewer rows than the row group says".to_owned());
        }
        self.violations
    }

    fn find(&mut self, column: &str, page: Option<usize>, reason: String) {
        self.violations.push(Violation { column: column.to_owned(), row_group: self.row_group, page, reason });
    }

    fn rows_of(&self, row_group: usize) -> Option<usize> {
        usize::try_from(self.metadata.row_groups().get(row_group)?.num_rows()).ok()
    }

    /// Whether pages stand one behind the other within their chunks, and those of all columns begin with the same rows.
    fn layout(&mut self) {
        let metadata = Arc::clone(&self.metadata);
        for (row_group, group) in metadata.row_groups().iter().enumerate() {
            self.row_group = row_group;
            for (leaf, chunk) in group.columns().iter().enumerate() {
                let name = chunk.column_path().string();
                if chunk.column_descr().max_rep_level() > 0 && chunk.statistics().is_some() {
                    self.find(&name, None, "statistics of a column in a list".to_owned());
                }
                let Some(index) = metadata.offset_index().and_then(|index| index.get(row_group)?.get(leaf)) else { continue };
                let pages = index.page_locations();
                let (first, length) = chunk.byte_range();
                let (mut at, mut row) = (i64::try_from(first).unwrap_or(i64::MAX), -1);
                for (page, location) in pages.iter().enumerate() {
                    if location.offset < at || location.compressed_page_size <= 0 {
                        self.find(&name, Some(page), format!("offset {} before the end of what stands there, {at}", location.offset));
                    }
                    at = location.offset.saturating_add(location.compressed_page_size.into());
                    let begins = if page == 0 { location.first_row_index == 0 } else { location.first_row_index > row };
                    if !begins || location.first_row_index >= group.num_rows() {
                        self.find(&name, Some(page), format!("first row {} out of order", location.first_row_index));
                    }
                    row = location.first_row_index;
                }
                if u64::try_from(at).ok() != first.checked_add(length) {
                    self.find(&name, None, format!("pages that end at {at} in a chunk of {length} bytes at {first}"));
                }
            }
        }
        self.row_group = 0;
    }

    fn skip_empty_row_groups(&mut self) {
        while self.rows_of(self.row_group) == Some(0) {
            self.row_group += 1;
        }
    }

    /// The first row of each page behind the first.
    fn page_starts(&self, leaf: usize) -> Option<Vec<usize>> {
        let pages = self.metadata.offset_index()?.get(self.row_group)?.get(leaf)?.page_locations();
        Some(pages.iter().skip(1).filter_map(|page| usize::try_from(page.first_row_index).ok()).collect())
    }

    fn take_of_row_group(&mut self, batch: &RecordBatch) {
        let mut columns = std::mem::take(&mut self.columns);
        for column in &mut columns {
            let Some(array) = batch.column_by_name(&column.name).filter(|array| !array.data_type().is_nested()) else { continue };
            let starts = self.page_starts(column.leaf);
            let mut start = 0;
            while start < array.len() {
                let row = self.row + start;
                let next = starts.iter().flatten().copied().find(|next| *next > row);
                let length = next.map_or(usize::MAX, |next| next - row).min(array.len() - start);
                if starts.as_ref().is_some_and(|starts| starts.contains(&row)) {
                    self.close_page(column);
                }
                match seen(&array.slice(start, length)) {
                    Some(seen) => column.page.add(seen),
                    None => self.find(&column.name, None, format!("a column of type {}, which has no statistics", array.data_type())),
                }
                start += length;
            }
        }
        self.columns = columns;
    }

    fn close_page(&mut self, column: &mut CheckedColumn) {
        let seen = std::mem::take(&mut column.page);
        let page = column.page_index;
        column.page_index += 1;
        let metadata = Arc::clone(&self.metadata);
        if let Some(index) = column_index(&metadata, self.row_group, column.leaf)
            && let Some(stated) = stated_of_page(index, page)
        {
            if index.is_null_page(page) != seen.span.is_none() {
                self.find(&column.name, Some(page), format!("a page of nulls alone: {}", index.is_null_page(page)));
            }
            self.compare(&column.name, Some(page), &stated, &seen);
        }
        if let Some(span) = &seen.span {
            if let Some(last) = &column.last {
                column.ascending &= last.0 <= span.0 && last.1 <= span.1;
                column.descending &= last.0 >= span.0 && last.1 >= span.1;
            }
            column.last = Some(span.clone());
        }
        column.chunk.add(seen);
    }

    fn close_row_group(&mut self) {
        let metadata = Arc::clone(&self.metadata);
        let mut columns = std::mem::take(&mut self.columns);
        for column in &mut columns {
            self.close_page(column);
            let seen = std::mem::take(&mut column.chunk);
            let chunk = metadata.row_groups().get(self.row_group).and_then(|group| group.columns().get(column.leaf));
            if let Some(statistics) = chunk.and_then(|chunk| chunk.statistics()) {
                self.compare(&column.name, None, &stated_of_chunk(statistics), &seen);
            }
            if let Some(index) = column_index(&metadata, self.row_group, column.leaf) {
                if index.num_pages() != column.page_index as u64 {
                    self.find(
                        &column.name,
                        None,
                        format!("an index of {} pages, where there are {}", index.num_pages(), column.page_index),
                    );
                }
                match index.get_boundary_order() {
                    Some(BoundaryOrder::ASCENDING) if !column.ascending => {
                        self.find(&column.name, None, "pages that are said to ascend".to_owned());
                    }
                    Some(BoundaryOrder::DESCENDING) if !column.descending => {
                        self.find(&column.name, None, "pages that are said to descend".to_owned());
                    }
                    _ => {}
                }
            }
            (column.page_index, column.last, column.ascending, column.descending) = (0, None, true, true);
        }
        self.columns = columns;
        (self.row, self.row_group) = (0, self.row_group + 1);
        self.skip_empty_row_groups();
    }

    fn compare(&mut self, column: &str, page: Option<usize>, stated: &Stated, seen: &Seen) {
        let mut reasons = Vec::new();
        match stated.nulls {
            Some(nulls) if nulls != seen.nulls => reasons.push(format!("{nulls} nulls, where there are {}", seen.nulls)),
            // Readers take a count that is not there for zero.
            None if stated.least.is_some() || stated.greatest.is_some() || seen.nulls > 0 => {
                reasons.push("bounds without a count of nulls".to_owned());
            }
            _ => {}
        }
        match &seen.span {
            None if stated.least.is_some() || stated.greatest.is_some() => reasons.push("bounds of no values".to_owned()),
            None => {}
            Some((least, greatest)) => {
                if let Some(bound) = &stated.least
                    && (bound > least || stated.least_is_exact && bound != least)
                {
                    reasons.push(format!("least value {bound}, where it is {least}"));
                }
                if let Some(bound) = &stated.greatest
                    && (bound < greatest || stated.greatest_is_exact && bound != greatest)
                {
                    reasons.push(format!("greatest value {bound}, where it is {greatest}"));
                }
            }
        }
        for reason in reasons {
            self.find(column, page, reason);
        }
    }
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.nulls += other.nulls;
        self.span = match (self.span.take(), other.span) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }
}

/// What there is in an array; none if it is of a type that has no statistics.
fn seen(array: &ArrayRef) -> Option<Seen> {
    let bytes = |value: &[u8]| Value::Bytes(value.to_vec());
    let (least, greatest) = match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            let has = |value: bool| array.iter().any(|each| each == Some(value));
            let pick = |order: [bool; 2]| order.into_iter().find(|value| has(*value)).map(Value::Boolean);
            (pick([false, true]), pick([true, false]))
        }
        DataType::Int32 => {
            let array = array.as_primitive::<Int32Type>();
            (min(array).map(|value| Value::Integer(value.into())), max(array).map(|value| Value::Integer(value.into())))
        }
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            (min(array).map(Value::Integer), max(array).map(Value::Integer))
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            (min_string(array).map(|value| bytes(value.as_bytes())), max_string(array).map(|value| bytes(value.as_bytes())))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            (min_binary(array).map(bytes), max_binary(array).map(bytes))
        }
        _ => return None,
    };
    Some(Seen { nulls: array.null_count() as u64, span: least.zip(greatest) })
}

/// The index of a column's pages, if it has one.
fn column_index(metadata: &ParquetMetaData, row_group: usize, leaf: usize) -> Option<&ColumnIndexMetaData> {
    let index = metadata.column_index()?.get(row_group)?.get(leaf)?;
    (!matches!(index, ColumnIndexMetaData::NONE)).then_some(index)
}

fn stated_of_chunk(statistics: &Statistics) -> Stated {
    let value = |bytes: Option<&[u8]>| {
        let bytes = bytes?;
        Some(match statistics {
            Statistics::Int32(_) => Value::Integer(i32::from_le_bytes(bytes.try_into().ok()?).into()),
            Statistics::Int64(_) => Value::Integer(i64::from_le_bytes(bytes.try_into().ok()?)),
            Statistics::Boolean(_) => Value::Boolean(bytes != [0]),
            _ => Value::Bytes(bytes.to_vec()),
        })
    };
    Stated {
        nulls: statistics.null_count_opt(),
        least: value(statistics.min_bytes_opt()),
        greatest: value(statistics.max_bytes_opt()),
        least_is_exact: statistics.min_is_exact(),
        greatest_is_exact: statistics.max_is_exact(),
    }
}

/// What the index says of a page; none if it says nothing of it.
fn stated_of_page(index: &ColumnIndexMetaData, page: usize) -> Option<Stated> {
    let of = |index: &ColumnIndex, least: Option<Value>, greatest: Option<Value>| Stated {
        nulls: index.null_count(page).and_then(|nulls| u64::try_from(nulls).ok()),
        least,
        greatest,
        ..Stated::default()
    };
    if u64::try_from(page).ok()? >= index.num_pages() {
        return None;
    }
    match index {
        ColumnIndexMetaData::BOOLEAN(index) => {
            Some(of(index, index.min_value(page).copied().map(Value::Boolean), index.max_value(page).copied().map(Value::Boolean)))
        }
        ColumnIndexMetaData::INT32(index) => {
            let value = |value: Option<&i32>| value.map(|value| Value::Integer((*value).into()));
            Some(of(index, value(index.min_value(page)), value(index.max_value(page))))
        }
        ColumnIndexMetaData::INT64(index) => {
            let value = |value: Option<&i64>| value.map(|value| Value::Integer(*value));
            Some(of(index, value(index.min_value(page)), value(index.max_value(page))))
        }
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            let value = |value: Option<&[u8]>| value.map(|value| Value::Bytes(value.to_vec()));
            Some(of(index, value(index.min_value(page)), value(index.max_value(page))))
        }
        _ => None,
    }
}
