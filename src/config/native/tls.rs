//! TLS: `tls:` of the node, and of one listener. What names a file is read when all settings are (`config/pem.rs`).

use super::read::{is_off, list, map, show, switch, text, unknown};
use crate::base::limits::TLS_EARLY_BYTES_MAX;
use crate::base::span::Span;
use crate::base::units::size_bytes;
use crate::config::check::join;
use crate::config::doc::{Key, Node};
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::tls::{ClientCertificate, ClientTls, ForwardedCert, ForwardedDetails, Hidden, PemPair, TlsOptions};
use serde_json::{json, Value as Json};

/// Settings of a listener beside those of its clients.
const OF_LISTENER: [&str; 3] = ["min_version", "certificates", "server_names"];

/// How clients prove who they are, and what they may say before: of a listener, or of a server name on it.
const OF_CLIENTS: [&str; 5] =
    ["client_certificate", "client_authorities", "client_revoked", "client_depth", "early_data"];

/// Those of the node alone.
const OF_NODE: [&str; 6] = [
    "ticket_keys",
    "upstream_authorities",
    "system_authorities",
    "upstream_verify",
    "forward_client_cert",
    "forward_client_cert_details",
];

/// All that a listener takes.
fn of_listener_names() -> impl Iterator<Item = &'static str> + Clone {
    OF_LISTENER.into_iter().chain(OF_CLIENTS)
}

/// The section of the node.
pub(super) fn node(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    draft.tls_at = doc.span.clone();
    for (key, value) in entries(doc, path, report) {
        let field = join(path, &key.text);
        let tls = &mut draft.node.tls;
        match key.text.as_str() {
            "ticket_keys" => {
                let texts = list(value).iter().filter_map(|one| text(one, &field, report));
                tls.ticket_secrets = texts.map(|path| Hidden(path.to_owned())).collect();
            }
            "upstream_authorities" => {
                draft.upstream_authorities = text(value, &field, report).map(str::to_owned).into_iter().collect();
            }
            "forward_client_cert" => {
                let word = show(value);
                match FORWARDED.iter().find(|(name, _)| *name == word.trim_matches('"')) {
                    Some((_, forwarded)) => tls.forwarded = *forwarded,
                    None => {
                        let hint = format!("write {}", FORWARDED.map(|(name, _)| name).join(", "));
                        report.fault(&value.span, field, format!("expected one of five words, found {word}"), hint);
                    }
                }
            }
            "forward_client_cert_details" => tls.forwarded_details = details(value, &field, report),
            "system_authorities" => tls.system_authorities = switch(value, &field, report).unwrap_or(true),
            "upstream_verify" => {
                tls.upstream_verify = switch(value, &field, report).unwrap_or(true);
                if !tls.upstream_verify {
                    let message =
                        "the certificates of upstreams are not verified: whoever is between can read and change \
                                   everything";
                    report.warning(&value.span, &field, message, "");
                }
            }
            name if of_listener_names().any(|known| known == name) => {
                option(name, value, &field, &mut tls.listeners, report);
            }
            _ => unknown(key, of_listener_names().chain(OF_NODE), path, report),
        }
    }
}

const FORWARDED: [(&str, ForwardedCert); 5] = [
    ("sanitize", ForwardedCert::Sanitize),
    ("forward_only", ForwardedCert::ForwardOnly),
    ("append_forward", ForwardedCert::AppendForward),
    ("sanitize_set", ForwardedCert::SanitizeSet),
    ("always_forward_only", ForwardedCert::AlwaysForwardOnly),
];

const DETAILS: [&str; 5] = ["cert", "chain", "subject", "uri", "dns"];

fn details(doc: &Node, path: &str, report: &mut Report) -> ForwardedDetails {
    let mut details = ForwardedDetails::default();
    for one in list(doc) {
        match text(one, path, report).unwrap_or_default() {
            "cert" => details.cert = true,
            "chain" => details.chain = true,
            "subject" => details.subject = true,
            "uri" => details.uri = true,
            "dns" => details.dns = true,
            other => {
                let hint = format!("write {}", DETAILS.join(", "));
                report.fault(&one.span, path, format!("not a part of a certificate: \"{other}\""), hint);
            }
        }
    }
    details
}

/// `tls:` of a listener where it is a map.
pub(super) fn listener(doc: &Node, path: &str, report: &mut Report) -> TlsOptions {
    let mut options = TlsOptions::default();
    for (key, value) in entries(doc, path, report) {
        match key.text.as_str() {
            name if of_listener_names().any(|known| known == name) => {
                option(name, value, &join(path, name), &mut options, report);
            }
            _ => unknown(key, of_listener_names(), path, report),
        }
    }
    options
}

/// What stands in a section and says anything; server names last, as they begin with what the listener says.
fn entries<'a>(doc: &'a Node, path: &str, report: &mut Report) -> Vec<&'a (Key, Node)> {
    let said = map(doc, path, report).unwrap_or_default().iter().filter(|(_, value)| !value.is_null());
    let mut entries: Vec<_> = said.collect();
    entries.sort_by_key(|(key, _)| key.text == "server_names");
    entries
}

fn option(name: &str, value: &Node, path: &str, options: &mut TlsOptions, report: &mut Report) {
    match name {
        "min_version" => match show(value).trim_matches('"') {
            "1.2" => options.tls13_only = false,
            "1.3" => options.tls13_only = true,
            shown => report.fault(&value.span, path, format!("not a version: {shown}"), "write \"1.2\" or \"1.3\""),
        },
        "certificates" => {
            options.default = list(value).iter().filter_map(|one| pair(one, path, report)).collect();
        }
        "server_names" => {
            for (name, value) in map(value, path, report).unwrap_or_default() {
                let field = join(path, &name.text);
                if let Some(name) = server_name(&name.text, &name.span, &field, report) {
                    options.of_names.push((name, of_name(value, &field, &options.client, report)));
                }
            }
        }
        _ => clients(name, value, path, &mut options.client, report),
    }
}

/// A name, `*.` before it or `.*` behind it.
fn server_name(text: &str, at: &Span, path: &str, report: &mut Report) -> Option<String> {
    let name = text.to_ascii_lowercase();
    let plain = name.strip_prefix("*.").or_else(|| name.strip_suffix(".*")).unwrap_or(&name);
    let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if plain.is_empty() || plain.len() > 253 || !plain.bytes().all(sound) {
        let hint = "write a.example.com, *.example.com or example.*";
        report.fault(at, path, format!("not a server name: \"{text}\""), hint);
        return None;
    }
    Some(name)
}

/// How clients of one server name prove who they are. What is not said is as on the listener, which is read before.
fn of_name(doc: &Node, path: &str, listener: &ClientTls, report: &mut Report) -> ClientTls {
    let mut client = listener.clone();
    for (key, value) in map(doc, path, report).unwrap_or_default().iter().filter(|(_, value)| !value.is_null()) {
        match key.text.as_str() {
            name if OF_CLIENTS.contains(&name) => clients(name, value, &join(path, name), &mut client, report),
            _ => unknown(key, OF_CLIENTS.into_iter(), path, report),
        }
    }
    client
}

fn clients(name: &str, value: &Node, path: &str, client: &mut ClientTls, report: &mut Report) {
    let shown = show(value);
    let word = shown.trim_matches('"');
    match name {
        "client_certificate" => {
            client.certificate = match word {
                "none" => ClientCertificate::None,
                "optional" => ClientCertificate::Optional,
                "required" => ClientCertificate::Required,
                _ => {
                    let hint = "write none, optional or required";
                    let message = format!("expected one of three words, found {shown}");
                    return report.fault(&value.span, path, message, hint);
                }
            };
        }
        "client_authorities" => client.authorities = text(value, path, report).unwrap_or_default().to_owned(),
        "client_revoked" => client.revoked = text(value, path, report).unwrap_or_default().to_owned(),
        "early_data" => match early_data(value) {
            Ok(bytes) => client.early_data = bytes,
            Err(why) => report.fault(&value.span, path, why, "write off, or up to \"16KiB\""),
        },
        _ => match word.parse() {
            Ok(depth @ 0..=64) => client.depth = depth,
            _ => report.fault(&value.span, path, format!("not a length of a chain: {shown}"), "write 0 to 64"),
        },
    }
}

fn early_data(doc: &Node) -> Result<u32, String> {
    if is_off(doc) {
        return Ok(0);
    }
    let text = doc.str().ok_or_else(|| format!("not a size: {}", show(doc)))?;
    match u32::try_from(size_bytes(text)?) {
        Ok(bytes @ 1..=TLS_EARLY_BYTES_MAX) => Ok(bytes),
        _ => Err(format!("out of bounds: {text}")),
    }
}

fn pair(doc: &Node, path: &str, report: &mut Report) -> Option<PemPair> {
    let mut pair = PemPair { at: doc.span.clone(), ..PemPair::default() };
    for (key, value) in map(doc, path, report)? {
        let field = join(path, &key.text);
        match key.text.as_str() {
            "cert" => text(value, &field, report)?.clone_into(&mut pair.chain),
            "key" => text(value, &field, report)?.clone_into(&mut pair.key.0),
            "staple" => text(value, &field, report)?.clone_into(&mut pair.staple_file),
            _ => unknown(key, ["cert", "key", "staple"].into_iter(), path, report),
        }
    }
    if pair.chain.is_empty() || pair.key.0.is_empty() {
        report.fault(&doc.span, path, "cert and key are needed", "name two files");
        return None;
    }
    Some(pair)
}

fn file(about: &str) -> Json {
    json!({"type": "string", "description": about})
}

fn of_clients() -> serde_json::Map<String, Json> {
    let all = json!({
        "client_certificate": {
            "enum": ["none", "optional", "required"],
            "default": "none",
            "description": "Must clients show certificates?",
        },
        "client_authorities": file("File of the authorities that vouch for clients, PEM."),
        "client_revoked": file("File of lists of revoked client certificates, PEM."),
        "client_depth": {"type": "integer", "minimum": 0, "maximum": 64, "default": crate::plan::tls::CLIENT_DEPTH},
        "early_data": {
            "type": ["string", "boolean"],
            "default": "off",
            "description": "Bytes that clients may send before the end of a resumed handshake of TLS 1.3 (0-RTT), up to 16KiB.",
        },
    });
    all.as_object().cloned().unwrap_or_default()
}

fn of_listener() -> serde_json::Map<String, Json> {
    let clients = of_clients();
    let all = json!({
        "min_version": {"enum": ["1.2", "1.3"], "default": "1.2", "description": "Oldest version that is spoken."},
        "certificates": {
            "type": "array",
            "description": "Shown where no server name fits: one per kind of key.",
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["cert", "key"],
                "properties": {
                    "cert": file("File of the chain, PEM."),
                    "key": file("File of the key, PEM."),
                    "staple": file("File of the authority's OCSP answer, DER; shown to clients that ask for it."),
                },
            },
        },
        "server_names": {
            "type": "object",
            "description": "Other rules for clients that ask for a name: a.example.com, *.example.com, example.*.",
            "additionalProperties": {"type": "object", "additionalProperties": false, "properties": clients},
        },
    });
    let mut all = all.as_object().cloned().unwrap_or_default();
    all.extend(clients);
    all
}

/// The shape of a listener's section.
pub(super) fn listener_schema() -> Json {
    json!({"type": "object", "additionalProperties": false, "properties": of_listener()})
}

/// The shape of the node's.
pub(super) fn node_schema() -> Json {
    let mut all = of_listener();
    let own = json!({
        "ticket_keys": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Files of secrets that session tickets are sealed by; the first one seals, all of them open.",
        },
        "upstream_authorities": {"type": "string", "description": "File of authorities that vouch for upstreams, PEM."},
        "system_authorities": {"type": "boolean", "default": true, "description": "Ask the system's authorities too?"},
        "forward_client_cert": {
            "enum": FORWARDED.map(|(name, _)| name),
            "default": "sanitize",
            "description": "What becomes of X-Forwarded-Client-Cert.",
        },
        "forward_client_cert_details": {
            "type": "array",
            "items": {"enum": DETAILS},
            "description": "What it tells of a client's certificate beside its digest.",
        },
        "upstream_verify": {"type": "boolean", "default": true, "description": "Verify the certificates of upstreams?"},
    });
    all.extend(own.as_object().cloned().unwrap_or_default());
    json!({"type": "object", "additionalProperties": false, "properties": all})
}
