//! What process 1 owes: a container has no other.
//!
//! The kernel gives process 1 every process that has lost its parent, such as the workers of a trial that was killed, and they stay as zombies until it
//! asks how they ended. It also spares process 1 every signal for which it has no handler, so that a command that listens to none could not be ended
//! but by force. So process 1 starts the command as a child, hands on the signals, reaps whoever ends, and ends as the child did.

use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::signals::BY_SIGNAL;

/// What is handed on: whatever somebody may send to end a command, or to have it look at its terminal again.
const HANDED_ON: [Signal; 7] =
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGINT];

/// Whether this process is the first of its container, and so has to do this.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs this very command as a child until it ends; how it ended.
///
/// # Errors
/// When it cannot be started.
pub fn run() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(async {
        // Handlers first: whatever comes from now on is kept, and the child begins with none.
        let mut ended = signal(SignalKind::child()).context("cannot listen for the ends of children")?;
        let (tell, mut told) = mpsc::channel(16);
        for number in HANDED_ON.into_iter().filter(|&number| is_ours_to_hand_on(number)) {
            let mut stream = signal(SignalKind::from_raw(number as i32)).with_context(|| format!("cannot listen for {number}"))?;
            let tell = tell.clone();
            tokio::spawn(async move { while stream.recv().await.is_some() && tell.send(number).await.is_ok() {} });
        }
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        // (Not tokio's: it asks how its children ended as well, and only one gets the answer.)
        let child = Command::new(program).args(std::env::args_os().skip(1)).spawn().context("cannot start the command")?;
        let child = Pid::from_raw(i32::try_from(child.id()).context("an unheard-of process id")?);
        loop {
            if let Some(status) = reap(child) {
                return Ok(code(status));
            }
            tokio::select! {
                _ = ended.recv() => {}
                Some(number) = told.recv() => {
                    // It may have just ended: then there is nobody to tell.
                    let _: nix::Result<()> = kill(child, number);
                }
            }
        }
    })
}

/// Ctrl-C at a terminal goes to all who have it as theirs, the child among them, and twice means at once.
fn is_ours_to_hand_on(number: Signal) -> bool {
    number != Signal::SIGINT || !std::io::stdin().is_terminal()
}

/// Asks of all who have ended how they did; the answer of `child`, if it is one of them.
fn reap(child: Pid) -> Option<ExitStatus> {
    let mut of_child = None;
    loop {
        let (who, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(who, code)) => (who, code << 8),
            Ok(WaitStatus::Signaled(who, number, _)) => (who, number as i32),
            Ok(WaitStatus::StillAlive) => return of_child,
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return of_child,
        };
        if who == child {
            of_child = Some(ExitStatus::from_raw(status));
        }
    }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|number| BY_SIGNAL + number));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
