//! `ip-restriction`: which client addresses may pass. The address is the one after trust: a header that a client made up
//! counts for nothing.

use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Verdict};
use crate::plan::schema::{Element, Field, Kind, Protocols, Rule, EVERY};
use crate::plan::Protocol;
use ipnet::IpNet;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "ip-restriction",
    priority: 990,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets requests pass by the address of the client. What is denied is so even where it is allowed too.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: Protocols {
        default: &[Protocol::Grpc, Protocol::Grpcs, Protocol::Http, Protocol::Https, Protocol::Tcp, Protocol::Tls],
        accepted: EVERY,
    },
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r#"
services:
  - name: payments
    url: http://payments.internal:8080
    routes:
      - name: payments
        paths: [/payments]
    plugins:
      - name: ip-restriction
        config:
          allow: [10.0.0.0/8, "2001:db8::/32"]
          deny: [10.66.0.0/16]
          status: 403
          message: Payments are for our own networks
"#;

const NET: Element = Element { kind: Kind::String, rules: &[Rule::Text(is_net)] };

const FIELDS: &[Field] = &[
    Field::optional("allow", Kind::Set(&NET), "Only these addresses and networks pass."),
    Field::optional("deny", Kind::Set(&NET), "These addresses and networks do not pass."),
    Field::optional("status", Kind::Integer, "Status of a refusal; 403 where it is not given.")
        .rules(&[Rule::Between(200.0, 599.0)]),
    Field::optional("message", Kind::String, "Message of a refusal; names the address where it is not given."),
];

fn is_net(text: &str) -> Result<(), String> {
    net(text).map(|_| ()).ok_or_else(|| format!("invalid ip or cidr range: '{text}'"))
}

/// An address or a network; of IPv4 written as IPv6, the IPv4.
fn net(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(len)) if net.addr().is_ipv6() => IpNet::new(address.into(), len).ok(),
        _ => Some(net),
    }
}

fn check(config: &Value) -> Vec<(String, String)> {
    let given = |name| config.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if given("allow") || given("deny") {
        return Vec::new();
    }
    let message = "at least one of these fields must be non-empty: 'config.allow', 'config.deny'";
    vec![(String::new(), message.to_owned())]
}

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let status = config.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let nets = |name| Nets::of(super::authentication::texts(config, name).iter().filter_map(|text| net(text)));
    Ok(Arc::new(IpRestriction {
        allow: Some(nets("allow")).filter(|nets| !nets.0.is_empty()),
        deny: nets("deny"),
        status: status.unwrap_or(403),
        message: config.get("message").and_then(Value::as_str).map(str::to_owned),
    }))
}

struct IpRestriction {
    /// `None`: all.
    allow: Option<Nets>,
    deny: Nets,
    status: u16,
    message: Option<String>,
}

/// Networks that do not overlap, in order; so an address is looked for in O(log n).
struct Nets(Vec<IpNet>);

impl Nets {
    fn of(nets: impl Iterator<Item = IpNet>) -> Nets {
        let mut nets = IpNet::aggregate(&nets.collect());
        nets.sort_unstable_by_key(IpNet::network);
        Nets(nets)
    }

    fn has(&self, address: IpAddr) -> bool {
        let after = self.0.partition_point(|net| net.network() <= address);
        after.checked_sub(1).is_some_and(|at| self.0[at].contains(&address))
    }
}

impl Plugin for IpRestriction {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        // A listener for both families shows IPv4 clients as IPv6.
        let client = cx.facts.client_ip.to_canonical();
        if !self.deny.has(client) && self.allow.as_ref().is_none_or(|allow| allow.has(client)) {
            return Verdict::Next;
        }
        self.refuse(cx, client)
    }
}

impl IpRestriction {
    #[cold]
    fn refuse(&self, cx: &mut Ctx<'_>, client: IpAddr) -> Verdict {
        match &self.message {
            Some(message) => cx.edits.set_message(message),
            None => cx.edits.set_message(&format!("IP address not allowed: {client}")),
        }
        Verdict::Refuse(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig};
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_decide() {
        let rows = [
            (json!({"allow": ["192.0.2.0/24"]}), "192.0.2.7", true),
            (json!({"allow": ["192.0.2.9/24"]}), "192.0.2.7", true),
            (json!({"allow": ["192.0.2.7"]}), "192.0.2.7", true),
            (json!({"allow": ["192.0.2.7"]}), "::ffff:192.0.2.7", true),
            (json!({"allow": ["::ffff:192.0.2.0/120"]}), "192.0.2.7", true),
            (json!({"allow": ["192.0.2.8/31"]}), "192.0.2.7", false),
            (json!({"allow": ["0.0.0.0/0"]}), "2001:db8::1", false),
            (json!({"allow": ["2001:db8::/32"]}), "2001:db8::1", true),
            (json!({"deny": ["192.0.2.7"]}), "192.0.2.7", false),
            (json!({"deny": ["192.0.2.7"]}), "192.0.2.8", true),
            (json!({"deny": ["::/0"]}), "192.0.2.8", true),
            // Denied, whatever else is said of it.
            (json!({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}), "192.0.2.7", false),
            (json!({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}), "192.0.2.8", true),
            (json!({"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}), "192.0.3.8", false),
            (json!({"allow": ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "9.9.9.9"]}), "10.200.0.1", true),
        ];
        for (config, client, passes) in rows {
            let mut rig = Rig::new(&DESCRIPTOR, config.clone());
            rig.client_ip = client.parse().unwrap();
            let want = match passes {
                true => "next".to_owned(),
                false => format!("403 E(IP address not allowed: {client})"),
            };
            assert_eq!(rig.ask("GET /\nX-Forwarded-For: 10.0.0.1").said(), want, "{config} {client}");
        }
        let mut rig = Rig::new(&DESCRIPTOR, json!({"deny": ["192.0.2.7"], "status": 418, "message": "x"}));
        assert_eq!(rig.ask("GET /").said(), "418 E(x)");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "10.0.0.256", "10.0.0.0/33", "a.test", "10.0.0.0/-1", "::/129"] {
            assert_eq!(is_net(text), Err(format!("invalid ip or cidr range: '{text}'")));
        }
        let message = "at least one of these fields must be non-empty: 'config.allow', 'config.deny'";
        assert_eq!(faults(&DESCRIPTOR, json!({"allow": []})), [(String::new(), message.to_owned())]);
    }
}
