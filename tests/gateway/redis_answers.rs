//! Limits on answers that gateways share through a real Redis; and the seed's limits, with the names it has for its Redis.

use crate::harness::echo::Echo;
use crate::harness::redis::Redis;
use crate::harness::wire::Message;
use crate::harness::{Gateway, Setup};
use std::net::SocketAddr;

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

fn kong(up: SocketAddr, name: &str, config: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://{up}\n  routes: [{{name: r, paths: [/]}}]\n  \
         plugins: [{{name: {name}, config: {config}}}]\n"
    )
}

/// `response-ratelimiting` with these fields, over this Redis.
fn start(up: &Echo, redis: &Redis, more: &str) -> Gateway {
    let at = format!(
        "{{host: 127.0.0.1, port: {}, timeout: 9000, connect_timeout: 500, send_timeout: 500, read_timeout: 500}}",
        redis.addr.port()
    );
    let config = format!("{{policy: redis, limit_by: ip, redis: {at}, {more}}}");
    Setup::kong(kong(up.addr, "response-ratelimiting", &config)).start()
}

/// An answer of the echo that says it has used this.
fn using(gateway: &Gateway, used: &str) -> Message {
    gateway.get(&format!("/response-headers?X-Kong-Limit={used}"))
}

/// Status, and what is left of the year of `video`.
fn seen(answer: &Message) -> (u16, Option<&str>) {
    (answer.head.status(), answer.head.one("X-RateLimit-Remaining-video-year"))
}

#[test]
fn two_gateways_count_what_answers_use() {
    let (redis, up) = (Redis::start(&[]), Echo::start("UP"));
    let limits = "limits: {video: {year: 6}}";
    let [one, two] = [start(&up, &redis, limits), start(&up, &redis, limits)];
    assert_eq!(seen(&using(&one, "video%3D2")), (200, Some("4")));
    let used = |want: &str| {
        let keys = redis.ask(&["KEYS", "*"]);
        keys.lines().count() == 1 && redis.ask(&["GET", &keys]) == want
    };
    // Nobody waits for the count; it comes.
    one.wait_until("Redis has counted it", || used("2"));
    assert_eq!(seen(&using(&two, "video%3D3")), (200, Some("1")));
    two.wait_until("Redis has counted it", || used("5"));
    // The last one may use more than there is.
    assert_eq!(seen(&using(&one, "video%3D3")), (200, Some("0")));
    one.wait_until("Redis has counted it", || used("8"));
    for gateway in [&one, &two] {
        let refused = using(gateway, "video%3D1");
        assert_eq!((seen(&refused), refused.body.len()), ((429, Some("0")), 0));
        assert_eq!(refused.head.one("X-Kong-Limit"), None);
    }
    assert!(used("8"), "an answer that is refused uses nothing");
    assert_eq!(seen(&one.get("/x")), (200, Some("0")));

    // Another gateway's count is ours, under the key that both know.
    let id = serde_json::from_str::<serde_json::Value>(&one.admin("/services/s")).unwrap()["id"].clone();
    let key = redis.ask(&["KEYS", "*"]);
    let parts: Vec<&str> = key.split(':').collect();
    let [head, route, service, who, begun, name, period] = parts[..] else { panic!("{key}") };
    assert_eq!((head, route, who, name, period), ("response-ratelimit", NOBODY, "127.0.0.1", "video", "year"));
    assert_eq!(service, id.as_str().unwrap());
    let (begun, ttl): (u64, u64) = (begun.parse().unwrap(), redis.ask(&["TTL", &key]).parse().unwrap());
    assert_eq!(begun % 86_400_000, 0);
    assert!(ttl <= 366 * 86_400 && ttl > 0, "{ttl}");
    // A gateway that knows nothing yet learns it from there.
    redis.ask(&["SET", &key, "4"]);
    assert_eq!(seen(&start(&up, &redis, limits).get("/x")), (200, Some("2")));
}

#[test]
fn a_request_is_refused_for_what_others_have_used() {
    let (redis, up) = (Redis::start(&[]), Echo::start("UP"));
    let limits = "limits: {video: {year: 2}}, block_on_first_violation: true";
    let [one, two] = [start(&up, &redis, limits), start(&up, &redis, limits)];
    assert_eq!(using(&one, "video%3D2").head.status(), 200);
    two.wait_until("the other knows", || two.get("/x").head.status() == 429);
    up.take_count();
    let calls = |gateway: &Gateway| {
        let text = gateway.admin("/metrics");
        text.lines().find_map(|line| line.strip_prefix("ringway_redis_calls_total ")).unwrap_or("0").to_owned()
    };
    let before = calls(&two);
    for _ in 0..20 {
        assert_eq!(two.get("/x").head.status(), 429);
    }
    assert_eq!((calls(&two), up.take_count()), (before, 0), "a flood of them costs Redis nothing");
}

#[test]
fn without_redis_answers_pass_uncounted_or_fail() {
    let (mut redis, up) = (Redis::start(&[]), Echo::start("UP"));
    let limits = "limits: {video: {year: 6}}";
    let tolerant = start(&up, &redis, limits);
    let strict = start(&up, &redis, &format!("{limits}, fault_tolerant: false"));
    assert_eq!(seen(&using(&tolerant, "video%3D1")), (200, Some("5")));
    assert_eq!(using(&strict, "video%3D1").head.status(), 200);
    redis.stop();
    tolerant.wait_until("nobody is told any more", || seen(&using(&tolerant, "video%3D1")) == (200, None));
    strict.wait_until("it fails", || using(&strict, "video%3D1").head.status() == 500);
    redis.restart();
    strict.wait_until("it counts again", || using(&strict, "video%3D1").head.status() == 200);
    tolerant.wait_until("it counts again", || seen(&using(&tolerant, "video%3D1")).1.is_some());
    // Frozen, it costs a request its timeout at most.
    redis.signal("STOP");
    let begun = std::time::Instant::now();
    assert_eq!(seen(&using(&tolerant, "video%3D1")), (200, None));
    assert_eq!(using(&strict, "video%3D1").head.status(), 500);
    assert!(begun.elapsed().as_millis() < 2500, "{:?}", begun.elapsed());
    redis.signal("CONT");
}

/// The seed's Redis has names and the port 6379. A loopback address of our own has that port free.
fn named(up: &Echo, name: &str, config: &str) -> (Redis, Gateway) {
    let pid = std::process::id();
    let last = if name == "redis-service" { 1 } else { 2 };
    let addr = SocketAddr::from(([127, (pid >> 8 & 0x7f) as u8 + 64, pid as u8, last], 6379));
    let redis = Redis::stopped_at(addr, &[]);
    let mut setup = Setup::kong(kong(up.addr, "rate-limiting", config));
    setup = setup.runtime(&format!("hosts.{name}: {}", addr.ip()));
    (redis, setup.start())
}

#[test]
fn rate_limiting_config_of_the_seed() {
    let up = Echo::start("UP");
    let config = "{minute: 100, hour: 1000, policy: redis, redis_host: redis-service, redis_port: 6379, \
                  hide_client_headers: false}";
    let (mut redis, gateway) = named(&up, "redis-service", config);
    redis.restart();
    let left = |answer: &Message| answer.head.one("X-RateLimit-Remaining-Hour").map(str::to_owned);
    gateway.wait_until("Redis is found by its name", || left(&gateway.get("/")).is_some());
    let first: i64 = left(&gateway.get("/")).unwrap().parse().unwrap();
    let answer = gateway.get("/");
    assert_eq!(left(&answer), Some((first - 1).to_string()));
    assert_eq!(
        (answer.head.one("X-RateLimit-Limit-Minute"), answer.head.one("X-RateLimit-Limit-Hour")),
        (Some("100"), Some("1000"))
    );
    assert!(redis.ask(&["KEYS", "ratelimit:*:hour"]).starts_with("ratelimit:"));
    redis.stop();
    gateway.wait_until("without Redis it lets pass, untold", || {
        let answer = gateway.get("/");
        answer.head.status() == 200 && left(&answer).is_none()
    });
}

#[test]
fn rate_limit_redis_of_the_seed() {
    let up = Echo::start("UP");
    let config =
        "{minute: 100, hour: 10000, policy: redis, redis_host: redis-cluster, redis_port: 6379, redis_password: \"\", \
                  redis_database: 0, redis_timeout: 2000, fault_tolerant: true, hide_client_headers: false, \
                  continue_on_error: false}";
    let (mut redis, gateway) = named(&up, "redis-cluster", config);
    // `continue_on_error: false` is the later word for what `fault_tolerant` says, and has the say.
    assert_eq!(gateway.get("/").head.status(), 500, "no Redis is there yet");
    redis.restart();
    gateway.wait_until("Redis is there", || gateway.get("/").head.one("X-RateLimit-Limit-Hour") == Some("10000"));
    redis.ask(&["SET", redis.ask(&["KEYS", "ratelimit:*:minute"]).trim(), "100"]);
    let refused = gateway.get("/");
    assert_eq!((refused.head.status(), refused.head.one("X-RateLimit-Remaining-Minute")), (429, Some("0")));
}
