//! Layers: each box lies below all that lead down to it, as near to the top as that allows, and below the loops that it follows.

use super::Link;
use super::cycle::{self, Walk};

/// The layer of each box, from 0 at the top; no layer is empty.
pub fn assign(count: usize, links: &[Link], walk: &Walk) -> Vec<usize> {
    let down: Vec<_> = links.iter().zip(&walk.upward).filter(|(_, upward)| !**upward).map(|(link, _)| (link.from, link.to)).collect();
    let loops = cycle::loops(count, links, walk);
    // What follows a loop lies below all of it. The end of each loop is a point between: below its body, and above its exits.
    let mut order: Vec<_> = down.iter().map(|&(from, to)| (from, to, 1)).collect();
    for (end, found) in (count..).zip(&loops) {
        order.extend(found.body.iter().map(|&inside| (inside, end, 0)));
        order.extend(found.exits.iter().map(|&exit| (end, exit, 1)));
    }
    let plain = || down.iter().map(|&(from, to)| (from, to, 1)).collect::<Vec<_>>();
    // Loops that are nested as loops should be cannot contradict each other; should any, they do not count.
    let longest = longest_paths(count + loops.len(), &order).or_else(|| longest_paths(count, &plain()));
    let mut layers = longest.map(|(layers, _)| layers).unwrap_or_default();
    layers.resize(count, 0);
    if let Some((_, topological)) = longest_paths(count, &plain()) {
        lower_what_nothing_leads_to(&mut layers, &down, &topological);
    }
    close_gaps(&mut layers);
    layers
}

/// The length of the longest path to each place, and the places in an order in which each comes after those before it; `None` if there is
/// a cycle. Each step has a length.
fn longest_paths(count: usize, steps: &[(usize, usize, usize)]) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut outgoing = vec![Vec::new(); count];
    let mut waiting_for = vec![0_usize; count];
    for &(from, to, length) in steps {
        outgoing[from].push((to, length));
        waiting_for[to] += 1;
    }
    let mut lengths = vec![0; count];
    let mut topological: Vec<_> = (0..count).filter(|&place| waiting_for[place] == 0).collect();
    let mut done = 0;
    while let Some(&place) = topological.get(done) {
        done += 1;
        for &(to, length) in &outgoing[place] {
            lengths[to] = lengths[to].max(lengths[place] + length);
            waiting_for[to] -= 1;
            if waiting_for[to] == 0 {
                topological.push(to);
            }
        }
    }
    (done == count).then_some((lengths, topological))
}

/// Moves what the entry does not lead to next to what it leads to itself, instead of leaving it at the top.
fn lower_what_nothing_leads_to(layers: &mut [usize], down: &[(usize, usize)], topological: &[usize]) {
    let mut outgoing = vec![Vec::new(); layers.len()];
    for &(from, to) in down {
        outgoing[from].push(to);
    }
    let mut is_led_to = vec![false; layers.len()];
    if let Some(entry) = is_led_to.first_mut() {
        *entry = true;
    }
    for &place in topological {
        if is_led_to[place] {
            outgoing[place].iter().for_each(|&to| is_led_to[to] = true);
        }
    }
    for &place in topological.iter().rev().filter(|&&place| !is_led_to[place]) {
        let below = outgoing[place].iter().map(|&to| layers[to]).min();
        // What leads nowhere either lies beside the box before it.
        let layer = below.map_or_else(|| layers[place.saturating_sub(1)], |below| below.saturating_sub(1));
        layers[place] = layers[place].max(layer);
    }
}

fn close_gaps(layers: &mut [usize]) {
    let mut used: Vec<_> = layers.to_vec();
    used.sort_unstable();
    used.dedup();
    for layer in layers {
        *layer = used.partition_point(|used| *used < *layer);
    }
}
