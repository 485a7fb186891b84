//! `bytefacts scheduler`: plans jobs and hands their bins to executors.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytefacts_cluster::{Scheduler, SchedulerOptions, listen, metrics};
use bytefacts_stores::Stores;
use tokio::time::{sleep, timeout};

use crate::args;
use crate::config::Settings;
use crate::daemon::{Announcement, ProbeServer, reachable_host};
use crate::exit::Exit;
use crate::output::Output;
use crate::signals::Signals;

/// Runs the command until it is told to end.
///
/// # Errors
/// When it cannot start, or fails.
pub async fn run(args: args::Scheduler, output: &mut Output) -> anyhow::Result<Exit> {
    let settings = Settings::read(args.daemon.config.as_deref())?;
    let signals = Signals::listen()?;
    let (listener, address) = listen(args.daemon.listen.unwrap_or(settings.scheduler.listen))?;
    let access = settings.access.access(address.ip().is_loopback())?;
    let stores = Arc::new(Stores::new(settings.stores).with_access(access));
    let settings = settings.scheduler;
    // Where executors pull nobody dials by this name: it only tells schedulers apart.
    let external_host = match args.daemon.external_host.or(settings.external_host).or(reachable_host(address).map(|host| host.to_string()))
    {
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
    let mut scheduler = Scheduler::start(listener, &options, stores).await?;
    let (view, probed) = (scheduler.view(), scheduler.view());
    let probes = args.daemon.probes.unwrap_or(settings.probes);
    let probes = ProbeServer::start(probes, metrics::of_scheduler(view.clone())?, move || probed.is_ready()).await?;
    Announcement { role: "scheduler", id: options.external_host.clone(), address, probes: probes.address }
        .write(args.daemon.format, output)?;

    tokio::select! {
        reason = scheduler.failed() => bail!("the scheduler failed: {reason}"),
        signal = signals.first() => tracing::info!(signal, running_jobs = view.running_jobs(), "leaving"),
    }
    probes.leave();
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
