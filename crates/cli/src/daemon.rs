//! What the daemons share: probes, and how they say where they listen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytefacts_cluster::{Probes, listen, serve_probes};
use bytefacts_serve::Health;
use prometheus::Registry;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::args::Format;
use crate::output::Output;

/// The host of an address, as far as others can use it: not where a daemon listens on all addresses of its machine.
pub fn reachable_host(address: SocketAddr) -> Option<IpAddr> {
    Some(address.ip()).filter(|host| !host.is_unspecified())
}

/// The probes of a daemon, ready until it is told to leave.
pub struct ProbeServer {
    /// Where they are served.
    pub address: SocketAddr,
    readiness: Readiness,
    leaving: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Whether a daemon is to be given work now, and if not, why.
type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// How often it is looked whether health as gRPC tells it is still true.
const LOOK: Duration = Duration::from_millis(500);

impl ProbeServer {
    /// Serves probes at `address`.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start(
        address: SocketAddr,
        metrics: Vec<Registry>,
        readiness: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let (listener, address) = listen(address).context("health and metrics")?;
        let leaving = Arc::new(AtomicBool::new(false));
        let left = Arc::clone(&leaving);
        let readiness: Readiness =
            Arc::new(move || if left.load(Ordering::Relaxed) { Err("it is about to end".to_owned()) } else { readiness() });
        let serving = serve_probes(listener, Probes { readiness: Arc::clone(&readiness), metrics });
        Ok(Self { address, readiness, leaving, tasks: vec![serving] })
    }

    /// Has an SQL service say of its health what `/readyz` says.
    pub async fn tell(&mut self, health: Health) {
        let readiness = Arc::clone(&self.readiness);
        health.set(readiness().is_ok()).await;
        self.tasks.push(tokio::spawn(async move {
            loop {
                sleep(LOOK).await;
                health.set(readiness().is_ok()).await;
            }
        }));
    }

    /// Lets go of the address.
    pub async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            // (That it was aborted is all that it can say.)
            let _ = task.await;
        }
    }

    /// Answers from now on that it is not ready.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }
}

impl Drop for ProbeServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Where a daemon can be found: the one line that it writes to stdout, once it is up.
#[derive(Serialize)]
pub struct Announcement {
    /// `scheduler`, `executor` or `server`.
    pub role: &'static str,
    /// Its name in the cluster.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are.
    pub probes: SocketAddr,
    /// Where it answers SQL beside that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<SocketAddr>,
    /// What to do next, for people.
    #[serde(skip)]
    pub next: Option<String>,
}

impl Announcement {
    /// Writes the line.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn write(&self, format: Format, output: &mut Output) -> anyhow::Result<()> {
        output.data(match format {
            Format::Text => {
                let sql = self.sql.map(|sql| format!("; SQL on grpc://{sql}")).unwrap_or_default();
                let next = self.next.as_ref().map(|next| format!("; {next}")).unwrap_or_default();
                let Self { role, id, address, probes, .. } = self;
                format!("{role} {id} listens on {address}{sql}; health and metrics on http://{probes}{next}\n")
            }
            Format::Json => serde_json::to_string(self)? + "\n",
        })
    }
}

/// A number that tells apart what happens at the same time.
pub fn fresh_number() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    (random >> 32) as u32
}
