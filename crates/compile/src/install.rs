//! A CPython 3.13 of our own in the cache folder, for machines that have none.
//!
//! The build is one of python-build-standalone, pinned by checksum, so that it does not matter which mirror it comes
//! from. Linux and macOS on x86-64 and Arm; Windows is not supported.

mod download;
mod release;
mod unpack;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::environment::{Environment, cache_dir};
use crate::interpreter::{Interpreter, ProbeError, probe};
use release::{Archive, Release, host_target};

/// Name of the variable that names the mirror.
pub const MIRROR_VAR: &str = "BYTEFACTS_PYTHON_MIRROR";
/// Where the builds are published. A mirror has the same files below its own address.
pub const DEFAULT_MIRROR: &str = "https://github.com/astral-sh/python-build-standalone/releases/download";

const NO_NETWORK: &str = "without a way there, name a copy of the releases with `--mirror URL` or BYTEFACTS_PYTHON_MIRROR (https, http or file), \
                          or a CPython 3.13 that is already there with `--python PATH`";

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No build is pinned for this machine.
    #[error(
        "there is no pinned CPython for {target}: Linux and macOS on x86-64 and Arm are supported, Windows is not; name one with `--python PATH`"
    )]
    Platform {
        /// The machine.
        target: String,
    },
    /// The environment names no place for a cache.
    #[error("no folder to install to: neither BYTEFACTS_CACHE_DIR nor XDG_CACHE_HOME nor HOME is set")]
    NoCacheDir,
    /// The mirror's address cannot be used.
    #[error("cannot use the mirror address {url}: {reason}")]
    Mirror {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be reached or broke off.
    #[error("cannot download {url}: {}; {NO_NETWORK}", causes(.source))]
    Network {
        /// The address.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The server answered and refused.
    #[error("cannot download {url}: the server answered {status}; {NO_NETWORK}")]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The bytes are not those that were pinned.
    #[error("{url} is not the pinned archive: its SHA-256 is {found}, but {expected} is expected; nothing of it was used")]
    Checksum {
        /// The address.
        url: String,
        /// Pinned SHA-256, lower hex.
        expected: String,
        /// SHA-256 of what came, lower hex.
        found: String,
    },
    /// The archive cannot be unpacked.
    #[error("cannot unpack the archive: {0}")]
    Unpack(#[source] io::Error),
    /// The installed interpreter does not fit.
    #[error("the installed interpreter does not work here: {0}")]
    Unfit(#[source] ProbeError),
    /// A file operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The data file of pins is broken.
    #[error("the list of pinned builds is malformed: {0}")]
    Pins(#[from] serde_json::Error),
}

impl InstallError {
    fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source }
    }
}

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes are coming in.
    Download {
        /// Bytes so far; it starts again when an attempt fails.
        received: u64,
        /// Bytes of the whole archive, if the mirror says.
        total: Option<u64>,
    },
    /// The archive is right and is being unpacked.
    Unpack,
    /// The interpreter is being tried.
    Check,
}

/// A finished installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The interpreter, ready for use.
    pub interpreter: Interpreter,
    /// The folder that holds it.
    pub folder: PathBuf,
    /// Whether it was there before.
    pub was_there: bool,
}

/// Installs the pinned CPython 3.13 into the cache folder of `environment`, where [`discover`](crate::discover) finds
/// it; does nothing if it is there.
///
/// It comes from `mirror`, else from the one that `BYTEFACTS_PYTHON_MIRROR` names, else from [`DEFAULT_MIRROR`]. It
/// appears whole or not at all, also when this is interrupted or runs twice at once.
///
/// # Errors
/// [`InstallError`]; nothing is left behind then.
pub async fn install(
    environment: &Environment,
    mirror: Option<&str>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Installed, InstallError> {
    const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
    let release = Release::pinned()?;
    let target = host_target();
    let archive = release.archive_for(&target).ok_or(InstallError::Platform { target })?;
    install_archive(environment, &release, archive, mirror, &PAUSES, progress).await
}

async fn install_archive(
    environment: &Environment,
    release: &Release,
    archive: &Archive,
    mirror: Option<&str>,
    pauses: &[Duration],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Installed, InstallError> {
    let parent = cache_dir(environment).ok_or(InstallError::NoCacheDir)?.join("python");
    let folder = parent.join(release.folder(archive));
    if let Ok(interpreter) = probe(environment, &executable(&folder)).await {
        return Ok(Installed { interpreter, folder, was_there: true });
    }
    fs::create_dir_all(&parent).map_err(|source| InstallError::io("create", &parent, source))?;
    sweep(&parent);
    let partial = partial_dir(&parent)?;
    let configured = environment.var(MIRROR_VAR).and_then(|value| value.to_str());
    let mirror = mirror.or(configured).unwrap_or(DEFAULT_MIRROR);

    let packed = partial.path().join("archive.tar.gz");
    download::download(mirror, archive, &packed, pauses, progress).await?;
    progress(Progress::Unpack);
    let into = partial.path().join("unpacked");
    fs::create_dir(&into).map_err(|source| InstallError::io("create", &into, source))?;
    let unpacked = into.join("python");
    let unpack = spawn_blocking(move || unpack::unpack(&packed, &into)).await;
    unpack.map_err(io::Error::other).and_then(|done| done).map_err(InstallError::Unpack)?;
    progress(Progress::Check);
    probe(environment, &executable(&unpacked)).await.map_err(InstallError::Unfit)?;
    put_in_place(environment, &unpacked, &folder, partial.path()).await?;
    let interpreter = probe(environment, &executable(&folder)).await.map_err(InstallError::Unfit)?;
    Ok(Installed { interpreter, folder, was_there: false })
}

fn executable(folder: &Path) -> PathBuf {
    folder.join("bin/python3.13")
}

/// Makes `unpacked` appear as `folder` in one step. If something stands there already, it is either broken or what
/// another process put there just now.
async fn put_in_place(environment: &Environment, unpacked: &Path, folder: &Path, partial: &Path) -> Result<(), InstallError> {
    if fs::rename(unpacked, folder).is_ok() || probe(environment, &executable(folder)).await.is_ok() {
        return Ok(());
    }
    if folder.exists() {
        fs::rename(folder, partial.join("broken")).map_err(|source| InstallError::io("replace", folder, source))?;
    }
    fs::rename(unpacked, folder).map_err(|source| InstallError::io("create", folder, source))
}

const PARTIAL: &str = ".partial-";

fn partial_dir(parent: &Path) -> Result<TempDir, InstallError> {
    tempfile::Builder::new().prefix(PARTIAL).tempdir_in(parent).map_err(|source| InstallError::io("create a folder in", parent, source))
}

/// Removes what killed installations left: a living one does not take a day.
fn sweep(parent: &Path) {
    const OLD: Duration = Duration::from_secs(24 * 3600);
    let is_old = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        modified.is_some_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > OLD))
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) && is_old(&entry) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// An error with all that caused it: reqwest's own message names the address only.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[cfg(test)]
mod tests;
