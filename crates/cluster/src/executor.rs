//! A Ballista executor of ours: it pulls tasks, runs them on its node, serves what they leave for later stages, and can be drained.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::error::BallistaError;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorRegistration, ExecutorStoppedParams};
use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use ballista_core::utils::{GrpcServerConfig, create_grpc_server, default_config_producer, default_session_builder};
use ballista_core::{BALLISTA_PROTOCOL_VERSION, RuntimeProducer};
use ballista_executor::execution_loop::poll_loop;
use ballista_executor::executor::Executor as BallistaExecutor;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::health::ExecutorHealth;
use ballista_executor::metrics::LoggingMetricsCollector;
use bytefacts_engine::{Node, PhysicalCodec};
use bytefacts_stores::Stores;
use bytefacts_tls::{ClientTls, Mutual, accept};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::error::ClusterError;
use crate::events::{Goodbye, Introduction};
use crate::follow::follow;
use crate::quota::Quotas;
use crate::remote::{GOODBYE, RemoteScheduler};
use crate::session::{MAX_MESSAGE_BYTES, facts_runtime, register_functions, session_config, with_tls};
use crate::tasks::Tasks;

/// What an executor is to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorOptions {
    /// Its id. A restarted executor needs another one: the scheduler refuses an id that it still knows.
    pub id: String,
    /// The name of its node, which stays when it restarts.
    pub node: String,
    /// The host under which others fetch what it serves; without one, the address that its connections to the scheduler come from.
    pub external_host: Option<String>,
    /// The scheduler, as `host:port`.
    pub scheduler: String,
    /// How long the scheduler may take to be there.
    pub connect_timeout: Duration,
    /// Tasks that it runs at a time.
    pub cores: usize,
    /// Where tasks leave what later stages fetch: of jobs small rows, one a bin; of queries whatever is joined and grouped.
    pub work_dir: PathBuf,
    /// What it shows to its cluster, and asks of it: the files of a certificate.
    pub tls: Option<Mutual>,
}

/// An executor that has its port and its folder, and is of no cluster yet.
pub struct Starting {
    options: ExecutorOptions,
    address: SocketAddr,
    tls: Option<ClientTls>,
    python: String,
    executor: Arc<BallistaExecutor>,
    tasks: Arc<Tasks>,
    codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode>,
    view: ExecutorView,
    serving: JoinSet<()>,
}

/// A running executor. Dropping it stops it at once; its tasks then go to others when the scheduler misses it.
pub struct Executor {
    id: String,
    address: SocketAddr,
    scheduler: SchedulerGrpcClient<Channel>,
    remote: RemoteScheduler,
    view: ExecutorView,
    /// Ends when the executor can no longer work.
    polling: JoinSet<Result<(), BallistaError>>,
    serving: JoinSet<()>,
}

impl Starting {
    /// Makes an executor on a listener. Nobody is asked for anything yet.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new(listener: TcpListener, options: ExecutorOptions, node: Arc<Node>) -> Result<Self, ClusterError> {
        let address = listener.local_addr().map_err(ClusterError::io("find the executor's port"))?;
        std::fs::create_dir_all(&options.work_dir)
            .map_err(ClusterError::io(format!("make the work folder {}", options.work_dir.display())))?;
        let work_dir = options.work_dir.to_string_lossy().into_owned();
        let tasks = Arc::new(Tasks::default());
        let tls = options.tls.as_ref().map(Mutual::client).transpose()?;
        let incoming = accept(listener, options.tls.as_ref().map(Mutual::server).transpose()?);
        let executor = executor(&options, address, &work_dir, Arc::clone(&tasks), Arc::clone(node.stores()), tls.clone())?;
        tasks.belong_to(Arc::clone(&executor));

        let mut serving = JoinSet::new();
        let flight = FlightServiceServer::new(BallistaFlightService::new(work_dir))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        serving.spawn(async move {
            let server = create_grpc_server(&GrpcServerConfig::default()).add_service(flight);
            if let Err(error) = server.serve_with_incoming(incoming.map(Ok::<_, std::io::Error>)).await {
                tracing::error!(%error, "the executor's flight service stopped");
            }
        });

        let python = node.interpreter_id().version;
        let codec = BallistaCodec::new(
            Arc::new(BallistaLogicalExtensionCodec::default()),
            Arc::new(PhysicalCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()), Some(node))),
        );
        let cores = u32::try_from(options.cores).unwrap_or(u32::MAX);
        let view = ExecutorView { health: ExecutorHealth::new(), places: Arc::new(Semaphore::new(options.cores)), cores };
        Ok(Self { options, address, tls, python, executor, tasks, codec, view, serving })
    }

    /// What can be asked of it, from now on until it stops.
    #[must_use]
    pub fn view(&self) -> ExecutorView {
        self.view.clone()
    }

    /// Joins the cluster, once the scheduler answers.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn join(self) -> Result<Executor, ClusterError> {
        let Self { options, address, tls, python, executor, tasks, codec, view, mut serving } = self;
        let remote = RemoteScheduler::new(&options.scheduler).with_tls(tls);
        let scheduler = connect(&remote, options.connect_timeout).await?;
        let wake = Arc::new(Notify::new());
        let mut polling = JoinSet::new();
        let places = Some(Arc::clone(&view.places));
        polling.spawn(poll_loop(scheduler.clone(), executor, codec, Some(Arc::clone(&wake)), places, view.health.clone()));
        let introduction =
            Introduction { id: options.id.clone(), node: options.node, version: env!("CARGO_PKG_VERSION").to_owned(), python };
        serving.spawn(follow(remote.clone(), introduction, Arc::clone(&tasks), Arc::clone(&wake)));
        let places = Arc::clone(&view.places);
        serving.spawn(async move { tasks.report_ends(&places, options.cores, &wake).await });
        Ok(Executor { id: options.id, address, scheduler, remote, view, polling, serving })
    }
}

impl Executor {
    /// Starts an executor on a listener, once the scheduler answers.
    ///
    /// # Errors
    /// When its folder cannot be made, or the scheduler does not answer in time.
    pub async fn start(listener: TcpListener, options: ExecutorOptions, node: Arc<Node>) -> Result<Self, ClusterError> {
        Starting::new(listener, options, node)?.join().await
    }

    /// Where others fetch what it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can be asked of it while it runs.
    #[must_use]
    pub fn view(&self) -> ExecutorView {
        self.view.clone()
    }

    /// Waits until it can no longer work; it does not end by itself.
    pub async fn failed(&mut self) -> String {
        match self.polling.join_next().await {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(error)) => error.to_string(),
            Some(Ok(Ok(()))) | None => "its polling ended".to_owned(),
        }
    }

    /// Takes no further tasks, lets those under way finish for up to `grace`, and leaves the cluster: what is not finished is handed back.
    /// Returns whether all was finished.
    ///
    /// What the tasks have left here for later stages goes with it. The scheduler has them done again elsewhere, which for a landed bin costs
    /// one look at its record.
    pub async fn drain(mut self, grace: Duration) -> bool {
        // Whoever waits for permits is served in order, so that no task takes a place that gets free meanwhile.
        let finished = timeout(grace, self.view.places.acquire_many(self.view.cores)).await.is_ok_and(|places| places.is_ok());
        self.polling.shutdown().await;
        let reason = if finished { "drained" } else { "drained, handing back what was under way" };
        let goodbye = ExecutorStoppedParams { executor_id: self.id.clone(), reason: reason.to_owned() };
        // A scheduler that did not answer last time is not waited for.
        let patience = Duration::from_secs(if self.view.is_connected() { 5 } else { 1 });
        // First, so that who goes is not taken for lost.
        if !matches!(timeout(patience, self.remote.post(GOODBYE, &Goodbye { id: self.id.clone() })).await, Ok(Ok(_))) {
            tracing::debug!("the scheduler has not heard the goodbye");
        }
        match timeout(patience, self.scheduler.executor_stopped(goodbye)).await {
            Ok(Ok(_)) => tracing::info!(executor = self.id, finished, "left the cluster"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot tell the scheduler; it will miss this executor in time"),
            Err(_) => tracing::warn!("the scheduler does not answer; it will miss this executor in time"),
        }
        self.serving.shutdown().await;
        finished
    }

    /// Stops at once.
    pub async fn stop(mut self) {
        self.polling.shutdown().await;
        self.serving.shutdown().await;
    }
}

/// A look at a running executor.
#[derive(Clone)]
pub struct ExecutorView {
    health: ExecutorHealth,
    places: Arc<Semaphore>,
    cores: u32,
}

impl ExecutorView {
    /// Whether the scheduler answered last time it was asked for work.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.health.is_ready()
    }

    /// Tasks under way.
    #[must_use]
    pub fn running_tasks(&self) -> u64 {
        u64::from(self.cores).saturating_sub(self.places.available_permits() as u64)
    }

    /// Tasks that it runs at a time.
    #[must_use]
    pub fn cores(&self) -> u32 {
        self.cores
    }
}

fn executor(
    options: &ExecutorOptions,
    address: SocketAddr,
    work_dir: &str,
    tasks: Arc<Tasks>,
    stores: Arc<Stores>,
    tls: Option<ClientTls>,
) -> Result<Arc<BallistaExecutor>, ClusterError> {
    let runtime_error = |error| ClusterError::Runtime(Box::new(error));
    let quotas = Quotas::new(facts_runtime(stores).map_err(runtime_error)?);
    let runtime_producer: RuntimeProducer = Arc::new(move |config| quotas.runtime(config));
    let mut functions = default_session_builder(default_config_producer()).map_err(runtime_error)?;
    register_functions(&mut functions).map_err(runtime_error)?;
    let cores = u32::try_from(options.cores).unwrap_or(u32::MAX);
    Ok(Arc::new(BallistaExecutor::new(
        ExecutorRegistration {
            id: options.id.clone(),
            host: options.external_host.clone(),
            port: u32::from(address.port()),
            grpc_port: 0, // in pull mode nobody dials an executor's control port
            specification: Some(ExecutorSpecification::default().with_vcores(cores).into()),
            os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        },
        work_dir,
        runtime_producer,
        Arc::new(move || with_tls(session_config(), tls.as_ref())),
        Arc::new(BallistaFunctionRegistry::from(&functions)),
        Arc::new(LoggingMetricsCollector::default()),
        options.cores,
        tasks,
    )))
}

/// How often it is said that the scheduler is waited for.
const STILL_WAITING: Duration = Duration::from_secs(30);

/// How long is waited between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// The scheduler may still be on its way up.
async fn connect(scheduler: &RemoteScheduler, limit: Duration) -> Result<SchedulerGrpcClient<Channel>, ClusterError> {
    let begun = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let error = match scheduler.connect().await {
            Ok(channel) => {
                let client = SchedulerGrpcClient::new(channel);
                return Ok(client.max_encoding_message_size(MAX_MESSAGE_BYTES).max_decoding_message_size(MAX_MESSAGE_BYTES));
            }
            Err(error) => error,
        };
        if begun.elapsed() >= limit {
            return Err(error.into());
        }
        if said.is_none_or(|said| said.elapsed() >= STILL_WAITING) {
            said = Some(Instant::now());
            let (waited, limit) = (begun.elapsed().as_secs(), limit.as_secs());
            tracing::info!(scheduler = scheduler.address(), reason = error.reason(), "waiting for the scheduler ({waited} s of {limit} s)");
        }
        sleep(RETRY).await;
    }
}
