//! Control flow, stack and data flow of a code object.
//!
//! [`analyze`] cuts the instructions into blocks (`layout`, `graph`), runs the stack over them symbolically (`stack`) and finds which
//! definition of a variable reaches which use (`reaching`). All of it is linear in the code but for edges that the code truly has:
//! merges are kept as phi nodes (`value`) and unfolded into producers only where an operand or a use asks for them (`data`).
//!
//! Code that no compiler writes (jumps into nowhere, a stack that runs empty) never fails: what is wrong is in
//! [`Flow::violations`], and the rest is analysed as far as it makes sense.

mod access;
mod block;
mod data;
mod dominators;
mod effect;
mod graph;
mod layout;
mod loops;
mod reaching;
mod saved;
#[cfg(test)]
mod shape_tests;
mod stack;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value;
mod violation;

pub use access::{Access, AccessKind, Namespace, Variable};
pub use block::{Block, BlockKind, Edge, EdgeKey, EdgeKind};
pub use data::{DataEdge, DataKind, Producer};
pub use effect::{Effect, Slots};
pub use layout::{Terminators, UnknownOpname};
pub use stack::StackRow;
pub use violation::Violation;

use crate::exception_table::ExceptionEntry;
use crate::instruction::Instruction;
use crate::object::Code;
use data::EdgeWriter;
use graph::Graph;

/// What the pops and pushes of one instruction are; `None` for numbers that CPython has no compiled opcode for.
#[must_use]
pub fn effect(baseopcode: u8, arg: Option<i32>) -> Option<Effect> {
    effect::of(baseopcode, effect::unsigned(arg))
}

/// The flow of one code object. Instructions are named by their position in the stream that was analysed, blocks by their position
/// in [`Flow::blocks`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Blocks in the order of the code; they partition it.
    pub blocks: Vec<Block>,
    /// Edges ordered by source block: `next`, then `branch` or `jump`, then `exc`.
    pub edges: Vec<Edge>,
    /// The block of each instruction.
    pub block_of: Vec<u32>,
    /// Stack depths, pops and pushes of each instruction.
    pub stack: Vec<StackRow>,
    /// The greatest depth that a reachable point of the code has.
    pub max_stack_depth: i32,
    /// Uses of values, ordered by using instruction, kind, operand and producer, each once.
    pub data_edges: Vec<DataEdge>,
    /// What each instruction does to variables, in the order in which it happens. Covers unreachable code too.
    pub accesses: Vec<Access>,
    /// What is wrong with the code, ordered by kind and place; empty for everything that CPython's compiler writes.
    pub violations: Vec<Violation>,
}

/// Analyses a code object: `instructions` and `exceptions` are its own, as [`disassemble`] and [`parse`] give them.
///
/// [`disassemble`]: crate::instruction::disassemble
/// [`parse`]: crate::exception_table::parse
#[must_use]
pub fn analyze(code: &Code, instructions: &[Instruction<'_>], exceptions: &[ExceptionEntry], terminators: &Terminators) -> Flow {
    let mut violations = Vec::new();
    if instructions.is_empty() {
        return Flow { violations: vec![Violation::Empty], ..Flow::default() };
    }
    let mut graph = Graph::build(instructions, exceptions, terminators, &mut violations);
    loops::nest(&mut graph);
    let stack = stack::run(code, instructions, exceptions, &graph, &mut violations);
    let accesses = access::collect(code, instructions, &stack, &mut violations);
    let uses = reaching::run(code, &accesses, &graph);

    let mut writer = EdgeWriter::new(instructions.len());
    // The stack first, so that a limit on edges drops uses of variables, which may be quadratic, before any operand.
    for instr in 0..instructions.len() as u32 {
        writer.stack_operands(instr, &stack, &graph);
    }
    for (access, &value) in accesses.list.iter().zip(&uses.values) {
        writer.variable_use(access, value, &uses);
    }
    let data_edges = writer.finish(&mut violations);
    // A block may be run more than once and then reports its faults again.
    violations.sort_unstable();
    violations.dedup();

    Flow {
        blocks: graph.blocks,
        edges: graph.edges,
        block_of: graph.block_of,
        stack: stack.rows,
        max_stack_depth: stack.max_depth,
        data_edges,
        accesses: accesses.list,
        violations,
    }
}
