//! Settings: a YAML file, then the environment, then the command line, each over the one before.

mod check;
mod daemons;
mod faults;
mod flags;
mod layers;
mod lines;
mod schema;
mod serve;
mod variables;
mod yaml;

use std::path::PathBuf;

use bytefacts_corpus::{BinOptions, Location, Target};
use bytefacts_engine::ExtractOptions;
use bytefacts_stores::StoreOptions;
use serde::{Deserialize, Serialize};

pub use self::check::{Finding, check, check_text};
pub use self::daemons::{AccessSettings, ClientSettings, ClusterTlsSettings, ExecutorSettings, SchedulerSettings};
pub use self::faults::is_node_name;
pub use self::flags::{FileOnly, Flags, Given, of_command};
pub use self::layers::{Layers, Origin};
pub use self::schema::{SHIPPED, schema};
pub use self::serve::ServeSettings;
use crate::exit::UsageError;

/// The settings file. Every key may be missing; a key that does not exist is an error.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The CPython 3.13 that compiles; found by itself when null.
    pub python: Option<PathBuf>,
    /// What determines a row beside the source, and the limits of one file.
    pub extract: ExtractOptions,
    /// How files are packed into bins.
    pub bins: BinSettings,
    /// The embedded cluster.
    pub embedded: EmbeddedSettings,
    /// The cache of compiled units.
    pub cache: CacheSettings,
    /// How patient the clients of object stores are.
    pub stores: StoreOptions,
    /// What the jobs of others may name, on schedulers and executors.
    pub access: AccessSettings,
    /// How the processes of a cluster know each other.
    pub cluster_tls: ClusterTlsSettings,
    /// How jobs are handed to a cluster.
    pub client: ClientSettings,
    /// The scheduler of a cluster.
    pub scheduler: SchedulerSettings,
    /// The executors of a cluster.
    pub executor: ExecutorSettings,
    /// The SQL service.
    pub serve: ServeSettings,
}

/// How files are packed into bins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinSettings {
    /// About this many bins in all; null lets the cores decide.
    pub count: Option<u32>,
    /// Bins that one Ballista task may hold; 0 leaves it to the scheduler.
    pub per_task: Option<usize>,
}

/// The embedded cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// Cores over all executors; null is all of the machine's.
    pub jobs: Option<u16>,
    /// Executors.
    pub executors: u16,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self { jobs: None, executors: 2 }
    }
}

/// The cache of compiled units.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Its folder; null is `units` in the user's cache folder.
    pub folder: Option<PathBuf>,
    /// Bytes kept in memory.
    pub memory_bytes: u64,
    /// Bytes kept on disk.
    pub disk_bytes: u64,
    /// A place that nodes share, as a path or a URI; null is none.
    pub shared: Option<String>,
    /// A file with a secret of 32 bytes or more, the same on all nodes that share: with it they seal what they put there, and take nothing else.
    pub shared_secret: Option<PathBuf>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { enabled: true, folder: None, memory_bytes: 64 << 20, disk_bytes: 4 << 30, shared: None, shared_secret: None }
    }
}

/// Refuses variables of the environment that look like ours and are none: what is misspelt would be ignored without a word.
///
/// # Errors
/// Which one, and which was probably meant.
pub fn check_environment() -> anyhow::Result<()> {
    let ours = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Ok(variables::check(ours)?)
}

/// Refuses variables of ours that are no text: nobody would read them, and clap does not say which it is.
///
/// # Errors
/// Which one.
pub fn check_texts() -> anyhow::Result<()> {
    Ok(variables::check_texts(std::env::vars_os())?)
}

/// The variables of the environment that are text. Of ours those that are none are refused ([`check_texts`]), or are paths, which others read.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Settings {
    /// The settings in force: those of the file that the command line names, if any, of the environment over it, and of the command line over both.
    ///
    /// # Errors
    /// When the file cannot be read, or one of them holds what is no setting, or means nothing.
    pub fn load(flags: &impl Flags) -> anyhow::Result<Self> {
        let Layers { mut settings, origins } = Self::layers(flags)?;
        if matches!(origins.get(layers::PYTHON), Some(Origin::Variable(_))) {
            // Who looks for the interpreter reads the variable too, and says so where it does not fit.
            settings.python = None;
        }
        Ok(settings)
    }

    /// The same, with where each comes from.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn layers(flags: &(impl Flags + ?Sized)) -> anyhow::Result<Layers> {
        let layers = layers::read(flags.file(), environment(), flags.given()?)?;
        let faults: Vec<_> = layers.settings.faults().iter().map(ToString::to_string).collect();
        if faults.is_empty() { Ok(layers) } else { Err(UsageError(faults.join("; ")).into()) }
    }

    fn faults(&self) -> Vec<faults::Fault> {
        faults::by_themselves(self).into_iter().chain(faults::together(self)).collect()
    }

    /// Where the shared tier of the cache is, if there is one.
    ///
    /// # Errors
    /// When the setting names no place.
    pub fn shared_cache(&self) -> Result<Option<Location>, UsageError> {
        let shared = self.cache.shared.as_deref().filter(|_| self.cache.enabled);
        shared.map(|text| Location::parse(text).map_err(|error| UsageError(format!("cache.shared: {error}")))).transpose()
    }

    /// Cores of each executor: the machine's, or those asked for, dealt out evenly, and at least one.
    pub fn cores_per_executor(&self) -> usize {
        let cores = self.embedded.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
        (cores / usize::from(self.embedded.executors)).max(1)
    }

    /// How the job packs its files.
    pub fn bin_options(&self) -> BinOptions {
        let cores = self.cores_per_executor() * usize::from(self.embedded.executors);
        let target = self.bins.count.map_or_else(|| Target::Cores(u32::try_from(cores).unwrap_or(u32::MAX)), Target::Bins);
        BinOptions { target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_states_the_defaults() {
        let shipped = include_str!("../../../config/bytefacts.yaml");
        assert_eq!(layers::parse(shipped).unwrap(), Settings::default());
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        for text in ["", "# nothing\n", "{}"] {
            assert_eq!(layers::parse(text).unwrap(), Settings::default());
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_those_that_exist() {
        let error = format!("{:#}", layers::parse("embedded: {executers: 3}").unwrap_err());
        assert!(error.contains("executers") && error.contains("executors"), "{error}");
    }

    /// The settings of a file and a command line.
    fn load(yaml: &str, arguments: &[&str]) -> anyhow::Result<Settings> {
        use clap::Parser as _;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, yaml)?;
        let config = file.display().to_string();
        let line = ["bytefacts", "extract", "corpus", "--out", "facts", "--config", &config];
        let parsed = crate::args::Args::try_parse_from(line.iter().chain(arguments))?;
        let crate::args::Command::Extract(extract) = parsed.command else { panic!("another command") };
        Settings::load(&*extract)
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        for (yaml, arguments, name) in [
            ("extract: {oracle: 1.5}", &[][..], "1.5"),
            ("extract: {parallel_max_bytes: 0}", &[], "parallel_max_bytes"),
            ("", &["--oracle", "2"], "--oracle"),
            ("", &["--memory-budget-bytes", "0"], "--memory-budget-bytes"),
            ("", &["--terminator-opnames", "RETURN"], "RETURN"),
        ] {
            let error = format!("{:#}", load(yaml, arguments).unwrap_err());
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_shared_cache_is_a_place_or_none() {
        let shared = |yaml: &str, arguments: &[&str]| load(yaml, arguments).unwrap().shared_cache().unwrap().map(|l| l.uri().to_owned());
        assert_eq!(shared("", &[]), None);
        assert_eq!(shared("cache: {shared: 's3://bucket/cache'}", &[]).as_deref(), Some("s3://bucket/cache"));
        let over = shared("cache: {shared: 's3://bucket/cache'}", &["--shared-cache", "/data/cache"]);
        assert_eq!(over.as_deref(), Some("file:///data/cache"));
        assert_eq!(shared("cache: {shared: 's3://bucket/cache'}", &["--no-cache"]), None);
        for bad in ["ftp://host/cache", "s3://key:secret@bucket/cache"] {
            let error = format!("{:#}", load("", &["--shared-cache", bad]).unwrap_err());
            assert!(error.starts_with("cache.shared: ") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_terminator_that_is_no_opcode_is_refused() {
        let settings = layers::parse("extract: {terminator_opnames: [RETURN]}").unwrap();
        assert!(settings.faults()[0].to_string().contains("RETURN"));
    }

    #[test]
    fn cores_are_dealt_out_and_never_zero() {
        let with = |jobs, executors| Settings { embedded: EmbeddedSettings { jobs: Some(jobs), executors }, ..Default::default() };
        assert_eq!(with(8, 2).cores_per_executor(), 4);
        assert_eq!(with(1, 3).cores_per_executor(), 1);
    }
}
