//! What plugins that authenticate have in common: their fields, what the upstream is told of a consumer, and the
//! consumer who stands in for those who prove nothing.
//!
//! The upstream believes the headers below. So each of them is either written or taken away, whatever a client sends.

use crate::base::id::{ConsumerIx, CredentialIx};
use crate::hook::directory::Directory;
use crate::hook::{Ctx, Edits, Env, Identity, Reply, Verdict};
use crate::http::Method;
use crate::plan::schema::{Field, Kind};
use crate::plan::Consumer;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use std::borrow::Cow;
use uuid::Uuid;

pub(super) const ANONYMOUS: Field = Field::optional(
    "anonymous",
    Kind::String,
    "Id or username of the consumer that requests without a valid credential are taken for.",
);

pub(super) const RUN_ON_PREFLIGHT: Field =
    Field::with_default("run_on_preflight", Kind::Boolean, "true", "Ask OPTIONS requests for a credential too.")
        .required();

pub(super) const HIDE_CREDENTIALS: Field =
    Field::with_default("hide_credentials", Kind::Boolean, "false", "Keep the credentials from the upstream.")
        .required();

pub(super) const REALM: Field =
    Field::optional("realm", Kind::String, "Realm in the WWW-Authenticate header of a refusal.");

/// Base64 as clients write it: with its padding or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const ID: &str = "X-Consumer-ID";
const CUSTOM_ID: &str = "X-Consumer-Custom-ID";
const USERNAME: &str = "X-Consumer-Username";
const CREDENTIAL: &str = "X-Credential-Identifier";
const IS_ANONYMOUS: &str = "X-Anonymous-Consumer";

/// What an instance does before it looks for a credential.
pub(super) struct Gate {
    /// Who stands in; `None`: nobody, a credential is needed.
    anonymous: Option<Anonymous>,
    on_preflight: bool,
}

/// The consumer who stands in.
struct Anonymous {
    /// As it was configured.
    name: String,
    consumer: Option<ConsumerIx>,
}

impl Gate {
    /// Reads [`ANONYMOUS`] and [`RUN_ON_PREFLIGHT`] of a configuration.
    pub(super) fn of(config: &Value, env: &Env<'_>) -> Gate {
        let anonymous = config.get("anonymous").and_then(Value::as_str).map(|name| Anonymous {
            name: name.to_owned(),
            // Ids are indexed in lower case, and people write them as they like.
            consumer: match Uuid::parse_str(name) {
                Ok(id) => env.directory.consumer(&id.to_string()).or_else(|| env.directory.consumer(name)),
                Err(_) => env.directory.consumer(name),
            },
        });
        let on_preflight = config.get("run_on_preflight").and_then(Value::as_bool).unwrap_or(true);
        Gate { anonymous, on_preflight }
    }

    /// May the request pass without a look at its credentials? It may when it is an OPTIONS request that need bring none,
    /// or when an earlier plugin has let it in and one proof is enough.
    pub(super) fn is_open(&self, cx: &mut Ctx<'_>) -> bool {
        if !self.on_preflight && cx.head.head.method == Method::Options {
            if cx.identity.consumer.is_none() {
                clear(cx.edits);
            }
            return true;
        }
        self.anonymous.is_some() && cx.identity.is_proved()
    }

    /// What becomes of a request without a valid credential: it comes from the one who stands in, or gets `refusal`.
    #[cold]
    pub(super) fn refuse(&self, cx: &mut Ctx<'_>, refusal: impl FnOnce() -> Reply) -> Verdict {
        let Some(anonymous) = &self.anonymous else { return Verdict::Reply(Box::new(refusal())) };
        let Some(ix) = anonymous.consumer else {
            let message = format!("anonymous consumer {} is configured but doesn't exist", anonymous.name);
            return Verdict::Reply(Box::new(Reply::message(500, message)));
        };
        *cx.identity = Identity { consumer: Some(ix), ..Identity::default() };
        introduce(cx.edits, cx.directory.plan().consumer(ix));
        cx.edits.remove_request(CREDENTIAL);
        cx.edits.set_request(IS_ANONYMOUS, b"true");
        Verdict::Next
    }
}

/// Lets a request in as the owner of `credential`, which the upstream knows by `identifier`. Allocates nothing.
pub(super) fn admit(cx: &mut Ctx<'_>, credential: CredentialIx, identifier: &[u8]) {
    let plan = cx.directory.plan();
    let consumer = plan.credential(credential).consumer;
    *cx.identity = Identity { consumer: Some(consumer), credential: Some(credential), is_vouched: false };
    introduce(cx.edits, plan.consumer(consumer));
    cx.edits.set_request(CREDENTIAL, identifier);
    cx.edits.remove_request(IS_ANONYMOUS);
}

/// Lets a request in for which somebody else vouches: as a consumer, or as nobody we know. The upstream knows it by
/// `identifier`. Allocates nothing.
pub(super) fn vouch(
    edits: &mut Edits,
    identity: &mut Identity,
    directory: &Directory,
    consumer: Option<ConsumerIx>,
    identifier: Option<&[u8]>,
) {
    *identity = Identity { consumer, credential: None, is_vouched: true };
    clear(edits);
    if let Some(consumer) = consumer {
        introduce(edits, directory.plan().consumer(consumer));
    }
    if let Some(identifier) = identifier {
        edits.set_request(CREDENTIAL, identifier);
    }
}

fn introduce(edits: &mut Edits, consumer: Consumer<'_>) {
    let mut id = [0; 36];
    consumer.id.hyphenated().encode_lower(&mut id);
    edits.set_request(ID, &id);
    for (name, value) in [(CUSTOM_ID, consumer.custom_id), (USERNAME, consumer.username)] {
        match value {
            Some(value) => edits.set_request(name, value.as_bytes()),
            None => edits.remove_request(name),
        }
    }
}

fn clear(edits: &mut Edits) {
    for name in [ID, CUSTOM_ID, USERNAME, CREDENTIAL, IS_ANONYMOUS] {
        edits.remove_request(name);
    }
}

/// The texts of a list.
pub(super) fn texts(config: &Value, name: &str) -> Vec<String> {
    let list = config.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What follows the name of a scheme, which stands in any case (RFC 9110 §11.1); `None` where it is another scheme.
pub(super) fn after_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (name, rest) = value.trim_ascii_start().split_at_checked(scheme.len())?;
    let rest = name.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)?;
    rest.first().is_some_and(u8::is_ascii_whitespace).then(|| rest.trim_ascii())
}

/// A `WWW-Authenticate` value: the scheme and its parameters, quoted (RFC 9110 §11.2).
pub(super) fn challenge(scheme: &'static str, params: &[(&str, Option<&str>)]) -> Cow<'static, str> {
    let mut text = Cow::Borrowed(scheme);
    let mut separator = " ";
    for (name, value) in params.iter().filter_map(|&(name, value)| Some((name, value?))) {
        let out = text.to_mut();
        out.push_str(separator);
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        separator = ", ";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_quoted() {
        assert_eq!(challenge("Key", &[("realm", None)]), "Key");
        assert_eq!(challenge("Key", &[("realm", Some("a \"b\"\r\nX: \\"))]), "Key realm=\"a \\\"b\\\"X: \\\\\"");
        let both = [("realm", Some("r")), ("error", Some("invalid_token"))];
        assert_eq!(challenge("Bearer", &both), "Bearer realm=\"r\", error=\"invalid_token\"");
    }
}
