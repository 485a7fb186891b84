//! What the lines and borders mean, for those that occur.

use super::{classes, line, width_of};
use crate::layout::Point;
use crate::model::{Edge, EdgeKind, Graph};
use crate::text::columns;

const LINE: i32 = 24;
const SAMPLE: i32 = 26;

/// The legend and its height. It is broken into lines of at most `room`.
pub fn legend(graph: &Graph, room: i32) -> (String, i32) {
    let mut items = Vec::new();
    let mut kinds: Vec<_> = graph.edges.iter().map(|edge| (edge.kind, edge.polarity.map(|polarity| !polarity))).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (kind, polarity) in kinds {
        let polarity = polarity.map(|negated| !negated);
        let what = match kind {
            EdgeKind::Next => "falls through",
            EdgeKind::Branch => "jumps",
            EdgeKind::Jump => "always jumps",
            EdgeKind::Exc => "an exception is handled",
        };
        let text = match polarity {
            Some(true) => format!("test true: {what}"),
            Some(false) => format!("test false: {what}"),
            None => what.to_owned(),
        };
        items.push((edge_sample(kind, polarity, false), text));
    }
    if graph.edges.iter().any(|edge| edge.is_back) {
        items.push((edge_sample(EdgeKind::Next, None, true), "back edge (thick): closes a loop".to_owned()));
    }
    let has = |what: fn(&crate::model::Node) -> bool| graph.nodes.iter().any(what);
    let borders = [
        (has(|node| node.role.entry), "entry", "entry"),
        (has(|node| node.role.handler), "handler", "handler"),
        (has(|node| node.role.exit), "exit", "exit"),
        (has(|node| node.role.unreachable), "unreachable", "unreachable"),
    ];
    items.extend(borders.into_iter().filter(|(occurs, ..)| *occurs).map(|(_, class, text)| (border_sample(class), text.to_owned())));
    let rows = "rows: index, offset, stack depth before→after, instruction, argument";
    let data = if graph.uses.is_empty() { "" } else { ", and after ⟵ the instructions that its operands come from" };
    items.push((String::new(), format!("{rows}{data}")));

    let mut out = String::new();
    let (mut x, mut y) = (0, 0);
    for (sample, text) in items {
        let sample_width = if sample.is_empty() { 0 } else { SAMPLE + 6 };
        let width = sample_width + width_of(columns(&text)) + 18;
        if x > 0 && x + width > room {
            (x, y) = (0, y + LINE);
        }
        out.push_str(&format!(
            "<g transform=\"translate({x},{y})\">{sample}<text class=\"dim\" x=\"{sample_width}\" y=\"14\">{text}</text></g>\n"
        ));
        x += width;
    }
    (out, y + LINE)
}

fn edge_sample(kind: EdgeKind, polarity: Option<bool>, is_back: bool) -> String {
    let edge = Edge { from: 0, kind, to: 0, polarity, is_back, label: String::new(), detail: String::new() };
    let corners = [Point { x: 0, y: 4 }, Point { x: 16, y: 4 }, Point { x: 16, y: 18 }];
    format!("<g class=\"{}\"><path d=\"{}\"/>{}</g>", classes(&edge), line::path(&corners), line::head(&edge, corners[2]))
}

fn border_sample(class: &str) -> String {
    let rect = |class: &str, grow: i32| {
        format!(
            "<rect class=\"frame {class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            2 - grow,
            4 - grow,
            18 + 2 * grow,
            12 + 2 * grow
        )
    };
    match class {
        "entry" => rect("", 0) + &rect("", 3),
        "exit" => rect("", 0) + "<rect class=\"bar\" x=\"2\" y=\"12\" width=\"18\" height=\"4\"/>",
        "unreachable" => format!("<rect fill=\"url(#hatch)\" x=\"2\" y=\"4\" width=\"18\" height=\"12\"/>{}", rect(class, 0)),
        _ => rect(class, 0),
    }
}
