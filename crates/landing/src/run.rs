//! The life of a run: bins, attempts and records, the commit, what is read of it, and its end.

mod attached;
mod audits;
mod bins;
mod commit;
mod cuts;
mod gc;
mod journal;
mod manifest;
mod order;
mod records;
mod retention;
mod reuse;
mod schema;
mod shards;
mod state;
mod sweep;
mod tolerance;

pub use bins::{BinsWriter, PlannedBin};
pub use commit::{CommitRequest, Committed, Fold};
pub use gc::{DEFAULT_GRACE, Swept};
pub use order::InOrder;
pub use retention::Keep;
pub use reuse::PinnedBin;
pub use state::RunState;
pub use tolerance::{HeldBack, ReadErrors, Tolerance};
