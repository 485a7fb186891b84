//! What instructions do to variables.
//!
//! A variable lives in one of four namespaces. `local` holds the frame's slots, `cell` what the cells of shared variables hold: a
//! `MAKE_CELL` puts the slot's value into a new cell and the cell into the slot, so that a `LOAD_FAST` of a shared variable (which
//! builds a closure) uses the `MAKE_CELL`, or the `COPY_FREE_VARS` that brought the cell from outside.
//!
//! A comprehension that is inlined borrows slots: `LOAD_FAST_AND_CLEAR` saves on the stack what a slot holds, a value, a cell or
//! nothing, and a `STORE_FAST` puts it back. If it is a cell, what the cell holds comes back with it; if it is nothing, the
//! `STORE_FAST` defines nothing. Which `LOAD_FAST_AND_CLEAR` saved what a `STORE_FAST` stores, the stack tells, however
//! comprehensions nest.

use super::saved::{self, Saved};
use super::stack::Stack;
use super::violation::Violation;
use crate::instruction::Instruction;
use crate::object::{Code, PyStr, flag, local_kind};
use crate::opcode::op;

/// One event of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The instruction.
    pub instr: u32,
    /// What happens.
    pub kind: AccessKind,
    /// To which variable.
    pub variable: Variable,
    /// Which of the instruction's uses it is, from 0; 0 for everything but uses.
    pub ordinal: u32,
}

/// What happens to a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// It is read.
    Use,
    /// It gets a value.
    Define,
    /// It loses its value.
    Delete,
    /// A new cell takes over what the slot of the same index in the local namespace holds: an argument, or nothing.
    Capture,
}

impl AccessKind {
    /// `use`, `define`, `delete` or `capture`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Define => "define",
            Self::Delete => "delete",
            Self::Capture => "capture",
        }
    }
}

/// A variable: a namespace and an index into the table of the code object that holds its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variable {
    /// Where it lives.
    pub namespace: Namespace,
    /// Index into `localsplusnames` for locals and cells, into `names` for globals and names.
    pub index: u32,
}

impl Variable {
    /// The name; `None` if `code` is not the code object that the variable belongs to.
    #[must_use]
    pub fn name(self, code: &Code) -> Option<&PyStr> {
        let table = match self.namespace {
            Namespace::Local | Namespace::Cell => &code.localsplusnames,
            Namespace::Global | Namespace::Name => &code.names,
        };
        table.get(self.index as usize)
    }
}

/// Where a variable lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// The fast slots of the frame.
    Local,
    /// What the cells of shared variables hold.
    Cell,
    /// The module's dictionary, as `*_GLOBAL` opcodes see it.
    Global,
    /// The dictionary of a module or class body, as `*_NAME` opcodes see it.
    Name,
}

impl Namespace {
    /// `local`, `cell`, `global` or `name`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cell => "cell",
            Self::Global => "global",
            Self::Name => "name",
        }
    }
}

/// The accesses of a code object, in the order in which its instructions make them.
pub(super) struct Accesses {
    pub(super) list: Vec<Access>,
    /// The accesses in `list` that save or restore a slot, in order.
    transfers: Vec<(usize, Transfer)>,
    /// The restoring instruction of each restore.
    pub(super) restores: Vec<u32>,
    /// How many instructions save a slot.
    saves: u32,
    locals: u32,
    names: u32,
}

/// What an access means for a saved slot.
#[derive(Debug, Clone, Copy)]
enum Transfer {
    /// The delete of a `LOAD_FAST_AND_CLEAR`, by the number of the save.
    Save(u32),
    /// A define that puts back what a save saved.
    Restore { restore: u32, save: u32 },
}

/// What one access does to one variable, by the variables' numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Use(usize),
    Set(usize, Given),
}

/// Where the value that a variable gets comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given {
    /// From nowhere: the variable loses its value.
    Nothing,
    /// From the instruction.
    Instr,
    /// From the variable of that number.
    Copy(usize),
    /// From the instruction, if the variable of that number, a saved slot, holds anything.
    Restored { restore: u32, saved: usize },
}

impl Step {
    /// The variable that is read.
    pub(super) fn used(self) -> Option<usize> {
        match self {
            Self::Use(variable) | Self::Set(_, Given::Copy(variable) | Given::Restored { saved: variable, .. }) => Some(variable),
            Self::Set(_, Given::Nothing | Given::Instr) => None,
        }
    }

    /// The variable that is set.
    pub(super) fn set(self) -> Option<usize> {
        match self {
            Self::Use(_) => None,
            Self::Set(variable, _) => Some(variable),
        }
    }
}

impl Accesses {
    /// A number for each variable, below [`Self::variables`].
    pub(super) fn number(&self, variable: Variable) -> usize {
        let base = match variable.namespace {
            Namespace::Local => 0,
            Namespace::Cell => self.locals,
            Namespace::Global => 2 * self.locals,
            Namespace::Name => 2 * self.locals + self.names,
        };
        (base + variable.index) as usize
    }

    /// How many variables there are, two for each save included: what it found in the slot and in the slot's cell.
    pub(super) fn variables(&self) -> usize {
        self.saved_slot(self.saves)
    }

    fn saved_slot(&self, save: u32) -> usize {
        2 * (self.locals + self.names + save) as usize
    }

    fn saved_cell(&self, save: u32) -> usize {
        self.saved_slot(save) + 1
    }

    /// What the access at `index` of the list does, in order.
    pub(super) fn steps(&self, index: usize) -> impl Iterator<Item = Step> {
        let access = self.list[index];
        let number = self.number(access.variable);
        let sibling = |namespace| self.number(Variable { namespace, ..access.variable });
        let only = |step| [Some(step), None, None, None];
        let steps = match (access.kind, self.transfer(index)) {
            (AccessKind::Use, _) => only(Step::Use(number)),
            (AccessKind::Delete, Some(Transfer::Save(save))) => {
                let cell = sibling(Namespace::Cell);
                [
                    Some(Step::Set(self.saved_slot(save), Given::Copy(number))),
                    Some(Step::Set(self.saved_cell(save), Given::Copy(cell))),
                    Some(Step::Set(number, Given::Nothing)),
                    Some(Step::Set(cell, Given::Nothing)),
                ]
            }
            (AccessKind::Define, Some(Transfer::Restore { restore, save })) => [
                Some(Step::Set(number, Given::Restored { restore, saved: self.saved_slot(save) })),
                Some(Step::Set(sibling(Namespace::Cell), Given::Copy(self.saved_cell(save)))),
                None,
                None,
            ],
            (AccessKind::Define, _) => only(Step::Set(number, Given::Instr)),
            (AccessKind::Delete, _) => only(Step::Set(number, Given::Nothing)),
            (AccessKind::Capture, _) => only(Step::Set(number, Given::Copy(sibling(Namespace::Local)))),
        };
        steps.into_iter().flatten()
    }

    fn transfer(&self, index: usize) -> Option<Transfer> {
        let found = self.transfers.binary_search_by_key(&index, |&(index, _)| index).ok()?;
        Some(self.transfers[found].1)
    }
}

/// How many of the first locals are arguments, `*args` and `**kwargs` included.
pub(super) fn arguments(code: &Code) -> usize {
    let positional = usize::try_from(code.argcount).unwrap_or(0).saturating_add(usize::try_from(code.kwonlyargcount).unwrap_or(0));
    let collected = usize::from(code.has_flag(flag::VARARGS)) + usize::from(code.has_flag(flag::VARKEYWORDS));
    positional.saturating_add(collected).min(code.localsplusnames.len())
}

/// Lists the accesses of a code object.
pub(super) fn collect(code: &Code, instructions: &[Instruction<'_>], stack: &Stack, violations: &mut Vec<Violation>) -> Accesses {
    let (locals, names) = (code.localsplusnames.len() as u32, code.names.len() as u32);
    let list = Vec::with_capacity(instructions.len() / 2);
    let accesses = Accesses { list, transfers: Vec::new(), restores: Vec::new(), saves: 0, locals, names };
    let saved = saved::find(instructions, stack);
    let mut collector = Collector { accesses, saved, stack, violations, instr: 0, ordinal: 0 };
    for (instr, instruction) in (0..).zip(instructions) {
        (collector.instr, collector.ordinal) = (instr, 0);
        collector.instruction(code, instruction.baseopcode, super::effect::unsigned(instruction.arg));
    }
    collector.accesses
}

struct Collector<'a> {
    accesses: Accesses,
    saved: Saved,
    stack: &'a Stack,
    violations: &'a mut Vec<Violation>,
    instr: u32,
    ordinal: u32,
}

impl Collector<'_> {
    fn instruction(&mut self, code: &Code, baseopcode: u8, arg: u32) {
        use AccessKind::{Capture, Define, Delete, Use};
        use Namespace::{Cell, Global, Local, Name};
        // The two locals of a superinstruction.
        let (first, second) = (arg >> 4, arg & 15);
        match baseopcode {
            op::LOAD_FAST | op::LOAD_FAST_CHECK => self.push(Use, Local, arg),
            op::LOAD_FAST_AND_CLEAR => {
                self.push(Use, Local, arg);
                self.save(arg);
            }
            op::LOAD_FAST_LOAD_FAST => {
                self.push(Use, Local, first);
                self.push(Use, Local, second);
            }
            op::STORE_FAST => self.store(arg, 0),
            op::STORE_FAST_LOAD_FAST => {
                self.store(first, 0);
                self.push(Use, Local, second);
            }
            op::STORE_FAST_STORE_FAST => {
                // The first takes what is on top, which is the last operand.
                self.store(first, 1);
                self.store(second, 0);
            }
            op::DELETE_FAST => self.push(Delete, Local, arg),

            op::MAKE_CELL => {
                self.push(Capture, Cell, arg);
                self.push(Define, Local, arg);
            }
            op::COPY_FREE_VARS => {
                for (index, kind) in (0..).zip(&code.localspluskinds) {
                    if kind & local_kind::FREE != 0 {
                        self.push(Define, Local, index);
                    }
                }
            }
            op::LOAD_DEREF | op::LOAD_FROM_DICT_OR_DEREF => self.push(Use, Cell, arg),
            op::STORE_DEREF => self.push(Define, Cell, arg),
            op::DELETE_DEREF => self.push(Delete, Cell, arg),

            op::LOAD_GLOBAL => self.push(Use, Global, arg >> 1),
            op::LOAD_FROM_DICT_OR_GLOBALS => self.push(Use, Global, arg),
            op::STORE_GLOBAL => self.push(Define, Global, arg),
            op::DELETE_GLOBAL => self.push(Delete, Global, arg),

            op::LOAD_NAME => self.push(Use, Name, arg),
            op::STORE_NAME => self.push(Define, Name, arg),
            op::DELETE_NAME => self.push(Delete, Name, arg),
            _ => {}
        }
    }

    /// The slot is saved on the stack and cleared.
    fn save(&mut self, slot: u32) {
        let index = self.accesses.list.len();
        self.push(AccessKind::Delete, Namespace::Local, slot);
        // What is never put back need not be followed.
        if index < self.accesses.list.len()
            && let Some(save) = self.saved.number(self.instr)
        {
            self.accesses.transfers.push((index, Transfer::Save(save)));
            self.accesses.saves = self.accesses.saves.max(save + 1);
        }
    }

    /// The slot gets an operand of the instruction, be it a value or what was saved.
    fn store(&mut self, slot: u32, operand: usize) {
        let index = self.accesses.list.len();
        self.push(AccessKind::Define, Namespace::Local, slot);
        let value = self.stack.operands(self.instr).get(operand).copied();
        if index < self.accesses.list.len()
            && let Some(save) = value.and_then(|value| self.saved.save_of(value))
        {
            let restore = self.accesses.restores.len() as u32;
            self.accesses.restores.push(self.instr);
            self.accesses.transfers.push((index, Transfer::Restore { restore, save }));
            self.accesses.saves = self.accesses.saves.max(save + 1);
        }
    }

    fn push(&mut self, kind: AccessKind, namespace: Namespace, index: u32) {
        let table = match namespace {
            Namespace::Local | Namespace::Cell => self.accesses.locals,
            Namespace::Global | Namespace::Name => self.accesses.names,
        };
        if index >= table {
            self.violations.push(Violation::UnknownVariable { instr: self.instr, variable: index });
            return;
        }
        let ordinal = if kind == AccessKind::Use { self.ordinal } else { 0 };
        self.ordinal += u32::from(kind == AccessKind::Use);
        self.accesses.list.push(Access { instr: self.instr, kind, variable: Variable { namespace, index }, ordinal });
    }
}
