//! The ids that the views compute, computed from the same columns by the same functions.

use super::{
    Check, IdOwner, IdSink, Place,
    code::UnitScope,
    columns::{Exceptions, Instrs},
};
use crate::ids;

impl UnitScope<'_, '_> {
    /// Hands all ids inside the unit to the sink.
    pub(super) fn ids(&self, sink: &mut dyn IdSink) {
        let unit = self.id;
        let mut give = |check, place, id: String| {
            sink.id(check, &id, &IdOwner { repo: self.file.repo, path: self.file.path, code_unit_id: Some(unit), place });
        };
        let columns = self.columns;
        let instrs: &Instrs<'_> = &columns.instructions.items;
        for (nth, at) in self.instrs.clone().enumerate() {
            let (index, offset) = (instrs.instr_index.get(at).unwrap_or(-1), instrs.offset.get(at).unwrap_or(-1));
            give(Check::UniqueInstr, Place::Instr(nth), ids::instr_id(unit, index, offset));
            for cache in instrs.cache_info.range(at) {
                let name = instrs.cache_info.items.name.get(cache).unwrap_or_default();
                give(Check::UniqueCache, Place::Cache(nth), ids::cache_entry_id(unit, index, offset, name));
            }
        }
        let table: &Exceptions<'_> = &columns.exception_table.items;
        for (nth, at) in self.exceptions.clone().enumerate() {
            let part = |column: super::columns::Ints<'_>| column.get(at).unwrap_or(-1);
            let (index, start, end) = (part(table.exc_index), part(table.start_offset), part(table.end_offset));
            give(Check::UniqueException, Place::Exception(nth), ids::exc_entry_id(unit, index, start, end, part(table.target_offset)));
        }
        let blocks = &columns.blocks.items;
        for (nth, at) in self.blocks.clone().enumerate() {
            let (start, end) = (blocks.start_offset.get(at).unwrap_or(-1), blocks.end_offset.get(at).unwrap_or(-1));
            give(Check::UniqueBlock, Place::Block(nth), ids::block_id(unit, start, end));
        }
        let edges = &columns.cfg_edges.items;
        for (nth, at) in self.edges.clone().enumerate() {
            let block = |start: super::columns::Ints<'_>, end: super::columns::Ints<'_>| {
                ids::block_id(unit, start.get(at).unwrap_or(-1), end.get(at).unwrap_or(-1))
            };
            let (src, dst) = (block(edges.src_block_start, edges.src_block_end), block(edges.dst_block_start, edges.dst_block_end));
            let (kind, key) = (edges.kind.get(at).unwrap_or_default(), edges.edge_key.get(at).unwrap_or_default());
            give(Check::UniqueEdge, Place::Edge(nth), ids::edge_id(unit, &src, &dst, kind, key, edges.exc_index.get(at)));
        }
        let edges = &columns.dfg_edges.items;
        for (nth, at) in self.data_edges.clone().enumerate() {
            let (src, dst) = (edges.src_instr_index.get(at).unwrap_or(-1), edges.dst_instr_index.get(at).unwrap_or(-1));
            let id = ids::dfg_edge_id(unit, src, dst, edges.kind.get(at).unwrap_or_default(), edges.operand_index.get(at));
            give(Check::UniqueDataEdge, Place::DataEdge(nth), id);
        }
        for (nth, at) in columns.consts.range(self.unit).enumerate() {
            let index = columns.consts.items.const_index.get(at).unwrap_or(-1);
            give(Check::UniqueConst, Place::Const(nth), ids::const_id(unit, index));
        }
        for (nth, at) in self.events.clone().enumerate() {
            let index = columns.def_use_events.items.event_index.get(at).unwrap_or(-1);
            give(Check::UniqueEvent, Place::Event(nth), ids::event_id(unit, index));
        }
    }
}
