//! `bytefacts executor`: takes bins from a scheduler, compiles, analyses and lands them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytefacts_cluster::{ExecutorOptions, Starting, listen, metrics};
use bytefacts_compile::{Interpreter, WorkerSettings, discover};
use bytefacts_engine::{Node, NodeOptions, Progress};
use bytefacts_stores::Stores;

use crate::address::is_loopback;
use crate::args;
use crate::commands::extract::open_cache;
use crate::commands::trial;
use crate::config::{Settings, is_node_name};
use crate::daemon::{Announcement, ProbeServer, fresh_number, reachable_host};
use crate::exit::{Exit, UsageError};
use crate::output::Output;
use crate::reach::{StoreWatch, places};
use crate::signals::Signals;
use crate::work_folder::WorkFolder;

/// Runs the command until it is told to end.
///
/// # Errors
/// When it cannot start, or fails.
pub async fn run(args: args::Executor, output: &mut Output) -> anyhow::Result<Exit> {
    let signals = Signals::listen()?;
    let settings = Settings::load(&args)?;
    let own = settings.executor.clone();
    let interpreter = tokio::select! {
        found = interpreter(settings.python.as_deref(), own.probes, Duration::from_secs(own.interpreter_seconds)) => found?,
        signal = signals.first() => return Ok(left_early(signal)),
    };
    let (listener, address) = listen(own.listen)?;
    let python = interpreter.version.clone();

    let node_name = node_name(own.node)?;
    // The scheduler refuses an id that it still knows, and a restarted executor must not wait until it is forgotten: the name stays, the id does not.
    let number = format!("{:08x}", fresh_number());
    let id = format!("{node_name}-{number}");
    let work_root = own.work_dir.unwrap_or_else(std::env::temp_dir).join("bytefacts-executor");
    let work = WorkFolder::make(&work_root, &node_name, &number)
        .with_context(|| format!("cannot make a work folder in {}", work_root.display()))?;
    let cores = own.cores.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let scheduler = own.scheduler;
    let options = ExecutorOptions {
        work_dir: work.path().to_owned(),
        // Who listens on all addresses is best found at the one that its connections come from. A name would be a guess: a pod's is known to nobody.
        external_host: own.external_host.or(reachable_host(address).map(|host| host.to_string())),
        scheduler: scheduler.clone(),
        connect_timeout: Duration::from_secs(own.connect_seconds),
        cores,
        node: node_name,
        id: id.clone(),
        tls: settings.cluster_tls.of_daemon(address, own.insecure)?,
    };
    let is_exposed = !(address.ip().is_loopback() || own.insecure);
    if is_exposed && settings.cache.shared.is_some() && settings.cache.shared_secret.is_none() {
        let text = "whoever may write to the shared cache could decide what this executor takes for compiled code: give cache.shared_secret, a file \
                    with 32 bytes or more, the same on all that share, or --insecure where nobody else may write there";
        return Err(UsageError(text.to_owned()).into());
    }
    let equipment = NodeOptions { workers: cores, memory_budget_bytes: own.memory_budget_bytes, worker: WorkerSettings::default() };
    // Jobs come from whoever reaches the scheduler.
    let access = settings.access.access(address.ip().is_loopback() && is_loopback(&scheduler))?;
    let stores = Arc::new(Stores::new(settings.stores).with_access(access));
    let cache = open_cache(&settings, &stores)?;
    let node = Arc::new(Node::new(equipment, interpreter, stores, cache, Arc::new(Progress::default())).with_trials(trial::command()?));
    let starting = Starting::new(listener, options, Arc::clone(&node))?;
    let (view, probed, equipped) = (starting.view(), starting.view(), Arc::clone(&node));
    let reach = StoreWatch::start(places(&settings.access));
    let registries =
        vec![metrics::of_daemon(Some(python), settings.cluster_tls.uses())?, metrics::of_executor(Arc::clone(&node), view.clone())?];
    let readiness = move || {
        if !probed.is_connected() {
            return Err(format!("the scheduler at {scheduler} does not answer"));
        }
        equipped.disagreement().map_or(Ok(()), Err)?;
        reach.readiness()
    };
    let probes = ProbeServer::start(own.probes, registries, readiness).await?;
    tracing::info!(probes = %probes.address, "health and metrics are served");
    let mut executor = tokio::select! {
        joined = starting.join() => joined?,
        signal = signals.first() => {
            return Ok(left_early(signal));
        }
    };
    Announcement { role: "executor", id, address, probes: probes.address, sql: None, next: None }.write(args.daemon.format, output)?;

    tokio::select! {
        reason = executor.failed() => bail!("the executor failed: {reason}"),
        signal = signals.first() => tracing::info!(signal, running_tasks = view.running_tasks(), "leaving"),
    }
    probes.leave();
    // (Whoever says it twice means at once, and has it.)
    if !executor.drain(Duration::from_secs(own.drain_seconds)).await {
        tracing::warn!("bins under way were handed back after {} s", own.drain_seconds);
    }
    node.shutdown().await;
    Ok(Exit::Clean)
}

/// How often an interpreter is looked for that was not there.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The interpreter of this node. While there is none, and for so long, probes say why: a pod that is not ready and tells what it lacks is easier to
/// mend than one that starts again and again.
async fn interpreter(named: Option<&Path>, probes: SocketAddr, patience: Duration) -> anyhow::Result<Interpreter> {
    let begun = Instant::now();
    let mut missing = match discover(named).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if patience.is_zero() {
        return Err(missing.into());
    }
    let reason = Arc::new(Mutex::new(missing.to_string()));
    let told = Arc::clone(&reason);
    let readiness = move || Err(told.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let waiting = ProbeServer::start(probes, vec![metrics::of_daemon(None, Vec::new())?], readiness).await?;
    while begun.elapsed() < patience {
        tracing::warn!(error = %missing, "no interpreter: looked for again in {} s", LOOK_AGAIN.as_secs());
        tokio::time::sleep(LOOK_AGAIN).await;
        missing = match discover(named).await {
            Ok(found) => {
                waiting.stop().await;
                return Ok(found);
            }
            Err(error) => error,
        };
        *reason.lock().unwrap_or_else(PoisonError::into_inner) = missing.to_string();
    }
    Err(missing.into())
}

/// Says that the executor was told to end before it was of a cluster.
fn left_early(signal: &'static str) -> Exit {
    tracing::info!(signal, "leaving, before the scheduler was there");
    Exit::Clean
}

/// The node's name: as given, else the machine's.
fn node_name(given: Option<String>) -> anyhow::Result<String> {
    let name = match given {
        Some(name) => name,
        None => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
    };
    if !is_node_name(&name) {
        return Err(UsageError(format!("executor.node: a name of letters, digits, '-', '_' and '.' is needed, this is {name:?}")).into());
    }
    Ok(name)
}
