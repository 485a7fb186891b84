//! The columns of what is derived from the instructions: blocks, edges and events of variables.

use std::fmt::Write as _;

use bytefacts_bytecode::{
    Instruction,
    flow::{Access, AccessKind, Block, DataEdge, Edge, EdgeKind, Flow, Namespace, Producer, Variable},
    object::{Code, PyStr, flag},
};

use super::{
    column::{Booleans, Column as _, Int32s, Map, Names, Texts, record},
    instruction::push_number,
};
use crate::{
    unit::UnitFacts,
    unwritten::{Unwritten, int},
};

record! {
    /// `schema::BLOCK`.
    Blocks {
        start_offset: Int32s,
        end_offset: Int32s,
        kind: Names,
        attrs: Map,
        block_index: Int32s,
        first_instr_index: Int32s,
        last_instr_index: Int32s,
        is_exit: Booleans,
        is_reachable: Booleans,
        loop_depth: Int32s,
        immediate_dominator: Int32s,
    }
}

record! {
    /// `schema::CFG_EDGE`.
    CfgEdges {
        src_block_start: Int32s,
        src_block_end: Int32s,
        dst_block_start: Int32s,
        dst_block_end: Int32s,
        kind: Names,
        edge_key: Texts,
        cond_instr_index: Int32s,
        cond_instr_offset: Int32s,
        exc_index: Int32s,
        attrs: Map,
        polarity: Names,
        is_back_edge: Booleans,
    }
}

record! {
    /// `schema::DFG_EDGE`.
    DfgEdges {
        src_instr_index: Int32s,
        dst_instr_index: Int32s,
        kind: Names,
        attrs: Map,
        operand_index: Int32s,
        symbol: Texts,
        producer_kind: Names,
        src_instr_offset: Int32s,
        dst_instr_offset: Int32s,
    }
}

record! {
    /// `schema::EVENT`.
    Events {
        event_index: Int32s,
        instr_index: Int32s,
        instr_offset: Int32s,
        kind: Names,
        namespace: Names,
        symbol: Texts,
    }
}

impl Blocks {
    /// Appends a unit's blocks.
    pub(super) fn push_all(&mut self, blocks: &[Block]) -> Result<(), Unwritten> {
        for (index, block) in (0..).zip(blocks) {
            self.start_offset.push(block.start);
            self.end_offset.push(block.end);
            self.kind.push(block.kind as usize, block.kind.as_str());
            self.attrs.close();
            self.block_index.push(index);
            self.first_instr_index.push(int(block.first_instr)?);
            self.last_instr_index.push(int(block.last_instr)?);
            self.is_exit.push(block.is_exit);
            self.is_reachable.push(block.is_reachable);
            self.loop_depth.push_optional(block.is_reachable.then(|| int(block.loop_depth)).transpose()?);
            self.immediate_dominator.push_optional(block.immediate_dominator.map(int).transpose()?);
        }
        Ok(())
    }
}

impl CfgEdges {
    /// Appends a unit's control flow.
    pub(super) fn push_all(&mut self, facts: &UnitFacts<'_>, flow: &Flow) -> Result<(), Unwritten> {
        for edge in &flow.edges {
            let block = |index: u32| flow.blocks.get(index as usize).ok_or(Unwritten::Inconsistent("an edge of no block"));
            let (src, dst) = (block(edge.src)?, block(edge.dst)?);
            self.src_block_start.push(src.start);
            self.src_block_end.push(src.end);
            self.dst_block_start.push(dst.start);
            self.dst_block_end.push(dst.end);
            self.kind.push(edge.kind as usize, edge.kind.as_str());
            // Writing to a String cannot fail.
            let _ = write!(self.edge_key.open(), "{}", edge.key(&flow.blocks));
            self.edge_key.close();
            let condition = edge.condition.map(|instr| instruction(facts, instr)).transpose()?;
            self.cond_instr_index.push_optional(edge.condition.map(int).transpose()?);
            self.cond_instr_offset.push_optional(condition.map(|instruction| instruction.offset));
            self.exc_index.push_optional(edge.exc.map(int).transpose()?);
            self.push_attrs(facts, edge, src)?;
            match edge.polarity {
                Some(polarity) => self.polarity.push(polarity.into(), if polarity { "true" } else { "false" }),
                None => self.polarity.push_null(),
            }
            self.is_back_edge.push(edge.is_back_edge);
        }
        Ok(())
    }

    fn push_attrs(&mut self, facts: &UnitFacts<'_>, edge: &Edge, src: &Block) -> Result<(), Unwritten> {
        match edge.kind {
            EdgeKind::Next => {}
            EdgeKind::Branch | EdgeKind::Jump => {
                let jump = instruction(facts, edge.condition.unwrap_or(src.last_instr))?;
                self.attrs.entry("jump_kind", jump.opname());
                self.push_number("jump_label", jump.label);
                self.push_number("jump_target_label", jump.target_label);
            }
            EdgeKind::Exc => {
                let entry = edge.exc.and_then(|exc| facts.exceptions.get(exc as usize));
                let entry = entry.ok_or(Unwritten::Inconsistent("an exception edge of no entry"))?;
                self.push_number("depth", Some(entry.depth));
                self.attrs.entry("lasti", if entry.lasti { "True" } else { "False" });
            }
        }
        self.attrs.close();
        Ok(())
    }

    fn push_number(&mut self, key: &str, number: Option<i32>) {
        if let Some(number) = number {
            push_number(number, self.attrs.open_entry(key));
            self.attrs.close_entry();
        }
    }
}

/// What the row of an edge takes at least: its numbers and offsets.
const EDGE_BYTES: usize = 60;

impl DfgEdges {
    /// Appends a unit's data flow.
    pub(super) fn push_all(&mut self, facts: &UnitFacts<'_>, edges: &[DataEdge], room: usize) -> Result<(), Unwritten> {
        if edges.len().saturating_mul(EDGE_BYTES) > room {
            return Err(Unwritten::TooLarge);
        }
        let most = self.symbol.text_len().saturating_add(room);
        for edge in edges {
            let src = edge.producer.instr_index();
            self.src_instr_index.push(src);
            self.dst_instr_index.push(int(edge.dst)?);
            self.kind.push(edge.kind as usize, edge.kind.as_str());
            self.attrs.close();
            self.operand_index.push(int(edge.operand_index)?);
            match edge.variable {
                Some(variable) => self.symbol.push(&name(variable, facts)?.to_text()),
                None => self.symbol.push_null(),
            }
            self.producer_kind.push(producer_number(edge.producer), edge.producer.kind());
            // What the call or the interpreter makes has no instruction.
            let src = u32::try_from(src).ok().map(|src| instruction(facts, src)).transpose()?;
            self.src_instr_offset.push_optional(src.map(|instruction| instruction.offset));
            self.dst_instr_offset.push(instruction(facts, edge.dst)?.offset);
            // Names can be long.
            if self.symbol.text_len() > most {
                return Err(Unwritten::TooLarge);
            }
        }
        Ok(())
    }
}

impl Events {
    /// Appends a unit's events: the arguments, which the call defines, then what the instructions do.
    pub(super) fn push_all(&mut self, facts: &UnitFacts<'_>, accesses: &[Access]) -> Result<(), Unwritten> {
        let mut index = 0..;
        for argument in arguments(facts.unit.code) {
            self.event_index.push_optional(index.next());
            self.instr_index.push_null();
            self.instr_offset.push_null();
            self.kind.push(AccessKind::Define as usize, AccessKind::Define.as_str());
            self.namespace.push(Namespace::Local as usize, Namespace::Local.as_str());
            self.symbol.push(&argument.to_text());
        }
        for access in accesses {
            self.event_index.push_optional(index.next());
            self.instr_index.push(int(access.instr)?);
            self.instr_offset.push(instruction(facts, access.instr)?.offset);
            self.kind.push(access.kind as usize, access.kind.as_str());
            let namespace = access.variable.namespace;
            self.namespace.push(namespace as usize, namespace.as_str());
            self.symbol.push(&name(access.variable, facts)?.to_text());
        }
        Ok(())
    }
}

/// The instruction at a position that the analysis has named.
fn instruction<'f, 'a>(facts: &'f UnitFacts<'a>, position: u32) -> Result<&'f Instruction<'a>, Unwritten> {
    facts.instructions.get(position as usize).ok_or(Unwritten::Inconsistent("a position without an instruction"))
}

/// The name of a variable that the analysis has seen.
fn name<'a>(variable: Variable, facts: &UnitFacts<'a>) -> Result<&'a PyStr, Unwritten> {
    variable.name(facts.unit.code).ok_or(Unwritten::Inconsistent("a variable without a name"))
}

/// The local variables that a call fills.
fn arguments(code: &Code) -> impl Iterator<Item = &PyStr> {
    let starred = [flag::VARARGS, flag::VARKEYWORDS].into_iter().filter(|flag| code.has_flag(*flag)).count();
    let named = usize::try_from(code.argcount.saturating_add(code.kwonlyargcount)).unwrap_or(0);
    code.localsplusnames.iter().take(named + starred)
}

fn producer_number(producer: Producer) -> usize {
    match producer {
        Producer::Argument => 0,
        Producer::Instr(_) => 1,
        Producer::Exception(_) => 2,
        Producer::Lasti(_) => 3,
        Producer::Phi(_) => 4,
    }
}
