//! Two listings side by side, line by line.

use bytefacts_bytecode::{Code, Unit, units};
use serde::{Deserialize, Serialize};

use super::{Listing, Step, Stretch, pairs, script};

/// How a line of two listings came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// The same on both sides.
    Same,
    /// Something else on each side.
    Changed,
    /// On the left alone.
    Removed,
    /// On the right alone.
    Added,
    /// So many lines that are left out: they are the same, or there was no place for them.
    Skipped,
}

/// A line of two listings side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How it came about.
    pub mark: Mark,
    /// What stands on the left.
    pub left: Option<String>,
    /// What stands on the right.
    pub right: Option<String>,
}

/// A code object of two sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitLines {
    /// Its qualpath.
    pub unit: String,
    /// Whether its facts differ.
    pub differs: bool,
    /// Its instructions.
    pub lines: Vec<Line>,
}

/// Two listings line by line, with `context` lines around each change; how many are left out stands where they would.
#[must_use]
pub fn side_by_side(left: &[Step], right: &[Step], context: usize) -> Vec<Line> {
    let mut all = Vec::new();
    for Stretch { left: old, right: new, same } in script(left, right) {
        let (old, new) = (left.get(old).unwrap_or_default(), right.get(new).unwrap_or_default());
        if same {
            for (one, other) in old.iter().zip(new) {
                pair_up(one.listed_prefixes(), other.listed_prefixes(), Mark::Same, &mut all);
                all.push(Line { mark: Mark::Same, left: Some(one.listed()), right: Some(other.listed()) });
            }
        } else {
            let lines = |steps: &[Step]| -> Vec<String> {
                steps.iter().flat_map(|step| step.listed_prefixes().into_iter().chain([step.listed()])).collect()
            };
            pair_up(lines(old), lines(new), Mark::Changed, &mut all);
        }
    }
    around(all, context)
}

/// Lines beside each other, as far as both sides have some.
fn pair_up(left: Vec<String>, right: Vec<String>, both: Mark, out: &mut Vec<Line>) {
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    loop {
        let (left, right) = (left.next(), right.next());
        let mark = match (&left, &right) {
            (Some(_), Some(_)) => both,
            (Some(_), None) => Mark::Removed,
            (None, Some(_)) => Mark::Added,
            (None, None) => return,
        };
        out.push(Line { mark, left, right });
    }
}

/// What is far from any change is left out.
fn around(all: Vec<Line>, context: usize) -> Vec<Line> {
    let mut near = vec![false; all.len()];
    for at in (0..all.len()).filter(|at| all.get(*at).is_some_and(|line| line.mark != Mark::Same)) {
        let end = all.len().min(at.saturating_add(context).saturating_add(1));
        near.get_mut(at.saturating_sub(context)..end).unwrap_or_default().fill(true);
    }
    let mut kept: Vec<Line> = Vec::new();
    let mut skipped = 0_usize;
    for (line, near) in all.into_iter().zip(near) {
        if near {
            skip(std::mem::take(&mut skipped), &mut kept);
            kept.push(line);
        } else {
            skipped += 1;
        }
    }
    skip(skipped, &mut kept);
    kept
}

fn skip(count: usize, lines: &mut Vec<Line>) {
    if count > 0 {
        lines.push(Line { mark: Mark::Skipped, left: Some(count.to_string()), right: None });
    }
}

/// The code objects of two modules whose instructions differ, side by side, with `context` lines around each change.
#[must_use]
pub fn of_code(left: &Code, right: &Code, context: usize) -> Vec<UnitLines> {
    let (lefts, rights) = (units(left), units(right));
    let listed = |units: &[Unit<'_>]| units.iter().map(Listing::of_unit).collect::<Vec<_>>();
    let (lefts, rights) = (listed(&lefts), listed(&rights));
    let mut found = Vec::new();
    for (one, other) in pairs(&lefts, &rights) {
        let (one, other) = (one.and_then(|at| lefts.get(at)), other.and_then(|at| rights.get(at)));
        let Some(unit) = one.or(other) else { continue };
        let steps = |listing: Option<&'_ Listing>| listing.map_or_else(Vec::new, |listing| listing.steps.clone());
        let lines = side_by_side(&steps(one), &steps(other), context);
        found.push(UnitLines { unit: unit.unit.clone(), differs: true, lines });
    }
    edited(found)
}

/// Those of code objects whose instructions differ; what differs beside them has no lines to show.
#[must_use]
pub fn edited(units: Vec<UnitLines>) -> Vec<UnitLines> {
    units.into_iter().filter(|unit| unit.lines.iter().any(|line| line.mark != Mark::Skipped)).collect()
}

/// The first `most` lines of code objects; what is left out is counted in a last line.
#[must_use]
pub fn cut(units: Vec<UnitLines>, most: usize) -> Vec<UnitLines> {
    let mut left = most;
    let mut kept: Vec<UnitLines> = Vec::new();
    for mut unit in units {
        if left == 0 {
            break;
        }
        let beyond = unit.lines.len().saturating_sub(left);
        unit.lines.truncate(left);
        left -= unit.lines.len();
        skip(beyond, &mut unit.lines);
        kept.push(unit);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edits::tests::of;

    fn marks(lines: &[Line]) -> String {
        let mark = |line: &Line| match line.mark {
            Mark::Same => '=',
            Mark::Changed => '~',
            Mark::Removed => '-',
            Mark::Added => '+',
            Mark::Skipped => '.',
        };
        lines.iter().map(mark).collect()
    }

    #[test]
    fn a_prefix_that_a_side_has_more_is_shown() {
        let (left, right) = (of(&["LOAD_FAST 1", "FOR_ITER to L2"]), of(&["LOAD_FAST 1", "EXTENDED_ARG 1", "FOR_ITER to L7"]));
        assert_eq!(marks(&side_by_side(&left, &right, 9)), "=+=");
    }

    #[test]
    fn what_is_far_from_a_change_is_counted_and_not_shown() {
        let many: Vec<String> = (0..9).map(|n| format!("LOAD_CONST {n}")).collect();
        let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
        let left = of(&names);
        names[4] = "NOP";
        let lines = side_by_side(&left, &of(&names), 1);
        assert_eq!(marks(&lines), ".=~=.");
        assert_eq!((lines[0].left.as_deref(), lines[4].left.as_deref()), (Some("3"), Some("3")));
        assert_eq!(marks(&side_by_side(&left, &left, 3)), ".");
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let line = |n: usize| Line { mark: Mark::Added, left: None, right: Some(n.to_string()) };
        let unit = |lines: usize| UnitLines { unit: String::new(), differs: true, lines: (0..lines).map(line).collect() };
        let kept = cut(vec![unit(3), unit(5), unit(2)], 5);
        assert_eq!(kept.iter().map(|unit| marks(&unit.lines)).collect::<Vec<_>>(), ["+++", "++."]);
        assert_eq!(kept[1].lines[2].left.as_deref(), Some("3"));
    }
}
