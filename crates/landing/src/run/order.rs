//! One order out of pieces that overlap.

use std::collections::BTreeMap;

use crate::names::FileName;

/// Brings what comes in pieces, each sorted by name and the pieces by their first names, into one order, and holds no more than
/// overlaps. A bin of one huge file stands amid the files of another bin, so that pieces do overlap.
#[derive(Debug)]
pub struct InOrder<T> {
    waiting: BTreeMap<FileName, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// Takes something in. What has the same name and is still here comes back.
    pub fn insert(&mut self, name: FileName, value: T) -> Option<T> {
        self.waiting.insert(name, value)
    }

    /// What stands before `limit`, the first name of the next piece, one by one; without a limit all that is left.
    pub fn before<'a>(&'a mut self, limit: Option<&'a FileName>) -> impl Iterator<Item = (FileName, T)> + 'a {
        std::iter::from_fn(move || {
            let next = self.waiting.first_entry()?;
            if limit.is_some_and(|limit| next.key() >= limit) {
                return None;
            }
            Some(next.remove_entry())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> FileName {
        FileName::new(Some("r"), path)
    }

    #[test]
    fn overlapping_pieces_come_out_in_one_order() {
        let pieces: [&[&str]; 4] = [&["a", "c", "e"], &["b"], &["d"], &["f", "g"]];
        let mut order = InOrder::default();
        let mut seen = Vec::new();
        for piece in pieces {
            seen.extend(order.before(Some(&name(piece[0]))).map(|(name, ())| name.path));
            for path in piece {
                assert_eq!(order.insert(name(path), ()), None);
            }
        }
        seen.extend(order.before(None).map(|(name, ())| name.path));
        assert_eq!(seen.concat(), "abcdefg");
    }

    #[test]
    fn a_name_that_comes_twice_is_noticed() {
        let mut order = InOrder::default();
        assert_eq!(order.insert(name("a"), 1), None);
        assert_eq!(order.insert(name("a"), 2), Some(1));
    }
}
