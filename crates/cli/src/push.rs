//! Metrics pushed to a Prometheus Pushgateway, by a job whose process is gone when anybody scrapes.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Url};
use tokio::time::sleep;

use crate::exit::UsageError;

/// The group of metrics that a push replaces, unless the address names one.
const GROUP: &str = "/metrics/job/bytefacts_audit";
/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked, and how long is waited in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// A group of metrics in a gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    url: Url,
}

impl Gateway {
    /// A gateway by its address, or a group of it by the whole path; user and password may stand in it.
    ///
    /// # Errors
    /// When that is no address of HTTP.
    pub fn new(address: &str) -> Result<Self, UsageError> {
        let refused = |why: &str| UsageError(format!("--metrics-push {why}: http://HOST:9091 is one"));
        let mut url = Url::parse(address).map_err(|error| refused(&format!("is no address ({error})")))?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(refused("is no address of HTTP"));
        }
        if !url.path().contains("/metrics/job") {
            let path = format!("{}{GROUP}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(Self { url })
    }

    /// The address without what lets somebody in.
    fn shown(&self) -> String {
        let mut url = self.url.clone();
        // An address of HTTP has a place for both.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }

    /// Replaces the group by metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When the gateway refuses them, or does not answer.
    pub async fn push(&self, metrics: &str) -> anyhow::Result<()> {
        let client = Client::builder().timeout(PATIENCE).build().context("cannot push metrics")?;
        for left in (0..TRIES).rev() {
            let request = client.put(self.url.clone()).header("content-type", "text/plain; version=0.0.4").body(metrics.to_owned());
            let failed = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if answer.status().is_client_error() => {
                    bail!("the gateway at {} refuses the metrics: {}", self.shown(), answer.status());
                }
                Ok(answer) => anyhow::anyhow!("it answers {}", answer.status()),
                Err(error) => error.without_url().into(),
            };
            if left == 0 {
                return Err(failed).with_context(|| format!("cannot push metrics to {}", self.shown()));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_ones_own_stays_and_what_lets_in_is_not_told() {
        let shown = |address: &str| Gateway::new(address).unwrap().shown();
        assert_eq!(shown("http://gate:9091"), "http://gate:9091/metrics/job/bytefacts_audit");
        assert_eq!(shown("https://me:secret@gate/behind/"), "https://gate/behind/metrics/job/bytefacts_audit");
        assert_eq!(shown("http://gate:9091/metrics/job/mine/corpus/a"), "http://gate:9091/metrics/job/mine/corpus/a");
        for wrong in ["gate:9091", "file:///tmp/x", "", "http://"] {
            let error = Gateway::new(wrong).unwrap_err().to_string();
            assert!(error.contains("--metrics-push is no address"), "{wrong}: {error}");
        }
    }
}
