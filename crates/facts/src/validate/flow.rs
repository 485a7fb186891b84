//! Edges of the control flow graph, and what follows from them for blocks.

use super::{
    Check, Place,
    code::{Code, UnitScope, is},
    dominators::DominatorTree,
    graph::{Edge, Graph, Kind, Way},
};

impl UnitScope<'_, '_> {
    /// Compares the edges with those that instructions and exception table make, and what is derived from them.
    pub(super) fn edges(&mut self, code: &Code, graph: &Graph) {
        let mut expected = self.expected_edges(code, graph);
        let mut found = graph.edges.clone();
        let without_place = |edge: &Edge| (edge.src, edge.dst, edge.kind, edge.exc);
        expected.sort_unstable();
        found.sort_unstable();
        self.file.tally.looked(Check::EdgeComplete, found.len() as u64);
        let (mut left, mut right) = (expected.iter().peekable(), found.iter().peekable());
        loop {
            let (wanted, have) = (left.peek().map(|edge| without_place(edge)), right.peek().map(|edge| without_place(edge)));
            match (wanted, have) {
                (None, None) => break,
                (Some(wanted), Some(have)) if wanted == have => {
                    left.next();
                    right.next();
                }
                (Some((src, dst, kind, exc)), have) if have.is_none_or(|have| (src, dst, kind, exc) < have) => {
                    left.next();
                    let exc = exc.map(|exc| format!(" of entry {exc}")).unwrap_or_default();
                    self.find(Check::EdgeComplete, Place::Block(src), || format!("there is no {} edge to block {dst}{exc}", kind.as_str()));
                }
                _ => {
                    if let Some(edge) = right.next() {
                        let kind = edge.kind.as_str();
                        self.find(Check::EdgeComplete, Place::Edge(edge.nth), || {
                            format!("nothing makes a {kind} edge from block {} to block {}, or it is there twice", edge.src, edge.dst)
                        });
                    }
                }
            }
        }
        let tree = DominatorTree::new(graph);
        for edge in &graph.edges {
            self.edge_detail(code, graph, edge, &tree);
        }
        self.block_facts(graph, &tree);
    }

    /// Reachability, exits, dominators and loops.
    fn block_facts(&mut self, graph: &Graph, tree: &DominatorTree) {
        let columns = &self.columns.blocks.items;
        let loops = tree.loop_depths(graph);
        for (nth, at) in self.blocks.clone().enumerate() {
            let alive = tree.is_reachable(nth);
            let last = columns.last_instr_index.get(at).and_then(|last| usize::try_from(last).ok());
            let exits = last.is_some_and(|last| self.way(self.instrs.start + last) == Way::Exit);
            let (reachable, exit) = (columns.is_reachable.get(at), columns.is_exit.get(at));
            self.expect(Check::BlockReach, reachable == Some(alive) && exit == Some(exits), Place::Block(nth), || {
                format!("is_reachable is {reachable:?} and should be {alive}, is_exit is {exit:?} and should be {exits}")
            });
            let (claimed, parent) = (columns.immediate_dominator.get(at), tree.parent(nth));
            let same = claimed.and_then(|block| usize::try_from(block).ok()) == parent && claimed.is_some() == parent.is_some();
            self.expect(Check::BlockDominator, same, Place::Block(nth), || {
                format!("immediate_dominator is {claimed:?} and should be {parent:?}")
            });
            let (claimed, depth) = (columns.loop_depth.get(at), alive.then(|| loops.get(nth).copied().unwrap_or(0)));
            self.expect(Check::BlockLoop, claimed == depth, Place::Block(nth), || {
                format!("loop_depth is {claimed:?} and should be {depth:?}")
            });
        }
    }

    fn expected_edges(&self, code: &Code, graph: &Graph) -> Vec<Edge> {
        let (instrs, table) = (&self.columns.instructions.items, &self.columns.exception_table.items);
        let mut edges = Vec::new();
        let mut push = |src, dst, kind, exc| edges.push(Edge { src, dst, kind, exc, nth: 0 });
        let entries: Vec<_> = (self.exceptions.clone())
            .map(|at| (table.start_offset.get(at), table.end_offset.get(at), table.target_offset.get(at)))
            .collect();
        let mut from = 0;
        for (src, (start, end)) in graph.borders.iter().enumerate() {
            let Some(last) = code.offsets.partition_point(|offset| offset < end).checked_sub(1) else { continue };
            let at = self.instrs.start + last;
            let way = self.way(at);
            if matches!(way, Way::Next | Way::Conditional) && src + 1 < graph.borders.len() {
                push(src, src + 1, Kind::Next, None);
            }
            if matches!(way, Way::Jump | Way::Conditional)
                && let Some(dst) = instrs.jump_target.get(at).and_then(|target| graph.block_at(Some(target)))
            {
                push(src, dst, if way == Way::Jump { Kind::Jump } else { Kind::Branch }, None);
            }
            // Entries are in order, as blocks are.
            while entries.get(from).is_some_and(|(_, until, _)| until.is_some_and(|until| until <= *start)) {
                from += 1;
            }
            for (exc, (first, until, target)) in (from..).zip(entries.get(from..).unwrap_or_default()) {
                if first.is_none_or(|first| first >= *end) {
                    break;
                }
                if until.is_some_and(|until| until > *start)
                    && let Some(dst) = target.and_then(|target| graph.block_at(Some(target)))
                {
                    push(src, dst, Kind::Exc, i32::try_from(exc).ok());
                }
            }
        }
        edges
    }

    /// Key, condition, polarity and the mark of a back edge.
    fn edge_detail(&mut self, code: &Code, graph: &Graph, edge: &Edge, tree: &DominatorTree) {
        let columns = &self.columns.cfg_edges.items;
        let at = self.edges.start + edge.nth;
        let start = |block: usize| graph.borders.get(block).map_or(-1, |(start, _)| *start);
        let exc = edge.exc.map(|exc| format!(":{exc}")).unwrap_or_default();
        let key = format!("{}:{}:{}{exc}", start(edge.src), start(edge.dst), edge.kind.as_str());

        let end = graph.borders.get(edge.src).map_or(-1, |(_, end)| *end);
        let last = code.offsets.partition_point(|offset| *offset < end).checked_sub(1);
        let conditional = matches!(edge.kind, Kind::Next | Kind::Branch)
            && last.is_some_and(|last| self.way(self.instrs.start + last) == Way::Conditional);
        let polarity = columns.polarity.get(at);
        let jumps_on_true = last.and_then(|last| self.jumps_on_true(self.instrs.start + last));
        let outcome = if conditional { jumps_on_true.map(|jumps| jumps == (edge.kind == Kind::Branch)) } else { None };
        let back = columns.is_back_edge.get(at);

        let mut faults = Vec::new();
        if columns.edge_key.get(at) != Some(&key) {
            faults.push(format!("edge_key should be {key:?}"));
        }
        if conditional != last.is_some_and(|last| is(columns.cond_instr_index.get(at), last))
            || conditional != columns.cond_instr_index.get(at).is_some()
        {
            faults.push(format!("the condition is {:?}, the block ends with {last:?}", columns.cond_instr_index.get(at)));
        }
        if polarity != outcome.map(|outcome| if outcome { "true" } else { "false" }) {
            faults.push(format!("polarity is {polarity:?} and should be {outcome:?}"));
        }
        if (edge.kind == Kind::Exc) != edge.exc.is_some() {
            faults.push(format!("exc_index is {:?}", edge.exc));
        }
        if back != Some(tree.dominates(edge.dst, edge.src)) {
            faults.push(format!("is_back_edge is {back:?}; it is one if the destination dominates the source"));
        }
        self.expect(Check::EdgeDetail, faults.is_empty(), Place::Edge(edge.nth), || faults.join("; "));
    }

    /// The outcome on which a conditional jump jumps. FOR_ITER and SEND test whether there is a next value, and jump if not.
    fn jumps_on_true(&self, at: usize) -> Option<bool> {
        match self.columns.instructions.items.opname.get(at)? {
            "POP_JUMP_IF_TRUE" | "POP_JUMP_IF_NONE" => Some(true),
            "POP_JUMP_IF_FALSE" | "POP_JUMP_IF_NOT_NONE" | "FOR_ITER" | "SEND" => Some(false),
            // Specialised forms have names of their own; which way they jump is their base's business.
            name if name.starts_with("FOR_ITER_") || name.starts_with("SEND_") => Some(false),
            _ => None,
        }
    }
}
