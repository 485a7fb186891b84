//! Links cut into steps from one layer to the next.
//!
//! Where a link passes a layer it has a *bend* there: a point that takes part in the order of the layer like a box. Links of one lane to the
//! same box share their bends, so that they join. A link that leads up passes its source's layer and its target's, too: it leaves its
//! source downwards, runs up beside everything, and comes down on its target.

use std::collections::BTreeMap;

use super::Link;

/// The points that take part in the order of the layers: boxes first, then bends.
pub struct Steps {
    /// How many of the points are boxes.
    pub boxes: usize,
    /// The layer of each point.
    pub layer: Vec<usize>,
    /// How many layers there are.
    pub layers: usize,
    /// For each point those of the layer above that it is joined to.
    pub above: Vec<Vec<usize>>,
    /// For each point those of the layer below that it is joined to.
    pub below: Vec<Vec<usize>>,
    /// For each point those of its own layer that it is joined to: the ends of lines that lead up, and their boxes.
    pub beside: Vec<Vec<usize>>,
    /// For each bend the bend of the same line in the layer above.
    pub bend_above: Vec<Option<usize>>,
    /// For each bend the bend of the same line in the layer below.
    pub bend_below: Vec<Option<usize>>,
    /// The bends of each link, from its source to its target.
    pub bends: Vec<Vec<usize>>,
    /// Whether each link leads up.
    pub upward: Vec<bool>,
}

impl Steps {
    pub fn new(links: &[Link], layers: &[usize], upward: &[bool]) -> Self {
        let empty = || vec![Vec::new(); layers.len()];
        let mut steps = Self {
            boxes: layers.len(),
            layer: layers.to_vec(),
            layers: layers.iter().max().map_or(0, |last| last + 1),
            above: empty(),
            below: empty(),
            beside: empty(),
            bend_above: vec![None; layers.len()],
            bend_below: vec![None; layers.len()],
            bends: Vec::with_capacity(links.len()),
            upward: upward.to_vec(),
        };
        let mut shared = BTreeMap::new();
        for (link, &upward) in links.iter().zip(upward) {
            let (from, to) = (layers[link.from], layers[link.to]);
            let mut bend = |layer: usize| *shared.entry((link.to, link.lane, upward, layer)).or_insert_with(|| steps.add_bend(layer));
            let bends: Vec<_> = if upward { (to..=from).rev().map(&mut bend).collect() } else { (from + 1..to).map(&mut bend).collect() };
            steps.join(link, &bends, upward);
            steps.bends.push(bends);
        }
        for list in steps.above.iter_mut().chain(&mut steps.below).chain(&mut steps.beside) {
            list.sort_unstable();
            list.dedup();
        }
        steps
    }

    /// Whether a point is a bend.
    pub fn is_bend(&self, point: usize) -> bool {
        point >= self.boxes
    }

    fn add_bend(&mut self, layer: usize) -> usize {
        self.layer.push(layer);
        for lists in [&mut self.above, &mut self.below, &mut self.beside] {
            lists.push(Vec::new());
        }
        self.bend_above.push(None);
        self.bend_below.push(None);
        self.layer.len() - 1
    }

    fn join(&mut self, link: &Link, bends: &[usize], upward: bool) {
        let points: Vec<_> = [link.from].into_iter().chain(bends.iter().copied()).chain([link.to]).collect();
        for pair in points.windows(2) {
            let (mut high, mut low) = (pair[0], pair[1]);
            if self.layer[high] == self.layer[low] {
                self.beside[high].push(low);
                self.beside[low].push(high);
                continue;
            }
            if upward {
                (high, low) = (low, high);
            }
            self.below[high].push(low);
            self.above[low].push(high);
            if self.is_bend(high) && self.is_bend(low) {
                self.bend_below[high] = Some(low);
                self.bend_above[low] = Some(high);
            }
        }
    }
}
