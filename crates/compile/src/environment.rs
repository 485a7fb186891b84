//! What this crate reads from the process's surroundings, as a value: tests inject their own, nothing else looks at the
//! process.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Name of the variable that overrides the cache folder.
pub const CACHE_DIR_VAR: &str = "BYTEFACTS_CACHE_DIR";

/// A snapshot of environment variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn from_process() -> Self {
        env::vars_os().collect()
    }

    /// The value of `name`; an empty value counts as unset, as shells' users expect.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Like [`Environment::var`], as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from)
    }

    /// The user's home folder (`HOME`).
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// The absolute folders of `PATH`, in order. Relative ones are left out: what they name depends on where one stands.
    #[must_use]
    pub fn search_path(&self) -> Vec<PathBuf> {
        self.var("PATH").map(|path| env::split_paths(path).filter(|dir| dir.is_absolute()).collect()).unwrap_or_default()
    }

    /// All variables, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(vars: I) -> Self {
        Self { vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// The folder for what `bytefacts` may lose at any time: `$BYTEFACTS_CACHE_DIR`, else `$XDG_CACHE_HOME/bytefacts`, else
/// `~/.cache/bytefacts` (macOS: `~/Library/Caches/bytefacts`). `None` if the environment names none of them. Nothing is
/// created.
#[must_use]
pub fn cache_dir(environment: &Environment) -> Option<PathBuf> {
    let per_user = if cfg!(target_os = "macos") { Path::new("Library/Caches") } else { Path::new(".cache") };
    environment
        .path(CACHE_DIR_VAR)
        .or_else(|| environment.path("XDG_CACHE_HOME").filter(|dir| dir.is_absolute()).map(|dir| dir.join("bytefacts")))
        .or_else(|| environment.home().map(|home| home.join(per_user).join("bytefacts")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variable_wins_over_xdg_and_home() {
        let environment: Environment = [("BYTEFACTS_CACHE_DIR", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")].into_iter().collect();
        assert_eq!(cache_dir(&environment), Some(PathBuf::from("/c")));
    }

    #[test]
    fn xdg_wins_over_home_unless_it_is_relative_or_empty() {
        let with = |xdg: &str| [("XDG_CACHE_HOME", xdg), ("HOME", "/h")].into_iter().collect::<Environment>();
        let home = PathBuf::from(if cfg!(target_os = "macos") { "/h/Library/Caches/bytefacts" } else { "/h/.cache/bytefacts" });
        assert_eq!(cache_dir(&with("/x")), Some(PathBuf::from("/x/bytefacts")));
        assert_eq!(cache_dir(&with("x")), Some(home.clone()));
        assert_eq!(cache_dir(&with("")), Some(home));
    }

    #[test]
    fn without_a_home_there_is_no_cache() {
        assert_eq!(cache_dir(&Environment::default()), None);
    }

    #[test]
    fn search_path_keeps_the_order_and_drops_relative_folders() {
        let environment: Environment = [("PATH", "/b::bin:/a:.")].into_iter().collect();
        assert_eq!(environment.search_path(), [PathBuf::from("/b"), PathBuf::from("/a")]);
    }
}
