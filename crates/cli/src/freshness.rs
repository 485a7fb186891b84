//! How fresh facts are, as metrics of whoever answers SQL over them: a nightly job is watched by what it has left, since its own process is gone.
//!
//! It is read in the background, and seldom. A store that does not answer changes nothing: what was read last is told, and its age tells the rest.

use std::collections::BTreeMap;
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

#[derive(Clone, Debug, Default, PartialEq)]
struct Figures {
    /// When the current run was committed, in milliseconds since 1970.
    current_ms: Option<u64>,
    /// What audits came to, by preset.
    audits: BTreeMap<String, Audits>,
}

/// What the audits of a preset came to: those of all its conditions. One of a single condition, or of others, is a question of somebody, and would
/// hide what the night has found.
#[derive(Clone, Debug, PartialEq)]
struct Audits {
    /// When the newest was concluded, in milliseconds since 1970.
    newest_ms: u64,
    /// Its verdicts.
    verdicts: AuditCounts,
    /// How much of its sample it did not cover.
    unknown_share: f64,
    /// When the newest was that left nothing out for want of time.
    complete_ms: Option<u64>,
    /// When the newest was that found nothing either.
    passed_ms: Option<u64>,
}

impl Audits {
    /// Of concluded audits, the newest first.
    fn of(audits: &[ConcludedAudit]) -> BTreeMap<String, Self> {
        let mut by_preset: BTreeMap<String, Self> = BTreeMap::new();
        for ConcludedAudit { header, concluded_at_ms } in audits.iter().filter(|audit| !audit.header.by_hand) {
            let of_preset = by_preset.entry(header.preset.clone()).or_insert_with(|| Self {
                newest_ms: *concluded_at_ms,
                verdicts: header.verdicts,
                unknown_share: header.unknown_share(),
                complete_ms: None,
                passed_ms: None,
            });
            let at = |when: bool| when.then_some(*concluded_at_ms);
            of_preset.complete_ms = of_preset.complete_ms.or(at(header.complete));
            of_preset.passed_ms = of_preset.passed_ms.or(at(header.complete && header.passed));
        }
        by_preset
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
        let seconds = |ms: u64| number(ms) / 1000.0;
        let of_preset = |name, help, value: &dyn Fn(&Audits) -> Option<f64>| {
            let values = self.audits.iter().filter_map(|(preset, audits)| Some((vec![("preset", preset.clone())], value(audits)?)));
            Reading::gauges(name, help, values)
        };
        let verdicts = self.audits.iter().flat_map(|(preset, audits)| {
            let AuditCounts { good, bad, fail, unknown } = audits.verdicts;
            let of = |verdict: &str, count| (vec![("preset", preset.clone()), ("verdict", verdict.to_owned())], number(count));
            [of("good", good), of("bad", bad), of("fail", fail), of("unknown", unknown)]
        });
        vec![
            Reading::gauges(
                "bytefacts_current_run_timestamp_seconds",
                "When the current run was committed, in seconds since 1970.",
                self.current_ms.map(|ms| (Vec::new(), seconds(ms))),
            ),
            of_preset(
                "bytefacts_audit_last_report_timestamp_seconds",
                "When the newest audit of all conditions of a preset was concluded, in seconds since 1970.",
                &|audits| Some(seconds(audits.newest_ms)),
            ),
            of_preset(
                "bytefacts_audit_last_complete_timestamp_seconds",
                "When the newest such audit was concluded that left nothing out for want of time, in seconds since 1970.",
                &|audits| audits.complete_ms.map(seconds),
            ),
            of_preset(
                "bytefacts_audit_last_success_timestamp_seconds",
                "When the newest such audit was concluded that left nothing out and found nothing, in seconds since 1970.",
                &|audits| audits.passed_ms.map(seconds),
            ),
            of_preset(
                "bytefacts_audit_unknown_share",
                "How much of its sample the newest such audit did not cover, over files and conditions: 0 to 1.",
                &|audits| Some(audits.unknown_share),
            ),
            Reading::gauges(
                "bytefacts_audit_verdicts",
                "Verdicts of the newest such audit: one for each file of the run and condition.",
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

    fn audit(at: u64, complete: bool, passed: bool, bad: u64) -> ConcludedAudit {
        let id = |name: &str| bytefacts_landing::RunId::new(name).unwrap();
        ConcludedAudit {
            header: AuditHeader {
                audit: id("a"),
                run: id("r"),
                run_digest: String::new(),
                corpus: String::new(),
                night: 1,
                preset: "nightly".to_owned(),
                complete,
                passed,
                by_hand: false,
                conditions: 2,
                files: 70,
                sampled: 10,
                covered: 10,
                verdicts: AuditCounts { bad, unknown: 60 * 2 + 5, ..AuditCounts::default() },
                allowed: 0,
                documents: BTreeMap::new(),
            },
            concluded_at_ms: at,
        }
    }

    #[test]
    fn a_night_that_found_something_is_the_newest_and_no_success() {
        assert_eq!(Audits::of(&[]), BTreeMap::new());
        let audits =
            [audit(4_000, false, false, 7), audit(3_000, true, false, 0), audit(2_000, true, true, 0), audit(1_000, true, true, 0)];
        let found = Audits::of(&audits).remove("nightly").unwrap();
        assert_eq!((found.newest_ms, found.complete_ms, found.passed_ms), (4_000, Some(3_000), Some(2_000)));
        assert_eq!((found.verdicts.bad, found.unknown_share), (7, 0.25), "what other nights cover is no gap of this one");
    }

    #[test]
    fn what_somebody_looked_for_by_hand_hides_no_night() {
        let mut by_hand = audit(9_000, true, true, 0);
        by_hand.header.by_hand = true;
        let mut quick = audit(8_000, true, true, 0);
        quick.header.preset = "quick".to_owned();
        let audits = Audits::of(&[by_hand, quick, audit(4_000, true, false, 7)]);
        assert_eq!(audits["nightly"].verdicts.bad, 7);
        assert_eq!((audits["nightly"].passed_ms, audits["quick"].passed_ms), (None, Some(8_000)));
        let registry = registry(move || Figures { current_ms: None, audits: audits.clone() }.readings()).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "bytefacts_audit_verdicts{preset=\"nightly\",verdict=\"bad\"} 7",
            "bytefacts_audit_last_complete_timestamp_seconds{preset=\"nightly\"} 4",
            "bytefacts_audit_unknown_share{preset=\"nightly\"} 0.25",
            "bytefacts_audit_last_report_timestamp_seconds{preset=\"quick\"} 8",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
