//! Planning: what it takes a scheduler, and the client that waits for it, to list a corpus of very many small files, pack it and write its bins down.
//!
//! No executor is there, so that nothing else is measured. The store is a folder of this machine, or any server that has it as a bucket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::Format;
use crate::daemon::Daemon;
use crate::process::{json, peak_of, say, sibling};
use crate::relay::Requests;

/// Where the corpora lie.
pub struct Place {
    /// The folder in which they are made.
    pub folder: PathBuf,
    /// A server that has the folder as a bucket: the bucket's URI, and HOST:PORT. Without it the scheduler reads the folder itself.
    pub server: Option<(String, String)>,
}

/// What planning took.
struct Planned {
    files: usize,
    bins: u64,
    wall: Duration,
    scheduler: u64,
    client: u64,
    requests: Option<u64>,
}

/// How often the scheduler is asked.
const EVERY: Duration = Duration::from_millis(50);

/// The longest that planning may take.
const LIMIT: Duration = Duration::from_secs(1_800);

/// Plans corpora of so many files each.
pub fn planning(files: &[usize], place: &Place, format: Format) -> anyhow::Result<()> {
    let bytefacts = sibling("bytefacts")?;
    if format == Format::Text {
        say(format!("{:>9} {:>6} {:>8} {:>13} {:>10} {:>9}", "files", "bins", "seconds", "scheduler MiB", "client MiB", "requests"))?;
    }
    let mut all = Vec::new();
    for &files in files {
        let name = format!("planning-{files}");
        make(&place.folder.join(&name), files)?;
        let planned = plan(&bytefacts, place, &name, files)?;
        fs::remove_dir_all(place.folder.join(&name))?;
        let Planned { bins, wall, scheduler, client, requests, .. } = &planned;
        match format {
            Format::Text => say(format!(
                "{files:>9} {bins:>6} {:>8.1} {:>13} {:>10} {:>9}",
                wall.as_secs_f64(),
                scheduler >> 20,
                client >> 20,
                requests.map_or_else(|| "-".to_owned(), |requests| requests.to_string())
            ))?,
            Format::Json => all.push(as_json(&planned)),
        }
    }
    if format == Format::Json {
        say(Value::Array(all).to_string())?;
    }
    Ok(())
}

fn as_json(planned: &Planned) -> Value {
    let Planned { files, bins, wall, scheduler, client, requests } = planned;
    json!({
        "files": files, "bins": bins, "seconds": wall.as_secs_f64(), "scheduler_peak_bytes": scheduler, "client_peak_bytes": client,
        "requests": requests,
    })
}

/// So many small files, ten to a repository, a hundred repositories to an organisation.
fn make(root: &Path, files: usize) -> anyhow::Result<()> {
    for file in 0..files {
        let folder = root.join(format!("organisation-{:05}", file / 1_000)).join(format!("repository-{:02}", file / 10 % 100));
        if file % 10 == 0 {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(format!("module_{}.py", file % 10)), format!("x = {file}\n"))?;
    }
    Ok(())
}

fn plan(bytefacts: &Path, place: &Place, corpus: &str, files: usize) -> anyhow::Result<Planned> {
    let home = tempfile::tempdir()?;
    let door = place.server.as_ref().map(|(_, address)| Requests::to(address)).transpose()?;
    let (corpus, facts) = match &place.server {
        Some((bucket, _)) => (format!("{bucket}/{corpus}"), format!("{bucket}/{corpus}-facts-{}", std::process::id())),
        None => (place.folder.join(corpus).display().to_string(), home.path().join("facts").display().to_string()),
    };
    let with_store = |command: &mut Command| {
        if let Some(door) = &door {
            command.env("AWS_ENDPOINT", format!("http://{}", door.address())).env("AWS_ALLOW_HTTP", "true");
        }
    };
    let mut scheduler = Command::new(bytefacts);
    scheduler.args(["scheduler", "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--format", "json"]);
    with_store(&mut scheduler);
    let scheduler = Daemon::start(&mut scheduler)?;
    let url = format!("df://{}", scheduler.address);
    let mut client = Command::new(bytefacts);
    client.args(["extract", &corpus, "--out", &facts, "--run-id", "r", "--cluster", &url, "--progress", "never"]);
    with_store(&mut client);
    let begun = Instant::now();
    let mut client = client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let bins = loop {
        let status = json(Command::new(bytefacts).args(["status", "--cluster", &url, "--format", "json"]))?;
        let bins = status.pointer("/jobs/0/progress/bins").and_then(Value::as_u64);
        if let Some(bins) = bins {
            break bins;
        }
        if let Some(status) = client.try_wait()? {
            bail!("the client ended before the job was planned: {status}");
        }
        if begun.elapsed() > LIMIT {
            bail!("planning {files} files takes longer than {} s", LIMIT.as_secs());
        }
        sleep(EVERY);
    };
    let wall = begun.elapsed();
    let planned = Planned {
        files,
        bins,
        wall,
        scheduler: scheduler.peak()?,
        client: peak_of(client.id()).context("the client ended before its memory was read")?,
        requests: door.as_ref().map(Requests::count),
    };
    client.kill()?;
    client.wait()?;
    Ok(planned)
}
