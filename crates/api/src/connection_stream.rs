//! The byte stream of one connection, encrypted or not. It ends early in two cases: the connection is idle and another
//! one needs its place, or the peer does not read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connections::Connection;

/// Time limit for a peer that does not read, because unsent data hold memory.
const STALLED_MAX: Duration = Duration::from_secs(30);
/// Time limit of a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// A connection's stream; see the module.
pub(crate) enum Stream {
    Plain(MonitoredStream),
    Tls(Box<TlsStream<MonitoredStream>>),
}

impl Stream {
    /// Takes over `io` as `connection`.
    ///
    /// # Errors
    /// If the TLS handshake fails or takes too long.
    pub(crate) async fn open(
        io: TcpStream,
        connection: Arc<Connection>,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Self> {
        let watched = MonitoredStream::new(io, connection, STALLED_MAX);
        let Some(tls) = tls else { return Ok(Self::Plain(watched)) };
        let agreed = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(watched)).await;
        agreed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(Box::new).map(Self::Tls)
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        match self {
            Self::Plain(watched) => &watched.connection,
            Self::Tls(tls) => &tls.get_ref().0.connection,
        }
    }

    /// Whether the handshake chose HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// A stream that checks whether it has to end.
pub(crate) struct MonitoredStream {
    io: TcpStream,
    connection: Arc<Connection>,
    stalled_max: Duration,
    /// The timer, set while the peer does not read.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl MonitoredStream {
    fn new(io: TcpStream, connection: Arc<Connection>, stalled_max: Duration) -> Self {
        Self { io, connection, stalled_max, stalled: None }
    }

    /// Checks the result of a write: an error if nothing could be written for too long.
    fn check_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled_max = self.stalled_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stalled_max)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.has_ended(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.check_stalled(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.check_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_write_vectored(context, pieces),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::connections::Connections;

    /// A connection and its peer.
    async fn pair(all: &Arc<Connections>, stalled_max: Duration) -> (MonitoredStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("an address")).await;
        let (io, _) = listener.accept().await.expect("a connection");
        let connection = all.open().expect("there is room");
        (MonitoredStream::new(io, connection, stalled_max), peer.expect("a connection"))
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_left() {
        let all = Arc::new(Connections::new(2));
        let (mut watched, peer) = pair(&all, Duration::from_millis(50)).await;
        let piece = vec![0; 65_536];
        let endless = async {
            loop {
                if let Err(error) = watched.write_all(&piece).await {
                    return error.kind();
                }
            }
        };
        assert_eq!(endless.await, io::ErrorKind::TimedOut);
        drop(peer);
    }

    #[tokio::test]
    async fn an_idle_connection_ends_where_another_needs_the_room() {
        let all = Arc::new(Connections::new(1));
        let (mut watched, _peer) = pair(&all, STALLED_MAX).await;
        let waits = async { watched.read_u8().await.map_err(|error| error.kind()) };
        let (read, another) = tokio::join!(waits, async { all.open() });
        assert_eq!(read, Err(io::ErrorKind::ConnectionAborted));
        assert!(another.is_some());
    }
}
