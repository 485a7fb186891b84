//! Asks facts, by either of two ways.
//!
//! ```text
//! Connection: the SQL service, by Flight SQL                      (options.rs, connect.rs, connection.rs, answer.rs)
//! session, cluster_session: the views on a DataFusion session     (session.rs)
//!   ClusterPlanner ─▶ OnCluster ─▶ a Ballista scheduler           (cluster.rs, scheduler.rs)
//! ```
//!
//! A connection leaves planning, limits and access to the server. A session plans here and reads the facts itself, or has a cluster's executors read
//! them; it needs access to their store, and the cluster must allow them (`access.facts`). What a cluster with certificates wants to see is a
//! [`Mutual`]. Ten lines of either stand in `examples/ask.rs`.
//!
//! Nothing here links what compiles or analyses.

mod answer;
mod cluster;
mod connect;
mod connection;
mod error;
mod options;
mod scheduler;
mod session;
mod silence;

pub use answer::Answer;
pub use bytefacts_landing::RunId;
pub use bytefacts_stores::Stores;
pub use bytefacts_tls::Mutual;
pub use connection::{Connection, TableInfo};
pub use error::ClientError;
pub use options::{Credentials, Options};
pub use session::{cluster_session, session};
