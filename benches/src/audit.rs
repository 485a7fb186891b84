//! The determinism audit: nights of a corpus that does not change, with a warm cache, against the first; and what a comparison of runs reads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytefacts_audit::changes::{self, FileFacts, Making, Name, RunTree};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::Format;
use crate::process::{Watched, number, say, sibling, stdlib, watch};

/// What is audited.
pub struct Setting {
    /// The corpus; without it, the interpreter's standard library.
    pub corpus: Option<PathBuf>,
    pub nights: u64,
    pub presets: Vec<String>,
}

/// What a command took.
struct Took {
    wall: Duration,
    cpu: Duration,
    said: Value,
}

/// Has a corpus extracted and audited, night after night, by each preset, and prints what each night took and found.
pub fn nights(setting: &Setting, format: Format) -> anyhow::Result<()> {
    let bytefacts = sibling("bytefacts")?;
    let corpus = match &setting.corpus {
        Some(corpus) => corpus.clone(),
        None => stdlib(&bytefacts)?,
    };
    let mut all = Vec::new();
    for preset in &setting.presets {
        let root = tempfile::tempdir()?;
        let mut first = None;
        for night in 0..setting.nights {
            let run = format!("night-{night}");
            let extracted =
                took(command(&bytefacts, root.path(), "extract").arg(&corpus).args(["--out", "facts", "--tree", "--run-id", &run]))?;
            let mut audit = command(&bytefacts, root.path(), "audit");
            audit.arg(&corpus).args(["--facts", "facts", "--run", &run, "--preset", preset, "--night", &night.to_string(), "--no-pyc"]);
            let audited = took(audit.args(["--minutes", "100000", "--fail-on", "never"]))?;
            let cpu = (extracted.cpu + audited.cpu).as_secs_f64();
            let share = cpu / *first.get_or_insert(cpu);
            let report = &audited.said;
            let verdict = |name: &str| number(report.get("verdicts").context("a report without verdicts")?, name);
            let streams: u64 =
                report["conditions_counted"].as_array().into_iter().flatten().filter_map(|row| row["streams"].as_u64()).sum();
            let (sampled, files) = (number(report, "sampled")?, number(report, "files")?);
            let (good, bad, fail) = (verdict("good")?, verdict("bad")?, verdict("fail")?);
            if format == Format::Text {
                if night == 0 {
                    say(format!(
                        "preset {preset}, {files} files\n{:<6} {:>8} {:>12} {:>12} {:>11} {:>11} {:>8} {:>9} {:>5} {:>5} {:>8}",
                        "night",
                        "sampled",
                        "extract CPU",
                        "audit CPU",
                        "extract s",
                        "audit s",
                        "of first",
                        "good",
                        "bad",
                        "fail",
                        "streams"
                    ))?;
                }
                let seconds = |time: Duration| time.as_secs_f64();
                say(format!(
                    "{night:<6} {sampled:>8} {:>12.1} {:>12.1} {:>11.1} {:>11.1} {share:>8.2} {good:>9} {bad:>5} {fail:>5} {streams:>8}",
                    seconds(extracted.cpu),
                    seconds(audited.cpu),
                    seconds(extracted.wall),
                    seconds(audited.wall)
                ))?;
            }
            all.push(json!({
                "preset": preset, "night": night, "files": files, "sampled": sampled, "extract_cpu_seconds": extracted.cpu.as_secs_f64(),
                "audit_cpu_seconds": audited.cpu.as_secs_f64(), "wall_seconds": (extracted.wall + audited.wall).as_secs_f64(),
                "share_of_first": share, "verdicts": report["verdicts"], "streams": streams, "causes": report["causes"],
            }));
        }
    }
    if format == Format::Json {
        say(Value::Array(all).to_string())?;
    }
    Ok(())
}

fn command(bytefacts: &Path, root: &Path, what: &str) -> Command {
    let mut command = Command::new(bytefacts);
    command.arg(what).current_dir(root).args(["--format", "json", "--progress", "never"]).env("BYTEFACTS_CACHE_DIR", root.join("cache"));
    command
}

fn took(command: &mut Command) -> anyhow::Result<Took> {
    let Watched { output, cost, .. } = watch(command)?;
    Ok(Took { wall: cost.wall, cpu: cost.cpu, said: serde_json::from_slice(&output)? })
}

/// Compares trees of runs of so many files, of which so many have changed, and prints how many digests that reads.
pub async fn comparisons(files: &[u32], changed: &[u32], format: Format) -> anyhow::Result<()> {
    let mut all = Vec::new();
    if format == Format::Text {
        say(format!(
            "{:>9} {:>8} {:>9} {:>9} {:>7} {:>9} {:>18}",
            "files", "changed", "digests", "kB", "nodes", "ms", "digests / k log₂ n"
        ))?;
    }
    for files in files {
        let before = tree(*files, 0)?;
        for changed in changed.iter().filter(|changed| *changed <= files) {
            let after = tree(*files, *changed)?;
            let begun = Instant::now();
            let making = Making::default();
            let found = changes::compare((&before, &making), (&after, &making)).await?;
            let (took, cost) = (begun.elapsed().as_secs_f64() * 1e3, found.cost);
            anyhow::ensure!(found.changes.len() == *changed as usize, "{} changes were found, not {changed}", found.changes.len());
            let bound = f64::from((*changed).max(1)) * f64::from((*files).max(2)).log2();
            let ratio = cost.digests as f64 / bound;
            if format == Format::Text {
                let kilobytes = cost.bytes as f64 / 1e3;
                say(format!("{files:>9} {changed:>8} {:>9} {kilobytes:>9.0} {:>7} {took:>9.1} {ratio:>18.1}", cost.digests, cost.nodes))?;
            }
            all.push(json!({ "files": files, "changed": changed, "digests": cost.digests, "bytes": cost.bytes, "nodes": cost.nodes, "ms": took }));
        }
    }
    if format == Format::Json {
        say(Value::Array(all).to_string())?;
    }
    Ok(())
}

/// The tree of a run of so many files, of which so many, at equal distances, have other sources and facts.
fn tree(files: u32, changed: u32) -> anyhow::Result<Bytes> {
    let mut tree = RunTree::default();
    let every = files.checked_div(changed).unwrap_or(0);
    for n in 0..files {
        let is_changed = every > 0 && n % every == 0 && n / every < changed;
        let name = Name { repo: Some(format!("repository-{:05}", n / 50)), path: format!("package/module_{n:07}.py") };
        let digest = |kind: u8| {
            let mut digest = [kind; 32];
            for (at, byte) in n.wrapping_mul(2_654_435_761).to_le_bytes().into_iter().chain([u8::from(is_changed)]).enumerate() {
                if let Some(place) = digest.get_mut(at) {
                    *place = byte;
                }
            }
            digest
        };
        tree.push(&name, &FileFacts { source: Some(digest(1)), facts: digest(2) });
    }
    Ok(tree.finish()?.into())
}
