//! Names: of runs and attempts, of files in repositories, of objects below the root of the facts.

mod file;
mod id;
pub(crate) mod keys;

pub use file::FileName;
pub use id::{AttemptId, IdError, MAX_ATTEMPT_ID, MAX_RUN_ID, RunId};
pub use keys::DATA_FOLDER;
