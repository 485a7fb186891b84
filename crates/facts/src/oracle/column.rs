//! The row's side of a comparison: columns by name, values as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, Int32Array, StructArray};
use arrow::datatypes::Int32Type;
use arrow::util::display::array_value_to_string;

/// A unit's own row, its lists, and what `dis` says about instructions without there being a column for it.
pub(super) struct Lists {
    unit: StructArray,
    tables: BTreeMap<&'static str, StructArray>,
    derived: BTreeMap<&'static str, ArrayRef>,
}

/// A column, perhaps within structs.
pub(super) struct Column {
    parents: Vec<StructArray>,
    values: ArrayRef,
    /// Whether a null says that the value was not derived, and so differs from nothing.
    pub(super) null_is_unknown: bool,
}

impl Lists {
    pub(super) fn new(unit: StructArray) -> Self {
        let list = |name| {
            let list = unit.column_by_name(name)?.as_list_opt::<i32>()?;
            (list.len() == 1).then(|| list.value(0).as_struct_opt().cloned())?
        };
        let names = ["consts", "line_table", "exception_table", "instructions"];
        let tables: BTreeMap<_, _> = names.into_iter().filter_map(|name| Some((name, list(name)?))).collect();
        let derived = tables.get("instructions").and_then(stack_effects).unwrap_or_default();
        Self { unit, tables, derived }
    }

    /// The rows of a table; the empty name is the unit itself.
    pub(super) fn table(&self, name: &str) -> Option<&StructArray> {
        if name.is_empty() { Some(&self.unit) } else { self.tables.get(name) }
    }

    /// A column of a table by its name, in which a dot leads into a struct.
    pub(super) fn column(&self, table: &str, name: &str) -> Option<Column> {
        if let Some(values) = self.derived.get(name).filter(|_| table == "instructions") {
            return Some(Column { parents: Vec::new(), values: Arc::clone(values), null_is_unknown: true });
        }
        let mut parents = Vec::new();
        let mut record = self.table(table)?;
        let mut names = name.split('.').peekable();
        loop {
            let values = record.column_by_name(names.next()?)?;
            if names.peek().is_none() {
                return Some(Column { parents, values: Arc::clone(values), null_is_unknown: false });
            }
            record = values.as_struct_opt()?;
            parents.push(record.clone());
        }
    }
}

impl Column {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values, and the row of the one meant: none where it, or a struct that it is in, is null.
    pub(super) fn value(&self, row: usize) -> Option<(&dyn Array, usize)> {
        let is_null = self.parents.iter().any(|parent| parent.is_null(row)) || self.values.is_null(row);
        (!is_null).then_some((self.values.as_ref(), row))
    }
}

/// A value for a message; none is `null`.
pub(super) fn show(value: Option<(&dyn Array, usize)>) -> String {
    let Some((values, row)) = value else { return "null".to_owned() };
    match values.as_string_opt::<i32>() {
        Some(texts) => format!("{:?}", texts.value(row)),
        None => array_value_to_string(values, row).unwrap_or_else(|error| error.to_string()),
    }
}

/// What each instruction does to the depth of the stack when it goes on, and when it jumps: null where it was not derived, or
/// where nothing comes by.
fn stack_effects(instructions: &StructArray) -> Option<BTreeMap<&'static str, ArrayRef>> {
    let numbers = |name| instructions.column_by_name(name)?.as_primitive_opt::<Int32Type>();
    let (pops, pushes) = (numbers("pops")?, numbers("pushes")?);
    let (offset, target, depth) = (numbers("offset")?, numbers("jump_target")?, numbers("stack_depth_before")?);
    let rows = 0..instructions.len();
    let goes_on: Int32Array = rows.clone().map(|row| Some(at(pushes, row)? - at(pops, row)?)).collect();
    let jumps: Int32Array = rows
        .map(|row| {
            let landing = offset.values().binary_search(&at(target, row)?).ok()?;
            Some(at(depth, landing)? - at(depth, row)?)
        })
        .collect();
    Some(BTreeMap::from([("stack_effect", Arc::new(goes_on) as ArrayRef), ("stack_effect_jump", Arc::new(jumps))]))
}

/// The value at `row`, unless it is null or there is no such row.
pub(super) fn at(values: &Int32Array, row: usize) -> Option<i32> {
    (row < values.len() && values.is_valid(row)).then(|| values.value(row))
}
