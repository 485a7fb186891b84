//! What a statement can name.
//!
//! ```text
//! facts.public.<table or view>      the run that the session has chosen, else the current one
//! facts.bytefacts.<listing>         runs, files, repositories, errors
//! facts.records.<list>              the lists and maps of the root table as tables, of the same run; not listed
//! facts.system.<listing>            executors, jobs, bins, cache, queries, options
//! runs."<run>".<table or view>      any committed run, by its id
//! ```
//!
//! Runs have a catalog of their own because an id may be any word, `public` and `system` too, and because a client that lists the tables of its
//! catalog wants twenty and not twenty for each night. A catalog is made for each statement: which run is current is looked up once, and the
//! statement keeps to it, whatever is committed while it runs.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytefacts_facts::flat;
use bytefacts_landing::RunId;
use bytefacts_query::listings::{self, Listed, Listings, Rows};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{Result, plan_err};

use crate::options::SessionOptions;
use crate::plan::Asked;
use crate::queries::Queries;
use crate::record::Whose;
use crate::runs::Runs;
use crate::spread::Executors;
use crate::{contract, listing};

/// The catalog of the run that is shown.
pub(crate) const FACTS: &str = "facts";
/// Its schema of tables and views.
pub(crate) const PUBLIC: &str = "public";
/// Why there is no table yet.
const NO_RUN: &str = "no run has been committed to these facts yet: extract a corpus into them first";
/// The catalog of all runs.
pub(crate) const RUNS: &str = "runs";

/// Everything that a statement of a user can name, when `public` shows this run.
pub(crate) fn of(
    runs: &Arc<Runs>,
    run: Option<RunId>,
    queries: &Arc<Queries>,
    asked: &Asked<'_>,
    executors: Option<Arc<dyn Executors>>,
) -> Arc<dyn CatalogProviderList> {
    let runs = Arc::clone(runs);
    let told = Told {
        runs: Arc::clone(&runs),
        run: run.clone(),
        queries: Arc::clone(queries),
        sees: asked.sees.clone(),
        options: asked.options.clone(),
        executors,
    };
    let shown = Arc::new(OfRun { runs: Arc::clone(&runs), run });
    Arc::new(Catalogs { facts: Arc::new(FactsCatalog { told: Arc::new(told), shown }), runs: Arc::new(RunsCatalog { runs }) })
}

/// The catalogs that there are, in this order: DataFusion's own list gives another one each time, and so would `SHOW TABLES`.
#[derive(Debug)]
struct Catalogs {
    facts: Arc<FactsCatalog>,
    runs: Arc<RunsCatalog>,
}

impl CatalogProviderList for Catalogs {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        [FACTS, RUNS].map(str::to_owned).into()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        match name {
            FACTS => Some(Arc::clone(&self.facts) as Arc<dyn CatalogProvider>),
            RUNS => Some(Arc::clone(&self.runs) as Arc<dyn CatalogProvider>),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct FactsCatalog {
    shown: Arc<OfRun>,
    told: Arc<Told>,
}

impl CatalogProvider for FactsCatalog {
    fn schema_names(&self) -> Vec<String> {
        [PUBLIC, listings::SCHEMA, listing::SYSTEM_SCHEMA].map(str::to_owned).into()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            PUBLIC => Some(Arc::clone(&self.shown) as Arc<dyn SchemaProvider>),
            flat::SCHEMA => Some(Arc::new(Records { shown: Arc::clone(&self.shown) })),
            listings::SCHEMA => Some(Arc::new(Listings::new(self.told.runs.place().clone(), self.told.run.clone()))),
            listing::SYSTEM_SCHEMA => Some(Arc::new(System { told: Arc::clone(&self.told) })),
            _ => None,
        }
    }
}

/// All runs. They are found by name and not listed here, where each listing of columns would read all of them: `bytefacts.runs` has them.
#[derive(Debug)]
struct RunsCatalog {
    runs: Arc<Runs>,
}

impl CatalogProvider for RunsCatalog {
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let run = RunId::new(name).ok()?;
        Some(Arc::new(OfRun { runs: Arc::clone(&self.runs), run: Some(run) }))
    }
}

/// The tables and views of a run.
#[derive(Debug)]
struct OfRun {
    runs: Arc<Runs>,
    run: Option<RunId>,
}

#[async_trait]
impl SchemaProvider for OfRun {
    fn table_names(&self) -> Vec<String> {
        contract::names().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        match &self.run {
            Some(run) => self.runs.table(run, None, name).await,
            None => plan_err!("{NO_RUN}"),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        contract::kind(name).is_some()
    }
}

/// The lists and maps of the root table of a run. They are many, and who wants one has read of it: no client is told of them among the others.
#[derive(Debug)]
struct Records {
    shown: Arc<OfRun>,
}

#[async_trait]
impl SchemaProvider for Records {
    fn table_names(&self) -> Vec<String> {
        flat::all().iter().map(|table| table.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match &self.shown.run {
            Some(run) => self.shown.runs.table(run, Some(flat::SCHEMA), name).await,
            None => plan_err!("{NO_RUN}"),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        flat::by_name(name).is_some()
    }
}

/// What the service tells of.
#[derive(Debug)]
struct Told {
    runs: Arc<Runs>,
    run: Option<RunId>,
    queries: Arc<Queries>,
    sees: Whose,
    options: SessionOptions,
    executors: Option<Arc<dyn Executors>>,
}

#[derive(Debug)]
struct System {
    told: Arc<Told>,
}

#[async_trait]
impl SchemaProvider for System {
    fn table_names(&self) -> Vec<String> {
        listing::SYSTEM.iter().map(|listing| listing.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(listing) = listing::SYSTEM.into_iter().find(|listing| listing.name == name) else { return Ok(None) };
        Ok(Some(Arc::new(Listed::new(listing, OfService { told: Arc::clone(&self.told), name: listing.name }))))
    }

    fn table_exist(&self, name: &str) -> bool {
        listing::SYSTEM.iter().any(|listing| listing.name == name)
    }
}

/// What the service, its cluster and runs under way say.
#[derive(Debug)]
struct OfService {
    told: Arc<Told>,
    name: &'static str,
}

#[async_trait]
impl Rows for OfService {
    async fn rows(&self) -> Result<RecordBatch> {
        let Told { runs, run, queries, sees, options, executors } = &*self.told;
        let cluster = async || match executors {
            Some(executors) => executors.state().await.map(Some),
            None => Ok(None),
        };
        match self.name {
            "executors" => listing::executors(cluster().await?.as_ref()),
            "jobs" => listing::jobs(cluster().await?.as_ref()),
            "bins" => listing::bins(&runs.facts(), run.as_ref()).await,
            "cache" => listing::cache(&runs.facts()).await,
            "options" => listing::options(options, run.as_ref()),
            _ => listing::queries(&queries.records(sees)),
        }
    }
}
