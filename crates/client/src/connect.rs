//! The connection: TCP, and TLS where it is wanted.
//!
//! TLS is done here and not by tonic, whose own would be a further feature of a crate that DataFusion and Ballista share.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::error::{ClientError, innermost};
use crate::options::{Options, Target};

/// How long a server may take to be connected to.
const PATIENCE: Duration = Duration::from_secs(10);

/// After so long without a word the server is asked whether it is still there, so that proxies see that the connection is used.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Connects to a server.
pub(crate) async fn channel(options: &Options) -> Result<Channel, ClientError> {
    let target = options.target()?;
    let address = format!("{}:{}", target.host, target.port);
    // The scheme says nothing: the connector knows whether to encrypt.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| ClientError::Address(options.address.clone()))?;
    let endpoint = endpoint.connect_timeout(PATIENCE).tcp_nodelay(true).http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE);
    let encrypts = target.tls;
    let connected = if encrypts {
        let tls = TlsConnector::from(Arc::new(client_config(options.ca.as_deref())?));
        let connector = service_fn(move |_: Uri| {
            let (target, tls) = (target.clone(), tls.clone());
            async move { secured(&target, &tls).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await
    } else {
        endpoint.connect().await
    };
    connected.map_err(|error| {
        let reason = innermost(&error);
        // What rustls says of an answer that is not encrypted.
        let is_plain = encrypts && reason.contains("corrupt message");
        ClientError::Unreachable {
            address,
            reason: if is_plain { format!("it does not encrypt: take grpc:// ({reason})") } else { reason },
        }
    })
}

async fn secured(target: &Target, tls: &TlsConnector) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let bare = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((bare.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(bare).map_err(io::Error::other)?;
    tls.connect(name, stream).await
}

fn client_config(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
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
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let mut config = config.map_err(|error| failed(error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
