//! TLS from files that are read again when they rotate.
//!
//! ```text
//! Watched: files, and what they say now                           (watched.rs)
//!   ├ ServerTls ─▶ accept: connections that have shaken hands     (server.rs)
//!   └ ClientTls ─▶ tunnels that encrypt, and show who calls       (client.rs)
//! Mutual: both sides of a cluster, of one set of files            (mutual.rs)
//! Places: of connections, none of which a silent one keeps        (places.rs)
//! not_after: when certificates end                               (expiry.rs)
//! ```
//!
//! tonic's own configuration of servers reads a certificate once; one that cert-manager renews would be served until it has expired.

mod client;
mod expiry;
mod mutual;
mod places;
mod server;
mod watched;

pub use client::ClientTls;
pub use expiry::not_after;
pub use mutual::{MEMBER, Mutual};
pub use places::{Place, Places};
pub use server::{Accepted, ServerTls, accept};
pub use watched::Watched;

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {0}")]
pub struct TlsError(String);

impl TlsError {
    fn new(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}
