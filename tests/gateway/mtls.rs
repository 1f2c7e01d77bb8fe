//! `mtls-auth`, and what logs tell of clients' certificates.

use crate::harness::{Setup, Upstream};
use crate::tls::{certs, curl, file, openssl, pem, s_client, setup};

const CA: &str = "3e9a0a7c-8d1c-4f0a-9f3e-2b6c0c6b9a10";

/// Certificates of `ca.pem` are asked for by `mtls-auth` with `config`, on every route.
fn asking(upstream: &Upstream, config: &str, more: &str) -> Setup {
    let mut setup = setup(upstream);
    setup.listen = "ssl http2".into();
    setup.kong += &format!(
        "ca_certificates:\n- id: {CA}\n  cert: |\n    {}\nconsumers: [{{username: client.test}}, {{username: guest}}]\n\
         plugins:\n- name: mtls-auth\n  config: {{ca_certificates: [{CA}]{config}}}\n{more}",
        pem("ca.pem")
    );
    setup
}

/// A certificate that nobody vouches for, under the name of a consumer.
fn stranger() -> [String; 2] {
    let d = certs().display();
    let paths = [format!("{d}/stranger.pem"), format!("{d}/stranger.key")];
    if !std::path::Path::new(&paths[0]).exists() {
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {ec} -keyout {} -out {} -days 9 -subj /CN=client.test", paths[1], paths[0]));
    }
    paths
}

const STATUS: [&str; 2] = ["-w", " %{http_code}"];

#[test]
fn a_certificate_says_who_asks() {
    let upstream = Upstream::start();
    let own = [file("client.pem"), file("client.key")];
    let none: &[String] = &[];
    let other = stranger();
    let came = |name: &str| upstream.log().requests.last().unwrap().head.one(name).map(str::to_owned);
    let missing = "No required TLS certificate was sent";
    let failed = "TLS certificate failed verification";
    let rows: [(&str, &str, &[String], &str, Option<&str>); 13] = [
        ("", "", none, missing, None),
        ("", "", &other, failed, None),
        ("", "", &own, "GET / 200", Some("client.test")),
        // What a file may name beside: nothing is fetched, so that a proxy to fetch by changes nothing.
        (
            ", allow_partial_chain: true, cache_ttl: 1, http_timeout: 1, cert_cache_ttl: 1, http_proxy_host: a.test, \
             http_proxy_port: 1, https_proxy_host: a.test, https_proxy_port: 1",
            "",
            &own,
            "GET / 200",
            Some("client.test"),
        ),
        (", consumer_by: [custom_id]", "", &own, failed, None),
        (", consumer_by: [], default_consumer: guest", "", &own, "GET / 200", Some("guest")),
        (", anonymous: guest", "", none, "GET / 200", Some("guest")),
        (", anonymous: guest", "", &other, "GET / 200", Some("guest")),
        (", skip_consumer_lookup: true", "", &own, "GET / 200", None),
        (", skip_consumer_lookup: true", "- {name: acl, config: {allow: [client.test]}}\n", &own, "GET / 200", None),
        (
            ", skip_consumer_lookup: true, authenticated_group_by: DN",
            "- {name: acl, config: {allow: [client.test]}}\n",
            &own,
            "You cannot consume this service",
            None,
        ),
        // Of a consumer its own groups count, of which it has none, unless those of the proof are asked for.
        ("", "- {name: acl, config: {allow: [client.test]}}\n", &own, "You cannot consume this service", None),
        (
            "",
            "- {name: acl, config: {allow: [client.test], always_use_authenticated_groups: true}}\n",
            &own,
            "GET / 200",
            Some("client.test"),
        ),
    ];
    for (config, more, shown, want, consumer) in rows {
        let gateway = asking(&upstream, config, more).start();
        for http in ["--http1.1", "--http2"] {
            let mut args = vec![http, "-H", "X-Consumer-Username: evil", "-H", "X-Client-Cert-DN: evil"];
            args.extend(STATUS);
            if let [cert, key] = shown {
                args.extend(["--cert", cert, "--key", key]);
            }
            let (code, said) = curl(&gateway, "a.test", &args);
            assert!(code == 0 && said.contains(want), "{config} {more} {http}: {said}");
            if want == "GET / 200" {
                assert_eq!(came("X-Consumer-Username").as_deref(), consumer, "{config}");
                let skips = config.contains("skip");
                assert_eq!(came("X-Client-Cert-DN").as_deref(), skips.then_some("CN=client.test,O=O"), "{config}");
                let group = (!more.is_empty()).then_some("client.test");
                assert_eq!(came("X-Authenticated-Groups").as_deref(), group, "{config}");
                assert_eq!(came("X-Forwarded-Client-Cert"), None, "nobody but the plugin has verified it");
            } else {
                assert!(said.contains(" 401") || said.contains(" 403"), "{said}");
            }
        }
    }
}

#[test]
fn handshakes_ask_where_it_may_run() {
    let upstream = Upstream::start();
    let asked = "Requested Signature Algorithms";
    let ask = |config: &str, snis: &str, global: bool| {
        let mut setup = asking(&upstream, config, "");
        if !global {
            setup.kong = setup.kong.replace("- name: mtls-auth\n", "- name: mtls-auth\n  route: all\n");
        }
        setup.kong = setup.kong.replace("    strip_path: false\n", &format!("    strip_path: false\n{snis}"));
        let gateway = setup.start();
        ["a.test", "x.w.test"].map(|name| s_client(&gateway, &["-servername", name], b""))
    };
    for said in ask("", "", true).iter().chain(&ask("", "", false)) {
        assert!(said.contains(asked) && said.contains("No client certificate CA names sent"), "{said}");
    }
    let [a, w] = ask(", send_ca_dn: true", "    snis: [a.test]\n    protocols: [https]\n", false);
    assert!(a.contains(asked) && a.contains("Acceptable client certificate CA names"), "{a}");
    assert!(a.replace("CN = ", "CN=").contains("CN=ca.test"), "{a}");
    assert!(!w.contains(asked), "{w}");
}

#[test]
fn what_cannot_be_checked_is_a_fault() {
    let upstream = Upstream::start();
    for (config, want) in [
        (", revocation_check_mode: STRICT", "STRICT needs lists of revoked certificates"),
        (", default_consumer: nobody", "there is no consumer nobody"),
        (", consumer_by: [email]", "expected one of"),
    ] {
        let said = asking(&upstream, config, "").try_start().err().unwrap();
        assert!(said.contains(want), "{config}: {said}");
    }
    let mut setup = asking(&upstream, "", "");
    setup.kong = setup.kong.replace(&format!("ca_certificates: [{CA}]"), "ca_certificates: []");
    assert!(setup.try_start().err().unwrap().contains("length must be at least 1"));
}

#[test]
fn the_log_tells_of_certificates() {
    let upstream = Upstream::start();
    let log = certs().join("mtls.log");
    let (verified, asked) = ("SUCCESS", "UNVERIFIED");
    for (is_verified, word) in [(true, verified), (false, asked)] {
        std::fs::remove_file(&log).ok();
        let mut setup = if is_verified { setup(&upstream) } else { asking(&upstream, "", "") };
        if is_verified {
            let ca = file("ca.pem");
            setup.node.push(format!("tls: {{client_certificate: optional, client_authorities: {ca}}}"));
        }
        setup.access_log = log.display().to_string();
        let format = r#"f escape=json '{"v":"$ssl_protocol","n":"$ssl_server_name","r":"$ssl_session_reused","c":"$ssl_client_verify","s":"$ssl_client_s_dn","a":"$ssl_client_san"}'"#;
        let setup = setup.env("KONG_NGINX_HTTP_LOG_FORMAT", format).env("KONG_PROXY_ACCESS_LOG", "/dev/stdout f");
        let gateway = setup.start();
        let (cert, key) = (file("client.pem"), file("client.key"));
        assert_eq!(curl(&gateway, "a.test", &["--cert", &cert, "--key", &key]), (0, "GET /".into()));
        curl(&gateway, "a.test", &[]);
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        gateway.wait_until("two lines are written", || lines().lines().count() == 2);
        let text = lines();
        let mut lines = text.lines();
        let want = format!(
            r#"{{"v":"TLSv1.3","n":"a.test","r":".","c":"{word}","s":"CN=client.test,O=O","a":"client.test,spiffe://t/client"}}"#
        );
        assert_eq!(lines.next(), Some(want.as_str()));
        let want = r#"{"v":"TLSv1.3","n":"a.test","r":".","c":"NONE","s":"","a":""}"#;
        assert_eq!(lines.next(), Some(want));
    }
}

/// The client's certificate is for client.test and spiffe://t/client.
#[test]
fn credentials_say_whom_a_certificate_means() {
    let upstream = Upstream::start();
    let own = [file("client.pem"), file("client.key")];
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let other = certs().join("ca2.pem");
    openssl(&format!("req -x509 {ec} -keyout {0}.key -out {0} -days 9 -subj /CN=other.test", other.display()));
    let second = "3e9a0a7c-8d1c-4f0a-9f3e-2b6c0c6b9a11";
    let credential = |consumer: &str, name: &str, by: &str| {
        let by = if by.is_empty() { String::new() } else { format!(", ca_certificate: {{id: {by}}}") };
        format!("- {{id: {ID}, consumer: {consumer}, subject_name: '{name}'{by}}}\n")
            .replace(ID, &uuid::Uuid::new_v4().to_string())
    };
    let rows = [
        ("by name", credential("guest", "spiffe://t/client", ""), "GET / 200", Some("guest")),
        // Those that name who has vouched come first, whatever the name.
        (
            "by authority",
            credential("alice", "client.test", "") + &credential("guest", "spiffe://t/client", CA),
            "GET / 200",
            Some("guest"),
        ),
        (
            "by another authority",
            credential("alice", "client.test", "") + &credential("guest", "client.test", second),
            "GET / 200",
            Some("alice"),
        ),
        ("by none", credential("guest", "else.test", ""), "GET / 200", Some("client.test")),
    ];
    for (what, credentials, want, consumer) in rows {
        let mut setup = asking(&upstream, "", "");
        setup.kong = setup.kong.replace("{username: guest}", "{username: guest}, {username: alice}");
        setup.kong = setup.kong.replace(&format!("[{CA}]"), &format!("[{CA}, {second}]"));
        let two = format!("ca_certificates:\n- id: {second}\n  cert: |\n    {}\n", pem("ca2.pem"));
        setup.kong = setup.kong.replace("ca_certificates:\n", &two);
        setup.kong += &format!("mtls_auth_credentials:\n{credentials}");
        let gateway = setup.start();
        for _ in 0..2 {
            let mut args = vec!["--cert", &own[0], "--key", &own[1], "-H", "X-Credential-Identifier: evil"];
            args.extend(STATUS);
            let (code, said) = curl(&gateway, "a.test", &args);
            assert!(code == 0 && said.contains(want), "{what}: {said}");
            let log = upstream.log();
            let head = &log.requests.last().unwrap().head;
            assert_eq!(head.one("X-Consumer-Username"), consumer, "{what}");
            let id = head.one("X-Credential-Identifier").map(str::to_owned);
            assert_eq!(id.is_some(), consumer != Some("client.test"), "{what}");
            assert!(id.is_none_or(|id| credentials.contains(&id)), "{what}");
        }
        let listed: serde_json::Value = serde_json::from_str(&gateway.admin("/consumers/guest/mtls-auth")).unwrap();
        let has = listed["data"][0]["subject_name"].as_str().is_some();
        assert_eq!(has, credentials.contains("consumer: guest"), "{what}: {listed}");
    }
    // An authority that there is not.
    let mut setup = asking(&upstream, "", "");
    setup.kong += &format!("mtls_auth_credentials:\n{}", credential("guest", "a", second));
    let said = setup.try_start().err().unwrap();
    assert!(said.contains("invalid reference 'ca_certificate"), "{said}");
}

/// Stands for an id in the text of a credential.
const ID: &str = "AN_ID";
