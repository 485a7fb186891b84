//! What fixes an outcome (options) and what bounds it (limits).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Arguments of CPython's `compile`; the rest is fixed (mode `exec`, no flags, bytes in).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompileOptions {
    /// 0, 1 (no asserts) or 2 (no docstrings either).
    pub optimize: u8,
    /// Passed through; the worker has no future flags to inherit, so it changes nothing but the record.
    pub dont_inherit: bool,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { optimize: 0, dont_inherit: true }
    }
}

/// Bounds of one unit and of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time of a unit (enforced by the kernel inside the worker).
    pub unit_cpu: Duration,
    /// Wall time of a unit: a backstop for a worker that stands still. Generous, since it depends on the machine's load.
    pub unit_wall: Duration,
    /// CPU time of judging a unit, which takes some twenty times as long as compiling it (enforced like `unit_cpu`).
    pub judge_cpu: Duration,
    /// Address space of a worker, bytes (`RLIMIT_AS`; not enforced on macOS, which ignores it).
    pub memory_bytes: u64,
    /// C stack of the compiling thread, bytes: fixed, so that deep sources do not depend on the host's `ulimit -s`.
    pub stack_bytes: u64,
    /// Largest source, bytes; a larger one is a diagnostic of stage `read`.
    pub source_bytes: u64,
    /// Largest marshalled code, bytes; larger code is a diagnostic of stage `marshal`.
    pub code_bytes: u64,
    /// A worker is replaced after so many units.
    pub recycle_units: u64,
    /// A worker is replaced when it keeps more resident memory than this after a unit, bytes.
    pub recycle_bytes: u64,
    /// Wall time for a worker to start and report, and to end when told so.
    pub start_wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unit_cpu: Duration::from_secs(60),
            unit_wall: Duration::from_secs(300),
            judge_cpu: Duration::from_secs(20 * 60),
            memory_bytes: 2 << 30,
            stack_bytes: 64 << 20,
            source_bytes: 256 << 20,
            code_bytes: 512 << 20,
            recycle_units: 5_000,
            recycle_bytes: 256 << 20,
            start_wall: Duration::from_secs(30),
        }
    }
}

/// What an audit varies and nobody else should: what surrounds the compiler, and must not enter what it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSettings {
    /// `PYTHONHASHSEED`; `None` leaves it random.
    pub hash_seed: Option<u32>,
    /// Version of the marshal format. Version 2 has no references, whose presence depends on what was compiled before; `.pyc` files have 4.
    pub marshal_version: u8,
    /// Variables laid over the few that a worker has.
    pub environment: BTreeMap<String, String>,
    /// The folder that a worker stands in.
    pub folder: PathBuf,
    /// The `umask` of a worker; `None` leaves that of this process.
    pub umask: Option<u32>,
    /// Modules of the standard library that a worker imports before its first unit.
    pub imports: Vec<String>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            hash_seed: Some(0),
            marshal_version: 2,
            environment: BTreeMap::new(),
            folder: PathBuf::from("/"),
            umask: None,
            imports: Vec::new(),
        }
    }
}
