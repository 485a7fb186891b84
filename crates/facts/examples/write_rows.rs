//! Writes the rows of compiled files as Parquet and the views as SQL, to look at them with any tool:
//! `python3.13 crates/facts/tests/common/compile.py FOLDER > frames`, then
//! `cargo run -p bytefacts-facts --example write_rows -- frames rows.parquet views.sql`.

#[path = "../tests/common/frames.rs"]
mod frames;

use std::{error::Error, fs};

use bytefacts_facts::{FactError, FileInput, Options, RowBuilder, schema, views};
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [frames, rows, sql] = args.as_slice() else { return Err("usage: write_rows FRAMES PARQUET SQL".into()) };
    let files = frames::read_frames(&fs::read(frames)?);
    let mut builder = RowBuilder::new(&frames::attrs(true), Options::default());
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
    let mut writer = ArrowWriter::try_new(fs::File::create(rows)?, schema(), Some(properties))?;
    for file in &files {
        let mut input = FileInput { repo: Some("demo"), path: &file.path, source: Some(&file.source), ..FileInput::default() };
        if file.code.is_empty() {
            let attrs = vec![("python_type".to_owned(), "SyntaxError".to_owned())];
            input.errors = vec![FactError { error_type: "SyntaxError".into(), stage: "compile".into(), attrs, ..FactError::default() }];
        } else {
            input.code = Some(&file.code);
        }
        builder.append(input)?;
        if builder.bytes() > 64 << 20 {
            writer.write(&builder.finish()?)?;
        }
    }
    writer.write(&builder.finish()?)?;
    writer.close()?;
    let statements: Vec<_> = views::all().iter().map(|view| format!("{};\n", view.create_statement())).collect();
    fs::write(sql, statements.join("\n"))?;
    Ok(())
}
