//! The horizontal parts of the lines between two layers: which runs above which.
//!
//! A *net* is what is joined within one channel: terminals on the channel's upper side, terminals on its lower side, and one horizontal
//! part, on a track of its own, that reaches from the leftmost to the rightmost of them.

/// What is joined within a channel.
#[derive(Debug, Clone, Default)]
pub struct Net {
    /// Where it comes in from above.
    pub upper: Vec<i32>,
    /// Where it goes out below.
    pub lower: Vec<i32>,
}

/// Room that two nets on one track keep.
const GAP: i32 = 12;

/// Vertical parts nearer than this seem to be one.
const TOO_NEAR: i32 = 5;

/// Two vertical parts on top of each other are worse than any crossings.
const OVERLAP: i32 = 1_000;

/// More nets than this are not exchanged, since that takes the square of their number.
const EXCHANGED_NETS: usize = 120;

impl Net {
    /// Leftmost and rightmost terminal.
    fn span(&self) -> (i32, i32) {
        let all = || self.upper.iter().chain(&self.lower).copied();
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    }

    /// Whether it has no horizontal part.
    fn is_straight(&self) -> bool {
        let (left, right) = self.span();
        left == right
    }

    /// How badly it crosses another net that runs below it.
    fn cost_above(&self, other: &Self) -> i32 {
        let count = |terminals: &[i32], (left, right): (i32, i32)| {
            terminals.iter().filter(|&&terminal| left < terminal && terminal < right).count() as i32
        };
        let crossings = count(&other.upper, self.span()) + count(&self.lower, other.span());
        // This one's lower verticals and the other's upper ones lie in the same rows.
        let overlaps = self.lower.iter().flat_map(|a| other.upper.iter().map(move |b| (a - b).abs())).filter(|&apart| apart < TOO_NEAR);
        crossings + OVERLAP * overlaps.count() as i32
    }
}

/// The track of each net, from 0 at the top, and how many tracks there are. Straight nets need none and have 0.
pub fn assign(nets: &[Net]) -> (Vec<usize>, usize) {
    let mut order: Vec<_> = (0..nets.len()).filter(|&net| !nets[net].is_straight()).collect();
    // What runs to the right runs above what starts to the left of it, and the other way round.
    let slope = |net: &Net| {
        let mean = |terminals: &[i32]| terminals.iter().sum::<i32>() / (terminals.len() as i32).max(1);
        let (upper, lower) = (mean(&net.upper), mean(&net.lower));
        if net.lower.is_empty() || net.upper.is_empty() || lower < upper { upper } else { -upper }
    };
    order.sort_by_key(|&net| slope(&nets[net]));
    if order.len() <= EXCHANGED_NETS {
        exchange(nets, &mut order);
    }
    let mut tracks = vec![0; nets.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut count = 0;
    for net in order {
        let (left, right) = nets[net].span();
        let is_near = |other: &&usize| {
            let (other_left, other_right) = nets[**other].span();
            left < other_right + GAP && other_left < right + GAP
        };
        tracks[net] = placed.iter().filter(is_near).map(|&other| tracks[other] + 1).max().unwrap_or(0);
        count = count.max(tracks[net] + 1);
        placed.push(net);
    }
    (tracks, count)
}

/// Moves each net to where it costs least among the others, until nothing improves.
fn exchange(nets: &[Net], order: &mut Vec<usize>) {
    for _ in 0..6 {
        let mut improved = false;
        for from in 0..order.len() {
            let net = order[from];
            // The gain of passing each net in turn, upwards and downwards.
            let gain = |other: usize, up: bool| {
                let (now, then) = (nets[other].cost_above(&nets[net]), nets[net].cost_above(&nets[other]));
                if up { now - then } else { then - now }
            };
            let (mut best, mut best_gain, mut sum) = (from, 0, 0);
            for to in (0..from).rev() {
                sum += gain(order[to], true);
                if sum > best_gain {
                    (best, best_gain) = (to, sum);
                }
            }
            sum = 0;
            for (to, &other) in order.iter().enumerate().skip(from + 1) {
                sum += gain(other, false);
                if sum > best_gain {
                    (best, best_gain) = (to, sum);
                }
            }
            if best != from {
                order.remove(from);
                order.insert(best, net);
                improved = true;
            }
        }
        if !improved {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(upper: &[i32], lower: &[i32]) -> Net {
        Net { upper: upper.to_vec(), lower: lower.to_vec() }
    }

    #[test]
    fn nets_cross_no_more_than_they_must() {
        // Both to the right: the one that starts further right runs above.
        assert_eq!(assign(&[net(&[0], &[100]), net(&[50], &[150])]), (vec![1, 0], 2));
        // Both to the left.
        assert_eq!(assign(&[net(&[100], &[0]), net(&[150], &[50])]), (vec![0, 1], 2));
        // Apart from each other, one track will do; straight ones need none.
        assert_eq!(assign(&[net(&[0], &[100]), net(&[200], &[150]), net(&[120], &[120])]), (vec![0, 0, 0], 1));
    }

    #[test]
    fn verticals_do_not_lie_on_each_other() {
        // The first goes down where the second comes in: it has to run below it... and a third has it the other way round.
        assert_eq!(assign(&[net(&[0], &[50]), net(&[50], &[100])]).0, [1, 0]);
        assert_eq!(assign(&[net(&[50], &[0]), net(&[100], &[50])]).0, [0, 1]);
    }
}
