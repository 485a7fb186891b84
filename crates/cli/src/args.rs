//! The command line as types; their comments are its help.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Queryable, reproducible facts about the CPython 3.13 bytecode of a corpus of Python repositories.
///
/// Start with `bytefacts demo`: it extracts the standard library on an embedded cluster and shows a first answer.
///
/// Exit codes: 0 clean, 1 failed, 2 wrong usage, 3 findings.
#[derive(Debug, Parser)]
#[command(name = "bytefacts", version, max_term_width = 110)]
pub struct Args {
    /// Log more to stderr: -v what happens, -vv in detail, -vvv everything. BYTEFACTS_LOG takes a filter instead.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Extract the facts of a corpus into a folder or bucket.
    Extract(Box<Extract>),
    /// Extract the interpreter's own standard library and show what can be asked.
    Demo(Box<Demo>),
    /// Query facts with SQL: one statement, a script on stdin, or an interactive shell.
    Sql(Sql),
    /// List the committed runs of FACTS and their files.
    Runs(Runs),
    /// Check that a committed run keeps what the contract promises.
    Validate(Validate),
    /// Print the facts of one Python file.
    Dis(Dis),
    /// Find or install the CPython 3.13 that compiles.
    Python(Python),
}

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

/// What every command that runs a job takes.
#[derive(Debug, ClapArgs)]
pub struct JobArgs {
    /// The CPython 3.13 that compiles. Found by itself without this option: see `bytefacts python find`.
    #[arg(long, value_name = "PATH", help_heading = "Interpreter")]
    pub python: Option<PathBuf>,
    /// Optimisation level of `compile`: 1 drops asserts, 2 docstrings too [default: 0].
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=2), help_heading = "Interpreter")]
    pub optimize: Option<u8>,
    /// Cores of the embedded cluster, over all its executors [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Embedded cluster")]
    pub jobs: Option<u16>,
    /// Executors of the embedded cluster [default: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Embedded cluster")]
    pub executors: Option<u16>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of the run. A run of this name that did not end is resumed [default: from the time].
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,
    /// Compile every file, and keep nothing for the next run.
    #[arg(long)]
    pub no_cache: bool,
    /// When to draw a progress bar.
    #[arg(long, value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// How the summary is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Extract the facts of a corpus.
#[derive(Debug, ClapArgs)]
pub struct Extract {
    /// The corpus: a path, or a URI (file://, s3://, gs://, az://). Its first-level folders are the repositories, unless --repo is given.
    pub corpus: String,
    /// Where the facts go: a path or a URI. Runs gather there; `bytefacts sql` reads the newest.
    #[arg(long, value_name = "FACTS")]
    pub out: String,
    /// Take the whole corpus as one repository of this name.
    #[arg(long, value_name = "NAME")]
    pub repo: Option<String>,
    /// Leave out folders of this name, wherever they are (repeatable). `.git` is always left out.
    #[arg(long, value_name = "FOLDER")]
    pub exclude: Vec<String>,
    /// The rest.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Extract the standard library.
#[derive(Debug, ClapArgs)]
pub struct Demo {
    /// Where the facts go [default: a folder in the user's cache folder].
    #[arg(long, value_name = "FACTS")]
    pub out: Option<String>,
    /// Install CPython 3.13 into the user's cache folder if there is none, without asking.
    #[arg(long)]
    pub install_python: bool,
    /// The rest.
    #[command(flatten)]
    pub job: JobArgs,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// A table for people.
    #[default]
    Table,
    /// Comma-separated values with a header; nested values as text.
    Csv,
    /// A JSON array of objects.
    Json,
}

/// Query facts.
#[derive(Debug, ClapArgs)]
pub struct Sql {
    /// The statement, or several with `;` between them. Without one: a shell on a terminal, else statements from stdin.
    pub statement: Option<String>,
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS")]
    pub facts: String,
    /// The run to query [default: the current one].
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
}

/// List runs.
#[derive(Debug, ClapArgs)]
pub struct Runs {
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS")]
    pub facts: String,
    /// Show this run alone: how it was made, what has changed in its schema since the run before it, its files.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// How the list is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Check that a committed run keeps what the contract promises: types, nulls, ids, foreign keys, digests, and the invariants of blocks, edges, stack
/// depths, data flow and lines.
///
/// Needs 30 MB of memory for a million instructions, up to 256 MiB; beyond that, as much space for temporary files in TMPDIR.
///
/// Ends with 0 if all is well and with 3 if there are findings. What a unit's own error row explains is counted, and no finding.
#[derive(Debug, ClapArgs)]
pub struct Validate {
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS")]
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

/// Print the facts of one file.
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

/// Find or install CPython 3.13.
#[derive(Debug, ClapArgs)]
pub struct Python {
    /// What to do.
    #[command(subcommand)]
    pub action: PythonAction,
}

/// What `bytefacts python` does.
#[derive(Debug, Subcommand)]
pub enum PythonAction {
    /// Show which CPython 3.13 would be used.
    Find {
        /// Try this one.
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
        /// How it is written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Download a pinned, checksummed standalone CPython 3.13 into the user's cache folder.
    Install {
        /// Where the release files are fetched from, for closed networks: a base URL (https://, http://, file://).
        #[arg(long, value_name = "URL", env = "BYTEFACTS_PYTHON_MIRROR")]
        mirror: Option<String>,
        /// When to draw a progress bar.
        #[arg(long, value_enum, default_value_t)]
        progress: ProgressMode,
        /// How the result is written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}
