//! What is asked before the end of a TLS handshake (RFC 8470): by openssl, and by rustls a flight at a time.

use crate::harness::board::Board;
use crate::harness::frames;
use crate::harness::upstream::steps;
use crate::harness::{Gateway, Upstream};
use crate::tls::{curl, file, s_client, setup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn start(upstream: &Upstream, driver: &str, listen: &str, early_data: &str) -> Gateway {
    let mut setup = setup(upstream).driver(driver);
    setup.listen = listen.into();
    setup.node.push(format!("tls: {{early_data: {early_data}}}"));
    setup.start()
}

/// A client's memory of sessions.
fn memory(protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_early_data = true;
    Arc::new(config)
}

/// A connection that says what it is told to, and no more.
struct Client {
    tls: ClientConnection,
    stream: TcpStream,
    /// What was sent first.
    flight: Vec<u8>,
    heard: Vec<u8>,
}

impl Client {
    /// Sends a hello, and `early` with it where the memory has a session that allows it.
    fn begin(memory: &Arc<ClientConfig>, to: SocketAddr, early: &[u8]) -> Client {
        let mut tls = ClientConnection::new(memory.clone(), ServerName::try_from("a.test").unwrap()).unwrap();
        if !early.is_empty() {
            tls.early_data().expect("a session that allows it").write_all(early).unwrap();
        }
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        stream.write_all(&flight).unwrap();
        Client { tls, stream, flight, heard: Vec::new() }
    }

    /// Reads until `what` was said. Nothing is sent meanwhile.
    #[track_caller]
    fn hear(&mut self, what: &[u8]) {
        while !self.heard.windows(what.len()).any(|part| part == what) {
            let said = String::from_utf8_lossy(&self.heard).into_owned();
            let bytes = self.tls.read_tls(&mut self.stream).unwrap_or_else(|error| panic!("{error} after {said:?}"));
            assert!(bytes > 0, "closed after {said:?}");
            self.tls.process_new_packets().unwrap();
            let mut piece = [0; 4096];
            while let Ok(bytes @ 1..) = self.tls.reader().read(&mut piece) {
                self.heard.extend_from_slice(&piece[..bytes]);
            }
        }
    }

    /// Reads until the handshake has no more to wait for.
    fn shake(&mut self) {
        while self.tls.is_handshaking() {
            assert!(self.tls.read_tls(&mut self.stream).unwrap() > 0, "closed within the handshake");
            self.tls.process_new_packets().unwrap();
        }
    }

    /// Sends the end of the handshake, and `data`.
    fn say(&mut self, data: &[u8]) {
        self.tls.writer().write_all(data).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).unwrap();
        }
    }
}

/// Requests that came to the upstream for a path: what they said of being early.
fn came(upstream: &Upstream, path: &str) -> Vec<Option<String>> {
    let is = |line: &str| line.split(' ').nth(1) == Some(path);
    let log = upstream.log();
    let seen = log.requests.iter().filter(|seen| is(&seen.head.start));
    seen.map(|seen| seen.head.one("Early-Data").map(str::to_owned)).collect()
}

/// What a node of one shard has counted: requests that went on at once, that waited, that were refused.
fn counted(gateway: &Gateway) -> [u64; 3] {
    let metrics = gateway.admin("/metrics");
    ["early_requests_total ", "early_requests_waited_total ", "early_requests_refused_total "].map(|name| {
        let count = metrics.lines().find_map(|line| line.strip_prefix("ringway_")?.strip_prefix(name)?.parse().ok());
        count.unwrap_or_else(|| panic!("no {name}in:\n{metrics}"))
    })
}

/// A whole visit, from which the memory keeps a session.
fn visit(memory: &Arc<ClientConfig>, gateway: &Gateway) {
    let mut client = Client::begin(memory, gateway.proxy, b"");
    client.shake();
    client.say(b"GET /visit HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.hear(b"GET /visit");
}

/// The same over HTTP/2; what a connection of it begins with.
fn visit_by_http2(memory: &Arc<ClientConfig>, gateway: &Gateway) -> Vec<u8> {
    let greeting = [frames::PREFACE, &frames::frame(frames::SETTINGS, 0, 0, b"")].concat();
    let mut client = Client::begin(memory, gateway.proxy, b"");
    client.shake();
    client.say(&[&greeting[..], &frames::get(1, "/visit")].concat());
    client.hear(b"GET /visit");
    greeting
}

#[test]
fn what_is_safe_is_answered_before_the_end_and_says_so() {
    let upstream = Upstream::start();
    for driver in ["uring", "epoll"] {
        let gateway = start(&upstream, driver, "ssl", "8KiB");
        let memory = memory(b"http/1.1");
        visit(&memory, &gateway);
        let path = format!("/{driver}");
        let early = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nEarly-Data: 0\r\n\r\n");
        let mut client = Client::begin(&memory, gateway.proxy, early.as_bytes());
        // Nothing but the first flight was sent.
        client.hear(format!("GET {path}").as_bytes());
        assert!(client.tls.is_early_data_accepted());
        assert_eq!(came(&upstream, &path), [Some("1".to_owned())], "{driver}");
        let later = format!("{path}-later");
        client.say(format!("GET {later} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
        client.hear(format!("GET {later}").as_bytes());
        assert_eq!(came(&upstream, &later), [None], "{driver}");
        assert_eq!(counted(&gateway), [1, 0, 0], "{driver}");
    }
}

#[test]
fn the_rest_waits_for_the_end() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "uring", "ssl", "8KiB");
    let memory = memory(b"http/1.1");
    for (path, request) in [
        ("/post", "POST /post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"),
        ("/delete", "DELETE /delete HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("/body", "GET /body HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"),
    ] {
        visit(&memory, &gateway);
        let mut client = Client::begin(&memory, gateway.proxy, request.as_bytes());
        client.shake();
        assert!(client.tls.is_early_data_accepted(), "{path}");
        let held = Instant::now();
        // One shard: it has seen what came before this.
        assert_eq!(curl(&gateway, "a.test", &[]).1, "GET /");
        assert_eq!(came(&upstream, path), [] as [Option<String>; 0]);
        let held = held.elapsed().as_millis() as u64;
        client.say(b"");
        client.hear(path.as_bytes());
        assert_eq!(came(&upstream, path), [None]);
        // The wait is the gateway's, and no upstream's: its time begins when it is asked.
        let heard = String::from_utf8_lossy(&client.heard);
        let waited = heard.split("Proxy-Latency: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<u64>().ok());
        assert!(held > 1 && waited.is_some_and(|waited| waited + 1 >= held), "{held} {waited:?} {heard}");
    }
    assert_eq!(counted(&gateway), [0, 3, 0]);
    let log = upstream.log();
    let bodies: Vec<_> =
        log.requests.iter().filter_map(|seen| Some(seen.message.as_ref()?.as_ref().ok()?.body.clone())).collect();
    assert!(bodies.contains(&b"hello".to_vec()));
}

#[test]
fn a_flight_that_is_sent_again_asks_nothing() {
    let upstream = Upstream::start();
    for shards in ["1", "2"] {
        let mut setup = setup(&upstream).runtime(&format!("shards: {shards}"));
        setup.node.push("tls: {early_data: 8KiB}".into());
        let gateway = setup.start();
        let memory = memory(b"http/1.1");
        visit(&memory, &gateway);
        let path = format!("/once-{shards}");
        let early = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let mut client = Client::begin(&memory, gateway.proxy, early.as_bytes());
        client.hear(format!("GET {path}").as_bytes());
        for _ in 0..8 {
            let mut copy = TcpStream::connect(gateway.proxy).unwrap();
            copy.write_all(&client.flight).unwrap();
            // A full handshake is begun: it is answered with a certificate, and waits for the end that never comes.
            let mut answer = vec![0; 4096];
            assert!(copy.read(&mut answer).unwrap() > 0);
        }
        assert_eq!(curl(&gateway, "a.test", &[]).1, "GET /");
        assert_eq!(came(&upstream, &path).len(), 1, "{shards} shards");
    }
}

#[test]
fn streams_of_http2_are_early_too() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "uring", "ssl http2", "8KiB");
    let memory = memory(b"h2");
    let greeting = visit_by_http2(&memory, &gateway);
    let post = [
        frames::headers(3, 0, &frames::request("POST", "/h2-post", &[])),
        frames::frame(frames::DATA, frames::END_STREAM, 3, b"hello"),
    ];
    let early = [greeting, frames::get(1, "/h2-early"), post.concat()].concat();
    let mut client = Client::begin(&memory, gateway.proxy, &early);
    client.hear(b"GET /h2-early");
    assert!(client.tls.is_early_data_accepted());
    assert_eq!(came(&upstream, "/h2-early"), [Some("1".to_owned())]);
    assert_eq!(came(&upstream, "/h2-post"), [] as [Option<String>; 0]);
    client.say(&frames::get(5, "/h2-later"));
    client.hear(b"POST /h2-post");
    client.hear(b"GET /h2-later");
    assert_eq!((came(&upstream, "/h2-post"), came(&upstream, "/h2-later")), (vec![None], vec![None]));
    assert_eq!(counted(&gateway), [1, 1, 0]);
}

/// RFC 8470 §5.2: a server may refuse what it will not risk, and the client asks again when the handshake is over.
#[test]
fn what_waits_in_vain_is_too_early_and_counted() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "uring", "ssl http2", "8KiB");
    let memory = memory(b"h2");
    let greeting = visit_by_http2(&memory, &gateway);
    let delete = frames::headers(1, frames::END_STREAM, &frames::request("DELETE", "/h2-delete", &[]));
    let mut client = Client::begin(&memory, gateway.proxy, &[&greeting[..], &delete].concat());
    // The end of the handshake is not sent: the answer comes when the 10 s for it are over.
    client.hear(b"Too early\n");
    assert_eq!((came(&upstream, "/h2-delete"), counted(&gateway)), (vec![], [0, 1, 1]));
}

/// RFC 8470 §5.2: who finds a request too early says so to who has asked, and a gateway passes it on.
#[test]
fn an_upstream_may_find_it_too_early() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "uring", "ssl", "8KiB");
    let memory = memory(b"http/1.1");
    visit(&memory, &gateway);
    upstream.begin(vec![steps(r"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n")], &Board::default());
    let mut client = Client::begin(&memory, gateway.proxy, b"GET /soon HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.hear(b"HTTP/1.1 425 Too Early\r\n");
    client.say(b"GET /soon HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.hear(b"GET /soon");
    assert_eq!(came(&upstream, "/soon"), [Some("1".to_owned()), None]);
}

#[test]
fn openssl_asks_early_where_it_may_and_falls_back_where_not() {
    let upstream = Upstream::start();
    let on = start(&upstream, "uring", "ssl", "8KiB");
    let off = setup(&upstream).start();
    let (session, early) = (file("session-early"), file("early-request"));
    std::fs::write(&early, "GET /early HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let base = ["-servername", "a.test", "-tls1_3", "-ign_eof"];
    let get = b"GET /plain HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let learn = || {
        let said = s_client(&on, &[&base[..], &["-sess_out", &session]].concat(), get);
        assert!(said.contains("Max Early Data: 8192"), "{said}");
    };
    let again = [&base[..], &["-sess_in", &session, "-early_data", &early]].concat();
    learn();
    let said = s_client(&on, &again, b"");
    assert!(said.contains("Early data was accepted") && said.contains("GET /early"), "{said}");
    // The session was good once.
    let said = s_client(&on, &again, get);
    assert!(said.contains("Early data was rejected") && said.contains("New, TLSv1.3"), "{said}");
    assert!(said.contains("GET /plain"), "{said}");
    learn();
    let said = s_client(&off, &again, get);
    assert!(said.contains("Early data was rejected") && said.contains("GET /plain"), "{said}");
    assert_eq!(came(&upstream, "/early").len(), 1);
    // Off, and where nothing is said of it, no session allows any.
    let said = s_client(&off, &[&base[..], &["-sess_out", &session]].concat(), get);
    assert!(said.contains("Max Early Data: 0"), "{said}");
}
