//! How far a process has come, as counters that its executors add to, and that progress bars and metrics read.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    /// Bins under a condition of an audit that were derived and put on record here.
    pub audited: u64,
    /// Bytes of Parquet landed here.
    pub landed_bytes: u64,
    /// Bins landed here by what they took: up to each of [`BIN_SECONDS`], and longer than all.
    pub bin_seconds: [u64; BIN_SECONDS.len() + 1],
    /// Microseconds that they took in all.
    pub bin_us: u64,
}

/// Seconds by which it is told how long bins take.
pub const BIN_SECONDS: [f64; 9] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

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

    /// Counts the files of a bin that somebody else has landed. Records are anybody's: what they say beyond all numbers fails the commit, not this.
    pub fn add_landed(&self, files: u64, source_bytes: u64) {
        self.change(|now| {
            now.files = now.files.saturating_add(files);
            now.source_bytes = now.source_bytes.saturating_add(source_bytes);
        });
    }

    /// Counts a bin that an executor elsewhere has landed.
    pub fn add_record(&self, stats: &BinStats) {
        self.change(|now| {
            now.files = now.files.saturating_add(stats.files);
            now.source_bytes = now.source_bytes.saturating_add(stats.source_bytes);
            for error in stats.errors.iter().filter(|error| error.severity == "error") {
                let count = now.errors.entry(error.stage.clone()).or_default();
                *count = count.saturating_add(error.count);
            }
        });
    }

    /// Counts a bin landed here, with its bytes of Parquet and what it took.
    pub(crate) fn add_bin(&self, bytes: u64, took: Duration) {
        let longer_than = BIN_SECONDS.iter().take_while(|bound| took.as_secs_f64() > **bound).count();
        self.change(|now| {
            now.bins += 1;
            now.landed_bytes += bytes;
            now.bin_us += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            if let Some(count) = now.bin_seconds.get_mut(longer_than) {
                *count += 1;
            }
        });
    }

    /// Counts a bin that was derived here under a condition of an audit.
    pub(crate) fn add_audited(&self) {
        self.change(|now| now.audited += 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_counted_by_what_they_took() {
        let progress = Progress::default();
        for milliseconds in [0, 100, 101, 2_000_000] {
            progress.add_bin(1, Duration::from_millis(milliseconds));
        }
        let now = progress.read();
        assert_eq!(now.bin_seconds, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((now.bins, now.bin_us, now.landed_bytes), (4, 2_000_201_000, 4));
    }
}
