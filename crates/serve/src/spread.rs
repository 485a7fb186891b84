//! Queries that are spread over a cluster's executors: those that read much, and those of whoever wants it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::prelude::SessionConfig;

/// The executors of a cluster.
#[async_trait]
pub trait Executors: std::fmt::Debug + Send + Sync {
    /// A state that plans what they can run.
    fn planning(&self, state: SessionState) -> SessionState;

    /// Parts of a plan that they work on at a time, together.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    async fn cores(&self) -> Result<usize>;

    /// Runs a plan of such a state, with its settings. Whoever drops the stream, or this call, ends the work.
    ///
    /// # Errors
    /// When the cluster cannot be reached, or fails.
    async fn run(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<SendableRecordBatchStream>;

    /// How the cluster is.
    ///
    /// # Errors
    /// When it cannot be asked.
    async fn state(&self) -> Result<ClusterState>;
}

/// How a cluster is.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    /// Its executors.
    pub executors: Vec<ExecutorState>,
    /// Its jobs, those under way and the last that ended.
    pub jobs: Vec<JobState>,
}

/// How an executor is: a row of `system.executors`, where each column has its meaning.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of the table are these, and say what they mean")]
pub struct ExecutorState {
    pub id: String,
    pub node: Option<String>,
    pub address: String,
    pub cores: u32,
    pub cores_in_use: u32,
    pub silent_seconds: Option<u64>,
    pub version: Option<String>,
    pub python: Option<String>,
}

/// How a job is: a row of `system.jobs`, where each column has its meaning.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns of the table are these, and say what they mean")]
pub struct JobState {
    pub id: String,
    pub run: Option<String>,
    pub state: &'static str,
    pub corpus: Option<String>,
    pub facts: Option<String>,
    pub submitted_at_ms: u64,
    pub ended_at_ms: Option<u64>,
    pub seconds: u64,
    pub bins: Option<u64>,
    pub bins_done: u64,
    pub files: u64,
    pub errors: u64,
    pub reruns: u64,
    pub error: Option<String>,
}

/// A cluster, and what is left to it.
#[derive(Clone)]
pub struct Spread {
    /// Its executors.
    pub executors: Arc<dyn Executors>,
    /// Bytes of data files from which on a query is spread, unless its session wants otherwise: below, waiting for tasks costs more than they gain.
    pub least_bytes: u64,
}

/// Bytes of the data files that a plan reads; none if it also reads what only this process has.
///
/// # Errors
/// Never: nothing that is asked for can fail.
pub(crate) fn file_bytes(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<u64>> {
    let mut bytes = Some(0);
    plan.apply(|node| {
        if node.children().is_empty() {
            if node.downcast_ref::<EmptyExec>().is_some() || node.downcast_ref::<PlaceholderRowExec>().is_some() {
                return Ok(TreeNodeRecursion::Continue);
            }
            let files = node.downcast_ref::<DataSourceExec>().and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
            let of_node =
                files.map(|scan| scan.file_groups.iter().flat_map(|group| group.iter()).map(|file| file.object_meta.size).sum::<u64>());
            bytes = bytes.zip(of_node).map(|(all, of_node)| all + of_node);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}
