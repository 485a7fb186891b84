//! The cluster that `--cluster` names, for commands that ask it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytefacts_cluster::{ClusterStatus, JobStatus, RemoteScheduler};

use crate::address::scheduler_url;
use crate::args;
use crate::config::Settings;
use crate::exit::UsageError;
use crate::summary::utc;
use crate::table::{Layout, Limits, render};

/// A cluster, by its scheduler.
pub struct Cluster {
    /// As df://HOST:PORT.
    pub url: String,
    /// Its scheduler.
    pub scheduler: RemoteScheduler,
}

impl Cluster {
    /// The cluster that the arguments name, or the settings.
    ///
    /// # Errors
    /// When neither does, or what they name is none.
    pub fn of(args: &args::Cluster) -> anyhow::Result<Self> {
        let settings = Settings::load(args)?;
        let Some(url) = &settings.client.cluster else {
            return Err(UsageError("--cluster df://HOST:PORT is needed, or `client.cluster` in the settings".to_owned()).into());
        };
        let url = scheduler_url(url)?;
        Ok(Self { scheduler: RemoteScheduler::new(&url).with_tls(settings.cluster_tls.client()?), url })
    }

    /// How it is now.
    ///
    /// # Errors
    /// When its scheduler does not answer.
    pub async fn status(&self) -> anyhow::Result<ClusterStatus> {
        Ok(self.scheduler.status().await?)
    }
}

/// Columns of texts as a table.
///
/// # Errors
/// Never, for columns of one length.
pub fn table(columns: &[(&str, Vec<String>)]) -> anyhow::Result<String> {
    let columns = columns.iter().map(|(name, values)| (*name, Arc::new(StringArray::from_iter_values(values)) as ArrayRef));
    Ok(render(Layout::Grid(Limits::default()), &RecordBatch::try_from_iter(columns)?)?)
}

/// Jobs as a table, and below it why those that failed did.
///
/// # Errors
/// As [`table`].
pub fn jobs_as_text(jobs: &[&JobStatus]) -> anyhow::Result<String> {
    let column = |value: &dyn Fn(&JobStatus) -> String| jobs.iter().map(|job| value(job)).collect::<Vec<_>>();
    let known = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    let mut text = table(&[
        ("job", column(&|job| job.id.clone())),
        ("run", column(&|job| work(job).unwrap_or("-").to_owned())),
        ("state", column(&|job| state(job).to_owned())),
        ("bins", column(&bins)),
        ("files", column(&|job| job.progress.files.to_string())),
        ("errors", column(&|job| job.progress.errors.values().sum::<u64>().to_string())),
        ("submitted", column(&|job| utc(job.submitted_at_ms))),
        ("seconds", column(&|job| job.seconds.to_string())),
        ("corpus", column(&|job| known(job.corpus.as_ref()))),
    ])?;
    for job in jobs {
        if let Some(error) = &job.error {
            text.push_str(&format!("{} failed: {error}\n", job.id));
        }
    }
    Ok(text)
}

/// The bins of a job that are done, of how many.
fn bins(job: &JobStatus) -> String {
    match job.progress.bins {
        Some(bins) => format!("{}/{bins}", job.progress.bins_done),
        None => "-".to_owned(),
    }
}

/// What a job works on: an audit or a run, by its name.
pub fn work(job: &JobStatus) -> Option<&str> {
    job.audit.as_deref().or(job.run.as_deref())
}

/// A state in one word.
pub fn state(job: &JobStatus) -> &'static str {
    use bytefacts_cluster::JobState::{Cancelled, Completed, Failed, Queued, Running};
    match job.state {
        Queued => "queued",
        Running => "running",
        Completed => "completed",
        Failed => "failed",
        Cancelled => "cancelled",
    }
}
