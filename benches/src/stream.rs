//! A large result streamed from the service to a client: what both have in memory meanwhile.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::Format;
use crate::daemon::Daemon;
use crate::process::{json, say, sibling};

/// Streams at least so many rows, and prints the memory of server and client every so many seconds.
pub fn stream(facts: Option<PathBuf>, rows: u64, every: f64, format: Format) -> anyhow::Result<()> {
    ensure!(Path::new("/proc/self/status").exists(), "memory is read from /proc, which only Linux has");
    ensure!(rows > 0 && every > 0.0, "there must be rows, and time between figures");
    let bytefacts = sibling("bytefacts")?;
    let root = tempfile::tempdir()?;
    let facts = match facts {
        Some(facts) => facts,
        None => {
            let facts = root.path().join("facts");
            json(Command::new(&bytefacts).arg("demo").arg("--out").arg(&facts).args(["--format", "json", "--progress", "never"]))?;
            facts
        }
    };
    let count = json(Command::new(&bytefacts).arg("sql").arg("--facts").arg(&facts).args(["--format", "json", COUNT]))?;
    let there = count.pointer("/0/n").and_then(serde_json::Value::as_u64).filter(|n| *n > 0).context("the facts have no instructions")?;
    // As often as it takes, each with all of its columns.
    let copies = rows.div_ceil(there);
    let numbers: Vec<_> = (1..=copies).map(|number| format!("({number})")).collect();
    let question = format!(
        "SELECT c.n, i.path, i.instr_index, i.opname, i.argrepr, i.line_number FROM (VALUES {}) AS c(n) CROSS JOIN py_bc_instructions i",
        numbers.join(", ")
    );
    let settings = root.path().join("settings.yaml");
    std::fs::write(&settings, "serve: {query_seconds: 36000}\n")?;
    let mut serve = Command::new(&bytefacts);
    serve.arg("serve").arg("--facts").arg(&facts).args(["--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--format", "json"]);
    let mut server = Daemon::start(serve.env("BYTEFACTS_CONFIG", &settings))?;
    let mut ask = Command::new(&bytefacts);
    ask.args(["sql", "--connect", &format!("grpc://{}", server.address), "--format", "csv", &question]);
    let mut client = ask.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;

    let begun = Instant::now();
    let lines = counted(&mut client)?;
    if format == Format::Text {
        say(format!("{:>9} {:>14} {:>11} {:>11}", "seconds", "rows", "server MB", "client MB"))?;
    }
    let mut figures = Vec::new();
    let status = loop {
        let megabytes = |process: u32| resident(process).unwrap_or_default() as f64 / 1e6;
        let (server, client_has) = (megabytes(server.id()), megabytes(client.id()));
        let (seconds, rows) = (begun.elapsed().as_secs_f64(), lines.load(Ordering::Relaxed));
        let status = client.try_wait()?;
        if status.is_none() {
            if format == Format::Text {
                say(format!("{seconds:>9.1} {rows:>14} {server:>11.0} {client_has:>11.0}"))?;
            }
            figures.push(json!({ "seconds": seconds, "rows": rows, "server_megabytes": server, "client_megabytes": client_has }));
        }
        match status {
            Some(status) => break status,
            None => sleep(Duration::from_secs_f64(every)),
        }
    };
    let wall = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "the client has failed");
    // What is left in the pipe is read when the reader says so.
    while Arc::strong_count(&lines) > 1 {
        sleep(Duration::from_millis(10));
    }
    let (got, peak) = (lines.load(Ordering::Relaxed) - 1, server.peak()?);
    ensure!(got == there * copies, "{got} rows have come of {}", there * copies);
    server.end()?;
    if format == Format::Json {
        say(json!({ "rows": got, "seconds": wall, "server_peak_megabytes": peak as f64 / 1e6, "figures": figures }).to_string())
    } else {
        say(format!("{got} rows in {wall:.0} s, {:.0} a second; the server had {:.0} MB at its peak", got as f64 / wall, peak as f64 / 1e6))
    }
}

const COUNT: &str = "SELECT count(*) AS n FROM py_bc_instructions";

/// Counts the lines that a process writes, while it writes them.
fn counted(process: &mut Child) -> anyhow::Result<Arc<AtomicU64>> {
    let mut stdout = process.stdout.take().context("a client without stdout")?;
    let lines = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&lines);
    spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        // An end and an error are the same: the count shows what is missing.
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            let ends = buffer.iter().take(length).filter(|byte| **byte == b'\n').count();
            counter.fetch_add(ends as u64, Ordering::Relaxed);
        }
    });
    Ok(lines)
}

/// Bytes that a process has in memory now.
fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
