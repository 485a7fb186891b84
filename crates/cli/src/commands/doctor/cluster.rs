//! The cluster: whether its scheduler and its executors are there, and of one kind.

use std::collections::BTreeSet;

use bytefacts_cluster::RemoteScheduler;
use bytefacts_tls::ClientTls;

use super::Check;

/// Checks the cluster whose scheduler is at `url`.
pub async fn cluster(url: &str, tls: Option<ClientTls>) -> Vec<Check> {
    const SCHEDULER: &str = "cluster: scheduler";
    const EXECUTORS: &str = "cluster: executors";
    let status = match RemoteScheduler::new(url).with_tls(tls).status().await {
        Ok(status) => status,
        Err(error) => {
            let advice = "start it by `bytefacts scheduler --listen HOST:PORT`, and see that nothing keeps this machine from that port";
            return vec![Check::fail(SCHEDULER, error.to_string(), advice)];
        }
    };
    let own = env!("CARGO_PKG_VERSION");
    let mut checks = vec![if status.version == own {
        Check::ok(SCHEDULER, format!("{url}, version {own}"))
    } else {
        Check::fail(SCHEDULER, format!("{url} is of version {}, this is {own}", status.version), "use one version everywhere")
    }];

    if status.executors.is_empty() {
        checks.push(Check::fail(EXECUTORS, "there are none", "start some by `bytefacts executor --scheduler HOST:PORT`; see their logs"));
        return checks;
    }
    let cores: u64 = status.executors.iter().map(|executor| u64::from(executor.cores)).sum();
    let found = format!("{}, {cores} cores", status.executors.len());
    let kinds = |of: fn(&bytefacts_cluster::ExecutorStatus) -> &Option<String>| {
        status.executors.iter().filter_map(|executor| of(executor).as_deref()).collect::<BTreeSet<_>>()
    };
    let (versions, pythons) = (kinds(|executor| &executor.version), kinds(|executor| &executor.python));
    let listed = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    checks.push(if versions.iter().any(|version| *version != own) {
        Check::fail(EXECUTORS, format!("{found}, of versions {}", listed(&versions)), "use one version everywhere")
    } else if pythons.len() > 1 {
        let advice = "give every executor the same CPython: rows must not depend on who makes them";
        Check::fail(EXECUTORS, format!("{found}, with CPython {}", listed(&pythons)), advice)
    } else if status.ready {
        Check::ok(EXECUTORS, found)
    } else {
        Check::warn(EXECUTORS, found, "the scheduler waits for more, by `scheduler.min_executors`")
    });
    checks
}
