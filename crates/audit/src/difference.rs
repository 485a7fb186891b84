//! The first field in which two derivations of one file differ, with both values.

use bytefacts_bytecode::instruction::{ArgVal, Instruction};
use bytefacts_bytecode::{Code, Const, PyStr, Unit, disassemble, exception_table, text, units};
use serde::{Deserialize, Serialize};

/// Longest value that is shown, in characters.
const SHOWN: usize = 160;

/// What kind of fact it is: causes are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Whether there is code at all, or which error there is.
    Outcome,
    /// The warnings.
    Warnings,
    /// How many code objects there are, and how they are nested.
    Units,
    /// A name of a code object, or a table of names.
    Names,
    /// The first line of a code object.
    FirstLine,
    /// Counts of arguments and the depth of the stack.
    Counts,
    /// `co_flags`.
    Flags,
    /// A constant.
    Const,
    /// A constant in which nothing but the order of a set or of names differs.
    ConstOrder,
    /// A float or complex constant.
    Float,
    /// An instruction.
    Instruction,
    /// An opcode that only an execution leaves behind.
    Specialised,
    /// Lines and columns.
    Positions,
    /// Columns, of which one side has none.
    NoColumns,
    /// The exception table.
    Exceptions,
    /// `co_filename`.
    Filename,
    /// A column of the row that has no place in the code.
    Column,
}

/// Where two derivations differ first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The code object, by its qualpath; empty for the file as a whole.
    pub unit: String,
    /// The field, such as `instructions[12]` or `consts[3]`.
    pub field: String,
    /// Its value on the left.
    pub left: String,
    /// Its value on the right.
    pub right: String,
    /// What kind of fact it is.
    pub kind: FieldKind,
}

impl Difference {
    /// A difference of the file as a whole.
    #[must_use]
    pub fn of_file(kind: FieldKind, field: &str, left: impl Into<String>, right: impl Into<String>) -> Self {
        Self { unit: String::new(), field: field.to_owned(), left: shown(&left.into()), right: shown(&right.into()), kind }
    }
}

/// The first difference between two code objects and all inside them, what runs before where it stands; the file name last, since all that was
/// compiled under another name differs in it.
#[must_use]
pub fn of_code(left: &Code, right: &Code) -> Option<Difference> {
    let (left, right) = (units(left), units(right));
    for (left, right) in left.iter().zip(&right) {
        if let Some(found) = of_unit(left, right) {
            return Some(found);
        }
    }
    if left.len() != right.len() {
        let count = |units: &[Unit<'_>]| format!("{} code objects", units.len());
        return Some(Difference::of_file(FieldKind::Units, "code_objects", count(&left), count(&right)));
    }
    let named = left.iter().zip(&right).find(|(left, right)| left.code.filename != right.code.filename);
    named.map(|(left, right)| Difference {
        unit: left.qualpath.clone(),
        field: "co_filename".to_owned(),
        left: shown(&left.code.filename.to_text()),
        right: shown(&right.code.filename.to_text()),
        kind: FieldKind::Filename,
    })
}

fn of_unit(left_unit: &Unit<'_>, right_unit: &Unit<'_>) -> Option<Difference> {
    let (left, right) = (left_unit.code, right_unit.code);
    let found = |kind, field: String, left: String, right: String| {
        Some(Difference { unit: left_unit.qualpath.clone(), field, left: shown(&left), right: shown(&right), kind })
    };
    for (field, of) in [("co_name", name_of as fn(&Code) -> &PyStr), ("co_qualname", qualname_of)] {
        if of(left) != of(right) {
            return found(FieldKind::Names, field.to_owned(), of(left).to_text().into_owned(), of(right).to_text().into_owned());
        }
    }
    if left.firstlineno != right.firstlineno {
        return found(FieldKind::FirstLine, "co_firstlineno".to_owned(), left.firstlineno.to_string(), right.firstlineno.to_string());
    }
    if left.flags != right.flags {
        return found(FieldKind::Flags, "co_flags".to_owned(), format!("{:#x}", left.flags), format!("{:#x}", right.flags));
    }
    if let Some((field, left, right)) = instruction_difference(left, right) {
        return found(field.1, field.0, left, right);
    }
    for (field, left, right) in
        [("co_names", &left.names, &right.names), ("co_localsplusnames", &left.localsplusnames, &right.localsplusnames)]
    {
        if left != right {
            return found(FieldKind::Names, field.to_owned(), names(left), names(right));
        }
    }
    if let Some((index, left, right, kind)) = const_difference(&left.consts, &right.consts) {
        return found(kind, format!("co_consts[{index}]"), left, right);
    }
    let counts = |code: &Code| [code.argcount, code.posonlyargcount, code.kwonlyargcount, code.stacksize];
    for (index, field) in ["co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_stacksize"].into_iter().enumerate() {
        let (left, right) = (counts(left).get(index).copied(), counts(right).get(index).copied());
        if left != right {
            return found(FieldKind::Counts, field.to_owned(), number(left), number(right));
        }
    }
    for (field, kind, left, right) in [
        ("co_code", FieldKind::Instruction, &left.code, &right.code),
        ("co_localspluskinds", FieldKind::Names, &left.localspluskinds, &right.localspluskinds),
    ] {
        if left != right {
            return found(kind, field.to_owned(), bytes_around(left, right), bytes_around(right, left));
        }
    }
    if left.exceptiontable != right.exceptiontable {
        let entries = |code: &Code| match exception_table::parse(code) {
            Ok(entries) => entries.iter().map(|e| format!("{}-{}→{}", e.start, e.end, e.target)).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        return found(FieldKind::Exceptions, "co_exceptiontable".to_owned(), entries(left), entries(right));
    }
    if left.linetable != right.linetable {
        return found(
            FieldKind::Positions,
            "co_linetable".to_owned(),
            bytes_around(&left.linetable, &right.linetable),
            bytes_around(&right.linetable, &left.linetable),
        );
    }
    None
}

fn name_of(code: &Code) -> &PyStr {
    &code.name
}

fn qualname_of(code: &Code) -> &PyStr {
    &code.qualname
}

type Named = (String, FieldKind);

/// The first instruction that differs in what it does, else the first that differs in where it came from.
fn instruction_difference(left_code: &Code, right_code: &Code) -> Option<(Named, String, String)> {
    let (Ok(left), Ok(right)) = (disassemble(left_code), disassemble(right_code)) else { return None };
    for (index, (one, other)) in left.iter().zip(&right).enumerate() {
        if one.opcode != other.opcode || with_bits(one) != with_bits(other) {
            let kind = if one.baseopcode == other.baseopcode && one.opcode != other.opcode {
                FieldKind::Specialised
            } else {
                match (one.argval, other.argval) {
                    (ArgVal::Const(one), ArgVal::Const(other)) => const_kind(one, other),
                    (ArgVal::Name(_), ArgVal::Name(_)) | (ArgVal::Local(_), ArgVal::Local(_)) | (ArgVal::Free(_), ArgVal::Free(_)) => {
                        FieldKind::Names
                    }
                    _ => FieldKind::Instruction,
                }
            };
            return Some(((format!("instructions[{index}]"), kind), with_bits(one), with_bits(other)));
        }
    }
    if left.len() != right.len() {
        let count = |list: &[Instruction<'_>]| format!("{} instructions", list.len());
        return Some((("instructions".to_owned(), FieldKind::Instruction), count(&left), count(&right)));
    }
    for (index, (one, other)) in left.iter().zip(&right).enumerate() {
        if one.positions != other.positions || one.line_number != other.line_number {
            let lost = |a: &Instruction<'_>, b: &Instruction<'_>| a.positions.col.is_some() && b.positions.col.is_none();
            let kind = if lost(one, other) || lost(other, one) { FieldKind::NoColumns } else { FieldKind::Positions };
            return Some(((format!("instructions[{index}].positions"), kind), place(one), place(other)));
        }
    }
    None
}

/// The opcode and what its argument stands for, as `dis` shows it.
#[must_use]
pub fn shown_instruction(instruction: &Instruction<'_>) -> String {
    let argument = argument(instruction);
    if argument.is_empty() { instruction.opname().to_owned() } else { format!("{} {argument}", instruction.opname()) }
}

/// Like [`shown_instruction`], and the bits of a float.
fn with_bits(instruction: &Instruction<'_>) -> String {
    match instruction.argval {
        ArgVal::Const(constant) => shown_instruction(instruction) + &bits(constant),
        _ => shown_instruction(instruction),
    }
}

/// What an instruction is given, as `dis` shows it; the number itself where `dis` has no text.
pub(crate) fn argument(instruction: &Instruction<'_>) -> String {
    let mut text = String::new();
    instruction.write_argrepr("", &mut text);
    match (text.is_empty(), instruction.arg) {
        (true, Some(arg)) => arg.to_string(),
        _ => text,
    }
}

fn place(instruction: &Instruction<'_>) -> String {
    let p = instruction.positions;
    let n = |n: Option<i32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    format!("{}:{}-{}:{}", n(p.line), n(p.col), n(p.end_line), n(p.end_col))
}

fn const_difference(left: &[Const], right: &[Const]) -> Option<(usize, String, String, FieldKind)> {
    for (index, (one, other)) in left.iter().zip(right).enumerate() {
        if matches!((one, other), (Const::Code(_), Const::Code(_))) {
            continue; // a unit of its own
        }
        let (shown_one, shown_other) = (text::repr(one, ""), text::repr(other, ""));
        if !same_bits(one, other) {
            return Some((index, with_type(one, &shown_one), with_type(other, &shown_other), const_kind(one, other)));
        }
    }
    if left.len() == right.len() {
        return None;
    }
    let count = |items: &[Const]| format!("{} constants", items.len());
    Some((left.len().min(right.len()), count(left), count(right), FieldKind::Const))
}

/// `1` and `True` and `1.0` are equal to Python, and all different here; so are zeros and NaNs of other bits.
fn same_bits(left: &Const, right: &Const) -> bool {
    match (left, right) {
        (Const::Float(a), Const::Float(b)) => a.to_bits() == b.to_bits(),
        (Const::Complex(a, b), Const::Complex(c, d)) => (a.to_bits(), b.to_bits()) == (c.to_bits(), d.to_bits()),
        (Const::Tuple(a), Const::Tuple(b)) | (Const::FrozenSet(a), Const::FrozenSet(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_bits(a, b))
        }
        _ => left == right,
    }
}

fn const_kind(left: &Const, right: &Const) -> FieldKind {
    match (left, right) {
        (Const::Float(_) | Const::Complex(..), Const::Float(_) | Const::Complex(..)) => FieldKind::Float,
        (Const::FrozenSet(_), Const::FrozenSet(_)) | (Const::Tuple(_), Const::Tuple(_)) if sorted(left) == sorted(right) => {
            FieldKind::ConstOrder
        }
        _ => FieldKind::Const,
    }
}

/// The elements in an order of their own.
fn sorted(constant: &Const) -> Vec<String> {
    let (Const::Tuple(items) | Const::FrozenSet(items)) = constant else { return Vec::new() };
    let mut texts: Vec<String> = items.iter().map(|item| with_type(item, &text::repr(item, ""))).collect();
    texts.sort_unstable();
    texts
}

fn with_type(constant: &Const, shown: &str) -> String {
    format!("{} {shown}{}", constant.type_name(), bits(constant))
}

fn bits(constant: &Const) -> String {
    match constant {
        Const::Float(value) => format!(" (bits {:016x})", value.to_bits()),
        Const::Complex(real, imaginary) => format!(" (bits {:016x} {:016x})", real.to_bits(), imaginary.to_bits()),
        _ => String::new(),
    }
}

fn names(names: &[PyStr]) -> String {
    names.iter().map(PyStr::to_text).collect::<Vec<_>>().join(", ")
}

fn number(value: Option<i32>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// The bytes from the first that differs, in hex.
fn bytes_around(of: &[u8], other: &[u8]) -> String {
    let at = of.iter().zip(other).take_while(|(a, b)| a == b).count();
    let end = of.len().min(at + 16);
    format!("{} bytes, at {at}: {}", of.len(), hex::encode(of.get(at..end).unwrap_or_default()))
}

fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
