//! `runs`, `validate` and `diff`: what looks at committed runs.

use clap::Args as ClapArgs;

use super::{Format, ProgressMode};

/// List the committed runs of FACTS and their files.
#[derive(Debug, ClapArgs)]
pub struct Runs {
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// Show this run alone: how it was made, what has changed in its schema since the run before it, its files.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// How the list is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Check that a committed run keeps what the contract promises.
///
/// Types, nulls, ids, foreign keys, digests, and the invariants of blocks, edges, stack depths, data flow and lines; the contract is the schema,
/// the views and the ids in crates/facts.
///
/// Needs 30 MB of memory for a million instructions, up to 256 MiB; beyond that, as much space for temporary files in TMPDIR.
///
/// Ends with 0 if all is well and with 3 if there are findings. What a unit's own error row explains is counted, and no finding.
#[derive(Debug, ClapArgs)]
pub struct Validate {
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// The run to check [default: the current one].
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Findings that are shown of each check; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub show: usize,
    /// When to draw a progress bar.
    #[arg(long, value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// How the findings are written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Show what has changed from one run to another.
///
/// The digests of both runs are compared from the root down: what is the same is not read. Files are told apart as added, removed, moved, copied,
/// of another source, or made differently (interpreter, options, analysis, schema). The same source with different facts, made the same way, is
/// the alarm: the command then ends with 3. Of files that have the same source and different facts the code is read, and what it does otherwise is
/// shown as equal edits, counted together with an example each.
#[derive(Debug, ClapArgs)]
pub struct Diff {
    /// The earlier run.
    pub before: String,
    /// The later run [default: the current one].
    pub after: Option<String>,
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// Show one file of both runs side by side: its path, or its repository, a slash and its path.
    #[arg(long, value_name = "PATH")]
    pub file: Option<String>,
    /// Lines around each change of --file.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "file")]
    pub context: usize,
    /// Leave out what code of the same source does otherwise: rows of the files are not read.
    #[arg(long, conflicts_with = "file")]
    pub no_edits: bool,
    /// Files that are shown of each class, and edits; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub show: usize,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
