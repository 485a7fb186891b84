//! Object stores by URL, for every process: the client, the scheduler, executors, and whoever reads facts.
//!
//! ```text
//! Stores::open(url) ─▶ Place (client, path) ─▶ FactsStore        (registry.rs, place.rs)
//! Access: which places the jobs of others may name               (access.rs)
//! requests: how many of them were made                           (silence.rs, requests.rs)
//! FactsOnly: a store as the plans of others see it               (facts_only.rs)
//! ```

mod access;
mod error;
mod facts_only;
mod place;
mod registry;
mod requests;
mod silence;

pub use access::{Access, Allowed, Kind, Refused};
pub use error::{StoreError, explain, refusal};
pub use facts_only::FactsOnly;
pub use place::Place;
pub use registry::{StoreOptions, Stores};
pub use requests::requests;
