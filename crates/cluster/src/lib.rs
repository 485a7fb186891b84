//! The Ballista side of bytefacts: a real scheduler and real executors inside one process, and the client session that talks to them.
//!
//! The laptop runs the very plan that a cluster of machines runs: the client encodes a logical plan, the scheduler plans and slices it, executors
//! fetch tasks and decode them. Nothing is shared behind Ballista's back but the counters of the progress bar.

mod embedded;
mod session;

pub use embedded::{ClusterError, Embedded, EmbeddedOptions};
pub use session::{JobSettings, job_session};
