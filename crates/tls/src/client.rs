//! The side that calls: a tunnel to each member of the cluster, of which one end is a socket file of this process alone.
//!
//! Ballista's own clients take an endpoint from us and no connector, and tonic's TLS is not built in: it turns on what all that stands on rustls would
//! be built with. So an endpoint leads to a socket in a folder that only this user enters, and from there a task of ours goes on, encrypted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tonic::transport::Endpoint;

use crate::server::{authorities, certified};
use crate::{MEMBER, TlsError, Watched};

/// How long connecting and shaking hands may take.
const CONNECT: Duration = Duration::from_secs(20);
/// After so long without a word the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What a client shows, and whom it believes. Each new connection is made with the files of then.
#[derive(Clone)]
pub struct ClientTls(Arc<Tunnels>);

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

struct Tunnels {
    config: Watched<Arc<ClientConfig>>,
    folder: TempDir,
    runtime: Handle,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// The sockets, by where they lead to.
    sockets: BTreeMap<String, PathBuf>,
    /// Why the last connection to there came to nothing.
    failures: BTreeMap<String, String>,
    listening: JoinSet<()>,
}

impl ClientTls {
    /// With the authority's certificates, the client's own ones, and its private key. To be called in a Tokio runtime, which tunnels run on.
    pub(crate) fn read(authority: &Path, certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = vec![authority.to_owned(), certificates.to_owned(), key.to_owned()];
        let config = Watched::new(files, load).map_err(TlsError::new)?;
        let folder = tempfile::Builder::new().prefix("bf-").tempdir();
        let folder = folder.map_err(|error| TlsError::new(format!("cannot make a folder for sockets: {error}")))?;
        let runtime = Handle::try_current().map_err(TlsError::new)?;
        Ok(Self(Arc::new(Tunnels { config, folder, runtime, open: Mutex::default() })))
    }

    /// The endpoint of a member of the cluster at the same host and port, encrypted. What else was set on the given one is set anew.
    ///
    /// # Errors
    /// When the address is none, or no socket can be had.
    pub fn endpoint(&self, plain: &Endpoint) -> Result<Endpoint, TlsError> {
        let uri = plain.uri();
        let authority = uri.authority().ok_or_else(|| TlsError::new(format!("{uri} has no host")))?;
        let socket = self.0.socket(authority.as_str())?;
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).map_err(TlsError::new)?;
        Ok(endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE).keep_alive_while_idle(true))
    }

    /// Why the last connection to `host:port` came to nothing, if it did.
    #[must_use]
    pub fn failure(&self, authority: &str) -> Option<String> {
        self.0.lock().failures.get(authority).cloned()
    }
}

impl Tunnels {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket that leads to a place.
    fn socket(self: &Arc<Self>, authority: &str) -> Result<PathBuf, TlsError> {
        let mut open = self.lock();
        if let Some(socket) = open.sockets.get(authority) {
            return Ok(socket.clone());
        }
        let socket = self.folder.path().join(open.sockets.len().to_string());
        let _runtime = self.runtime.enter();
        let listener = UnixListener::bind(&socket).map_err(|error| TlsError::new(format!("{}: {error}", socket.display())))?;
        open.listening.spawn_on(listen(listener, authority.to_owned(), Arc::downgrade(self)), &self.runtime);
        open.sockets.insert(authority.to_owned(), socket.clone());
        Ok(socket)
    }

    fn told(&self, authority: &str, failure: Option<String>) {
        let mut open = self.lock();
        match failure {
            Some(failure) => open.failures.insert(authority.to_owned(), failure),
            None => open.failures.remove(authority),
        };
    }
}

/// Leads what comes to a socket to a place, as long as somebody wants it.
async fn listen(listener: UnixListener, authority: String, tunnels: Weak<Tunnels>) {
    loop {
        let near = match listener.accept().await {
            Ok((near, _)) => near,
            Err(error) => {
                tracing::warn!(%error, "a tunnel could not be begun");
                // Too many open files last a while.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(tunnel) = tunnels.upgrade() else { return };
        let (config, authority, tunnels) = (tunnel.config.now(), authority.clone(), tunnels.clone());
        tokio::spawn(async move {
            let ended = relay(near, &authority, Arc::clone(&*config)).await;
            if let Err(error) = &ended {
                tracing::debug!(%error, authority, "a tunnel has ended");
            }
            if let Some(tunnels) = tunnels.upgrade() {
                tunnels.told(&authority, ended.err().map(|error| error.to_string()));
            }
        });
    }
}

/// Until one of both sides ends.
async fn relay(mut near: UnixStream, authority: &str, config: Arc<ClientConfig>) -> std::io::Result<()> {
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
    let socket = timeout(CONNECT, TcpStream::connect(authority)).await.map_err(late)??;
    socket.set_nodelay(true)?;
    let member = ServerName::try_from(MEMBER).map_err(std::io::Error::other)?;
    let mut far = timeout(CONNECT, TlsConnector::from(config).connect(member, socket)).await.map_err(late)??;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

fn load(files: &[PathBuf]) -> Result<Arc<ClientConfig>, String> {
    let [authority, certificates, key] = files else { return Err("there are three files".to_owned()) };
    let own = Arc::new(SingleCertAndKey::from(certified(certificates, key)?));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(authorities(authority)?).with_client_cert_resolver(own);
    // Each connection shows what there is now.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
