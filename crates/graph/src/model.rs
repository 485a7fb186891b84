//! What is drawn: blocks with their rows, and the edges between them.

use std::collections::BTreeMap;

use thiserror::Error;

/// A block: a box with rows of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Tells the block from all others. The block of the lowest id is the entry, and blocks are drawn from it on.
    pub id: u32,
    /// What stands at the left of the block's heading, such as `B3`.
    pub name: String,
    /// What else the heading says, from the left to the right.
    pub notes: Vec<String>,
    /// What the block is besides a block.
    pub role: Role,
    /// Its rows from the top down.
    pub rows: Vec<Row>,
}

/// What a block is; more than one of these may hold. Each has a word of its own and a border of its own in the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Role {
    /// Execution starts here.
    pub entry: bool,
    /// An exception handler starts here.
    pub handler: bool,
    /// Nothing of this code is executed after it, exceptions aside.
    pub exit: bool,
    /// No path leads here.
    pub unreachable: bool,
}

impl Role {
    /// The words for it, in the order of the fields.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        [(self.entry, "entry"), (self.handler, "handler"), (self.exit, "exit"), (self.unreachable, "unreachable")]
            .into_iter()
            .filter_map(|(holds, word)| holds.then_some(word))
    }
}

/// A row of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A line of the source, which stands above the instructions that were made of it.
    Source {
        /// Its number; `None` where the code has no line.
        line: Option<i32>,
        /// Its text.
        text: String,
    },
    /// An instruction.
    Instruction(Instruction),
}

/// An instruction as the columns of its row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instruction {
    /// Its position in the code. Data flow names instructions by it.
    pub index: u32,
    /// Its byte offset.
    pub offset: i32,
    /// The stack depth before and after it, such as `1→2`.
    pub depth: String,
    /// Its name.
    pub opname: String,
    /// What its argument stands for.
    pub argument: String,
    /// Where its operands come from, such as `3, 7|12`. Empty if the data flow is not drawn.
    pub inputs: String,
    /// Whether it is there for completeness only, as a prefix of the next one is.
    pub is_prefix: bool,
}

/// A way from one block to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Id of the block that it leaves.
    pub from: u32,
    /// How it is taken. Of the edges that leave a block, lower kinds are drawn first.
    pub kind: EdgeKind,
    /// Id of the block that it enters.
    pub to: u32,
    /// For the two edges of a conditional jump: the outcome of the test that takes this edge.
    pub polarity: Option<bool>,
    /// Whether it closes a loop.
    pub is_back: bool,
    /// What stands at its start.
    pub label: String,
    /// All that is to be said of it, for those who point at it.
    pub detail: String,
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
    /// By an exception.
    Exc,
}

/// A use of a value: an edge of the data flow, from one instruction to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Index of the instruction that uses the value.
    pub to: u32,
    /// Index of the instruction that made it.
    pub from: u32,
    /// The variable that held it; `None` if the stack did.
    pub variable: Option<String>,
}

/// A graph that can be drawn: every edge has its blocks, and the order in which it was described does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    pub(crate) title: String,
    pub(crate) subtitles: Vec<String>,
    pub(crate) faults: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) uses: Vec<Use>,
    /// The positions in `nodes` of the ends of each edge.
    pub(crate) ends: Vec<(usize, usize)>,
}

/// What stands above the blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heading {
    /// What the picture shows.
    pub title: String,
    /// Lines below the title.
    pub subtitles: Vec<String>,
    /// What is wrong with the code, a line each; empty for sound code.
    pub faults: Vec<String>,
}

/// A description that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GraphError {
    /// Two blocks have the same id.
    #[error("two blocks have the id {id}")]
    TwoNodes {
        /// The id.
        id: u32,
    },
    /// An edge starts or ends at a block that is not there.
    #[error("an edge from block {from} to block {to} misses one of them")]
    NoNode {
        /// Id of the block that it leaves.
        from: u32,
        /// Id of the block that it enters.
        to: u32,
    },
}

impl Graph {
    /// The graph of these blocks and edges, in whatever order they come. Uses of values by instructions that no block has are left out.
    ///
    /// # Errors
    /// When two blocks have the same id, or an edge misses one of its blocks.
    pub fn new(heading: Heading, mut nodes: Vec<Node>, mut edges: Vec<Edge>, mut uses: Vec<Use>) -> Result<Self, GraphError> {
        nodes.sort_by_key(|node| node.id);
        if let Some(id) = nodes.windows(2).find_map(|pair| (pair[0].id == pair[1].id).then_some(pair[0].id)) {
            return Err(GraphError::TwoNodes { id });
        }
        edges.sort();
        uses.sort();
        uses.dedup();
        let position: BTreeMap<u32, usize> = nodes.iter().enumerate().map(|(position, node)| (node.id, position)).collect();
        let ends = edges.iter().map(|edge| {
            let ends = position.get(&edge.from).zip(position.get(&edge.to));
            ends.map(|(&from, &to)| (from, to)).ok_or(GraphError::NoNode { from: edge.from, to: edge.to })
        });
        let ends = ends.collect::<Result<_, _>>()?;
        let Heading { title, subtitles, faults } = heading;
        Ok(Self { title, subtitles, faults, nodes, edges, uses, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32) -> Node {
        Node { id, ..Node::default() }
    }

    fn edge(from: u32, to: u32) -> Edge {
        Edge { from, to, kind: EdgeKind::Next, polarity: None, is_back: false, label: String::new(), detail: String::new() }
    }

    #[test]
    fn a_description_that_contradicts_itself_is_refused() {
        let graph = |nodes, edges| Graph::new(Heading::default(), nodes, edges, Vec::new()).map(|graph| graph.ends);
        assert_eq!(graph(vec![node(7), node(3), node(7)], vec![]), Err(GraphError::TwoNodes { id: 7 }));
        assert_eq!(graph(vec![node(7)], vec![edge(7, 8)]), Err(GraphError::NoNode { from: 7, to: 8 }));
        assert_eq!(graph(vec![node(7), node(3)], vec![edge(7, 3)]), Ok(vec![(1, 0)]));
    }
}
