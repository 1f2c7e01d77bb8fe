//! Callers of gRPC services that speak no gRPC: gRPC-Web in bytes and text, JSON by annotations; and a caller that does, by
//! grpcio. The service is a server of grpcio, clients are curl and raw bytes.

use crate::harness::greeter::{script, Greeter, PYTHON};
use crate::harness::{Gateway, Setup, PATIENCE};
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// A gateway before `greeter`, whose answers are those of these plugins.
pub(crate) fn gateway(greeter: &Greeter, plugins: &str) -> Gateway {
    let mut setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: greeter\n  url: grpc://{}\n  retries: 0\n  read_timeout: 20000\n  routes:\n  \
         - {{name: web, protocols: [http, https], paths: [/], strip_path: false}}\n  plugins: {plugins}\n",
        greeter.addr
    ));
    setup.listen = "http2".into();
    setup.start()
}

fn proto() -> String {
    format!("{}/config/greeter.proto", env!("CARGO_MANIFEST_DIR"))
}

/// What curl gets: status, fields and body.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) fields: String,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn curl(gateway: &Gateway, path: &str, args: &[&str], body: Option<&[u8]>) -> Got {
    let mut command = Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "20"]).args(args);
    if body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    command.arg(format!("http://{}{path}", gateway.proxy));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.unwrap_or_default()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "curl: {}", String::from_utf8_lossy(&out.stderr));
    let end = out.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let fields = String::from_utf8_lossy(&out.stdout[..end]).into_owned();
    let status = fields.split_whitespace().nth(1).unwrap().parse().unwrap();
    Got { status, fields, body: out.stdout[end + 4..].to_vec() }
}

pub(crate) fn framed(flags: u8, message: &[u8]) -> Vec<u8> {
    [&[flags], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// A message with this text.
pub(crate) fn message(text: &str) -> Vec<u8> {
    framed(0, &[&[0x0a, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
}

/// The messages of a body: flags and content.
pub(crate) fn messages(mut body: &[u8]) -> Vec<(u8, String)> {
    let mut out = Vec::new();
    while let [flags, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        out.push((*flags, String::from_utf8_lossy(&rest[..length]).into_owned()));
        body = &rest[length..];
    }
    assert!(body.is_empty(), "{} bytes behind the last message", body.len());
    out
}

/// Base64 of several pieces, each padded.
fn decoded(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).expect("base64")).collect()
}

pub(crate) const HELLO: &str = "/helloworld.Greeter/SayHello";
pub(crate) const HELLOS: &str = "/helloworld.Greeter/SayHellos";

#[test]
fn browsers_call_in_bytes_and_in_text() {
    let greeter = Greeter::start();
    let gateway = gateway(&greeter, "[{name: grpc-web}]");
    let (al, missing) = (message("Al"), message("missing"));
    for version in ["--http1.1", "--http2-prior-knowledge", "--http1.0"] {
        for media in ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"] {
            let is_text = media.ends_with("text");
            let told = |bytes: &[u8]| if is_text { STANDARD.encode(bytes).into_bytes() } else { bytes.to_vec() };
            let read = |body: &[u8]| messages(&if is_text { decoded(body) } else { body.to_vec() });
            let kind = format!("Content-Type: {media}");
            let args = [version, "-H", &kind, "-H", "X-Grpc-Web: 1"];
            let got = curl(&gateway, HELLO, &args, Some(&told(&al)));
            assert_eq!((got.status, got.field("content-type")), (200, Some(media)), "{}", got.fields);
            assert_eq!(got.field("access-control-allow-origin"), Some("*"));
            assert_eq!(got.field("x-initial"), Some("begun"));
            let [(0, hello), (0x80, trailers)] = &read(&got.body)[..] else { panic!("{:?}", got.text()) };
            assert_eq!(hello, "\n\u{8}hello Al");
            let mut lines: Vec<&str> =
                trailers.split_terminator("\r\n").filter(|line| *line != "grpc-message:").collect();
            lines.sort_unstable();
            assert_eq!(lines, ["grpc-status:0", "x-trailing:done"], "{version} {media}");

            let got = curl(&gateway, HELLO, &args, Some(&told(&missing)));
            let [(0x80, trailers)] = &read(&got.body)[..] else { panic!("{:?}", got.text()) };
            assert!(trailers.contains("grpc-status:5\r\n"), "{trailers}");
            assert!(trailers.contains("grpc-message:no such name: %C3%A9 100%25\r\n"), "{trailers}");

            let got = curl(&gateway, HELLOS, &args, Some(&told(&message("late"))));
            let [(0, first), (0x80, trailers)] = &read(&got.body)[..] else { panic!("{:?}", got.text()) };
            assert!(first.ends_with("hello late 0") && trailers.contains("grpc-status:14\r\n"), "{trailers}");
        }
    }
}

#[test]
fn a_preflight_is_answered_and_refusals_are_statuses() {
    let greeter = Greeter::start();
    let gateway =
        gateway(&greeter, "[{name: grpc-web, config: {allow_origin_header: 'https://a.test'}}, {name: key-auth}]");
    let web = ["-H", "Content-Type: application/grpc-web+proto"];
    let got = curl(&gateway, HELLO, &web, Some(&message("Al")));
    assert_eq!((got.status, got.field("grpc-status")), (401, Some("16")), "{}", got.fields);
    assert_eq!(got.field("access-control-allow-origin"), Some("https://a.test"));
    let told = "grpc-status:16\r\ngrpc-message:No API key found in request\r\n".to_owned();
    assert_eq!(messages(&got.body), [(0x80, told)]);

    let plain = self::gateway(&greeter, "[{name: grpc-web}]");
    let got = curl(&plain, HELLO, &["-X", "OPTIONS", "-H", "Origin: https://a.test"], None);
    assert_eq!((got.status, got.text().as_str()), (200, "OK"));
    assert_eq!(got.field("access-control-allow-methods"), Some("POST"));
    assert_eq!(got.field("access-control-allow-headers"), Some("content-type,x-grpc-web,x-user-agent"));
    let got = curl(&plain, HELLO, &["-H", "Content-Type: text/plain"], Some(b"x"));
    assert_eq!(got.status, 400, "{}", got.fields);
    // A caller of gRPC on the same route.
    let native = ["--http2-prior-knowledge", "-H", "Content-Type: application/grpc", "-H", "TE: trailers"];
    let got = curl(&plain, HELLO, &native, Some(&message("Al")));
    // curl shows trailers behind the body.
    assert!(got.body.starts_with(&message("hello Al")), "{:?}", got.text());
    assert!(got.text().contains("grpc-status: 0\r\n"), "{:?}", got.text());
    // The caller's own time is the service's.
    let hurried = ["-H", "Content-Type: application/grpc-web", "-H", "grpc-timeout: 300m"];
    let got = curl(&plain, HELLO, &hurried, Some(&message("slow")));
    let [(0x80, trailers)] = &messages(&got.body)[..] else { panic!("{:?}", got.text()) };
    assert!(trailers.starts_with("grpc-status:4\r\n"), "{trailers}");
}

#[test]
fn an_upstream_that_is_not_there_is_a_status() {
    let greeter = Greeter::start();
    let gateway = gateway(&greeter, "[{name: grpc-web}]");
    drop(greeter);
    let got = curl(&gateway, HELLO, &["-H", "Content-Type: application/grpc-web-text"], Some(b"AAAAAAA="));
    assert_eq!((got.status, got.field("grpc-status")), (502, Some("13")), "{}", got.fields);
    let [(0x80, trailers)] = &messages(&decoded(&got.body))[..] else { panic!("{:?}", got.text()) };
    assert!(trailers.starts_with("grpc-status:13\r\n"), "{trailers}");
}

/// Sends a request and reads its answer until `first` has come; then whatever `then` does, and the rest.
fn streamed(gateway: &Gateway, request: &str, body: &[u8], first: &str, then: impl FnOnce()) -> String {
    let mut stream = TcpStream::connect(gateway.proxy).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), b"Content-Type: application/grpc-web-text\r\n\r\n", body].concat()).unwrap();
    let (mut got, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&got).contains(first) {
        let bytes = stream.read(&mut piece).expect("more comes");
        assert!(bytes > 0, "it ended: {}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&piece[..bytes]);
    }
    then();
    stream.read_to_end(&mut got).unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn messages_come_as_they_are_sent() {
    let go = |greeter: &Greeter| {
        let other = gateway(greeter, "[{name: grpc-web}]");
        curl(&other, HELLO, &["-H", "Content-Type: application/grpc-web"], Some(&message("go")));
    };
    let greeter = Greeter::start();
    let gateway = gateway(&greeter, "[{name: grpc-web}]");
    let first = STANDARD.encode(message("hello held 0"));
    let body = STANDARD.encode(message("held"));
    let got = streamed(&gateway, &format!("POST {HELLOS}"), body.as_bytes(), &first, || go(&greeter));
    assert!(got.contains(&STANDARD.encode(message("hello held 1"))), "{got}");

    let greeter = Greeter::start();
    let gateway = self::gateway(&greeter, &format!("[{{name: grpc-gateway, config: {{proto: {}}}}}]", proto()));
    let first = "{\"message\":\"hello held 0\"}\n";
    let got = streamed(&gateway, "GET /v1/greetings/held", b"", first, || go(&greeter));
    assert!(got.contains("{\"message\":\"hello held 1\"}\n"), "{got}");
}

#[test]
fn json_is_told_as_calls() {
    let greeter = Greeter::start();
    let gateway = gateway(&greeter, &format!("[{{name: grpc-gateway, config: {{proto: {}}}}}]", proto()));
    let json = ["-H", "Content-Type: application/json"];
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let ask = |path: &str, body: Option<&str>| {
            let args = [&[version], &json[..]].concat();
            let got = curl(&gateway, path, &args, body.map(str::as_bytes));
            assert_eq!(
                got.field("content-type").map(|media| media.starts_with("application/json")),
                Some(true),
                "{}",
                got.fields
            );
            (got.status, got.text())
        };
        assert_eq!(ask("/v1/greeting/Al%20B", None), (200, r#"{"message":"hello Al B"}"#.to_owned()));
        assert_eq!(ask("/v1/greeting", Some(r#"{"name":"Al"}"#)), (200, r#"{"message":"hello Al"}"#.to_owned()));
        let missing = "{\"code\":5,\"message\":\"no such name: \u{e9} 100%\"}";
        assert_eq!(ask("/v1/greeting/missing", None), (404, missing.to_owned()));
        let two = "{\"message\":\"hello Al 0\"}\n{\"message\":\"hello Al 1\"}\n";
        assert_eq!(ask("/v1/greetings/Al?times=2", None), (200, two.to_owned()));
        let late = "{\"message\":\"hello late 0\"}\n{\"error\":{\"code\":14,\"message\":\"gone\"}}\n";
        assert_eq!(ask("/v1/greetings/late", None), (200, late.to_owned()));
        let none = "{\"code\":5,\"message\":\"no such name\"}\n";
        assert_eq!(ask("/v1/greetings/missing", None), (404, none.to_owned()));
        assert_eq!(ask("/v1/greetings/Al?times=many", None).0, 400);
    }
    let got = curl(&gateway, "/v1/greeting", &["-X", "OPTIONS"], None);
    assert_eq!((got.status, got.text().as_str(), got.field("access-control-allow-origin")), (200, "OK", Some("*")));

    // The same by the paths of calls, as the other plugin has it.
    let gateway = self::gateway(&greeter, &format!("[{{name: grpc-web, config: {{proto: {}}}}}]", proto()));
    let got = curl(&gateway, HELLO, &json, Some(br#"{"name":"Al"}"#));
    assert_eq!((got.status, got.text()), (200, r#"{"message":"hello Al"}"#.to_owned()));
    let got = curl(
        &gateway,
        HELLO,
        &["-H", "Content-Type: application/grpc-web+json"],
        Some(&framed(0, br#"{"name":"Al"}"#)),
    );
    assert_eq!(messages(&got.body)[0], (0, r#"{"message":"hello Al"}"#.to_owned()));
}

#[test]
fn a_transformer_changes_what_was_told_in_json() {
    let greeter = Greeter::start();
    let plugins = format!(
        "[{{name: grpc-gateway, config: {{proto: {}}}}}, {{name: response-transformer, config: {{add: {{json: ['more:1']}}}}}}]",
        proto()
    );
    let gateway = gateway(&greeter, &plugins);
    let got = curl(&gateway, "/v1/greeting/Al", &[], None);
    assert_eq!((got.status, got.text()), (200, r#"{"message":"hello Al","more":"1"}"#.to_owned()));
}

/// A proto that does not compile is a fault of the file that names it, with its own place and the compiler's words.
#[test]
fn a_proto_with_a_fault_is_a_fault_of_the_configuration() {
    let dir = std::env::temp_dir().join(format!("ringway-proto-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (kong, proto) = (dir.join("kong.yml"), dir.join("a.proto"));
    std::fs::write(&proto, "syntax = \"proto3\";\nmessage A { B b = 1; }\n").unwrap();
    let config =
        format!("_format_version: \"3.0\"\nplugins:\n- name: grpc-web\n  config:\n    proto: {}\n", proto.display());
    std::fs::write(&kong, config).unwrap();
    let (code, out, _) = crate::harness::gateway::ringway(&["check", "-c", &kong.display().to_string()]);
    std::fs::remove_dir_all(&dir).unwrap();
    let want = format!("kong.yml:5:12: plugins[0].config.proto: {}:2:13: ", proto.display());
    assert!(code == 1 && out.contains(&want), "{out}");
}

#[test]
fn grpcio_calls_through_the_gateway() {
    let greeter = Greeter::start();
    let mut setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: greeter\n  url: grpc://{}\n  routes:\n  - {{name: calls, protocols: [grpc], \
         paths: [/helloworld.Greeter]}}\n",
        greeter.addr
    ));
    setup.listen = "http2".into();
    let gateway = setup.start();
    let out = Command::new(PYTHON).arg(script("caller.py")).arg(gateway.proxy.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "after {said}: {}", String::from_utf8_lossy(&out.stderr));
    let want = [
        "unary",
        "server streaming",
        "client streaming",
        "both ways, in turn",
        "failure",
        "deadline",
        "cancellation",
        "large metadata",
        "large message",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), want);
}
