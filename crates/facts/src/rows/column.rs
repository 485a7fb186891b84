//! Column builders made for millions of values: flat vectors, offsets, and nulls marked only once there is one. Nothing is allocated per value, and every builder can be cut back, which undoes a row that grew too large.

use std::{mem, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, DictionaryArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray},
    buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{ArrowPrimitiveType, DataType, Field, Fields, Int32Type, Int64Type},
    error::ArrowError,
};

/// A column under construction.
pub(crate) trait Column: Default {
    /// The number of values.
    fn len(&self) -> usize;
    /// Appends a null (to a list, an empty list).
    fn push_null(&mut self);
    /// Cuts back to the first `len` values.
    fn truncate(&mut self, len: usize);
    /// The size of the values in bytes.
    fn bytes(&self) -> usize;
    /// The array of all values; leaves an empty builder with room for as many.
    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError>;
    /// The type of a coded batch for a column that is of that type in a plain one.
    fn coded(data_type: &DataType) -> DataType {
        data_type.clone()
    }
}

/// Which values are not null, as far as the last that is said to be null or not; those after it are not. So a column without
/// nulls costs nothing here.
#[derive(Default)]
pub(crate) struct Validity(Vec<bool>);

impl Validity {
    /// After a placeholder was appended as value number `len - 1`.
    pub(crate) fn null(&mut self, len: usize) {
        self.0.resize(len - 1, true);
        self.0.push(false);
    }

    /// After values were appended to `len` others.
    pub(crate) fn extend(&mut self, len: usize, values: impl Iterator<Item = bool>) {
        self.0.resize(len, true);
        self.0.extend(values);
    }

    fn is_null(&self, index: usize) -> bool {
        self.0.get(index) == Some(&false)
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len().div_ceil(8)
    }

    /// The nulls among `len` values.
    pub(crate) fn finish(&mut self, len: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut valid = take_vec(&mut self.0);
        valid.resize(len, true);
        Some(NullBuffer::new(bits(&valid))).filter(|nulls| nulls.null_count() > 0)
    }
}

/// `Int32` or `Int64`.
pub(crate) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
}

/// `Int32`.
pub(crate) type Int32s = Numbers<Int32Type>;
/// `Int64`.
pub(crate) type Int64s = Numbers<Int64Type>;

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self { values: Vec::new(), validity: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(crate) fn push(&mut self, value: T::Native) {
        self.values.push(value);
    }

    /// Appends values, of which none is null.
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = T::Native>) {
        self.values.extend(values);
    }

    /// Appends a value so many times.
    pub(crate) fn repeat(&mut self, value: Option<T::Native>, count: usize) {
        if value.is_none() {
            self.validity.extend(self.values.len(), std::iter::repeat_n(false, count));
        }
        self.values.resize(self.values.len() + count, value.unwrap_or_default());
    }

    /// Appends values.
    pub(crate) fn extend_optional(&mut self, values: impl Iterator<Item = Option<T::Native>> + Clone) {
        if values.clone().any(|value| value.is_none()) {
            self.validity.extend(self.values.len(), values.clone().map(|value| value.is_some()));
        }
        self.values.extend(values.map(Option::unwrap_or_default));
    }

    pub(crate) fn push_optional(&mut self, value: Option<T::Native>) {
        match value {
            Some(value) => self.push(value),
            None => self.push_null(),
        }
    }
}

impl<T: ArrowPrimitiveType> Column for Numbers<T> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.validity.null(self.values.len());
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.validity.truncate(len);
    }

    fn bytes(&self) -> usize {
        size_of::<T::Native>() * self.values.len() + self.validity.bytes()
    }

    fn finish(&mut self, _: &DataType) -> Result<ArrayRef, ArrowError> {
        let values = take_vec(&mut self.values);
        let nulls = self.validity.finish(values.len());
        Ok(Arc::new(PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls)?))
    }
}

/// `Boolean`.
#[derive(Default)]
pub(crate) struct Booleans {
    values: Vec<bool>,
    validity: Validity,
}

impl Booleans {
    pub(crate) fn push(&mut self, value: bool) {
        self.values.push(value);
    }

    /// Appends values, of which none is null.
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = bool>) {
        self.values.extend(values);
    }
}

impl Column for Booleans {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn push_null(&mut self) {
        self.values.push(false);
        self.validity.null(self.values.len());
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.validity.truncate(len);
    }

    fn bytes(&self) -> usize {
        self.values.len().div_ceil(8) + self.validity.bytes()
    }

    fn finish(&mut self, _: &DataType) -> Result<ArrayRef, ArrowError> {
        let values = take_vec(&mut self.values);
        let nulls = self.validity.finish(values.len());
        Ok(Arc::new(BooleanArray::new(bits(&values), nulls)))
    }
}

/// Where the values of a variable-length column end, behind a leading zero.
struct Offsets(Vec<i32>);

impl Default for Offsets {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Offsets {
    fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// The builder refuses more than fits an `i32` long before; were it to happen, [`Offsets::finish`] fails.
    fn close(&mut self, end: usize) {
        self.0.push(i32::try_from(end).unwrap_or(Self::BEYOND));
    }

    /// In the place of an end that no offset can say.
    const BEYOND: i32 = -1;

    /// Cuts back and tells how much of the child is left.
    fn truncate(&mut self, len: usize) -> usize {
        self.0.truncate(len + 1);
        self.0.last().map_or(0, |end| usize::try_from(*end).unwrap_or(usize::MAX))
    }

    fn bytes(&self) -> usize {
        size_of::<i32>() * self.0.len()
    }

    fn finish(&mut self) -> Result<OffsetBuffer<i32>, ArrowError> {
        let offsets = take_vec(&mut self.0);
        self.0.push(0);
        if let Some(at) = offsets.iter().position(|end| *end == Self::BEYOND) {
            return Err(ArrowError::OffsetOverflowError(at));
        }
        Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
    }
}

/// `Utf8`.
#[derive(Default)]
pub(crate) struct Texts {
    offsets: Offsets,
    text: String,
    validity: Validity,
}

impl Texts {
    pub(crate) fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.close();
    }

    pub(crate) fn push_optional(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.push(value),
            None => self.push_null(),
        }
    }

    /// Where the next value may be written piece by piece; [`Texts::close`] ends it.
    pub(crate) fn open(&mut self) -> &mut String {
        &mut self.text
    }

    /// Ends the value begun with [`Texts::open`].
    pub(crate) fn close(&mut self) {
        self.offsets.close(self.text.len());
    }

    /// The value at a position; none if there is no such position.
    fn get(&self, position: i32) -> Option<&str> {
        let position = usize::try_from(position).ok()?;
        let (start, end) = self.offsets.0.get(position).zip(self.offsets.0.get(position + 1))?;
        self.text.get(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
    }

    /// The size of all texts in bytes.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }
}

impl Column for Texts {
    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn push_null(&mut self) {
        self.offsets.close(self.text.len());
        self.validity.null(self.offsets.len());
    }

    fn truncate(&mut self, len: usize) {
        let text_len = self.offsets.truncate(len);
        self.text.truncate(text_len);
        self.validity.truncate(len);
    }

    fn bytes(&self) -> usize {
        self.offsets.bytes() + self.text.len() + self.validity.bytes()
    }

    fn finish(&mut self, _: &DataType) -> Result<ArrayRef, ArrowError> {
        let room = String::with_capacity(self.text.len());
        let text = mem::replace(&mut self.text, room);
        let offsets = self.offsets.finish()?;
        let nulls = self.validity.finish(offsets.len() - 1);
        Ok(Arc::new(StringArray::try_new(offsets, text.into_bytes().into(), nulls)?))
    }
}

/// `Utf8` of few distinct values, which the caller numbers: each is kept once. A coded batch has them as a dictionary.
#[derive(Default)]
pub(crate) struct Names {
    codes: Vec<i32>,
    validity: Validity,
    /// The code of each number that has been seen, plus one.
    seen: Vec<i32>,
    values: Texts,
    /// What the values take as texts.
    text_len: usize,
}

/// Numbers from here on are not remembered, so that what they number is kept as often as it comes.
const MAX_NAMES: usize = 4096;

impl Names {
    /// Appends a text; equal numbers mean equal texts.
    pub(crate) fn push(&mut self, number: usize, text: &str) {
        let code = match self.seen.get(number) {
            Some(&seen) if seen > 0 => seen - 1,
            _ => self.add(number, text),
        };
        self.codes.push(code);
        self.text_len += text.len();
    }

    #[cold]
    fn add(&mut self, number: usize, text: &str) -> i32 {
        self.values.push(text);
        // There are not more than values, whose number fits; were it to happen, there is no such value.
        let next = i32::try_from(self.values.len()).unwrap_or(Offsets::BEYOND);
        if number < MAX_NAMES {
            self.seen.resize(self.seen.len().max(number + 1), 0);
            if let Some(seen) = self.seen.get_mut(number) {
                *seen = next;
            }
        }
        next - 1
    }

    /// As texts.
    fn expand(&self) -> Result<Texts, ArrowError> {
        let mut texts = Texts { text: String::with_capacity(self.text_len), ..Texts::default() };
        for (index, code) in self.codes.iter().enumerate() {
            if self.validity.is_null(index) {
                texts.push_null();
            } else {
                let value = self.values.get(*code);
                texts.push(value.ok_or_else(|| ArrowError::InvalidArgumentError(format!("there is no name of number {code}")))?);
            }
        }
        Ok(texts)
    }
}

impl Column for Names {
    fn len(&self) -> usize {
        self.codes.len()
    }

    fn push_null(&mut self) {
        self.codes.push(0);
        self.validity.null(self.codes.len());
    }

    fn truncate(&mut self, len: usize) {
        let cut = self.codes.iter().enumerate().skip(len).filter(|(index, _)| !self.validity.is_null(*index));
        self.text_len -= cut.filter_map(|(_, code)| self.values.get(*code)).map(str::len).sum::<usize>();
        self.codes.truncate(len);
        self.validity.truncate(len);
    }

    /// That of texts, which a plain batch has; and it must not depend on what else is in the batch.
    fn bytes(&self) -> usize {
        size_of::<i32>() * (self.codes.len() + 1) + self.text_len + self.validity.bytes()
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        if *data_type == DataType::Utf8 {
            let array = self.expand()?.finish(data_type);
            *self = Self::default();
            return array;
        }
        let codes = take_vec(&mut self.codes);
        let nulls = self.validity.finish(codes.len());
        let values = self.values.finish(&DataType::Utf8)?;
        self.seen.clear();
        self.text_len = 0;
        Ok(Arc::new(DictionaryArray::try_new(PrimitiveArray::<Int32Type>::try_new(codes.into(), nulls)?, values)?))
    }

    fn coded(_: &DataType) -> DataType {
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    }
}

/// A list: values go to `items`, then [`List::close`] ends the list.
#[derive(Default)]
pub(crate) struct List<C> {
    offsets: Offsets,
    pub(crate) items: C,
}

impl<C: Column> List<C> {
    pub(crate) fn close(&mut self) {
        self.offsets.close(self.items.len());
    }
}

impl<C: Column> Column for List<C> {
    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn push_null(&mut self) {
        self.close();
    }

    fn truncate(&mut self, len: usize) {
        let items = self.offsets.truncate(len);
        self.items.truncate(items);
    }

    fn bytes(&self) -> usize {
        self.offsets.bytes() + self.items.bytes()
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let DataType::List(element) = data_type else { return Err(mismatch("list", data_type)) };
        let items = self.items.finish(element.data_type())?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(element), self.offsets.finish()?, items, None)?))
    }

    fn coded(data_type: &DataType) -> DataType {
        match data_type {
            DataType::List(element) => DataType::List(Arc::new(coded_field::<C>(element))),
            other => other.clone(),
        }
    }
}

/// `Map<Utf8, Utf8>`: entries, then [`Map::close`].
#[derive(Default)]
pub(crate) struct Map<C = Texts> {
    offsets: Offsets,
    pub(crate) keys: C,
    pub(crate) values: C,
}

impl Map {
    pub(crate) fn entry(&mut self, key: &str, value: &str) {
        self.keys.push(key);
        self.values.push(value);
    }

    /// An entry whose value is written to the text returned; [`Map::close_entry`] ends it.
    pub(crate) fn open_entry(&mut self, key: &str) -> &mut String {
        self.keys.push(key);
        self.values.open()
    }

    pub(crate) fn close_entry(&mut self) {
        self.values.close();
    }
}

impl<C: Column> Map<C> {
    pub(crate) fn close(&mut self) {
        self.offsets.close(self.keys.len());
    }
}

impl<C: Column> Column for Map<C> {
    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn push_null(&mut self) {
        self.close();
    }

    fn truncate(&mut self, len: usize) {
        let entries = self.offsets.truncate(len);
        self.keys.truncate(entries);
        self.values.truncate(entries);
    }

    fn bytes(&self) -> usize {
        self.offsets.bytes() + self.keys.bytes() + self.values.bytes()
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let DataType::Map(entries, sorted) = data_type else { return Err(mismatch("map", data_type)) };
        let fields = fields(entries.data_type())?;
        let [key, value] = fields.as_ref() else { return Err(mismatch("map", data_type)) };
        let arrays = vec![self.keys.finish(key.data_type())?, self.values.finish(value.data_type())?];
        let structs = StructArray::try_new(fields.clone(), arrays, None)?;
        Ok(Arc::new(MapArray::try_new(Arc::clone(entries), self.offsets.finish()?, structs, None, *sorted)?))
    }

    fn coded(data_type: &DataType) -> DataType {
        let DataType::Map(entries, sorted) = data_type else { return data_type.clone() };
        let DataType::Struct(fields) = entries.data_type() else { return data_type.clone() };
        let fields = fields.iter().map(|field| coded_field::<C>(field)).collect();
        DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(fields))), *sorted)
    }
}

/// Defines a struct column whose fields are columns, in the order of the schema's record.
macro_rules! record {
    ($(#[$attribute:meta])* $name:ident { $($column:ident: $type:ty),* $(,)? }) => {
        $(#[$attribute])*
        #[derive(Default)]
        pub(crate) struct $name {
            validity: $crate::rows::column::Validity,
            $(pub(crate) $column: $type,)*
        }

        impl $name {
            /// The columns' names, which a test compares with the schema.
            #[cfg(test)]
            #[allow(dead_code, reason = "a test's own record is compared with nothing")]
            pub(crate) const COLUMNS: &[&str] = &[$(stringify!($column)),*];

            /// The columns as arrays.
            pub(crate) fn finish_columns(
                &mut self,
                fields: &arrow::datatypes::Fields,
            ) -> Result<Vec<arrow::array::ArrayRef>, arrow::error::ArrowError> {
                let mut types = fields.iter().map(|field| field.data_type());
                let mut next = || types.next().unwrap_or(&arrow::datatypes::DataType::Null);
                Ok(vec![$($crate::rows::column::Column::finish(&mut self.$column, next())?),*])
            }
        }

        impl $crate::rows::column::Column for $name {
            fn len(&self) -> usize {
                let lens = [$($crate::rows::column::Column::len(&self.$column)),*];
                debug_assert!(lens.iter().all(|len| *len == lens[0]), "columns of unequal length: {lens:?}");
                lens[0]
            }

            fn push_null(&mut self) {
                $($crate::rows::column::Column::push_null(&mut self.$column);)*
                self.validity.null($crate::rows::column::Column::len(self));
            }

            fn truncate(&mut self, len: usize) {
                $($crate::rows::column::Column::truncate(&mut self.$column, len);)*
                self.validity.truncate(len);
            }

            fn bytes(&self) -> usize {
                self.validity.bytes() $(+ $crate::rows::column::Column::bytes(&self.$column))*
            }

            fn finish(
                &mut self,
                data_type: &arrow::datatypes::DataType,
            ) -> Result<arrow::array::ArrayRef, arrow::error::ArrowError> {
                let fields = $crate::rows::column::fields(data_type)?;
                let nulls = self.validity.finish($crate::rows::column::Column::len(self));
                let arrays = self.finish_columns(fields)?;
                let array = arrow::array::StructArray::try_new(fields.clone(), arrays, nulls)?;
                Ok(std::sync::Arc::new(array))
            }

            fn coded(data_type: &arrow::datatypes::DataType) -> arrow::datatypes::DataType {
                let arrow::datatypes::DataType::Struct(fields) = data_type else { return data_type.clone() };
                let mut fields = fields.iter();
                let coded = [$(fields.next().map(|field| $crate::rows::column::coded_field::<$type>(field))),*];
                arrow::datatypes::DataType::Struct(coded.into_iter().flatten().collect())
            }
        }
    };
}
pub(crate) use record;

/// The field of a coded batch.
pub(crate) fn coded_field<C: Column>(field: &Field) -> Field {
    field.clone().with_data_type(C::coded(field.data_type()))
}

/// The fields of a struct type.
pub(crate) fn fields(data_type: &DataType) -> Result<&Fields, ArrowError> {
    match data_type {
        DataType::Struct(fields) => Ok(fields),
        _ => Err(mismatch("struct", data_type)),
    }
}

fn mismatch(wanted: &str, data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a {wanted} column has the type {data_type}"))
}

/// Takes the values and leaves room for as many.
fn take_vec<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    mem::replace(values, room)
}

/// Packs eight values at once; one by one, this would be felt.
fn bits(values: &[bool]) -> BooleanBuffer {
    let (eights, rest) = values.as_chunks::<8>();
    // The product puts the lowest bit of each byte into the highest byte, in order.
    let pack = |bytes: [bool; 8]| (u64::from_le_bytes(bytes.map(u8::from)).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    let mut last = [false; 8];
    last.iter_mut().zip(rest).for_each(|(last, value)| *last = *value);
    let packed: Vec<u8> = eights.iter().map(|bytes| pack(*bytes)).chain((!rest.is_empty()).then(|| pack(last))).collect();
    BooleanBuffer::new(packed.into(), 0, values.len())
}
