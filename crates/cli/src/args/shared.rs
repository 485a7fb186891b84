//! What several commands take.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use crate::options::OptionArgs;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// When a progress bar is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// When stderr is a terminal.
    #[default]
    Auto,
    /// Always, as lines where there is no terminal.
    Always,
    /// Never.
    Never,
}

/// What ends a job's command with exit code 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A file that was given up, or that took more time or memory than it may; a run held back; an oracle that differs or could not tell.
    #[default]
    Findings,
    /// Any error of any file, such as one that does not compile.
    Error,
    /// Any error or warning, such as an invalid escape sequence.
    Warning,
    /// Nothing: a job that commits its run ends with 0.
    Never,
}

/// What every command that runs a job takes.
#[derive(Debug, ClapArgs)]
pub struct JobArgs {
    /// The CPython 3.13 that compiles. Found by itself without this option: see `bytefacts python find`.
    #[arg(long, value_name = "PATH", help_heading = "Interpreter")]
    pub python: Option<PathBuf>,
    /// Cores of the embedded cluster, over all its executors [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Embedded cluster")]
    pub jobs: Option<u16>,
    /// Executors of the embedded cluster [default: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Embedded cluster")]
    pub executors: Option<u16>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of the run. A run of this name that did not end is resumed; one that was committed of the same corpus with the same options is not
    /// done again, and ends as it did [default: from the time].
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,
    /// Compile every file, and keep nothing for the next run: on a cluster too.
    #[arg(long)]
    pub no_cache: bool,
    /// Share compiled units with other machines: a path or a URI below which they are kept, beside the cache of this one. Nothing is ever deleted
    /// there. Executors of a cluster are told by their own option.
    #[arg(long, value_name = "URI", conflicts_with = "no_cache")]
    pub shared_cache: Option<String>,
    /// When to draw a progress bar.
    #[arg(long, value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// How the summary is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// What ends the command with exit code 3 although its run is committed.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub fail_on: FailOn,
    /// The options.
    #[command(flatten)]
    pub options: OptionArgs,
}
