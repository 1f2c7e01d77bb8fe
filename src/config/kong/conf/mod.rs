//! What a Kong node takes from `kong.conf` and `KONG_*` variables: listeners, logs, trust, headers, limits.
//!
//! In: the text of the file, where there is one, and the environment. Out: [`Conf`], and findings at `file:line:column`
//! or at the variable's name. A setting that means nothing here is named once, in one warning for all of them; one that
//! no node knows is named with what was probably meant. Values are shown only where they are no secret.
//!
//! Not here: entities (`kong.yml`), finding and opening files (`config::load`).

mod known;
mod syntax;
mod value;

use crate::base::nearest::nearest;
use crate::base::span::{At, Span};
use crate::config::native::{self, listen, log_format};
use crate::plan::node::NodeDraft;
use crate::plan::report::Report;
use crate::plan::tls::PemPair;
use crate::plan::{AccessLog, Bind, Dress, Level, Listener, LogField, LogPath, Node, Runtime, Shards};
use std::collections::BTreeMap;
use std::net::IpAddr;
use syntax::{Setting, Settings};

/// Where a node looks for its settings when nobody names a file; the first that exists is read.
pub const CONF_PATHS: [&str; 2] = ["/etc/kong/kong.conf", "/etc/kong.conf"];

/// Where images keep a declarative configuration that no setting names.
pub const DECLARATIVE_PATH: &str = "/usr/local/kong/declarative/kong.yml";

/// The version whose behaviour this dialect follows, as its clients see it.
pub const VERSION: &str = "3.9.3";

/// Largest value of one header field: a line must fit one of nginx's buffers (`large_client_header_buffers`), 8 KiB each.
/// The name is not counted, so that what just fits elsewhere fits here.
const FIELD_BYTES_MAX: u64 = 8 * 1024;

/// Working directory of a node: relative paths of logs start there.
const PREFIX: &str = "/usr/local/kong";

/// What the settings of a node say.
#[derive(Clone, Debug)]
pub struct Conf {
    /// Sockets and settings.
    pub node: NodeDraft,
    /// Path of the declarative configuration.
    pub declarative: Option<At<String>>,
    /// The declarative configuration itself.
    pub declarative_text: Option<At<String>>,
    /// A hosts file other than the system's.
    pub hosts_file: Option<At<String>>,
    /// Is it said that there is no database? Such a node may start with nothing, and be given its configuration later.
    pub may_be_empty: bool,
}

/// Reads the settings: `file` is a name and a text; `env` every variable of the process, of which `KONG_*` stand over
/// the file's and the others are what `{vault://env/…}` refers to.
pub fn read(file: Option<(&str, &str)>, env: &[(String, String)], report: &mut Report) -> Conf {
    let mut settings = Settings::new();
    if let Some((name, text)) = file {
        syntax::file(name, text, &mut settings, report);
    }
    syntax::environment(env, &mut settings);
    syntax::resolve(&mut settings, env, report);
    let mut reader = Reader::new(&settings, report);
    // In the order of their names, so that of two names for one thing the more particular wins whoever wrote it first:
    // nginx_http_client_max_body_size < nginx_proxy_client_max_body_size.
    for (key, setting) in &settings {
        reader.read(key, setting);
    }
    reader.finish()
}

/// A node for which nothing is set.
///
/// Its log goes to the standard streams, as that of Kong's images does, and not to files below a prefix that an
/// operator of this program does not have.
pub fn defaults() -> NodeDraft {
    let mut draft = native::defaults();
    let mut secure = draft.listeners[0].value.bind.clone();
    secure.tls = true;
    secure.addr.set_port(SECURE_PORT);
    draft.listeners.push(At::new(listener(secure), Span::nowhere()));
    let mut secure = draft.admin[0].value.clone();
    secure.tls = true;
    secure.addr.set_port(SECURE_ADMIN_PORT);
    draft.admin.push(At::new(secure, Span::nowhere()));
    draft.node.admin_log = Some(LogPath::Stdout);
    draft.node.dress = dress();
    draft.node.runtime.field_bytes_max = FIELD_BYTES_MAX;
    draft
}

/// Where clients speak TLS, where nothing is said.
const SECURE_PORT: u16 = 8443;

/// Where operators do.
const SECURE_ADMIN_PORT: u16 = 8444;

/// A listener of clients; its name holds from one load to the next as long as its address does.
fn listener(bind: Bind) -> Listener {
    Listener { name: format!("proxy {}", bind.addr), bind }
}

/// The headers that a node's clients and upstreams know.
fn dress() -> Dress {
    let some = |text: &str| Some(text.to_owned());
    let token = format!("kong/{VERSION}");
    Dress {
        server: Some(token.clone()),
        via_request: Some(token.clone()),
        via_reply: Some(token),
        request_id_upstream: some("X-Kong-Request-Id"),
        request_id_client: some("X-Kong-Request-Id"),
        upstream_latency: some("X-Kong-Upstream-Latency"),
        proxy_latency: some("X-Kong-Proxy-Latency"),
        response_latency: some("X-Kong-Response-Latency"),
        upstream_status: None,
        debug_trigger: None,
        debug_names: ["Kong-Route-Id", "Kong-Route-Name", "Kong-Service-Id", "Kong-Service-Name"].map(str::to_owned),
        error_type: "text/plain".to_owned(),
        head_too_large: 400,
        tagline: "Welcome to kong".to_owned(),
        version: VERSION.to_owned(),
        admin_latency: some("X-Kong-Admin-Latency"),
    }
}

/// Every setting that is honoured, for the hint at a misspelt one. A test holds it to [`Reader::honour`].
const HONOURED: &[&str] = &[
    "admin_access_log",
    "admin_error_log",
    "admin_listen",
    "admin_ssl_cert",
    "admin_ssl_cert_key",
    "allow_debug_header",
    "client_max_body_size",
    "database",
    "declarative_config",
    "declarative_config_string",
    "dns_hostsfile",
    "dns_resolver",
    "error_default_type",
    "headers",
    "headers_upstream",
    "log_level",
    "lua_ssl_trusted_certificate",
    "nginx_http_client_body_timeout",
    "nginx_http_client_header_timeout",
    "nginx_http_client_max_body_size",
    "nginx_http_keepalive_requests",
    "nginx_http_keepalive_timeout",
    "nginx_http_large_client_header_buffers",
    "nginx_http_log_format",
    "nginx_http_real_ip_header",
    "nginx_http_real_ip_recursive",
    "nginx_http_send_timeout",
    "nginx_main_worker_processes",
    "nginx_main_worker_shutdown_timeout",
    "nginx_proxy_client_body_timeout",
    "nginx_proxy_client_header_timeout",
    "nginx_proxy_client_max_body_size",
    "nginx_proxy_keepalive_requests",
    "nginx_proxy_keepalive_timeout",
    "nginx_proxy_large_client_header_buffers",
    "nginx_proxy_real_ip_header",
    "nginx_proxy_real_ip_recursive",
    "nginx_proxy_send_timeout",
    "nginx_upstream_keepalive",
    "nginx_upstream_keepalive_requests",
    "nginx_upstream_keepalive_timeout",
    "nginx_worker_processes",
    "port_maps",
    "prefix",
    "proxy_access_log",
    "proxy_error_log",
    "proxy_listen",
    "real_ip_header",
    "real_ip_recursive",
    "ssl_cert",
    "ssl_cert_key",
    "ssl_protocols",
    "trusted_ips",
    "upstream_keepalive_idle_timeout",
    "upstream_keepalive_max_requests",
    "upstream_keepalive_pool_size",
];

struct Reader<'a> {
    conf: Conf,
    report: &'a mut Report,
    /// Where relative paths of logs start.
    prefix: String,
    /// The access log's format, by name: `proxy_access_log = /dev/stdout my_format`.
    format: Option<(String, Vec<(String, LogField)>)>,
    /// The format that the access log asks for.
    format_wanted: Option<At<String>>,
    /// Ignored settings: subject → names as shown.
    ignored: BTreeMap<&'static str, Vec<String>>,
    /// Where the first of them stands.
    ignored_at: Option<Span>,
    /// Where errors of the Admin API go, which here is where all errors go.
    admin_error_log: Option<(LogPath, Span, String)>,
    proxy_error_log: Option<LogPath>,
}

impl<'a> Reader<'a> {
    fn new(settings: &Settings, report: &'a mut Report) -> Reader<'a> {
        let prefix = settings.get("prefix").map_or(PREFIX, |setting| setting.value.as_str());
        let conf =
            Conf { node: defaults(), declarative: None, declarative_text: None, hosts_file: None, may_be_empty: false };
        Reader {
            conf,
            report,
            prefix: prefix.trim_end_matches('/').to_owned(),
            format: None,
            format_wanted: None,
            ignored: BTreeMap::new(),
            ignored_at: None,
            admin_error_log: None,
            proxy_error_log: None,
        }
    }

    fn read(&mut self, key: &str, setting: &Setting) {
        // An empty value and the word NONE mean that nothing is set.
        if setting.value.is_empty() || setting.value == "NONE" {
            if !HONOURED.contains(&key) && known::subject(key).is_none() {
                self.unknown(key, setting);
            }
            return;
        }
        if self.honour(key, setting) {
            return;
        }
        match known::subject(key) {
            Some(subject) => {
                self.ignored.entry(subject).or_default().push(setting.shown.clone());
                self.ignored_at.get_or_insert_with(|| setting.span.clone());
            }
            None => self.unknown(key, setting),
        }
    }

    fn unknown(&mut self, key: &str, setting: &Setting) {
        let hint = nearest(key, HONOURED.iter().copied().chain(known::names())).map(|near| {
            let upper = format!("{}{}", syntax::PREFIX, near.to_ascii_uppercase());
            format!("did you mean \"{}\"?", if setting.span.line == 0 { upper.as_str() } else { near })
        });
        let message = format!("unknown setting \"{}\", ignored", setting.shown);
        self.report.warning(&setting.span, "", message, hint.unwrap_or_default());
    }

    /// Takes a setting that has a counterpart here; false for all others. One arm per setting: wide, not deep.
    fn honour(&mut self, key: &str, s: &Setting) -> bool {
        match key {
            "prefix" => {}
            "database" => {
                // Nothing stands behind it here: entities come from files, and from the Admin API into memory.
                if s.value != "off" {
                    return false;
                }
                self.conf.may_be_empty = true;
            }
            "declarative_config" => self.conf.declarative = Some(syntax::at(s)),
            "declarative_config_string" => self.conf.declarative_text = Some(syntax::at(s)),
            "dns_hostsfile" => {
                if s.value != "/etc/hosts" {
                    self.conf.hosts_file = Some(syntax::at(s));
                }
            }
            "dns_resolver" => self.dns_resolver(s),
            "proxy_listen" => {
                if let Some(binds) = self.listen(s) {
                    let named = binds.into_iter().map(|At { value, span }| At::new(listener(value), span));
                    self.conf.node.listeners = named.collect();
                }
            }
            "admin_listen" => {
                if let Some(binds) = self.listen(s) {
                    self.conf.node.admin = binds;
                }
            }
            "proxy_access_log" => {
                let (path, format) = self.log_path(s);
                self.format_wanted = format.map(|name| At::new(name, s.span.clone()));
                let fields = log_format::default_fields();
                self.node().access_log = (path != LogPath::Off).then_some(AccessLog { path, fields });
            }
            "admin_access_log" => {
                let (path, _) = self.log_path(s);
                self.node().admin_log = (path != LogPath::Off).then_some(path);
            }
            "proxy_error_log" => self.proxy_error_log = Some(self.log_path(s).0),
            "admin_error_log" => self.admin_error_log = Some((self.log_path(s).0, s.span.clone(), s.shown.clone())),
            "nginx_http_log_format" => self.log_format(s),
            "log_level" => self.log_level(s),
            "ssl_cert" | "ssl_cert_key" | "admin_ssl_cert" | "admin_ssl_cert_key" => self.certificates(key, s),
            "ssl_protocols" => {
                let new_only = !s.value.split_whitespace().any(|version| version != "TLSv1.3");
                self.node().tls.listeners.tls13_only = new_only;
            }
            "lua_ssl_trusted_certificate" => self.authorities(s),
            "trusted_ips" => self.trusted_ips(s),
            "real_ip_header" | "nginx_proxy_real_ip_header" | "nginx_http_real_ip_header" => self.real_ip_header(s),
            "real_ip_recursive" | "nginx_proxy_real_ip_recursive" | "nginx_http_real_ip_recursive" => {
                if let Some(on) = self.switch(s) {
                    self.node().real_ip_recursive = on;
                }
            }
            "headers" => self.headers(s),
            "headers_upstream" => self.headers_upstream(s),
            "allow_debug_header" => {
                if let Some(on) = self.switch(s) {
                    self.node().dress.debug_trigger = on.then(|| "kong-debug".to_owned());
                }
            }
            "error_default_type" => self.error_default_type(s),
            "upstream_keepalive_pool_size" | "nginx_upstream_keepalive" => {
                if let Some(n) = self.count(s) {
                    self.runtime().upstream_idle_max = u32::try_from(n).unwrap_or(u32::MAX);
                }
            }
            "upstream_keepalive_max_requests" | "nginx_upstream_keepalive_requests" => {
                if let Some(n) = self.count(s) {
                    self.runtime().upstream_requests_max = n;
                }
            }
            "upstream_keepalive_idle_timeout" => match value::seconds_ms(&s.value) {
                Some(ms) => self.runtime().upstream_idle_ms = ms,
                None => self.bad(s, "not seconds", "write a number of seconds, such as 60; 0 keeps them for ever"),
            },
            "nginx_upstream_keepalive_timeout" => self.time(s, |runtime, ms| runtime.upstream_idle_ms = ms),
            "client_max_body_size" | "nginx_http_client_max_body_size" | "nginx_proxy_client_max_body_size" => {
                match value::size_bytes(&s.value) {
                    Some(bytes) => self.runtime().body_bytes_max = bytes,
                    None => self.bad(s, "not a size", "write bytes, or 8k, 10m, 1g; 0 allows any"),
                }
            }
            "nginx_http_large_client_header_buffers" | "nginx_proxy_large_client_header_buffers" => {
                // `number size`; the number has no counterpart, a head is one buffer here.
                match s.value.split_whitespace().nth(1).and_then(value::size_bytes).filter(|&bytes| bytes > 0) {
                    Some(bytes) => self.runtime().field_bytes_max = bytes,
                    None => self.bad(s, "not a number and a size", "write how many and how large: 4 8k"),
                }
            }
            "port_maps" => self.port_maps(s),
            "nginx_http_keepalive_requests" | "nginx_proxy_keepalive_requests" => {
                if let Some(n) = self.count(s) {
                    // 0 closes after the first request there, and is no bound here.
                    self.runtime().keepalive_requests_max = n.max(1);
                }
            }
            "nginx_http_keepalive_timeout" | "nginx_proxy_keepalive_timeout" => self.keepalive_timeout(s),
            "nginx_http_client_header_timeout" | "nginx_proxy_client_header_timeout" => {
                self.time(s, |runtime, ms| runtime.header_timeout_ms = ms);
            }
            "nginx_http_client_body_timeout" | "nginx_proxy_client_body_timeout" => {
                self.time(s, |runtime, ms| runtime.body_timeout_ms = ms);
            }
            "nginx_http_send_timeout" | "nginx_proxy_send_timeout" => {
                self.time(s, |runtime, ms| runtime.send_timeout_ms = ms);
            }
            "nginx_main_worker_shutdown_timeout" => self.time(s, |runtime, ms| runtime.drain_timeout_ms = ms),
            "nginx_worker_processes" | "nginx_main_worker_processes" => self.workers(s),
            _ => return false,
        }
        true
    }

    fn finish(mut self) -> Conf {
        self.settle_error_log();
        self.settle_format();
        if let Some(span) = self.ignored_at {
            let groups = self.ignored.iter().map(|(subject, keys)| format!("{subject}: {}", keys.join(", ")));
            let message =
                format!("settings without a counterpart here, ignored: {}", groups.collect::<Vec<_>>().join("; "));
            self.report.warning(&span, "", message, "");
        }
        self.conf
    }

    fn node(&mut self) -> &mut Node {
        &mut self.conf.node.node
    }

    fn runtime(&mut self) -> &mut Runtime {
        &mut self.conf.node.node.runtime
    }

    fn bad(&mut self, s: &Setting, what: &str, hint: &str) {
        let message = format!("{what}: {}", s.quoted());
        self.report.fault(&s.span, path_of(s), message, hint);
    }

    /// `public:listener` pairs of ports.
    fn port_maps(&mut self, s: &Setting) {
        let pair = |item: &str| {
            let (public, inner) = item.split_once(':')?;
            Some((inner.trim().parse().ok()?, public.trim().parse().ok()?))
        };
        match value::list(&s.value).map(pair).collect() {
            Some(pairs) => self.node().port_maps = pairs,
            None => self.bad(s, "not pairs of ports", "write the port that clients use, and the listener's: 80:8000"),
        }
    }

    fn switch(&mut self, s: &Setting) -> Option<bool> {
        let read = value::switch(&s.value);
        if read.is_none() {
            self.bad(s, "not a switch", "write \"on\" or \"off\"");
        }
        read
    }

    fn count(&mut self, s: &Setting) -> Option<u64> {
        let read = s.value.parse().ok();
        if read.is_none() {
            self.bad(s, "not a whole number", "");
        }
        read
    }

    fn time(&mut self, s: &Setting, set: impl FnOnce(&mut Runtime, u64)) {
        match value::time_ms(&s.value) {
            Some(ms) => set(self.runtime(), ms),
            None => self.bad(s, "not a time", "write seconds, or 500ms, 60s, 5m"),
        }
    }

    fn listen(&mut self, s: &Setting) -> Option<Vec<At<Bind>>> {
        match listen::parse(&s.value, &s.span.to_string()) {
            Ok(binds) => Some(binds.into_iter().map(|bind| At::new(bind, s.span.clone())).collect()),
            Err(bad) => {
                let why = if s.secret { "cannot read the referenced value".to_owned() } else { bad.why };
                self.report.fault(&word_span(s, &bad.word), path_of(s), why, bad.hint);
                None
            }
        }
    }

    /// Certificates for clients that name no other, or their keys: files, PEM, or that in base64, side by side.
    fn certificates(&mut self, key: &str, s: &Setting) {
        self.conf.node.tls_at = s.span.clone();
        let tls = &mut self.conf.node.node.tls;
        let pairs = if key.starts_with("admin") { &mut tls.admin } else { &mut tls.listeners.default };
        let are_chains = !key.ends_with("_key");
        for (ix, text) in s.value.split(',').map(str::trim).enumerate() {
            if pairs.len() <= ix {
                pairs.push(PemPair { at: s.span.clone(), ..PemPair::default() });
            }
            pairs[ix].is_secret |= s.secret;
            match are_chains {
                true => text.clone_into(&mut pairs[ix].chain),
                false => text.clone_into(&mut pairs[ix].key.0),
            }
        }
    }

    /// Who vouches for upstreams: the word `system`, and files, PEM, or that in base64.
    fn authorities(&mut self, s: &Setting) {
        self.conf.node.tls_at = s.span.clone();
        let (system, named): (Vec<&str>, Vec<&str>) =
            s.value.split(',').map(str::trim).filter(|one| !one.is_empty()).partition(|one| *one == "system");
        self.node().tls.system_authorities = !system.is_empty();
        self.conf.node.upstream_authorities = named.into_iter().map(str::to_owned).collect();
    }

    /// A path of a log, and the name of a format after it.
    fn log_path(&mut self, s: &Setting) -> (LogPath, Option<String>) {
        let mut words = s.value.split_whitespace();
        let path = match words.next().unwrap_or_default() {
            "off" => LogPath::Off,
            "/dev/stdout" => LogPath::Stdout,
            "/dev/stderr" | "stderr" => LogPath::Stderr,
            path if path.starts_with("syslog:") => {
                self.report.warning(&s.span, path_of(s), "syslog is not served; the log goes to /dev/stderr", "");
                LogPath::Stderr
            }
            path if path.starts_with('/') => LogPath::File(path.to_owned()),
            path => LogPath::File(format!("{}/{path}", self.prefix)),
        };
        (path, words.next().map(str::to_owned))
    }

    /// One log takes the errors of both sides here.
    fn settle_error_log(&mut self) {
        let admin = self.admin_error_log.take();
        match (self.proxy_error_log.take(), admin) {
            (None, None) => {}
            (None, Some((path, ..))) => self.node().error_log = path,
            (Some(path), admin) => {
                if let Some((_, span, shown)) = admin.filter(|(other, ..)| *other != path) {
                    let message = "there is one error log here, and proxy_error_log names it; ignored";
                    self.report.warning(&span, if span.line == 0 { String::new() } else { shown }, message, "");
                }
                self.node().error_log = path;
            }
        }
    }

    /// `name escape=json '{"k": "$status"}'`: a format of JSON lines is taken over; others have no counterpart.
    fn log_format(&mut self, s: &Setting) {
        let name = s.value.split_whitespace().next().unwrap_or_default().to_owned();
        let object = match (s.value.find('{'), s.value.rfind('}')) {
            (Some(start), Some(end)) if start < end => &s.value[start..=end],
            _ => return self.format_ignored(s, "it is not a JSON object"),
        };
        // A long format is written as several quoted pieces, which nginx joins.
        let joined = object.replace("' '", "").replace("''", "");
        let Ok(serde_json::Value::Object(map)) = serde_json::from_str(&joined) else {
            return self.format_ignored(s, "it is not a JSON object whose values are quoted variables");
        };
        let mut fields = Vec::new();
        for (key, value) in &map {
            match log_format::variable(value.as_str().unwrap_or_default()) {
                Ok(field) => fields.push((key.clone(), field)),
                Err((why, hint)) => {
                    let message = format!("field \"{key}\" of the log is left out: {why}");
                    self.report.warning(&s.span, path_of(s), message, hint);
                }
            }
        }
        self.format = Some((name, fields));
    }

    fn format_ignored(&mut self, s: &Setting, why: &str) {
        self.report.warning(&s.span, path_of(s), format!("log format ignored: {why}"), "lines are JSON here");
    }

    fn settle_format(&mut self) {
        let Some(wanted) = self.format_wanted.take() else { return };
        let format = self.format.take().filter(|(name, _)| *name == wanted.value);
        match (format, &mut self.conf.node.node.access_log) {
            (Some((_, fields)), Some(log)) => log.fields = fields,
            (Some(_), None) => {}
            (None, _) => {
                let message = format!("no JSON format \"{}\" is defined; the default format is used", wanted.value);
                let hint = "define it by nginx_http_log_format, or by access_log.format of a native file";
                self.report.warning(&wanted.span, "", message, hint);
            }
        }
    }

    fn log_level(&mut self, s: &Setting) {
        self.node().log_level = match s.value.to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" | "notice" => Level::Info,
            "warn" => Level::Warn,
            "error" | "crit" | "alert" | "emerg" => Level::Error,
            _ => return self.bad(s, "not a log level", "levels: debug, info, notice, warn, error, crit, alert, emerg"),
        };
    }

    fn trusted_ips(&mut self, s: &Setting) {
        let mut trusted = Vec::new();
        for item in value::list(&s.value) {
            match native::value::network(item) {
                Some(net) => trusted.push(net),
                None if item == "unix:" => {} // there are no sockets of the file system to come by
                None => {
                    let message = if s.secret {
                        "not an address or CIDR block".to_owned()
                    } else {
                        format!("not an address or CIDR block: \"{item}\"")
                    };
                    self.report.fault(&word_span(s, item), path_of(s), message, "write \"10.0.0.0/8\" or \"::1\"");
                }
            }
        }
        self.node().trusted = trusted;
    }

    fn real_ip_header(&mut self, s: &Setting) {
        if !native::value::is_token(&s.value) {
            return self.bad(s, "not a header name", "write \"X-Forwarded-For\", or \"proxy_protocol\"");
        }
        self.node().real_ip_header = s.value.to_ascii_lowercase();
    }

    fn headers(&mut self, s: &Setting) {
        let shown = dress();
        let worn = &mut self.conf.node.node.dress;
        worn.server = None;
        worn.via_reply = None;
        worn.upstream_latency = None;
        worn.proxy_latency = None;
        worn.response_latency = None;
        worn.upstream_status = None;
        worn.request_id_client = None;
        for token in value::list(&s.value) {
            match token.to_ascii_lowercase().as_str() {
                "off" => {}
                "server_tokens" => {
                    worn.server.clone_from(&shown.server);
                    worn.via_reply.clone_from(&shown.via_reply);
                }
                "latency_tokens" => {
                    worn.upstream_latency.clone_from(&shown.upstream_latency);
                    worn.proxy_latency.clone_from(&shown.proxy_latency);
                    worn.response_latency.clone_from(&shown.response_latency);
                }
                "server" => worn.server.clone_from(&shown.server),
                "via" => worn.via_reply.clone_from(&shown.via_reply),
                "x-kong-upstream-latency" => worn.upstream_latency.clone_from(&shown.upstream_latency),
                "x-kong-proxy-latency" => worn.proxy_latency.clone_from(&shown.proxy_latency),
                "x-kong-response-latency" => worn.response_latency.clone_from(&shown.response_latency),
                "x-kong-upstream-status" => worn.upstream_status = Some("X-Kong-Upstream-Status".to_owned()),
                "x-kong-request-id" => worn.request_id_client.clone_from(&shown.request_id_client),
                // Known there, without effect here: the Admin API's own, and the finer latencies of later versions.
                "x-kong-admin-latency"
                | "x-kong-total-latency"
                | "x-kong-third-party-latency"
                | "x-kong-client-latency" => {}
                _ => {
                    const HINT: &str = "tokens: server_tokens, latency_tokens, Server, Via, X-Kong-Proxy-Latency, \
                        X-Kong-Response-Latency, X-Kong-Upstream-Latency, X-Kong-Admin-Latency, \
                        X-Kong-Upstream-Status, X-Kong-Request-Id, off";
                    let message =
                        if s.secret { "unknown token".to_owned() } else { format!("unknown token \"{token}\"") };
                    self.report.fault(&word_span(s, token), path_of(s), message, HINT);
                }
            }
        }
    }

    fn headers_upstream(&mut self, s: &Setting) {
        self.node().dress.request_id_upstream = None;
        for token in value::list(&s.value) {
            match token.to_ascii_lowercase().as_str() {
                "off" => {}
                "x-kong-request-id" => self.node().dress.request_id_upstream = dress().request_id_upstream,
                _ => self.bad(s, "unknown token", "tokens: X-Kong-Request-Id, off"),
            }
        }
    }

    fn error_default_type(&mut self, s: &Setting) {
        const TYPES: [&str; 5] = ["text/plain", "text/html", "application/json", "application/xml", "text/xml"];
        if !TYPES.contains(&s.value.as_str()) {
            return self.bad(
                s,
                "not a type of error pages",
                "types: text/plain, text/html, application/json, application/xml",
            );
        }
        self.node().dress.error_type.clone_from(&s.value);
    }

    fn keepalive_timeout(&mut self, s: &Setting) {
        // A second time, for the header that tells clients, may follow; it has no counterpart.
        let first = s.value.split_whitespace().next().unwrap_or_default();
        match value::time_ms(first) {
            Some(0) => self.runtime().keepalive_requests_max = 1,
            Some(ms) => self.runtime().keepalive_timeout_ms = ms,
            None => self.bad(s, "not a time", "write seconds, or 500ms, 60s, 5m; 0 closes after each request"),
        }
    }

    fn dns_resolver(&mut self, s: &Setting) {
        let mut servers = Vec::new();
        for item in value::list(&s.value) {
            match native::value::dns_server(item) {
                Some(server) => servers.push(server),
                None => {
                    let message =
                        if s.secret { "not a DNS server".to_owned() } else { format!("not a DNS server: \"{item}\"") };
                    self.report.fault(
                        &word_span(s, item),
                        path_of(s),
                        message,
                        "write \"10.0.0.2\" or \"10.0.0.2:53\"",
                    );
                }
            }
        }
        self.node().dns_servers = servers;
    }

    fn workers(&mut self, s: &Setting) {
        self.runtime().shards = match (s.value.as_str(), s.value.parse::<u32>()) {
            ("auto", _) => Shards::Auto,
            (_, Ok(n)) if n > 0 => Shards::Count(n),
            _ => return self.bad(s, "not a number of workers", "write \"auto\" or a number above 0"),
        };
    }
}

/// The path of a finding: in a file its key; a variable's name is its place already.
fn path_of(s: &Setting) -> &str {
    if s.span.line == 0 {
        ""
    } else {
        &s.shown
    }
}

/// The place of `word` within a setting of a file; of a variable there is only the whole.
fn word_span(s: &Setting, word: &str) -> Span {
    let mut span = s.span.clone();
    if span.line > 0 && !s.secret {
        let before = s.value.find(word).map_or(0, |offset| s.value[..offset].chars().count());
        span.column += before as u32;
    }
    span
}

/// Reads a hosts file: `address name name…`, `#` comments. Lines that are none are left out, as resolvers do.
pub fn hosts(text: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        for name in words {
            hosts.entry(name.to_ascii_lowercase()).or_default().push(address);
        }
    }
    hosts
}

#[cfg(test)]
mod tests;
