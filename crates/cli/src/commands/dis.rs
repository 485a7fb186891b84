//! `bytefacts dis`: the facts of one file, for a person to read.

pub(super) mod diagnostic;
mod listing;
pub(super) mod source;
pub(super) mod unit;

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use arrow::json::writer::LineDelimited;
use bytefacts_bytecode::{Unit, marshal, units};
use bytefacts_compile::{CompileOptions, Compiled, Interpreter, Limits, Outcome, Pool, discover};
use bytefacts_engine::{ANALYZER_VERSION, fact_error};
use bytefacts_facts::{FileInput, Options, RowBuilder, RunAttrs};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use self::listing::Shown;
use self::source::Source;
use crate::args::{Dis, Format};
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::paint::{BOLD, Paint};
use crate::summary::count;

/// How many units an error about an unknown one names.
const NAMED_UNITS: usize = 20;

/// Runs the command. A file that does not compile is shown by its errors and ends with exit code 1.
///
/// # Errors
/// When the file cannot be read, no interpreter is to be had, or no unit has the name asked for.
pub async fn run(args: Dis, output: &mut Output) -> anyhow::Result<Exit> {
    if args.format == Format::Json && args.unit.is_some() {
        return Err(UsageError("--unit is for text: the JSON row holds the whole file".to_owned()).into());
    }
    let CompiledFile { path, source, compiled, interpreter, options } = compile(&args.file, args.python.as_deref(), args.optimize).await?;
    let exit = if matches!(compiled.outcome, Outcome::Code(_)) { Exit::Clean } else { Exit::Failed };
    match args.format {
        Format::Json => output.data(row(&path, &source, compiled, &interpreter, options)?)?,
        Format::Text => text(&args, &path, &source, &compiled, &interpreter, output)?,
    }
    Ok(exit)
}

/// A file and what CPython made of it.
pub(super) struct CompiledFile {
    /// Its path as the facts name it.
    pub(super) path: String,
    pub(super) source: Bytes,
    pub(super) compiled: Compiled,
    pub(super) interpreter: Interpreter,
    pub(super) options: CompileOptions,
}

/// Reads a file, or stdin for `-`, and compiles it in a worker.
///
/// # Errors
/// When the file cannot be read, or no interpreter is to be had.
pub(super) async fn compile(file: &Path, python: Option<&Path>, optimize: u8) -> anyhow::Result<CompiledFile> {
    let (path, source) = read(file)?;
    let interpreter = discover(python).await?;
    let options = CompileOptions { optimize, ..CompileOptions::default() };
    let pool = Pool::start(&interpreter, options, 1, Limits::default()).await?;
    let compiled = pool.compile(source.clone()).await;
    pool.shutdown().await;
    Ok(CompiledFile { path, source, compiled: compiled?, interpreter, options })
}

/// The file's path as the facts name it, and its bytes.
fn read(file: &Path) -> anyhow::Result<(String, Bytes)> {
    if file == Path::new("-") {
        let mut source = Vec::new();
        std::io::stdin().read_to_end(&mut source).context("cannot read stdin")?;
        return Ok(("<stdin>".to_owned(), source.into()));
    }
    let source = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok((file.to_string_lossy().into_owned(), source.into()))
}

fn text(args: &Dis, path: &str, source: &[u8], compiled: &Compiled, interpreter: &Interpreter, output: &mut Output) -> anyhow::Result<()> {
    let paint = Paint { colour: output.colour() };
    if let Outcome::Code(marshalled) = &compiled.outcome {
        let module = marshal::read_code(marshalled).context("cannot decode what CPython compiled")?;
        let units = units(&module);
        let chosen = chosen(&units, args.unit.as_deref())?;
        let instructions = units.iter().map(|unit| bytefacts_bytecode::disassemble(unit.code).map_or(0, |list| list.len() as u64)).sum();
        let heading = format!(
            "{path}: CPython {}, optimize {}: {}, {}",
            interpreter.version,
            args.optimize,
            count(units.len() as u64, "code object"),
            count(instructions, "instruction"),
        );
        output.data(paint.paint(BOLD, &heading) + "\n")?;
        let source = Source::new(source);
        let shown = Shown { path, source: &source, caches: args.caches, positions: args.positions, paint };
        for unit in chosen {
            output.data(format!("\n{}{}", unit::header(unit, paint), listing::listing(unit.code, &shown)))?;
        }
    }
    let failure = match &compiled.outcome {
        Outcome::Failed(failure) => Some(failure),
        Outcome::Code(_) => None,
    };
    for (nth, diagnostic) in failure.into_iter().chain(&compiled.warnings).enumerate() {
        let separator = if nth > 0 || failure.is_none() { "\n" } else { "" };
        output.data(format!("{separator}{}", diagnostic::render(diagnostic, path, paint)))?;
    }
    Ok(())
}

/// The units of the name that the user gave, each with all units inside it; all units without a name.
fn chosen<'a, 'c>(units: &'a [Unit<'c>], name: Option<&str>) -> anyhow::Result<Vec<&'a Unit<'c>>> {
    let Some(name) = name else { return Ok(units.iter().collect()) };
    let mut taken: Vec<bool> = Vec::with_capacity(units.len());
    for unit in units {
        // A parent stands before its children.
        let inside = unit.parent.and_then(|parent| taken.get(parent)).copied().unwrap_or(false);
        taken.push(inside || unit::is_named(unit, name));
    }
    let chosen: Vec<_> = units.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(unit, _)| unit).collect();
    if chosen.is_empty() {
        let mut names: Vec<_> = units.iter().map(|unit| unit.code.qualname.to_text()).take(NAMED_UNITS).collect();
        if units.len() > NAMED_UNITS {
            names.push("…".into());
        }
        bail!("no unit is called {name}; there are {}", names.join(", "));
    }
    Ok(chosen)
}

/// The row of `bytecode_files_v1` as JSON.
fn row(path: &str, source: &[u8], compiled: Compiled, interpreter: &Interpreter, options: CompileOptions) -> anyhow::Result<String> {
    let attrs = RunAttrs {
        python_version: interpreter.version.clone(),
        python_magic: interpreter.magic.clone(),
        python_implementation: interpreter.implementation.clone(),
        optimize: options.optimize,
        dont_inherit: options.dont_inherit,
        adaptive: false,
        include_cfg: true,
        analyzer_version: ANALYZER_VERSION.to_owned(),
    };
    let (code, failure) = match compiled.outcome {
        Outcome::Code(code) => (Some(code), None),
        Outcome::Failed(failure) => (None, Some(failure)),
    };
    let errors = failure.into_iter().chain(compiled.warnings).map(fact_error).collect();
    let sha256 = Some(Sha256::digest(source).into());
    let mut builder = RowBuilder::new(&attrs, Options::default());
    builder.append(FileInput { repo: None, path, source: Some(source), sha256, code: code.as_deref(), errors })?;
    let mut writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(&builder.finish()?)?;
    Ok(String::from_utf8(writer.into_inner())?)
}

#[cfg(test)]
mod tests;
