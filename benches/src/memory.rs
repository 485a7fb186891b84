//! The memory of a job as its corpus grows: the peak of the job's own process, which Linux keeps in /proc, workers apart.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::Format;
use crate::plot::{Series, plot};
use crate::process::{Watched, number, say, sibling, stdlib, watch};

/// What one job took.
struct Figures {
    copies: usize,
    files: u64,
    instructions: u64,
    /// Bytes that the process had in memory at its peak.
    peak: u64,
    wall: Duration,
}

/// Runs a job for each number of copies, smallest first, and prints what it took.
pub fn memory(copies: &[usize], jobs: Option<u16>, plotted: Option<&Path>, format: Format) -> anyhow::Result<()> {
    ensure!(copies.iter().all(|&copies| copies > 0), "a job needs at least one copy");
    let bytefacts = sibling("bytefacts")?;
    let library = stdlib(&bytefacts)?;
    let root = tempfile::tempdir()?;
    let corpus = root.path().join("corpus");
    let mut copies = copies.to_vec();
    copies.sort_unstable();
    let mut found = Vec::new();
    let mut made = 0;
    for &copies in &copies {
        while made < copies {
            copy(&library, &corpus.join(format!("repository-{made:04}")))?;
            made += 1;
        }
        let facts = root.path().join(format!("facts-{copies}"));
        let mut extract = Command::new(&bytefacts);
        extract.arg("extract").arg(&corpus).arg("--out").arg(&facts).args(["--format", "json", "--progress", "never", "--no-cache"]);
        extract.args(jobs.map(|jobs| format!("--jobs={jobs}")));
        let figures = run(&mut extract, copies)?;
        fs::remove_dir_all(&facts)?;
        if format == Format::Text {
            if found.is_empty() {
                say(format!("{:>7} {:>8} {:>14} {:>9} {:>9}", "copies", "files", "instructions", "wall s", "peak MB"))?;
            }
            let Figures { copies, files, instructions, peak, wall } = &figures;
            say(format!("{copies:>7} {files:>8} {instructions:>14} {:>9.1} {:>9.0}", wall.as_secs_f64(), *peak as f64 / 1e6))?;
        }
        found.push(figures);
    }
    if format == Format::Json {
        let rows = found.iter().map(|figures| {
            let Figures { copies, files, instructions, peak, wall } = figures;
            json!({ "copies": copies, "files": files, "instructions": instructions, "peak_bytes": peak, "wall_seconds": wall.as_secs_f64() })
        });
        say(serde_json::Value::Array(rows.collect()).to_string())?;
    }
    if let Some(file) = plotted {
        let points = found.iter().map(|figures| (figures.instructions as f64 / 1e6, figures.peak as f64 / 1e6)).collect();
        let series = Series { title: "Memory of a job at its peak", x: "million instructions in the corpus", y: "MB", points };
        fs::write(file, plot(&series)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Copies the Python files of a folder tree.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name != "site-packages" && name != "__pycache__" {
            copy(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "py" || extension == "pyw") {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// Runs a job and watches its peak.
fn run(command: &mut Command, copies: usize) -> anyhow::Result<Figures> {
    let Watched { output, cost, peak } = watch(command)?;
    let summary = serde_json::from_slice(&output)?;
    Ok(Figures { copies, files: number(&summary, "files")?, instructions: number(&summary, "instructions")?, peak, wall: cost.wall })
}
