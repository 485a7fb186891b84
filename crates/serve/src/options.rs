//! What the service is told: its limits, and what a session has set.

use std::collections::BTreeMap;
use std::time::Duration;

use bytefacts_landing::RunId;
use serde::Deserialize;

/// The longest time that a setting may give, in seconds: ten years, which every clock can be set on by.
pub const MOST_SECONDS: u64 = 3660 * 86_400;

/// What one query may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From its plan to its last row, the time that its reader takes included.
    pub time: Duration,
    /// Rows that it may answer; none is any number.
    pub rows: Option<u64>,
    /// Bytes of memory for what it sorts, joins and groups.
    pub memory_bytes: u64,
    /// Bytes of temporary files for what does not fit into its memory.
    pub spill_bytes: u64,
    /// Queries of one user that may be open at a time.
    pub queries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_mins(10), rows: None, memory_bytes: 1 << 30, spill_bytes: 4 << 30, queries: 64 }
    }
}

/// Limits of a user's own, over those of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnLimits {
    /// Seconds.
    pub seconds: Option<u64>,
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Queries at a time.
    pub queries: Option<usize>,
}

impl OwnLimits {
    /// These over those.
    #[must_use]
    pub fn over(&self, limits: Limits) -> Limits {
        Limits {
            time: self.seconds.map_or(limits.time, Duration::from_secs),
            rows: self.rows.or(limits.rows),
            memory_bytes: self.memory_bytes.unwrap_or(limits.memory_bytes),
            queries: self.queries.unwrap_or(limits.queries),
            ..limits
        }
    }
}

/// How the service works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Threads that answer queries, beside those that talk to clients.
    pub threads: usize,
    /// Queries that work at a time; others wait for their turn.
    pub running: usize,
    /// What one query may take.
    pub limits: Limits,
    /// How long the announcement of a result waits for its first rows, so that errors come early.
    pub early: Duration,
    /// How long a result waits to be fetched.
    pub unclaimed: Duration,
    /// How long a result that is being read waits for its reader to go on.
    pub reader: Duration,
    /// Connections that there may be at a time.
    pub connections: usize,
    /// How long a login and a session last.
    pub login: Duration,
    /// Bytes of one message, which a single row must fit into. Go and Python read 16 MiB unless they are told otherwise.
    pub message_bytes: usize,
    /// Whether there is an audit log.
    pub audit_log: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            running: 8,
            limits: Limits::default(),
            early: Duration::from_secs(2),
            unclaimed: Duration::from_mins(1),
            reader: Duration::from_mins(1),
            connections: 1024,
            login: Duration::from_hours(24),
            message_bytes: 16 << 20,
            audit_log: true,
        }
    }
}

/// What a session has set, by `SET`, by session options or by call headers of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionOptions {
    /// The run that `public` shows; the current one without it.
    pub(crate) run: Option<RunId>,
    /// Where queries run.
    pub(crate) execution: Execution,
    /// How results are sent.
    pub(crate) compression: Compression,
    /// The catalog of names that have none.
    pub(crate) catalog: Option<String>,
    /// The schema of names that have none.
    pub(crate) schema: Option<String>,
}

/// Where queries run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Execution {
    /// Where it is best.
    #[default]
    Auto,
    /// In this process.
    Local,
    /// On the executors of a cluster.
    Cluster,
}

impl Execution {
    /// Its name, as it is set.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Local => "local",
            Self::Cluster => "cluster",
        }
    }
}

/// How the batches of a result are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are: every client reads that.
    #[default]
    None,
    /// By LZ4, which costs next to nothing.
    Lz4,
    /// By Zstandard, for lines that are slow.
    Zstd,
}

impl Compression {
    /// Its name, as it is set.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Bytes of a value.
const MAX_VALUE: usize = 200;

/// Names of options, in alphabetical order.
pub(crate) const RUN: &str = "bytefacts.run";
pub(crate) const EXECUTION: &str = "bytefacts.execution";
pub(crate) const COMPRESSION: &str = "bytefacts.compression";
const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";
pub(crate) const NAMES: [&str; 5] = [COMPRESSION, EXECUTION, RUN, CATALOG, SCHEMA];

/// Why an option is not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadOption {
    /// There is none of that name.
    #[error("there is no option {0}; there are {names}", names = NAMES.join(", "))]
    Name(String),
    /// It has no such value.
    #[error("{0}")]
    Value(String),
}

impl SessionOptions {
    /// Sets an option; without a value, or with an empty one, to its default.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), BadOption> {
        let value = value.filter(|value| !value.is_empty());
        if value.is_some_and(|value| value.len() > MAX_VALUE) {
            return Err(BadOption::Value(format!("the value of {name} is longer than {MAX_VALUE} bytes")));
        }
        match name.to_ascii_lowercase().as_str() {
            RUN => {
                let run = value.map(RunId::new).transpose();
                self.run = run.map_err(|error| BadOption::Value(format!("{RUN}: {error}")))?;
            }
            EXECUTION => {
                self.execution = match value.unwrap_or("auto") {
                    "auto" => Execution::Auto,
                    "local" => Execution::Local,
                    "cluster" => Execution::Cluster,
                    other => return Err(BadOption::Value(format!("{EXECUTION} is auto, local or cluster, not {other}"))),
                }
            }
            COMPRESSION => {
                self.compression = match value.unwrap_or("none") {
                    "none" => Compression::None,
                    "lz4" => Compression::Lz4,
                    "zstd" => Compression::Zstd,
                    other => return Err(BadOption::Value(format!("{COMPRESSION} is none, lz4 or zstd, not {other}"))),
                }
            }
            CATALOG => self.catalog = value.map(str::to_owned),
            SCHEMA => self.schema = value.map(str::to_owned),
            _ => return Err(BadOption::Name(name.to_owned())),
        }
        Ok(())
    }

    /// All options that have a value.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, String> {
        let (execution, compression) = (self.execution.name(), self.compression.name());
        let run = self.run.as_ref().map(|run| run.as_str().to_owned());
        let all = [
            (COMPRESSION, Some(compression.to_owned())),
            (EXECUTION, Some(execution.to_owned())),
            (RUN, run),
            (CATALOG, self.catalog.clone()),
            (SCHEMA, self.schema.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_read_and_reset() {
        let mut options = SessionOptions::default();
        options.set("bytefacts.run", Some("r-1")).unwrap();
        options.set("BYTEFACTS.EXECUTION", Some("local")).unwrap();
        options.set("schema", Some("bytefacts")).unwrap();
        let all = options.all();
        assert_eq!(all[RUN], "r-1");
        assert_eq!(all[EXECUTION], "local");
        assert_eq!(all[SCHEMA], "bytefacts");
        options.set("bytefacts.run", None).unwrap();
        assert_eq!(options.run, None);
    }

    #[test]
    fn what_is_no_option_or_no_value_is_refused_in_words() {
        let refused = |name: &str, value: &str| SessionOptions::default().set(name, Some(value)).unwrap_err().to_string();
        assert!(refused("datafusion.execution.batch_size", "1").contains("there is no option"));
        assert!(refused("bytefacts.run", "../etc").contains("bytefacts.run"));
        assert!(refused("bytefacts.execution", "moon").contains("auto, local or cluster"));
        assert!(refused("bytefacts.compression", "snappy").contains("none, lz4 or zstd"));
        assert!(refused("schema", &"x".repeat(MAX_VALUE + 1)).contains("longer than"));
    }

    #[test]
    fn own_limits_lie_over_those_of_the_service() {
        let own = OwnLimits { seconds: Some(5), rows: Some(10), ..OwnLimits::default() };
        let limits = own.over(Limits::default());
        assert_eq!((limits.time, limits.rows), (Duration::from_secs(5), Some(10)));
        assert_eq!(limits.memory_bytes, Limits::default().memory_bytes);
    }
}
