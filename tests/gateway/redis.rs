//! Limits that gateways share through a real Redis: exact counts, the layout of keys, and what clients see while Redis is
//! away, frozen, started again, or no Redis at all.

use crate::harness::redis::Redis;
use crate::harness::switch::Switch;
use crate::harness::wire::Message;
use crate::harness::{Client, Gateway, Setup, PATIENCE};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// No route: the plugin is on the service `s`, whose id follows from its name.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A service with one route `/<path>` for each of these configurations of the limiter.
fn kong(up: SocketAddr, limits: &[(&str, &str)]) -> String {
    let mut text = "_format_version: \"3.0\"\nservices:\n".to_owned();
    for (path, config) in limits {
        text += &format!(
            "- name: {path}\n  url: http://{up}\n  routes: [{{name: {path}, paths: [/{path}]}}]\n  \
             plugins: [{{name: rate-limiting, config: {{policy: redis, limit_by: ip, {config}}}}}]\n"
        );
    }
    text
}

/// The block `redis` for a server, with more fields.
fn at(redis: &Redis, more: &str) -> String {
    format!("redis: {{host: 127.0.0.1, port: {}{more}}}", redis.addr.port())
}

fn start(limits: &[(&str, &str)]) -> Gateway {
    start_with(limits, 1)
}

fn start_with(limits: &[(&str, &str)], shards: usize) -> Gateway {
    let up = Switch::start();
    let gateway = Setup::kong(kong(up.addr, limits)).runtime(&format!("shards: {shards}")).start();
    gateway.wait_until("the node serves", || gateway.status()["phase"] == "serving");
    gateway
}

fn field<'m>(answer: &'m Message, name: &str) -> Option<&'m str> {
    answer.head.one(name)
}

/// A line of `/metrics`.
fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.admin("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn status(gateway: &Gateway, target: &str) -> u16 {
    gateway.get(target).head.status()
}

#[test]
fn two_gateways_admit_what_the_limit_says() {
    let redis = Redis::start(&[]);
    // A year: no window ends in the middle of the test.
    let config = format!("year: 60, {}", at(&redis, ""));
    let gateways = [start_with(&[("s", &config)], 2), start_with(&[("s", &config)], 2)];
    let admitted: usize = std::thread::scope(|scope| {
        let ask = |gateway: &Gateway| {
            let mut client = gateway.client();
            (0..20).filter(|_| client.get("/s", "").head.status() == 200).count()
        };
        let threads: Vec<_> =
            (0..8).map(|n| &gateways[n % 2]).map(|gateway| scope.spawn(move || ask(gateway))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 60);
    let key = redis.ask(&["KEYS", "*"]);
    assert_eq!(redis.ask(&["GET", &key]), "60", "refused requests take nothing");
}

#[test]
fn keys_values_and_lives_are_those_of_others() {
    let redis = Redis::start(&[]);
    let gateway = start(&[("s", &format!("hour: 5, day: 100, {}", at(&redis, "")))]);
    let first = gateway.get("/s");
    assert_eq!(first.head.status(), 200);
    let fields = ["X-RateLimit-Limit-Hour", "X-RateLimit-Remaining-Hour", "X-RateLimit-Remaining-Day"];
    assert_eq!(fields.map(|name| field(&first, name)), [Some("5"), Some("4"), Some("99")]);
    let keys = redis.ask(&["KEYS", "*"]);
    let mut keys: Vec<&str> = keys.lines().collect();
    keys.sort_unstable_by_key(|key| key.len());
    // The id of a service named "s": version 5 of its name, as the reference makes it.
    let id = gateway.admin("/services/s");
    let id = serde_json::from_str::<serde_json::Value>(&id).unwrap()["id"].as_str().unwrap().to_owned();
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let start = |len_s: u64| now_ms / (len_s * 1000) * len_s * 1000;
    let key = |len_s: u64, period: &str| format!("ratelimit:{NOBODY}:{id}:127.0.0.1:{}:{period}", start(len_s));
    let mut want = [key(3600, "hour"), key(86_400, "day")];
    want.sort_unstable_by_key(String::len);
    assert_eq!(keys, want);
    let ttl = |key: &str| redis.ask(&["TTL", key]).parse::<u64>().unwrap();
    assert!((3590..=3600).contains(&ttl(&want[1])) && (86_390..=86_400).contains(&ttl(&want[0])));
    // Another gateway counts on under the same key.
    assert_eq!(redis.ask(&["INCRBY", &want[1], "3"]), "4");
    assert_eq!([status(&gateway, "/s"), status(&gateway, "/s")], [200, 429]);
    assert_eq!(redis.ask(&["GET", &want[1]]), "5");
    assert_eq!(redis.ask(&["GET", &want[0]]), "2", "a request that is refused for the hour takes nothing of the day");
}

#[test]
fn a_flood_of_refused_requests_costs_redis_nothing() {
    let redis = Redis::start(&[]);
    let gateway = start(&[("s", &format!("hour: 2, {}", at(&redis, "")))]);
    let mut client = gateway.client();
    let statuses: Vec<u16> = (0..3).map(|_| client.get("/s", "").head.status()).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let before = redis.scripts_run();
    for _ in 0..50 {
        let refused = client.get("/s", "");
        assert_eq!(refused.head.status(), 429);
        assert_eq!(field(&refused, "X-RateLimit-Remaining-Hour"), Some("0"));
        assert!(field(&refused, "Retry-After").is_some());
    }
    assert_eq!(redis.scripts_run(), before);
    assert_eq!(metric(&gateway, "ringway_redis_calls_total"), 3);
}

#[test]
fn scripts_that_were_forgotten_are_sent_again() {
    let redis = Redis::start(&[]);
    let gateway = start(&[("s", &format!("hour: 4, {}", at(&redis, "")))]);
    assert_eq!(status(&gateway, "/s"), 200);
    redis.ask(&["SCRIPT", "FLUSH"]);
    let answer = gateway.get("/s");
    assert_eq!(field(&answer, "X-RateLimit-Remaining-Hour"), Some("2"));
    assert_eq!(metric(&gateway, "ringway_redis_errors_total{kind=\"refused\"}"), 0);
}

#[test]
fn a_connection_outlives_a_reload() {
    let redis = Redis::start(&[]);
    let limits = |hour: u32| format!("hour: {hour}, {}", at(&redis, ""));
    let up = Switch::start();
    let gateway = Setup::kong(kong(up.addr, &[("s", &limits(5))])).runtime("shards: 1").start();
    assert_eq!(status(&gateway, "/s"), 200);
    // Which clients have run a script, as `id=…`: those that the gateway made.
    let clients = || -> Vec<String> {
        let list = redis.ask(&["CLIENT", "LIST"]);
        let made = list.lines().filter(|line| line.contains("cmd=eval"));
        made.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let before = clients();
    assert_eq!(before.len(), 1);
    let hash = || gateway.status()["configuration_hash"].clone();
    let served = hash();
    gateway.put_kong(&kong(up.addr, &[("s", &limits(9))]));
    gateway.signal("HUP");
    gateway.wait_until("the new configuration is served", || hash() != served);
    let answer = gateway.get("/s");
    assert_eq!(field(&answer, "X-RateLimit-Remaining-Hour"), Some("7"));
    assert_eq!(clients(), before);
}

/// Three ways to go on without Redis.
fn three_ways(redis: &Redis, timeout_ms: u64) -> Gateway {
    let at = at(redis, &format!(", timeout: {timeout_ms}"));
    start(&[
        ("pass", &format!("hour: 1000, {at}")),
        ("fail", &format!("hour: 1000, fault_tolerant: false, {at}")),
        ("local", &format!("hour: 2, on_redis_fault: local, {at}")),
    ])
}

#[track_caller]
fn check_without_redis(gateway: &Gateway) {
    let pass = gateway.get("/pass");
    assert_eq!((pass.head.status(), field(&pass, "RateLimit-Limit")), (200, None));
    let fail = gateway.get("/fail");
    assert_eq!(fail.head.status(), 500);
    let body = String::from_utf8_lossy(&fail.body).into_owned();
    assert!(body.contains("An unexpected error occurred"), "{body}");
}

#[test]
fn without_redis_the_settings_say_what_happens() {
    let mut redis = Redis::stopped(&[]);
    let gateway = three_ways(&redis, 500);
    check_without_redis(&gateway);
    let statuses: Vec<u16> = (0..3).map(|_| status(&gateway, "/local")).collect();
    assert_eq!(statuses, [200, 200, 429], "the limits of the node hold");
    for _ in 0..20 {
        check_without_redis(&gateway);
    }
    assert!(metric(&gateway, "ringway_redis_errors_total{kind=\"down\"}") > 20);
    let label = format!("{{server=\"{}\"}}", redis.addr);
    assert_eq!(metric(&gateway, &format!("ringway_redis_connections_down{label}")), 1);
    redis.restart();
    gateway.wait_until("Redis is asked again", || field(&gateway.get("/fail"), "RateLimit-Limit").is_some());
    assert_eq!(metric(&gateway, &format!("ringway_redis_connections_down{label}")), 0);
    assert_eq!(metric(&gateway, &format!("ringway_redis_connections{label}")), 1);
    assert_eq!(gateway.said().matches("Redis cannot be reached").count(), 1, "{}", gateway.said());
    assert_eq!(gateway.said().matches("Redis answers again").count(), 1, "{}", gateway.said());
}

/// Asks for `/fail` from four clients until told to stop: the slowest answer, and how many were 500.
fn under_load<R>(gateway: &Gateway, during: impl FnOnce() -> R) -> (R, Duration, usize) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let (mut client, mut slowest, mut failed) = (gateway.client(), Duration::ZERO, 0);
            while !done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                failed += usize::from(client.get("/fail", "").head.status() == 500);
                slowest = slowest.max(begun.elapsed());
            }
            (slowest, failed)
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        // However it ends, they are told: a test that fails must not wait for them for ever.
        let result = catch_unwind(AssertUnwindSafe(during));
        done.store(true, Ordering::Relaxed);
        let all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let slowest = all.iter().map(|(slowest, _)| *slowest).max().unwrap();
        let result = result.unwrap_or_else(|panic| resume_unwind(panic));
        (result, slowest, all.iter().map(|(_, failed)| failed).sum())
    })
}

#[test]
fn a_frozen_redis_holds_nobody_for_longer_than_its_timeout() {
    let redis = Redis::start(&[]);
    let gateway = three_ways(&redis, 300);
    assert!(field(&gateway.get("/fail"), "RateLimit-Limit").is_some());
    let failed = || metric(&gateway, "ringway_redis_errors_total{kind=\"timeout\"}");
    let ((), slowest, refused) = under_load(&gateway, || {
        redis.signal("STOP");
        gateway.wait_until("calls fail", || failed() > 50);
        check_without_redis(&gateway);
        redis.signal("CONT");
        gateway.wait_until("Redis is asked again", || field(&gateway.get("/fail"), "RateLimit-Limit").is_some());
    });
    assert!(refused > 50, "{refused}");
    // The timeout, a tick of it, and what a busy machine adds.
    assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
    assert_eq!(gateway.said().matches("Redis does not answer in time").count(), 1, "{}", gateway.said());
    assert_eq!(gateway.said().matches("Redis answers again").count(), 1, "{}", gateway.said());
}

#[test]
fn a_redis_that_is_started_again_is_used_again() {
    let mut redis = Redis::start(&[]);
    let gateway = three_ways(&redis, 500);
    let ((), slowest, _) = under_load(&gateway, || {
        for _ in 0..3 {
            redis.restart();
            gateway.wait_until("Redis is asked again", || field(&gateway.get("/fail"), "RateLimit-Limit").is_some());
        }
    });
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn users_passwords_and_databases() {
    let redis = Redis::start(&["--requirepass", "hush"]);
    let set =
        ["ACL", "SETUSER", "gate", "on", ">open", "~ratelimit:*", "+evalsha", "+eval", "+select", "+@read", "+@write"];
    redis.ask_all(&[&["AUTH", "hush"], &set]);
    let gateway = start(&[
        ("password", &format!("hour: 5, fault_tolerant: false, {}", at(&redis, ", password: hush, database: 3"))),
        ("user", &format!("hour: 5, fault_tolerant: false, {}", at(&redis, ", username: gate, password: open"))),
        ("wrong", &format!("hour: 5, fault_tolerant: false, {}", at(&redis, ", password: wrong-secret"))),
        ("none", &format!("hour: 5, fault_tolerant: false, {}", at(&redis, ""))),
        (
            "older",
            &format!("hour: 5, continue_on_error: false, redis_host: 127.0.0.1, redis_port: {}, redis_username: gate, redis_password: open, redis_database: 3", redis.addr.port()),
        ),
        (
            "older-wrong",
            &format!("hour: 5, continue_on_error: false, redis_host: 127.0.0.1, redis_port: {}, redis_password: wrong-secret", redis.addr.port()),
        ),
    ]);
    let targets = ["/password", "/user", "/wrong", "/none", "/older", "/older-wrong"];
    let statuses = targets.map(|target| status(&gateway, target));
    assert_eq!(statuses, [200, 200, 500, 500, 200, 500], "{}", gateway.said());
    assert!(metric(&gateway, "ringway_redis_errors_total{kind=\"auth\"}") >= 2);
    let size = |database: &str| redis.ask_all(&[&["AUTH", "hush"], &["SELECT", database], &["DBSIZE"]]);
    assert_eq!([size("0"), size("3")], ["1", "2"]);
    gateway.wait_said("Redis refuses user or password");
    let told = gateway.said() + &gateway.admin("/metrics") + &gateway.admin("/status");
    assert!(!told.contains("wrong-secret") && !told.contains("hush"), "a secret is told");
}

/// Answers whatever comes with these bytes, after a right PONG if `polite`.
fn impostor(polite: bool, bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut greeted = !polite;
                let mut buf = [0; 4096];
                while stream.read(&mut buf).is_ok_and(|read| read > 0) {
                    let answer = if std::mem::replace(&mut greeted, true) { bytes } else { b"+PONG\r\n" };
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

#[test]
fn what_is_no_redis_is_not_believed() {
    let rubbish: [(&str, bool, &[u8]); 6] = [
        ("http", false, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("late", true, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("echo", true, b"+PONG\r\n"),
        ("short", true, b"*1\r\n:1\r\n"),
        ("many", true, b"*2\r\n:1\r\n:1\r\n*2\r\n:1\r\n:1\r\n"),
        ("endless", true, b"*999999999\r\n"),
    ];
    let configs: Vec<(&str, String)> = rubbish
        .iter()
        .map(|&(name, polite, bytes)| {
            let port = impostor(polite, bytes).port();
            let redis = format!("redis: {{host: 127.0.0.1, port: {port}, timeout: 500}}");
            (name, format!("hour: 5, fault_tolerant: false, {redis}"))
        })
        .collect();
    let limits: Vec<(&str, &str)> = configs.iter().map(|(name, config)| (*name, config.as_str())).collect();
    let gateway = start(&limits);
    let mut clients: Vec<Client> = (0..2).map(|_| gateway.client()).collect();
    for (name, ..) in rubbish {
        for client in &mut clients {
            let begun = Instant::now();
            let status = client.get(&format!("/{name}"), "").head.status();
            // The first answer of "many" is right; the one that nobody asked for ends the connection.
            assert!(status == 500 || name == "many" && status == 200, "{name}: {status}");
            assert!(begun.elapsed() < PATIENCE / 4, "{name}: {:?}", begun.elapsed());
        }
    }
    assert!(metric(&gateway, "ringway_redis_errors_total{kind=\"rubbish\"}") >= 4, "{}", gateway.admin("/metrics"));
}

#[test]
fn names_are_looked_up() {
    let redis = Redis::start(&[]);
    let port = redis.addr.port();
    let gateway = start(&[
        ("good", &format!("hour: 5, redis: {{host: localhost, port: {port}}}")),
        (
            "gone",
            &format!("hour: 5, fault_tolerant: false, redis: {{host: nobody.invalid, port: {port}, timeout: 300}}"),
        ),
    ]);
    assert_eq!(field(&gateway.get("/good"), "RateLimit-Remaining"), Some("4"));
    assert_eq!(status(&gateway, "/gone"), 500);
}

/// Waits until Redis says so of its only key.
#[track_caller]
fn wait_count(gateway: &Gateway, redis: &Redis, want: &str) {
    gateway.wait_until(&format!("Redis has counted {want}"), || {
        redis.ask(&["GET", redis.ask(&["KEYS", "*"]).trim()]) == want
    });
}

#[test]
fn counts_are_exchanged_in_the_background() {
    let redis = Redis::start(&[]);
    let config = format!("year: 40, sync_rate: 0.05, {}", at(&redis, ""));
    let (one, two) = (start(&[("s", &config)]), start(&[("s", &config)]));
    let left = |gateway: &Gateway| field(&gateway.get("/s"), "X-RateLimit-Remaining-Year").map(str::to_owned);
    for want in (30..40).rev() {
        assert_eq!(left(&one), Some(want.to_string()));
    }
    wait_count(&one, &redis, "10");
    for want in (19..30).rev() {
        assert_eq!(left(&two), Some(want.to_string()));
    }
    wait_count(&one, &redis, "21");
    // The first one learns of it once somebody asks there.
    let asked = std::cell::Cell::new(0);
    one.wait_until("what the other has admitted counts here", || {
        asked.set(asked.get() + 1);
        left(&one).is_some_and(|left| left.parse::<i64>().unwrap() == 40 - 21 - asked.get())
    });
    assert!(redis.scripts_run() < 30, "{}", redis.scripts_run());
}

#[test]
fn in_the_background_too_a_gateway_admits_no_more_than_the_limit() {
    let redis = Redis::start(&[]);
    let config = format!("year: 40, sync_rate: 0.1, {}", at(&redis, ""));
    let gateways = [start_with(&[("s", &config)], 2), start_with(&[("s", &config)], 2)];
    let admitted: Vec<usize> = std::thread::scope(|scope| {
        let ask = |gateway: &Gateway| {
            let mut client = gateway.client();
            (0..40).filter(|_| client.get("/s", "").head.status() == 200).count()
        };
        let threads: Vec<_> =
            (0..8).map(|n| &gateways[n % 2]).map(|gateway| scope.spawn(move || ask(gateway))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let of = |gateway: usize| -> usize { admitted.iter().skip(gateway).step_by(2).sum() };
    assert!(of(0) <= 40 && of(1) <= 40 && of(0) + of(1) >= 40, "{admitted:?}");
    // Every one that was admitted is told to Redis.
    wait_count(&gateways[0], &redis, &(of(0) + of(1)).to_string());
    gateways[0].wait_until("both know", || gateways.iter().all(|gateway| status(gateway, "/s") == 429));
}

#[test]
fn a_gateway_that_ends_tells_redis_what_it_has_admitted() {
    let redis = Redis::start(&[]);
    let mut gateway = start(&[("s", &format!("year: 40, sync_rate: 600, {}", at(&redis, "")))]);
    let mut client = gateway.client();
    for _ in 0..4 {
        assert_eq!(client.get("/s", "").head.status(), 200);
    }
    drop(client);
    let told = || redis.ask(&["GET", &redis.ask(&["KEYS", "*"])]);
    assert_ne!(told(), "4", "it has ten minutes to tell");
    gateway.signal("TERM");
    assert!(gateway.wait_exit(PATIENCE).success());
    assert_eq!(told(), "4");
}

#[test]
fn what_is_asked_in_one_turn_leaves_in_one_write() {
    const CLIENTS: usize = 16;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // How many questions came with each read.
    let (told, reads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buf = vec![0; 256 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut buf) {
                let text = String::from_utf8_lossy(&buf[..read]).into_owned();
                let count = text.matches("EVALSHA").count();
                let answer =
                    if text.contains("PING") { "+PONG\r\n".to_owned() } else { "*2\r\n:1\r\n:1\r\n".repeat(count) };
                if count > 0 {
                    told.send(count).unwrap();
                }
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    let gateway = start(&[("s", &format!("hour: 500, redis: {{host: 127.0.0.1, port: {port}}}"))]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/s", "").head.status(), 200);
    }
    assert_eq!(reads.try_iter().sum::<usize>(), CLIENTS);
    // All of them ask while the gateway is held, so that one turn of its loop finds all of them.
    gateway.signal("STOP");
    for client in &mut clients {
        client.send("GET /s HTTP/1.1\r\nHost: client.test\r\n\r\n");
    }
    gateway.signal("CONT");
    for client in &mut clients {
        assert_eq!(client.answer("GET").unwrap().head.status(), 200);
    }
    let counts: Vec<usize> = reads.try_iter().collect();
    assert_eq!(counts.iter().sum::<usize>(), CLIENTS);
    assert!(counts.len() <= 3, "{counts:?}");
}
