//! The whole job, in ratios of runs that follow each other, since machines are noisy.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::process::{Cost, interpreter, median, run, say, sibling, stdlib};

struct Contestant {
    name: &'static str,
    runs: Vec<Cost>,
}

/// Runs every contestant once a round.
pub fn job(rounds: usize, pyarrow: Option<&Path>, others: bool) -> anyhow::Result<()> {
    ensure!(rounds > 0, "at least one round is needed");
    let mut extractors = vec![(ALL, vec!["extract_all.py", "--repo", "stdlib"])];
    if others {
        extractors.push((TUNED, vec!["extract_all.py", "--tuned", "--repo", "stdlib"]));
        extractors.push((DIS, vec!["extract_dis.py"]));
        extractors.push((ROWS, vec!["extract_rows.py"]));
    }
    let bytefacts = sibling("bytefacts")?;
    let (python, library) = (interpreter(&bytefacts)?, stdlib(&bytefacts)?);
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
        let facts = root.path().join(format!("facts-{round}"));
        let extract = || {
            let mut command = Command::new(&bytefacts);
            command.arg("extract").arg(&library).args(["--repo", "stdlib", "--exclude", "site-packages"]).arg("--out").arg(&facts);
            command.args(["--format", "json", "--progress", "never", "--python"]).arg(&python).env("BYTEFACTS_CACHE_DIR", &cache);
            command
        };
        enter(COLD, run(&mut extract())?)?;
        enter(WARM, run(&mut extract())?)?;
        for (name, arguments) in &extractors {
            let Some(pyarrow) = pyarrow else { continue };
            let (script, options) = arguments.split_first().context("a comparator without a script")?;
            let mut command = Command::new(pyarrow);
            command.arg(comparators.join(script)).args(options).arg(&listing).arg(root.path().join("python.parquet"));
            enter(name, run(command.env("PYTHONHASHSEED", "0"))?)?;
        }
    }

    say("\nCPU, median of the rounds, and as a ratio within each round (least, median, most):".to_owned())?;
    let of = |name| contestants.iter().find(|c| c.name == name);
    for (name, base, what) in [
        (COLD, LOOP, "of the compile loop"),
        (WARM, COLD, "of the cold job"),
        (ALL, COLD, "of the cold job"),
        (TUNED, COLD, "of the cold job"),
        (DIS, COLD, "of the cold job"),
        (ROWS, COLD, "of the cold job"),
    ] {
        if let (Some(contestant), Some(base)) = (of(name), of(base)) {
            let mut ratios: Vec<_> =
                contestant.runs.iter().zip(&base.runs).map(|(a, b)| a.cpu.as_secs_f64() / b.cpu.as_secs_f64()).collect();
            ratios.sort_by(f64::total_cmp);
            let (Some(least), Some(most)) = (ratios.first(), ratios.last()) else { continue };
            let middle = median(ratios.clone());
            let seconds = median(contestant.runs.iter().map(|c| c.cpu.as_secs_f64()).collect());
            say(format!("  {name:<34} {seconds:>7.2} s = {least:.2}, {middle:.2}, {most:.2} {what}"))?;
        }
    }
    Ok(())
}

const LOOP: &str = "compile() loop";
const COLD: &str = "bytefacts, cold cache";
const WARM: &str = "bytefacts, warm cache";
const ALL: &str = "Python: the same columns";
const TUNED: &str = "Python: the same, dis replaced";
const DIS: &str = "Python: columns of dis alone";
const ROWS: &str = "Python: columns of dis, as dicts";
