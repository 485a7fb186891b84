//! An audit's conditions on a cluster.

use std::sync::Arc;

use bytefacts_cluster::{Client, JobSettings};
use bytefacts_engine::{AuditJob, AuditWatch, JobError, run_audit};
use bytefacts_landing::RunId;

use crate::address::scheduler_url;
use crate::commands::extract::{patience, tell_of_executors};
use crate::config::Settings;
use crate::facts::Facts;
use crate::signals::Signals;

/// The cluster that derives.
pub(super) struct OnCluster<'a> {
    settings: &'a Settings,
    url: String,
    client: Client,
}

impl<'a> OnCluster<'a> {
    /// The cluster of the settings. Nothing is connected yet.
    ///
    /// # Errors
    /// When its address is none, or certificates cannot be used.
    pub(super) fn new(settings: &'a Settings, facts: &Facts, audit: &RunId) -> anyhow::Result<Self> {
        let url = scheduler_url(settings.client.cluster.as_deref().unwrap_or_default())?;
        let client = Client::new(url.clone(), Arc::clone(&facts.stores), JobSettings::for_audit(audit.as_str()));
        Ok(Self { settings, url, client: client.with_tls(settings.cluster_tls.client()?) })
    }

    /// Has it derive what has no record.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) async fn derive(&self, audit: &AuditJob, watch: &mut AuditWatch<'_>) -> Result<(), JobError> {
        let work = format!("audit {}", audit.audit);
        tokio::select! {
            done = run_audit(&self.client, audit, watch, patience(self.settings)) => done,
            never = tell_of_executors(&self.client, self.settings, &work) => match never {},
        }
    }

    /// Ends what it is at; what there is to say if it does not answer.
    pub(super) async fn end(&self, signals: &Signals, audit: &RunId) -> String {
        match signals.bounded(self.client.end_job()).await {
            Some(Ok(())) => String::new(),
            _ => format!("; the scheduler does not answer, and may go on: `bytefacts cancel {audit} --cluster {}` ends it", self.url),
        }
    }
}
