//! What was done to the instructions of one side to get those of the other: the one place where two listings are aligned.
//!
//! Instructions are aligned by what they do: opcode, and what the argument stands for. Where they stand and where jumps lead shifts with every
//! insertion and is no edit of its own; `EXTENDED_ARG` is part of the instruction that it widens, so that a jump which has become longer is an edit of
//! that jump alone. Code objects and rows give the same [`Listing`], and drift, `diff` and reports show what is found here.

use std::collections::BTreeMap;
use std::ops::Range;

use bytefacts_bytecode::instruction::{ArgVal, Instruction};
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Code, Unit, disassemble, units};
use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::difference::argument;

/// The opcode that widens the argument of the one behind it.
pub(crate) const PREFIX: &str = "EXTENDED_ARG";

/// What an argument stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operand {
    /// There is none.
    #[default]
    None,
    /// A constant.
    Const,
    /// A name of `co_names`.
    Name,
    /// One or two locals, or a cell or free variable.
    Variable,
    /// An operator of a comparison.
    Compare,
    /// Where a jump leads.
    Jump,
    /// Nothing but itself.
    Number,
}

impl Operand {
    /// In a word.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::None => "argument",
            Self::Const => "constant",
            Self::Name => "name",
            Self::Variable => "variable",
            Self::Compare => "operator",
            Self::Jump => "target",
            Self::Number => "number",
        }
    }
}

/// An instruction, with the prefixes that belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The name of its opcode.
    pub opname: String,
    /// Its argument, as `dis` shows it.
    pub argument: String,
    /// What that stands for.
    pub operand: Operand,
    /// Byte offset of its opcode.
    pub offset: i32,
    /// Its line of source, from 1; `None` where the code has none.
    pub line: Option<i32>,
    /// Its prefixes: byte offset of each, and its argument.
    pub prefixes: Vec<(i32, String)>,
}

impl Step {
    /// What it does, without where it leads.
    fn does(&self) -> (&str, &str) {
        (&self.opname, if self.operand == Operand::Jump { "" } else { &self.argument })
    }

    /// Instructions that it is of.
    #[must_use]
    pub fn instructions(&self) -> usize {
        1 + self.prefixes.len()
    }

    /// Opcode and argument.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.argument.is_empty() { self.opname.clone() } else { format!("{} {}", self.opname, self.argument) }
    }

    /// As a line of a listing, with line of source and offset.
    fn listed(&self) -> String {
        listed(self.line, self.offset, &self.shown())
    }

    fn listed_prefixes(&self) -> Vec<String> {
        self.prefixes.iter().map(|(offset, argument)| listed(self.line, *offset, &format!("{PREFIX} {argument}"))).collect()
    }
}

fn listed(line: Option<i32>, offset: i32, shown: &str) -> String {
    let line = line.map_or_else(String::new, |line| line.to_string());
    format!("{line:>5} {offset:>5} {shown}")
}

/// A code object as edits see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its qualpath.
    pub unit: String,
    /// What its source is: `function`, `genexpr` and so on.
    pub kind: String,
    /// Its first line of source.
    pub line: Option<i32>,
    /// Its instructions.
    pub steps: Vec<Step>,
}

impl Listing {
    /// Of a code object. One that cannot be disassembled has no steps.
    #[must_use]
    pub fn of_unit(unit: &Unit<'_>) -> Self {
        let instructions = disassemble(unit.code).unwrap_or_default();
        Self {
            unit: unit.qualpath.clone(),
            kind: unit.kind.as_str().to_owned(),
            line: Some(unit.code.firstlineno),
            steps: steps(instructions.iter().map(step)),
        }
    }

    /// How many instructions it has, prefixes counted.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.steps.iter().map(Step::instructions).sum()
    }
}

fn step(instruction: &Instruction<'_>) -> Step {
    let operand = match instruction.argval {
        ArgVal::None => Operand::None,
        ArgVal::Const(_) => Operand::Const,
        ArgVal::Name(_) => Operand::Name,
        ArgVal::Local(_) | ArgVal::LocalPair(..) | ArgVal::Free(_) => Operand::Variable,
        ArgVal::Compare(_) => Operand::Compare,
        ArgVal::Jump(_) => Operand::Jump,
        ArgVal::Raw(_) => Operand::Number,
    };
    debug_assert_eq!(instruction.opcode == op::EXTENDED_ARG, instruction.opname() == PREFIX);
    Step {
        opname: instruction.opname().to_owned(),
        argument: argument(instruction),
        operand,
        offset: instruction.offset,
        line: instruction.line_number,
        prefixes: Vec::new(),
    }
}

/// Joins prefixes with what they belong to. One that nothing follows, as no compiler writes it, stands for itself.
pub(crate) fn steps(instructions: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut prefixes: Vec<Step> = Vec::new();
    for step in instructions {
        if step.opname == PREFIX {
            prefixes.push(step);
        } else {
            let prefixes = prefixes.drain(..).map(|prefix| (prefix.offset, prefix.argument)).collect();
            steps.push(Step { prefixes, ..step });
        }
    }
    steps.append(&mut prefixes);
    steps
}

/// A stretch of two listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Steps on the left.
    pub left: Range<usize>,
    /// Steps on the right.
    pub right: Range<usize>,
    /// Whether they do the same, one by one.
    pub same: bool,
}

/// Aligns two listings: stretches from the first instruction to the last, the same and not the same.
#[must_use]
pub fn script(left: &[Step], right: &[Step]) -> Vec<Stretch> {
    let does = |steps: &'_ [Step]| {
        steps
            .iter()
            .map(|step| {
                let (opname, argument) = step.does();
                (opname.to_owned(), argument.to_owned())
            })
            .collect::<Vec<_>>()
    };
    let found = capture_diff_slices(Algorithm::Myers, &does(left), &does(right));
    let stretch = |operation: DiffOp| {
        let (_, left, right) = operation.as_tag_tuple();
        Stretch { left, right, same: matches!(operation, DiffOp::Equal { .. }) }
    };
    found.into_iter().map(stretch).collect()
}

/// Pairs the code objects of two sides by their places: those of the left in their order, then those that the right has alone. One more on a side shifts
/// none of those behind it. Where lines have shifted, those of equal names are a pair.
#[must_use]
pub fn pairs(lefts: &[Listing], rights: &[Listing]) -> Vec<(Option<usize>, Option<usize>)> {
    let mut partner: Vec<Option<usize>> = vec![None; lefts.len()];
    let mut free: Vec<bool> = vec![true; rights.len()];
    for name in [str::to_owned as fn(&str) -> String, without_lines] {
        let mut waiting: BTreeMap<(String, usize), usize> = BTreeMap::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (at, listing) in rights.iter().enumerate().filter(|(at, _)| free.get(*at) == Some(&true)) {
            let name = name(&listing.unit);
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            waiting.insert((name, *count), at);
        }
        seen.clear();
        for (listing, partner) in lefts.iter().zip(&mut partner).filter(|(_, partner)| partner.is_none()) {
            let name = name(&listing.unit);
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            *partner = waiting.remove(&(name, *count));
            if let Some(taken) = partner.and_then(|at| free.get_mut(at)) {
                *taken = false;
            }
        }
    }
    let alone = free.into_iter().enumerate().filter_map(|(at, free)| free.then_some((None, Some(at))));
    partner.into_iter().enumerate().map(|(at, partner)| (Some(at), partner)).chain(alone).collect()
}

/// `<module>.C@3.m@5` as `<module>.C.m`.
fn without_lines(qualpath: &str) -> String {
    let mut out = String::with_capacity(qualpath.len());
    for (nth, part) in qualpath.split('@').enumerate() {
        out.push_str(if nth == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-') });
    }
    out
}

/// How a line of two listings came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// So many lines that are left out: they are the same, or there was no place for them.
    Skipped,
}

/// A line of two listings side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How it came about.
    pub mark: Mark,
    /// What stands on the left.
    pub left: Option<String>,
    /// What stands on the right.
    pub right: Option<String>,
}

/// A code object of two sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitLines {
    /// Its qualpath.
    pub unit: String,
    /// Whether its facts differ.
    pub differs: bool,
    /// Its instructions.
    pub lines: Vec<Line>,
}

/// Two listings line by line, with `context` lines around each change; how many are left out stands where they would.
#[must_use]
pub fn side_by_side(left: &[Step], right: &[Step], context: usize) -> Vec<Line> {
    let mut all = Vec::new();
    for Stretch { left: old, right: new, same } in script(left, right) {
        let (old, new) = (left.get(old).unwrap_or_default(), right.get(new).unwrap_or_default());
        if same {
            for (one, other) in old.iter().zip(new) {
                pair_up(one.listed_prefixes(), other.listed_prefixes(), Mark::Same, &mut all);
                all.push(Line { mark: Mark::Same, left: Some(one.listed()), right: Some(other.listed()) });
            }
        } else {
            let lines = |steps: &[Step]| -> Vec<String> {
                steps.iter().flat_map(|step| step.listed_prefixes().into_iter().chain([step.listed()])).collect()
            };
            pair_up(lines(old), lines(new), Mark::Changed, &mut all);
        }
    }
    around(all, context)
}

/// Lines beside each other, as far as both sides have some.
fn pair_up(left: Vec<String>, right: Vec<String>, both: Mark, out: &mut Vec<Line>) {
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    loop {
        let (left, right) = (left.next(), right.next());
        let mark = match (&left, &right) {
            (Some(_), Some(_)) => both,
            (Some(_), None) => Mark::Removed,
            (None, Some(_)) => Mark::Added,
            (None, None) => return,
        };
        out.push(Line { mark, left, right });
    }
}

/// What is far from any change is left out.
fn around(all: Vec<Line>, context: usize) -> Vec<Line> {
    let mut near = vec![false; all.len()];
    for at in (0..all.len()).filter(|at| all.get(*at).is_some_and(|line| line.mark != Mark::Same)) {
        let end = all.len().min(at.saturating_add(context).saturating_add(1));
        near.get_mut(at.saturating_sub(context)..end).unwrap_or_default().fill(true);
    }
    let mut kept: Vec<Line> = Vec::new();
    let mut skipped = 0_usize;
    for (line, near) in all.into_iter().zip(near) {
        if near {
            skip(std::mem::take(&mut skipped), &mut kept);
            kept.push(line);
        } else {
            skipped += 1;
        }
    }
    skip(skipped, &mut kept);
    kept
}

fn skip(count: usize, lines: &mut Vec<Line>) {
    if count > 0 {
        lines.push(Line { mark: Mark::Skipped, left: Some(count.to_string()), right: None });
    }
}

/// The code objects of two modules whose instructions differ, side by side, with `context` lines around each change.
#[must_use]
pub fn of_code(left: &Code, right: &Code, context: usize) -> Vec<UnitLines> {
    let (lefts, rights) = (units(left), units(right));
    let listed = |units: &[Unit<'_>]| units.iter().map(Listing::of_unit).collect::<Vec<_>>();
    let (lefts, rights) = (listed(&lefts), listed(&rights));
    let mut found = Vec::new();
    for (one, other) in pairs(&lefts, &rights) {
        let (one, other) = (one.and_then(|at| lefts.get(at)), other.and_then(|at| rights.get(at)));
        let Some(unit) = one.or(other) else { continue };
        let steps = |listing: Option<&'_ Listing>| listing.map_or_else(Vec::new, |listing| listing.steps.clone());
        let lines = side_by_side(&steps(one), &steps(other), context);
        found.push(UnitLines { unit: unit.unit.clone(), differs: true, lines });
    }
    edited(found)
}

/// Those of code objects whose instructions differ; what differs beside them has no lines to show.
#[must_use]
pub fn edited(units: Vec<UnitLines>) -> Vec<UnitLines> {
    units.into_iter().filter(|unit| unit.lines.iter().any(|line| line.mark != Mark::Skipped)).collect()
}

/// The first `most` lines of code objects; what is left out is counted in a last line.
#[must_use]
pub fn cut(units: Vec<UnitLines>, most: usize) -> Vec<UnitLines> {
    let mut left = most;
    let mut kept: Vec<UnitLines> = Vec::new();
    for mut unit in units {
        if left == 0 {
            break;
        }
        let beyond = unit.lines.len().saturating_sub(left);
        unit.lines.truncate(left);
        left -= unit.lines.len();
        skip(beyond, &mut unit.lines);
        kept.push(unit);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(opname: &str, argument: &str, operand: Operand) -> Step {
        Step { opname: opname.to_owned(), argument: argument.to_owned(), operand, ..Step::default() }
    }

    fn of(names: &[&str]) -> Vec<Step> {
        steps(names.iter().map(|name| {
            let (opname, argument) = name.split_once(' ').unwrap_or((name, ""));
            let operand = if argument.starts_with("to ") { Operand::Jump } else { Operand::Number };
            step(opname, argument, operand)
        }))
    }

    fn marks(lines: &[Line]) -> String {
        let mark = |line: &Line| match line.mark {
            Mark::Same => '=',
            Mark::Changed => '~',
            Mark::Removed => '-',
            Mark::Added => '+',
            Mark::Skipped => '.',
        };
        lines.iter().map(mark).collect()
    }

    #[test]
    fn where_a_jump_leads_and_how_wide_it_is_is_no_edit() {
        let (left, right) = (of(&["LOAD_FAST 1", "FOR_ITER to L2"]), of(&["LOAD_FAST 1", "EXTENDED_ARG 1", "FOR_ITER to L7"]));
        assert_eq!(script(&left, &right), [Stretch { left: 0..2, right: 0..2, same: true }]);
        assert_eq!((right.len(), right[1].instructions()), (2, 2));
        assert_eq!(marks(&side_by_side(&left, &right, 9)), "=+=", "a listing shows it");
        let lone = of(&["NOP", "EXTENDED_ARG 1"]);
        assert_eq!((lone.len(), lone[1].opname.as_str()), (2, PREFIX), "nothing follows it");
    }

    #[test]
    fn what_is_far_from_a_change_is_counted_and_not_shown() {
        let many: Vec<String> = (0..9).map(|n| format!("LOAD_CONST {n}")).collect();
        let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
        let left = of(&names);
        names[4] = "NOP";
        let lines = side_by_side(&left, &of(&names), 1);
        assert_eq!(marks(&lines), ".=~=.");
        assert_eq!((lines[0].left.as_deref(), lines[4].left.as_deref()), (Some("3"), Some("3")));
        assert_eq!(marks(&side_by_side(&left, &left, 3)), ".");
    }

    #[test]
    fn code_objects_are_a_pair_by_place_and_else_by_name() {
        let units =
            |names: &[&str]| names.iter().map(|unit| Listing { unit: (*unit).to_owned(), ..Listing::default() }).collect::<Vec<_>>();
        let left = units(&["<module>", "<module>.f@1", "<module>.g@4", "<module>.<lambda>@9", "<module>.<lambda>@9"]);
        let right = units(&["<module>", "<module>.f@2", "<module>.h@4", "<module>.<lambda>@9"]);
        let expected = [(Some(0), Some(0)), (Some(1), Some(1)), (Some(2), None), (Some(3), Some(3)), (Some(4), None), (None, Some(2))];
        assert_eq!(pairs(&left, &right), expected);
        assert_eq!(without_lines("<module>.C@3.m@-5.<lambda>@12"), "<module>.C.m.<lambda>");
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let line = |n: usize| Line { mark: Mark::Added, left: None, right: Some(n.to_string()) };
        let unit = |lines: usize| UnitLines { unit: String::new(), differs: true, lines: (0..lines).map(line).collect() };
        let kept = cut(vec![unit(3), unit(5), unit(2)], 5);
        assert_eq!(kept.iter().map(|unit| marks(&unit.lines)).collect::<Vec<_>>(), ["+++", "++."]);
        assert_eq!(kept[1].lines[2].left.as_deref(), Some("3"));
    }
}
