//! A unit's flow as a description that can be drawn.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bytefacts_bytecode::flow::{self, Block, BlockKind, DataEdge, Flow, Producer, Terminators};
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Code, ExceptionEntry, Instruction, Unit, disassemble, exception_table};
use bytefacts_graph::{Edge, EdgeKind, Graph, Heading, Node, Role, Row, Use};

use crate::commands::dis::{source::Source, unit};
use crate::exit::UsageError;
use crate::summary::count;

/// A source line longer than this is not drawn whole by anyone.
const LINE_CHARACTERS: usize = 1_000;

/// What is shown, and how.
pub struct Shown<'a> {
    /// The file's path.
    pub path: &'a str,
    /// The file's source.
    pub source: &'a Source,
    /// What compiled and what drew.
    pub made_by: &'a str,
    /// Whether the data flow is shown.
    pub data_flow: bool,
    /// How many blocks are drawn at most.
    pub max_blocks: usize,
}

/// The picture of a unit.
///
/// # Errors
/// When the code is damaged or has too many blocks.
pub fn of(unit: &Unit<'_>, shown: &Shown<'_>) -> anyhow::Result<Graph> {
    let code = unit.code;
    let exceptions = exception_table::parse(code).context("cannot read the exception table")?;
    let instructions = disassemble(code).context("cannot disassemble the code")?;
    let flow = flow::analyze(code, &instructions, &exceptions, &Terminators::default());
    let blocks = flow.blocks.len();
    if blocks > shown.max_blocks {
        let name = code.qualname.to_text();
        let message = format!(
            "{name} has {blocks} blocks, and a picture of more than {} is hard to read: draw a smaller unit, or all of it by --max-blocks {blocks}",
            shown.max_blocks
        );
        return Err(UsageError(message).into());
    }
    let view = View { shown, code, instructions: &instructions, flow: &flow, exceptions: &exceptions };
    let inputs = if shown.data_flow { view.inputs() } else { BTreeMap::new() };
    let uses = if shown.data_flow { view.uses() } else { Vec::new() };
    let nodes = (0..).zip(&flow.blocks).map(|(index, block)| view.node(index, block, &inputs)).collect();
    let edges = flow.edges.iter().map(|edge| view.edge(edge)).collect();
    Graph::new(view.heading(unit), nodes, edges, uses).context("cannot draw the flow")
}

struct View<'a> {
    shown: &'a Shown<'a>,
    code: &'a Code,
    instructions: &'a [Instruction<'a>],
    flow: &'a Flow,
    exceptions: &'a [ExceptionEntry],
}

impl View<'_> {
    fn heading(&self, unit: &Unit<'_>) -> Heading {
        let Shown { path, made_by, .. } = self.shown;
        let place = format!("{} {} at {path}:{}", unit.kind.as_str(), unit.qualpath, self.code.firstlineno);
        let size = format!(
            "{}, {}, stack of {} (co_stacksize {})",
            count(self.flow.blocks.len() as u64, "block"),
            count(self.instructions.len() as u64, "instruction"),
            self.flow.max_stack_depth,
            self.code.stacksize
        );
        Heading {
            title: format!("{}{}", self.code.qualname.to_text(), unit::signature(self.code)),
            subtitles: vec![place, format!("{size} · {made_by}")],
            faults: self.flow.violations.iter().map(ToString::to_string).collect(),
        }
    }

    fn node(&self, index: u32, block: &Block, inputs: &BTreeMap<u32, String>) -> Node {
        let first = self.instructions.get(block.first_instr as usize);
        let label = first.and_then(|first| first.label).map(|label| format!("L{label}"));
        let depth = self.flow.stack.get(block.first_instr as usize).and_then(|row| row.depth_before);
        let depth = depth.map(|depth| format!("stack {depth}"));
        let in_loop = (block.loop_depth > 0).then(|| format!("loop depth {}", block.loop_depth));
        let bytes = format!("{}..{}", block.start, block.end);
        let role = Role {
            entry: block.kind == BlockKind::Entry,
            handler: self.exceptions.iter().any(|entry| entry.target == block.start),
            exit: block.is_exit,
            unreachable: !block.is_reachable,
        };
        Node {
            id: index,
            name: format!("B{index}"),
            notes: label.into_iter().chain(depth).chain(in_loop).chain([bytes]).collect(),
            role,
            rows: self.rows(block, inputs),
        }
    }

    /// The instructions between the lines that they come from; the first line stands there even if it started in an earlier block.
    fn rows(&self, block: &Block, inputs: &BTreeMap<u32, String>) -> Vec<Row> {
        let indent = self.indent();
        let mut rows = Vec::new();
        for index in block.first_instr..=block.last_instr {
            let Some(instruction) = self.instructions.get(index as usize) else { break };
            if instruction.starts_line || index == block.first_instr {
                let text = instruction.line_number.and_then(|line| self.line(line));
                let text = text.map_or_else(|| "(no line)".to_owned(), |text| text.chars().skip(indent).collect());
                rows.push(Row::Source { line: instruction.line_number, text });
            }
            rows.push(Row::Instruction(self.instruction(index, instruction, inputs.get(&index))));
        }
        rows
    }

    /// A source line with tabs as blanks.
    fn line(&self, line: i32) -> Option<String> {
        let text = self.shown.source.line(line)?;
        Some(text.trim_end().chars().take(LINE_CHARACTERS).collect::<String>().replace('\t', "    "))
    }

    /// How far all of the unit's lines are indented.
    fn indent(&self) -> usize {
        let lines =
            self.instructions.iter().filter(|instruction| instruction.starts_line).filter_map(|instruction| instruction.line_number);
        let lines = lines.filter_map(|line| self.line(line)).filter(|text| !text.is_empty());
        lines.map(|text| text.chars().take_while(|c| *c == ' ').count()).min().unwrap_or(0)
    }

    fn instruction(&self, index: u32, instruction: &Instruction<'_>, inputs: Option<&String>) -> bytefacts_graph::Instruction {
        let depth = self.flow.stack.get(index as usize).and_then(|row| Some((row.depth_before?, row.depth_after?)));
        let is_prefix = instruction.opcode == op::EXTENDED_ARG;
        let mut argument = String::new();
        instruction.write_argrepr(self.shown.path, &mut argument);
        if let (true, Some(arg)) = (argument.is_empty(), instruction.arg) {
            argument = arg.to_string();
        }
        bytefacts_graph::Instruction {
            index,
            offset: instruction.offset,
            depth: depth.map_or_else(|| "-".to_owned(), |(before, after)| format!("{before}→{after}")),
            opname: instruction.opname().to_owned(),
            argument,
            inputs: inputs.cloned().unwrap_or_default(),
            is_prefix,
        }
    }

    fn edge(&self, edge: &flow::Edge) -> Edge {
        let kind = match edge.kind {
            flow::EdgeKind::Next => EdgeKind::Next,
            flow::EdgeKind::Branch => EdgeKind::Branch,
            flow::EdgeKind::Jump => EdgeKind::Jump,
            flow::EdgeKind::Exc => EdgeKind::Exc,
        };
        let entry = edge.exc.and_then(|exc| Some((exc, self.exceptions.get(exc as usize)?)));
        let back = if edge.is_back_edge { " back" } else { "" };
        let label = match (entry, edge.polarity) {
            (Some((exc, _)), _) => format!("exc {exc}{back}"),
            (None, Some(polarity)) => format!("{} {polarity}{back}", edge.kind.as_str()),
            (None, None) => format!("{}{back}", edge.kind.as_str()),
        };
        let mut detail = format!("B{} to B{}: {label} (key {})", edge.src, edge.dst, edge.key(&self.flow.blocks));
        if let Some((exc, entry)) = entry {
            let ExceptionEntry { start, end, depth, lasti, .. } = entry;
            let lasti = if *lasti { " and the raising instruction's offset pushed" } else { "" };
            detail.push_str(&format!(", exception table entry {exc} for {start}..{end}: stack cut to {depth}{lasti}"));
        }
        if let Some(condition) = edge.condition.and_then(|index| self.instructions.get(index as usize)) {
            detail.push_str(&format!(", decided by {} at offset {}", condition.opname(), condition.offset));
        }
        Edge { from: edge.src, kind, to: edge.dst, polarity: edge.polarity, is_back: edge.is_back_edge, label, detail }
    }

    fn variable(&self, edge: &DataEdge) -> Option<String> {
        edge.variable.and_then(|variable| variable.name(self.code)).map(|name| name.to_text().into_owned())
    }

    /// For each instruction where its operands come from: alternatives with `|` between them, operands with commas, and variables by name.
    fn inputs(&self) -> BTreeMap<u32, String> {
        let mut operands: BTreeMap<u32, Vec<(&DataEdge, String)>> = BTreeMap::new();
        for edge in &self.flow.data_edges {
            let producer = match edge.producer {
                Producer::Argument => "argument".to_owned(),
                Producer::Instr(index) => index.to_string(),
                Producer::Exception(_) => "exception".to_owned(),
                Producer::Lasti(_) => "lasti".to_owned(),
                Producer::Phi(index) => format!("{index}|exception"),
            };
            let of_instruction = operands.entry(edge.dst).or_default();
            match of_instruction.last_mut() {
                Some((last, text)) if (last.kind, last.operand_index) == (edge.kind, edge.operand_index) => {
                    text.push('|');
                    text.push_str(&producer);
                }
                _ => {
                    let text = self.variable(edge).map_or_else(|| producer.clone(), |variable| format!("{variable}: {producer}"));
                    of_instruction.push((edge, text));
                }
            }
        }
        let joined = |operands: Vec<(&DataEdge, String)>| operands.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ");
        operands.into_iter().map(|(instruction, operands)| (instruction, joined(operands))).collect()
    }

    fn uses(&self) -> Vec<Use> {
        let used = |edge: &DataEdge| match edge.producer {
            Producer::Instr(from) | Producer::Phi(from) => Some(Use { from, to: edge.dst, variable: self.variable(edge) }),
            Producer::Argument | Producer::Exception(_) | Producer::Lasti(_) => None,
        };
        self.flow.data_edges.iter().filter_map(used).collect()
    }
}
