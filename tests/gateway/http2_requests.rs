//! Requests and answers of HTTP/2, row by row (RFC 9113 §8, RFC 8441): what HTTP/1.1 would read otherwise never reaches an
//! upstream, and what an upstream says in HTTP/1.1 is told in frames.

use crate::harness::board::Board;
use crate::harness::frames::*;
use crate::harness::rows::{asked, begun, judge, posted, start, with, Row};
use crate::harness::upstream::{steps, Step};
use crate::harness::Upstream;
use std::process::Command;
use std::time::Duration;

const BAD: &str = "reset PROTOCOL_ERROR";
/// The engine takes a character that no name or value has for a fault of the connection.
const NONE: &str = "reset PROTOCOL_ERROR|away PROTOCOL_ERROR|4xx";
const SMUGGLED: &str = "y\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\nX: ";

#[test]
fn fields_are_those_of_http1_or_none() {
    judge(&[
        ("an empty value", with(&[("x", "")]), "200"),
        ("a tab within a value", with(&[("x", "a\tb")]), "200"),
        ("two fields of a name", with(&[("x", "1"), ("y", "2"), ("x", "3")]), "200"),
        ("an upper-case name", with(&[("X-Up", "1")]), NONE),
        ("an empty name", with(&[("", "x")]), NONE),
        ("a space in a name", with(&[("x y", "z")]), NONE),
        ("a space behind a name", with(&[("content-length ", "5")]), NONE),
        ("a tab behind a name", with(&[("x\t", "z")]), NONE),
        ("a colon behind a name", with(&[("x:", "z")]), NONE),
        ("a colon within a name", with(&[("x: y\r\nz", "z")]), NONE),
        ("CR and LF in a name", with(&[(SMUGGLED, "z")]), NONE),
        ("NUL in a name", with(&[("x\0", "z")]), NONE),
        ("DEL in a name", with(&[("x\x7f", "z")]), NONE),
        ("a parenthesis in a name", with(&[("x(y)", "z")]), NONE),
        ("CR and LF in a value", with(&[("x", SMUGGLED)]), NONE),
        ("CR in a value", with(&[("x", "a\rb")]), NONE),
        ("LF in a value", with(&[("x", "a\nb")]), NONE),
        ("NUL in a value", with(&[("x", "a\0b")]), NONE),
        ("another control character in a value", with(&[("x", "a\x01b")]), NONE),
        ("a space before a value", with(&[("x", " y")]), BAD),
        ("a space behind a value", with(&[("x", "y ")]), BAD),
        ("CR and LF in a cookie", with(&[("cookie", "a=1"), ("cookie", SMUGGLED)]), NONE),
        ("connection", with(&[("connection", "close")]), BAD),
        ("connection that names a field", with(&[("connection", "x"), ("x", "y")]), BAD),
        ("keep-alive", with(&[("keep-alive", "timeout=5")]), BAD),
        ("proxy-connection", with(&[("proxy-connection", "close")]), BAD),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), BAD),
        ("another transfer-encoding", with(&[("transfer-encoding", "identity")]), BAD),
        ("upgrade", with(&[("upgrade", "h2c")]), BAD),
        ("te: gzip", with(&[("te", "gzip")]), BAD),
        ("te: trailers and another", with(&[("te", "trailers, deflate")]), BAD),
        ("te: trailers", with(&[("te", "trailers")]), "200"),
        ("an expectation that nobody knows", with(&[("expect", "x")]), "417"),
        ("a hundred fields", with(&[("x", "y"); 100]), "200"),
        ("too many fields", with(&[("x", "y"); 200]), "4xx"),
        ("a large field", with(&[("x", &"y".repeat(7_000))]), "200 / whole"),
    ]);
}

#[test]
fn pseudo_fields_come_once_and_first() {
    let (m, s, a, p) = ((":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/"));
    judge(&[
        ("no method", asked(&[s, a, p]), BAD),
        ("no scheme", asked(&[m, a, p]), BAD),
        ("no path", asked(&[m, s, a]), BAD),
        ("no pseudo-field", asked(&[("x", "y")]), BAD),
        ("two methods", asked(&[m, m, s, a, p]), BAD),
        ("two schemes", asked(&[m, s, s, a, p]), BAD),
        ("two authorities", asked(&[m, s, a, (":authority", "b.test"), p]), BAD),
        ("two paths", asked(&[m, s, a, p, (":path", "/admin")]), BAD),
        ("one behind a field", asked(&[m, s, a, ("x", "y"), p]), BAD),
        ("one again behind a field", asked(&[m, s, a, p, ("x", "y"), p]), BAD),
        ("a status", asked(&[(":status", "200"), m, s, a, p]), BAD),
        ("one that nobody knows", asked(&[m, s, a, p, (":x", "y")]), NONE),
        ("an upper-case one", asked(&[(":METHOD", "GET"), s, a, p]), NONE),
        ("a protocol without CONNECT", asked(&[m, s, a, p, (":protocol", "websocket")]), BAD),
    ]);
}

/// A GET with another value for this pseudo-field.
fn of(field: &str, value: &str) -> Vec<u8> {
    let mut fields = request("GET", "/", &[]);
    fields.iter_mut().filter(|(name, _)| *name == field).for_each(|(_, had)| *had = value);
    asked(&fields)
}

#[test]
fn a_target_has_one_form() {
    let mut rows: Vec<Row> = vec![
        ("an asterisk for OPTIONS", asked(&request("OPTIONS", "*", &[])), "200"),
        ("no path for OPTIONS", asked(&request("OPTIONS", "", &[])), BAD),
        ("a plain path", of(":path", "/a;b/c?d=e?f"), "200"),
        ("an empty query", of(":path", "/?"), "200"),
        ("NUL, escaped", of(":path", "/a%00b"), "400"),
        ("half an escape", of(":path", "/a%4"), "400"),
    ];
    let bad = [
        "",
        "x",
        "*",
        "?x",
        ":80",
        "a.test:80",
        "http://a.test/",
        "https://b.test/x",
        " /",
        "/ ",
        "/a b",
        "/a\tb",
        "/a\r\nX: y",
        "/a HTTP/1.1\r\nX: y",
        "/a\nb",
        "/a\0b",
        "/a\x01",
        "/a\x7f",
        "/a#b",
        "/#",
        "/a?b#c",
        "#",
    ];
    rows.extend(bad.map(|path| (path, of(":path", path), BAD)));
    judge(&rows);
}

#[test]
fn schemes_authorities_and_hosts_agree() {
    let mut rows: Vec<Row> = vec![
        ("https", of(":scheme", "https"), "200"),
        ("a port", of(":authority", "a.test:80"), "200"),
        ("an address", of(":authority", "[::1]:80"), "200"),
        ("a host that agrees", with(&[("host", "a.test")]), "200"),
        ("a host that agrees but for case", with(&[("host", "A.TEST")]), "200"),
        ("a host that differs", with(&[("host", "b.test")]), BAD),
        ("a host with another port", with(&[("host", "a.test:81")]), BAD),
        ("an empty host", with(&[("host", "")]), BAD),
        ("a list of hosts", with(&[("host", "a.test, b.test")]), BAD),
        ("two hosts", with(&[("host", "a.test"), ("host", "a.test")]), BAD),
        (
            "a host for an authority",
            asked(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a.test")]),
            "200",
        ),
        ("neither", asked(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]), "400"),
        ("no host in an authority", of(":authority", ":80"), "400"),
        ("a port that is no number", of(":authority", "a.test:x"), "400"),
        ("a port too large", of(":authority", "a.test:99999"), "400"),
        ("a list of authorities", of(":authority", "a.test,b.test"), "400"),
    ];
    let schemes = ["", "ftp", "http:", "http ", "http://a", "javascript", "1http", "h\r\n", "h\0"];
    rows.extend(schemes.map(|scheme| (scheme, of(":scheme", scheme), BAD)));
    let authorities = [
        "",
        "u@a.test",
        "u:p@a.test",
        "a test",
        "a.test/",
        "a.test?x",
        "a.test#",
        "a.test\r\nX: y",
        "a.test\0",
        "a\ttest",
        "[::1",
        "::1",
        "http://a.test",
        "a.test\\b",
        "<a>",
    ];
    rows.extend(authorities.map(|authority| (authority, of(":authority", authority), BAD)));
    judge(&rows);
}

#[test]
fn methods_are_tokens_and_connect_is_its_own() {
    let connect = (":method", "CONNECT");
    let tunnel = |protocol: &'static str| {
        [connect, (":protocol", protocol), (":scheme", "http"), (":authority", "a.test"), (":path", "/")]
    };
    let mut rows: Vec<Row> = vec![
        ("PATCH", of(":method", "PATCH"), "200"),
        ("lower case", of(":method", "get"), "200"),
        ("unknown", of(":method", "M-SEARCH"), "200"),
        (
            "long",
            of(":method", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            "501",
        ),
        ("TRACE", of(":method", "TRACE"), "405"),
        ("CONNECT", asked(&[connect, (":authority", "a.test:443")]), "405"),
        ("CONNECT without a port", asked(&[connect, (":authority", "a.test")]), "400"),
        ("CONNECT with a path", asked(&[connect, (":authority", "a.test:443"), (":path", "/")]), BAD),
        ("CONNECT with a scheme", asked(&[connect, (":scheme", "http"), (":authority", "a.test:443")]), BAD),
        ("CONNECT to nobody", asked(&[connect]), BAD),
        ("a tunnel for another protocol", asked(&tunnel("x")), "501"),
        ("a tunnel for CR and LF", asked(&tunnel("websocket\r\nX: y")), "501|reset PROTOCOL_ERROR"),
        ("a tunnel without a path", asked(&tunnel("websocket")[..4]), BAD),
        (
            "a tunnel without a scheme",
            asked(&[connect, (":protocol", "websocket"), (":authority", "a.test"), (":path", "/")]),
            BAD,
        ),
        ("a tunnel for two protocols", asked(&[&tunnel("websocket")[..2], &tunnel("websocket")[1..]].concat()), BAD),
    ];
    let methods = [
        "",
        "GE T",
        "GET ",
        " GET",
        "GET\t",
        "GET\r\n",
        "GET /smuggled HTTP/1.1\r\nX: y\r\n",
        "G\0T",
        "G:T",
        "G/T",
        "<",
        "\"",
    ];
    rows.extend(methods.map(|method| (method, of(":method", method), NONE)));
    judge(&rows);
}

#[test]
fn a_body_is_as_long_as_it_says() {
    let length = |value: &'static str| [("content-length", value)];
    let of_two = |a: &'static str, b: &'static str| [("content-length", a), ("content-length", b)];
    let hidden = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let trailers =
        |data: &str, more: &[u8]| [begun(&length("5")), frame(DATA, 0, 1, data.as_bytes()), more.to_vec()].concat();
    let end = headers(1, END_STREAM, &[("x-sum", "1")]);
    let mut rows: Vec<Row> = vec![
        ("as long", posted(&length("5"), &["hello"]), "200"),
        ("as long, in pieces", posted(&length("5"), &["he", "", "llo", ""]), "200"),
        ("of no length", posted(&[], &["hello"]), "200"),
        ("of none and no length", posted(&[], &[""]), "200"),
        ("of none", posted(&length("0"), &[""]), "200"),
        ("with leading zeros", posted(&length("005"), &["hello"]), "200"),
        ("too short", posted(&length("5"), &["hell"]), BAD),
        ("too short, in pieces", posted(&length("5"), &["he", "l", ""]), BAD),
        ("too long", posted(&length("5"), &["hello!"]), BAD),
        ("too long, in pieces", posted(&length("5"), &["hello", "!"]), BAD),
        ("none where some was said", posted(&length("5"), &[""]), BAD),
        ("no DATA where some was said", with(&length("5")), BAD),
        ("some where none was said", posted(&length("0"), &[hidden]), BAD),
        ("chunks", posted(&[("transfer-encoding", "chunked")], &[hidden]), BAD),
        ("chunks and a length", posted(&[("transfer-encoding", "chunked"), ("content-length", "5")], &["hello"]), BAD),
        ("two lengths", posted(&of_two("5", "6"), &["hello"]), BAD),
        ("two lengths, the second right", posted(&of_two("0", "5"), &["hello"]), BAD),
        ("too short before trailers", trailers("hell", &end), BAD),
        ("as long before trailers", trailers("hello", &end), "200"),
        ("what looks like chunks", posted(&[], &[hidden]), "200"),
    ];
    let values = [
        "",
        "+5",
        "-5",
        "5 ",
        " 5",
        "5, 5",
        "5,5",
        "0x5",
        "5;",
        "5.0",
        "five",
        "5\u{b2}",
        "18446744073709551621",
        "99999999999999999999",
    ];
    rows.extend(
        values.map(|value| (value, posted(&[("content-length", value)], &["hello"]), "reset PROTOCOL_ERROR|4xx")),
    );
    rows.push(("CR and LF in a length", posted(&length("5\r\nx: y"), &["hello"]), NONE));
    judge(&rows);
}

#[test]
fn trailers_are_fields_and_the_end() {
    let behind =
        |fields: &[(&str, &str)]| [begun(&[]), frame(DATA, 0, 1, b"hello"), headers(1, END_STREAM, fields)].concat();
    let one = |name: &'static str, value: &'static str| behind(&[(name, value)]);
    const PART: &str = "reset PROTOCOL_ERROR|away PROTOCOL_ERROR|400";
    let open = || [begun(&[]), frame(DATA, 0, 1, b"hello"), headers(1, 0, &[("x", "1")])].concat();
    judge(&[
        ("a field", one("x-sum", "1"), "200"),
        ("none", behind(&[]), "200"),
        ("without a body", [begun(&[]), headers(1, END_STREAM, &[("x", "1")])].concat(), "200"),
        ("a path", one(":path", "/admin"), PART),
        ("a method", one(":method", "GET"), PART),
        ("a status", one(":status", "200"), PART),
        ("a pseudo-field behind a field", behind(&[("x", "y"), (":path", "/")]), PART),
        ("a pseudo-field that nobody knows", one(":x", "y"), PART),
        ("connection", one("connection", "close"), PART),
        ("transfer-encoding", one("transfer-encoding", "chunked"), PART),
        ("content-length", one("content-length", "5"), PART),
        ("host", one("host", "b.test"), PART),
        ("authorization", one("authorization", "x"), PART),
        ("an upper-case name", one("X-Up", "1"), PART),
        ("CR and LF", one("x", SMUGGLED), PART),
        ("CR and LF in a name", one(SMUGGLED, "x"), PART),
        ("a space before a value", one("x", " y"), PART),
        ("no end", open(), PART),
        ("more behind them", [open(), frame(DATA, END_STREAM, 1, b"x")].concat(), PART),
    ]);
}

#[test]
fn what_is_given_up_at_once_never_reaches_an_upstream() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    // Its SETTINGS are read before, so that what follows comes in one piece.
    assert_eq!(client.next().unwrap().kind, SETTINGS);
    let gone = |stream| [get(stream, "/gone"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    client.send([gone(1), gone(3), gone(5), get(7, "/next")].concat());
    assert_eq!(client.told(7), Told::Status(200));
    assert_eq!(upstream.log().requests.len(), 1);
}

#[test]
fn streams_beyond_those_allowed_are_refused_and_the_others_served() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    assert_eq!(client.next().unwrap().kind, SETTINGS);
    let stream = |n: u32| 2 * n + 1;
    let all: Vec<u8> = (0..140).flat_map(|n| headers(stream(n), 0, &request("POST", "/", &[]))).collect();
    client.send(all);
    for n in 128..140 {
        assert_eq!(client.told(stream(n)), Told::Reset(7), "stream {}", stream(n));
    }
    client.send(frame(DATA, END_STREAM, 1, b""));
    assert_eq!(client.told(1), Told::Status(200));
    client.body(1);
    client.send(get(stream(140), "/next"));
    assert_eq!(client.told(stream(140)), Told::Status(200));
}

#[test]
fn malformed_requests_have_an_end() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    let mut malformed = (0..1000).map(|n| headers(2 * n + 1, END_STREAM, &request("GET", "/", &[("host", "b.test")])));
    let _ = malformed.all(|request| client.send(request));
    assert_eq!(client.told(u32::MAX), Told::Away(11));
    assert_eq!(upstream.log().requests.len(), 0);
    gateway.check_serves();
}

/// All that a client is told of stream 1, a word each: statuses, the body, `trailers`, and `end`, or how it broke off.
fn heard(client: &mut H2) -> String {
    let mut words = Vec::new();
    let mut body = Vec::new();
    loop {
        let Some(frame) = client.next() else {
            words.push("closed".to_owned());
            break;
        };
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            HEADERS if frame.stream == 1 => match status(&frame.payload) {
                Some(status) => words.push(status.to_string()),
                None => {
                    words.push(String::from_utf8_lossy(&std::mem::take(&mut body)).into_owned());
                    words.push("trailers".to_owned());
                }
            },
            DATA if frame.stream == 1 => body.extend(&frame.payload),
            RST_STREAM if frame.stream == 1 => {
                words.push(format!("{}reset", String::from_utf8_lossy(&body)));
                break;
            }
            _ => continue,
        }
        if ends {
            if !body.is_empty() {
                words.push(String::from_utf8_lossy(&body).into_owned());
            }
            words.push("end".to_owned());
            break;
        }
    }
    words.join(" ")
}

#[test]
fn answers_turn_into_frames() {
    const ANY: &str = "*";
    let rows: &[(&str, &str, &[&str], &str)] = &[
        ("a length", "GET", &["HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"], "200 ok end"),
        ("chunks", "GET", &["HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nok\\r\\n1\\r\\n!\\r\\n0\\r\\n\\r\\n"], "200 ok! end"),
        ("chunks for HEAD", "HEAD", &["HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"], "200 end"),
        ("a length for HEAD", "HEAD", &["HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n"], "200 end"),
        ("no content", "GET", &["HTTP/1.1 204 x\\r\\n\\r\\n"], "204 end"),
        ("not modified", "GET", &["HTTP/1.1 304 x\\r\\nContent-Length: 10\\r\\n\\r\\n"], "304 end"),
        ("an empty body", "GET", &["HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"], "200 end"),
        ("a body up to the close", "GET", &["HTTP/1.1 200 OK\\r\\n\\r\\nok", "@close"], "200 ok end"),
        ("a close behind the body", "GET", &["HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok", "@close"], "200 ok end"),
        ("trailers", "GET", &["HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nok\\r\\n0\\r\\nX-Sum: 1\\r\\n\\r\\n"], "200 ok trailers end"),
        ("early hints", "GET", &["HTTP/1.1 103 x\\r\\nLink: </a>\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"], "103 200 ok end"),
        ("a 100 that nobody waits for", "GET", &["HTTP/1.1 100 x\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"], "200 ok end"),
        ("a 101 that nobody asked for", "GET", &["HTTP/1.1 101 x\\r\\nConnection: Upgrade\\r\\nUpgrade: x\\r\\n\\r\\n", "@close"], "502 *"),
        ("a length, broken off", "GET", &["HTTP/1.1 200 OK\\r\\nContent-Length: 20\\r\\n\\r\\nok", "@close"], "reset"),
        ("chunks, broken off", "GET", &["HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nok\\r\\n", "@close"], "reset"),
        ("chunks, reset", "GET", &["HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nok\\r\\n", "@reset"], "reset"),
        ("a head, broken off", "GET", &["HTTP/1.1 200 OK\\r\\nCont", "@close"], "502 *"),
        ("nothing", "GET", &["@close"], "502 *"),
        ("no head", "GET", &["HELLO\\r\\n\\r\\n", "@close"], "502 *"),
        ("a head too large", "GET", &["HTTP/1.1 200 OK\\r\\nX: \\{y*200000}\\r\\n\\r\\n", "@close"], "502 *"),
        ("a length and chunks", "GET", &["HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\nContent-Length: 2\\r\\n\\r\\n2\\r\\nok\\r\\n0\\r\\n\\r\\n"], "502 *"),
        ("two lengths", "GET", &["HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nContent-Length: 3\\r\\n\\r\\nok!"], "502 *"),
        ("more than the length", "GET", &["HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nokHTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil"], "200 ok end"),
    ];
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut wrong = Vec::new();
    for (name, method, script, want) in rows {
        let script: Vec<Step> = script.iter().flat_map(|step| steps(step)).collect();
        upstream.begin(vec![script], &Board::default());
        let mut client = H2::to(gateway.proxy);
        client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send(asked(&request(method, "/x", &[])));
        let said = heard(&mut client);
        let fits = match want.strip_suffix(ANY) {
            Some(begin) => said.starts_with(begin) && (said.ends_with(" end") || said.ends_with("reset")),
            // A head that was not sent yet goes with the rest.
            None if *want == "reset" => said.ends_with("reset"),
            None => said == *want,
        };
        if !fits {
            wrong.push(format!("{name}: {said}, not {want}"));
        }
        client.send(get(3, "/canary"));
        let next = (client.told(3), client.body(3));
        if next != (Told::Status(200), b"GET /canary".to_vec()) {
            wrong.push(format!("{name}: the next request is told {next:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_field_of_a_connection_comes_through() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let hop = "HTTP/1.1 200 OK\\r\\nConnection: keep-alive, X-Hop\\r\\nKeep-Alive: timeout=5\\r\\nX-Hop: 1\\r\\nProxy-Connection: x\\r\\n\
               Upgrade: h2c\\r\\nX-END: 1\\r\\nContent-Length: 2\\r\\n\\r\\nok";
    upstream.begin(vec![steps(hop)], &Board::default());
    let url = format!("http://{}/x", gateway.proxy);
    let out = Command::new("curl").args(["-sSi", "--http2-prior-knowledge", &url]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.starts_with("HTTP/2 200") && text.ends_with("ok") && text.contains("\r\nx-end: 1\r\n"), "{text}");
    for name in ["connection:", "keep-alive:", "x-hop:", "upgrade:", "transfer-encoding:"] {
        assert!(!text.to_lowercase().contains(&format!("\n{name}")), "{name} in {text}");
    }
}

#[test]
fn one_that_waits_is_told_to_continue() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    client.send(begun(&[("expect", "100-continue"), ("content-length", "5")]));
    assert_eq!(client.told(1), Told::Status(100));
    client.send(frame(DATA, END_STREAM, 1, b"hello"));
    assert_eq!(client.told(1), Told::Status(200));
}

#[test]
fn one_that_is_refused_right_behind_a_100_is_told_so_behind_it() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut client = H2::to(gateway.proxy);
    let both = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let scripts = vec![vec![Step::Send(both.into()), Step::Drain]];
    upstream.begin(scripts, &Board::default());
    client.send(begun(&[("expect", "100-continue"), ("content-length", "5")]));
    assert_eq!(client.told(1), Told::Status(100));
    assert_eq!(client.told(1), Told::Status(403));
    assert_eq!(client.body(1), b"no");
}
