//! Targets that fall ill and recover, and requests that stay with theirs: the balancer as clients and targets see it.
//!
//! Rows that need no turning of targets are in `cases/balancing.toml`. Numbers in comments are those of the cases.

use crate::harness::switch::{Mood, Switch};
use crate::harness::{ports, Client, Gateway, Setup, PATIENCE};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};

/// Checks on which every failure counts.
const PASSIVE: &str = "healthchecks: {passive: {unhealthy: {http_failures: 2, tcp_failures: 1, timeouts: 1}}}";

/// An upstream `u.test` with these targets and settings, and a service with these.
fn config(targets: &[SocketAddr], upstream: &str, service: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|addr| format!("{{target: \"{addr}\"}}")).collect();
    let comma = |text: &str| if text.is_empty() { String::new() } else { format!(", {text}") };
    format!(
        "_format_version: \"3.0\"\nupstreams:\n- {{name: u.test, targets: [{}]{}}}\nservices:\n- {{name: s, host: u.test, \
         routes: [{{name: r, paths: [/, '~/user/(?<id>[a-z0-9]+)'], strip_path: false}}]{}}}\n",
        targets.join(", "),
        comma(upstream),
        comma(service)
    )
}

fn switches(count: usize) -> Vec<Switch> {
    (0..count).map(|_| Switch::start()).collect()
}

fn addrs(ups: &[Switch]) -> Vec<SocketAddr> {
    ups.iter().map(|up| up.addr).collect()
}

/// Two shards: what is node-wide must be so from any of them.
fn start(ups: &[Switch], upstream: &str, service: &str) -> Gateway {
    let gateway = Setup::kong(config(&addrs(ups), upstream, service)).runtime("shards: 2").start();
    gateway.wait_until("the node serves", || gateway.status()["phase"] == "serving");
    gateway
}

/// `GET target` on a connection of its own, with these field lines: who answered.
#[track_caller]
fn ask(gateway: &Gateway, target: &str, fields: &str) -> String {
    let answer = gateway.client().get(target, fields);
    assert_eq!(answer.head.status(), 200, "{}", answer.head.start);
    String::from_utf8(answer.body).unwrap()
}

#[track_caller]
fn reload(gateway: &Gateway, config: &str) {
    let hash = || gateway.status()["configuration_hash"].clone();
    let before = hash();
    gateway.put_kong(config);
    gateway.signal("HUP");
    gateway.wait_until("the new configuration is served", || hash() != before);
    // A shard reads its mailbox in order, and a scrape waits for its answer.
    gateway.admin("/metrics");
}

/// `GET /upstreams/u.test/health`: target → word.
#[track_caller]
fn health(gateway: &Gateway) -> BTreeMap<String, String> {
    let body: Value = serde_json::from_str(&gateway.admin("/upstreams/u.test/health")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    body["data"].as_array().unwrap().iter().map(|target| (text(&target["target"]), text(&target["health"]))).collect()
}

#[track_caller]
fn wait_health(gateway: &Gateway, up: &Switch, word: &str) {
    gateway.wait_until(&format!("{} is {word}", up.addr), || health(gateway)[&up.addr.to_string()] == word);
}

/// Requests that each has seen since the last time.
fn seen(ups: &[Switch]) -> Vec<usize> {
    ups.iter().map(Switch::take_requests).collect()
}

#[track_caller]
fn is_refused(gateway: &Gateway) {
    let answer = gateway.get("/x");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.head.status(), body["message"].as_str()),
        (503, Some("failure to get a peer from the ring-balancer"))
    );
}

// ---- Hashing ----

#[test]
fn like_requests_stay_with_one_target_and_others_are_spread() {
    let rows: &[(&str, fn(usize) -> (String, String))] = &[
        ("hash_on: header, hash_on_header: X-User", |n| ("/x".into(), format!("X-User: {n}\r\n"))),
        ("hash_on: path", |n| (format!("/x/{n}?any={n}"), String::new())), // E07
        ("hash_on: query_arg, hash_on_query_arg: who", |n| (format!("/x?a=1&who={n}"), String::new())),
        ("hash_on: uri_capture, hash_on_uri_capture: id", |n| (format!("/user/u{n}"), String::new())),
        ("hash_on: cookie, hash_on_cookie: sid", |n| ("/x".into(), format!("Cookie: a=b; sid={n}\r\n"))),
        // What is missing has its fallback.
        ("hash_on: consumer, hash_fallback: header, hash_fallback_header: X-User", |n| {
            ("/x".into(), format!("X-User: {n}\r\n"))
        }),
        ("hash_on: header, hash_on_header: X-None, hash_fallback: path", |n| (format!("/x/{n}"), String::new())),
    ];
    for (upstream, request) in rows {
        let ups = switches(3);
        let gateway = start(&ups, upstream, "");
        let mut homes = BTreeSet::new();
        for n in 0..24 {
            let (target, fields) = request(n);
            let home = ask(&gateway, &target, &fields);
            for _ in 0..3 {
                assert_eq!(ask(&gateway, &target, &fields), home, "{upstream}: {target} {fields}");
            }
            homes.insert(home);
        }
        assert!(homes.len() > 1, "{upstream}: all went to {homes:?}");
    }
}

#[test]
fn a_hash_of_nothing_or_of_the_address_keeps_a_client_with_one_target() {
    for upstream in [
        "hash_on: header, hash_on_header: X-None, hash_fallback: ip", // E05
        "hash_on: ip",
        "hash_on: header, hash_on_header: X-None",
        "hash_on: consumer",
    ] {
        let ups = switches(3);
        let gateway = start(&ups, upstream, "");
        (0..50).for_each(|n| drop(ask(&gateway, &format!("/{n}"), "")));
        let mut counts = seen(&ups);
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 50], "{upstream}");
    }
}

#[test]
fn a_consumer_stays_with_one_target_whatever_else_it_sends() {
    let ups = switches(3);
    let consumers: String =
        (0..12).map(|n| format!("- {{username: u{n}, keyauth_credentials: [{{key: k{n}}}]}}\n")).collect();
    let text = config(&addrs(&ups), "hash_on: consumer", "plugins: [{name: key-auth}]");
    let gateway = Setup::kong(format!("{text}consumers:\n{consumers}")).start();
    let home = |n: usize, path: &str| ask(&gateway, path, &format!("apikey: k{n}\r\n"));
    let homes: Vec<String> = (0..12).map(|n| home(n, "/a")).collect();
    assert_eq!(homes, (0..12).map(|n| home(n, "/b")).collect::<Vec<_>>());
    assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "{homes:?}");
}

#[test]
fn a_client_without_the_cookie_is_given_one_that_brings_it_back() {
    let ups = switches(3);
    let gateway = start(&ups, "hash_on: cookie, hash_on_cookie: sid, hash_on_cookie_path: /shop", "");
    let mut homes = BTreeSet::new();
    for _ in 0..24 {
        let first = gateway.client().get("/x", "");
        let field = first.head.one("Set-Cookie").expect("a cookie is set");
        let id = field.strip_prefix("sid=").and_then(|rest| rest.strip_suffix("; Path=/shop; Same-Site=Lax; HttpOnly"));
        let id = id.unwrap_or_else(|| panic!("{field}"));
        assert_eq!((id.len(), &id[14..15]), (36, "4"), "no UUID of version 4: {id}");
        let again = gateway.client().get("/x", &format!("Cookie: sid={id}\r\n"));
        assert_eq!((again.head.all("Set-Cookie").len(), &again.body), (0, &first.body));
        homes.insert(first.body);
    }
    assert!(homes.len() > 1, "all went to one target");
}

#[test]
fn removing_one_of_three_moves_its_third_and_nothing_else() {
    // E09
    let ups = switches(3);
    let gateway = start(&ups, "hash_on: header, hash_on_header: X-User", "");
    let homes = |gateway: &Gateway| -> Vec<String> {
        let mut client = gateway.client();
        let mut home = |n: usize| String::from_utf8(client.get("/x", &format!("X-User: {n}\r\n")).body).unwrap();
        (0..300).map(&mut home).collect()
    };
    let before = homes(&gateway);
    reload(&gateway, &config(&addrs(&ups[..2]), "hash_on: header, hash_on_header: X-User", ""));
    let after = homes(&gateway);
    let gone = ups[2].addr.port().to_string();
    let moved = (0..300).filter(|&n| before[n] != after[n]).count();
    let strangers = (0..300).filter(|&n| before[n] != after[n] && before[n] != gone).count();
    assert!((60..=140).contains(&moved) && strangers <= 9, "{moved} moved, {strangers} of them were others'");
}

#[test]
fn a_hashed_request_goes_elsewhere_where_its_own_target_fails() {
    let ups = switches(3);
    let gateway = start(&ups, "hash_on: path", "retries: 1");
    let home = ask(&gateway, "/x", "");
    let place = ups.iter().position(|up| up.addr.port().to_string() == home).unwrap();
    ups[place].turn(Mood::Closes);
    let other = ask(&gateway, "/x", "");
    assert_ne!(other, home);
    ups[place].turn(Mood::Says(200));
    assert_eq!(ask(&gateway, "/x", ""), home);
}

// ---- Load ----

#[test]
fn the_target_with_fewer_open_requests_is_asked() {
    let ups = switches(2);
    let gateway = start(&ups, "algorithm: least-connections", "");
    ups[0].turn(Mood::Holds);
    // One of two goes to the one that holds, whoever has the first turn.
    let holders: Vec<_> = (0..2)
        .map(|_| {
            let mut client = gateway.client();
            std::thread::spawn(move || client.get("/x", "").head.status())
        })
        .collect();
    assert!(ups[0].wait_held(1, PATIENCE), "nobody was sent to the slow one");
    gateway.wait_until("the other one is done", || holders.iter().any(|holder| holder.is_finished()));
    seen(&ups);
    (0..20).for_each(|_| drop(ask(&gateway, "/x", "")));
    assert_eq!(seen(&ups), [0, 20]);
    ups[0].turn(Mood::Says(200));
    for holder in holders {
        assert_eq!(holder.join().unwrap(), 200);
    }
    (0..20).for_each(|_| drop(ask(&gateway, "/x", "")));
    let counts = seen(&ups);
    assert!(counts.iter().all(|&count| count >= 5), "{counts:?}");
}

#[test]
fn the_faster_target_is_preferred() {
    let ups = switches(2);
    let gateway = start(&ups, "algorithm: latency", "");
    ups[0].turn(Mood::Late(300));
    // Until each has shown what it is; the order is a matter of chance.
    let mut met = [0, 0];
    for _ in 0..100 {
        ask(&gateway, "/x", "");
        met.iter_mut().zip(seen(&ups)).for_each(|(met, count)| *met += count);
        if met.iter().all(|&count| count > 0) {
            break;
        }
    }
    (0..60).for_each(|_| drop(ask(&gateway, "/x", "")));
    let counts = seen(&ups);
    assert!(counts[0] <= 5, "{counts:?}");
}

// ---- Passive checks ----

#[test]
fn bad_answers_take_a_target_out_and_a_hand_brings_it_back() {
    // E10, E11
    let ups = switches(2);
    let gateway = start(&ups, PASSIVE, "retries: 0");
    ups[0].turn(Mood::Says(500));
    let statuses: Vec<u16> = (0..24).map(|_| gateway.get("/x").head.status()).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 500).count(), 2, "{statuses:?}");
    assert_eq!(seen(&ups), [2, 22]);
    assert_eq!(health(&gateway)[&ups[0].addr.to_string()], "UNHEALTHY");
    assert_eq!(health(&gateway)[&ups[1].addr.to_string()], "HEALTHY");
    gateway.wait_said("a target is unhealthy");

    ups[0].turn(Mood::Says(200));
    let put = |path: &str| gateway.admin_send("PUT", path).head.status();
    let target = format!("/upstreams/u.test/targets/{}", ups[0].addr);
    assert_eq!(put(&format!("{target}/healthy")), 204);
    assert_eq!(health(&gateway)[&ups[0].addr.to_string()], "HEALTHY");
    (0..20).for_each(|_| drop(ask(&gateway, "/x", "")));
    assert_eq!(seen(&ups), [10, 10]);

    // By address, by POST, by id; and what is not there.
    assert_eq!(put(&format!("{target}/{}/unhealthy", ups[0].addr)), 204);
    assert_eq!(health(&gateway)[&ups[0].addr.to_string()], "UNHEALTHY");
    let listed: Value = serde_json::from_str(&gateway.admin("/upstreams/u.test/health")).unwrap();
    let (upstream, id) = (&listed["data"][0]["upstream"]["id"], &listed["data"][0]["id"]);
    let by_id = format!("/upstreams/{}/targets/{}/healthy", upstream.as_str().unwrap(), id.as_str().unwrap());
    assert_eq!(gateway.admin_send("POST", &by_id).head.status(), 204);
    assert_eq!(health(&gateway)[&ups[0].addr.to_string()], "HEALTHY");
    for missing in [
        "/upstreams/no.test/targets/127.0.0.1:1/healthy".to_owned(),
        "/upstreams/u.test/targets/127.0.0.1:1/healthy".to_owned(),
        format!("{target}/127.0.0.1:1/healthy"),
        format!("{target}/nonsense/unhealthy"),
    ] {
        assert_eq!(put(&missing), 404, "{missing}");
    }

    let metrics = gateway.admin("/metrics");
    for (name, want) in [("target_healthy", "} 1"), ("target_transitions_total", "to=\"unhealthy\"} 2")] {
        let line = metrics.lines().find(|line| {
            line.starts_with(&format!("ringway_upstream_{name}")) && line.contains(&ups[0].addr.to_string())
        });
        assert!(line.is_some_and(|line| line.ends_with(want)), "{name}: {line:?}");
    }
}

#[test]
fn a_failure_to_connect_and_a_timeout_take_a_target_out() {
    let rows: &[(Option<Mood>, &str)] = &[
        (None, "a closed port"),
        (Some(Mood::Closes), "closing"),
        (Some(Mood::Holds), "silence"),
        (Some(Mood::Says(504)), "504"),
    ];
    for (mood, what) in rows {
        let well = Switch::start();
        let ill = mood.map(|mood| {
            let ill = Switch::start();
            ill.turn(mood);
            ill
        });
        let addr = ill.as_ref().map_or(SocketAddr::from(([127, 0, 0, 1], ports::free())), |ill| ill.addr);
        let text = config(&[addr, well.addr], PASSIVE, "retries: 2, read_timeout: 200");
        let gateway = Setup::kong(text).start();
        let statuses: Vec<u16> = (0..10).map(|_| gateway.get("/x").head.status()).collect();
        let failed = statuses.iter().filter(|&&status| status != 200).count();
        // A failed try is tried again elsewhere; an answer of 504 is an answer.
        assert_eq!(failed, usize::from(*what == "504"), "{what}: {statuses:?}");
        assert_eq!(health(&gateway)[&addr.to_string()], "UNHEALTHY", "{what}");
        if let Some(ill) = ill {
            assert_eq!(ill.take_requests(), 1, "{what}");
            ill.turn(Mood::Closes);
        }
    }
}

#[test]
fn with_nobody_healthy_a_client_is_told_so_at_once() {
    let ups = switches(2);
    let gateway = start(&ups, PASSIVE, "");
    ups.iter().for_each(|up| up.turn(Mood::Says(503)));
    let statuses: Vec<u16> = (0..8).map(|_| gateway.get("/x").head.status()).collect();
    assert_eq!(seen(&ups), [2, 2], "{statuses:?}");
    is_refused(&gateway);
}

#[test]
fn less_weight_than_the_threshold_is_nobody() {
    let ups = switches(3);
    let upstream = PASSIVE.replace("{passive", "{threshold: 50, passive");
    let gateway = start(&ups, &upstream, "");
    let down = |up: &Switch| {
        let path = format!("/upstreams/u.test/targets/{}/unhealthy", up.addr);
        assert_eq!(gateway.admin_send("PUT", &path).head.status(), 204);
    };
    down(&ups[0]);
    (0..6).for_each(|_| drop(ask(&gateway, "/x", "")));
    assert_eq!(seen(&ups), [0, 3, 3]);
    down(&ups[1]);
    is_refused(&gateway);
    assert_eq!(seen(&ups), [0, 0, 0]);
    let whole: Value = serde_json::from_str(&gateway.admin("/upstreams/u.test/health?balancer_health=1")).unwrap();
    assert_eq!(whole["data"]["health"], "UNHEALTHY");
}

#[test]
fn a_reload_leaves_the_ill_ill() {
    // E19
    let ups = switches(3);
    let gateway = start(&ups[..2], PASSIVE, "");
    ups[0].turn(Mood::Says(500));
    (0..8).for_each(|_| drop(gateway.get("/x")));
    assert_eq!(health(&gateway)[&ups[0].addr.to_string()], "UNHEALTHY");
    ups[0].turn(Mood::Says(200));
    seen(&ups);
    reload(&gateway, &config(&addrs(&ups), PASSIVE, ""));
    assert_eq!(
        health(&gateway),
        ups.iter()
            .zip(["UNHEALTHY", "HEALTHY", "HEALTHY"])
            .map(|(up, word)| (up.addr.to_string(), word.into()))
            .collect()
    );
    (0..20).for_each(|_| drop(ask(&gateway, "/x", "")));
    assert_eq!(seen(&ups), [0, 10, 10]);
}

// ---- Active checks ----

fn active(kind: &str) -> String {
    format!(
        "healthchecks: {{active: {{type: {kind}, http_path: /health, timeout: 0.5, headers: {{X-Probe: [yes-1]}}, \
         healthy: {{interval: 0.1, successes: 1}}, unhealthy: {{interval: 0.1, http_failures: 1, tcp_failures: 1, \
         timeouts: 1}}}}}}"
    )
}

#[test]
fn probes_take_a_target_out_and_bring_it_back() {
    // E13
    let ups = switches(2);
    let gateway = start(&ups, &active("http"), "");
    for ill in [Mood::Says(500), Mood::Closes, Mood::Holds] {
        ups[0].turn_health(ill);
        wait_health(&gateway, &ups[0], "UNHEALTHY");
        seen(&ups);
        (0..10).for_each(|_| drop(ask(&gateway, "/x", "")));
        assert_eq!(seen(&ups), [0, 10], "{ill:?}");
        ups[0].turn_health(Mood::Says(302));
        wait_health(&gateway, &ups[0], "HEALTHY");
        (0..10).for_each(|_| drop(ask(&gateway, "/x", "")));
        assert_eq!(seen(&ups), [5, 5], "{ill:?}");
    }
    let head = ups[0].last_probe();
    for line in ["GET /health HTTP/1.1\r\n", "Host: 127.0.0.1\r\n", "X-Probe: yes-1\r\n", "Connection: close\r\n"] {
        assert!(head.contains(line), "{line} is not in\n{head}");
    }
    // A probe that says neither changes nothing.
    ups[0].turn_health(Mood::Says(204));
    let before = ups[0].probes();
    gateway.wait_until("three more probes came", || ups[0].probes() >= before + 3);
    assert_eq!(health(&gateway)[&ups[0].addr.to_string()], "HEALTHY");
}

#[test]
fn probes_follow_a_reload() {
    let ups = switches(2);
    let host = format!("host_header: probe.test, {}", active("http"));
    let gateway = start(&ups[..1], "", "");
    assert_eq!(ups[0].probes(), 0);
    ups[1].turn_health(Mood::Says(500));
    reload(&gateway, &config(&addrs(&ups), &host, ""));
    wait_health(&gateway, &ups[1], "UNHEALTHY");
    gateway.wait_until("the other one is probed, too", || ups[0].probes() > 1);
    assert!(ups[0].last_probe().contains("Host: probe.test\r\n"));
}

#[test]
fn a_tcp_probe_is_content_with_a_connection() {
    let well = Switch::start();
    well.turn_health(Mood::Closes);
    let port = ports::free();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let gateway = Setup::kong(config(&[well.addr, addr], &active("tcp"), "retries: 0")).start();
    let word = |addr: SocketAddr| health(&gateway)[&addr.to_string()].clone();
    gateway.wait_until("the closed port is found out", || word(addr) == "UNHEALTHY");
    assert_eq!(word(well.addr), "HEALTHY");
    (0..6).for_each(|_| drop(ask(&gateway, "/x", "")));
    assert_eq!(well.take_requests(), 6);
    let late = Switch::on(TcpListener::bind(addr).unwrap());
    wait_health(&gateway, &late, "HEALTHY");
}

// ---- What the Admin API says ----

#[test]
fn health_is_shown_by_target_and_as_a_whole() {
    // E15, E17
    let ups = switches(2);
    let gateway = start(&ups, "", "");
    assert!(health(&gateway).values().all(|word| word == "HEALTHCHECKS_OFF"), "{:?}", health(&gateway));
    let whole =
        || -> Value { serde_json::from_str(&gateway.admin("/upstreams/u.test/health?balancer_health=1")).unwrap() };
    assert_eq!(whole()["data"]["health"], "HEALTHCHECKS_OFF");
    reload(&gateway, &config(&addrs(&ups), PASSIVE, ""));
    let whole = whole();
    assert_eq!(whole["data"]["health"], "HEALTHY");
    assert_eq!(whole["data"]["balancer_health"], "HEALTHY");
    assert_eq!(whole["data"]["details"]["healthy"], true);
    assert_eq!(
        whole["data"]["details"]["weight"],
        serde_json::json!({"total": 200, "available": 200, "unavailable": 0})
    );
    let host = &whole["data"]["details"]["hosts"][0];
    assert_eq!((&host["host"], &host["nodeWeight"]), (&"127.0.0.1".into(), &100.into()));
    assert_eq!(host["addresses"][0]["port"], ups[0].addr.port());
    assert!(whole["node_id"].is_string() && whole["next"].is_null());
    assert_eq!(gateway.admin_send("GET", "/upstreams/no.test/health").head.status(), 404);
}

#[test]
fn a_target_without_an_address_is_a_dns_error() {
    let up = Switch::start();
    let text = config(&[up.addr], "", "").replace("targets: [", "targets: [{target: \"nobody.invalid:80\"}, ");
    let gateway = Setup::kong(text).start();
    assert_eq!(health(&gateway)["nobody.invalid:80"], "DNS_ERROR");
    assert_eq!(health(&gateway)[&up.addr.to_string()], "HEALTHCHECKS_OFF");
    let mut client: Client = gateway.client();
    assert_eq!(client.get("/x", "").head.status(), 200);
}
