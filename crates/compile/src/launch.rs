//! How a CPython is started so that nothing around it can change what it does.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::settings::WorkerSettings;

/// A command that runs `script` with `arguments` in isolation: no environment but ours, no site packages, no user
/// folder, no unsafe path, nothing written to disk, UTF-8 everywhere, in the root folder; `settings` are what an audit varies of it.
///
/// This is CPython's `-I` spelled out (`-s -P`), because `-I` also ignores `PYTHONHASHSEED`, which must be fixed.
pub(crate) fn isolated(executable: &Path, settings: &WorkerSettings, script: &str, arguments: impl IntoIterator<Item = String>) -> Command {
    let mut command = Command::new(executable);
    command
        .args(["-s", "-P", "-S", "-B", "-X", "utf8", "-c", script])
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONHASHSEED", settings.hash_seed.map_or_else(|| "random".to_owned(), |seed| seed.to_string()))
        // One heap for all threads: a second one reserves address space that the memory limit would count.
        .env("MALLOC_ARENA_MAX", "1")
        .envs(&settings.environment)
        .current_dir(&settings.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
