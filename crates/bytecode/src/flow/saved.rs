//! Which `LOAD_FAST_AND_CLEAR` a value on the stack comes from.

use super::stack::Stack;
use super::value::Value;
use crate::instruction::Instruction;
use crate::opcode::op;

/// The saves of a code object.
pub(super) struct Saved {
    /// The instructions that save a slot, ascending; the number of a save is its place here.
    instrs: Vec<u32>,
    /// For each phi of the stack what it is; empty if nothing is saved.
    phis: Vec<Origin>,
}

/// What the values are that a phi may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// None is known yet.
    Open,
    /// All of one save.
    Save(u32),
    /// Anything else.
    Other,
}

/// Finds the saves, and the phis that stand for them.
pub(super) fn find(instructions: &[Instruction<'_>], stack: &Stack) -> Saved {
    let saving = (0..).zip(instructions).filter(|(_, instruction)| instruction.baseopcode == op::LOAD_FAST_AND_CLEAR);
    let mut saved = Saved { instrs: saving.map(|(instr, _)| instr).collect(), phis: Vec::new() };
    if saved.instrs.is_empty() {
        return saved;
    }
    saved.phis = vec![Origin::Open; stack.phis.len()];
    // An origin changes at most twice, from open to a save and to other, and only then its users are looked at again.
    let users = stack.phis.users();
    let mut todo: Vec<u32> = (0..stack.phis.len() as u32).collect();
    while let Some(phi) = todo.pop() {
        let found = stack.phis.operands(phi).fold(Origin::Open, |origin, value| origin.with(saved.origin(value)));
        if std::mem::replace(&mut saved.phis[phi as usize], found) != found {
            todo.extend(users.of(phi));
        }
    }
    saved
}

impl Origin {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open, origin) | (origin, Self::Open) => origin,
            (Self::Save(one), Self::Save(two)) if one == two => self,
            _ => Self::Other,
        }
    }
}

impl Saved {
    /// The number of the save that an instruction makes.
    pub(super) fn number(&self, instr: u32) -> Option<u32> {
        self.instrs.binary_search(&instr).ok().map(|place| place as u32)
    }

    /// The save that a value certainly comes from.
    pub(super) fn save_of(&self, value: Value) -> Option<u32> {
        match self.origin(value) {
            Origin::Save(save) => Some(save),
            Origin::Open | Origin::Other => None,
        }
    }

    fn origin(&self, value: Value) -> Origin {
        match value {
            Value::Instr(instr) => self.number(instr).map_or(Origin::Other, Origin::Save),
            Value::Phi(phi) => self.phis.get(phi as usize).copied().unwrap_or(Origin::Other),
            _ => Origin::Other,
        }
    }
}
