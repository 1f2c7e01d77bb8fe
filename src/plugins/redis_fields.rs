//! Where Redis is: the fields of plugins that may keep their counts there, and their older names.

use crate::plan::schema::{Element, Field, Kind, Rule};
use crate::redis::{Host, Login, Place, Secure, Server};
use serde_json::Value;
use std::sync::Arc;

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
    Field::with_default(
        "ssl_verify",
        Kind::Boolean,
        "false",
        "With `ssl`: must the certificate be one that the node's authorities vouch for?",
    ),
    Field::optional(
        "server_name",
        Kind::String,
        "With `ssl`: whom the certificate must be for; the host where not given.",
    ),
    Field::optional("connect_timeout", Kind::Integer, "Of connecting, ms; `timeout` where it is not there.")
        .rules(MILLISECONDS),
    Field::optional("send_timeout", Kind::Integer, "Of sending, ms; `timeout` where it is not there.")
        .rules(MILLISECONDS),
    Field::optional("read_timeout", Kind::Integer, "Of an answer, ms; `timeout` where it is not there.")
        .rules(MILLISECONDS),
    Field::optional(
        "cluster_nodes",
        Kind::Array(&Element { kind: Kind::Record(CLUSTER_NODE), rules: &[] }),
        "Some nodes of a Redis Cluster, in the place of `host`; the others are asked for.",
    ),
    Field::optional(
        "sentinel_nodes",
        Kind::Array(&Element { kind: Kind::Record(SENTINEL_NODE), rules: &[] }),
        "Sentinels, in the place of `host`; they are asked for the master.",
    ),
    Field::optional("sentinel_master", Kind::String, "What the sentinels call the master."),
    Field::optional("sentinel_username", Kind::String, "User of AUTH at the sentinels.").rules(&[Rule::Referenceable]),
    Field::optional("sentinel_password", Kind::String, "Password of AUTH at the sentinels.")
        .rules(&[Rule::MayBeEmpty, Rule::Referenceable]),
];

const CLUSTER_NODE: &[Field] = &[
    Field::with_default("ip", Kind::String, "\"127.0.0.1\"", "Address or name.").required(),
    Field::with_default("port", Kind::Integer, "6379", "Port.").rules(PORT),
];

const SENTINEL_NODE: &[Field] = &[
    Field::with_default("host", Kind::String, "\"127.0.0.1\"", "Name or address.").required(),
    Field::with_default("port", Kind::Integer, "26379", "Port.").rules(PORT),
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
            let (name, old, new) = (field.name, shown(field, old), shown(field, new));
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
        check_shared(config, fault);
    }
}

/// What is wrong where Redis is used.
fn check_shared(config: &Value, fault: &mut impl FnMut(&str, String)) {
    let groups = (list(config, "cluster_nodes").len(), list(config, "sentinel_nodes").len());
    let host = value(config, "host").and_then(Value::as_str);
    match groups {
        (0, 0) if host.is_none() => {
            fault("", "must set one of 'config.redis.host', 'config.redis_host' when 'policy' is 'redis'".to_owned());
        }
        (1.., 1..) => fault("redis", "sentinel_nodes and cluster_nodes exclude each other".to_owned()),
        (0, 1..) if value(config, "sentinel_master").is_none() => {
            fault("redis.sentinel_master", "required field missing".to_owned());
        }
        (1.., 0) if number(config, "database").unwrap_or(0) != 0 => {
            fault("redis.database", "a cluster has the database 0 only".to_owned());
        }
        _ => {}
    }
    if !(0..=i64::from(u32::MAX)).contains(&number(config, "database").unwrap_or(0)) {
        fault("redis.database", "there is no such database".to_owned());
    }
    if config.get("sync_rate").and_then(Value::as_f64).is_some_and(|rate| rate != -1.0 && rate < 0.02) {
        fault("sync_rate", "must be -1, or 0.02 seconds or more".to_owned());
    }
}

/// A field of the record `redis`, or its older name where that is not set or is the default.
fn value<'c>(config: &'c Value, name: &str) -> Option<&'c Value> {
    let new = config.get("redis").and_then(|redis| redis.get(name)).filter(|new| !new.is_null());
    let old = config.get(format!("redis_{name}")).filter(|old| !old.is_null());
    let field = REDIS.iter().find(|field| field.name == name)?;
    let is_default = |new: &Value| serde_json::from_str::<Value>(field.default).is_ok_and(|default| default == *new);
    match (new, old) {
        (Some(new), Some(old)) if is_default(new) => Some(old),
        (new, old) => new.or(old),
    }
}

fn list<'c>(config: &'c Value, name: &str) -> &'c [Value] {
    value(config, name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(config: &Value, name: &str) -> Option<i64> {
    let number = value(config, name)?;
    number.as_i64().or_else(|| number.as_f64().map(|number| number as i64))
}

/// The server that a checked configuration means; `None` where it names none.
pub(super) fn server(config: &Value) -> Option<Arc<Server>> {
    let text = |name: &str| value(config, name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let login = |user: &str, password: &str| Login {
        username: text(user).map(str::to_owned),
        password: text(password).map(str::to_owned),
    };
    let port_of = |port: Option<i64>, default: u16| port.and_then(|port| u16::try_from(port).ok()).unwrap_or(default);
    let hosts = |field: &str, name: &str, default: u16| -> Vec<Host> {
        let host = |node: &Value| {
            let port = node.get("port").and_then(Value::as_f64).map(|port| port as i64);
            Some(Host::new(node.get(name)?.as_str()?, port_of(port, default)))
        };
        list(config, field).iter().filter_map(host).collect()
    };
    let (nodes, sentinels) = (hosts("cluster_nodes", "ip", 6379), hosts("sentinel_nodes", "host", 26_379));
    let place = if !nodes.is_empty() {
        Place::Cluster(nodes)
    } else if !sentinels.is_empty() {
        let login = login("sentinel_username", "sentinel_password");
        Place::Sentinel { sentinels, master: text("sentinel_master")?.to_owned(), login }
    } else {
        Place::Single(Host::new(text("host")?, port_of(number(config, "port"), 6379)))
    };
    let flag = |name: &str| value(config, name).and_then(Value::as_bool).unwrap_or(false);
    let secure =
        flag("ssl").then(|| Secure { verify: flag("ssl_verify"), name: text("server_name").map(str::to_owned) });
    let ms = |name: &str| number(config, name).and_then(|ms| u64::try_from(ms).ok());
    let timeout = ms("timeout").unwrap_or(2000);
    Some(Arc::new(Server {
        place,
        login: login("username", "password"),
        secure,
        database: number(config, "database").and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
        connect_ms: ms("connect_timeout").unwrap_or(timeout),
        send_ms: ms("send_timeout").unwrap_or(timeout),
        read_ms: ms("read_timeout").unwrap_or(timeout),
    }))
}

/// A value as it stands in a sentence: text without its quotes, and nothing of what is secret.
fn shown(field: &Field, value: &Value) -> String {
    if field.rules.iter().any(|rule| matches!(rule, Rule::Referenceable)) {
        return "***".to_owned();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
