//! Settings of the processes of a cluster, and of the client that hands it jobs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytefacts_stores::{Access, Allowed};
use bytefacts_tls::{ClientTls, Mutual};
use serde::{Deserialize, Deserializer, Serialize};

use crate::address::address;
use crate::exit::UsageError;

/// `bytefacts scheduler`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Where executors and clients find it.
    #[serde(deserialize_with = "of_host")]
    pub listen: SocketAddr,
    /// The host that it calls itself to others; null is the host of `listen`, or the machine's name where that is all addresses.
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
    /// Whether it does without `cluster_tls` although others than this machine reach it.
    pub insecure: bool,
    /// Where it answers SQL, as `bytefacts serve` does by the settings of `serve`; null is nowhere.
    #[serde(deserialize_with = "of_host_or_none")]
    pub sql_listen: Option<SocketAddr>,
    /// The facts that it answers SQL over.
    pub facts: Option<String>,
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
            insecure: false,
            sql_listen: None,
            facts: None,
        }
    }
}

/// `bytefacts executor`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorSettings {
    /// The scheduler, as `host:port`.
    pub scheduler: String,
    /// Seconds for which it stays, alive and not ready, while there is no CPython 3.13; none is that it ends at once.
    pub interpreter_seconds: u64,
    /// Seconds that the scheduler may take to be there.
    pub connect_seconds: u64,
    /// Where other executors and clients fetch what it serves.
    #[serde(deserialize_with = "of_host")]
    pub listen: SocketAddr,
    /// The host under which they find it; null is the host of `listen`, or where that is all addresses, the one that the scheduler sees.
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
    /// Whether it does without `cluster_tls` although others than this machine reach it.
    pub insecure: bool,
}

/// How the processes of a cluster know each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterTlsSettings {
    /// The PEM file of the authority that certifies all of them; null, with the other two, is no encryption.
    pub authority: Option<PathBuf>,
    /// That of this process's certificate.
    pub certificate: Option<PathBuf>,
    /// That of its private key.
    pub key: Option<PathBuf>,
}

impl ClusterTlsSettings {
    /// The files of certificates, by what they are for.
    pub fn uses(&self) -> Vec<(&'static str, PathBuf)> {
        let files = [("cluster", &self.certificate), ("cluster_authority", &self.authority)];
        files.into_iter().filter_map(|(of, file)| Some((of, file.clone()?))).collect()
    }

    /// The files, if there are any.
    ///
    /// # Errors
    /// When there are some and not all.
    pub fn mutual(&self) -> Result<Option<Mutual>, UsageError> {
        match (&self.authority, &self.certificate, &self.key) {
            (Some(authority), Some(certificate), Some(key)) => Ok(Some(Mutual::new(authority, certificate, key))),
            (None, None, None) => Ok(None),
            _ => Err(UsageError("cluster_tls.authority, cluster_tls.certificate and cluster_tls.key belong together".to_owned())),
        }
    }

    /// The same, of a daemon that listens at an address: beyond its own machine there must be some, unless it is said that none are meant.
    ///
    /// # Errors
    /// When there are some and not all, or none where there must be.
    pub fn of_daemon(&self, address: SocketAddr, insecure: bool) -> Result<Option<Mutual>, UsageError> {
        match self.mutual()? {
            None if !insecure && !address.ip().is_loopback() => Err(UsageError(format!(
                "{address}: whoever reaches this address could run jobs: give certificates by `cluster_tls` in the settings \
                 (scripts/development-ca.sh makes some to try it), or --insecure where the network itself keeps others out"
            ))),
            mutual => Ok(mutual),
        }
    }

    /// What a client of the cluster shows.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn client(&self) -> Result<Option<ClientTls>, UsageError> {
        self.mutual()?.map(|mutual| mutual.client()).transpose().map_err(|error| UsageError(format!("cluster_tls: {error}")))
    }
}

impl Default for ExecutorSettings {
    fn default() -> Self {
        Self {
            scheduler: "127.0.0.1:50050".to_owned(),
            interpreter_seconds: 0,
            connect_seconds: 300,
            listen: loopback(50051),
            external_host: None,
            probes: loopback(50061),
            node: None,
            cores: None,
            memory_budget_bytes: 256 << 20,
            work_dir: None,
            drain_seconds: 60,
            insecure: false,
        }
    }
}

/// What `bytefacts extract` does with a cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSettings {
    /// The cluster's scheduler, as `df://host:port`; null is the embedded cluster.
    pub cluster: Option<String>,
    /// Whether a job goes on when its client is ended.
    pub detach: bool,
    /// Seconds without a further bin after which a job is cancelled and submitted again.
    pub stall_seconds: u64,
    /// Seconds for which the scheduler may be out of reach.
    pub unreachable_seconds: u64,
    /// Submissions in a row that may end without a further bin.
    pub fruitless: u32,
    /// The greatest share of the files, 0 to 1, that may be unreadable if a run is to become current. Below 1 no folder may be.
    pub max_unread_share: f64,
    /// The greatest share of the current run's files, 0 to 1, whose repositories may be gone if a run of the same corpus is to take its place.
    pub max_gone_share: f64,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            cluster: None,
            detach: false,
            stall_seconds: 900,
            unreachable_seconds: 300,
            fruitless: 3,
            max_unread_share: 0.1,
            max_gone_share: 0.5,
        }
    }
}

/// What the jobs of others may name, on schedulers and executors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// Places at or below which corpora are read, `*` for all. Null is all for a daemon that only its own machine reaches, and else none.
    pub corpus: Option<Vec<String>>,
    /// Places at or below which facts are read and written.
    pub facts: Option<Vec<String>>,
}

impl AccessSettings {
    /// What is allowed on a daemon, whose jobs come from its own machine alone or from elsewhere too.
    ///
    /// # Errors
    /// When the lists name what is no place.
    pub fn access(&self, only_this_machine: bool) -> Result<Access, UsageError> {
        let allowed = |key: &str, places: &Option<Vec<String>>| match places {
            Some(places) => Allowed::of(places).map_err(|error| UsageError(format!("access.{key}: {error}"))),
            None if only_this_machine => Ok(Allowed::Everything),
            None => Ok(Allowed::Unsaid),
        };
        Ok(Access { corpus: allowed("corpus", &self.corpus)?, facts: allowed("facts", &self.facts)? })
    }
}

pub(super) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

pub(super) fn of_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    address(&text).map_err(|error| serde::de::Error::custom(format!("{text}: {error}")))
}

fn of_host_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| address(&text).map_err(|error| serde::de::Error::custom(format!("{text}: {error}")))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_reached_by_others_allows_what_is_said_and_no_more() {
        let access = |yaml: &str, alone| serde_yaml::from_str::<AccessSettings>(yaml).unwrap().access(alone);
        assert_eq!(access("{}", true).unwrap(), Access::default());
        assert_eq!(access("{}", false).unwrap(), Access { corpus: Allowed::Unsaid, facts: Allowed::Unsaid });
        let said = access("{corpus: ['s3://b/c'], facts: ['*']}", false).unwrap();
        said.corpus("s3://b/c/x").unwrap();
        said.corpus("s3://b/x").unwrap_err();
        said.facts("file:///x").unwrap();
        assert!(access("{facts: ['ftp://x']}", true).unwrap_err().to_string().starts_with("access.facts: "));
    }

    #[test]
    fn hosts_have_names_in_settings_too() {
        let settings: SchedulerSettings = serde_yaml::from_str("{listen: 'localhost:7', probes: '127.0.0.1:8'}").unwrap();
        assert!(settings.listen.ip().is_loopback() && settings.listen.port() == 7);
        assert_eq!(settings.probes, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8));
        assert!(serde_yaml::from_str::<ExecutorSettings>("listen: nowhere").is_err());
    }
}
