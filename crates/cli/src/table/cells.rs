//! The text of single values.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Text as Arrow gives it, but errors are errors and not text.
const FORMAT: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

/// Null in a table for people, where an empty text is blank.
pub(super) const NULL: &str = "∅";

/// The values of a batch as text.
pub struct Cells<'a>(Vec<Column<'a>>);

struct Column<'a> {
    array: &'a ArrayRef,
    text: Text<'a>,
}

enum Text<'a> {
    Plain(ArrayFormatter<'a>),
    /// JSON: the one notation for nested values that another program can read back.
    Nested(NullableEncoder<'a>),
}

impl<'a> Cells<'a> {
    /// The values of `batch`, whose `fields` are given beside it because encoders borrow them.
    pub fn new(batch: &'a RecordBatch, fields: &'a [FieldRef], options: &'a EncoderOptions) -> Result<Self, ArrowError> {
        let column = |(array, field): (&'a ArrayRef, &'a FieldRef)| {
            let text = if array.data_type().is_nested() {
                Text::Nested(make_encoder(field, array.as_ref(), options)?)
            } else {
                Text::Plain(ArrayFormatter::try_new(array.as_ref(), &FORMAT)?)
            };
            Ok(Column { array, text })
        };
        Ok(Self(batch.columns().iter().zip(fields).map(column).collect::<Result<_, ArrowError>>()?))
    }

    /// Nulls inside nested values are written, so that every row has the same keys.
    pub fn options() -> EncoderOptions {
        EncoderOptions::default().with_explicit_nulls(true)
    }

    /// Gives the text of each value of a row to `take`; `None` is null.
    pub fn row(&mut self, row: usize, mut take: impl FnMut(usize, Option<&str>)) -> Result<(), ArrowError> {
        let mut text = String::new();
        let mut json = Vec::new();
        for (index, column) in self.0.iter_mut().enumerate() {
            if column.array.is_null(row) {
                take(index, None);
                continue;
            }
            match &mut column.text {
                Text::Plain(formatter) => {
                    text.clear();
                    let cannot = |_| ArrowError::CastError(format!("a value of column {index} in row {row} has no text"));
                    write!(text, "{}", formatter.value(row)).map_err(cannot)?;
                    take(index, Some(&text));
                }
                Text::Nested(encoder) => {
                    json.clear();
                    encoder.encode(row, &mut json);
                    take(index, Some(&String::from_utf8_lossy(&json)));
                }
            }
        }
        Ok(())
    }
}
