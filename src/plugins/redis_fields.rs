//! Where Redis is: the fields of plugins that may keep their counts there, and their older names.

use crate::plan::schema::{Field, Kind, Rule};
use serde_json::Value;

const PORT: &[Rule] = &[Rule::Between(0.0, 65_535.0)];
const MILLISECONDS: &[Rule] = &[Rule::Between(0.0, 2_147_483_646.0)];

/// The record `redis`.
pub(super) const REDIS: &[Field] = &[
    Field::optional("host", Kind::String, "Host."),
    Field::with_default("port", Kind::Integer, "6379", "Port.").rules(PORT),
    Field::with_default("timeout", Kind::Integer, "2000", "Of connecting, sending and reading, ms.")
        .rules(MILLISECONDS),
    Field::optional("username", Kind::String, "User of AUTH.").rules(&[Rule::Referenceable]),
    Field::optional("password", Kind::String, "Password of AUTH.").rules(&[Rule::MayBeEmpty, Rule::Referenceable]),
    Field::with_default("database", Kind::Integer, "0", "Number of the database."),
    Field::with_default("ssl", Kind::Boolean, "false", "Speak TLS?"),
    Field::with_default("ssl_verify", Kind::Boolean, "false", "Verify the certificate?"),
    Field::optional("server_name", Kind::String, "Name in the certificate."),
];

/// Its fields under their older names, beside it.
pub(super) const OLDER: &[Field] = &[
    Field::optional("redis_host", Kind::String, "Older name of `redis.host`."),
    Field::optional("redis_port", Kind::Integer, "Older name of `redis.port`.").rules(PORT),
    Field::optional("redis_password", Kind::String, "Older name of `redis.password`.")
        .rules(&[Rule::MayBeEmpty, Rule::Referenceable]),
    Field::optional("redis_username", Kind::String, "Older name of `redis.username`.").rules(&[Rule::Referenceable]),
    Field::optional("redis_ssl", Kind::Boolean, "Older name of `redis.ssl`."),
    Field::optional("redis_ssl_verify", Kind::Boolean, "Older name of `redis.ssl_verify`."),
    Field::optional("redis_server_name", Kind::String, "Older name of `redis.server_name`."),
    Field::optional("redis_timeout", Kind::Integer, "Older name of `redis.timeout`.").rules(MILLISECONDS),
    Field::optional("redis_database", Kind::Integer, "Older name of `redis.database`."),
];

/// `own` and then `more`; `N` is how many they are together.
pub(super) const fn joined<const N: usize>(own: &[Field], more: &[Field]) -> [Field; N] {
    assert!(own.len() + more.len() == N, "N is the number of both");
    let mut all = [own[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < own.len() { own[at] } else { more[at - own.len()] };
        at += 1;
    }
    all
}

/// What is wrong between the fields of both names, and between them and the policy.
pub(super) fn check(config: &Value, fault: &mut impl FnMut(&str, String)) {
    let redis = config.get("redis").unwrap_or(&Value::Null);
    for field in REDIS {
        let older = format!("redis_{}", field.name);
        let (old, new) = (config.get(&older).unwrap_or(&Value::Null), redis.get(field.name).unwrap_or(&Value::Null));
        // A value that is the default may be one that nobody wrote: then the older name has the say.
        let is_default = serde_json::from_str::<Value>(field.default).is_ok_and(|default| default == *new);
        if !old.is_null() && !new.is_null() && !is_default && old != new {
            let (name, old, new) = (field.name, plain(old), plain(new));
            fault(
                "",
                format!(
                    "both deprecated and new field are used but their values mismatch: {older} = {old} vs redis.{name} = {new}"
                ),
            );
        }
    }
    let shared = config.get("policy").and_then(Value::as_str) == Some("redis");
    if !shared && config.get("sync_rate").and_then(Value::as_f64).is_some_and(|rate| rate != -1.0) {
        fault("", "sync_rate can only be used with the redis policy".to_owned());
    }
    if shared {
        fault(
            "policy",
            "this version keeps counts on the node and cannot share them through redis; write \"local\" and divide \
             the limits by the number of nodes"
                .to_owned(),
        );
    }
}

/// A value as it stands in a sentence: text without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
