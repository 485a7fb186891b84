//! Which links close cycles, and the loops that they make.

use super::Link;

/// What a depth-first walk over the links finds.
pub struct Walk {
    /// The rank of each box in the order in which the walk met them.
    pub preorder: Vec<usize>,
    /// Whether each link leads to a box that the walk was still in: without these links there is no cycle.
    pub upward: Vec<bool>,
}

/// Walks from the first box on, then from each box that is still unseen, along the links in their order.
pub fn walk(count: usize, links: &[Link]) -> Walk {
    let mut outgoing = vec![Vec::new(); count];
    for (index, link) in links.iter().enumerate() {
        outgoing[link.from].push(index);
    }
    let mut walk = Walk { preorder: vec![usize::MAX; count], upward: vec![false; links.len()] };
    let mut is_open = vec![false; count];
    let mut met = 0;
    for root in 0..count {
        // Boxes that the walk is in, with the number of their links that it has followed.
        let mut path = Vec::new();
        if walk.preorder[root] == usize::MAX {
            path.push((root, 0));
        }
        while let Some((at, followed)) = path.last_mut() {
            let at = *at;
            if *followed == 0 && !is_open[at] {
                walk.preorder[at] = met;
                met += 1;
                is_open[at] = true;
            }
            let Some(&link) = outgoing[at].get(*followed) else {
                is_open[at] = false;
                path.pop();
                continue;
            };
            *followed += 1;
            let to = links[link].to;
            if is_open[to] {
                walk.upward[link] = true;
            } else if walk.preorder[to] == usize::MAX {
                path.push((to, 0));
            }
        }
    }
    walk
}

/// A loop that is entered at one box only.
pub struct Loop {
    /// All boxes in it, ascending.
    pub body: Vec<usize>,
    /// The boxes that are entered when it is left, going down.
    pub exits: Vec<usize>,
}

/// The loops of the upward links: for each box that such links lead to, all that reaches them without passing it. A loop that can be
/// entered beside that box is none.
pub fn loops(count: usize, links: &[Link], walk: &Walk) -> Vec<Loop> {
    let mut incoming = vec![Vec::new(); count];
    for link in links {
        incoming[link.to].push(link.from);
    }
    let mut closing = vec![Vec::new(); count];
    for (link, _) in links.iter().zip(&walk.upward).filter(|(_, upward)| **upward) {
        closing[link.to].push(link.from);
    }
    let mut found = Vec::new();
    for (header, mut todo) in closing.into_iter().enumerate().filter(|(_, sources)| !sources.is_empty()) {
        let mut is_inside = vec![false; count];
        is_inside[header] = true;
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut is_inside[at], true) {
                todo.extend(&incoming[at]);
            }
        }
        let enters_beside = |link: &Link| !is_inside[link.from] && is_inside[link.to] && link.to != header;
        if links.iter().any(enters_beside) {
            continue;
        }
        let leaves_down = |(link, upward): &(&Link, &bool)| is_inside[link.from] && !is_inside[link.to] && !**upward;
        let mut exits: Vec<_> = links.iter().zip(&walk.upward).filter(leaves_down).map(|(link, _)| link.to).collect();
        exits.sort_unstable();
        exits.dedup();
        found.push(Loop { body: (0..count).filter(|&at| is_inside[at]).collect(), exits });
    }
    found
}
