//! Blocks, the exception table and the edges between blocks, derived again from instructions and entries.

use std::collections::BTreeMap;

use super::{
    Check, Place,
    code::{Code, UnitScope, is},
};

/// The blocks and edges of a unit as its rows have them; numbers are positions in the unit's lists.
pub(super) struct Graph {
    /// Start and end of each block.
    pub(super) borders: Vec<(i32, i32)>,
    by_start: BTreeMap<i32, usize>,
    pub(super) edges: Vec<Edge>,
}

/// An edge whose ends are blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) src: usize,
    pub(super) dst: usize,
    pub(super) kind: Kind,
    pub(super) exc: Option<i32>,
    /// Position in the unit's list; last, so that it does not tell edges apart when they are sorted.
    pub(super) nth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Next,
    Branch,
    Jump,
    Exc,
}

impl Kind {
    fn parse(text: Option<&str>) -> Option<Self> {
        Some(match text? {
            "next" => Self::Next,
            "branch" => Self::Branch,
            "jump" => Self::Jump,
            "exc" => Self::Exc,
            _ => return None,
        })
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Branch => "branch",
            Self::Jump => "jump",
            Self::Exc => "exc",
        }
    }
}

impl Graph {
    #[cfg(test)]
    pub(super) fn of(borders: Vec<(i32, i32)>, edges: Vec<Edge>) -> Self {
        Self { borders, by_start: BTreeMap::new(), edges }
    }

    /// The block that starts at an offset.
    pub(super) fn block_at(&self, start: Option<i32>) -> Option<usize> {
        self.by_start.get(&start?).copied()
    }

    /// The block with those borders.
    fn block(&self, start: Option<i32>, end: Option<i32>) -> Option<usize> {
        let block = self.block_at(start)?;
        (self.borders.get(block).map(|(_, end)| *end) == end).then_some(block)
    }
}

/// How control leaves an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Next,
    Jump,
    Conditional,
    Exit,
}

/// The jumps of 3.13 that are always taken.
const UNCONDITIONAL: [&str; 3] = ["JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"];

impl UnitScope<'_, '_> {
    pub(super) fn exceptions(&mut self, code: &Code) {
        let table = &self.columns.exception_table.items;
        let mut last = 0;
        for (nth, at) in self.exceptions.clone().enumerate() {
            let part = |column: super::columns::Ints<'_>| column.get(at).unwrap_or(-1);
            let (start, end, target) = (part(table.start_offset), part(table.end_offset), part(table.target_offset));
            let holds = is(table.exc_index.get(at), nth)
                && last <= start
                && start < end
                && code.at(start).is_some()
                && code.is_border(end)
                && code.at(target).is_some()
                && part(table.depth) >= 0
                && table.lasti.get(at).is_some();
            self.expect(Check::Exception, holds, Place::Exception(nth), || {
                format!("covers {start}..{end} for {target} at depth {}, the entry before ends at {last}", part(table.depth))
            });
            last = end;
        }
    }

    /// Checks the blocks and reads them with the edges whose ends resolve.
    pub(super) fn graph(&mut self, code: &Code) -> Graph {
        let blocks = &self.columns.blocks.items;
        let mut graph = Graph { borders: Vec::new(), by_start: BTreeMap::new(), edges: Vec::new() };
        let mut last = 0;
        let mut entries = 0;
        for (nth, at) in self.blocks.clone().enumerate() {
            let (start, end) = (blocks.start_offset.get(at).unwrap_or(-1), blocks.end_offset.get(at).unwrap_or(-1));
            self.expect(Check::BlockPartition, start == last && start < end, Place::Block(nth), || {
                format!("covers {start}..{end}, and the block before it ends at {last}")
            });
            entries += usize::from(blocks.kind.get(at) == Some("entry"));
            last = end;
            graph.borders.push((start, end));
            graph.by_start.insert(start, nth);
            self.block_instructions(code, nth, at);
        }
        if last != code.end {
            self.find(Check::BlockPartition, Place::Offset(last), || format!("blocks end here, code_len is {}", code.end));
        }
        let first = self.blocks.clone().next().and_then(|at| blocks.kind.get(at));
        let sound = self.blocks.is_empty() && code.offsets.is_empty() || entries == 1 && first == Some("entry");
        self.expect(Check::BlockEntry, sound, Place::Whole, || format!("has {entries} entry blocks, and the first block is {first:?}"));
        self.handlers(&graph);
        self.block_references(&graph);
        self.edge_references(code, &mut graph);
        graph
    }

    fn block_instructions(&mut self, code: &Code, nth: usize, at: usize) {
        let (blocks, instrs) = (&self.columns.blocks.items, &self.columns.instructions.items);
        let (first, last) = (blocks.first_instr_index.get(at), blocks.last_instr_index.get(at));
        let end = last.and_then(|last| usize::try_from(last).ok()).and_then(|last| instrs.end_offset.get(self.instrs.start + last));
        let holds = is(blocks.block_index.get(at), nth)
            && code.is_at(first, blocks.start_offset.get(at))
            && first <= last
            && end == blocks.end_offset.get(at);
        self.expect(Check::BlockInstr, holds, Place::Block(nth), || {
            let index = blocks.block_index.get(at);
            format!("block_index {index:?}, instructions {first:?} to {last:?}: these are not at its borders")
        });
    }

    /// Exception targets are handlers, and handlers are targets.
    fn handlers(&mut self, graph: &Graph) {
        let (table, blocks) = (&self.columns.exception_table.items, &self.columns.blocks.items);
        let mut targets = vec![false; self.blocks.len()];
        for (nth, at) in self.exceptions.clone().enumerate() {
            let target = table.target_offset.get(at);
            let block = graph.block_at(target);
            let kind = block.and_then(|block| blocks.kind.get(self.blocks.start + block));
            self.expect(Check::BlockHandler, kind == Some("handler"), Place::Exception(nth), || {
                format!("leads to {target:?}, where the block is {kind:?}")
            });
            if let Some(target) = block.and_then(|block| targets.get_mut(block)) {
                *target = true;
            }
        }
        for (nth, at) in self.blocks.clone().enumerate() {
            let kind = blocks.kind.get(at);
            let known = matches!(kind, Some("entry" | "normal" | "handler"));
            if !known || kind == Some("handler") {
                let is_target = targets.get(nth).copied().unwrap_or(false);
                self.expect(Check::BlockHandler, known && is_target, Place::Block(nth), || {
                    format!("is of kind {kind:?}, and {} entry of the exception table leads to it", if is_target { "an" } else { "no" })
                });
            }
        }
    }

    /// Each instruction knows the block that holds it; jumps lead to starts of blocks and stand at their ends.
    fn block_references(&mut self, graph: &Graph) {
        let instrs = &self.columns.instructions.items;
        let mut block = 0;
        for (nth, at) in self.instrs.clone().enumerate() {
            let offset = instrs.offset.get(at).unwrap_or(-1);
            while graph.borders.get(block).is_some_and(|(_, end)| *end <= offset) {
                block += 1;
            }
            let borders = graph.borders.get(block).copied();
            let claimed = (instrs.block_start_offset.get(at), instrs.block_end_offset.get(at));
            let holds = is(instrs.block_index.get(at), block) && borders.is_some_and(|(start, end)| claimed == (Some(start), Some(end)));
            self.expect(Check::ReferenceBlock, holds, Place::Instr(nth), || {
                let index = instrs.block_index.get(at);
                format!("claims block {index:?} at {claimed:?}; offset {offset} is in block {block} at {borders:?}")
            });
            let target = instrs.jump_target.get(at);
            if target.is_some() || self.way(at) == Way::Exit {
                let leads = target.is_none() || graph.block_at(target).is_some();
                let ends = borders.map(|(_, end)| end) == instrs.end_offset.get(at);
                self.expect(Check::BlockBorder, leads && ends, Place::Instr(nth), || match leads {
                    true => format!("{} stands inside a block", instrs.opname.get(at).unwrap_or_default()),
                    false => format!("jumps to {target:?}, where no block starts"),
                });
            }
        }
    }

    /// How control leaves the instruction at a position of the columns.
    pub(super) fn way(&self, at: usize) -> Way {
        let instrs = &self.columns.instructions.items;
        let opname = instrs.opname.get(at).unwrap_or_default();
        match instrs.argval_kind.get(at) {
            Some("jump") if UNCONDITIONAL.contains(&opname) => Way::Jump,
            Some("jump") => Way::Conditional,
            _ if self.file.terminators.iter().any(|name| name == opname) => Way::Exit,
            _ => Way::Next,
        }
    }

    /// Resolves the edges.
    fn edge_references(&mut self, code: &Code, graph: &mut Graph) {
        let columns = &self.columns.cfg_edges.items;
        for (nth, at) in self.edges.clone().enumerate() {
            let src = graph.block(columns.src_block_start.get(at), columns.src_block_end.get(at));
            let dst = graph.block(columns.dst_block_start.get(at), columns.dst_block_end.get(at));
            let kind = Kind::parse(columns.kind.get(at));
            let (index, offset) = (columns.cond_instr_index.get(at), columns.cond_instr_offset.get(at));
            let condition = index.is_none() && offset.is_none() || code.is_at(index, offset);
            let exc = columns.exc_index.get(at);
            let entry = exc.is_none_or(|exc| usize::try_from(exc).is_ok_and(|exc| exc < self.exceptions.len()));
            let resolved = src.zip(dst).zip(kind).filter(|_| condition && entry);
            self.expect(Check::ReferenceEdge, resolved.is_some(), Place::Edge(nth), || {
                let key = columns.edge_key.get(at).unwrap_or_default();
                format!("{key:?}: source {src:?}, destination {dst:?}, kind {kind:?}, condition {index:?} at {offset:?}, entry {exc:?}")
            });
            graph.edges.extend(resolved.map(|((src, dst), kind)| Edge { src, dst, kind, exc, nth }));
        }
    }
}
