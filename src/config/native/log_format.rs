//! The words of an access log: `$status` → [`LogField::Status`].

use crate::base::nearest::nearest;
use crate::plan::LogField;

/// Every variable, with what it holds; the names of the default format come first.
pub const VARIABLES: &[(&str, LogField, &str)] = &[
    ("timestamp_ms", LogField::TimestampMs, "wall clock at the end of the request, ms since the epoch"),
    ("request_id", LogField::RequestId, "id of the request, also sent to upstream and client"),
    ("remote_addr", LogField::RemoteAddr, "address of the client, after trust"),
    ("request_method", LogField::Method, "method as sent"),
    ("request_uri", LogField::Uri, "request-target as sent, query included"),
    ("status", LogField::Status, "status sent to the client"),
    ("latency_request", LogField::LatencyMs, "from the first byte of the request to the last of the answer, ms"),
    ("latency_response", LogField::UpstreamLatencyMs, "from sending to the upstream to its head, ms; -1 where none"),
    ("bytes_sent", LogField::BytesSent, "bytes sent to the client, head included"),
    ("consumer_username", LogField::Consumer, "username of the consumer"),
    ("time_iso8601", LogField::TimeIso8601, "wall clock at the end of the request, ISO 8601"),
    ("remote_port", LogField::RemotePort, "port of the client"),
    ("host", LogField::Host, "Host as sent"),
    ("scheme", LogField::Scheme, "http or https"),
    ("server_protocol", LogField::Protocol, "HTTP/1.1"),
    ("upstream_status", LogField::UpstreamStatus, "status of the upstream; 0 where none answered"),
    ("latency_proxy", LogField::ProxyLatencyMs, "in the gateway before the upstream, ms"),
    ("request_length", LogField::BytesReceived, "bytes read from the client, head included"),
    ("route_name", LogField::Route, "name of the route, or its id"),
    ("service_name", LogField::Service, "name of the service, or its id"),
    ("upstream_addr", LogField::Upstream, "address of the target that answered"),
    ("upstream_tries", LogField::Tries, "attempts made"),
    ("http_user_agent", LogField::UserAgent, "User-Agent as sent"),
    ("http_referer", LogField::Referer, "Referer as sent"),
    ("shard", LogField::Shard, "number of the shard that served"),
    ("ssl_protocol", LogField::TlsVersion, "TLSv1.3 or TLSv1.2; empty in the clear"),
    ("ssl_cipher", LogField::TlsSuite, "cipher suite"),
    ("ssl_server_name", LogField::TlsServerName, "server name that the client asked for"),
    ("ssl_session_reused", LogField::TlsResumed, "r where the session went on from an earlier one, . where not"),
    (
        "ssl_client_verify",
        LogField::ClientVerify,
        "client certificate: SUCCESS, NONE, or UNVERIFIED where a plugin looks who vouches for it",
    ),
    ("ssl_client_s_dn", LogField::ClientSubject, "subject of the client certificate, RFC 2253"),
    ("ssl_client_san", LogField::ClientNames, "its alternative names, commas between them"),
    ("ssl_client_serial", LogField::ClientSerial, "its serial number, hex"),
    ("ssl_client_sha256", LogField::ClientSha256, "SHA-256 of it, hex"),
    ("refusal", LogField::Refusal, "why the gateway answered itself: a short word, empty where it did not"),
];

/// The format of a log for which none is given: output key → variable.
const DEFAULT: &[(&str, &str)] = &[
    ("timestamp", "timestamp_ms"),
    ("request_id", "request_id"),
    ("remote_addr", "remote_addr"),
    ("method", "request_method"),
    ("path", "request_uri"),
    ("status", "status"),
    ("latency", "latency_request"),
    ("upstream_latency", "latency_response"),
    ("bytes_sent", "bytes_sent"),
    ("consumer", "consumer_username"),
];

/// The fields of a log for which no format is given.
pub fn default_fields() -> Vec<(String, LogField)> {
    DEFAULT.iter().filter_map(|(key, name)| Some(((*key).to_owned(), variable(&format!("${name}")).ok()?))).collect()
}

/// Reads `$name`.
///
/// # Errors
/// A sentence, and a hint that may be empty.
pub fn variable(text: &str) -> Result<LogField, (String, String)> {
    let Some(name) = text.strip_prefix('$') else {
        let hint = nearest(text, names()).map_or_else(|| "write \"$status\"".to_owned(), |n| format!("write \"${n}\""));
        return Err((format!("not a variable: \"{text}\""), hint));
    };
    if let Some((_, field, _)) = VARIABLES.iter().find(|(known, ..)| *known == name) {
        return Ok(*field);
    }
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean \"${near}\"?"),
        None => format!("there are: ${}", names().collect::<Vec<_>>().join(", $")),
    };
    Err((format!("unknown variable \"{text}\""), hint))
}

fn names() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_field_has_a_variable() {
        assert_eq!(default_fields().len(), DEFAULT.len());
        assert_eq!(default_fields()[0], ("timestamp".to_owned(), LogField::TimestampMs));
    }

    #[test]
    fn variables_are_found_by_name_and_nearly_by_name() {
        assert_eq!(variable("$status"), Ok(LogField::Status));
        assert_eq!(variable("status").unwrap_err().1, "write \"$status\"");
        assert_eq!(variable("$staus").unwrap_err().1, "did you mean \"$status\"?");
        assert!(variable("$x").unwrap_err().1.starts_with("there are: $timestamp_ms"));
    }
}
