//! Where a CPython 3.13 may be, and which of them is taken.
//!
//! Who names one (`--python`, `BYTEFACTS_PYTHON`) gets that one or an error. Otherwise the first that fits wins:
//! `python3.13`, `python3` and `python` on `PATH`, what `bytefacts python install` installed, then the folders of
//! pyenv, uv, asdf and mise, newest patch release first.
//!
//! pyenv's shims are never run: each starts a shell script that takes a second or more to say which version it stands for, or that there is
//! none. Where one stands on `PATH`, the versions that it may stand for are tried in its place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{collections::BTreeSet, fs};

use crate::environment::{Environment, cache_dir};
use crate::interpreter::{Interpreter, PROBE_LIMIT, ProbeError, probe_within};

/// Name of the variable that names the interpreter.
pub const PYTHON_VAR: &str = "BYTEFACTS_PYTHON";

/// Why no interpreter was found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The one that was asked for does not fit.
    #[error("the Python that {origin} names does not fit: {}: {source}", path.display())]
    Named {
        /// `--python` or `BYTEFACTS_PYTHON`.
        origin: &'static str,
        /// What it names.
        path: PathBuf,
        /// What is wrong with it.
        source: ProbeError,
    },
    /// None of those that were looked at fits.
    #[error("{}", not_found(.tried))]
    NotFound {
        /// Every candidate in the order in which it was tried.
        tried: Vec<Tried>,
    },
}

/// A candidate that did not fit.
#[derive(Debug)]
pub struct Tried {
    /// Where it is, and where that was read.
    pub candidate: Candidate,
    /// Why not.
    pub error: ProbeError,
}

/// A place where an interpreter may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// `PATH`, `bytefacts python install`, `pyenv`, `uv`, `asdf` or `mise`.
    pub origin: &'static str,
    /// The executable.
    pub path: PathBuf,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.origin)
    }
}

/// Finds a CPython 3.13 for this process. `explicit` is what `--python` names.
///
/// # Errors
/// [`DiscoverError::Named`] if the named one does not fit, [`DiscoverError::NotFound`] with all that was tried.
pub async fn discover(explicit: Option<&Path>) -> Result<Interpreter, DiscoverError> {
    discover_in(&Environment::from_process(), explicit).await
}

/// Like [`discover`], in a given environment.
///
/// # Errors
/// As [`discover`].
pub async fn discover_in(environment: &Environment, explicit: Option<&Path>) -> Result<Interpreter, DiscoverError> {
    discover_within(environment, explicit, PROBE_LIMIT).await
}

async fn discover_within(environment: &Environment, explicit: Option<&Path>, limit: Duration) -> Result<Interpreter, DiscoverError> {
    let named = explicit.map(|path| ("--python", path.to_owned())).or_else(|| Some((PYTHON_VAR, environment.path(PYTHON_VAR)?)));
    if let Some((origin, path)) = named {
        let executable = resolve(environment, &path);
        return probe_within(environment, &executable, limit).await.map_err(|source| DiscoverError::Named { origin, path, source });
    }
    let mut tried = Vec::new();
    for candidate in candidates(environment) {
        match probe_within(environment, &candidate.path, limit).await {
            Ok(interpreter) => return Ok(interpreter),
            Err(error) => tried.push(Tried { candidate, error }),
        }
    }
    Err(DiscoverError::NotFound { tried })
}

/// A bare name is looked up on `PATH`, as a shell does; anything else is a path.
fn resolve(environment: &Environment, named: &Path) -> PathBuf {
    let bare = named.components().count() == 1 && !named.is_absolute();
    let on_path = || environment.search_path().into_iter().map(|dir| dir.join(named)).find(|path| is_file(path));
    if bare && !named.exists() { on_path().unwrap_or_else(|| named.to_owned()) } else { named.to_owned() }
}

/// Every place to try, best first, each binary once.
fn candidates(environment: &Environment) -> Vec<Candidate> {
    let mut seen = BTreeSet::new();
    let shims = pyenv_shims(environment);
    let on_path = ["python3.13", "python3", "python"]
        .into_iter()
        .flat_map(|name| environment.search_path().into_iter().map(move |dir| dir.join(name)).collect::<Vec<_>>());
    let on_path = on_path.flat_map(|path| match shims.iter().any(|shims| path.starts_with(shims)) {
        true if is_file(&path) => installed(environment, "pyenv"),
        true => Vec::new(),
        false => vec![Candidate { origin: "PATH", path }],
    });
    let managed = MANAGERS.into_iter().flat_map(|origin| installed(environment, origin));
    on_path
        .chain(managed)
        .filter(|candidate| is_file(&candidate.path))
        .filter(|candidate| seen.insert(fs::canonicalize(&candidate.path).unwrap_or_else(|_| candidate.path.clone())))
        .collect()
}

/// Who keeps a folder a version, in the order in which they are asked.
const MANAGERS: [&str; 5] = ["bytefacts python install", "pyenv", "uv", "asdf", "mise"];

/// The interpreters that one of them has installed, newest first.
fn installed(environment: &Environment, manager: &'static str) -> Vec<Candidate> {
    let folders = managed_folders(environment).into_iter().filter(|(origin, ..)| *origin == manager);
    folders
        .flat_map(|(origin, versions, prefix)| {
            newest_first(&versions, prefix).into_iter().map(move |dir| Candidate { origin, path: dir.join("bin/python3.13") })
        })
        .collect()
}

/// The folder of pyenv's shims, by either way of finding it.
fn pyenv_shims(environment: &Environment) -> Option<PathBuf> {
    let root = environment.path("PYENV_ROOT").or_else(|| environment.home().map(|home| home.join(".pyenv")));
    root.map(|root| root.join("shims"))
}

/// Folders that hold one folder a version: who owns them, where they are, how the names begin.
fn managed_folders(environment: &Environment) -> Vec<(&'static str, PathBuf, &'static str)> {
    let home = |below: &str| environment.home().map(|home| home.join(below));
    let below = |var: &str, rest: &str| environment.path(var).map(|dir| dir.join(rest));
    let data_home = || environment.path("XDG_DATA_HOME").or_else(|| home(".local/share"));
    [
        ("bytefacts python install", cache_dir(environment).map(|dir| dir.join("python")), "cpython-3.13"),
        ("pyenv", below("PYENV_ROOT", "versions").or_else(|| home(".pyenv/versions")), "3.13"),
        ("uv", environment.path("UV_PYTHON_INSTALL_DIR").or_else(|| data_home().map(|dir| dir.join("uv/python"))), "cpython-3.13"),
        ("asdf", below("ASDF_DATA_DIR", "installs/python").or_else(|| home(".asdf/installs/python")), "3.13"),
        ("mise", below("MISE_DATA_DIR", "installs/python").or_else(|| data_home().map(|dir| dir.join("mise/installs/python"))), "3.13"),
    ]
    .into_iter()
    .filter_map(|(origin, folder, prefix)| Some((origin, folder?, prefix)))
    .collect()
}

/// The folders in `versions` whose names are `prefix` or continue it after a `.`, `-` or letter, newest patch release
/// first; among equals finals first.
fn newest_first(versions: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(versions) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((patch_release(entry.file_name().to_str()?.strip_prefix(prefix)?)?, entry.path())))
        .collect();
    found.sort_by(|(left, left_path), (right, right_path)| right.cmp(left).then_with(|| left_path.cmp(right_path)));
    found.into_iter().map(|(_, path)| path).collect()
}

/// `.7-linux` → (7, final), `.0rc1` → (0, not final), `-linux` (a link to some patch) → the oldest; `0` (as in 3.130) →
/// none.
fn patch_release(rest: &str) -> Option<(u32, bool)> {
    let Some(patch) = rest.strip_prefix('.') else {
        return (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some((0, false));
    };
    let digits = patch.len() - patch.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, suffix) = patch.split_at(digits);
    Some((number.parse().ok()?, suffix.is_empty() || suffix.starts_with(['-', '+'])))
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn not_found(tried: &[Tried]) -> String {
    let mut text = "no CPython 3.13 found; tried:\n".to_owned();
    if tried.is_empty() {
        text.push_str("  nothing: there is no Python on PATH and none of pyenv, uv, asdf or mise\n");
    }
    for Tried { candidate, error } in tried {
        text.push_str(&format!("  {candidate}: {error}\n"));
    }
    text.push_str(
        "to get one: run `bytefacts python install`, `pyenv install 3.13` or `uv python install 3.13`;\n\
         to use one that is elsewhere: `--python PATH` or BYTEFACTS_PYTHON=PATH",
    );
    text
}

#[cfg(test)]
mod tests;
