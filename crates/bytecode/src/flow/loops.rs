//! How deep in loops each block lies.
//!
//! A back edge is an edge to a dominator of its source; the loop of a header is all that reaches one of its back edges without
//! passing the header. Inner loops are folded into their headers while outer ones are searched, so the search is nearly linear.

use super::dominators::NONE;
use super::graph::{Graph, some};

/// Says of each block how many loops it lies in.
pub(super) fn nest(graph: &mut Graph) {
    if graph.edges.iter().any(|edge| edge.is_back_edge) {
        for (block, depth) in depths(graph).into_iter().enumerate() {
            graph.blocks[block].loop_depth = depth;
        }
    }
}

fn depths(graph: &Graph) -> Vec<u32> {
    let count = graph.blocks.len();
    let mut nest = Nest { folded: (0..count as u32).collect(), headers: vec![NONE; count] };
    let mut is_header = vec![false; count];
    let mut todo = Vec::new();
    // Inner headers come after outer ones in reverse postorder.
    for &header in graph.tree.reverse_postorder.iter().rev() {
        todo.extend(graph.predecessors(header).filter(|edge| edge.is_back_edge).map(|edge| edge.src));
        is_header[header as usize] = !todo.is_empty();
        while let Some(block) = todo.pop() {
            let outermost = nest.outermost(block);
            if outermost == header {
                continue;
            }
            nest.headers[outermost as usize] = header;
            nest.folded[outermost as usize] = header;
            let entering = graph.predecessors(outermost).filter(|edge| !edge.is_back_edge && graph.tree.is_reachable(edge.src));
            todo.extend(entering.map(|edge| edge.src));
        }
    }
    let mut depths = vec![0; count];
    // A header stands before all of its loop in reverse postorder.
    for &block in &graph.tree.reverse_postorder {
        let outside = some(nest.headers[block as usize]).map_or(0, |header| depths[header as usize]);
        depths[block as usize] = outside + u32::from(is_header[block as usize]);
    }
    depths
}

struct Nest {
    /// The header into which each block is folded, or the block itself: a union-find forest.
    folded: Vec<u32>,
    /// The header of the innermost loop around each block, its own loop not counted.
    headers: Vec<u32>,
}

impl Nest {
    /// The header of the outermost loop found so far around a block.
    fn outermost(&mut self, mut block: u32) -> u32 {
        while self.folded[block as usize] != block {
            let above = self.folded[self.folded[block as usize] as usize];
            self.folded[block as usize] = above;
            block = above;
        }
        block
    }
}
