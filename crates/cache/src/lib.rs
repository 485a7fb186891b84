//! Per-node cache of compiled units: content-addressed, bounded, and never the cause of an error.
//!
//! A [`Cache`] maps 32-byte keys (digests of all that determines a value) to bytes: a memory tier over a disk tier, and if
//! wanted over one in an object store that nodes share. A value that was put may be gone at any time; a value that is
//! returned is the one that was put. What goes wrong (a torn file, a full disk, a folder that cannot be written, a store
//! that does not answer) costs entries, at worst all of them, and is said once.
//!
//! The shared tier by itself shows damage, not malice: whoever may write there decides what its readers take for compiled code. A [`Secret`] that
//! the nodes have seals its entries, and what is not sealed is none.
//!
//! **Why not foyer?** foyer (0.22) is a fine hybrid cache for one process: its block engine owns preallocated files that
//! two processes cannot share, its index is rebuilt by scanning them at each start, and it promises no integrity of the
//! values. Here several executors of a node share one folder, entries must survive restarts and be usable at once, and a
//! wrong value would be a wrong fact; throughput, where foyer shines, is bounded by the compiler that we spare. One
//! immutable file an entry, renamed into place, gives all three with the file system as the index.

mod breaker;
mod cache;
mod disk;
mod entry;
mod memory;
mod seal;
mod shared;

pub use cache::{Cache, CacheOptions, CacheStats, Tier};
pub use seal::{Secret, ShortSecret};
pub use shared::SharedPlace;
