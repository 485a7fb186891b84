//! How much of a corpus may be missing from a run that is to become current.

use crate::model::{Gone, RunHeader};

/// What may be missing, in shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Of the files, those that could not be read. Below 1 every folder must have been listed: nobody knows what is in one that was not.
    pub unread: f64,
    /// Of the files of the current run, those whose repository has no file left.
    pub gone: f64,
}

/// The types of errors of stage `read` by what they are of.
#[derive(Clone, Copy, Debug)]
pub struct ReadErrors {
    /// Of the file itself: what any reader meets in any state. They do not count.
    pub of_files: &'static [&'static str],
    /// Of a folder that could not be listed.
    pub of_folders: &'static [&'static str],
}

/// Why a run that is committed, and named, is not current.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeldBack {
    /// Folders could not be listed.
    Unlisted {
        /// How many.
        folders: u64,
    },
    /// Too many files could not be read.
    Unread {
        /// How many.
        unread: u64,
        /// Of all files.
        files: u64,
        /// The greatest share allowed.
        allowed: f64,
    },
    /// Too many files have gone with their repositories, as when a mount is missing.
    Gone {
        /// Which.
        gone: Gone,
        /// The greatest share allowed.
        allowed: f64,
    },
}

impl Tolerance {
    /// Why the run may not become current.
    pub(crate) fn forbids(&self, run: &RunHeader, errors: &ReadErrors) -> Option<HeldBack> {
        let of_stage = run.stats.errors.iter().filter(|error| error.stage == "read" && error.severity == "error");
        let (mut unread, mut folders) = (0u64, 0u64);
        // Of a run that somebody else has committed nothing is known: what cannot be counted is too much.
        for error in of_stage.filter(|error| !errors.of_files.contains(&error.error_type.as_str())) {
            unread = unread.saturating_add(error.count);
            if errors.of_folders.contains(&error.error_type.as_str()) {
                folders = folders.saturating_add(error.count);
            }
        }
        let files = run.stats.files;
        if folders > 0 && self.unread < 1.0 {
            return Some(HeldBack::Unlisted { folders });
        }
        if exceeds(unread, self.unread, files) {
            return Some(HeldBack::Unread { unread, files, allowed: self.unread });
        }
        let gone = run.gone.filter(|gone| exceeds(gone.files, self.gone, gone.of_files))?;
        Some(HeldBack::Gone { gone, allowed: self.gone })
    }
}

/// Whether a part is more than a share of the whole. Beyond 2^53 it would be off by less than anybody can set.
#[expect(clippy::cast_precision_loss)]
fn exceeds(part: u64, share: f64, whole: u64) -> bool {
    part as f64 > share * whole as f64
}
