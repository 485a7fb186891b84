//! One unit of work, and how it belongs to a repository.

use serde::{Deserialize, Serialize};

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
}
