//! The side that is called: connections that are taken once they have shaken hands.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::places::{Place, Places};
use crate::{TlsError, Watched};

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients that shake hands, or have yet to begin, at a time.
const HANDSHAKES: usize = 256;

/// How connections are encrypted, and who may make them. Each handshake goes by the files of then.
#[derive(Clone)]
pub struct ServerTls(Arc<Watched<Arc<ServerConfig>>>);

impl ServerTls {
    /// With the certificates (the server's first) and the private key of PEM files, for everybody.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::of(vec![certificates.to_owned(), key.to_owned()])
    }

    /// The same, for those who show a certificate of an authority.
    pub(crate) fn read_mutual(authority: &Path, certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::of(vec![certificates.to_owned(), key.to_owned(), authority.to_owned()])
    }

    fn of(files: Vec<PathBuf>) -> Result<Self, TlsError> {
        Watched::new(files, load).map(|watched| Self(Arc::new(watched))).map_err(TlsError::new)
    }
}

fn load(files: &[PathBuf]) -> Result<Arc<ServerConfig>, String> {
    let [certificates, key, authority @ ..] = files else { return Err("there are two files".to_owned()) };
    let certified = certified(certificates, key)?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = match authority {
        [] => config.with_no_client_auth().with_cert_resolver(resolver),
        [authority, ..] => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(authority)?), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|error| of(authority, &error))?).with_cert_resolver(resolver)
        }
    };
    // A session that is gone on with is asked for no certificate, which may have expired since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn of(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", file.display())
}

pub(crate) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(file).map_err(|error| of(file, &error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| of(file, &error))?;
    if chain.is_empty() { Err(of(file, &"there is no certificate in it")) } else { Ok(chain) }
}

/// The authorities of a file.
pub(crate) fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots.add(certificate).map_err(|error| of(file, &error))?;
    }
    Ok(roots)
}

/// Certificates with their private key.
pub(crate) fn certified(certificates: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = chain(certificates)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key, &error))?;
    let signing = ring::default_provider().key_provider.load_private_key(private).map_err(|error| of(key, &error))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| of(key, &format!("it is not the key of the certificate: {error}")))?;
    Ok(certified)
}

/// The connections that come to a listener, once they have shaken hands where they are encrypted. It ends when nobody takes them any more.
pub fn accept(listener: TcpListener, tls: Option<ServerTls>) -> ReceiverStream<Accepted> {
    let (sender, receiver) = mpsc::channel(1);
    let places = Places::new(HANDSHAKES);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Too many open files last a while.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(tls) = &tls else {
                // Whoever has gone meanwhile takes it no more.
                drop(sender.send(Accepted::Plain(stream)).await);
                continue;
            };
            let (mut place, let_go) = place(&places).await;
            let (acceptor, sender) = (TlsAcceptor::from(Arc::clone(&*tls.0.now())), sender.clone());
            tokio::spawn(async move {
                let shaken = tokio::select! {
                    shaken = timeout(HANDSHAKE, shake_hands(&acceptor, stream, &mut place)) => shaken,
                    Ok(()) = let_go => return tracing::debug!("a client that has said nothing is let go"),
                };
                match shaken {
                    Ok(Ok(stream)) => drop(sender.send(Accepted::Encrypted(Box::new(stream))).await),
                    Ok(Err(error)) => tracing::debug!(%error, "a client has not shaken hands"),
                    Err(_) => tracing::debug!("a client has not shaken hands in time"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

/// A place to shake hands in, and what says that it was given to another.
async fn place(places: &Places) -> (Place, oneshot::Receiver<()>) {
    loop {
        let (sender, let_go) = oneshot::channel();
        let tell = move || {
            let _: Result<_, _> = sender.send(());
        };
        if let Some(place) = places.take(tell) {
            return (place, let_go);
        }
        places.freed().await;
    }
}

/// Shakes hands with a client once it has said something, which in TLS is its turn.
async fn shake_hands(acceptor: &TlsAcceptor, stream: TcpStream, place: &mut Place) -> io::Result<TlsStream<TcpStream>> {
    if stream.peek(&mut [0]).await? == 0 || !place.keep() {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    acceptor.accept(stream).await
}

/// A connection.
pub enum Accepted {
    /// As it came.
    Plain(TcpStream),
    /// Encrypted.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Accepted {
    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Encrypted(stream) => stream.get_ref().0,
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.socket().connect_info()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}
