//! The client's session for extraction jobs.

use std::sync::Arc;

use ballista::prelude::SessionContextExt as _;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use ballista_core::utils::default_session_builder;
use bytefacts_engine::LogicalCodec;
use bytefacts_stores::Stores;
use datafusion::common::{Result, plan_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use url::Url;

/// The largest message, in bytes. It holds for thousands of bins: a plan carries under 1 KiB a bin.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The settings that scheduler, executors and clients share.
///
/// Adaptive planning is off: it replaces physical rules, re-optimises our operators after each stage, and has open bugs when executors are lost.
pub(crate) fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES)
        .with_ballista_adaptive_query_planner(false)
}

/// A runtime whose plans reach no file and no object store. A plan may be anybody's, and those of DataFusion itself read and write wherever they
/// say; our operators have stores of their own, which ask whether a job may.
///
/// # Errors
/// Never, with the default settings.
pub(crate) fn sealed_runtime() -> Result<Arc<RuntimeEnv>> {
    RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(NoStores)).build_arc()
}

/// The session in which a scheduler plans a job.
///
/// # Errors
/// Never, with the default settings.
pub(crate) fn planning_session(config: SessionConfig) -> Result<SessionState> {
    let ballista = default_session_builder(config)?;
    Ok(SessionStateBuilder::new_from_existing(ballista).with_runtime_env(sealed_runtime()?).build())
}

#[derive(Debug)]
struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        plan_err!("a cluster of bytefacts extracts facts and nothing else: it does not open {url}")
    }
}

/// How Ballista is to run a job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// The name that Ballista shows for the job.
    pub name: String,
    /// Partitions (that is, bins) that one task may hold; 0 leaves it to the scheduler. One bin a task makes the bin the unit of retry.
    pub max_partitions_per_task: usize,
}

impl JobSettings {
    /// One bin a task, under the run's name.
    #[must_use]
    pub fn for_run(run: &str) -> Self {
        Self { name: format!("{NAME}{run}/{}", fresh_client()), max_partitions_per_task: 1 }
    }
}

/// What the names of our jobs begin with: then comes the run, and behind a slash the client.
const NAME: &str = "bytefacts-";

/// The run that a job of this name works on, and which of its clients has submitted it.
pub(crate) fn run_and_client(job_name: &str) -> Option<(&str, &str)> {
    let name = job_name.strip_prefix(NAME)?;
    Some(name.split_once('/').unwrap_or((name, "")))
}

/// A name that no other client has.
fn fresh_client() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    format!("{:016x}", std::hash::RandomState::new().build_hasher().finish())
}

/// Connects to the scheduler at `url` (`df://host:port`).
///
/// # Errors
/// When the URL is not one, or a setting is unknown to Ballista. No connection is made before the first query.
pub async fn job_session(url: &str, stores: Arc<Stores>, settings: &JobSettings) -> Result<SessionContext> {
    let codec = LogicalCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), stores);
    let mut config = session_config().with_ballista_logical_extension_codec(Arc::new(codec)).with_ballista_job_name(&settings.name);
    config.options_mut().set("ballista.scheduler.max_partitions_per_task", &settings.max_partitions_per_task.to_string())?;
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    SessionContext::remote_with_state(url, state).await
}
