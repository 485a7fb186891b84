//! `/healthz`, `/readyz` and `/metrics` of a daemon, on a port of their own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the probes of a daemon answer.
#[derive(Clone)]
pub struct Probes {
    /// Whether it should be given work now, and if not, why. Being alive needs no question: who answers is.
    pub readiness: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Its metrics; of those that several have, such as the build's, the first are told.
    pub metrics: Vec<Registry>,
}

/// Serves probes on a listener until the task is aborted.
pub fn serve_probes(listener: TcpListener, probes: Probes) -> JoinHandle<()> {
    let routes = Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    })
}

async fn ready(State(probes): State<Probes>) -> Response {
    match (probes.readiness)() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(probes): State<Probes>) -> Response {
    let (mut text, mut families) = (Vec::new(), Vec::<MetricFamily>::new());
    for family in probes.metrics.iter().flat_map(Registry::gather) {
        if families.iter().all(|known| known.name() != family.name()) {
            families.push(family);
        }
    }
    match TextEncoder::new().encode(&families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
