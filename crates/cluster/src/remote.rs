//! A scheduler, as seen by those who ask it: how its cluster is, and to end a job.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use bytefacts_tls::ClientTls;
use serde::Serialize;
use tokio::time::timeout;
use tonic::codegen::Service as _;
use tonic::transport::{Channel, Endpoint};

use crate::status::ClusterStatus;

/// Where a scheduler says how its cluster is.
pub(crate) const STATUS: &str = "/bytefacts/v1/status";
/// Where it tells an executor what it has to know.
pub(crate) const EVENTS: &str = "/bytefacts/v1/events";
/// Where a client waits.
pub(crate) const CLIENTS: &str = "/bytefacts/v1/clients";
/// Where an executor says that it goes.
pub(crate) const GOODBYE: &str = "/bytefacts/v1/goodbye";

/// How long a scheduler may take to be connected to, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Why a scheduler did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// Nobody is there, or nobody who would talk to this process.
    #[error(
        "the scheduler does not answer at {address}: {reason}; is it running, is the address right, and do both have the cluster's certificates, or neither?"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What was tried and came to nothing.
        reason: String,
    },
    /// Somebody is there, who is no scheduler of ours.
    #[error("what answers at {address} is no scheduler of bytefacts {}: {reason}", env!("CARGO_PKG_VERSION"))]
    Foreign {
        /// Where it is.
        address: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl RestError {
    /// What went wrong, without where.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Unreachable { reason, .. } | Self::Foreign { reason, .. } => reason,
        }
    }
}

/// A scheduler, as seen by those who ask it.
#[derive(Clone, Debug)]
pub struct RemoteScheduler {
    address: String,
    tls: Option<ClientTls>,
}

impl RemoteScheduler {
    /// The scheduler at `df://host:port`, or `host:port`. Nothing is connected yet.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { address: url.split_once("://").map_or(url, |(_, address)| address).to_owned(), tls: None }
    }

    /// The same, encrypted, where there is something to show.
    #[must_use]
    pub fn with_tls(self, tls: Option<ClientTls>) -> Self {
        Self { tls, ..self }
    }

    /// What is shown to it.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Where it is, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How its cluster is.
    ///
    /// # Errors
    /// When it cannot be reached, or is none of ours.
    pub async fn status(&self) -> Result<ClusterStatus, RestError> {
        let asked = async {
            let body = self.send(Request::get(STATUS), Body::empty()).await?;
            to_bytes(body, MAX_ANSWER_BYTES).await.map_err(|error| self.unreachable(error))
        };
        let answer = timeout(PATIENCE, asked).await.map_err(|_| self.unreachable("no answer in time"))??;
        serde_json::from_slice(&answer).map_err(|error| self.foreign(error))
    }

    /// Ends a job.
    ///
    /// # Errors
    /// When it cannot be reached. That there is no such job is no error.
    pub async fn cancel(&self, job: &str) -> Result<(), RestError> {
        let asked = async {
            let mut scheduler = SchedulerGrpcClient::new(self.connect().await?);
            scheduler.cancel_job(CancelJobParams { job_id: job.to_owned() }).await.map_err(|error| self.unreachable(error.message()))
        };
        timeout(PATIENCE, asked).await.map_err(|_| self.unreachable("no answer in time"))?.map(drop)
    }

    /// Sends JSON; the answer's body may go on for ever.
    pub(crate) async fn post(&self, path: &str, value: &impl Serialize) -> Result<Body, RestError> {
        let json = serde_json::to_vec(value).map_err(|error| self.foreign(error))?;
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        timeout(PATIENCE, self.send(request, json.into())).await.map_err(|_| self.unreachable("no answer in time"))?
    }

    pub(crate) async fn connect(&self) -> Result<Channel, RestError> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).map_err(|error| self.unreachable(error))?;
        let endpoint = match &self.tls {
            Some(tls) => tls.endpoint(&endpoint).map_err(|error| self.unreachable(error))?,
            None => endpoint,
        };
        let endpoint = endpoint.connect_timeout(PATIENCE).tcp_nodelay(true).http2_keep_alive_interval(PATIENCE);
        endpoint.connect().await.map_err(|error| self.unreachable(innermost(&error)))
    }

    async fn send(&self, request: axum::http::request::Builder, body: Body) -> Result<Body, RestError> {
        let mut channel = self.connect().await?;
        let request = request.body(tonic::body::Body::new(body)).map_err(|error| self.foreign(error))?;
        std::future::poll_fn(|context| channel.poll_ready(context)).await.map_err(|error| self.unreachable(innermost(&error)))?;
        let answer = channel.call(request).await.map_err(|error| self.unreachable(innermost(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(self.foreign(answer.status()));
        }
        Ok(Body::new(answer.into_body()))
    }

    fn unreachable(&self, reason: impl ToString) -> RestError {
        // What a tunnel has met says more than that it has ended.
        let met = self.tls.as_ref().and_then(|tls| tls.failure(&self.address));
        RestError::Unreachable { address: self.address.clone(), reason: met.unwrap_or_else(|| reason.to_string()) }
    }

    fn foreign(&self, reason: impl ToString) -> RestError {
        RestError::Foreign { address: self.address.clone(), reason: reason.to_string() }
    }
}

/// The cause of all causes: what a transport says of itself is "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
