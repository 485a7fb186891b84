//! Whether the object stores answer that a daemon is to work with: asked now and then, so that who cannot reach them is given no work and says why.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytefacts_corpus::Location;
use bytefacts_stores::{Place, StoreOptions, Stores, explain};
use futures::StreamExt as _;
use object_store::list::PaginatedListOptions;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::config::AccessSettings;

/// How often stores are asked.
const LOOK: Duration = Duration::from_secs(15);

/// How often while one of them does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// How long a store that has answered may be away: what is short passes by tries alone, and a daemon that comes and goes helps nobody.
const AWAY: Duration = Duration::from_secs(30);

/// What is slower is no answer.
const PATIENCE: StoreOptions = StoreOptions { retries: 0, retry_seconds: 5, timeout_seconds: 5 };

/// A look at stores. Dropping it ends it.
pub struct StoreWatch {
    state: Arc<Mutex<State>>,
    watching: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether all have answered once.
    reached: bool,
    /// Since when one has not, and what it says.
    away: Option<(Instant, String)>,
}

impl State {
    fn readiness(&self, now: Instant) -> Result<(), String> {
        match &self.away {
            None if self.reached => Ok(()),
            None => Err("the object stores have not answered yet".to_owned()),
            Some((since, _)) if self.reached && now.saturating_duration_since(*since) < AWAY => Ok(()),
            Some((_, reason)) => Err(reason.clone()),
        }
    }

    /// Takes what was found in; whether it is news.
    fn note(&mut self, found: Result<(), String>, now: Instant) -> bool {
        match found {
            Ok(()) => {
                self.reached = true;
                self.away.take().is_some()
            }
            Err(reason) => {
                let news = self.away.is_none();
                let since = self.away.take().map_or(now, |(since, _)| since);
                self.away = Some((since, reason));
                news
            }
        }
    }
}

impl StoreWatch {
    /// Begins to look at the stores of places. Folders are none: they may be made later.
    pub fn start(places: impl IntoIterator<Item = Location>) -> Self {
        let places: BTreeSet<String> =
            places.into_iter().filter(|place| place.local_path().is_none()).map(|place| place.uri().to_owned()).collect();
        let state = Arc::new(Mutex::new(State { reached: places.is_empty(), away: None }));
        let watching = tokio::spawn(watch(places, Arc::clone(&state)));
        Self { state, watching }
    }

    /// Whether they answer; if not, what is wrong.
    pub fn readiness(&self) -> Result<(), String> {
        lock(&self.state).readiness(Instant::now())
    }
}

impl Drop for StoreWatch {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// The places that jobs may name, as far as they are said one by one.
pub fn places(access: &AccessSettings) -> Vec<Location> {
    let all = [&access.corpus, &access.facts].into_iter().flatten().flatten();
    all.filter(|place| *place != "*").filter_map(|place| Location::parse(place).ok()).collect()
}

async fn watch(places: BTreeSet<String>, state: Arc<Mutex<State>>) {
    let stores = Stores::new(PATIENCE);
    while !places.is_empty() {
        let mut found = Ok(());
        for place in &places {
            if let Err(reason) = knock(&stores, place).await {
                found = Err(format!("the object store of {place}: {reason}"));
                break;
            }
        }
        let pause = if found.is_ok() { LOOK } else { LOOK_AGAIN };
        let reason = found.as_ref().err().cloned();
        if lock(&state).note(found, Instant::now()) {
            match reason {
                Some(reason) => tracing::warn!("not ready for work: {reason}"),
                None => tracing::info!("the object stores answer"),
            }
        }
        sleep(pause).await;
    }
}

/// Asks for the first name of a place; that there is none is an answer too.
async fn knock(stores: &Stores, place: &str) -> Result<(), String> {
    let Place { store, pages, path, .. } = stores.open(place).map_err(|error| error.to_string())?;
    let first = match pages {
        Some(pages) => {
            let prefix = if path.as_ref().is_empty() { None } else { Some(format!("{path}/")) };
            let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
            pages.list_paginated(prefix.as_deref(), options).await.map(drop)
        }
        None => store.list(Some(&path)).next().await.transpose().map(drop),
    };
    first.map_err(|error| explain(&error))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_never_reached_is_not_ready_and_who_is_away_for_a_moment_is() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(state.readiness(now).unwrap_err().contains("not answered yet"));
        let away = || Err("gone".to_owned());
        assert!(state.note(away(), now) && !state.note(away(), now), "it is said once");
        assert_eq!(state.readiness(now), Err("gone".to_owned()));
        assert!(state.note(Ok(()), now) && !state.note(Ok(()), now));
        assert_eq!(state.readiness(now), Ok(()));
        state.note(away(), now);
        assert_eq!(state.readiness(now), Ok(()));
        state.note(away(), now + AWAY / 2);
        assert_eq!(state.readiness(now + AWAY / 2), Ok(()));
        assert_eq!(state.readiness(now + AWAY), Err("gone".to_owned()));
        state.note(Ok(()), now + AWAY);
        assert_eq!(state.readiness(now + AWAY), Ok(()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn folders_are_no_stores() {
        let access = AccessSettings { corpus: Some(vec!["/missing".to_owned(), "*".to_owned()]), facts: Some(vec!["s3://b/f".to_owned()]) };
        let places = places(&access);
        assert_eq!(places.iter().map(Location::uri).collect::<Vec<_>>(), ["file:///missing", "s3://b/f"]);
        StoreWatch::start(places.into_iter().take(1)).readiness().unwrap();
    }
}
