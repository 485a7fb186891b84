//! The embedded cluster: a Ballista scheduler and executors on loopback ports of this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytefacts_engine::Node;
use bytefacts_stores::Stores;
use tempfile::TempDir;

use crate::error::ClusterError;
use crate::executor::{Executor, ExecutorOptions};
use crate::listen::listen;
use crate::scheduler::{Scheduler, SchedulerOptions};

/// The shape of the embedded cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Tasks that one executor runs at a time.
    pub cores_per_executor: usize,
}

/// A running embedded cluster. Dropping it stops its servers and removes its work folders.
pub struct Embedded {
    scheduler: Scheduler,
    executors: Vec<Executor>,
    _work_dir: TempDir,
}

impl Embedded {
    /// Starts a scheduler, and one executor for each of `nodes`, on free loopback ports.
    ///
    /// # Errors
    /// When a port or a folder cannot be had, or the scheduler does not answer.
    pub async fn start(nodes: &[Arc<Node>], stores: Arc<Stores>, options: EmbeddedOptions) -> Result<Self, ClusterError> {
        const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let work_dir = tempfile::Builder::new().prefix("bytefacts-embedded-").tempdir().map_err(ClusterError::io("make a work folder"))?;
        // An executor that waits for a slow disk is no dead one: all are one process.
        let settings = SchedulerOptions { executor_timeout: Duration::from_mins(10), ..SchedulerOptions::default() };
        let scheduler = Scheduler::start(listen(ANY_PORT)?.0, &settings, stores).await?;
        let mut executors = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let (listener, address) = listen(ANY_PORT)?;
            let id = format!("embedded-{index}");
            let executor = ExecutorOptions {
                work_dir: work_dir.path().join(&id),
                node: id.clone(),
                id,
                external_host: Some(address.ip().to_string()),
                scheduler: scheduler.address().to_string(),
                connect_timeout: Duration::from_secs(10),
                cores: options.cores_per_executor,
                tls: None,
            };
            executors.push(Executor::start(listener, executor, Arc::clone(node)).await?);
        }
        Ok(Self { scheduler, executors, _work_dir: work_dir })
    }

    /// The scheduler's URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("df://{}", self.scheduler.address())
    }

    /// Stops the servers and waits until they have let go of their ports and folders.
    pub async fn stop(self) {
        for executor in self.executors {
            executor.stop().await;
        }
        self.scheduler.stop().await;
    }
}
