//! The compile workers of a node, by what jobs ask of them.

use std::sync::Arc;

use bytefacts_compile::{CompileOptions, Interpreter, Limits, Pool, WorkerSettings};
use datafusion::common::Result;

use super::budget::Budget;
use crate::error::pool_error;
use crate::job::ExtractOptions;

/// What compiles the files of a job.
#[derive(Clone, Debug)]
pub(crate) struct Compilers {
    /// The workers.
    pub(crate) pool: Arc<Pool>,
    /// Bytes of source that they may be at work on at a time: `parallel_max_bytes`.
    pub(crate) parallel: Arc<Budget>,
}

impl Compilers {
    /// Starts workers, on the runtime that this is called from.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) async fn start(
        settings: CompilerSettings,
        interpreter: &Interpreter,
        workers: usize,
        worker: WorkerSettings,
    ) -> Result<Self> {
        let CompilerSettings { options, limits, parallel_bytes } = settings;
        let pool = Pool::start_with(interpreter, options, workers, limits, worker).await.map_err(pool_error)?;
        Ok(Self { pool: Arc::new(pool), parallel: Arc::new(Budget::new(parallel_bytes)) })
    }
}

/// What workers depend on of a job's options: jobs that differ only in others share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CompilerSettings {
    options: CompileOptions,
    limits: Limits,
    parallel_bytes: u64,
}

impl CompilerSettings {
    pub(super) fn of(job: &ExtractOptions) -> Self {
        Self { options: job.compile_options(), limits: job.compile_limits(), parallel_bytes: job.parallel_max_bytes }
    }
}

/// Workers of some settings, least recently used first: jobs that take turns on an executor do not restart them each time. Idle ones are only
/// memory, so that there are few sets; a job that still works keeps its own.
#[derive(Debug)]
pub(super) struct Sets<K, V>(Vec<(K, V)>);

pub(super) type CompilerSets = Sets<CompilerSettings, Compilers>;

const MOST_SETS: usize = 3;

impl<K, V> Default for Sets<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V: Clone> Sets<K, V> {
    pub(super) fn get(&mut self, wanted: &K) -> Option<V> {
        let found = self.0.iter().position(|(key, _)| key == wanted)?;
        let used = self.0.remove(found);
        let value = used.1.clone();
        self.0.push(used);
        Some(value)
    }

    /// Puts one in; returns the one that has to go.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let gone = (self.0.len() >= MOST_SETS).then(|| self.0.remove(0).1);
        self.0.push((key, value));
        gone
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = V> + use<K, V> {
        std::mem::take(&mut self.0).into_iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_compile_alike_share_workers() {
        let base = ExtractOptions::default();
        let alike =
            ExtractOptions { exclude: vec!["x".to_owned()], quarantine_after: 9, memory_budget_bytes: 1, adaptive: true, ..base.clone() };
        assert_eq!(CompilerSettings::of(&base), CompilerSettings::of(&alike));
        for other in [
            ExtractOptions { optimize: 2, ..base.clone() },
            ExtractOptions { dont_inherit: false, ..base.clone() },
            ExtractOptions { compile_cpu_seconds: 1, ..base.clone() },
            ExtractOptions { compile_memory_bytes: 1 << 30, ..base.clone() },
            ExtractOptions { parallel_max_bytes: 1, ..base.clone() },
        ] {
            assert_ne!(CompilerSettings::of(&base), CompilerSettings::of(&other), "{other:?}");
        }
    }

    #[test]
    fn the_workers_that_were_not_wanted_for_longest_go() {
        let mut sets = Sets::default();
        for key in 0..MOST_SETS {
            assert_eq!(sets.get(&key), None);
            assert_eq!(sets.insert(key, ()), None);
        }
        assert!(sets.get(&0).is_some());
        assert_eq!(sets.insert(MOST_SETS, ()), Some(()));
        assert_eq!(sets.get(&1), None, "0 was used since");
        assert!(sets.get(&0).is_some() && sets.get(&MOST_SETS).is_some());
        assert_eq!(sets.0.len(), MOST_SETS);
    }
}
