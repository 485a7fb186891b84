//! What a scheduler says of its cluster, as far as whoever asks a query needs it.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use bytefacts_tls::{ClientTls, Mutual, TlsError};
use serde::Deserialize;
use tokio::time::timeout;
use tonic::codegen::Service as _;
use tonic::transport::{Channel, Endpoint};

use crate::error::{ClientError, innermost};

/// Where a scheduler of ours says how its cluster is.
const STATUS: &str = "/bytefacts/v1/status";

/// How long a scheduler may take to be connected to, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A scheduler of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Scheduler {
    address: String,
    tls: Option<ClientTls>,
}

/// How its cluster is.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    executors: Vec<Executor>,
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Executor {
    id: String,
    cores: u32,
}

#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    #[serde(default)]
    client: Option<String>,
    #[serde(default)]
    reruns: u64,
}

impl Status {
    /// Tasks that its executors work on at a time, together.
    pub(crate) fn cores(&self) -> usize {
        self.executors.iter().map(|executor| usize::try_from(executor.cores).unwrap_or(1)).sum()
    }

    /// Whether the job of a client has run to its end as if no executor had been lost since `before`.
    pub(crate) fn is_undisturbed(&self, client: &str, before: &Self) -> bool {
        let here: BTreeSet<_> = self.executors.iter().map(|executor| &executor.id).collect();
        // A scheduler that no longer knows the job is another one.
        let job = self.jobs.iter().find(|job| job.client.as_deref() == Some(client));
        job.is_some_and(|job| job.reruns == 0) && before.executors.iter().all(|executor| here.contains(&executor.id))
    }
}

impl Scheduler {
    /// The scheduler at `df://host:port`, which these certificates are shown to. Nothing is connected yet.
    pub(crate) fn new(url: &str, certificates: Option<&Mutual>) -> Result<Self, ClientError> {
        let address = url.strip_prefix("df://").filter(|address| address.contains(':'));
        let address = address.ok_or_else(|| ClientError::Address(url.to_owned()))?.trim_end_matches('/').to_owned();
        let failed = |reason: TlsError| ClientError::Certificates { of: "the cluster".to_owned(), reason: reason.to_string() };
        Ok(Self { address, tls: certificates.map(Mutual::client).transpose().map_err(failed)? })
    }

    /// What is shown to it.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Its address as Ballista wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How its cluster is.
    pub(crate) async fn status(&self) -> Result<Status, ClientError> {
        let asked = async {
            let mut channel = self.connect().await?;
            let request = Request::get(STATUS).body(tonic::body::Body::empty()).map_err(|error| self.unreachable(error))?;
            std::future::poll_fn(|context| channel.poll_ready(context)).await.map_err(|error| self.unreachable(innermost(&error)))?;
            let answer = channel.call(request).await.map_err(|error| self.unreachable(innermost(&error)))?;
            if answer.status() != StatusCode::OK {
                return Err(self.unreachable(format!("what answers is no scheduler of bytefacts: {}", answer.status())));
            }
            to_bytes(Body::new(answer.into_body()), MAX_ANSWER_BYTES).await.map_err(|error| self.unreachable(error))
        };
        let answer = timeout(PATIENCE, asked).await.map_err(|_| self.unreachable("no answer in time"))??;
        serde_json::from_slice(&answer).map_err(|error| ClientError::Unreadable(error.to_string()))
    }

    /// Ends the jobs of a client.
    pub(crate) async fn end(&self, client: &str) -> Result<(), ClientError> {
        for job in self.status().await?.jobs.into_iter().filter(|job| job.client.as_deref() == Some(client)) {
            let mut scheduler = SchedulerGrpcClient::new(self.connect().await?);
            scheduler.cancel_job(CancelJobParams { job_id: job.id }).await.map_err(|error| self.unreachable(error.message()))?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Channel, ClientError> {
        let endpoint = Endpoint::from_shared(self.url()).map_err(|error| self.unreachable(error))?;
        let endpoint = match &self.tls {
            Some(tls) => tls.endpoint(&endpoint).map_err(|error| self.unreachable(error))?,
            None => endpoint,
        };
        let endpoint = endpoint.connect_timeout(PATIENCE).tcp_nodelay(true);
        endpoint.connect().await.map_err(|error| self.unreachable(innermost(&error)))
    }

    fn unreachable(&self, reason: impl ToString) -> ClientError {
        // What a tunnel has met says more than that it has ended.
        let met = self.tls.as_ref().and_then(|tls| tls.failure(&self.address));
        ClientError::Unreachable { address: format!("df://{}", self.address), reason: met.unwrap_or_else(|| reason.to_string()) }
    }
}
