//! A block as a box: a band with its name and what it is, then its rows.

use super::width_of;
use crate::layout::{Rect, Size};
use crate::model::{Instruction, Node, Row, Use};
use crate::text::{columns, cut, escape, printable};

const ROW: i32 = 17;
const BAND: i32 = 21;
const PADDING: i32 = 9;

/// Room between two columns.
const BETWEEN: i32 = 10;

/// Room between two lines of the data flow, and for their heads.
const TRACK: i32 = 6;
const TIP: i32 = 8;

/// Columns that source lines and arguments are cut to.
const SOURCE_COLUMNS: usize = 72;
const ARGUMENT_COLUMNS: usize = 40;
const INPUT_COLUMNS: usize = 36;

/// The arrow before inputs; some fonts have it wider than a letter.
const ARROW_COLUMNS: usize = 3;

/// What is cut is told in full, up to so many columns, to those who point at it.
const TOLD_COLUMNS: usize = 1_000;

/// The instructions of a block.
pub fn instructions(node: &Node) -> impl Iterator<Item = &Instruction> {
    node.rows.iter().filter_map(|row| if let Row::Instruction(instruction) = row { Some(instruction) } else { None })
}

/// A block with the measures that it takes.
pub struct Block<'a> {
    node: &'a Node,
    notes: String,
    uses: Vec<Fan<'a>>,
    /// Width of the room for `uses` at the left.
    gutter: i32,
    /// Right ends of index, offset and depth, then left ends of name, argument and inputs.
    columns: [i32; 6],
    width: i32,
}

impl<'a> Block<'a> {
    pub fn new(node: &'a Node, uses: &[&'a Use]) -> Self {
        let uses = fans(node, uses);
        let gutter = uses.iter().map(|fan| TIP + TRACK * (fan.track as i32 + 1)).max().unwrap_or(0);
        let widest = |column: &dyn Fn(&Instruction) -> usize| width_of(instructions(node).map(column).max().unwrap_or(0));
        let left = PADDING + gutter;
        let lines = node.rows.iter().map(|row| if let Row::Source { line, .. } = row { number(*line).len() } else { 0 });
        let index = left + widest(&|instruction| instruction.index.to_string().len()).max(width_of(lines.max().unwrap_or(0)));
        let offset = index + BETWEEN + widest(&|instruction| instruction.offset.to_string().len());
        let depth = offset + BETWEEN + widest(&|instruction| columns(&instruction.depth));
        let name = depth + BETWEEN;
        let argument = name + widest(&|instruction| columns(&instruction.opname)) + BETWEEN;
        let inputs = argument + widest(&|instruction| columns(&printable(&instruction.argument)).min(ARGUMENT_COLUMNS)) + BETWEEN;
        let end = inputs
            + widest(&|instruction| match columns(&printable(&instruction.inputs)) {
                0 => 0,
                columns => ARROW_COLUMNS + columns.min(INPUT_COLUMNS),
            });
        let notes = node.role.words().map(str::to_owned).chain(node.notes.iter().cloned()).collect::<Vec<_>>().join(" · ");
        let notes = printable(&notes);
        let heading = PADDING + width_of(columns(&printable(&node.name)) + 2 + columns(&notes));
        let source = node.rows.iter().map(|row| match row {
            Row::Source { text, .. } => index + BETWEEN + width_of(columns(&printable(text)).min(SOURCE_COLUMNS)),
            Row::Instruction(_) => 0,
        });
        let width = source.chain([heading, end, 160]).max().unwrap_or(0) + PADDING;
        Self { node, notes, uses, gutter, columns: [index, offset, depth, name, argument, inputs], width }
    }

    /// Makes room for labels of so much width below the block.
    pub fn widen(&mut self, labels: i32) {
        self.width = self.width.max(labels + 48);
    }

    pub fn size(&self) -> Size {
        // An even width has a centre.
        Size { width: (self.width + 1) / 2 * 2, height: BAND + ROW * self.node.rows.len() as i32 + 6 }
    }

    pub fn draw(&self, place: Rect) -> String {
        let Rect { x, y, width, height } = place;
        let role = self.node.role;
        let mut out = format!("<g transform=\"translate({x},{y})\">\n<rect class=\"box\" width=\"{width}\" height=\"{height}\"/>\n");
        if role.unreachable {
            out.push_str(&format!("<rect fill=\"url(#hatch)\" width=\"{width}\" height=\"{height}\"/>\n"));
        }
        out.push_str(&format!("<rect class=\"band\" width=\"{width}\" height=\"{BAND}\"/>\n"));
        out.push_str(&format!(
            "<text x=\"{PADDING}\" y=\"15\"><tspan class=\"name\">{}</tspan>  <tspan class=\"dim\">{}</tspan></text>\n",
            escape(&printable(&self.node.name)),
            escape(&self.notes)
        ));
        for (row, top) in self.node.rows.iter().zip((0..).map(|nth| BAND + 3 + ROW * nth)) {
            out.push_str(&match row {
                Row::Source { line, text } => self.source(*line, text, top, width),
                Row::Instruction(instruction) => self.instruction(instruction, top),
            });
        }
        self.uses.iter().for_each(|fan| out.push_str(&self.fan(fan)));
        out.push_str(&frame(self.node, width, height));
        out.push_str("</g>\n");
        out
    }

    fn source(&self, line: Option<i32>, text: &str, top: i32, width: i32) -> String {
        let (end, y) = (self.columns[0], top + 13);
        let shown = told(text, SOURCE_COLUMNS);
        format!(
            "<rect class=\"line\" x=\"1\" y=\"{top}\" width=\"{}\" height=\"{ROW}\"/>\
             <text class=\"dim\" x=\"{end}\" y=\"{y}\" text-anchor=\"end\">{}</text>\
             <text class=\"source\" x=\"{}\" y=\"{y}\">{shown}</text>\n",
            width - 2,
            number(line),
            end + BETWEEN
        )
    }

    fn instruction(&self, instruction: &Instruction, top: i32) -> String {
        let Instruction { index, offset, depth, opname, argument, inputs, is_prefix } = instruction;
        let [index_end, offset_end, depth_end, name, argument_at, inputs_at] = self.columns;
        let y = top + 13;
        let mut out = String::new();
        for (end, text) in [(index_end, index.to_string()), (offset_end, offset.to_string()), (depth_end, escape(&printable(depth)))] {
            out.push_str(&format!("<text class=\"dim\" x=\"{end}\" y=\"{y}\" text-anchor=\"end\">{text}</text>"));
        }
        let class = if *is_prefix { "dim" } else { "op" };
        out.push_str(&format!("<text class=\"{class}\" x=\"{name}\" y=\"{y}\">{}</text>", escape(&printable(opname))));
        if !argument.is_empty() {
            let text = told(argument, ARGUMENT_COLUMNS);
            out.push_str(&format!("<text class=\"argument\" x=\"{argument_at}\" y=\"{y}\">{text}</text>"));
        }
        if !inputs.is_empty() {
            let text = told(inputs, INPUT_COLUMNS);
            out.push_str(&format!("<text class=\"inputs\" x=\"{inputs_at}\" y=\"{y}\">⟵ {text}</text>"));
        }
        out.push('\n');
        out
    }

    /// Lines from the row that makes a value to the rows that use it.
    fn fan(&self, fan: &Fan<'_>) -> String {
        let right = PADDING + self.gutter - 4;
        let x = right - TIP - TRACK * fan.track as i32;
        let middle = |row: usize| BAND + 3 + ROW * row as i32 + ROW / 2;
        let mut out = String::new();
        for (row, used) in &fan.uses {
            let (start, end) = (middle(fan.from) + 2, middle(*row) - 2);
            let (class, over) = match &used.variable {
                None => ("use", "stack"),
                Some(variable) => ("use variable", variable.as_str()),
            };
            out.push_str(&format!(
                "<path class=\"{class}\" d=\"M{right} {start}H{x}V{end}H{}\"><title>{}: {} to {}</title></path>\
                 <path class=\"tip\" d=\"M{} {}l5 3l-5 3z\"/>\n",
                right - 3,
                escape(&printable(over)),
                used.from,
                used.to,
                right - 4,
                end - 3
            ));
        }
        out
    }
}

/// What one row makes and other rows use. Its lines run on one track.
struct Fan<'a> {
    from: usize,
    /// Ascending, each with the use.
    uses: Vec<(usize, &'a Use)>,
    track: usize,
}

fn number(line: Option<i32>) -> String {
    line.map_or_else(|| "-".to_owned(), |line| line.to_string())
}

/// Text cut to some columns; if that leaves something out, the whole of it shows when it is pointed at.
fn told(text: &str, most: usize) -> String {
    let text = printable(text);
    if columns(&text) <= most {
        return escape(&text);
    }
    format!("{}<title>{}</title>", escape(&cut(&text, most)), escape(&cut(&text, TOLD_COLUMNS)))
}

/// The border, by which kinds of blocks are told apart.
fn frame(node: &Node, width: i32, height: i32) -> String {
    let role = node.role;
    let class = match (role.unreachable, role.handler) {
        (true, _) => "frame unreachable",
        (_, true) => "frame handler",
        _ => "frame",
    };
    let mut out = format!("<rect class=\"{class}\" width=\"{width}\" height=\"{height}\"/>\n");
    if role.entry {
        out.push_str(&format!("<rect class=\"frame\" x=\"-4\" y=\"-4\" width=\"{}\" height=\"{}\"/>\n", width + 8, height + 8));
    }
    if role.exit {
        out.push_str(&format!("<rect class=\"bar\" y=\"{}\" width=\"{width}\" height=\"4\"/>\n", height - 4));
    }
    out
}

/// The uses of values within a block by the rows that make them. Short fans lie inside, and no two on a track meet.
fn fans<'a>(node: &Node, uses: &[&'a Use]) -> Vec<Fan<'a>> {
    let row_of = |index: u32| node.rows.iter().position(|row| matches!(row, Row::Instruction(found) if found.index == index));
    let mut rows: Vec<_> = uses.iter().filter_map(|used| Some((row_of(used.from)?, row_of(used.to)?, *used))).collect();
    rows.sort_by_key(|&(from, to, _)| (from, to));
    let mut fans: Vec<_> = (rows.chunk_by(|a, b| a.0 == b.0))
        .map(|fan| Fan { from: fan[0].0, uses: fan.iter().map(|&(_, to, used)| (to, used)).collect(), track: 0 })
        .collect();
    let end = |fan: &Fan<'_>| fan.uses.last().map_or(fan.from, |last| last.0);
    fans.sort_by_key(|fan| (end(fan) - fan.from, fan.from));
    for nth in 0..fans.len() {
        let (inner, rest) = fans.split_at_mut(nth);
        let Some(fan) = rest.first_mut() else { break };
        let taken: Vec<_> = inner.iter().filter(|other| other.from < end(fan) && fan.from < end(other)).map(|other| other.track).collect();
        fan.track = (0..).find(|track| !taken.contains(track)).unwrap_or(0);
    }
    fans
}
