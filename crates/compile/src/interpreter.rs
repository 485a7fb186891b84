//! A CPython 3.13 that was run and found fit.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use bytefacts_bytecode::opcode;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::environment::Environment;
use crate::launch;
use crate::settings::WorkerSettings;

/// An interpreter that [`probe`] accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interpreter {
    /// Absolute path of the binary itself, past shims and wrappers.
    pub executable: PathBuf,
    /// `3.13.N`.
    pub version: String,
    /// Magic number of `.pyc` files, lower hex: `f30d0d0a`.
    pub magic: String,
    /// `cpython`.
    pub implementation: String,
    /// Folder of its standard library.
    pub stdlib: PathBuf,
}

/// Why an executable is not an interpreter for us.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It could not be run.
    #[error("cannot run it: {0}")]
    Spawn(#[source] io::Error),
    /// It did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It ended badly.
    #[error("it ended with {status}{}", if .stderr.is_empty() { String::new() } else { format!(": {}", .stderr) })]
    Failed {
        /// Exit status or signal.
        status: String,
        /// First line of what it complained.
        stderr: String,
    },
    /// It answered something else than a Python does.
    #[error("its answer is not the probe's report: {0}")]
    Report(#[source] serde_json::Error),
    /// A Python, but not CPython 3.13.
    #[error("it is {implementation} {version}, not CPython {}.{}", opcode::PYTHON.0, opcode::PYTHON.1)]
    OtherPython {
        /// As `sys.implementation.name` says it.
        implementation: String,
        /// Its version.
        version: String,
    },
    /// A pre-release, whose bytecode is not the final one's.
    #[error("it is the pre-release {0}; only final releases of 3.13 compile reproducibly")]
    PreRelease(String),
    /// A free-threaded build.
    #[error("it is a free-threaded build (Py_GIL_DISABLED), whose compile output depends on threads; a build with the GIL is needed")]
    FreeThreaded,
    /// A debug build.
    #[error("it is a debug build, whose recursion limits differ from those of releases; a release build is needed")]
    Debug,
    /// Bytecode of another format than our tables describe.
    #[error("its {what} is {found}, but this bytefacts knows {expected}")]
    Bytecode {
        /// `magic number` or `opcode map`.
        what: &'static str,
        /// What the interpreter has.
        found: String,
        /// What our tables have.
        expected: String,
    },
}

/// What `probe.py` prints.
#[derive(Debug, Clone, Deserialize)]
struct Report {
    executable: PathBuf,
    implementation: String,
    version: String,
    magic: String,
    opcode_map: String,
    stdlib: PathBuf,
    free_threaded: bool,
    debug: bool,
}

/// How long an interpreter may take to say what it is.
pub const PROBE_LIMIT: Duration = Duration::from_secs(10);

const PROBE: &str = include_str!("probe.py");

/// Runs `candidate` and decides whether it fits.
///
/// It runs twice: once in `environment`, where shims and wrappers work, to learn which binary stands behind it, and
/// then that binary as workers run it.
///
/// # Errors
/// [`ProbeError`] says what is wrong with it.
pub async fn probe(environment: &Environment, candidate: &Path) -> Result<Interpreter, ProbeError> {
    probe_within(environment, candidate, PROBE_LIMIT).await
}

pub(crate) async fn probe_within(environment: &Environment, candidate: &Path, limit: Duration) -> Result<Interpreter, ProbeError> {
    let mut outer = Command::new(candidate);
    outer.args(["-I", "-S", "-B", "-c", PROBE]).env_clear().envs(environment.iter()).stdin(Stdio::null()).kill_on_drop(true);
    let behind = accept(run(outer, limit).await?)?.executable;
    accept(run(launch::isolated(&behind, &WorkerSettings::default(), PROBE, []), limit).await?)
}

async fn run(mut command: Command, limit: Duration) -> Result<Report, ProbeError> {
    let answer = async {
        loop {
            match command.output().await {
                // Just written, and a process that another thread is starting still holds it open for a moment.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => sleep(Duration::from_millis(10)).await,
                done => return done,
            }
        }
    };
    let output = timeout(limit, answer).await.map_err(|_| ProbeError::Timeout(limit))?.map_err(ProbeError::Spawn)?;
    if !output.status.success() {
        return Err(ProbeError::Failed { status: output.status.to_string(), stderr: first_line(&output) });
    }
    serde_json::from_slice(&output.stdout).map_err(ProbeError::Report)
}

fn first_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().chars().take(200).collect()
}

fn accept(report: Report) -> Result<Interpreter, ProbeError> {
    let Report { executable, implementation, version, magic, opcode_map, stdlib, free_threaded, debug } = report;
    let minor = format!("{}.{}.", opcode::PYTHON.0, opcode::PYTHON.1);
    let Some(patch) = version.strip_prefix(&minor).filter(|_| implementation == "cpython") else {
        return Err(ProbeError::OtherPython { implementation, version });
    };
    if !patch.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProbeError::PreRelease(version));
    }
    if free_threaded {
        return Err(ProbeError::FreeThreaded);
    }
    if debug {
        return Err(ProbeError::Debug);
    }
    let expected = hex::encode(opcode::MAGIC);
    if magic != expected {
        return Err(ProbeError::Bytecode { what: "magic number", found: magic, expected });
    }
    if opcode_map != opcode::map_digest() {
        return Err(ProbeError::Bytecode { what: "opcode map", found: opcode_map, expected: opcode::map_digest().to_owned() });
    }
    if executable.as_os_str() == OsStr::new("") {
        return Err(ProbeError::Failed { status: "no path of its own".to_owned(), stderr: String::new() });
    }
    Ok(Interpreter { executable, version, magic, implementation, stdlib })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            executable: "/p/python3.13".into(),
            implementation: "cpython".into(),
            version: "3.13.7".into(),
            magic: hex::encode(opcode::MAGIC),
            opcode_map: opcode::map_digest().into(),
            stdlib: "/p/lib".into(),
            free_threaded: false,
            debug: false,
        }
    }

    fn refusal(change: impl FnOnce(&mut Report)) -> String {
        let mut report = report();
        change(&mut report);
        accept(report).unwrap_err().to_string()
    }

    #[test]
    fn a_final_release_with_our_bytecode_is_accepted() {
        assert_eq!(accept(report()).unwrap().version, "3.13.7");
    }

    #[test]
    fn every_unfit_kind_is_refused_by_name() {
        assert_eq!(refusal(|r| r.version = "3.12.1".into()), "it is cpython 3.12.1, not CPython 3.13");
        assert_eq!(refusal(|r| r.version = "3.130.1".into()), "it is cpython 3.130.1, not CPython 3.13");
        assert_eq!(refusal(|r| r.implementation = "pypy".into()), "it is pypy 3.13.7, not CPython 3.13");
        assert!(refusal(|r| r.version = "3.13.0rc2".into()).contains("pre-release 3.13.0rc2"));
        assert!(refusal(|r| r.free_threaded = true).contains("free-threaded"));
        assert!(refusal(|r| r.debug = true).contains("debug build"));
        assert!(refusal(|r| r.magic = "cb0d0d0a".into()).contains("magic number is cb0d0d0a, but this bytefacts knows f30d0d0a"));
        assert!(refusal(|r| r.opcode_map = "00".into()).contains("opcode map is 00"));
    }
}
