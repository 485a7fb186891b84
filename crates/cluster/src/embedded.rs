//! The embedded cluster: a Ballista scheduler and executors on loopback ports of this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::protobuf::ExecutorRegistration;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use ballista_core::utils::{GrpcServerConfig, create_grpc_server, default_config_producer, default_session_builder};
use ballista_core::{BALLISTA_PROTOCOL_VERSION, ConfigProducer, RuntimeProducer};
use ballista_executor::execution_loop::poll_loop;
use ballista_executor::executor::Executor;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::health::ExecutorHealth;
use ballista_executor::metrics::LoggingMetricsCollector;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use bytefacts_engine::codec::{LogicalCodec, PhysicalCodec};
use bytefacts_engine::node::Node;
use bytefacts_engine::stores::Stores;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;

/// Why the embedded cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A port, a folder or a connection was refused.
    #[error("cannot {operation} for the embedded cluster: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Ballista refused.
    #[error("cannot {operation} for the embedded cluster: {source}")]
    Ballista {
        /// What was tried.
        operation: &'static str,
        /// What Ballista says.
        source: Box<BallistaError>,
    },
    /// DataFusion's runtime could not be made.
    #[error("cannot make the runtime of an embedded executor: {0}")]
    Runtime(Box<DataFusionError>),
    /// The scheduler did not answer in time.
    #[error("the embedded scheduler does not answer on {address}: {reason}")]
    Unreachable {
        /// Where it should listen.
        address: SocketAddr,
        /// The last failure.
        reason: String,
    },
}

/// The shape of the embedded cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Tasks that one executor runs at a time.
    pub cores_per_executor: usize,
}

/// A running embedded cluster. Dropping it stops its servers and removes its work folders.
pub struct Embedded {
    address: SocketAddr,
    tasks: JoinSet<()>,
    _work_dirs: Vec<TempDir>,
}

impl Embedded {
    /// Starts a scheduler, and one executor for each of `nodes`, on free loopback ports.
    ///
    /// # Errors
    /// When a port or a folder cannot be had, or the scheduler does not answer.
    pub async fn start(nodes: &[Arc<Node>], stores: Arc<Stores>, options: EmbeddedOptions) -> Result<Self, ClusterError> {
        let mut tasks = JoinSet::new();
        let address = start_scheduler(&mut tasks, stores).await?;
        let mut work_dirs = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            work_dirs.push(start_executor(&mut tasks, address, index, Arc::clone(node), options.cores_per_executor).await?);
        }
        Ok(Self { address, tasks, _work_dirs: work_dirs })
    }

    /// The scheduler's URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("df://{}", self.address)
    }

    /// Stops the servers and waits until they have let go of their ports and folders.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// The settings that scheduler and executors share. Message sizes hold for thousands of bins: a plan carries under 1 KiB a bin.
fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES)
        .with_ballista_adaptive_query_planner(false)
}

const MAX_MESSAGE_BYTES: usize = 64 << 20;

async fn listen(operation: &'static str) -> Result<(TcpListener, SocketAddr), ClusterError> {
    let io = |source| ClusterError::Io { operation, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(io)?;
    let address = listener.local_addr().map_err(io)?;
    Ok((listener, address))
}

async fn start_scheduler(tasks: &mut JoinSet<()>, stores: Arc<Stores>) -> Result<SocketAddr, ClusterError> {
    let ballista = |source| ClusterError::Ballista { operation: "start the scheduler", source: Box::new(source) };
    let (listener, address) = listen("bind the scheduler's port").await?;
    let config_producer: ConfigProducer = Arc::new(session_config);
    let message_bytes = u32::try_from(MAX_MESSAGE_BYTES).unwrap_or(u32::MAX);
    let config = SchedulerConfig {
        external_host: address.ip().to_string(),
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        // Ballista's default here is push, its in-process executors only pull: a mismatch hangs every job.
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        grpc_server_max_decoding_message_size: message_bytes,
        grpc_server_max_encoding_message_size: message_bytes,
        grpc_client_max_message_size: message_bytes,
        override_config_producer: Some(config_producer),
        override_session_builder: Some(Arc::new(default_session_builder)),
        override_logical_codec: Some(Arc::new(LogicalCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), stores))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()), None))),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(ballista)?;
    let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await.map_err(ballista)?;
    tasks.spawn(async move {
        if let Err(error) = start_grpc_service_with_listener(listener, scheduler).await {
            tracing::error!(%error, "embedded scheduler stopped");
        }
    });
    Ok(address)
}

async fn start_executor(
    tasks: &mut JoinSet<()>,
    scheduler: SocketAddr,
    index: usize,
    node: Arc<Node>,
    cores: usize,
) -> Result<TempDir, ClusterError> {
    let (listener, address) = listen("bind an executor's port").await?;
    let work_dir = tempfile::Builder::new()
        .prefix("bytefacts-executor-")
        .tempdir()
        .map_err(|source| ClusterError::Io { operation: "make a work folder", source })?;
    let work_path = work_dir.path().to_string_lossy().into_owned();

    let runtime = RuntimeEnvBuilder::new().build_arc().map_err(|e| ClusterError::Runtime(Box::new(e)))?;
    let runtime_producer: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&runtime)));
    let codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode> = BallistaCodec::new(
        Arc::new(BallistaLogicalExtensionCodec::default()),
        Arc::new(PhysicalCodec::new(Arc::new(BallistaPhysicalExtensionCodec::default()), Some(node))),
    );
    let functions = default_session_builder(default_config_producer()).map_err(|e| ClusterError::Runtime(Box::new(e)))?;
    let executor = Arc::new(Executor::with_default_execution_engine(
        ExecutorRegistration {
            id: format!("embedded-{index}"),
            host: Some(address.ip().to_string()),
            port: u32::from(address.port()),
            grpc_port: 0, // in pull mode nobody dials an executor's control port
            specification: Some(ExecutorSpecification::default().with_vcores(u32::try_from(cores).unwrap_or(u32::MAX)).into()),
            os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        },
        &work_path,
        runtime_producer,
        Arc::new(session_config),
        Arc::new(BallistaFunctionRegistry::from(&functions)),
        Arc::new(LoggingMetricsCollector::default()),
        cores,
    ));

    let flight = FlightServiceServer::new(BallistaFlightService::new(work_path))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    tasks.spawn(async move {
        let server = create_grpc_server(&GrpcServerConfig::default()).add_service(flight);
        if let Err(error) = server.serve_with_incoming(TcpListenerStream::new(listener)).await {
            tracing::error!(%error, "embedded executor's flight service stopped");
        }
    });

    let client = connect(scheduler).await?;
    tasks.spawn(async move {
        if let Err(error) = poll_loop(client, executor, codec, None, None, ExecutorHealth::new()).await {
            tracing::error!(%error, "embedded executor stopped");
        }
    });
    Ok(work_dir)
}

/// The scheduler's task may not have reached `accept` yet: a few short retries.
async fn connect(scheduler: SocketAddr) -> Result<SchedulerGrpcClient<tonic::transport::Channel>, ClusterError> {
    let url = format!("http://{scheduler}");
    let mut reason = String::new();
    for _ in 0..100 {
        match SchedulerGrpcClient::connect(url.clone()).await {
            Ok(client) => return Ok(client.max_encoding_message_size(MAX_MESSAGE_BYTES).max_decoding_message_size(MAX_MESSAGE_BYTES)),
            Err(error) => reason = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(ClusterError::Unreachable { address: scheduler, reason })
}
