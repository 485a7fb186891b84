//! Processes and what they cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
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

/// What a process that was watched said and took.
pub struct Watched {
    /// What it wrote to stdout.
    pub output: Vec<u8>,
    pub cost: Cost,
    /// Bytes that it had in memory at its peak, its children apart.
    pub peak: u64,
}

/// How often the peak is read. It only grows, so that no more than the growth of the last moment is missed.
const EVERY: Duration = Duration::from_millis(5);

/// Runs a process to its end and watches its memory, which Linux keeps in /proc.
pub fn watch(command: &mut Command) -> anyhow::Result<Watched> {
    ensure!(Path::new("/proc/self/status").exists(), "the peak of a process is read from /proc, which only Linux has");
    let output = tempfile::NamedTempFile::new()?;
    let errors = tempfile::NamedTempFile::new()?;
    let before = children()?;
    let begun = Instant::now();
    let mut process = command.stdin(Stdio::null()).stdout(output.reopen()?).stderr(errors.reopen()?).spawn()?;
    let mut peak = 0;
    let status = loop {
        // A process that has ended has no memory any more, but is still listed until it is waited for.
        peak = peak.max(peak_of(process.id()).unwrap_or(0));
        if let Some(status) = process.try_wait()? {
            break status;
        }
        sleep(EVERY);
    };
    let wall = begun.elapsed();
    if !status.success() {
        bail!("{command:?} failed: {}", fs::read_to_string(errors.path())?);
    }
    Ok(Watched { output: fs::read(output.path())?, cost: Cost { cpu: children()? - before, wall }, peak })
}

/// The peak of a process in bytes, as long as it runs.
pub fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
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

/// The middle of the values, or the mean of the two that are there.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    f64::midpoint(lower, upper)
}

pub fn say(line: String) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
