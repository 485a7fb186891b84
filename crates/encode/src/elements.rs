//! How many elements lists and maps have, counted from rows as they are read: for whoever checks what [`FileEncoder`](crate::FileEncoder) has counted.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

/// The elements of each list and map over some batches.
#[derive(Debug, Default)]
pub struct ElementCounts {
    counts: BTreeMap<String, u64>,
}

impl ElementCounts {
    /// Takes the next rows.
    pub fn take(&mut self, batch: &RecordBatch) {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            self.count(field.name(), column.as_ref(), None);
        }
    }

    /// The sums, by the names that lead to a list, joined by dots.
    #[must_use]
    pub fn finish(self) -> BTreeMap<String, u64> {
        self.counts
    }

    /// Counts what lies in a column, of which only the values at `shown` are there if that is given.
    fn count(&mut self, path: &str, column: &dyn Array, shown: Option<&[usize]>) {
        match column.data_type() {
            DataType::Struct(fields) => {
                let structs = column.as_struct();
                let shown = there(structs.len(), structs.nulls(), shown);
                for (field, column) in fields.iter().zip(structs.columns()) {
                    self.count(&format!("{path}.{}", field.name()), column.as_ref(), Some(&shown));
                }
            }
            DataType::List(element) => {
                let list = column.as_list::<i32>();
                let elements = self.count_elements(path, there(list.len(), list.nulls(), shown), list.offsets());
                // A struct in a list has no name of its own.
                match element.data_type() {
                    DataType::Struct(_) => self.count(path, list.values().as_ref(), Some(&elements)),
                    DataType::List(_) | DataType::Map(..) => {
                        self.count(&format!("{path}.{}", element.name()), list.values().as_ref(), Some(&elements));
                    }
                    _ => {}
                }
            }
            DataType::Map(..) => {
                let map = column.as_map();
                let entries = self.count_elements(path, there(map.len(), map.nulls(), shown), map.offsets());
                self.count(path, map.entries(), Some(&entries));
            }
            _ => {}
        }
    }

    /// Counts the elements of these lists, and says which they are.
    fn count_elements(&mut self, path: &str, lists: Vec<usize>, offsets: &OffsetBuffer<i32>) -> Vec<usize> {
        let offset = |index: usize| offsets.get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        let elements: Vec<usize> = lists.into_iter().flat_map(|list| offset(list)..offset(list + 1)).collect();
        *self.counts.entry(path.to_owned()).or_default() += elements.len() as u64;
        elements
    }
}

/// The positions at which there is a value.
fn there(len: usize, nulls: Option<&NullBuffer>, shown: Option<&[usize]>) -> Vec<usize> {
    let is_there = |index: &usize| nulls.is_none_or(|nulls| nulls.is_valid(*index));
    match shown {
        Some(shown) => shown.iter().copied().filter(is_there).collect(),
        None => (0..len).filter(is_there).collect(),
    }
}
