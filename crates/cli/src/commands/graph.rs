//! `bytefacts graph`: a picture of one function's control flow.

mod picture;
mod target;

use std::path::Path;

use anyhow::Context as _;
use bytefacts_bytecode::{marshal, units};
use bytefacts_compile::Outcome;

use self::target::Target;
use super::dis::{CompiledFile, compile, diagnostic, source::Source};
use crate::args::Graph;
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::paint::Paint;

/// Runs the command. A file that does not compile is told by its errors and ends with exit code 1.
///
/// # Errors
/// When the file cannot be read or the picture not be written, no interpreter is to be had, no unit or more than one has the name asked for,
/// or the unit has too many blocks.
pub async fn run(args: Graph, output: &mut Output) -> anyhow::Result<Exit> {
    let is_stdout = |out: &Option<_>| out.as_deref() == Some(Path::new("-"));
    if is_stdout(&args.svg) && is_stdout(&args.dot) {
        return Err(UsageError("--svg and --dot cannot both go to stdout: give one of them a file".to_owned()).into());
    }
    check_extension(args.svg.as_deref(), "--svg", "svg")?;
    check_extension(args.dot.as_deref(), "--dot", "dot")?;
    let target = Target::new(&args.target);
    let file = compile(&target.file, args.python.as_deref(), args.optimize).await?;
    let CompiledFile { path, source, compiled, interpreter, options } = file;
    let marshalled = match compiled.outcome {
        Outcome::Code(marshalled) => marshalled,
        Outcome::Failed(failure) => {
            output.note(diagnostic::render(&failure, &path, Paint { colour: false }).trim_end());
            return Ok(Exit::Failed);
        }
    };
    let module = marshal::read_code(&marshalled).context("cannot decode what CPython compiled")?;
    let units = units(&module);
    let unit = target.unit(&units)?;
    let source = Source::new(&source);
    let made_by = format!("CPython {}, optimize {}, bytefacts {}", interpreter.version, options.optimize, env!("CARGO_PKG_VERSION"));
    let shown = picture::Shown { path: &path, source: &source, made_by: &made_by, data_flow: args.data_flow, max_blocks: args.max_blocks };
    let graph = picture::of(unit, &shown)?;
    if let Some(out) = &args.svg {
        write(out, &bytefacts_graph::svg(&graph), output)?;
    }
    if let Some(out) = &args.dot {
        write(out, &bytefacts_graph::dot(&graph), output)?;
    }
    Ok(Exit::Clean)
}

/// Refuses a file whose name promises another format than the one that would be written.
fn check_extension(out: Option<&Path>, option: &str, format: &str) -> Result<(), UsageError> {
    let Some(out) = out.filter(|out| *out != Path::new("-")) else { return Ok(()) };
    // Graphviz goes by both names.
    let is_fit = |extension: &str| extension.eq_ignore_ascii_case(format) || (format == "dot" && extension.eq_ignore_ascii_case("gv"));
    if out.extension().and_then(|extension| extension.to_str()).is_some_and(is_fit) {
        return Ok(());
    }
    let other = if format == "svg" { "for another format convert the SVG" } else { "for another format run Graphviz on it: dot -Tpng" };
    Err(UsageError(format!("{option} writes {}: name it {}; {other}", format.to_uppercase(), out.with_extension(format).display())))
}

fn write(out: &Path, text: &str, output: &mut Output) -> anyhow::Result<()> {
    if out == Path::new("-") {
        return output.data(text);
    }
    std::fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))
}

#[cfg(test)]
mod tests;
