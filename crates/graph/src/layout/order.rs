//! The order of the points within each layer, with few crossings between neighbouring layers.
//!
//! Sweeps down and up put each point where the mean of its neighbours in the layer just passed is (the barycentre heuristic), then
//! neighbours that cross less the other way round change places. The best order that was met is kept. Ties keep the order of the walk,
//! so that what is tried first lies to the left.

use super::step::Steps;

/// Sweeps without an improvement after which no better order is expected.
const FRUITLESS: usize = 4;

/// Sweeps at most.
const SWEEPS: usize = 24;

/// With more points than this, neighbours are not exchanged: it takes more time than it gains.
const EXCHANGED_POINTS: usize = 4_000;

/// The points of each layer, and the rank of each point in its layer.
#[derive(Clone)]
pub struct Order {
    pub layers: Vec<Vec<usize>>,
    pub rank: Vec<usize>,
}

impl Order {
    fn rank_again(&mut self, layer: usize) {
        for (rank, &point) in self.layers[layer].iter().enumerate() {
            self.rank[point] = rank;
        }
    }
}

/// Orders all layers.
pub fn arrange(steps: &Steps, preorder: &[usize]) -> Order {
    let mut order = first(steps, preorder);
    let mut best = order.clone();
    let mut least = crossings(steps, &order);
    let mut fruitless = 0;
    for sweep in 0..SWEEPS {
        if least == 0 || fruitless == FRUITLESS {
            break;
        }
        sweep_over(steps, &mut order, sweep % 2 == 1);
        if steps.layer.len() <= EXCHANGED_POINTS {
            exchange(steps, &mut order);
        }
        let now = crossings(steps, &order);
        fruitless += 1;
        if now < least {
            (best, least, fruitless) = (order.clone(), now, 0);
        }
    }
    best
}

/// From the top down, each layer by where the layer above leads; what nothing leads to stands where the walk met it.
fn first(steps: &Steps, preorder: &[usize]) -> Order {
    let mut order = Order { layers: vec![Vec::new(); steps.layers], rank: vec![0; steps.layer.len()] };
    for (point, &layer) in steps.layer.iter().enumerate() {
        order.layers[layer].push(point);
    }
    for layer in 0..steps.layers {
        // Bends come after boxes: lines pass to the right of what they have nothing to do with.
        order.layers[layer].sort_by_key(|&point| preorder.get(point).copied().unwrap_or(usize::MAX));
        order.rank_again(layer);
    }
    sweep_over(steps, &mut order, false);
    order
}

/// Puts each layer in the order that the layers before it ask for, going down or up.
fn sweep_over(steps: &Steps, order: &mut Order, up: bool) {
    let neighbours = if up { &steps.below } else { &steps.above };
    for nth in 0..steps.layers {
        let layer = if up { steps.layers - 1 - nth } else { nth };
        let wish = |point: usize| mean(&neighbours[point], &order.rank);
        // The end of a line that leads up keeps next to its box, to the right; what has no neighbour keeps its rank.
        let wish = |point: usize| {
            wish(point).or_else(|| steps.beside[point].iter().find_map(|&beside| wish(beside)).filter(|_| steps.is_bend(point)))
        };
        let wishes: Vec<_> = order.layers[layer].iter().map(|&point| (wish(point), point)).collect();
        let mut wishing: Vec<_> = wishes.iter().filter_map(|&(wish, point)| Some((wish?, point))).collect();
        wishing.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut wishing = wishing.into_iter().map(|(_, point)| point);
        order.layers[layer] =
            wishes.iter().filter_map(|&(wish, point)| if wish.is_some() { wishing.next() } else { Some(point) }).collect();
        order.rank_again(layer);
    }
}

fn mean(neighbours: &[usize], rank: &[usize]) -> Option<f64> {
    let sum: usize = neighbours.iter().map(|&neighbour| rank[neighbour]).sum();
    (!neighbours.is_empty()).then(|| sum as f64 / neighbours.len() as f64)
}

/// Lets neighbours change places where that takes crossings away, layer by layer, until nothing improves or often enough.
fn exchange(steps: &Steps, order: &mut Order) {
    for _ in 0..8 {
        let mut improved = false;
        for layer in 0..steps.layers {
            for right in 1..order.layers[layer].len() {
                let (a, b) = (order.layers[layer][right - 1], order.layers[layer][right]);
                let cost = |left: usize, right: usize| {
                    inversions(&steps.above[left], &steps.above[right], &order.rank)
                        + inversions(&steps.below[left], &steps.below[right], &order.rank)
                };
                if cost(b, a) < cost(a, b) {
                    order.layers[layer].swap(right - 1, right);
                    (order.rank[a], order.rank[b]) = (right, right - 1);
                    improved = true;
                }
            }
        }
        if !improved {
            break;
        }
    }
}

/// How many steps of a point cross steps of another that lies to its right.
fn inversions(left: &[usize], right: &[usize], rank: &[usize]) -> usize {
    left.iter().map(|&left| right.iter().filter(|&&right| rank[right] < rank[left]).count()).sum()
}

/// How many steps cross in all.
fn crossings(steps: &Steps, order: &Order) -> usize {
    let count = |layer: &Vec<usize>| {
        let mut ends = Vec::new();
        for &point in layer {
            let from = ends.len();
            ends.extend(steps.below[point].iter().map(|&below| order.rank[below]));
            ends[from..].sort_unstable();
        }
        count_inversions(&ends)
    };
    order.layers.iter().map(count).sum()
}

/// How many pairs stand in the wrong order, by a tree of partial sums.
fn count_inversions(values: &[usize]) -> usize {
    let size = values.iter().max().map_or(0, |most| most + 1);
    let mut sums = vec![0_usize; size + 1];
    let mut inversions = 0;
    for (seen, &value) in values.iter().enumerate() {
        let mut not_greater = 0;
        let mut at = value + 1;
        while at > 0 {
            not_greater += sums[at];
            at &= at - 1;
        }
        inversions += seen - not_greater;
        at = value + 1;
        while at <= size {
            sums[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    inversions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn inversions_are_counted_as_by_trying_all_pairs(values in prop::collection::vec(0usize..20, 0..40)) {
            let pairs = (0..values.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
            prop_assert_eq!(count_inversions(&values), pairs.filter(|&(a, b)| values[a] > values[b]).count());
        }
    }
}
