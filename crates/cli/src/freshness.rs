//! How fresh facts are, as metrics of whoever answers SQL over them: a nightly job is watched by what it has left, since its own process is gone.
//!
//! It is read in the background, and seldom. A store that does not answer changes nothing: what was read last is told, and its age tells the rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytefacts_cluster::metrics::{Reading, number, registry};
use bytefacts_landing::{AuditCounts, ConcludedAudit, FactsStore, RunState};
use prometheus::{Registry, TextEncoder};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often it is read.
const LOOK: Duration = Duration::from_secs(60);

/// So many looks at the current run go by until audits are looked at again: each of them costs two requests.
const LOOKS: u32 = 5;

/// A look at facts. Dropping it ends it.
pub struct Freshness {
    figures: Arc<Mutex<Figures>>,
    watching: JoinHandle<()>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    /// When the current run was committed, in milliseconds since 1970.
    current_ms: Option<u64>,
    audits: Audits,
}

/// What audits came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Audits {
    /// When the newest was concluded, in milliseconds since 1970, and its verdicts.
    newest: Option<(u64, AuditCounts)>,
    /// When the newest was that left nothing out and found nothing.
    passed_ms: Option<u64>,
}

impl Audits {
    /// Of concluded audits, the newest first.
    fn of(audits: &[ConcludedAudit]) -> Self {
        let sound = audits.iter().find(|audit| audit.header.complete && audit.header.passed);
        Self {
            newest: audits.first().map(|audit| (audit.concluded_at_ms, audit.header.verdicts)),
            passed_ms: sound.map(|audit| audit.concluded_at_ms),
        }
    }
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
        let Audits { newest, passed_ms } = self.audits;
        let verdicts = newest.map(|(_, counts)| {
            let AuditCounts { good, bad, fail, unknown } = counts;
            [("good", good), ("bad", bad), ("fail", fail), ("unknown", unknown)]
        });
        let verdicts = verdicts.into_iter().flatten().map(|(verdict, count)| (vec![("verdict", verdict.to_owned())], number(count)));
        vec![
            Reading::gauges(
                "bytefacts_current_run_timestamp_seconds",
                "When the current run was committed, in seconds since 1970.",
                seconds(self.current_ms),
            ),
            Reading::gauges(
                "bytefacts_audit_last_report_timestamp_seconds",
                "When the newest audit was concluded, in seconds since 1970.",
                seconds(newest.map(|(ms, _)| ms)),
            ),
            Reading::gauges(
                "bytefacts_audit_last_success_timestamp_seconds",
                "When the newest audit was concluded that left nothing out and found nothing, in seconds since 1970.",
                seconds(passed_ms),
            ),
            Reading::gauges(
                "bytefacts_audit_verdicts",
                "Verdicts of the newest audit: one for each file of the run and condition.",
                verdicts,
            ),
        ]
    }
}

/// What there is to tell of facts now, in the text format of Prometheus: for a collector of files, where nobody is asked.
///
/// # Errors
/// When the facts cannot be read.
pub async fn textfile(store: &FactsStore) -> anyhow::Result<String> {
    let figures = Figures { current_ms: current(store).await?, audits: Audits::of(&store.audits().await?) };
    let registry = registry(move || figures.readings())?;
    Ok(TextEncoder::new().encode_to_string(&registry.gather())?)
}

async fn watch(store: FactsStore, figures: Arc<Mutex<Figures>>) {
    for look in (0..LOOKS).cycle() {
        if look == 0 {
            match store.audits().await {
                Ok(audits) => lock(&figures).audits = Audits::of(&audits),
                Err(error) => tracing::debug!(%error, "audits cannot be read"),
            }
        }
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

#[cfg(test)]
mod tests {
    use bytefacts_landing::AuditHeader;

    use super::*;

    #[test]
    fn a_night_that_found_something_is_the_newest_and_no_success() {
        let id = |name: &str| bytefacts_landing::RunId::new(name).unwrap();
        let audit = |at: u64, complete: bool, passed: bool, bad: u64| ConcludedAudit {
            header: AuditHeader {
                audit: id("a"),
                run: id("r"),
                run_digest: String::new(),
                corpus: String::new(),
                night: 1,
                preset: String::new(),
                complete,
                passed,
                conditions: 1,
                files: 1,
                sampled: 1,
                covered: 1,
                verdicts: AuditCounts { bad, ..AuditCounts::default() },
                allowed: 0,
                documents: std::collections::BTreeMap::new(),
            },
            concluded_at_ms: at,
        };
        assert_eq!(Audits::of(&[]), Audits::default());
        let audits = [audit(4_000, true, false, 7), audit(3_000, false, true, 0), audit(2_000, true, true, 0), audit(1_000, true, true, 0)];
        let found = Audits::of(&audits);
        assert_eq!(found, Audits { newest: Some((4_000, AuditCounts { bad: 7, ..AuditCounts::default() })), passed_ms: Some(2_000) });
    }
}
