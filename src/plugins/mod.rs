//! The plugins: one file and one row each. Everything else knows them as `&'static [Descriptor]`.

mod acl;
mod args;
mod authentication;
mod basic_auth;
mod bot_detection;
mod correlation_id;
mod cors;
mod expressions;
mod fault_injection;
mod form;
mod grpc;
mod grpc_gateway;
mod grpc_http1_bridge;
mod grpc_web;
mod hmac_auth;
mod ip_restriction;
mod json;
mod jwt;
mod key_auth;
mod mtls_auth;
mod rate_limiting;
mod redirect;
mod redis_fields;
mod request_size_limiting;
mod request_termination;
mod request_transformer;
mod request_validator;
mod response_ratelimiting;
mod response_transformer;
#[cfg(test)]
mod rig;
mod transform;

use crate::hook::Descriptor;

/// Every plugin, by name.
pub static ALL: &[Descriptor] = &[
    acl::DESCRIPTOR,
    basic_auth::DESCRIPTOR,
    bot_detection::DESCRIPTOR,
    correlation_id::DESCRIPTOR,
    cors::DESCRIPTOR,
    fault_injection::DESCRIPTOR,
    grpc_gateway::DESCRIPTOR,
    grpc_http1_bridge::DESCRIPTOR,
    grpc_web::DESCRIPTOR,
    hmac_auth::DESCRIPTOR,
    ip_restriction::DESCRIPTOR,
    jwt::DESCRIPTOR,
    key_auth::DESCRIPTOR,
    mtls_auth::DESCRIPTOR,
    rate_limiting::DESCRIPTOR,
    redirect::DESCRIPTOR,
    request_size_limiting::DESCRIPTOR,
    request_termination::DESCRIPTOR,
    request_transformer::DESCRIPTOR,
    request_validator::DESCRIPTOR,
    response_ratelimiting::DESCRIPTOR,
    response_transformer::DESCRIPTOR,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_sorted_and_their_defaults_are_json() {
        assert!(ALL.is_sorted_by(|a, b| a.name < b.name), "keep the list by name");
        for row in ALL {
            rig::with_defaults(row.fields, &serde_json::Value::Null);
            assert!(!row.about.is_empty() && row.fields.iter().all(|field| !field.about.is_empty()), "{}", row.name);
        }
    }
}
