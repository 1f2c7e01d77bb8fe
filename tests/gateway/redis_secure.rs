//! Redis over TLS: a real redis-server with a certificate of an authority of the test's own.

use crate::harness::echo::Echo;
use crate::harness::redis::Redis;
use crate::harness::{ports, Gateway, Setup};
use std::path::PathBuf;
use std::process::Command;

/// A folder with an authority, and a certificate of it for `redis.test`; removed with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("ringway-redis-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let folder = Folder(folder);
        let [ca, ca_key, cert, key] = ["ca.pem", "ca.key", "redis.pem", "redis.key"].map(|name| folder.path(name));
        let request = |more: &[&str]| {
            let new =
                ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
            let made = Command::new("openssl").args(new).args(more).output().expect("tests/run installs openssl");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        request(&["-keyout", &ca_key, "-out", &ca, "-subj", "/CN=a test's authority"]);
        let of = ["-subj", "/CN=redis.test", "-addext", "subjectAltName=DNS:redis.test"];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        request(&[&["-CA", &ca, "-CAkey", &ca_key, "-keyout", &key, "-out", &cert][..], &of, &leaf].concat());
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A Redis that shows the certificate at a second port.
    fn redis(&self, port: u16) -> Redis {
        let [ca, cert, key] = ["ca.pem", "redis.pem", "redis.key"].map(|name| self.path(name));
        let port = port.to_string();
        let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        Redis::start(&[&["--tls-port", &port, "--tls-auth-clients", "no"][..], &files].concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A service with one route `/<path>` for each of these: what says where Redis is.
fn kong(up: &Echo, all: &[(&str, String)]) -> Setup {
    let mut text = "_format_version: \"3.0\"\nservices:\n".to_owned();
    for (path, redis) in all {
        text += &format!(
            "- name: {path}\n  url: http://{}\n  routes: [{{name: {path}, paths: [/{path}]}}]\n  plugins:\n  \
             - {{name: rate-limiting, config: {{year: 1000, policy: redis, limit_by: ip, fault_tolerant: false, {redis}}}}}\n",
            up.addr
        );
    }
    Setup::kong(text)
}

fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.get(&format!("/{path}")).head.status()
}

#[test]
fn a_redis_is_spoken_to_over_tls_and_verified_where_that_is_asked_for() {
    let (folder, up) = (Folder::new("verified"), Echo::start("UP"));
    let port = ports::free();
    let mut redis = folder.redis(port);
    let ssl =
        |port: u16, more: &str| format!("redis: {{host: 127.0.0.1, port: {port}, timeout: 1000, ssl: true{more}}}");
    let flat = |port: u16, more: &str| format!("redis_host: 127.0.0.1, redis_port: {port}, redis_ssl: true{more}");
    let all = [
        ("any", ssl(port, "")),
        ("good", ssl(port, ", ssl_verify: true, server_name: redis.test")),
        ("other", ssl(port, ", ssl_verify: true, server_name: other.test")),
        ("address", ssl(port, ", ssl_verify: true")),
        ("named", format!("redis: {{host: redis.test, port: {port}, timeout: 1000, ssl: true, ssl_verify: true}}")),
        ("clear", format!("redis: {{host: 127.0.0.1, port: {port}, timeout: 1000}}")),
        ("none", ssl(redis.addr.port(), "")),
        ("flat", flat(port, "")),
        ("flat-good", flat(port, ", redis_ssl_verify: true, redis_server_name: redis.test")),
        ("flat-other", flat(port, ", redis_ssl_verify: true, redis_server_name: other.test")),
    ];
    let trusting = kong(&up, &all).runtime("hosts.redis.test: 127.0.0.1").env("SSL_CERT_FILE", folder.path("ca.pem"));
    let trusting = trusting.start();
    let statuses = all.each_ref().map(|(path, _)| status(&trusting, path));
    assert_eq!(statuses, [200, 200, 500, 500, 200, 500, 500, 200, 200, 500], "{}", trusting.said());
    trusting.wait_said("makes no connection over TLS: ");
    let errors = trusting.admin("/metrics");
    assert!(errors.contains("ringway_redis_errors_total{kind=\"tls\"}"), "{errors}");
    // What was counted over TLS is there in the clear.
    assert_eq!(redis.ask(&["DBSIZE"]), "5");

    // Another time, another connection.
    redis.restart();
    trusting.wait_until("it is reached again", || status(&trusting, "good") == 200);
    let answers: Vec<u16> = (0..50).map(|_| status(&trusting, "good")).collect();
    assert_eq!(answers, [200; 50]);

    // Nobody vouches for it here.
    let stranger = Folder::new("stranger");
    let wary = kong(&up, &all[..2]).env("SSL_CERT_FILE", stranger.path("ca.pem")).start();
    assert_eq!([status(&wary, "any"), status(&wary, "good")], [200, 500]);
    wary.wait_said("makes no connection over TLS: invalid peer certificate");
}

#[test]
fn a_reload_keeps_what_is_spoken_over_tls() {
    let (folder, up) = (Folder::new("reload"), Echo::start("UP"));
    let port = ports::free();
    let redis = folder.redis(port);
    let block = format!("redis: {{host: 127.0.0.1, port: {port}, timeout: 1000, ssl: true}}");
    let gateway = kong(&up, &[("s", block.clone())]).start();
    assert_eq!(status(&gateway, "s"), 200);
    let clients = redis.ask(&["INFO", "stats"]);
    let connections =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("total_connections_received:")).map(str::to_owned);
    let hash = gateway.status()["configuration_hash"].clone();
    gateway.put_kong(&kong(&up, &[("s", block.clone()), ("t", block)]).kong);
    gateway.signal("HUP");
    gateway.wait_until("it is served", || gateway.status()["configuration_hash"] != hash);
    assert_eq!([status(&gateway, "s"), status(&gateway, "t")], [200, 200]);
    let after = redis.ask(&["INFO", "stats"]);
    let number = |text: &str| connections(text).unwrap().parse::<u64>().unwrap();
    // The test's own question is one.
    assert_eq!(number(&after) - number(&clients), 1);
}
