//! The data flow: which producers each use of a value may have.
//!
//! Phis are unfolded into the producers behind them, once per phi that a use asks for.

use super::access::{Access, Namespace, Variable};
use super::graph::Graph;
use super::reaching::Uses;
use super::stack::Stack;
use super::value::{Phis, Value};
use super::violation::Violation;

/// A use of a value: one edge of the data flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataEdge {
    /// What made the value.
    pub producer: Producer,
    /// The instruction that uses it.
    pub dst: u32,
    /// Over what the value travelled.
    pub kind: DataKind,
    /// For `USE_STACK`: which operand of the instruction it is. What it pops is counted from the deepest up, and what it only looks
    /// at after that, again from the deepest up: `LIST_APPEND` has its item as operand 0 and its list as operand 1. For a variable:
    /// which of the instruction's uses of variables it is.
    pub operand_index: u32,
    /// The variable; `None` for `USE_STACK`.
    pub variable: Option<Variable>,
}

/// Over what a value travels from its producer to its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKind {
    /// The stack.
    Stack,
    /// A local variable.
    Local,
    /// The cell of a shared variable.
    Cell,
    /// A global variable.
    Global,
    /// A name of a module or class body.
    Name,
}

impl DataKind {
    /// `USE_STACK`, `USE_LOCAL`, `USE_CELL`, `USE_GLOBAL` or `USE_NAME`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stack => "USE_STACK",
            Self::Local => "USE_LOCAL",
            Self::Cell => "USE_CELL",
            Self::Global => "USE_GLOBAL",
            Self::Name => "USE_NAME",
        }
    }
}

/// What makes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Producer {
    /// The caller: the variable is an argument.
    Argument,
    /// The instruction pushed it, or stored it into the variable.
    Instr(u32),
    /// The exception that entered the handler whose first instruction this is.
    Exception(u32),
    /// The position of the raising instruction, pushed on the way into the handler whose first instruction this is.
    Lasti(u32),
    /// Either this instruction, the first of a handler, or what entered the handler: an edge is identified by the instruction that
    /// it names, and both name this one. (Cleanup handlers cover the PUSH_EXC_INFO before which the exception lies where later the
    /// previous exception does.)
    Phi(u32),
}

impl Producer {
    /// The instruction to name as the source: the producing one, the first of the handler, or -1 for the caller.
    #[must_use]
    pub fn instr_index(self) -> i32 {
        match self {
            Self::Argument => -1,
            // Code is shorter than 2^30 bytes (`instruction::unpack`), and an instruction takes two of them.
            Self::Instr(instr) | Self::Exception(instr) | Self::Lasti(instr) | Self::Phi(instr) => instr.cast_signed(),
        }
    }

    /// `argument`, `instr`, `exception`, `lasti` or `phi`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Argument => "argument",
            Self::Instr(_) => "instr",
            Self::Exception(_) => "exception",
            Self::Lasti(_) => "lasti",
            Self::Phi(_) => "phi",
        }
    }
}

const UNKNOWN: u32 = u32::MAX;

/// Unfolds phis of one arena into producers, remembering what it found.
struct Unfolder {
    /// For each phi where its producers stand in `found`; at `UNKNOWN` if it is not unfolded yet.
    known: Vec<(u32, u32)>,
    found: Vec<Producer>,
    /// Which phi's unfolding met each phi last.
    met_by: Vec<u32>,
    todo: Vec<u32>,
}

impl Unfolder {
    fn new() -> Self {
        Self { known: Vec::new(), found: Vec::new(), met_by: Vec::new(), todo: Vec::new() }
    }

    /// The producers behind a phi, ordered by the instruction that they name, one for each.
    fn unfold(&mut self, phis: &Phis, phi: u32, producer: impl Fn(Value) -> Option<Producer>) -> &[Producer] {
        if self.known.len() < phis.len() {
            self.known.resize(phis.len(), (UNKNOWN, UNKNOWN));
            self.met_by.resize(phis.len(), UNKNOWN);
        }
        if self.known[phi as usize].0 == UNKNOWN {
            let start = self.found.len();
            self.met_by[phi as usize] = phi;
            self.todo.push(phi);
            while let Some(next) = self.todo.pop() {
                for value in phis.operands(next) {
                    match value {
                        Value::Phi(operand) if std::mem::replace(&mut self.met_by[operand as usize], phi) != phi => self.todo.push(operand),
                        _ => self.found.extend(producer(value)),
                    }
                }
            }
            self.found[start..].sort_unstable_by_key(|&producer| (producer.instr_index(), producer));
            let mut end = start;
            for at in start..self.found.len() {
                let producer = self.found[at];
                if end > start && self.found[end - 1].instr_index() == producer.instr_index() {
                    if let (Producer::Instr(instr), true) = (self.found[end - 1], self.found[end - 1] != producer) {
                        self.found[end - 1] = Producer::Phi(instr);
                    }
                } else {
                    self.found[end] = producer;
                    end += 1;
                }
            }
            self.found.truncate(end);
            self.known[phi as usize] = (start as u32, end as u32);
        }
        let (start, end) = self.known[phi as usize];
        &self.found[start as usize..end as usize]
    }
}

/// Collects the edges of a code object.
pub(super) struct EdgeWriter {
    edges: Edges,
    stack: Unfolder,
    variables: Unfolder,
}

impl EdgeWriter {
    /// For a code object of `instructions` instructions.
    pub(super) fn new(instructions: usize) -> Self {
        let limit = EDGES_ALWAYS_KEPT.saturating_add(instructions.saturating_mul(EDGES_PER_INSTRUCTION));
        let edges = Edges { list: Vec::with_capacity(instructions + instructions / 2), limit, left_out: [0; 5] };
        Self { edges, stack: Unfolder::new(), variables: Unfolder::new() }
    }

    /// Writes the edges to the operands of an instruction.
    pub(super) fn stack_operands(&mut self, dst: u32, stack: &Stack, graph: &Graph) {
        // Blocks stand for their first instructions from here on.
        let first = |block: u32| graph.blocks[block as usize].first_instr;
        let producer = |value| match value {
            Value::Instr(instr) => Some(Producer::Instr(instr)),
            Value::Exception(block) => Some(Producer::Exception(first(block))),
            Value::Lasti(block) => Some(Producer::Lasti(first(block))),
            Value::Argument | Value::Nothing | Value::Restored(_) | Value::Phi(_) => None,
        };
        for (operand_index, &value) in (0..).zip(stack.operands(dst)) {
            let edge = |producer| DataEdge { producer, dst, kind: DataKind::Stack, operand_index, variable: None };
            self.edges.add(DataKind::Stack, value, &mut self.stack, &stack.phis, producer, edge);
        }
    }

    /// Writes the edges to a use of a variable.
    pub(super) fn variable_use(&mut self, access: &Access, value: Value, uses: &Uses) {
        let producer = |value| match value {
            Value::Instr(instr) => Some(Producer::Instr(instr)),
            Value::Argument => Some(Producer::Argument),
            Value::Restored(restore) => uses.restored_by(restore).map(Producer::Instr),
            Value::Exception(_) | Value::Lasti(_) | Value::Nothing | Value::Phi(_) => None,
        };
        let kind = match access.variable.namespace {
            Namespace::Local => DataKind::Local,
            Namespace::Cell => DataKind::Cell,
            Namespace::Global => DataKind::Global,
            Namespace::Name => DataKind::Name,
        };
        let (dst, operand_index, variable) = (access.instr, access.ordinal, Some(access.variable));
        let edge = |producer| DataEdge { producer, dst, kind, operand_index, variable };
        self.edges.add(kind, value, &mut self.variables, &uses.phis, producer, edge);
    }

    /// The edges by the instruction that uses, its operands before its variables.
    pub(super) fn finish(mut self, violations: &mut Vec<Violation>) -> Vec<DataEdge> {
        let left_out = |over: DataKind| self.edges.left_out[over as usize];
        if self.edges.is_full() {
            violations.push(Violation::EdgeLimit {
                limit: self.edges.limit as u64,
                operands: left_out(DataKind::Stack),
                locals: left_out(DataKind::Local),
                cells: left_out(DataKind::Cell),
                globals: left_out(DataKind::Global),
                names: left_out(DataKind::Name),
            });
        }
        // Two ascending runs: a stable sort merges them in linear time.
        self.edges.list.sort_by_key(|edge| edge.dst);
        self.edges.list
    }
}

/// How many edges any code object may have.
const EDGES_ALWAYS_KEPT: usize = 1 << 16;

/// How many more it may have for each instruction. No code object of the standard library has three.
const EDGES_PER_INSTRUCTION: usize = 64;

/// Edges up to a limit. A use has all of its edges or none, and none follows a use without.
struct Edges {
    list: Vec<DataEdge>,
    limit: usize,
    /// How many uses have none, by what their values travel over.
    left_out: [u64; 5],
}

impl Edges {
    fn is_full(&self) -> bool {
        self.left_out.iter().any(|count| *count > 0)
    }

    /// Adds the edges from all that may have made a value.
    fn add(
        &mut self,
        over: DataKind,
        value: Value,
        unfolder: &mut Unfolder,
        phis: &Phis,
        producer: impl Fn(Value) -> Option<Producer>,
        edge: impl Fn(Producer) -> DataEdge,
    ) {
        if value == Value::Nothing {
            return;
        }
        // Beyond the limit nothing is unfolded any more: that is what takes time and memory.
        if !self.is_full() {
            match value {
                Value::Phi(phi) => {
                    let producers = unfolder.unfold(phis, phi, producer);
                    if self.list.len() + producers.len() <= self.limit {
                        self.list.extend(producers.iter().copied().map(edge));
                        return;
                    }
                }
                _ if self.list.len() < self.limit => {
                    self.list.extend(producer(value).map(edge));
                    return;
                }
                _ => {}
            }
        }
        self.left_out[over as usize] += 1;
    }
}
