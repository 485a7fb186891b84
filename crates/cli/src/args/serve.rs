//! `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::Format;
use crate::address::address;

/// Answer SQL over facts to clients of Arrow Flight SQL.
///
/// These are ADBC, JDBC, and what stands on them.
///
/// The current run is there as `public`, and every committed run as runs."ID".
///
/// Clients connect with Arrow Flight SQL: Python by ADBC (`adbc_driver_flightsql.dbapi.connect("grpc://127.0.0.1:50052")`), Java, DBeaver and the like
/// by JDBC (`jdbc:arrow-flight-sql://127.0.0.1:50052?useEncryption=false`). It only reads, and nothing but the facts; a new run can be asked for as
/// soon as it is committed. Limits of queries are settings (`serve` in config/bytefacts.yaml).
///
/// SIGTERM and Ctrl-C end it: queries under way are told, and a second later it is gone.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The facts: a path or a URI. Runs may be committed there while it runs.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// Where to listen, as HOST:PORT; port 0 is any free one [default: 127.0.0.1:50052].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Where to serve /healthz, /readyz and /metrics, as HOST:PORT [default: 127.0.0.1:50062].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub probes: Option<SocketAddr>,
    /// The scheduler of a cluster whose executors answer queries that read much, as df://HOST:PORT. They must be allowed to read the facts.
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// The YAML file of those who may ask, with hashes of their passwords and tokens; read again when it changes. docs/sql.md shows one.
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub users: Option<PathBuf>,
    /// Let anybody ask although others than this machine can. Without it, --users is needed where it listens beyond loopback.
    #[arg(long, conflicts_with = "users", help_heading = "Access")]
    pub insecure: bool,
    /// Encrypt connections with the certificates of this PEM file, the server's own first; read again when it rotates.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Access")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Access")]
    pub tls_key: Option<PathBuf>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// How the line that says where it listens is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
