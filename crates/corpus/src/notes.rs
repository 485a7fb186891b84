//! What a listing has to say beside its entries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a listing left out, or could not look into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Symbolic links to folders: not followed.
    pub linked_folders: Tally,
    /// Folders that the corpus was told to leave out, and those named `.git`.
    pub excluded_folders: Tally,
    /// Files that would have been taken, had the corpus not been told to leave them out.
    pub excluded_files: Tally,
    /// Virtual environments: folders with a `pyvenv.cfg`.
    pub environments: Tally,
    /// Files that would have been taken, and folders, that a `.gitignore` names.
    pub ignored: Tally,
    /// Folders that could not be listed: each is an entry whose reading fails.
    pub unreadable_folders: Tally,
    /// Files of another kind than is taken.
    pub other_files: u64,
}

impl Notes {
    /// Whether the listing saw nothing at all beside the entries.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            (self.other_files, "other files"),
            (self.excluded_folders.count, "excluded folders"),
            (self.excluded_files.count, "excluded files"),
            (self.environments.count, "virtual environments"),
            (self.ignored.count, "files and folders named by .gitignore"),
            (self.linked_folders.count, "symbolic links to folders, not followed"),
            (self.unreadable_folders.count, "unreadable folders"),
        ];
        let seen = figures.iter().filter(|(count, _)| *count > 0);
        let texts: Vec<_> = seen.map(|(count, what)| format!("{count} {what}")).collect();
        if texts.is_empty() { f.write_str("nothing") } else { f.write_str(&texts.join(", ")) }
    }
}

/// A count with the first few examples in sort order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many there are.
    pub count: u64,
    /// Paths below the corpus, sorted; at most ten.
    pub examples: Vec<String>,
}

impl Tally {
    const EXAMPLES: usize = 10;

    pub(crate) fn add(&mut self, path: String) {
        self.count += 1;
        // Which ones are kept must not depend on the order of the listing.
        let at = self.examples.partition_point(|seen| *seen < path);
        if at < Self::EXAMPLES {
            self.examples.insert(at, path);
            self.examples.truncate(Self::EXAMPLES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_do_not_depend_on_the_order_of_the_listing() {
        let (mut up, mut down) = (Tally::default(), Tally::default());
        for i in 0..20 {
            up.add(format!("{i:02}"));
            down.add(format!("{:02}", 19 - i));
        }
        assert_eq!(up, down);
        assert_eq!((up.count, up.examples.len()), (20, Tally::EXAMPLES));
    }

    #[test]
    fn notes_read_as_a_sentence() {
        assert_eq!(Notes::default().to_string(), "nothing");
        let notes = Notes { other_files: 3, ..Notes::default() };
        assert_eq!(notes.to_string(), "3 other files");
    }
}
