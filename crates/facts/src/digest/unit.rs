//! The digest of a unit.

use bytefacts_bytecode::{
    flow::{AccessKind, DataKind, Flow, Namespace, Producer},
    instruction::{ArgVal, Instruction},
    location::Positions,
    object::PyStr,
    text::write_repr,
};

use super::{Digest, Encoder};
use crate::{
    constants::{ConstTexts, holds_code},
    unit::UnitFacts,
    unwritten::Unwritten,
};

/// The digest of a unit's facts. `texts` are its constants' canonical texts.
pub(crate) fn unit(facts: &UnitFacts<'_>, texts: &ConstTexts) -> Result<Digest, Unwritten> {
    let mut encoder = Encoder::new("bytefacts.unit.1");
    encoder.identity(facts);
    encoder.constants(facts, texts);
    encoder.len(facts.lines.len());
    for line in &facts.lines {
        encoder.int(line.offset.into());
        encoder.optional_int(line.line);
    }
    encoder.len(facts.exceptions.len());
    for entry in &facts.exceptions {
        for value in [entry.start, entry.end, entry.target, entry.depth, entry.lasti.into()] {
            encoder.int(value.into());
        }
    }
    encoder.len(facts.instructions.len());
    for instruction in &facts.instructions {
        encoder.instruction(instruction)?;
        encoder.settle();
    }
    match &facts.flow {
        Some(flow) => {
            encoder.byte(1);
            encoder.flow(flow);
        }
        None => encoder.byte(0),
    }
    Ok(encoder.finish())
}

impl Encoder {
    fn identity(&mut self, facts: &UnitFacts<'_>) {
        let (unit, code) = (facts.unit, facts.unit.code);
        self.len(unit.code_path.len());
        for ordinal in &unit.code_path {
            self.int((*ordinal).into());
        }
        self.text(unit.kind.as_str());
        self.text(&unit.qualpath);
        self.bytes(code.name.as_bytes());
        self.bytes(code.qualname.as_bytes());
        let counts = [code.argcount, code.posonlyargcount, code.kwonlyargcount, code.nlocals()];
        for value in counts.into_iter().chain([code.firstlineno, code.flags, code.stacksize]) {
            self.int(value.into());
        }
        self.names(code.varnames());
        self.names(code.freevars());
        self.names(code.cellvars());
        self.names(code.names.iter());
        // Inline caches stand in the code itself.
        self.bytes(&code.code);
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a PyStr>) {
        for name in names {
            self.byte(1);
            self.bytes(name.as_bytes());
        }
        self.byte(0);
    }

    fn constants(&mut self, facts: &UnitFacts<'_>, texts: &ConstTexts) {
        let constants = &facts.unit.code.consts;
        self.len(constants.len());
        for (constant, text) in constants.iter().zip(texts.iter()) {
            self.text(constant.kind());
            if holds_code(constant) {
                let mut without_path = String::new();
                write_repr(constant, "", &mut without_path);
                self.text(&without_path);
            } else {
                self.text(text);
            }
        }
    }

    /// What most instructions have in common is said by bits, so that little is left to hash. Offsets follow from the lengths.
    fn instruction(&mut self, instruction: &Instruction<'_>) -> Result<(), Unwritten> {
        let Positions { line, end_line, col, end_col } = instruction.positions;
        let has_base = instruction.baseopcode != instruction.opcode;
        let has_prefix = instruction.start_offset != instruction.offset;
        let has_line = line != instruction.line_number;
        let has_end_line = end_line != line;
        let bits = [
            instruction.starts_line,
            instruction.label.is_some(),
            instruction.jump_target.is_some(),
            instruction.arg.is_some(),
            has_base,
            has_prefix,
            has_line,
            has_end_line,
        ];
        self.byte(bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
        self.byte(instruction.opcode);
        self.int((instruction.end_offset - instruction.offset).into());
        self.present(instruction.label);
        self.present(instruction.jump_target);
        self.present(instruction.arg);
        self.present(has_base.then(|| instruction.baseopcode.into()));
        self.present(has_prefix.then(|| instruction.offset - instruction.start_offset));
        if instruction.starts_line {
            self.optional_int(instruction.line_number);
        }
        if has_line {
            self.optional_int(line);
        }
        if has_end_line {
            self.optional_int(end_line);
        }
        self.optional_int(col);
        self.optional_int(end_col);
        self.argval(instruction)
    }

    /// A number of which it has been said whether it is there.
    fn present(&mut self, value: Option<i32>) {
        if let Some(value) = value {
            self.int(value.into());
        }
    }

    /// A kind, then what the argument stands for; a constant is named by its slot, since its text has been encoded.
    fn argval(&mut self, instruction: &Instruction<'_>) -> Result<(), Unwritten> {
        match instruction.argval {
            ArgVal::None => self.byte(0),
            ArgVal::Raw(arg) => {
                self.byte(1);
                self.int(arg.into());
            }
            ArgVal::Const(_) => {
                self.byte(2);
                self.len(instruction.const_index().ok_or(Unwritten::Inconsistent("a constant without a slot"))?);
            }
            ArgVal::Name(name) => self.named(3, name),
            ArgVal::Local(name) => self.named(4, name),
            ArgVal::LocalPair(first, second) => {
                self.named(5, first);
                self.bytes(second.as_bytes());
            }
            ArgVal::Free(name) => self.named(6, name),
            ArgVal::Compare(operator) => {
                self.byte(7);
                self.text(operator);
            }
            ArgVal::Jump(target) => {
                self.byte(8);
                self.int(target.into());
            }
        }
        Ok(())
    }

    fn named(&mut self, kind: u8, name: &PyStr) {
        self.byte(kind);
        self.bytes(name.as_bytes());
    }

    /// Blocks, edges, depths and events, by positions: what they refer to has been encoded.
    fn flow(&mut self, flow: &Flow) {
        self.int(flow.max_stack_depth.into());
        self.len(flow.blocks.len());
        for block in &flow.blocks {
            self.int(block.start.into());
            self.int(block.end.into());
            self.text(block.kind.as_str());
            self.byte(block.is_exit.into());
            self.byte(block.is_reachable.into());
            self.unsigned(block.loop_depth.into());
            self.position(block.immediate_dominator);
        }
        self.len(flow.edges.len());
        for edge in &flow.edges {
            self.unsigned(edge.src.into());
            self.unsigned(edge.dst.into());
            self.text(edge.kind.as_str());
            self.byte(edge.polarity.map_or(2, u8::from));
            self.position(edge.condition);
            self.position(edge.exc);
            self.byte(edge.is_back_edge.into());
        }
        for stack in &flow.stack {
            self.optional_int(stack.depth_before);
            self.optional_int(stack.depth_after);
            for count in [stack.pops, stack.pushes, stack.operands] {
                self.int(count.into());
            }
            self.settle();
        }
        self.len(flow.data_edges.len());
        for edge in &flow.data_edges {
            self.byte(data_tag(edge.kind));
            self.byte(producer_tag(edge.producer));
            self.int(edge.producer.instr_index().into());
            self.unsigned(edge.dst.into());
            self.unsigned(edge.operand_index.into());
            self.position(edge.variable.map(|variable| variable.index));
            self.settle();
        }
        self.len(flow.accesses.len());
        for access in &flow.accesses {
            self.unsigned(access.instr.into());
            self.byte(access_tag(access.kind));
            self.byte(namespace_tag(access.variable.namespace));
            self.unsigned(access.variable.index.into());
            self.settle();
        }
    }

    fn position(&mut self, position: Option<u32>) {
        self.unsigned(position.map_or(0, |position| u64::from(position) + 1));
    }
}

fn data_tag(kind: DataKind) -> u8 {
    match kind {
        DataKind::Stack => 0,
        DataKind::Local => 1,
        DataKind::Cell => 2,
        DataKind::Global => 3,
        DataKind::Name => 4,
    }
}

fn access_tag(kind: AccessKind) -> u8 {
    match kind {
        AccessKind::Use => 0,
        AccessKind::Define => 1,
        AccessKind::Delete => 2,
        AccessKind::Capture => 3,
    }
}

fn namespace_tag(namespace: Namespace) -> u8 {
    match namespace {
        Namespace::Local => 0,
        Namespace::Cell => 1,
        Namespace::Global => 2,
        Namespace::Name => 3,
    }
}

fn producer_tag(producer: Producer) -> u8 {
    match producer {
        Producer::Argument => 0,
        Producer::Instr(_) => 1,
        Producer::Exception(_) => 2,
        Producer::Lasti(_) => 3,
        Producer::Phi(_) => 4,
    }
}
