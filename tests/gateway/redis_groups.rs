//! Limits kept in a real Redis Cluster and behind real sentinels: keys on their nodes, slots that move, masters that fall.

use crate::harness::redis::{ask_on, cluster, Redis};
use crate::harness::switch::Switch;
use crate::harness::wire::Message;
use crate::harness::{Gateway, Setup, PATIENCE};
use std::io::BufReader;
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn start(redis: &str, config: &str) -> Gateway {
    let up = Switch::start();
    let text = format!(
        "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://{}\n  routes: [{{name: r, paths: [/]}}]\n  plugins: \
         [{{name: rate-limiting, config: {{policy: redis, limit_by: header, header_name: x-u, fault_tolerant: false, \
         {config}, redis: {{timeout: 500, {redis}}}}}}}]\n",
        up.addr
    );
    let gateway = Setup::kong(text).runtime("shards: 1").start();
    gateway.wait_until("the node serves", || gateway.status()["phase"] == "serving");
    gateway
}

/// A request of `who`: status, and what is left of the hour.
fn ask(gateway: &Gateway, who: &str) -> (u16, Option<u64>) {
    let answer: Message = gateway.client().get("/", &format!("X-U: {who}\r\n"));
    let left = answer.head.one("X-RateLimit-Remaining-Hour").and_then(|left| left.parse().ok());
    (answer.head.status(), left)
}

fn of_cluster(nodes: &[Redis]) -> String {
    // Only one of them is named: the others must be asked for.
    format!("cluster_nodes: [{{ip: 127.0.0.1, port: {}}}]", nodes[0].addr.port())
}

fn keys(nodes: &[Redis]) -> Vec<(usize, String)> {
    let of = |(at, node): (usize, &Redis)| {
        let keys = node.ask(&["KEYS", "*"]);
        keys.lines().map(|key| (at, key.to_owned())).collect::<Vec<_>>()
    };
    nodes.iter().enumerate().flat_map(of).collect()
}

#[test]
fn a_cluster_that_has_only_the_older_map_is_asked_for_that() {
    let nodes = cluster(3);
    for node in &nodes {
        assert_eq!(node.ask(&["ACL", "SETUSER", "default", "-cluster|shards"]), "OK");
    }
    let gateway = start(&of_cluster(&nodes), "hour: 2");
    let statuses: Vec<u16> = (0..20).map(|who| ask(&gateway, &who.to_string()).0).collect();
    assert_eq!(statuses, [200; 20], "{}", gateway.said());
    assert!((0..3).all(|at| keys(&nodes).iter().any(|(node, _)| *node == at)));
    let asked = nodes[0].ask(&["INFO", "commandstats"]);
    assert!(asked.contains("cmdstat_cluster|slots:calls=1"), "{asked}");
}

#[test]
fn a_cluster_counts_each_key_on_its_node() {
    let nodes = cluster(3);
    let gateway = start(&of_cluster(&nodes), "hour: 2, day: 50");
    for who in 0..20 {
        let statuses: Vec<u16> = (0..4).map(|_| ask(&gateway, &who.to_string()).0).collect();
        assert_eq!(statuses, [200, 200, 429, 429], "{who}: {}", gateway.said());
    }
    let keys = keys(&nodes);
    assert_eq!(keys.len(), 40);
    for at in 0..3 {
        assert!(keys.iter().any(|(node, _)| *node == at), "node {at} has no key");
    }
    // What was taken of the day for a request that the hour refuses is given back, behind its answer.
    let off = || keys.iter().filter(|(node, key)| nodes[*node].ask(&["GET", key]) != "2").count();
    gateway.wait_until("all counts are two", || off() == 0);
    assert_eq!(gateway.admin("/metrics").matches("ringway_redis_errors_total{kind=\"refused\"} 0").count(), 1);
}

#[test]
fn a_slot_that_moves_is_followed() {
    let nodes = cluster(3);
    let gateway = start(&of_cluster(&nodes), "hour: 100");
    assert_eq!(ask(&gateway, "a"), (200, Some(99)));
    let (source, key) = keys(&nodes).remove(0);
    let target = (source + 1) % 3;
    let slot = nodes[source].ask(&["CLUSTER", "KEYSLOT", &key]);
    let id = |at: usize| nodes[at].ask(&["CLUSTER", "MYID"]);
    let set = |at: usize, how: &[&str]| nodes[at].ask(&[&["CLUSTER", "SETSLOT", &slot][..], how].concat());
    // On its way: the key is there already, the slot is not. ASK.
    assert_eq!(set(target, &["IMPORTING", &id(source)]), "OK");
    assert_eq!(set(source, &["MIGRATING", &id(target)]), "OK");
    let port = nodes[target].addr.port().to_string();
    assert_eq!(nodes[source].ask(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]), "OK");
    assert_eq!(ask(&gateway, "a"), (200, Some(98)), "{}", gateway.said());
    assert_eq!(ask(&gateway, "a"), (200, Some(97)));
    // Moved for good. MOVED, and from then on at once.
    assert_eq!(set(target, &["NODE", &id(target)]), "OK");
    assert_eq!(set(source, &["NODE", &id(target)]), "OK");
    assert_eq!(ask(&gateway, "a"), (200, Some(96)));
    assert_eq!(nodes[target].ask(&["GET", &key]), "4");
    let redirects = || {
        let stats = nodes[source].ask(&["INFO", "errorstats"]);
        stats.lines().filter(|line| line.starts_with("errorstat_MOVED")).map(str::to_owned).collect::<String>()
    };
    let before = redirects();
    assert_ne!(before, "");
    assert_eq!(ask(&gateway, "a"), (200, Some(95)));
    assert_eq!(redirects(), before);
}

#[test]
fn a_node_that_falls_takes_only_its_keys_with_it() {
    let mut nodes = cluster(3);
    let gateway = start(&of_cluster(&nodes), "hour: 1000");
    let owners: Vec<(usize, String)> = (0..12)
        .map(|who| {
            assert_eq!(ask(&gateway, &format!("who-{who}")).0, 200);
            let all = keys(&nodes);
            let (node, _) = all.iter().find(|(_, key)| key.contains(&format!(":who-{who}:"))).unwrap();
            (*node, format!("who-{who}"))
        })
        .collect();
    // The last node is not the one that the configuration names.
    nodes[2].stop();
    for (node, who) in &owners {
        let begun = Instant::now();
        let status = ask(&gateway, who).0;
        assert_eq!(status, if *node == 2 { 500 } else { 200 }, "{who} of node {node}: {}", gateway.said());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    nodes[2].restart();
    gateway.wait_until("all are counted again", || owners.iter().all(|(_, who)| ask(&gateway, who).0 == 200));
}

#[test]
fn counts_of_other_nodes_are_exchanged_once_while_one_is_down() {
    let mut nodes = cluster(3);
    let gateway = start(&of_cluster(&nodes), "year: 1000, sync_rate: 0.05");
    let who: Vec<String> = (0..12).map(|who| format!("who-{who}")).collect();
    assert!(who.iter().all(|who| ask(&gateway, who).0 == 200), "{}", gateway.said());
    let all = keys(&nodes);
    assert!((0..3).all(|at| all.iter().any(|(node, _)| *node == at)), "{all:?}");
    nodes[2].stop();
    // Each of them is known by now, and counted here.
    assert!(who.iter().all(|who| ask(&gateway, who).0 == 200), "{}", gateway.said());
    let counts = || {
        let living = all.iter().filter(|(node, _)| *node != 2);
        living.map(|(node, key)| nodes[*node].ask(&["GET", key])).collect::<Vec<_>>()
    };
    gateway.wait_until("the others have been told", || counts().iter().all(|count| count == "2"));
    let failed = || {
        let text = gateway.admin("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("ringway_redis_errors_total{kind=\"down\"} "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let before = failed();
    gateway.wait_until("exchanges fail", || failed() > before + 5);
    assert!(counts().iter().all(|count| count == "2"), "{:?}", counts());
    nodes[2].restart();
    let told = || all.iter().filter(|(node, _)| *node == 2).all(|(node, key)| nodes[*node].ask(&["GET", key]) == "1");
    gateway.wait_until("what the node has missed is told", told);
}

#[test]
fn sentinels_tell_of_the_master_and_of_the_next() {
    let fast = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    let mut first = Redis::start(&fast);
    let port = first.addr.port().to_string();
    let second = Redis::start(&[&fast[..], &["--replicaof", "127.0.0.1", &port]].concat());
    // Of the sentinel's users one may be asked for the master by; whoever names none is nobody there.
    let sentinel = Redis::start(&["--sentinel", "--requirepass", "watch"]);
    let sentinel_ask = |args: &[&str]| sentinel.ask_all(&[&["AUTH", "watch"], args]);
    assert_eq!(sentinel_ask(&["SENTINEL", "MONITOR", "limits", "127.0.0.1", &port, "1"]), "OK");
    for (name, value) in [("down-after-milliseconds", "500"), ("failover-timeout", "1000")] {
        assert_eq!(sentinel_ask(&["SENTINEL", "SET", "limits", name, value]), "OK");
    }
    assert_eq!(sentinel_ask(&["ACL", "SETUSER", "gate", "on", ">asks", "+sentinel", "+ping", "+auth"]), "OK");
    let silent = crate::harness::ports::free();
    let gateway = start(
        &format!(
            "sentinel_master: limits, sentinel_username: gate, sentinel_password: asks, sentinel_nodes: [{{host: 127.0.0.1, port: {silent}}}, {{host: localhost, port: {}}}]",
            sentinel.addr.port()
        ),
        "hour: 1000",
    );
    assert_eq!(ask(&gateway, "a"), (200, Some(999)), "{}", gateway.said());
    assert_eq!(ask(&gateway, "a"), (200, Some(998)));
    // A sentinel whose clock was late by two seconds does nothing for thirty.
    let patience = PATIENCE * 9;
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let end = Instant::now() + patience;
        while !done() {
            assert!(Instant::now() < end, "waited in vain until {what}\n{}", gateway.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait("the second has what the first has", &|| second.ask(&["DBSIZE"]) == "1");
    wait("the sentinel knows the second", &|| {
        sentinel_ask(&["SENTINEL", "REPLICAS", "limits"]).contains(&second.addr.port().to_string())
    });
    // The master falls.
    first.stop();
    let (mut slowest, mut failed) = (Duration::ZERO, 0);
    let end = Instant::now() + patience;
    let left = loop {
        let begun = Instant::now();
        let (status, left) = ask(&gateway, "a");
        slowest = slowest.max(begun.elapsed());
        failed += usize::from(status == 500);
        assert!(Instant::now() < end, "no other master\n{}", gateway.said());
        if let (200, Some(left)) = (status, left) {
            break left;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(left, 997, "the second counts on");
    assert!(failed > 0 && slowest < Duration::from_millis(1500), "{failed} {slowest:?}");
    gateway.wait_said("Redis has another master");
    // It comes back as a replica, and is made the master again while the other lives.
    first.restart();
    // Said by hand: a sentinel takes ten seconds for it, and now and then forgets.
    let port = second.addr.port().to_string();
    assert_eq!(first.ask(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    wait("the first follows the second", &|| {
        let info = first.ask(&["INFO", "replication"]);
        info.contains("role:slave") && info.contains("master_link_status:up")
    });
    wait("the sentinel lets it be master", &|| sentinel_ask(&["SENTINEL", "FAILOVER", "limits"]) == "OK");
    wait("the first is the master", &|| first.ask(&["INFO", "replication"]).contains("role:master"));
    let port = first.addr.port().to_string();
    assert_eq!(second.ask(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    wait("the gateway counts there", &|| {
        ask(&gateway, "b");
        !first.ask(&["KEYS", "*:b:*"]).is_empty()
    });
    let mut stream = BufReader::new(TcpStream::connect(second.addr).unwrap());
    assert!(ask_on(&mut stream, &["ROLE"]).unwrap().starts_with("slave"));
}
