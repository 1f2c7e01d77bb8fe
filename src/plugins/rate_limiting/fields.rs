//! The fields of `rate-limiting`, and what is wrong between them.

use super::super::redis_fields;
use super::limits::{self, LIMIT_MAX};
use super::who;
use crate::base::limits::{LIMIT_COST_MAX, LIMIT_TIERS_MAX, SLEEP_MS_MAX};
use crate::limit::window::Period;
use crate::plan::schema::{Element, Field, Kind, Rule};
use serde_json::Value;

const POSITIVE: &[Rule] = &[Rule::GreaterThan(0.0)];
const BURST: &[Rule] = &[Rule::Between(1.0, LIMIT_MAX as f64)];

/// Its fields.
pub(super) const FIELDS: &[Field] =
    &redis_fields::joined::<{ OWN.len() + redis_fields::OLDER.len() }>(OWN, redis_fields::OLDER);

const OWN: &[Field] = &[
    Field::optional("second", Kind::Number, "Requests per second.").rules(POSITIVE),
    Field::optional("minute", Kind::Number, "Requests per minute.").rules(POSITIVE),
    Field::optional("hour", Kind::Number, "Requests per hour.").rules(POSITIVE),
    Field::optional("day", Kind::Number, "Requests per day.").rules(POSITIVE),
    Field::optional("month", Kind::Number, "Requests per month.").rules(POSITIVE),
    Field::optional("year", Kind::Number, "Requests per year.").rules(POSITIVE),
    Field::with_default(
        "algorithm",
        Kind::String,
        "\"fixed-window\"",
        "What a limit means: per window of the calendar, per sliding period, or a bucket that fills and leaks.",
    )
    .rules(&[Rule::OneOf(&["fixed-window", "sliding-window", "token-bucket", "leaky-bucket"])]),
    Field::optional(
        "burst",
        Kind::Integer,
        "With a bucket: how many may come at once, by the shortest period; token-bucket: its limit where not given, \
         leaky-bucket: 1.",
    )
    .rules(BURST),
    Field::optional(
        "queue_delay_max_ms",
        Kind::Integer,
        "With leaky-bucket: who comes too early waits for up to so many ms instead of being refused.",
    )
    .rules(&[Rule::Between(1.0, SLEEP_MS_MAX as f64)]),
    Field::with_default(
        "limit_by",
        Kind::String,
        "\"consumer\"",
        "Who shares a count; a list: who agrees in all of them. The client address stands in for what is not known.",
    )
    .rules(&[Rule::OneOf(&["consumer", "credential", "ip", "service", "header", "path"]), Rule::OrList]),
    Field::optional("header_name", Kind::String, "With `limit_by: header`: the header whose value shares a count.")
        .rules(&[Rule::HeaderName]),
    Field::optional("path", Kind::String, "With `limit_by: path`: the path whose requests share a count.")
        .rules(&[Rule::Text(path)]),
    Field::optional(
        "tiers",
        Kind::Map(&Element { kind: Kind::Record(TIER), rules: &[] }),
        "Other limits for consumers of a group (of acls or consumer_groups) or with a tag, by its name; the first that \
         fits, in the order written.",
    ),
    Field::optional(
        "cost_header",
        Kind::String,
        "The header that says how many tokens a request takes; without it one.",
    )
    .rules(&[Rule::HeaderName]),
    Field::optional("cost_max", Kind::Integer, "With `cost_header`: the most that one request takes; else 100.")
        .rules(&[Rule::Between(1.0, LIMIT_COST_MAX as f64)]),
    Field::with_default("shadow", Kind::Boolean, "false", "Count and tell, but refuse nothing and hold nothing back."),
    Field::with_default("policy", Kind::String, "\"local\"", "Where counts are kept: on this node, or in Redis.")
        .required()
        .rules(&[Rule::OneOf(&["local", "redis"])]),
    Field::with_default("fault_tolerant", Kind::Boolean, "true", "Let requests pass when counts cannot be reached.")
        .required(),
    Field::optional("continue_on_error", Kind::Boolean, "Another name of `fault_tolerant`, which it goes before."),
    Field::optional(
        "on_redis_fault",
        Kind::String,
        "When Redis cannot be asked: let requests `pass`, let them `fail` with 500, or count on this node (`local`). \
         Goes before `fault_tolerant`.",
    )
    .rules(&[Rule::OneOf(&["pass", "fail", "local"])]),
    Field::with_default("redis", Kind::Record(redis_fields::REDIS), "{}", "Where Redis is.").required(),
    Field::with_default("hide_client_headers", Kind::Boolean, "false", "Do not tell clients what is left.").required(),
    Field::with_default("error_code", Kind::Number, "429", "Status of a refusal.").rules(POSITIVE),
    Field::with_default("error_message", Kind::String, "\"API rate limit exceeded\"", "Message of a refusal."),
    Field::with_default(
        "sync_rate",
        Kind::Number,
        "-1",
        "Seconds between exchanges with Redis; -1: with each request.",
    )
    .required(),
];

const TIER: &[Field] = &[
    Field::optional("second", Kind::Number, "Requests per second.").rules(POSITIVE),
    Field::optional("minute", Kind::Number, "Requests per minute.").rules(POSITIVE),
    Field::optional("hour", Kind::Number, "Requests per hour.").rules(POSITIVE),
    Field::optional("day", Kind::Number, "Requests per day.").rules(POSITIVE),
    Field::optional("month", Kind::Number, "Requests per month.").rules(POSITIVE),
    Field::optional("year", Kind::Number, "Requests per year.").rules(POSITIVE),
    Field::optional("burst", Kind::Integer, "As `burst` beside the tiers, and in its place.").rules(BURST),
    Field::with_default("unlimited", Kind::Boolean, "false", "They have no limit."),
];

fn path(text: &str) -> Result<(), String> {
    match text {
        _ if !text.starts_with('/') => Err("should start with: /".to_owned()),
        _ if text.contains("//") => Err("must not have empty segments".to_owned()),
        _ => Ok(()),
    }
}

/// What is wrong between its fields.
pub(super) fn check(config: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut fault = |path: &str, message: String| faults.push((path.to_owned(), message));
    let is_there = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    let algorithm = limits::algorithm(config);

    limits::check(config, config, "", &mut fault);
    let tiers = config.get("tiers").and_then(Value::as_object);
    for (name, tier) in tiers.into_iter().flatten() {
        let path = format!("tiers.{name}");
        let limited = Period::ALL.iter().any(|period| tier.get(period.name()).is_some_and(|limit| !limit.is_null()));
        match tier.get("unlimited").and_then(Value::as_bool) == Some(true) {
            true if limited => fault(&path, "unlimited beside a limit; keep one of them".to_owned()),
            true => {}
            false => limits::check(config, tier, &path, &mut fault),
        }
    }
    if tiers.is_some_and(|tiers| tiers.len() > LIMIT_TIERS_MAX) {
        fault("tiers", format!("{LIMIT_TIERS_MAX} tiers are the most"));
    }
    for (name, of) in [("burst", &["token-bucket", "leaky-bucket"][..]), ("queue_delay_max_ms", &["leaky-bucket"])] {
        let in_tier = tiers.into_iter().flatten().any(|(_, tier)| tier.get(name).is_some_and(|value| !value.is_null()));
        if (is_there(name) || in_tier) && !of.contains(&algorithm) {
            let path = if is_there(name) { name } else { "tiers" };
            fault(path, format!("{name} means nothing with {algorithm}; write algorithm: {}", of.join(" or ")));
        }
    }
    if is_there("cost_max") && !is_there("cost_header") {
        fault("cost_max", "there is no cost_header whose values it could bound".to_owned());
    }
    let by = who::words(config);
    if by.is_empty() {
        fault("limit_by", "length must be at least 1".to_owned());
    }
    if (1..by.len()).any(|at| by[..at].contains(&by[at])) {
        fault("limit_by", "each word may stand there once".to_owned());
    }
    for (word, needed) in [("header", "header_name"), ("path", "path")] {
        if by.contains(&word) && !is_there(needed) {
            fault(needed, "required field missing".to_owned());
            fault("", "failed conditional validation given value of field 'config.limit_by'".to_owned());
        }
    }
    if algorithm != "fixed-window" && config.get("policy").and_then(Value::as_str) == Some("redis") {
        fault("algorithm", format!("{algorithm} is counted on the node; with policy redis write fixed-window"));
    }
    redis_fields::check(config, &mut fault);
    faults
}
