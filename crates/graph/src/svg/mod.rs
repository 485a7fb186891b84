//! The graph as an SVG that stands alone: no script, no font, no file beside it.
//!
//! It is light or dark as the reader's system is. What colours say, words or line styles say too.

mod block;
mod legend;
mod line;
mod style;

use std::collections::BTreeMap;

use crate::layout::{self, Layout, Link};
use crate::model::{Edge, EdgeKind, Graph, Use};
use crate::text::{columns, escape, printable};
use block::Block;

/// Room around everything.
const MARGIN: i32 = 24;

/// Height of a line of text above the blocks.
const HEADING_LINE: i32 = 18;

/// Width of text in the font size of blocks, by its columns. Monospace fonts are up to 0.61 times as wide as high.
fn width_of(columns: usize) -> i32 {
    i32::try_from(columns * 73 / 10).unwrap_or(i32::MAX)
}

/// Draws the graph.
#[must_use]
pub fn svg(graph: &Graph) -> String {
    let uses = uses_by_block(graph);
    let mut blocks: Vec<_> = graph.nodes.iter().zip(&uses).map(|(node, uses)| Block::new(node, uses)).collect();
    let links: Vec<_> = (graph.edges.iter().zip(&graph.ends))
        .map(|(edge, &(from, to))| Link { from, to, lane: lane(edge), label: line::label_width(edge) })
        .collect();
    for (position, block) in blocks.iter_mut().enumerate() {
        block.widen(links.iter().filter(|link| link.from == position).map(|link| link.label).sum());
    }
    let sizes: Vec<_> = blocks.iter().map(Block::size).collect();
    let layout = layout::layout(&sizes, &links);
    page(graph, &blocks, &layout)
}

/// Edges of one lane look alike, and may join on their way to the same block.
fn lane(edge: &Edge) -> u32 {
    let polarity = match edge.polarity {
        None => 0,
        Some(true) => 1,
        Some(false) => 2,
    };
    edge.kind as u32 * 6 + polarity * 2 + u32::from(edge.is_back)
}

/// For each block the uses of values whose two ends lie in it.
fn uses_by_block(graph: &Graph) -> Vec<Vec<&Use>> {
    let mut block_of = BTreeMap::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        block_of.extend(block::instructions(node).map(|instruction| (instruction.index, position)));
    }
    let mut uses = vec![Vec::new(); graph.nodes.len()];
    for used in &graph.uses {
        if let (Some(&from), Some(&to)) = (block_of.get(&used.from), block_of.get(&used.to))
            && from == to
            && used.from < used.to
        {
            uses[from].push(used);
        }
    }
    uses
}

fn page(graph: &Graph, blocks: &[Block<'_>], layout: &Layout) -> String {
    let heading_width = (graph.subtitles.iter().chain(&graph.faults)).map(|line| width_of(columns(line))).max().unwrap_or(0);
    let heading_width = heading_width.max(width_of(columns(&graph.title)) * 4 / 3);
    let room = layout.size.width.max(heading_width).max(560);
    let (legend, legend_height) = legend::legend(graph, room);
    let lines = graph.subtitles.len() + graph.faults.len();
    let heading_height = 24 + HEADING_LINE * i32::try_from(lines).unwrap_or(0);
    let graph_y = MARGIN + heading_height + legend_height + 16;
    let (width, height) = (room + 2 * MARGIN, graph_y + layout.size.height + MARGIN);

    let title = escape(&printable(&graph.title));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         xml:space=\"preserve\">\n<title>{title}</title>\n<style>\n{}</style>\n",
        style::STYLE
    );
    out.push_str(style::HATCHING);
    out.push_str(&format!("<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n"));
    out.push_str(&format!("<text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{title}</text>\n", MARGIN + 14));
    let mut y = MARGIN + 14;
    let faults = graph.faults.iter().map(|fault| (true, fault));
    for (is_fault, text) in graph.subtitles.iter().map(|line| (false, line)).chain(faults) {
        y += HEADING_LINE;
        let (class, mark) = if is_fault { ("fault", "⚠ ") } else { ("dim", "") };
        out.push_str(&format!("<text class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\">{mark}{}</text>\n", escape(&printable(text))));
    }
    out.push_str(&format!("<g transform=\"translate({MARGIN},{})\">\n{legend}</g>\n", MARGIN + heading_height));
    // A graph narrower than its heading stands in the middle.
    out.push_str(&format!("<g transform=\"translate({},{graph_y})\">\n", MARGIN + (room - layout.size.width) / 2));
    out.push_str(&line::lines(graph, layout));
    for (block, place) in blocks.iter().zip(&layout.boxes) {
        out.push_str(&block.draw(*place));
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// The classes that give an edge its looks.
fn classes(edge: &Edge) -> String {
    let kind = match (edge.kind, edge.polarity) {
        (EdgeKind::Exc, _) => "exc",
        (_, Some(true)) => "true",
        (_, Some(false)) => "false",
        (EdgeKind::Jump, _) => "jump",
        (EdgeKind::Next | EdgeKind::Branch, None) => "next",
    };
    if edge.is_back { format!("edge {kind} back") } else { format!("edge {kind}") }
}
