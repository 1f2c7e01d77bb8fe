//! What comes out of a request: values, order, and what must never come out.

use super::super::rig::{Rig, Seen};
use super::DESCRIPTOR;
use serde_json::{json, Value};

#[track_caller]
fn ask(config: Value, request: &str) -> Seen {
    let mut rig = Rig::new(&DESCRIPTOR, config);
    rig.captures = vec![("user", "u1"), ("rest", "r/2")];
    rig.ask(request)
}

/// Values of `X-A` and `X-B`, of a request with `X-A: 1`.
#[track_caller]
fn headers(config: Value, want: [&str; 2]) {
    let seen = ask(config.clone(), "GET /\nX-A: 1");
    assert_eq!(seen.said(), "next", "{config}");
    let got = [seen.upstream_values("X-A", &["1"]).join("|"), seen.upstream_values("X-B", &[]).join("|")];
    assert_eq!(got, want, "{config}");
}

#[test]
fn headers_are_changed_in_order() {
    headers(json!({}), ["1", ""]);
    headers(json!({"remove": {"headers": ["x-a"]}}), ["", ""]);
    headers(json!({"remove": {"headers": ["x-a:1"]}}), ["", ""]);
    headers(json!({"rename": {"headers": ["x-a:x-b"]}}), ["", "1"]);
    headers(json!({"rename": {"headers": {"x-a": "x-b"}}}), ["", "1"]);
    headers(json!({"replace": {"headers": ["x-a:2", "x-b:2"]}}), ["2", ""]);
    headers(json!({"add": {"headers": ["x-a:2", "x-b:2"]}}), ["1", "2"]);
    headers(json!({"append": {"headers": ["x-a:2", "x-a:3", "x-b:4"]}}), ["1|2|3", "4"]);
    headers(json!({"remove": {"headers": ["x-a"]}, "add": {"headers": ["x-a:2"]}}), ["2", ""]);
    headers(json!({"remove": {"headers": ["x-a"]}, "add": {"headers": ["x-b:$(headers.x_a)"]}}), ["", "1"]);
    headers(json!({"rename": {"headers": ["x-a:x-b"]}, "replace": {"headers": ["x-b:$(headers.x_a)2"]}}), ["", "12"]);
    headers(json!({"add": {"headers": ["x-b:"]}, "replace": {"headers": ["x-a:"]}}), ["1", ""]);
}

#[test]
fn what_a_template_makes_stays_within_its_line() {
    let evil = "GET /?q=1%0d%0aTransfer-Encoding:%20chunked%0d%0a%0d%0aGET%20/admin%00";
    let seen = ask(json!({"add": {"headers": ["x-b:$(query_params.q)"]}}), evil);
    assert_eq!(seen.upstream("x-b"), Some("1  Transfer-Encoding: chunked    GET /admin "));
    let seen = ask(json!({"add": {"headers": ["Content-Length:$(query_params.q)"]}}), "GET /?q=5");
    assert_eq!(seen.upstream("Content-Length"), None);
    let host = || json!({"replace": {"headers": ["Host:$(query_params.q)"]}});
    assert_eq!(ask(host(), "GET /?q=b.test:80").aim()[3], "b.test:80");
    assert_eq!(ask(host(), "GET /?q=b.test%0d%0aX:y").said(), "400 E(Bad request)");
    assert_eq!(ask(host(), "GET /").said(), "400 E(Bad request)");
    let path = |request: &str| ask(json!({"replace": {"uri": "/a/$(headers.x)"}}), request);
    assert_eq!(path("GET /\nX: b c?d=%41#").aim()[1], "/a/b c%3Fd=%41%23");
    assert_eq!(path("GET /\nX: ../admin").said(), "400 E(Bad request)");
    assert_eq!(path("GET /\nX: %2e%2E%2fadmin").aim()[1], "/a/%252e%252E%252fadmin");
    assert_eq!(path(&format!("GET /\nX: {}", "x".repeat(20_000))).said(), "414 E(URI too long)");
}

#[test]
fn method_path_and_query_are_changed() {
    let rows: &[(Value, &str, [&str; 4])] = &[
        (json!({"http_method": "POST"}), "GET /", ["POST", "-", "-", "-"]),
        (
            json!({"replace": {"uri": "/x/$(uri_captures.rest)/$(uri_captures[1])"}}),
            "GET /u1/r/2?q",
            ["-", "/x/r/2/u1", "-", "-"],
        ),
        (json!({"replace": {"uri": "x"}}), "GET /", ["-", "/x", "-", "-"]),
        (json!({"replace": {"uri": "/x?a=$(headers.h)"}}), "GET /?q=1\nH: a b&c", ["-", "/x", "a=a%20b%26c&q=1", "-"]),
        (json!({"add": {"querystring": ["a:1", "q:2"]}}), "GET /?q=%20", ["-", "-", "q=%20&a=1", "-"]),
        (json!({"append": {"querystring": ["q:2"]}}), "GET /?q=1", ["-", "-", "q=1&q=2", "-"]),
        (json!({"remove": {"querystring": ["q"]}}), "GET /?q=1", ["-", "-", "", "-"]),
        (
            json!({"rename": {"querystring": ["q:p"]}, "add": {"querystring": ["z:$(query_params.q)"]}}),
            "GET /?q=1",
            ["-", "-", "p=1&z=1", "-"],
        ),
        (json!({"replace": {"headers": ["host:x.test"]}}), "GET /", ["-", "-", "-", "x.test"]),
        (
            json!({"http_method": "GET"}),
            "POST /?a=1\nContent-Type: application/x-www-form-urlencoded\n\na=2&b=%20",
            ["GET", "-", "a=1&a=2&b=%20", "-"],
        ),
    ];
    for (config, request, want) in rows {
        let seen = ask(config.clone(), request);
        assert_eq!((seen.said().as_str(), seen.aim()), ("next", want.map(str::to_owned)), "{config} {request}");
    }
    let mut rig = Rig::new(&DESCRIPTOR, json!({"http_method": "GET"}));
    rig.left = Some("b=2");
    let seen = rig.ask("POST /?a=1\nContent-Type: application/x-www-form-urlencoded\n\napikey=secret&b=2");
    assert_eq!(seen.aim()[2], "a=1&b=2", "what was taken out of the form is not in the query");
    assert_eq!(
        ask(json!({"add": {"headers": ["x:$(10 * headers.x)"]}}), "GET /\nX: a").said(),
        "500 E(An unexpected error occurred)"
    );
}

#[test]
fn bodies_are_changed_by_their_type() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let rows: &[(Value, &str, &str, Option<&str>)] = &[
        (json!({"remove": {"body": ["a"]}}), "application/json", r#"{"a":1,"b":[]}"#, Some(r#"{"b":[]}"#)),
        (json!({"rename": {"body": ["a:c"]}}), "Application/JSON; charset=utf-8", r#"{"a":1}"#, Some(r#"{"c":1}"#)),
        (
            json!({"add": {"body": ["a:$(headers.content_type)"]}}),
            "application/json",
            "",
            Some(r#"{"a":"application/json"}"#),
        ),
        (json!({"remove": {"body": ["a"]}}), "application/json", "{broken", None),
        (json!({"remove": {"body": ["a"]}}), "text/plain", "a=1", None),
        (
            json!({"remove": {"body": ["a.b"]}, "dots_in_keys": false}),
            "application/json",
            r#"{"a":{"b":1}}"#,
            Some(r#"{"a":{}}"#),
        ),
        (
            json!({"add": {"body": ["x.y:1"]}, "dots_in_keys": false}),
            "application/json",
            "{}",
            Some(r#"{"x":{"y":"1"}}"#),
        ),
        (json!({"remove": {"body": ["a"]}, "add": {"body": ["b:x y"]}}), FORM, "a=1&c=2", Some("c=2&b=x%20y")),
        (json!({"append": {"body": ["c:3"]}}), FORM, "c=2", Some("c=2&c=3")),
        (json!({"rename": {"body": ["c:d"]}}), FORM, "c=2", Some("d=2")),
        (json!({"replace": {"body": {"old": "new", "new": "old"}}}), "text/plain", "old new", Some("new old")),
        (json!({"replace": {"body": {"old": "new"}}}), "application/json", r#"{"old":1}"#, Some(r#"{"new":1}"#)),
        (json!({"replace": {"body": {"old": "new"}}}), "image/png", "old", None),
        (
            json!({"replace": {"body": {"old": "new"}}, "remove": {"body": ["new"]}}),
            "application/json",
            r#"{"old":1}"#,
            Some("{}"),
        ),
        (json!({"add": {"headers": ["x:1"], "body": ["a:1"]}}), "application/json", "{}", Some(r#"{"a":"1"}"#)),
    ];
    for (config, media, body, want) in rows {
        let seen = ask(config.clone(), &format!("POST /\nContent-Type: {media}\n\n{body}"));
        assert_eq!((seen.said().as_str(), seen.body().as_deref()), ("next", *want), "{config} {media} {body}");
    }
}

#[test]
fn a_body_is_asked_for_only_where_it_is_changed() {
    let words = || json!({"replace": {"body": {"old": "new"}}});
    let fields = || json!({"remove": {"body": ["a"]}});
    let asked = |config: Value, request: &str| ask(config, request).asked_body;
    assert!(!asked(json!({"add": {"headers": ["x:1"]}}), "POST /\nContent-Type: application/json\n\n{}"));
    assert!(!asked(fields(), "POST /\nContent-Type: text/plain\n\n{}"));
    assert!(!asked(fields(), "POST /\nContent-Type: application/json\nContent-Encoding: gzip\n\n{}"));
    assert!(asked(fields(), "POST /\nContent-Type: application/json\nContent-Encoding: identity\n\n{}"));
    assert!(asked(words(), "POST /\n\nold"));
    assert!(!asked(words(), "POST /\nContent-Type: image/png\n\nold"));
    let retyped = json!({"replace": {"headers": ["content-type:application/json"]}, "add": {"body": ["a:1"]}});
    let seen = ask(retyped, "POST /\nContent-Type: text/plain\n\n{}");
    assert_eq!(seen.body().as_deref(), Some(r#"{"a":"1"}"#), "judged by the type after the headers were changed");
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let config = || json!({"replace": {"body": {"a": "bbbb"}}});
    let large = "413 E(Payload too large)";
    let body = "x".repeat((1 << 20) + 1);
    assert_eq!(ask(config(), &format!("POST /\n\n{body}")).said(), large);
    assert_eq!(ask(config(), "POST /\nContent-Length: 1048577\n\n").said(), large);
    assert_eq!(ask(config(), &format!("POST /\n\n{}", "a".repeat(1 << 19))).said(), large, "it would grow too much");
    let multipart = "POST /?q=x%0d%0a--B--\nContent-Type: multipart/form-data; boundary=B\n\n";
    assert_eq!(ask(json!({"add": {"body": ["a:$(query_params.q)"]}}), multipart).said(), "400 E(Bad request)");
}
