//! Workers that die or stand still, and pools that end.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytefacts_compile::{Limits, Pool, PoolError, WORKER_CRASH};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::{code_of, compile, failure_of, line, pool, slow};

/// Limits that only this test's workers have on their command line, by which the test finds them.
fn marked(mark: u64) -> Limits {
    Limits { memory_bytes: (3 << 30) + mark, ..Limits::default() }
}

/// Process ids of the living workers with that mark.
pub(crate) fn workers(limits: &Limits) -> Vec<u32> {
    let mark = limits.memory_bytes.to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes())
    })
    .collect()
}

fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args([format!("-{name}"), id.to_string()]).status().unwrap().success());
}

/// Stops a process, and waits until each of its threads stands: one that is busy takes the signal some time later than `kill` returns.
async fn stop(id: u32) {
    signal("STOP", id);
    let stands = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("stat")).unwrap();
        status.rsplit(") ").next().unwrap().starts_with('T')
    };
    while !fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten().all(stands) {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until exactly `count` workers live.
async fn settled(limits: &Limits, count: usize) -> Vec<u32> {
    let look = async {
        loop {
            let found = workers(limits);
            if found.len() == count {
                return found;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), look).await.unwrap_or_else(|_| panic!("{:?} workers instead of {count}", workers(limits)))
}

/// CPU time that a process has taken; none if it is gone.
fn cpu(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // Of user and system, in hundredths of a second.
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Waits until the only worker is well inside of the unit that it was given, or is about to be given: nothing else takes it so much time. Its id.
async fn at_work(limits: &Limits) -> u32 {
    let id = settled(limits, 1).await[0];
    let before = cpu(id);
    let look = async {
        while cpu(id) < before + Duration::from_millis(60) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), look).await.unwrap_or_else(|_| panic!("the worker {id} does not work"));
    id
}

/// Waits until one of several workers has taken more time than a start ever takes: it is inside of a unit. Its id.
async fn one_at_work(limits: &Limits) -> u32 {
    let look = async {
        loop {
            if let Some(id) = workers(limits).into_iter().find(|id| cpu(*id) > Duration::from_secs(1)) {
                return id;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(120), look).await.expect("no worker works")
}

#[tokio::test]
async fn killed_between_units() {
    let limits = marked(1);
    let pool = pool(1, limits.clone()).await;
    let before = code_of(&compile(&pool, "x = 1").await).clone();
    signal("KILL", settled(&limits, 1).await[0]);
    settled(&limits, 0).await;
    assert_eq!(code_of(&compile(&pool, "x = 1").await), &before);
    // Whether the pool sees the end before the next unit or at it is a matter of moments, and must not matter.
    let stats = pool.stats();
    assert_eq!((stats.units, stats.starts, stats.killed, stats.crashes), (2, 2, 1, 0));
}

#[tokio::test]
async fn crashed_between_units() {
    let limits = marked(13);
    let pool = pool(1, limits.clone()).await;
    code_of(&compile(&pool, "x = 1").await);
    signal("SEGV", settled(&limits, 1).await[0]);
    settled(&limits, 0).await;
    code_of(&compile(&pool, "x = 1").await);
    let stats = pool.stats();
    assert_eq!((stats.units, stats.starts, stats.killed, stats.crashes), (2, 2, 0, 1));
}

#[tokio::test]
async fn killed_once_in_the_middle_of_a_unit() {
    let limits = marked(2);
    let pool = Arc::new(pool(1, limits.clone()).await);
    let running = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { compile(&pool, slow(20)).await }
    });
    signal("KILL", at_work(&limits).await);
    code_of(&running.await.unwrap());
    assert_eq!((pool.stats().starts, pool.stats().killed, pool.stats().crashes), (2, 1, 0));
}

#[tokio::test]
async fn a_unit_that_loses_two_workers_is_quarantined() {
    let limits = marked(3);
    let pool = Arc::new(pool(1, limits.clone()).await);
    let running = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { compile(&pool, slow(300)).await }
    });
    for number in 1..=2 {
        started(&pool, number).await;
        signal("SEGV", at_work(&limits).await);
    }
    let compiled = running.await.unwrap();
    assert_eq!(line(failure_of(&compiled)), "quarantine WorkerCrash two workers ended: SIGSEGV @?:?-?:?");
    assert_eq!(failure_of(&compiled).error_type, WORKER_CRASH);
    assert!(!compiled.is_reproducible());
    code_of(&compile(&pool, "x = 1").await);
    assert_eq!((pool.stats().units, pool.stats().starts, pool.stats().crashes), (2, 3, 2));
}

/// Waits until so many workers have started. One that is killed at its start is another matter.
async fn started(pool: &Pool, number: u64) {
    while pool.stats().starts < number {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Kills worker after worker, each inside of the unit, and returns what becomes of the unit.
async fn killed_at_it(mark: u64, times: usize) -> (Result<bytefacts_compile::Compiled, PoolError>, bytefacts_compile::PoolStats) {
    let limits = marked(mark);
    let pool = Arc::new(pool(1, limits.clone()).await);
    let running = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.compile(slow(20).into()).await }
    });
    for number in 1..=times as u64 {
        started(&pool, number).await;
        signal("KILL", at_work(&limits).await);
    }
    (running.await.unwrap(), pool.stats())
}

#[tokio::test]
async fn a_unit_is_not_to_blame_for_workers_that_somebody_else_kills() {
    let (compiled, stats) = killed_at_it(10, 4).await;
    code_of(&compiled.unwrap());
    assert_eq!((stats.units, stats.starts, stats.killed, stats.crashes), (1, 5, 4, 0));
}

#[tokio::test]
async fn who_kills_every_worker_fails_the_job_and_not_the_unit() {
    let (compiled, _) = killed_at_it(11, 10).await;
    let error = compiled.unwrap_err();
    assert!(matches!(error, PoolError::Killed { kills: 10, .. }), "{error}");
    assert!(error.to_string().contains("SIGKILL"), "{error}");
}

#[tokio::test]
async fn a_worker_that_stands_still_is_replaced() {
    // As long as this, for it binds the worker that takes its place too.
    let limits = Limits { unit_wall: Duration::from_secs(20), ..marked(4) };
    let pool = pool(1, limits.clone()).await;
    stop(settled(&limits, 1).await[0]).await;
    code_of(&compile(&pool, "x = 1").await);
    let stats = pool.stats();
    assert_eq!((stats.units, stats.starts, stats.timeouts), (1, 2, 1));
}

#[tokio::test]
async fn one_bad_worker_of_many_delays_only_its_own_unit() {
    let limits = marked(5);
    let pool = Arc::new(pool(3, limits.clone()).await);
    let bad = settled(&limits, 1).await[0];
    stop(bad).await;
    let units: Vec<_> = (0..60)
        .map(|n| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { drop(code_of(&compile(&pool, format!("x = {n}")).await).clone()) })
        })
        .collect();
    // It stands still until all units but one are done.
    let others = async {
        while units.iter().filter(|unit| unit.is_finished()).count() < 59 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(240), others).await.expect("units waited for a worker that stood still");
    signal("CONT", bad);
    for unit in units {
        unit.await.unwrap();
    }
    assert_eq!((pool.stats().units, pool.stats().timeouts), (60, 0));
}

#[tokio::test]
async fn ctrl_c_does_not_reach_the_workers() {
    let limits = marked(6);
    let pool = pool(1, limits.clone()).await;
    signal("INT", settled(&limits, 1).await[0]);
    sleep(Duration::from_millis(100)).await;
    code_of(&compile(&pool, "x = 1").await);
    assert_eq!(pool.stats().starts, 1);
}

#[tokio::test]
async fn shutdown_answers_what_is_queued_and_leaves_nobody() {
    let limits = marked(7);
    let pool = Arc::new(pool(2, limits.clone()).await);
    let units: Vec<_> = (0..20)
        .map(|n| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.compile(format!("x = {n}\n").repeat(2_000).into()).await })
        })
        .collect();
    while pool.stats().units < 4 {
        sleep(Duration::from_millis(5)).await;
    }
    pool.shutdown().await;
    assert!(workers(&limits).is_empty());
    for unit in units {
        match unit.await.unwrap() {
            Ok(compiled) => drop(code_of(&compiled).clone()),
            Err(error) => assert!(matches!(error, PoolError::Closed)),
        }
    }
    assert!(matches!(pool.compile(Bytes::new()).await, Err(PoolError::Closed)));
}

#[tokio::test]
async fn a_dropped_pool_kills_its_workers_even_at_work() {
    let limits = marked(8);
    let pool = Arc::new(pool(2, limits.clone()).await);
    tokio::select! {
        _ = pool.compile(slow(300).into()) => panic!("it was to take longer"),
        _ = one_at_work(&limits) => {}
    }
    drop(pool);
    settled(&limits, 0).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_costs_nothing_but_its_unit() {
    let pool = pool(1, Limits::default()).await;
    let _ = timeout(Duration::from_millis(100), pool.compile(slow(10).into())).await;
    code_of(&compile(&pool, "x = 1").await);
    assert_eq!(pool.stats().starts, 1);
}

/// Not a test of its own: the process that [`workers_do_not_outlive_a_killed_parent`] kills.
#[tokio::test]
#[ignore = "started by workers_do_not_outlive_a_killed_parent"]
async fn parent_to_be_killed() {
    let pool = pool(2, marked(9)).await;
    tokio::join!(pool.compile(slow(400).into()), pool.compile("x = 1".into())).0.unwrap();
    sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn workers_do_not_outlive_a_killed_parent() {
    let limits = marked(9);
    let mut parent = Command::new(std::env::current_exe().unwrap());
    parent.args(["--exact", "death::parent_to_be_killed", "--ignored"]).stdout(Stdio::null());
    let mut parent = parent.spawn().unwrap();
    settled(&limits, 2).await;
    let busy = one_at_work(&limits).await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    let killed_at = cpu(busy);
    let mut taken = killed_at;
    while !workers(&limits).is_empty() {
        taken = taken.max(cpu(busy));
        // Its unit takes ten times as much.
        assert!(taken < killed_at + Duration::from_secs(4) || cfg!(not(target_os = "linux")), "a worker goes on with its unit for nobody");
        sleep(Duration::from_millis(10)).await;
    }
}
