//! The executor's side of trials: processes that try files, and what their deaths say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use bytefacts_compile::{Ending, Interpreter, Witness, WorkerSettings};
use bytefacts_corpus::Entry;
use bytes::Bytes;
use datafusion::common::Result;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::wire::{self, DONE, READY};
use crate::error::{lasting, transient};
use crate::job::Job;

/// How a process is started that calls [`serve`](super::serve).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Why a file is left alone: what ended every process that tried it, in words that say nothing of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Killer {
    pub(crate) deaths: u32,
    pub(crate) how: String,
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} processes that worked on nothing else died of it ({}); it is left out", self.deaths, self.how)
    }
}

/// Trials that are asked for from wherever a task runs, one file at a time. Clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Trials {
    trials: Arc<Mutex<OneByOne>>,
    /// The process's: a task's own runtime need not know of processes.
    runtime: Handle,
}

impl Trials {
    pub(crate) fn new(
        command: TrialCommand,
        job: &Job,
        interpreter: &Interpreter,
        worker: &WorkerSettings,
        runtime: Handle,
    ) -> Result<Self> {
        Ok(Self { trials: Arc::new(Mutex::new(OneByOne::new(command, job, interpreter, worker)?)), runtime })
    }

    /// Tries a file in a process of its own; says so if it is a killer. One that fails without killing anybody is none: the normal way meets the
    /// same failure, and says what it is.
    ///
    /// # Errors
    /// When processes cannot be started, or are killed from outside again and again.
    pub(crate) async fn of(&self, entry: Entry, source: Bytes) -> Result<Option<Killer>> {
        let mut trials = Arc::clone(&self.trials).lock_owned().await;
        // What is no longer waited for is aborted, and the process killed.
        let mut tried = JoinSet::new();
        tried.spawn_on(async move { trials.of(&entry, &source).await }, &self.runtime);
        match tried.join_next().await {
            Some(tried) => tried.map_err(lasting)?,
            None => Ok(None),
        }
    }
}

/// The trials of one attempt's files.
#[derive(Debug)]
struct OneByOne {
    command: TrialCommand,
    /// For the log.
    run: String,
    /// What each process is told first.
    setup: Vec<u8>,
    /// Deaths of a fresh process after which a file is a killer.
    limit: u32,
    process: Option<Process>,
}

/// Processes in a row that may be killed from outside, or not start, until something is said of it.
const MOST_LOSSES: u32 = 10;
/// After a kill from outside: who killed the last process may still be at it.
const LOSS_PAUSE: Duration = Duration::from_millis(200);
/// How long a process takes to start, at most, and how long a dead one to be gone. The kernel takes its time to clear up behind a large one.
const START_LIMIT: Duration = Duration::from_secs(60);
const DEATH_GRACE: Duration = Duration::from_secs(10);

/// Why a file could not be tried, which says nothing of it.
#[derive(Debug, thiserror::Error)]
enum TrialError {
    #[error("no process to try files in could be started by {program}: {reason}")]
    Start { program: String, reason: String },
    #[error("processes that try files are killed from outside, {losses} in a row ({how})")]
    Killed { losses: u32, how: String },
}

impl OneByOne {
    fn new(command: TrialCommand, job: &Job, interpreter: &Interpreter, worker: &WorkerSettings) -> Result<Self> {
        let setup = wire::Setup { job: job.clone(), interpreter: interpreter.clone(), worker: worker.clone() };
        Ok(Self {
            command,
            run: job.run.clone(),
            setup: wire::line(&setup).map_err(lasting)?,
            limit: job.options.quarantine_after.max(1),
            process: None,
        })
    }

    async fn of(&mut self, entry: &Entry, source: &Bytes) -> Result<Option<Killer>> {
        let (mut deaths, mut losses) = (0, 0);
        loop {
            let fresh = self.process.is_none();
            let mut process = match self.process.take() {
                Some(process) => process,
                None => self.start().await?,
            };
            let mut witness = Witness::of(process.child.id());
            let ended = match witness.watch_hunger(process.tries(entry, source)).await {
                Some(Ok(())) => {
                    self.process = Some(process);
                    return Ok(None);
                }
                Some(Err(_)) => process.end().await.and_then(|status| witness.ending(status)),
                // It is killed where it is dropped, below.
                None => Some(Ending::OutOfMemory),
            };
            let how = match ended {
                None => return Ok(None),
                Some(Ending::FromOutside(how)) => {
                    losses += 1;
                    if losses >= MOST_LOSSES {
                        return Err(transient(TrialError::Killed { losses, how }));
                    }
                    tracing::warn!(run = self.run, how, "a process that tried a file was killed from outside; trying the file again");
                    sleep(LOSS_PAUSE).await;
                    continue;
                }
                Some(Ending::OfItself(how)) => how,
                Some(Ending::OutOfMemory) => "want of memory".to_owned(),
            };
            tracing::warn!(run = self.run, repo = entry.repo, path = entry.path, how, fresh, "a process that tried a file died of it");
            deaths += u32::from(fresh);
            if deaths >= self.limit {
                let (run, repo, path) = (&self.run, &entry.repo, &entry.path);
                tracing::error!(run, repo, path, deaths, how, "this file kills whoever works on it: it is left out");
                return Ok(Some(Killer { deaths, how }));
            }
        }
    }

    async fn start(&self) -> Result<Process> {
        let program = self.command.program.display().to_string();
        let mut reason = String::new();
        for pause in [100, 400, 1_600, 0] {
            match timeout(START_LIMIT, Process::start(&self.command, &self.setup)).await {
                Ok(Ok(process)) => return Ok(process),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = format!("no answer within {} s", START_LIMIT.as_secs()),
            }
            sleep(Duration::from_millis(pause)).await;
        }
        Err(transient(TrialError::Start { program, reason }))
    }
}

/// A process that tries files until its input ends, as it does when this process ends, however that does.
#[derive(Debug)]
struct Process {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    async fn start(command: &TrialCommand, setup: &[u8]) -> io::Result<Self> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at a terminal is for the executor, which ends its processes itself.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else { return Err(io::Error::other("no pipes")) };
        let mut process = Self { child, requests, answers: BufReader::new(answers) };
        process.requests.write_all(setup).await?;
        process.requests.flush().await?;
        process.expect(READY).await?;
        Ok(process)
    }

    /// Has it try a file. After an error it is of no use.
    async fn tries(&mut self, entry: &Entry, source: &Bytes) -> io::Result<()> {
        let request = wire::Request { repo: entry.repo.clone(), path: entry.path.clone(), bytes: source.len() };
        self.requests.write_all(&wire::line(&request)?).await?;
        self.requests.write_all(source).await?;
        self.requests.flush().await?;
        self.expect(DONE).await
    }

    async fn expect(&mut self, answer: &str) -> io::Result<()> {
        let mut said = String::new();
        self.answers.read_line(&mut said).await?;
        if said.trim_end() == answer { Ok(()) } else { Err(io::Error::other(format!("it said {said:?} instead of {answer}"))) }
    }

    /// How it ended, once it is gone; `None` if it had to be killed, or nobody knows.
    async fn end(mut self) -> Option<ExitStatus> {
        match timeout(DEATH_GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _: io::Result<()> = self.child.kill().await;
                None
            }
        }
    }
}
