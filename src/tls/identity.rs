//! What a certificate says of itself, in the words of those who are told.

use aws_lc_rs::digest::{digest, SHA256};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Whom it is for, as RFC 2253 writes names: most particular first, controls and all beyond ASCII as `\XX`.
    pub subject: String,
    /// The common name of its subject.
    pub common_name: String,
    /// Names of hosts, lower-case.
    pub dns: Vec<String>,
    /// URIs it is for.
    pub uris: Vec<String>,
    /// Mail addresses it is for.
    pub emails: Vec<String>,
    /// IP addresses it is for.
    pub ips: Vec<String>,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Seconds of the wall clock from which on it holds.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// May it sign others?
    pub is_authority: bool,
    /// Does it name itself as its issuer?
    pub is_own_issuer: bool,
    /// SHA-256 of it, lower-case hex.
    pub sha256: String,
}

impl Identity {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is none.
    pub fn of(der: &[u8]) -> Result<Identity, String> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|_| "not a certificate".to_owned())?;
        let mut identity = Identity {
            subject: subject(&cert),
            common_name: cert
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            serial: cert.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: cert.validity().not_before.timestamp(),
            not_after: cert.validity().not_after.timestamp(),
            is_authority: cert.is_ca(),
            is_own_issuer: cert.subject().as_raw() == cert.issuer().as_raw(),
            sha256: digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            ..Identity::default()
        };
        if let Ok(Some(names)) = cert.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => identity.dns.push(name.to_ascii_lowercase()),
                    GeneralName::URI(uri) => identity.uris.push((*uri).to_owned()),
                    GeneralName::RFC822Name(mail) => identity.emails.push((*mail).to_owned()),
                    GeneralName::IPAddress(bytes) => identity.ips.extend(ip(bytes)),
                    _ => {}
                }
            }
        }
        Ok(identity)
    }

    /// Is it for this host, lower-case (RFC 9525 §6.3: a wildcard stands for one label, the leftmost)?
    pub fn covers(&self, host: &str) -> bool {
        let rest = host.split_once('.').map(|(_, rest)| rest);
        self.dns.iter().any(|name| name == host || name.strip_prefix("*.").is_some_and(|name| Some(name) == rest))
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).to_string())).ok()
}

/// The subject, its parts joined by commas in reverse (RFC 2253 §2.1), those of one part by `+` (§2.2).
fn subject(cert: &X509Certificate<'_>) -> String {
    let mut parts: Vec<String> = cert
        .subject()
        .iter()
        .map(|part| {
            let mut all: Vec<String> = part.iter().map(attribute).collect();
            all.reverse();
            all.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// One attribute. What is no text is written as `#` and hex (§2.4).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let mut part = format!("{}=", short_name(&oid).unwrap_or(&oid));
    let Ok(value) = attribute.as_str() else {
        part.push('#');
        attribute.attr_value().data.iter().for_each(|byte| push(&mut part, format_args!("{byte:02X}")));
        return part;
    };
    for (at, c) in value.char_indices() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let edge = at == 0 && matches!(c, ' ' | '#') || c == ' ' && at + 1 == value.len();
        if c.is_ascii() && !c.is_ascii_control() {
            if special || edge {
                part.push('\\');
            }
            part.push(c);
        } else {
            // A control character could end the header or the line that this is written into.
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push(&mut part, format_args!("\\{byte:02X}")));
        }
    }
    part
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string cannot fail");
}

fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str], of: &[(rcgen::DnType, &str)]) -> Identity {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        of.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        Identity::of(params.self_signed(&key).expect("signs").der()).expect("reads")
    }

    #[test]
    fn a_subject_is_written_so_that_it_ends_nowhere_else() {
        use rcgen::DnType::{CommonName, CountryName, OrganizationName, OrganizationalUnitName};
        let identity = made(
            &["A.test"],
            &[
                (CountryName, "NL"),
                (OrganizationName, "O, \"Inc\""),
                (OrganizationalUnitName, "#caf\u{e9} "),
                (CommonName, "a;b\n"),
            ],
        );
        assert_eq!(identity.subject, "CN=a\\;b\\0A,OU=\\#caf\\C3\\A9\\ ,O=O\\, \\\"Inc\\\",C=NL");
        assert_eq!((identity.dns, identity.is_authority), (vec!["a.test".to_owned()], false));
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let identity = made(&["a.test", "*.w.test", "10.0.0.1"], &[]);
        assert_eq!(identity.ips, ["10.0.0.1"]);
        for (host, want) in
            [("a.test", true), ("x.w.test", true), ("w.test", false), ("x.y.w.test", false), ("b", false)]
        {
            assert_eq!(identity.covers(host), want, "{host}");
        }
    }
}
