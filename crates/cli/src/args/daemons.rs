//! `scheduler` and `executor`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::Format;
use crate::address::address;

/// What every daemon takes. The rest is set by a YAML file or by the environment, such as BYTEFACTS_EXECUTOR__CORES=4.
#[derive(Debug, ClapArgs)]
pub struct DaemonArgs {
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen for the cluster, as HOST:PORT; port 0 is any free one. Beyond this machine certificates are needed (`cluster_tls` in the
    /// settings), or --insecure.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Where to serve /healthz, /readyz and /metrics, as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub probes: Option<SocketAddr>,
    /// The host under which the others of the cluster find this process [default: that of --listen; where it listens on all addresses, an executor
    /// is found at the one that the scheduler sees].
    #[arg(long, value_name = "HOST")]
    pub external_host: Option<String>,
    /// Do without certificates although others than this machine can reach it: whoever does can run jobs.
    #[arg(long)]
    pub insecure: bool,
    /// How the line that says where it listens is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Run the scheduler of a cluster.
#[derive(Debug, ClapArgs)]
pub struct Scheduler {
    /// Where to answer SQL as well, as HOST:PORT, as `bytefacts serve` does: by the settings of `serve`, with this cluster for what reads much.
    #[arg(long, value_name = "HOST:PORT", value_parser = address, help_heading = "SQL")]
    pub sql_listen: Option<SocketAddr>,
    /// The facts that it answers SQL over: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS", help_heading = "SQL")]
    pub facts: Option<String>,
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Run an executor of a cluster.
#[derive(Debug, ClapArgs)]
pub struct Executor {
    /// The scheduler, as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    pub scheduler: Option<String>,
    /// The node's name, which stays when the executor restarts [default: the machine's].
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Bins worked on at a time [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
    /// The CPython 3.13 that compiles.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// A path or a URI below which compiled units are shared with other nodes, beside the cache of this one. Nothing is ever deleted there: let
    /// the bucket's lifecycle rule do it.
    #[arg(long, value_name = "URI")]
    pub shared_cache: Option<String>,
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Args, Command};

    #[test]
    fn hosts_have_names_where_an_address_is_taken() {
        let line = |address: &str| Args::try_parse_from(["bytefacts", "scheduler", "--listen", address, "--probes", address]);
        let Command::Scheduler(scheduler) = line("localhost:50050").unwrap().command else { panic!("another command") };
        for address in [scheduler.daemon.listen, scheduler.daemon.probes] {
            assert!(address.is_some_and(|address| address.ip().is_loopback() && address.port() == 50050), "{address:?}");
        }
        assert!(line("[::1]:0").is_ok());
        for bad in ["localhost", "localhost:port", ":50050"] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }
}
