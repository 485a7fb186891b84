//! What a corpus holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ListError;
use crate::sort::Sorted;

/// How the files of a corpus belong to repositories.
///
/// Archives and Parquet tables will be further forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Form {
    /// Each first-level folder is a repository; files beside them belong to none.
    #[default]
    Tree,
    /// The whole tree is one repository of this name.
    Repository(String),
}

/// One unit of work: a file, or a folder that could not be listed (its path ends in `/`).
///
/// Entries sort by repository, null first, then by path, as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The repository, null for files without one.
    pub repo: Option<String>,
    /// Path inside the repository, `/`-separated.
    pub path: String,
    /// Size when listed, in bytes; 0 where it could not be found out.
    pub size: u64,
}

/// What a corpus holds. Large ones are kept in temporary files; they go with the last clone.
#[derive(Clone, Debug)]
pub struct Inventory {
    sorted: Sorted,
    /// What is not among the entries, and why.
    pub notes: Notes,
}

impl Inventory {
    pub(crate) fn new(sorted: Sorted, notes: Notes) -> Self {
        Self { sorted, notes }
    }

    /// How many entries there are.
    pub fn files(&self) -> u64 {
        self.sorted.files
    }

    /// Bytes over all entries, as listed.
    pub fn bytes(&self) -> u64 {
        self.sorted.bytes
    }

    /// Predicted CPU time of all entries, in microseconds: what [`crate::pack`] wants to know beforehand.
    pub fn cost_us(&self) -> u64 {
        self.sorted.cost_us
    }

    /// The entries, sorted, each name once, from the first one on. Blocks on the disk if there are many.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, ListError>> + Send + 'static, ListError> {
        let entries = self.sorted.entries().map_err(ListError::sorting)?;
        Ok(entries.map(|entry| entry.map_err(ListError::sorting)))
    }
}

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
    fn files_without_a_repository_come_first() {
        let entry = |repo: Option<&str>, path: &str| Entry { repo: repo.map(str::to_owned), path: path.to_owned(), size: 0 };
        let mut entries =
            [entry(Some("b"), "a.py"), entry(Some("a"), "z.py"), entry(None, "z.py"), entry(Some("a"), "a/b.py"), entry(Some("a"), "a.py")];
        entries.sort();
        let order: Vec<_> = entries.iter().map(|e| (e.repo.as_deref(), e.path.as_str())).collect();
        assert_eq!(order, [(None, "z.py"), (Some("a"), "a.py"), (Some("a"), "a/b.py"), (Some("a"), "z.py"), (Some("b"), "a.py")]);
    }

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
