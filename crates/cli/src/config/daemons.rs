//! Settings of the processes of a cluster, and of the client that hands it jobs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// `bytefacts scheduler`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Where executors and clients find it. Loopback by default: there is no authentication.
    #[serde(deserialize_with = "of_host")]
    pub listen: SocketAddr,
    /// The host that it calls itself to others; null is the host of `listen`.
    pub external_host: Option<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[serde(deserialize_with = "of_host")]
    pub probes: SocketAddr,
    /// Seconds without a sign of life after which an executor is lost.
    pub executor_timeout_seconds: u64,
    /// Seconds for which a job waits for executors when there is none.
    pub no_executors_seconds: u64,
    /// Executors without which it is not ready.
    pub min_executors: usize,
    /// Seconds that jobs under way get to end after SIGTERM.
    pub drain_seconds: u64,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            listen: loopback(50050),
            external_host: None,
            probes: loopback(50060),
            executor_timeout_seconds: 30,
            no_executors_seconds: 300,
            min_executors: 0,
            drain_seconds: 10,
        }
    }
}

/// `bytefacts executor`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorSettings {
    /// The scheduler, as `host:port`.
    pub scheduler: String,
    /// Seconds that the scheduler may take to be there.
    pub connect_seconds: u64,
    /// Where other executors and clients fetch what it serves.
    #[serde(deserialize_with = "of_host")]
    pub listen: SocketAddr,
    /// The host under which they find it; null is the host of `listen`.
    pub external_host: Option<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[serde(deserialize_with = "of_host")]
    pub probes: SocketAddr,
    /// The node's name, which stays when the executor restarts; null is the machine's host name.
    pub node: Option<String>,
    /// Bins worked on at a time; null is all cores of the machine.
    pub cores: Option<u16>,
    /// Bytes of source held in memory at a time; more makes files wait.
    pub memory_budget_bytes: u64,
    /// Where tasks leave what later stages fetch; null is the system's folder for temporary files.
    pub work_dir: Option<PathBuf>,
    /// Seconds that bins under way get to finish after SIGTERM, before they are handed back.
    pub drain_seconds: u64,
}

impl Default for ExecutorSettings {
    fn default() -> Self {
        Self {
            scheduler: "127.0.0.1:50050".to_owned(),
            connect_seconds: 300,
            listen: loopback(50051),
            external_host: None,
            probes: loopback(50061),
            node: None,
            cores: None,
            memory_budget_bytes: 256 << 20,
            work_dir: None,
            drain_seconds: 60,
        }
    }
}

/// What `bytefacts extract` does with a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSettings {
    /// The cluster's scheduler, as `df://host:port`; null is the embedded cluster.
    pub cluster: Option<String>,
    /// Seconds without a further bin after which a job is cancelled and submitted again.
    pub stall_seconds: u64,
    /// Seconds for which the scheduler may be out of reach.
    pub unreachable_seconds: u64,
    /// Submissions in a row that may end without a further bin.
    pub fruitless: u32,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self { cluster: None, stall_seconds: 900, unreachable_seconds: 300, fruitless: 3 }
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

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

fn of_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    address(&text).map_err(|error| serde::de::Error::custom(format!("{text}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_names_in_settings_too() {
        let settings: SchedulerSettings = serde_yaml::from_str("{listen: 'localhost:7', probes: '127.0.0.1:8'}").unwrap();
        assert!(settings.listen.ip().is_loopback() && settings.listen.port() == 7);
        assert_eq!(settings.probes, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8));
        assert!(serde_yaml::from_str::<ExecutorSettings>("listen: nowhere").is_err());
    }
}
