//! Settings as an operator writes them → what the node does, and what it says about them.

use super::*;

/// Reads a `kong.conf` and variables, both as `key = value` lines; variables are those that begin with a capital.
fn load(lines: &str) -> (Conf, Report) {
    let (mut file, mut env) = (String::new(), Vec::new());
    for line in lines.lines() {
        match line.split_once('=').filter(|(key, _)| key.starts_with(|c: char| c.is_ascii_uppercase())) {
            Some((key, value)) => {
                env.push((key.trim().to_owned(), value.trim().to_owned()));
                file.push('\n');
            }
            None => {
                file.push_str(line);
                file.push('\n');
            }
        }
    }
    let mut report = Report::default();
    let conf = read(Some(("kong.conf", &file)), &env, &mut report);
    (conf, report)
}

/// The findings, a line each.
fn said(report: &Report) -> String {
    report.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(lines: &str, holds: impl Fn(&Conf) -> bool) {
    let (conf, report) = load(lines);
    assert_eq!(said(&report), "", "{lines}");
    assert!(holds(&conf), "{lines}\n{conf:#?}");
}

#[track_caller]
fn finds(lines: &str, want: &str) {
    assert_eq!(said(&load(lines).1), want, "{lines}");
}

fn node(conf: &Conf) -> &Node {
    &conf.node.node
}

fn runtime(conf: &Conf) -> &Runtime {
    &conf.node.node.runtime
}

#[test]
fn settings_of_a_file_are_honoured() {
    check("", |c| {
        let admin: Vec<_> = c.node.admin.iter().map(|admin| (admin.value.addr.to_string(), admin.value.tls)).collect();
        let want = [("127.0.0.1:8001".to_owned(), false), ("127.0.0.1:8444".to_owned(), true)];
        c.node.listeners[0].value.bind.addr.to_string() == "0.0.0.0:8000" && admin == want
    });
    check("proxy_listen = off\nadmin_listen = off", |c| c.node.listeners.is_empty() && c.node.admin.is_empty());
    check("proxy_listen = *:80 proxy_protocol backlog=9, [::]:80", |c| {
        let binds: Vec<_> = c.node.listeners.iter().map(|l| &l.value.bind).collect();
        binds.len() == 2 && binds[0].proxy_protocol && binds[0].backlog == 9 && binds[0].at == "kong.conf:1:16"
    });
    check("proxy_access_log = off", |c| node(c).access_log.is_none());
    check("proxy_access_log = logs/a.log\nprefix = /opt/k/", |c| {
        node(c).access_log.as_ref().is_some_and(|log| log.path == LogPath::File("/opt/k/logs/a.log".to_owned()))
    });
    check("admin_access_log = /dev/stderr", |c| node(c).admin_log == Some(LogPath::Stderr));
    check("proxy_error_log = /var/log/e\nadmin_error_log = /var/log/e", |c| {
        node(c).error_log == LogPath::File("/var/log/e".to_owned())
    });
    check("log_level = notice", |c| node(c).log_level == Level::Info);
    check("log_level = crit", |c| node(c).log_level == Level::Error);
    check("trusted_ips = 10.0.0.0/8, ::1, unix:", |c| node(c).trusted.len() == 2);
    check("real_ip_header = X-Forwarded-For\nreal_ip_recursive = on", |c| {
        node(c).real_ip_header == "x-forwarded-for" && node(c).real_ip_recursive
    });
    check("allow_debug_header = on", |c| node(c).dress.debug_trigger.as_deref() == Some("kong-debug"));
    check("error_default_type = application/json", |c| node(c).dress.error_type == "application/json");
    check("log_level = info", |c| node(c).dress.head_too_large == 400);
    check("declarative_config = /etc/kong/kong.yml", |c| {
        c.declarative.as_ref().is_some_and(|at| at.value == "/etc/kong/kong.yml")
    });
    check("dns_resolver = 10.0.0.2, [::1]:5353", |c| node(c).dns_servers.len() == 2);
    check("dns_hostsfile = /etc/hosts", |c| c.hosts_file.is_none());
    check("dns_hostsfile = /opt/hosts", |c| c.hosts_file.is_some());
}

#[test]
fn limits_and_times_are_honoured() {
    check("upstream_keepalive_pool_size = 7", |c| runtime(c).upstream_idle_max == 7);
    check("upstream_keepalive_max_requests = 8", |c| runtime(c).upstream_requests_max == 8);
    check("upstream_keepalive_idle_timeout = 1.5", |c| runtime(c).upstream_idle_ms == 1500);
    check("nginx_http_client_max_body_size = 10m", |c| runtime(c).body_bytes_max == 10 << 20);
    check("nginx_proxy_client_max_body_size = 2m\nnginx_http_client_max_body_size = 1m", |c| {
        runtime(c).body_bytes_max == 2 << 20
    });
    check("log_level = info", |c| runtime(c).field_bytes_max == 8 << 10);
    check("nginx_http_large_client_header_buffers = 8 16k", |c| runtime(c).field_bytes_max == 16 << 10);
    check("port_maps = 80:8000, 443:8443", |c| {
        [8000, 8443, 9000].map(|port| node(c).public_port(port)) == [80, 443, 9000]
    });
    check("nginx_proxy_keepalive_requests = 0", |c| runtime(c).keepalive_requests_max == 1);
    check("nginx_proxy_keepalive_timeout = 30s 20s", |c| runtime(c).keepalive_timeout_ms == 30_000);
    check("nginx_proxy_keepalive_timeout = 0", |c| runtime(c).keepalive_requests_max == 1);
    check("nginx_http_client_header_timeout = 5s", |c| runtime(c).header_timeout_ms == 5000);
    check("nginx_http_client_body_timeout = 500ms", |c| runtime(c).body_timeout_ms == 500);
    check("nginx_http_send_timeout = 5", |c| runtime(c).send_timeout_ms == 5000);
    check("nginx_main_worker_shutdown_timeout = 1m", |c| runtime(c).drain_timeout_ms == 60_000);
    check("nginx_worker_processes = 3", |c| runtime(c).shards == Shards::Count(3));
    check("nginx_worker_processes = auto", |c| runtime(c).shards == Shards::Auto);
}

#[test]
fn headers_are_the_tokens_that_are_listed() {
    let worn = |c: &Conf| {
        let d = &node(c).dress;
        let named = [
            (&d.server, 's'),
            (&d.via_reply, 'v'),
            (&d.proxy_latency, 'p'),
            (&d.upstream_latency, 'u'),
            (&d.response_latency, 'r'),
            (&d.upstream_status, 'S'),
            (&d.request_id_client, 'i'),
            (&d.request_id_upstream, 'I'),
        ];
        named.iter().filter(|(name, _)| name.is_some()).map(|(_, letter)| *letter).collect::<String>()
    };
    let rows = [
        ("", "svpuriI"),
        ("headers = off", "I"),
        ("headers = server_tokens", "svI"),
        ("headers = latency_tokens, X-Kong-Upstream-Status", "purSI"),
        ("headers = Server, x-kong-request-id", "siI"),
        ("headers = via,X-Kong-Proxy-Latency,X-Kong-Admin-Latency", "vpI"),
        ("headers_upstream = off", "svpuri"),
    ];
    for (lines, want) in rows {
        check(lines, |c| worn(c) == want);
    }
}

#[test]
fn variables_stand_over_the_file_and_may_be_references() {
    check("log_level = error\nKONG_LOG_LEVEL = debug", |c| node(c).log_level == Level::Debug);
    check("log_level = {vault://env/my-level}\nMY_LEVEL = debug", |c| node(c).log_level == Level::Debug);
    check("KONG_PROXY_LISTEN = 0.0.0.0:9000", |c| c.node.listeners[0].value.bind.at == "KONG_PROXY_LISTEN");
    check("KONG_LOG_LEVEL =", |c| node(c).log_level == Level::Info);
    check("KONG_PROXY_SERVICE_HOST = 10.0.0.1\nKONG_VERSION = 3.4", |_| true);
}

#[test]
fn a_json_log_format_is_taken_over() {
    let format = r#"nginx_http_log_format = mine escape=json '{"code": "$status", "who": "$consumer_username"}'"#;
    check(&format!("{format}\nproxy_access_log = /dev/stdout mine"), |c| {
        let fields = &node(c).access_log.as_ref().unwrap().fields;
        *fields == [("code".to_owned(), LogField::Status), ("who".to_owned(), LogField::Consumer)]
    });
    finds(
        "proxy_access_log = /dev/stdout mine",
        "kong.conf:1:20: warning: no JSON format \"mine\" is defined; the default format is used; define it by \
         nginx_http_log_format, or by access_log.format of a native file",
    );
    finds(
        "nginx_http_log_format = mine '$status'",
        "kong.conf:1:25: warning: nginx_http_log_format: log format ignored: it is not a JSON object; \
         lines are JSON here",
    );
}

#[test]
fn bad_values_are_faults_at_their_place() {
    finds(
        "proxy_listen = 0.0.0.0:8000, 0.0.0.0:80x",
        "kong.conf:1:30: proxy_listen: not an address and port: \"0.0.0.0:80x\"; write an IP address and a port: \
         \"0.0.0.0:8000\", \"[::]:8000\"",
    );
    finds(
        "KONG_PROXY_LISTEN = 8000",
        "KONG_PROXY_LISTEN: not an address and port: \"8000\"; put the address before the port: \"0.0.0.0:8000\"",
    );
    finds(
        "log_level = loud",
        "kong.conf:1:13: log_level: not a log level: \"loud\"; levels: debug, info, notice, warn, error, crit, \
         alert, emerg",
    );
    finds("KONG_REAL_IP_RECURSIVE = maybe", "KONG_REAL_IP_RECURSIVE: not a switch: \"maybe\"; write \"on\" or \"off\"");
    finds(
        "trusted_ips = 10.0.0.0/8, 10.0.0.0/99",
        "kong.conf:1:27: trusted_ips: not an address or CIDR block: \"10.0.0.0/99\"; write \"10.0.0.0/8\" or \"::1\"",
    );
    finds(
        "upstream_keepalive_idle_timeout = soon",
        "kong.conf:1:35: upstream_keepalive_idle_timeout: not seconds: \"soon\"; write a number of seconds, such as \
         60; 0 keeps them for ever",
    );
    let (_, report) = load("log_level = {vault://env/hidden}\ntrusted_ips = {vault://env/hidden}\nHIDDEN = hunter2");
    assert_eq!(report.findings.len(), 2);
    assert!(!said(&report).contains("hunter2"), "{}", said(&report));
}

#[test]
fn settings_without_a_counterpart_are_named_once() {
    // The compose file that images are tried with; nothing of it may stop the gateway.
    finds(
        "KONG_DATABASE = postgres\nKONG_PG_HOST = kong-database\nKONG_PG_USER = kong\nKONG_PG_PASSWORD = kong\n\
         KONG_PROXY_ACCESS_LOG = /dev/stdout\nKONG_ADMIN_ACCESS_LOG = /dev/stdout\n\
         KONG_PROXY_ERROR_LOG = /dev/stderr\nKONG_ADMIN_ERROR_LOG = /dev/stderr\nKONG_ADMIN_LISTEN = 0.0.0.0:8001\n\
         KONG_ROLE = traditional",
        "KONG_DATABASE: warning: settings without a counterpart here, ignored: cluster: KONG_ROLE; \
         database: KONG_DATABASE, KONG_PG_HOST, KONG_PG_PASSWORD, KONG_PG_USER",
    );
    finds(
        "proxy_lisetn = 0.0.0.0:80\nKONG_FOO_BAR = 1",
        "KONG_FOO_BAR: warning: unknown setting \"KONG_FOO_BAR\", ignored\n\
         kong.conf:1:16: warning: unknown setting \"proxy_lisetn\", ignored; did you mean \"proxy_listen\"?",
    );
    finds(
        "KONG_ADMIN_LISEN = off",
        "KONG_ADMIN_LISEN: warning: unknown setting \"KONG_ADMIN_LISEN\", ignored; did you mean \"KONG_ADMIN_LISTEN\"?",
    );
}

#[test]
fn every_setting_of_the_list_is_honoured() {
    for key in HONOURED {
        // `off` is a bad value for most, which is a fault and so no unknown setting.
        let (_, report) = load(&format!("{key} = off"));
        assert!(!said(&report).contains("counterpart"), "{key}: {}", said(&report));
        assert!(!said(&report).contains("unknown setting"), "{key}: {}", said(&report));
    }
}

#[test]
fn tls_sockets_are_opened_on_both_sides() {
    let (conf, mut report) =
        load("proxy_listen = 0.0.0.0:8000, 0.0.0.0:8443 ssl\nadmin_listen = 0.0.0.0:8000, 0.0.0.0:8444 ssl");
    let (node, listeners) = conf.node.finish(&mut report);
    assert_eq!(listeners.iter().map(|listener| listener.bind.tls).collect::<Vec<_>>(), [false, true]);
    assert_eq!(node.admin.iter().map(|admin| admin.tls).collect::<Vec<_>>(), [true]);
    let want =
        "kong.conf:2:16: 0.0.0.0:8000 cannot be opened beside 0.0.0.0:8000, which is listed before it; give each its \
        own port";
    assert_eq!(said(&report), want);
}

#[test]
fn certificates_and_their_keys_stand_side_by_side() {
    let (conf, _) = load("ssl_cert = a.pem, b.pem\nssl_cert_key = a.key, b.key\nssl_protocols = TLSv1.3");
    let tls = conf.node.node.tls.listeners;
    let names: Vec<_> = tls.default.iter().map(|pair| (pair.chain.as_str(), pair.key.0.as_str())).collect();
    assert_eq!(names, [("a.pem", "a.key"), ("b.pem", "b.key")]);
    assert!(tls.tls13_only && !format!("{tls:?}").contains("a.key"));
    let (conf, report) = load("lua_ssl_trusted_certificate = /a.pem, system,/b.pem");
    assert!(report.findings.is_empty() && conf.node.node.tls.system_authorities);
    assert_eq!(conf.node.upstream_authorities, ["/a.pem", "/b.pem"]);
}

#[test]
fn a_hosts_file_is_names_by_address() {
    let got = hosts("# c\n127.0.0.1 localhost A.test # x\n::1 localhost\nnonsense b\n");
    assert_eq!(got.len(), 2);
    assert_eq!(got["localhost"].len(), 2);
    assert_eq!(got["a.test"].len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_reader_down(
        text in "(?s).{0,80}",
        key in proptest::sample::select(HONOURED),
        value in "[-a-z0-9:.,;/*\\[\\]{}\"'$#\\\\= éß]{0,40}",
    ) {
        let file = format!("{text}\n{key} = {value}\n");
        let env = [(format!("KONG_{}", key.to_ascii_uppercase()), value.clone())];
        read(Some(("k.conf", &file)), &[], &mut Report::default());
        read(None, &env, &mut Report::default());
    }
}
