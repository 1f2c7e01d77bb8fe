//! Clients' certificates: are they vouched for, by whom it is asked?

use crate::base::time::WallMs;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::RootCertStore;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who vouches for clients.
#[derive(Debug)]
pub struct Trust {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Authorities that are themselves vouched for: links of chains that clients may leave out.
    links: Vec<CertificateDer<'static>>,
    names: Vec<Vec<u8>>,
}

/// What becomes of certificates that no list of revoked ones speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Nobody is asked about any.
    Skip,
    /// They are good.
    Lenient,
    /// They are not.
    Strict,
}

impl Trust {
    /// Of authorities and lists of revoked certificates, PEM. `partial`: is an authority that is itself vouched for enough?
    /// `None` where nobody vouches for anybody.
    ///
    /// # Errors
    /// What of it cannot be read.
    pub fn of<'a>(
        authorities: impl Iterator<Item = &'a str>,
        revoked: &str,
        revocation: Revocation,
        partial: bool,
    ) -> Result<Option<Trust>, String> {
        let (mut roots, mut links) = (RootCertStore::empty(), Vec::new());
        for pem in authorities {
            for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let cert = cert.map_err(|_| "the PEM text of an authority cannot be read".to_owned())?;
                let (_, read) = X509Certificate::from_der(&cert).map_err(|_| "not a certificate".to_owned())?;
                if partial || read.subject().as_raw() == read.issuer().as_raw() {
                    roots.add(cert).map_err(|_| "not a certificate of an authority".to_owned())?;
                } else {
                    links.push(cert);
                }
            }
        }
        if roots.is_empty() {
            return Ok(None);
        }
        let names = roots.subjects().iter().map(|name| name.as_ref().to_vec()).collect();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if revocation != Revocation::Skip {
            let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(revoked.as_bytes()).collect();
            let lists = lists.map_err(|_| "the PEM text of a revocation list cannot be read".to_owned())?;
            let has_lists = !lists.is_empty();
            verifier = verifier.with_crls(lists);
            if has_lists && revocation == Revocation::Lenient {
                verifier = verifier.allow_unknown_revocation_status();
            }
        }
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        Ok(Some(Trust { verifier, links, names }))
    }

    /// One authority alone, PEM, whether it is a root or not; certificates between are those known here. Revoked ones are
    /// not looked for. `None` where the text has no authority.
    ///
    /// # Errors
    /// As [`Trust::of`].
    pub fn alone(&self, authority: &str) -> Result<Option<Trust>, String> {
        let alone = Trust::of(std::iter::once(authority), "", Revocation::Skip, true)?;
        Ok(alone.map(|alone| Trust { links: self.links.clone(), ..alone }))
    }

    /// Names of the authorities, DER: what clients may choose a certificate by.
    pub fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// Is the first of these certificates, DER, vouched for at `now`, for a client? The others may stand between it and an
    /// authority. Some signatures are checked: 0.1 ms and more.
    pub fn verify(&self, chain: &[Vec<u8>], now: WallMs) -> bool {
        let Some((own, rest)) = chain.split_first() else { return false };
        let between: Vec<CertificateDer<'_>> =
            rest.iter().map(|der| CertificateDer::from(der.as_slice())).chain(self.links.iter().cloned()).collect();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        self.verifier.verify_client_cert(&CertificateDer::from(own.as_slice()), &between, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn key() -> KeyPair {
        KeyPair::generate().expect("a key")
    }

    const NOW: WallMs = WallMs(1_800_000_000_000);

    #[test]
    fn who_is_vouched_for_is_good_and_nobody_else() {
        let root = CertifiedIssuer::self_signed(authority("root"), key()).expect("signs");
        let link = CertifiedIssuer::signed_by(authority("link"), key(), &root).expect("signs");
        let leaf = CertificateParams::new(vec!["c.test".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key(), &link).expect("signs").der().to_vec();
        let (root_pem, link_pem) = (root.pem(), link.pem());
        let trust = |pems: &[&str], partial| {
            let trust = Trust::of(pems.iter().copied(), "", Revocation::Lenient, partial).expect("can be read");
            move |chain: &[Vec<u8>], now| trust.as_ref().is_some_and(|trust| trust.verify(chain, now))
        };
        let own = std::slice::from_ref(&leaf);
        let whole = [leaf.clone(), link.der().to_vec()];
        let rows = [
            ("root, whole chain", trust(&[&root_pem], false), &whole[..], NOW, true),
            ("root, a link is missing", trust(&[&root_pem], false), own, NOW, false),
            ("root and link", trust(&[&root_pem, &link_pem], false), own, NOW, true),
            ("link alone", trust(&[&link_pem], false), own, NOW, false),
            ("link alone, which is enough", trust(&[&link_pem], true), own, NOW, true),
            ("too late", trust(&[&root_pem], false), &whole[..], WallMs(u64::MAX / 4), false),
            ("no certificate", trust(&[&root_pem], false), &[], NOW, false),
        ];
        for (what, good, chain, now, want) in rows {
            assert_eq!(good(chain, now), want, "{what}");
        }
        assert!(Trust::of(["-----BEGIN CERTIFICATE-----\n!"].into_iter(), "", Revocation::Skip, false).is_err());
    }
}
