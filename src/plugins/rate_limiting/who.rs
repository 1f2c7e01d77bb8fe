//! Who shares a count: the key of a request in the bank.

use crate::hook::{Ctx, Env};
use crate::limit::bank::{Bank, Naming};
use serde_json::Value;
use std::io::Write;
use std::net::IpAddr;
use uuid::Uuid;

/// Who shares a count, on the route and service that the instance is attached to.
pub(in super::super) struct Who {
    /// At least one; of several all must be the same.
    by: Vec<By>,
    route: Uuid,
    service: Uuid,
}

enum By {
    Consumer,
    Credential,
    Ip,
    Service,
    Header(String),
    Path(String),
}

/// The words of `limit_by`, one or a list of them.
pub(super) fn words(config: &Value) -> Vec<&str> {
    match config.get("limit_by") {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => vec!["consumer"],
    }
}

impl Who {
    /// As `limit_by` and its companions say.
    pub(in super::super) fn of(config: &Value, env: &Env<'_>) -> Who {
        let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let by = |word: &str| match word {
            "credential" => By::Credential,
            "ip" => By::Ip,
            "service" => By::Service,
            "header" => By::Header(text("header_name")),
            "path" => By::Path(text("path")),
            _ => By::Consumer,
        };
        let by = words(config).into_iter().map(by).collect();
        Who { by, route: env.route_id(), service: env.service_id() }
    }

    /// What metrics call it.
    pub(in super::super) fn word(&self) -> &'static str {
        match &self.by[..] {
            [By::Consumer] => "consumer",
            [By::Credential] => "credential",
            [By::Ip] => "ip",
            [By::Service] => "service",
            [By::Header(_)] => "header",
            [By::Path(_)] => "path",
            _ => "several",
        }
    }

    /// Who asks, in the order of `limit_by`.
    fn asks<'r>(&'r self, cx: &'r Ctx<'_>) -> impl Iterator<Item = Asker<'r>> {
        self.by.iter().map(|by| by.asks(cx))
    }

    /// Who asks, as a key of Redis says it. Of several each comes with its length: no value can run into the next.
    pub(in super::super) fn write(&self, cx: &Ctx<'_>, out: &mut Vec<u8>) {
        for (place, asker) in self.asks(cx).enumerate() {
            let from = out.len();
            // Writing to a vector cannot fail.
            let _ = match asker {
                Asker::Consumer(id) | Asker::Credential(id) | Asker::Service(id) => write!(out, "{id}"),
                Asker::Header(text) | Asker::Path(text) => out.write_all(text),
                Asker::Ip(ip) => write!(out, "{ip}"),
            };
            if place > 0 {
                let len = out.len() - from;
                let _ = write!(out, ";{len}");
            }
        }
    }

    /// Begins the key of a count of theirs; what tells counts of one asker apart is added by whoever counts.
    pub(in super::super) fn naming(&self, bank: &Bank, cx: &Ctx<'_>) -> Naming {
        let naming = bank.naming().part(self.route.as_bytes()).part(self.service.as_bytes());
        self.asks(cx).fold(naming, Asker::name)
    }
}

impl By {
    fn asks<'r>(&'r self, cx: &'r Ctx<'_>) -> Asker<'r> {
        let plan = cx.directory.plan();
        let consumer = cx.identity.consumer.map(|ix| plan.consumers.id(ix)).map(Asker::Consumer);
        let credential = cx.identity.credential.map(|ix| plan.credentials.id(ix)).map(Asker::Credential);
        let known = match self {
            By::Consumer => consumer.or(credential),
            By::Credential => credential,
            By::Service => cx.service.map(|service| Asker::Service(service.id)),
            By::Header(name) => cx.head.find(name.as_bytes()).map(Asker::Header),
            By::Path(path) => Some(Asker::Path(path.as_bytes())).filter(|_| path.as_bytes() == cx.facts.path),
            By::Ip => None,
        };
        known.unwrap_or(Asker::Ip(cx.facts.client_ip))
    }
}

/// Who asks. What is not known stands as the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker<'a> {
    /// This consumer.
    Consumer(Uuid),
    /// This credential.
    Credential(Uuid),
    /// Whoever asks this service.
    Service(Uuid),
    /// Whoever sends this value of the header.
    Header(&'a [u8]),
    /// Whoever asks for this path.
    Path(&'a [u8]),
    /// This address.
    Ip(IpAddr),
}

impl Asker<'_> {
    /// The kind comes with the name: a header's value must not be able to name another client's count.
    fn name(naming: Naming, asker: Asker<'_>) -> Naming {
        let (kind, naming): (u8, _) = match asker {
            Asker::Consumer(id) => (b'c', naming.part(id.as_bytes())),
            Asker::Credential(id) => (b'k', naming.part(id.as_bytes())),
            Asker::Service(id) => (b's', naming.part(id.as_bytes())),
            Asker::Header(value) => (b'h', naming.part(value)),
            Asker::Path(path) => (b'p', naming.part(path)),
            Asker::Ip(IpAddr::V4(ip)) => (b'4', naming.part(&ip.octets())),
            Asker::Ip(IpAddr::V6(ip)) => (b'6', naming.part(&ip.octets())),
        };
        naming.part(&[kind])
    }
}
