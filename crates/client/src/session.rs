//! The views on sessions of DataFusion's own.

use bytefacts_landing::RunId;
use bytefacts_query::{facts_session, register_listings};
use bytefacts_stores::Stores;
use bytefacts_tls::Mutual;
use datafusion::common::Result;
use datafusion::prelude::SessionContext;

use crate::cluster::planned_for;
use crate::scheduler::Scheduler;

/// A session that answers queries in this process: the root table, every view, `changes`, and the tables of `bytefacts`, over the facts at a location
/// (a URL; `Stores` reads credentials from the environment). It shows the given run, or whichever is current when a statement is planned.
///
/// # Errors
/// When the location cannot be opened.
pub fn session(stores: &Stores, location: &str, run: Option<RunId>) -> Result<SessionContext> {
    let session = facts_session(stores, location, run.clone())?;
    register_listings(&session, stores, location, run)?;
    Ok(session)
}

/// The same session, whose queries run on the cluster of the scheduler at `df://host:port`. It plans here, for which it reads manifests itself, and what
/// reads data files is run by the executors, to which their settings must allow the facts (`access.facts`). Of their number it asks once, now.
/// `certificates` are what a cluster with certificates wants to see; they are read again when they rotate.
///
/// # Errors
/// When the location cannot be opened, a certificate cannot be used, or no scheduler of ours answers at the URL.
pub async fn cluster_session(
    scheduler: &str,
    certificates: Option<&Mutual>,
    stores: &Stores,
    location: &str,
    run: Option<RunId>,
) -> Result<SessionContext> {
    let scheduler = Scheduler::new(scheduler, certificates)?;
    let local = session(stores, location, run)?;
    Ok(SessionContext::new_with_state(planned_for(local.state(), scheduler).await?))
}
