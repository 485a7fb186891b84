//! Connections: so many and no more, none of them silent from the start, and each one that can be closed by what is asked over it, or for one that
//! speaks.
//!
//! A client that connects and says nothing takes a socket until somebody minds, and HTTP/2's own keep-alive begins with its first words.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytefacts_tls::{Accepted, Place, Places, ServerTls, accept};
use futures::task::AtomicWaker;
use futures::{Stream, StreamExt as _};
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// How long a client may take to say its first word.
const SILENCE: Duration = Duration::from_secs(10);

/// The connections that come to a listener. One too many is closed at once, so that its client hears of it: the one that has been silent for longest,
/// or the new one where all others have spoken.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<ServerTls>,
    most: usize,
    open: IntGauge,
) -> impl Stream<Item = io::Result<Guarded>> {
    let places = Places::new(most);
    accept(listener, tls).filter_map(move |stream| {
        let connection = Connection::default();
        let closing = connection.clone();
        let guarded = match places.take(move || closing.close()) {
            Some(place) => {
                let silence = Some(Box::pin(tokio::time::sleep(SILENCE)));
                Some(Ok(Guarded { stream, silence, connection, place, _counted: Counted::new(open.clone()) }))
            }
            None => {
                tracing::warn!(most, "a connection is refused: there are as many as there may be");
                None
            }
        };
        std::future::ready(guarded)
    })
}

/// A connection, as what is asked over it knows it.
#[derive(Clone, Default)]
pub(crate) struct Connection {
    closing: Arc<Closing>,
    peer: Option<SocketAddr>,
}

#[derive(Default)]
struct Closing {
    is_closed: AtomicBool,
    waker: AtomicWaker,
}

impl Connection {
    /// Closes it, with all that is under way over it.
    pub(crate) fn close(&self) {
        self.closing.is_closed.store(true, Ordering::Release);
        self.closing.waker.wake();
    }

    /// Where its client is: a proxy, where one stands in between.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// Is counted as long as it is there.
struct Counted {
    open: IntGauge,
}

impl Counted {
    fn new(open: IntGauge) -> Self {
        open.inc();
        Self { open }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A connection, as the transport has it.
pub(crate) struct Guarded {
    stream: Accepted,
    /// Ends it, until its client has said something.
    silence: Option<Pin<Box<Sleep>>>,
    connection: Connection,
    place: Place,
    _counted: Counted,
}

impl Connected for Guarded {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Self::ConnectInfo {
        Connection { peer: self.stream.socket().peer_addr().ok(), ..self.connection.clone() }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.closing.waker.register(context.waker());
        if self.connection.closing.is_closed.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            if self.silence.take().is_some() && !self.place.keep() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        } else if read.is_pending()
            && let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
