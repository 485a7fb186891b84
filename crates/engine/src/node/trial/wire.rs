//! What an executor and the process that tries its files say to each other: lines of JSON, and the sources behind theirs.

use bytefacts_compile::{Interpreter, WorkerSettings};
use serde::{Deserialize, Serialize};

use crate::job::Job;

/// What the process says when it has started, and when it is through with a file.
pub(crate) const READY: &str = "ready";
pub(crate) const DONE: &str = "done";

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) job: Job,
    pub(crate) interpreter: Interpreter,
    pub(crate) worker: WorkerSettings,
}

/// A further line; the source follows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) repo: Option<String>,
    pub(crate) path: String,
    pub(crate) bytes: usize,
}

/// A message as a line.
pub(crate) fn line(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}
