//! Processes and what they cost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// What one run of a process cost.
#[derive(Clone, Copy)]
pub struct Cost {
    pub cpu: Duration,
    pub wall: Duration,
}

/// Runs a process to its end; its CPU time includes that of its children.
pub fn run(command: &mut Command) -> anyhow::Result<Cost> {
    let before = children()?;
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let wall = begun.elapsed();
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(Cost { cpu: children()? - before, wall })
}

/// CPU time of all children of this process that have ended.
pub fn children() -> anyhow::Result<Duration> {
    cpu(&getrusage(UsageWho::RUSAGE_CHILDREN)?)
}

/// CPU time of this process so far.
pub fn own() -> anyhow::Result<Duration> {
    cpu(&getrusage(UsageWho::RUSAGE_SELF)?)
}

fn cpu(usage: &Usage) -> anyhow::Result<Duration> {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// A binary that was built beside this one.
pub fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} does not exist: run `cargo build --release` first", path.display());
    Ok(path)
}

/// The interpreter that bytefacts compiles with.
pub fn interpreter(bytefacts: &Path) -> anyhow::Result<PathBuf> {
    found(bytefacts, "executable")
}

/// The folder of its standard library.
pub fn stdlib(bytefacts: &Path) -> anyhow::Result<PathBuf> {
    found(bytefacts, "stdlib")
}

fn found(bytefacts: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let found = json(Command::new(bytefacts).args(["python", "find", "--format", "json"]))?;
    let path = found.get(what).and_then(serde_json::Value::as_str);
    Ok(path.with_context(|| format!("`bytefacts python find` names no {what}"))?.into())
}

/// What a command that prints JSON says.
pub fn json(command: &mut Command) -> anyhow::Result<serde_json::Value> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} printed no JSON"))
}

/// A number of such an answer.
pub fn number(answer: &serde_json::Value, name: &str) -> anyhow::Result<u64> {
    answer.get(name).and_then(serde_json::Value::as_u64).with_context(|| format!("the summary has no number called {name}"))
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

pub fn say(line: String) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
