//! Spoils rows: changes values, repeats and drops items, wherever they are nested.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray, UInt32Array},
    buffer::OffsetBuffer,
    compute::take,
    datatypes::{DataType, Field, Fields, Int32Type, Int64Type},
};

/// How one value, or one list, becomes another.
pub enum Edit<'a> {
    /// Changes every text; the number is its position among all of its column.
    Text(&'a dyn Fn(usize, Option<&str>) -> Option<String>),
    /// Changes every 32-bit number.
    Int(&'a dyn Fn(usize, Option<i32>) -> Option<i32>),
    /// Changes every 64-bit number.
    Long(&'a dyn Fn(usize, Option<i64>) -> Option<i64>),
    /// Changes every truth value.
    Bool(&'a dyn Fn(usize, Option<bool>) -> Option<bool>),
    /// Repeats the first item of the first list that has one.
    Repeat,
    /// Drops the first item of the first list that has one.
    Drop,
}

/// Rows with the column at a dotted path edited. Where that makes nulls, the column becomes nullable.
pub fn edit(rows: &StructArray, path: &str, edit: &Edit<'_>) -> StructArray {
    let rows: ArrayRef = Arc::new(rows.clone());
    walk(&rows, &path.split('.').collect::<Vec<_>>(), edit).as_struct().clone()
}

fn walk(array: &ArrayRef, path: &[&str], edit: &Edit<'_>) -> ArrayRef {
    match array.data_type() {
        DataType::Struct(fields) if !path.is_empty() => {
            let at = fields.iter().position(|field| field.name() == path[0]).unwrap_or_else(|| panic!("there is no {path:?}"));
            let structs = array.as_struct();
            let mut columns = structs.columns().to_vec();
            columns[at] = walk(&columns[at], &path[1..], edit);
            let fields: Fields = fields.iter().zip(&columns).map(|(field, column)| renewed(field, column)).collect();
            Arc::new(StructArray::new(fields, columns, structs.nulls().cloned()))
        }
        DataType::List(item) if path.is_empty() && matches!(edit, Edit::Repeat | Edit::Drop) => reshape(array.as_list(), item, edit),
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = walk(list.values(), path, edit);
            Arc::new(ListArray::new(Arc::new(renewed(item, &values)), list.offsets().clone(), values, list.nulls().cloned()))
        }
        DataType::Map(entries, sorted) => {
            let map = array.as_map();
            let items: ArrayRef = Arc::new(map.entries().clone());
            let items = walk(&items, path, edit);
            let entries = Arc::new(renewed(entries, &items));
            Arc::new(MapArray::new(entries, map.offsets().clone(), items.as_struct().clone(), map.nulls().cloned(), *sorted))
        }
        _ => leaf(array, edit),
    }
}

fn renewed(field: &Field, column: &ArrayRef) -> Field {
    let nullable = field.is_nullable() || column.null_count() > 0;
    field.clone().with_data_type(column.data_type().clone()).with_nullable(nullable)
}

fn leaf(array: &ArrayRef, edit: &Edit<'_>) -> ArrayRef {
    match edit {
        Edit::Text(change) => {
            let values = array.as_string::<i32>().iter().enumerate().map(|(nth, value)| change(nth, value));
            Arc::new(values.collect::<StringArray>())
        }
        Edit::Int(change) => {
            let values = array.as_primitive::<Int32Type>().iter().enumerate().map(|(nth, value)| change(nth, value));
            Arc::new(values.collect::<Int32Array>())
        }
        Edit::Long(change) => {
            let values = array.as_primitive::<Int64Type>().iter().enumerate().map(|(nth, value)| change(nth, value));
            Arc::new(values.collect::<Int64Array>())
        }
        Edit::Bool(change) => {
            let values = array.as_boolean().iter().enumerate().map(|(nth, value)| change(nth, value));
            Arc::new(values.collect::<BooleanArray>())
        }
        Edit::Repeat | Edit::Drop => panic!("a list was expected, not {}", array.data_type()),
    }
}

/// A list column with one item more or less.
fn reshape(list: &ListArray, item: &Arc<Field>, edit: &Edit<'_>) -> ArrayRef {
    let of_row = |row: usize| list.value_offsets()[row] as u32..list.value_offsets()[row + 1] as u32;
    let mut done = false;
    let rows = (0..list.len()).map(|row| {
        let mut items: Vec<u32> = of_row(row).collect();
        if !items.is_empty() && !std::mem::replace(&mut done, true) {
            match edit {
                Edit::Repeat => items.insert(0, items[0]),
                Edit::Drop => drop(items.remove(0)),
                _ => panic!("a value was expected, not a list"),
            }
        }
        items
    });
    let rows: Vec<_> = rows.collect();
    let values = take(list.values(), &UInt32Array::from_iter_values(rows.iter().flatten().copied()), None).unwrap();
    Arc::new(ListArray::new(item.clone(), OffsetBuffer::from_lengths(rows.iter().map(Vec::len)), values, list.nulls().cloned()))
}
