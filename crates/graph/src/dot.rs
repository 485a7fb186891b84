//! The graph for Graphviz, whose layout it leaves to Graphviz.

use std::collections::BTreeMap;

use crate::model::{Edge, EdgeKind, Graph, Instruction, Node, Row};
use crate::text::{cut, escape, printable};

/// Text is cut to so many columns.
const COLUMNS: usize = 72;

/// The graph in the DOT language: blocks as tables, with a port for each instruction, between which the data flow runs.
#[must_use]
pub fn dot(graph: &Graph) -> String {
    let mut out = format!("digraph {} {{\n", quoted(&graph.title));
    let mut heading = format!("<B>{}</B><BR ALIGN=\"LEFT\"/>", escape(&printable(&graph.title)));
    for line in graph.subtitles.iter().chain(&graph.faults) {
        heading.push_str(&format!("{}<BR ALIGN=\"LEFT\"/>", escape(&printable(line))));
    }
    out.push_str(&format!(
        "  graph [label=<{heading}> labelloc=t labeljust=l fontname=\"monospace\" fontsize=11 nodesep=0.4 ranksep=0.5];\n"
    ));
    out.push_str("  node [shape=plain fontname=\"monospace\" fontsize=10];\n  edge [fontname=\"monospace\" fontsize=9];\n");
    for node in &graph.nodes {
        out.push_str(&format!("  {} [label=<{}>];\n", quoted(&name(node)), table(node)));
    }
    for (edge, &(from, to)) in graph.edges.iter().zip(&graph.ends) {
        let ends = format!("{}:s -> {}:n", quoted(&name(&graph.nodes[from])), quoted(&name(&graph.nodes[to])));
        out.push_str(&format!("  {ends} [{} xlabel={} tooltip={}];\n", style(edge), quoted(&edge.label), quoted(&edge.detail)));
    }
    out.push_str(&data_flow(graph));
    out.push_str("}\n");
    out
}

/// Names are the caller's and may be the same; ids are not.
fn name(node: &Node) -> String {
    format!("b{}", node.id)
}

fn style(edge: &Edge) -> String {
    let colour = match (edge.kind, edge.polarity) {
        (EdgeKind::Exc, _) => "#8250df",
        (_, Some(true)) => "#1a7f37",
        (_, Some(false)) => "#cf222e",
        (EdgeKind::Jump, _) => "#0969da",
        _ => "#57606a",
    };
    let line = if edge.kind == EdgeKind::Exc { " style=dashed arrowhead=vee" } else { "" };
    let width = if edge.is_back { " penwidth=2.5" } else { "" };
    format!("color=\"{colour}\" fontcolor=\"{colour}\"{line}{width}")
}

fn table(node: &Node) -> String {
    let role = node.role;
    let style = match (role.unreachable, role.handler) {
        (true, _) => " STYLE=\"dotted\"",
        (_, true) => " STYLE=\"dashed\"",
        _ => "",
    };
    let border = if role.entry || role.exit { 2 } else { 1 };
    let notes = role.words().map(str::to_owned).chain(node.notes.iter().cloned()).collect::<Vec<_>>().join(" · ");
    let mut table = format!(
        "<TABLE BORDER=\"{border}\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"2\"{style}>\
         <TR><TD ALIGN=\"LEFT\" BGCOLOR=\"#eaeef2\"><B>{}</B> {}</TD></TR>",
        escape(&printable(&node.name)),
        escape(&printable(&notes)),
    );
    let columns = Columns::of(node);
    for row in &node.rows {
        table.push_str(&match row {
            Row::Source { line, text } => {
                let line = line.map_or_else(|| "-".to_owned(), |line| line.to_string());
                let text = escape(&cut(&printable(text), COLUMNS)).replace(' ', "&#160;");
                format!("<TR><TD ALIGN=\"LEFT\" BGCOLOR=\"#ddf4ff\"><I>{line} {text}</I></TD></TR>")
            }
            Row::Instruction(instruction) => {
                let text = escape(&columns.line(instruction)).replace(' ', "&#160;");
                format!("<TR><TD ALIGN=\"LEFT\" PORT=\"i{}\">{text}</TD></TR>", instruction.index)
            }
        });
    }
    table + "</TABLE>"
}

/// How wide the columns of a block are.
struct Columns {
    index: usize,
    offset: usize,
    depth: usize,
    opname: usize,
}

impl Columns {
    fn of(node: &Node) -> Self {
        let widest = |column: fn(&Instruction) -> usize| {
            let instructions =
                node.rows.iter().filter_map(|row| if let Row::Instruction(instruction) = row { Some(instruction) } else { None });
            instructions.map(column).max().unwrap_or(0)
        };
        Self {
            index: widest(|instruction| instruction.index.to_string().len()),
            offset: widest(|instruction| instruction.offset.to_string().len()),
            depth: widest(|instruction| instruction.depth.chars().count()),
            opname: widest(|instruction| instruction.opname.len()),
        }
    }

    fn line(&self, instruction: &Instruction) -> String {
        let Instruction { index, offset, depth, opname, argument, inputs, .. } = instruction;
        let inputs = if inputs.is_empty() { String::new() } else { format!("  ⟵ {inputs}") };
        let (index_width, offset_width, depth_width, name_width) = (self.index, self.offset, self.depth, self.opname);
        let line = format!("{index:>index_width$} {offset:>offset_width$} {depth:>depth_width$} {opname:<name_width$} {argument}{inputs}");
        cut(printable(&line).trim_end(), COLUMNS)
    }
}

fn data_flow(graph: &Graph) -> String {
    let mut block_of = BTreeMap::new();
    for node in &graph.nodes {
        for row in &node.rows {
            if let Row::Instruction(instruction) = row {
                block_of.insert(instruction.index, name(node));
            }
        }
    }
    let mut out = String::new();
    for used in &graph.uses {
        if let (Some(from), Some(to)) = (block_of.get(&used.from), block_of.get(&used.to)) {
            // Within a block it runs down the left side.
            let side = if from == to { ":w" } else { "" };
            let ends = format!("{}:i{}{side} -> {}:i{}{side}", quoted(from), used.from, quoted(to), used.to);
            out.push_str(&format!(
                "  {ends} [style=dotted constraint=false color=\"#9a6700\" arrowsize=0.5 tooltip={}];\n",
                quoted(used.variable.as_deref().unwrap_or("stack"))
            ));
        }
    }
    out
}

/// A string of the DOT language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text).replace('\\', "\\\\").replace('"', "\\\""))
}
