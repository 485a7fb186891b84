//! Schedulers and executors as processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::peak_of;

/// A daemon that runs. Dropping it kills it.
pub struct Daemon {
    child: Child,
    /// Where it listens, as HOST:PORT.
    pub address: String,
}

impl Daemon {
    /// Starts a command that says where it listens, as JSON on its first line.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("cannot start a daemon")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("a daemon without stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let said: serde_json::Value = serde_json::from_str(&line).context("a daemon did not say where it listens")?;
        let address = said.get("address").and_then(|a| a.as_str()).context("a daemon without an address")?.to_owned();
        Ok(Self { child, address })
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes that it had in memory at its peak, its children apart.
    pub fn peak(&self) -> anyhow::Result<u64> {
        peak_of(self.id()).context("the peak of a process is read from /proc, which only Linux has")
    }

    /// Has it end in order.
    pub fn end(&mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.id().cast_signed()), Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<_> = self.child.wait();
    }
}
