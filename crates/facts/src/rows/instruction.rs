//! The columns of an instruction: the hot loop of the crate.

use bytefacts_bytecode::{
    flow::Flow,
    instruction::{ArgVal, Instruction},
    location::Positions,
    object::{Code, Const, PyStr},
    text::{write_int, write_repr},
};

use super::{
    column::{Booleans, Column, Int32s, Int64s, List, Map, Names, Texts, record},
    context::UnitContext,
};
use crate::{
    constants::ConstTexts,
    ids::hex,
    source::SourceMap,
    unit::UnitFacts,
    unwritten::{Unwritten, int},
};

record! {
    /// `schema::INSTRUCTION`.
    Instructions {
        instr_index: Int32s,
        offset: Int32s,
        start_offset: Int32s,
        end_offset: Int32s,
        opname: Names,
        baseopname: Names,
        opcode: Int32s,
        baseopcode: Int32s,
        arg: Int32s,
        oparg: Int32s,
        argval_kind: Names,
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
        attrs: Map<Names>,
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
    Caches { name: Names, size: Int32s, data_hex: Names }
}

record! {
    /// `schema::SPAN`.
    Spans { start: Points, end: Points, end_exclusive: Booleans, col_unit: Names, byte_span: ByteSpans }
}

record! {
    /// `schema::POINT`.
    Points { line0: Int32s, col: Int32s }
}

record! {
    /// `schema::BYTE_SPAN`.
    ByteSpans { byte_start: Int32s, byte_len: Int32s }
}

/// How many instructions are appended column by column; few enough that they stay in the cache, and that little is appended
/// before the size of the columns is looked at again.
const CHUNK: usize = 1024;

impl Instructions {
    /// Appends a unit's instructions.
    pub(super) fn push_all(&mut self, facts: &UnitFacts<'_>, texts: &ConstTexts, context: &UnitContext<'_>) -> Result<(), Unwritten> {
        let limit = self.bytes().saturating_add(context.room);
        for (chunk, start) in facts.instructions.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            self.push_code(chunk, int(start)?);
            self.push_arguments(chunk, texts, context.path, limit)?;
            self.push_caches(chunk, facts.unit.code);
            self.span.push_all(chunk, context.source);
            self.push_stack(facts.flow.as_ref(), start, chunk.len())?;
            self.push_block(facts.flow.as_ref(), start, chunk.len())?;
            if self.bytes() > limit {
                return Err(Unwritten::TooLarge);
            }
        }
        Ok(())
    }

    fn push_code(&mut self, chunk: &[Instruction<'_>], first: i32) {
        self.instr_index.extend((first..).take(chunk.len()));
        self.offset.extend(chunk.iter().map(|instruction| instruction.offset));
        self.start_offset.extend(chunk.iter().map(|instruction| instruction.start_offset));
        self.end_offset.extend(chunk.iter().map(|instruction| instruction.end_offset));
        for instruction in chunk {
            self.opname.push(instruction.opcode.into(), instruction.opname());
        }
        for instruction in chunk {
            self.baseopname.push(instruction.baseopcode.into(), instruction.baseopname());
        }
        self.opcode.extend(chunk.iter().map(|instruction| instruction.opcode.into()));
        self.baseopcode.extend(chunk.iter().map(|instruction| instruction.baseopcode.into()));
        self.arg.extend_optional(chunk.iter().map(|instruction| instruction.arg));
        self.oparg.extend_optional(chunk.iter().map(|instruction| instruction.arg));
        self.line_number.extend_optional(chunk.iter().map(|instruction| instruction.line_number));
        self.starts_line.extend(chunk.iter().map(|instruction| instruction.starts_line.into()));
        self.label.extend_optional(chunk.iter().map(|instruction| instruction.label));
        self.is_jump_target.extend(chunk.iter().map(|instruction| instruction.label.is_some()));
        self.jump_target.extend_optional(chunk.iter().map(|instruction| instruction.jump_target));
    }

    /// Texts alone can be long, so their size is looked at after each.
    fn push_arguments(&mut self, chunk: &[Instruction<'_>], texts: &ConstTexts, path: &str, limit: usize) -> Result<(), Unwritten> {
        for instruction in chunk {
            match (instruction.argval, instruction.const_index()) {
                (ArgVal::Const(constant), Some(slot)) => {
                    self.push_const(constant, texts.get(slot).ok_or(Unwritten::Inconsistent("a constant without a text"))?);
                }
                (argval, _) => {
                    self.push_argval(argval);
                    instruction.write_argrepr(path, self.argrepr.open());
                    self.argrepr.close();
                }
            }
            if self.argval_str.text_len() + self.argrepr.text_len() > limit {
                return Err(Unwritten::TooLarge);
            }
        }
        Ok(())
    }

    fn push_caches(&mut self, chunk: &[Instruction<'_>], code: &Code) {
        for instruction in chunk {
            // Most instructions have no cache, and the next one follows at once.
            if instruction.end_offset > instruction.offset + 2 {
                let first = usize::from(instruction.baseopcode) * MAX_FIELDS;
                for (number, (name, words, data)) in (first..first + MAX_FIELDS).zip(instruction.caches(code)) {
                    self.cache_info.items.push(number, name, words, data);
                }
            }
            self.cache_info.close();
        }
    }

    fn push_stack(&mut self, flow: Option<&Flow>, start: usize, len: usize) -> Result<(), Unwritten> {
        let Some(flow) = flow else {
            for _ in 0..len {
                self.attrs.close();
            }
            for column in [&mut self.stack_depth_before, &mut self.stack_depth_after, &mut self.pops, &mut self.pushes, &mut self.operands]
            {
                column.repeat(None, len);
            }
            return Ok(());
        };
        let rows = flow.stack.get(start..start + len).ok_or(Unwritten::Inconsistent("fewer stack depths than instructions"))?;
        for row in rows {
            if let Some(depth) = row.depth_before {
                push_depth(&mut self.attrs, 0, "stack_depth_before", depth);
            }
            if let Some(depth) = row.depth_after {
                push_depth(&mut self.attrs, 1, "stack_depth_after", depth);
            }
            self.attrs.close();
        }
        self.stack_depth_before.extend_optional(rows.iter().map(|row| row.depth_before));
        self.stack_depth_after.extend_optional(rows.iter().map(|row| row.depth_after));
        self.pops.extend(rows.iter().map(|row| row.pops));
        self.pushes.extend(rows.iter().map(|row| row.pushes));
        self.operands.extend(rows.iter().map(|row| row.operands));
        Ok(())
    }

    fn push_block(&mut self, flow: Option<&Flow>, start: usize, len: usize) -> Result<(), Unwritten> {
        let Some(flow) = flow else {
            for column in [&mut self.block_index, &mut self.block_start_offset, &mut self.block_end_offset] {
                column.repeat(None, len);
            }
            return Ok(());
        };
        let indexes = flow.block_of.get(start..start + len).ok_or(Unwritten::Inconsistent("instructions beyond the last block"))?;
        for run in indexes.chunk_by(|a, b| a == b) {
            let block = run.first().and_then(|index| Some((*index, flow.blocks.get(*index as usize)?)));
            let (index, block) = block.ok_or(Unwritten::Inconsistent("an instruction of no block"))?;
            self.block_index.repeat(Some(int(index)?), run.len());
            self.block_start_offset.repeat(Some(block.start), run.len());
            self.block_end_offset.repeat(Some(block.end), run.len());
        }
        Ok(())
    }

    fn push_const(&mut self, constant: &Const, text: &str) {
        self.argval_kind.push(0, "const");
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
            ArgVal::Jump(target) => (Some((1, "jump")), Some(target)),
            ArgVal::Name(_) => (Some((2, "name")), None),
            ArgVal::Local(_) | ArgVal::LocalPair(..) => (Some((3, "local")), None),
            ArgVal::Free(_) => (Some((4, "free")), None),
            ArgVal::Compare(_) => (Some((5, "compare")), None),
        };
        match kind {
            Some((number, kind)) => self.argval_kind.push(number, kind),
            None => self.argval_kind.push_null(),
        }
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

fn push_depth(attrs: &mut Map<Names>, number: usize, key: &str, depth: i32) {
    attrs.keys.push(number, key);
    // Few depths have more than one digit.
    match usize::try_from(depth).ok().and_then(|depth| Some((depth, DIGITS.get(depth..=depth)?))) {
        Some((depth, digit)) => attrs.values.push(depth, digit),
        None => attrs.values.push(usize::try_from(depth).unwrap_or(usize::MAX), &depth.to_string()),
    }
}

const DIGITS: &str = "0123456789";

/// Appends a number in decimal, fast if it has one digit.
pub(super) fn push_number(number: i32, out: &mut String) {
    match u8::try_from(number) {
        Ok(digit @ 0..=9) => out.push(char::from(b'0' + digit)),
        _ => write_int(number.into(), out),
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

/// More fields than any cache has.
const MAX_FIELDS: usize = 8;

impl Caches {
    /// Appends a field, which has that number among the fields of all opcodes.
    fn push(&mut self, number: usize, name: &str, words: i32, data: &[u8]) {
        self.name.push(number, name);
        self.size.push(words);
        // What a compiler writes is all zeros.
        const ZEROS: &str = "00000000000000000000000000000000";
        match ZEROS.get(..2 * data.len()).filter(|_| data.iter().all(|byte| *byte == 0)) {
            Some(zeros) => self.data_hex.push(data.len(), zeros),
            None => self.data_hex.push(usize::MAX, &hex(data)),
        }
    }
}

impl Spans {
    fn push_all(&mut self, chunk: &[Instruction<'_>], source: Option<&SourceMap>) {
        let positions = chunk.iter().map(|instruction| &instruction.positions);
        if positions.clone().any(|positions| *positions == Positions::default()) {
            for positions in positions {
                if *positions == Positions::default() {
                    self.push_null();
                } else {
                    self.push(std::iter::once(positions), source);
                }
            }
        } else {
            self.push(positions, source);
        }
    }

    /// Appends spans of which each says something.
    fn push<'a>(&mut self, positions: impl Iterator<Item = &'a Positions> + Clone, source: Option<&SourceMap>) {
        self.start.push(positions.clone().map(|positions| (positions.line, positions.col)));
        self.end.push(positions.clone().map(|positions| (positions.end_line, positions.end_col)));
        self.end_exclusive.extend(positions.clone().map(|_| true));
        for positions in positions {
            self.col_unit.push(0, "byte");
            match source.and_then(|source| source.byte_span(*positions)) {
                Some(bytes) => {
                    self.byte_span.byte_start.push(bytes.start);
                    self.byte_span.byte_len.push(bytes.len);
                }
                None => self.byte_span.push_null(),
            }
        }
    }
}

impl Points {
    fn push(&mut self, points: impl Iterator<Item = (Option<i32>, Option<i32>)> + Clone) {
        self.line0.extend_optional(points.clone().map(|(line1, _)| line1.map(|line1| line1 - 1).filter(|line0| *line0 >= 0)));
        self.col.extend_optional(points.map(|(_, col)| col));
    }
}
