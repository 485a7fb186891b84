//! How a cluster is: its executors and its jobs, as `bytefacts status` shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jobs::JobState;

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The version of the scheduler.
    pub version: String,
    /// Whether it has the executors that it needs.
    pub ready: bool,
    /// Its executors, by id.
    pub executors: Vec<ExecutorStatus>,
    /// The jobs that are under way and the last that ended, the oldest first.
    pub jobs: Vec<JobStatus>,
}

/// How an executor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorStatus {
    /// Its id, which changes when it restarts.
    pub id: String,
    /// The node that it runs on, unless it says nothing.
    pub node: Option<String>,
    /// The host under which the others find it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Bins that it works on at a time.
    pub cores: u32,
    /// Those that it works on now.
    pub cores_in_use: u32,
    /// Seconds since it was heard of.
    pub silent_seconds: Option<u64>,
    /// Its version of bytefacts.
    pub version: Option<String>,
    /// The version of its CPython.
    pub python: Option<String>,
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The scheduler's name for it.
    pub id: String,
    /// The run that it works on; a run that is submitted again has several jobs.
    pub run: Option<String>,
    /// The audit of that run that it derives for, if it is one of an audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// Which client of the run has submitted it.
    #[serde(default)]
    pub client: Option<String>,
    /// What became of it.
    pub state: JobState,
    /// Where its corpus is, once it is planned.
    pub corpus: Option<String>,
    /// Where its facts go, once it is planned.
    pub facts: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub submitted_at_ms: u64,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
    /// Seconds from the first until the end, or until now.
    pub seconds: u64,
    /// How far it is.
    pub progress: JobProgress,
    /// How often its stages were begun again, since executors were lost.
    #[serde(default)]
    pub reruns: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Its bins, once it is planned; of an audit, the tasks that bins and conditions are dealt out in.
    pub bins: Option<u64>,
    /// Those that are landed.
    pub bins_done: u64,
    /// The files in them; of an audit, each under each condition.
    pub files: u64,
    /// The errors in these, by the stage that they arose in.
    pub errors: BTreeMap<String, u64>,
}
