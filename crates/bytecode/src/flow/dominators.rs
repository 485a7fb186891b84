//! Dominators, by Lengauer and Tarjan's algorithm with path compression: O(m log n), whatever the shape of the graph.

/// The mark for no node.
pub(super) const NONE: u32 = u32::MAX;

/// The dominator tree of the nodes that node 0 reaches.
pub(super) struct DomTree {
    /// The immediate dominator of each node; `NONE` for node 0 and unreachable nodes.
    parents: Vec<u32>,
    /// Reachable nodes in reverse postorder of a depth-first walk: each before its successors, but along retreating edges.
    pub(super) reverse_postorder: Vec<u32>,
    /// Reachable nodes, each after its dominator, and all that a node dominates right after it.
    pub(super) preorder: Vec<u32>,
    /// Position of each node in `preorder`; `NONE` if unreachable.
    positions: Vec<u32>,
    /// How many nodes each node dominates, itself included.
    sizes: Vec<u32>,
}

impl DomTree {
    /// The tree of a graph of `count` nodes, of which there is at least one.
    pub(super) fn new<S, P>(count: usize, successors: impl Fn(u32) -> S, predecessors: impl Fn(u32) -> P) -> Self
    where
        S: Iterator<Item = u32>,
        P: Iterator<Item = u32>,
    {
        if count == 1 {
            // Most code objects are one block.
            return Self { parents: vec![NONE], reverse_postorder: vec![0], preorder: vec![0], positions: vec![0], sizes: vec![1] };
        }
        let walk = Walk::new(count, successors);
        let parents = walk.immediate_dominators(predecessors);
        let mut reverse_postorder = walk.postorder;
        reverse_postorder.reverse();
        let mut sizes = vec![0; count];
        // A dominator stands before all that it dominates in reverse postorder, so its size is complete when it is met from the end.
        for &node in reverse_postorder.iter().rev() {
            sizes[node as usize] += 1;
            if let Some(parent) = sizes_index(&parents, node) {
                sizes[parent] += sizes[node as usize];
            }
        }
        // Each node gets the next free stretch of its dominator's stretch.
        let mut positions = vec![NONE; count];
        let mut preorder = vec![0; reverse_postorder.len()];
        let mut free = vec![0; count];
        for &node in &reverse_postorder {
            let position = match sizes_index(&parents, node) {
                Some(parent) => {
                    let position = free[parent];
                    free[parent] += sizes[node as usize];
                    position
                }
                None => 0,
            };
            positions[node as usize] = position;
            preorder[position as usize] = node;
            free[node as usize] = position + 1;
        }
        Self { parents, reverse_postorder, preorder, positions, sizes }
    }

    pub(super) fn is_reachable(&self, node: u32) -> bool {
        self.positions[node as usize] != NONE
    }

    pub(super) fn immediate_dominator(&self, node: u32) -> Option<u32> {
        Some(self.parents[node as usize]).filter(|&parent| parent != NONE)
    }

    /// Whether every path to `node` passes `by`. False if either is unreachable.
    pub(super) fn dominates(&self, by: u32, node: u32) -> bool {
        let (first, position) = (self.positions[by as usize], self.positions[node as usize]);
        first != NONE && position != NONE && first <= position && position - first < self.sizes[by as usize]
    }
}

fn sizes_index(parents: &[u32], node: u32) -> Option<usize> {
    Some(parents[node as usize]).filter(|&parent| parent != NONE).map(|parent| parent as usize)
}

/// A depth-first walk from node 0. Nodes are called by their numbers in the order of discovery, but for `nodes` and `postorder`.
struct Walk {
    /// The node of each number.
    nodes: Vec<u32>,
    /// The number of each node; `NONE` if unreachable.
    numbers: Vec<u32>,
    /// From which number each was discovered.
    parents: Vec<u32>,
    /// Nodes in the order in which they were left.
    postorder: Vec<u32>,
}

impl Walk {
    fn new<S: Iterator<Item = u32>>(count: usize, successors: impl Fn(u32) -> S) -> Self {
        let list = || Vec::with_capacity(count);
        let mut walk = Self { nodes: list(), numbers: vec![NONE; count], parents: list(), postorder: list() };
        walk.nodes.push(0);
        walk.parents.push(0);
        walk.numbers[0] = 0;
        let mut path = Vec::with_capacity(count.min(64));
        path.push((0, successors(0)));
        while let Some((node, rest)) = path.last_mut() {
            let Some(next) = rest.next() else {
                walk.postorder.push(*node);
                path.pop();
                continue;
            };
            if walk.numbers[next as usize] == NONE {
                walk.numbers[next as usize] = walk.nodes.len() as u32;
                walk.parents.push(walk.numbers[*node as usize]);
                walk.nodes.push(next);
                path.push((next, successors(next)));
            }
        }
        walk
    }

    /// The immediate dominator of each node, as a node.
    fn immediate_dominators<P: Iterator<Item = u32>>(&self, predecessors: impl Fn(u32) -> P) -> Vec<u32> {
        let count = self.nodes.len();
        let mut forest = Forest::new(count);
        let mut dominators: Vec<u32> = vec![0; count];
        // Numbers that wait in the bucket of their semidominator, as linked lists.
        let (mut heads, mut next) = (vec![NONE; count], vec![NONE; count]);
        for number in (1..count).rev() {
            for node in predecessors(self.nodes[number]) {
                let from = self.numbers[node as usize];
                if from != NONE {
                    let best = forest.best(from);
                    forest.semi[number] = forest.semi[number].min(forest.semi[best as usize]);
                }
            }
            let semi = forest.semi[number] as usize;
            next[number] = heads[semi];
            heads[semi] = number as u32;
            let parent = self.parents[number];
            forest.ancestors[number] = parent;
            let mut waiting = std::mem::replace(&mut heads[parent as usize], NONE);
            while waiting != NONE {
                let best = forest.best(waiting);
                let earlier = forest.semi[best as usize] < forest.semi[waiting as usize];
                dominators[waiting as usize] = if earlier { best } else { parent };
                waiting = next[waiting as usize];
            }
        }
        for number in 1..count {
            if dominators[number] != forest.semi[number] {
                dominators[number] = dominators[dominators[number] as usize];
            }
        }
        let mut by_node = vec![NONE; self.numbers.len()];
        for number in 1..count {
            by_node[self.nodes[number] as usize] = self.nodes[dominators[number] as usize];
        }
        by_node
    }
}

/// The numbers already seen by the algorithm, linked to their parents.
struct Forest {
    semi: Vec<u32>,
    /// `NONE` for roots.
    ancestors: Vec<u32>,
    /// The number of least semidominator on the compressed part of the path to the root.
    labels: Vec<u32>,
    path: Vec<u32>,
}

impl Forest {
    fn new(count: usize) -> Self {
        let identity: Vec<u32> = (0..count as u32).collect();
        Self { semi: identity.clone(), ancestors: vec![NONE; count], labels: identity, path: Vec::new() }
    }

    /// The number of least semidominator on the way from `number` to its root, the root excluded.
    fn best(&mut self, number: u32) -> u32 {
        if self.ancestors[number as usize] == NONE {
            return number;
        }
        let mut top = number;
        while self.ancestors[self.ancestors[top as usize] as usize] != NONE {
            self.path.push(top);
            top = self.ancestors[top as usize];
        }
        // Compress from the top down: each hangs below the root after this.
        while let Some(below) = self.path.pop() {
            let ancestor = self.ancestors[below as usize] as usize;
            let (own, above) = (self.labels[below as usize], self.labels[ancestor]);
            if self.semi[above as usize] < self.semi[own as usize] {
                self.labels[below as usize] = above;
            }
            self.ancestors[below as usize] = self.ancestors[ancestor];
        }
        self.labels[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(count: usize, edges: &[(u32, u32)]) -> DomTree {
        DomTree::new(
            count,
            |node| edges.iter().filter(move |edge| edge.0 == node).map(|edge| edge.1),
            |node| edges.iter().filter(move |edge| edge.1 == node).map(|edge| edge.0),
        )
    }

    /// What node 0 reaches if one node is taken away.
    fn reachable(count: usize, edges: &[(u32, u32)], without: Option<u32>) -> Vec<bool> {
        let mut seen = vec![false; count];
        let mut todo = vec![0];
        while let Some(node) = todo.pop() {
            if Some(node) != without && !std::mem::replace(&mut seen[node as usize], true) {
                todo.extend(edges.iter().filter(|edge| edge.0 == node).map(|edge| edge.1));
            }
        }
        seen
    }

    fn graphs() -> impl Strategy<Value = (usize, Vec<(u32, u32)>)> {
        (1usize..14).prop_flat_map(|count| {
            let node = 0..count as u32;
            (Just(count), prop::collection::vec((node.clone(), node), 0..count * 3))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// A node dominates another if the other cannot be reached without it: the definition, tried node by node.
        #[test]
        fn agrees_with_the_definition((count, edges) in graphs()) {
            let tree = tree(count, &edges);
            let alive = reachable(count, &edges, None);
            for by in 0..count as u32 {
                let without = reachable(count, &edges, Some(by));
                for node in 0..count as u32 {
                    let both = alive[by as usize] && alive[node as usize];
                    prop_assert_eq!(tree.dominates(by, node), both && !without[node as usize]);
                }
            }
            for node in 0..count as u32 {
                prop_assert_eq!(tree.is_reachable(node), alive[node as usize]);
                let strict: Vec<u32> = (0..count as u32).filter(|&by| by != node && tree.dominates(by, node)).collect();
                // The immediate dominator is the strict dominator that all the others dominate.
                let nearest = strict.iter().copied().find(|&near| strict.iter().all(|&far| tree.dominates(far, near)));
                prop_assert_eq!(tree.immediate_dominator(node), nearest);
            }
        }

        #[test]
        fn preorder_keeps_each_subtree_together((count, edges) in graphs()) {
            let tree = tree(count, &edges);
            prop_assert_eq!(tree.preorder.len(), tree.reverse_postorder.len());
            for (position, &node) in tree.preorder.iter().enumerate() {
                let size = tree.sizes[node as usize] as usize;
                let dominated = tree.preorder[position..position + size].iter().all(|&below| tree.dominates(node, below));
                prop_assert!(dominated);
            }
        }
    }

    #[test]
    fn a_chain_whose_nodes_all_lead_to_one_handler_takes_no_quadratic_time() {
        let chain = 200_000;
        let (successors, predecessors) = (
            move |node: u32| if node < chain { vec![node + 1, chain + 1] } else { vec![] }.into_iter(),
            move |node: u32| match node {
                0 => vec![].into_iter(),
                _ if node == chain + 1 => (0..chain).collect::<Vec<_>>().into_iter(),
                _ => vec![node - 1].into_iter(),
            },
        );
        let tree = DomTree::new(chain as usize + 2, successors, predecessors);
        assert_eq!(tree.immediate_dominator(chain + 1), Some(0));
        assert_eq!(tree.immediate_dominator(chain), Some(chain - 1));
    }
}
