//! Object stores by URL, for every process: the client, the scheduler, executors, and whoever reads facts.
//!
//! ```text
//! Stores::open(url) ─▶ Place (client, path) ─▶ FactsStore        (registry.rs, place.rs)
//! Access: which places the jobs of others may name               (access.rs)
//! ```

mod access;
mod error;
mod place;
mod registry;

pub use access::{Access, Allowed, Kind, Refused};
pub use error::{StoreError, explain, refusal};
pub use place::Place;
pub use registry::{StoreOptions, Stores};
