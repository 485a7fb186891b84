//! How fresh facts are, as metrics of whoever answers SQL over them: a nightly job is watched by what it has left, since its own process is gone.
//!
//! It is read in the background, and seldom. A store that does not answer changes nothing: what was read last is told, and its age tells the rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytefacts_cluster::metrics::{Reading, number, registry};
use bytefacts_landing::{FactsStore, RunState};
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often it is read.
const LOOK: Duration = Duration::from_secs(60);

/// A look at facts. Dropping it ends it.
pub struct Freshness {
    figures: Arc<Mutex<Figures>>,
    watching: JoinHandle<()>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    /// When the current run was committed, in milliseconds since 1970.
    current_ms: Option<u64>,
}

impl Freshness {
    /// Begins to look at facts.
    pub fn start(store: FactsStore) -> Self {
        let figures = Arc::<Mutex<Figures>>::default();
        let watching = tokio::spawn(watch(store, Arc::clone(&figures)));
        Self { figures, watching }
    }

    /// Its metrics; those of what there is not yet are absent.
    ///
    /// # Errors
    /// When the registry refuses them.
    pub fn metrics(&self) -> anyhow::Result<Registry> {
        let figures = Arc::clone(&self.figures);
        Ok(registry(move || lock(&figures).readings())?)
    }
}

impl Drop for Freshness {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Figures {
    fn readings(&self) -> Vec<Reading> {
        let seconds = |ms: Option<u64>| ms.map(|ms| (Vec::new(), number(ms) / 1000.0));
        vec![Reading::gauges(
            "bytefacts_current_run_timestamp_seconds",
            "When the current run was committed, in seconds since 1970.",
            seconds(self.current_ms),
        )]
    }
}

async fn watch(store: FactsStore, figures: Arc<Mutex<Figures>>) {
    loop {
        match current(&store).await {
            Ok(current_ms) => lock(&figures).current_ms = current_ms,
            Err(error) => tracing::debug!(%error, "when the current run was committed cannot be read"),
        }
        sleep(LOOK).await;
    }
}

async fn current(store: &FactsStore) -> bytefacts_landing::Result<Option<u64>> {
    let Some(current) = store.current().await? else { return Ok(None) };
    Ok(match store.run_state(&current.run_id).await? {
        RunState::Committed(document) => Some(document.run.committed_at_ms),
        _ => None,
    })
}

fn lock(figures: &Mutex<Figures>) -> MutexGuard<'_, Figures> {
    figures.lock().unwrap_or_else(PoisonError::into_inner)
}
