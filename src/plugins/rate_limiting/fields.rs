//! The fields of `rate-limiting`, and what is wrong between them.

use super::super::redis_fields;
use crate::limit::window::Period;
use crate::plan::schema::{Field, Kind, Rule};
use serde_json::Value;

const POSITIVE: &[Rule] = &[Rule::GreaterThan(0.0)];

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
    Field::with_default("limit_by", Kind::String, "\"consumer\"", "Who shares a count; the client address stands in.")
        .rules(&[Rule::OneOf(&["consumer", "credential", "ip", "service", "header", "path"])]),
    Field::optional("header_name", Kind::String, "With `limit_by: header`: the header whose value shares a count.")
        .rules(&[Rule::HeaderName]),
    Field::optional("path", Kind::String, "With `limit_by: path`: the path whose requests share a count.")
        .rules(&[Rule::Text(path)]),
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
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let limits: Vec<(Period, f64)> =
        Period::ALL.iter().filter_map(|&period| Some((period, config.get(period.name())?.as_f64()?))).collect();

    if limits.is_empty() {
        let names: Vec<_> = Period::ALL.iter().map(|period| format!("'config.{}'", period.name())).collect();
        fault("", format!("at least one of these fields must be non-empty: {}", names.join(", ")));
    }
    // Every pair, shortest period first; the first one that is wrong is named.
    let pairs =
        limits.iter().enumerate().flat_map(|(at, short)| limits[at + 1..].iter().map(move |long| (short, long)));
    if let Some(((short, most), (long, least))) = pairs.into_iter().find(|(short, long)| long.1 < short.1) {
        let (short, long) = (short.name(), long.name());
        fault("", format!("The limit for {long}({least:.1}) cannot be lower than the limit for {short}({most:.1})"));
    }
    for (period, limit) in &limits {
        if *limit > f64::from(LIMIT_MAX) {
            fault(period.name(), format!("{LIMIT_MAX} is the most that is counted; write that, or leave it out"));
        }
    }
    for (by, needed) in [("header", "header_name"), ("path", "path")] {
        if text("limit_by") == Some(by) && text(needed).is_none() {
            fault(needed, "required field missing".to_owned());
            fault("", "failed conditional validation given value of field 'config.limit_by'".to_owned());
        }
    }
    redis_fields::check(config, &mut fault);
    faults
}

/// The largest limit: what the bank counts to.
pub(super) const LIMIT_MAX: u32 = (1 << 31) - 1;
