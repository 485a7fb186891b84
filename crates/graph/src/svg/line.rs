//! The lines between blocks.

use std::collections::BTreeMap;

use super::{classes, lane};
use crate::layout::{Layout, Point};
use crate::model::{Edge, EdgeKind, Graph};
use crate::text::{columns, escape, printable};

/// How far corners are rounded.
const RADIUS: i32 = 6;

/// Width of the text at the start of an edge.
pub fn label_width(edge: &Edge) -> i32 {
    i32::try_from(columns(&printable(&edge.label)) * 68 / 10).unwrap_or(0)
}

/// All edges. Where edges join, what they have in common is drawn once: two dashed lines on top of each other look like a solid one.
pub fn lines(graph: &Graph, layout: &Layout) -> String {
    let mut drawn: BTreeMap<_, Vec<(Point, Point)>> = BTreeMap::new();
    let mut out = String::new();
    let mut labels = String::new();
    let mut order: Vec<_> = (0..graph.edges.len()).collect();
    // The longest first, so that the others join it where it is straight.
    order.sort_by_key(|&nth| -length(&layout.routes[nth]));
    for nth in order {
        let (edge, (_, to), route) = (&graph.edges[nth], graph.ends[nth], &layout.routes[nth]);
        let common = drawn.entry((to, lane(edge), layout.upward[nth])).or_default();
        let (line, joins) = until_common(route, common);
        let title = escape(&printable(&edge.detail));
        out.push_str(&format!("<g class=\"{}\"><title>{title}</title><path d=\"{}\"/>", classes(edge), path(&line)));
        if !joins && let Some(end) = line.last() {
            out.push_str(&head(edge, *end));
        }
        out.push_str("</g>\n");
        common.extend(line.windows(2).map(|pair| (pair[0], pair[1])));
        if let Some(start) = route.first() {
            let text = escape(&printable(&edge.label));
            let (x, y) = (start.x + 5, start.y + 14);
            labels.push_str(&format!("<g class=\"{}\"><text class=\"label\" x=\"{x}\" y=\"{y}\">{text}</text></g>\n", classes(edge)));
        }
    }
    out + &labels
}

fn length(route: &[Point]) -> i32 {
    route.windows(2).map(|pair| (pair[0].x - pair[1].x).abs() + (pair[0].y - pair[1].y).abs()).sum()
}

/// The head of an arrow that points down.
pub fn head(edge: &Edge, Point { x, y }: Point) -> String {
    let form = if edge.kind == EdgeKind::Exc { "M-5 -9L0 -1L5 -9" } else { "M-4.5 -9L0 0L4.5 -9z" };
    format!("<path class=\"head\" transform=\"translate({x},{y})\" d=\"{form}\"/>")
}

/// A line with rounded corners.
pub fn path(points: &[Point]) -> String {
    let mut out = String::new();
    for (nth, point) in points.iter().enumerate() {
        let before = nth.checked_sub(1).and_then(|before| points.get(before));
        match (before, points.get(nth + 1)) {
            (None, _) => out.push_str(&format!("M{} {}", point.x, point.y)),
            (Some(_), None) => out.push_str(&format!("L{} {}", point.x, point.y)),
            (Some(before), Some(after)) => {
                let (start, end) = (towards(*point, *before), towards(*point, *after));
                out.push_str(&format!("L{} {}Q{} {} {} {}", start.x, start.y, point.x, point.y, end.x, end.y));
            }
        }
    }
    out
}

/// The point a radius away from a corner, or half the way if that is less.
fn towards(corner: Point, other: Point) -> Point {
    let (dx, dy) = (other.x - corner.x, other.y - corner.y);
    let step = RADIUS.min((dx.abs() + dy.abs()) / 2);
    Point { x: corner.x + dx.signum() * step, y: corner.y + dy.signum() * step }
}

/// A line as far as the place where it meets what is drawn already, and whether it does. It goes on for the radius of a corner, so that it
/// joins in a curve, and leaves no gap where the other has one.
fn until_common(route: &[Point], common: &[(Point, Point)]) -> (Vec<Point>, bool) {
    let mut line: Vec<_> = route.first().copied().into_iter().collect();
    for (nth, pair) in route.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let meetings = common.iter().filter_map(|&segment| meeting((from, to), segment));
        if let Some(meeting) = meetings.min_by_key(|meeting| (meeting.x - from.x).abs() + (meeting.y - from.y).abs()) {
            let onward = if meeting == to { route.get(nth + 2).copied().unwrap_or(to) } else { to };
            let (dx, dy) = (onward.x - meeting.x, onward.y - meeting.y);
            let step = RADIUS.min(dx.abs() + dy.abs());
            line.extend([meeting, Point { x: meeting.x + dx.signum() * step, y: meeting.y + dy.signum() * step }]);
            return (line, true);
        }
        line.push(to);
    }
    (line, false)
}

/// Where one segment first meets another; both run along an axis.
fn meeting((from, to): (Point, Point), (a, b): (Point, Point)) -> Option<Point> {
    let between = |at: i32, one: i32, other: i32| one.min(other) <= at && at <= one.max(other);
    // The place on the other segment that is nearest to the start of this one is where they meet, if it lies on this one.
    let nearest = Point { x: from.x.clamp(a.x.min(b.x), a.x.max(b.x)), y: from.y.clamp(a.y.min(b.y), a.y.max(b.y)) };
    let meets = between(nearest.x, from.x, to.x) && between(nearest.y, from.y, to.y);
    meets.then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(corners: &[(i32, i32)]) -> Vec<Point> {
        corners.iter().map(|&(x, y)| Point { x, y }).collect()
    }

    #[test]
    fn a_line_ends_where_it_joins_another() {
        let common = [(points(&[(0, 0)])[0], points(&[(0, 50)])[0]), (points(&[(0, 50)])[0], points(&[(90, 50)])[0])];
        let until = |corners: &[(i32, i32)]| until_common(&points(corners), &common);
        assert_eq!(until(&[(40, 0), (40, 50), (90, 50)]), (points(&[(40, 0), (40, 50), (46, 50)]), true));
        assert_eq!(until(&[(-40, 0), (-40, 50), (90, 50)]), (points(&[(-40, 0), (-40, 50), (0, 50), (6, 50)]), true));
        assert_eq!(until(&[(40, 0), (40, 40)]), (points(&[(40, 0), (40, 40)]), false));
    }

    #[test]
    fn corners_are_rounded_as_far_as_there_is_room() {
        assert_eq!(path(&points(&[(0, 0), (0, 20), (30, 20)])), "M0 0L0 14Q0 20 6 20L30 20");
        assert_eq!(path(&points(&[(0, 0), (0, 20), (4, 20), (4, 90)])), "M0 0L0 14Q0 20 2 20L2 20Q4 20 4 26L4 90");
    }
}
