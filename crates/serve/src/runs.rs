//! The committed runs, each with the tables and views that it is asked through.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytefacts_landing::{FactsStore, RunHeader, RunId};
use bytefacts_query::facts_session;
use bytefacts_stores::{Place, Stores};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

/// Runs whose tables are kept ready. Whoever asks of others waits some milliseconds.
const READY: usize = 64;

/// The committed runs of a place.
pub(crate) struct Runs {
    stores: Stores,
    location: String,
    place: Place,
    ready: Mutex<Ready>,
}

/// Sessions over single runs, and when each of them was last asked for.
#[derive(Default)]
struct Ready {
    clock: u64,
    sessions: BTreeMap<RunId, (u64, Arc<SessionContext>)>,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runs").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Runs {
    /// Those at a location. No request is made.
    ///
    /// # Errors
    /// When the location cannot be opened.
    pub(crate) fn open(stores: Stores, location: &str) -> Result<Self> {
        let place = stores.open(location).map_err(external)?;
        Ok(Self { stores, location: location.to_owned(), place, ready: Mutex::default() })
    }

    /// Where they are.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Where they are, as facts.
    pub(crate) fn facts(&self) -> FactsStore {
        self.place.facts()
    }

    /// A session over no run in particular, which has the functions.
    pub(crate) fn session(&self) -> Result<SessionContext> {
        facts_session(&self.stores, &self.location, None)
    }

    /// The current run.
    pub(crate) async fn current(&self) -> Result<Option<RunId>> {
        Ok(self.facts().current().await.map_err(external)?.map(|current| current.run_id))
    }

    /// All of them, newest first.
    pub(crate) async fn headers(&self) -> Result<Vec<RunHeader>> {
        self.facts().runs().await.map_err(external)
    }

    /// A table or a view of a run, or one of another schema of it; none if there is none of that name.
    pub(crate) async fn table(&self, run: &RunId, schema: Option<&str>, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let session = self.of(run).await?;
        let catalog = session.copied_config().options().catalog.clone();
        let schema = schema.unwrap_or(&catalog.default_schema);
        match session.catalog(&catalog.default_catalog).and_then(|found| found.schema(schema)) {
            Some(schema) => schema.table(name).await,
            None => Ok(None),
        }
    }

    /// Whether a run is committed.
    ///
    /// # Errors
    /// When it is not, or the store does not say.
    pub(crate) async fn check(&self, run: &RunId) -> Result<()> {
        if self.facts().committed(run).await.map_err(external)?.is_none() {
            return plan_err!("run {run} is not committed: SELECT run_id FROM bytefacts.runs lists those that are");
        }
        Ok(())
    }

    /// The session over a run.
    async fn of(&self, run: &RunId) -> Result<Arc<SessionContext>> {
        if let Some(session) = self.lock().get(run) {
            return Ok(session);
        }
        self.check(run).await?;
        let session = Arc::new(facts_session(&self.stores, &self.location, Some(run.clone()))?);
        self.lock().insert(run, Arc::clone(&session));
        Ok(session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ready {
    fn get(&mut self, run: &RunId) -> Option<Arc<SessionContext>> {
        self.clock += 1;
        let (used, session) = self.sessions.get_mut(run)?;
        *used = self.clock;
        Some(Arc::clone(session))
    }

    fn insert(&mut self, run: &RunId, session: Arc<SessionContext>) {
        self.sessions.insert(run.clone(), (self.clock, session));
        if self.sessions.len() > READY
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, (used, _))| *used).map(|(run, _)| run.clone())
        {
            self.sessions.remove(&oldest);
        }
    }
}

/// An error of the facts, as the engine passes it on.
pub(crate) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
