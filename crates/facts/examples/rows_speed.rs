//! How fast rows are built: `python3.13 crates/facts/tests/common/compile.py FOLDER > frames`, then
//! `cargo run --release -p bytefacts-facts --example rows_speed -- frames [--no-cfg] [BATCH_MB]`.

#[path = "../tests/common/frames.rs"]
mod frames;

use std::{error::Error, io::Write, time::Instant};

use bytefacts_facts::{FileInput, Options, RowBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let frames = args.next().ok_or("usage: rows_speed FRAMES [--no-cfg] [BATCH_MB]")?;
    let mut args = args.peekable();
    let include_cfg = args.next_if(|arg| arg == "--no-cfg").is_none();
    // When a caller would flush a batch.
    let batch_bytes = args.next().map_or(Ok(16), |megabytes| megabytes.parse::<usize>())? << 20;
    let files = frames::read_frames(&std::fs::read(frames)?);
    let start = Instant::now();
    let mut builder = RowBuilder::new(&frames::attrs(include_cfg), Options::default());
    let (mut units, mut instructions, mut bytes, mut errors, mut finishing) = (0, 0, 0, 0, 0.0);
    for (position, file) in files.iter().enumerate() {
        let code = (!file.code.is_empty()).then_some(file.code.as_slice());
        let input = FileInput { path: &file.path, source: Some(&file.source), code, ..FileInput::default() };
        let stats = builder.append(input)?;
        units += stats.units;
        instructions += stats.instructions;
        bytes += stats.bytes;
        errors += stats.errors.len();
        if builder.bytes() > batch_bytes || position + 1 == files.len() {
            let start = Instant::now();
            builder.finish()?;
            finishing += start.elapsed().as_secs_f64();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = instructions as f64 / seconds / 1e6;
    writeln!(
        std::io::stdout(),
        "{} files, {units} units, {instructions} instructions, {errors} errors, {} MB of Arrow: {seconds:.3} s ({finishing:.3} s to finish \
         batches), {rate:.2} million instructions a second",
        files.len(),
        bytes >> 20,
    )?;
    Ok(())
}
