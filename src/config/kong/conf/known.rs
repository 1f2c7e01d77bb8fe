//! Settings of a node that have no counterpart here, by what they are about. What stands in neither this table nor in
//! `mod.rs` is probably misspelt.

/// What an ignored key is about; `None`: it is not a key of a node at all.
pub(crate) fn subject(key: &str) -> Option<&'static str> {
    let exact = EXACT.iter().find(|(_, keys)| keys.contains(&key)).map(|(subject, _)| *subject);
    exact.or_else(|| FAMILIES.iter().find(|(_, family)| key.starts_with(family)).map(|(subject, _)| *subject))
}

/// Every exact name, for the hint at a misspelt one.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    EXACT.iter().flat_map(|(_, keys)| keys.iter().copied())
}

/// Families whose members are too many, or too free, to list.
const FAMILIES: &[(&str, &str)] = &[
    ("database", "pg_"),
    ("database", "cassandra_"),
    ("database", "db_"),
    ("cluster", "cluster_"),
    ("admin interface", "admin_gui_"),
    ("portal", "portal_"),
    ("mail", "smtp_"),
    ("audit", "audit_log"),
    ("analytics", "vitals"),
    ("analytics", "analytics_"),
    ("keyring", "keyring_"),
    ("vaults", "vault_"),
    ("vaults", "keyring_vault_"),
    ("plugin servers", "pluginserver_"),
    ("wasm", "wasm"),
    ("wasm", "proxy_wasm"),
    ("tracing", "tracing_"),
    ("tracing", "opentelemetry_"),
    ("Lua", "lua_"),
    ("Lua", "untrusted_lua"),
    ("TLS", "ssl_"),
    ("TLS", "client_ssl"),
    ("TLS", "admin_ssl_"),
    ("TLS", "status_ssl_"),
    ("TLS", "debug_ssl_"),
    ("DNS", "dns_"),
    ("DNS", "resolver_"),
    ("DNS", "new_dns_client"),
    ("stream proxy", "proxy_stream_"),
    ("stream proxy", "stream_"),
    ("status listener", "status_"),
    ("debug listener", "debug_"),
    ("error pages", "error_template_"),
    ("nginx", "nginx_main_"),
    ("nginx", "nginx_events_"),
    ("nginx", "nginx_http_"),
    ("nginx", "nginx_stream_"),
    ("nginx", "nginx_proxy_"),
    ("nginx", "nginx_sproxy_"),
    ("nginx", "nginx_admin_"),
    ("nginx", "nginx_status_"),
    ("nginx", "nginx_debug_"),
    ("nginx", "nginx_upstream_"),
    ("nginx", "nginx_supstream_"),
    ("nginx", "nginx_admin_gui_"),
    ("nginx", "nginx_lua_"),
    ("nginx", "nginx_wasm_"),
];

const EXACT: &[(&str, &[&str])] = &[
    ("database", &["database", "lmdb_environment_path", "lmdb_map_size", "mem_cache_size"]),
    ("cluster", &["role", "konnect_mode", "kic", "node_id", "host_ports"]),
    ("plugins", &["plugins", "pluginserver_names", "allow_inconsistent_data_plane_plugins"]),
    ("vaults", &["vaults"]),
    ("router", &["router_flavor", "worker_consistency", "worker_state_update_frequency", "route_validation_strategy"]),
    ("router", &["enforce_route_path_pattern"]),
    ("nginx", &["nginx_user", "nginx_daemon", "nginx_optimizations", "openresty_path", "client_body_buffer_size"]),
    ("nginx", &["nginx_conf", "client_ssl"]),
    ("reports", &["anonymous_reports", "proxy_server", "proxy_server_ssl_verify"]),
    ("declarative configuration", &["declarative_config_encryption_mode"]),
    ("access control", &["enforce_rbac", "rbac_auth_header", "admin_api_uri", "admin_invitation_expiry"]),
    ("admin interface", &["admin_approved_email", "admin_emails_from", "admin_emails_reply_to"]),
    ("portal", &["portal", "proxy_url"]),
    ("tracing", &["tracing", "generate_trace_details", "request_debug", "request_debug_token"]),
    ("events", &["event_hooks_enabled", "legacy_worker_events", "legacy_hybrid_protocol", "max_queued_events"]),
    ("TLS", &["ssl_cert", "ssl_cert_key", "fips"]),
    ("other", &["feature_conf_path", "phase_duration_flamegraph", "log_levels", "concurrency_limit"]),
    ("other", &["dedicated_config_processing", "ai_mcp_listener_enabled", "vault_env_prefix"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_node_are_told_from_misspelt_ones() {
        let rows = [
            ("pg_host", Some("database")),
            ("database", Some("database")),
            ("role", Some("cluster")),
            ("lua_ssl_trusted_certificate", Some("Lua")),
            ("admin_gui_listen", Some("admin interface")),
            ("nginx_http_lua_regex_match_limit", Some("nginx")),
            ("anonymous_reports", Some("reports")),
            ("proxy_listn", None),
            ("admin_lisen", None),
            ("foo", None),
        ];
        for (key, want) in rows {
            assert_eq!(subject(key), want, "{key}");
        }
    }
}
