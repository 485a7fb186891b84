//! Listening for connections.

use std::net::SocketAddr;

use axum::serve::Listener;
use bytefacts_tls::{Accepted, ServerTls, accept};
use futures::StreamExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::ClusterError;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens at an address; port 0 is any free one. To be called in a Tokio runtime.
///
/// What is accepted sends small messages at once. Ballista's scheduler does not see to that, and then each answer to an executor that asks for its
/// next task waits some 40 ms for the acknowledgement of what was sent before.
///
/// # Errors
/// When the address is taken or none of this machine's.
pub fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ClusterError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A daemon may come back to the port that it has just left.
        socket.set_reuseaddr(cfg!(unix))?;
        // Connections inherit it from the socket that they come to.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    listening().map_err(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => ClusterError::Taken(address),
        _ => ClusterError::io(format!("listen on {address}"))(error),
    })
}

/// The connections of a listener, encrypted where that is wanted, as axum takes them.
pub(crate) struct Incoming {
    stream: ReceiverStream<Accepted>,
    address: SocketAddr,
}

impl Incoming {
    pub(crate) fn new(listener: TcpListener, tls: Option<ServerTls>) -> std::io::Result<Self> {
        Ok(Self { address: listener.local_addr()?, stream: accept(listener, tls) })
    }
}

impl Listener for Incoming {
    type Io = Accepted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Accepted, SocketAddr) {
        loop {
            match self.stream.next().await.map(|stream| (stream.socket().peer_addr(), stream)) {
                Some((Ok(peer), stream)) => return (stream, peer),
                // It has gone already.
                Some((Err(_), _)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_does_not_wait_to_fill_packets() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok((listener, address)) = listen(any.parse().unwrap()) else {
                assert_ne!(any, "127.0.0.1:0", "some machines have no IPv6, but all have IPv4");
                continue;
            };
            let _client = tokio::net::TcpStream::connect(address).await.unwrap();
            assert!(listener.accept().await.unwrap().0.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_that_names_it() {
        let (_listener, address) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(listen(address).unwrap_err().to_string().contains(&address.to_string()));
    }
}
