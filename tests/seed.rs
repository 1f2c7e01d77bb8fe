//! The configurations of plugins that this gateway was promised to read, as they were written down.

use ringway::config::{self, Sources};
use serde_json::{json, Value};

const SEED: &str = include_str!("config/seed/plugin-configs.json");

/// What stands in the file and is no configuration of a plugin that is served: lists of advice, entities of plugins that
/// come later, and those plugins.
const LATER: &[&str] = &[
    "caching_config",
    "oauth2_config",
    "oauth_application",
    "prometheus_config",
    "metrics_to_watch",
    "jaeger_config",
    "logging_config",
    "security_best_practices",
    "performance_best_practices",
];

/// What a load says of a file with one service, one consumer and this.
fn said(more: &Value) -> Vec<String> {
    let mut file = json!({"_format_version": "3.0",
        "services": [{"name": "s", "url": "http://127.0.0.1:1", "routes": [{"name": "r", "paths": ["/"]}]}]});
    let all = more.as_object().expect("entities by kind").clone();
    file.as_object_mut().expect("a record").extend(all);
    let files = [("seed.json".to_owned(), file.to_string())];
    let sources = Sources { files: &files, conf: None, env: &[], read: &|path| Err(format!("no {path} here")) };
    let (plan, report) = config::load(&sources, ringway::plugins::ALL, &mut |bytes| bytes.fill(7));
    let faults: Vec<String> = report.sorted().iter().map(ToString::to_string).collect();
    assert_eq!(plan.is_some(), report.is_clean());
    faults
}

#[test]
fn every_configuration_is_accepted_as_written() {
    let seed: Value = serde_json::from_str(SEED).expect("the file is JSON");
    let mut accepted = Vec::new();
    for (key, value) in seed.as_object().expect("a record") {
        if LATER.contains(&key.as_str()) {
            continue;
        }
        let more = match key.as_str() {
            "consumer_with_key" => json!({"consumers": [value]}),
            _ => json!({"plugins": [value]}),
        };
        assert_eq!(said(&more), Vec::<String>::new(), "{key}");
        accepted.push(key.as_str());
    }
    let want = [
        "rate_limiting_config",
        "jwt_auth_config",
        "request_transform_config",
        "jwt_validation_config",
        "api_key_config",
        "consumer_with_key",
        "rate_limit_redis",
    ];
    assert_eq!(accepted, want);
}

#[test]
fn a_consumers_key_written_as_a_plugin_is_its_credential() {
    let seed: Value = serde_json::from_str(SEED).expect("the file is JSON");
    let both = json!({"consumers": [seed["consumer_with_key"]],
        "keyauth_credentials": [{"consumer": "api-consumer", "key": "my-secret-api-key-12345"}]});
    let said = said(&both);
    assert!(said.iter().any(|line| line.contains("uniqueness violation") && !line.contains("12345")), "{said:?}");
}
