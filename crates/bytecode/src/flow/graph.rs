//! The control flow graph, with what the analyses ask of it.

use super::block::{Block, Edge, EdgeKind};
use super::dominators::{DomTree, NONE};
use super::layout::{Layout, Terminators};
use super::violation::Violation;
use crate::exception_table::ExceptionEntry;
use crate::instruction::Instruction;

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

/// An index as an `Option`, by the mark for none.
pub(super) fn some(index: u32) -> Option<u32> {
    (index != NONE).then_some(index)
}
