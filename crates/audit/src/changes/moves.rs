//! Where new files come from: each from one that is gone and had the same content.

use std::collections::{BTreeMap, VecDeque};

use super::{FileFacts, Name};
use crate::Digest;

/// A file that is in one of two runs only.
type File = (Name, FileFacts);

/// For each new file the place of the gone one that it was, each of which is one new file at most. New files choose in their order, the first that
/// is left, and names that end alike belong together before others do.
pub(super) fn origins(gone: &[File], new: &[File]) -> Vec<Option<usize>> {
    let (mut by_content, mut by_ending) = (BTreeMap::<Digest, VecDeque<usize>>::new(), BTreeMap::<(Digest, &str), VecDeque<usize>>::new());
    for (at, (name, file)) in gone.iter().enumerate() {
        if let Some(source) = file.source {
            by_content.entry(source).or_default().push_back(at);
            by_ending.entry((source, basename(&name.path))).or_default().push_back(at);
        }
    }
    let mut is_taken = vec![false; gone.len()];
    // Whoever is taken stands in two queues, and leaves the other when its turn comes there.
    let mut first_left = |queue: Option<&mut VecDeque<usize>>| {
        let queue = queue?;
        while let Some(at) = queue.pop_front() {
            if let Some(taken @ false) = is_taken.get_mut(at) {
                *taken = true;
                return Some(at);
            }
        }
        None
    };
    let origins = new.iter().map(|(name, file)| {
        let source = file.source?;
        first_left(by_ending.get_mut(&(source, basename(&name.path)))).or_else(|| first_left(by_content.get_mut(&source)))
    });
    origins.collect()
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: String, source: Option<u32>) -> File {
        let digest = |number: u32| {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&number.to_be_bytes());
            digest
        };
        (Name { repo: None, path }, FileFacts { source: source.map(digest), facts: digest(0) })
    }

    /// The definition: one look at all that is left for each new file.
    fn by_definition(gone: &[File], new: &[File]) -> Vec<Option<usize>> {
        let mut left: Vec<usize> = (0..gone.len()).collect();
        let origin = |(name, file): &File| {
            let position = |left: &[usize], alike: bool| {
                left.iter().position(|at| {
                    let (other, before) = &gone[*at];
                    file.source.is_some() && before.source == file.source && (!alike || basename(&other.path) == basename(&name.path))
                })
            };
            position(&left, true).or_else(|| position(&left, false)).map(|at| left.remove(at))
        };
        new.iter().map(origin).collect()
    }

    /// Few contents and few names, so that many files are alike.
    fn files(folder: &'static str) -> impl Strategy<Value = Vec<File>> {
        let some = (prop::option::weighted(0.9, 0..5_u32), 0..4_u32);
        prop::collection::vec(some, 0..40).prop_map(move |files| {
            let named = files.into_iter().enumerate();
            named.map(|(number, (source, name))| file(format!("{folder}/{number}/{name}.py"), source)).collect()
        })
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_the_definition(gone in files("old"), new in files("new")) {
            prop_assert_eq!(origins(&gone, &new), by_definition(&gone, &new));
        }
    }

    /// Hundredths of a second of CPU time that this thread has taken: a machine that does other things makes no test slow.
    fn cpu() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn a_corpus_that_moves_as_a_whole_is_paired_at_once() {
        const FILES: u32 = 100_000;
        let numbered = |folder: &str, number: u32, source: u32| file(format!("{folder}/{number}.py"), Some(source));
        let gone: Vec<_> = (0..FILES).map(|number| numbered("old", number, number)).collect();
        let others: Vec<_> = (0..FILES).map(|number| numbered("new", number, FILES - 1 - number)).collect();
        let alike: Vec<_> = (0..FILES).map(|number| numbered("old", number, 7)).collect();
        let begun = cpu();
        let last = FILES as usize - 1;
        assert!(origins(&gone, &others).into_iter().eq((0..=last).map(|at| Some(last - at))));
        assert!(origins(&alike, &alike).into_iter().eq((0..=last).map(Some)));
        let taken = cpu() - begun;
        assert!(taken < 1_500, "it took {taken} hundredths of a second");
    }
}
