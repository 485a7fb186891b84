//! The columns of a unit and of its small lists.

use bytefacts_bytecode::{
    exception_table::ExceptionEntry,
    location::LineStart,
    object::{Code, PyStr, flag},
    unit::Unit,
};

use super::{
    column::{Booleans, Int32s, List, Map, Texts, record},
    context::UnitContext,
    flow::{Blocks, CfgEdges, DfgEdges, Events},
    instruction::Instructions,
};
use crate::{
    constants::{ConstTexts, push_json_array},
    digest::Digest,
    ids,
    unit::UnitFacts,
    unwritten::{Unwritten, int},
};

record! {
    /// `schema::CODE_OBJECT`.
    Units {
        code_id: Texts,
        qualname: Texts,
        co_qualname: Texts,
        co_filename: Texts,
        name: Texts,
        firstlineno1: Int32s,
        argcount: Int32s,
        posonlyargcount: Int32s,
        kwonlyargcount: Int32s,
        nlocals: Int32s,
        flags: Int32s,
        stacksize: Int32s,
        code_len: Int32s,
        flags_detail: Flags,
        varnames: List<Texts>,
        freevars: List<Texts>,
        cellvars: List<Texts>,
        names: List<Texts>,
        consts: List<Consts>,
        consts_json: Texts,
        line_table: List<Lines>,
        instructions: List<Instructions>,
        exception_table: List<Exceptions>,
        blocks: List<Blocks>,
        cfg_edges: List<CfgEdges>,
        dfg_edges: List<DfgEdges>,
        attrs: Map,
        code_unit_id: Texts,
        parent_code_unit_id: Texts,
        code_path: List<Int32s>,
        unit_kind: Texts,
        facts_digest: Texts,
        max_stack_depth: Int32s,
        def_use_events: List<Events>,
    }
}

record! {
    /// `schema::FLAGS`.
    Flags {
        is_optimized: Booleans,
        is_newlocals: Booleans,
        has_varargs: Booleans,
        has_varkeywords: Booleans,
        is_nested: Booleans,
        is_generator: Booleans,
        is_nofree: Booleans,
        is_coroutine: Booleans,
        is_iterable_coroutine: Booleans,
        is_async_generator: Booleans,
    }
}

record! {
    /// `schema::CONST`.
    Consts { const_index: Int32s, const_repr: Texts, const_type: Texts, child_code_unit_id: Texts }
}

record! {
    /// `schema::LINE`.
    Lines { offset: Int32s, line1: Int32s, line0: Int32s, attrs: Map }
}

record! {
    /// `schema::EXCEPTION`.
    Exceptions {
        exc_index: Int32s,
        start_offset: Int32s,
        end_offset: Int32s,
        target_offset: Int32s,
        depth: Int32s,
        lasti: Booleans,
        attrs: Map,
    }
}

impl Units {
    /// Appends a unit.
    pub(super) fn push(
        &mut self,
        facts: &UnitFacts<'_>,
        context: &UnitContext<'_>,
        texts: &ConstTexts,
        digest: &Digest,
    ) -> Result<(), Unwritten> {
        let (unit, code) = (facts.unit, facts.unit.code);
        let name = code.name.to_text();
        self.code_id.push(&ids::code_id(&unit.qualpath, &name, code.firstlineno));
        self.qualname.push(&unit.qualpath);
        self.co_qualname.push(&code.qualname.to_text());
        self.co_filename.push(context.path);
        self.name.push(&name);
        self.push_header(code)?;
        let parent = context.ids.parent(context.index)?;
        self.push_attrs(parent.map(|(_, parent)| parent));
        self.code_unit_id.push(context.ids.of(context.index)?);
        self.parent_code_unit_id.push_optional(parent.map(|(id, _)| id));
        for ordinal in &unit.code_path {
            self.code_path.items.push(*ordinal);
        }
        self.code_path.close();
        self.unit_kind.push(unit.kind.as_str());
        self.facts_digest.push(&ids::hex(digest));

        self.push_consts(code, context, texts)?;
        self.line_table.items.push_all(&facts.lines);
        self.line_table.close();
        self.exception_table.items.push_all(&facts.exceptions);
        self.exception_table.close();
        self.instructions.items.push_all(facts, texts, context)?;
        self.instructions.close();
        self.push_flow(facts, context)
    }

    fn push_flow(&mut self, facts: &UnitFacts<'_>, context: &UnitContext<'_>) -> Result<(), Unwritten> {
        if let Some(flow) = &facts.flow {
            self.blocks.items.push_all(&flow.blocks)?;
            self.cfg_edges.items.push_all(facts, flow)?;
            self.dfg_edges.items.push_all(facts, &flow.data_edges, context.room)?;
            self.def_use_events.items.push_all(facts, &flow.accesses)?;
        }
        self.blocks.close();
        self.cfg_edges.close();
        self.dfg_edges.close();
        self.def_use_events.close();
        self.max_stack_depth.push_optional(facts.flow.as_ref().map(|flow| flow.max_stack_depth));
        Ok(())
    }

    fn push_header(&mut self, code: &Code) -> Result<(), Unwritten> {
        self.firstlineno1.push(code.firstlineno);
        self.argcount.push(code.argcount);
        self.posonlyargcount.push(code.posonlyargcount);
        self.kwonlyargcount.push(code.kwonlyargcount);
        self.nlocals.push(code.nlocals());
        self.flags.push(code.flags);
        self.stacksize.push(code.stacksize);
        self.code_len.push(int(code.code.len())?);
        self.flags_detail.push(code);
        push_names(&mut self.varnames, code.varnames());
        push_names(&mut self.freevars, code.freevars());
        push_names(&mut self.cellvars, code.cellvars());
        push_names(&mut self.names, code.names.iter());
        Ok(())
    }

    fn push_attrs(&mut self, parent: Option<&Unit<'_>>) {
        if let Some(parent) = parent {
            self.attrs.entry("parent_qualpath", &parent.qualpath);
            self.attrs.entry("parent_co_name", &parent.code.name.to_text());
            self.attrs.entry("parent_firstlineno", &parent.code.firstlineno.to_string());
        }
        self.attrs.close();
    }

    fn push_consts(&mut self, code: &Code, context: &UnitContext<'_>, texts: &ConstTexts) -> Result<(), Unwritten> {
        let consts = &mut self.consts.items;
        let mut children = context.ids.children(context.index)?.into_iter().peekable();
        for ((slot, constant), text) in code.consts.iter().enumerate().zip(texts.iter()) {
            consts.const_index.push(int(slot)?);
            consts.const_repr.push(text);
            consts.const_type.push(constant.kind());
            let child = children.next_if(|(child_slot, _)| *child_slot == slot);
            consts.child_code_unit_id.push_optional(child.map(|(_, id)| id));
        }
        self.consts.close();
        push_json_array(texts.iter(), self.consts_json.open());
        self.consts_json.close();
        Ok(())
    }
}

fn push_names<'a>(list: &mut List<Texts>, names: impl Iterator<Item = &'a PyStr>) {
    for name in names {
        list.items.push(&name.to_text());
    }
    list.close();
}

impl Flags {
    fn push(&mut self, code: &Code) {
        self.is_optimized.push(code.has_flag(flag::OPTIMIZED));
        self.is_newlocals.push(code.has_flag(flag::NEWLOCALS));
        self.has_varargs.push(code.has_flag(flag::VARARGS));
        self.has_varkeywords.push(code.has_flag(flag::VARKEYWORDS));
        self.is_nested.push(code.has_flag(flag::NESTED));
        self.is_generator.push(code.has_flag(flag::GENERATOR));
        self.is_nofree.push(code.has_flag(flag::NOFREE));
        self.is_coroutine.push(code.has_flag(flag::COROUTINE));
        self.is_iterable_coroutine.push(code.has_flag(flag::ITERABLE_COROUTINE));
        self.is_async_generator.push(code.has_flag(flag::ASYNC_GENERATOR));
    }
}

impl Lines {
    fn push_all(&mut self, lines: &[LineStart]) {
        for line in lines {
            self.offset.push(line.offset);
            self.line1.push_optional(line.line);
            self.line0.push_optional(line.line.map(|line| line - 1).filter(|line0| *line0 >= 0));
            self.attrs.close();
        }
    }
}

impl Exceptions {
    fn push_all(&mut self, entries: &[ExceptionEntry]) {
        for (index, entry) in (0..).zip(entries) {
            self.exc_index.push(index);
            self.start_offset.push(entry.start);
            self.end_offset.push(entry.end);
            self.target_offset.push(entry.target);
            self.depth.push(entry.depth);
            self.lasti.push(entry.lasti);
            self.attrs.close();
        }
    }
}
