//! Rows of `bytecode_files_v1`: the first field in which two of them differ, and their instructions side by side.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Int32Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::difference::{Difference, FieldKind};
use crate::edits::{self, Listing, Operand, Step, UnitLines};

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

/// A code object of a row.
#[derive(Clone, Debug)]
pub struct RowUnit {
    /// Its qualpath.
    pub name: String,
    /// `facts_digest` of it.
    digest: String,
    /// All that the row says of it.
    facts: StructArray,
}

impl RowUnit {
    /// What edits see of it, without instructions.
    fn outline(&self) -> Listing {
        let kind = self.facts.column_by_name("unit_kind").map_or_else(String::new, |column| shown(column.as_ref(), 0));
        Listing { unit: self.name.clone(), kind, line: number(&self.facts, "firstlineno1", 0), steps: Vec::new() }
    }

    fn steps(&self) -> Vec<Step> {
        let list = self.facts.column_by_name("instructions").and_then(|column| column.as_list_opt::<i32>());
        list.filter(|list| !list.is_null(0)).map_or_else(Vec::new, |list| steps(list.value(0).as_struct()))
    }

    /// The first field in which the facts of two code objects differ, their ids and digests apart; those only where nothing else does.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<Difference> {
        if self.digest == other.digest {
            return None;
        }
        let in_facts = |skipped| in_struct(&self.facts, 0, &other.facts, 0, "", skipped);
        let (field, left, right) = in_facts(&DERIVED).or_else(|| in_facts(&[]))?;
        Some(Difference { unit: self.name.clone(), field, left, right, kind: FieldKind::Column })
    }
}

/// The code objects of the first row of a batch that differ from those of another, instruction by instruction, with `context` lines around each change.
/// Instructions are aligned by what they do; offsets are shown and do not count.
#[must_use]
pub fn side_by_side(left: &RecordBatch, right: &RecordBatch, context: usize) -> Vec<UnitLines> {
    let (lefts, rights) = (units(left), units(right));
    let (of_lefts, of_rights) = listings(&lefts, &rights);
    let mut shown = Vec::new();
    for (one, other) in edits::pairs(&of_lefts, &of_rights) {
        let digest = |units: &'_ [RowUnit], at: Option<usize>| at.and_then(|at| units.get(at)).map(|unit| unit.digest.clone());
        let (left, right) = (one.and_then(|at| of_lefts.get(at)), other.and_then(|at| of_rights.get(at)));
        let Some(unit) = left.or(right) else { continue };
        if digest(&lefts, one) != digest(&rights, other) {
            let steps = |listing: Option<&Listing>| listing.map_or_else(Vec::new, |listing| listing.steps.clone());
            let lines = edits::side_by_side(&steps(left), &steps(right), context);
            shown.push(UnitLines { unit: unit.unit.clone(), differs: true, lines });
        }
    }
    shown
}

/// What edits see of the code objects of two rows: instructions of those only that are not the same in both, which are few.
#[must_use]
pub fn listings(lefts: &[RowUnit], rights: &[RowUnit]) -> (Vec<Listing>, Vec<Listing>) {
    let outlines = |units: &[RowUnit]| units.iter().map(RowUnit::outline).collect::<Vec<_>>();
    let (mut of_lefts, mut of_rights) = (outlines(lefts), outlines(rights));
    for (one, other) in edits::pairs(&of_lefts, &of_rights) {
        let (left, right) = (one.and_then(|at| lefts.get(at)), other.and_then(|at| rights.get(at)));
        if left.map(|unit| &unit.digest) == right.map(|unit| &unit.digest) {
            continue;
        }
        let fill = |listings: &mut [Listing], at: Option<usize>, unit: Option<&RowUnit>| {
            if let Some((listing, unit)) = at.and_then(|at| listings.get_mut(at)).zip(unit) {
                listing.steps = unit.steps();
            }
        };
        fill(&mut of_lefts, one, left);
        fill(&mut of_rights, other, right);
    }
    (of_lefts, of_rights)
}

/// The code objects of the first row of a batch.
#[must_use]
pub fn units(row: &RecordBatch) -> Vec<RowUnit> {
    let Some(list) = row.column_by_name("code_objects").and_then(|column| column.as_list_opt::<i32>().cloned()) else { return Vec::new() };
    if row.num_rows() == 0 || list.is_null(0) {
        return Vec::new();
    }
    let units = list.value(0);
    let units = units.as_struct();
    let text = |name: &str, at: usize| units.column_by_name(name).map_or_else(String::new, |column| shown(column.as_ref(), at));
    (0..units.len()).map(|at| RowUnit { name: text("qualname", at), digest: text("facts_digest", at), facts: units.slice(at, 1) }).collect()
}

fn number(of: &StructArray, name: &str, at: usize) -> Option<i32> {
    let column = of.column_by_name(name)?.as_primitive_opt::<Int32Type>()?;
    (!column.is_null(at)).then(|| column.value(at))
}

fn steps(instructions: &StructArray) -> Vec<Step> {
    let texts = |name: &str| instructions.column_by_name(name);
    let numbers = |name: &str| instructions.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let (opnames, arguments, kinds) = (texts("opname"), texts("argrepr"), texts("argval_kind"));
    let (opargs, offsets, lines) = (numbers("oparg"), numbers("offset"), numbers("line_number"));
    let number =
        |column: Option<&PrimitiveArray<Int32Type>>, at: usize| column.filter(|column| !column.is_null(at)).map(|column| column.value(at));
    // A run has millions of instructions: columns of the contract are plain texts, and no formatter is made for each value.
    let text = |column: Option<&ArrayRef>, at: usize| match column.filter(|column| !column.is_null(at)) {
        None => String::new(),
        Some(column) => column.as_string_opt::<i32>().map_or_else(|| shown(column.as_ref(), at), |texts| texts.value(at).to_owned()),
    };
    let step = |at: usize| {
        let (argrepr, oparg) = (text(arguments, at), number(opargs, at));
        let operand = match (text(kinds, at).as_str(), oparg) {
            ("const", _) => Operand::Const,
            ("name", _) => Operand::Name,
            ("local" | "free", _) => Operand::Variable,
            ("compare", _) => Operand::Compare,
            ("jump", _) => Operand::Jump,
            (_, Some(_)) => Operand::Number,
            (_, None) => Operand::None,
        };
        Step {
            opname: text(opnames, at),
            argument: if argrepr.is_empty() { oparg.map_or_else(String::new, |oparg| oparg.to_string()) } else { argrepr },
            operand,
            offset: number(offsets, at).unwrap_or_default(),
            line: number(lines, at),
            prefixes: Vec::new(),
        }
    };
    edits::steps((0..instructions.len()).map(step))
}

#[cfg(test)]
mod tests {
    use crate::edits::Mark;
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
