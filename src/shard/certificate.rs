//! The certificate of a client: what is known of it on its connection, and what upstreams are told of it in
//! `X-Forwarded-Client-Cert`, in the words that Envoy writes.
//!
//! Upstreams believe that field. So what a client sends in it ends here unless the node is told otherwise, and nothing is
//! told of a certificate that nobody has verified.

use super::greeting::Greeting;
use crate::base::bytes::put;
use crate::hook::ClientCertificate;
use crate::http::{HeadRef, Known};
use crate::plan::tls::{ForwardedCert, ForwardedDetails};
use crate::tls::certs::Identity;
use crate::tls::engine::Facts;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;

/// The certificate of a client whose handshake agreed on `facts`; `None` where it has shown none.
pub(super) fn of(facts: &Facts, greeting: &Greeting, details: ForwardedDetails) -> Option<ClientCertificate> {
    let identity = Identity::of(facts.peer.first()?).ok()?;
    let name = facts.server_name.as_deref();
    let ours = greeting.shown(name).map_or(&[][..], |pair| &pair.identity.uris);
    let element = element(&identity, &facts.peer, ours, details);
    let Identity { subject, common_name, dns, uris, emails, ips, serial, sha256, not_after, .. } = identity;
    Some(ClientCertificate {
        subject,
        common_name,
        dns,
        uris,
        emails,
        ips,
        serial,
        sha256,
        not_after,
        chain: facts.peer.clone(),
        is_verified: greeting.manner(name).verifies,
        element,
        verdicts: Default::default(),
    })
}

/// What the field says of a certificate: `By` our own URIs, `Hash`, and what is asked for, in this order.
fn element(identity: &Identity, chain: &[Vec<u8>], ours: &[String], details: ForwardedDetails) -> String {
    let mut parts: Vec<String> = ours.iter().map(|uri| format!("By={}", plain(uri))).collect();
    parts.push(format!("Hash={}", identity.sha256));
    if details.cert {
        parts.push(format!("Cert=\"{}\"", pem(&chain[..chain.len().min(1)])));
    }
    if details.chain {
        parts.push(format!("Chain=\"{}\"", pem(chain)));
    }
    if details.subject {
        parts.push(format!("Subject=\"{}\"", identity.subject));
    }
    for (wanted, key, values) in [(details.uri, "URI", &identity.uris), (details.dns, "DNS", &identity.dns)] {
        if wanted && values.is_empty() && key == "URI" {
            parts.push("URI=".to_owned());
        }
        parts.extend(values.iter().filter(|_| wanted).map(|value| format!("{key}={}", plain(value))));
    }
    parts.join(";")
}

/// A name of a certificate as the field can hold it. `;`, `,` and `=` part elements, a control ends the line, and all of
/// them may stand in a name: there they are escaped, so that no certificate writes an element of its own.
fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b';' | b',' | b'=' | b'"' | b'\\' | b' ' | 0..=0x1f | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            byte => out.push(byte.into()),
        }
    }
    out
}

/// Certificates as PEM, escaped: line ends, spaces, `+`, `/`, `=`.
fn pem(chain: &[Vec<u8>]) -> String {
    let mut out = String::new();
    for der in chain {
        out.push_str("-----BEGIN%20CERTIFICATE-----%0A");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            for byte in line {
                match byte {
                    b'+' => out.push_str("%2B"),
                    b'/' => out.push_str("%2F"),
                    b'=' => out.push_str("%3D"),
                    byte => out.push((*byte).into()),
                }
            }
            out.push_str("%0A");
        }
        out.push_str("-----END%20CERTIFICATE-----%0A");
    }
    out
}

/// Is the client's own field passed on as it is?
pub(super) fn passes(forwarded: ForwardedCert, certified: bool) -> bool {
    match forwarded {
        ForwardedCert::AlwaysForwardOnly => true,
        ForwardedCert::ForwardOnly => certified,
        ForwardedCert::Sanitize | ForwardedCert::AppendForward | ForwardedCert::SanitizeSet => false,
    }
}

/// Writes the field for a client whose certificate was verified.
pub(super) fn field(forwarded: ForwardedCert, head: HeadRef<'_>, client: &ClientCertificate, out: &mut Vec<u8>) {
    match forwarded {
        ForwardedCert::Sanitize | ForwardedCert::ForwardOnly | ForwardedCert::AlwaysForwardOnly => {}
        ForwardedCert::SanitizeSet => put(out, [b"X-Forwarded-Client-Cert: ", client.element.as_bytes(), b"\r\n"]),
        ForwardedCert::AppendForward => {
            put(out, [b"X-Forwarded-Client-Cert: "]);
            for value in head.all(Known::XForwardedClientCert).filter(|value| !value.is_empty()) {
                put(out, [value, b","]);
            }
            put(out, [client.element.as_bytes(), b"\r\n"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            subject: "CN=c\\,d,O=O".into(),
            sha256: "ab".into(),
            uris: vec!["spiffe://t/c".into()],
            dns: vec!["a.test".into(), "b;By=x".into()],
            ..Identity::default()
        }
    }

    #[test]
    fn an_element_tells_what_is_asked_for_in_order() {
        let all = ForwardedDetails { cert: true, chain: true, subject: true, uri: true, dns: true };
        let chain = [vec![0xfb, 0xff], vec![1]];
        let first = "-----BEGIN%20CERTIFICATE-----%0A%2B%2F8%3D%0A-----END%20CERTIFICATE-----%0A";
        let second = "-----BEGIN%20CERTIFICATE-----%0AAQ%3D%3D%0A-----END%20CERTIFICATE-----%0A";
        let said = element(&identity(), &chain, &["spiffe://t/us".into()], all);
        let want = format!(
            "By=spiffe://t/us;Hash=ab;Cert=\"{first}\";Chain=\"{first}{second}\";Subject=\"CN=c\\,d,O=O\";URI=spiffe://t/c;\
             DNS=a.test;DNS=b%3BBy%3Dx"
        );
        assert_eq!(said, want);
        assert_eq!(element(&identity(), &chain, &[], ForwardedDetails::default()), "Hash=ab");
        let none = Identity { sha256: "ab".into(), ..Identity::default() };
        let said = element(&none, &chain, &[], ForwardedDetails { uri: true, dns: true, subject: true, ..all });
        assert!(said.ends_with(";Subject=\"\";URI="), "{said}");
    }
}
