//! Certificates: read from PEM, held to their keys, and found by the name a client asks for.
//!
//! A name leads to one certificate per kind of key, and the client's algorithms choose between them. Names are looked for
//! as written, then `*.rest`, then `first.*`, then the default.

pub use super::identity::Identity;
use crate::base::limits::{PAIRS_KEPT_MAX, PEM_CERTIFICATES_MAX};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::SignatureAlgorithm;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

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
        if staple.as_ref().is_some_and(|staple| !is_good_staple(staple)) {
            return Err("the staple is no successful OCSP answer, DER".to_owned());
        }
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

/// Does an OCSP answer begin as one that says something (RFC 6960 §4.2.1: a sequence, status 0 first)? What it says is for
/// clients to believe.
fn is_good_staple(der: &[u8]) -> bool {
    let status = match der {
        [0x30, length, rest @ ..] if length & 0x80 == 0 => rest,
        [0x30, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..).unwrap_or_default(),
        _ => return false,
    };
    status.starts_with(&[0x0a, 1, 0])
}

/// What files held last that was good: where one is broken later, it is shown on. Outlives reloads.
#[derive(Debug, Default)]
pub struct Kept(Mutex<HashMap<String, Pair>>);

impl Kept {
    /// Notes a good pair of these files.
    pub fn put(&self, files: &str, pair: &Pair) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PAIRS_KEPT_MAX && !kept.contains_key(files) {
            kept.clear();
        }
        kept.insert(files.to_owned(), pair.clone());
    }

    /// The last good pair of these files.
    pub fn find(&self, files: &str) -> Option<Pair> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(files).cloned()
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
        name.and_then(|name| self.own(name)).unwrap_or(&self.default)
    }

    /// Are there none but the default?
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Those that were named for it; `None` where it gets the default.
    pub fn own(&self, name: &str) -> Option<&[Pair]> {
        by_name(&self.by_name, name).map(Vec::as_slice)
    }
}

/// What stands under a name: as written, then `*.rest`, then `first.*`. Lower case; a final dot is left out.
pub fn by_name<'t, T>(table: &'t HashMap<String, T>, name: &str) -> Option<&'t T> {
    let name = name.trim_end_matches('.');
    let wild = || table.get(&format!("*.{}", name.split_once('.')?.1));
    let open = || table.get(&format!("{}.*", name.rsplit_once('.')?.0));
    table.get(name).or_else(wild).or_else(open)
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
}
