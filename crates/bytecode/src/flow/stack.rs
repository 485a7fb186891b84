//! Runs the stack symbolically over the graph.
//!
//! Each block starts with the stack that its first predecessor left; where another way brings a different value into a slot, that
//! slot becomes a phi, and the block is run again if it was run already. A slot changes at most once in each block, so this ends
//! soon: twice over a block is the rule for a loop. Stacks are persistent linked lists that share their lower parts, so a merge
//! looks only at what differs, however deep the stack is.

use super::block::EdgeKind;
use super::effect::{self, Effect};
use super::graph::Graph;
use super::value::{Phis, Value};
use super::violation::Violation;
use crate::exception_table::ExceptionEntry;
use crate::instruction::Instruction;
use crate::object::Code;

/// The stack around one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StackRow {
    /// Depth before the instruction; `None` where no path leads.
    pub depth_before: Option<i32>,
    /// Depth after it, jump or no jump; `None` where no path leads.
    pub depth_after: Option<i32>,
    /// How many values it takes from the top.
    pub pops: i32,
    /// How many values it puts on top.
    pub pushes: i32,
    /// How many operands it uses: what it pops and what it only looks at.
    pub operands: i32,
}

/// What running the stack found.
pub(super) struct Stack {
    pub(super) rows: Vec<StackRow>,
    pub(super) max_depth: i32,
    pub(super) phis: Phis,
    /// Where the operands of each instruction stand in `operands`.
    operand_ranges: Vec<(u32, u32)>,
    operands: Vec<Value>,
}

impl Stack {
    /// The operands of an instruction; none if no path leads to it.
    pub(super) fn operands(&self, instr: u32) -> &[Value] {
        let (start, end) = self.operand_ranges[instr as usize];
        &self.operands[start as usize..end as usize]
    }
}

/// Runs the stack over a code object.
pub(super) fn run(
    code: &Code,
    instructions: &[Instruction<'_>],
    exceptions: &[ExceptionEntry],
    graph: &Graph,
    violations: &mut Vec<Violation>,
) -> Stack {
    let mut machine = Machine::new(instructions, exceptions, graph, violations);
    machine.run();
    machine.complete();
    let Machine { rows, max_depth, phis, operand_ranges, operands, .. } = machine;
    let max_depth = depth_i32(max_depth);
    if max_depth > code.stacksize {
        violations.push(Violation::Stacksize { depth: max_depth, stacksize: code.stacksize });
    }
    Stack { rows, max_depth, phis, operand_ranges, operands }
}

/// A depth has 31 bits: a stack is no deeper than there are cells (`Cells::new`).
fn depth_i32(depth: u32) -> i32 {
    depth.cast_signed()
}

struct Machine<'a> {
    instructions: &'a [Instruction<'a>],
    exceptions: &'a [ExceptionEntry],
    graph: &'a Graph,
    violations: &'a mut Vec<Violation>,
    cells: Cells,
    /// The stack at the start of each block, once a way into it is known.
    entries: Vec<Option<Top>>,
    /// Blocks to run, by position in reverse postorder.
    dirty: Vec<bool>,
    /// Position of each block in reverse postorder.
    positions: Vec<u32>,
    phis: Phis,
    /// The block that each phi belongs to.
    phi_blocks: Vec<u32>,
    rows: Vec<StackRow>,
    max_depth: u32,
    operand_ranges: Vec<(u32, u32)>,
    operands: Vec<Value>,
    scratch: Vec<Value>,
}

impl<'a> Machine<'a> {
    fn new(
        instructions: &'a [Instruction<'a>],
        exceptions: &'a [ExceptionEntry],
        graph: &'a Graph,
        violations: &'a mut Vec<Violation>,
    ) -> Self {
        let order = &graph.tree.reverse_postorder;
        let mut positions = vec![0; graph.blocks.len()];
        for (position, &block) in (0..).zip(order) {
            positions[block as usize] = position;
        }
        Self {
            instructions,
            exceptions,
            graph,
            violations,
            cells: Cells::new(instructions.len()),
            entries: vec![None; graph.blocks.len()],
            dirty: vec![false; order.len()],
            positions,
            phis: Phis::default(),
            phi_blocks: Vec::new(),
            rows: vec![StackRow::default(); instructions.len()],
            max_depth: 0,
            operand_ranges: vec![(0, 0); instructions.len()],
            operands: Vec::with_capacity(instructions.len() + instructions.len() / 4),
            scratch: Vec::new(),
        }
    }

    /// Gives what no path leads to its pops, pushes and operands too.
    fn complete(&mut self) {
        for (instr, instruction) in (0..).zip(self.instructions) {
            if self.rows[instr as usize].depth_before.is_none() {
                self.effect(instr, instruction);
            }
        }
    }

    /// The effect of an instruction, noted in its row.
    fn effect(&mut self, instr: u32, instruction: &Instruction<'_>) -> Option<Effect> {
        let arg = effect::unsigned(instruction.arg);
        let Some(effect) = effect::of(instruction.baseopcode, arg) else {
            self.violations.push(Violation::UnknownOpcode { instr, opcode: instruction.baseopcode });
            return None;
        };
        let Some([pops, pushes, operands]) = effect.counts() else {
            self.violations.push(Violation::StackArgument { instr, arg });
            return None;
        };
        let row = &mut self.rows[instr as usize];
        (row.pops, row.pushes, row.operands) = (pops, pushes, operands);
        Some(effect)
    }

    /// Runs blocks until no start of a block changes any more.
    fn run(&mut self) {
        let order = &self.graph.tree.reverse_postorder;
        self.enter(0, BOTTOM);
        loop {
            let mut again = false;
            for (position, &block) in order.iter().enumerate() {
                if std::mem::take(&mut self.dirty[position]) {
                    again |= self.run_block(block, position);
                }
            }
            if !again {
                return;
            }
        }
    }

    /// Runs a block from its entry. Returns whether a block at or before `position` has to be run again.
    fn run_block(&mut self, block: u32, position: usize) -> bool {
        let Some(mut top) = self.entries[block as usize] else { return false };
        let graph = self.graph;
        let (first, last) = (graph.blocks[block as usize].first_instr, graph.blocks[block as usize].last_instr);
        let handler = graph.exception(block).map(|edge| (edge.dst, edge.exc.unwrap_or(0)));
        let mut again = false;
        if let Some(handler) = handler {
            again |= self.raise(handler, top, first, position);
        }
        for instr in first..=last {
            let instruction = &self.instructions[instr as usize];
            let before = self.cells.depth(top);
            let Some((after, low)) = self.step(instr, instruction, top) else { return again };
            top = after;
            let depth = self.cells.depth(top);
            self.max_depth = self.max_depth.max(before).max(depth);
            let row = &mut self.rows[instr as usize];
            (row.depth_before, row.depth_after) = (Some(depth_i32(before)), Some(depth_i32(depth)));
            // What lies below the handler's depth seldom changes inside the range; if it does, the next instruction raises with it.
            if let Some((_, exc)) = handler
                && instr < last
                && i64::from(low) < i64::from(self.exceptions[exc as usize].depth)
            {
                again |= handler.is_some_and(|handler| self.raise(handler, top, instr + 1, position));
            }
        }
        for edge in graph.successors(block) {
            if edge.kind != EdgeKind::Exc {
                again |= self.flow_into(edge.dst, top, position);
            }
        }
        again
    }

    /// One instruction: the stack after it, and how many slots from the bottom it left alone. `None` if it cannot be followed.
    fn step(&mut self, instr: u32, instruction: &Instruction<'_>, top: Top) -> Option<(Top, u32)> {
        use crate::opcode::op;
        let depth = self.cells.depth(top);
        let arg = effect::unsigned(instruction.arg);
        let Some(effect) = self.effect(instr, instruction) else { return Some((top, depth)) };
        let sound = match effect.reach() {
            Some(needed) if needed > depth => {
                self.violations.push(Violation::Underflow { instr, depth: depth_i32(depth), needed });
                false
            }
            Some(_) => true,
            None => {
                self.violations.push(Violation::StackArgument { instr, arg });
                false
            }
        };
        if sound && effect.operands() > 0 {
            self.record(instr, &effect, top);
        }
        if !self.cells.has_room(effect.pushes) {
            self.violations.push(Violation::PushLimit { instr, pushes: effect.pushes });
            return None;
        }
        match instruction.baseopcode {
            op::COPY => {
                let value = if sound { self.cells.value(self.cells.at(top, arg)) } else { Value::Nothing };
                Some((self.cells.push(top, value), depth))
            }
            op::SWAP if sound => Some((self.swap(top, arg), depth - arg)),
            _ => {
                let low = depth.saturating_sub(effect.pops);
                let mut after = self.cells.cut(top, low);
                for _ in 0..effect.pushes {
                    after = self.cells.push(after, Value::Instr(instr));
                }
                Some((after, low))
            }
        }
    }

    /// Notes the operands of an instruction. A block that is run again overwrites what it noted before: the count is the same.
    fn record(&mut self, instr: u32, effect: &Effect, top: Top) {
        let count = effect.operands() as usize;
        let (start, end) = self.operand_ranges[instr as usize];
        let start = if start == end {
            let start = self.operands.len();
            self.operands.resize(start + count, Value::Nothing);
            self.operand_ranges[instr as usize] = (start as u32, (start + count) as u32);
            start
        } else {
            start as usize
        };
        let (popped, peeked) = self.operands[start..start + count].split_at_mut(effect.pops as usize);
        let slots = effect.peeks.iter().flat_map(|run| run.iter());
        for (place, slot) in peeked.iter_mut().zip(slots) {
            *place = self.cells.value(self.cells.at(top, slot));
        }
        let mut cell = top;
        for place in popped.iter_mut().rev() {
            *place = self.cells.value(cell);
            cell = self.cells.below(cell);
        }
    }

    /// Exchanges the top with the slot `arg` from the top.
    fn swap(&mut self, top: Top, arg: u32) -> Top {
        let mut cell = top;
        self.scratch.clear();
        for _ in 0..arg {
            self.scratch.push(self.cells.value(cell));
            cell = self.cells.below(cell);
        }
        let last = self.scratch.len().saturating_sub(1);
        self.scratch.swap(0, last);
        while let Some(value) = self.scratch.pop() {
            cell = self.cells.push(cell, value);
        }
        cell
    }

    /// Enters a handler from before an instruction.
    fn raise(&mut self, (handler, exc): (u32, u32), top: Top, instr: u32, position: usize) -> bool {
        let entry = &self.exceptions[exc as usize];
        let depth = self.cells.depth(top);
        let kept = u32::try_from(entry.depth).unwrap_or(0);
        if depth < kept {
            self.violations.push(Violation::HandlerDepth { instr, depth: depth_i32(depth), exc });
            return false;
        }
        let mut stack = self.cells.cut(top, kept);
        if entry.lasti {
            stack = self.cells.push(stack, Value::Lasti(handler));
        }
        stack = self.cells.push(stack, Value::Exception(handler));
        self.flow_into(handler, stack, position)
    }

    /// Brings a stack to the start of a block. Returns whether that block, at or before `position`, has to be run (again).
    fn flow_into(&mut self, block: u32, arriving: Top, position: usize) -> bool {
        let changed = match self.entries[block as usize] {
            None => {
                self.enter(block, arriving);
                true
            }
            Some(known) => self.merge(block, known, arriving),
        };
        let target = self.positions[block as usize] as usize;
        if changed {
            self.dirty[target] = true;
        }
        changed && target <= position
    }

    fn enter(&mut self, block: u32, top: Top) {
        self.max_depth = self.max_depth.max(self.cells.depth(top));
        self.entries[block as usize] = Some(top);
        self.dirty[self.positions[block as usize] as usize] = true;
    }

    /// Merges a stack into the one known at the start of a block. Returns whether that changed it.
    fn merge(&mut self, block: u32, known: Top, arriving: Top) -> bool {
        let (depth, other) = (self.cells.depth(known), self.cells.depth(arriving));
        if depth != other {
            self.violations.push(Violation::MergeDepth { block, depth: depth_i32(depth), other: depth_i32(other) });
            return false;
        }
        let mut changed = false;
        let (mut old, mut new) = (known, arriving);
        self.scratch.clear();
        while old != new {
            let (was, brought) = (self.cells.value(old), self.cells.value(new));
            let value = match was {
                _ if was == brought => was,
                Value::Phi(phi) if self.phi_blocks[phi as usize] == block => {
                    self.phis.add(phi, brought);
                    was
                }
                _ => {
                    let phi = self.phis.push();
                    self.phi_blocks.push(block);
                    self.phis.add(phi, was);
                    self.phis.add(phi, brought);
                    changed = true;
                    Value::Phi(phi)
                }
            };
            self.scratch.push(value);
            (old, new) = (self.cells.below(old), self.cells.below(new));
        }
        if changed {
            let mut top = old;
            while let Some(value) = self.scratch.pop() {
                top = self.cells.push(top, value);
            }
            self.entries[block as usize] = Some(top);
        }
        changed
    }
}

/// The top of a stack: the index of a cell.
type Top = u32;

/// The empty stack.
const BOTTOM: Top = 0;

/// The cells of all stacks. A cell is a value on top of the stack below it, and never changes.
struct Cells {
    cells: Vec<Cell>,
    limit: usize,
}

#[derive(Clone, Copy)]
struct Cell {
    value: Value,
    below: Top,
    /// A cell farther below, such that any depth is reached in a logarithmic number of steps (Myers' skew-binary lists).
    far: Top,
    depth: u32,
}

/// How many cells any code object may need, and how many more for each instruction: an argument may ask for billions.
const CELLS: (usize, usize) = (1 << 20, 256);

impl Cells {
    fn new(instructions: usize) -> Self {
        let mut cells = Vec::with_capacity(instructions + 1);
        cells.push(Cell { value: Value::Nothing, below: BOTTOM, far: BOTTOM, depth: 0 });
        let limit = instructions.saturating_mul(CELLS.1).saturating_add(CELLS.0);
        Self { cells, limit: limit.min(i32::MAX as usize) }
    }

    fn has_room(&self, count: u32) -> bool {
        self.cells.len() + (count as usize) < self.limit
    }

    fn depth(&self, top: Top) -> u32 {
        self.cells[top as usize].depth
    }

    fn value(&self, top: Top) -> Value {
        self.cells[top as usize].value
    }

    fn below(&self, top: Top) -> Top {
        self.cells[top as usize].below
    }

    fn push(&mut self, below: Top, value: Value) -> Top {
        let under = self.cells[below as usize];
        let far = self.cells[under.far as usize];
        let equal_strides = under.depth - far.depth == far.depth - self.cells[far.far as usize].depth;
        let far = if equal_strides { far.far } else { below };
        self.cells.push(Cell { value, below, far, depth: under.depth + 1 });
        self.cells.len() as u32 - 1
    }

    /// The stack cut to a depth that it has at least.
    fn cut(&self, mut top: Top, depth: u32) -> Top {
        loop {
            let cell = &self.cells[top as usize];
            if cell.depth <= depth {
                return top;
            }
            top = if self.cells[cell.far as usize].depth >= depth { cell.far } else { cell.below };
        }
    }

    /// The stack whose top is the slot `slot` from the top, the top itself being 1.
    fn at(&self, top: Top, slot: u32) -> Top {
        self.cut(top, (self.depth(top) + 1).saturating_sub(slot))
    }
}
