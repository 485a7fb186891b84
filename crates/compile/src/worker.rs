//! One worker process: starting it, one unit through it, and what its death means.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::ending::{Ending, Witness};
use crate::interpreter::Interpreter;
use crate::judging::{Evidence, Judgeable};
use crate::launch;
use crate::outcome::Diagnostic;
use crate::protocol::{self, Answer, EXIT_MEMORY, JudgementPart, PIPE_BUFFER};
use crate::settings::{CompileOptions, Limits, WorkerSettings};

/// What the workers of this build run. An outcome depends on it as well, so whoever keeps outcomes keys them on it.
pub const SCRIPT: &str = include_str!("worker.py");
/// The module that judges; a worker loads it when it is first asked to.
const ORACLE: &str = include_str!("oracle.py");
/// The signal of an `ITIMER_PROF` that ran out; 27 on Linux (x86, Arm) and macOS.
const SIGPROF: i32 = 27;
/// How long a process whose pipe broke may take to be gone before it is killed. The kernel takes its time to clear up behind a large one, and
/// who is killed here too soon has no end of its own that would tell why it died.
const DEATH_GRACE: Duration = Duration::from_secs(10);
/// How much of a worker's complaints is kept for the log, bytes.
const STDERR_KEPT: u64 = 8 << 10;

/// Everything that workers of one pool have in common.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint {
    pub(crate) interpreter: Interpreter,
    pub(crate) options: CompileOptions,
    pub(crate) limits: Limits,
    pub(crate) settings: WorkerSettings,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot run {executable}: {source}")]
    Spawn { executable: String, source: io::Error },
    #[error("the worker did not report within {} s: {stderr}", limit.as_secs())]
    Silent { limit: Duration, stderr: String },
    #[error("the worker ended at its start: {source}: {stderr}")]
    Ended { source: io::Error, stderr: String },
    /// Trying again cannot help.
    #[error("the worker is {found}, but the interpreter was probed as {expected}")]
    Changed { found: String, expected: String },
}

/// How a worker ended in the middle of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// The kernel ended it at the CPU limit.
    Cpu,
    /// It gave no answer within the wall limit and was killed.
    Wall,
    /// It ran out of memory where it could not answer.
    Memory,
    /// It crashed: what ended it, and its last complaints for the log.
    Crash { how: String, stderr: String },
    /// The kernel killed it for want of memory, which others may have taken.
    OutOfMemory,
    /// Somebody else killed it: by which signal.
    Killed { how: String },
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    stderr: ChildStderr,
    units: u64,
}

impl Blueprint {
    /// Starts a worker and waits until it says that it is ready and what was expected.
    pub(crate) async fn start(&self) -> Result<Worker, StartError> {
        let Self { interpreter, options, limits, settings } = self;
        let arguments = [
            options.optimize.to_string(),
            u8::from(options.dont_inherit).to_string(),
            limits.unit_cpu.as_secs_f64().max(0.001).to_string(),
            limits.memory_bytes.to_string(),
            limits.stack_bytes.to_string(),
            limits.code_bytes.min(u64::from(u32::MAX)).to_string(),
            limits.judge_cpu.as_secs_f64().max(0.001).to_string(),
            ORACLE.to_owned(),
            settings.marshal_version.to_string(),
            settings.umask.map_or_else(|| "-1".to_owned(), |mask| mask.to_string()),
            settings.imports.join(","),
        ];
        let mut command = launch::isolated(&interpreter.executable, settings, SCRIPT, arguments);
        let spawned = |source| StartError::Spawn { executable: interpreter.executable.display().to_string(), source };
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(spawned)?;
        let (Some(requests), Some(answers), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(spawned(io::Error::other("no pipes")));
        };
        let mut worker = Worker { child, requests, answers: BufReader::with_capacity(PIPE_BUFFER, answers), stderr, units: 0 };

        let found = match timeout(limits.start_wall, protocol::read_greeting(&mut worker.answers)).await {
            Ok(Ok(found)) => found,
            Ok(Err(source)) => {
                wait_or_kill(&mut worker.child).await;
                return Err(StartError::Ended { source, stderr: last_words(&mut worker.stderr).await });
            }
            Err(_) => {
                kill(&mut worker.child).await;
                return Err(StartError::Silent { limit: limits.start_wall, stderr: last_words(&mut worker.stderr).await });
            }
        };
        // CPython counts seed 0 as "not randomised" and any other, fixed or random, as randomised.
        let randomised = u8::from(settings.hash_seed != Some(0));
        let expected = format!("{} {} {randomised}", interpreter.version, interpreter.magic);
        if found == expected { Ok(worker) } else { Err(StartError::Changed { found, expected }) }
    }
}

impl Worker {
    /// Whether it has answered nothing yet, so that what it does depends on the next unit alone.
    pub(crate) fn is_fresh(&self) -> bool {
        self.units == 0
    }

    /// How many units it has answered.
    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// How it ended while it had nothing to do, if it did. Who is just being killed may still seem to live.
    pub(crate) fn ended_idle(&mut self) -> Option<Death> {
        let how = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => match told_by(status, Witness::of(None)) {
                Ok(death) => return Some(death),
                Err(how) => how,
            },
            Err(error) => error.to_string(),
        };
        Some(Death::Crash { how, stderr: String::new() })
    }

    /// Sends one unit through it. After an error the worker is dead.
    pub(crate) async fn compile(&mut self, source: &[u8], limits: &Limits) -> Result<Answer, Death> {
        let mut witness = Witness::of(self.child.id());
        let exchange = async {
            protocol::write_request(&mut self.requests, source).await?;
            protocol::read_answer(&mut self.answers, limits.code_bytes).await
        };
        match witness.watch(timeout(limits.unit_wall, exchange)).await {
            Ok(Ok(answer)) => {
                self.units += 1;
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.died(&error, witness).await),
            Err(_) => {
                kill(&mut self.child).await;
                Err(Death::Wall)
            }
        }
    }

    /// Has it say what `dis` makes of one unit, and sends that on. Gives the judge's failure, if there is one, and the resident
    /// memory afterwards in bytes. After an error the worker is dead.
    pub(crate) async fn judge(
        &mut self,
        unit: &Judgeable,
        evidence: &mpsc::Sender<Evidence>,
        limits: &Limits,
    ) -> Result<(Option<Diagnostic>, u64), Death> {
        let mut witness = Witness::of(self.child.id());
        let mut asked = false;
        loop {
            let exchange = async {
                if !asked {
                    protocol::write_judge_request(&mut self.requests, &unit.source, &unit.path, unit.adaptive).await?;
                }
                protocol::read_judgement_part(&mut self.answers, limits.code_bytes).await
            };
            match witness.watch(timeout(limits.unit_wall, exchange)).await {
                Ok(Ok(JudgementPart::Frame(facts))) => {
                    // Who listens no more needs no facts, but the worker must get rid of them.
                    let _ = evidence.send(Evidence::Facts(Bytes::from(facts))).await;
                }
                Ok(Ok(JudgementPart::End { failure, resident })) => {
                    self.units += 1;
                    return Ok((failure, resident));
                }
                Ok(Err(error)) => return Err(self.died(&error, witness).await),
                Err(_) => {
                    kill(&mut self.child).await;
                    return Err(Death::Wall);
                }
            }
            asked = true;
        }
    }

    /// Lets it end by itself, as it does at the end of its input.
    pub(crate) async fn retire(self, grace: Duration) {
        let Self { mut child, requests, .. } = self;
        drop(requests);
        if timeout(grace, child.wait()).await.is_err() {
            kill(&mut child).await;
        }
    }

    async fn died(&mut self, error: &io::Error, witness: Witness) -> Death {
        let how = match wait_or_kill(&mut self.child).await {
            Some(status) => match told_by(status, witness) {
                Ok(death) => return death,
                Err(how) => how,
            },
            None => format!("broken protocol ({error})"),
        };
        Death::Crash { how, stderr: last_words(&mut self.stderr).await }
    }
}

/// What the end of a worker says of its death; for a crash, what ended it.
fn told_by(status: ExitStatus, witness: Witness) -> Result<Death, String> {
    match (status.signal(), status.code()) {
        (Some(SIGPROF), _) => return Ok(Death::Cpu),
        (_, Some(EXIT_MEMORY)) => return Ok(Death::Memory),
        _ => {}
    }
    match witness.ending(status) {
        Some(Ending::OutOfMemory) => Ok(Death::OutOfMemory),
        Some(Ending::FromOutside(how)) => Ok(Death::Killed { how }),
        Some(Ending::OfItself(how)) => Err(how),
        None => Err(status.to_string()),
    }
}

/// The end of a process that should be ending; `None` if it had to be killed.
async fn wait_or_kill(child: &mut Child) -> Option<ExitStatus> {
    if let Ok(Ok(status)) = timeout(DEATH_GRACE, child.wait()).await {
        return Some(status);
    }
    kill(child).await;
    None
}

async fn kill(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "cannot kill a worker");
    }
}

/// What a dead worker complained of. Nothing is read before: a worker writes last words only, they fit the pipe, and
/// reading would signal it (see `die_with_parent` in `worker.py`).
async fn last_words(stderr: &mut ChildStderr) -> String {
    let mut words = Vec::new();
    // The pipe ends with the process; only a child of the worker could hold it open.
    let _ = timeout(DEATH_GRACE, stderr.take(STDERR_KEPT).read_to_end(&mut words)).await;
    String::from_utf8_lossy(&words).trim().to_owned()
}
