//! `bytefacts executors`: the executors of a cluster.

use bytefacts_cluster::{ClusterStatus, ExecutorStatus};

use crate::args::{self, Format};
use crate::cluster::{Cluster, table};
use crate::exit::Exit;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// When the scheduler does not answer.
pub async fn run(args: args::Cluster, output: &mut Output) -> anyhow::Result<Exit> {
    let cluster = Cluster::of(&args)?;
    let ClusterStatus { version, executors, .. } = cluster.status().await?;
    output.data(match args.format {
        Format::Text if executors.is_empty() => format!("{} has no executors\n", cluster.url),
        Format::Text => text(&executors, &version)?,
        Format::Json => serde_json::to_string_pretty(&executors)? + "\n",
    })?;
    Ok(Exit::Clean)
}

fn text(executors: &[ExecutorStatus], scheduler: &str) -> anyhow::Result<String> {
    let column = |value: &dyn Fn(&ExecutorStatus) -> String| executors.iter().map(value).collect::<Vec<_>>();
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    table(&[
        ("executor", column(&|executor| executor.id.clone())),
        ("node", column(&|executor| known(executor.node.clone()))),
        ("address", column(&|executor| format!("{}:{}", executor.host, executor.port))),
        ("cores in use", column(&|executor| format!("{}/{}", executor.cores_in_use, executor.cores))),
        ("heard of", column(&|executor| known(executor.silent_seconds.map(|seconds| format!("{seconds} s ago"))))),
        ("version", column(&|executor| version(executor, scheduler))),
        ("python", column(&|executor| known(executor.python.clone()))),
    ])
}

/// Its version, marked where it is not the scheduler's.
fn version(executor: &ExecutorStatus, scheduler: &str) -> String {
    match &executor.version {
        Some(version) if version != scheduler => format!("{version} (not {scheduler})"),
        version => version.clone().unwrap_or_else(|| "-".to_owned()),
    }
}
