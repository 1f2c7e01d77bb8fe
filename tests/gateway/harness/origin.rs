//! Upstreams that speak HTTP/2: a sound one by an engine, whose paths say what it does, and one whose every frame a test
//! writes.

use super::frames::{frame, H2, PREFACE, SETTINGS};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// What is counted of an upstream.
#[derive(Default)]
pub(crate) struct Counts {
    /// Connections so far.
    pub(crate) connections: AtomicUsize,
    /// Of them, open now.
    pub(crate) open: AtomicUsize,
    /// Requests so far.
    pub(crate) asked: AtomicUsize,
    /// Bytes of endless answers so far.
    pub(crate) flowed: AtomicUsize,
    live: AtomicUsize,
    /// The most requests at once.
    pub(crate) most: AtomicUsize,
}

/// A sound upstream.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    pub(crate) counts: Arc<Counts>,
}

impl Origin {
    /// One that takes so many requests at once on a connection.
    pub(crate) fn start(streams_max: u32) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let origin = Origin { addr: listener.local_addr().unwrap(), counts: Arc::default() };
        let counts = origin.counts.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(connection(socket, streams_max, counts.clone()));
                }
            });
        });
        origin
    }
}

async fn connection(socket: tokio::net::TcpStream, streams_max: u32, counts: Arc<Counts>) {
    counts.connections.fetch_add(1, Ordering::SeqCst);
    counts.open.fetch_add(1, Ordering::SeqCst);
    let mut builder = h2::server::Builder::new();
    if let Ok(mut connection) = builder.max_concurrent_streams(streams_max).handshake(socket).await {
        while let Some(Ok((request, respond))) = connection.accept().await {
            let nth = counts.asked.fetch_add(1, Ordering::SeqCst);
            counts.most.fetch_max(counts.live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let counts = counts.clone();
            tokio::spawn(async move {
                serve(request, respond, nth, &counts).await;
                counts.live.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }
    counts.open.fetch_sub(1, Ordering::SeqCst);
}

/// Waits until some of so many bytes may be sent; 0 where none may any more.
async fn room(send: &mut SendStream<Bytes>, bytes: usize) -> usize {
    send.reserve_capacity(bytes);
    let room = std::future::poll_fn(|cx| match send.capacity() {
        0 => send.poll_capacity(cx).map(|room| room.and_then(Result::ok).unwrap_or(0)),
        room => std::task::Poll::Ready(room),
    });
    room.await
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, nth: usize, counts: &Counts) {
    let (parts, mut body) = request.into_parts();
    let answer = |status: u16| Response::builder().status(status);
    match parts.uri.path() {
        "/length" => {
            let head = answer(200).header("content-length", "5").body(()).unwrap();
            let is_head = parts.method == "HEAD";
            let mut send = respond.send_response(head, is_head).unwrap();
            if !is_head {
                send.send_data(Bytes::from_static(b"hello"), true).unwrap();
            }
        }
        "/empty" => drop(respond.send_response(answer(204).body(()).unwrap(), true)),
        "/early" => drop(respond.send_response(answer(413).body(()).unwrap(), true)),
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/refused" if nth == 0 => respond.send_reset(Reason::REFUSED_STREAM),
        "/wait" => {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(respond.send_response(answer(200).body(()).unwrap(), true));
        }
        // Without end, in frames of so many bytes.
        path if path.starts_with("/flow/") => {
            let bytes: usize = path["/flow/".len()..].parse().unwrap();
            let Ok(mut send) = respond.send_response(answer(200).body(()).unwrap(), false) else { return };
            loop {
                let room = room(&mut send, bytes).await.min(bytes);
                if room == 0 || send.send_data(vec![b'x'; room].into(), false).is_err() {
                    return;
                }
                counts.flowed.fetch_add(room, Ordering::SeqCst);
            }
        }
        path => {
            let interim = match path {
                "/hints" => Some(103),
                "/continue" if parts.headers.get("expect").is_some_and(|expect| expect == "100-continue") => Some(100),
                _ => None,
            };
            if let Some(status) = interim {
                respond.send_informational(answer(status).header("link", "</a.css>").body(()).unwrap()).unwrap();
            }
            let mut payload = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                payload.extend(data);
            }
            let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
            let told = |name: &str| {
                let values: Vec<_> = parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
                values.join(" + ")
            };
            let head = answer(200)
                .header("x-method", parts.method.as_str())
                .header("x-path", parts.uri.path_and_query().unwrap().as_str())
                .header("x-authority", parts.uri.authority().unwrap().as_str())
                .header("x-scheme", parts.uri.scheme_str().unwrap())
                .header("x-cookie", told("cookie"))
                .header("x-length", told("content-length"))
                .header("x-host", told("host"))
                .header("x-te", told("te"))
                .header("x-trailer", trailers.get("x-sum").map_or("", |value| value.to_str().unwrap()))
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2");
            let Ok(mut send) = respond.send_response(head.body(()).unwrap(), false) else { return };
            while !payload.is_empty() {
                let room = room(&mut send, payload.len()).await.min(payload.len());
                if room == 0 || send.send_data(payload.drain(..room).collect::<Vec<u8>>().into(), false).is_err() {
                    return;
                }
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "told".parse().unwrap());
            let _ = send.send_trailers(trailers);
        }
    }
}

/// An upstream that does what `act` does with each connection, counted from 0, after the preface and its own SETTINGS.
pub(crate) fn by_hand(settings: &[u8], act: impl Fn(usize, H2) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (act, settings) = (Arc::new(act), frame(SETTINGS, 0, 0, settings));
    std::thread::spawn(move || {
        for (nth, stream) in listener.incoming().flatten().enumerate() {
            let (act, settings) = (act.clone(), settings.clone());
            std::thread::spawn(move || {
                let mut connection = H2 { stream };
                connection.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut preface = [0; PREFACE.len()];
                if connection.stream.read_exact(&mut preface).is_ok() && connection.send(settings) {
                    assert_eq!(preface, PREFACE);
                    act(nth, connection);
                }
            });
        }
    });
    addr
}
