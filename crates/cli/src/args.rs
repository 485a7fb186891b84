//! The command line as types; their comments are its help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::address::address;
use crate::options::OptionArgs;

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
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t, env = "BYTEFACTS_LOG_FORMAT")]
    pub log_format: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Extract(Box<Extract>),
    Demo(Box<Demo>),
    Sql(Sql),
    Runs(Runs),
    Validate(Validate),
    Diff(Diff),
    Audit(Box<Audit>),
    Pyc(Pyc),
    Dis(Dis),
    Graph(Graph),
    Python(Python),
    Scheduler(Box<Scheduler>),
    Executor(Box<Executor>),
    Serve(Serve),
    /// Show how a cluster is: its executors, and how far the jobs under way are.
    Status(Cluster),
    /// List the jobs of a cluster: those under way, and the last that ended.
    Jobs(Cluster),
    /// List the executors of a cluster.
    Executors(Cluster),
    Cancel(Cancel),
    Doctor(Doctor),
    Config(Config),
    Gc(Gc),
    /// Try files that may be killers. Executors start it for themselves; it reads what to try from stdin.
    #[command(hide = true)]
    Trial,
    /// Print the completions of a shell, to be put where it looks for them.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command.
    Man {
        /// The folder that they are put into, such as ~/.local/share/man/man1.
        folder: PathBuf,
    },
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

/// Extract the facts of a corpus into a folder or bucket.
#[derive(Debug, ClapArgs)]
pub struct Extract {
    /// The corpus: a path, or a URI (file://, s3://, gs://, az://). Its first-level folders are the repositories, unless it is a single one: with
    /// `.git` or `pyproject.toml` in it, or by --repo.
    #[arg(required_unless_present = "resume")]
    pub corpus: Option<String>,
    /// Where the facts go: a path or a URI. Runs gather there; `bytefacts sql` reads the newest.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub out: String,
    /// Take the whole corpus as one repository of this name.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub repo: Option<String>,
    /// Take first-level folders as repositories, even where the corpus looks like a single one.
    #[arg(long, conflicts_with = "repo")]
    pub tree: bool,
    /// Let the run become current although the current one is of another corpus. Without it such a run is refused: whoever reads FACTS would find
    /// one corpus in the other's place.
    #[arg(long)]
    pub another_corpus: bool,
    /// Go on with a run that did not end, with the corpus and the options that it was started with; bins that are landed are not done again.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["corpus", "repo", "tree", "another_corpus", "include", "exclude", "extend_exclude",
        "virtual_environments", "respect_gitignore", "run_id", "optimize", "dont_inherit", "adaptive", "include_cfg_derivations", "terminator_opnames", "oracle", "parallel_min_files", "parallel_max_bytes"])]
    pub resume: Option<String>,
    /// Have a cluster do the work instead of the embedded one: its scheduler, as df://HOST:PORT. Executors must reach CORPUS and FACTS.
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    pub cluster: Option<String>,
    /// Which files are taken.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// When this client is ended, leave the job to the cluster; without it, the job ends too. Either way --resume goes on with the run and commits it.
    #[arg(long, help_heading = "Cluster")]
    pub detach: bool,
    /// The rest.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Which files of a corpus are taken.
#[derive(Debug, Default, ClapArgs)]
pub struct SelectionArgs {
    /// Take files that match one of these glob patterns alone [default: *.py,*.pyw]. A pattern without a slash is matched with names, wherever they
    /// are, one with a slash with paths below CORPUS.
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',', help_heading = "File selection")]
    pub include: Option<Vec<String>>,
    /// Leave out files and folders that match one of these patterns, instead of what is left out by default: see `extract.exclude` in
    /// config/bytefacts.yaml. `.git` is always left out.
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',', help_heading = "File selection")]
    pub exclude: Option<Vec<String>>,
    /// Leave out these too.
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',', help_heading = "File selection")]
    pub extend_exclude: Vec<String>,
    /// Take virtual environments too: folders with a `pyvenv.cfg`.
    #[arg(long, help_heading = "File selection")]
    pub virtual_environments: bool,
    /// Leave out what `.gitignore` files in CORPUS name; for folders only.
    #[arg(long, help_heading = "File selection")]
    pub respect_gitignore: bool,
}

/// What every daemon takes. The rest is set by a YAML file or by the environment, such as BYTEFACTS_EXECUTOR__CORES=4.
#[derive(Debug, ClapArgs)]
pub struct DaemonArgs {
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen for the cluster, as HOST:PORT; port 0 is any free one. Beyond this machine certificates are needed (`cluster_tls` in the
    /// settings), or --insecure.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Where to serve /healthz, /readyz and /metrics, as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub probes: Option<SocketAddr>,
    /// The host under which the others of the cluster find this process [default: that of --listen; where it listens on all addresses, an executor
    /// is found at the one that the scheduler sees].
    #[arg(long, value_name = "HOST")]
    pub external_host: Option<String>,
    /// Do without certificates although others than this machine can reach it: whoever does can run jobs.
    #[arg(long)]
    pub insecure: bool,
    /// How the line that says where it listens is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Run the scheduler of a cluster.
#[derive(Debug, ClapArgs)]
pub struct Scheduler {
    /// Where to answer SQL as well, as HOST:PORT, as `bytefacts serve` does: by the settings of `serve`, with this cluster for what reads much.
    #[arg(long, value_name = "HOST:PORT", value_parser = address, help_heading = "SQL")]
    pub sql_listen: Option<SocketAddr>,
    /// The facts that it answers SQL over: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS", help_heading = "SQL")]
    pub facts: Option<String>,
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Run an executor of a cluster.
#[derive(Debug, ClapArgs)]
pub struct Executor {
    /// The scheduler, as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    pub scheduler: Option<String>,
    /// The node's name, which stays when the executor restarts [default: the machine's].
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Bins worked on at a time [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
    /// The CPython 3.13 that compiles.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// A path or a URI below which compiled units are shared with other nodes, beside the cache of this one. Nothing is ever deleted there: let
    /// the bucket's lifecycle rule do it.
    #[arg(long, value_name = "URI")]
    pub shared_cache: Option<String>,
    /// What every daemon takes.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Answer SQL over facts to every client that knows Arrow Flight SQL: ADBC, JDBC, and what stands on them.
///
/// The current run is there as `public`, and every committed run as runs."ID".
///
/// Clients connect with Arrow Flight SQL: Python by ADBC (`adbc_driver_flightsql.dbapi.connect("grpc://127.0.0.1:50052")`), Java, DBeaver and the like
/// by JDBC (`jdbc:arrow-flight-sql://127.0.0.1:50052?useEncryption=false`). It only reads, and nothing but the facts; a new run can be asked for as
/// soon as it is committed. Limits of queries are settings (`serve` in config/bytefacts.yaml).
///
/// SIGTERM and Ctrl-C end it: queries under way are told, and a second later it is gone.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The facts: a path or a URI. Runs may be committed there while it runs.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// Where to listen, as HOST:PORT; port 0 is any free one [default: 127.0.0.1:50052].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Where to serve /healthz, /readyz and /metrics, as HOST:PORT [default: 127.0.0.1:50062].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub probes: Option<SocketAddr>,
    /// The scheduler of a cluster whose executors answer queries that read much, as df://HOST:PORT. They must be allowed to read the facts.
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// The YAML file of those who may ask, with hashes of their passwords and tokens; read again when it changes. docs/sql.md shows one.
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub users: Option<PathBuf>,
    /// Let anybody ask although others than this machine can. Without it, --users is needed where it listens beyond loopback.
    #[arg(long, conflicts_with = "users", help_heading = "Access")]
    pub insecure: bool,
    /// Encrypt connections with the certificates of this PEM file, the server's own first; read again when it rotates.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Access")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Access")]
    pub tls_key: Option<PathBuf>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// How the line that says where it listens is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A cluster that is asked.
#[derive(Debug, ClapArgs)]
pub struct Cluster {
    /// The cluster's scheduler, as df://HOST:PORT [default: `client.cluster` of the settings].
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// End a run, or one job, on a cluster. What is landed is kept, and the run can be gone on with.
#[derive(Debug, ClapArgs)]
pub struct Cancel {
    /// The run, or a job of it as `bytefacts jobs` names it.
    #[arg(value_name = "RUN|JOB")]
    pub what: String,
    /// The cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// Check what an extraction needs: the interpreter, stores, the cache, limits of this machine, a cluster; say what to do about what is wrong.
///
/// Nothing is left behind.
///
/// Ends with 0 unless a check fails, and then with 1. A warning is no failure.
#[derive(Debug, ClapArgs)]
pub struct Doctor {
    /// A corpus that is to be read: a path or a URI.
    #[arg(long, value_name = "URI")]
    pub corpus: Option<String>,
    /// Where facts are to be written: a path or a URI. A few small objects are written there and deleted again.
    #[arg(long, value_name = "URI", env = "BYTEFACTS_FACTS")]
    pub facts: Option<String>,
    /// A cluster: its scheduler, as df://HOST:PORT [default: `client.cluster` of the settings].
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// The CPython 3.13 that compiles. Found by itself without this option.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// A YAML file of settings; options on the command line win. config/bytefacts.yaml shows all of them.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// How the checks are written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Check settings, show those in force, or print what can be set.
#[derive(Debug, ClapArgs)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What `bytefacts config` does.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check a settings file, and the environment over it: say everything that is wrong at once, with its line and what to set.
    ///
    /// Ends with 0 if every command takes them, else with 2. What a daemon will not start with unless an option says more is a remark.
    /// No host and no store is asked for anything, but the names of hosts are looked up where addresses are taken.
    Check {
        /// The YAML file; `-` is stdin [default: BYTEFACTS_CONFIG, else the environment alone].
        #[arg(env = "BYTEFACTS_CONFIG", hide_env = true)]
        file: Option<PathBuf>,
        /// How the findings are written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show the settings in force, each with where it comes from: a line of the file, a variable, an option, or the default.
    Show {
        /// A YAML file of settings.
        #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
        config: Option<PathBuf>,
        /// How they are written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// A command line of bytefacts, without its first word: what would be in force there. Nothing is done.
        #[arg(last = true, value_name = "COMMAND")]
        line: Vec<String>,
    },
    /// Print all settings with their defaults and what they are for: a file to start from.
    Default,
    /// Print the JSON Schema of settings files, for editors and charts.
    Schema,
}

/// Delete what no kept run names, and let runs go that are not to be kept.
///
/// Without a rule of what to keep, every committed run is kept, and only what lost attempts and dead runs have left is deleted.
///
/// With rules, a run stays that any of them keeps; the current run always does. The others are shown, and with --yes let go: they are listed
/// no more, and what only they name is deleted by the first `gc` after the grace period, when whoever reads them is done. Runs share the
/// files of what has not changed, so that letting one go deletes what no other names.
#[derive(Debug, ClapArgs)]
pub struct Gc {
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// Keep so many of the newest runs.
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep: Option<u32>,
    /// Keep the newest run of each of so many days that have any (UTC).
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep_daily: Option<u32>,
    /// Keep the newest run of each of so many weeks (they begin on Monday).
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep_weekly: Option<u32>,
    /// Keep the newest run of each of so many months.
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep_monthly: Option<u32>,
    /// Keep every run that is not older than this, such as 90d, 12w or 48h.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Which runs to keep")]
    pub older_than: Option<Duration>,
    /// Let go what the rules do not keep. Without it that is only shown.
    #[arg(long)]
    pub yes: bool,
    /// Only tell what would be done.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Hours for which a run may rest before it counts as dead, and what was let go stays readable.
    #[arg(long, value_name = "HOURS", default_value_t = 24.0, value_parser = hours)]
    pub grace_hours: f64,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "an age is a whole number and one of h, d, w, such as 90d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(hours * 3600).map(Duration::from_secs).ok_or_else(wrong)
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hours) if (0.0..=1e6).contains(&hours) => Ok(hours),
        _ => Err("a number of hours, at least 0".to_owned()),
    }
}

/// Extract the interpreter's own standard library and show what can be asked.
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
    /// A table for people; `∅` is NULL.
    #[default]
    Table,
    /// Comma-separated values with a header; nested values as text.
    Csv,
    /// A JSON array of objects.
    Json,
}

/// Query facts with SQL: one statement, a script on stdin, or an interactive shell.
#[derive(Debug, ClapArgs)]
pub struct Sql {
    /// The statement, or several with `;` between them. Without one: a shell on a terminal, else statements from stdin.
    pub statement: Option<String>,
    /// The same, for those who are used to it.
    #[arg(short, long, value_name = "STATEMENT", conflicts_with = "statement")]
    pub command: Option<String>,
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: Option<String>,
    /// A server that `bytefacts serve` has started, instead of facts: `grpc://HOST:PORT`, or `grpc+tls://HOST:PORT`.
    #[arg(long, value_name = "ADDRESS")]
    pub connect: Option<String>,
    /// The user to log in as.
    #[arg(long, value_name = "NAME", requires = "password_file", help_heading = "Server")]
    pub user: Option<String>,
    /// A file with the user's password.
    #[arg(long, value_name = "FILE", requires = "user", help_heading = "Server")]
    pub password_file: Option<PathBuf>,
    /// A file with a token, instead of a user and a password.
    #[arg(long, value_name = "FILE", conflicts_with = "user", help_heading = "Server")]
    pub token_file: Option<PathBuf>,
    /// PEM certificates to know the server by [default: those of the system].
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub ca: Option<PathBuf>,
    /// The run to query [default: the current one].
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
}

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
/// the alarm: the command then ends with 3.
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
    /// Files that are shown of each class; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub show: usize,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Check that `.pyc` files hold what the sources beside them compile to.
///
/// They are read here and never loaded by a Python. A file is the same; differs in metadata alone (time or size of the source, references, interned
/// strings); differs; has no source (orphan); is of another Python (foreign); or is damaged. Ends with 3 if one differs, is damaged or an orphan.
#[derive(Debug, ClapArgs)]
pub struct Pyc {
    /// A folder with Python files, or one `.pyc` file.
    pub path: PathBuf,
    /// The CPython 3.13 that compiles.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Compile workers [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Files that are shown of each status; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub show: usize,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Prove that facts are deterministic: derive them again under other conditions and compare.
///
/// A run is taken, and a sample of its files is derived again under each condition of a matrix: hash seed, order of work, what the worker did
/// before, environment, limits, levels of optimisation, caches against fresh. The sample rotates, so that all files are covered after some nights.
/// Each file and condition is good, bad, fail (the second derivation failed) or unknown (not covered, and why); what is bad has its cause, the first
/// field that differs, and the command that repeats it. With several --python, the others than the first are compared with it: what they compile
/// differently is drift and explained, never bad.
///
/// Ends with 0 if nothing is bad or failed, with 3 if something is.
#[derive(Debug, ClapArgs)]
pub struct Audit {
    /// The corpus that the run was made of: a path or a URI.
    pub corpus: String,
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// The run to audit. Without this option the corpus is extracted first, into a run of its own.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Which conditions, how many nights until all files are covered, and how much CPU time.
    #[arg(long, value_name = "NAME", default_value = "nightly", help_heading = "Matrix")]
    pub preset: String,
    /// Another matrix than the one that is built in: a YAML file as config/audit.yaml.
    #[arg(long, value_name = "FILE", help_heading = "Matrix")]
    pub matrix: Option<PathBuf>,
    /// The night, by which the sample rotates [default: days since 1970].
    #[arg(long, value_name = "N", help_heading = "Matrix")]
    pub night: Option<u64>,
    /// CPU minutes, instead of the preset's.
    #[arg(long, value_name = "N", help_heading = "Matrix")]
    pub minutes: Option<u64>,
    /// This condition alone, whatever the preset says. May be given several times.
    #[arg(long, value_name = "NAME", help_heading = "Matrix")]
    pub condition: Vec<String>,
    /// Judge this file alone, with its whole bin derived as before: its path, or its repository, a slash and its path. Nothing is recorded.
    #[arg(long, value_name = "PATH", help_heading = "Matrix")]
    pub only: Option<String>,
    /// The CPython 3.13 that compiles; given again, further ones that are compared with it.
    #[arg(long, value_name = "PATH", help_heading = "Interpreter")]
    pub python: Vec<PathBuf>,
    /// Bins that are derived at a time on this machine [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Have a cluster's executors extract and derive: its scheduler, as df://HOST:PORT. They must reach CORPUS and FACTS. What further interpreters
    /// compile, and `.pyc` files, are still compared here.
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// A YAML file of settings, for the extraction and the cluster.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// When to draw a progress bar: of files, each under each condition.
    #[arg(long, value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// Go on with an audit of this night or the one before that was asked for the same and did not end, its extraction included. Where there is none
    /// a new one is begun, so that a job that is started again may always say it.
    #[arg(long, conflicts_with_all = ["run", "only"])]
    pub resume_unfinished: bool,
    /// Leave the `.pyc` files of the corpus alone.
    #[arg(long)]
    pub no_pyc: bool,
    /// Findings that are known, and let pass until a day: a YAML file as docs/audit.md shows.
    #[arg(long, value_name = "FILE", help_heading = "What ends the command with exit code 3")]
    pub allow: Option<PathBuf>,
    /// Which findings do.
    #[arg(long, value_enum, default_value_t, help_heading = "What ends the command with exit code 3")]
    pub fail_on: AuditFailOn,
    /// So much of the night's sample that was not covered, from 0 to 1, does too.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "What ends the command with exit code 3")]
    pub max_unknown_share: Option<f64>,
    /// Write the report as Markdown too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub markdown: Option<PathBuf>,
    /// Write the report as a page of HTML too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// Write the findings as JUnit XML too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub junit: Option<PathBuf>,
    /// Write the findings as SARIF 2.1.0 too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub sarif: Option<PathBuf>,
    /// Write an in-toto statement of the run, the matrix and the verdicts too. It is not signed.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub intoto: Option<PathBuf>,
    /// Write metrics of the newest audit too, for node_exporter's textfile collector: those that `bytefacts serve` shows.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub metrics_file: Option<PathBuf>,
    /// How the report is written to stdout.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What ends an audit's command with exit code 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AuditFailOn {
    /// A file that gave other facts.
    Bad,
    /// That, a second derivation that failed, and an entry of the allow-list that has expired.
    #[default]
    Findings,
    /// Those, and a `.pyc` file that is not what its source compiles to.
    Pyc,
    /// Nothing: an audit that comes to its end ends with 0.
    Never,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

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

/// Find or install the CPython 3.13 that compiles.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("90d").unwrap(), Duration::from_hours(90 * 24));
        assert_eq!(age("2w").unwrap(), Duration::from_hours(14 * 24));
        assert_eq!(age("48h").unwrap(), Duration::from_hours(48));
        for bad in ["", "d", "90", "-1d", "1.5d", "1y", "é", "99999999999999999999d", "9999999999999999999w"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_have_names_where_an_address_is_taken() {
        let line = |address: &str| Args::try_parse_from(["bytefacts", "scheduler", "--listen", address, "--probes", address]);
        let Command::Scheduler(scheduler) = line("localhost:50050").unwrap().command else { panic!("another command") };
        for address in [scheduler.daemon.listen, scheduler.daemon.probes] {
            assert!(address.is_some_and(|address| address.ip().is_loopback() && address.port() == 50050), "{address:?}");
        }
        assert!(line("[::1]:0").is_ok());
        for bad in ["localhost", "localhost:port", ":50050"] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_command_that_takes_facts_takes_them_from_the_environment() {
        use clap::CommandFactory as _;
        for (command, option) in
            [("extract", "out"), ("sql", "facts"), ("runs", "facts"), ("validate", "facts"), ("gc", "facts"), ("serve", "facts")]
        {
            let all = Args::command();
            let argument =
                all.find_subcommand(command).unwrap().get_arguments().find(|argument| argument.get_long() == Some(option)).unwrap();
            assert_eq!(argument.get_env().unwrap(), "BYTEFACTS_FACTS", "{command}");
        }
    }
}
