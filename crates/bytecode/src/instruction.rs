//! The instruction stream, equal to that of CPython's `dis.get_instructions`.

use thiserror::Error;

use crate::location::{Cursor, LocationError, Positions};
use crate::object::{Code, Const, PyStr};
use crate::opcode::{self, op};
use crate::text;

/// One instruction. `EXTENDED_ARG` prefixes are instructions of their own; inline caches belong to the instruction before them.
///
/// Offsets are byte offsets into `co_code`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instruction<'a> {
    /// Where the opcode stands.
    pub offset: i32,
    /// Where the first `EXTENDED_ARG` prefix stands, else `offset`.
    pub start_offset: i32,
    /// End of the instruction and its caches, exclusive.
    pub end_offset: i32,
    /// The opcode as it stands in the code.
    pub opcode: u8,
    /// The opcode before specialisation.
    pub baseopcode: u8,
    /// The argument with its prefixes folded in (32 bits, wrapping as CPython's C `int` does); `None` if the opcode takes none.
    pub arg: Option<i32>,
    /// What the argument stands for.
    pub argval: ArgVal<'a>,
    /// The current source line, from 1; `None` where the code has no line.
    pub line_number: Option<i32>,
    /// Whether a line starts here.
    pub starts_line: bool,
    /// Rank from 1 of this instruction among all jump targets; `None` if none jumps here.
    pub label: Option<i32>,
    /// Where the instruction may jump to.
    pub jump_target: Option<i32>,
    /// The label of the instruction at `jump_target`.
    pub target_label: Option<i32>,
    /// The source range.
    pub positions: Positions,
}

/// What an argument stands for: `dis`'s `argval`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ArgVal<'a> {
    /// The opcode takes no argument.
    None,
    /// Nothing but itself.
    Raw(i32),
    /// A constant; its index in `consts` is the instruction's `arg`.
    Const(&'a Const),
    /// A name of `names`.
    Name(&'a PyStr),
    /// A local variable.
    Local(&'a PyStr),
    /// The two local variables of a superinstruction.
    LocalPair(&'a PyStr, &'a PyStr),
    /// A cell or free variable.
    Free(&'a PyStr),
    /// A comparison operator.
    Compare(&'static str),
    /// The offset of a jump's target.
    Jump(i32),
}

/// Code that no compiler writes. Offsets are byte offsets into `co_code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DisassembleError {
    /// The code ends inside an instruction or its caches.
    #[error("instruction at offset {offset} is cut short")]
    Truncated {
        /// Where the instruction starts.
        offset: i32,
    },
    /// The code is longer than an offset of 31 bits can say.
    #[error("code of {length} bytes is too long")]
    TooLong {
        /// Length of the code.
        length: usize,
    },
    /// An argument that selects nothing: an index beyond a table of the code object, or an operator that does not exist.
    #[error("{opname} at offset {offset} has the argument {arg}, which stands for nothing")]
    BadArgument {
        /// Where the opcode stands.
        offset: i32,
        /// The name of the opcode.
        opname: &'static str,
        /// The argument.
        arg: i32,
    },
    /// A jump to where no instruction starts.
    #[error("jump to offset {target}, where no instruction starts")]
    BadJump {
        /// The jump's target.
        target: i32,
    },
    /// The location table is damaged.
    #[error("no source positions")]
    Location(#[from] LocationError),
}

/// The instructions of a code object, in the order of the code.
///
/// # Errors
/// When the code is cut short, an argument or a jump stands for nothing, or the location table is damaged.
pub fn disassemble(code: &Code) -> Result<Vec<Instruction<'_>>, DisassembleError> {
    let mut instructions = Vec::with_capacity(count(&code.code));
    let mut origins = Origins::new(code);
    let mut labels = Labels::default();
    for unpacked in unpack(&code.code)? {
        let Unpacked { offset, start_offset, end_offset, opcode, baseopcode, arg } = unpacked?;
        let origin = origins.at(offset)?;
        let argval = match arg {
            None => ArgVal::None,
            Some(arg) => match resolve(code, baseopcode, arg, end_offset) {
                Some(argval) => argval,
                None => return Err(DisassembleError::BadArgument { offset, opname: opcode::name(opcode), arg }),
            },
        };
        let jump_target = match argval {
            ArgVal::Jump(target) => {
                labels.mark(target, code.code.len())?;
                Some(target)
            }
            _ => None,
        };
        instructions.push(Instruction {
            offset,
            start_offset,
            end_offset,
            opcode,
            baseopcode,
            arg,
            argval,
            line_number: origin.line,
            starts_line: origin.starts_line,
            label: None,
            jump_target,
            target_label: None,
            positions: origin.positions,
        });
    }
    labels.give_to(&mut instructions)?;
    Ok(instructions)
}

impl Instruction<'_> {
    /// CPython's name of the opcode.
    #[must_use]
    pub fn opname(&self) -> &'static str {
        opcode::name(self.opcode)
    }

    /// CPython's name of the opcode before specialisation.
    #[must_use]
    pub fn baseopname(&self) -> &'static str {
        opcode::name(self.baseopcode)
    }

    /// The index in `consts` of the constant that the instruction loads. Writing a constant's text takes time in proportion to
    /// its size, so a caller that writes many instructions keeps the texts by this index.
    #[must_use]
    pub fn const_index(&self) -> Option<usize> {
        match (self.argval, self.arg) {
            (ArgVal::Const(_), Some(arg)) => usize::try_from(arg).ok(),
            _ => None,
        }
    }

    /// Appends `dis`'s text of the argument. Constants are in canonical text (see [`crate::text`]), `filename` standing for every
    /// `co_filename`; lone surrogates in names are written `\udXXX`.
    pub fn write_argrepr(&self, filename: &str, out: &mut String) {
        match self.argval {
            ArgVal::None => {}
            ArgVal::Const(constant) => text::write_repr(constant, filename, out),
            ArgVal::Local(name) | ArgVal::Free(name) => out.push_str(&name.to_text()),
            ArgVal::Name(name) => {
                out.push_str(&name.to_text());
                out.push_str(self.name_suffix());
            }
            ArgVal::LocalPair(first, second) => {
                out.push_str(&first.to_text());
                out.push_str(", ");
                out.push_str(&second.to_text());
            }
            ArgVal::Compare(operator) => match self.arg {
                Some(arg) if arg & 16 != 0 => out.extend(["bool(", operator, ")"]),
                _ => out.push_str(operator),
            },
            ArgVal::Jump(_) => {
                out.push_str("to L");
                text::write_int(self.target_label.unwrap_or(0).into(), out);
            }
            ArgVal::Raw(arg) => match self.baseopcode {
                op::SET_FUNCTION_ATTRIBUTE => {
                    for (nth, name) in opcode::function_attributes(arg).enumerate() {
                        out.extend([if nth == 0 { "" } else { ", " }, name]);
                    }
                }
                baseopcode => out.push_str(function_name(baseopcode, arg).flatten().unwrap_or("")),
            },
        }
    }

    /// What `dis` adds to a name whose argument's lowest bit asks for a second value on the stack.
    fn name_suffix(&self) -> &'static str {
        match (self.baseopcode, self.arg) {
            (op::LOAD_GLOBAL, Some(arg)) if arg & 1 == 1 => " + NULL",
            (op::LOAD_ATTR | op::LOAD_SUPER_ATTR, Some(arg)) if arg & 1 == 1 => " + NULL|self",
            _ => "",
        }
    }

    /// The fields of the inline cache in their order: name, size in code units, bytes. `code` is the instruction's own code object.
    pub fn caches<'c>(&self, code: &'c Code) -> impl Iterator<Item = (&'static str, i32, &'c [u8])> {
        let cache = usize::try_from(self.offset + 2).ok().and_then(|start| code.code.get(start..));
        let mut rest = cache.unwrap_or_default();
        opcode::cache_layout(self.baseopcode).iter().filter_map(move |field| {
            let (data, after) = rest.split_at_checked(usize::from(field.words) * 2)?;
            rest = after;
            Some((field.name, i32::from(field.words), data))
        })
    }
}

/// An instruction as it stands in the code, its argument not yet looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) offset: i32,
    pub(crate) start_offset: i32,
    pub(crate) end_offset: i32,
    pub(crate) opcode: u8,
    pub(crate) baseopcode: u8,
    pub(crate) arg: Option<i32>,
}

/// How many instructions the code has; about as many if it is malformed.
fn count(code: &[u8]) -> usize {
    let (units, _) = code.as_chunks::<2>();
    let mut at = 0;
    let next = || {
        let [opcode, _] = units.get(at)?;
        at += 1 + usize::from(opcode::cache_words(*opcode));
        Some(())
    };
    std::iter::from_fn(next).count()
}

/// Cuts code into instructions, folding `EXTENDED_ARG` prefixes into arguments.
pub(crate) fn unpack(code: &[u8]) -> Result<impl Iterator<Item = Result<Unpacked, DisassembleError>>, DisassembleError> {
    // Leaves room for the caches of the last instruction.
    if code.len() >= 1 << 30 {
        return Err(DisassembleError::TooLong { length: code.len() });
    }
    let mut rest = code;
    let (mut offset, mut prefixes, mut extended) = (0, 0, 0);
    Ok(std::iter::from_fn(move || {
        let start_offset = offset - prefixes;
        let (opcode, low, after) = match *rest {
            [] => return None,
            [opcode, low, ref after @ ..] => (opcode, low, after),
            _ => {
                rest = &[];
                return Some(Err(DisassembleError::Truncated { offset }));
            }
        };
        let baseopcode = opcode::base(opcode);
        let arg = opcode::has_arg(baseopcode).then(|| extended | i32::from(low));
        let is_prefix = baseopcode == op::EXTENDED_ARG;
        let cache = usize::from(opcode::cache_words(opcode)) * 2;
        let end_offset = offset + 2 + i32::from(opcode::cache_words(opcode)) * 2;
        let unpacked =
            Unpacked { offset, start_offset: if is_prefix { offset } else { start_offset }, end_offset, opcode, baseopcode, arg };
        (prefixes, extended) = if is_prefix { (prefixes + 2, arg.unwrap_or(0) << 8) } else { (0, 0) };
        let Some(next) = after.get(cache..) else {
            rest = &[];
            return Some(Err(DisassembleError::Truncated { offset }));
        };
        rest = next;
        offset = end_offset;
        Some(Ok(unpacked))
    }))
}

/// Looks an argument up, as `dis` does for the base of the opcode.
fn resolve(code: &Code, baseopcode: u8, arg: i32, end_offset: i32) -> Option<ArgVal<'_>> {
    let index = usize::try_from(arg).ok();
    let name = |index: usize| code.names.get(index).map(ArgVal::Name);
    let local = |index: usize| code.localsplusnames.get(index);
    if opcode::has_const(baseopcode) {
        code.consts.get(index?).map(ArgVal::Const)
    } else if opcode::has_name(baseopcode) {
        match baseopcode {
            op::LOAD_GLOBAL | op::LOAD_ATTR => name(index? >> 1),
            op::LOAD_SUPER_ATTR => name(index? >> 2),
            _ => name(index?),
        }
    } else if opcode::has_jump(baseopcode) {
        let distance = arg.checked_mul(2)?;
        let target = if opcode::jumps_back(baseopcode) { end_offset.checked_sub(distance) } else { end_offset.checked_add(distance) };
        target.map(ArgVal::Jump)
    } else if opcode::has_local(baseopcode) {
        match baseopcode {
            op::LOAD_FAST_LOAD_FAST | op::STORE_FAST_LOAD_FAST | op::STORE_FAST_STORE_FAST => {
                Some(ArgVal::LocalPair(local(index? >> 4)?, local(index? & 15)?))
            }
            _ => local(index?).map(ArgVal::Local),
        }
    } else if opcode::has_free(baseopcode) {
        local(index?).map(ArgVal::Free)
    } else if opcode::has_compare(baseopcode) {
        opcode::compare_operator(arg).map(ArgVal::Compare)
    } else {
        function_name(baseopcode, arg).map(|_| ArgVal::Raw(arg))
    }
}

/// The operator or function that an argument selects. The outer `None` says that the argument selects nothing, the inner one that
/// the opcode selects no function by its argument.
fn function_name(baseopcode: u8, arg: i32) -> Option<Option<&'static str>> {
    match baseopcode {
        op::BINARY_OP => opcode::binary_operator(arg).map(Some),
        op::CALL_INTRINSIC_1 => opcode::intrinsic_1(arg).map(Some),
        op::CALL_INTRINSIC_2 => opcode::intrinsic_2(arg).map(Some),
        op::CONVERT_VALUE => opcode::converter(arg).map(Some),
        _ => Some(None),
    }
}

/// The jump targets of a code object, by code unit: marked first, then ranked from 1. Empty in code without jumps.
#[derive(Default)]
struct Labels {
    ranks: Vec<i32>,
}

impl Labels {
    fn mark(&mut self, target: i32, code_length: usize) -> Result<(), DisassembleError> {
        if self.ranks.is_empty() {
            self.ranks.resize(code_length / 2, 0);
        }
        let unit = usize::try_from(target).ok().and_then(|target| self.ranks.get_mut(target / 2));
        *unit.ok_or(DisassembleError::BadJump { target })? = 1;
        Ok(())
    }

    /// Ranks the targets, and gives each jump and each target its label.
    fn give_to(mut self, instructions: &mut [Instruction<'_>]) -> Result<(), DisassembleError> {
        if self.ranks.is_empty() {
            return Ok(());
        }
        let mut rank = 0;
        for label in self.ranks.iter_mut().filter(|label| **label != 0) {
            rank += 1;
            *label = rank;
        }
        let mut met = 0;
        for instruction in &mut *instructions {
            instruction.label = self.rank(instruction.offset);
            instruction.target_label = instruction.jump_target.and_then(|target| self.rank(target));
            met += i32::from(instruction.label.is_some());
        }
        // A target that no instruction bears lies in some instruction's cache.
        if met < rank {
            let inside = |target: &i32| instructions.binary_search_by_key(target, |instruction| instruction.offset).is_err();
            let target = instructions.iter().filter_map(|instruction| instruction.jump_target).find(inside);
            return Err(DisassembleError::BadJump { target: target.unwrap_or(0) });
        }
        Ok(())
    }

    fn rank(&self, offset: i32) -> Option<i32> {
        usize::try_from(offset).ok().and_then(|offset| self.ranks.get(offset / 2).copied()).filter(|&label| label != 0)
    }
}

/// Where an instruction comes from.
#[derive(Clone, Copy)]
struct Origin {
    line: Option<i32>,
    starts_line: bool,
    positions: Positions,
}

/// Walks the location table along with the code, so that each entry is decoded once.
struct Origins<'a> {
    cursor: Cursor<'a>,
    /// The line of the entries so far: `None` before the first entry, `Some(None)` for code without a line.
    table_line: Option<Option<i32>>,
    line: Option<i32>,
}

impl<'a> Origins<'a> {
    fn new(code: &'a Code) -> Self {
        Self { cursor: Cursor::new(code), table_line: None, line: None }
    }

    /// The origin of the instruction at `offset`; offsets must ascend.
    #[inline]
    fn at(&mut self, offset: i32) -> Result<Origin, LocationError> {
        let mut starts_line = false;
        while self.cursor.end <= offset {
            if !self.cursor.advance()? {
                return Ok(Origin { line: self.line, starts_line: false, positions: Positions::default() });
            }
            let line = self.cursor.positions.line;
            if self.table_line != Some(line) {
                self.table_line = Some(line);
                // As in `dis`, a line that starts in the middle of an instruction's cache is not seen.
                if self.cursor.start == offset {
                    self.line = line;
                    starts_line = true;
                }
            }
        }
        Ok(Origin { line: self.line, starts_line, positions: self.cursor.positions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::code_of;

    fn summary(code: &Code) -> Vec<(i32, i32, i32, Option<i32>)> {
        let row = |found: &Instruction<'_>| (found.start_offset, found.offset, found.end_offset, found.arg);
        disassemble(code).unwrap().iter().map(row).collect()
    }

    #[test]
    fn prefixes_are_instructions_and_fold_into_the_argument() {
        let code = code_of(&[op::EXTENDED_ARG, 1, op::EXTENDED_ARG, 2, op::RESUME, 3, op::NOP, 9]);
        assert_eq!(summary(&code), [(0, 0, 2, Some(1)), (2, 2, 4, Some(0x102)), (0, 4, 6, Some(0x1_0203)), (6, 6, 8, None)]);
    }

    #[test]
    fn arguments_wrap_at_32_bits_as_in_c() {
        let code = code_of(&[op::EXTENDED_ARG, 0xFF, op::EXTENDED_ARG, 0xFF, op::EXTENDED_ARG, 0xFF, op::RESUME, 0xFE]);
        assert_eq!(disassemble(&code).unwrap()[3].arg, Some(-2));
    }

    #[test]
    fn each_field_of_a_cache_has_its_own_bytes() {
        let mut instructions = vec![op::LOAD_ATTR, 1];
        instructions.extend(1..=18);
        let code = Code { names: vec![PyStr::from("a")], ..code_of(&instructions) };
        let instruction = disassemble(&code).unwrap()[0];
        let caches: Vec<_> = instruction.caches(&code).collect();
        let bytes: Vec<u8> = (1..=18).collect();
        let fields =
            [("counter", 1, &bytes[..2]), ("version", 2, &bytes[2..6]), ("keys_version", 2, &bytes[6..10]), ("descr", 4, &bytes[10..])];
        assert_eq!(caches, fields);
        let mut argrepr = String::new();
        instruction.write_argrepr("", &mut argrepr);
        assert_eq!(argrepr, "a + NULL|self");
    }

    #[test]
    fn labels_rank_targets_by_their_place() {
        let code = code_of(&[op::JUMP_FORWARD, 2, op::NOP, 0, op::JUMP_BACKWARD_NO_INTERRUPT, 2, op::NOP, 0]);
        let found = disassemble(&code).unwrap();
        assert_eq!(found.iter().map(|found| found.label).collect::<Vec<_>>(), [None, Some(1), None, Some(2)]);
        assert_eq!(found.iter().map(|found| found.jump_target).collect::<Vec<_>>(), [Some(6), None, Some(2), None]);
        assert_eq!(found[0].target_label, Some(2));
    }

    #[test]
    fn code_that_no_compiler_writes_is_refused_with_its_place() {
        let error = |instructions: &[u8]| disassemble(&code_of(instructions)).unwrap_err();
        assert_eq!(error(&[op::NOP, 0, op::NOP]), DisassembleError::Truncated { offset: 2 });
        assert_eq!(error(&[op::NOP, 0, op::TO_BOOL, 0, 0, 0]), DisassembleError::Truncated { offset: 2 });
        assert_eq!(error(&[op::LOAD_CONST, 7]), DisassembleError::BadArgument { offset: 0, opname: "LOAD_CONST", arg: 7 });
        assert_eq!(error(&[op::COMPARE_OP, 0xC0, 0, 0]), DisassembleError::BadArgument { offset: 0, opname: "COMPARE_OP", arg: 0xC0 });
        assert_eq!(error(&[op::JUMP_FORWARD, 0]), DisassembleError::BadJump { target: 2 });
        assert_eq!(error(&[op::JUMP_BACKWARD_NO_INTERRUPT, 9]), DisassembleError::BadJump { target: -16 });
        let into_a_cache = [op::JUMP_FORWARD, 1, op::TO_BOOL, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(error(&into_a_cache), DisassembleError::BadJump { target: 4 });
    }
}
