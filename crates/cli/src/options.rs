//! The options of an extraction on the command line. Each has the name of its key in the settings file, and wins over it.

use bytefacts_engine::SampleRate;
use clap::{ArgAction, Args};

/// What determines rows, what checks them, and how work is shared out. All of it is recorded in the run's manifest.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Analysis")]
pub struct OptionArgs {
    /// Optimisation level of `compile`: 1 drops asserts, 2 docstrings too [default: 0].
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub optimize: Option<u8>,
    /// What `compile` is told about inheriting future flags. The workers have none, so that it changes the record alone [default: true].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub dont_inherit: Option<bool>,
    /// Ask for adaptive instructions. Code that never ran has the same ones, but the run is marked as not comparable [default: false].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub adaptive: Option<bool>,
    /// Derive blocks, edges, stack depths and data flow [default: true].
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub include_cfg_derivations: Option<bool>,
    /// Opcodes that end a block without being jumps [default: RETURN_VALUE,RETURN_CONST,RAISE_VARARGS,RERAISE].
    #[arg(long, value_name = "OPNAME,…", value_delimiter = ',')]
    pub terminator_opnames: Option<Vec<String>>,
    /// Have CPython's `dis` judge this part of the files, from 0 to 1: each difference is an error of stage `oracle` in the file's row,
    /// and the exit code is 3. Which files are judged depends on their content and RATE alone. 1 takes several times as long [default: 0].
    #[arg(long, value_name = "RATE")]
    pub oracle: Option<SampleRate>,
    /// Do a corpus of fewer files as one task on one executor [default: 8].
    #[arg(long, value_name = "FILES", help_heading = "Resources")]
    pub parallel_min_files: Option<u64>,
    /// Bytes of source that the compile workers of an executor are at work on at a time; a larger file is compiled alone
    /// [default: 67108864].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Resources")]
    pub parallel_max_bytes: Option<u64>,
    /// Bytes of source that an executor holds at a time; more makes files wait, never fail [default: 268435456].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Resources")]
    pub memory_budget_bytes: Option<u64>,
}
