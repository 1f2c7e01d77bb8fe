//! TLS of the Admin API: handshakes on the control thread's reactor, each a task of its own, within bounds of their own.
//!
//! What a handshake is made by is looked up when it begins, so that a reload holds for the next one. Not here: whose
//! certificate it is (`shard/greeting.rs`).

use crate::base::limits;
use crate::control::Doors;
use crate::tls::hello;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

/// What a client is told that speaks in the clear.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 48\r\nConnection: close\r\n\r\n\
    The plain HTTP request was sent to an HTTPS port";

/// A listener that speaks TLS.
pub(super) struct Secured {
    addr: SocketAddr,
    doors: Arc<Doors>,
    places: Arc<Semaphore>,
}

impl Secured {
    pub(super) fn new(addr: SocketAddr, doors: &Arc<Doors>) -> Secured {
        let places = Arc::new(Semaphore::new(limits::ADMIN_HANDSHAKES_MAX));
        Secured { addr, doors: doors.clone(), places }
    }

    /// Begins a handshake, which gives `None` where it fails or takes too long; no handshake where there are too many, or
    /// where nothing was published yet.
    pub(super) fn begin(&self, stream: TcpStream) -> Option<impl Future<Output = Option<TlsStream<TcpStream>>>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let config = self.doors.load().get(&self.addr)?.clone();
        Some(async move {
            let wait = Duration::from_millis(limits::TLS_HANDSHAKE_MS);
            let shaken = timeout(wait, shake(stream, TlsAcceptor::from(config))).await;
            drop(place);
            let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            shaken.inspect_err(|error| tracing::debug!(%error, "no handshake with a client of the Admin API")).ok()
        })
    }
}

async fn shake(mut stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0; 1];
    let bytes = stream.peek(&mut first).await?;
    if bytes > 0 && hello::is_plain_http(&first) {
        stream.write_all(PLAIN).await?;
        stream.shutdown().await?;
        return Err(io::Error::other("a request in the clear"));
    }
    acceptor.accept(stream).await
}
