//! `mtls-auth`: a client's certificate says who sends a request.
//!
//! Handshakes ask for it wherever an instance may run, and take whatever the client shows and has the key of; who vouches
//! for it is looked into here, against the instance's own authorities, and remembered on the connection for `cache_ttl`.
//! Where the listener itself asks for certificates, one must also be good by its rules.
//!
//! Revoked certificates are those on the node's own lists (`tls.client_revoked`): nothing is fetched, and `STRICT` needs
//! such a list.
//!
//! Whom a certificate means is said by `mtls_auth_credentials` first: those that name an authority which has vouched for it,
//! then those that name none, each by the alternative names and then by the common one. Then by the names of consumers.

use super::authentication::{self, texts, Gate};
use crate::auth::client_cert::{Revocation, Trust};
use crate::base::id::{ConsumerIx, CredentialIx};
use crate::hook::{ClientCertificate, Ctx, Descriptor, Env, Hooks, Plugin, Reply, Verdict};
use crate::plan::schema::{Element, Field, Kind, Rule, HTTP_PROTOCOLS};
use crate::plan::{Plan, Secret};
use ahash::RandomState;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// The row of this plugin.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "mtls-auth",
    priority: 1600,
    version: env!("CARGO_PKG_VERSION"),
    about: "Lets those pass whose TLS certificate an authority vouches for, and tells the upstream who they are.",
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
  - name: ledger
    url: http://ledger.internal:8080
    routes:
      - name: ledger
        paths: [/ledger]
        protocols: [https]
    plugins:
      - name: mtls-auth
        config:
          ca_certificates: [3e9a0a7c-8d1c-4f0a-9f3e-2b6c0c6b9a10]
consumers:
  - username: ledger-client.example.com
ca_certificates:
  - id: 3e9a0a7c-8d1c-4f0a-9f3e-2b6c0c6b9a10
    cert: |
      -----BEGIN CERTIFICATE-----
      MIIBiDCCAS+gAwIBAgIURoDq4EwWuw2v1fZLVECMbi3f3jYwCgYIKoZIzj0EAwIw
      GjEYMBYGA1UEAwwPRXhhbXBsZSBjbGllbnRzMB4XDTI2MTEyODAyMTA0MFoXDTQ2
      MTEyMzAyMTA0MFowGjEYMBYGA1UEAwwPRXhhbXBsZSBjbGllbnRzMFkwEwYHKoZI
      zj0CAQYIKoZIzj0DAQcDQgAEvWug/4FqZvVQp3KA7kGg7AKtoUBKyA0qCWmMmwYk
      xLEAUGvUZfwSCT0GrqDYdkKTZgGjJTapCfoIvp6fu/YRB6NTMFEwHQYDVR0OBBYE
      FGPNhAhn6rA1AqzRk5smJS4GqRiJMB8GA1UdIwQYMBaAFGPNhAhn6rA1AqzRk5sm
      JS4GqRiJMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgCy8Y8Tjh
      SrrBJXMNJNeNcChcq3+DXy/xsy6QEUulYfoCIDyUmrdsx8wxiFM9upqibTFXlBTA
      EjrTdvRp7mbUF983
      -----END CERTIFICATE-----
";

const MODES: &[&str] = &["SKIP", "IGNORE_CA_ERROR", "STRICT"];
const BY: &[&str] = &["username", "custom_id"];

const FIELDS: &[Field] = &[
    authentication::ANONYMOUS,
    Field::with_default(
        "consumer_by",
        Kind::Array(&Element { kind: Kind::String, rules: &[Rule::OneOf(BY)] }),
        r#"["username","custom_id"]"#,
        "By what a name of the certificate is looked for among consumers; the names are its alternative ones, or the \
         common name where it has none.",
    ),
    Field::optional(
        "ca_certificates",
        Kind::Array(&Element { kind: Kind::String, rules: &[Rule::Text(is_id)] }),
        "Ids of the authorities that vouch for clients.",
    )
    .required(),
    Field::with_default("cache_ttl", Kind::Number, "60", "Seconds for which a connection's certificate stays good.")
        .required(),
    Field::with_default("skip_consumer_lookup", Kind::Boolean, "false", "Let everybody pass who is vouched for.")
        .required(),
    Field::with_default("allow_partial_chain", Kind::Boolean, "false", "Is an authority enough that is not a root?")
        .required(),
    Field::with_default(
        "authenticated_group_by",
        Kind::String,
        "\"CN\"",
        "What acl takes for the group of those who pass without a consumer: their common name, or their whole subject.",
    )
    .rules(&[Rule::OneOf(&["CN", "DN"])]),
    Field::with_default(
        "revocation_check_mode",
        Kind::String,
        "\"IGNORE_CA_ERROR\"",
        "SKIP: revoked certificates pass. IGNORE_CA_ERROR: those on the node's lists (tls.client_revoked) do not. STRICT: \
         nor do those of authorities without a list.",
    )
    .rules(&[Rule::OneOf(MODES)]),
    Field::with_default("send_ca_dn", Kind::Boolean, "false", "Tell clients in the handshake which authorities count.")
        .required(),
    Field::optional(
        "default_consumer",
        Kind::String,
        "Id or username of the consumer that those are taken for who are vouched for and are no consumer.",
    ),
    Field::with_default("http_timeout", Kind::Number, "30000", "Taken and without effect: nothing is fetched."),
    Field::with_default("cert_cache_ttl", Kind::Number, "60000", "Likewise."),
    Field::optional("http_proxy_host", Kind::String, "Likewise."),
    Field::optional("http_proxy_port", Kind::Integer, "Likewise.").rules(&[Rule::Between(0.0, 65_535.0)]),
    Field::optional("https_proxy_host", Kind::String, "Likewise."),
    Field::optional("https_proxy_port", Kind::Integer, "Likewise.").rules(&[Rule::Between(0.0, 65_535.0)]),
];

fn is_id(text: &str) -> Result<(), String> {
    Uuid::try_parse(text).map(drop).map_err(|_| "expected a valid UUID".to_owned())
}

fn check(config: &Value) -> Vec<(String, String)> {
    let ids = config.get("ca_certificates").and_then(Value::as_array);
    match ids.is_some_and(Vec::is_empty) {
        true => vec![("ca_certificates".to_owned(), "length must be at least 1".to_owned())],
        false => Vec::new(),
    }
}

fn build(config: &Value, env: &Env<'_>) -> Result<Arc<dyn Plugin>, String> {
    let on = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let word = |name: &str| config.get(name).and_then(Value::as_str);
    let ids = texts(config, "ca_certificates");
    let pems: Vec<&str> = ids.iter().map(|id| authority(env.plan, id)).collect::<Result<_, _>>()?;
    let revocation = match word("revocation_check_mode") {
        Some("SKIP") => Revocation::Skip,
        Some("STRICT") => Revocation::Strict,
        _ => Revocation::Lenient,
    };
    let revoked = env.plan.node.tls.listeners.client.revoked.as_str();
    if revocation == Revocation::Strict && revoked.is_empty() {
        return Err(
            "revocation_check_mode STRICT needs lists of revoked certificates: name them in tls.client_revoked of \
                    a native file; none are fetched"
                .to_owned(),
        );
    }
    let partial = on("allow_partial_chain");
    let by = texts(config, "consumer_by");
    let ttl_s = config.get("cache_ttl").and_then(Value::as_f64).unwrap_or(60.0);
    let default_consumer = match word("default_consumer") {
        None => None,
        Some(name) => {
            let found = env.directory.consumer(name);
            Some(found.ok_or_else(|| format!("default_consumer: there is no consumer {name}"))?)
        }
    };
    let trust = Trust::of(pems.iter().copied(), revoked, revocation, partial)?;
    let alone = match &trust {
        Some(trust) => alone(trust, &ids, env.plan)?,
        None => Vec::new(),
    };
    // Two instances of the same measure share what a connection remembers; fixed keys, as nobody chooses what is hashed.
    let key = RandomState::with_seeds(1, 2, 3, 4).hash_one((&pems, revoked, partial, word("revocation_check_mode")));
    Ok(Arc::new(MtlsAuth {
        gate: Gate::of(config, env),
        trust,
        alone,
        key,
        ttl_ms: (ttl_s.max(0.0) * 1000.0) as u64,
        by_username: by.iter().any(|by| by == "username"),
        by_custom_id: by.iter().any(|by| by == "custom_id"),
        skips_lookup: on("skip_consumer_lookup"),
        group_is_subject: word("authenticated_group_by") == Some("DN"),
        default_consumer,
        tells_names: on("send_ca_dn"),
    }))
}

/// The instance's authorities, each alone, that credentials name; by their places among all.
fn alone(trust: &Trust, ids: &[String], plan: &Plan) -> Result<Vec<(u32, Trust)>, String> {
    let mut named: Vec<u32> = plan
        .credentials
        .iter()
        .filter_map(|held| match held.secret {
            Secret::Subject { authority, .. } => authority,
            _ => None,
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    let is_ours = |id: Uuid| ids.iter().any(|own| Uuid::try_parse(own).ok() == Some(id));
    let mut all = Vec::new();
    for ix in named {
        let Some(held) = plan.secure.authorities.get(ix as usize).filter(|held| is_ours(held.id)) else { continue };
        if let Some(alone) = trust.alone(&held.pem)? {
            all.push((ix, alone));
        }
    }
    Ok(all)
}

/// The authority of an id, PEM.
fn authority<'p>(plan: &'p Plan, id: &str) -> Result<&'p str, String> {
    let wanted = Uuid::try_parse(id).ok();
    let found = plan.secure.authorities.iter().find(|held| Some(held.id) == wanted);
    found.map(|held| held.pem.as_str()).ok_or_else(|| format!("ca_certificates: there is no authority {id}"))
}

struct MtlsAuth {
    gate: Gate,
    /// `None`: nobody vouches for anybody.
    trust: Option<Trust>,
    /// Those of them that credentials name.
    alone: Vec<(u32, Trust)>,
    /// The measure, as connections remember it.
    key: u64,
    ttl_ms: u64,
    by_username: bool,
    by_custom_id: bool,
    skips_lookup: bool,
    group_is_subject: bool,
    default_consumer: Option<ConsumerIx>,
    tells_names: bool,
}

const SUBJECT: &str = "X-Client-Cert-DN";
const NAMES: &str = "X-Client-Cert-SAN";

/// Why a request is not let in.
const MISSING: &str = "No required TLS certificate was sent";
const FAILED: &str = "TLS certificate failed verification";

impl Plugin for MtlsAuth {
    fn asks_certificate(&self) -> Option<Vec<Vec<u8>>> {
        let names = self.trust.as_ref().filter(|_| self.tells_names).map(|trust| trust.names().to_vec());
        Some(names.unwrap_or_default())
    }

    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        // The upstream believes them: whoever is let in, a client's own go no further.
        cx.edits.remove_request(SUBJECT);
        cx.edits.remove_request(NAMES);
        if self.gate.is_open(cx) {
            return Verdict::Next;
        }
        let Some(client) = cx.facts.client else { return self.gate.refuse(cx, || Reply::message(401, MISSING)) };
        if self.is_good(client, cx) && self.admit(client, cx) {
            return Verdict::Next;
        }
        self.gate.refuse(cx, || Reply::message(401, FAILED))
    }
}

impl MtlsAuth {
    fn is_good(&self, client: &ClientCertificate, cx: &Ctx<'_>) -> bool {
        let verify = || self.trust.as_ref().is_some_and(|trust| trust.verify(&client.chain, cx.now));
        client.is_good(self.key, cx.now, self.ttl_ms, verify)
    }

    /// Has this authority vouched for it?
    fn is_by(&self, authority: u32, client: &ClientCertificate, cx: &Ctx<'_>) -> bool {
        let Some((_, trust)) = self.alone.iter().find(|(ix, _)| *ix == authority) else { return false };
        let key = RandomState::with_seeds(5, 6, 7, 8).hash_one((self.key, authority));
        client.is_good(key, cx.now, self.ttl_ms, || trust.verify(&client.chain, cx.now))
    }

    /// The credential that a name of the certificate means.
    fn credential(&self, client: &ClientCertificate, cx: &Ctx<'_>) -> Option<CredentialIx> {
        let names = || client.names().chain(std::iter::once(client.common_name.as_str()));
        let find = |fits: &dyn Fn(Option<u32>) -> bool| {
            names().find_map(|name| {
                cx.directory.by_subject(name).find(|ix| match cx.directory.plan().credential(*ix).secret {
                    Secret::Subject { authority, .. } => fits(authority),
                    _ => false,
                })
            })
        };
        find(&|authority| authority.is_some_and(|authority| self.is_by(authority, client, cx)))
            .or_else(|| find(&|authority| authority.is_none()))
    }

    /// Lets in whom an authority vouches for; `false` where a consumer is needed and there is none.
    fn admit(&self, client: &ClientCertificate, cx: &mut Ctx<'_>) -> bool {
        let credential = if self.skips_lookup { None } else { self.credential(client, cx) };
        let consumer = match (self.skips_lookup, credential) {
            (true, _) => None,
            (false, Some(credential)) => Some(cx.directory.plan().credential(credential).consumer),
            (false, None) => match self.consumer(client, cx).or(self.default_consumer) {
                Some(consumer) => Some(consumer),
                None => return false,
            },
        };
        let mut id = [0; 36];
        let identifier = credential.map(|credential| {
            let id: &[u8] =
                cx.directory.plan().credentials.id(credential).hyphenated().encode_lower(&mut id).as_bytes();
            id
        });
        authentication::vouch(cx.edits, cx.identity, cx.directory, consumer, identifier);
        if self.skips_lookup {
            cx.edits.set_request(SUBJECT, client.subject.as_bytes());
            let names: Vec<&str> = client.names().collect();
            if !names.is_empty() && names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic())) {
                cx.edits.set_request(NAMES, names.join(",").as_bytes());
            }
        }
        let group = if self.group_is_subject { &client.subject } else { &client.common_name };
        cx.edits.set_group(group.as_bytes());
        true
    }

    /// The consumer whom a name of the certificate means: an alternative one, or the common name where there is none.
    fn consumer(&self, client: &ClientCertificate, cx: &Ctx<'_>) -> Option<ConsumerIx> {
        let of = |name: &str| {
            let by_username = || self.by_username.then(|| cx.directory.by_username(name)).flatten();
            let by_custom_id = || self.by_custom_id.then(|| cx.directory.by_custom_id(name)).flatten();
            by_username().or_else(by_custom_id)
        };
        if client.names().next().is_some() {
            return client.names().find_map(of);
        }
        of(&client.common_name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, ALICE, BOB};
    use super::*;
    use serde_json::json;

    fn plugin(trusted: bool, change: impl FnOnce(&mut MtlsAuth)) -> (Rig, ClientCertificate) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "root");
        let root = rcgen::CertifiedIssuer::self_signed(params, key).expect("signs");
        let key = rcgen::KeyPair::generate().expect("a key");
        let leaf = rcgen::CertificateParams::default().signed_by(&key, &root).expect("signs");
        let other = rcgen::KeyPair::generate().expect("a key");
        let other = rcgen::CertificateParams::default().self_signed(&other).expect("signs");
        let shown = if trusted { leaf } else { other };
        let mut rig = Rig::new(&super::super::acl::DESCRIPTOR, json!({"allow": ["x"]}));
        let trust = Trust::of([root.pem().as_str()].into_iter(), "", Revocation::Lenient, false).expect("can be read");
        let mut plugin = MtlsAuth {
            gate: rig.gate(json!({})),
            trust,
            alone: Vec::new(),
            key: 1,
            ttl_ms: 60_000,
            by_username: true,
            by_custom_id: true,
            skips_lookup: false,
            group_is_subject: false,
            default_consumer: None,
            tells_names: false,
        };
        change(&mut plugin);
        rig.plugin = Arc::new(plugin);
        let client = ClientCertificate {
            subject: "CN=bob,O=O".into(),
            common_name: "bob".into(),
            chain: vec![shown.der().to_vec()],
            not_after: i64::MAX,
            ..ClientCertificate::default()
        };
        (rig, client)
    }

    #[test]
    fn a_certificate_means_a_consumer() {
        type Change = fn(&mut MtlsAuth);
        let rows: [(&str, &[&str], Change, Option<ConsumerIx>); 8] = [
            ("bob", &[], |_| {}, Some(BOB)),
            ("a-1", &[], |_| {}, Some(ALICE)),
            ("a-1", &[], |plugin| plugin.by_custom_id = false, None),
            ("bob", &[], |plugin| plugin.by_username = false, None),
            ("bob", &["x", "alice"], |_| {}, Some(ALICE)),
            // Alternative names are all the names there are.
            ("bob", &["x"], |_| {}, None),
            ("x", &[], |plugin| plugin.default_consumer = Some(ALICE), Some(ALICE)),
            ("", &[], |_| {}, None),
        ];
        for (name, names, change, want) in rows {
            let (mut rig, mut client) = plugin(true, change);
            client.common_name = name.into();
            client.dns = names.iter().map(|name| (*name).to_owned()).collect();
            rig.client = Some(client);
            let seen = rig.ask("GET /\nX-Consumer-Username: evil\nX-Client-Cert-DN: evil");
            let said = if want.is_some() { "next" } else { "401 E(TLS certificate failed verification)" };
            assert_eq!((seen.said().as_str(), seen.identity.consumer), (said, want), "{name} {names:?}");
            assert_eq!(seen.upstream(SUBJECT), Some(""), "{name} {names:?}");
        }
    }

    #[test]
    fn without_a_good_certificate_nobody_passes() {
        let (mut rig, _) = plugin(true, |_| {});
        assert_eq!(rig.ask("GET /").said(), "401 E(No required TLS certificate was sent)");
        for skips_lookup in [false, true] {
            let (mut rig, client) = plugin(false, |plugin| plugin.skips_lookup = skips_lookup);
            rig.client = Some(client);
            assert_eq!(rig.ask("GET /").said(), "401 E(TLS certificate failed verification)");
        }
        let (mut rig, client) = plugin(true, |plugin| plugin.trust = None);
        rig.client = Some(client);
        assert_eq!(rig.ask("GET /").said(), "401 E(TLS certificate failed verification)");
    }

    #[test]
    fn without_a_lookup_the_upstream_hears_of_the_certificate() {
        let (mut rig, mut client) =
            plugin(true, |plugin| (plugin.skips_lookup, plugin.group_is_subject) = (true, true));
        client.dns = vec!["c.test".into()];
        client.uris = vec!["spiffe://t/c".into()];
        rig.client = Some(client);
        let seen = rig.ask("GET /\nX-Client-Cert-SAN: evil");
        assert_eq!((seen.said().as_str(), seen.identity.consumer, seen.identity.is_vouched), ("next", None, true));
        assert_eq!(seen.upstream(SUBJECT), Some("CN=bob,O=O"));
        assert_eq!(seen.upstream(NAMES), Some("c.test,spiffe://t/c"));
        assert_eq!(seen.group(), Some("CN=bob,O=O"));
    }
}
