//! Who shares a count: the key of a request in the bank.

use crate::hook::{Ctx, Env};
use crate::limit::bank::{Bank, Key};
use serde_json::Value;
use std::net::IpAddr;
use uuid::Uuid;

/// Who shares a count, on the route and service that the instance is attached to.
pub(super) struct Who {
    by: By,
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

impl Who {
    /// As `limit_by` and its companions say.
    pub(super) fn of(config: &Value, env: &Env<'_>) -> Who {
        let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
        let by = match text("limit_by").as_deref() {
            Some("credential") => By::Credential,
            Some("ip") => By::Ip,
            Some("service") => By::Service,
            Some("header") => By::Header(text("header_name").unwrap_or_default()),
            Some("path") => By::Path(text("path").unwrap_or_default()),
            _ => By::Consumer,
        };
        Who { by, route: env.route_id(), service: env.service_id() }
    }

    /// Who asks.
    pub(super) fn asks<'r>(&'r self, cx: &'r Ctx<'_>) -> Asker<'r> {
        let plan = cx.directory.plan();
        let consumer = cx.identity.consumer.map(|ix| plan.consumers[ix.ix()].id).map(Asker::Consumer);
        let credential = cx.identity.credential.map(|ix| plan.credentials[ix.ix()].id).map(Asker::Credential);
        let known = match &self.by {
            By::Consumer => consumer.or(credential),
            By::Credential => credential,
            By::Service => cx.service.map(|service| Asker::Service(service.id)),
            By::Header(name) => cx.head.find(name.as_bytes()).map(Asker::Header),
            By::Path(path) => Some(Asker::Path(path.as_bytes())).filter(|_| path.as_bytes() == cx.facts.path),
            By::Ip => None,
        };
        known.unwrap_or(Asker::Ip(cx.facts.client_ip))
    }

    /// The key of a count of theirs; `which` tells counts of one asker apart.
    pub(super) fn key(&self, bank: &Bank, asker: Asker<'_>, which: u8) -> Key {
        let (v4, v6);
        let (kind, who): (u8, &[u8]) = match &asker {
            Asker::Consumer(id) => (b'c', id.as_bytes()),
            Asker::Credential(id) => (b'k', id.as_bytes()),
            Asker::Service(id) => (b's', id.as_bytes()),
            Asker::Header(value) => (b'h', value),
            Asker::Path(path) => (b'p', path),
            Asker::Ip(IpAddr::V4(ip)) => {
                v4 = ip.octets();
                (b'4', &v4)
            }
            Asker::Ip(IpAddr::V6(ip)) => {
                v6 = ip.octets();
                (b'6', &v6)
            }
        };
        // The kind keeps names apart: a header's value must not be able to name another client's count.
        bank.key(&[self.route.as_bytes(), self.service.as_bytes(), &[which, kind], who])
    }
}

/// Who asks. What is not known stands as the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker<'a> {
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
