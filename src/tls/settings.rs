//! What both sides of TLS are set to: versions, suites, who is verified and how.

use super::certs::{Identity, Names, Pair};
use super::sessions::Once;
use super::tickets::{Shared, Tickets};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{aws_lc_rs, CryptoProvider};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use std::sync::{Arc, OnceLock};

/// The suites and groups on offer: what rustls has is AEAD with ephemeral keys, and nothing else.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Do clients show certificates?
#[derive(Clone, Debug, Default)]
pub enum Clients {
    /// They are not asked.
    #[default]
    Unasked,
    /// They are asked, and only have to prove that a certificate is theirs: who vouches for it is looked into later, by
    /// whoever relies on it. With the names (DER) of authorities that clients choose by; none: any.
    Asked(Vec<Vec<u8>>),
    /// What they show is verified.
    Verified(ClientAuth),
}

/// How what clients show is verified.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Who vouches for them.
    pub roots: Arc<RootCertStore>,
    /// Who is vouched for no more.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// May a client do without?
    pub optional: bool,
    /// Most certificates between theirs and a root.
    pub depth: usize,
}

/// What a listener's handshakes are made by.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its certificates.
    pub names: Arc<Names>,
    /// Keys of tickets.
    pub tickets: Arc<Tickets>,
    /// TLS 1.3 alone?
    pub tls13_only: bool,
    /// Protocols on offer, the best first.
    pub alpn: Vec<Vec<u8>>,
    /// Do clients show certificates?
    pub clients: Clients,
    /// Among what sessions are resumed: what was proved in one context is proved in no other.
    pub context: Arc<[u8]>,
    /// Bytes that a client may send before the end of a handshake; 0: none. Not where clients show certificates.
    pub early_data: u32,
}

impl Server {
    /// # Errors
    /// What of it cannot be used.
    pub fn build(&self) -> Result<Arc<ServerConfig>, String> {
        let versions = if self.tls13_only { NEW } else { BOTH };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let builder = match &self.clients {
            Clients::Unasked => builder.with_no_client_auth(),
            Clients::Asked(hints) => {
                let hints = hints.iter().map(|name| DistinguishedName::from(name.clone())).collect();
                builder.with_client_cert_verifier(Arc::new(Anyone { provider: provider(), hints }))
            }
            Clients::Verified(auth) => {
                let mut inner = WebPkiClientVerifier::builder_with_provider(auth.roots.clone(), provider())
                    .with_crls(auth.revoked.iter().cloned());
                if !auth.revoked.is_empty() {
                    // A list of one authority says nothing of the certificates of others.
                    inner = inner.allow_unknown_revocation_status();
                }
                if auth.optional {
                    inner = inner.allow_unauthenticated();
                }
                let inner = inner.build().map_err(|error| error.to_string())?;
                builder.with_client_cert_verifier(Arc::new(ClientsUpTo { inner, depth: auth.depth }))
            }
        };
        let mut config = builder.with_cert_resolver(self.names.clone());
        let (tickets, context) = (self.tickets.clone(), self.context.clone());
        if self.early_data > 0 && matches!(self.clients, Clients::Unasked) {
            // A ticket opens as often as it is shown. Without any, rustls asks for sessions that are good once.
            config.session_storage = Arc::new(Once { tickets, context });
            config.max_early_data_size = self.early_data;
            // Else an answer would wait for the end of the handshake, and nothing were won.
            config.send_half_rtt_data = true;
        } else {
            config.ticketer = Arc::new(Shared { tickets, context });
            // Its memory is one locked table; tickets do the same for both versions.
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        config.send_tls13_tickets = 1;
        config.alpn_protocols = self.alpn.clone();
        // The record layer is our own.
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}

/// What handshakes with an upstream are made by.
#[derive(Clone, Debug)]
pub struct Client {
    /// Who vouches for it; `None`: nobody is asked.
    pub roots: Option<Arc<RootCertStore>>,
    /// Most certificates between its own and a root.
    pub depth: Option<usize>,
    /// What we show where we are asked.
    pub identity: Option<Pair>,
    /// Protocols on offer.
    pub alpn: Vec<Vec<u8>>,
}

impl Client {
    /// A configuration with a memory of sessions of its own: one for each shard, as it is locked.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn build(&self, sessions: usize) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(BOTH)
            .map_err(|error| error.to_string())?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.roots {
            None => Arc::new(Anybody(provider())),
            Some(roots) => {
                let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
                    .build()
                    .map_err(|error| error.to_string())?;
                Arc::new(ServersUpTo { inner, depth: self.depth })
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.key.as_ref().clone())))
            }
        };
        config.resumption = Resumption::in_memory_sessions(sessions);
        config.alpn_protocols = self.alpn.clone();
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}

/// The authorities that this machine trusts; empty where it has none.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The authorities of PEM texts.
///
/// # Errors
/// What is wrong with one of them.
pub fn roots_of<'a>(pems: impl Iterator<Item = &'a str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        for cert in super::certs::certificates(pem)? {
            roots.add(cert).map_err(|_| "not a certificate of an authority".to_owned())?;
        }
    }
    Ok(roots)
}

/// Does a peer's chain have more than so many links? Authorities at its end, which some send along, are none.
fn is_longer(intermediates: &[CertificateDer<'_>], depth: usize) -> bool {
    let is_link = |der: &&CertificateDer<'_>| !Identity::of(der).is_ok_and(|identity| identity.is_own_issuer);
    intermediates.len() > depth && intermediates.iter().filter(is_link).count() > depth
}

fn too_long() -> Error {
    Error::General("the chain of certificates is longer than allowed".into())
}

/// Verifies servers, and bounds their chains.
#[derive(Debug)]
struct ServersUpTo {
    inner: Arc<WebPkiServerVerifier>,
    depth: Option<usize>,
}

impl ServerCertVerifier for ServersUpTo {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.depth.is_some_and(|depth| is_longer(intermediates, depth)) {
            return Err(too_long());
        }
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes every server for what it says it is; that it has the key it shows is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes every client for what it says it is; that it has the key it shows is still checked.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Anyone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies clients, and bounds their chains.
#[derive(Debug)]
struct ClientsUpTo {
    inner: Arc<dyn ClientCertVerifier>,
    depth: usize,
}

impl ClientCertVerifier for ClientsUpTo {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if is_longer(intermediates, self.depth) {
            return Err(too_long());
        }
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Why a handshake with an upstream has failed, for the log.
pub fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is of no authority that is trusted".to_owned()
        }
        other => other.to_string(),
    }
}

/// For tests of the other side.
#[cfg(test)]
pub(super) fn tests_anybody() -> impl ServerCertVerifier {
    Anybody(provider())
}
