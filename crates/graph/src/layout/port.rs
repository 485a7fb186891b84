//! Where lines leave and enter boxes.
//!
//! A line leaves or enters straight above or below where it comes from or goes to, as far as the box reaches, so that most lines between
//! boxes one above the other have no corner at all.

use std::collections::BTreeMap;

use super::step::Steps;
use super::{Link, Size};

/// Room between a port and the corner of its box.
const CORNER: i32 = 14;

/// Room between ports, labels aside.
const BETWEEN_PORTS: i32 = 18;

/// Room between a label and the port to the right of it.
const BESIDE_LABEL: i32 = 12;

/// The lines that enter a box together: box, lane, and whether they come from below.
pub type Entry = (usize, u32, bool);

/// The places of all ports.
pub struct Ports {
    /// Where each link leaves its source.
    pub leaving: Vec<i32>,
    /// Where links enter boxes.
    pub entering: BTreeMap<Entry, i32>,
}

impl Ports {
    /// The entry that a link takes.
    pub fn entry(links: &[Link], steps: &Steps, link: usize) -> Entry {
        (links[link].to, links[link].lane, steps.upward[link])
    }
}

/// Chooses all ports.
pub fn assign(steps: &Steps, links: &[Link], sizes: &[Size], centres: &[i32]) -> Ports {
    let mut ports = Ports { leaving: links.iter().map(|link| centres[link.from]).collect(), entering: BTreeMap::new() };
    // Ports on either side ask for the place of those on the other side, so that it takes a few rounds.
    for _ in 0..3 {
        ports.enter(steps, links, sizes, centres);
        ports.leave(steps, links, sizes, centres);
    }
    ports
}

impl Ports {
    fn enter(&mut self, steps: &Steps, links: &[Link], sizes: &[Size], centres: &[i32]) {
        // What comes in at each entry from right above the box, or from its side.
        let mut sources: BTreeMap<Entry, Vec<i32>> = BTreeMap::new();
        for link in 0..links.len() {
            let source = steps.bends[link].last().map_or(self.leaving[link], |&bend| centres[bend]);
            sources.entry(Self::entry(links, steps, link)).or_default().push(source);
        }
        let mut wishes: Vec<Vec<(i32, Entry)>> = vec![Vec::new(); sizes.len()];
        for (entry, sources) in &mut sources {
            sources.sort_unstable();
            wishes[entry.0].push((sources[sources.len() / 2], *entry));
        }
        for (node, mut wishes) in wishes.into_iter().enumerate() {
            wishes.sort_unstable();
            let wished: Vec<_> = wishes.iter().map(|(wish, _)| *wish).collect();
            let gaps = vec![BETWEEN_PORTS; wished.len()];
            let half = reach(sizes[node]);
            let found = spread(&wished, &gaps, centres[node] - half, centres[node] + half);
            self.entering.extend(wishes.iter().map(|(_, entry)| *entry).zip(found));
        }
    }

    fn leave(&mut self, steps: &Steps, links: &[Link], sizes: &[Size], centres: &[i32]) {
        let mut wishes: Vec<Vec<(i32, usize)>> = vec![Vec::new(); sizes.len()];
        for (index, link) in links.iter().enumerate() {
            let entry = self.entering.get(&Self::entry(links, steps, index)).copied().unwrap_or(centres[link.to]);
            wishes[link.from].push((steps.bends[index].first().map_or(entry, |&bend| centres[bend]), index));
        }
        for (node, mut wishes) in wishes.into_iter().enumerate() {
            wishes.sort_unstable();
            let wished: Vec<_> = wishes.iter().map(|(wish, _)| *wish).collect();
            let gaps: Vec<_> = wishes.iter().map(|&(_, link)| (links[link].label + BESIDE_LABEL).max(BETWEEN_PORTS)).collect();
            let half = reach(sizes[node]);
            // The last label needs room as well.
            let room = gaps.last().map_or(0, |gap| gap - CORNER).clamp(0, half);
            let found = spread(&wished, &gaps, centres[node] - half, centres[node] + half - room);
            for ((_, link), place) in wishes.into_iter().zip(found) {
                self.leaving[link] = place;
            }
        }
    }
}

/// How far from the centre of a box ports may lie.
fn reach(size: Size) -> i32 {
    let half = size.width / 2;
    (half - CORNER).max(half / 2)
}

/// Places between two bounds and as near as can be to those wished for, which ascend: each at least its gap before the next one, with
/// smaller gaps where there is no room for these. Of those that get in each other's way one keeps its place.
fn spread(wished: &[i32], gaps: &[i32], least: i32, most: i32) -> Vec<i32> {
    let mut offsets: Vec<_> = gaps.iter().scan(0, |sum, gap| Some(std::mem::replace(sum, *sum + gap))).collect();
    let (needed, room) = (offsets.last().copied().unwrap_or(0), (most - least).max(0));
    if needed > room {
        offsets.iter_mut().for_each(|offset| *offset = (i64::from(*offset) * i64::from(room) / i64::from(needed)) as i32);
    }
    let most = (most - offsets.last().copied().unwrap_or(0)).max(least);
    // Without the gaps, places must only ascend: groups that do not are pooled (isotonic regression), here at their median.
    let mut pools: Vec<Vec<i32>> = Vec::new();
    let median = |pool: &[i32]| pool[(pool.len() - 1) / 2];
    for (wish, offset) in wished.iter().zip(&offsets) {
        let mut pool = vec![wish.clamp(&least, &(most + offset)) - offset];
        while let Some(before) = pools.pop_if(|before| median(before) > median(&pool)) {
            pool.extend(before);
            pool.sort_unstable();
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|pool| std::iter::repeat_n(median(pool).clamp(least, most), pool.len()));
    places.zip(offsets).map(|(place, offset)| place + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_where_they_are_wished_for_or_next_to_it() {
        assert_eq!(spread(&[10, 50], &[20, 20], 0, 100), [10, 50]);
        assert_eq!(spread(&[50, 52], &[20, 20], 0, 100), [32, 52]);
        assert_eq!(spread(&[-40, 300], &[20, 20], 0, 100), [0, 100]);
        assert_eq!(spread(&[300, 300, 300], &[20, 20, 20], 0, 100), [60, 80, 100]);
        assert_eq!(spread(&[5, 5, 5], &[100, 100, 20], 0, 100), [0, 50, 100]);
        assert_eq!(spread(&[], &[], 0, 100), []);
    }
}
