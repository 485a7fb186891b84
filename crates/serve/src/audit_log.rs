//! The audit log: who was let in, who was not, and who has asked for what, from where, with what outcome.
//!
//! Its events have a target of their own, which the log of a process shows whatever else it leaves out. What shows that somebody is who they say is
//! never written: no password, no token, no header, and no name that is no user's, since people type passwords where names belong.

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use tonic::Status;
use tracing::field::{DisplayValue, display};

use crate::access::Caller;
use crate::error::short;
use crate::record::Record;

/// The target of its events.
pub const AUDIT_LOG: &str = "bytefacts::audit";

/// Writes the audit log, unless it is switched off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditLog {
    is_on: bool,
}

impl AuditLog {
    /// On or off.
    pub(crate) const fn new(is_on: bool) -> Self {
        Self { is_on }
    }

    /// Somebody has logged in.
    pub(crate) fn login(self, user: Option<&str>, client: Option<SocketAddr>) {
        if self.is_on {
            tracing::info!(target: AUDIT_LOG, event = "login", user, client = shown(client), "a login");
        }
    }

    /// Somebody was not let in; `user` is whose name was shown.
    pub(crate) fn denied(self, user: Option<&str>, client: Option<SocketAddr>, why: &Status) {
        if self.is_on {
            tracing::info!(target: AUDIT_LOG, event = "denied", user, client = shown(client), error = why.message(), "somebody is not let in");
        }
    }

    /// A statement was refused before it was a query: by the gate, by its plan, or for want of room.
    pub(crate) fn refused(self, caller: &Caller, statement: &str, why: &Status) {
        if self.is_on {
            tracing::info!(
                target: AUDIT_LOG,
                event = "refused",
                user = caller.user,
                client = shown(caller.client),
                error = why.message(),
                statement_sha256 = sha256(statement),
                statement = short(statement),
                "a statement is refused"
            );
        }
    }

    /// An option was to be set.
    pub(crate) fn option(self, caller: &Caller, name: &str, value: Option<&str>, why_not: Option<&str>) {
        if self.is_on {
            tracing::info!(
                target: AUDIT_LOG,
                event = "option",
                user = caller.user,
                client = shown(caller.client),
                option = short(name),
                value = value.map(short),
                outcome = if why_not.is_none() { "set" } else { "refused" },
                error = why_not,
                "an option"
            );
        }
    }

    /// A query was to be cancelled.
    pub(crate) fn cancel(self, caller: &Caller, query: &str, is_cancelled: bool) {
        if self.is_on {
            let outcome = if is_cancelled { "cancelled" } else { "too late" };
            tracing::info!(target: AUDIT_LOG, event = "cancel", user = caller.user, client = shown(caller.client), query, outcome, "a query is to end");
        }
    }

    /// A query is over.
    pub(crate) fn query(self, record: &Record, client: Option<SocketAddr>, statement_sha256: &str, execution: &str) {
        if self.is_on {
            tracing::info!(
                target: AUDIT_LOG,
                event = "query",
                user = record.user,
                client = shown(client),
                query = record.id,
                execution,
                outcome = record.state,
                milliseconds = record.milliseconds,
                rows = record.rows,
                bytes = record.bytes,
                error = record.error,
                statement_sha256,
                statement = record.statement,
                "a query is over"
            );
        }
    }
}

/// What tells statements apart of which the log has the beginning only.
pub(crate) fn sha256(statement: &str) -> String {
    hex::encode(Sha256::digest(statement))
}

/// An address, as it is written where it is one of IPv4 on a socket of IPv6, too.
fn shown(client: Option<SocketAddr>) -> Option<DisplayValue<SocketAddr>> {
    client.map(|client| display(SocketAddr::new(client.ip().to_canonical(), client.port())))
}
