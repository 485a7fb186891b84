//! `python`, `doctor` and `config`: what makes a machine ready.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{Format, ProgressMode};

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

/// Check what an extraction needs, and say what to do about it.
///
/// The interpreter, stores, the cache, limits of this machine, a cluster. Nothing is left behind.
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
