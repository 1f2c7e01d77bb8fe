//! `acl`: which groups of consumers may pass.
//!
//! It asks who an authentication plugin said it is, so it needs one. A consumer who stands in for strangers has groups like
//! any other. The upstream believes the headers about groups, so each is written or taken away, whatever a client sends.
//!
//! With `include_consumer_groups` the groups of consumers that plugins may be for (`consumer_groups`) count beside those of
//! access lists (`acls`), by name, and the upstream is told both: first the access lists', then the others in the order they
//! were written, a name that is both once. What is documented of the field is that both are weighed; that both are told is
//! ours, so that an upstream never sees fewer groups than let a request in. A group that was proved is one of neither kind.

use crate::base::id::ConsumerIx;
use crate::hook::{Ctx, Descriptor, Env, Hooks, Plugin, Reply, Verdict};
use crate::plan::groups::Membership;
use crate::plan::packed::place;
use crate::plan::schema::{Element, Field, Kind, HTTP_PROTOCOLS};
use crate::plan::Plan;
use ahash::RandomState;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "acl",
    priority: 950,
    version: env!("CARGO_PKG_VERSION"),
    about:
        "Lets consumers pass by the groups that they are in, and tells the upstream these groups. Needs a plugin that \
            says who the consumer is.",
    example: EXAMPLE,
    fields: FIELDS,
    consumer_scope: false,
    protocols: HTTP_PROTOCOLS,
    check,
    build,
    hooks: Hooks { request: true, response: false },
};

const EXAMPLE: &str = r"
services:
  - name: reports
    url: http://reports.internal:8080
    routes:
      - name: reports
        paths: [/reports]
    plugins:
      - name: key-auth
      - name: acl
        config:
          allow: [staff]
consumers:
  - username: ann
    keyauth_credentials:
      - key: replace-this-key
    acls:
      - group: staff
";

const TEXT: Element = Element { kind: Kind::String, rules: &[] };

const FIELDS: &[Field] = &[
    Field::optional("allow", Kind::Array(&TEXT), "Only consumers in one of these groups pass."),
    Field::optional("deny", Kind::Array(&TEXT), "Consumers in one of these groups do not pass."),
    Field::with_default("hide_groups_header", Kind::Boolean, "false", "Do not tell the upstream a consumer's groups.")
        .required(),
    Field::with_default(
        "always_use_authenticated_groups",
        Kind::Boolean,
        "false",
        "Prefer groups that a plugin took from the proof itself, as mtls-auth does, to those of the consumer.",
    )
    .required(),
    Field::with_default(
        "include_consumer_groups",
        Kind::Boolean,
        "false",
        "Let the consumer groups that a consumer is in count as well, and tell the upstream of them too.",
    )
    .required(),
];

const GROUPS: &str = "X-Consumer-Groups";
const AUTHENTICATED_GROUPS: &str = "X-Authenticated-Groups";

fn check(config: &Value) -> Vec<(String, String)> {
    let given = |name| config.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let fault = |words: &str| (String::new(), format!("{words}: 'config.allow', 'config.deny'"));
    let exactly = || fault("exactly one of these fields must be non-empty");
    match (given("allow"), given("deny")) {
        (true, true) => vec![exactly()],
        (false, false) => vec![exactly(), fault("at least one of these fields must be non-empty")],
        _ => Vec::new(),
    }
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let on = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let allow = super::authentication::texts(config, "allow");
    let allows = !allow.is_empty();
    let listed = if allows { allow } else { super::authentication::texts(config, "deny") };
    let membership = on("include_consumer_groups").then(|| env.membership());
    let shown = || match &membership {
        None => env.generation.take_or(|| Shown::of(env.plan, None)),
        Some(all) => env.generation.take_or(|| ShownWithEntities(Shown::of(env.plan, Some(all)).into())).0.clone(),
    };
    let shown = (!on("hide_groups_header")).then(shown);
    Ok(Arc::new(Acl {
        allows,
        listed: listed.into_iter().collect(),
        prefers_proved: on("always_use_authenticated_groups"),
        shown,
        membership,
    }))
}

struct Acl {
    /// Do only the listed pass, or all but them?
    allows: bool,
    listed: HashSet<String, RandomState>,
    /// Does the group of a proof count even where there is a consumer?
    prefers_proved: bool,
    /// What the upstream is told; `None`: nothing.
    shown: Option<Arc<Shown>>,
    /// Who is in which consumer group; `None` where these do not count.
    membership: Option<Arc<Membership>>,
}

/// The groups of each consumer as a header shows them; one for all instances of a generation that count the same kinds.
/// There may be a hundred thousand, and few of them in any group: four bytes each and the text.
struct Shown {
    texts: String,
    /// Where the text of each consumer ends.
    ends: Vec<u32>,
}

/// The same with consumer groups: a type of its own, for that is what a generation keeps things by.
struct ShownWithEntities(Arc<Shown>);

impl Shown {
    fn of(plan: &Plan, membership: Option<&Membership>) -> Shown {
        let (mut texts, mut ends) = (String::new(), Vec::with_capacity(plan.consumers.len()));
        for (ix, consumer) in plan.consumers.iter().enumerate() {
            let begin = texts.len();
            let entities = entities(plan, membership, ConsumerIx(ix as u32));
            let others = entities.filter(|name| consumer.groups().all(|group| group != *name));
            for group in consumer.groups().chain(others) {
                texts.push_str(if texts.len() > begin { ", " } else { "" });
                texts.push_str(group);
            }
            ends.push(place(&texts));
        }
        Shown { texts, ends }
    }

    /// Those of one; `None` where there are none.
    fn groups(&self, ix: ConsumerIx) -> Option<&str> {
        let begin = ix.ix().checked_sub(1).map_or(0, |before| self.ends[before]);
        let text = self.texts.get(begin as usize..self.ends[ix.ix()] as usize)?;
        (!text.is_empty()).then_some(text)
    }
}

/// The names of the consumer groups of one, where these count.
fn entities<'p>(
    plan: &'p Plan,
    membership: Option<&'p Membership>,
    consumer: ConsumerIx,
) -> impl Iterator<Item = &'p str> {
    membership.into_iter().flat_map(move |all| all.names(&plan.groups, consumer))
}

impl Plugin for Acl {
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        cx.edits.remove_request(AUTHENTICATED_GROUPS);
        if self.prefers_proved || cx.identity.consumer.is_none() {
            if let Some(group) = cx.edits.group().map(<[u8]>::to_vec) {
                return self.decide(cx, &group);
            }
        }
        let Some(consumer) = cx.identity.consumer else { return refuse(cx.identity.is_proved()) };
        let plan = cx.directory.plan();
        let entities = entities(plan, self.membership.as_deref(), consumer);
        let mut groups = plan.consumer(consumer).groups().chain(entities).peekable();
        if self.allows && groups.peek().is_none() {
            return refuse(cx.identity.is_proved());
        }
        if groups.any(|group| self.listed.contains(group)) != self.allows {
            return refuse(true);
        }
        let shown = self.shown.as_ref().and_then(|shown| shown.groups(consumer));
        match shown {
            Some(text) => cx.edits.set_request(GROUPS, text.as_bytes()),
            None => cx.edits.remove_request(GROUPS),
        }
        Verdict::Next
    }
}

impl Acl {
    /// By the group that was proved.
    fn decide(&self, cx: &mut Ctx<'_>, group: &[u8]) -> Verdict {
        cx.edits.remove_request(GROUPS);
        if std::str::from_utf8(group).is_ok_and(|group| self.listed.contains(group)) != self.allows {
            return refuse(true);
        }
        if self.shown.is_some() {
            cx.edits.set_request(AUTHENTICATED_GROUPS, group);
        }
        Verdict::Next
    }
}

/// Who has proved who he is may not; who has not might, if he did.
#[cold]
fn refuse(is_proved: bool) -> Verdict {
    Verdict::Reply(Box::new(match is_proved {
        true => Reply::message(403, "You cannot consume this service"),
        false => Reply::message(401, "Unauthorized"),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::rig::{faults, Rig, ALICE, BOB, GUEST};
    use super::*;
    use crate::base::id::CredentialIx;
    use crate::hook::Identity;
    use serde_json::json;

    const FORBIDDEN: &str = "403 E(You cannot consume this service)";
    const UNKNOWN: &str = "401 E(Unauthorized)";

    /// bob is in `admin` and `dev`, alice in none, guest in `guests` and has proved nothing; of consumer groups bob is in `dev`
    /// and `silver`, alice in `gold` and `silver`, guest in none.
    fn ask(config: Value, consumer: Option<ConsumerIx>) -> super::super::rig::Seen {
        let mut rig = Rig::new(&DESCRIPTOR, config);
        let credential = consumer.filter(|ix| *ix != GUEST).map(|ix| CredentialIx(ix.0));
        rig.identity = Identity { consumer, credential, ..Identity::default() };
        rig.ask("GET /\nX-Consumer-Groups: evil\nX-Authenticated-Groups: evil")
    }

    #[test]
    fn groups_decide() {
        let rows = [
            (json!({"allow": ["admin"]}), Some(BOB), "next"),
            (json!({"allow": ["x", "dev"]}), Some(BOB), "next"),
            (json!({"allow": ["Admin"]}), Some(BOB), FORBIDDEN),
            (json!({"allow": ["admin"]}), Some(ALICE), FORBIDDEN),
            (json!({"allow": ["admin"]}), Some(GUEST), FORBIDDEN),
            (json!({"allow": ["guests"]}), Some(GUEST), "next"),
            (json!({"allow": ["admin"]}), None, UNKNOWN),
            (json!({"deny": ["admin"]}), Some(BOB), FORBIDDEN),
            (json!({"deny": ["x"]}), Some(BOB), "next"),
            (json!({"deny": ["x"]}), Some(ALICE), "next"),
            (json!({"deny": ["x"]}), None, UNKNOWN),
            (json!({"allow": ["dev"], "always_use_authenticated_groups": true}), Some(BOB), "next"),
            (json!({"allow": ["silver"]}), Some(BOB), FORBIDDEN),
            (json!({"allow": ["silver"], "include_consumer_groups": true}), Some(BOB), "next"),
            (json!({"allow": ["admin"], "include_consumer_groups": true}), Some(BOB), "next"),
            (json!({"allow": ["gold"], "include_consumer_groups": true}), Some(BOB), FORBIDDEN),
            (json!({"allow": ["gold"], "include_consumer_groups": true}), Some(ALICE), "next"),
            (json!({"allow": ["Gold"], "include_consumer_groups": true}), Some(ALICE), FORBIDDEN),
            (json!({"deny": ["silver"]}), Some(ALICE), "next"),
            (json!({"deny": ["silver"], "include_consumer_groups": true}), Some(ALICE), FORBIDDEN),
            (json!({"deny": ["silver"], "include_consumer_groups": true}), Some(GUEST), "next"),
            (json!({"allow": ["guests"], "include_consumer_groups": true}), Some(GUEST), "next"),
            (json!({"allow": ["gold"], "include_consumer_groups": true}), None, UNKNOWN),
        ];
        for (config, consumer, want) in rows {
            assert_eq!(ask(config.clone(), consumer).said(), want, "{config} {consumer:?}");
        }
        let mut rig = Rig::new(&DESCRIPTOR, json!({"allow": ["admin"]}));
        rig.identity = Identity { credential: Some(CredentialIx(0)), ..Identity::default() };
        assert_eq!(rig.ask("GET /").said(), FORBIDDEN);
    }

    #[test]
    fn the_upstream_hears_of_groups_from_us_only() {
        let rows = [
            (json!({"allow": ["admin"]}), BOB, "admin, dev"),
            (json!({"allow": ["admin"], "hide_groups_header": true}), BOB, ""),
            (json!({"deny": ["x"]}), ALICE, ""),
            (json!({"deny": ["x"], "include_consumer_groups": true}), ALICE, "gold, silver"),
            (json!({"deny": ["x"], "include_consumer_groups": true}), BOB, "admin, dev, silver"),
            (json!({"deny": ["x"], "include_consumer_groups": true}), GUEST, "guests"),
            (json!({"deny": ["x"], "include_consumer_groups": true, "hide_groups_header": true}), ALICE, ""),
        ];
        for (config, consumer, want) in rows {
            let seen = ask(config, Some(consumer));
            assert_eq!((seen.upstream(GROUPS), seen.upstream(AUTHENTICATED_GROUPS)), (Some(want), Some("")));
        }
    }

    #[test]
    fn one_list_is_needed_and_no_more() {
        let exactly = "exactly one of these fields must be non-empty: 'config.allow', 'config.deny'";
        let least = "at least one of these fields must be non-empty: 'config.allow', 'config.deny'";
        let fault = |text: &str| (String::new(), text.to_owned());
        assert_eq!(faults(&DESCRIPTOR, json!({})), [fault(exactly), fault(least)]);
        assert_eq!(faults(&DESCRIPTOR, json!({"allow": ["a"], "deny": ["b"]})), [fault(exactly)]);
        assert_eq!(faults(&DESCRIPTOR, json!({"allow": ["a"], "deny": []})), []);
    }
}
