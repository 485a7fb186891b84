//! Benchmarks: the whole job against the least that CPython costs, and against a Python extractor of the same columns.
//!
//! Everything runs as a process of its own and is charged with the CPU time that the system counts for it and its children, so that nothing
//! hides in a worker. Figures are ratios of runs that follow each other, since machines are noisy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// Benchmarks of bytefacts. Build first: `cargo build --release`.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// The whole job over the interpreter's standard library: CPU against a bare `compile()` loop, cold and warm, and against a Python extractor.
    Job {
        /// Rounds; each runs every contestant once.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// A CPython 3.13 that has pyarrow, for the Python extractor; without it that comparison is left out.
        #[arg(long, env = "BYTEFACTS_BENCH_PYARROW", value_name = "PYTHON")]
        pyarrow: Option<PathBuf>,
        /// Also run the Python extractor with its slow parts of `dis` replaced by equal faster ones.
        #[arg(long)]
        tuned: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().benchmark {
        Benchmark::Job { rounds, pyarrow, tuned } => job(rounds, pyarrow.as_deref(), tuned),
    }
}

/// What one run of a process cost.
#[derive(Clone, Copy)]
struct Cost {
    cpu: Duration,
    wall: Duration,
}

struct Contestant {
    name: &'static str,
    runs: Vec<Cost>,
}

fn job(rounds: usize, pyarrow: Option<&Path>, tuned: bool) -> anyhow::Result<()> {
    ensure!(rounds > 0, "at least one round is needed");
    let bytefacts = sibling("bytefacts")?;
    let python = interpreter(&bytefacts)?;
    let comparators = Path::new(env!("CARGO_MANIFEST_DIR")).join("comparators");
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/judge");
    let root = tempfile::tempdir()?;
    let listing = root.path().join("stdlib.jsonl");
    let list = Command::new(&python).arg(judge.join("stdlib.py")).arg("--json").output().context("cannot list the standard library")?;
    std::fs::write(&listing, &list.stdout)?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    say(format!("{} files of the standard library, {rounds} rounds, {cores} cores", list.stdout.split(|b| *b == b'\n').count() - 1))?;
    let mut contestants: Vec<Contestant> = Vec::new();
    let mut enter = |name: &'static str, cost: Cost| -> anyhow::Result<()> {
        say(format!("  {name:<34} {:>7.2} s CPU {:>7.2} s wall", cost.cpu.as_secs_f64(), cost.wall.as_secs_f64()))?;
        match contestants.iter_mut().find(|c| c.name == name) {
            Some(contestant) => contestant.runs.push(cost),
            None => contestants.push(Contestant { name, runs: vec![cost] }),
        }
        Ok(())
    };
    for round in 0..rounds {
        enter(LOOP, run(Command::new(&python).arg("-S").arg(comparators.join("compile_loop.py")).arg(&listing))?)?;
        let cache = root.path().join(format!("cache-{round}"));
        let demo = |facts: String| {
            let mut command = Command::new(&bytefacts);
            command.arg("demo").arg("--out").arg(root.path().join(facts)).args(["--format", "json", "--progress", "never"]);
            command.arg("--python").arg(&python).env("BYTEFACTS_CACHE_DIR", &cache);
            command
        };
        enter(COLD, run(&mut demo(format!("facts-{round}")))?)?;
        enter(WARM, run(&mut demo(format!("facts-{round}")))?)?;
        if let Some(pyarrow) = pyarrow {
            let extractor = |tuned: &[&str]| {
                let mut command = Command::new(pyarrow);
                command.arg(comparators.join("extract_dis.py")).args(tuned).arg(&listing).arg(root.path().join("dis.parquet"));
                command
            };
            enter(DIS, run(&mut extractor(&[]))?)?;
            if tuned {
                enter(TUNED, run(&mut extractor(&["--tuned"]))?)?;
            }
        }
    }

    say("\nCPU, median of the rounds, and as a ratio within each round (least, median, most):".to_owned())?;
    let of = |name| contestants.iter().find(|c| c.name == name);
    for (name, base, what) in [
        (COLD, LOOP, "of the compile loop"),
        (WARM, COLD, "of the cold job"),
        (DIS, COLD, "of the cold job"),
        (TUNED, COLD, "of the cold job"),
    ] {
        if let (Some(contestant), Some(base)) = (of(name), of(base)) {
            let mut ratios: Vec<_> =
                contestant.runs.iter().zip(&base.runs).map(|(a, b)| a.cpu.as_secs_f64() / b.cpu.as_secs_f64()).collect();
            ratios.sort_by(f64::total_cmp);
            let median = median(contestant.runs.iter().map(|c| c.cpu.as_secs_f64()).collect());
            let (least, middle, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
            say(format!("  {name:<34} {median:>7.2} s = {least:.2}, {middle:.2}, {most:.2} {what}"))?;
        }
    }
    Ok(())
}

const LOOP: &str = "compile() loop";
const COLD: &str = "bytefacts, cold cache";
const WARM: &str = "bytefacts, warm cache";
const DIS: &str = "Python: dis + pyarrow";
const TUNED: &str = "Python: tuned dis + pyarrow";

/// Runs a process to its end; its CPU time includes that of its children.
fn run(command: &mut Command) -> anyhow::Result<Cost> {
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
fn children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// A binary that was built beside this one.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} does not exist: run `cargo build --release` first", path.display());
    Ok(path)
}

/// The interpreter that bytefacts compiles with.
fn interpreter(bytefacts: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new(bytefacts).args(["python", "find", "--format", "json"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let path = found.get("executable").and_then(serde_json::Value::as_str).context("`bytefacts python find` names no executable")?;
    Ok(path.into())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn say(line: String) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
