//! Where daemons listen and are found, as people write it.

use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::exit::UsageError;

/// The address that `HOST:PORT` stands for; of a host with several the first of IPv4, which the defaults are of too.
///
/// # Errors
/// When it is not of that form, or nobody knows the host.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() {
        return Err("an address is HOST:PORT".to_owned());
    }
    let found: Vec<_> = text.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(|| format!("{host} has no address"))
}

/// Whether `HOST:PORT` is of this machine alone. A name that nobody knows yet may be anybody's.
pub fn is_loopback(text: &str) -> bool {
    address(text).is_ok_and(|address| address.ip().is_loopback())
}

/// The URL of a scheduler as its clients want it, from `df://HOST:PORT` or `HOST:PORT`. Nobody is asked whether there is one.
///
/// # Errors
/// When it is neither.
pub fn scheduler_url(url: &str) -> Result<String, UsageError> {
    let authority = url.strip_prefix("df://").unwrap_or(url);
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(_) if !authority.contains('/') => Ok(format!("df://{authority}")),
        _ => Err(UsageError(format!("--cluster: df://HOST:PORT is needed, this is {url:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_knows_may_be_anybodys() {
        for (text, alone) in
            [("127.0.0.1:1", true), ("localhost:1", true), ("[::1]:1", true), ("10.0.0.1:1", false), ("no-such-host.invalid:1", false)]
        {
            assert_eq!(is_loopback(text), alone, "{text}");
        }
    }

    #[test]
    fn a_scheduler_has_a_host_and_a_port() {
        for text in ["df://h:1", "h:1"] {
            assert_eq!(scheduler_url(text).unwrap(), "df://h:1");
        }
        for bad in ["", "h", ":1", "http://h:1", "df://h:x", "df://h:1/x"] {
            assert!(scheduler_url(bad).is_err(), "{bad}");
        }
    }
}
