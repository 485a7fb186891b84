//! What the pool costs over a bare `compile()` loop, in CPU time of all processes, over the standard library of the
//! interpreter it finds:
//!
//! ```text
//! cargo run --release -p bytefacts-compile --example pool_overhead [ROUNDS [WORKERS]]
//! ```
//!
//! The two take turns, and the medians of their rounds are compared. The loop reads nothing while it is timed; the
//! pool's figure counts this process, the workers' start and end, the pipes and the marshalling.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use bytefacts_compile::{CompileOptions, Interpreter, Limits, Pool, discover};
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const BARE_LOOP: &str = r#"
import sys, time, warnings
warnings.simplefilter("ignore")
sources = [open(path, "rb").read() for path in sys.stdin.read().split("\0")]
started = time.process_time()
for source in sources:
    try:
        compile(source, "<bytefacts>", "exec", dont_inherit=True, optimize=0)
    except Exception:
        pass
print(time.process_time() - started)
"#;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[expect(clippy::print_stdout, reason = "a measuring command prints its measurement")]
fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<usize>());
    let rounds = arguments.next().transpose()?.unwrap_or(5);
    let workers = arguments.next().transpose()?.unwrap_or(1);
    let interpreter = Runtime::new()?.block_on(discover(None))?;
    let mut files = Vec::new();
    python_files(&interpreter.stdlib, &mut files)?;
    files.sort();
    let sources: Vec<Bytes> = files.iter().map(|path| fs::read(path).map(Bytes::from)).collect::<Result<_, _>>()?;
    let bytes: usize = sources.iter().map(Bytes::len).sum();
    println!("{} files, {:.1} MB, CPython {}, {workers} workers", files.len(), bytes as f64 / 1e6, interpreter.version);

    let (mut bare, mut pooled) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        bare.push(bare_loop(&interpreter, &files)?);
        let (pool, wall, in_compile) = pool_loop(&interpreter, &sources, workers)?;
        pooled.push(pool);
        println!(
            "round {round}: loop {:.3} s CPU, pool {:.3} s CPU ({:.3} s of it in compile and marshal), {:.3} s wall",
            bare.last().copied().unwrap_or_default().as_secs_f64(),
            pool.as_secs_f64(),
            in_compile.as_secs_f64(),
            wall.as_secs_f64()
        );
    }
    let ratio = median(&mut pooled).as_secs_f64() / median(&mut bare).as_secs_f64();
    println!("pool / loop = {ratio:.3}");
    Ok(())
}

fn python_files(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("site-packages") {
            python_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
    Ok(())
}

fn bare_loop(interpreter: &Interpreter, files: &[PathBuf]) -> Result<Duration, Failure> {
    let paths: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
    let list = tempfile::NamedTempFile::new()?;
    fs::write(list.path(), paths.join("\0"))?;
    let mut command = Command::new(&interpreter.executable);
    command.args(["-I", "-S", "-c", BARE_LOOP]).stdin(fs::File::open(list.path())?);
    let seconds: f64 = String::from_utf8(command.output()?.stdout)?.trim().parse()?;
    Ok(Duration::from_secs_f64(seconds))
}

fn pool_loop(interpreter: &Interpreter, sources: &[Bytes], workers: usize) -> Result<(Duration, Duration, Duration), Failure> {
    let (started, before) = (Instant::now(), cpu_of_all()?);
    let runtime = Runtime::new()?;
    let in_compile = runtime.block_on(async {
        let pool = Arc::new(Pool::start(interpreter, CompileOptions::default(), workers, Limits::default()).await?);
        let mut tasks = JoinSet::new();
        for source in sources.iter().cloned() {
            let pool = Arc::clone(&pool);
            tasks.spawn(async move { pool.compile(source).await.map(|compiled| compiled.cpu) });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        pool.shutdown().await;
        Ok::<_, Failure>(pool.stats().cpu)
    })?;
    Ok((cpu_of_all()?.saturating_sub(before), started.elapsed(), in_compile))
}

/// CPU time of this process and its ended children: fields 14 to 17 of Linux's `stat`, in ticks of 10 ms.
fn cpu_of_all() -> Result<Duration, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(4).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn median(rounds: &mut [Duration]) -> Duration {
    rounds.sort();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}
