//! How far to the right each point lies, after Brandes and Köpf.
//!
//! Points are aligned with a median neighbour of the layer above, so that they form vertical blocks, and blocks are set as far to the left
//! as their neighbours allow. That is done four times, from above and from below, to the left and to the right, and each point takes the
//! mean of its two middle places. Lines that pass several layers win every conflict, so that they run straight.

use std::collections::HashSet;

use super::Size;
use super::order::Order;
use super::step::Steps;

/// Room between two boxes.
const BETWEEN_BOXES: i32 = 36;

/// Room between a box and a line that passes it.
const BESIDE_BOX: i32 = 16;

/// Room between two lines.
const BETWEEN_LINES: i32 = 12;

/// The centre of each point; the left border of what lies leftmost is at 0.
pub fn centres(steps: &Steps, order: &Order, sizes: &[Size]) -> Vec<i32> {
    let conflicts = conflicts(steps, order);
    let mut candidates: Vec<_> = [(false, false), (false, true), (true, false), (true, true)]
        .map(|(from_below, to_right)| {
            let frame = Frame { steps, conflicts: &conflicts, sizes, from_below, to_right };
            frame.place(order)
        })
        .to_vec();
    let span = |places: &Vec<i32>| {
        let left = places.iter().enumerate().map(|(point, &centre)| centre - half_width(sizes, point)).min().unwrap_or(0);
        let right = places.iter().enumerate().map(|(point, &centre)| centre + half_width(sizes, point)).max().unwrap_or(0);
        (left, right)
    };
    // Placements to the left start where the narrowest one does, those to the right end where it does.
    let spans: Vec<_> = candidates.iter().map(span).collect();
    let (left, right) = spans.iter().copied().min_by_key(|(left, right)| right - left).unwrap_or_default();
    for (nth, (places, own)) in candidates.iter_mut().zip(&spans).enumerate() {
        let shift = if nth % 2 == 0 { left - own.0 } else { right - own.1 };
        places.iter_mut().for_each(|place| *place += shift);
    }
    let mut centres: Vec<_> = (0..steps.layer.len())
        .map(|point| {
            let mut four: Vec<_> = candidates.iter().map(|places| places[point]).collect();
            four.sort_unstable();
            (four[1] + four[2]).div_euclid(2)
        })
        .collect();
    let (left, _) = span(&centres);
    centres.iter_mut().for_each(|centre| *centre -= left);
    centres
}

fn half_width(sizes: &[Size], point: usize) -> i32 {
    sizes.get(point).map_or(0, |size| (size.width + 1) / 2)
}

/// Steps that cross a line which passes both layers; such a step has to give way.
fn conflicts(steps: &Steps, order: &Order) -> HashSet<(usize, usize)> {
    let mut conflicts = HashSet::new();
    for pair in order.layers.windows(2) {
        let (upper, lower) = (&pair[0], &pair[1]);
        let (mut low_end, mut scanned) = (0, 0);
        for (nth, &point) in lower.iter().enumerate() {
            let passing = steps.bend_above[point].map(|above| order.rank[above]);
            if passing.is_none() && nth + 1 < lower.len() {
                continue;
            }
            let high_end = passing.unwrap_or(upper.len());
            for &scan in &lower[scanned..=nth] {
                for &above in &steps.above[scan] {
                    let rank = order.rank[above];
                    if (rank < low_end || high_end < rank) && steps.bend_above[scan] != Some(above) {
                        conflicts.insert((above, scan));
                    }
                }
            }
            scanned = nth + 1;
            low_end = high_end;
        }
    }
    conflicts
}

/// One of the four directions. To the right is to the left in a mirror, from below is from above upside down.
struct Frame<'a> {
    steps: &'a Steps,
    conflicts: &'a HashSet<(usize, usize)>,
    sizes: &'a [Size],
    from_below: bool,
    to_right: bool,
}

impl Frame<'_> {
    fn place(&self, order: &Order) -> Vec<i32> {
        let mut layers = order.layers.clone();
        if self.from_below {
            layers.reverse();
        }
        if self.to_right {
            layers.iter_mut().for_each(|layer| layer.reverse());
        }
        let mut rank = vec![0; self.steps.layer.len()];
        for layer in &layers {
            for (nth, &point) in layer.iter().enumerate() {
                rank[point] = nth;
            }
        }
        let roots = self.align(&layers, &rank);
        let mut places = self.compact(&layers, &roots);
        if self.to_right {
            places.iter_mut().for_each(|place| *place = -*place);
        }
        places
    }

    /// The first point of the vertical block that each point belongs to.
    fn align(&self, layers: &[Vec<usize>], rank: &[usize]) -> Vec<usize> {
        let count = self.steps.layer.len();
        let mut roots: Vec<_> = (0..count).collect();
        let mut is_taken = vec![false; count];
        for layer in layers {
            let mut last_taken = None;
            for &point in layer {
                let mut neighbours = self.neighbours(point);
                neighbours.sort_unstable_by_key(|&neighbour| rank[neighbour]);
                let Some(last) = neighbours.len().checked_sub(1) else { continue };
                for &neighbour in &neighbours[last / 2..=last.div_ceil(2)] {
                    let keeps_order = last_taken.is_none_or(|taken| taken < rank[neighbour]);
                    if keeps_order && !is_taken[neighbour] && !self.is_in_conflict(point, neighbour) {
                        is_taken[neighbour] = true;
                        roots[point] = roots[neighbour];
                        last_taken = Some(rank[neighbour]);
                        break;
                    }
                }
            }
        }
        roots
    }

    /// What a point may be aligned with: the rest of its line only, if it has any.
    fn neighbours(&self, point: usize) -> Vec<usize> {
        let steps = self.steps;
        let (line, all) = if self.from_below { (&steps.bend_below, &steps.below) } else { (&steps.bend_above, &steps.above) };
        line[point].map_or_else(|| all[point].clone(), |bend| vec![bend])
    }

    fn is_in_conflict(&self, point: usize, neighbour: usize) -> bool {
        let step = if self.from_below { (point, neighbour) } else { (neighbour, point) };
        self.conflicts.contains(&step)
    }

    /// Sets blocks as far to the left as those before them allow, then closes gaps to those behind them.
    fn compact(&self, layers: &[Vec<usize>], roots: &[usize]) -> Vec<i32> {
        let count = roots.len();
        let mut behind: Vec<Vec<(usize, i32)>> = vec![Vec::new(); count];
        let mut waiting_for = vec![0_usize; count];
        for pair in layers.iter().flat_map(|layer| layer.windows(2)) {
            behind[roots[pair[0]]].push((roots[pair[1]], self.distance(pair[0], pair[1])));
            waiting_for[roots[pair[1]]] += 1;
        }
        let mut sorted: Vec<_> = (0..count).filter(|&point| roots[point] == point && waiting_for[point] == 0).collect();
        let mut places = vec![0; count];
        let mut done = 0;
        while let Some(&block) = sorted.get(done) {
            done += 1;
            for &(next, distance) in &behind[block] {
                places[next] = places[next].max(places[block] + distance);
                waiting_for[next] -= 1;
                if waiting_for[next] == 0 {
                    sorted.push(next);
                }
            }
        }
        for &block in sorted.iter().rev() {
            if let Some(furthest) = behind[block].iter().map(|&(next, distance)| places[next] - distance).min() {
                places[block] = places[block].max(furthest);
            }
        }
        roots.iter().map(|&root| places[root]).collect()
    }

    /// From centre to centre of neighbours in a layer.
    fn distance(&self, a: usize, b: usize) -> i32 {
        let gap = match (self.steps.is_bend(a), self.steps.is_bend(b)) {
            (false, false) => BETWEEN_BOXES,
            (true, true) => BETWEEN_LINES,
            _ => BESIDE_BOX,
        };
        // One more, since the mean of two places is rounded.
        half_width(self.sizes, a) + half_width(self.sizes, b) + gap + 1
    }
}
