//! A flat table said in SQL over the nested one: for sessions that have no flat tables, and to judge these by.

use std::fmt::Write as _;

use super::{FlatColumn, FlatTable};
use crate::schema::TABLE;

impl FlatTable {
    /// A SELECT of some of the table's columns over the nested table, which unnests level by level. It has the rows of the flat table and reads
    /// everything that lies in the outermost list.
    pub fn unnested(&self, columns: &[&FlatColumn]) -> String {
        let mut from = TABLE.to_owned();
        for (level, list) in self.path.iter().enumerate() {
            let list = match self.is_map && level + 1 == self.path.len() {
                true => format!("map_entries({})", element(level, &[list])),
                false => element(level, &[list]),
            };
            let mut select = String::new();
            for column in columns.iter().filter(|column| column.level <= level) {
                // Writing to a String cannot fail.
                let _ = match column.level == level {
                    true => write!(select, "{} AS \"{}\", ", element(level, &column.fields), column.name),
                    false => write!(select, "\"{}\", ", column.name),
                };
            }
            // Each level has a name of its own: DataFusion 55 takes two of one name for the same struct.
            from = format!("(SELECT {select}unnest({list}) AS {} FROM {from})", ELEMENTS.get(level).unwrap_or(&"r"));
        }
        let columns = columns.iter().map(|column| match column.level == self.path.len() {
            true => format!("{} AS \"{}\"", element(column.level, &column.fields), column.name),
            false => format!("\"{}\"", column.name),
        });
        format!("SELECT {} FROM {from}", columns.collect::<Vec<_>>().join(", "))
    }
}

/// What the elements of the levels are called.
const ELEMENTS: [&str; 3] = ["r1", "r2", "r3"];

/// A field of the element at a level; at level 0 of the file.
fn element(level: usize, fields: &[&str]) -> String {
    let mut path = fields.iter();
    let mut expression = match level.checked_sub(1).and_then(|outer| ELEMENTS.get(outer)) {
        Some(name) => (*name).to_owned(),
        None => path.next().map_or_else(String::new, |field| format!("\"{field}\"")),
    };
    for field in path {
        let _ = write!(expression, "['{field}']");
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::super::by_name;

    #[test]
    fn each_list_is_unnested_in_turn_and_what_is_around_it_carried_along() {
        let table = by_name("code_objects_instructions_attrs").unwrap();
        let columns: Vec<_> = ["path", "code_unit_id", "offset", "value"].iter().map(|name| table.column(name).unwrap()).collect();
        assert_eq!(
            table.unnested(&columns),
            "SELECT \"path\", \"code_unit_id\", \"offset\", r3['value'] AS \"value\" FROM (SELECT \"path\", \"code_unit_id\", r2['offset'] AS \
             \"offset\", unnest(map_entries(r2['attrs'])) AS r3 FROM (SELECT \"path\", r1['code_unit_id'] AS \"code_unit_id\", \
             unnest(r1['instructions']) AS r2 FROM (SELECT \"path\" AS \"path\", unnest(\"code_objects\") AS r1 FROM bytecode_files_v1)))"
        );
    }
}
