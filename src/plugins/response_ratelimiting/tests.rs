//! Of one shard: what answers use, what is told of it, and what Redis is asked.

use super::super::rig::{faults, Rig, BOB, ROUTE};
use super::*;
use crate::hook::Outbox;
use crate::redis::{Fault, Reply as Answer};
use serde_json::json;

/// What an answer with this field does: the status it is replaced by, and what is told under these names.
#[track_caller]
fn answer(rig: &mut Rig, said: &'static str, want: &str) {
    rig.reply = vec![("x-kong-limit", said)];
    let seen = rig.ask_and_answer("GET /", 200);
    let told = |name: &str| seen.client(name).unwrap_or("-").to_owned();
    let names = ["video-second", "video-minute", "image-second"];
    let left: Vec<String> = names.iter().map(|name| told(&format!("X-RateLimit-Remaining-{name}"))).collect();
    let replaced = seen.replaced().map_or("passes".to_owned(), |status| status.to_string());
    assert_eq!(format!("{replaced} {}", left.join("/")), want, "{said}");
    assert_eq!(seen.client("x-kong-limit"), Some(""), "kept from the client");
}

#[test]
fn answers_use_what_they_say() {
    let limits = json!({"video": {"second": 10, "minute": 20}, "image": {"second": 5}});
    let mut rig = Rig::new(&DESCRIPTOR, json!({"limits": limits}));
    answer(&mut rig, "video=2, image=1", "passes 8/18/4");
    answer(&mut rig, "", "passes 8/18/4");
    answer(&mut rig, "audio=3, video, video=x, =1, video=-1, image=", "passes 8/18/4");
    answer(&mut rig, "Video=1,video = 1", "passes 7/17/4");
    // The last one may use more than there is; then nothing is left, and a refused answer uses nothing.
    answer(&mut rig, "image=99999999999999999999", "passes 7/17/0");
    answer(&mut rig, "video=1, image=1", "429 7/17/0");
    rig.identity.consumer = Some(BOB);
    answer(&mut rig, "image=1", "passes 10/20/4");
    let seen = rig.ask("GET /");
    assert_eq!(
        (seen.upstream("X-RateLimit-Remaining-video"), seen.upstream("X-RateLimit-Remaining-image")),
        (Some("10"), Some("4"))
    );
    let rows: Vec<_> = rig.locals.of(Tally::default).rows().map(|row| (row.code, row.by, row.count)).collect();
    assert_eq!(rows, [(429, "consumer", 1)]);
}

#[test]
fn requests_may_be_refused_once_a_name_is_used_up() {
    let config = json!({"limits": {"video": {"minute": 1}}, "block_on_first_violation": true, "limit_by": "ip"});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    rig.reply = vec![("x-kong-limit", "video=1")];
    assert_eq!(rig.ask_and_answer("GET /", 200).replaced(), None);
    let seen = rig.ask("GET /");
    assert_eq!(seen.said(), "429 E(API rate limit exceeded for 'video')");
    assert_eq!(seen.client("X-RateLimit-Remaining-video-minute"), Some("0"));
}

#[test]
fn its_fields_have_names_that_may_be_hidden_or_chosen() {
    let config = json!({"limits": {"v": {"day": 2.5}}, "hide_client_headers": true, "header_name": "X-Used"});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    rig.reply = vec![("x-used", "v=1"), ("x-kong-limit", "v=1")];
    let seen = rig.ask_and_answer("GET /", 200);
    assert_eq!(seen.client_fields(), ["X-Used"]);
    assert_eq!(rig.ask("GET /").upstream("X-RateLimit-Remaining-v"), Some("2"));
}

#[test]
fn answers_that_were_made_here_use_nothing() {
    let mut rig = Rig::new(&DESCRIPTOR, json!({"limits": {"v": {"day": 2}}, "block_on_first_violation": true}));
    rig.reply = vec![("x-kong-limit", "v=2")];
    assert_eq!(rig.ask_and_answer("GET /", 200).client("X-RateLimit-Remaining-v-day"), Some("0"));
    let seen = rig.ask_and_answer("GET /", 200);
    assert_eq!((seen.said().as_str(), seen.replaced()), ("429 E(API rate limit exceeded for 'v')", None));
}

#[test]
fn configurations_that_cannot_be_meant_are_refused() {
    let rows = [
        (json!({"limits": {"v": {"minute": 1}}}), ""),
        (
            json!({"limits": {"v": {"second": 2, "minute": 1}}}),
            "limits.v|The limit for minute(1.0) cannot be lower than the limit for second(2.0)",
        ),
        (
            json!({"limits": {"a b": {"minute": 1}}}),
            "limits.a b|the name stands in names of headers: write A-Z, a-z, 0-9, '_', and '-'",
        ),
        (
            json!({"limits": {"v": {"minute": 3e9}}}),
            "limits.v.minute|2147483647 is the most that is counted; write that, or leave it out",
        ),
        (json!({"limits": {"v": {"minute": 1}}, "policy": "redis", "redis": {"host": "a"}}), ""),
        (
            json!({"limits": {"v": {"minute": 1}}, "policy": "redis"}),
            "|must set one of 'config.redis.host', 'config.redis_host' when 'policy' is 'redis'",
        ),
    ];
    for (config, want) in rows {
        let found: Vec<_> = faults(&DESCRIPTOR, config).iter().map(|(path, text)| format!("{path}|{text}")).collect();
        assert_eq!(found.join("\n"), want);
    }
    let none = faults(&DESCRIPTOR, json!({"limits": {"v": {}}}));
    assert!(matches!(&none[..], [(path, _)] if path == "limits.v"), "{none:?}");
}

/// What Redis says of the counts, in the order of names and periods.
fn counts(counts: &[&str]) -> Result<Vec<Answer>, Fault> {
    let text = |text: &&str| if text.is_empty() { Answer::Nil } else { Answer::Text(text.as_bytes().to_vec()) };
    Ok(vec![Answer::List(counts.iter().map(text).collect())])
}

fn texts<'a>(args: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    args.map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

#[test]
fn shared_counts_are_asked_for_and_added_to() {
    let limits = json!({"video": {"hour": 10, "day": 20}, "image": {"hour": 5}});
    let config = json!({"limits": limits, "limit_by": "ip", "policy": "redis", "redis": {"host": "r.test"}});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    rig.reply = vec![("x-kong-limit", "video=2")];
    rig.redis.push_back(counts(&["7", "8", ""]));
    let seen = rig.ask_and_answer("GET /", 200);
    let key = |start: &str, what: &str| {
        format!("response-ratelimit:{ROUTE}:00000000-0000-0000-0000-000000000000:192.0.2.7:{start}:{what}")
    };
    let (hour, day) = ("1795435200000", "1795392000000");
    let keys = [key(hour, "video:hour"), key(day, "video:day"), key(hour, "image:hour")];
    let asked = texts(rig.asked[0].commands[0].args());
    assert_eq!((asked[0].as_str(), &asked[1..]), ("MGET", &keys[..]));
    assert_eq!(
        [seen.upstream("X-RateLimit-Remaining-video"), seen.upstream("X-RateLimit-Remaining-image")],
        [Some("3"), Some("5")]
    );
    let told =
        ["video-hour", "video-day", "image-hour"].map(|name| seen.client(&format!("X-RateLimit-Remaining-{name}")));
    assert_eq!(told, [Some("1"), Some("10"), Some("5")]);
    let added = |rig: &mut Rig| -> Vec<Vec<String>> {
        let outbox = std::mem::take(&mut rig.locals.of(Outbox::default).0);
        outbox.iter().flat_map(|call| &call.commands).map(|command| texts(command.args())).collect()
    };
    let want = [[&keys[0], "2", "1795438800"], [&keys[1], "2", "1795478400"]];
    assert_eq!(added(&mut rig), want);
    // Redis has not counted it yet when the next one asks; the shard knows.
    rig.redis.push_back(counts(&["7", "8", ""]));
    assert_eq!(rig.ask("GET /").upstream("X-RateLimit-Remaining-video"), Some("1"));
    // The last one may use more than there is; then nothing is left.
    rig.redis.push_back(counts(&["9", "10", ""]));
    assert_eq!(rig.ask_and_answer("GET /", 200).replaced(), None);
    assert_eq!(added(&mut rig).len(), 2);
    rig.redis.push_back(counts(&["11", "12", ""]));
    let seen = rig.ask_and_answer("GET /", 200);
    assert_eq!((seen.replaced(), seen.client("X-RateLimit-Remaining-video-hour")), (Some(429), Some("0")));
    assert!(added(&mut rig).is_empty(), "an answer that is refused uses nothing");
}

#[test]
fn a_name_that_is_known_to_be_used_up_is_not_asked_about() {
    let config = json!({"limits": {"v": {"day": 2}}, "block_on_first_violation": true, "policy": "redis", "redis": {"host": "r.test"}});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    rig.redis.push_back(counts(&["2"]));
    assert_eq!(rig.ask("GET /").said(), "429 E(API rate limit exceeded for 'v')");
    // The rig panics where Redis is asked again.
    assert_eq!(rig.ask("GET /").said(), "429 E(API rate limit exceeded for 'v')");
    rig.now.0 += 86_400_000;
    rig.redis.push_back(counts(&["1"]));
    assert_eq!(rig.ask("GET /").upstream("X-RateLimit-Remaining-v"), Some("1"));
}

#[test]
fn without_redis_requests_pass_untold_or_fail() {
    for (tolerant, want) in [(true, "next"), (false, "500 E(An unexpected error occurred)")] {
        let redis = json!({"host": "r.test"});
        let config =
            json!({"limits": {"v": {"day": 2}}, "policy": "redis", "redis": redis, "fault_tolerant": tolerant});
        let mut rig = Rig::new(&DESCRIPTOR, config);
        rig.reply = vec![("x-kong-limit", "v=1")];
        rig.redis.push_back(counts(&["2"]));
        assert_eq!(rig.ask_and_answer("GET /", 200).replaced(), Some(429));
        rig.redis.push_back(Err(Fault::Down));
        let seen = rig.ask_and_answer("GET /\nX-RateLimit-Remaining-v: 99", 200);
        assert_eq!((seen.said().as_str(), seen.replaced()), (want, None));
        assert!(seen.client("X-RateLimit-Remaining-v-day").is_none());
        assert_eq!(
            seen.upstream("X-RateLimit-Remaining-v"),
            tolerant.then_some(""),
            "what the client says is kept back"
        );
    }
}

#[test]
fn in_a_cluster_each_count_is_asked_for_by_itself() {
    let redis = json!({"cluster_nodes": [{"ip": "10.0.0.1"}]});
    let config = json!({"limits": {"v": {"hour": 2, "day": 3}}, "policy": "redis", "redis": redis});
    let mut rig = Rig::new(&DESCRIPTOR, config);
    let one = |text: &str| Answer::List(vec![Answer::Text(text.as_bytes().to_vec())]);
    rig.redis.push_back(Ok(vec![one("1"), one("rubbish")]));
    assert_eq!(rig.ask("GET /").upstream("X-RateLimit-Remaining-v"), Some("1"));
    assert_eq!(rig.asked[0].commands.len(), 2);
}
