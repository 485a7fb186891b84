//! `dis` and `graph`: what shows one file.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::Format;

/// Print the facts of one Python file.
#[derive(Debug, ClapArgs)]
pub struct Dis {
    /// The Python file; `-` is stdin.
    pub file: PathBuf,
    /// Show the unit of this qualified name alone, and those inside it (`C.m`, or a qualpath such as `<module>.C@3.m@5`).
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// Show inline caches.
    #[arg(long)]
    pub caches: bool,
    /// Show source positions of each instruction.
    #[arg(long)]
    pub positions: bool,
    /// The CPython 3.13 that compiles.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Optimisation level of `compile`.
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub optimize: u8,
    /// Text, or the row of `bytecode_files_v1` as JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Draw the control flow graph of one function.
///
/// The picture is made by bytefacts itself: an SVG that stands alone and is light or dark as its reader's system is. DOT is for Graphviz.
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("outputs").required(true).multiple(true))]
pub struct Graph {
    /// The Python file (`-` is stdin) and the unit in it, by its qualified name or qualpath as in `dis --unit`; without a name the module's own
    /// code. `#2` behind a name takes the second unit of that name.
    #[arg(value_name = "FILE.py[:QUALNAME]")]
    pub target: PathBuf,
    /// Write an SVG to this file; `-` is stdout.
    #[arg(long, value_name = "OUT", group = "outputs")]
    pub svg: Option<PathBuf>,
    /// Write DOT to this file; `-` is stdout.
    #[arg(long, value_name = "OUT", group = "outputs")]
    pub dot: Option<PathBuf>,
    /// Show where each operand and variable comes from.
    #[arg(long)]
    pub data_flow: bool,
    /// Refuse to draw more blocks than this.
    #[arg(long, value_name = "N", default_value_t = 250)]
    pub max_blocks: usize,
    /// The CPython 3.13 that compiles.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Optimisation level of `compile`.
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub optimize: u8,
}
