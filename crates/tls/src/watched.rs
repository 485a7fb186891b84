//! Files that are read again when they have changed: users, certificates.
//!
//! Files that cannot be read any more, or say what is wrong, change nothing: what was read before stays, and the log says why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// When and how large a file was, and which.
type Stamp = (Option<SystemTime>, u64, u64);

/// How files are read.
type Read<T> = Box<dyn Fn(&[PathBuf]) -> Result<T, String> + Send + Sync>;

/// What was read of files.
pub struct Watched<T> {
    files: Vec<PathBuf>,
    read: Read<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    looked: Instant,
    stamps: Vec<Stamp>,
    value: Arc<T>,
}

impl<T> Watched<T> {
    /// Reads files for the first time.
    ///
    /// # Errors
    /// In words, when they cannot be read or say what is wrong.
    pub fn new(files: Vec<PathBuf>, read: impl Fn(&[PathBuf]) -> Result<T, String> + Send + Sync + 'static) -> Result<Self, String> {
        let stamps = stamps(&files)?;
        let state = State { looked: Instant::now(), stamps, value: Arc::new(read(&files)?) };
        Ok(Self { files, read: Box::new(read), state: Mutex::new(state) })
    }

    /// What they say now, or have said a moment ago.
    pub fn now(&self) -> Arc<T> {
        let mut state = self.lock();
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let found = stamps(&self.files);
            if found.as_ref() != Ok(&state.stamps) {
                match found.and_then(|found| Ok((found, (self.read)(&self.files)?))) {
                    Ok((found, value)) => {
                        tracing::info!(files = ?self.files, "changed files were read again");
                        state.stamps = found;
                        state.value = Arc::new(value);
                    }
                    Err(error) => tracing::error!(files = ?self.files, error, "changed files cannot be used: what was read before stays"),
                }
            }
        }
        Arc::clone(&state.value)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if the time between two looks were over.
    pub fn look_again(&self) {
        if let Some(before) = Instant::now().checked_sub(LOOK * 2) {
            self.lock().looked = before;
        }
    }
}

fn stamps(files: &[PathBuf]) -> Result<Vec<Stamp>, String> {
    files.iter().map(|file| stamp(file).map_err(|error| format!("{}: {error}", file.display()))).collect()
}

fn stamp(file: &Path) -> std::io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(file)?;
    Ok((found.modified().ok(), found.len(), found.ino()))
}
