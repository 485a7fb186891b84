//! `bytefacts status`: how a cluster is.

use bytefacts_cluster::ClusterStatus;

use crate::args::{self, Format};
use crate::cluster::{Cluster, jobs_as_text};
use crate::exit::Exit;
use crate::output::Output;
use crate::summary::count;

/// Runs the command.
///
/// # Errors
/// When the scheduler does not answer.
pub async fn run(args: args::Cluster, output: &mut Output) -> anyhow::Result<Exit> {
    let cluster = Cluster::of(&args)?;
    let status = cluster.status().await?;
    output.data(match args.format {
        Format::Text => text(&cluster.url, &status)?,
        Format::Json => serde_json::to_string_pretty(&status)? + "\n",
    })?;
    Ok(Exit::Clean)
}

fn text(url: &str, status: &ClusterStatus) -> anyhow::Result<String> {
    let (cores, in_use) = status
        .executors
        .iter()
        .fold((0, 0), |(cores, in_use), executor| (cores + u64::from(executor.cores), in_use + u64::from(executor.cores_in_use)));
    let under_way: Vec<_> = status.jobs.iter().filter(|job| !job.state.is_over()).collect();
    let ready = if status.ready { "ready" } else { "not ready: it has fewer executors than `scheduler.min_executors` asks for" };
    let others =
        status.executors.iter().filter(|executor| executor.version.as_ref().is_some_and(|version| *version != status.version)).count();
    let others = if others == 0 { String::new() } else { format!("; {others} of another version: `bytefacts executors` shows which") };
    let mut text = format!(
        "scheduler  {url}, version {}, {ready}\nexecutors  {}, {in_use} of {} in use{others}\njobs       {} under way, {} ended\n",
        status.version,
        status.executors.len(),
        count(cores, "core"),
        under_way.len(),
        status.jobs.len() - under_way.len()
    );
    if !under_way.is_empty() {
        text.push_str(&jobs_as_text(&under_way)?);
    }
    Ok(text)
}
