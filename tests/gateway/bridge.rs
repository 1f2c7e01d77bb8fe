//! `grpc-http1-bridge` before a server of grpcio: curl calls by HTTP/1.1. And it and grpc-web before one over TLS.

use crate::harness::greeter::Greeter;
use crate::harness::Setup;
use crate::tls::file;
use crate::web::{curl, framed, gateway, message, messages, HELLO, HELLOS};

#[test]
fn a_call_by_http1_has_its_status_in_fields() {
    let greeter = Greeter::start();
    let gateway = gateway(&greeter, "[{name: grpc-http1-bridge}]");
    for version in ["--http1.1", "--http1.0"] {
        let args = [version, "-H", "Content-Type: application/grpc"];
        let got = curl(&gateway, HELLO, &args, Some(&message("Al")));
        assert_eq!((got.status, got.field("grpc-status")), (200, Some("0")), "{}", got.fields);
        assert_eq!(got.field("content-type"), Some("application/grpc"));
        assert_eq!(got.field("content-length"), Some(got.body.len().to_string().as_str()));
        assert_eq!(got.field("x-initial"), Some("begun"));
        assert_eq!(messages(&got.body), [(0, "\n\u{8}hello Al".to_owned())]);

        let got = curl(&gateway, HELLO, &args, Some(&message("missing")));
        assert_eq!((got.status, got.field("grpc-status")), (503, Some("5")), "{}", got.fields);
        assert_eq!(got.field("grpc-message"), Some("no such name: %C3%A9 100%25"));
        assert_eq!((got.field("content-length"), got.text().as_str()), (Some("0"), ""));

        // What had come of an answer that failed is told with it.
        let got = curl(&gateway, HELLOS, &args, Some(&message("late")));
        assert_eq!((got.status, got.field("grpc-status")), (503, Some("14")), "{}", got.fields);
        assert_eq!(messages(&got.body), [(0, "\n\u{c}hello late 0".to_owned())]);

        let got = curl(&gateway, "/helloworld.Greeter/Nothing", &args, Some(&message("Al")));
        assert_eq!((got.status, got.field("grpc-status")), (503, Some("12")), "{}", got.fields);
    }
    // Callers of HTTP/2 read trailers, and the plugin has nothing to do with others.
    let native = ["--http2-prior-knowledge", "-H", "Content-Type: application/grpc", "-H", "TE: trailers"];
    let got = curl(&gateway, HELLO, &native, Some(&message("missing")));
    assert_eq!(got.status, 200, "{}", got.fields);
    let got = curl(&gateway, HELLO, &["-H", "Content-Type: text/plain"], Some(b"x"));
    assert_eq!((got.status, got.field("grpc-status")), (200, Some("12")), "as the service says it: {}", got.fields);
}

#[test]
fn a_message_alone_is_framed_and_refusals_are_statuses() {
    let greeter = Greeter::start();
    let alone = "[{name: grpc-http1-bridge, config: {upgrade_protobuf_to_grpc: true, ignore_query_parameters: true}}]";
    let gateway = gateway(&greeter, alone);
    let args = ["--http1.1", "-H", "Content-Type: application/x-protobuf"];
    let got = curl(&gateway, &format!("{HELLO}?trace=1"), &args, Some(b"\x0a\x02Al"));
    assert_eq!((got.status, got.field("grpc-status")), (200, Some("0")), "{}", got.fields);
    assert_eq!((got.field("content-type"), got.text().as_str()), (Some("application/x-protobuf"), "\n\u{8}hello Al"));
    let got = curl(&gateway, HELLO, &args, Some(b"\x0a\x07missing"));
    assert_eq!((got.status, got.field("grpc-status"), got.text().as_str()), (503, Some("5"), ""), "{}", got.fields);
    // Two messages are no answer to one.
    let got = curl(&gateway, HELLOS, &args, Some(b"\x0a\x02Al"));
    assert_eq!((got.status, got.field("grpc-status")), (503, Some("13")), "{}", got.fields);
    let long = vec![b'a'; 2 << 20];
    let got = curl(&gateway, HELLO, &[&args[..], &["-H", "Expect:"]].concat(), Some(&long));
    assert_eq!((got.status, got.field("grpc-status")), (413, Some("3")), "{}", got.fields);
    // The framed ones pass beside them.
    let args = ["--http1.1", "-H", "Content-Type: application/grpc"];
    let got = curl(&gateway, HELLO, &args, Some(&framed(0, b"\x0a\x02Al")));
    assert_eq!(messages(&got.body), [(0, "\n\u{8}hello Al".to_owned())]);

    let locked = crate::web::gateway(&greeter, "[{name: grpc-http1-bridge}, {name: key-auth}]");
    let got = curl(&locked, HELLO, &args, Some(&message("Al")));
    assert_eq!((got.status, got.field("grpc-status")), (401, Some("16")), "{}", got.fields);
    assert_eq!(got.field("grpc-message"), Some("No API key found in request"));
}

#[test]
fn services_over_tls_are_called_too() {
    let (key, cert) = (file("up.key"), file("up.pem"));
    let greeter = Greeter::with(&[&key, &cert]);
    for (plugin, media) in [("grpc-web", "application/grpc-web"), ("grpc-http1-bridge", "application/grpc")] {
        let mut setup = Setup::kong(format!(
            "_format_version: \"3.0\"\nservices:\n- name: greeter\n  url: grpcs://{}\n  retries: 0\n  routes:\n  - {{name: web, \
             protocols: [http, https], paths: [/], strip_path: false}}\n  plugins: [{{name: {plugin}}}]\n",
            greeter.addr
        ));
        setup.node.push(format!("tls: {{upstream_authorities: {}, system_authorities: false}}", file("ca.pem")));
        let gateway = setup.start();
        let args = ["--http1.1", "-H", &format!("Content-Type: {media}")];
        let got = curl(&gateway, HELLO, &args, Some(&message("Al")));
        assert_eq!((got.status, got.field("content-type")), (200, Some(media)), "{}", got.fields);
        let told = messages(&got.body);
        assert_eq!(told[0], (0, "\n\u{8}hello Al".to_owned()));
        // The end is a last message, or a field.
        match plugin {
            "grpc-web" => assert!(told[1].0 == 0x80 && told[1].1.contains("grpc-status:0\r\n"), "{told:?}"),
            _ => assert_eq!((told.len(), got.field("grpc-status")), (1, Some("0"))),
        }
        let got = curl(&gateway, HELLO, &args, Some(&message("missing")));
        assert!(got.field("grpc-status") == Some("5") || got.text().contains("grpc-status:5\r\n"), "{}", got.fields);
    }
}
