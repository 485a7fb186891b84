//! The judge's side of a comparison: a frame of JSON, compared while it is read.

use std::borrow::Cow;
use std::fmt;

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::column::{Column, show};
use super::{Comparison, Spot, count};

/// A frame: tables by name.
pub(super) struct FrameVisitor<'a> {
    pub(super) comparison: &'a mut Comparison,
}

impl<'de> Visitor<'de> for FrameVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tables by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut tables: A) -> Result<(), A::Error> {
        while let Some(name) = tables.next_key::<Cow<'de, str>>()? {
            let table = match name.as_ref() {
                "unit" => {
                    self.comparison.open_unit();
                    ""
                }
                "consts" => "consts",
                "line_table" => "line_table",
                "exception_table" => "exception_table",
                "instructions" => "instructions",
                _ => return Err(A::Error::custom(format!("there is no table {name}"))),
            };
            tables.next_value_seed(Table { comparison: self.comparison, table })?;
        }
        Ok(())
    }
}

/// Rows of one table: columns by name.
struct Table<'a> {
    comparison: &'a mut Comparison,
    table: &'static str,
}

impl<'de> DeserializeSeed<'de> for Table<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("columns by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut columns: A) -> Result<(), A::Error> {
        let Self { comparison, table } = self;
        // Of a unit that our row does not have, it is enough to know that there is one.
        let Some(unit) = &mut comparison.unit else {
            while columns.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let start = if table == "instructions" { unit.instructions } else { 0 };
        let mut rows = 0;
        let mut differences = Vec::new();
        while let Some(name) = columns.next_key::<Cow<'de, str>>()? {
            let column = unit.lists.column(table, &name).ok_or_else(|| A::Error::custom(format!("there is no column {table}.{name}")))?;
            let mut note = |row, ours: String, cpython: String| differences.push((row, name.to_string(), ours, cpython));
            rows = columns.next_value_seed(Cells { column: &column, start, note: &mut note })?;
        }
        // By row, as one would look for what is wrong.
        differences.sort_by_key(|(row, ..)| *row);
        for (row, column, ours, cpython) in &differences {
            let place = Spot { table, column, row: *row };
            comparison.findings.note(unit.id.as_deref(), &unit.attrs(place), place, ours, cpython);
        }
        if table == "instructions" {
            unit.instructions += rows;
        } else if !table.is_empty() {
            let ours = unit.lists.table(table).map_or(0, Array::len);
            if ours != rows {
                let place = Spot { table: "", column: table, row: 0 };
                comparison.findings.note(unit.id.as_deref(), &[], place, &count(ours), &count(rows));
            }
        }
        Ok(())
    }
}

/// The values of one column, from row `start` on. Gives how many there are.
struct Cells<'a> {
    column: &'a Column,
    start: usize,
    note: &'a mut dyn FnMut(usize, String, String),
}

impl<'de> DeserializeSeed<'de> for Cells<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Cells<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the values of a column")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<usize, A::Error> {
        let Self { column, start, note } = self;
        let mut rows = 0;
        // Rows that we do not have are counted, and reported as a number by the table.
        while let Some(row) = Some(start + rows).filter(|row| *row < column.len()) {
            let ours = column.value(row);
            let Some(cpython) = values.next_element_seed(Cell { ours })? else { return Ok(rows) };
            if let Some(cpython) = cpython
                && !(column.null_is_unknown && ours.is_none())
            {
                note(row, show(ours), cpython);
            }
            rows += 1;
        }
        while values.next_element::<IgnoredAny>()?.is_some() {
            rows += 1;
        }
        Ok(rows)
    }
}

/// One value. Gives CPython's as text if it is another than ours.
struct Cell<'a> {
    ours: Option<(&'a dyn Array, usize)>,
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.ours.is_some().then(|| "null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        let ours = self.ours.and_then(|(values, row)| Some(values.as_boolean_opt()?.value(row)));
        Ok((ours != Some(value)).then(|| value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let ours = self.ours.and_then(|(values, row)| match values.data_type() {
            DataType::Int32 => Some(values.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Some(values.as_primitive::<Int64Type>().value(row)),
            _ => None,
        });
        Ok((ours != Some(value)).then(|| value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(Some(value.to_string())),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        let ours = self.ours.and_then(|(values, row)| Some(values.as_string_opt::<i32>()?.value(row)));
        Ok((ours != Some(value)).then(|| format!("{value:?}")))
    }

    /// A list of values, or the fields of a struct in order.
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut differs = None;
        let mut count = 0;
        loop {
            let ours = self.ours.and_then(|(values, row)| element(values, row, count));
            let expected = ours.is_some();
            let cell = Cell { ours: ours.as_ref().and_then(|(values, row)| values.is_valid(*row).then_some((values.as_ref(), *row))) };
            let Some(cpython) = elements.next_element_seed(cell)? else { break };
            if differs.is_none() && (cpython.is_some() || !expected) {
                differs = Some(format!("{} as element {count}", cpython.unwrap_or_else(|| "null".to_owned())));
            }
            count += 1;
        }
        let ours = self.ours.map(|(values, row)| elements_of(values, row));
        Ok(if ours == Some(count) { differs } else { Some(format!("{count} elements")) })
    }
}

/// An element of the list, or a field of the struct, at `row`.
fn element(values: &dyn Array, row: usize, nth: usize) -> Option<(arrow::array::ArrayRef, usize)> {
    if let Some(lists) = values.as_list_opt::<i32>() {
        return (nth < lists.value_length(row).cast_unsigned() as usize).then(|| (lists.value(row), nth));
    }
    values.as_struct_opt()?.columns().get(nth).map(|column| (column.clone(), row))
}

fn elements_of(values: &dyn Array, row: usize) -> usize {
    match values.as_list_opt::<i32>() {
        Some(lists) => lists.value_length(row).cast_unsigned() as usize,
        None => values.as_struct_opt().map_or(0, |record| record.num_columns()),
    }
}
