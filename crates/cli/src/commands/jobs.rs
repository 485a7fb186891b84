//! `bytefacts jobs`: the jobs of a cluster.

use crate::args::{self, Format};
use crate::cluster::{Cluster, jobs_as_text};
use crate::exit::Exit;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// When the scheduler does not answer.
pub async fn run(args: args::Cluster, output: &mut Output) -> anyhow::Result<Exit> {
    let cluster = Cluster::of(&args)?;
    let jobs = cluster.status().await?.jobs;
    output.data(match args.format {
        Format::Text if jobs.is_empty() => format!("no job has come to {} since it started\n", cluster.url),
        Format::Text => jobs_as_text(&Vec::from_iter(&jobs))?,
        Format::Json => serde_json::to_string_pretty(&jobs)? + "\n",
    })?;
    Ok(Exit::Clean)
}
