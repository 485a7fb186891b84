//! The analysis alone: what one core does with marshalled code that lies in memory.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytefacts_bytecode::flow::{self, Terminators};
use bytefacts_bytecode::{disassemble, exception_table, marshal, units};
use bytefacts_facts::{FileInput, Options, RowBuilder};
use serde_json::json;

use crate::Format;
use crate::frames::{Unit, attrs, read_frames};
use crate::process::{interpreter, own, say, sibling, stdlib};

/// Rows are taken from the builder when they have gathered to this, as a job does.
const BATCH_BYTES: usize = 16 << 20;

/// What is measured: each pass does what the one before it does, and one part more.
#[derive(Clone, Copy)]
enum Pass {
    /// Marshal, exception tables, instructions with arguments and positions.
    Decode,
    /// Blocks, edges, dominators, stack, data flow.
    Flow,
    /// Text of constants and arguments, ids, digests, byte spans, Arrow arrays.
    Rows,
}

/// Runs all passes and prints what each part costs.
pub fn analysis(rounds: usize, format: Format) -> anyhow::Result<()> {
    ensure!(rounds > 0, "at least one round is needed");
    let files = compiled()?;
    let source: usize = files.iter().map(|file| file.source.len()).sum();
    let mut fastest = [Duration::MAX; 3];
    let mut instructions = 0;
    for _ in 0..rounds {
        for (pass, fastest) in [Pass::Decode, Pass::Flow, Pass::Rows].into_iter().zip(&mut fastest) {
            let before = own()?;
            instructions = run(pass, &files)?;
            *fastest = (own()? - before).min(*fastest);
        }
    }
    let [decode, decode_flow, all] = fastest.map(|cpu| cpu.as_secs_f64());
    let rate = |seconds: f64| instructions as f64 / seconds / 1e6;
    let parts = [("decode", decode), ("flow", decode_flow - decode), ("rows", all - decode_flow)];
    let sums = [("decode + flow", decode_flow), ("decode + flow + rows", all)];
    if format == Format::Json {
        let entry = |(name, seconds): &(&str, f64)| json!({ "name": name, "cpu_seconds": seconds, "million_instructions_per_second": rate(*seconds) });
        let list = |entries: &[_]| entries.iter().map(entry).collect::<Vec<_>>();
        let answer = json!({
            "files": files.len(), "source_bytes": source, "instructions": instructions, "rounds": rounds, "parts": list(&parts), "sums": list(&sums),
        });
        return say(answer.to_string());
    }
    say(format!(
        "{} files, {:.1} MB of source, {:.2} million instructions; CPU of one core, fastest of {rounds} rounds",
        files.len(),
        source as f64 / 1e6,
        instructions as f64 / 1e6
    ))?;
    say(format!("\n  {:<22} {:>8} {:>14} {:>12}", "part", "seconds", "ns/instruction", "M instr/s"))?;
    for (nth, (name, seconds)) in parts.iter().chain(&sums).enumerate() {
        if nth == parts.len() {
            say(String::new())?;
        }
        let nanoseconds = seconds * 1e9 / instructions as f64;
        say(format!("  {name:<22} {seconds:>8.3} {nanoseconds:>14.1} {:>12.2}", rate(*seconds)))?;
    }
    Ok(())
}

/// The files of the standard library that compile, compiled by a process of CPython.
fn compiled() -> anyhow::Result<Vec<Unit>> {
    let bytefacts = sibling("bytefacts")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/facts/tests/common/compile.py");
    let output = Command::new(interpreter(&bytefacts)?).arg(script).arg(stdlib(&bytefacts)?).output().context("cannot compile")?;
    ensure!(output.status.success(), "cannot compile: {}", String::from_utf8_lossy(&output.stderr));
    let files: Vec<_> = read_frames(&output.stdout).into_iter().filter(|file| !file.code.is_empty()).collect();
    ensure!(!files.is_empty(), "no file of the standard library was compiled");
    Ok(files)
}

/// Runs one pass; the number of instructions that it saw.
fn run(pass: Pass, files: &[Unit]) -> anyhow::Result<u64> {
    if let Pass::Rows = pass {
        return rows(files);
    }
    let terminators = Terminators::default();
    let mut count = 0;
    for file in files {
        let module = marshal::read_code(&file.code).with_context(|| format!("cannot decode {}", file.path))?;
        for unit in units(&module) {
            let exceptions = exception_table::parse(unit.code)?;
            let instructions = disassemble(unit.code)?;
            count += instructions.len() as u64;
            if let Pass::Flow = pass {
                black_box(flow::analyze(unit.code, &instructions, &exceptions, &terminators));
            }
            black_box(&instructions);
        }
    }
    Ok(count)
}

fn rows(files: &[Unit]) -> anyhow::Result<u64> {
    let mut builder = RowBuilder::new(&attrs(true), Options::default());
    let mut count = 0;
    for file in files {
        let input = FileInput { path: &file.path, source: Some(&file.source), code: Some(&file.code), ..FileInput::default() };
        count += builder.append(input)?.instructions;
        if builder.bytes() > BATCH_BYTES {
            black_box(builder.finish()?);
        }
    }
    black_box(builder.finish()?);
    Ok(count)
}
