//! Listening for connections.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

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
    listening().map_err(ClusterError::io(format!("listen on {address}")))
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
