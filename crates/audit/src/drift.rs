//! Equal edits between two derivations, counted together: what another interpreter does otherwise, in a handful of lines.
//!
//! Both sides are aligned by [`crate::edits`]. Each edit is named by what is taken out, what is put in and what stands behind it: opcodes, and of
//! arguments what kind they are. Equal ones are one cluster with an example. Two code objects that differ are in one cluster at least, and what the
//! clusters insert and remove adds up to what the code objects have more and less.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use bytefacts_bytecode::{Code, units};
use bytefacts_compile::Diagnostic;
use serde::{Deserialize, Serialize};

use crate::difference::{self, Difference};
use crate::edits::{Listing, Operand, PREFIX, Step, Stretch, pairs, script};
use crate::row;

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
    /// Instructions more on the right, over all places: those inserted less those removed.
    pub instructions: i64,
    /// Instructions that the right alone has.
    #[serde(default)]
    pub inserted: u64,
    /// Instructions that the left alone has.
    #[serde(default)]
    pub removed: u64,
    /// One of the places.
    pub example: Example,
}

impl Cluster {
    /// What is done, and in which kinds of code objects.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{} (in {})", self.edit, self.within())
    }

    /// The kinds of code objects, the most frequent first: `genexpr 600, function 27`.
    #[must_use]
    pub fn within(&self) -> String {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(kind, n)| (std::cmp::Reverse(**n), *kind));
        kinds.into_iter().map(|(kind, n)| format!("{kind} {n}")).collect::<Vec<_>>().join(", ")
    }
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

impl Example {
    /// Where it is: `r/x.py:12 <module>.f@10`.
    #[must_use]
    pub fn place(&self) -> String {
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line} {}", self.file, self.unit)
    }
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

/// What differs between code objects of the same instructions.
struct Beside {
    /// Which fact.
    field: String,
    left: String,
    right: String,
}

/// An edit at a place.
struct Place<'a> {
    edit: String,
    kind: &'a str,
    inserted: usize,
    removed: usize,
    example: Example,
}

/// The edits that a file is in.
type InFile = BTreeSet<String>;

impl Drifts {
    /// Takes the two derivations of a file in. Says whether they differ.
    pub fn add(&mut self, file: &str, left: &Code, right: &Code) -> bool {
        let (lefts, rights) = (units(left), units(right));
        let listed = |units: &[bytefacts_bytecode::Unit<'_>]| units.iter().map(Listing::of_unit).collect::<Vec<_>>();
        let beside = |one: usize, other: usize| {
            let (one, other) = (lefts.get(one)?, rights.get(other)?);
            // Children have listings of their own.
            let Difference { field, left, right, .. } = difference::of_code(&childless(one.code), &childless(other.code))?;
            let detail = if field.ends_with(".positions") { ".positions" } else { "" };
            let what = field.split('[').next().unwrap_or_default();
            Some(Beside { field: format!("{what}{detail}"), left, right })
        };
        let mut in_file = InFile::new();
        self.add_units(file, &listed(&lefts), &listed(&rights), &beside, &mut in_file);
        self.add_file(&in_file)
    }

    /// Takes the rows of a file by two runs in, each the one row of its batch. Says whether they differ.
    pub fn add_rows(&mut self, file: &str, left: &RecordBatch, right: &RecordBatch) -> bool {
        let (lefts, rights) = (row::units(left), row::units(right));
        let beside = |one: usize, other: usize| {
            let (one, other) = (lefts.get(one)?, rights.get(other)?);
            let Difference { field, left, right, .. } = one.first_difference(other)?;
            Some(Beside { field: fact_of(&field), left, right })
        };
        let mut in_file = InFile::new();
        let (of_lefts, of_rights) = row::listings(&lefts, &rights);
        self.add_units(file, &of_lefts, &of_rights, &beside, &mut in_file);
        if in_file.is_empty()
            && let Some(found) = row::first_difference(left, right)
        {
            let field = found.field.split('[').next().unwrap_or_default();
            let example = Example::of_file(file, None, vec![found.left], vec![found.right]);
            self.count(
                Place { edit: format!("{field} differ, with the same code"), kind: "file", inserted: 0, removed: 0, example },
                &mut in_file,
            );
        }
        self.add_file(&in_file)
    }

    /// Takes the errors in of a file that neither side has code of. Says whether they differ.
    pub fn add_errors(&mut self, file: &str, left: &Diagnostic, right: &Diagnostic) -> bool {
        let mut in_file = InFile::new();
        if left != right {
            let edit = match (&left.error_type, &right.error_type) {
                (one, other) if one == other => format!("{one} with other words or in another place"),
                (one, other) => format!("{one} replaced by {other}"),
            };
            let shown = |error: &Diagnostic| vec![format!("{}: {}", error.error_type, error.message)];
            let example = Example::of_file(file, left.line1, shown(left), shown(right));
            self.count(Place { edit, kind: "error", inserted: 0, removed: 0, example }, &mut in_file);
        }
        self.add_file(&in_file)
    }

    /// Counts a file in the clusters that it is in. Says whether it is in any.
    fn add_file(&mut self, in_file: &InFile) -> bool {
        for edit in in_file {
            if let Some(cluster) = self.clusters.get_mut(edit) {
                cluster.files += 1;
            }
        }
        self.files += u64::from(!in_file.is_empty());
        !in_file.is_empty()
    }

    /// Takes the code objects of a file in. `beside` tells what differs between two by their places, where their instructions do not.
    fn add_units(
        &mut self,
        file: &str,
        lefts: &[Listing],
        rights: &[Listing],
        beside: &dyn Fn(usize, usize) -> Option<Beside>,
        in_file: &mut InFile,
    ) {
        for (one, other) in pairs(lefts, rights) {
            let (left, right) = (one.and_then(|at| lefts.get(at)), other.and_then(|at| rights.get(at)));
            match (left, right) {
                (Some(left), Some(right)) => {
                    if !self.add_unit(file, left, right, in_file)
                        && let Some(found) = one.zip(other).and_then(|(one, other)| beside(one, other))
                    {
                        let edit = format!("{} differ, with the same instructions", found.field);
                        let (unit, line) = (left.unit.clone(), left.line);
                        let example = Example { file: file.to_owned(), unit, line, left: vec![found.left], right: vec![found.right] };
                        self.count(Place { edit, kind: &left.kind, inserted: 0, removed: 0, example }, in_file);
                    }
                }
                (Some(lone), None) => self.add_lone(file, lone, false, in_file),
                (None, Some(lone)) => self.add_lone(file, lone, true, in_file),
                (None, None) => {}
            }
        }
    }

    /// Takes a code object in that one side has alone.
    fn add_lone(&mut self, file: &str, unit: &Listing, is_new: bool, in_file: &mut InFile) {
        let count = unit.instructions();
        let shown: Vec<String> = unit.steps.iter().take(NAMED).map(Step::shown).collect();
        let (what, left, right) = if is_new { ("inserted", Vec::new(), shown) } else { ("removed", shown, Vec::new()) };
        let (inserted, removed) = if is_new { (count, 0) } else { (0, count) };
        self.instructions += inserted as i64 - removed as i64;
        let example = Example { file: file.to_owned(), unit: unit.unit.clone(), line: unit.line, left, right };
        self.count(Place { edit: format!("code object {what}"), kind: &unit.kind, inserted, removed, example }, in_file);
    }

    /// Takes two code objects in. Says whether their instructions differ.
    fn add_unit(&mut self, file: &str, one: &Listing, other: &Listing, in_file: &mut InFile) -> bool {
        let (left, right) = (&one.steps, &other.steps);
        self.instructions += other.instructions() as i64 - one.instructions() as i64;
        let mut edited = false;
        let place = |edit: String, at: &Stretch, inserted: usize, removed: usize| {
            let around = |steps: &[Step], of: &std::ops::Range<usize>| -> Vec<String> {
                let end = steps.len().min(of.end + 1);
                steps.get(of.start.saturating_sub(1)..end).unwrap_or_default().iter().map(Step::shown).collect()
            };
            let line = right.get(at.right.clone()).and_then(<[Step]>::first).or_else(|| left.get(at.left.start)).and_then(|step| step.line);
            let (unit, kind) = (one.unit.clone(), one.kind.as_str());
            let (left, right) = (around(left, &at.left), around(right, &at.right));
            Place { edit, kind, inserted, removed, example: Example { file: file.to_owned(), unit, line, left, right } }
        };
        for stretch in script(left, right) {
            let gone = left.get(stretch.left.clone()).unwrap_or_default();
            let new = right.get(stretch.right.clone()).unwrap_or_default();
            if !stretch.same {
                let count = |steps: &[Step]| steps.iter().map(Step::instructions).sum::<usize>();
                let next = left.get(stretch.left.end).map(|step| step.opname.as_str());
                self.count(place(named(gone, new, next), &stretch, count(new), count(gone)), in_file);
                edited = true;
                continue;
            }
            for (at, (one, other)) in gone.iter().zip(new).enumerate() {
                let Some((edit, inserted, removed)) = widened(one, other) else { continue };
                let (left, right) = (stretch.left.start + at, stretch.right.start + at);
                let at = Stretch { left: left..left + 1, right: right..right + 1, same: true };
                let mut place = place(edit, &at, inserted, removed);
                (place.example.left, place.example.right) = (with_prefixes(one), with_prefixes(other));
                self.count(place, in_file);
                edited = true;
            }
        }
        edited
    }

    fn count(&mut self, place: Place<'_>, in_file: &mut InFile) {
        let Place { edit, kind, inserted, removed, example } = place;
        let cluster = self.clusters.entry(edit.clone()).or_insert_with(|| Cluster {
            edit: edit.clone(),
            places: 0,
            files: 0,
            kinds: BTreeMap::new(),
            instructions: 0,
            inserted: 0,
            removed: 0,
            example,
        });
        cluster.places += 1;
        cluster.instructions += inserted as i64 - removed as i64;
        cluster.inserted += inserted as u64;
        cluster.removed += removed as u64;
        *cluster.kinds.entry(kind.to_owned()).or_default() += 1;
        in_file.insert(edit);
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
                    mine.inserted += cluster.inserted;
                    mine.removed += cluster.removed;
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

impl Example {
    fn of_file(file: &str, line: Option<i32>, left: Vec<String>, right: Vec<String>) -> Self {
        Self { file: file.to_owned(), unit: "<module>".to_owned(), line, left, right }
    }
}

/// Which fact of a code object a field of its row is part of. Where instructions stand in the source is one fact, in however many columns.
fn fact_of(field: &str) -> String {
    let parts: Vec<&str> = field.split('.').map(|part| part.split('[').next().unwrap_or_default()).collect();
    match parts.as_slice() {
        ["line_table", ..] | ["instructions", "span" | "line_number" | "starts_line", ..] => "instructions.positions".to_owned(),
        ["instructions", column, ..] => format!("instructions.{column}"),
        [first, ..] => (*first).to_owned(),
        [] => field.to_owned(),
    }
}

/// The code object without those inside it, which are compared by themselves.
fn childless(code: &Code) -> Code {
    let keep = |constant: &bytefacts_bytecode::Const| match constant {
        bytefacts_bytecode::Const::Code(_) => bytefacts_bytecode::Const::None,
        other => other.clone(),
    };
    Code { consts: code.consts.iter().map(keep).collect(), filename: bytefacts_bytecode::PyStr::from(""), ..code.clone() }
}

/// What became of the prefixes of an instruction that does the same on both sides: the edit, and how many are put in and taken out.
fn widened(one: &Step, other: &Step) -> Option<(String, usize, usize)> {
    let (less, more) = (one.prefixes.len(), other.prefixes.len());
    let jump = one.operand == Operand::Jump;
    let (what, why) = match (more.cmp(&less), jump) {
        (std::cmp::Ordering::Equal, _) => return None,
        (std::cmp::Ordering::Greater, true) => ("inserted", "jumps lead farther"),
        (std::cmp::Ordering::Greater, false) => ("inserted", "places in tables are larger"),
        (std::cmp::Ordering::Less, true) => ("removed", "jumps lead less far"),
        (std::cmp::Ordering::Less, false) => ("removed", "places in tables are smaller"),
    };
    Some((format!("{PREFIX} {what}: {why}"), more.saturating_sub(less), less.saturating_sub(more)))
}

fn with_prefixes(step: &Step) -> Vec<String> {
    step.prefixes.iter().map(|(_, argument)| format!("{PREFIX} {argument}")).chain([step.shown()]).collect()
}

fn named(gone: &[Step], new: &[Step], next: Option<&str>) -> String {
    let names = |steps: &[Step]| {
        let names: Vec<&str> = steps.iter().map(|step| step.opname.as_str()).collect();
        match names.as_slice() {
            [first @ .., last] if first.len() >= NAMED => {
                format!("{} … {last} ({} instructions)", first.iter().take(NAMED - 2).copied().collect::<Vec<_>>().join(" "), names.len())
            }
            all => all.join(" "),
        }
    };
    let before = next.map_or_else(|| " at the end".to_owned(), |next| format!(" before {next}"));
    match (gone, new) {
        ([], _) => format!("{} inserted{before}", names(new)),
        (_, []) => format!("{} removed{before}", names(gone)),
        ([one], [other]) if one.opname == other.opname && one.operand == other.operand => {
            format!("{} with another {}", one.opname, one.operand.noun())
        }
        _ if names(gone) == names(new) => format!("{} with other arguments", names(new)),
        _ => format!("{} replaced by {}", names(gone), names(new)),
    }
}
