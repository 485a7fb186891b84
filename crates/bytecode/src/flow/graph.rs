//! Blocks and edges: the control flow graph.
//!
//! A block ends after every jump and every terminator, and starts at offset 0, at jump targets and at the starts, ends and targets of
//! exception table entries. So no entry covers a part of a block only, and a block has at most one `exc` edge.

use std::fmt;

use thiserror::Error;

use super::dominators::{DomTree, NONE};
use super::violation::Violation;
use crate::exception_table::ExceptionEntry;
use crate::instruction::Instruction;
use crate::opcode::{self, op};

/// A run of instructions that is entered at its start and left at its end, or by an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Byte offset of the first instruction.
    pub start: i32,
    /// Byte offset after the last instruction and its caches.
    pub end: i32,
    /// What enters it.
    pub kind: BlockKind,
    /// Its first instruction.
    pub first_instr: u32,
    /// Its last instruction, included.
    pub last_instr: u32,
    /// Whether it ends in a terminator: nothing but an exception handler of the same code can follow it.
    pub is_exit: bool,
    /// Whether a path of edges leads to it from the entry.
    pub is_reachable: bool,
    /// How many loops it lies in. A loop is what reaches its header's back edges without passing the header; 0 if unreachable.
    pub loop_depth: u32,
    /// The last block that every path to this one passes before it; `None` for the entry and for unreachable blocks.
    pub immediate_dominator: Option<u32>,
}

/// What enters a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// The start of the code.
    Entry,
    /// The target of an exception table entry.
    Handler,
    /// Anything else.
    Normal,
}

impl BlockKind {
    /// `entry`, `handler` or `normal`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Handler => "handler",
            Self::Normal => "normal",
        }
    }
}

/// A way from one block to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The block that it leaves.
    pub src: u32,
    /// The block that it enters.
    pub dst: u32,
    /// How it is taken.
    pub kind: EdgeKind,
    /// For the two edges of a conditional jump: the outcome of the test that takes this edge. `POP_JUMP_IF_NONE` and
    /// `POP_JUMP_IF_NOT_NONE` both test whether the value is `None`; `FOR_ITER` and `SEND` test whether there is a next value.
    pub polarity: Option<bool>,
    /// For the two edges of a conditional jump: the jump.
    pub condition: Option<u32>,
    /// For an `exc` edge: the exception table entry.
    pub exc: Option<u32>,
    /// Whether its destination dominates its source, so that it closes a loop.
    pub is_back_edge: bool,
}

/// How an edge is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// By falling through.
    Next,
    /// By a conditional jump that jumps.
    Branch,
    /// By an unconditional jump.
    Jump,
    /// By an exception that any instruction of the source raises.
    Exc,
}

impl EdgeKind {
    /// `next`, `branch`, `jump` or `exc`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Branch => "branch",
            Self::Jump => "jump",
            Self::Exc => "exc",
        }
    }
}

impl Edge {
    /// A text that no other edge of the code object has; `blocks` are the code object's.
    #[must_use]
    pub fn key<'a>(&'a self, blocks: &'a [Block]) -> EdgeKey<'a> {
        EdgeKey { edge: self, blocks }
    }
}

/// The text of an edge's key: `SRC_START:DST_START:KIND`, and for `exc` the entry's index after it.
#[derive(Debug, Clone, Copy)]
pub struct EdgeKey<'a> {
    edge: &'a Edge,
    blocks: &'a [Block],
}

impl fmt::Display for EdgeKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = |block: u32| self.blocks.get(block as usize).map_or(-1, |block| block.start);
        write!(f, "{}:{}:{}", start(self.edge.src), start(self.edge.dst), self.edge.kind.as_str())?;
        match self.edge.exc {
            Some(exc) => write!(f, ":{exc}"),
            None => Ok(()),
        }
    }
}

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

    fn contains(&self, opcode: u8) -> bool {
        self.0[usize::from(opcode)]
    }
}

/// The graph, with what the analyses ask of it.
pub(super) struct Graph {
    pub(super) blocks: Vec<Block>,
    /// Ordered by source.
    pub(super) edges: Vec<Edge>,
    /// The block of each instruction.
    pub(super) block_of: Vec<u32>,
    pub(super) tree: DomTree,
    /// Where the edges of each block start in `edges`, with an end at the end.
    successors: Vec<u32>,
    /// Indices of edges, ordered by destination.
    predecessors: Vec<u32>,
    /// Where the edges into each block start in `predecessors`, with an end at the end.
    predecessor_starts: Vec<u32>,
}

impl Graph {
    /// All but how deep in loops blocks lie.
    pub(super) fn build(
        instructions: &[Instruction<'_>],
        exceptions: &[ExceptionEntry],
        terminators: &Terminators,
        violations: &mut Vec<Violation>,
    ) -> Self {
        let layout = Layout::new(instructions, exceptions, terminators, violations);
        let mut blocks = layout.blocks();
        let (mut edges, successors) = layout.edges(&mut blocks, violations);
        let (predecessors, predecessor_starts) = by_destination(&edges, blocks.len());
        let tree = DomTree::new(
            blocks.len(),
            |block| edges[range(&successors, block)].iter().map(|edge| edge.dst),
            |block| predecessors[range(&predecessor_starts, block)].iter().map(|&edge| edges[edge as usize].src),
        );
        for (index, block) in (0..).zip(&mut blocks) {
            block.is_reachable = tree.is_reachable(index);
            block.immediate_dominator = tree.immediate_dominator(index);
        }
        for edge in &mut edges {
            edge.is_back_edge = tree.is_reachable(edge.src) && tree.dominates(edge.dst, edge.src);
        }
        Self { block_of: layout.block_of, blocks, edges, tree, successors, predecessors, predecessor_starts }
    }

    pub(super) fn successors(&self, block: u32) -> &[Edge] {
        &self.edges[range(&self.successors, block)]
    }

    pub(super) fn predecessors(&self, block: u32) -> impl Iterator<Item = &Edge> {
        self.predecessors[range(&self.predecessor_starts, block)].iter().map(|&edge| &self.edges[edge as usize])
    }

    /// The `exc` edge of a block.
    pub(super) fn exception(&self, block: u32) -> Option<&Edge> {
        self.successors(block).last().filter(|edge| edge.kind == EdgeKind::Exc)
    }
}

/// The part of a table that belongs to an index, by a table of starts.
pub(super) fn range(starts: &[u32], index: u32) -> std::ops::Range<usize> {
    let index = index as usize;
    starts[index] as usize..starts[index + 1] as usize
}

/// Turns counts of items into the starts of their groups: `counts[i + 1]` is the number of items of group `i`, and `counts[0]` is 0.
pub(super) fn accumulate(counts: &mut [u32]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

fn by_destination(edges: &[Edge], blocks: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0; blocks + 1];
    if edges.is_empty() {
        return (Vec::new(), starts);
    }
    for edge in edges {
        starts[edge.dst as usize + 1] += 1;
    }
    accumulate(&mut starts);
    let mut next = starts.clone();
    let mut order = vec![0; edges.len()];
    for (index, edge) in (0..).zip(edges) {
        let place = &mut next[edge.dst as usize];
        order[*place as usize] = index;
        *place += 1;
    }
    (order, starts)
}

/// Where blocks start, and what is looked up by instruction.
struct Layout<'a> {
    instructions: &'a [Instruction<'a>],
    terminators: &'a Terminators,
    block_of: Vec<u32>,
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
    fn new(
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

    fn blocks(&self) -> Vec<Block> {
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
    fn edges(&self, blocks: &mut [Block], violations: &mut Vec<Violation>) -> (Vec<Edge>, Vec<u32>) {
        let mut edges = Vec::with_capacity(blocks.len() * 2);
        let mut starts = Vec::with_capacity(blocks.len() + 1);
        let mut handlers = self.handlers.iter().peekable();
        let count = blocks.len() as u32;
        for (src, block) in (0..count).zip(blocks) {
            starts.push(edges.len() as u32);
            let last = &self.instructions[block.last_instr as usize];
            let way = Way::after(last.baseopcode, self.terminators);
            block.is_exit = way == Way::Exit;
            let edge = |dst, kind| Edge { src, dst, kind, polarity: None, condition: None, exc: None, is_back_edge: false };
            let condition = |edge, branches: bool| match way {
                Way::Conditional { jumps_if } => Edge { polarity: Some(jumps_if == branches), condition: Some(block.last_instr), ..edge },
                Way::Next | Way::Jump | Way::Exit => edge,
            };
            if matches!(way, Way::Next | Way::Conditional { .. }) {
                if src + 1 < count {
                    edges.push(condition(edge(src + 1, EdgeKind::Next), false));
                } else {
                    violations.push(Violation::FallsOffEnd { instr: block.last_instr });
                }
            }
            let target = last.jump_target.filter(|_| matches!(way, Way::Jump | Way::Conditional { .. }));
            if let Some(target) = target.and_then(|target| position(self.instructions, target)) {
                let kind = if way == Way::Jump { EdgeKind::Jump } else { EdgeKind::Branch };
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
enum Way {
    Next,
    Jump,
    /// Two ways, of which the jump is taken if the test has the outcome `jumps_if`.
    Conditional {
        jumps_if: bool,
    },
    Exit,
}

impl Way {
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

/// An index as an `Option`, by the mark for none.
pub(super) fn some(index: u32) -> Option<u32> {
    (index != NONE).then_some(index)
}
