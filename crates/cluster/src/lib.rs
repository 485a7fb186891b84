//! The Ballista side of bytefacts: schedulers and executors, as processes of their own or embedded in one, and the client that talks to them.
//!
//! The laptop runs the very plan that a cluster of machines runs: the client encodes a logical plan, the scheduler plans and slices it, executors
//! fetch tasks and decode them. Nothing is shared behind Ballista's back but the counters of the progress bar.

mod attendance;
mod audits;
mod client;
mod embedded;
mod error;
mod events;
mod executor;
mod follow;
mod http;
mod jobs;
mod listen;
pub mod metrics;
mod process;
mod queries;
mod quota;
mod readings;
mod remote;
mod rest;
mod scheduler;
mod seen;
mod session;
mod status;
mod tasks;
mod view;

pub use client::Client;
pub use embedded::{Embedded, EmbeddedOptions};
pub use error::ClusterError;
pub use executor::{Executor, ExecutorOptions, ExecutorView, Starting};
pub use http::{Probes, serve_probes};
pub use jobs::{JobState, Jobs};
pub use listen::listen;
pub use queries::QueryCluster;
pub use remote::{RemoteScheduler, RestError};
pub use scheduler::{Scheduler, SchedulerOptions};
pub use session::{JobSettings, job_session};
pub use status::{ClusterStatus, ExecutorStatus, JobProgress, JobStatus};
pub use view::SchedulerView;
