//! Proofs of who sends a request: pure verification of bytes, without clocks, sockets or configuration.
//!
//! [`jwt`] checks a JSON Web Token against a key and gives a [`jwt::Verified`] that nothing else can make;
//! [`token_cache`] remembers which tokens passed, so that a client's second request costs a digest instead of a signature.

pub mod jwt;
pub mod token_cache;
