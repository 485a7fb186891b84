//! The place of facts: objects below a root, and documents that are created once.

mod clock;
mod content;
mod disk;
mod local;
mod objects;
mod store;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

pub use clock::{Clock, FixedClock, SystemClock};
pub(crate) use content::{MAX_BYTES, compress, decompress, from_json, plain, sha256_hex, store_error, to_json};
pub use local::LocalDisk;
pub(crate) use store::CONCURRENCY;
pub use store::{Created, FactsStore};

use crate::Result;
use crate::model::Current;

/// Whether a sweep deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It does.
    Delete,
    /// It only tells what it would delete.
    DryRun,
}

/// What object stores and disks of this machine do each in its own way.
#[async_trait]
pub(crate) trait Documents: std::fmt::Debug + Send + Sync {
    /// Fails unless the place can be written to, as far as that shows without a request.
    fn check_writable(&self) -> Result<()>;

    /// Creates a document unless there is one; says whether it did.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool>;

    /// Moves `current` to `next` unless it is there or further. Returns where it is now.
    async fn advance(&self, next: &Current) -> Result<Current>;

    /// Makes sure that a data file survives a power cut.
    async fn sync(&self, key: &str) -> Result<()>;

    /// Deletes what killed writers left half-written more than `grace` ago. Returns how many files.
    async fn remove_staged(&self, now: SystemTime, grace: Duration, mode: Mode) -> Result<u64>;
}
