//! The columns of an instruction: the hot loop of the crate.

use bytefacts_bytecode::{
    flow::Flow,
    instruction::{ArgVal, Instruction},
    location::Positions,
    object::{Const, PyStr},
    text::{write_int, write_repr},
};

use super::{
    TooLarge,
    column::{Booleans, Column, Int32s, Int64s, List, Map, Texts, record},
    unit::UnitContext,
};
use crate::{constants::ConstTexts, ids::push_hex, source::SourceMap, unit::UnitFacts};

record! {
    /// `schema::INSTRUCTION`.
    Instructions {
        instr_index: Int32s,
        offset: Int32s,
        start_offset: Int32s,
        end_offset: Int32s,
        opname: Texts,
        baseopname: Texts,
        opcode: Int32s,
        baseopcode: Int32s,
        arg: Int32s,
        oparg: Int32s,
        argval_kind: Texts,
        argval_int: Int64s,
        argval_str: Texts,
        argrepr: Texts,
        line_number: Int32s,
        starts_line: Int32s,
        label: Int32s,
        is_jump_target: Booleans,
        jump_target: Int32s,
        cache_info: List<Caches>,
        span: Spans,
        attrs: Map,
        stack_depth_before: Int32s,
        stack_depth_after: Int32s,
        pops: Int32s,
        pushes: Int32s,
        operands: Int32s,
        block_index: Int32s,
        block_start_offset: Int32s,
        block_end_offset: Int32s,
    }
}

record! {
    /// `schema::CACHE`.
    Caches { name: Texts, size: Int32s, data_hex: Texts }
}

record! {
    /// `schema::SPAN`.
    Spans { start: Points, end: Points, end_exclusive: Booleans, col_unit: Texts, byte_span: ByteSpans }
}

record! {
    /// `schema::POINT`.
    Points { line0: Int32s, col: Int32s }
}

record! {
    /// `schema::BYTE_SPAN`.
    ByteSpans { byte_start: Int32s, byte_len: Int32s }
}

/// How many instructions may pass between two looks at the size of the columns. The texts, which alone can be long, are
/// looked at after each.
const ROWS_PER_CHECK: usize = 4096;

impl Instructions {
    /// Appends a unit's instructions.
    pub(super) fn push_all(
        &mut self,
        facts: &UnitFacts<'_>,
        texts: &ConstTexts,
        context: &UnitContext<'_>,
    ) -> Result<(), TooLarge> {
        let limit = self.bytes().saturating_add(context.room);
        for (rows, (index, instruction)) in (0..).zip(&facts.instructions).enumerate() {
            self.push(index, instruction, texts, context.path);
            for (name, words, data) in instruction.caches(facts.unit.code) {
                self.cache_info.items.push(name, words, data);
            }
            self.cache_info.close();
            self.span.push(&instruction.positions, context.source);
            self.push_flow(facts.flow.as_ref(), rows);
            let texts_len = self.argval_str.text_len() + self.argrepr.text_len();
            if texts_len > limit || (rows % ROWS_PER_CHECK == 0 && self.bytes() > limit) {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    fn push(&mut self, index: i32, instruction: &Instruction<'_>, texts: &ConstTexts, path: &str) {
        self.instr_index.push(index);
        self.offset.push(instruction.offset);
        self.start_offset.push(instruction.start_offset);
        self.end_offset.push(instruction.end_offset);
        self.opname.push(instruction.opname());
        self.baseopname.push(instruction.baseopname());
        self.opcode.push(instruction.opcode.into());
        self.baseopcode.push(instruction.baseopcode.into());
        self.arg.push_optional(instruction.arg);
        self.oparg.push_optional(instruction.arg);
        match (instruction.argval, instruction.const_index()) {
            (ArgVal::Const(constant), Some(slot)) => self.push_const(constant, texts.get(slot)),
            (argval, _) => {
                self.push_argval(argval);
                instruction.write_argrepr(path, self.argrepr.open());
                self.argrepr.close();
            }
        }
        self.line_number.push_optional(instruction.line_number);
        self.starts_line.push(instruction.starts_line.into());
        self.label.push_optional(instruction.label);
        self.is_jump_target.push(instruction.label.is_some());
        self.jump_target.push_optional(instruction.jump_target);
    }

    fn push_flow(&mut self, flow: Option<&Flow>, index: usize) {
        let stack = flow.and_then(|flow| flow.stack.get(index));
        self.push_depth("stack_depth_before", stack.and_then(|stack| stack.depth_before));
        self.push_depth("stack_depth_after", stack.and_then(|stack| stack.depth_after));
        self.attrs.close();
        self.stack_depth_before.push_optional(stack.and_then(|stack| stack.depth_before));
        self.stack_depth_after.push_optional(stack.and_then(|stack| stack.depth_after));
        self.pops.push_optional(stack.map(|stack| stack.pops));
        self.pushes.push_optional(stack.map(|stack| stack.pushes));
        self.operands.push_optional(stack.map(|stack| stack.operands));
        let block_index = flow.and_then(|flow| flow.block_of.get(index));
        let block = flow.zip(block_index).and_then(|(flow, index)| flow.blocks.get(*index as usize));
        self.block_index.push_optional(block_index.and_then(|index| i32::try_from(*index).ok()));
        self.block_start_offset.push_optional(block.map(|block| block.start));
        self.block_end_offset.push_optional(block.map(|block| block.end));
    }

    fn push_depth(&mut self, key: &str, depth: Option<i32>) {
        if let Some(depth) = depth {
            write_int(depth.into(), self.attrs.open_entry(key));
            self.attrs.close_entry();
        }
    }

    fn push_const(&mut self, constant: &Const, text: &str) {
        self.argval_kind.push("const");
        self.argval_int.push_optional(match constant {
            Const::Bool(value) => Some((*value).into()),
            Const::Int(value) => value.to_i64(),
            _ => None,
        });
        match constant {
            Const::None => self.argval_str.push_null(),
            Const::Str(value) => self.argval_str.push(&value.to_text()),
            _ => self.argval_str.push(text),
        }
        self.argrepr.push(text);
    }

    /// The argument columns of anything but a constant.
    fn push_argval(&mut self, argval: ArgVal<'_>) {
        let (kind, int) = match argval {
            ArgVal::None | ArgVal::Const(_) => (None, None),
            ArgVal::Raw(arg) => (None, Some(arg)),
            ArgVal::Jump(target) => (Some("jump"), Some(target)),
            ArgVal::Name(_) => (Some("name"), None),
            ArgVal::Local(_) | ArgVal::LocalPair(..) => (Some("local"), None),
            ArgVal::Free(_) => (Some("free"), None),
            ArgVal::Compare(_) => (Some("compare"), None),
        };
        self.argval_kind.push_optional(kind);
        self.argval_int.push_optional(int.map(i64::from));
        match argval {
            ArgVal::None | ArgVal::Const(_) | ArgVal::Raw(_) | ArgVal::Jump(_) => self.argval_str.push_null(),
            ArgVal::Name(name) | ArgVal::Local(name) | ArgVal::Free(name) => self.argval_str.push(&name.to_text()),
            ArgVal::LocalPair(first, second) => {
                let out = self.argval_str.open();
                out.push('(');
                push_name_repr(first, out);
                out.push_str(", ");
                push_name_repr(second, out);
                out.push(')');
                self.argval_str.close();
            }
            ArgVal::Compare(operator) => self.argval_str.push(operator),
        }
    }
}

/// Python's `repr` of a name; those that need no escape, which is all that a compiler writes, are copied.
fn push_name_repr(name: &PyStr, out: &mut String) {
    match name.as_str() {
        Some(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) => {
            out.extend(["'", name, "'"]);
        }
        _ => write_repr(&Const::Str(name.clone()), "", out),
    }
}

impl Caches {
    fn push(&mut self, name: &str, words: i32, data: &[u8]) {
        self.name.push(name);
        self.size.push(words);
        push_hex(data, self.data_hex.open());
        self.data_hex.close();
    }
}

impl Spans {
    fn push(&mut self, positions: &Positions, source: Option<&SourceMap>) {
        if *positions == Positions::default() {
            return self.push_null();
        }
        self.start.push(positions.line, positions.col);
        self.end.push(positions.end_line, positions.end_col);
        self.end_exclusive.push(true);
        self.col_unit.push("byte");
        match source.and_then(|source| source.byte_span(*positions)) {
            Some(bytes) => {
                self.byte_span.byte_start.push(bytes.start);
                self.byte_span.byte_len.push(bytes.len);
                self.byte_span.close();
            }
            None => self.byte_span.push_null(),
        }
        self.close();
    }
}

impl Points {
    fn push(&mut self, line1: Option<i32>, col: Option<i32>) {
        self.line0.push_optional(line1.map(|line1| line1 - 1).filter(|line0| *line0 >= 0));
        self.col.push_optional(col);
        self.close();
    }
}
