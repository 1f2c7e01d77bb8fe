//! JSON bodies made to take a validator down: each is answered in a moment, memory stays, and the next request is served.

use crate::harness::echo::Echo;
use crate::harness::{Client, Gateway, Setup};
use std::time::{Duration, Instant};

/// Recursive, with branches, unique items, expressions that others need exponential time for, and conditions.
const SCHEMA: &str = r##"{"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [
    {"type": "string", "pattern": "^(a+)+$"},
    {"type": "number", "multipleOf": 0.01},
    {"type": "array", "items": {"$ref": "#/$defs/t"}, "uniqueItems": true},
    {"type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 1},
    {"type": "object", "patternProperties": {"^(x+x+)+y": true}, "additionalProperties": {"$ref": "#/$defs/t"},
     "propertyNames": {"maxLength": 10000}}]}}}"##;

fn start(up: &Echo) -> Gateway {
    let indented = SCHEMA.replace('\n', "\n        ");
    Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://{}\n  routes: [{{name: r, paths: [/]}}]\n  \
         plugins:\n  - name: request-validator\n    config:\n      version: draft202012\n      verbose_response: true\n      \
         body_schema: |\n        {indented}\n",
        up.addr
    ))
    .start()
}

/// Sends a body; gives the status and how long it took.
fn post(client: &mut Client, body: &str) -> (u16, Duration) {
    let head = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n";
    let begun = Instant::now();
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let status = client.answer("POST").unwrap().head.status();
    (status, begun.elapsed())
}

#[test]
fn json_bombs_are_refused_in_time_and_memory() {
    let up = Echo::start("UP");
    let gateway = start(&up);
    const MIB: usize = 1 << 20;
    let filled = |before: &str, piece: &str, after: &str| {
        let count = (MIB - before.len() - after.len()) / piece.len();
        format!("{before}{}{after}", piece.repeat(count))
    };
    let names = |count: usize, name: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..count).map(|at| format!("\"{}\":1", name(at))).collect();
        format!("{{{}}}", all.join(","))
    };
    let rows: Vec<(&str, String, u16)> = vec![
        ("lists in lists", "[".repeat(MIB), 400),
        ("objects in objects", filled("", "{\"a\":", ""), 400),
        ("as deep as may be, and wrong", format!("{}false{}", "[".repeat(60), "]".repeat(60)), 400),
        ("as deep as may be", format!("{}1{}", "[".repeat(60), "]".repeat(60)), 200),
        ("values without number", filled("[0", ",0", "]"), 400),
        ("empty lists without number", filled("[[]", ",[]", "]"), 400),
        ("a number without end", "9".repeat(MIB), 400),
        ("an exponent", "1e999999999".to_owned(), 400),
        ("a small one", "1e-999999999".to_owned(), 200),
        ("the same name again and again", names(50_000, &|_| "a".to_owned()), 400),
        ("many names", names(40_000, &|at| format!("n{at}")), 200),
        (
            "many values, no two the same",
            format!("[{}]", (0..90_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
            200,
        ),
        ("many values, all the same", format!("[{}0]", "0,".repeat(90_000)), 200),
        ("what backtracks", filled("\"", "a", "!\""), 400),
        ("a name that backtracks", filled("{\"", "x", "\":false}"), 400),
        ("what matches", filled("\"", "a", "\""), 200),
        ("escapes", filled("\"", "\\u0061", "\""), 200),
        ("half a surrogate", "\"\\ud800\"".to_owned(), 400),
        ("larger than is looked into", "[".repeat(MIB + 1), 413),
    ];
    // Warm, so that what is learnt once is not counted.
    post(&mut gateway.client(), "[1]");
    let rss = gateway.rss_kib();
    for (what, body, want) in &rows {
        let (status, took) = post(&mut gateway.client(), body);
        assert_eq!(status, *want, "{what}");
        assert!(took < Duration::from_secs(5), "{what} took {took:?}");
        assert_eq!(post(&mut gateway.client(), "[1]").0, 200, "after {what}");
    }
    assert!(gateway.rss_kib() < rss + 64 * 1024, "grew from {rss} to {} KiB", gateway.rss_kib());
}
