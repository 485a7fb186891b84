//! Which files of a corpus are taken: `include`, `exclude` and `.gitignore`, as ruff has them.
//!
//! A pattern without a slash is matched with the name of every file and folder, wherever it is; one with a slash with the whole path below the
//! corpus, where `**` stands for any folders. What is inside a folder that is left out is left out with it.
//!
//! Ruff leaves out folders named `venv`. We do not, since the standard library has a package of that name: a virtual environment is a folder with a
//! `pyvenv.cfg` in it, whatever it is called, on a disk and in an object store alike.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern};

/// What is taken unless told otherwise: what CPython takes for source.
pub const INCLUDE: [&str; 2] = ["*.py", "*.pyw"];

/// What is left out unless told otherwise: what ruff leaves out, but for `venv`.
pub const EXCLUDE: [&str; 24] = [
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".git-rewrite",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".nox",
    ".pants.d",
    ".pyenv",
    ".pytest_cache",
    ".pytype",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "__pypackages__",
    "_build",
    "buck-out",
    "dist",
    "node_modules",
    "site-packages",
];

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} is no glob pattern: {reason}")]
pub struct SelectionError {
    /// The pattern.
    pattern: String,
    /// What is wrong with it.
    reason: String,
}

/// Which files of a corpus are taken. The default takes none.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Patterns,
    exclude: Patterns,
    pub(crate) environments: bool,
    pub(crate) gitignore: bool,
}

impl Selection {
    /// Takes files that match a pattern of `include`, and leaves out files and folders that match one of `exclude`; folders named `.git` always:
    /// they hold objects, and hooks that no one imports.
    ///
    /// # Errors
    /// If a pattern is none.
    pub fn new<'a>(include: impl IntoIterator<Item = &'a str>, exclude: impl IntoIterator<Item = &'a str>) -> Result<Self, SelectionError> {
        let (include, exclude) = (Patterns::new(include)?, Patterns::new(exclude)?);
        Ok(Self { include, exclude, environments: false, gitignore: false })
    }

    /// Takes virtual environments too, if `take`.
    #[must_use]
    pub fn environments(mut self, take: bool) -> Self {
        self.environments = take;
        self
    }

    /// Leaves out what the `.gitignore` files of the corpus name, if `respect`. Those above the corpus, and git's own settings, do not count.
    #[must_use]
    pub fn gitignore(mut self, respect: bool) -> Self {
        self.gitignore = respect;
        self
    }

    /// Whether the file at `path` below the corpus is of a kind that is taken.
    pub(crate) fn includes(&self, path: &str) -> bool {
        self.include.matches(path)
    }

    /// Whether the file or folder at `path` below the corpus is left out. Of the folders above it nothing is said.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        name_of(path) == ".git" || self.exclude.matches(path)
    }
}

/// How patterns match, here and in `.gitignore` files: `*` and `?` stand for anything within a name.
pub(crate) const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[derive(Clone, Debug, Default)]
struct Patterns {
    /// Most are names as they are.
    literal: BTreeSet<String>,
    names: Vec<Pattern>,
    paths: Vec<Pattern>,
}

impl Patterns {
    fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, SelectionError> {
        let mut all = Self::default();
        for pattern in patterns {
            let failed = |reason: &str| SelectionError { pattern: pattern.to_owned(), reason: reason.to_owned() };
            let below = pattern.strip_prefix("./").unwrap_or(pattern);
            let whole = below.strip_suffix('/').unwrap_or(below);
            let glob = whole.strip_prefix('/').unwrap_or(whole);
            if glob.is_empty() {
                return Err(failed("it names nothing"));
            }
            if glob.starts_with('!') || glob.contains(['{', '\\']) {
                return Err(failed("`!` in front, braces and backslashes have no meaning here; write [!], [{] or several patterns"));
            }
            let compiled = Pattern::new(glob).map_err(|error| failed(error.msg))?;
            if whole.contains('/') {
                all.paths.push(compiled);
            } else if glob.contains(['*', '?', '[']) {
                all.names.push(compiled);
            } else {
                all.literal.insert(glob.to_owned());
            }
        }
        Ok(all)
    }

    fn matches(&self, path: &str) -> bool {
        let name = name_of(path);
        self.literal.contains(name)
            || self.names.iter().any(|glob| glob.matches_with(name, MATCHING))
            || self.paths.iter().any(|glob| glob.matches_with(path, MATCHING))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn default() -> Selection {
        Selection::new(INCLUDE, EXCLUDE).unwrap()
    }

    pub(crate) fn excluding<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Selection {
        Selection::new(INCLUDE, patterns).unwrap()
    }

    #[test]
    fn a_bare_name_matches_anywhere() {
        let selection = excluding(["tests", "conf*.py", "./docs/"]);
        for path in ["tests", "a/tests", "a/b/tests", "conf.py", "a/config.py", "docs", "a/docs", ".git", "a/.git"] {
            assert!(selection.excludes(path), "{path}");
        }
        for path in ["tests2", "a/mytests", "a/tests/x.py", "reconf.py", "gitignore", "a.git"] {
            assert!(!selection.excludes(path), "{path}");
        }
    }

    #[test]
    fn a_pattern_with_a_slash_is_a_path_below_the_corpus() {
        let selection = excluding(["a/tests", "**/generated/*.py", "/setup.py", "**/vendor/**"]);
        for path in ["a/tests", "b/generated/x.py", "b/c/generated/x.py", "generated/x.py", "setup.py", "a/vendor/x", "vendor/x"] {
            assert!(selection.excludes(path), "{path}");
        }
        for path in ["tests", "b/a/tests", "generated/d/x.py", "b/setup.py"] {
            assert!(!selection.excludes(path), "{path}");
        }
    }

    #[test]
    fn what_cpython_takes_for_source_is_included() {
        for path in ["a.py", "a/b.pyw", ".py", "a/new\nline.py"] {
            assert!(default().includes(path), "{path:?}");
        }
        for path in ["a.pyc", "a.pyi", "py", "a.py/b", "a.PY"] {
            assert!(!default().includes(path), "{path:?}");
        }
        let stubs = Selection::new(["*.pyi", "src/**"], []).unwrap();
        assert!(stubs.includes("a/b.pyi") && stubs.includes("src/run") && !stubs.includes("a.py"));
    }

    /// The package `venv` of the standard library is no virtual environment.
    #[test]
    fn the_name_venv_leaves_nothing_out() {
        assert!(!default().excludes("venv") && default().excludes(".venv") && default().excludes("a/site-packages"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        for bad in ["a[", "a{b,c}", "!a", "a**b", "", "/"] {
            let error = Selection::new(INCLUDE, ["ok", bad]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{bad:?} is no glob pattern: ")), "{error}");
        }
    }
}
