//! Connections of HTTP/2 (RFC 9113): what is served, what is refused, what of it reaches an upstream, and that a client which
//! sends what is of no use has an end. `http2_frames.rs` and `http2_requests.rs` have the rows.

use crate::harness::board::Board;
use crate::harness::frames::*;
use crate::harness::upstream::steps;
use crate::harness::{Gateway, Setup, Upstream};
use std::process::Command;
use std::time::{Duration, Instant};

fn start(upstream: &Upstream) -> Gateway {
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "http2".into();
    setup.start()
}

/// Codes of RFC 9113 §7.
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Each row on a connection of its own: what is sent, and what the client is told of stream 1. Where that is no answer,
/// nothing reaches the upstream; where it is not the end of the connection, the next request is served.
fn check(rows: &[(&str, Vec<u8>, Told)]) {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut wrong = Vec::new();
    for (name, bytes, want) in rows {
        let before = upstream.log().requests.len();
        let mut client = H2::to(gateway.proxy);
        client.send(bytes);
        let told = client.told(1);
        if told != *want {
            wrong.push(format!("{name}: {told:?}, not {want:?}"));
            continue;
        }
        if !matches!(told, Told::Status(200)) && upstream.log().requests.len() != before {
            wrong.push(format!("{name}: it reached the upstream"));
        }
        if let Told::Status(_) | Told::Reset(_) = told {
            client.send(get(101, "/next"));
            let next = client.told(101);
            if next != Told::Status(200) {
                wrong.push(format!("{name}: the next request is told {next:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request with these fields and no body.
fn asked(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, fields)
}

/// A request with these fields beside the pseudo-fields.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    asked(&request("GET", "/", more))
}

/// A POST with a declared length and these DATA frames, the last of them the end.
fn posted(length: &str, data: &[&str]) -> Vec<u8> {
    let mut out = headers(1, 0, &request("POST", "/", &[("content-length", length)]));
    let last = data.len() - 1;
    for (at, data) in data.iter().enumerate() {
        out.extend(frame(DATA, u8::from(at == last), 1, data.as_bytes()));
    }
    out
}

/// Its buffers are given back meanwhile; frames that come in pieces after it are read from where they begin.
#[test]
fn a_connection_that_was_quiet_is_served_on() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    client.send(get(1, "/first"));
    assert_eq!(client.told(1), Told::Status(200));
    for stream in [3, 5] {
        // It is quiet after 0.2 to 0.4 s, which nothing outside tells.
        std::thread::sleep(Duration::from_millis(700));
        let request = get(stream, "/again");
        let (head, rest) = request.split_at(5);
        client.send(head);
        std::thread::sleep(Duration::from_millis(700));
        client.send(rest);
        assert_eq!(client.told(stream), Told::Status(200));
    }
    assert_eq!(upstream.log().requests.len(), 3);
}

#[test]
fn requests_mean_one_thing_or_nothing() {
    let ok = Told::Status(200);
    let bad = Told::Reset(PROTOCOL_ERROR);
    let pseudo = |fields: &[(&str, &str)]| asked(fields);
    check(&[
        ("a plain request", with(&[]), ok.clone()),
        ("te: trailers", with(&[("te", "trailers")]), ok.clone()),
        ("an unknown method", asked(&request("BREW", "/", &[])), ok.clone()),
        ("a host that agrees", with(&[("host", "a.test")]), ok.clone()),
        (
            "a host for an authority",
            pseudo(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a.test")]),
            ok.clone(),
        ),
        ("an upper-case name", with(&[("X-Up", "1")]), Told::Away(PROTOCOL_ERROR)),
        ("connection", with(&[("connection", "close")]), bad.clone()),
        ("keep-alive", with(&[("keep-alive", "1")]), bad.clone()),
        ("proxy-connection", with(&[("proxy-connection", "close")]), bad.clone()),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), bad.clone()),
        ("upgrade", with(&[("upgrade", "h2c")]), bad.clone()),
        ("te: gzip", with(&[("te", "gzip")]), bad.clone()),
        ("no method", pseudo(&[(":scheme", "http"), (":authority", "a.test"), (":path", "/")]), bad.clone()),
        ("no scheme", pseudo(&[(":method", "GET"), (":authority", "a.test"), (":path", "/")]), bad.clone()),
        ("no path", pseudo(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.test")]), bad.clone()),
        ("an empty path", asked(&request("GET", "", &[])), bad.clone()),
        ("a path without a slash", asked(&request("GET", "x", &[])), bad.clone()),
        ("an asterisk for a GET", asked(&request("GET", "*", &[])), bad.clone()),
        ("two methods", with(&[(":method", "GET")]), bad.clone()),
        (
            "two paths",
            pseudo(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.test"),
                (":path", "/"),
                (":path", "/b"),
            ]),
            bad.clone(),
        ),
        (
            "a late pseudo-field",
            pseudo(&[(":method", "GET"), (":scheme", "http"), ("x", "y"), (":authority", "a.test"), (":path", "/")]),
            bad.clone(),
        ),
        (
            "a status in a request",
            pseudo(&[
                (":status", "200"),
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.test"),
                (":path", "/"),
            ]),
            bad.clone(),
        ),
        (
            "another scheme",
            pseudo(&[(":method", "GET"), (":scheme", "ftp"), (":authority", "a.test"), (":path", "/")]),
            bad.clone(),
        ),
        ("a host that differs", with(&[("host", "b.test")]), bad.clone()),
        ("two hosts", with(&[("host", "a.test"), ("host", "a.test")]), bad.clone()),
        (
            "a user in the authority",
            pseudo(&[(":method", "GET"), (":scheme", "http"), (":authority", "u@a.test"), (":path", "/")]),
            bad.clone(),
        ),
        ("a space before a value", with(&[("x", " y")]), bad.clone()),
        ("a tab behind a value", with(&[("x", "y\t")]), bad.clone()),
        ("plain CONNECT", pseudo(&[(":method", "CONNECT"), (":authority", "a.test:443")]), Told::Status(405)),
        ("TRACE", asked(&request("TRACE", "/", &[])), Told::Status(405)),
        ("two lengths", with(&[("content-length", "1"), ("content-length", "2")]), bad.clone()),
        ("a length that is no number", with(&[("content-length", "+1")]), bad.clone()),
        ("a length without a body", with(&[("content-length", "5")]), bad.clone()),
        (
            "a tunnel for another protocol",
            asked(&[
                (":method", "CONNECT"),
                (":protocol", "other"),
                (":scheme", "http"),
                (":authority", "a.test"),
                (":path", "/"),
            ]),
            Told::Status(501),
        ),
    ]);
}

#[test]
fn no_value_ends_a_line_of_http1() {
    let smuggled = "y\r\nTransfer-Encoding: chunked\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let fields = [
        request("GET", "/", &[("x", smuggled)]),
        request("GET", "/", &[(smuggled, "x")]),
        request("GET", smuggled, &[]),
        request(smuggled, "/", &[]),
        request("GET", "/ HTTP/1.1\r\nX: y", &[]),
        request("GET", "/a b", &[]),
        request("GET /x HTTP/1.1\r\n", "/", &[]),
        request("GET", "/", &[("x", "nul\0")]),
        request("GET", "/", &[("x", "a\nb")]),
        request("GET", "/", &[("x: y", "z")]),
        request("GET", "/", &[("", "z")]),
        request("GET", "/", &[("cookie", "a=1\r\nx: y")]),
        vec![(":method", "GET"), (":scheme", "http"), (":authority", smuggled), (":path", "/")],
        vec![(":method", "GET"), (":scheme", smuggled), (":authority", "a.test"), (":path", "/")],
    ];
    for fields in fields {
        let mut client = H2::to(gateway.proxy);
        client.send(headers(1, END_STREAM, &fields));
        let told = client.told(1);
        assert!(matches!(told, Told::Reset(_) | Told::Away(_) | Told::Status(400)), "{fields:?}: {told:?}");
        assert_eq!(upstream.log().requests.len(), 0, "{fields:?} reached the upstream");
    }
}

#[test]
fn a_body_has_its_length() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    for (length, data) in [("5", &["hel", "l"][..]), ("5", &["hello!"]), ("0", &["x"]), ("5", &["hello", "x"])] {
        let mut client = H2::to(gateway.proxy);
        client.send(posted(length, data));
        assert_eq!(client.told(1), Told::Reset(PROTOCOL_ERROR), "{length} {data:?}");
        let whole = |seen: &crate::harness::upstream::Seen| matches!(&seen.message, Some(Ok(_)));
        assert!(!upstream.log().requests.iter().any(whole), "{length} {data:?} reached the upstream as a whole");
    }
    let mut client = H2::to(gateway.proxy);
    client.send(posted("5", &["hello"]));
    assert_eq!(client.told(1), Told::Status(200));
    let noted = || upstream.log().requests.iter().any(|seen| matches!(seen.message, Some(Ok(_))));
    gateway.wait_until("the upstream has noted it", noted);
    let log = upstream.log();
    // One that was broken off may be heard of after it.
    let mut whole = log.requests.iter().filter_map(|seen| seen.message.as_ref()?.as_ref().ok());
    let (Some(message), None) = (whole.next(), whole.next()) else { panic!("one whole request among {}", log.conns) };
    assert_eq!((message.body.as_slice(), message.head.one("content-length")), (&b"hello"[..], Some("5")));
}

#[test]
fn every_byte_may_come_by_itself() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    for byte in [headers(1, 0, &request("POST", "/slow", &[])), frame(DATA, END_STREAM, 1, b"hello")].concat() {
        client.send([byte]);
    }
    assert_eq!(client.told(1), Told::Status(200));
    assert_eq!(client.body(1), b"POST /slow");
}

#[test]
fn crumbs_hosts_and_trailers_are_told_as_http1() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    let more = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
    client.send(headers(1, 0, &request("POST", "/x?y", &more)));
    client.send(frame(DATA, 0, 1, b"hello"));
    client.send(headers(1, END_STREAM, &[("x-sum", "1")]));
    assert_eq!(client.told(1), Told::Status(200));
    let noted = || upstream.log().requests.iter().any(|seen| matches!(seen.message, Some(Ok(_))));
    gateway.wait_until("the upstream has noted it", noted);
    let log = upstream.log();
    // One that was broken off may be heard of after it.
    let mut whole = log.requests.iter().filter_map(|seen| seen.message.as_ref()?.as_ref().ok());
    let (Some(message), None) = (whole.next(), whole.next()) else { panic!("one whole request among {}", log.conns) };
    assert_eq!(message.head.target(), "/x?y");
    assert_eq!(message.head.one("cookie"), Some("a=1; b=2"));
    assert_eq!(message.head.one("x-forwarded-host"), Some("a.test"));
    assert_eq!(message.body, b"hello");
    assert_eq!(message.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert!(message.head.one("via").is_some_and(|via| via.starts_with("2 ")), "{:?}", message.head.one("via"));
}

/// Sends `piece(n)` up to `count` times; what the client is told, and that others are served all the while.
#[track_caller]
fn flood(count: u32, piece: impl Fn(u32) -> Vec<u8>) -> Told {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    gateway.check_serves();
    let (rss, cpu) = (gateway.rss_kib(), gateway.cpu_ms());
    let mut client = H2::to(gateway.proxy);
    // Its SETTINGS are acknowledged before two threads write.
    assert_eq!(client.next().unwrap().kind, SETTINGS);
    let mut reader = H2 { stream: client.stream.try_clone().unwrap() };
    let told = std::thread::spawn(move || reader.told(u32::MAX));
    for from in (0..count).step_by(100) {
        let pieces: Vec<u8> = (from..from + 100).flat_map(&piece).collect();
        if !client.send(pieces) {
            break;
        }
    }
    let told = told.join().unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        gateway.check_serves();
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "others wait");
    assert!(gateway.rss_kib() < rss + 64 * 1024, "{} KiB more", gateway.rss_kib() - rss);
    assert!(gateway.cpu_ms() < cpu + 5000, "{} ms of CPU", gateway.cpu_ms() - cpu);
    told
}

#[test]
fn floods_have_an_end() {
    let calm = Told::Away(ENHANCE_YOUR_CALM);
    let id = |n: u32| 2 * n + 1;
    assert_eq!(flood(100_000, |_| frame(PING, 0, 0, &[0; 8])), calm, "PING");
    assert_eq!(flood(100_000, |_| frame(SETTINGS, 0, 0, b"")), calm, "SETTINGS");
    assert_eq!(flood(100_000, |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])), calm, "PRIORITY");
    assert_eq!(flood(100_000, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])), calm, "WINDOW_UPDATE");
    assert_eq!(flood(100_000, |_| frame(0x77, 0, 0, b"")), calm, "unknown frames");
    let rapid = |n: u32| [get(id(n), "/"), frame(RST_STREAM, 0, id(n), &[0, 0, 0, 8])].concat();
    assert_eq!(flood(10_000, rapid), calm, "rapid reset");
    let made = |n: u32| {
        [headers(id(n), 0, &request("POST", "/", &[])), frame(WINDOW_UPDATE, 0, id(n), &[0x7f, 0xff, 0xff, 0xff])]
            .concat()
    };
    assert_eq!(flood(10_000, made), calm, "resets that we are made to send");
    let empty = |n: u32| match n {
        0 => headers(1, 0, &request("POST", "/", &[])),
        _ => frame(DATA, 0, 1, b""),
    };
    assert_eq!(flood(100_000, empty), calm, "empty DATA");
    let endless = |n: u32| match n {
        0 => frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/", &[]))),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
    };
    assert!(matches!(flood(100_000, endless), Told::Away(_)), "CONTINUATION");
    // One field of 4 KB in the table, and then references to it, a byte each.
    let bomb = |n: u32| match n {
        0 => {
            let mut block = block(&request("GET", "/", &[]));
            block.extend([0x40, 1, b'x', 127, 0xb5, 0x1e]);
            block.extend([b'y'; 4000]);
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
        }
        _ => {
            let mut block = block(&request("GET", "/", &[]));
            block.extend([0xbe; 15_000]);
            frame(HEADERS, END_HEADERS | END_STREAM, id(n), &block)
        }
    };
    assert!(matches!(flood(200, bomb), Told::Away(_) | Told::Closed), "a bomb of fields");
}

#[test]
fn a_window_that_stays_shut_holds_a_stream_for_a_bounded_time() {
    let upstream = Upstream::start();
    let mut setup = Setup::open_to(upstream.addr).runtime("timeouts.send: 1s");
    setup.listen = "http2".into();
    let mut gateway = setup.start();
    let mut client = H2::to(gateway.proxy);
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    client.send(get(1, "/"));
    assert_eq!(client.told(1), Told::Status(200), "the head needs no window");
    let begun = Instant::now();
    assert!(matches!(client.told(1), Told::Reset(_)), "the body waits in vain");
    assert!(begun.elapsed() > Duration::from_millis(500));
    gateway.check_serves();
}

#[test]
fn half_a_head_and_silence_are_ended() {
    let upstream = Upstream::start();
    let mut setup = Setup::open_to(upstream.addr).runtime("timeouts.header: 1s").runtime("timeouts.keepalive: 1s");
    setup.listen = "http2".into();
    let gateway = setup.start();
    for bytes in
        [get(1, "/")[..20].to_vec(), frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/", &[]))), Vec::new()]
    {
        let mut client = H2::to(gateway.proxy);
        // Its SETTINGS are acknowledged before a block is begun, within which nothing else may come.
        assert_eq!(client.next().unwrap().kind, SETTINGS);
        client.send(bytes);
        let begun = Instant::now();
        assert_eq!(client.told(1), Told::Closed);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_drain_lets_streams_end_and_says_so() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    client.send(headers(1, 0, &request("POST", "/", &[])));
    client.send(frame(PING, 0, 0, &[0; 8]));
    while client.next().unwrap().kind != PING {}
    gateway.signal("TERM");
    while client.next().expect("GOAWAY").kind != GOAWAY {}
    client.send(frame(DATA, END_STREAM, 1, b"late"));
    assert_eq!(client.told(1), Told::Status(200));
    assert!(gateway.wait_exit(Duration::from_secs(10)).success());
}

#[test]
fn http1_and_tools_are_served_beside_it() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    gateway.check_serves();
    let url = format!("http://{}/tool", gateway.proxy);
    let args = ["-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", &url];
    let out = String::from_utf8(Command::new("curl").args(args).output().unwrap().stdout).unwrap();
    assert_eq!(out, "GET /tool2 200");
    let out = Command::new("nghttp").args(["-n", "-s", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains(" 200 "), "{out:?}");
}

#[test]
fn a_websocket_opens_by_extended_connect() {
    let upstream = Upstream::start();
    let script = [
        "@send HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: x\\r\\n\\r\\nearly",
        "@drain",
    ];
    let script = script.iter().flat_map(|step| steps(step)).collect();
    upstream.begin(vec![script], &Board::default());
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/ws"),
        ("sec-websocket-version", "13"),
    ];
    client.send(headers(1, 0, &fields));
    assert_eq!(client.told(1), Told::Status(200));
    client.send(frame(DATA, 0, 1, b"late"));
    let first = loop {
        let frame = client.next().expect("DATA");
        if frame.kind == DATA {
            break frame.payload;
        }
    };
    assert_eq!(first, b"early");
    client.send(frame(DATA, END_STREAM, 1, b"r"));
    assert_eq!(client.body(1), b"");
    let log = upstream.log();
    let head = &log.requests[0].head;
    assert_eq!((head.method(), head.one("upgrade")), ("GET", Some("websocket")));
    assert!(head.one("sec-websocket-key").is_some_and(|key| key.len() == 24 && key.ends_with("==")));
    gateway.wait_until("the upstream has got all", || upstream.log().raw.ends_with(b"later"));
    // The connection goes on.
    client.send(get(3, "/next"));
    assert_eq!(client.told(3), Told::Status(200));
}
