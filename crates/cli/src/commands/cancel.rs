//! `bytefacts cancel`: ends a run, or one job of it, on a cluster.

use std::time::Duration;

use anyhow::bail;
use bytefacts_cluster::{JobState, JobStatus};
use tokio::time::{Instant, sleep};

use crate::args::{Cancel, Format};
use crate::cluster::{Cluster, state, work};
use crate::exit::Exit;
use crate::output::Output;

/// How long the scheduler may take to end a job.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command.
///
/// # Errors
/// When the scheduler does not answer, or there is nothing to end.
pub async fn run(args: Cancel, output: &mut Output) -> anyhow::Result<Exit> {
    let cluster = Cluster::of(&args.cluster)?;
    let jobs = meant(&args.what, cluster.status().await?.jobs)?;
    for job in &jobs {
        cluster.scheduler.cancel(&job.id).await?;
    }
    let ended = ended(&cluster, &jobs).await?;
    output.data(match args.cluster.format {
        Format::Text => ended.iter().map(|job| text(&cluster.url, job)).collect(),
        Format::Json => serde_json::to_string_pretty(&ended)? + "\n",
    })?;
    Ok(if ended.iter().all(|job| job.state == JobState::Cancelled) { Exit::Clean } else { Exit::Failed })
}

/// The jobs under way that a text names: by their run or their audit, or by their own id.
fn meant(what: &str, jobs: Vec<JobStatus>) -> anyhow::Result<Vec<JobStatus>> {
    let is_meant = |job: &JobStatus| job.id == what || work(job) == Some(what);
    let (named, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_meant);
    let (over, under_way): (Vec<_>, Vec<_>) = named.into_iter().partition(|job| job.state.is_over());
    if !under_way.is_empty() {
        return Ok(under_way);
    }
    if let Some(last) = over.last() {
        bail!("{what} is not under way: job {} is {}", last.id, state(last));
    }
    let names: Vec<_> = others.iter().filter(|job| !job.state.is_over()).map(|job| work(job).unwrap_or(&job.id)).collect();
    if names.is_empty() {
        bail!("there is no run and no job {what}, and nothing is under way");
    }
    bail!("there is no run and no job {what}; under way: {}", names.join(", "))
}

/// The jobs once they are over.
async fn ended(cluster: &Cluster, jobs: &[JobStatus]) -> anyhow::Result<Vec<JobStatus>> {
    let begun = Instant::now();
    loop {
        let now = cluster.status().await?.jobs;
        let ended: Vec<_> = now.into_iter().filter(|now| jobs.iter().any(|job| job.id == now.id)).collect();
        if ended.iter().all(|job| job.state.is_over()) || begun.elapsed() > PATIENCE {
            return Ok(ended);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn text(url: &str, job: &JobStatus) -> String {
    if let Some(audit) = &job.audit {
        let mut text = format!("job {} of audit {audit}: {}\n", job.id, state(job));
        if job.state == JobState::Cancelled {
            text.push_str("what is derived is kept: the command of the audit goes on\n");
        }
        return text;
    }
    let run = job.run.as_deref().unwrap_or("-");
    let mut text = format!("job {} of run {run}: {}\n", job.id, state(job));
    if let Some(facts) = job.facts.as_ref().filter(|_| job.state == JobState::Cancelled) {
        text.push_str(&format!("what is landed is kept: `bytefacts extract --resume {run} --out {facts} --cluster {url}` goes on\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, run: &str, state: JobState) -> JobStatus {
        JobStatus {
            client: None,
            reruns: 0,
            id: id.to_owned(),
            run: Some(run.to_owned()),
            audit: None,
            state,
            corpus: None,
            facts: Some("file:///f".to_owned()),
            submitted_at_ms: 0,
            ended_at_ms: None,
            seconds: 0,
            progress: bytefacts_cluster::JobProgress::default(),
            error: None,
        }
    }

    #[test]
    fn a_run_and_a_job_are_meant_by_their_names() {
        let jobs = || vec![job("j1", "a", JobState::Failed), job("j2", "a", JobState::Running), job("j3", "b", JobState::Queued)];
        let ids = |what| meant(what, jobs()).unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!((ids("a"), ids("j3")), (vec!["j2".to_owned()], vec!["j3".to_owned()]));
        let error = |what: &str, jobs| meant(what, jobs).unwrap_err().to_string();
        assert_eq!(error("j1", jobs()), "j1 is not under way: job j1 is failed");
        assert_eq!(error("c", jobs()), "there is no run and no job c; under way: a, b");
        assert_eq!(error("c", Vec::new()), "there is no run and no job c, and nothing is under way");
    }

    #[test]
    fn what_was_cancelled_says_how_to_go_on() {
        let said = text("df://s:1", &job("j1", "a", JobState::Cancelled));
        assert!(said.contains("extract --resume a --out file:///f --cluster df://s:1"), "{said}");
        assert!(!text("df://s:1", &job("j1", "a", JobState::Completed)).contains("resume"));
        let audit = JobStatus { audit: Some("a.night-1".to_owned()), ..job("j2", "a", JobState::Cancelled) };
        assert!(text("df://s:1", &audit).contains("job j2 of audit a.night-1: cancelled\nwhat is derived is kept"));
        let jobs = || vec![job("j1", "a", JobState::Running), JobStatus { state: JobState::Running, ..audit.clone() }];
        let ids = |what| meant(what, jobs()).unwrap().into_iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!((ids("a"), ids("a.night-1")), (vec!["j1".to_owned()], vec!["j2".to_owned()]));
    }
}
