//! Stack depths: in bounds, changing as instructions say, agreeing where ways meet.

use super::{
    Check, Place,
    code::UnitScope,
    graph::{Graph, Kind},
};

impl UnitScope<'_, '_> {
    pub(super) fn stack(&mut self, graph: &Graph) {
        let (instrs, blocks) = (&self.columns.instructions.items, &self.columns.blocks.items);
        let stacksize = self.columns.stacksize.get(self.unit).unwrap_or(0);
        let mut deepest = 0;
        for (nth, at) in self.instrs.clone().enumerate() {
            let depths = (instrs.stack_depth_before.get(at), instrs.stack_depth_after.get(at));
            let block = instrs.block_index.get(at).and_then(|block| usize::try_from(block).ok());
            let reachable = block.is_some_and(|block| block < self.blocks.len() && blocks.is_reachable.is_true(self.blocks.start + block));
            let in_bounds = match depths {
                (Some(before), Some(after)) => reachable && before.min(after) >= 0 && before.max(after) <= stacksize,
                (None, None) => !reachable,
                _ => false,
            };
            self.expect(Check::StackDepth, in_bounds, Place::Instr(nth), || {
                format!("depths {depths:?}, stacksize {stacksize}, in {} code", if reachable { "reachable" } else { "unreachable" })
            });
            deepest = deepest.max(depths.0.unwrap_or(0)).max(depths.1.unwrap_or(0));

            let (pops, pushes) = (instrs.pops.get(at), instrs.pushes.get(at));
            let same_block_before = nth > 0 && instrs.block_index.get(at) == instrs.block_index.get(at - 1);
            let follows = !same_block_before || depths.0 == instrs.stack_depth_after.get(at - 1);
            let holds = match (depths, pops, pushes) {
                ((Some(before), Some(after)), Some(pops), Some(pushes)) => follows && before >= pops && after == before - pops + pushes,
                ((None, None), Some(_), Some(_)) => true,
                _ => false,
            };
            self.expect(Check::StackEffect, holds, Place::Instr(nth), || {
                format!("depths {depths:?} with pops {pops:?} and pushes {pushes:?}{}", if follows { "" } else { ", and the depth jumps" })
            });
        }
        let first = self.instrs.clone().next();
        if let Some(first) = first
            && instrs.stack_depth_before.get(first) != Some(0)
        {
            self.find(Check::StackEffect, Place::Instr(0), || "the code does not start at depth 0".to_owned());
        }
        self.merges(graph);

        let claimed = self.columns.max_stack_depth.get(self.unit);
        // Without an instruction nothing has been derived.
        let holds = if first.is_none() { claimed.is_none() } else { claimed == Some(deepest) && deepest <= stacksize };
        self.expect(Check::StackMaximum, holds, Place::Whole, || {
            format!("max_stack_depth is {claimed:?}, the greatest depth is {deepest}, stacksize is {stacksize}")
        });
    }

    /// Each way into a block brings the depth at which it starts.
    fn merges(&mut self, graph: &Graph) {
        let (instrs, blocks, table) = (&self.columns.instructions.items, &self.columns.blocks.items, &self.columns.exception_table.items);
        let instr = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok()).map(|index| self.instrs.start + index);
        let mut faults = Vec::new();
        for edge in &graph.edges {
            let (src, dst) = (self.blocks.start + edge.src, self.blocks.start + edge.dst);
            let Some(last) = instr(blocks.last_instr_index.get(src)) else { continue };
            let Some(after) = instrs.stack_depth_after.get(last) else { continue };
            let brought = match (edge.kind, edge.exc.and_then(|exc| usize::try_from(exc).ok())) {
                (Kind::Exc, Some(exc)) if exc < self.exceptions.len() => {
                    let entry = self.exceptions.start + exc;
                    table.depth.get(entry).map(|depth| depth + i32::from(table.lasti.is_true(entry)) + 1)
                }
                (Kind::Exc, _) => continue,
                _ => Some(after),
            };
            let found = instr(blocks.first_instr_index.get(dst)).and_then(|first| instrs.stack_depth_before.get(first));
            faults.push((edge.nth, brought, found));
        }
        for (nth, brought, found) in faults {
            self.expect(Check::StackEffect, brought == found, Place::Edge(nth), || {
                format!("brings depth {brought:?} to a block that starts at depth {found:?}")
            });
        }
    }
}
