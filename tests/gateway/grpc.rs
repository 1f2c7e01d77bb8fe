//! Calls of gRPC through the gateway, both sides real engines of HTTP/2: every kind of call is a stream of messages each way
//! with fields behind it, so that is what is looked at.

use crate::harness::{Gateway, Setup};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// An upstream whose paths say what it does; how many connections and calls it has seen.
struct Calls {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

async fn upstream() -> Calls {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let calls = Calls { addr: listener.local_addr().unwrap(), connections: Arc::default(), calls: Arc::default() };
    let (connections, counted) = (calls.connections.clone(), calls.calls.clone());
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let nth = counted.fetch_add(1, Ordering::SeqCst);
                    if request.uri().path() == "/a.S/Leave" && nth == 0 {
                        connection.graceful_shutdown();
                    }
                    tokio::spawn(serve(request, respond, nth));
                }
            });
        }
    });
    calls
}

fn trailers(status: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", status.parse().unwrap());
    fields
}

async fn serve(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>, nth: usize) {
    let path = request.uri().path().to_owned();
    let te = request.headers().get("te").is_some_and(|te| te == "trailers");
    let mut body = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc").header("x-te", te.to_string());
    match path.as_str() {
        // Trailers-Only: one block of fields.
        "/a.S/Fail" => {
            let head = head.header("grpc-status", "5").header("grpc-message", "none").body(()).unwrap();
            respond.send_response(head, true).unwrap();
        }
        "/a.S/Silent" => tokio::time::sleep(Duration::from_secs(60)).await,
        "/a.S/Refuse" if nth == 0 => respond.send_reset(Reason::REFUSED_STREAM),
        // Each message comes back as soon as it is there.
        _ => {
            let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                let mut left = data;
                while !left.is_empty() {
                    send.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|cx| match send.capacity() {
                        0 => send.poll_capacity(cx).map(|room| room.unwrap().unwrap()),
                        room => std::task::Poll::Ready(room),
                    });
                    let room = room.await;
                    let piece = left.split_to(room.min(left.len()));
                    send.send_data(piece, false).unwrap();
                }
            }
            send.send_trailers(trailers("0")).unwrap();
        }
    }
}

fn gateway(upstream: SocketAddr) -> Gateway {
    let mut setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: calls\n  url: grpc://{upstream}\n  retries: 0\n  routes:\n  - name: calls\n    \
         protocols: [grpc]\n    paths: [/a.S]\n- name: secret\n  url: grpc://{upstream}\n  routes:\n  - name: secret\n    \
         protocols: [grpcs]\n    paths: [/b.S]\n"
    ));
    setup.listen = "http2".into();
    setup.start()
}

async fn client(addr: SocketAddr) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(TcpStream::connect(addr).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn ask(path: &str, more: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://a.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// One message each way.
async fn unary(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    message: &[u8],
) -> (StatusCode, HeaderMap, Vec<u8>, HeaderMap) {
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, mut send) = sender.send_request(request, false).unwrap();
    send.send_data(Bytes::copy_from_slice(message), true).unwrap();
    let (parts, mut body) = response.await.unwrap().into_parts();
    let mut got = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        got.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    (parts.status, parts.headers, got, trailers)
}

/// Requests being served, over all shards.
fn in_flight_of(status: &serde_json::Value) -> u64 {
    status["shards"].as_array().unwrap().iter().map(|shard| shard["requests"].as_u64().unwrap()).sum()
}

fn run(test: impl std::future::Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs") });
}

#[test]
fn a_call_passes_with_its_trailers() {
    run(async {
        let upstream = upstream().await;
        let gateway = gateway(upstream.addr);
        let client = client(gateway.proxy).await;
        let (status, fields, body, trailers) = unary(&client, ask("/a.S/Echo", &[]), b"\0\0\0\0\x02hi").await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"\0\0\0\0\x02hi"[..]));
        assert_eq!(fields.get("x-te").unwrap(), "true");
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");

        let (status, fields, body, _) = unary(&client, ask("/a.S/Fail", &[]), b"").await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        assert_eq!(fields.get("grpc-status").unwrap(), "5");
        assert_eq!(fields.get("content-length"), None);
    });
}

#[test]
fn messages_stream_both_ways_at_once() {
    run(async {
        let upstream = upstream().await;
        let gateway = gateway(upstream.addr);
        let mut sender = client(gateway.proxy).await.ready().await.unwrap();
        let (response, mut send) = sender.send_request(ask("/a.S/Chat", &[]), false).unwrap();
        send.send_data(Bytes::from_static(b"one"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "one");
        for word in ["two", "three"] {
            send.send_data(Bytes::from_static(word.as_bytes()), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), word);
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
    });
}

#[test]
fn many_calls_share_a_connection() {
    run(async {
        let upstream = upstream().await;
        let gateway = gateway(upstream.addr);
        let client = client(gateway.proxy).await;
        unary(&client, ask("/a.S/Echo", &[]), b"first").await;
        let large = vec![b'x'; 300_000];
        for _ in 0..5 {
            let one = unary(&client, ask("/a.S/Echo", &[]), b"hello");
            let two = unary(&client, ask("/a.S/Echo", &[]), b"there");
            let ((.., one, _), (.., two, _)) = tokio::join!(one, two);
            assert_eq!((one.as_slice(), two.as_slice()), (&b"hello"[..], &b"there"[..]));
        }
        let mut sender = client.clone().ready().await.unwrap();
        let (response, mut send) = sender.send_request(ask("/a.S/Echo", &[]), false).unwrap();
        send.send_data(Bytes::from(large.clone()), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut got = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        assert!(got == large, "{} bytes came back", got.len());
        assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_refused_call_is_asked_again() {
    run(async {
        for path in ["/a.S/Refuse", "/a.S/Leave"] {
            let upstream = upstream().await;
            let gateway = gateway(upstream.addr);
            let client = client(gateway.proxy).await;
            for nth in 0..4 {
                let (status, _, body, trailers) = unary(&client, ask(path, &[]), b"again").await;
                assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"again"[..]), "{path} {nth}");
                assert_eq!(trailers.get("grpc-status").unwrap(), "0");
            }
        }
    });
}

#[test]
fn refusals_are_statuses_of_grpc() {
    run(async {
        let upstream = upstream().await;
        let gateway = gateway(upstream.addr);
        let client = client(gateway.proxy).await;
        let none: &[(&str, &str)] = &[];
        for (path, more, status, code, message) in [
            ("/none", none, 404, "5", "no Route matched with those values"),
            ("/b.S/Echo", none, 200, "1", "gRPC request matched gRPCs route"),
            ("/a.S/Silent", &[("grpc-timeout", "300m")][..], 504, "4", "The upstream server is timing out"),
        ] {
            let (got, fields, body, _) = unary(&client, ask(path, more), b"x").await;
            assert_eq!((got.as_u16(), body.len()), (status, 0), "{path}");
            assert_eq!(fields.get("grpc-status").unwrap(), code, "{path}");
            assert_eq!(fields.get("grpc-message").unwrap(), message, "{path}");
        }
        let answer = gateway.client().get("/a.S/Echo", "Content-Type: application/grpc\r\n");
        assert_eq!(answer.head.status(), 426);
        let answer = gateway.client().get("/a.S/Echo", "");
        assert_eq!(answer.head.status(), 415);
    });
}

#[test]
fn an_abandoned_call_is_abandoned_upstream() {
    run(async {
        let upstream = upstream().await;
        let gateway = gateway(upstream.addr);
        let mut sender = client(gateway.proxy).await.ready().await.unwrap();
        let (response, mut send) = sender.send_request(ask("/a.S/Silent", &[]), true).unwrap();
        while upstream.calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        send.send_reset(Reason::CANCEL);
        drop(response);
        let in_flight = || in_flight_of(&gateway.status());
        let begun = std::time::Instant::now();
        while in_flight() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "it goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
