//! SQL for every client: an Arrow Flight SQL service over committed facts.
//!
//! ```text
//! connection ─▶ call                                      (connections.rs)
//! call ─▶ Door: who calls, with which session             (access.rs, users.rs, sessions.rs, seal.rs)
//!      ─▶ Service: which question it is                    (flight.rs, flight/, messages.rs, prepared.rs)
//!           ├ metadata: catalogs, tables, keys, types      (metadata.rs, contract.rs)
//!           ├ gate ─▶ Planner ─▶ Planned                   (gate.rs, planner.rs, width.rs, plan.rs, catalog.rs, runs.rs, listing.rs)
//!           └ Queries ─▶ Query ─▶ Work ─▶ Execution        (queries.rs, query.rs, outcome.rs, record.rs, work.rs, execution.rs, spread.rs)
//!                                   └ messages             (wire.rs)
//! ```
//!
//! What came of it stands in the audit log (audit_log.rs).
//!
//! Why a service of its own and not Ballista's: that compresses what it sends, which the JDBC driver cannot read; it waits for the whole job before
//! it answers; it knows no parameters and cannot cancel; and statements that write never come to a gate. Large queries
//! go to a cluster's executors all the same (`spread.rs`), by plans that are made here.

mod access;
mod audit_log;
mod catalog;
mod connections;
mod contract;
mod error;
mod execution;
mod flight;
mod gate;
mod listing;
mod lock;
mod messages;
mod metadata;
mod metrics;
mod options;
mod outcome;
mod plan;
mod planner;
mod prepared;
mod queries;
mod query;
mod record;
mod runs;
mod seal;
mod sessions;
mod spread;
mod users;
mod width;
mod wire;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use bytefacts_stores::Stores;
use bytefacts_tls::ServerTls;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub use self::access::Access;
pub use self::audit_log::AUDIT_LOG;
pub use self::error::ServeError;
pub use self::listing::SYSTEM;
pub use self::options::{Limits, MOST_SECONDS, OwnLimits, ServeOptions};
pub use self::spread::{ClusterState, ExecutorState, Executors, JobState, Spread};
pub use self::users::Users;

use self::access::Door;
use self::audit_log::AuditLog;
use self::execution::Execution;
use self::flight::{PUTS, Service};
use self::metrics::Metrics;
use self::planner::Planner;
use self::prepared::PreparedStatements;
use self::queries::Queries;
use self::runs::Runs;
use self::seal::Seal;
use self::sessions::Sessions;

/// The stack of a thread that plans: statements make trees, and trees are walked by recursion. What is not used is not taken.
const STACK_BYTES: usize = 128 << 20;

/// Bytes of a message that comes in: a statement, or values for its parameters.
const MAX_INCOMING: usize = 16 << 20;

/// After so long without a word a client is asked whether it is still there, so that proxies see that the connection is used.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Calls that a connection may have open at a time.
const STREAMS: u32 = 128;

/// How long streams get to tell their readers that the service ends.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a service says of its health by gRPC, of itself and as a whole.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    is_serving: Arc<AtomicBool>,
}

impl Health {
    /// Of a service that serves nobody yet.
    async fn new(reporter: HealthReporter) -> Self {
        let health = Self { reporter, is_serving: Arc::default() };
        health.tell(ServingStatus::NotServing).await;
        health
    }

    /// Whether it serves from now on. Who watches it is told when that has changed.
    pub async fn set(&self, is_serving: bool) {
        if self.is_serving.swap(is_serving, Ordering::Relaxed) != is_serving {
            self.tell(if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        }
    }

    async fn tell(&self, status: ServingStatus) {
        for name in ["", <FlightServiceServer<Service> as NamedService>::NAME] {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// A running service. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    queries: Arc<Queries>,
    health: Health,
    leave: watch::Sender<bool>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Starts the service on a listener, over the facts at a location (a URL). No request is made to the store.
    ///
    /// # Errors
    /// When the location cannot be opened, or the system gives no threads or random numbers.
    pub async fn start(
        listener: TcpListener,
        options: ServeOptions,
        stores: Stores,
        location: &str,
        access: Access,
        tls: Option<ServerTls>,
        spread: Option<Spread>,
    ) -> Result<Self, ServeError> {
        let address = listener.local_addr().map_err(ServeError::Port)?;
        let metrics = Arc::new(Metrics::new()?);
        let seal = Arc::new(Seal::random()?);
        let sessions = Arc::new(Sessions::new(options.login));
        let queries = Arc::new(Queries::new(options.running, AuditLog::new(options.audit_log), Arc::clone(&metrics)));
        let execution = Arc::new(Execution::new(options.threads)?);
        let runs = Arc::new(Runs::open(stores, location)?);
        let planner = Arc::new(Planner::new(runs, Arc::clone(&queries), options.threads, spread, Arc::clone(&metrics))?);
        let service = Service {
            options,
            planner,
            execution,
            queries: Arc::clone(&queries),
            prepared: Arc::new(PreparedStatements::new(Arc::clone(&metrics))),
            door: Arc::new(Door::new(access, Arc::clone(&seal), Arc::clone(&sessions), options)),
            sessions,
            puts: Arc::new(Semaphore::new(PUTS)),
            seal,
            audit_log: AuditLog::new(options.audit_log),
            metrics: Arc::clone(&metrics),
        };
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let health = Health::new(reporter).await;
        let (leave, mut left) = watch::channel(false);
        let router = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(Some(STREAMS))
            .add_service(health_service)
            .add_service(FlightServiceServer::new(service).max_decoding_message_size(MAX_INCOMING));
        let told_to_leave = async move {
            // Whoever has let the sender go wants it to end too.
            let _: Result<_, _> = left.wait_for(|left| *left).await;
        };
        let connections = connections::incoming(listener, tls, options.connections, metrics.connections.clone());
        let serving = tokio::spawn(router.serve_with_incoming_shutdown(connections, told_to_leave));
        Ok(Self { address, metrics, queries, health, leave, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says of its health by gRPC: that it serves nobody, until it is told that it does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Its metrics.
    #[must_use]
    pub fn metrics(&self) -> Registry {
        self.metrics.registry.clone()
    }

    /// Waits until it fails: it does not end by itself.
    pub async fn failed(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "its server ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends all queries, tells their readers why, and lets go of the port.
    pub async fn stop(mut self) {
        self.health.set(false).await;
        self.leave.send_replace(true);
        self.queries.cancel_all("the server is being stopped: ask again");
        if timeout(GOODBYE, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.queries.cancel_all("the server is being stopped: ask again");
        self.serving.abort();
    }
}
