//! What every layout promises, on graphs of all shapes.

use proptest::prelude::*;

use super::*;

fn sizes(count: usize) -> impl Strategy<Value = Vec<Size>> {
    prop::collection::vec((40..400i32, 20..300i32).prop_map(|(width, height)| Size { width, height }), count)
}

fn graphs(most: usize) -> impl Strategy<Value = (Vec<Size>, Vec<Link>)> {
    (1..most).prop_flat_map(|count| {
        let near = (0..count, 0..6usize, 0..5u32).prop_map(move |(from, ahead, lane)| (from, (from + ahead).min(count - 1), lane));
        let any = (0..count, 0..count, 0..5u32);
        let link = prop_oneof![3 => near, 1 => any].prop_map(|(from, to, lane)| Link { from, to, lane, label: 0 });
        (sizes(count), prop::collection::vec(link, 0..count * 2))
    })
}

/// Whether a horizontal or vertical part of a line runs through the inside of a box.
fn runs_through(part: &[Point], rect: &Rect) -> bool {
    let overlaps = |a: i32, b: i32, low: i32, high: i32| a.min(b) < high && low < a.max(b);
    let inside = |at: i32, low: i32, high: i32| low < at && at < high;
    if part[0].x == part[1].x {
        inside(part[0].x, rect.x, rect.x + rect.width) && overlaps(part[0].y, part[1].y, rect.y, rect.y + rect.height)
    } else {
        inside(part[0].y, rect.y, rect.y + rect.height) && overlaps(part[0].x, part[1].x, rect.x, rect.x + rect.width)
    }
}

fn check(sizes: &[Size], links: &[Link]) -> Result<Layout, TestCaseError> {
    let found = layout(sizes, links);
    prop_assert_eq!((found.boxes.len(), found.routes.len()), (sizes.len(), links.len()));
    for (rect, size) in found.boxes.iter().zip(sizes) {
        prop_assert_eq!((rect.width, rect.height), (size.width, size.height));
        prop_assert!(rect.x >= 0 && rect.y >= 0);
        prop_assert!(rect.x + rect.width <= found.size.width && rect.y + rect.height <= found.size.height);
    }
    for (nth, a) in found.boxes.iter().enumerate() {
        for b in &found.boxes[..nth] {
            let apart = a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y;
            prop_assert!(apart, "{a:?} and {b:?} overlap");
        }
    }
    for ((link, route), upward) in links.iter().zip(&found.routes).zip(&found.upward) {
        let (source, target) = (found.boxes[link.from], found.boxes[link.to]);
        let (start, end) = (route[0], route[route.len() - 1]);
        prop_assert!(start.y == source.y + source.height && source.x < start.x && start.x < source.x + source.width, "{route:?}");
        prop_assert!(end.y == target.y && target.x < end.x && end.x < target.x + target.width, "{route:?}");
        for part in route.windows(2) {
            prop_assert!((part[0].x == part[1].x) != (part[0].y == part[1].y), "no part runs aslant or has no length: {route:?}");
            prop_assert!(part.iter().all(|point| point.x >= 0 && point.x <= found.size.width));
            prop_assert!(part.iter().all(|point| point.y >= 0 && point.y <= found.size.height));
            for rect in &found.boxes {
                prop_assert!(!runs_through(part, rect), "{route:?} runs through {rect:?}");
            }
        }
        // Every link that does not close a cycle leads down, and its line never turns back up.
        prop_assert_eq!(found.layers[link.from] < found.layers[link.to], !upward);
        if !upward {
            prop_assert!(route.windows(2).all(|part| part[0].y <= part[1].y));
        }
    }
    Ok(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boxes_lie_apart_and_lines_run_between_them((sizes, links) in graphs(40)) {
        check(&sizes, &links)?;
    }

    #[test]
    fn lines_of_different_targets_never_lie_on_each_other((sizes, links) in graphs(20)) {
        let found = layout(&sizes, &links);
        let vertical = |nth: usize| found.routes[nth].windows(2).filter(|part| part[0].x == part[1].x);
        let horizontal = |nth: usize| found.routes[nth].windows(2).filter(|part| part[0].y == part[1].y);
        for a in 0..links.len() {
            for b in (0..a).filter(|&b| links[a].to != links[b].to) {
                for (p, q) in horizontal(a).flat_map(|p| horizontal(b).map(move |q| (p, q))) {
                    let (low, high) = (p[0].x.min(p[1].x).max(q[0].x.min(q[1].x)), p[0].x.max(p[1].x).min(q[0].x.max(q[1].x)));
                    prop_assert!(p[0].y != q[0].y || low >= high, "{p:?} lies on {q:?}");
                }
                // Verticals within one layer are kept apart there; within a channel, tracks keep them apart wherever that is possible.
                for (p, q) in vertical(a).flat_map(|p| vertical(b).map(move |q| (p, q))) {
                    let (low, high) = (p[0].y.min(p[1].y).max(q[0].y.min(q[1].y)), p[0].y.max(p[1].y).min(q[0].y.max(q[1].y)));
                    let crosses_a_box = found.boxes.iter().any(|rect| low < rect.y + rect.height && rect.y < high);
                    prop_assert!(p[0].x != q[0].x || low >= high || !crosses_a_box, "{p:?} lies on {q:?}");
                }
            }
        }
    }

    #[test]
    fn the_same_graph_has_the_same_layout((sizes, links) in graphs(30)) {
        prop_assert_eq!(layout(&sizes, &links), layout(&sizes, &links));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing here takes the square of the graph: five hundred boxes with a thousand links anywhere are done at once.
    #[test]
    fn large_graphs_without_any_order_are_laid_out(seed in any::<u64>()) {
        let mut state = seed | 1;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let sizes = vec![Size { width: 200, height: 60 }; 500];
        let links: Vec<_> = (0..1000).map(|_| Link { from: random(500), to: random(500), lane: random(3) as u32, label: 30 }).collect();
        check(&sizes, &links)?;
    }
}

fn plain(links: &[(usize, usize)]) -> Layout {
    let count = links.iter().map(|&(from, to)| from.max(to) + 1).max().unwrap_or(1);
    let links: Vec<_> = links.iter().map(|&(from, to)| Link { from, to, lane: 0, label: 0 }).collect();
    check(&vec![Size { width: 100, height: 40 }; count], &links).unwrap()
}

#[test]
fn an_empty_graph_takes_no_room() {
    assert_eq!(layout(&[], &[]).size, Size::default());
}

#[test]
fn a_chain_is_straight() {
    let found = plain(&[(0, 1), (1, 2), (2, 3)]);
    assert_eq!(found.layers, [0, 1, 2, 3]);
    assert!(found.routes.iter().all(|route| route.len() == 2), "{:?}", found.routes);
}

#[test]
fn what_follows_a_loop_lies_below_it() {
    // 0 → 1 ⇄ 2 → 3 → 1, and 1 → 4 leaves the loop.
    let found = plain(&[(0, 1), (1, 2), (2, 3), (3, 1), (1, 4)]);
    assert_eq!(found.layers, [0, 1, 2, 3, 4]);
    assert_eq!(found.upward, [false, false, false, true, false]);
}

#[test]
fn a_box_may_lead_to_itself() {
    let found = plain(&[(0, 0), (0, 1)]);
    assert_eq!(found.upward, [true, false]);
    assert_eq!(found.routes[0].len(), 6, "down, aside, up, back and down: {:?}", found.routes[0]);
}

#[test]
fn what_nothing_leads_to_lies_above_what_it_leads_to() {
    let found = plain(&[(0, 1), (1, 2), (2, 3), (4, 3)]);
    assert_eq!(found.layers, [0, 1, 2, 3, 2]);
}

#[test]
fn links_to_one_box_join() {
    // All of 0 to 4 lead to 6, as blocks to their handler.
    let links: Vec<_> = (0..5).map(|from| (from, from + 1)).chain((0..5).map(|from| (from, 6))).collect();
    let links: Vec<_> = links.iter().map(|&(from, to)| Link { from, to, lane: u32::from(to == 6), label: 0 }).collect();
    let found = layout(&[Size { width: 100, height: 40 }; 7], &links);
    let ends: Vec<_> = found.routes[5..].iter().map(|route| route[route.len() - 1]).collect();
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
}
