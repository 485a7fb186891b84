//! Cuts code into blocks, and finds the edges between them.
//!
//! A block ends after every jump and every terminator, and starts at offset 0, at jump targets and at the starts, ends and targets of
//! exception table entries. So no entry covers a part of a block only, and a block has at most one `exc` edge.

use thiserror::Error;

use super::block::{Block, BlockKind, Edge, EdgeKind};
use super::violation::Violation;
use crate::exception_table::ExceptionEntry;
use crate::instruction::Instruction;
use crate::opcode::{self, op};

/// The opcodes after which control does not fall through, jumps aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminators([bool; 256]);

/// A name that CPython 3.13 gives to no opcode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no opcode is named {name:?}")]
pub struct UnknownOpname {
    /// The name.
    pub name: String,
}

impl Default for Terminators {
    /// `RETURN_VALUE`, `RETURN_CONST`, `RAISE_VARARGS` and `RERAISE`.
    fn default() -> Self {
        let mut set = [false; 256];
        for opcode in [op::RETURN_VALUE, op::RETURN_CONST, op::RAISE_VARARGS, op::RERAISE] {
            set[usize::from(opcode)] = true;
        }
        Self(set)
    }
}

impl Terminators {
    /// The opcodes of the given names.
    ///
    /// # Errors
    /// When a name is no opcode's.
    pub fn new<'a>(opnames: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownOpname> {
        let mut set = [false; 256];
        for name in opnames {
            let opcode = (0..=u8::MAX).find(|&opcode| opcode::name(opcode) == name);
            let opcode = opcode.ok_or_else(|| UnknownOpname { name: name.to_owned() })?;
            set[usize::from(opcode)] = true;
        }
        Ok(Self(set))
    }

    /// The names of the opcodes, by opcode number.
    pub fn opnames(&self) -> impl Iterator<Item = &'static str> {
        (0..=u8::MAX).filter(|&opcode| self.contains(opcode)).map(opcode::name)
    }

    pub(super) fn contains(&self, opcode: u8) -> bool {
        self.0[usize::from(opcode)]
    }
}

/// Where blocks start, and what is looked up by instruction.
pub(super) struct Layout<'a> {
    instructions: &'a [Instruction<'a>],
    terminators: &'a Terminators,
    pub(super) block_of: Vec<u32>,
    /// Instruction at which each handler starts, for the entries that are sound, with their indices and the instructions they cover.
    handlers: Vec<Handler>,
    /// First instruction of each block.
    starts: Vec<u32>,
}

/// A sound entry of the exception table, in instructions.
struct Handler {
    exc: u32,
    first: u32,
    /// Exclusive.
    end: u32,
    target: u32,
}

impl<'a> Layout<'a> {
    pub(super) fn new(
        instructions: &'a [Instruction<'a>],
        exceptions: &[ExceptionEntry],
        terminators: &'a Terminators,
        violations: &mut Vec<Violation>,
    ) -> Self {
        // One more than there are instructions: the end of the code may end an entry's range.
        let mut is_start = vec![false; instructions.len() + 1];
        is_start[0] = true;
        for (index, instruction) in instructions.iter().enumerate() {
            let jumps = opcode::has_jump(instruction.baseopcode);
            if jumps || terminators.contains(instruction.baseopcode) {
                is_start[index + 1] = true;
            }
            if !jumps {
                continue;
            }
            match instruction.jump_target.and_then(|target| position(instructions, target)) {
                Some(target) => is_start[target as usize] = true,
                None => violations.push(Violation::JumpTarget { instr: index as u32 }),
            }
        }
        let handlers = handlers(instructions, exceptions, violations);
        for handler in &handlers {
            for start in [handler.first, handler.end, handler.target] {
                is_start[start as usize] = true;
            }
        }
        let mut starts = Vec::with_capacity(is_start.iter().filter(|&&start| start).count());
        let block_of = (0..instructions.len() as u32).map(|index| {
            if is_start[index as usize] {
                starts.push(index);
            }
            starts.len() as u32 - 1
        });
        let block_of = block_of.collect();
        Self { instructions, terminators, block_of, handlers, starts }
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let ends = self.starts.iter().skip(1).copied().chain([self.instructions.len() as u32]);
        let mut blocks: Vec<_> = (self.starts.iter().zip(ends))
            .map(|(&first, end)| {
                let (first_instruction, last_instruction) = (&self.instructions[first as usize], &self.instructions[end as usize - 1]);
                Block {
                    start: first_instruction.offset,
                    end: last_instruction.end_offset,
                    kind: if first == 0 { BlockKind::Entry } else { BlockKind::Normal },
                    first_instr: first,
                    last_instr: end - 1,
                    is_exit: false,
                    is_reachable: false,
                    loop_depth: 0,
                    immediate_dominator: None,
                }
            })
            .collect();
        for handler in &self.handlers {
            let block = &mut blocks[self.block_of[handler.target as usize] as usize];
            if block.kind == BlockKind::Normal {
                block.kind = BlockKind::Handler;
            }
        }
        blocks
    }

    /// The edges ordered by source, and where those of each block start.
    pub(super) fn edges(&self, blocks: &mut [Block], violations: &mut Vec<Violation>) -> (Vec<Edge>, Vec<u32>) {
        let mut edges = Vec::with_capacity(blocks.len() * 2);
        let mut starts = Vec::with_capacity(blocks.len() + 1);
        let mut handlers = self.handlers.iter().peekable();
        let count = blocks.len() as u32;
        for (src, block) in (0..count).zip(blocks) {
            starts.push(edges.len() as u32);
            let last = &self.instructions[block.last_instr as usize];
            let way = Ending::after(last.baseopcode, self.terminators);
            block.is_exit = way == Ending::Exit;
            let edge = |dst, kind| Edge { src, dst, kind, polarity: None, condition: None, exc: None, is_back_edge: false };
            let condition = |edge, branches: bool| match way {
                Ending::Conditional { jumps_if } => {
                    Edge { polarity: Some(jumps_if == branches), condition: Some(block.last_instr), ..edge }
                }
                Ending::Next | Ending::Jump | Ending::Exit => edge,
            };
            if matches!(way, Ending::Next | Ending::Conditional { .. }) {
                if src + 1 < count {
                    edges.push(condition(edge(src + 1, EdgeKind::Next), false));
                } else {
                    violations.push(Violation::FallsOffEnd { instr: block.last_instr });
                }
            }
            let target = last.jump_target.filter(|_| matches!(way, Ending::Jump | Ending::Conditional { .. }));
            if let Some(target) = target.and_then(|target| position(self.instructions, target)) {
                let kind = if way == Ending::Jump { EdgeKind::Jump } else { EdgeKind::Branch };
                edges.push(condition(edge(self.block_of[target as usize], kind), true));
            }
            while handlers.next_if(|handler| handler.end <= block.first_instr).is_some() {}
            if let Some(handler) = handlers.peek().filter(|handler| handler.first <= block.first_instr) {
                let dst = self.block_of[handler.target as usize];
                edges.push(Edge { exc: Some(handler.exc), ..edge(dst, EdgeKind::Exc) });
            }
        }
        starts.push(edges.len() as u32);
        (edges, starts)
    }
}

/// How control leaves a block at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Next,
    Jump,
    /// Two ways, of which the jump is taken if the test has the outcome `jumps_if`.
    Conditional {
        jumps_if: bool,
    },
    Exit,
}

impl Ending {
    fn after(baseopcode: u8, terminators: &Terminators) -> Self {
        match baseopcode {
            op::JUMP_FORWARD | op::JUMP_BACKWARD | op::JUMP_BACKWARD_NO_INTERRUPT => Self::Jump,
            op::POP_JUMP_IF_TRUE | op::POP_JUMP_IF_NONE => Self::Conditional { jumps_if: true },
            op::POP_JUMP_IF_FALSE | op::POP_JUMP_IF_NOT_NONE | op::FOR_ITER | op::SEND => Self::Conditional { jumps_if: false },
            // An instrumented jump, which no compiler emits: both ways are open.
            _ if opcode::has_jump(baseopcode) => Self::Conditional { jumps_if: true },
            _ if terminators.contains(baseopcode) => Self::Exit,
            _ => Self::Next,
        }
    }
}

/// The entries of the exception table that are sound: ordered, apart from each other, and on the bounds of instructions.
fn handlers(instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry], violations: &mut Vec<Violation>) -> Vec<Handler> {
    let code_end = instructions.last().map_or(0, |instruction| instruction.end_offset);
    let at = |offset| if offset == code_end { Some(instructions.len() as u32) } else { position(instructions, offset) };
    let mut handlers = Vec::with_capacity(exceptions.len());
    let mut covered = 0;
    for (exc, entry) in (0..).zip(exceptions) {
        let (Some(first), Some(end), Some(target)) = (at(entry.start), at(entry.end), position(instructions, entry.target)) else {
            violations.push(Violation::ExceptionBounds { exc });
            continue;
        };
        if first < covered || end <= first {
            violations.push(Violation::ExceptionOverlap { exc });
            continue;
        }
        if target == 0 {
            violations.push(Violation::ExceptionAtEntry { exc });
        }
        covered = end;
        handlers.push(Handler { exc, first, end, target });
    }
    handlers
}

/// The instruction at an offset.
fn position(instructions: &[Instruction<'_>], offset: i32) -> Option<u32> {
    let found = instructions.binary_search_by_key(&offset, |instruction| instruction.offset).ok();
    found.map(|index| index as u32)
}
