//! Proofs of who sends a request: pure verification of bytes, without clocks, sockets or configuration.
//!
//! [`jwt`] checks a JSON Web Token against a [`key`] and gives a [`jwt::Verified`] that nothing else can make; [`life`]
//! holds its times to rules; [`token_cache`] remembers which tokens passed, so that a client's second request costs a
//! digest instead of a signature. [`jwks`] reads the keys that an issuer publishes; [`issuer`] is where the control side
//! puts them and shards find them. [`client_cert`] says whether authorities vouch for a client's certificate.

pub mod client_cert;
pub mod issuer;
pub mod jwks;
pub mod jwt;
pub mod key;
pub mod life;
pub mod token_cache;
