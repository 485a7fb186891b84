//! Servers that are connected to and say nothing: a connection ends unless something is heard over it in time.
//!
//! HTTP/2's own keep-alive begins when a connection stands, and gives a server twice its interval.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a server may take to be connected to, and then to say its first word.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What an error of silence says.
pub(crate) const SILENT: &str = "it says nothing";

/// Nothing has come in time.
pub(crate) fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, SILENT)
}

/// A connection that fails when nothing has come over it for [`PATIENCE`] from its beginning.
pub(crate) struct Heard<S> {
    stream: S,
    /// Ends it, until something has come.
    silence: Option<Pin<Box<Sleep>>>,
}

impl<S> Heard<S> {
    /// One that was just made.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, silence: Some(Box::pin(sleep(PATIENCE))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.silence = None;
        } else if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(silent()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
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
