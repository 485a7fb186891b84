//! A cluster of processes on this machine: what a second executor brings, what the processes cost beside the embedded cluster, and what many
//! bins cost the scheduler.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::daemon::Daemon;
use crate::process::{children, median, number, run, say, sibling, stdlib};
use crate::relay::{Relay, Traffic};

/// Measures, `rounds` times each.
pub fn cluster(rounds: usize, bins: &[u32]) -> anyhow::Result<()> {
    let bytefacts = sibling("bytefacts")?;
    let library = stdlib(&bytefacts)?;
    let library = library.to_str().context("the library's path is no text")?;
    let home = tempfile::tempdir()?;
    let mut scaling = Vec::new();
    let mut overhead = Vec::new();
    for round in 0..rounds {
        let one = job(&bytefacts, home.path(), library, 1, None)?;
        let two = job(&bytefacts, home.path(), library, 2, None)?;
        let embedded = run(Command::new(&bytefacts)
            .args(["extract", library, "--repo", "stdlib", "--exclude", "site-packages", "--no-cache", "--progress", "never"])
            .args(["--executors", "2", "--jobs", "2", "--out"])
            .arg(home.path().join(format!("embedded-{round}"))))?;
        let (wall, cpu) = (|d: Duration| d.as_secs_f64(), two.cpu.as_secs_f64() / embedded.cpu.as_secs_f64());
        say(format!(
            "round {round}: one executor {:.1} s, two {:.1} s = {:.2} x as fast; CPU {:.1} s, embedded {:.1} s = {cpu:.3} x",
            wall(one.wall),
            wall(two.wall),
            wall(one.wall) / wall(two.wall),
            wall(two.cpu),
            wall(embedded.cpu),
        ))?;
        scaling.push(one.wall.as_secs_f64() / two.wall.as_secs_f64());
        overhead.push(cpu);
    }
    if rounds > 0 {
        say(format!("two executors against one, one core each: {:.2} x as fast (median)", median(scaling)))?;
        say(format!("cluster against embedded, CPU: {:.3} x (median)", median(overhead)))?;
    }

    for &count in bins {
        let corpus = home.path().join(format!("corpus-{count}"));
        even_corpus(&corpus, count)?;
        let cost = job(&bytefacts, home.path(), corpus.to_str().context("a temporary folder's path is no text")?, 2, Some(count))?;
        let (there, back) = cost.traffic.context("nothing was counted")?;
        say(format!(
            "{:>5} bins: {:.1} s, {:.1} ms a bin; scheduler at most {} MiB; a bin takes {} bytes to the scheduler and {} from it; largest \
             messages {} and {} bytes",
            cost.bins,
            cost.wall.as_secs_f64(),
            cost.wall.as_secs_f64() * 1e3 / cost.bins as f64,
            cost.scheduler_peak >> 20,
            there.bytes / cost.bins,
            back.bytes / cost.bins,
            there.largest,
            back.largest,
        ))?;
        std::fs::remove_dir_all(&corpus)?;
    }
    Ok(())
}

/// A corpus that is packed into about this many bins of about equal work: some four small files each.
fn even_corpus(root: &Path, bins: u32) -> anyhow::Result<()> {
    for bin in 0..bins {
        let folder = root.join(format!("package{:03}", bin / 100));
        std::fs::create_dir_all(&folder)?;
        for file in 0..4 {
            // No two are the same, and all are of the same size.
            let source: String =
                (0..10).map(|i| format!("def f{i}(a, b):\n    return [c + {bin:08} * {file} for c in a if c in b]\n\n\n")).collect();
            std::fs::write(folder.join(format!("module{bin:08}_{file}.py")), source)?;
        }
    }
    Ok(())
}

/// What a job on a cluster cost.
struct Cost {
    /// From the submission to the commit.
    wall: Duration,
    /// Of all processes, their start and end included.
    cpu: Duration,
    /// The most memory that the scheduler had, in bytes.
    scheduler_peak: u64,
    /// Bins that there were in the end.
    bins: u64,
    /// What passed from executors to the scheduler and back, where that was counted.
    traffic: Option<(Traffic, Traffic)>,
}

/// Extracts a corpus on a scheduler and `executors` that are confined to one core each.
fn job(bytefacts: &Path, home: &Path, corpus: &str, executors: usize, bins: Option<u32>) -> anyhow::Result<Cost> {
    let before = children()?;
    let any = ["--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0", "--format", "json"];
    let mut scheduler = Daemon::start(Command::new(bytefacts).arg("scheduler").args(any))?;
    // Only where time is not what counts.
    let relay = bins.map(|_| Relay::to(&scheduler.address)).transpose()?;
    let door = relay.as_ref().map_or_else(|| scheduler.address.clone(), Relay::address);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut nodes = Vec::new();
    for index in 0..executors {
        let node = format!("bench-{index}");
        let args = ["executor", "--scheduler", &door, "--node", &node, "--cores", "1"];
        // One task at a time keeps more than one core busy, since a worker compiles while the executor analyses: one core has to be enforced.
        let mut confined = Command::new("taskset");
        confined.args(["--cpu-list", &(index % cores).to_string()]).arg(bytefacts);
        nodes.push(Daemon::start(confined.args(args).args(any).env("BYTEFACTS_CACHE__ENABLED", "false"))?);
    }
    let facts = home.join(format!("facts-{}", scheduler.id()));
    let mut extract = Command::new(bytefacts);
    extract.args(["extract", corpus, "--repo", "stdlib", "--exclude", "site-packages", "--progress", "never", "--format", "json"]);
    extract.args(["--cluster", &format!("df://{}", scheduler.address), "--out"]).arg(&facts);
    if let Some(bins) = bins {
        extract.env("BYTEFACTS_BINS__COUNT", bins.to_string());
    }
    let begun = Instant::now();
    let output = extract.output().context("cannot run the client")?;
    let wall = begun.elapsed();
    if !output.status.success() {
        bail!("the client failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let summary = serde_json::from_slice(&output.stdout).context("the client printed no JSON")?;
    let scheduler_peak = scheduler.peak()?;
    let traffic = relay.as_ref().map(Relay::traffic);
    nodes.iter_mut().try_for_each(Daemon::end)?;
    scheduler.end()?;
    std::fs::remove_dir_all(&facts)?;
    Ok(Cost { wall, cpu: children()?.saturating_sub(before), scheduler_peak, bins: number(&summary, "bins")?, traffic })
}
