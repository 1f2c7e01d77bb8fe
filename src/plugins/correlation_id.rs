//! `correlation-id`: gives every request an id, unless it brings one.

use crate::base::rng::Rng;
use crate::base::time::WallMs;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Verdict};
use crate::plan::schema::{Field, Kind, Rule, HTTP_PROTOCOLS};
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use uuid::Uuid;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "correlation-id",
    priority: 100_001,
    version: env!("CARGO_PKG_VERSION"),
    about: "Gives every request an id in a header of the request, and of the answer if wanted. An id that the client \
            sends is kept.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: true,
    protocols: HTTP_PROTOCOLS,
    check: |_| Vec::new(),
    build,
    hooks: Hooks { request: true, response: true },
};

const EXAMPLE: &str = r"
services:
  - name: orders
    url: http://orders.internal:8080
    routes:
      - name: orders
        paths: [/orders]
    plugins:
      - name: correlation-id
        config:
          header_name: X-Request-ID
          generator: uuid
          echo_downstream: true
";

const FIELDS: &[Field] = &[
    // The default is a name that existing log pipelines look for; it belongs to the files we take over.
    Field::with_default("header_name", Kind::String, "\"Kong-Request-ID\"", "The header that carries the id.")
        .rules(&[Rule::HeaderName]),
    Field::with_default(
        "generator",
        Kind::String,
        "\"uuid#counter\"",
        "How an id is made: a random UUID; a UUID of the shard and a number that counts up; or where and when the \
         request came in.",
    )
    .required()
    .rules(&[Rule::OneOf(&["uuid", "uuid#counter", "tracker"])]),
    Field::with_default("echo_downstream", Kind::Boolean, "false", "Send the id to the client too.").required(),
];

fn build(config: &Value, _: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let text = |name| config.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(Arc::new(CorrelationId {
        header: text("header_name").to_owned(),
        generator: match text("generator") {
            "uuid" => Generator::Uuid,
            "tracker" => Generator::Tracker { pid: std::process::id() },
            _ => Generator::Counter,
        },
        echo: config.get("echo_downstream").and_then(Value::as_bool).unwrap_or(false),
    }))
}

struct CorrelationId {
    header: String,
    generator: Generator,
    echo: bool,
}

enum Generator {
    Uuid,
    Counter,
    Tracker { pid: u32 },
}

/// A shard's part of `uuid#counter`: its own UUID, so that shards count without asking each other.
struct Counter {
    uuid: [u8; 36],
    last: u64,
}

/// Longest id: two addresses of 39 bytes would fit, and five numbers.
const ID_BYTES_MAX: usize = 160;

impl Plugin for CorrelationId {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        if self.brought(cx).is_none() {
            let mut room = [0; ID_BYTES_MAX];
            let id = self.generate(cx, &mut room);
            cx.edits.set_request(&self.header, id);
        }
        Verdict::Next
    }

    fn on_response(&self, cx: &mut Ctx<'_>, _status: u16) {
        if !self.echo {
            return;
        }
        if cx.edits.copy_to_reply(&self.header) {
            return;
        }
        if let Some(brought) = self.brought(cx) {
            cx.edits.set_reply(&self.header, brought);
            return;
        }
        // No id so far: no route matched, so there was no request hook. The client gets one all the same.
        let mut room = [0; ID_BYTES_MAX];
        let id = self.generate(cx, &mut room);
        cx.edits.set_reply(&self.header, id);
    }
}

impl CorrelationId {
    fn brought<'a>(&self, cx: &Ctx<'a>) -> Option<&'a [u8]> {
        cx.head.find(self.header.as_bytes()).filter(|value| !value.is_empty())
    }

    fn generate<'r>(&self, cx: &mut Ctx<'_>, room: &'r mut [u8; ID_BYTES_MAX]) -> &'r [u8] {
        let mut rest = &mut room[..];
        let written = match &self.generator {
            Generator::Uuid => rest.write_all(&uuid(cx.rng)),
            Generator::Counter => {
                let Ctx { locals, rng, .. } = cx;
                let counter = locals.of(|| Counter { uuid: uuid(rng), last: 0 });
                counter.last += 1;
                let mut number = itoa::Buffer::new();
                rest.write_all(&counter.uuid)
                    .and_then(|()| rest.write_all(b"#"))
                    .and_then(|()| rest.write_all(number.format(counter.last).as_bytes()))
            }
            Generator::Tracker { pid } => {
                let (facts, WallMs(now)) = (cx.facts, cx.now);
                let (ip, port) = (facts.local.ip(), facts.local.port());
                let (connection, request) = (facts.connection, facts.connection_request);
                write!(rest, "{ip}-{port}-{pid}-{connection}-{request}-{}.{:03}", now / 1000, now % 1000)
            }
        };
        debug_assert!(written.is_ok(), "every id has room");
        let left = rest.len();
        &room[..ID_BYTES_MAX - left]
    }
}

fn uuid(rng: &mut Rng) -> [u8; 36] {
    let mut text = [0; 36];
    Uuid::from_bytes(rng.uuid_v4()).hyphenated().encode_lower(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_without_an_id_gets_one_and_one_with_keeps_it() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"generator": "uuid"}));
        let id = rig.ask("GET /").upstream("Kong-Request-ID").map(str::to_owned).expect("an id is made");
        assert_eq!(Uuid::parse_str(&id).map(|uuid| uuid.get_version_num()), Ok(4));
        assert_ne!(rig.ask("GET /").upstream("Kong-Request-ID"), Some(id.as_str()));
        assert_eq!(rig.ask("GET /\nkong-request-id: abc").upstream("Kong-Request-ID"), None, "nothing to change");
        assert!(rig.ask("GET /\nKong-Request-ID:").upstream("Kong-Request-ID").is_some(), "empty is none");
    }

    #[test]
    fn counted_ids_share_a_uuid_and_count_up() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"header_name": "X-Id"}));
        let ids: Vec<String> = (0..3).filter_map(|_| rig.ask("GET /").upstream("X-Id").map(str::to_owned)).collect();
        let (uuid, first) = ids[0].split_once('#').expect("a uuid and a number");
        assert_eq!((first, uuid.len()), ("1", 36));
        assert_eq!(ids[1..], [format!("{uuid}#2"), format!("{uuid}#3")]);
    }

    #[test]
    fn a_tracker_says_where_and_when() {
        let mut rig = Rig::new(&DESCRIPTOR, json!({"header_name": "X-Id", "generator": "tracker"}));
        let want = format!("198.51.100.1-8000-{}-42-3-1795435200.000", std::process::id());
        assert_eq!(rig.ask("GET /").upstream("X-Id"), Some(want.as_str()));
    }

    #[test]
    fn the_client_gets_the_same_id_when_it_is_wanted() {
        let quiet = json!({"header_name": "X-Id"});
        assert_eq!(Rig::new(&DESCRIPTOR, quiet).ask_and_answer("GET /", 200).client("X-Id"), None);
        let mut rig = Rig::new(&DESCRIPTOR, json!({"header_name": "X-Id", "echo_downstream": true}));
        let seen = rig.ask_and_answer("GET /", 200);
        assert!(seen.client("X-Id").is_some());
        assert_eq!(seen.client("X-Id"), seen.upstream("X-Id"));
        assert_eq!(rig.ask_and_answer("GET /\nx-id: abc", 200).client("X-Id"), Some("abc"));
        let long = "i".repeat(4000);
        assert_eq!(rig.ask_and_answer(&format!("GET /\nx-id: {long}"), 200).client("X-Id"), Some(long.as_str()));
        rig.matched = false;
        assert!(rig.ask_and_answer("GET /nowhere", 404).client("X-Id").is_some());
        assert_eq!(rig.ask_and_answer("GET /nowhere\nx-id: abc", 404).client("X-Id"), Some("abc"));
    }
}
