//! Services whose upstreams speak HTTP/2: the same requests and answers as over HTTP/1.1, connections that many share and
//! that are bounded, and upstreams that are ill or mean harm.

use crate::harness::echo::Echo;
use crate::harness::frames::*;
use crate::harness::origin::{by_hand, Origin};
use crate::harness::{Client, Gateway, Setup};
use crate::tls::{file, Server};
use bytes::Bytes;
use http::{HeaderMap, Request};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One service and one route that takes every path as it is.
fn service(url: &str, more: &str) -> Setup {
    let mut setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: up\n  url: {url}\n  connect_timeout: 5000\n  read_timeout: 20000\n{more}  routes:\n  - \
         name: all\n    paths: [/]\n    strip_path: false\n"
    ));
    setup.listen = "http2".into();
    setup
}

fn clear(addr: SocketAddr) -> Setup {
    service(&format!("http://{addr}"), "  http2: true\n")
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.admin("/metrics");
    let values = text.lines().filter(|line| line.contains(name) && !line.starts_with('#'));
    values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

#[test]
fn requests_and_answers_mean_the_same() {
    let origin = Origin::start(100);
    let gateway = clear(origin.addr).start();
    let mut client = gateway.client();
    let asked = "Cookie: a=1; b=2\r\nTE: trailers\r\nConnection: TE\r\n";
    let answer = client.get("/echo?x=%20y", asked);
    let authority = origin.addr.to_string();
    for (name, want) in [
        ("x-method", "GET"),
        ("x-path", "/echo?x=%20y"),
        ("x-authority", &authority),
        ("x-scheme", "http"),
        ("x-cookie", "a=1; b=2"),
        ("x-host", ""),
        ("x-length", ""),
        ("x-te", "trailers"),
    ] {
        assert_eq!(answer.head.one(name), Some(want), "{name}");
    }
    assert_eq!((answer.head.start.as_str(), answer.head.all("set-cookie")), ("HTTP/1.1 200 OK", vec!["a=1", "b=2"]));
    assert_eq!(answer.trailers, [("x-end".to_owned(), "told".to_owned())]);
    assert!(answer.head.one("Via").unwrap().starts_with("2 "), "{:?}", answer.head.fields);

    client.send("HEAD /length HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer("HEAD").unwrap();
    assert_eq!((answer.head.status(), answer.head.one("Content-Length")), (200, Some("5")));
    let answer = client.get("/length", "");
    assert_eq!((answer.body.as_slice(), answer.head.one("Content-Length")), (&b"hello"[..], Some("5")));
    assert_eq!(client.get("/empty", "").head.status(), 204);

    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let answer = client.answer("POST").unwrap();
    assert_eq!((answer.body.as_slice(), answer.head.one("x-length")), (&b"hello"[..], Some("5")));
    client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nhel\r\n");
    client.send("2\r\nlo\r\n0\r\nx-sum: 77\r\n\r\n");
    let answer = client.answer("PUT").unwrap();
    assert_eq!((answer.body.as_slice(), answer.head.one("x-trailer")), (&b"hello"[..], Some("77")));
    assert_eq!(answer.head.one("x-length"), Some(""));
    // Larger than any window and any buffer.
    let large = vec![b'x'; 700_000];
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len()));
    client.send(&large);
    assert!(client.answer("POST").unwrap().body == large);
    assert_eq!(origin.counts.connections.load(Ordering::SeqCst), 1);

    let answer = client.get("/reset", "");
    assert_eq!(answer.head.status(), 502);
}

#[test]
fn a_query_that_no_uri_has_is_escaped() {
    let origin = Origin::start(100);
    let gateway = clear(origin.addr).start();
    let mut client = gateway.client();
    for (asked, want) in [
        ("/echo?q=\"<a>\"%20x", "/echo?q=%22%3Ca%3E%22%20x"),
        ("/echo?q={a|b}", "/echo?q={a|b}"),
        ("/echo?q=%22`^\\", "/echo?q=%22`^\\"),
    ] {
        let answer = client.get(asked, "");
        assert_eq!((answer.head.status(), answer.head.one("x-path")), (200, Some(want)), "{asked}");
    }
}

#[test]
fn interim_answers_pass_and_so_do_early_ones() {
    let origin = Origin::start(100);
    let gateway = clear(origin.addr).start();
    let mut client = gateway.client();
    client.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.wire.answer("GET").unwrap();
    assert_eq!((hints.head.status(), hints.head.one("link")), (103, Some("</a.css>")));
    assert_eq!(client.wire.answer("GET").unwrap().head.status(), 200);

    client.send("POST /continue HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.wire.answer("POST").unwrap().head.status(), 100);
    client.send("hello");
    assert_eq!(client.wire.answer("POST").unwrap().body, b"hello");

    // Nobody reads its body, and it is answered all the same.
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    client.send([b'x'; 100_000]);
    assert_eq!(client.answer("POST").unwrap().head.status(), 413);

    let (status, fields, _, trailers) = over_http2(gateway.proxy, Request::get("http://a.test/echo"), b"");
    assert_eq!((status, fields["x-method"].to_str().unwrap()), (200, "GET"));
    assert_eq!(trailers["x-end"], "told");
    let (_, _, body, _) = over_http2(gateway.proxy, Request::post("http://a.test/echo"), &[b'y'; 300_000]);
    assert_eq!(body.len(), 300_000);
    assert_eq!(origin.counts.connections.load(Ordering::SeqCst), 1);
}

/// One request by a client of HTTP/2: status, fields, body, trailers.
fn over_http2(addr: SocketAddr, request: http::request::Builder, body: &[u8]) -> (u16, HeaderMap, Vec<u8>, HeaderMap) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = async {
        let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let (answer, mut send) = sender.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
        if !body.is_empty() {
            send.send_data(Bytes::copy_from_slice(body), true).unwrap();
        }
        let (parts, mut stream) = answer.await.unwrap().into_parts();
        let mut got = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            got.extend(data);
        }
        let trailers = stream.trailers().await.unwrap().unwrap_or_default();
        (parts.status.as_u16(), parts.headers, got, trailers)
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), ask).await.expect("it hangs") })
}

/// A program that serves on a port, until the test ends.
struct Peer(Child, u16);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nghttpd() -> Peer {
    let dir = std::env::temp_dir().join(format!("ringway-nghttpd-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("page"), "a page").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let quiet = || Stdio::null();
    let child = Command::new("nghttpd")
        .args([
            "--trailer",
            "x-end: yes",
            "-d",
            dir.to_str().unwrap(),
            &port.to_string(),
            &file("up.key"),
            &file("up.pem"),
        ])
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nghttpd does not serve");
        std::thread::yield_now();
    }
    Peer(child, port)
}

fn trusting(mut setup: Setup) -> Setup {
    setup.node.push(format!("tls: {{upstream_authorities: {}, system_authorities: false}}", file("ca.pem")));
    setup
}

#[test]
fn over_tls_the_upstream_chooses() {
    let (two, one) = (nghttpd(), Server::start(&["-alpn", "http/1.1"]));
    let gateway = trusting(service(&format!("https://127.0.0.1:{}", two.1), "  http2: true\n")).start();
    for _ in 0..3 {
        let answer = gateway.get("/page");
        assert_eq!((answer.head.status(), answer.body.as_slice()), (200, &b"a page"[..]), "{}", gateway.said());
        assert!(answer.head.one("Via").unwrap().starts_with("2 "));
    }
    assert_eq!(metric(&gateway, "upstream_connections_total"), 1);

    let gateway = trusting(service(&format!("https://127.0.0.1:{}", one.1), "  http2: true\n")).start();
    for _ in 0..2 {
        let answer = gateway.get("/");
        // What openssl says is HTTP/1.0.
        assert!(answer.head.one("Via").unwrap().starts_with("1.0 "));
        assert_eq!(answer.head.status(), 200);
    }
    // Not asked for HTTP/2, nghttpd has nothing to say.
    let gateway = trusting(service(&format!("https://127.0.0.1:{}", two.1), "")).start();
    assert_eq!(gateway.get("/page").head.status(), 502);
    // Whoever is to be verified is, whatever is spoken.
    let gateway = trusting(service(&format!("https://localhost:{}", two.1), "  http2: true\n  retries: 0\n")).start();
    assert_eq!(gateway.get("/page").head.status(), 502);
}

#[test]
fn many_calls_at_once_are_no_flood() {
    let origin = nghttpd();
    let mut setup = trusting(service(&format!("https://127.0.0.1:{}", origin.1), "  http2: true\n"));
    setup.listen = "http2".into();
    let gateway = setup.start();
    // Each answer is a head and trailers; a connection's hundred come together.
    let url = format!("http://{}/page", gateway.proxy);
    let ran = Command::new("h2load").args(["-t1", "-c10", "-m32", "-n5000", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("status codes: 5000 2xx"), "{said}{}", gateway.said());
    assert_eq!(metric(&gateway, "upstream_http2_floods_total"), 0);
}

#[test]
fn calls_over_tls_need_an_upstream_that_chooses_http2() {
    let rows = [Server::start(&["-alpn", "http/1.1"]), Server::start(&[])];
    for server in rows {
        let setup = Setup::kong(format!(
            "_format_version: \"3.0\"\nservices:\n- name: up\n  url: grpcs://127.0.0.1:{}\n  retries: 1\n  routes:\n  - name: all\n    \
             protocols: [grpc, grpcs]\n    paths: [/]\n",
            server.1
        ));
        let mut setup = trusting(setup);
        setup.listen = "http2".into();
        let gateway = setup.start();
        let request = Request::post("http://a.test/a.S/M").header("content-type", "application/grpc");
        let (status, fields, ..) = over_http2(gateway.proxy, request, b"\0\0\0\0\0");
        assert_eq!((status, fields["grpc-status"].to_str().unwrap()), (502, "13"));
        assert!(metric(&gateway, "upstream_connect_failures_total") > 0);
    }
}

/// grpcio, from the system's packages.
fn grpc_peer() -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/peers/grpc_peer.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Not well while the file `sick` exists.
fn serve_grpc(args: &[&str], sick: &str) -> Peer {
    let mut child = grpc_peer().arg("serve").args(args).env("PEER_SICK", sick).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().expect("grpcio serves (package python3-grpcio)");
    Peer(child, port)
}

#[test]
fn grpcio_calls_grpcio_in_every_way() {
    let (key, cert, ca) = (file("up.key"), file("up.pem"), file("ca.pem"));
    let (plain, secure) = (serve_grpc(&[], "/none"), serve_grpc(&[&key, &cert], "/none"));
    let want = "unary:hello me end b'\\x00\\xff'\ncollect:500000\nspread: 50 1000140\nchat:one\nchat:two\nchat:three\n\
                Fail NOT_FOUND no such thing: ä\nSlow DEADLINE_EXCEEDED \ncancelled\nended upstream: 2\n";
    for (url, listen, more) in [
        (format!("grpcs://127.0.0.1:{}", secure.1), "http2", &[][..]),
        (format!("grpc://127.0.0.1:{}", plain.1), "ssl http2", &[ca.as_str()][..]),
    ] {
        let mut setup = trusting(Setup::kong(format!(
            "_format_version: \"3.0\"\ncertificates:\n{}services:\n- name: up\n  url: {url}\n  routes:\n  - name: all\n    protocols: [grpc, \
             grpcs]\n    paths: [/ring.Peer]\n",
            crate::tls::entity("a.test", "a.test")
        )));
        setup.listen = listen.into();
        let gateway = setup.start();
        let mut command = grpc_peer();
        command.args(["ask", &gateway.proxy.to_string()]).args(more);
        let out = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), want, "{url}: {}", gateway.said());
        assert_eq!(metric(&gateway, "upstream_connections_total"), 1);
    }
}

/// A gateway that probes one target, and what it thinks of it.
fn probing(addr: &str, more: &str) -> Gateway {
    let setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nupstreams:\n- name: u.test\n  targets: [{{target: \"{addr}\"}}]\n  healthchecks: {{active: {{{more}, \
         timeout: 5, healthy: {{interval: 0.1, successes: 1}}, unhealthy: {{interval: 0.1, http_failures: 1, tcp_failures: 1}}}}}}\n\
         services:\n- {{name: s, host: u.test, routes: [{{name: r, paths: [/]}}]}}\n"
    ));
    trusting(setup).start()
}

fn wait_health(gateway: &Gateway, word: &str, why: &str) {
    gateway.wait_until(&format!("{word}: {why}"), || {
        let body: serde_json::Value = serde_json::from_str(&gateway.admin("/upstreams/u.test/health")).unwrap();
        body["data"][0]["health"] == word
    });
}

#[test]
fn targets_are_probed_by_calls_of_grpc() {
    let sick = std::env::temp_dir().join(format!("ringway-sick-{}", std::process::id()));
    let (key, cert) = (file("up.key"), file("up.pem"));
    for (kind, args) in [("grpc", &[][..]), ("grpcs", &[key.as_str(), cert.as_str()][..])] {
        let peer = serve_grpc(args, sick.to_str().unwrap());
        let addr = format!("127.0.0.1:{}", peer.1);
        for (path, knows) in [("/", true), ("/ring.Peer", true), ("/no.Such", false)] {
            let gateway = probing(&addr, &format!("type: {kind}, http_path: {path}"));
            if !knows {
                wait_health(&gateway, "UNHEALTHY", path);
                continue;
            }
            std::fs::write(&sick, "").unwrap();
            wait_health(&gateway, "UNHEALTHY", kind);
            std::fs::remove_file(&sick).unwrap();
            wait_health(&gateway, "HEALTHY", kind);
        }
    }
    // One that speaks something else.
    let other = Server::start(&["-alpn", "http/1.1"]);
    wait_health(&probing(&format!("127.0.0.1:{}", other.1), "type: grpcs"), "UNHEALTHY", "HTTP/1.1");
}

#[test]
fn targets_that_ask_are_shown_the_certificate_of_their_upstream() {
    let ca = file("ca.pem");
    let server = Server::start(&["-Verify", "1", "-verify_return_error", "-CAfile", &ca]);
    let addr = format!("127.0.0.1:{}", server.1);
    let gateway = probing(&addr, "type: https, https_sni: upstream.test");
    wait_health(&gateway, "UNHEALTHY", "it is shown none");
    let text = std::fs::read_to_string(gateway.dir.join("kong.yml")).unwrap();
    let id = "3e9a0a7c-8d1c-4f0a-9f3e-2b6c0c6b9a12";
    let pair = crate::tls::entity("client", "").replacen("- cert", &format!("- id: {id}\n  cert"), 1);
    let shown = text
        .replace("- name: u.test\n", &format!("- name: u.test\n  client_certificate: {{id: {id}}}\n"))
        .replace("host: u.test,", "host: u.test, protocol: https, tls_verify: false,");
    gateway.put_kong(&format!("{shown}certificates:\n{pair}"));
    gateway.signal("HUP");
    wait_health(&gateway, "HEALTHY", "it is shown that of the upstream");
    // And so is it by services that have none of their own.
    let answer = gateway.get("/");
    assert_eq!(answer.head.status(), 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("client.test"), "the page tells of it");
}

#[test]
fn targets_are_probed_over_tls() {
    let server = Server::start(&[]);
    let addr = format!("127.0.0.1:{}", server.1);
    // Until it is found well it is taken for well: what was found is told by what follows.
    let gateway = probing(&addr, "type: https, https_sni: other.test");
    wait_health(&gateway, "UNHEALTHY", "its certificate is another's");
    for more in ["https_sni: upstream.test", "https_sni: other.test, https_verify_certificate: false"] {
        let text = std::fs::read_to_string(gateway.dir.join("kong.yml")).unwrap();
        let at = text.find("https_sni").unwrap();
        let end = at + text[at..].find(", timeout").unwrap();
        gateway.put_kong(&format!("{}https_sni: other.test{}", &text[..at], &text[end..]));
        gateway.signal("HUP");
        wait_health(&gateway, "UNHEALTHY", "its certificate is another's");
        gateway.put_kong(&format!("{}{more}{}", &text[..at], &text[end..]));
        gateway.signal("HUP");
        wait_health(&gateway, "HEALTHY", more);
    }
}

#[test]
fn a_websocket_keeps_to_http1() {
    let echo = Echo::start("one");
    let gateway = service(&format!("http://{}", echo.addr), "  http2: true\n  retries: 0\n").start();
    let mut client = gateway.client();
    client.send(
        "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.answer("GET").unwrap().head.status(), 101);
    client.send("ping");
    assert_eq!(client.wire.exactly(4).unwrap(), b"ping");
    // Other requests do not, and it speaks nothing else.
    assert_eq!(gateway.get("/").head.status(), 502);
}

/// An answer without a body.
fn answer(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &[(":status", "200")])
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// The stream of the next request.
fn next_request(connection: &mut H2) -> Option<u32> {
    loop {
        let frame = connection.next()?;
        if frame.kind == HEADERS {
            return Some(frame.stream);
        }
    }
}

/// Answers whatever comes until the end.
fn go_on(mut connection: H2) {
    while let Some(stream) = next_request(&mut connection) {
        connection.send(answer(stream));
    }
}

fn post(client: &mut Client, path: &str) {
    client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"));
}

#[test]
fn what_was_surely_not_begun_is_asked_again() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    // Two come; the connection is leaving and has taken the first alone.
    let addr = by_hand(b"", move |nth, mut connection| {
        if nth > 0 {
            seen.lock().unwrap().push(nth);
            return go_on(connection);
        }
        let one = next_request(&mut connection).unwrap();
        let two = next_request(&mut connection).unwrap();
        connection.send(goaway(one, 0));
        assert!(two > one);
        // What it has taken it answers, later.
        std::thread::sleep(Duration::from_millis(100));
        connection.send(answer(one));
        while connection.next().is_some() {}
    });
    let gateway = clear(addr).start();
    let mut clients = [gateway.client(), gateway.client()];
    clients.iter_mut().for_each(|client| post(client, "/"));
    for client in &mut clients {
        assert_eq!(client.answer("POST").unwrap().head.status(), 200);
    }
    assert_eq!(*log.lock().unwrap(), [1]);

    // Refused streams; the connection goes on.
    let addr = by_hand(b"", |nth, mut connection| {
        assert_eq!(nth, 0);
        for _ in 0..2 {
            let stream = next_request(&mut connection).unwrap();
            connection.send(frame(RST_STREAM, 0, stream, &7u32.to_be_bytes()));
        }
        go_on(connection);
    });
    let gateway = clear(addr).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        post(&mut client, "/");
        assert_eq!(client.answer("POST").unwrap().head.status(), 200);
    }
}

#[test]
fn what_is_asked_again_has_its_time_anew() {
    // It refuses late, and then answers late: together they take longer than an answer may.
    let late = Duration::from_millis(1200);
    let addr = by_hand(b"", move |_, mut connection| {
        let stream = next_request(&mut connection).unwrap();
        std::thread::sleep(late);
        connection.send(frame(RST_STREAM, 0, stream, &7u32.to_be_bytes()));
        let stream = next_request(&mut connection).unwrap();
        std::thread::sleep(late);
        connection.send(answer(stream));
        go_on(connection);
    });
    let mut setup = service(&format!("http://{addr}"), "  http2: true\n  retries: 0\n");
    setup.kong = setup.kong.replace("read_timeout: 20000", "read_timeout: 2000");
    let gateway = setup.start();
    assert_eq!(gateway.get("/").head.status(), 200, "{}", gateway.said());
}

#[test]
fn what_may_have_been_done_is_not_done_twice() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let addr = by_hand(b"", move |_, mut connection| {
        let stream = next_request(&mut connection).unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        connection.send(goaway(stream, 2));
    });
    let gateway = clear(addr).start();
    let mut client = gateway.client();
    post(&mut client, "/");
    assert_eq!(client.answer("POST").unwrap().head.status(), 502);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // What may be repeated is, as often as the service says.
    assert_eq!(gateway.get("/").head.status(), 502);
    assert_eq!(asked.load(Ordering::SeqCst), 1 + 6);
}

/// What becomes of an answer.
#[derive(Debug, PartialEq)]
enum Became {
    /// The client was told so.
    Status(u16),
    /// The client was told a part, and that it is one.
    Cut,
}

#[test]
fn what_is_no_answer_is_not_passed_on() {
    let fields = |more: &[(&str, &str)]| {
        let mut all = vec![(":status", "200")];
        all.extend(more);
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    let ended = |more: &[(&str, &str)]| vec![(fields(more), END_STREAM)];
    let plain =
        |more: &[(&str, &str)]| (more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(), END_STREAM);
    let bad = Became::Status(502);
    type Blocks = Vec<(Vec<(String, String)>, u8)>;
    let large = "x".repeat(9000);
    let rows: Vec<(&str, Blocks, Vec<(u8, &str)>, Became)> = vec![
        ("sound", ended(&[("x", "y")]), vec![], Became::Status(200)),
        ("no status", vec![plain(&[("x", "y")])], vec![], Became::Status(502)),
        ("not a number", vec![plain(&[(":status", "abc")])], vec![], Became::Status(502)),
        ("two digits", vec![plain(&[(":status", "20")])], vec![], Became::Status(502)),
        // The engine drops it; nobody is told of it.
        ("a request's field", vec![plain(&[(":status", "200"), (":path", "/")])], vec![], Became::Status(200)),
        ("a late status", vec![plain(&[("x", "y"), (":status", "200")])], vec![], Became::Status(502)),
        ("upper case", ended(&[("X-Y", "z")]), vec![], Became::Status(502)),
        ("connection", ended(&[("connection", "close")]), vec![], Became::Status(502)),
        ("coding", ended(&[("transfer-encoding", "chunked")]), vec![], Became::Status(502)),
        ("upgrade", ended(&[("upgrade", "websocket")]), vec![], Became::Status(502)),
        ("a line in a value", ended(&[("x", "y\r\nset-cookie: z=1")]), vec![], Became::Status(502)),
        ("a line in a name", ended(&[("x: y\r\nz", "1")]), vec![], Became::Status(502)),
        ("a nul", ended(&[("x", "y\0")]), vec![], Became::Status(502)),
        ("a switch", vec![plain(&[(":status", "101")])], vec![], Became::Status(502)),
        ("a length and no body", ended(&[("content-length", "5")]), vec![], Became::Status(502)),
        (
            "too many interim answers",
            vec![(vec![(":status".into(), "103".into())], 0); 17],
            vec![],
            Became::Status(502),
        ),
        (
            "a head that is too large",
            ended(&[("a", &large), ("b", &large), ("c", &large), ("d", &large)]),
            vec![],
            Became::Status(502),
        ),
        ("no length that can be", vec![(fields(&[("content-length", "-5")]), 0)], vec![(END_STREAM, "hello")], bad),
        (
            "less than its length",
            vec![(fields(&[("content-length", "9")]), 0)],
            vec![(END_STREAM, "hello")],
            Became::Cut,
        ),
        (
            "more than its length",
            vec![(fields(&[("content-length", "2")]), 0)],
            vec![(END_STREAM, "hello")],
            Became::Cut,
        ),
    ];
    let blocks: Arc<Mutex<Vec<u8>>> = Arc::default();
    let next = blocks.clone();
    let addr = by_hand(b"", move |_, mut connection| {
        while let Some(stream) = next_request(&mut connection) {
            // Written for stream 1.
            let mut bytes = next.lock().unwrap().clone();
            let mut at = 0;
            while at < bytes.len() {
                bytes[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
                at += 9 + u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]]) as usize;
            }
            connection.send(bytes);
        }
    });
    let gateway = service(&format!("http://{addr}"), "  http2: true\n  retries: 0\n").start();
    let mut wrong = Vec::new();
    for (name, heads, data, want) in rows {
        let mut bytes = Vec::new();
        for (head, flags) in &heads {
            let head: Vec<(&str, &str)> = head.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let block = block(&head);
            let mut pieces = block.chunks(16_000).peekable();
            let mut kind = HEADERS;
            while let Some(piece) = pieces.next() {
                let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
                bytes.extend(frame(kind, end | if kind == HEADERS { *flags } else { 0 }, 1, piece));
                kind = CONTINUATION;
            }
        }
        data.iter().for_each(|(flags, payload)| bytes.extend(frame(DATA, *flags, 1, payload.as_bytes())));
        *blocks.lock().unwrap() = bytes;
        let got = match gateway.client().try_get("/", "") {
            Ok(answer) if answer.head.raw.windows(6).any(|six| six == b"cookie") => {
                panic!("{name}: {:?}", answer.head.raw)
            }
            Ok(answer) => Became::Status(answer.head.status()),
            Err(_) => Became::Cut,
        };
        if got != want {
            wrong.push(format!("{name}: {got:?}, not {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_upstream_that_floods_has_an_end() {
    type Flood = (&'static str, bool, fn(u32) -> Vec<u8>);
    let rows: &[Flood] = &[
        ("PING", true, |_| frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", true, |_| frame(SETTINGS, 0, 0, b"")),
        ("PRIORITY", true, |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1])),
        ("unknown", true, |_| frame(77, 0, 0, b"x")),
        ("WINDOW_UPDATE", true, |stream| frame(WINDOW_UPDATE, 0, stream, &1u32.to_be_bytes())),
        ("interim answers", true, |stream| headers(stream, 0, &[(":status", "103"), ("link", "</a.css>")])),
        ("RST_STREAM", true, |stream| frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())),
        ("CONTINUATION", true, |stream| match stream {
            0 => frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
            _ => frame(HEADERS, 0, stream, &block(&[(":status", "200")])),
        }),
        ("PUSH_PROMISE", false, |stream| frame(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x82])),
    ];
    for (name, counted, bytes) in rows {
        let bytes = *bytes;
        let over = Arc::new(AtomicUsize::new(0));
        let ended = over.clone();
        let addr = by_hand(b"", move |_, mut connection| {
            let Some(stream) = next_request(&mut connection) else { return };
            let _ = connection.send(bytes(stream));
            let more = if bytes(0)[3] == CONTINUATION { bytes(0) } else { bytes(stream) };
            let many = more.repeat(1000);
            // For as long as anybody listens: ten seconds of writing are many millions of frames.
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until {
                if !connection.send(&many) {
                    ended.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        });
        let mut gateway = service(&format!("http://{addr}"), "  http2: true\n  retries: 0\n").start();
        let before = gateway.rss_kib();
        assert_eq!(gateway.get("/").head.status(), 502, "{name}");
        gateway.wait_until(name, || over.load(Ordering::SeqCst) > 0);
        assert_eq!(metric(&gateway, "upstream_http2_floods_total") > 0, *counted, "{name}");
        let grown = gateway.rss_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{name}: {grown} KiB");
        assert!(gateway.runs());
    }
}

#[test]
fn connections_and_requests_on_them_are_bounded() {
    let origin = Origin::start(10);
    let gateway = clear(origin.addr).runtime("upstream.http2_connections_max: 3").start();
    let addr = gateway.proxy;
    let clients: Vec<_> = (0..120)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::to(addr);
                (0..3).map(|_| client.get("/wait", "").head.status()).collect::<Vec<_>>()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), [200; 3]);
    }
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    assert_eq!(count(&origin.counts.asked), 360);
    assert_eq!(count(&origin.counts.connections), 3);
    assert!(count(&origin.counts.most) <= 30, "{} at once", count(&origin.counts.most));

    // The gateway's own bound, where the upstream would take more.
    let origin = Origin::start(100);
    let gateway = clear(origin.addr)
        .runtime("upstream.http2_connections_max: 1")
        .runtime("upstream.http2_streams_max: 2")
        .start();
    let addr = gateway.proxy;
    let clients: Vec<_> =
        (0..20).map(|_| std::thread::spawn(move || Client::to(addr).get("/wait", "").head.status())).collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
    assert_eq!((count(&origin.counts.connections), count(&origin.counts.most)), (1, 2));
}

#[test]
fn a_connection_ends_when_it_is_spent_or_old_or_idle() {
    let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    let origin = Origin::start(100);
    let gateway = clear(origin.addr).runtime("upstream.requests_max: 2").start();
    (0..5).for_each(|_| assert_eq!(gateway.get("/length").head.status(), 200));
    assert_eq!(count(&origin.counts.connections), 3);

    let gateway = clear(origin.addr).runtime("upstream.age_max: 1ms").start();
    gateway.wait_until("a second connection", || {
        assert_eq!(gateway.get("/length").head.status(), 200);
        count(&origin.counts.connections) >= 5
    });

    let origin = Origin::start(100);
    let gateway = clear(origin.addr).runtime("upstream.idle_timeout: 1s").start();
    assert_eq!(gateway.get("/length").head.status(), 200);
    assert_eq!(count(&origin.counts.open), 1);
    gateway.wait_until("an idle connection's end", || count(&origin.counts.open) == 0);
}

#[test]
fn a_silent_upstream_is_asked_whether_it_is_there() {
    let start = |addr| {
        let more = "  http2: true\n  retries: 0\n";
        service(&format!("http://{addr}"), more).runtime("upstream.http2_ping: 1s").start()
    };
    let pings = Arc::new(AtomicUsize::new(0));
    let seen = pings.clone();
    let dead = by_hand(b"", move |_, mut connection| {
        while let Some(frame) = connection.next() {
            seen.fetch_add(usize::from(frame.kind == PING && frame.flags & ACK == 0), Ordering::SeqCst);
        }
    });
    let begun = Instant::now();
    assert_eq!(start(dead).get("/").head.status(), 502);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(pings.load(Ordering::SeqCst), 1);

    let slow = by_hand(b"", |_, mut connection| {
        let stream = next_request(&mut connection).unwrap();
        let mut pings = 0;
        while pings < 2 {
            let Some(ping) = connection.next() else { return };
            if ping.kind == PING && ping.flags & ACK == 0 {
                connection.send(frame(PING, ACK, 0, &ping.payload));
                pings += 1;
            }
        }
        connection.send(answer(stream));
        go_on(connection);
    });
    assert_eq!(start(slow).get("/").head.status(), 200);
}

#[test]
fn an_upstream_that_says_no_settings_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    let gateway = service(&format!("http://{addr}"), "  http2: true\n  retries: 0\n").start();
    let begun = Instant::now();
    assert_eq!(gateway.get("/").head.status(), 504);
    assert!(begun.elapsed() < Duration::from_secs(10), "connect_timeout is 5 s: {:?}", begun.elapsed());
}

/// An upstream of HTTP/1.1 that notes what stands before the first request of each connection, and how many follow.
fn announced() -> (SocketAddr, Arc<Mutex<Vec<(Vec<u8>, usize)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let log: Arc<Mutex<Vec<(Vec<u8>, usize)>>> = Arc::default();
    let seen = log.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || {
                let mut buf = Vec::new();
                let mut place = None;
                let mut piece = [0; 4096];
                while let Ok(bytes @ 1..) = stream.read(&mut piece) {
                    buf.extend_from_slice(&piece[..bytes]);
                    let Some(at) = buf.windows(4).position(|four| four == b"GET ") else { continue };
                    if !buf.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let mut log = seen.lock().unwrap();
                    let place = *place.get_or_insert_with(|| {
                        log.push((buf[..at].to_vec(), 0));
                        log.len() - 1
                    });
                    log[place].1 += 1;
                    buf.clear();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    (addr, log)
}

#[test]
fn a_client_is_announced_and_shares_no_connection() {
    for version in ["v1", "v2"] {
        let (addr, log) = announced();
        let gateway = service(&format!("http://{addr}"), &format!("  proxy_protocol: {version}\n")).start();
        let mut clients = [gateway.client(), gateway.client()];
        let locals: Vec<_> = clients.iter().map(|client| client.wire.stream.local_addr().unwrap()).collect();
        for _ in 0..3 {
            for client in &mut clients {
                assert_eq!(client.get("/", "").head.status(), 200);
            }
        }
        let want: Vec<_> = locals
            .iter()
            .map(|local| {
                let (from, to) = (local.port(), gateway.proxy.port());
                let said = match version {
                    "v1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes(),
                    _ => [
                        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".as_slice(),
                        &from.to_be_bytes(),
                        &to.to_be_bytes(),
                    ]
                    .concat(),
                };
                (said, 3)
            })
            .collect();
        assert_eq!(*log.lock().unwrap(), want, "{version}");
    }
}

#[test]
fn an_announcement_goes_before_tls_and_names_whom_the_gateway_believes() {
    // Two gateways: what the one says over TLS the other, which is told by it, must read.
    let (addr, log) = announced();
    let mut inner = service(&format!("http://{addr}"), "  proxy_protocol: v1\n");
    inner.kong += &format!("certificates:\n{}", crate::tls::entity("up", "upstream.test"));
    inner.listen = "ssl http2 proxy_protocol".into();
    inner.node.extend(["trusted_ips: [127.0.0.1]".to_owned(), "real_ip: {header: proxy_protocol}".to_owned()]);
    let inner = inner.start();
    let port = inner.proxy.port();
    let more =
        format!("  http2: true\n  proxy_protocol: v2\n  host: upstream.test\n  port: {port}\n  protocol: https\n");
    let mut outer = trusting(service("x", &more));
    outer.kong = outer.kong.replace("  url: x\n", "");
    outer = outer.runtime("hosts: {upstream.test: 127.0.0.1}");
    outer.node.extend(["trusted_ips: [127.0.0.1]".to_owned(), "real_ip: {header: X-Real-IP}".to_owned()]);
    let outer = outer.start();
    let mut client = outer.client();
    for _ in 0..2 {
        let answer = client.get("/", "X-Real-IP: 192.0.2.7\r\n");
        assert_eq!(answer.head.status(), 200, "{}\n{}", outer.said(), inner.said());
        assert!(answer.head.one("Via").unwrap().contains(", 2 "), "{:?}", answer.head.fields);
    }
    let said: Vec<String> =
        log.lock().unwrap().iter().map(|(said, _)| String::from_utf8_lossy(said).into_owned()).collect();
    assert_eq!(said, [format!("PROXY TCP4 192.0.2.7 127.0.0.1 0 {port}\r\n")]);
    assert_eq!(metric(&outer, "upstream_connections_total"), 1);
}
