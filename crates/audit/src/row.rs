//! Rows of `bytecode_files_v1`: the first field in which two of them differ, and their instructions side by side.

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Int32Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::difference::{Difference, FieldKind};

/// Columns that differ wherever anything does, or say how a row was made and not what is in it.
const DERIVED: [&str; 4] = ["facts_digest", "marshal_digest", "attrs", "file_sha256"];

/// The first field, in the order of the contract, in which the first rows of two batches of one schema differ; digests only where nothing else
/// does.
#[must_use]
pub fn first_difference(left: &RecordBatch, right: &RecordBatch) -> Option<Difference> {
    let (left, right) = (StructArray::from(left.clone()), StructArray::from(right.clone()));
    if left.is_empty() || right.is_empty() {
        return None;
    }
    let found = in_struct(&left, 0, &right, 0, "", &DERIVED).or_else(|| in_struct(&left, 0, &right, 0, "", &[]));
    found.map(|(field, left, right)| Difference::of_file(FieldKind::Column, &field, left, right))
}

type Found = (String, String, String);

fn in_struct(left: &StructArray, i: usize, right: &StructArray, j: usize, path: &str, skipped: &[&str]) -> Option<Found> {
    for field in left.fields() {
        if skipped.contains(&field.name().as_str()) {
            continue;
        }
        let path = if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
        match (left.column_by_name(field.name()), right.column_by_name(field.name())) {
            (Some(one), Some(other)) => {
                if let Some(found) = in_value(one.as_ref(), i, other.as_ref(), j, &path, skipped) {
                    return Some(found);
                }
            }
            _ => return Some((path, "a column".to_owned(), "none".to_owned())),
        }
    }
    None
}

fn in_value(left: &dyn Array, i: usize, right: &dyn Array, j: usize, path: &str, skipped: &[&str]) -> Option<Found> {
    if left.is_null(i) || right.is_null(j) {
        let differs = left.is_null(i) != right.is_null(j);
        return differs.then(|| (path.to_owned(), shown(left, i), shown(right, j)));
    }
    match (left.data_type(), right.data_type()) {
        (DataType::Struct(_), DataType::Struct(_)) => in_struct(left.as_struct(), i, right.as_struct(), j, path, skipped),
        (DataType::List(_), DataType::List(_)) => {
            let (one, other) = (left.as_list::<i32>().value(i), right.as_list::<i32>().value(j));
            for k in 0..one.len().min(other.len()) {
                if let Some(found) = in_value(one.as_ref(), k, other.as_ref(), k, &format!("{path}[{k}]"), skipped) {
                    return Some(found);
                }
            }
            (one.len() != other.len()).then(|| (path.to_owned(), format!("{} elements", one.len()), format!("{} elements", other.len())))
        }
        _ => {
            let (one, other) = (shown(left, i), shown(right, j));
            (one != other).then(|| (path.to_owned(), one, other))
        }
    }
}

fn shown(array: &dyn Array, index: usize) -> String {
    if array.is_null(index) {
        return "null".to_owned();
    }
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => formatter.value(index).to_string(),
        Err(error) => error.to_string(),
    }
}

/// How a line of two listings came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// The same on both sides.
    Same,
    /// Something else on each side.
    Changed,
    /// On the left alone.
    Removed,
    /// On the right alone.
    Added,
    /// So many lines that are the same are left out.
    Skipped,
}

/// A line of two listings side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How it came about.
    pub mark: Mark,
    /// What stands on the left.
    pub left: Option<String>,
    /// What stands on the right.
    pub right: Option<String>,
}

/// A code object of two rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitLines {
    /// Its qualpath.
    pub unit: String,
    /// Whether its facts differ.
    pub differs: bool,
    /// Its instructions.
    pub lines: Vec<Line>,
}

struct Unit {
    qualpath: String,
    digest: String,
    lines: Vec<(String, String)>,
}

/// The code objects of two rows that differ, instruction by instruction, with `context` lines around each change. Instructions are aligned by what
/// they do; offsets are shown and do not count.
#[must_use]
pub fn side_by_side(left: &RecordBatch, right: &RecordBatch, context: usize) -> Vec<UnitLines> {
    let (lefts, rights) = (units(left), units(right));
    let names = |units: &[Unit]| units.iter().map(|unit| unit.qualpath.clone()).collect::<Vec<_>>();
    let mut shown = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, &names(&lefts), &names(&rights)) {
        let (_, old, new) = operation.as_tag_tuple();
        let pairs = old.len().max(new.len());
        for k in 0..pairs {
            let one = old.clone().nth(k).and_then(|at| lefts.get(at));
            let other = new.clone().nth(k).and_then(|at| rights.get(at));
            // Units of other names are no pair.
            let equal = matches!(operation, DiffOp::Equal { .. });
            let sides = if equal { vec![(one, other)] } else { vec![(one, None), (None, other)] };
            for (one, other) in sides {
                let Some(unit) = one.or(other) else { continue };
                let differs = one.map(|unit| &unit.digest) != other.map(|unit| &unit.digest);
                if differs {
                    let none = Vec::new();
                    let lines = aligned(one.map_or(&none, |unit| &unit.lines), other.map_or(&none, |unit| &unit.lines), context);
                    shown.push(UnitLines { unit: unit.qualpath.clone(), differs, lines });
                }
            }
        }
    }
    shown
}

fn units(row: &RecordBatch) -> Vec<Unit> {
    let Some(list) = row.column_by_name("code_objects").and_then(|column| column.as_list_opt::<i32>().cloned()) else { return Vec::new() };
    if row.num_rows() == 0 || list.is_null(0) {
        return Vec::new();
    }
    let units = list.value(0);
    let units = units.as_struct();
    let text = |name: &str, at: usize| units.column_by_name(name).map_or_else(String::new, |column| shown(column.as_ref(), at));
    let instructions = units.column_by_name("instructions").and_then(|column| column.as_list_opt::<i32>());
    (0..units.len())
        .map(|at| Unit {
            qualpath: text("qualname", at),
            digest: text("facts_digest", at),
            lines: instructions.map_or_else(Vec::new, |list| if list.is_null(at) { Vec::new() } else { lines(list.value(at).as_struct()) }),
        })
        .collect()
}

/// What each instruction does, and how it is shown.
fn lines(instructions: &StructArray) -> Vec<(String, String)> {
    let number = |name: &str, at: usize| {
        let column = instructions.column_by_name(name)?.as_primitive_opt::<Int32Type>()?;
        (!column.is_null(at)).then(|| column.value(at))
    };
    let text = |name: &str, at: usize| {
        let column = instructions.column_by_name(name);
        column.filter(|column| !column.is_null(at)).map_or_else(String::new, |column| shown(column.as_ref(), at))
    };
    (0..instructions.len())
        .map(|at| {
            let (opname, argrepr) = (text("opname", at), text("argrepr", at));
            let argument = match (argrepr.is_empty(), number("oparg", at)) {
                (true, Some(oparg)) => oparg.to_string(),
                _ => argrepr,
            };
            let offset = number("offset", at).unwrap_or_default();
            let line = number("line_number", at).map_or_else(String::new, |line| line.to_string());
            // Where a jump leads shifts with whatever stands between.
            let jumps = number("jump_target", at).is_some();
            let key = if jumps || opname == "EXTENDED_ARG" { opname.clone() } else { format!("{opname} {argument}") };
            (key, format!("{line:>5} {offset:>5} {opname} {argument}").trim_end().to_owned())
        })
        .collect()
}

fn aligned(left: &[(String, String)], right: &[(String, String)], context: usize) -> Vec<Line> {
    let keys = |lines: &[(String, String)]| lines.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let shown = |lines: &[(String, String)], at: usize| lines.get(at).map(|(_, shown)| shown.clone());
    let mut all = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, &keys(left), &keys(right)) {
        let equal = matches!(operation, DiffOp::Equal { .. });
        let (_, old, new) = operation.as_tag_tuple();
        for k in 0..old.len().max(new.len()) {
            let (one, other) = (old.clone().nth(k).and_then(|at| shown(left, at)), new.clone().nth(k).and_then(|at| shown(right, at)));
            let mark = match (equal, &one, &other) {
                (true, ..) => Mark::Same,
                (_, Some(_), Some(_)) => Mark::Changed,
                (_, Some(_), None) => Mark::Removed,
                _ => Mark::Added,
            };
            all.push(Line { mark, left: one, right: other });
        }
    }
    // What is far from any change is left out.
    let near: Vec<bool> = (0..all.len())
        .map(|at| {
            let from = at.saturating_sub(context);
            all.get(from..all.len().min(at + context + 1)).is_some_and(|around| around.iter().any(|line| line.mark != Mark::Same))
        })
        .collect();
    let mut kept: Vec<Line> = Vec::new();
    let mut skipped = 0_usize;
    let note = |skipped: usize| Line { mark: Mark::Skipped, left: Some(skipped.to_string()), right: None };
    for (line, near) in all.into_iter().zip(near) {
        if !near {
            skipped += 1;
            continue;
        }
        if skipped > 0 {
            kept.push(note(std::mem::take(&mut skipped)));
        }
        kept.push(line);
    }
    if skipped > 0 {
        kept.push(note(skipped));
    }
    kept
}

#[cfg(test)]
mod tests {
    use bytefacts_facts::{FileInput, Options, RowBuilder, RunAttrs};

    use super::*;

    /// The row of a module whose code is that of `x = <value>`.
    fn row(value: i32, errors: usize) -> RecordBatch {
        let attrs = RunAttrs {
            python_version: "3.13.0".to_owned(),
            python_magic: "f30d0d0a".to_owned(),
            python_implementation: "cpython".to_owned(),
            optimize: 0,
            dont_inherit: true,
            adaptive: false,
            include_cfg: true,
            analyzer_version: value.to_string(),
        };
        let mut code = b"c".to_vec();
        code.extend([0; 12]);
        code.extend(1_i32.to_le_bytes());
        code.extend([0; 4]);
        code.extend(b"s\x08\x00\x00\x00\x95\x00\x53\x00\x74\x00\x67\x01");
        code.extend(b"(\x02\x00\x00\x00i");
        code.extend(value.to_le_bytes());
        code.extend(b"N(\x01\x00\x00\x00u\x01\x00\x00\x00x(\x00\x00\x00\x00s\x00\x00\x00\x00u\x01\x00\x00\x00au\x08\x00\x00\x00<module>u\x08\x00\x00\x00<module>");
        code.extend(1_i32.to_le_bytes());
        code.extend(b"s\x02\x00\x00\x00\xfb\x00s\x00\x00\x00\x00");
        let mut rows = RowBuilder::new(&attrs, Options::default());
        let errors = vec![bytefacts_facts::FactError { error_type: "W".to_owned(), ..Default::default() }; errors];
        rows.append(FileInput {
            path: "a.py",
            source: Some(b"x = 1\n"),
            sha256: Some([1; 32]),
            code: Some(&code),
            errors,
            ..FileInput::default()
        })
        .unwrap();
        rows.finish().unwrap()
    }

    #[test]
    fn the_first_field_of_the_contract_that_differs_is_named() {
        assert_eq!(first_difference(&row(1, 0), &row(1, 0)), None);
        let found = first_difference(&row(1, 0), &row(2, 0)).unwrap();
        assert_eq!((found.field.as_str(), found.left.as_str(), found.right.as_str()), ("code_objects[0].consts[0].const_repr", "1", "2"));
        let found = first_difference(&row(1, 0), &row(1, 1)).unwrap();
        assert!(found.field.starts_with("errors"), "{found:?}");
    }

    #[test]
    fn changes_stand_side_by_side_with_what_is_around_them() {
        assert!(side_by_side(&row(1, 0), &row(1, 0), 3).is_empty());
        let units = side_by_side(&row(1, 0), &row(2, 0), 1);
        assert_eq!(units.len(), 1);
        let marks: Vec<Mark> = units[0].lines.iter().map(|line| line.mark).collect();
        assert_eq!(marks, [Mark::Same, Mark::Changed, Mark::Same, Mark::Skipped], "{units:?}");
        assert!(units[0].lines[1].left.as_ref().unwrap().ends_with("LOAD_CONST 1"), "{units:?}");
        let added = side_by_side(&row(1, 0).slice(0, 0), &row(2, 0), 1);
        assert!(added[0].lines.iter().all(|line| line.mark == Mark::Added));
    }
}
