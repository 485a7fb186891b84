//! How large the facts are on disk.

use std::process::Command;

use serde_json::json;

use crate::Format;
use crate::process::{json, number, say, sibling};

/// Extracts the standard library and prints what its facts take.
pub fn size(format: Format) -> anyhow::Result<()> {
    let bytefacts = sibling("bytefacts")?;
    let root = tempfile::tempdir()?;
    let mut demo = Command::new(&bytefacts);
    demo.arg("demo").arg("--out").arg(root.path().join("facts")).args(["--format", "json", "--progress", "never", "--no-cache"]);
    let summary = json(&mut demo)?;
    let [files, instructions, parquet, source] = ["files", "instructions", "data_bytes", "source_bytes"].map(|name| number(&summary, name));
    let (files, instructions, parquet, source) = (files?, instructions?, parquet?, source?);
    let (per_instruction, per_source_byte) = (parquet as f64 / instructions as f64, parquet as f64 / source as f64);
    if format == Format::Json {
        let answer = json!({
            "files": files, "instructions": instructions, "parquet_bytes": parquet, "source_bytes": source,
            "parquet_bytes_per_instruction": per_instruction, "parquet_bytes_per_source_byte": per_source_byte,
        });
        return say(answer.to_string());
    }
    let million = |n: u64| n as f64 / 1e6;
    say(format!("{files} files, {:.1} MB of source, {:.2} million instructions", million(source), million(instructions)))?;
    say(format!("{:.1} MB of Parquet: {per_instruction:.1} bytes an instruction, {per_source_byte:.2} a byte of source", million(parquet)))
}
