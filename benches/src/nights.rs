//! A corpus of many small repositories, night after night: what a run lands and takes when nothing has changed, one file, or a share of the
//! repositories; and what all runs together take in storage.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Format;
use crate::process::{Watched, number, say, sibling, watch};

/// The corpus, and how it changes.
#[derive(Clone, Copy)]
pub struct Shape {
    pub repositories: usize,
    pub files: usize,
    pub nights: usize,
    /// Of the repositories that change in a night, 0 to 1.
    pub share: f64,
}

/// Which repositories change in a night.
#[derive(Clone, Copy)]
enum Pattern {
    /// As many as the share, next to each other by name: an organisation at work.
    Together,
    /// As many, at equal distances.
    Scattered,
}

/// What a run took.
struct Run {
    what: String,
    wall: Duration,
    cpu: Duration,
    bins: u64,
    taken_over: u64,
    data_files: u64,
    landed_bytes: u64,
    /// Bytes of all files below the facts' root, after it.
    stored_bytes: u64,
    peak: u64,
}

/// Makes the corpus, has it extracted, and prints what each run took.
pub fn nights(shape: Shape, format: Format) -> anyhow::Result<()> {
    let bytefacts = sibling("bytefacts")?;
    let mut found = Vec::new();
    for (pattern, name) in [(Pattern::Together, "together"), (Pattern::Scattered, "scattered")] {
        let root = tempfile::tempdir()?;
        let corpus = root.path().join("corpus");
        for repository in 0..shape.repositories {
            for file in 0..shape.files {
                write(&corpus, repository, file, 0)?;
            }
        }
        let night = |what: String| -> anyhow::Result<Run> {
            let (facts, cache) = (root.path().join("facts"), root.path().join("cache"));
            let mut extract = Command::new(&bytefacts);
            extract.arg("extract").arg(&corpus).arg("--out").arg(&facts).args(["--format", "json", "--progress", "never"]);
            let Watched { output, cost, peak } = watch(extract.env("BYTEFACTS_CACHE__FOLDER", cache))?;
            let summary: Value = serde_json::from_slice(&output)?;
            let number = |key| number(&summary, key);
            let run = Run {
                what,
                wall: cost.wall,
                cpu: cost.cpu,
                bins: number("bins")?,
                taken_over: number("bins_taken_over")?,
                data_files: number("data_files")?,
                landed_bytes: number("landed_bytes")?,
                stored_bytes: stored(&facts)?,
                peak,
            };
            if format == Format::Text {
                print(&run)?;
            }
            Ok(run)
        };
        if format == Format::Text {
            say(format!("{} repositories of {} files; changes {name}", shape.repositories, shape.files))?;
            say(format!(
                "{:<20} {:>7} {:>7} {:>6} {:>10} {:>10} {:>10} {:>10} {:>8}",
                "", "wall s", "CPU s", "bins", "taken over", "data files", "landed kB", "stored MB", "peak MB"
            ))?;
        }
        let mut runs = vec![night("cold".to_owned())?, night("unchanged".to_owned())?];
        write(&corpus, shape.repositories / 2, 0, 1)?;
        runs.push(night("one file changed".to_owned())?);
        let (before, share) = (runs.last().map_or(0, |run| run.stored_bytes), (shape.repositories as f64 * shape.share).ceil() as usize);
        for number in 0..shape.nights {
            for nth in 0..share {
                let repository = match pattern {
                    Pattern::Together => number * share + nth,
                    Pattern::Scattered => nth * (shape.repositories / share.max(1)) + number,
                };
                for file in 0..shape.files {
                    write(&corpus, repository % shape.repositories, file, number + 2)?;
                }
            }
            runs.push(night(format!("night {}", number + 1))?);
        }
        let after = runs.last().map_or(0, |run| run.stored_bytes);
        if format == Format::Text {
            say(format!(
                "after {} nights of {} %: {:.2} times the storage\n",
                shape.nights,
                shape.share * 100.0,
                after as f64 / before.max(1) as f64
            ))?;
        }
        found.push(json!({ "changes": name, "storage_ratio": after as f64 / before.max(1) as f64, "runs": runs.iter().map(as_json).collect::<Vec<_>>() }));
    }
    if format == Format::Json {
        say(Value::Array(found).to_string())?;
    }
    Ok(())
}

fn print(run: &Run) -> anyhow::Result<()> {
    let Run { what, wall, cpu, bins, taken_over, data_files, landed_bytes, stored_bytes, peak } = run;
    let (kilobytes, megabytes, peak) = (*landed_bytes as f64 / 1e3, *stored_bytes as f64 / 1e6, *peak as f64 / 1e6);
    let (wall, cpu) = (wall.as_secs_f64(), cpu.as_secs_f64());
    say(format!(
        "{what:<20} {wall:>7.1} {cpu:>7.1} {bins:>6} {taken_over:>10} {data_files:>10} {kilobytes:>10.0} {megabytes:>10.1} {peak:>8.0}"
    ))
}

fn as_json(run: &Run) -> Value {
    json!({
        "run": run.what, "wall_seconds": run.wall.as_secs_f64(), "cpu_seconds": run.cpu.as_secs_f64(), "bins": run.bins,
        "bins_taken_over": run.taken_over, "data_files": run.data_files, "landed_bytes": run.landed_bytes, "stored_bytes": run.stored_bytes,
        "peak_bytes": run.peak,
    })
}

/// A small module that no other is like, in its so many'th version.
fn write(corpus: &Path, repository: usize, file: usize, version: usize) -> anyhow::Result<()> {
    let folder = corpus.join(format!("repository-{repository:06}"));
    fs::create_dir_all(&folder)?;
    let mut source = format!("\"\"\"Module {file} of {repository}, version {version}.\"\"\"\nimport os\n\n");
    for function in 0..6 {
        source += &format!(
            "def f{function}(a, b={repository}):\n    for c in range(a + {version}):\n        if c % {}:\n            b += os.getpid() * c\n    return [b, a, \"{file}\"]\n\n",
            function + 2
        );
    }
    let path = folder.join(format!("module_{file:02}.py"));
    fs::write(&path, source).with_context(|| format!("cannot write {}", path.display()))
}

/// Bytes of all files below a folder.
fn stored(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { stored(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
