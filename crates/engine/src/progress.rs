//! How far a process has come, as counters that its executors add to, and that progress bars and metrics read.

use std::sync::{Mutex, PoisonError};

use bytefacts_landing::BinStats;

use crate::metrics::{FileMetrics, StageCounts};

/// Counters since the start of this process. Attempts count, so after a retry they may run ahead of the landed rows; the run's manifest, not
/// this, is the record.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Reading>);

/// A reading of [`Progress`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Files whose row has been built, or found landed.
    pub files: u64,
    /// Bytes of source in them.
    pub source_bytes: u64,
    /// Errors (not warnings) in them.
    pub errors: StageCounts,
    /// Units in the files that were analysed here.
    pub units: u64,
    /// Instructions in the files that were analysed here.
    pub instructions: u64,
    /// CPU microseconds that compile workers spent on them.
    pub compile_cpu_us: u64,
    /// Microseconds spent on decoding, analysis and rows.
    pub analyse_us: u64,
    /// Files whose compiled code came from the cache.
    pub cache_hits: u64,
    /// Files that were compiled.
    pub cache_misses: u64,
    /// Bins landed here.
    pub bins: u64,
    /// Bytes of Parquet landed here.
    pub landed_bytes: u64,
}

impl Progress {
    /// Counts one file's row.
    pub(crate) fn add_file(&self, file: &FileMetrics, errors: &StageCounts) {
        self.change(|now| {
            now.files += 1;
            now.source_bytes += file.source_bytes;
            now.units += file.units;
            now.instructions += file.instructions;
            now.compile_cpu_us += file.compile_cpu_us;
            now.analyse_us += file.analyse_us;
            *(if file.cache_hit { &mut now.cache_hits } else { &mut now.cache_misses }) += 1;
            for (stage, count) in errors {
                *now.errors.entry(stage.clone()).or_default() += count;
            }
        });
    }

    /// Counts the files of a bin that somebody else has landed.
    pub fn add_landed(&self, files: u64, source_bytes: u64) {
        self.change(|now| {
            now.files += files;
            now.source_bytes += source_bytes;
        });
    }

    /// Counts a bin that an executor elsewhere has landed.
    pub fn add_record(&self, stats: &BinStats) {
        self.change(|now| {
            now.files += stats.files;
            now.source_bytes += stats.source_bytes;
            for error in stats.errors.iter().filter(|error| error.severity == "error") {
                *now.errors.entry(error.stage.clone()).or_default() += error.count;
            }
        });
    }

    /// Counts a bin landed here, with its bytes of Parquet.
    pub(crate) fn add_bin(&self, bytes: u64) {
        self.change(|now| {
            now.bins += 1;
            now.landed_bytes += bytes;
        });
    }

    /// The counters now.
    #[must_use]
    pub fn read(&self) -> Reading {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reading {
    /// Errors of all stages.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }
}
