//! What becomes of one unit of source: marshalled code or a structured error, and the warnings on the way.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Result of compiling one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// Code or error.
    pub outcome: Outcome,
    /// Warnings in the order in which CPython gave them, severity [`Severity::Warning`].
    pub warnings: Vec<Diagnostic>,
    /// CPU time of the worker for this unit. What a killed worker used is counted only where it is known: the CPU limit.
    pub cpu: Duration,
}

impl Compiled {
    /// Whether the same source gives the same result anywhere. False where limits of memory or time, or a crash,
    /// decided: such results must not be cached.
    #[must_use]
    pub fn is_reproducible(&self) -> bool {
        match &self.outcome {
            Outcome::Code(_) => true,
            Outcome::Failed(failure) => !matches!(failure.error_type.as_str(), TIME_LIMIT | MEMORY_LIMIT | SIZE_LIMIT | WORKER_CRASH),
        }
    }
}

/// Code or error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The code object, marshalled in version 2 (no references, so the bytes depend on the source alone).
    Code(#[serde(with = "marshalled")] Bytes),
    /// Why there is none.
    Failed(Diagnostic),
}

/// Serialises bytes as bytes without asking the whole workspace for another feature of `bytes`.
mod marshalled {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(code: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(code)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Vec::deserialize(deserializer).map(Bytes::from)
    }
}

/// `error_type` of a unit that used more CPU or wall time than [`Limits`](crate::Limits) allow.
pub const TIME_LIMIT: &str = "TimeLimit";
/// `error_type` of a unit that needs more memory than [`Limits`](crate::Limits) allow. (`MemoryError` is CPython's own
/// "too complex to parse".)
pub const MEMORY_LIMIT: &str = "MemoryLimit";
/// `error_type` of a unit that brought two fresh workers down.
pub const WORKER_CRASH: &str = "WorkerCrash";
/// `error_type` of source or code beyond the sizes that [`Limits`](crate::Limits) allow.
pub const SIZE_LIMIT: &str = "SizeLimit";

/// An error or a warning with its place in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// `read`, `decode`, `compile`, `marshal` or `quarantine`.
    pub stage: String,
    /// Error or warning.
    pub severity: Severity,
    /// Class name of CPython's exception or warning, or one of [`TIME_LIMIT`], [`MEMORY_LIMIT`], [`SIZE_LIMIT`],
    /// [`WORKER_CRASH`].
    pub error_type: String,
    /// CPython's message, without position; an address in it is written `0x…`.
    pub message: String,
    /// 1-based line.
    pub line1: Option<i32>,
    /// 0-based column in characters, also where CPython counts bytes.
    pub col: Option<i32>,
    /// 1-based line of the end.
    pub end_line1: Option<i32>,
    /// 0-based column of the end, exclusive, in characters; `None` too where CPython cuts it off at the end of another line.
    pub end_col: Option<i32>,
    /// Text of the line, without its line terminator, at most [`MAX_TEXT`] characters.
    pub source_line: Option<String>,
}

/// Longest message and source line, in characters; longer ones are cut and end in `…`.
pub const MAX_TEXT: usize = 4096;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No code.
    Error,
    /// CPython complains and compiles.
    Warning,
}

impl Severity {
    /// `error` or `warning`, as the contract's column says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Diagnostic {
    /// An error of a limit or of the worker, which has no place in the source.
    pub(crate) fn limit(stage: &str, error_type: &str, message: String) -> Self {
        Self {
            stage: stage.to_owned(),
            severity: Severity::Error,
            error_type: error_type.to_owned(),
            message,
            line1: None,
            col: None,
            end_line1: None,
            end_col: None,
            source_line: None,
        }
    }
}
