//! Certificates: read from PEM, held to their keys, and found by the name a client asks for.
//!
//! A name leads to one certificate per kind of key, and the client's algorithms choose between them. Names are looked for
//! as written, then `*.rest`, then `first.*`, then the default.

use crate::base::limits::PEM_CERTIFICATES_MAX;
use aws_lc_rs::digest::{digest, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::SignatureAlgorithm;
use std::collections::HashMap;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Whom it is for, as RFC 4514 writes names: most particular first.
    pub subject: String,
    /// The common name of its subject.
    pub common_name: String,
    /// Names of hosts, lower-case.
    pub dns: Vec<String>,
    /// URIs it is for.
    pub uris: Vec<String>,
    /// Mail addresses it is for.
    pub emails: Vec<String>,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Seconds of the wall clock from which on it holds.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// May it sign others?
    pub is_authority: bool,
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
            sha256: digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            ..Identity::default()
        };
        if let Ok(Some(names)) = cert.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => identity.dns.push(name.to_ascii_lowercase()),
                    GeneralName::URI(uri) => identity.uris.push((*uri).to_owned()),
                    GeneralName::RFC822Name(mail) => identity.emails.push((*mail).to_owned()),
                    _ => {}
                }
            }
        }
        Ok(identity)
    }
}

/// The subject, its parts joined by commas in reverse (RFC 4514 §2.1), special characters escaped (§2.4).
fn subject(cert: &X509Certificate<'_>) -> String {
    let mut parts = Vec::new();
    for attribute in cert.subject().iter().flat_map(|part| part.iter()) {
        let oid = attribute.attr_type().to_id_string();
        let name = match oid.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.9" => "STREET",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "0.9.2342.19200300.100.1.1" => "UID",
            "0.9.2342.19200300.100.1.25" => "DC",
            "1.2.840.113549.1.9.1" => "emailAddress",
            other => other,
        };
        let value = attribute.as_str().unwrap_or_default();
        let mut part = format!("{name}=");
        for (at, c) in value.char_indices() {
            let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
            let edge = at == 0 && matches!(c, ' ' | '#') || c == ' ' && at + 1 == value.len();
            if special || edge {
                part.push('\\');
            }
            // A control character could end the header or the line this is written into.
            part.push(if c.is_control() { '?' } else { c });
        }
        parts.push(part);
    }
    parts.reverse();
    parts.join(",")
}

/// The certificates of a PEM text, DER; at least one.
///
/// # Errors
/// What is wrong with the text.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut all = Vec::new();
    for one in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        all.push(one.map_err(|_| "the PEM text of a certificate cannot be read".to_owned())?);
        if all.len() > PEM_CERTIFICATES_MAX {
            return Err(format!("more than {PEM_CERTIFICATES_MAX} certificates"));
        }
    }
    match all.is_empty() {
        true => Err("no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned()),
        false => Ok(all),
    }
}

/// Lists of revoked certificates in a PEM text.
///
/// # Errors
/// What is wrong with the text.
pub fn revocations(pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("no revocation list in it (-----BEGIN X509 CRL-----)".to_owned()),
        Err(_) => Err("the PEM text of a revocation list cannot be read".to_owned()),
    }
}

/// A chain and its key, ready for use.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// Of the first certificate.
    pub identity: Identity,
}

impl Pair {
    /// Reads a chain and its key, and holds the one to the other.
    ///
    /// # Errors
    /// What is wrong, without a byte of the key.
    pub fn read(chain: &str, key: &str, staple: Option<Vec<u8>>) -> Result<Pair, String> {
        let chain = certificates(chain)?;
        let identity = Identity::of(&chain[0])?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| "no private key in it that can be read (PKCS#8, PKCS#1 or SEC1, unencrypted)".to_owned())?;
        let provider = super::settings::provider();
        let mut pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "certificate does not match key".to_owned(),
            _ => {
                "a kind of key that is not served (RSA from 2048 bits, ECDSA P-256, P-384 or P-521, Ed25519)".to_owned()
            }
        })?;
        pair.ocsp = staple;
        Ok(Pair { key: Arc::new(pair), identity })
    }

    /// A certificate that nobody vouches for, of a fresh ECDSA P-256 key: for listeners that were given none.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn self_signed(common_name: &str) -> Result<Pair, String> {
        let made = || -> Result<(String, String), rcgen::Error> {
            let key = rcgen::KeyPair::generate()?;
            let mut params = rcgen::CertificateParams::new(vec![common_name.to_owned()])?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
            params.not_after = rcgen::date_time_ymd(2046, 1, 1);
            Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
        };
        let (chain, key) = made().map_err(|error| error.to_string())?;
        Pair::read(&chain, &key, None)
    }

    /// The kind of its key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }
}

/// Certificates by name.
#[derive(Debug, Default)]
pub struct Names {
    /// As written: `a.test`, `*.test`, `a.*`, `*`.
    by_name: HashMap<String, Vec<Pair>>,
    /// Where no name fits.
    default: Vec<Pair>,
}

impl Names {
    /// Adds the pairs of a certificate under its names, lower-case; `*` is the default.
    pub fn add(&mut self, names: &[String], pairs: &[Pair]) {
        for name in names {
            match name.as_str() {
                "*" => self.default = pairs.to_vec(),
                name => drop(self.by_name.insert(name.trim_end_matches('.').to_owned(), pairs.to_vec())),
            }
        }
    }

    /// Is there one for clients that name nothing known?
    pub fn has_default(&self) -> bool {
        !self.default.is_empty()
    }

    /// The same names with another default.
    pub fn with_default(&self, default: Vec<Pair>) -> Names {
        Names { by_name: self.by_name.clone(), default }
    }

    /// Sets the default.
    pub fn set_default(&mut self, pairs: Vec<Pair>) {
        self.default = pairs;
    }

    /// The certificates for a name, lower-case.
    pub fn find(&self, name: Option<&str>) -> &[Pair] {
        let Some(name) = name else { return &self.default };
        let name = name.trim_end_matches('.');
        let wild = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        let open = || self.by_name.get(&format!("{}.*", name.rsplit_once('.')?.0));
        self.by_name.get(name).or_else(wild).or_else(open).map_or(&self.default, |pairs| pairs)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let pairs = self.find(name.as_deref());
        // ECDSA first: it costs a tenth of RSA here.
        let fits = |pair: &&Pair| pair.key.key.choose_scheme(schemes).is_some();
        let ecdsa = pairs.iter().filter(|pair| pair.algorithm() == SignatureAlgorithm::ECDSA).find(fits);
        ecdsa.or_else(|| pairs.iter().find(fits)).map(|pair| pair.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_from_the_particular_to_the_general() {
        let pair = |name: &str| Pair::self_signed(name).expect("makes one");
        let mut names = Names::default();
        for name in ["a.test", "*.test", "b.*", "*"] {
            names.add(&[name.to_owned()], &[pair(name)]);
        }
        let rows = [
            (Some("a.test"), "a.test"),
            (Some("a.test."), "a.test"),
            (Some("x.test"), "*.test"),
            (Some("x.y.test"), "*"),
            (Some("b.example"), "b.*"),
            (Some("b.test"), "*.test"),
            (Some("other"), "*"),
            (None, "*"),
        ];
        for (name, want) in rows {
            assert_eq!(names.find(name)[0].identity.common_name, want, "{name:?}");
        }
        assert!(Names::default().find(Some("a")).is_empty());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let make = || {
            let key = rcgen::KeyPair::generate().expect("a key");
            let cert = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("a name").self_signed(&key);
            (cert.expect("signs").pem(), key.serialize_pem())
        };
        let ((cert, key), (_, other)) = (make(), make());
        assert!(Pair::read(&cert, &key, None).is_ok());
        let why = |pair: Result<Pair, String>| pair.expect_err("refused");
        assert_eq!(why(Pair::read(&cert, &other, None)), "certificate does not match key");
        assert!(why(Pair::read(&cert, "nonsense", None)).starts_with("no private key"));
        assert!(why(Pair::read("", &key, None)).starts_with("no certificate"));
    }

    #[test]
    fn a_subject_is_written_so_that_it_ends_nowhere_else() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["A.test".to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "O, \"Inc\"");
        params.distinguished_name.push(rcgen::DnType::CommonName, "a;b\n");
        let cert = params.self_signed(&key).expect("signs");
        let identity = Identity::of(cert.der()).expect("reads");
        assert_eq!(identity.subject, "CN=a\\;b?,O=O\\, \\\"Inc\\\"");
        assert_eq!((identity.dns, identity.is_authority), (vec!["a.test".to_owned()], false));
    }
}
