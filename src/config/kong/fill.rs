//! What follows for one field from another: shorthands, secrets that nobody wrote; and how an entity is shown.
//!
//! [`fill`] runs before an entity is built, on the values it is built from; [`show`] on the copy that is shown.

use super::{text, Reader};
use crate::plan::ids::Table;
use crate::plan::schema::{alias_of, Field};
use crate::plan::Algorithm;
use serde_json::{Map, Value as Json};

/// Fields that are written and never shown: they stand for others.
pub(super) fn shorthands(table: Table) -> &'static [&'static str] {
    match table {
        Table::Services => &["url"],
        _ => &[],
    }
}

/// Completes the values of an entity.
pub(super) fn fill(table: Table, values: &mut Map<String, Json>, reader: &mut Reader<'_>) {
    let secrets: &[&str] = match table {
        Table::Services => return url(values),
        Table::Keys => &["key"],
        Table::Jwts => &["key", "secret"],
        Table::Hmacs => &["secret"],
        _ => return,
    };
    for field in secrets {
        if values.get(*field).is_some_and(Json::is_null) {
            values.insert((*field).to_owned(), reader.random_secret().into());
        }
    }
}

/// The parts of a URL stand over the fields of the same names.
fn url(values: &mut Map<String, Json>) {
    let Some(url) = values.get("url").and_then(Json::as_str).and_then(text::to_url) else { return };
    values.insert("protocol".to_owned(), url.protocol.into());
    values.insert("host".to_owned(), url.host.into());
    values.insert("port".to_owned(), url.port.into());
    values.insert("path".to_owned(), url.path.into());
}

/// Puts references to vaults in the place of what they stand for. `written` has the values as they were written.
pub(super) fn restore(shown: &mut Map<String, Json>, written: Map<String, Json>) {
    for (field, value) in written {
        if holds_reference(&value) {
            shown.insert(field, value);
        }
    }
}

fn holds_reference(value: &Json) -> bool {
    match value {
        Json::String(text) => text.starts_with("{vault://"),
        Json::Array(values) => values.iter().any(holds_reference),
        Json::Object(map) => map.values().any(holds_reference),
        _ => false,
    }
}

/// Turns the fields of an entity into those that are shown.
pub(super) fn show(table: Table, fields: &mut Map<String, Json>) {
    for shorthand in shorthands(table) {
        fields.shift_remove(*shorthand);
    }
    if table.is_of_consumer() {
        fields.shift_remove("updated_at");
    }
    let text = |field: &str| fields.get(field).and_then(Json::as_str);
    match table {
        // Files that are taken elsewhere know the field only where it is used.
        Table::Plugins if fields["ordering"].is_null() => {
            fields.shift_remove("ordering");
        }
        Table::Routes if fields["strip_path"].is_null() => {
            let grpc = |word: &Json| word == "grpc" || word == "grpcs";
            let grpc = fields["protocols"].as_array().is_some_and(|words| words.iter().any(grpc));
            fields.insert("strip_path".to_owned(), (!grpc).into());
        }
        Table::Upstreams => {
            let algorithm = super::entities::algorithm(text("algorithm"), text("hash_on"));
            let hashes = algorithm == Algorithm::ConsistentHashing;
            let hash_on = text("hash_on").filter(|_| hashes).unwrap_or("none").to_owned();
            fields.insert("algorithm".to_owned(), word(algorithm).into());
            fields.insert("hash_on".to_owned(), hash_on.into());
        }
        Table::Targets => {
            if let Some(place) = text("target").and_then(text::host_port) {
                let port = place.port.unwrap_or(super::entities::TARGET_PORT);
                let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host };
                fields.insert("target".to_owned(), format!("{host}:{port}").into());
            }
        }
        Table::Authorities => {
            if let Some(digest) = text("cert").and_then(digest_of) {
                fields.insert("cert_digest".to_owned(), digest.into());
            }
        }
        _ => {}
    }
}

/// Older names of a plugin's settings, `redis_host` and its like, stand beside the record that has taken their place:
/// each shows what the other says, whichever of them was written.
pub(super) fn echo_aliases(fields: &[Field], config: &mut Json) {
    for field in fields {
        let Some((record, inner)) = alias_of(fields, field.name) else { continue };
        if config[field.name].is_null() {
            config[field.name] = config[record][inner].clone();
        } else if config[record].is_object() {
            config[record][inner] = config[field.name].clone();
        }
    }
}

fn word(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "round-robin",
        Algorithm::LeastConnections => "least-connections",
        Algorithm::ConsistentHashing => "consistent-hashing",
        Algorithm::Latency => "latency",
    }
}

/// SHA-256 of the first certificate of a PEM text, hex.
fn digest_of(pem: &str) -> Option<String> {
    use base64::Engine;
    let body = pem.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END")?.0;
    let body: String = body.split_ascii_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use crate::config::{read, Reading, Sources};
    use crate::plan::record::Record;
    use serde_json::{json, Value as Json};

    /// The records of a text, read in the place of what `file` holds.
    fn records(file: &str, text: &str) -> Vec<Record> {
        let files = [("ringway.yaml".to_owned(), file.to_owned())];
        let env = [("SECRET".to_owned(), "s3cr3t".to_owned())];
        let sources = Sources { files: &files, conf: None, env: &env, read: &|_| Err("no file".to_owned()) };
        let text = format!("_format_version: '3.0'\n{text}");
        let Reading { plan, report, written } = read(&sources, Some(&text), &[], &mut |bytes| bytes.fill(1));
        let plan = plan.unwrap_or_else(|| panic!("{:?}", report.findings));
        assert_eq!(plan.listeners[0].bind.addr.port(), 81, "the settings are those of the file");
        assert_eq!(written.digest, Some(crate::config::sha256(&text)));
        written.records.iter().collect()
    }

    #[track_caller]
    fn check(text: &str, want: Json) {
        let file = "{listeners: ['127.0.0.1:81'], services: [{name: of-the-file, host: h}]}";
        let all = records(file, text);
        let [one] = all.as_slice() else { panic!("{text}: {all:?}") };
        for (field, value) in want.as_object().unwrap() {
            assert_eq!(one.fields.get(field).unwrap_or(&json!("left out")), value, "{field} of {text}");
        }
    }

    #[test]
    fn entities_are_shown_whole_and_as_they_were_written() {
        check(
            "services: [{name: s, url: 'https://a.test/x'}]",
            json!({"protocol": "https", "host": "a.test", "port": 443, "path": "/x", "url": "left out", "tags": null}),
        );
        check("routes: [{paths: [/a]}]", json!({"strip_path": true, "name": null, "service": null}));
        check("routes: [{paths: [/a], protocols: [grpc]}]", json!({"strip_path": false}));
        check("upstreams: [{name: u}]", json!({"algorithm": "round-robin", "hash_on": "none"}));
        check(
            "upstreams: [{name: u, hash_on: ip}]",
            json!({"algorithm": "consistent-hashing", "hash_on": "ip", "hash_fallback": "none"}),
        );
        check(
            "upstreams: [{name: u, algorithm: latency, hash_on: none}]",
            json!({"algorithm": "latency", "hash_on": "none"}),
        );
        check(
            "consumers: [{username: c, tags: [a, a]}]",
            json!({"tags": ["a"], "custom_id": null, "created_at": null}),
        );
    }

    #[test]
    fn secrets_stay_references_and_missing_ones_are_made_once() {
        let all = records(
            "listeners: ['127.0.0.1:81']",
            "consumers:\n- username: c\n  keyauth_credentials: [{key: '{vault://env/secret}'}]\n  \
             jwt_secrets: [{key: '{vault://env/secret}'}]\nupstreams: [{name: u, targets: [{target: '[::1]:1'}, {target: a}]}]",
        );
        let of = |noun: &'static str| all.iter().filter(move |record| record.table.name() == noun);
        assert!(of("keyauth_credentials").all(|key| key.fields["key"] == "{vault://env/secret}"));
        let jwt = of("jwt_secrets").next().unwrap();
        assert_eq!(jwt.fields["secret"].as_str().map(str::len), Some(32), "it was made up, beside a reference");
        assert_eq!(jwt.fields.get("updated_at"), None);
        let targets: Vec<&Json> = of("targets").map(|target| &target.fields["target"]).collect();
        assert_eq!(targets, ["[::1]:1", "a:8000"]);
        assert!(!format!("{all:?}").contains("vault"), "a record shows no value in a log");
    }
}
