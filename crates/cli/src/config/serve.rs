//! Settings of `bytefacts serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::daemons::{loopback, of_host};

/// `bytefacts serve`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// Where clients find it.
    #[serde(deserialize_with = "of_host")]
    pub listen: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[serde(deserialize_with = "of_host")]
    pub probes: SocketAddr,
    /// The scheduler of a cluster for queries that read much; null is none.
    pub cluster: Option<String>,
    /// Bytes of data files from which on a query is the cluster's.
    pub cluster_bytes: u64,
    /// The file of those who may ask; null is anybody, which beyond loopback must be said.
    pub users: Option<PathBuf>,
    /// Whether anybody may ask although it listens beyond loopback.
    pub insecure: bool,
    /// The PEM file of certificates by which connections are encrypted; null is not at all.
    pub tls_cert: Option<PathBuf>,
    /// That of the private key.
    pub tls_key: Option<PathBuf>,
    /// Threads that answer queries; null is all cores of the machine.
    pub threads: Option<u16>,
    /// Queries that work at a time; others wait.
    pub running: usize,
    /// Queries of one user that may be open at a time.
    pub queries_per_user: usize,
    /// Seconds that a query may take, its reader's time included.
    pub query_seconds: u64,
    /// Rows that a query may answer; null is any number.
    pub query_rows: Option<u64>,
    /// Bytes of memory of a query.
    pub query_memory_bytes: u64,
    /// Bytes of temporary files of a query.
    pub query_spill_bytes: u64,
    /// Milliseconds that an announcement waits for the first rows or an error.
    pub early_milliseconds: u64,
    /// Seconds that a result waits to be fetched.
    pub unclaimed_seconds: u64,
    /// Seconds that a result which is being read waits for its reader to go on.
    pub reader_seconds: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Seconds that a login and its session last.
    pub login_seconds: u64,
    /// Bytes of one message, which a single row must fit into.
    pub message_bytes: usize,
    /// Whether there is an audit log.
    pub audit_log: bool,
}

impl ServeSettings {
    /// The files of certificates, by what they are for.
    pub fn uses(&self) -> Vec<(&'static str, PathBuf)> {
        self.tls_cert.iter().map(|file| ("sql", file.clone())).collect()
    }
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: loopback(50052),
            probes: loopback(50062),
            cluster: None,
            cluster_bytes: 1 << 30,
            users: None,
            insecure: false,
            tls_cert: None,
            tls_key: None,
            threads: None,
            running: 8,
            queries_per_user: 64,
            query_seconds: 600,
            query_rows: None,
            query_memory_bytes: 1 << 30,
            query_spill_bytes: 4 << 30,
            early_milliseconds: 2000,
            unclaimed_seconds: 60,
            reader_seconds: 60,
            connections: 1024,
            login_seconds: 86400,
            message_bytes: 16 << 20,
            audit_log: true,
        }
    }
}
