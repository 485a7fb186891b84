//! The command line as types; their comments are its help. A file below this one has the arguments of a command, or of a few that go together.

mod audit;
mod cluster;
mod daemons;
mod dis;
mod extract;
mod gc;
mod groups;
mod runs;
mod serve;
mod setup;
mod shared;
mod sql;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use self::audit::{Audit, AuditFailOn, Pyc};
pub use self::cluster::{Cancel, Cluster};
pub use self::daemons::{DaemonArgs, Executor, Scheduler};
pub use self::dis::{Dis, Graph};
pub use self::extract::{Demo, Extract};
pub use self::gc::Gc;
pub use self::runs::{Diff, Runs, Validate};
pub use self::serve::Serve;
pub use self::setup::{Config, ConfigAction, Doctor, Python, PythonAction};
pub use self::shared::{FailOn, Format, JobArgs, ProgressMode};
pub use self::sql::{Sql, TableFormat};

/// Queryable, reproducible facts about the CPython 3.13 bytecode of a corpus of Python repositories.
///
/// Start with `bytefacts demo`: it extracts the standard library on an embedded cluster and shows a first answer.
///
/// Exit codes: 0 clean, 1 failed, 2 wrong usage, 3 findings.
#[derive(Debug, Parser)]
#[command(name = "bytefacts", version, max_term_width = 110, help_template = groups::template())]
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

/// The commands, in the order of their groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    Extract(Box<Extract>),
    Demo(Box<Demo>),
    Dis(Dis),
    Graph(Graph),
    Sql(Sql),
    Serve(Serve),
    Runs(Runs),
    Diff(Diff),
    Validate(Validate),
    Gc(Gc),
    Audit(Box<Audit>),
    Pyc(Pyc),
    Scheduler(Box<Scheduler>),
    Executor(Box<Executor>),
    /// Show how a cluster is: its executors, and how far its jobs are.
    Status(Cluster),
    /// List the jobs of a cluster: under way, and the last that ended.
    Jobs(Cluster),
    /// List the executors of a cluster.
    Executors(Cluster),
    Cancel(Cancel),
    Doctor(Doctor),
    Config(Config),
    Python(Python),
    /// Print the completions of a shell, to be put where it looks.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command.
    Man {
        /// The folder that they are put into, such as ~/.local/share/man/man1.
        folder: PathBuf,
    },
    /// Try files that may be killers. Executors start it for themselves; it reads what to try from stdin.
    #[command(hide = true)]
    Trial,
}

#[cfg(test)]
mod tests {
    use super::*;

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
