//! The instructions of a unit between the lines of its source, and its exception table.

use std::error::Error;

use bytefacts_bytecode::flow::{self, Flow, Terminators};
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{ArgVal, Code, ExceptionEntry, Instruction, Positions, disassemble, exception_table};

use super::source::Source;
use crate::paint::{BOLD, CYAN, DIM, GREEN, Paint, RED, YELLOW};
use crate::table::width;

/// An argument's text is cut to so many columns: a constant may have megabytes.
const ARGUMENT_COLUMNS: usize = 200;

/// What is shown, and how.
pub struct Shown<'a> {
    /// The file's path, which stands in the text of code objects.
    pub path: &'a str,
    /// The file's source.
    pub source: &'a Source,
    /// Whether inline caches are shown.
    pub caches: bool,
    /// Whether the source range of each instruction is shown.
    pub positions: bool,
    /// The colours.
    pub paint: Paint,
}

/// All that is known of a unit's instructions. What cannot be decoded is named in a line of its own.
pub fn listing(code: &Code, shown: &Shown<'_>) -> String {
    let mut text = String::new();
    let exceptions = exception_table::parse(code).unwrap_or_else(|error| {
        text.push_str(&fault(&error, shown.paint));
        Vec::new()
    });
    let instructions = match disassemble(code) {
        Ok(instructions) => instructions,
        Err(error) => return text + &fault(&error, shown.paint),
    };
    let flow = flow::analyze(code, &instructions, &exceptions, &Terminators::default());
    for violation in &flow.violations {
        text.push_str(&fault(violation, shown.paint));
    }

    let handlers = handlers(&exceptions);
    text.push_str(&shown.paint.paint(DIM, &headings(shown)));
    text.push('\n');
    for (index, instruction) in instructions.iter().enumerate() {
        if instruction.starts_line {
            text.push_str(&source_line(instruction.line_number, shown));
        }
        text.push_str(&row(index, instruction, &flow, &handlers, shown));
        if shown.caches {
            caches(instruction, code, shown, &mut text);
        }
    }
    if !exceptions.is_empty() {
        text.push_str(&format!("  {}\n", shown.paint.paint(BOLD, "exception table")));
    }
    for entry in &exceptions {
        text.push_str(&exception(entry, &handlers, shown.paint));
    }
    text
}

fn fault(error: &dyn Error, paint: Paint) -> String {
    format!("  {} {error}\n", paint.paint(RED, "error:"))
}

/// Offsets at which handlers start, ascending. A handler is no jump target, so it has no label in the facts; here it is `E` and its rank.
fn handlers(exceptions: &[ExceptionEntry]) -> Vec<i32> {
    let mut targets: Vec<_> = exceptions.iter().map(|entry| entry.target).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

fn handler_label(offset: i32, handlers: &[i32]) -> Option<String> {
    handlers.binary_search(&offset).ok().map(|rank| format!("E{}", rank + 1))
}

/// One line of the listing before it is coloured.
struct Columns<'a> {
    block: &'a str,
    label: &'a str,
    offset: &'a str,
    depth: &'a str,
    positions: &'a str,
    opname: &'a str,
    arg: &'a str,
}

impl Columns<'_> {
    /// The columns, padded, those in front of the opcode apart from the rest.
    fn padded(&self, shown: &Shown<'_>) -> [String; 5] {
        let Self { block, label, offset, depth, positions, opname, arg } = self;
        let positions = if shown.positions { format!("{positions:<16} ") } else { String::new() };
        [
            format!("{block:>6} "),
            format!("{label:>7} "),
            format!("{offset:>6}  {depth:<7} {positions}"),
            format!("{opname:<26} "),
            format!("{arg:>6}"),
        ]
    }
}

fn headings(shown: &Shown<'_>) -> String {
    let columns = Columns {
        block: "block",
        label: "label",
        offset: "offset",
        depth: "stack",
        positions: "position",
        opname: "instruction",
        arg: "arg",
    };
    columns.padded(shown).concat()
}

fn source_line(line: Option<i32>, shown: &Shown<'_>) -> String {
    let Some(line) = line else { return format!("{} {}\n", shown.paint.paint(DIM, &format!("{:>6}", "-")), shown.paint.paint(DIM, "│")) };
    let text = shown.source.line(line).unwrap_or_default();
    let text = width::printable(text.trim_end());
    let text = width::cut(&text, ARGUMENT_COLUMNS);
    let rest = format!(" │ {text}");
    format!("{}{}\n", shown.paint.paint(CYAN, &format!("{line:>6}")), shown.paint.paint(CYAN, rest.trim_end()))
}

fn row(index: usize, instruction: &Instruction<'_>, flow: &Flow, handlers: &[i32], shown: &Shown<'_>) -> String {
    let paint = shown.paint;
    let block = flow.block_of.get(index).copied();
    let starts_block = block.is_some() && block != index.checked_sub(1).and_then(|before| flow.block_of.get(before)).copied();
    let block = if starts_block { block.map(|block| format!("B{block}")).unwrap_or_default() } else { String::new() };
    let labels = [instruction.label.map(|label| format!("L{label}")), handler_label(instruction.offset, handlers)];
    let label = labels.into_iter().flatten().map(|label| label + ":").collect::<Vec<_>>().join(" ");
    let depth = flow.stack.get(index).and_then(|row| Some((row.depth_before?, row.depth_after?)));
    let columns = Columns {
        block: &block,
        label: &label,
        offset: &instruction.offset.to_string(),
        depth: &depth.map_or_else(|| "-".to_owned(), |(before, after)| format!("{before}→{after}")),
        positions: &positions(instruction.positions),
        opname: instruction.opname(),
        arg: &instruction.arg.map(|arg| arg.to_string()).unwrap_or_default(),
    };
    let mut argument = String::new();
    instruction.write_argrepr(shown.path, &mut argument);
    let argument = width::printable(&argument);
    let argument = width::cut(&argument, ARGUMENT_COLUMNS);

    let [block, label, place, opname, arg] = columns.padded(shown);
    if instruction.opcode == op::EXTENDED_ARG {
        let line = [block, label, place, opname, arg].concat();
        return paint.paint(DIM, line.trim_end()) + "\n";
    }
    let style = match instruction.argval {
        ArgVal::Const(_) => GREEN,
        ArgVal::Jump(_) => YELLOW,
        _ => anstyle::Style::new(),
    };
    let line = [
        paint.paint(DIM, &block),
        paint.paint(YELLOW, &label),
        paint.paint(DIM, &place),
        opname,
        paint.paint(DIM, &arg),
        paint.paint(style, &format!("  {argument}")),
    ]
    .concat();
    line.trim_end().to_owned() + "\n"
}

/// `line:col-line:col` as CPython counts: lines from 1, columns in UTF-8 bytes from 0, the end excluded.
fn positions(positions: Positions) -> String {
    let Positions { line, end_line, col, end_col } = positions;
    if [line, end_line, col, end_col].iter().all(Option::is_none) {
        return "-".to_owned();
    }
    let [line, col, end_line, end_col] = [line, col, end_line, end_col].map(|n| n.map_or_else(|| "?".to_owned(), |n| n.to_string()));
    format!("{line}:{col}-{end_line}:{end_col}")
}

/// A line for each field of an instruction's cache: where it stands, its name and its bytes.
fn caches(instruction: &Instruction<'_>, code: &Code, shown: &Shown<'_>, text: &mut String) {
    let mut offset = instruction.offset + 2;
    for (name, words, bytes) in instruction.caches(code) {
        let at = offset.to_string();
        let columns = Columns { block: "", label: "", offset: &at, depth: "", positions: "", opname: "CACHE", arg: "" };
        let data: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{}  {name} {data}", columns.padded(shown).concat());
        text.push_str(&shown.paint.paint(DIM, &line));
        text.push('\n');
        offset = offset.saturating_add(words.saturating_mul(2));
    }
}

fn exception(entry: &ExceptionEntry, handlers: &[i32], paint: Paint) -> String {
    let ExceptionEntry { start, end, target, depth, lasti } = *entry;
    let label = handler_label(target, handlers).unwrap_or_default();
    let lasti = if lasti { ", lasti" } else { "" };
    format!("{start:>22} to {end:<6} → {} at {target}, stack cut to {depth}{lasti}\n", paint.paint(YELLOW, &label))
}
