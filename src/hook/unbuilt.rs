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

/// The rows, by name.
pub static UNBUILT: &[Unbuilt] = &[
    row(
        "acme",
        "certificates are not issued here",
        "let certbot or another ACME client renew the files of a certificate",
    ),
    row("ai-prompt-decorator", AI, PROXY_IT),
    row("ai-prompt-guard", AI, PROXY_IT),
    row("ai-prompt-template", AI, PROXY_IT),
    row("ai-proxy", AI, PROXY_IT),
    row("ai-proxy-advanced", AI, PROXY_IT),
    row("ai-rate-limiting-advanced", AI, "use rate-limiting for requests"),
    row("ai-request-transformer", AI, PROXY_IT),
    row("ai-response-transformer", AI, PROXY_IT),
    row("aws-lambda", FUNCTION, FUNCTION_URL),
    row("azure-functions", FUNCTION, FUNCTION_URL),
    row("canary", SOON, "give the targets of an upstream weights"),
    row("exit-transformer", LUA, NO_LUA),
    row("forward-proxy", SOON, "let the service name the proxy as its host"),
    row("graphql-rate-limiting-advanced", SOON, "use rate-limiting for requests"),
    row("ldap-auth", SOON, "use basic-auth, key-auth or jwt"),
    row("ldap-auth-advanced", SOON, "use basic-auth, key-auth or jwt"),
    row("mocking", "it answers from an API's description", "use request-termination with a body and its content_type"),
    row("oas-validation", "it reads an API's description", "use request-validator with the schemas of its operations"),
    row("oauth2", SOON, "let an authorization server issue tokens, and use jwt with its issuer or jwks_uri"),
    row("opa", "it asks a policy server", "use acl, ip-restriction and request-validator"),
    row("openid-connect", SOON, "use jwt with issuer and audiences, which takes the provider's bearer tokens"),
    row("post-function", LUA, NO_LUA),
    row("pre-function", LUA, NO_LUA),
    row("rate-limiting-advanced", SOON, "use rate-limiting, one instance per period's worth of limits"),
    row("serverless-functions", LUA, NO_LUA),
    row("session", SOON, "use jwt with cookie_names where a token is kept in a cookie"),
    row("standard-webhooks", SOON, "use hmac-auth where senders can sign so"),
    row("websocket-size-limit", SOON, "bound messages in the service"),
    row("websocket-validator", SOON, "check messages in the service"),
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
