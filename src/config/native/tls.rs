//! TLS: `tls:` of the node, and of one listener. What names a file is read when all settings are (`config/pem.rs`).

use super::read::{list, map, show, switch, text, unknown};
use crate::config::check::join;
use crate::config::doc::Node;
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::tls::{ClientCertificate, Hidden, PemPair, TlsOptions};
use serde_json::{json, Value as Json};

/// Settings of a listener.
const OF_LISTENER: [&str; 6] =
    ["min_version", "certificates", "client_certificate", "client_authorities", "client_revoked", "client_depth"];

/// Those of the node alone.
const OF_NODE: [&str; 4] = ["ticket_keys", "upstream_authorities", "system_authorities", "upstream_verify"];

/// The section of the node.
pub(super) fn node(doc: &Node, path: &str, draft: &mut NodeDraft, report: &mut Report) {
    draft.tls_at = doc.span.clone();
    for (key, value) in map(doc, path, report).unwrap_or_default().iter().filter(|(_, value)| !value.is_null()) {
        let field = join(path, &key.text);
        let tls = &mut draft.node.tls;
        match key.text.as_str() {
            "ticket_keys" => {
                let texts = list(value).iter().filter_map(|one| text(one, &field, report));
                tls.ticket_secrets = texts.map(|path| Hidden(path.to_owned())).collect();
            }
            "upstream_authorities" => {
                tls.upstream_authorities = text(value, &field, report).unwrap_or_default().to_owned();
            }
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
            name if OF_LISTENER.contains(&name) => option(name, value, &field, &mut tls.listeners, report),
            _ => unknown(key, OF_LISTENER.into_iter().chain(OF_NODE), path, report),
        }
    }
}

/// `tls:` of a listener where it is a map.
pub(super) fn listener(doc: &Node, path: &str, report: &mut Report) -> TlsOptions {
    let mut options = TlsOptions::default();
    for (key, value) in map(doc, path, report).unwrap_or_default().iter().filter(|(_, value)| !value.is_null()) {
        match key.text.as_str() {
            name if OF_LISTENER.contains(&name) => option(name, value, &join(path, name), &mut options, report),
            _ => unknown(key, OF_LISTENER.into_iter(), path, report),
        }
    }
    options
}

fn option(name: &str, value: &Node, path: &str, options: &mut TlsOptions, report: &mut Report) {
    let shown = show(value);
    let word = shown.trim_matches('"');
    match name {
        "min_version" => match word {
            "1.2" => options.tls13_only = false,
            "1.3" => options.tls13_only = true,
            _ => report.fault(&value.span, path, format!("not a version: {shown}"), "write \"1.2\" or \"1.3\""),
        },
        "certificates" => {
            options.default = list(value).iter().filter_map(|one| pair(one, path, report)).collect();
        }
        "client_certificate" => {
            options.client_certificate = match word {
                "none" => ClientCertificate::None,
                "optional" => ClientCertificate::Optional,
                "required" => ClientCertificate::Required,
                _ => {
                    let hint = "write none, optional or required";
                    return report.fault(
                        &value.span,
                        path,
                        format!("expected one of three words, found {shown}"),
                        hint,
                    );
                }
            };
        }
        "client_authorities" => {
            options.client_authorities = text(value, path, report).unwrap_or_default().to_owned();
        }
        "client_revoked" => options.client_revoked = text(value, path, report).unwrap_or_default().to_owned(),
        _ => match word.parse() {
            Ok(depth @ 0..=64) => options.client_depth = depth,
            _ => report.fault(&value.span, path, format!("not a length of a chain: {shown}"), "write 0 to 64"),
        },
    }
}

fn pair(doc: &Node, path: &str, report: &mut Report) -> Option<PemPair> {
    let mut pair = PemPair { chain: String::new(), key: Hidden(String::new()) };
    for (key, value) in map(doc, path, report)? {
        let field = join(path, &key.text);
        match key.text.as_str() {
            "cert" => text(value, &field, report)?.clone_into(&mut pair.chain),
            "key" => text(value, &field, report)?.clone_into(&mut pair.key.0),
            _ => unknown(key, ["cert", "key"].into_iter(), path, report),
        }
    }
    if pair.chain.is_empty() || pair.key.0.is_empty() {
        report.fault(&doc.span, path, "cert and key are needed", "name two files");
        return None;
    }
    Some(pair)
}

fn of_listener() -> serde_json::Map<String, Json> {
    let file = |about: &str| json!({"type": "string", "description": about});
    let all = json!({
        "min_version": {"enum": ["1.2", "1.3"], "default": "1.2", "description": "Oldest version that is spoken."},
        "certificates": {
            "type": "array",
            "description": "Shown where no server name fits: one per kind of key.",
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["cert", "key"],
                "properties": {"cert": file("File of the chain, PEM."), "key": file("File of the key, PEM.")},
            },
        },
        "client_certificate": {
            "enum": ["none", "optional", "required"],
            "default": "none",
            "description": "Must clients show certificates?",
        },
        "client_authorities": file("File of the authorities that vouch for clients, PEM."),
        "client_revoked": file("File of lists of revoked client certificates, PEM."),
        "client_depth": {"type": "integer", "minimum": 0, "maximum": 64, "default": crate::plan::tls::CLIENT_DEPTH},
    });
    all.as_object().cloned().unwrap_or_default()
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
        "upstream_verify": {"type": "boolean", "default": true, "description": "Verify the certificates of upstreams?"},
    });
    all.extend(own.as_object().cloned().unwrap_or_default());
    json!({"type": "object", "additionalProperties": false, "properties": all})
}
