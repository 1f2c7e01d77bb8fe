//! Plugins that existing files name and that are not served here. Each is refused with what to do instead: a policy that
//! is passed over in silence lets through what it was written to stop.

/// A plugin that is known and not served.
#[derive(Clone, Copy, Debug)]
pub struct Unbuilt {
    /// Its name in configurations.
    pub name: &'static str,
    /// Why it is not served; goes on from "is not served here: ".
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

impl Unbuilt {
    /// The fault, as one sentence.
    pub fn fault(&self) -> String {
        format!("plugin '{}' is not served here: {}; {}", self.name, self.why, self.instead)
    }
}

/// The row of a name.
pub fn unbuilt(name: &str) -> Option<&'static Unbuilt> {
    UNBUILT.iter().find(|row| row.name == name)
}

const fn row(name: &'static str, why: &'static str, instead: &'static str) -> Unbuilt {
    Unbuilt { name, why, instead }
}

const LUA: &str = "it runs Lua, and there is no Lua here";
const NO_LUA: &str = "use request-transformer and response-transformer to change messages, request-validator to check \
     requests, request-termination or redirect to answer them";
const AI: &str = "it speaks to language models";
const PROXY_IT: &str = "proxy the provider as a service";
const FUNCTION: &str = "it calls a cloud's functions";
const FUNCTION_URL: &str = "give the function a URL and proxy that as a service";
const SOON: &str = "it is not built yet";
const LOG: &str =
    "write the access log (access_log, proxy_access_log), whose lines are JSON, and let a collector send them on";
const METRICS: &str = "let a collector read /metrics of the Admin API";
const TRACE: &str = "the traceparent of clients is passed on; join traces by the request's id in the access log";
const CACHE: &str = "put a cache before the gateway or between it and the service";
const OTHER_AUTH: &str = "use basic-auth, key-auth or jwt";
const TOKENS: &str = "use jwt with issuer and audiences, which takes the provider's bearer tokens";
const REQUESTS: &str = "use request-transformer";
const VALIDATE: &str = "use request-validator";
const KAFKA: &str = "proxy a REST interface of the broker as a service";

/// The rows, by name.
pub static UNBUILT: &[Unbuilt] = &[
    row(
        "acme",
        "certificates are not issued here",
        "let certbot or another ACME client renew the files of a certificate",
    ),
    row("ai-azure-content-safety", AI, PROXY_IT),
    row("ai-prompt-decorator", AI, PROXY_IT),
    row("ai-prompt-guard", AI, PROXY_IT),
    row("ai-prompt-template", AI, PROXY_IT),
    row("ai-proxy", AI, PROXY_IT),
    row("ai-proxy-advanced", AI, PROXY_IT),
    row("ai-rate-limiting-advanced", AI, "use rate-limiting for requests"),
    row("ai-request-transformer", AI, PROXY_IT),
    row("ai-response-transformer", AI, PROXY_IT),
    row("ai-semantic-cache", AI, PROXY_IT),
    row("ai-semantic-prompt-guard", AI, PROXY_IT),
    row("aws-lambda", FUNCTION, FUNCTION_URL),
    row("azure-functions", FUNCTION, FUNCTION_URL),
    row("canary", SOON, "give the targets of an upstream weights"),
    row("confluent", SOON, KAFKA),
    row("datadog", SOON, METRICS),
    row("degraphql", SOON, "proxy the GraphQL service as it is"),
    row("exit-transformer", LUA, NO_LUA),
    row("file-log", SOON, LOG),
    row("forward-proxy", SOON, "let the service name the proxy as its host"),
    row("graphql-proxy-cache-advanced", SOON, CACHE),
    row("graphql-rate-limiting-advanced", SOON, "use rate-limiting for requests"),
    row("header-cert-auth", SOON, "use mtls-auth where clients' certificates come to the gateway itself"),
    row("http-log", SOON, LOG),
    row("injection-protection", SOON, VALIDATE),
    row("jq", SOON, "use request-transformer and response-transformer, which know members of JSON"),
    row("json-threat-protection", SOON, VALIDATE),
    row("jwe-decrypt", SOON, "let the issuer sign tokens, and use jwt"),
    row("jwt-signer", SOON, "use jwt, and let the service take the tokens that it has checked"),
    row("kafka-log", SOON, LOG),
    row("kafka-upstream", SOON, KAFKA),
    row("key-auth-enc", SOON, "use key-auth"),
    row("ldap-auth", SOON, OTHER_AUTH),
    row("ldap-auth-advanced", SOON, OTHER_AUTH),
    row("loggly", SOON, LOG),
    row("mocking", "it answers from an API's description", "use request-termination with a body and its content_type"),
    row("oas-validation", "it reads an API's description", "use request-validator with the schemas of its operations"),
    row("oauth2", SOON, "let an authorization server issue tokens, and use jwt with its issuer or jwks_uri"),
    row("oauth2-introspection", SOON, TOKENS),
    row("opa", "it asks a policy server", "use acl, ip-restriction and request-validator"),
    row("openid-connect", SOON, TOKENS),
    row("opentelemetry", SOON, TRACE),
    row("post-function", LUA, NO_LUA),
    row("pre-function", LUA, NO_LUA),
    row("prometheus", SOON, "leave it out: /metrics of the Admin API is there without it"),
    row("proxy-cache", SOON, CACHE),
    row("proxy-cache-advanced", SOON, CACHE),
    row("rate-limiting-advanced", SOON, "use rate-limiting, one instance per period's worth of limits"),
    row("request-transformer-advanced", SOON, REQUESTS),
    row("response-transformer-advanced", SOON, "use response-transformer"),
    row("route-by-header", SOON, "give routes headers"),
    row("route-transformer-advanced", SOON, "use request-transformer with replace.uri, and one service for each host"),
    row("saml", SOON, TOKENS),
    row("serverless-functions", LUA, NO_LUA),
    row("service-protection", SOON, "use rate-limiting on the service"),
    row("session", SOON, "use jwt with cookie_names where a token is kept in a cookie"),
    row("standard-webhooks", SOON, "use hmac-auth where senders can sign so"),
    row("statsd", SOON, METRICS),
    row("syslog", SOON, LOG),
    row("tcp-log", SOON, LOG),
    row("tls-handshake-modifier", SOON, "use mtls-auth"),
    row("tls-metadata-headers", SOON, "use mtls-auth"),
    row("udp-log", SOON, LOG),
    row("upstream-oauth", SOON, "let the service take its own tokens, or add one by request-transformer"),
    row("upstream-timeout", SOON, "set connect_timeout, write_timeout and read_timeout of the service"),
    row("vault-auth", SOON, OTHER_AUTH),
    row("websocket-size-limit", SOON, "bound messages in the service"),
    row("websocket-validator", SOON, "check messages in the service"),
    row("xml-threat-protection", SOON, "bound bodies by request-size-limiting"),
    row("zipkin", SOON, TRACE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_advice() {
        assert!(UNBUILT.is_sorted_by(|a, b| a.name < b.name), "keep the list by name");
        for row in UNBUILT {
            assert_eq!(unbuilt(row.name).map(|found| found.name), Some(row.name));
            assert!(!row.why.is_empty() && !row.instead.is_empty(), "{}", row.name);
        }
        assert!(unbuilt("foo").is_none());
        let said = unbuilt("pre-function").map(Unbuilt::fault).unwrap_or_default();
        assert!(said.starts_with("plugin 'pre-function' is not served here: it runs Lua"), "{said}");
    }
}
