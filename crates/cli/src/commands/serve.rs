//! `bytefacts serve`: SQL for every client, over Arrow Flight SQL.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use bytefacts_cluster::{self as cluster, ClusterStatus, ExecutorStatus, JobStatus, QueryCluster, listen};
use bytefacts_serve::{Access, ClusterState, ExecutorState, Executors, JobState, Server, Spread, Tls, Users};
use bytefacts_stores::Stores;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use crate::args;
use crate::commands::extract::scheduler_url;
use crate::config::Settings;
use crate::daemon::{Announcement, ProbeServer, reachable_host};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::output::Output;
use crate::signals::Signals;

/// Runs the command until it is told to end.
///
/// # Errors
/// When it cannot start, or fails.
pub async fn run(args: args::Serve, output: &mut Output) -> anyhow::Result<Exit> {
    let settings = Settings::read(args.config.as_deref())?;
    let own = settings.serve;
    let signals = Signals::listen()?;
    let facts = Facts::open(&args.facts)?;
    let options = own.options()?;
    let (listener, address) = listen(args.listen.unwrap_or(own.listen))?;
    let access = match args.users.or(own.users) {
        Some(file) => Access::Users(Box::new(Users::read(&file).map_err(|error| UsageError(error.to_string()))?)),
        None if address.ip().is_loopback() || args.insecure || own.insecure => Access::Open,
        None => {
            let text = "whoever reaches this address could read the facts: give --users FILE, or --insecure if that is meant";
            return Err(UsageError(format!("{address}: {text}")).into());
        }
    };
    let tls = match (args.tls_cert.or(own.tls_cert), args.tls_key.or(own.tls_key)) {
        (Some(certificates), Some(key)) => Some(Tls::read(&certificates, &key).map_err(|error| UsageError(error.to_string()))?),
        (None, None) => None,
        _ => return Err(UsageError("a certificate and its key belong together: serve.tls_cert and serve.tls_key".to_owned()).into()),
    };
    if tls.is_none() && matches!(access, Access::Users(_)) && !address.ip().is_loopback() {
        tracing::warn!("passwords and tokens travel in the clear: give --tls-cert and --tls-key, unless a proxy in front encrypts");
    }
    let spread = match args.cluster.or(own.cluster) {
        Some(url) => {
            let executors = Arc::new(ClusterExecutors(QueryCluster::new(&scheduler_url(&url)?)));
            Some(Spread { executors, least_bytes: own.cluster_bytes })
        }
        None => None,
    };
    let mut server = Server::start(listener, options, Stores::new(settings.stores), facts.location.uri(), access, tls, spread).await?;
    let probes = ProbeServer::start(args.probes.unwrap_or(own.probes), server.metrics(), || true).await?;
    let id = match reachable_host(address) {
        Some(host) => host.to_string(),
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    Announcement { role: "server", id, address, probes: probes.address }.write(args.format, output)?;

    tokio::select! {
        reason = server.failed() => bail!("the server failed: {reason}"),
        signal = signals.first() => tracing::info!(signal, "leaving"),
    }
    probes.leave();
    server.stop().await;
    Ok(Exit::Clean)
}

/// A Ballista cluster as the service wants it.
#[derive(Debug)]
struct ClusterExecutors(QueryCluster);

#[async_trait]
impl Executors for ClusterExecutors {
    fn planning(&self, state: SessionState) -> SessionState {
        QueryCluster::planning(state)
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

impl crate::config::ServeSettings {
    /// As the service takes them.
    ///
    /// # Errors
    /// When they mean nothing.
    fn options(&self) -> Result<bytefacts_serve::ServeOptions, UsageError> {
        let fault = if self.threads == Some(0) || self.running == 0 || self.queries_per_user == 0 {
            "serve.threads, serve.running and serve.queries_per_user are at least 1"
        } else if self.query_seconds == 0 || self.unclaimed_seconds == 0 || self.login_seconds == 0 {
            "serve.query_seconds, serve.unclaimed_seconds and serve.login_seconds are at least 1"
        } else if self.message_bytes < 1 << 20 {
            "serve.message_bytes is at least 1048576"
        } else {
            let defaults = bytefacts_serve::ServeOptions::default();
            return Ok(bytefacts_serve::ServeOptions {
                threads: self.threads.map_or(defaults.threads, usize::from),
                running: self.running,
                limits: bytefacts_serve::Limits {
                    time: Duration::from_secs(self.query_seconds),
                    rows: self.query_rows,
                    memory_bytes: self.query_memory_bytes,
                    spill_bytes: self.query_spill_bytes,
                    queries: self.queries_per_user,
                },
                early: Duration::from_millis(self.early_milliseconds),
                unclaimed: Duration::from_secs(self.unclaimed_seconds),
                login: Duration::from_secs(self.login_seconds),
                message_bytes: self.message_bytes,
            });
        };
        Err(UsageError(fault.to_owned()))
    }
}
