//! `bytefacts serve`: SQL for every client, over Arrow Flight SQL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use bytefacts_cluster::{self as cluster, ClusterStatus, ExecutorStatus, JobStatus, QueryCluster, listen, metrics};
use bytefacts_serve::{Access, ClusterState, ExecutorState, Executors, JobState, Limits, MOST_SECONDS, Server, Spread, Users};
use bytefacts_stores::Stores;
use bytefacts_tls::ServerTls;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::sleep;

use crate::address::scheduler_url;
use crate::args;
use crate::config::{ServeSettings, Settings};
use crate::daemon::{Announcement, ProbeServer, reachable_host};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::freshness::Freshness;
use crate::output::Output;
use crate::reach::StoreWatch;
use crate::signals::Signals;

/// Runs the command until it is told to end.
///
/// # Errors
/// When it cannot start, or fails.
pub async fn run(args: args::Serve, output: &mut Output) -> anyhow::Result<Exit> {
    let settings = Settings::load(&args)?;
    let own = settings.serve;
    let signals = Signals::listen()?;
    let cluster = match &own.cluster {
        Some(url) => Some(QueryCluster::new(&scheduler_url(url)?).with_tls(settings.cluster_tls.client()?)),
        None => None,
    };
    let facts = Facts::open(&args.facts)?;
    let watching = cluster.clone().map(|cluster| tokio::spawn(watch(cluster)));
    let mut service = start(&own, Stores::new(settings.stores), &facts, cluster).await?;
    let reach = StoreWatch::start([facts.location.clone()]);
    let freshness = Freshness::start(facts.store.clone());
    let registries = vec![metrics::of_daemon(None, own.uses())?, service.metrics(), freshness.metrics()?];
    let mut probes = ProbeServer::start(own.probes, registries, move || reach.readiness()).await?;
    probes.tell(service.health()).await;
    let address = service.address();
    let id = match reachable_host(address) {
        Some(host) => host.to_string(),
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    let connect = connection(address, &own);
    Announcement { role: "server", id, address, probes: probes.address, sql: None, next: Some(connect) }.write(args.format, output)?;

    tokio::select! {
        reason = service.failed() => bail!("the server failed: {reason}"),
        signal = signals.first() => tracing::info!(signal, "leaving"),
    }
    probes.leave();
    if let Some(watching) = watching {
        watching.abort();
    }
    service.stop().await;
    Ok(Exit::Clean)
}

/// Starts the service: the same for this command and inside a scheduler.
///
/// # Errors
/// When its settings mean nothing or are not safe where it listens, or it cannot start.
pub async fn start(own: &ServeSettings, stores: Stores, facts: &Facts, cluster: Option<QueryCluster>) -> anyhow::Result<Server> {
    let options = own.options();
    let (listener, address) = listen(own.listen)?;
    let access = match &own.users {
        Some(file) => Access::Users(Box::new(Users::read(file).map_err(|error| UsageError(error.to_string()))?)),
        None if address.ip().is_loopback() || own.insecure => Access::Open,
        None => {
            let text = "whoever reaches this address could read the facts: give --users FILE, or --insecure if that is meant \
                        (serve.users and serve.insecure in the settings)";
            return Err(UsageError(format!("{address}: {text}")).into());
        }
    };
    let tls = match (&own.tls_cert, &own.tls_key) {
        (Some(certificates), Some(key)) => Some(ServerTls::read(certificates, key).map_err(|error| UsageError(error.to_string()))?),
        (None, None) => None,
        _ => return Err(UsageError("a certificate and its key belong together: serve.tls_cert and serve.tls_key".to_owned()).into()),
    };
    if tls.is_none() && matches!(access, Access::Users(_)) && !address.ip().is_loopback() {
        tracing::warn!("passwords and tokens travel in the clear: give --tls-cert and --tls-key, unless a proxy in front encrypts");
    }
    if let Err(error) = allow_files(options.connections) {
        tracing::warn!(%error, "the system may give too few open files for serve.connections");
    }
    let spread = cluster.map(|cluster| Spread { executors: Arc::new(ClusterExecutors(cluster)), least_bytes: own.cluster_bytes });
    Ok(Server::start(listener, options, stores, facts.location.uri(), access, tls, spread).await?)
}

/// Where a client connects, as it is told.
fn connection(address: SocketAddr, own: &ServeSettings) -> String {
    let scheme = if own.tls_cert.is_some() { "grpc+tls" } else { "grpc" };
    let host = reachable_host(address).map_or_else(|| "HOST".to_owned(), |_| address.ip().to_string());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!(
        "connect to {scheme}://{host}:{}, from Python by adbc_driver_flightsql.dbapi.connect; docs/sql.md has other clients",
        address.port()
    )
}

/// Open files beside those of connections: of facts, of temporary files, of threads.
const OTHER_FILES: u64 = 1024;

/// Asks the system for as many open files as connections may need.
fn allow_files(connections: usize) -> nix::Result<()> {
    let wanted = connections as u64 + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted { setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard) } else { Ok(()) }
}

/// How often is looked whether the cluster is there.
const LOOK: Duration = Duration::from_secs(10);

/// Says when the cluster is not there, and when it is again. Queries ask it anew each time, so that nothing else is to be done.
async fn watch(cluster: QueryCluster) {
    let mut was_there = None;
    loop {
        match cluster.knock().await {
            Ok(()) => {
                if was_there == Some(false) {
                    tracing::warn!("the cluster is there");
                }
                was_there = Some(true);
            }
            Err(error) => {
                if was_there != Some(false) {
                    tracing::warn!(
                        %error,
                        "the cluster is not there: queries that are left to it fail until it is, others are answered; start it by \
                         `bytefacts scheduler`, or leave --cluster out"
                    );
                }
                was_there = Some(false);
            }
        }
        sleep(LOOK).await;
    }
}

/// A Ballista cluster as the service wants it.
#[derive(Debug)]
struct ClusterExecutors(QueryCluster);

#[async_trait]
impl Executors for ClusterExecutors {
    fn planning(&self, state: SessionState) -> SessionState {
        QueryCluster::planning(state)
    }

    fn limit(&self, config: &mut SessionConfig, limits: &Limits) {
        QueryCluster::limit(config, limits.memory_bytes, limits.spill_bytes);
    }

    async fn cores(&self) -> Result<usize> {
        self.0.cores().await
    }

    async fn run(&self, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<SendableRecordBatchStream> {
        self.0.run(plan, config).await
    }

    async fn state(&self) -> Result<ClusterState> {
        let ClusterStatus { executors, jobs, .. } = self.0.status().await?;
        Ok(ClusterState { executors: executors.into_iter().map(executor_state).collect(), jobs: jobs.into_iter().map(job_state).collect() })
    }
}

fn executor_state(executor: ExecutorStatus) -> ExecutorState {
    ExecutorState {
        id: executor.id,
        node: executor.node,
        address: format!("{}:{}", executor.host, executor.port),
        cores: executor.cores,
        cores_in_use: executor.cores_in_use,
        silent_seconds: executor.silent_seconds,
        version: executor.version,
        python: executor.python,
    }
}

fn job_state(job: JobStatus) -> JobState {
    JobState {
        id: job.id,
        run: job.run,
        state: match job.state {
            cluster::JobState::Queued => "queued",
            cluster::JobState::Running => "running",
            cluster::JobState::Completed => "completed",
            cluster::JobState::Failed => "failed",
            cluster::JobState::Cancelled => "cancelled",
        },
        corpus: job.corpus,
        facts: job.facts,
        submitted_at_ms: job.submitted_at_ms,
        ended_at_ms: job.ended_at_ms,
        seconds: job.seconds,
        bins: job.progress.bins,
        bins_done: job.progress.bins_done,
        files: job.progress.files,
        errors: job.progress.errors.values().sum(),
        reruns: job.reruns,
        error: job.error,
    }
}

/// So many seconds, of which more than ten years are as many as anybody waits, and no clock can be set on by.
fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(MOST_SECONDS))
}

impl ServeSettings {
    /// As the service takes them.
    fn options(&self) -> bytefacts_serve::ServeOptions {
        let defaults = bytefacts_serve::ServeOptions::default();
        bytefacts_serve::ServeOptions {
            threads: self.threads.map_or(defaults.threads, usize::from),
            running: self.running,
            limits: Limits {
                time: seconds(self.query_seconds),
                rows: self.query_rows,
                memory_bytes: self.query_memory_bytes,
                spill_bytes: self.query_spill_bytes,
                queries: self.queries_per_user,
            },
            early: Duration::from_millis(self.early_milliseconds),
            unclaimed: seconds(self.unclaimed_seconds),
            reader: seconds(self.reader_seconds),
            connections: self.connections,
            login: seconds(self.login_seconds),
            message_bytes: self.message_bytes,
            audit_log: self.audit_log,
        }
    }
}
