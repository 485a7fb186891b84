//! Equal edits between two derivations, counted together: what another interpreter does otherwise, in a handful of lines.
//!
//! Instructions of both sides are aligned by what they do; where they stand and where jumps lead shifts with every insertion and is no edit of its
//! own. Each edit is named by what is taken out, what is put in and what stands around it, and equal ones are one cluster with an example.

use std::collections::BTreeMap;

use bytefacts_bytecode::instruction::{ArgVal, Instruction};
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Code, Unit, disassemble, units};
use bytefacts_compile::Diagnostic;
use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::difference::{self, shown_instruction};

/// Names of opcodes that name an edit at most; what is longer is cut in the middle.
const NAMED: usize = 6;

/// Equal edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// What is done: `GET_ITER inserted before FOR_ITER`.
    pub edit: String,
    /// In how many places.
    pub places: u64,
    /// In how many files.
    pub files: u64,
    /// Kinds of code objects that they are in, with counts.
    pub kinds: BTreeMap<String, u64>,
    /// Instructions more on the right, over all places.
    pub instructions: i64,
    /// One of the places.
    pub example: Example,
}

/// A place of an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The file.
    pub file: String,
    /// The code object in it.
    pub unit: String,
    /// The line of source, if it has one.
    pub line: Option<i32>,
    /// Instructions on the left.
    pub left: Vec<String>,
    /// Instructions on the right.
    pub right: Vec<String>,
}

/// Edits gathered over files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drifts {
    clusters: BTreeMap<String, Cluster>,
    /// Files that differ.
    pub files: u64,
    /// Instructions more on the right, counted as lengths of the code objects: what the clusters must add up to.
    pub instructions: i64,
}

impl Drifts {
    /// Takes the two derivations of a file in. Says whether they differ.
    pub fn add(&mut self, file: &str, left: &Code, right: &Code) -> bool {
        let (lefts, rights) = (units(left), units(right));
        let mut in_file = BTreeMap::new();
        // One code object more on a side shifts none of those behind it.
        let mut unmatched: BTreeMap<(&str, usize), &Unit<'_>> = named_units(&rights).into_iter().collect();
        for (name, one) in named_units(&lefts) {
            match unmatched.remove(&name) {
                Some(other) => self.add_unit(file, one, other, &mut in_file),
                None => self.add_lone(file, one, "removed", -1, &mut in_file),
            }
        }
        for (_, other) in named_units(&rights).into_iter().filter(|(name, _)| unmatched.contains_key(name)) {
            self.add_lone(file, other, "inserted", 1, &mut in_file);
        }
        self.add_file(&in_file)
    }

    /// Takes the errors in of a file that neither side has code of. Says whether they differ.
    pub fn add_errors(&mut self, file: &str, left: &Diagnostic, right: &Diagnostic) -> bool {
        let mut in_file = BTreeMap::new();
        if left != right {
            let edit = match (&left.error_type, &right.error_type) {
                (one, other) if one == other => format!("{one} with other words or in another place"),
                (one, other) => format!("{one} replaced by {other}"),
            };
            let shown = |error: &Diagnostic| vec![format!("{}: {}", error.error_type, error.message)];
            let example =
                Example { file: file.to_owned(), unit: "<module>".to_owned(), line: left.line1, left: shown(left), right: shown(right) };
            self.count(edit, "error", 0, example, &mut in_file);
        }
        self.add_file(&in_file)
    }

    /// Counts a file in the clusters that it is in. Says whether it is in any.
    fn add_file(&mut self, in_file: &BTreeMap<String, ()>) -> bool {
        for edit in in_file.keys() {
            if let Some(cluster) = self.clusters.get_mut(edit) {
                cluster.files += 1;
            }
        }
        self.files += u64::from(!in_file.is_empty());
        !in_file.is_empty()
    }

    /// Takes a code object in that one side has alone.
    fn add_lone(&mut self, file: &str, unit: &Unit<'_>, what: &str, sign: i64, in_file: &mut BTreeMap<String, ()>) {
        let Ok(instructions) = disassemble(unit.code) else { return };
        let more = sign * instructions.len() as i64;
        self.instructions += more;
        let shown: Vec<String> = window(&instructions, 0, NAMED).iter().map(shown_instruction).collect();
        let (left, right) = if sign < 0 { (shown, Vec::new()) } else { (Vec::new(), shown) };
        let line = Some(unit.code.firstlineno);
        let example = Example { file: file.to_owned(), unit: unit.qualpath.clone(), line, left, right };
        self.count(format!("code object {what}"), unit.kind.as_str(), more, example, in_file);
    }

    fn add_unit(&mut self, file: &str, one: &Unit<'_>, other: &Unit<'_>, in_file: &mut BTreeMap<String, ()>) {
        let kind = one.kind.as_str();
        let (Ok(left), Ok(right)) = (disassemble(one.code), disassemble(other.code)) else { return };
        self.instructions += right.len() as i64 - left.len() as i64;
        let (of_left, of_right) = (tokens(&left), tokens(&right));
        let mut edited = false;
        if of_left != of_right {
            for operation in capture_diff_slices(Algorithm::Myers, &of_left, &of_right) {
                let (at, removed, into, inserted) = match operation {
                    DiffOp::Equal { .. } => continue,
                    DiffOp::Delete { old_index, old_len, new_index } => (old_index, old_len, new_index, 0),
                    DiffOp::Insert { old_index, new_index, new_len } => (old_index, 0, new_index, new_len),
                    DiffOp::Replace { old_index, old_len, new_index, new_len } => (old_index, old_len, new_index, new_len),
                };
                edited = true;
                let (gone, new) = (window(&left, at, removed), window(&right, into, inserted));
                let next = left.get(at + removed).map(|instruction| instruction.opname());
                let around = |list: &[Instruction<'_>], from: usize, count: usize| -> Vec<String> {
                    window(list, from.saturating_sub(1), count + 2).iter().map(shown_instruction).collect()
                };
                let line = new.first().or(gone.first()).and_then(|instruction| instruction.line_number);
                let example = Example {
                    file: file.to_owned(),
                    unit: one.qualpath.clone(),
                    line,
                    left: around(&left, at, removed),
                    right: around(&right, into, inserted),
                };
                self.count(named(gone, new, next), kind, new.len() as i64 - gone.len() as i64, example, in_file);
            }
        }
        // What differs beside instructions: children have units of their own.
        if !edited && let Some(found) = difference::of_code(&childless(one.code), &childless(other.code)) {
            let what = found.field.split('[').next().unwrap_or_default();
            let detail = if found.field.ends_with(".positions") { ".positions" } else { "" };
            let example = Example {
                file: file.to_owned(),
                unit: one.qualpath.clone(),
                line: Some(one.code.firstlineno),
                left: vec![found.left],
                right: vec![found.right],
            };
            self.count(format!("{what}{detail} differ, with the same instructions"), kind, 0, example, in_file);
        }
    }

    fn count(&mut self, edit: String, kind: &str, instructions: i64, example: Example, in_file: &mut BTreeMap<String, ()>) {
        let cluster = self.clusters.entry(edit.clone()).or_insert_with(|| Cluster {
            edit: edit.clone(),
            places: 0,
            files: 0,
            kinds: BTreeMap::new(),
            instructions: 0,
            example,
        });
        cluster.places += 1;
        cluster.instructions += instructions;
        *cluster.kinds.entry(kind.to_owned()).or_default() += 1;
        in_file.insert(edit, ());
    }

    /// Takes in what was gathered over other files.
    pub fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.instructions += other.instructions;
        for (edit, cluster) in other.clusters {
            match self.clusters.get_mut(&edit) {
                None => {
                    self.clusters.insert(edit, cluster);
                }
                Some(mine) => {
                    mine.places += cluster.places;
                    mine.files += cluster.files;
                    mine.instructions += cluster.instructions;
                    for (kind, n) in cluster.kinds {
                        *mine.kinds.entry(kind).or_default() += n;
                    }
                }
            }
        }
    }

    /// The clusters, the largest first.
    #[must_use]
    pub fn clusters(&self) -> Vec<Cluster> {
        let mut clusters: Vec<Cluster> = self.clusters.values().cloned().collect();
        clusters.sort_by(|a, b| (b.places, &a.edit).cmp(&(a.places, &b.edit)));
        clusters
    }
}

/// Code objects by what they are matched by: where they are defined, and which of those there.
fn named_units<'a, 'c>(units: &'a [Unit<'c>]) -> Vec<((&'a str, usize), &'a Unit<'c>)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let named = units.iter().map(|unit| {
        let count = seen.entry(&unit.qualpath).or_default();
        *count += 1;
        ((unit.qualpath.as_str(), *count), unit)
    });
    named.collect()
}

/// The code object without those inside it, which are compared by themselves.
fn childless(code: &Code) -> Code {
    let keep = |constant: &bytefacts_bytecode::Const| match constant {
        bytefacts_bytecode::Const::Code(_) => bytefacts_bytecode::Const::None,
        other => other.clone(),
    };
    Code { consts: code.consts.iter().map(keep).collect(), filename: bytefacts_bytecode::PyStr::from(""), ..code.clone() }
}

/// What instructions do, without where they stand: jumps without their targets, and prefixes without their share of an argument.
fn tokens(instructions: &[Instruction<'_>]) -> Vec<String> {
    let token = |instruction: &Instruction<'_>| match instruction.argval {
        ArgVal::Jump(_) => instruction.opname().to_owned(),
        _ if instruction.opcode == op::EXTENDED_ARG => instruction.opname().to_owned(),
        _ => shown_instruction(instruction),
    };
    instructions.iter().map(token).collect()
}

fn window<'a, 'c>(instructions: &'a [Instruction<'c>], from: usize, count: usize) -> &'a [Instruction<'c>] {
    let end = instructions.len().min(from.saturating_add(count));
    instructions.get(from.min(end)..end).unwrap_or_default()
}

fn named(gone: &[Instruction<'_>], new: &[Instruction<'_>], next: Option<&str>) -> String {
    let names = |list: &[Instruction<'_>]| {
        let names: Vec<&str> = list.iter().map(|instruction| instruction.opname()).collect();
        match names.as_slice() {
            [first @ .., last] if first.len() >= NAMED => {
                format!("{} … {last} ({} instructions)", first.iter().take(NAMED - 2).copied().collect::<Vec<_>>().join(" "), names.len())
            }
            all => all.join(" "),
        }
    };
    let before = next.map_or_else(|| " at the end".to_owned(), |next| format!(" before {next}"));
    match (gone.is_empty(), new.is_empty()) {
        (true, _) => format!("{} inserted{before}", names(new)),
        (_, true) => format!("{} removed{before}", names(gone)),
        _ if names(gone) == names(new) => format!("{} with another argument", names(new)),
        _ => format!("{} replaced by {}", names(gone), names(new)),
    }
}
