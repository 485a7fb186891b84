//! How far a job has come, as counters that executors in this process add to and a progress bar reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the files analysed so far by this process. Attempts count, so after a retry they may run ahead of the landed rows;
/// the run's manifest, not this, is the record.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicU64,
    source_bytes: AtomicU64,
    errors: AtomicU64,
}

/// A reading of [`Progress`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Files whose row has been built.
    pub files: u64,
    /// Bytes of source in them.
    pub source_bytes: u64,
    /// Errors (not warnings) in them.
    pub errors: u64,
}

impl Progress {
    /// Counts one file's row.
    pub fn add_file(&self, source_bytes: u64, errors: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.source_bytes.fetch_add(source_bytes, Ordering::Relaxed);
        self.errors.fetch_add(errors, Ordering::Relaxed);
    }

    /// Counts a bin that an earlier attempt had landed.
    pub fn add_landed(&self, files: u64, source_bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.source_bytes.fetch_add(source_bytes, Ordering::Relaxed);
    }

    /// The counters now.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            files: self.files.load(Ordering::Relaxed),
            source_bytes: self.source_bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}
