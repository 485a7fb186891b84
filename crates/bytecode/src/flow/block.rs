//! Blocks and edges, the parts of a control flow graph.

use std::fmt;

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
