//! Native files as people write them → settings, and what is said about them.

use super::*;
use crate::config::doc;
use crate::plan::{Driver, LogField, Shards};
use std::sync::Arc;

const NOUNS: [&str; 3] = ["services", "routes", "upstreams"];

fn load(text: &str) -> (NodeDraft, Node, Report) {
    let (mut draft, mut report) = (defaults(), Report::default());
    let doc = doc::parse(&Arc::from("n.yaml"), text, &mut report).expect("the tests are YAML");
    let entities = read(doc, &NOUNS, &mut draft, &mut report);
    (draft, entities, report)
}

fn said(report: &Report) -> String {
    report.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(text: &str, holds: impl Fn(&NodeDraft) -> bool) {
    let (draft, _, report) = load(text);
    assert_eq!(said(&report), "", "{text}");
    assert!(holds(&draft), "{text}\n{draft:#?}");
}

#[track_caller]
fn finds(text: &str, want: &str) {
    assert_eq!(said(&load(text).2), want, "{text}");
}

#[test]
fn numbers_are_read_in_their_units() {
    check("runtime: {timeouts: {header: 5s, drain: 2m}}", |d| {
        d.node.runtime.header_timeout_ms == 5000 && d.node.runtime.drain_timeout_ms == 120_000
    });
    check("runtime: {buffers: {small: 8KiB, large: 64KiB, kept: 10}}", |d| {
        let runtime = &d.node.runtime;
        (runtime.buffer_small, runtime.buffer_large, runtime.buffers_kept) == (8192, 65_536, 10)
    });
    check("runtime: {body_max: 10MB}", |d| d.node.runtime.body_bytes_max == 10_000_000);
    check("runtime: {field_max: 16KiB}", |d| d.node.runtime.field_bytes_max == 16 << 10);
    check("runtime: {body_max: unlimited}", |d| d.node.runtime.body_bytes_max == 0);
    check("runtime: {body_rate_min: 1KiB/s}", |d| d.node.runtime.body_rate_min == 1024);
    check("runtime: {body_rate_min: off}", |d| d.node.runtime.body_rate_min == 0);
    check("runtime: {body_rate_min: \"off\"}", |d| d.node.runtime.body_rate_min == 0);
    check("runtime: {upstream: {idle_max: 0, requests_max: unlimited, idle_timeout: never}}", |d| {
        let runtime = &d.node.runtime;
        runtime.upstream_idle_max == 0 && runtime.upstream_requests_max == 0 && runtime.upstream_idle_ms == 0
    });
    check(
        "runtime: {upstream: {age_max: 5m, http2_ping: never, http2_connections_max: 3, http2_streams_max: 7}}",
        |d| {
            let runtime = &d.node.runtime;
            let bounds = (runtime.upstream_http2_connections_max, runtime.upstream_http2_streams_max);
            (runtime.upstream_age_ms, runtime.upstream_http2_ping_ms, bounds) == (300_000, 0, (3, 7))
        },
    );
    check("runtime:\nlisteners:\n", |d| d.node.runtime == Runtime::default() && d.listeners.len() == 1);
}

#[test]
fn shards_are_counted_or_named() {
    let rows = [
        ("auto", Shards::Auto),
        ("3", Shards::Count(3)),
        ("[2, 3]", Shards::Cpus(vec![2, 3])),
        ("{cpus: \"0-2,8\"}", Shards::Cpus(vec![0, 1, 2, 8])),
        ("{cpus: 4}", Shards::Cpus(vec![4])),
        ("{cpus: [5, 4]}", Shards::Cpus(vec![4, 5])),
    ];
    for (text, want) in rows {
        check(&format!("runtime: {{shards: {text}}}"), |d| d.node.runtime.shards == want);
    }
    for bad in ["0", "-1", "many", "[a]", "{cpus: x}", "{cpu: 1}", "1.5"] {
        let (_, _, report) = load(&format!("runtime: {{shards: {bad}}}"));
        assert_eq!(report.findings.len(), 1, "{bad}");
    }
    check("runtime: {driver: epoll, pin: false}", |d| d.node.runtime.driver == Driver::Epoll && !d.node.runtime.pin);
}

#[test]
fn sockets_are_directives_or_maps() {
    check("listeners: 127.0.0.1:80", |d| d.listeners[0].value.name == "proxy 127.0.0.1:80");
    check("listeners: [\"0.0.0.0:80 backlog=9 proxy_protocol\", {address: \"[::]:80\", name: v6, backlog: 7}]", |d| {
        let [one, two] = d.listeners.as_slice() else { return false };
        one.value.bind.backlog == 9
            && one.value.bind.proxy_protocol
            && two.value.name == "v6"
            && two.value.bind.backlog == 7
            && two.value.bind.at == "n.yaml:1:52"
    });
    check("listeners: off\nadmin: off", |d| d.listeners.is_empty() && d.admin.is_empty());
    check("admin: [127.0.0.1:9001]", |d| d.admin[0].value.addr.port() == 9001);
    finds(
        "listeners: [0.0.0.0:80 sll]",
        "n.yaml:1:13: listeners[0]: unknown flag \"sll\"; flags: ssl, http2, proxy_protocol, reuseport, deferred, \
         bind, backlog=N, so_keepalive=, ipv6only=",
    );
    finds(
        "listeners:\n- {name: x}",
        "n.yaml:2:3: listeners[0].address: required field missing; write \"0.0.0.0:8000\"",
    );
    finds(
        "listeners:\n- {address: \"*:80\", bcklog: 1}",
        "n.yaml:2:21: listeners[0].bcklog: unknown field; did you mean \"backlog\"?",
    );
}

#[test]
fn logs_trust_and_headers_are_read() {
    check("access_log: off", |d| d.node.access_log.is_none());
    check("access_log: /dev/stderr", |d| d.node.access_log.as_ref().is_some_and(|log| log.path == LogPath::Stderr));
    check("access_log: {format: {s: $status, m: $request_method}, path: /var/log/a}", |d| {
        d.node.access_log.as_ref().is_some_and(|log| {
            let want = [("s".to_owned(), LogField::Status), ("m".to_owned(), LogField::Method)];
            log.path == LogPath::File("/var/log/a".to_owned()) && log.fields == want
        })
    });
    check("admin_access_log: /dev/stdout\nerror_log: /var/log/e\nlog_level: warn", |d| {
        d.node.admin_log == Some(LogPath::Stdout)
            && d.node.error_log == LogPath::File("/var/log/e".to_owned())
            && d.node.log_level == Level::Warn
    });
    check("trusted_ips: [10.0.0.0/8, \"::1\"]", |d| d.node.trusted.len() == 2);
    check("real_ip: {header: X-Forwarded-For, recursive: true}", |d| {
        d.node.real_ip_header == "x-forwarded-for" && d.node.real_ip_recursive
    });
    check("headers: {server: off, via: me/1.0, debug_trigger: X-Debug, error_type: application/json}", |d| {
        let dress = &d.node.dress;
        dress.server.is_none()
            && dress.via_request.as_deref() == Some("me/1.0")
            && dress.via_reply.as_deref() == Some("me/1.0")
            && dress.debug_trigger.as_deref() == Some("x-debug")
            && dress.error_type == "application/json"
    });
    check("runtime: {hosts: {A.test: 10.0.0.1, b: [10.0.0.2, \"::1\"]}, dns: {servers: [10.0.0.2]}}", |d| {
        d.node.hosts["a.test"].len() == 1 && d.node.hosts["b"].len() == 2 && d.node.dns_servers.len() == 1
    });
}

#[test]
fn faults_have_a_place_a_path_and_a_hint() {
    finds("runtim: {}", "n.yaml:1:1: runtim: unknown field; did you mean \"runtime\"?");
    finds("runtime: {shard: 1}", "n.yaml:1:11: runtime.shard: unknown field; did you mean \"shards\"?");
    finds("servcies: []", "n.yaml:1:1: servcies: unknown field; did you mean \"services\"?");
    finds("runtime: 5", "n.yaml:1:10: runtime: expected a map, not a number");
    finds("[1]", "n.yaml:1:1: expected a map, not a list");
    finds(
        "runtime:\n  timeouts:\n    header: 15",
        "n.yaml:3:13: runtime.timeouts.header: \"15\" has no unit; write \"15ms\", \"15s\", \"15m\" or \"15h\"",
    );
    finds(
        "runtime: {body_max: 5}",
        "n.yaml:1:21: runtime.body_max: \"5\" has no unit; write \"5B\", \"5KiB\" or \"5MiB\"; \
         \"unlimited\" sets no bound",
    );
    finds("runtime: {ring_entries: 1}", "n.yaml:1:25: runtime.ring_entries: 1 is too small; the least is 64");
    finds(
        "runtime: {buffers: {large: 1GiB}}",
        "n.yaml:1:28: runtime.buffers.large: \"1GiB\" is too large; the most is 16MiB",
    );
    finds(
        "runtime: {body_rate_min: 64}",
        "n.yaml:1:26: runtime.body_rate_min: \"64\" is not a rate; write bytes per second, as in \"64B/s\"; \
         \"off\" sets \
         no bound",
    );
    finds(
        "runtime: {buffers: {small: 64KiB, large: 4KiB}}",
        "n.yaml:1:1: runtime.buffers: small (65536 B) is larger than large (4096 B)",
    );
    finds(
        "log_level: loud",
        "n.yaml:1:12: log_level: not one of its words: \"loud\"; write one of: debug, info, warn, error",
    );
    finds(
        "access_log: {format: {s: $staus}}",
        "n.yaml:1:26: access_log.format.s: unknown variable \"$staus\"; did you mean \"$status\"?",
    );
    finds(
        "headers: {server: \"a\\r\\nb\"}",
        "n.yaml:1:19: headers.server: not a header's name or token: \"a\\r\\nb\"; \
         write letters, digits, \"-\", \".\" and \
         \"/\", or \"off\"",
    );
    finds(
        "runtime: {hosts: {a: 10.0.0.1:80}}",
        "n.yaml:1:22: runtime.hosts.a: not an IP address: \"10.0.0.1:80\"; write \"10.0.1.10\" or \
         \"::1\", without a port",
    );
}

#[test]
fn entities_are_handed_on_without_the_settings() {
    let (_, entities, report) =
        load("runtime: {pin: true}\n_comment: x\nservices: [{name: a, read_timeout: 5s}]\nroutes: []\n");
    assert_eq!(said(&report), "");
    assert_eq!(entities.json().to_string(), r#"{"services":[{"name":"a","read_timeout":5000}],"routes":[]}"#);
}

#[test]
fn a_later_file_overwrites_what_it_names_alone() {
    let (mut draft, mut report) = (defaults(), Report::default());
    for text in
        ["runtime: {shards: 2, hosts: {a: 10.0.0.1}}\nlog_level: debug", "runtime: {pin: false, hosts: {b: 10.0.0.2}}"]
    {
        let doc = doc::parse(&Arc::from("n.yaml"), text, &mut report).unwrap();
        read(doc, &NOUNS, &mut draft, &mut report);
    }
    let runtime = &draft.node.runtime;
    assert!(runtime.shards == Shards::Count(2) && !runtime.pin && draft.node.hosts.len() == 2);
    assert_eq!(draft.node.log_level, Level::Debug);
}

/// The rows' defaults, written out as a file, are the defaults: what is shown to people is what holds.
#[test]
fn the_defaults_of_the_schema_are_those_of_the_model() {
    fn example(schema: &serde_json::Value) -> serde_json::Value {
        match schema.get("properties") {
            Some(serde_json::Value::Object(fields)) if schema.get("default").is_none() => fields
                .iter()
                .map(|(name, field)| (name.clone(), example(field)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => schema.get("default").cloned().unwrap_or_default(),
        }
    }
    let (draft, _, report) = load(&example(&schema(&[], &[])).to_string());
    assert_eq!(said(&report), "");
    let wanted = defaults();
    assert_eq!(draft.node.runtime, wanted.node.runtime);
    assert_eq!(draft.node.dress, wanted.node.dress);
    assert_eq!(draft.node.access_log, wanted.node.access_log);
    assert_eq!(
        (draft.node.log_level, &draft.node.real_ip_header),
        (wanted.node.log_level, &wanted.node.real_ip_header)
    );
    let names = |draft: &NodeDraft| draft.listeners.iter().map(|l| l.value.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&draft), names(&wanted));
}

/// config/production.yaml claims to show every setting.
#[test]
fn the_production_example_names_every_setting() {
    fn missing(knobs: &[knobs::Knob], doc: Option<&Node>, path: &str, out: &mut Vec<String>) {
        for knob in knobs {
            let (path, node) = (read::join(path, knob.name), doc.and_then(|doc| doc.get(knob.name)));
            match &knob.kind {
                knobs::Kind::Section(inner) => missing(inner, node, &path, out),
                _ if node.is_none() => out.push(path),
                _ => {}
            }
        }
    }
    let text = include_str!("../../../config/production.yaml");
    let doc = doc::parse(&Arc::from("production.yaml"), text, &mut Report::default()).unwrap();
    let mut out = Vec::new();
    missing(knobs::TOP, Some(&doc), "", &mut out);
    assert_eq!(out, Vec::<String>::new());
}
