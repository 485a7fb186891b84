//! Finds the CPython 3.13 that judges.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Python 3.13, from `BYTEFACTS_PYTHON`, `PATH`, or the folders of pyenv, uv and asdf.
///
/// Panics with a list of what was tried if there is none: without a judge these tests prove nothing.
pub fn find() -> PathBuf {
    if let Some(chosen) = env::var_os("BYTEFACTS_PYTHON") {
        let chosen = PathBuf::from(chosen);
        assert!(is_cpython_3_13(&chosen), "BYTEFACTS_PYTHON={} is no CPython 3.13", chosen.display());
        return chosen;
    }
    let tried = candidates();
    let found = tried.iter().find(|candidate| is_cpython_3_13(candidate));
    found.cloned().unwrap_or_else(|| panic!("no CPython 3.13: set BYTEFACTS_PYTHON to one (tried {tried:?})"))
}

/// A run of a script of this crate that no setting of the user's Python changes.
pub fn script(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-S", "-X", "utf8"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command
}

fn candidates() -> Vec<PathBuf> {
    let mut candidates = vec![PathBuf::from("python3.13"), PathBuf::from("python3"), PathBuf::from("python")];
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let folder = |variable: &str, default: &str| env::var_os(variable).map_or_else(|| home.join(default), PathBuf::from);
    let pyenv = folder("PYENV_ROOT", ".pyenv").join("versions");
    let uv = folder("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python");
    let asdf = folder("ASDF_DATA_DIR", ".asdf").join("installs/python");
    for (versions, prefix) in [(pyenv, "3.13"), (uv, "cpython-3.13"), (asdf, "3.13")] {
        let mut found: Vec<_> = versions.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(prefix)));
        found.sort();
        candidates.extend(found.into_iter().map(|version| version.join("bin/python3.13")));
    }
    candidates
}

fn is_cpython_3_13(python: &Path) -> bool {
    let question = "import sys; print(sys.implementation.name, *sys.version_info[:2], sys.version_info.releaselevel)";
    let answer = Command::new(python).args(["-I", "-S", "-c", question]).stderr(Stdio::null()).output();
    answer.is_ok_and(|output| output.stdout.trim_ascii() == b"cpython 3 13 final")
}
