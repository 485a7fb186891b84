//! What landing costs, with the work before it apart: `python3.13 crates/facts/tests/common/compile.py FOLDER > frames`, then
//! `cargo run --release -p bytefacts-landing --example land_speed -- frames [FACTS_FOLDER]`.
//!
//! One bin holds all files. Without a folder the store is in memory.

#[path = "../../facts/tests/common/frames.rs"]
mod frames;

use std::{error::Error, fs, io::Write as _, sync::Arc, time::Instant};

use bytefacts_facts::{FileInput, Options, RowBuilder, coded_schema, digest};
use bytefacts_landing::{AttemptId, BinStats, BinWriter, FactsStore, FileDigest, RepoDigests, RunId, WriterOptions};
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let frames = args.next().ok_or("usage: land_speed FRAMES [FACTS_FOLDER]")?;
    let store: Arc<dyn ObjectStore> = match args.next() {
        Some(folder) => Arc::new(LocalFileSystem::new_with_prefix(folder)?),
        None => Arc::new(InMemory::new()),
    };
    let files = frames::read_frames(&fs::read(frames)?);
    let facts = FactsStore::new(store, Path::default());
    let (run, attempt) = (RunId::new("land-speed")?, AttemptId::new("a1")?);
    let mut writer = BinWriter::new(&facts, &run, 0, &attempt, &coded_schema(), WriterOptions::default())?;
    let mut builder = RowBuilder::new(&frames::attrs(true), Options::default());
    let (mut rows_clock, mut land_clock) = (Clock::default(), Clock::default());
    let (mut digests, mut instructions) = (Vec::new(), 0);
    for (position, file) in files.iter().enumerate() {
        let code = (!file.code.is_empty()).then_some(file.code.as_slice());
        let input = FileInput { repo: Some("demo"), path: &file.path, source: Some(&file.source), code, ..FileInput::default() };
        rows_clock.start();
        let stats = builder.append(input)?;
        rows_clock.stop();
        instructions += stats.instructions;
        digests.push((Some("demo"), file.path.as_str(), stats.digest));
        // When the job flushes a batch.
        if builder.bytes() >= 16 << 20 || position + 1 == files.len() {
            rows_clock.start();
            let batch = builder.finish_coded()?;
            rows_clock.stop();
            land_clock.start();
            writer.write(&batch).await?;
            land_clock.stop();
        }
    }
    land_clock.start();
    let stats = BinStats { files: files.len() as u64, ..BinStats::default() };
    let of_files = digests.iter().map(|(_, path, digest)| FileDigest { path: (*path).to_owned(), digest: hex::encode(digest) });
    let of_digests = vec![RepoDigests { repo: Some("demo".to_owned()), files: of_files.collect() }];
    let record = writer.finish(stats.files, stats, of_digests).await?;
    land_clock.stop();
    let bytes: u64 = record.files.iter().map(|file| file.bytes).sum();
    let (digest, _) = digest::fold_files(digests);
    writeln!(
        std::io::stdout(),
        "{} files, {instructions} instructions: rows {:.3} s, landing {:.3} s, {:.1} MB, digest {}",
        files.len(),
        rows_clock.seconds,
        land_clock.seconds,
        bytes as f64 / 1e6,
        hex::encode(digest),
    )?;
    Ok(())
}

/// Adds up this thread's CPU time where the system tells it, and time else.
#[derive(Default)]
struct Clock {
    seconds: f64,
    started: Option<(Option<f64>, Instant)>,
}

impl Clock {
    fn start(&mut self) {
        self.started = Some((cpu_seconds(), Instant::now()));
    }

    fn stop(&mut self) {
        if let Some((cpu, time)) = self.started.take() {
            let cpu = cpu_seconds().zip(cpu).map(|(now, then)| now - then);
            self.seconds += cpu.unwrap_or_else(|| time.elapsed().as_secs_f64());
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}
