//! The plugins: one file and one row each. Everything else knows them as `&'static [Descriptor]`.

mod args;
mod authentication;
mod correlation_id;
mod form;
mod jwt;
mod key_auth;
mod rate_limiting;
mod request_termination;
#[cfg(test)]
mod rig;

use crate::hook::Descriptor;

/// Every plugin, by name.
pub static ALL: &[Descriptor] = &[
    correlation_id::DESCRIPTOR,
    jwt::DESCRIPTOR,
    key_auth::DESCRIPTOR,
    rate_limiting::DESCRIPTOR,
    request_termination::DESCRIPTOR,
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
