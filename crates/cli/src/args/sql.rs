//! `sql`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

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

/// Query facts with SQL: a statement, a script, or a shell.
///
/// A statement is an argument; a script is read from stdin; on a terminal, without a statement, there is an interactive shell.
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
