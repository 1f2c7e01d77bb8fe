//! Limits by what requests see of them.

use super::super::rig::{faults, Rig, Seen, ALICE, BOB, GUEST, NOON};
use super::*;
use crate::base::id::CredentialIx;
use crate::base::time::WallMs;
use crate::hook::{Identity, Shelf};
use crate::limit::rule;
use crate::limit::window::Window;
use crate::redis::{Command, Fault, Reply as Answer};
use serde_json::json;
use std::net::IpAddr;

fn numbers(seen: &Seen, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| seen.client(name).unwrap_or("-").to_owned()).collect()
}

#[test]
fn six_a_minute_are_six_a_minute() {
    let mut rig = Rig::new(&DESCRIPTOR, json!({"minute": 6}));
    rig.now = WallMs(NOON.0 + 20_500);
    let names = [
        "X-RateLimit-Limit-Minute",
        "X-RateLimit-Remaining-Minute",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
    ];
    for left in ["5", "4", "3", "2", "1", "0"] {
        let seen = rig.ask("GET /");
        assert_eq!(seen.said(), "next");
        assert_eq!(numbers(&seen, &names), ["6", left, "6", left, "40"]);
        assert_eq!(seen.client_fields().len(), names.len());
    }
    for _ in 0..3 {
        let seen = rig.ask("GET /");
        assert_eq!(seen.said(), "429 E(API rate limit exceeded)");
        assert_eq!(numbers(&seen, &names), ["6", "0", "6", "0", "40"]);
        assert_eq!(seen.client("Retry-After"), Some("40"));
    }
    rig.now = WallMs(NOON.0 + 60_000);
    assert_eq!(numbers(&rig.ask("GET /"), &names), ["6", "5", "6", "5", "60"]);
}

#[test]
fn a_refused_request_takes_nothing_of_any_period() {
    let mut rig = Rig::new(&DESCRIPTOR, json!({"second": 2, "minute": 3, "hour": 3}));
    let names = [
        "X-RateLimit-Remaining-Second",
        "X-RateLimit-Remaining-Minute",
        "X-RateLimit-Remaining-Hour",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
    ];
    assert_eq!(numbers(&rig.ask("GET /"), &names), ["1", "2", "2", "2", "1", "1"]);
    assert_eq!(numbers(&rig.ask("GET /"), &names), ["0", "1", "1", "2", "0", "1"]);
    let third = rig.ask("GET /");
    assert_eq!(third.said(), "429 E(API rate limit exceeded)");
    assert_eq!(numbers(&third, &names), ["0", "1", "1", "2", "0", "1"]);
    rig.now = WallMs(NOON.0 + 1000);
    // Minute and hour have as little left: the longer one is told.
    assert_eq!(numbers(&rig.ask("GET /"), &names), ["1", "0", "0", "3", "0", "3599"]);
    let late = rig.ask("GET /");
    assert_eq!((late.said().as_str(), late.client("Retry-After")), ("429 E(API rate limit exceeded)", Some("3599")));
    // The token of the second was given back.
    assert_eq!(numbers(&late, &names), ["1", "0", "0", "3", "0", "3599"]);
}

#[test]
fn months_are_said_to_have_thirty_days() {
    let mut rig = Rig::new(&DESCRIPTOR, json!({"month": 5, "year": 5.0}));
    // 23 November, noon: 22.5 days of November and 326.5 days of 2026 are gone.
    let seen = rig.ask("GET /");
    assert_eq!(seen.client("RateLimit-Reset"), Some("3326400"));
    assert_eq!(seen.client("X-RateLimit-Limit-Year"), Some("5"));
    assert_eq!(rule::reset_s(Period::Month, Window { start_s: 0, end_s: 31 * 86_400 }, WallMs(30 * 86_400_000)), 1);
}

#[test]
fn hidden_headers_are_hidden_from_refusals_too() {
    let config = json!({"minute": 1, "hide_client_headers": true, "error_code": 403, "error_message": "Enough"});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    assert_eq!(rig.ask("GET /").client_fields(), Vec::<&str>::new());
    let seen = rig.ask("GET /");
    assert_eq!(seen.said(), "403 E(Enough)");
    assert_eq!((seen.client_fields().len(), seen.client("Retry-After")), (0, None));
}

/// Asks in turn, as (consumer and credential, last byte of the address, request), with one request a minute; gives
/// back which passed.
fn passed(config: serde_json::Value, asks: &[(Option<Identity>, u8, &str)]) -> Vec<bool> {
    let mut rig = Rig::new(&DESCRIPTOR, config);
    let ask = |&(identity, ip, request): &(Option<Identity>, u8, &str)| {
        rig.identity = identity.unwrap_or_default();
        rig.client_ip = IpAddr::from([192, 0, 2, ip]);
        rig.ask(request).reply.is_none()
    };
    asks.iter().map(ask).collect()
}

#[test]
fn who_shares_a_count() {
    let who = |consumer, credential| {
        Some(Identity { consumer, credential: Some(CredentialIx(credential)), is_vouched: false })
    };
    let (bob, bob_too, alice) = (who(Some(BOB), 0), who(Some(BOB), 2), who(Some(ALICE), 1));
    let anyone = None;
    let by = |by: &str| json!({"minute": 1, "limit_by": by, "header_name": "x-u", "path": "/a"});
    let get = "GET /";
    let rows: &[(&str, &[(Option<Identity>, u8, &str)], &[bool])] = &[
        (
            "consumer",
            &[(bob, 1, get), (alice, 1, get), (bob_too, 2, get), (anyone, 1, get), (anyone, 2, get), (anyone, 1, get)],
            &[true, true, false, true, true, false],
        ),
        (
            "credential",
            &[(bob, 1, get), (bob_too, 1, get), (bob, 2, get), (anyone, 1, get)],
            &[true, true, false, true],
        ),
        ("ip", &[(bob, 1, get), (alice, 1, get), (bob, 2, get)], &[true, false, true]),
        ("service", &[(bob, 1, get), (alice, 2, "GET /other")], &[true, false]),
        (
            "header",
            &[
                (bob, 1, "GET /\nX-U: a"),
                (bob, 1, "GET /\nx-u: b"),
                (alice, 2, "GET /\nx-u: a"),
                (bob, 1, get),
                (alice, 1, get),
                (alice, 2, get),
            ],
            &[true, true, false, true, false, true],
        ),
        (
            "path",
            &[(bob, 1, "GET /a"), (alice, 2, "GET /a?x"), (bob, 1, "GET /b"), (bob, 1, "GET /c"), (bob, 2, "GET /c")],
            &[true, false, true, false, true],
        ),
    ];
    for (name, asks, want) in rows {
        assert_eq!(passed(by(name), asks), *want, "limit_by {name}");
    }
}

#[test]
fn a_header_cannot_name_the_count_of_an_address() {
    let forged = "GET /\nx-u: \u{c0}\u{0}\u{2}\u{1}";
    let rows = [(None, 1, "GET /"), (None, 2, forged)];
    assert_eq!(passed(json!({"minute": 1, "limit_by": "header", "header_name": "x-u"}), &rows), [true, true]);
}

#[test]
fn counts_outlive_a_reload_and_limits_may_change() {
    let shelf = Shelf::default();
    let rig = |limit: u32| Rig::with(&DESCRIPTOR, json!({"hour": limit}), &shelf, Vec::new());
    let (mut before, mut after) = (rig(2), rig(3));
    assert_eq!([before.ask("GET /").said(), before.ask("GET /").said()], ["next", "next"]);
    assert!(before.ask("GET /").reply.is_some());
    assert_eq!(after.ask("GET /").client("RateLimit-Remaining"), Some("0"));
    assert!(after.ask("GET /").reply.is_some());
}

#[test]
fn counts_of_different_algorithms_are_different_counts() {
    let shelf = Shelf::default();
    let by = |algorithm: &str| json!({"hour": 5, "algorithm": algorithm});
    let algorithms =
        ["fixed-window", "sliding-window", "token-bucket", "fixed-window", "sliding-window", "token-bucket"];
    let left = algorithms.map(|algorithm| {
        let seen = Rig::with(&DESCRIPTOR, by(algorithm), &shelf, Vec::new()).ask("GET /");
        seen.client("RateLimit-Remaining").map(str::to_owned)
    });
    assert_eq!(left, ["4", "4", "4", "3", "3", "3"].map(|left| Some(left.to_owned())));
}

#[test]
fn ten_of_sixty_four_pass_whoever_asks() {
    let shelf = Shelf::default();
    let passed: usize = std::thread::scope(|scope| {
        let ask = || {
            let mut rig = Rig::with(&DESCRIPTOR, json!({"minute": 10, "hour": 10}), &shelf, Vec::new());
            (0..16).filter(|_| rig.ask("GET /").reply.is_none()).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 10);
}

#[test]
fn configurations_that_cannot_be_meant_are_refused() {
    let rows = [
        (
            json!({}),
            "|at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', \
             'config.day', 'config.month', 'config.year'",
        ),
        (
            json!({"second": 2, "minute": 1}),
            "|The limit for minute(1.0) cannot be lower than the limit for second(2.0)",
        ),
        (
            json!({"minute": 9, "day": 10, "year": 2.5}),
            "|The limit for year(2.5) cannot be lower than the limit for minute(9.0)",
        ),
        (
            json!({"minute": 1, "limit_by": "header"}),
            "header_name|required field missing\n|failed conditional validation given value of field 'config.limit_by'",
        ),
        (
            json!({"minute": 1, "limit_by": "path"}),
            "path|required field missing\n|failed conditional validation given value of field 'config.limit_by'",
        ),
        (json!({"minute": 1, "sync_rate": 0.1}), "|sync_rate can only be used with the redis policy"),
        (
            json!({"minute": 1, "redis_host": "a", "redis": {"host": "b"}}),
            "|both deprecated and new field are used but their values mismatch: redis_host = a vs redis.host = b",
        ),
        (json!({"minute": 1, "redis_port": 1, "redis": {"host": "b"}}), ""),
        (json!({"year": 3_000_000_000u64}), "year|2147483647 is the most that is counted; write that, or leave it out"),
    ];
    for (config, want) in rows {
        let found: Vec<_> = faults(&DESCRIPTOR, config).iter().map(|(path, text)| format!("{path}|{text}")).collect();
        assert_eq!(found.join("\n"), want);
    }
}

#[test]
fn redis_must_be_somewhere() {
    let nodes = json!([{"ip": "10.0.0.1"}]);
    let rows = [
        (json!({}), "|must set one of 'config.redis.host', 'config.redis_host' when 'policy' is 'redis'"),
        (json!({"redis": {"host": "a"}}), ""),
        (json!({"redis_host": "a"}), ""),
        (json!({"redis": {"cluster_nodes": nodes}}), ""),
        (
            json!({"redis": {"cluster_nodes": nodes}, "redis_database": 2}),
            "redis.database|a cluster has the database 0 only",
        ),
        (json!({"redis": {"sentinel_nodes": [{}]}}), "redis.sentinel_master|required field missing"),
        (json!({"redis": {"sentinel_nodes": [{}], "sentinel_master": "m"}}), ""),
        (
            json!({"redis": {"sentinel_nodes": [{}], "sentinel_master": "m", "cluster_nodes": nodes}}),
            "redis|sentinel_nodes and cluster_nodes exclude each other",
        ),
        (json!({"redis": {"host": "a"}, "sync_rate": 0.02}), ""),
        (json!({"redis": {"host": "a"}, "sync_rate": 0.01}), "sync_rate|must be -1, or 0.02 seconds or more"),
        (json!({"redis": {"host": "a", "database": -1}}), "redis.database|there is no such database"),
        (
            json!({"redis": {"host": "a", "password": "one"}, "redis_password": "two"}),
            "|both deprecated and new field are used but their values mismatch: redis_password = *** vs redis.password = ***",
        ),
        (
            json!({"redis": {"host": "a", "username": "one"}, "redis_username": "two"}),
            "|both deprecated and new field are used but their values mismatch: redis_username = *** vs redis.username = ***",
        ),
    ];
    for (mut config, want) in rows {
        config["minute"] = json!(1);
        config["policy"] = json!("redis");
        let found: Vec<_> =
            faults(&DESCRIPTOR, config.clone()).iter().map(|(path, text)| format!("{path}|{text}")).collect();
        assert_eq!(found.join("\n"), want, "{config}");
    }
}

fn shared(config: serde_json::Value) -> Rig {
    let mut all = json!({"minute": 3, "hour": 9, "policy": "redis", "redis": {"host": "r.test"}});
    all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    Rig::new(&DESCRIPTOR, all)
}

fn said(numbers: &[i64]) -> Answer {
    Answer::List(numbers.iter().map(|&number| Answer::Integer(number)).collect())
}

#[test]
fn redis_is_asked_once_for_all_periods() {
    let mut rig = shared(json!({}));
    rig.now = WallMs(NOON.0 + 61_500);
    rig.redis.push_back(Ok(vec![said(&[1, 2, 5])]));
    let seen = rig.ask("GET /");
    let names = ["X-RateLimit-Remaining-Minute", "X-RateLimit-Remaining-Hour", "RateLimit-Reset"];
    assert_eq!((seen.said().as_str(), numbers(&seen, &names)), ("next", vec!["1".into(), "4".into(), "59".into()]));
    let [command] = &rig.asked[0].commands[..] else { panic!("{:?}", rig.asked) };
    let args: Vec<_> = command.args().map(|arg| String::from_utf8(arg.to_vec()).unwrap()).collect();
    let key = |start_s: u64, period: &str| {
        let (route, none) = ("00000000-0000-0000-0000-000000000010", "00000000-0000-0000-0000-000000000000");
        format!("ratelimit:{route}:{none}:192.0.2.7:{}:{period}", NOON.0 + start_s * 1000)
    };
    let numbers = ["1", "3", "60", "9", "3600"].map(str::to_owned);
    assert_eq!(args, [&[key(60, "minute"), key(0, "hour")][..], &numbers].concat());
}

#[test]
fn a_refusal_is_remembered_until_its_window_ends() {
    let mut rig = shared(json!({}));
    rig.now = WallMs(NOON.0 + 10_000);
    rig.redis.push_back(Ok(vec![said(&[0, 3, 4])]));
    for now in [10_000, 59_999] {
        rig.now = WallMs(NOON.0 + now);
        let seen = rig.ask("GET /");
        assert_eq!(seen.said(), "429 E(API rate limit exceeded)");
        assert_eq!(seen.client("X-RateLimit-Remaining-Minute"), Some("0"));
        assert_eq!(seen.client("X-RateLimit-Remaining-Hour"), Some("5"));
    }
    assert_eq!(rig.asked.len(), 1);
    // Another asker, and the next minute, are not refused by it.
    rig.redis.extend([Ok(vec![said(&[1, 1, 5])]), Ok(vec![said(&[1, 1, 6])])]);
    rig.client_ip = IpAddr::from([192, 0, 2, 8]);
    assert_eq!(rig.ask("GET /").said(), "next");
    rig.client_ip = IpAddr::from([192, 0, 2, 7]);
    rig.now = WallMs(NOON.0 + 60_000);
    assert_eq!(rig.ask("GET /").said(), "next");
    // An answer that comes late speaks of the window that was asked about.
    assert_eq!(rig.asked.len(), 3);
}

#[test]
fn in_a_cluster_what_was_taken_is_given_back() {
    let mut rig = shared(json!({"redis": {"cluster_nodes": [{"ip": "10.0.0.1"}]}}));
    rig.redis.push_back(Ok(vec![said(&[1, 2]), said(&[0, 9])]));
    let seen = rig.ask("GET /");
    assert_eq!(seen.said(), "429 E(API rate limit exceeded)");
    assert_eq!(rig.asked[0].commands.len(), 2);
    let outbox = std::mem::take(&mut rig.locals.of(crate::hook::Outbox::default).0);
    let [call] = &outbox[..] else { panic!("{} calls", outbox.len()) };
    let [command] = &call.commands[..] else { panic!("{call:?}") };
    assert_eq!((command.key(), command.args().nth(1)), (rig.asked[0].commands[0].key(), Some(&b"1"[..])));
    // Remembered for a second only: another gateway may have held the token for a moment.
    rig.now = WallMs(NOON.0 + 1000);
    rig.redis.push_back(Ok(vec![said(&[1, 3]), said(&[1, 9])]));
    assert_eq!(rig.ask("GET /").said(), "next");
}

#[test]
fn what_the_node_refuses_is_refused_on_a_shard_that_does_not_know_the_key() {
    for (shadow, want) in [(false, "429 E(API rate limit exceeded)"), (true, "next")] {
        let shelf = Shelf::default();
        let shard = || {
            let redis = json!({"host": "r.test"});
            let config =
                json!({"minute": 3, "hour": 9, "policy": "redis", "sync_rate": 10, "redis": redis, "shadow": shadow});
            Rig::with(&DESCRIPTOR, config, &shelf, Vec::new())
        };
        let (mut one, mut two) = (shard(), shard());
        one.redis.push_back(Ok(vec![said(&[1, 1, 1])]));
        assert_eq!([0; 3].map(|_| one.ask("GET /").said()), ["next"; 3]);
        // Redis knows of the first one only.
        two.redis.push_back(Ok(vec![said(&[1, 2, 2])]));
        let seen = two.ask("GET /");
        let refused = (seen.client("Retry-After").is_some(), seen.client("X-RateLimit-Shadow").is_some());
        assert_eq!((seen.said().as_str(), refused), (want, (!shadow, shadow)));
        assert_eq!(seen.client("X-RateLimit-Remaining-Minute"), Some("0"));
        // What Redis has taken for it is given back, of every period.
        let outbox = std::mem::take(&mut two.locals.of(crate::hook::Outbox::default).0);
        let keys: Vec<_> = outbox.iter().flat_map(|call| &call.commands).filter_map(Command::key).collect();
        assert_eq!(keys, two.asked[0].commands[0].args().take(2).collect::<Vec<_>>());
        // By now the key is known, and the node still has the say.
        assert_eq!(two.ask("GET /").said(), want);
        let tally = two.locals.of(Tally::default);
        assert_eq!(
            tally.rows().map(|row| (row.by, row.count)).collect::<Vec<_>>(),
            if shadow { vec![("consumer", 2)] } else { vec![] }
        );
    }
}

#[test]
fn without_redis_the_setting_says_what_happens() {
    let rows = [
        (json!({}), "next"),
        (json!({"fault_tolerant": false}), "500 E(An unexpected error occurred)"),
        (json!({"fault_tolerant": true, "continue_on_error": false}), "500 E(An unexpected error occurred)"),
        (json!({"fault_tolerant": false, "on_redis_fault": "pass"}), "next"),
        (json!({"on_redis_fault": "fail"}), "500 E(An unexpected error occurred)"),
    ];
    for (config, want) in rows {
        let mut rig = shared(config.clone());
        rig.redis.push_back(Err(Fault::Timeout));
        let seen = rig.ask("GET /");
        assert_eq!((seen.said().as_str(), seen.client_fields().len()), (want, 0), "{config}");
    }
    let mut rig = shared(json!({"on_redis_fault": "local"}));
    for want in ["next", "next", "next", "429 E(API rate limit exceeded)"] {
        rig.redis.push_back(Err(Fault::Down));
        assert_eq!(rig.ask("GET /").said(), want);
    }
    rig.redis.push_back(Ok(vec![said(&[1, 1, 1])]));
    assert_eq!(rig.ask("GET /").client("X-RateLimit-Remaining-Minute"), Some("2"), "Redis knows better again");
}

/// Asks the same thing at these moments (ms after noon), and says of each: passed, after how long a wait, what is left and
/// when to come back.
fn asked(config: serde_json::Value, request: &str, moments: &[u64]) -> Vec<String> {
    let mut rig = Rig::new(&DESCRIPTOR, config);
    let ask = |at: &u64| {
        rig.now = WallMs(NOON.0 + at);
        let seen = rig.ask(request);
        let number = |name: &str| seen.client(name).unwrap_or("-").to_owned();
        match &seen.reply {
            None if seen.slept_ms > 0 => format!("{}ms {}", seen.slept_ms, number("RateLimit-Remaining")),
            None => number("RateLimit-Remaining"),
            Some(reply) => format!("{} {}/{}", reply.status, number("Retry-After"), number("RateLimit-Reset")),
        }
    };
    moments.iter().map(ask).collect()
}

#[test]
fn a_sliding_window_counts_the_share_of_the_one_before() {
    let config = json!({"minute": 4, "algorithm": "sliding-window"});
    let moments = [50_000, 50_000, 50_000, 50_000, 50_000, 60_000, 75_000, 75_000, 90_000, 90_000];
    let want = ["3", "2", "1", "0", "429 25/10", "429 15/60", "0", "429 15/45", "0", "429 15/30"];
    assert_eq!(asked(config, "GET /", &moments), want);
}

#[test]
fn a_token_bucket_holds_its_burst_and_fills_at_its_rate() {
    let config = json!({"minute": 6, "burst": 2, "algorithm": "token-bucket"});
    let moments = [0, 0, 0, 9_999, 10_000, 10_000, 60_000, 60_000, 60_000];
    assert_eq!(
        asked(config, "GET /", &moments),
        ["1", "0", "429 10/20", "429 1/11", "0", "429 10/20", "1", "0", "429 10/20"]
    );
    // Without a burst of its own it holds what its limit says; a longer period has a bucket of its own.
    let config = json!({"second": 2, "hour": 3, "algorithm": "token-bucket"});
    assert_eq!(asked(config, "GET /", &[0, 0, 0, 1000, 2000]), ["1", "0", "429 1/1", "0", "429 1198/3598"]);
}

#[test]
fn a_leaky_bucket_spaces_requests_or_holds_them_back() {
    let config = json!({"second": 10, "algorithm": "leaky-bucket"});
    assert_eq!(asked(config, "GET /", &[0, 50, 100, 199, 200]), ["0", "429 1/1", "0", "429 1/1", "0"]);
    let config = json!({"second": 10, "algorithm": "leaky-bucket", "queue_delay_max_ms": 250});
    assert_eq!(asked(config, "GET /", &[0, 0, 0, 0, 100]), ["2", "100ms 1", "200ms 0", "429 1/1", "200ms 0"]);
    let shadow = json!({"second": 10, "algorithm": "leaky-bucket", "queue_delay_max_ms": 250, "shadow": true});
    assert_eq!(asked(shadow, "GET /", &[0, 0, 0, 0]), ["2", "1", "0", "0"]);
}

#[test]
fn a_request_may_cost_more_than_one() {
    let config = |algorithm: &str| json!({"hour": 10, "algorithm": algorithm, "cost_header": "x-cost", "cost_max": 6});
    for algorithm in ["fixed-window", "sliding-window", "token-bucket"] {
        let mut rig = Rig::new(&DESCRIPTOR, config(algorithm));
        let mut left = |cost: &str| {
            let seen = rig.ask(&format!("GET /\nX-Cost: {cost}"));
            (seen.reply.is_none(), seen.client("RateLimit-Remaining").unwrap_or("-").to_owned())
        };
        // Too much is the most; what is no number, or none, costs one.
        let rows = [
            ("99999999999999999999", true, "4"),
            ("5", false, "4"),
            ("2", true, "2"),
            ("-7", true, "1"),
            ("0", true, "0"),
            ("1", false, "0"),
        ];
        for (cost, passes, remaining) in rows {
            assert_eq!(left(cost), (passes, remaining.to_owned()), "{algorithm}, {cost}");
        }
    }
}

#[test]
fn a_list_of_keys_is_one_key() {
    let who = |consumer| {
        Some(Identity { consumer: Some(consumer), credential: Some(CredentialIx(0)), ..Identity::default() })
    };
    let config = json!({"minute": 1, "limit_by": ["consumer", "header"], "header_name": "x-u"});
    let rows = [
        (who(BOB), 1, "GET /\nx-u: a"),
        (who(BOB), 1, "GET /\nx-u: b"),
        (who(ALICE), 1, "GET /\nx-u: a"),
        (who(BOB), 2, "GET /\nx-u: a"),
        (None, 1, "GET /\nx-u: a"),
        (None, 2, "GET /\nx-u: a"),
        (None, 2, "GET /\nx-u: a"),
    ];
    assert_eq!(passed(config, &rows), [true, true, true, false, true, true, false]);
}

#[test]
fn tiers_are_limits_of_groups() {
    let config = json!({"hour": 1, "tiers": {"dev": {"hour": 3}, "admin": {"hour": 2}, "guests": {"unlimited": true}}});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    let mut passes = |consumer| {
        rig.identity.consumer = consumer;
        (0..5).filter(|_| rig.ask("GET /").reply.is_none()).count()
    };
    // Bob is in `admin` and `dev`: the tier that is written first counts.
    assert_eq!([passes(None), passes(Some(BOB)), passes(Some(ALICE)), passes(Some(GUEST))], [1, 3, 1, 5]);
}

#[test]
fn tiers_are_limits_of_consumer_groups_too() {
    // Bob is in the consumer group `silver`, alice in it and in `gold`; guest is in none.
    let rows = [
        (json!({"silver": {"hour": 2}, "gold": {"hour": 3}}), [1, 2, 2, 1]),
        (json!({"gold": {"hour": 3}, "silver": {"hour": 2}}), [1, 2, 3, 1]),
        (json!({"silver": {"hour": 2}, "admin": {"hour": 4}, "guests": {"unlimited": true}}), [1, 2, 2, 5]),
        (json!({"none": {"hour": 2}}), [1, 1, 1, 1]),
    ];
    for (tiers, want) in rows {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"hour": 1, "tiers": tiers}));
        let mut passes = |consumer| {
            rig.identity.consumer = consumer;
            (0..5).filter(|_| rig.ask("GET /").reply.is_none()).count()
        };
        let found = [passes(None), passes(Some(BOB)), passes(Some(ALICE)), passes(Some(GUEST))];
        assert_eq!(found, want, "{tiers}");
    }
}

#[test]
fn a_shadow_refuses_nothing_and_says_what_it_would() {
    let mut rig = Rig::new(&DESCRIPTOR, json!({"hour": 1, "limit_by": "ip", "shadow": true}));
    assert_eq!(rig.ask("GET /").client("X-RateLimit-Shadow"), None);
    for _ in 0..2 {
        let seen = rig.ask("GET /");
        assert_eq!((seen.said().as_str(), seen.client("X-RateLimit-Shadow")), ("next", Some("refused")));
        assert_eq!((seen.client("RateLimit-Remaining"), seen.client("Retry-After")), (Some("0"), None));
    }
    let rows: Vec<_> = rig.locals.of(Tally::default).rows().cloned().collect();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.plugin.as_str(), row.by, row.code, row.shadow, row.count), ("rate-limiting", "ip", 429, true, 2));
}

#[test]
fn what_means_nothing_together_is_refused() {
    let rows = [
        (
            json!({"minute": 1, "burst": 2}),
            "burst|burst means nothing with fixed-window; write algorithm: token-bucket or leaky-bucket",
        ),
        (
            json!({"minute": 1, "algorithm": "token-bucket", "queue_delay_max_ms": 10}),
            "queue_delay_max_ms|queue_delay_max_ms means nothing with token-bucket; write algorithm: leaky-bucket",
        ),
        (json!({"minute": 1, "cost_max": 2}), "cost_max|there is no cost_header whose values it could bound"),
        (json!({"minute": 1, "limit_by": []}), "limit_by|length must be at least 1"),
        (json!({"minute": 1, "limit_by": ["ip", "ip"]}), "limit_by|each word may stand there once"),
        (
            json!({"minute": 1, "limit_by": ["ip", "header"]}),
            "header_name|required field missing\n|failed conditional validation given value of field 'config.limit_by'",
        ),
        (
            json!({"minute": 1, "tiers": {"a": {"second": 2, "minute": 1}}}),
            "tiers.a|The limit for minute(1.0) cannot be lower than the limit for second(2.0)",
        ),
        (
            json!({"minute": 1, "tiers": {"a": {"unlimited": true, "hour": 2}}}),
            "tiers.a|unlimited beside a limit; keep one of them",
        ),
        (
            json!({"minute": 1, "tiers": {"a": {"hour": 2, "burst": 2}}}),
            "tiers|burst means nothing with fixed-window; write algorithm: token-bucket or leaky-bucket",
        ),
        (
            json!({"year": 1, "burst": 5, "algorithm": "token-bucket"}),
            "year|a bucket that takes more than 4 years to fill; allow more per year, or a smaller burst",
        ),
        (json!({"year": 1, "algorithm": "token-bucket", "shadow": true, "tiers": {"a": {"unlimited": true}}}), ""),
    ];
    for (config, want) in rows {
        let found: Vec<_> = faults(&DESCRIPTOR, config).iter().map(|(path, text)| format!("{path}|{text}")).collect();
        assert_eq!(found.join("\n"), want);
    }
    let none = faults(&DESCRIPTOR, json!({"minute": 1, "tiers": {"a": {}}}));
    assert!(none[0].0 == "tiers.a" && none[0].1.contains("'config.tiers.a.second'"), "{none:?}");
}

#[test]
fn every_algorithm_is_exact_over_shards() {
    for (algorithm, wanted) in [("fixed-window", 10), ("sliding-window", 10), ("token-bucket", 10), ("leaky-bucket", 1)]
    {
        let shelf = Shelf::default();
        let passed: usize = std::thread::scope(|scope| {
            let ask = || {
                let config = json!({"minute": 10, "hour": 10, "algorithm": algorithm});
                let mut rig = Rig::with(&DESCRIPTOR, config, &shelf, Vec::new());
                (0..16).filter(|_| rig.ask("GET /").reply.is_none()).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, wanted, "{algorithm}");
    }
}
