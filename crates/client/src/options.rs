//! Where a server is, and who asks.

use std::path::PathBuf;

use crate::error::ClientError;

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Anybody.
    #[default]
    None,
    /// A user with a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// Whoever holds a token.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// Where a server is, and how it is talked to.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `grpc://HOST:PORT`, or `grpc+tls://HOST:PORT`.
    pub address: String,
    /// Who asks.
    pub credentials: Credentials,
    /// PEM certificates by which the server is known, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The run that is asked where a statement names none, instead of the current one.
    pub run: Option<String>,
}

impl Options {
    /// A server at an address, asked by anybody.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }

    /// Host, port, and whether to encrypt.
    pub(crate) fn target(&self) -> Result<Target, ClientError> {
        let wrong = || ClientError::Address(self.address.clone());
        let (scheme, rest) = self.address.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "grpc" | "grpc+tcp" => false,
            "grpc+tls" => true,
            _ => return Err(wrong()),
        };
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        // An IPv6 address stands in brackets, and means the colons in it.
        let is_host = !host.is_empty() && (host.starts_with('[') == host.contains(':')) && !host.contains(['/', '@', '?']);
        if is_host { Ok(Target { host: host.to_owned(), port, tls }) } else { Err(wrong()) }
    }
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address of the host.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Whether to encrypt.
    pub(crate) tls: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_host_and_port_and_says_whether_to_encrypt() {
        let target = |text: &str| Options::new(text).target().map(|target| (target.host, target.port, target.tls)).ok();
        assert_eq!(target("grpc://localhost:1"), Some(("localhost".into(), 1, false)));
        assert_eq!(target("grpc+tcp://10.0.0.1:50052/"), Some(("10.0.0.1".into(), 50052, false)));
        assert_eq!(target("grpc+tls://[::1]:443"), Some(("[::1]".into(), 443, true)));
        for wrong in ["localhost:1", "http://h:1", "grpc://h", "grpc://:1", "grpc://h:x", "grpc://::1:1", "grpc://h/x:1", "grpc://u@h:1"] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = [Credentials::Password { user: "ada".into(), password: "secret".into() }, Credentials::Token("secret".into())];
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
