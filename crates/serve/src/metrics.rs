//! Prometheus metrics of the service.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::error::ServeError;
use crate::outcome::Outcome;

/// The metrics, and the registry that has them.
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    /// Queries that are open.
    pub(crate) open: IntGauge,
    /// Queries by how they ended.
    pub(crate) queries: IntCounterVec,
    /// How long they took.
    pub(crate) seconds: Histogram,
    /// Rows handed over.
    pub(crate) rows: IntCounter,
    /// Bytes handed over.
    pub(crate) bytes: IntCounter,
    /// Statements that the gate or the planner has refused.
    pub(crate) refused: IntCounter,
    /// Calls without a login that counts.
    pub(crate) unauthenticated: IntCounter,
    /// Prepared statements that are kept.
    pub(crate) prepared: IntGauge,
    /// Connections that are open.
    pub(crate) connections: IntGauge,
    /// Plans that were made to be run.
    pub(crate) plans: IntCounter,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When the registry refuses them.
    pub(crate) fn new() -> Result<Self, ServeError> {
        let buckets = vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
        let seconds = HistogramOpts::new("bytefacts_sql_query_seconds", "From the start of a query to its end.").buckets(buckets);
        let metrics = Self {
            registry: Registry::new(),
            open: IntGauge::new("bytefacts_sql_queries_open", "Queries under way or waiting.")?,
            queries: IntCounterVec::new(Opts::new("bytefacts_sql_queries_total", "Queries by how they ended."), &["outcome"])?,
            seconds: Histogram::with_opts(seconds)?,
            rows: IntCounter::new("bytefacts_sql_rows_total", "Rows handed over to be sent.")?,
            bytes: IntCounter::new("bytefacts_sql_bytes_total", "Bytes of these rows.")?,
            refused: IntCounter::new(
                "bytefacts_sql_statements_refused_total",
                "Statements that were no queries, or could not be planned.",
            )?,
            unauthenticated: IntCounter::new("bytefacts_sql_unauthenticated_total", "Calls without a login that counts.")?,
            prepared: IntGauge::new("bytefacts_sql_prepared_statements", "Prepared statements that are kept.")?,
            connections: IntGauge::new("bytefacts_sql_connections", "Connections that are open.")?,
            plans: IntCounter::new("bytefacts_sql_plans_total", "Plans that were made to be run, and to tell columns.")?,
        };
        // All outcomes from the first moment on: of what appears with a value Prometheus sees no increase.
        for outcome in Outcome::NAMES {
            metrics.queries.with_label_values(&[outcome]).reset();
        }
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.queries.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.rows.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.unauthenticated.clone()))?;
        registry.register(Box::new(metrics.prepared.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.plans.clone()))?;
        Ok(metrics)
    }
}
