//! TLS: certificates of files, read again when they rotate, and connections that are taken once they have shaken hands.
//!
//! tonic's own configuration reads a certificate once; one that cert-manager renews would be served until it has expired.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::error::ServeError;
use crate::watched::Watched;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients that shake hands at a time.
const HANDSHAKES: usize = 256;

/// How connections are encrypted.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// With the certificates (the server's first) and the private key of PEM files.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, ServeError> {
        let failed = |error: &dyn std::fmt::Display| ServeError::Tls(error.to_string());
        let files = vec![certificates.to_owned(), key.to_owned()];
        let resolver = Rotating(Watched::new(files, load).map_err(|error| failed(&error))?);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
        let mut config = config.map_err(|error| failed(&error))?.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The connections that come to a listener, once they have shaken hands. It ends when nobody takes them any more.
    pub(crate) fn accept(self, listener: TcpListener) -> ReceiverStream<io::Result<Secured>> {
        let (sender, receiver) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        tokio::spawn(async move {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
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
                let (acceptor, sender) = (self.0.clone(), sender.clone());
                tokio::spawn(async move {
                    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        // Whoever has gone meanwhile takes it no more.
                        Ok(Ok(stream)) => drop(sender.send(Ok(Secured(stream))).await),
                        Ok(Err(error)) => tracing::debug!(%error, "a client has not shaken hands"),
                        Err(_) => tracing::debug!("a client has not shaken hands in time"),
                    }
                    drop(place);
                });
            }
        });
        ReceiverStream::new(receiver)
    }
}

/// The certificate of now.
struct Rotating(Watched<CertifiedKey>);

impl std::fmt::Debug for Rotating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rotating")
    }
}

impl ResolvesServerCert for Rotating {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now())
    }
}

fn load(files: &[PathBuf]) -> Result<CertifiedKey, String> {
    let [certificates, key] = files else { return Err("there are two files".to_owned()) };
    let of = |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let chain = CertificateDer::pem_file_iter(certificates).map_err(|error| of(certificates, &error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| of(certificates, &error))?;
    if chain.is_empty() {
        return Err(of(certificates, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of(key, &error))?;
    let signing = ring::default_provider().key_provider.load_private_key(private).map_err(|error| of(key, &error))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| of(key, &format!("it is not the key of the certificate: {error}")))?;
    Ok(certified)
}

/// A connection that is encrypted.
pub(crate) struct Secured(TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.get_ref().0.connect_info()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
