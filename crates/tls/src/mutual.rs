//! TLS among the processes of a cluster: each shows a certificate of the cluster's own authority, and takes no other.

use std::path::{Path, PathBuf};

use crate::{ClientTls, ServerTls, TlsError};

/// The name that certificates of schedulers and executors have, wherever they run: their addresses come and go. Whoever's certificate has it not may
/// call, and is called by nobody.
pub const MEMBER: &str = "bytefacts-cluster";

/// The files that a process of a cluster has: the authority's certificates, its own ones, and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutual {
    authority: PathBuf,
    certificates: PathBuf,
    key: PathBuf,
}

impl Mutual {
    /// Of these PEM files. They are read when a side is made of them.
    #[must_use]
    pub fn new(authority: &Path, certificates: &Path, key: &Path) -> Self {
        Self { authority: authority.to_owned(), certificates: certificates.to_owned(), key: key.to_owned() }
    }

    /// The side that is called, by whoever has a certificate of the authority.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn server(&self) -> Result<ServerTls, TlsError> {
        ServerTls::read_mutual(&self.authority, &self.certificates, &self.key)
    }

    /// The side that calls members.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn client(&self) -> Result<ClientTls, TlsError> {
        ClientTls::read(&self.authority, &self.certificates, &self.key)
    }
}
