//! The client's side of a job: submit it until every bin is on record, commit the run.

mod answers;
mod commit;
mod error;
mod open_run;
mod patience;
mod watch;

use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytefacts_landing::{Clock, Committed, LandingError, RunId, Swept, Tolerance};
use bytefacts_stores::Stores;
use datafusion::common::DataFusionError;

pub use self::error::JobError;
use self::open_run::OpenRun;
use self::patience::Ended;
pub use self::patience::Patience;
pub(crate) use self::watch::Watched;
use crate::attempt_id::fresh_attempt;
use crate::error::is_lasting;
use crate::job::Job;
use crate::progress::Progress;

/// A job that ended well.
#[derive(Debug)]
pub struct Finished {
    /// The run and where `current` points.
    pub committed: Committed,
    /// What was tidied up of this run afterwards. An error here does no harm: `gc` finds it.
    pub swept: Result<Swept, LandingError>,
}

/// What a job needs of a cluster.
#[async_trait]
pub trait JobCluster: Send + Sync {
    /// Has the cluster run the job, and returns its answers: rows of (bin, rows landed).
    ///
    /// # Errors
    /// When the cluster fails the job, or cannot be reached.
    async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>, DataFusionError>;

    /// Ends what was submitted last, as far as the cluster can be reached.
    async fn cancel(&self);

    /// Whether the cluster can be reached now.
    async fn is_reachable(&self) -> bool;
}

/// Runs `job` on `cluster` to its commit.
///
/// The records of the bins, not the cluster's answers, decide when a run is whole: answers are lost with schedulers, executors and messages.
/// An answer that differs from them is only logged. `progress` is given the bins that others land; executors of this
/// process count theirs themselves. A run that misses more of its corpus than `tolerance` allows is committed and does not
/// become current.
///
/// # Errors
/// See [`JobError`]. Whatever failed, the run can be resumed under its id, and bins with a record are not done again.
pub async fn run_job(
    cluster: &dyn JobCluster,
    job: &Job,
    stores: &Stores,
    clock: &dyn Clock,
    patience: Patience,
    tolerance: Tolerance,
    progress: Option<&Progress>,
) -> Result<Finished, JobError> {
    let started_at_ms = clock.now_millis();
    let facts = stores.open(&job.facts)?.facts();
    let run_id = RunId::new(job.run.clone())?;
    facts.check_create_only(&fresh_attempt()).await?;
    let mut run = OpenRun::new(&facts, &run_id, progress);
    let answers = supervise(cluster, || cluster.submit(job), &mut run, patience).await?;

    if let (Some(answers), Some(expected)) = (answers, run.index().await?) {
        answers::compare(&job.run, &expected, &answers);
    }
    let committed = commit::commit(job, &facts, run_id, started_at_ms, tolerance, clock).await?;
    let swept = facts.sweep_run(&committed.document).await;
    Ok(Finished { committed, swept })
}

/// Submits work until it is whole by its records; returns the answers if the last submission gave them.
pub(crate) async fn supervise<F: Future<Output = Result<Vec<RecordBatch>, DataFusionError>>>(
    cluster: &dyn JobCluster,
    submit: impl Fn() -> F,
    run: &mut dyn Watched,
    patience: Patience,
) -> Result<Option<Vec<RecordBatch>>, JobError> {
    let mut fruitless = 0;
    run.look().await?;
    if run.is_whole() {
        // Of a client that died before its commit.
        return Ok(None);
    }
    loop {
        let (before, mut has_begun) = (run.done(), false);
        let ended = tokio::select! {
            answers = submit() => match answers {
                Ok(answers) => {
                    run.look().await?;
                    if run.is_whole() {
                        return Ok(Some(answers));
                    }
                    Ended::Failed(DataFusionError::Execution("the cluster answered before every bin was on record".to_owned()))
                }
                Err(error) => Ended::Failed(error),
            },
            watched = watch::watch(run, patience, &mut has_begun) => watched?,
        };
        // A bin may have been recorded since the watch last looked, and by another client: where one has committed and swept, a latecomer's files go
        // under its hands, which is no fault of the run.
        run.look().await?;
        if matches!(ended, Ended::Stalled(_)) || run.is_whole() {
            cluster.cancel().await;
        }
        if run.is_whole() {
            tracing::warn!(run = run.name(), reason = %ended, "every bin is on record: the run is completed without the cluster's answer");
            return Ok(None);
        }
        if let Ended::Failed(error) = &ended
            && is_lasting(error)
        {
            return Err(ended.into());
        }
        if run.done() > before {
            fruitless = 0;
        } else if cluster.is_reachable().await {
            fruitless += 1;
        }
        // What nobody has begun stands in line behind other jobs.
        let in_line = matches!(ended, Ended::Stalled(_)) && !has_begun && patience.fruitless > 1;
        let enough = if in_line { patience.fruitless.saturating_mul(IN_LINE) } else { patience.fruitless };
        if fruitless >= enough {
            return Err(ended.into());
        }
        if !reachable_within(cluster, patience.unreachable).await {
            return Err(JobError::Unreachable { seconds: patience.unreachable.as_secs(), last: ended.to_string() });
        }
        tracing::warn!(run = run.name(), reason = %ended, done = run.done(), "submitting the job again: bins with a record are not done again");
    }
}

/// How much more patience there is with a job that nobody has begun.
const IN_LINE: u32 = 10;

/// Waits for a cluster that is out of reach; says whether it came back.
async fn reachable_within(cluster: &dyn JobCluster, limit: Duration) -> bool {
    let retry = async {
        loop {
            // Also before the first look: what failed a job now may be on its way down.
            tokio::time::sleep(Duration::from_secs(1).min(limit / 4)).await;
            if cluster.is_reachable().await {
                return;
            }
        }
    };
    tokio::time::timeout(limit, retry).await.is_ok()
}

#[cfg(test)]
mod tests;
