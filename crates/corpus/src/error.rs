//! What can go wrong with a corpus, and with one of its files.

use std::io;

use crate::notes::Notes;

/// Why a corpus cannot be listed. The texts name the location as the user gave it.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There is no such place.
    #[error("corpus {location} does not exist")]
    Missing {
        /// The corpus.
        location: String,
    },
    /// It is a file.
    #[error("corpus {location} is not a folder")]
    NotAFolder {
        /// The corpus.
        location: String,
    },
    /// It may not be listed.
    #[error("no permission to list corpus {location}")]
    Denied {
        /// The corpus.
        location: String,
    },
    /// It holds nothing at all.
    #[error("corpus {location} is empty")]
    Empty {
        /// The corpus.
        location: String,
    },
    /// It holds something, but no source.
    #[error("corpus {location} holds no Python file that is taken; it holds {notes}")]
    NoPythonFiles {
        /// The corpus.
        location: String,
        /// What is there instead.
        notes: Box<Notes>,
    },
    /// The local disk failed.
    #[error("cannot list corpus {location}")]
    Io {
        /// The corpus.
        location: String,
        /// The system's own account.
        source: io::Error,
    },
    /// The object store failed.
    #[error("cannot list corpus {location}")]
    Store {
        /// The corpus.
        location: String,
        /// The store's own account.
        source: object_store::Error,
    },
    /// It is told to respect `.gitignore` files, whose meaning depends on folders that object stores do not have.
    #[error("corpus {location} is no folder of this machine: .gitignore files are respected there only")]
    Gitignore {
        /// The corpus.
        location: String,
    },
    /// The temporary files failed in which the listing is sorted.
    #[error("cannot sort the listing in temporary files: is there room where TMPDIR says?")]
    Sorting {
        /// The system's own account.
        source: io::Error,
    },
    /// The listing was interrupted.
    #[error("listing of corpus {location} was interrupted")]
    Interrupted {
        /// The corpus.
        location: String,
        /// The runtime's own account.
        source: tokio::task::JoinError,
    },
}

impl ListError {
    pub(crate) fn sorting(source: io::Error) -> Self {
        Self::Sorting { source }
    }
}

/// What is wrong with a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymlinkFault {
    /// Its target does not exist, or it is part of a loop.
    Broken,
    /// Its target lies outside the corpus.
    Outside,
}

/// Why a file cannot be read.
///
/// All but [`ReadError::Transient`] and [`ReadError::Fault`] are facts about the corpus and become error rows; their texts
/// depend on the corpus alone, and hold no path of this machine. The two are faults of a disk, a store or a set-up: they
/// would be met by other files too, or by another machine not at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was listed and is gone.
    #[error("the file vanished between listing and reading")]
    Missing,
    /// It may not be read.
    #[error("no permission to read the file")]
    Denied,
    /// It is larger than the limit.
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It is a symbolic link that leads nowhere, or out of the corpus.
    #[error("{}", match .0 {
        SymlinkFault::Broken => "the file is a symbolic link without a target",
        SymlinkFault::Outside => "the file is a symbolic link that leads out of the corpus",
    })]
    Symlink(SymlinkFault),
    /// It is a pipe, a socket, a device or a folder.
    #[error("not a regular file: {kind}")]
    Special {
        /// What it is.
        kind: &'static str,
    },
    /// It is a folder that could not be listed, so that its files are unknown.
    #[error("the folder could not be listed: {reason}")]
    Folder {
        /// Why not.
        reason: &'static str,
    },
    /// Its path cannot be a path inside a corpus.
    #[error("the path is not a path inside the corpus")]
    BadPath,
    /// The system does not read such a file.
    #[error("the file cannot be read: {kind}")]
    Io {
        /// The kind of failure.
        kind: io::ErrorKind,
    },
    /// The disk or the store failed in a way that may pass: try again.
    #[error("the file cannot be read at the moment")]
    Transient {
        /// The system's or the store's own account.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The corpus itself cannot be read from here: no access to the store, or its root is gone. Nobody's retry heals it.
    #[error("the corpus cannot be read from here")]
    Fault {
        /// The system's or the store's own account.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ReadError {
    /// Whether the same read may succeed later. If so it is no fact about the corpus and must not become a row.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// Whether the corpus, not the file, cannot be read: the job fails with it, and it must not become a row.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Fault { .. })
    }

    /// The `error_type`s that say something of the file itself: whoever reads it, from whatever machine, meets them. The others may be the
    /// reader's, who has a mount missing or a role that lacks a right.
    pub const OF_THE_FILE: [&'static str; 4] = ["BadPath", "FileTooLarge", "NotARegularFile", "SymlinkOutsideCorpus"];

    /// Those of a folder that could not be listed: nobody knows what is in it.
    pub const OF_FOLDERS: [&'static str; 1] = ["UnreadableFolder"];

    /// The `error_type` of its error row. The last two have none, and are named for logs.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Missing => "FileNotFound",
            Self::Denied => "PermissionDenied",
            Self::TooLarge { .. } => "FileTooLarge",
            Self::Symlink(SymlinkFault::Broken) => "BrokenSymlink",
            Self::Symlink(SymlinkFault::Outside) => "SymlinkOutsideCorpus",
            Self::Special { .. } => "NotARegularFile",
            Self::Folder { .. } => "UnreadableFolder",
            Self::BadPath => "BadPath",
            Self::Io { .. } => "ReadFailed",
            Self::Transient { .. } => "TransientReadFailure",
            Self::Fault { .. } => "CorpusUnreadable",
        }
    }

    pub(crate) fn from_io(error: io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::NotFound | K::NotADirectory => Self::Missing,
            K::PermissionDenied => Self::Denied,
            K::IsADirectory => Self::Special { kind: "a folder" },
            kind if is_transient(kind, error.raw_os_error()) => Self::Transient { source: Box::new(error) },
            kind => Self::Io { kind },
        }
    }

    pub(crate) fn from_store(error: object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::NotFound { ref source, .. } if lacks_bucket(source.as_ref()) => Self::Fault { source: Box::new(error) },
            E::Generic { ref source, .. } if has_expired(source.as_ref()) => Self::Fault { source: Box::new(error) },
            E::NotFound { .. } => Self::Missing,
            // A role that may list but not read, or lacks a key, is a set-up of the job's, not the corpus's.
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Fault { source: Box::new(error) },
            E::InvalidPath { .. } => Self::BadPath,
            error => Self::Transient { source: Box::new(error) },
        }
    }
}

/// Whether a store says that the bucket, not the object, does not exist: as S3, Azure and Google Cloud Storage put it.
fn lacks_bucket(source: &(dyn std::error::Error + 'static)) -> bool {
    says(source, &["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"])
}

/// Whether a store says that a token was good once: S3 does so with the status of a bad request.
fn has_expired(source: &(dyn std::error::Error + 'static)) -> bool {
    says(source, &["<Code>ExpiredToken", "<Code>InvalidToken", "<Code>TokenRefreshRequired"])
}

fn says(source: &(dyn std::error::Error + 'static), words: &[&str]) -> bool {
    let mut causes = std::iter::successors(Some(source), |error| error.source());
    causes.any(|cause| {
        let text = cause.to_string();
        words.iter().any(|word| text.contains(word))
    })
}

/// Shortages of the process or the machine, disks that fail, and network disks that are away.
pub(crate) fn is_transient(kind: io::ErrorKind, code: Option<i32>) -> bool {
    use io::ErrorKind as K;
    // Without a kind of their own: EIO, ENXIO, ENODEV, ENFILE and EMFILE, EREMOTEIO.
    const FAULTS: [i32; 6] = [5, 6, 19, 23, 24, 121];
    matches!(
        kind,
        K::Interrupted
            | K::WouldBlock
            | K::TimedOut
            | K::OutOfMemory
            | K::StaleNetworkFileHandle
            | K::ResourceBusy
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::NotConnected
            | K::ReadOnlyFilesystem
    ) || code.is_some_and(|code| FAULTS.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_device_is_no_fact_about_a_file() {
        // EIO, ENXIO, ENODEV, EROFS, ENOTCONN, ESTALE, EREMOTEIO.
        for code in [5, 6, 19, 30, 107, 116, 121] {
            assert!(ReadError::from_io(io::Error::from_raw_os_error(code)).is_transient(), "{code}");
        }
    }

    #[test]
    fn a_store_that_lets_nobody_read_is_a_fault_and_no_row() {
        use object_store::Error as E;
        let path = || "c/a.py".to_owned();
        let answer = |text: &str| text.to_owned().into();
        let expired = answer("400 Bad Request: <Error><Code>ExpiredToken</Code></Error>");
        assert!(ReadError::from_store(E::Generic { store: "S3", source: expired }).is_fault());
        assert!(ReadError::from_store(E::PermissionDenied { path: path(), source: answer("403 Forbidden") }).is_fault());
        assert!(ReadError::from_store(E::Unauthenticated { path: path(), source: answer("401") }).is_fault());
        let bucket = "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>";
        assert!(ReadError::from_store(E::NotFound { path: path(), source: answer(bucket) }).is_fault());
        let key = "404 Not Found: <Error><Code>NoSuchKey</Code></Error>";
        assert!(matches!(ReadError::from_store(E::NotFound { path: path(), source: answer(key) }), ReadError::Missing));
    }

    #[test]
    fn shortages_may_pass_and_the_rest_is_a_fact() {
        assert!(ReadError::from_io(io::Error::from_raw_os_error(24)).is_transient());
        assert!(ReadError::from_io(io::ErrorKind::TimedOut.into()).is_transient());
        for (kind, error_type) in [
            (io::ErrorKind::NotFound, "FileNotFound"),
            (io::ErrorKind::PermissionDenied, "PermissionDenied"),
            (io::ErrorKind::InvalidFilename, "ReadFailed"),
        ] {
            let error = ReadError::from_io(kind.into());
            assert!(!error.is_transient());
            assert_eq!(error.error_type(), error_type);
        }
    }
}
