//! The client's session for extraction jobs.

use std::sync::Arc;

use ballista::prelude::SessionContextExt as _;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use ballista_core::utils::default_session_builder;
use bytefacts_engine::{LogicalCodec, fresh_attempt};
use bytefacts_query::{concatenation, guarded, id_functions};
use bytefacts_stores::{FactsOnly, Stores};
use bytefacts_tls::ClientTls;
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use url::Url;

use crate::quota::{NAMED_CONSUMERS, Quota};

/// The largest message, in bytes. It holds for thousands of bins: a plan carries under 1 KiB a bin.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The settings that scheduler, executors and clients share.
///
/// Adaptive planning is off: it replaces physical rules, re-optimises our operators after each stage, and has open bugs when executors are lost.
pub(crate) fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES)
        .with_ballista_adaptive_query_planner(false)
        .with_option_extension(Quota::default())
}

/// Has Ballista's own clients show what a cluster asks for: those that fetch what executors hold, and those that hand over jobs.
pub(crate) fn with_tls(config: SessionConfig, tls: Option<&ClientTls>) -> SessionConfig {
    let Some(tls) = tls.cloned() else { return config };
    config.with_ballista_override_create_grpc_client_endpoint(Arc::new(move |endpoint| Ok(tls.endpoint(&endpoint)?)))
}

/// A runtime whose plans see facts that jobs may name, which they can read, and nothing else: a plan may be anybody's, and those of DataFusion
/// itself read and write wherever they say. Our operators have stores of their own, which ask whether a job may. What queries hold in memory is
/// bounded.
///
/// # Errors
/// Never, with the default settings.
pub(crate) fn facts_runtime(stores: Arc<Stores>) -> Result<Arc<RuntimeEnv>> {
    let memory = Arc::new(TrackConsumersPool::new(FairSpillPool::new(QUERY_MEMORY_BYTES), NAMED_CONSUMERS));
    RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(FactsStores(stores))).with_memory_pool(memory).build_arc()
}

/// Bytes that the queries of one executor may have in their tables and sorts at a time.
const QUERY_MEMORY_BYTES: usize = 1 << 30;

/// The session in which a scheduler plans a job.
///
/// # Errors
/// Never, with the default settings.
pub(crate) fn planning_session(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> Result<SessionState> {
    let mut session = SessionStateBuilder::new_from_existing(default_session_builder(config)?).with_runtime_env(runtime).build();
    register_functions(&mut session)?;
    Ok(session)
}

/// Makes the functions known that views use, and those that queries have under guard: plans name them.
///
/// # Errors
/// Never: a function of the same name is replaced.
pub(crate) fn register_functions(session: &mut SessionState) -> Result<()> {
    let guarded: Vec<_> = session.scalar_functions().values().map(guarded).collect();
    for function in guarded.into_iter().chain(id_functions().map(Arc::new)).chain([Arc::new(concatenation())]) {
        session.register_udf(function)?;
    }
    Ok(())
}

/// Stores of which facts can be read.
#[derive(Debug)]
struct FactsStores(Arc<Stores>);

impl ObjectStoreRegistry for FactsStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let store = FactsOnly::of(&self.0, url).map_err(|error| plan_datafusion_err!("{error}"))?;
        Ok(Arc::new(store))
    }
}

/// How Ballista is to run a job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// The name that Ballista shows for the job.
    pub name: String,
    /// Partitions (that is, bins) that one task may hold; 0 leaves it to the scheduler. One bin a task makes the bin the unit of retry.
    pub max_partitions_per_task: usize,
    /// Whether the job ends with its client, also with one that goes without a word.
    pub ends_with_client: bool,
}

impl JobSettings {
    /// One bin a task, under the run's name.
    #[must_use]
    pub fn for_run(run: &str) -> Self {
        Self { name: format!("{NAME}{run}/{}", fresh_attempt()), max_partitions_per_task: 1, ends_with_client: true }
    }

    /// One task for what is planned as one, under the audit's name.
    #[must_use]
    pub fn for_audit(audit: &str) -> Self {
        Self { name: format!("{AUDIT}{audit}/{}", fresh_attempt()), max_partitions_per_task: 1, ends_with_client: true }
    }
}

/// What the names of our jobs begin with: then comes the run, and behind a slash the client.
const NAME: &str = "bytefacts-";

/// What the names of audits begin with: then comes the audit, and behind a slash the client.
const AUDIT: &str = "bytefacts-audit:";

/// What a job works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work<'a> {
    /// It extracts a run.
    Run(&'a str),
    /// It derives for an audit.
    Audit(&'a str),
}

/// What the names of queries begin with; behind the slash comes what tells one from another.
const QUERY: &str = "query/";

/// What a job of this name works on, if it is one of ours, and which client has submitted it.
pub(crate) fn run_and_client(job_name: &str) -> Option<(Option<Work<'_>>, &str)> {
    if let Some(client) = job_name.strip_prefix(QUERY) {
        return Some((None, client));
    }
    if let Some(named) = job_name.strip_prefix(AUDIT) {
        let (audit, client) = named.split_once('/')?;
        return Some((Some(Work::Audit(audit)), client));
    }
    let (run, client) = job_name.strip_prefix(NAME)?.split_once('/')?;
    Some((Some(Work::Run(run)), client))
}

/// The name of a query's job.
pub(crate) fn query_name(client: &str) -> String {
    format!("{QUERY}{client}")
}

/// Connects to the scheduler at `url` (`df://host:port`).
///
/// # Errors
/// When the URL is not one, or a setting is unknown to Ballista. No connection is made before the first query.
pub async fn job_session(url: &str, stores: Arc<Stores>, settings: &JobSettings) -> Result<SessionContext> {
    job_session_with(url, stores, settings, None).await
}

/// The same, showing what a cluster asks for.
pub(crate) async fn job_session_with(
    url: &str,
    stores: Arc<Stores>,
    settings: &JobSettings,
    tls: Option<&ClientTls>,
) -> Result<SessionContext> {
    let codec = LogicalCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), stores);
    let config = session_config().with_ballista_logical_extension_codec(Arc::new(codec)).with_ballista_job_name(&settings.name);
    let mut config = with_tls(config, tls);
    config.options_mut().set("ballista.scheduler.max_partitions_per_task", &settings.max_partitions_per_task.to_string())?;
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    SessionContext::remote_with_state(url, state).await
}
