//! Code in which the locals of inlined comprehensions stand in an order of their own.
//!
//! CPython 3.13 inlines a comprehension into the body of its class and saves the locals that it hides: its own variables in the order of the source,
//! then the variables of outer scopes that functions inside it use, in the order of a set, which follows the hash seed. Numbers of slots and the
//! order of saving and restoring follow that, and nothing else does: code that is the same once both are put in order does the same.

use std::collections::BTreeMap;

use bytefacts_bytecode::instruction::{ArgVal, Instruction};
use bytefacts_bytecode::object::local_kind::{FREE, HIDDEN};
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Code, Const, PyStr, canonical, disassemble};

/// Whether two code objects differ, and in nothing but the order of such locals.
#[must_use]
pub fn only_renumbered(left: &Code, right: &Code) -> bool {
    canonical::encode(left) != canonical::encode(right) && canonical::encode(&in_order(left)) == canonical::encode(&in_order(right))
}

/// The code object, and all inside it, with its locals in order.
#[must_use]
pub fn in_order(code: &Code) -> Code {
    let inside = |constant: &Const| match constant {
        Const::Code(code) => Const::Code(Box::new(in_order(code))),
        other => other.clone(),
    };
    let code = Code { consts: code.consts.iter().map(inside).collect(), ..code.clone() };
    renumbered(&code).unwrap_or(code)
}

/// The code object with its locals in order, if it has such whose order is a set's.
fn renumbered(code: &Code) -> Option<Code> {
    if code.localsplusnames.len() > 1 + usize::from(u8::MAX) {
        return None; // arguments with prefixes, whose number would follow the slots
    }
    let locals = Locals { code };
    let instructions = disassemble(code).ok()?;
    let turned = turned(&locals, &instructions)?;
    let mut numbers = Numbers { locals, free: locals.hidden(), of: BTreeMap::new() };
    let mut bytes = code.code.clone();
    for (at, instruction) in instructions.iter().enumerate() {
        let argument = u8::try_from(instruction.arg.unwrap_or(-1)).ok();
        let number = match (instruction.argval, argument) {
            (ArgVal::Local(_) | ArgVal::Free(_), Some(slot)) => numbers.of(turned.get(&at).copied().unwrap_or(slot)),
            (ArgVal::LocalPair(..), Some(pair)) => {
                let (first, second) = (numbers.of(pair >> 4), numbers.of(pair & 0xF));
                if first.max(second) > 0xF {
                    return None; // the compiler would have written two instructions
                }
                first << 4 | second
            }
            (ArgVal::Local(_) | ArgVal::Free(_) | ArgVal::LocalPair(..), None) => return None,
            _ => continue,
        };
        *bytes.get_mut(usize::try_from(instruction.offset).ok()? + 1)? = number;
    }
    let (mut names, mut kinds) = (code.localsplusnames.clone(), code.localspluskinds.clone());
    for (slot, name) in code.localsplusnames.iter().enumerate() {
        let number = usize::from(numbers.of(u8::try_from(slot).ok()?));
        names.get_mut(number)?.clone_from(name);
        *kinds.get_mut(number)? = *code.localspluskinds.get(slot)?;
    }
    Some(Code { code: bytes, localsplusnames: names, localspluskinds: kinds, ..code.clone() })
}

/// Which slot each instruction that saves or restores one has instead, by its place, once those whose order is a set's are saved in order of their
/// names. `None` if there are none, or if it cannot be told which save a restore belongs to.
fn turned(locals: &Locals<'_>, instructions: &[Instruction<'_>]) -> Option<BTreeMap<usize, u8>> {
    let mut turned = BTreeMap::new();
    let mut saves: BTreeMap<Vec<u8>, BTreeMap<u8, u8>> = BTreeMap::new();
    for save in runs(locals, instructions, op::LOAD_FAST_AND_CLEAR) {
        let saved: Vec<u8> = save.iter().map(|(_, slot)| *slot).filter(|slot| locals.is_passed_through(*slot)).collect();
        let mut sorted = saved.clone();
        sorted.sort_by_key(|slot| locals.name(*slot));
        let instead: BTreeMap<u8, u8> = saved.into_iter().zip(sorted).collect();
        turned.extend(save.iter().filter_map(|(at, slot)| Some((*at, *instead.get(slot)?))));
        if saves.insert(slots(&save), instead.clone()).is_some_and(|other| other != instead) {
            return None;
        }
    }
    for restore in runs(locals, instructions, op::STORE_FAST) {
        let Some(instead) = saves.get(&slots(&restore)) else { continue };
        turned.extend(restore.iter().filter_map(|(at, slot)| Some((*at, *instead.get(slot)?))));
    }
    (!turned.is_empty()).then_some(turned)
}

/// Hidden slots that an opcode names without another in between, cells that are made of them aside: the place of each instruction, and its slot.
fn runs(locals: &Locals<'_>, instructions: &[Instruction<'_>], opcode: u8) -> Vec<Vec<(usize, u8)>> {
    let mut runs = vec![Vec::new()];
    for (at, instruction) in instructions.iter().enumerate() {
        let slot = instruction.arg.and_then(|arg| u8::try_from(arg).ok()).filter(|slot| locals.is_hidden(*slot));
        match (slot, runs.last_mut()) {
            (Some(slot), Some(run)) if instruction.opcode == opcode => run.push((at, slot)),
            _ if instruction.opcode == op::MAKE_CELL => {}
            (_, Some(run)) if run.is_empty() => {}
            _ => runs.push(Vec::new()),
        }
    }
    runs
}

/// The slots of a run, whatever their order.
fn slots(run: &[(usize, u8)]) -> Vec<u8> {
    let mut slots: Vec<u8> = run.iter().map(|(_, slot)| *slot).collect();
    slots.sort_unstable();
    slots
}

/// The table of locals.
#[derive(Clone, Copy)]
struct Locals<'a> {
    code: &'a Code,
}

impl<'a> Locals<'a> {
    fn name(&self, slot: u8) -> Option<&'a PyStr> {
        self.code.localsplusnames.get(usize::from(slot))
    }

    fn is_hidden(&self, slot: u8) -> bool {
        self.code.localspluskinds.get(usize::from(slot)).is_some_and(|kind| kind & HIDDEN != 0)
    }

    /// Whether a hidden slot is of a variable of an outer scope.
    fn is_passed_through(&self, slot: u8) -> bool {
        let free = self.code.localsplusnames.iter().zip(&self.code.localspluskinds).filter(|(_, kind)| **kind & FREE != 0);
        self.is_hidden(slot) && free.into_iter().any(|(name, _)| Some(name) == self.name(slot))
    }

    /// The hidden slots, the last first.
    fn hidden(&self) -> Vec<u8> {
        (0..=u8::MAX).rev().filter(|slot| self.is_hidden(*slot)).collect()
    }
}

/// Numbers of hidden slots, given in the order in which they are asked for; others keep theirs.
struct Numbers<'a> {
    locals: Locals<'a>,
    /// Those that no slot has yet, the last first.
    free: Vec<u8>,
    of: BTreeMap<u8, u8>,
}

impl Numbers<'_> {
    fn of(&mut self, slot: u8) -> u8 {
        if let Some(number) = self.of.get(&slot) {
            return *number;
        }
        let number = if self.locals.is_hidden(slot) { self.free.pop().unwrap_or(slot) } else { slot };
        self.of.insert(slot, number);
        number
    }
}
