//! What was done to the instructions of one side to get those of the other: the one place where two listings are aligned.
//!
//! Instructions are aligned by what they do: opcode, and what the argument stands for. Where they stand and where jumps lead shifts with every
//! insertion and is no edit of its own; `EXTENDED_ARG` is part of the instruction that it widens, so that a jump which has become longer is an edit of
//! that jump alone. Code objects and rows give the same [`Listing`], and drift, `diff` and reports show what is found here.

mod sides;

use std::collections::BTreeMap;
use std::ops::Range;

use bytefacts_bytecode::instruction::{ArgVal, Instruction};
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Unit, disassemble};
use similar::{Algorithm, DiffOp, capture_diff_slices};

pub use self::sides::{Line, Mark, UnitLines, cut, edited, of_code, side_by_side};
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
    let (of_left, of_right): (Vec<_>, Vec<_>) = (left.iter().map(Step::does).collect(), right.iter().map(Step::does).collect());
    let found = capture_diff_slices(Algorithm::Myers, &of_left, &of_right);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn step(opname: &str, argument: &str, operand: Operand) -> Step {
        Step { opname: opname.to_owned(), argument: argument.to_owned(), operand, ..Step::default() }
    }

    /// Instructions by opcode and argument.
    pub(super) fn of(names: &[&str]) -> Vec<Step> {
        steps(names.iter().map(|name| {
            let (opname, argument) = name.split_once(' ').unwrap_or((name, ""));
            let operand = if argument.starts_with("to ") { Operand::Jump } else { Operand::Number };
            step(opname, argument, operand)
        }))
    }

    #[test]
    fn where_a_jump_leads_and_how_wide_it_is_is_no_edit() {
        let (left, right) = (of(&["LOAD_FAST 1", "FOR_ITER to L2"]), of(&["LOAD_FAST 1", "EXTENDED_ARG 1", "FOR_ITER to L7"]));
        assert_eq!(script(&left, &right), [Stretch { left: 0..2, right: 0..2, same: true }]);
        assert_eq!((right.len(), right[1].instructions()), (2, 2));
        let lone = of(&["NOP", "EXTENDED_ARG 1"]);
        assert_eq!((lone.len(), lone[1].opname.as_str()), (2, PREFIX), "nothing follows it");
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
}
