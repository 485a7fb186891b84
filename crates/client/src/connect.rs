//! The connection: TCP, and TLS where it is wanted.
//!
//! TLS is done here and not by tonic, whose own would be a further feature of a crate that DataFusion and Ballista share.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::sql::client::FlightSqlServiceClient;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::error::{ClientError, innermost};
use crate::options::{Options, Target};
use crate::silence::{Heard, PATIENCE, SILENT, silent};

/// After so long without a word the server is asked whether it is still there, so that proxies see that the connection is used.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long a server may take to show which language it speaks.
const LANGUAGE_PATIENCE: Duration = Duration::from_secs(5);

/// What a client of HTTP/2 says first: the preface, and settings of which there are none.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The kind of the frame by which a server of HTTP/2 answers, and where it stands in the head of a frame.
const HTTP2_SETTINGS: (usize, u8) = (3, 4);

/// What speaks to a server over a connection.
pub(crate) type Client = FlightSqlServiceClient<Channel>;

/// Connects to a server.
pub(crate) async fn channel(options: &Options) -> Result<Channel, ClientError> {
    let target = options.target()?;
    let address = format!("{}:{}", target.host, target.port);
    // The scheme says nothing: the connector knows whether to encrypt.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| ClientError::Address(options.address.clone()))?;
    let endpoint = endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE);
    let connected = if target.tls {
        let tls = TlsConnector::from(Arc::new(client_config(roots(options.ca.as_deref())?)?));
        let target = target.clone();
        let connector = service_fn(move |_: Uri| {
            let (target, tls) = (target.clone(), tls.clone());
            async move { in_time(secured(&target, &tls)).await }
        });
        endpoint.connect_with_connector(connector).await
    } else {
        let target = target.clone();
        let connector = service_fn(move |_: Uri| {
            let target = target.clone();
            async move { in_time(plain(&target)).await }
        });
        endpoint.connect_with_connector(connector).await
    };
    match connected {
        Ok(channel) => Ok(channel),
        Err(error) => {
            let reason = innermost(&error);
            let may_be_plain = target.tls && reason != SILENT && is_plain(&target).await;
            let reason = if may_be_plain { format!("it does not encrypt: take grpc:// ({reason})") } else { reason };
            Err(ClientError::Unreachable { address, reason })
        }
    }
}

/// A connection that is made within a time, and over which something comes within a time.
async fn in_time<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<TokioIo<Heard<S>>> {
    let connected = timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(silent()));
    connected.map(|stream| TokioIo::new(Heard::new(stream)))
}

/// Whether it is HTTP/2 without encryption that a server speaks. It is asked, since what a client sees that has spoken another language (an answer
/// that it cannot read, an end, a reset) hangs on which packet comes first.
async fn is_plain(target: &Target) -> bool {
    let asked = async {
        let mut stream = plain(target).await?;
        stream.write_all(HTTP2_PREFACE).await?;
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        Ok::<_, io::Error>(head[HTTP2_SETTINGS.0] == HTTP2_SETTINGS.1)
    };
    matches!(timeout(LANGUAGE_PATIENCE, asked).await, Ok(Ok(true)))
}

/// Whether it is TLS that a server speaks: it shows a certificate, which nobody here has to trust, or refuses in the words of TLS.
pub(crate) async fn is_encrypted(target: &Target) -> bool {
    let Ok(config) = client_config(RootCertStore::empty()) else { return false };
    match timeout(LANGUAGE_PATIENCE, secured(target, &TlsConnector::from(Arc::new(config)))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            let said = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
            matches!(said, Some(TlsError::InvalidCertificate(_) | TlsError::AlertReceived(_)))
        }
        Err(_) => false,
    }
}

/// The host without the brackets of an IPv6 address.
fn bare(target: &Target) -> &str {
    target.host.trim_start_matches('[').trim_end_matches(']')
}

async fn plain(target: &Target) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((bare(target), target.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn secured(target: &Target, tls: &TlsConnector) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(bare(target).to_owned()).map_err(io::Error::other)?;
    tls.connect(name, plain(target).await?).await
}

/// The certificates that a server is known by: those of a file, or else the system's.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let of = ca.map_or_else(|| "the system".to_owned(), |file| file.display().to_string());
    let failed = |reason: String| ClientError::Certificates { of: of.clone(), reason };
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        }
        None => {
            // Of the system's some may be damaged, and none of that is ours.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(failed("there is none".to_owned()));
    }
    Ok(roots)
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, ClientError> {
    let failed = |error: TlsError| ClientError::Certificates { of: "this client".to_owned(), reason: error.to_string() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let mut config = config.map_err(failed)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
