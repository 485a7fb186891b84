//! A Ballista scheduler of ours: our codecs and object stores, pull scheduling, adaptive planning off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::ConfigProducer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use ballista_scheduler::cluster::{BallistaCluster, ClusterStateEvent, ClusterStateEventStream};
use ballista_scheduler::config::SchedulerConfig;
use bytefacts_engine::{LogicalCodec, PhysicalCodec};
use bytefacts_stores::Stores;
use bytefacts_tls::ServerTls;
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::ClusterError;
use crate::events::{Event, Events};
use crate::jobs::Jobs;
use crate::listen::Incoming;
use crate::rest;
use crate::session::{MAX_MESSAGE_BYTES, facts_runtime, planning_session, session_config};
use crate::view::{SchedulerView, Server};

/// How a scheduler treats its executors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// The host that it calls itself to others.
    pub external_host: String,
    /// An executor that was not heard of for so long is lost, and its bins go to others.
    pub executor_timeout: Duration,
    /// How often it looks for lost executors.
    pub expire_interval: Duration,
    /// How long a job waits for an executor when there is none; then it fails, and a client that watches submits it again.
    pub no_executors_grace: Duration,
    /// Executors without which it is not ready.
    pub min_executors: usize,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            external_host: "127.0.0.1".to_owned(),
            executor_timeout: Duration::from_secs(30),
            expire_interval: Duration::from_secs(5),
            no_executors_grace: Duration::from_mins(5),
            min_executors: 0,
        }
    }
}

/// A running scheduler. Dropping it stops it; Ballista 55 keeps jobs in memory only, so they are lost with it.
pub struct Scheduler {
    address: SocketAddr,
    view: SchedulerView,
    serving: JoinHandle<std::io::Result<()>>,
    _watching: AbortOnDrop,
}

/// A task that ends with whoever started it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts executors that are lost.
async fn watch(mut changes: ClusterStateEventStream, events: Arc<Events>) {
    while let Some(change) = changes.next().await {
        if let ClusterStateEvent::RemovedExecutor { executor_id } = change {
            events.removed(&executor_id);
        }
    }
}

impl Scheduler {
    /// Starts a scheduler on a listener.
    ///
    /// # Errors
    /// When Ballista refuses its settings.
    pub async fn start(listener: TcpListener, options: &SchedulerOptions, stores: Arc<Stores>) -> Result<Self, ClusterError> {
        Self::start_with(listener, options, stores, None).await
    }

    /// The same, for those alone who show a certificate of its cluster, where that is wanted.
    ///
    /// # Errors
    /// As [`Scheduler::start`].
    pub async fn start_with(
        listener: TcpListener,
        options: &SchedulerOptions,
        stores: Arc<Stores>,
        tls: Option<ServerTls>,
    ) -> Result<Self, ClusterError> {
        let address = listener.local_addr().map_err(ClusterError::io("find the scheduler's port"))?;
        let ballista = |source| ClusterError::Ballista { operation: "start the scheduler", source: Box::new(source) };
        let producer: ConfigProducer = Arc::new(session_config);
        let events = Arc::new(Events::default());
        let jobs = Arc::new(Jobs::new(Arc::clone(&events)));
        let told = Arc::clone(&events);
        let runtime = facts_runtime(Arc::clone(&stores)).map_err(|error| ClusterError::Runtime(Box::new(error)))?;
        let message_bytes = u32::try_from(MAX_MESSAGE_BYTES).unwrap_or(u32::MAX);
        let config = Arc::new(SchedulerConfig {
            external_host: options.external_host.clone(),
            bind_host: address.ip().to_string(),
            bind_port: address.port(),
            // Ballista's default here is push, our executors pull: a mismatch hangs every job.
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            grpc_server_max_decoding_message_size: message_bytes,
            grpc_server_max_encoding_message_size: message_bytes,
            grpc_client_max_message_size: message_bytes,
            executor_timeout_seconds: options.executor_timeout.as_secs().max(1),
            expire_dead_executor_interval_seconds: options.expire_interval.as_secs().max(1),
            no_executors_grace_period_seconds: options.no_executors_grace.as_secs(),
            min_ready_executors: options.min_executors,
            job_id_generator: Some(Arc::clone(&jobs) as _),
            on_work_available: Some(Arc::new(move |_| told.send(Event::Work))),
            override_config_producer: Some(producer),
            override_session_builder: Some(Arc::new(move |config| planning_session(config, Arc::clone(&runtime)))),
            ..SchedulerConfig::default()
        });
        let codec = BallistaCodec::new(
            Arc::new(LogicalCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), stores)),
            Arc::new(PhysicalCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()), None)),
        );
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(ballista)?;
        let job_state = cluster.job_state();
        let changes = cluster.cluster_state().cluster_state_events().await.map_err(ballista)?;
        // Not `create_scheduler`, which brings a collector of its own.
        let mut server = Server::new(config.scheduler_endpoint(), cluster, codec, config, Arc::clone(&jobs) as _);
        server.init().await.map_err(ballista)?;
        let view = SchedulerView::new(server.clone(), job_state, jobs, Arc::clone(&events));
        let incoming = Incoming::new(listener, tls).map_err(ClusterError::io("find the scheduler's port"))?;
        let watching = AbortOnDrop(tokio::spawn(watch(changes, Arc::clone(&events))));
        let serving = tokio::spawn(rest::serve(incoming, server, view.clone(), events));
        Ok(Self { address, view, serving, _watching: watching })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can be asked of it while it runs.
    #[must_use]
    pub fn view(&self) -> SchedulerView {
        self.view.clone()
    }

    /// Waits until it fails: a scheduler does not end by itself.
    pub async fn failed(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "its server ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Stops serving, and lets go of the port.
    pub async fn stop(mut self) {
        self.serving.abort();
        // Aborted, or ended before: either way it is over.
        let _: Result<_, _> = (&mut self.serving).await;
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
