//! `bytefacts executor`: takes bins from a scheduler, compiles, analyses and lands them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytefacts_cluster::{Executor, ExecutorOptions, listen, metrics};
use bytefacts_compile::{WorkerSettings, discover};
use bytefacts_engine::Progress;
use bytefacts_engine::node::{Node, NodeOptions};
use bytefacts_engine::stores::Stores;

use crate::args;
use crate::commands::extract::open_cache;
use crate::config::Settings;
use crate::daemon::{Announcement, ProbeServer, fresh_number};
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::signals::Signals;

/// Runs the command until it is told to end.
///
/// # Errors
/// When it cannot start, or fails.
pub async fn run(args: args::Executor, output: &mut Output) -> anyhow::Result<Exit> {
    let mut settings = Settings::read(args.daemon.config.as_deref())?;
    if args.shared_cache.is_some() {
        settings.cache.shared = args.shared_cache;
    }
    let own = settings.executor.clone();
    let signals = Signals::listen()?;
    let interpreter = discover(args.python.as_deref().or(settings.python.as_deref())).await?;
    let (listener, address) = listen(args.daemon.listen.unwrap_or(own.listen))?;

    let node_name = node_name(args.node.or(own.node))?;
    // The scheduler refuses an id that it still knows, and a restarted executor must not wait until it is forgotten: the name stays, the id does not.
    let id = format!("{node_name}-{:08x}", fresh_number());
    let work_root = own.work_dir.unwrap_or_else(std::env::temp_dir).join("bytefacts-executor");
    remove_leftovers(&work_root, &node_name);
    let cores = args.cores.or(own.cores).map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let options = ExecutorOptions {
        work_dir: work_root.join(&id),
        external_host: args.daemon.external_host.or(own.external_host).unwrap_or_else(|| address.ip().to_string()),
        scheduler: args.scheduler.unwrap_or(own.scheduler),
        connect_timeout: Duration::from_secs(own.connect_seconds),
        cores,
        id: id.clone(),
    };
    let work_dir = options.work_dir.clone();
    let equipment = NodeOptions { workers: cores, memory_budget_bytes: own.memory_budget_bytes, worker: WorkerSettings::default() };
    let stores = Arc::new(Stores::new(settings.stores));
    let cache = open_cache(&settings, &stores)?;
    let node = Arc::new(Node::new(equipment, interpreter, stores, cache, Arc::new(Progress::default())));
    let mut executor = Executor::start(listener, options, Arc::clone(&node)).await?;
    let (view, probed) = (executor.view(), executor.view());
    let probes = args.daemon.probes.unwrap_or(own.probes);
    let probes = ProbeServer::start(probes, metrics::of_executor(Arc::clone(&node), view.clone())?, move || probed.is_connected()).await?;
    Announcement { role: "executor", id, address, probes: probes.address }.write(args.daemon.format, output)?;

    tokio::select! {
        reason = executor.failed() => bail!("the executor failed: {reason}"),
        signal = signals.first() => tracing::info!(signal, running_tasks = view.running_tasks(), "leaving"),
    }
    probes.leave();
    if !executor.drain(Duration::from_secs(own.drain_seconds)).await {
        tracing::warn!("bins under way were handed back after {} s", own.drain_seconds);
    }
    node.shutdown().await;
    remove(&work_dir);
    Ok(Exit::Clean)
}

/// The node's name: as given, else the machine's.
fn node_name(given: Option<String>) -> anyhow::Result<String> {
    let name = match given {
        Some(name) => name,
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(safe) {
        return Err(UsageError(format!("executor.node: a name of letters, digits, '-', '_' and '.' is needed, this is {name:?}")).into());
    }
    Ok(name)
}

/// Removes what earlier executors of this node that were killed have left behind.
fn remove_leftovers(root: &Path, node: &str) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let incarnation = name.to_str().and_then(|name| name.strip_prefix(node)?.strip_prefix('-'));
        if incarnation.is_some_and(|id| id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit())) {
            remove(&entry.path());
        }
    }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::debug!(%error, folder = %folder.display(), "a work folder could not be removed");
    }
}
