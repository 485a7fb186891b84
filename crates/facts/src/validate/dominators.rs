//! Dominators and loops from the edges alone, by the algorithm of Cooper, Harvey and Kennedy: simple, and not the one that wrote the rows.
//!
//! Its search for the nearest common dominator leaps up the tree (by skew-binary jumps), so that a pass takes O(m log n) however deep
//! the tree is; graphs without irreducible loops need two passes.

use super::graph::Graph;

/// No block: of the entry and of what is not reachable.
const NONE: usize = usize::MAX;

/// The tree of immediate dominators of the blocks that edges lead to from the first.
pub(super) struct DominatorTree {
    parents: Vec<usize>,
    /// The span of each block in a walk over the tree: a block dominates those whose span lies within its own.
    spans: Vec<(usize, usize)>,
    predecessors: Vec<Vec<usize>>,
}

impl DominatorTree {
    pub(super) fn new(graph: &Graph) -> Self {
        let count = graph.borders.len();
        let mut successors = vec![Vec::new(); count];
        let mut predecessors = vec![Vec::new(); count];
        for edge in &graph.edges {
            if let Some(of_block) = successors.get_mut(edge.src) {
                of_block.push(edge.dst);
            }
            if let Some(of_block) = predecessors.get_mut(edge.dst) {
                of_block.push(edge.src);
            }
        }
        let order = postorder(&successors);
        let mut position = vec![NONE; count];
        for (nth, block) in order.iter().enumerate() {
            set(&mut position, *block, nth);
        }

        let mut tree = Ancestors::new(count);
        loop {
            let before = tree;
            tree = Ancestors::new(count);
            for block in order.iter().rev().copied() {
                // What comes later in the order is known from the pass before, and counts by what comes earlier there.
                let at = get(&position, block);
                let known = |from: usize| match get(&position, from) {
                    NONE => NONE,
                    earlier if earlier > at => from,
                    _ => before.lowest_where(from, |above| get(&position, above) >= at),
                };
                let found = predecessors.get(block).into_iter().flatten().map(|from| known(*from));
                let parent = found.filter(|from| *from != NONE && *from != block).reduce(|a, b| tree.common(a, b));
                tree.add(block, parent.filter(|_| block != 0));
            }
            if tree.parents == before.parents {
                break;
            }
        }
        let parents = tree.parents;

        let mut children = vec![Vec::new(); count];
        for (block, parent) in parents.iter().enumerate() {
            if let Some(of_parent) = children.get_mut(*parent) {
                of_parent.push(block);
            }
        }
        Self { spans: spans(&children), parents, predecessors }
    }

    pub(super) fn is_reachable(&self, block: usize) -> bool {
        self.spans.get(block).is_some_and(|(enter, _)| *enter != NONE)
    }

    /// The immediate dominator.
    pub(super) fn parent(&self, block: usize) -> Option<usize> {
        Some(get(&self.parents, block)).filter(|parent| *parent != NONE)
    }

    /// Whether every way from the entry to `block` passes `by`; false for what is not reachable.
    pub(super) fn dominates(&self, by: usize, block: usize) -> bool {
        let (Some((first, last)), Some((enter, leave))) = (self.spans.get(by), self.spans.get(block)) else { return false };
        *first != NONE && *enter != NONE && first <= enter && leave <= last
    }

    /// In how many loops each block lies. A loop is what reaches the back edges of its header without passing it.
    pub(super) fn loop_depths(&self, graph: &Graph) -> Vec<i32> {
        let mut closing: Vec<(usize, usize)> =
            graph.edges.iter().filter(|edge| self.dominates(edge.dst, edge.src)).map(|edge| (edge.dst, edge.src)).collect();
        closing.sort_unstable();
        let mut depths = vec![0; self.parents.len()];
        let mut inside = vec![NONE; self.parents.len()];
        for of_header in closing.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((header, _)) = of_header.first().copied() else { continue };
            let mut todo: Vec<usize> = of_header.iter().map(|(_, src)| *src).chain([header]).collect();
            while let Some(block) = todo.pop() {
                if !self.is_reachable(block) || get(&inside, block) == header {
                    continue;
                }
                set(&mut inside, block, header);
                if let Some(depth) = depths.get_mut(block) {
                    *depth += 1;
                }
                if block != header {
                    todo.extend(self.predecessors.get(block).into_iter().flatten());
                }
            }
        }
        depths
    }
}

fn get(values: &[usize], at: usize) -> usize {
    values.get(at).copied().unwrap_or(NONE)
}

fn set(values: &mut [usize], at: usize, value: usize) {
    if let Some(place) = values.get_mut(at) {
        *place = value;
    }
}

/// A tree that grows from its root and finds ancestors by leaps: from each block to its parent and to one further above.
struct Ancestors {
    parents: Vec<usize>,
    leaps: Vec<usize>,
    /// How far below the root, `NONE` for what is not in the tree.
    depths: Vec<usize>,
}

impl Ancestors {
    fn new(count: usize) -> Self {
        Self { parents: vec![NONE; count], leaps: vec![NONE; count], depths: vec![NONE; count] }
    }

    /// Adds a block below one in the tree, or the root, which leaps to itself.
    fn add(&mut self, block: usize, parent: Option<usize>) {
        let Some(parent) = parent else {
            set(&mut self.leaps, block, block);
            set(&mut self.depths, block, 0);
            return;
        };
        let (near, depth) = (get(&self.leaps, parent), |of| get(&self.depths, of));
        let far = get(&self.leaps, near);
        // Two leaps of one length become one of more than twice that length.
        let leap = if depth(parent) - depth(near) == depth(near) - depth(far) { far } else { parent };
        let below = depth(parent) + 1;
        set(&mut self.parents, block, parent);
        set(&mut self.leaps, block, leap);
        set(&mut self.depths, block, below);
    }

    /// The lowest of a block and its ancestors for which `stays` holds, as it does for all above one for which it does; `NONE` if there is none, or the block is not in the tree.
    fn lowest_where(&self, mut block: usize, stays: impl Fn(usize) -> bool) -> usize {
        if get(&self.depths, block) == NONE {
            return NONE;
        }
        while !stays(block) {
            let leap = get(&self.leaps, block);
            if leap == block {
                return NONE;
            }
            block = if stays(leap) { get(&self.parents, block) } else { leap };
        }
        block
    }

    /// The nearest block that is an ancestor of both, or one of them.
    fn common(&self, a: usize, b: usize) -> usize {
        let depth = |of| get(&self.depths, of);
        let (low, high) = if depth(a) < depth(b) { (b, a) } else { (a, b) };
        let mut a = self.lowest_where(low, |above| depth(above) <= depth(high));
        let mut b = high;
        while a != b {
            let leaps = (get(&self.leaps, a), get(&self.leaps, b));
            (a, b) = if leaps.0 == leaps.1 { (get(&self.parents, a), get(&self.parents, b)) } else { leaps };
        }
        a
    }
}

/// The reachable blocks, each behind those that a walk from it finds.
fn postorder(successors: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = vec![false; successors.len()];
    let mut path = Vec::new();
    let mut enter = |block: usize, path: &mut Vec<_>| {
        if let (Some(seen), Some(next)) = (seen.get_mut(block), successors.get(block))
            && !std::mem::replace(seen, true)
        {
            path.push((block, next.iter()));
        }
    };
    enter(0, &mut path);
    while let Some((block, next)) = path.last_mut() {
        match next.next() {
            Some(successor) => enter(*successor, &mut path),
            None => {
                order.push(*block);
                path.pop();
            }
        }
    }
    order
}

/// When a walk over the tree enters and leaves each block.
fn spans(children: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let mut spans = vec![(NONE, NONE); children.len()];
    let mut clock = 0;
    let mut path: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
    let mut next = children.first().map(|_| 0);
    loop {
        if let Some(block) = next.take() {
            if let (Some(span), Some(below)) = (spans.get_mut(block), children.get(block)) {
                span.0 = clock;
                path.push((block, below.iter()));
            }
            clock += 1;
        }
        let Some((block, below)) = path.last_mut() else { return spans };
        match below.next() {
            Some(child) => next = Some(*child),
            None => {
                if let Some(span) = spans.get_mut(*block) {
                    span.1 = clock;
                }
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::{Edge, Kind};
    use super::*;

    fn tree(blocks: usize, edges: &[(usize, usize)]) -> (Graph, DominatorTree) {
        let edges = edges.iter().enumerate().map(|(nth, (src, dst))| Edge { src: *src, dst: *dst, kind: Kind::Jump, exc: None, nth });
        let graph = Graph::of(vec![(0, 0); blocks], edges.collect());
        let tree = DominatorTree::new(&graph);
        (graph, tree)
    }

    #[test]
    fn a_diamond_in_a_loop() {
        // 0 → 1 → {2, 3} → 4 → 1, 4 → 5; 6 is not reachable.
        let (graph, tree) = tree(7, &[(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 1), (4, 5), (6, 5)]);
        let parents: Vec<_> = (0..7).map(|block| tree.parent(block)).collect();
        assert_eq!(parents, [None, Some(0), Some(1), Some(1), Some(1), Some(4), None]);
        assert!(tree.dominates(1, 4) && tree.dominates(1, 1) && !tree.dominates(2, 4) && !tree.dominates(0, 6));
        assert!(!tree.is_reachable(6));
        assert_eq!(tree.loop_depths(&graph), [0, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn loops_nest_and_back_edges_of_one_header_are_one_loop() {
        let (graph, tree) = tree(4, &[(0, 1), (1, 2), (2, 2), (2, 1), (1, 3), (3, 1)]);
        assert_eq!(tree.loop_depths(&graph), [0, 1, 2, 1]);
    }

    /// A block dominates another if that cannot be reached without it.
    fn reached_without(blocks: usize, edges: &[(usize, usize)], without: usize) -> Vec<bool> {
        let mut reached = vec![false; blocks];
        let mut todo = vec![0];
        while let Some(block) = todo.pop() {
            if block != without && !std::mem::replace(&mut reached[block], true) {
                todo.extend(edges.iter().filter(|(src, _)| *src == block).map(|(_, dst)| *dst));
            }
        }
        reached
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(3000))]

        #[test]
        fn dominators_are_what_their_definition_says(edges in proptest::collection::vec((0usize..9, 0usize..9), 0..24)) {
            let (_, tree) = tree(9, &edges);
            let reachable = reached_without(9, &edges, NONE);
            for by in 0..9 {
                let without = reached_without(9, &edges, by);
                for block in 0..9 {
                    let expected = reachable[by] && reachable[block] && !without[block];
                    proptest::prop_assert_eq!(tree.dominates(by, block), expected, "{} by {}", block, by);
                }
            }
        }
    }

    /// A walk up the chain for each block takes minutes here.
    #[test]
    fn a_long_chain_into_one_join_takes_no_quadratic_time() {
        const LENGTH: usize = 200_000;
        let start = busy();
        let edges: Vec<_> = (0..LENGTH).flat_map(|block| [(block, block + 1), (block, LENGTH + 1)]).collect();
        let (_, tree) = tree(LENGTH + 2, &edges);
        assert_eq!((tree.parent(LENGTH), tree.parent(LENGTH + 1)), (Some(LENGTH - 1), Some(0)));
        let took = busy().saturating_sub(start);
        assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    }

    /// The time that this thread has been running, whatever else runs; none where the system does not tell.
    fn busy() -> std::time::Duration {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        std::time::Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
    }

    #[test]
    fn no_blocks_are_no_tree() {
        let (graph, tree) = tree(0, &[]);
        assert_eq!(tree.parent(0), None);
        assert_eq!(tree.loop_depths(&graph), Vec::<i32>::new());
    }
}
