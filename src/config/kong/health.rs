//! Health checks of an upstream: seconds and lists of statuses, into what is asked of targets and what answers mean.

use super::Entity;
use crate::plan::balancing::{Active, Checks, Criteria, Probe, Statuses};
use serde_json::Value as Json;

/// Reads the record; it has its defaults.
pub(super) fn checks(entity: &Entity<'_>) -> Checks {
    let record = &entity.values["healthchecks"];
    let (of_active, of_passive) = (&record["active"], &record["passive"]);
    let mut passive = criteria(of_passive);
    if of_passive["type"] == "tcp" {
        // Connections are all that counts; what is said over them is not looked at.
        (passive.successes, passive.http_failures) = (0, 0);
    }
    Checks { active: active(of_active), passive, threshold: record["threshold"].as_f64().unwrap_or_default() }
}

fn active(record: &Json) -> Option<Active> {
    let (healthy, unhealthy) = (&record["healthy"], &record["unhealthy"]);
    let (healthy_interval_ms, unhealthy_interval_ms) = (ms(&healthy["interval"]), ms(&unhealthy["interval"]));
    if healthy_interval_ms == 0 && unhealthy_interval_ms == 0 {
        return None;
    }
    let probe = match record["type"].as_str() {
        Some("tcp") => Probe::Tcp,
        Some("https") => Probe::Https,
        Some("grpc") => Probe::Grpc,
        Some("grpcs") => Probe::Grpcs,
        _ => Probe::Http,
    };
    let texts = |values: &Json| {
        let values = values.as_array().into_iter().flatten();
        values.filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let headers = record["headers"].as_object().into_iter().flatten();
    Some(Active {
        probe,
        timeout_ms: ms(&record["timeout"]).max(1),
        concurrency: record["concurrency"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX).max(1),
        path: record["http_path"].as_str().unwrap_or("/").to_owned(),
        headers: headers.map(|(name, values)| (name.clone(), texts(values))).collect(),
        sni: record["https_sni"].as_str().map(str::to_owned),
        verify: record["https_verify_certificate"].as_bool().unwrap_or(true),
        healthy_interval_ms,
        unhealthy_interval_ms,
        criteria: criteria(record),
    })
}

fn criteria(record: &Json) -> Criteria {
    let (healthy, unhealthy) = (&record["healthy"], &record["unhealthy"]);
    let count = |value: &Json| value.as_u64().and_then(|n| u8::try_from(n).ok()).unwrap_or_default();
    let statuses = |value: &Json| -> Statuses {
        let values = value.as_array().into_iter().flatten();
        values.filter_map(|status| status.as_u64().and_then(|n| u16::try_from(n).ok())).collect()
    };
    Criteria {
        successes: count(&healthy["successes"]),
        tcp_failures: count(&unhealthy["tcp_failures"]),
        timeouts: count(&unhealthy["timeouts"]),
        http_failures: count(&unhealthy["http_failures"]),
        good: statuses(&healthy["http_statuses"]),
        bad: statuses(&unhealthy["http_statuses"]),
    }
}

/// Seconds with a fraction, as whole ms. What is not 0 is 1 ms at least.
fn ms(value: &Json) -> u64 {
    (value.as_f64().unwrap_or_default() * 1000.0).ceil() as u64
}
