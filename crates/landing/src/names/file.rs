//! The name of a source file in a corpus.

use serde::{Deserialize, Serialize};

/// A repository and a path in it. Names sort by repository, none first, then by path, both as bytes: as rows, data files,
/// bins and digests do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "(Option<String>, String)", from = "(Option<String>, String)")]
pub struct FileName {
    /// The repository, null for files without one.
    pub repo: Option<String>,
    /// Path inside the repository, `/`-separated.
    pub path: String,
}

impl FileName {
    /// A name of these parts.
    pub fn new(repo: Option<&str>, path: &str) -> Self {
        Self { repo: repo.map(str::to_owned), path: path.to_owned() }
    }

    /// Its parts, which sort as it does.
    pub fn parts(&self) -> (Option<&str>, &str) {
        (self.repo.as_deref(), &self.path)
    }
}

impl From<(Option<String>, String)> for FileName {
    fn from((repo, path): (Option<String>, String)) -> Self {
        Self { repo, path }
    }
}

impl From<FileName> for (Option<String>, String) {
    fn from(name: FileName) -> Self {
        (name.repo, name.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_repository_and_path_and_are_a_pair_in_json() {
        let mut names =
            [(Some("a-b"), "x"), (Some("a"), "y"), (None, "z"), (Some("a"), "x/y")].map(|(repo, path)| FileName::new(repo, path));
        names.sort();
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"[[null,"z"],["a","x/y"],["a","y"],["a-b","x"]]"#);
        assert_eq!(serde_json::from_str::<FileName>(r#"[null,"z"]"#).unwrap(), names[0]);
    }
}
