//! The tasks that an executor has under way, so that they can be ended with their job.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::ShuffleWritePartition;
use ballista_core::serde::protobuf::{RuntimeStatsReport, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use ballista_executor::executor::Executor;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

/// A task: its job, its stage and its number.
type Key = (String, usize, usize);

/// The tasks under way. It is an execution engine, since Ballista shows its tasks to nobody else.
#[derive(Default)]
pub(crate) struct Tasks {
    engine: DefaultExecutionEngine,
    /// Of this executor, which can end them.
    executor: OnceLock<Arc<Executor>>,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    keys: Mutex<BTreeSet<Key>>,
    ended: Notify,
}

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// Says whose tasks they are.
    pub(crate) fn belong_to(&self, executor: Arc<Executor>) {
        // It is said once.
        let _: Result<(), _> = self.executor.set(executor);
    }

    /// Ends the tasks of a job.
    pub(crate) async fn end(&self, job: &str) {
        let Some(executor) = self.executor.get() else { return };
        let keys: Vec<Key> = self.running.lock().iter().filter(|(of, _, _)| of == job).cloned().collect();
        if !keys.is_empty() {
            tracing::info!(job, tasks = keys.len(), "the job was cancelled: its tasks are ended");
        }
        for (job, stage, task) in keys {
            if let Err(error) = executor.cancel_task(JobId::from(job), stage, task).await {
                tracing::debug!(%error, "a task could not be ended");
            }
        }
    }

    /// Has `wake` notified whenever a task has ended, so that the scheduler hears of it at once. Ballista reports with its next question only,
    /// and gives a task's place back when the report is ready.
    pub(crate) async fn report_ends(&self, places: &Semaphore, cores: usize, wake: &Notify) {
        const READY_WITHIN: usize = 50;
        loop {
            self.running.ended.notified().await;
            for _ in 0..READY_WITHIN {
                sleep(Duration::from_millis(1)).await;
                let taken = cores.saturating_sub(places.available_permits());
                if taken <= self.running.lock().len() {
                    break;
                }
            }
            wake.notify_one();
        }
    }
}

impl ExecutionEngine for Tasks {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let key = (job_id.as_str().to_owned(), stage_id, task_id);
        let stage = self.engine.create_query_stage_exec(job_id, stage_id, task_id, partitions, plan, work_dir, config)?;
        Ok(Arc::new(Task { stage, key, running: Arc::clone(&self.running) }))
    }
}

/// A task, which is known while it runs.
struct Task {
    stage: Arc<dyn QueryStageExecutor>,
    key: Key,
    running: Arc<Running>,
}

/// Off the list when the task ends, however it does.
struct OnTheList<'a>(&'a Task);

impl Drop for OnTheList<'_> {
    fn drop(&mut self) {
        self.0.running.lock().remove(&self.0.key);
        self.0.running.ended.notify_one();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.stage, f)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.stage, f)
    }
}

#[async_trait]
impl QueryStageExecutor for Task {
    async fn execute_query_stage(&self, task: usize, context: Arc<TaskContext>) -> Result<Vec<ShuffleWritePartition>> {
        self.running.lock().insert(self.key.clone());
        let _running = OnTheList(self);
        self.stage.execute_query_stage(task, context).await
    }
    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.stage.collect_plan_metrics()
    }
    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.stage.collect_runtime_stats_reports()
    }
    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.stage.collect_window_state_reports()
    }
    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.stage.collect_column_stats()
    }
}
