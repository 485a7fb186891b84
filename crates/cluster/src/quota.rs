//! What a query may take of each executor that works on it: it travels with the query's settings.
//!
//! All tasks of a query on an executor share one pool of memory and one allowance of temporary files, inside what all queries of the executor have.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ballista_core::config::BALLISTA_JOB_NAME;
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;

/// Memory consumers that an error about memory names.
pub(crate) const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN;

/// What a query may take of an executor; where memory is 0, what the executor has.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    /// Bytes of memory for what it sorts, joins and groups.
    pub memory_bytes: u64,
    /// Bytes of temporary files for what does not fit there.
    pub spill_bytes: u64,
}

// Not by DataFusion's macro: its entries lack the prefix, and so would not be understood where they are sent to.
impl ExtensionOptions for Quota {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let number = || value.parse().map_err(|error| plan_datafusion_err!("{key} is a number, not {value}: {error}"));
        match key {
            "memory_bytes" => self.memory_bytes = number()?,
            "spill_bytes" => self.spill_bytes = number()?,
            _ => return plan_err!("there is no option {key}"),
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        [("memory_bytes", self.memory_bytes), ("spill_bytes", self.spill_bytes)]
            .map(|(key, value)| ConfigEntry {
                key: format!("{}.{key}", Self::PREFIX),
                value: Some(value.to_string()),
                description: "what a query may take of an executor",
            })
            .into()
    }
}

impl ConfigExtension for Quota {
    const PREFIX: &'static str = "bytefacts_query";
}

/// The runtimes of an executor's tasks.
pub(crate) struct Quotas {
    /// That of what has no quota, and of all together.
    shared: Arc<RuntimeEnv>,
    /// Those of queries, by the names of their jobs, as long as one of their tasks is there.
    queries: Mutex<BTreeMap<String, Weak<RuntimeEnv>>>,
}

impl Quotas {
    pub(crate) fn new(shared: Arc<RuntimeEnv>) -> Self {
        Self { shared, queries: Mutex::default() }
    }

    /// The runtime of a task with these settings.
    ///
    /// # Errors
    /// Never, with the default settings of disks.
    pub(crate) fn runtime(&self, config: &SessionConfig) -> Result<Arc<RuntimeEnv>> {
        let quota = config.options().extensions.get::<Quota>().cloned().unwrap_or_default();
        if quota.memory_bytes == 0 {
            return Ok(Arc::clone(&self.shared));
        }
        let job = config.options().entries().into_iter().find(|entry| entry.key == BALLISTA_JOB_NAME).and_then(|entry| entry.value);
        let job = job.unwrap_or_default();
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = queries.get(&job).and_then(Weak::upgrade) {
            return Ok(runtime);
        }
        let own = FairSpillPool::new(usize::try_from(quota.memory_bytes).unwrap_or(usize::MAX));
        let memory = Within { own: TrackConsumersPool::new(own, NAMED_CONSUMERS), all: Arc::clone(&self.shared.memory_pool) };
        let mode = if quota.spill_bytes == 0 { DiskManagerMode::Disabled } else { DiskManagerMode::OsTmpDirectory };
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.shared)
            .with_memory_pool(Arc::new(memory))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(quota.spill_bytes))
            .build_arc()?;
        queries.retain(|_, runtime| runtime.strong_count() > 0);
        queries.insert(job, Arc::downgrade(&runtime));
        Ok(runtime)
    }
}

/// A pool within another one.
#[derive(Debug)]
struct Within {
    own: TrackConsumersPool<FairSpillPool>,
    all: Arc<dyn MemoryPool>,
}

impl std::fmt::Display for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} within {}", self.own, self.all)
    }
}

impl MemoryPool for Within {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.all.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.all.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::extension::{SessionConfigExt as _, SessionConfigHelperExt as _};

    use super::*;
    use crate::session::session_config;

    fn config(job: &str, memory_bytes: u64) -> SessionConfig {
        let mut config = session_config().with_ballista_job_name(job);
        config.options_mut().set("bytefacts_query.memory_bytes", &memory_bytes.to_string()).unwrap();
        config
    }

    /// As Ballista sends settings from the client to the scheduler, and from there to executors.
    #[test]
    fn a_quota_travels() {
        let mut sent = session_config();
        sent.options_mut().extensions.insert(Quota { memory_bytes: 5, spill_bytes: 7 });
        let came = session_config().update_from_key_value_pair(&sent.to_key_value_pairs());
        let came = came.options().extensions.get::<Quota>().unwrap().clone();
        assert_eq!((came.memory_bytes, came.spill_bytes), (5, 7));
    }

    #[test]
    fn the_tasks_of_a_query_share_its_memory_inside_that_of_the_executor() {
        let memory = Arc::new(TrackConsumersPool::new(FairSpillPool::new(1500), NAMED_CONSUMERS));
        let shared = RuntimeEnvBuilder::new().with_memory_pool(memory).build_arc().unwrap();
        let quotas = Quotas::new(Arc::clone(&shared));
        assert!(Arc::ptr_eq(&quotas.runtime(&session_config()).unwrap(), &shared), "jobs have none");

        let (one, same) = (quotas.runtime(&config("query/a", 1000)).unwrap(), quotas.runtime(&config("query/a", 1000)).unwrap());
        assert!(Arc::ptr_eq(&one, &same));
        let reservation = |runtime: &RuntimeEnv| MemoryConsumer::new("test").register(&runtime.memory_pool);
        let (first, second) = (reservation(&one), reservation(&same));
        first.try_grow(600).unwrap();
        assert!(second.try_grow(600).is_err(), "together they have 1000");
        second.try_grow(400).unwrap();

        let other = quotas.runtime(&config("query/b", 1000)).unwrap();
        let third = reservation(&other);
        assert!(third.try_grow(600).is_err(), "all have 1500");
        third.try_grow(500).unwrap();
        drop((first, second, third));
        assert_eq!(shared.memory_pool.reserved(), 0);

        drop((one, same));
        quotas.runtime(&config("query/c", 1000)).unwrap();
        assert!(!quotas.queries.lock().unwrap().contains_key("query/a"), "who is gone is forgotten");
    }
}
