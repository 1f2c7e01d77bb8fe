//! Listeners behind a load balancer that speaks the PROXY protocol: whose address counts, and who is not let in.

use crate::harness::wire::End;
use crate::harness::{Gateway, Setup, Upstream};
use std::time::Duration;

/// 192.0.2.1 to 198.51.100.1.
const V4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdb\x04\x01\xbb";
/// 2001:db8::1 to 2001:db8::2, and a TLV that nobody knows.
const V6: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x28\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdb\x04\x01\xbb\xea\0\x01x";
/// A health check of the load balancer itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn start(upstream: &Upstream, trusted: &str, header: &str) -> Gateway {
    let mut setup = Setup::open_to(upstream.addr).runtime("timeouts.header: 1s");
    setup.listen = "proxy_protocol".into();
    setup.node = vec![format!("trusted_ips: [{trusted}]"), format!("real_ip: {{header: {header}}}")];
    setup.start()
}

/// What the upstream is told of a client that sends `announcement` and then a request with `fields`, first in one piece
/// and then byte by byte. Twice each, since the announcement holds for the whole connection.
#[track_caller]
fn check(gateway: &Gateway, upstream: &Upstream, announcement: &[u8], fields: &str, want: &str) {
    for piece in [usize::MAX, 1] {
        let mut client = gateway.client();
        for turn in 0..2 {
            let request = format!("GET /{turn} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
            let bytes = if turn == 0 { [announcement, request.as_bytes()].concat() } else { request.into_bytes() };
            bytes.chunks(piece.min(bytes.len())).for_each(|part| assert!(client.send(part)));
            let answer = client.answer("GET").unwrap();
            assert_eq!((answer.head.status(), &answer.body[..]), (200, format!("GET /{turn}").as_bytes()));
            let seen = upstream.log().requests.pop().unwrap();
            assert_eq!(seen.head.one("X-Real-IP"), Some(want), "request {turn}, pieces of {piece}");
        }
    }
}

/// It is closed without a word, and nothing reaches the upstream.
#[track_caller]
fn check_refused(gateway: &Gateway, upstream: &Upstream, bytes: &[u8]) {
    let before = upstream.log().requests.len();
    let mut client = gateway.client();
    client.send(bytes);
    match client.wire.until_close() {
        Ok(rest) => assert!(rest.is_empty(), "{}", rest.escape_ascii()),
        // A reset is a close, where bytes were left unread.
        Err(end) => assert_eq!(end, End::Reset),
    }
    assert_eq!(upstream.log().requests.len(), before);
}

#[test]
fn a_trusted_load_balancer_names_the_client() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "127.0.0.0/8", "proxy_protocol");
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    check(&gateway, &upstream, v1, "", "192.0.2.7");
    check(&gateway, &upstream, b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "", "2001:db8::7");
    check(&gateway, &upstream, V4, "", "192.0.2.1");
    check(&gateway, &upstream, V6, "", "2001:db8::1");
    check(&gateway, &upstream, LOCAL, "", "127.0.0.1");
    check(&gateway, &upstream, b"PROXY UNKNOWN\r\n", "", "127.0.0.1");
    // No header is believed in its place.
    let headers = "X-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nproxy_protocol: 6.6.6.6\r\n";
    check(&gateway, &upstream, v1, headers, "192.0.2.7");
    check(&gateway, &upstream, b"PROXY UNKNOWN\r\n", headers, "127.0.0.1");
}

#[test]
fn what_is_not_believed_is_read_all_the_same() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "10.0.0.0/8", "proxy_protocol");
    check(&gateway, &upstream, V4, "", "127.0.0.1");
    let gateway = start(&upstream, "127.0.0.0/8", "X-Real-IP");
    check(&gateway, &upstream, V4, "", "127.0.0.1");
    check(&gateway, &upstream, V4, "X-Real-IP: 192.0.2.9\r\n", "192.0.2.9");
}

#[test]
fn who_is_not_announced_is_not_let_in() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream, "127.0.0.0/8", "proxy_protocol");
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.1\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        &[b'P'; 5000],
        &[0; 100_000],
        // Begun well, and no more of it in time.
        b"PROXY TCP4 192.0.2.1",
        &V4[..20],
        b"",
    ] {
        check_refused(&gateway, &upstream, bytes);
    }
    // A second announcement is none: the first request stands in its place.
    let mut client = gateway.client();
    client.send([LOCAL, LOCAL].concat());
    assert_eq!(client.answer("GET").map(|answer| answer.head.status()), Ok(400));
    assert!(gateway.runs());
    check(&gateway, &upstream, V4, "", "192.0.2.1");
}

#[test]
fn clients_that_are_never_announced_are_let_go() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "127.0.0.0/8", "proxy_protocol");
    let clients: Vec<_> = (0..200).map(|_| gateway.client()).collect();
    gateway.wait_until("they are let go", || gateway.status()["shards"][0]["connections"] == 0);
    for mut client in clients {
        client.wire.patience(Duration::from_secs(1));
        assert_eq!(client.wire.until_close(), Ok(Vec::new()));
    }
}
