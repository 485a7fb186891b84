//! How far down everything lies, and the corners of all lines.

use std::collections::BTreeMap;

use super::port::{Entry, Ports};
use super::step::Steps;
use super::track::{self, Net};
use super::{Link, Point, Rect, Size};

/// Room below boxes for the labels of the lines that leave them.
const LABELS: i32 = 20;

/// Room above boxes for the heads of the lines that enter them.
const HEADS: i32 = 16;

/// Room between tracks.
const TRACK: i32 = 10;

/// A net within its channel: what it joins is known by its lower end, or for lines that lead up by its upper one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NetKey {
    /// What enters a box, from above or from its side.
    Entry(Entry),
    /// What comes together at a bend and goes down from it.
    IntoBend(usize),
    /// What comes together at a bend and goes up from it.
    UpToBend(usize),
}

/// A part of a link's line: the channel that it runs through, its net, and where it comes in and goes out.
#[derive(Clone, Copy)]
struct Part {
    channel: usize,
    key: NetKey,
    from: i32,
    to: i32,
}

/// Puts boxes and lines on the page: the boxes, the corners of each line, and the size of all.
pub fn draw(steps: &Steps, links: &[Link], sizes: &[Size], centres: &[i32], ports: &Ports) -> (Vec<Rect>, Vec<Vec<Point>>, Size) {
    let parts: Vec<_> = (0..links.len()).map(|link| parts(steps, links, centres, ports, link)).collect();
    let channels = Channels::new(steps, &parts);
    let tops = channels.tops(steps, sizes);
    let boxes: Vec<_> = (sizes.iter().enumerate())
        .map(|(node, size)| {
            let x = centres[node] - (size.width + 1) / 2;
            Rect { x, y: tops[steps.layer[node]], width: size.width, height: size.height }
        })
        .collect();
    let line_of = |(link, parts): (&Link, &Vec<Part>)| {
        let (source, target) = (boxes[link.from], boxes[link.to]);
        let mut line = Line::default();
        for part in parts {
            line.to(Point { x: part.from, y: if line.points.is_empty() { source.y + source.height } else { line.y() } });
            if part.from != part.to {
                let y = channels.track_y(part, &tops);
                line.to(Point { x: part.from, y });
                line.to(Point { x: part.to, y });
            }
        }
        line.to(Point { x: line.points.last().map_or(0, |last| last.x), y: target.y });
        line.points
    };
    let routes: Vec<_> = links.iter().zip(&parts).map(line_of).collect();
    let right = routes.iter().flatten().map(|point| point.x).chain(boxes.iter().map(|rect| rect.x + rect.width)).max().unwrap_or(0);
    let height = tops.last().copied().unwrap_or(0);
    (boxes, routes, Size { width: right, height })
}

/// The parts of a link's line, from its source to its target.
fn parts(steps: &Steps, links: &[Link], centres: &[i32], ports: &Ports, link: usize) -> Vec<Part> {
    let entry = Ports::entry(links, steps, link);
    let end = ports.entering.get(&entry).copied().unwrap_or(centres[links[link].to]);
    let mut parts = Vec::with_capacity(steps.bends[link].len() + 1);
    let mut from = ports.leaving[link];
    let source_layer = steps.layer[links[link].from];
    let upward = steps.upward[link];
    for &bend in &steps.bends[link] {
        let to = centres[bend];
        // A channel has the number of the layer below it.
        let (channel, key) =
            if upward { (steps.layer[bend] + 1, NetKey::UpToBend(bend)) } else { (steps.layer[bend], NetKey::IntoBend(bend)) };
        parts.push(Part { channel, key, from, to });
        from = to;
    }
    let channel = if upward { steps.layer[links[link].to] } else { source_layer + steps.bends[link].len() + 1 };
    parts.push(Part { channel, key: NetKey::Entry(entry), from, to: end });
    parts
}

/// The channels above, between and below the layers.
struct Channels {
    /// The track of each net.
    tracks: BTreeMap<(usize, NetKey), usize>,
    /// How many tracks each channel has.
    counts: Vec<usize>,
}

impl Channels {
    fn new(steps: &Steps, parts: &[Vec<Part>]) -> Self {
        let mut nets: Vec<BTreeMap<NetKey, Net>> = vec![BTreeMap::new(); steps.layers + 1];
        for (link, parts) in parts.iter().enumerate() {
            for (nth, part) in parts.iter().enumerate() {
                let net = nets[part.channel].entry(part.key).or_default();
                let (first, last) = (nth == 0, nth + 1 == parts.len());
                // A line that leads up comes in and goes out on the same side of its first and of its last channel.
                match (steps.upward[link], first, last) {
                    (true, true, _) => net.upper.extend([part.from, part.to]),
                    (true, false, true) => net.lower.extend([part.from, part.to]),
                    (true, false, false) => {
                        net.lower.push(part.from);
                        net.upper.push(part.to);
                    }
                    (false, ..) => {
                        net.upper.push(part.from);
                        net.lower.push(part.to);
                    }
                }
            }
        }
        let mut channels = Self { tracks: BTreeMap::new(), counts: Vec::with_capacity(nets.len()) };
        for (channel, nets) in nets.into_iter().enumerate() {
            let (keys, mut nets): (Vec<_>, Vec<_>) = nets.into_iter().unzip();
            for terminals in nets.iter_mut().flat_map(|net| [&mut net.upper, &mut net.lower]) {
                terminals.sort_unstable();
                terminals.dedup();
            }
            let (tracks, count) = track::assign(&nets);
            channels.tracks.extend(keys.into_iter().map(|key| (channel, key)).zip(tracks));
            channels.counts.push(count);
        }
        channels
    }

    /// Where each layer starts, and in the end where a layer below all would.
    fn tops(&self, steps: &Steps, sizes: &[Size]) -> Vec<i32> {
        let mut heights = vec![0; steps.layers];
        for (node, size) in sizes.iter().enumerate() {
            let height = &mut heights[steps.layer[node]];
            *height = size.height.max(*height);
        }
        let mut y = 0;
        let mut tops = Vec::with_capacity(steps.layers + 1);
        for (layer, count) in self.counts.iter().enumerate() {
            let is_outermost = layer == 0 || layer == steps.layers;
            y += match (is_outermost, *count) {
                (true, 0) => 0,
                (_, count) => LABELS + HEADS + TRACK * count as i32,
            };
            tops.push(y);
            y += heights.get(layer).copied().unwrap_or(0);
        }
        tops
    }

    /// The height of a track.
    fn track_y(&self, part: &Part, tops: &[i32]) -> i32 {
        let track = self.tracks.get(&(part.channel, part.key)).copied().unwrap_or(0);
        let count = self.counts[part.channel];
        tops[part.channel] - HEADS - TRACK * (count - track) as i32 + TRACK / 2
    }
}

/// A line in the making, without repeated points and without points in the middle of a straight part.
#[derive(Default)]
struct Line {
    points: Vec<Point>,
}

impl Line {
    fn y(&self) -> i32 {
        self.points.last().map_or(0, |last| last.y)
    }

    fn to(&mut self, point: Point) {
        if self.points.last() == Some(&point) {
            return;
        }
        if let [.., before, last] = self.points[..]
            && ((before.x == last.x && last.x == point.x) || (before.y == last.y && last.y == point.y))
        {
            self.points.pop();
        }
        self.points.push(point);
    }
}
