//! `bytefacts scheduler`: plans jobs and hands their bins to executors.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytefacts_cluster::{QueryCluster, Scheduler, SchedulerOptions, listen, metrics};
use bytefacts_serve::Server;
use bytefacts_stores::Stores;
use tokio::time::{sleep, timeout};

use crate::args;
use crate::commands::serve;
use crate::config::{ServeSettings, Settings};
use crate::daemon::{Announcement, ProbeServer, reachable_host};
use crate::exit::{Exit, UsageError};
use crate::facts::Facts;
use crate::freshness::Freshness;
use crate::output::Output;
use crate::reach::{StoreWatch, places};
use crate::signals::Signals;

/// Runs the command until it is told to end.
///
/// # Errors
/// When it cannot start, or fails.
pub async fn run(args: args::Scheduler, output: &mut Output) -> anyhow::Result<Exit> {
    let settings = Settings::load(&args)?;
    let signals = Signals::listen()?;
    let (listener, address) = listen(settings.scheduler.listen)?;
    let tls = settings.cluster_tls.of_daemon(address, settings.scheduler.insecure)?;
    let access = settings.access.access(address.ip().is_loopback())?;
    let stores = Arc::new(Stores::new(settings.stores).with_access(access));
    let mut reachable = places(&settings.access);
    let mut certificates = settings.cluster_tls.uses();
    let (client_tls, sql) = (settings.cluster_tls.client()?, settings.serve);
    let sql_stores = Stores::new(settings.stores);
    let settings = settings.scheduler;
    let sql_facts = match (settings.sql_listen, settings.facts) {
        (Some(listen), Some(facts)) => Some((ServeSettings { listen, ..sql }, Facts::open(&facts)?)),
        (Some(_), None) => return Err(UsageError("--sql-listen needs the facts to answer over: --facts FACTS".to_owned()).into()),
        (None, _) => None,
    };
    // Where executors pull nobody dials by this name: it only tells schedulers apart.
    let external_host = match settings.external_host.or(reachable_host(address).map(|host| host.to_string())) {
        Some(host) => host,
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    let options = SchedulerOptions {
        external_host,
        executor_timeout: Duration::from_secs(settings.executor_timeout_seconds),
        expire_interval: Duration::from_secs((settings.executor_timeout_seconds / 5).max(1)),
        no_executors_grace: Duration::from_secs(settings.no_executors_seconds),
        min_executors: settings.min_executors,
    };
    let server_tls = tls.map(|mutual| mutual.server()).transpose().map_err(|error| UsageError(format!("cluster_tls: {error}")))?;
    let mut scheduler = Scheduler::start_with(listener, &options, stores, server_tls).await?;
    let mut freshness = None;
    let mut sql = match sql_facts {
        // It asks as any server does: what it may is decided by the same walls.
        Some((own, facts)) => {
            certificates.extend(own.uses());
            reachable.push(facts.location.clone());
            freshness = Some(Freshness::start(facts.store.clone()));
            let own_address = SocketAddr::new(reachable_host(address).unwrap_or(Ipv4Addr::LOCALHOST.into()), address.port());
            let cluster = QueryCluster::new(&format!("df://{own_address}")).with_tls(client_tls);
            Some(serve::start(&own, sql_stores, &facts, Some(cluster)).await?)
        }
        None => None,
    };
    let (view, probed) = (scheduler.view(), scheduler.view());
    let (reach, least) = (StoreWatch::start(reachable), settings.min_executors);
    let readiness = move || {
        if !probed.is_ready() {
            return Err(format!("{} of the {least} executors that are needed are there", probed.executors()));
        }
        reach.readiness()
    };
    let mut registries = vec![metrics::of_daemon(None, certificates)?, metrics::of_scheduler(view.clone())?];
    registries.extend(sql.as_ref().map(Server::metrics));
    registries.extend(freshness.as_ref().map(Freshness::metrics).transpose()?);
    let mut probes = ProbeServer::start(settings.probes, registries, readiness).await?;
    if let Some(sql) = &sql {
        probes.tell(sql.health()).await;
    }
    let sql_address = sql.as_ref().map(Server::address);
    Announcement { role: "scheduler", id: options.external_host.clone(), address, probes: probes.address, sql: sql_address, next: None }
        .write(args.daemon.format, output)?;

    tokio::select! {
        reason = scheduler.failed() => bail!("the scheduler failed: {reason}"),
        reason = failed(sql.as_mut()) => bail!("the SQL service of the scheduler failed: {reason}"),
        signal = signals.first() => tracing::info!(signal, running_jobs = view.running_jobs(), "leaving"),
    }
    probes.leave();
    if let Some(sql) = sql {
        sql.stop().await;
    }
    let idle = async {
        while view.running_jobs() + view.queued_jobs() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    if timeout(Duration::from_secs(settings.drain_seconds), idle).await.is_err() {
        // Ballista 55 keeps jobs in memory only.
        tracing::warn!(jobs = view.running_jobs(), "jobs under way are lost with this scheduler; their clients submit them again");
    }
    scheduler.stop().await;
    Ok(Exit::Clean)
}

/// Waits until the SQL service fails, if there is one.
async fn failed(sql: Option<&mut Server>) -> String {
    match sql {
        Some(sql) => sql.failed().await,
        None => std::future::pending().await,
    }
}
