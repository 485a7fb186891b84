//! Types, nullability and metadata of every nested path, and the nulls that are not allowed.

use std::collections::HashMap;

use arrow::{
    array::{Array, ArrayRef, AsArray, StructArray},
    datatypes::{DataType, Field, Fields, Schema},
};

use super::{Check, Finding, Place, Tally};
use crate::schema::schema;

/// How a schema differs from the contract's in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whether a name, an order or a type differs, so that rows cannot be read; else it is nullability or metadata.
    pub structural: bool,
    /// What differs where.
    pub message: String,
}

/// How `found` differs from `expected`, at any depth.
#[must_use]
pub fn differences(expected: &Schema, found: &Schema) -> Vec<Difference> {
    let mut differences = Differences { found: Vec::new() };
    differences.metadata("the schema", expected.metadata(), found.metadata());
    differences.fields("", expected.fields(), found.fields());
    differences.found
}

struct Differences {
    found: Vec<Difference>,
}

impl Differences {
    fn note(&mut self, structural: bool, message: String) {
        self.found.push(Difference { structural, message });
    }

    fn fields(&mut self, parent: &str, expected: &Fields, found: &Fields) {
        let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        for field in expected {
            match found.iter().find(|other| other.name() == field.name()) {
                Some(other) => self.field(&path(field.name()), field, other),
                None => self.note(true, format!("{} is missing", path(field.name()))),
            }
        }
        for field in found.iter().filter(|field| expected.iter().all(|other| other.name() != field.name())) {
            self.note(true, format!("{}: {} is not of the contract", path(field.name()), field.data_type()));
        }
        let names = |fields: &Fields| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let (mut sorted, mut other) = (names(expected), names(found));
        let in_order = sorted == other;
        sorted.sort_unstable();
        other.sort_unstable();
        if !in_order && sorted == other {
            self.note(true, format!("{} has its fields in another order", if parent.is_empty() { "the table" } else { parent }));
        }
    }

    fn field(&mut self, path: &str, expected: &Field, found: &Field) {
        if expected.is_nullable() != found.is_nullable() {
            let (is, should) = if found.is_nullable() { ("nullable", "not") } else { ("not nullable", "") };
            self.note(false, format!("{path} is {is} and should {should} be").replace("  ", " "));
        }
        self.metadata(path, expected.metadata(), found.metadata());
        match (expected.data_type(), found.data_type()) {
            (DataType::Struct(expected), DataType::Struct(found)) => self.fields(path, expected, found),
            (DataType::List(expected), DataType::List(found)) => self.item(path, expected, found),
            (DataType::Map(expected, sorted), DataType::Map(found, other)) if sorted == other => self.item(path, expected, found),
            (expected, found) if expected == found => {}
            (expected, found) => self.note(true, format!("{path} is {found} and should be {expected}")),
        }
    }

    /// The field that stands for the items of a list or the entries of a map.
    fn item(&mut self, path: &str, expected: &Field, found: &Field) {
        if expected.name() != found.name() {
            self.note(false, format!("the items of {path} are named {} and should be {}", found.name(), expected.name()));
        }
        self.field(&format!("{path}.{}", expected.name()), expected, found);
    }

    fn metadata(&mut self, path: &str, expected: &HashMap<String, String>, found: &HashMap<String, String>) {
        if expected != found {
            let sorted = |metadata: &HashMap<String, String>| {
                let mut entries: Vec<_> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
                entries.sort_unstable();
                format!("[{}]", entries.join(", "))
            };
            self.note(false, format!("{path} has the metadata {} and should have {}", sorted(found), sorted(expected)));
        }
    }
}

/// Finds the nulls in columns that must have none.
pub(super) fn nulls(rows: &StructArray, tally: &mut Tally) {
    let contract = schema();
    let mut looked = 0;
    let mut faulty = false;
    walk_fields("", contract.fields(), rows, &mut |_, array, nulls| {
        looked += array as u64;
        faulty |= nulls > 0;
    });
    tally.looked(Check::RowRequired, looked);
    if !faulty {
        return;
    }
    // Row by row, to say where.
    let text = |name: &str, row: usize| {
        let texts = rows.column_by_name(name).and_then(|texts| texts.as_string_opt::<i32>());
        texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row).to_owned())
    };
    for row in 0..rows.len() {
        walk_fields("", contract.fields(), &rows.slice(row, 1), &mut |column, _, nulls| {
            if nulls > 0 {
                let finding = || Finding {
                    check: Check::RowRequired,
                    repo: text("repo", row),
                    path: text("path", row),
                    code_unit_id: None,
                    place: Place::Whole,
                    message: format!("{column} is null in {nulls} {}", if nulls == 1 { "place" } else { "places" }),
                };
                tally.find(Check::RowRequired, finding);
            }
        });
    }
}

/// Calls `visit` with the path, the number of values and the number of nulls of every column below that must have none.
fn walk_fields(parent: &str, expected: &Fields, rows: &StructArray, visit: &mut dyn FnMut(&str, usize, usize)) {
    for field in expected {
        let Some(column) = rows.column_by_name(field.name()) else { continue };
        let path = if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
        // A field of a struct that is null itself is not there.
        let here = match rows.nulls().filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => keep_valid(column, nulls),
            None => column.clone(),
        };
        walk(&path, field, &here, visit);
    }
}

fn walk(path: &str, expected: &Field, column: &ArrayRef, visit: &mut dyn FnMut(&str, usize, usize)) {
    if !expected.is_nullable() {
        visit(path, column.len(), column.null_count());
    }
    match expected.data_type() {
        DataType::Struct(fields) => {
            if let Some(rows) = column.as_struct_opt() {
                walk_fields(path, fields, rows, visit);
            }
        }
        DataType::List(item) => {
            if let Some(list) = column.as_list_opt::<i32>() {
                walk(path, item, &used(list.values(), list.value_offsets()), visit);
            }
        }
        DataType::Map(entries, _) => {
            if let Some(map) = column.as_map_opt() {
                let items: ArrayRef = std::sync::Arc::new(map.entries().clone());
                walk(path, entries, &used(&items, map.value_offsets()), visit);
            }
        }
        _ => {}
    }
}

/// The items that lists use.
fn used(items: &ArrayRef, offsets: &[i32]) -> ArrayRef {
    let at = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0).min(items.len());
    let (start, end) = (at(offsets.first()), at(offsets.last()));
    items.slice(start, end.saturating_sub(start))
}

/// The values where the struct around them is not null.
fn keep_valid(column: &ArrayRef, nulls: &arrow::buffer::NullBuffer) -> ArrayRef {
    let valid = arrow::array::BooleanArray::new(nulls.inner().clone(), None);
    // The two are of one length, so that this cannot fail.
    arrow::compute::filter(column.as_ref(), &valid).unwrap_or_else(|_| column.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn messages(found: &Schema) -> Vec<(bool, String)> {
        differences(&schema(), found).into_iter().map(|difference| (difference.structural, difference.message)).collect()
    }

    /// The contract's schema with a field changed, wherever it is.
    fn with(path: &[&str], change: &dyn Fn(&Field) -> Vec<Field>) -> Schema {
        fn fields(fields: &Fields, path: &[&str], change: &dyn Fn(&Field) -> Vec<Field>) -> Fields {
            let [name, rest @ ..] = path else { return fields.clone() };
            let changed = fields.iter().flat_map(|field| match field.name() == name {
                true if rest.is_empty() => change(field),
                true => vec![field.as_ref().clone().with_data_type(nested(field.data_type(), rest, change))],
                false => vec![field.as_ref().clone()],
            });
            changed.collect()
        }
        fn nested(data_type: &DataType, path: &[&str], change: &dyn Fn(&Field) -> Vec<Field>) -> DataType {
            match data_type {
                DataType::Struct(inner) => DataType::Struct(fields(inner, path, change)),
                DataType::List(item) => {
                    DataType::List(Arc::new(item.as_ref().clone().with_data_type(nested(item.data_type(), path, change))))
                }
                other => other.clone(),
            }
        }
        let contract = schema();
        Schema::new_with_metadata(fields(contract.fields(), path, change), contract.metadata().clone())
    }

    #[test]
    fn the_contract_does_not_differ_from_itself() {
        assert_eq!(messages(&schema()), []);
    }

    #[test]
    fn a_nested_type_is_named_by_its_path() {
        let long = |field: &Field| vec![field.clone().with_data_type(DataType::Int64)];
        let found = messages(&with(&["code_objects", "blocks", "start_offset"], &long));
        assert_eq!(found, [(true, "code_objects.element.blocks.element.start_offset is Int64 and should be Int32".to_owned())]);
    }

    #[test]
    fn columns_missing_and_added_and_moved_are_structural() {
        let none = |_: &Field| Vec::new();
        assert_eq!(messages(&with(&["source_bytes"], &none)), [(true, "source_bytes is missing".to_owned())]);
        let twice = |field: &Field| vec![field.clone(), Field::new("other", DataType::Utf8, true)];
        assert_eq!(messages(&with(&["path"], &twice)), [(true, "other: Utf8 is not of the contract".to_owned())]);
        let contract = schema();
        let reversed: Fields = contract.fields().iter().rev().cloned().collect();
        let found = messages(&Schema::new_with_metadata(reversed, contract.metadata().clone()));
        assert_eq!(found, [(true, "the table has its fields in another order".to_owned())]);
    }

    #[test]
    fn nullability_and_metadata_can_be_read_over() {
        let nullable = |field: &Field| vec![field.clone().with_nullable(true)];
        assert_eq!(messages(&with(&["path"], &nullable)), [(false, "path is nullable and should not be".to_owned())]);
        let found = messages(&Schema::new(schema().fields().clone()));
        assert!(!found[0].0 && found[0].1.starts_with("the schema has the metadata []"), "{found:?}");
    }
}
