//! `status`, `jobs`, `executors` and `cancel`: what asks a cluster.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::Format;

/// A cluster that is asked.
#[derive(Debug, ClapArgs)]
pub struct Cluster {
    /// The cluster's scheduler, as df://HOST:PORT [default: `client.cluster` of the settings].
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// End a run, or one job, on a cluster.
///
/// What is landed is kept, and the run can be gone on with.
#[derive(Debug, ClapArgs)]
pub struct Cancel {
    /// The run, or a job of it as `bytefacts jobs` names it.
    #[arg(value_name = "RUN|JOB")]
    pub what: String,
    /// The cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}
