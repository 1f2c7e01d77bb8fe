//! Clients' certificates, and the Admin API over TLS: curl and openssl as clients.

use crate::harness::frames::{get, Told, H2, PREFACE};
use crate::harness::{ports, Gateway, Setup, Upstream};
use crate::tls::{certs, curl, file, openssl, run, s_client, setup};

/// Arguments of curl that show the certificate `name`.
fn shown(name: &str) -> [String; 4] {
    ["--cert".into(), file(&format!("{name}.pem")), "--key".into(), file(&format!("{name}.key"))]
}

/// curl to the gateway as `host`, with a certificate.
fn curl_as(gateway: &Gateway, host: &str, name: &str, args: &[&str]) -> (i32, String) {
    let shown = shown(name);
    let mut all: Vec<&str> = shown.iter().map(String::as_str).collect();
    all.extend(args);
    curl(gateway, host, &all)
}

/// A field of the last request that came to the upstream.
fn came(upstream: &Upstream, name: &str) -> Option<String> {
    upstream.log().requests.last().unwrap().head.one(name).map(str::to_owned)
}

/// `tls:` of the node with these settings, and clients that must show certificates of `ca.pem`.
fn asking(upstream: &Upstream, word: &str, more: &str) -> Setup {
    let mut setup = setup(upstream);
    let ca = file("ca.pem");
    setup.node.push(format!("tls: {{client_certificate: {word}, client_authorities: {ca}{more}}}"));
    setup
}

#[test]
fn the_admin_api_is_served_over_tls() {
    let upstream = Upstream::start();
    let port = ports::free();
    let ask = |args: &[&str], scheme: &str| {
        let resolve = format!("a.test:{port}:127.0.0.1");
        let url = format!("{scheme}://a.test:{port}/status/ready");
        let mut all = vec!["-sS", "--max-time", "20", "--resolve", &resolve, &url];
        all.extend(args);
        let (code, out, err) = run("curl", &all, b"");
        (code, out + &err)
    };
    let ca = file("ca.pem");
    let admin = |listen: String, node: &str, env: &[(&str, String)]| {
        let mut setup = setup(&upstream);
        setup.admin_listen = listen;
        setup.node.extend((!node.is_empty()).then(|| node.to_owned()));
        env.iter().fold(setup, |setup, (name, value)| setup.env(name, value.clone())).start()
    };
    let flagged = || format!("\"127.0.0.1:{port} ssl http2\"");
    let (cert, key) = (file("a.test.pem"), file("a.test.key"));
    {
        // The certificate of its own, in the settings of the declarative dialect.
        let env = [("KONG_ADMIN_SSL_CERT", cert.clone()), ("KONG_ADMIN_SSL_CERT_KEY", key.clone())];
        let gateway = admin(flagged(), "", &env);
        gateway.wait_until("it is ready over TLS", || ask(&["--cacert", &ca], "https").1.contains("ready"));
        for (http, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let (_, said) = ask(&["--cacert", &ca, http, "-w", " %{http_version}"], "https");
            assert_eq!(said, format!(r#"{{"message":"ready"}} {version}"#));
        }
        let (code, said) = ask(&[], "http");
        assert!(code == 0 && said.contains("sent to an HTTPS port"), "{code} {said}");
        // A client that never speaks has a place of its own, and is closed.
        let quiet: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        assert!(gateway.status()["version"].is_string());
        drop(quiet);
        gateway.wait_until("it serves again", || ask(&["--cacert", &ca], "https").0 == 0);
    }
    {
        // That of the proxy's clients, where it has none.
        let gateway = admin(flagged(), &format!("tls: {{certificates: [{{cert: {cert}, key: {key}}}]}}"), &[]);
        gateway.wait_until("it is ready over TLS", || ask(&["--cacert", &ca], "https").0 == 0);
    }
    {
        // One that is made up, where nobody has one.
        let gateway = admin(flagged(), "", &[]);
        gateway.wait_until("it is ready over TLS", || ask(&["-k"], "https").0 == 0);
        assert_ne!(ask(&["--cacert", &ca], "https").0, 0);
    }
    {
        // Native: settings of its own, for operators who show certificates.
        let own = format!("{{cert: {cert}, key: {key}}}], client_certificate: required, client_authorities: {ca}");
        let gateway = admin(format!("{{address: \"127.0.0.1:{port}\", tls: {{certificates: [{own}}}}}"), "", &[]);
        let shown = shown("client");
        let shown: Vec<&str> = ["--cacert", &ca].into_iter().chain(shown.iter().map(String::as_str)).collect();
        gateway.wait_until("it is ready over TLS", || ask(&shown, "https").0 == 0);
        assert_ne!(ask(&["--cacert", &ca], "https").0, 0);
    }
}

/// Nothing tells them from clients to come, and there are 128 places.
#[test]
fn who_asks_the_admin_api_nothing_is_closed() {
    let upstream = Upstream::start();
    let port = ports::free();
    let mut setup = setup(&upstream);
    setup.admin_listen = format!("\"127.0.0.1:{port} http2\"");
    let _gateway = setup.start();
    let addr = ([127, 0, 0, 1], port).into();
    let begun = std::time::Instant::now();
    let mut kept = H2::to(addr);
    kept.send(get(1, "/status/ready"));
    assert_eq!(kept.told(1), Told::Status(200));
    let patience = Some(std::time::Duration::from_secs(20));
    let [mut silent, mut midway, mut greeted] = [H2::bare(addr), H2::bare(addr), H2::to(addr)];
    midway.send(&PREFACE[..5]);
    for client in [&mut silent, &mut midway, &mut greeted] {
        client.stream.set_read_timeout(patience).unwrap();
        while client.next().is_some() {}
        let took = begun.elapsed().as_secs();
        assert!((9..16).contains(&took), "closed after {took} s");
    }
    kept.send(get(3, "/status/ready"));
    assert_eq!(kept.told(3), Told::Status(200), "who has asked stays");
}

#[test]
fn upstreams_hear_of_certificates_what_they_are_to_hear() {
    let upstream = Upstream::start();
    let sha256 = {
        let (_, out, _) =
            run("openssl", &["x509", "-in", &file("client.pem"), "-noout", "-fingerprint", "-sha256"], b"");
        out.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
    };
    let own = format!("Hash={sha256};Subject=\"CN=client.test,O=O\";URI=spiffe://t/client;DNS=client.test");
    let rows = [
        ("sanitize", None, None),
        ("forward_only", Some("By=evil"), None),
        ("append_forward", Some("By=evil,OWN"), None),
        ("sanitize_set", Some("OWN"), None),
        ("always_forward_only", Some("By=evil"), Some("By=evil")),
    ];
    for (word, with, without) in rows {
        let details = format!(", forward_client_cert: {word}, forward_client_cert_details: [subject, uri, dns]");
        let mut setup = asking(&upstream, "optional", &details);
        setup.listen = "ssl http2".into();
        let gateway = setup.start();
        for http in ["--http1.1", "--http2"] {
            let said = ["-H", "X-Forwarded-Client-Cert: By=evil", http];
            assert_eq!(curl_as(&gateway, "a.test", "client", &said).0, 0, "{word}");
            let want = with.map(|want| want.replace("OWN", &own));
            assert_eq!(came(&upstream, "X-Forwarded-Client-Cert"), want, "{word} {http}");
            assert_eq!(curl(&gateway, "a.test", &said).0, 0, "{word}");
            assert_eq!(came(&upstream, "X-Forwarded-Client-Cert").as_deref(), without, "{word} {http}, none shown");
        }
    }
    // In the clear, and by default.
    let gateway = Setup::open_to(upstream.addr).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: By=evil\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer("GET").unwrap().head.status(), 200);
    assert_eq!(came(&upstream, "X-Forwarded-Client-Cert"), None);
}

/// A list of revoked certificates of `ca.pem`: with `client` in it, or empty.
fn revoked(name: &str, client: bool) -> String {
    let dir = certs().join(format!("crl-{name}"));
    std::fs::create_dir_all(&dir).unwrap();
    let d = dir.display();
    std::fs::write(dir.join("index.txt"), "").unwrap();
    std::fs::write(dir.join("number"), "01\n").unwrap();
    let conf = format!(
        "[ca]\ndefault_ca=c\n[c]\ndatabase={d}/index.txt\ncrlnumber={d}/number\ndefault_md=sha256\ndefault_crl_days=30\n"
    );
    std::fs::write(dir.join("conf"), conf).unwrap();
    let (ca, key) = (file("ca.pem"), file("ca.key"));
    let base = format!("ca -config {d}/conf -cert {ca} -keyfile {key}");
    if client {
        openssl(&format!("{base} -revoke {}", file("client.pem")));
    }
    openssl(&format!("{base} -gencrl -out {d}/crl.pem"));
    format!("{d}/crl.pem")
}

#[test]
fn who_is_vouched_for_no_more_is_refused_even_with_a_session() {
    let upstream = Upstream::start();
    let (none, one) = (revoked("none", false), revoked("one", true));
    let list = certs().join("list.pem");
    std::fs::copy(&none, &list).unwrap();
    let gateway = asking(&upstream, "required", &format!(", client_revoked: {}", list.display())).start();
    let (cert, key) = (file("client.pem"), file("client.key"));
    let session = file("session-revoked");
    let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let args = ["-servername", "a.test", "-ign_eof", "-cert", &cert, "-key", &key];
    let with = |more: [&str; 2]| s_client(&gateway, &[&args[..], &more].concat(), request);
    assert!(with(["-sess_out", &session]).contains("200 OK"));
    assert!(with(["-sess_in", &session]).contains("Reused, TLSv1.3"));
    std::fs::copy(&one, &list).unwrap();
    gateway.signal("HUP");
    gateway.wait_until("nobody revoked is let in", || curl_as(&gateway, "a.test", "client", &[]).0 != 0);
    let said = with(["-sess_in", &session]);
    assert!(!said.contains("Reused") && !said.contains("200 OK"), "{said}");
}

#[test]
fn a_chain_may_be_too_long() {
    let upstream = Upstream::start();
    let d = certs().display();
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req {ec} -keyout {d}/sub.key -out {d}/sub.csr -subj /CN=sub"));
    std::fs::write(certs().join("ext-sub"), "basicConstraints=critical,CA:true\n").unwrap();
    openssl(&format!(
        "x509 -req -in {d}/sub.csr -CA {d}/ca.pem -CAkey {d}/ca.key -CAcreateserial -days 9 -extfile {d}/ext-sub -out {d}/sub.pem"
    ));
    openssl(&format!("req {ec} -keyout {d}/deep.key -out {d}/leaf.csr -subj /CN=deep.test"));
    std::fs::write(certs().join("ext-deep"), "subjectAltName=DNS:deep.test\n").unwrap();
    openssl(&format!(
        "x509 -req -in {d}/leaf.csr -CA {d}/sub.pem -CAkey {d}/sub.key -CAcreateserial -days 9 -extfile {d}/ext-deep -out {d}/leaf.pem"
    ));
    let chain = [file("leaf.pem"), file("sub.pem")].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    std::fs::write(certs().join("deep.pem"), chain).unwrap();
    for (depth, want) in [(1, true), (0, false)] {
        let gateway = asking(&upstream, "required", &format!(", client_depth: {depth}")).start();
        assert_eq!(curl_as(&gateway, "a.test", "deep", &[]).0 == 0, want, "depth {depth}");
        assert_eq!(curl_as(&gateway, "a.test", "client", &[]).0, 0, "depth {depth}");
    }
}

/// `a.test` must show certificates, `*.w.test` need not.
fn by_name(upstream: &Upstream) -> Gateway {
    let mut setup = setup(upstream);
    setup.listen = "ssl http2".into();
    let ca = file("ca.pem");
    setup
        .node
        .push(format!("tls: {{client_authorities: {ca}, server_names: {{a.test: {{client_certificate: required}}}}}}"));
    setup.start()
}

#[test]
fn certificates_are_asked_for_by_name() {
    let upstream = Upstream::start();
    let gateway = by_name(&upstream);
    assert_ne!(curl(&gateway, "a.test", &[]).0, 0);
    assert_eq!(curl_as(&gateway, "a.test", "client", &[]), (0, "GET /".into()));
    assert_eq!(curl(&gateway, "x.w.test", &[]), (0, "GET /".into()));
    // A session begun where none is needed is none where one is.
    let session = file("session-by-name");
    let request = b"GET / HTTP/1.1\r\nHost: x.w.test\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let args = |name, verb| ["-servername", name, "-ign_eof", version, verb, &session];
        assert!(s_client(&gateway, &args("x.w.test", "-sess_out"), request).contains("200 OK"));
        assert!(s_client(&gateway, &args("x.w.test", "-sess_in"), request).contains("Reused, TLS"), "{version}");
        let said = s_client(&gateway, &args("a.test", "-sess_in"), request);
        assert!(!said.contains("Reused") && !said.contains("200 OK"), "{version}: {said}");
    }
}

#[test]
fn a_request_for_a_name_that_asks_for_more_is_misdirected() {
    let upstream = Upstream::start();
    let gateway = by_name(&upstream);
    for http in ["--http1.1", "--http2"] {
        let status = |host: &str, shown: bool, asked: &str| {
            let host_field = format!("Host: {asked}");
            let args = ["-o", "/dev/null", "-w", "%{http_code}", http, "-H", &host_field];
            let (code, out) = match shown {
                true => curl_as(&gateway, host, "client", &args),
                false => curl(&gateway, host, &args),
            };
            assert_eq!(code, 0, "{host} {asked}: {out}");
            out
        };
        assert_eq!(status("x.w.test", false, "a.test"), "421", "{http}");
        assert_eq!(status("x.w.test", false, "A.TEST.:443"), "421", "{http}");
        assert_eq!(status("x.w.test", false, "y.w.test"), "200", "{http}");
        assert_eq!(status("x.w.test", false, "other.example"), "200", "{http}");
        assert_eq!(status("a.test", true, "a.test"), "200", "{http}");
        // Nothing is asked of clients there; over HTTP/2 the certificate they were shown is of another.
        let want = if http == "--http2" { "421" } else { "200" };
        assert_eq!(status("a.test", true, "x.w.test"), want, "{http}");
    }
    let (_, out, _) =
        run("curl", &["-sk", "--max-time", "20", "-H", "Host: a.test", &format!("https://{}/", gateway.proxy)], b"");
    assert!(out.contains("Misdirected request"), "{out}");
}

#[test]
fn names_and_lists_that_cannot_be_used_are_faults() {
    let upstream = Upstream::start();
    for (settings, want) in [
        ("server_names: {\"*\": {client_certificate: required}}", "not a server name"),
        ("server_names: {a.test: {min_version: \"1.3\"}}", "unknown"),
        ("server_names: {a.test: {client_certificate: required}}", "no authority is named"),
        ("client_certificate: optional, client_authorities: CA, client_revoked: CA", "no revocation list"),
        ("forward_client_cert: maybe", "expected one of five words"),
        ("forward_client_cert_details: [serial]", "not a part of a certificate"),
    ] {
        let mut setup = setup(&upstream);
        setup.node.push(format!("tls: {{{}}}", settings.replace("CA", &file("ca.pem"))));
        let said = setup.try_start().err().expect("a fault");
        assert!(said.contains(want), "{settings}: {said}");
    }
}
