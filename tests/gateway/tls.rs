//! TLS from outside: curl and openssl as clients, openssl as upstream; certificates made when the tests run.

use crate::harness::gateway::{many_files, ringway};
use crate::harness::{Gateway, Setup, Upstream};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Runs a program to its end: exit code, what it printed, what it complained of.
pub(crate) fn run(program: &str, args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that has ended takes no input.
    let _ = stdin.write_all(input);
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

#[track_caller]
pub(crate) fn openssl(args: &str) {
    let args: Vec<&str> = args.split(' ').collect();
    let (code, _, why) = run("openssl", &args, b"");
    assert_eq!(code, 0, "openssl {args:?}: {why}");
}

/// A folder with an authority (`ca.pem`) and certificates of it, each with its key: `a.test` (ECDSA), `rsa.test` (RSA),
/// `w.test` for *.w.test, `up` for upstream.test and 127.0.0.1, `client`; and `old.pem`, an authority that has expired.
pub(crate) fn certs() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("ringway-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let d = dir.display();
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {ec} -keyout {d}/ca.key -out {d}/ca.pem -days 100 -subj /CN=ca.test"));
        for (name, key, subject, names) in [
            ("a.test", ec, "/CN=a.test", "DNS:a.test"),
            ("alt", "-newkey rsa:2048 -nodes", "/CN=a.test", "DNS:a.test"),
            ("w.test", ec, "/CN=w.test", "DNS:*.w.test"),
            ("up", ec, "/CN=upstream.test", "DNS:upstream.test,IP:127.0.0.1"),
            ("client", ec, "/O=O/CN=client.test", "DNS:client.test,URI:spiffe://t/client"),
        ] {
            openssl(&format!("req {key} -keyout {d}/{name}.key -out {d}/{name}.csr -subj {subject}"));
            std::fs::write(dir.join("ext"), format!("subjectAltName={names}\n")).unwrap();
            openssl(&format!(
                "x509 -req -in {d}/{name}.csr -CA {d}/ca.pem -CAkey {d}/ca.key -CAcreateserial -days 90 -extfile {d}/ext -out \
                 {d}/{name}.pem"
            ));
        }
        openssl(&format!(
            "x509 -req -in {d}/a.test.csr -CA {d}/ca.pem -CAkey {d}/ca.key -CAcreateserial -days 3 -extfile {d}/ext -out {d}/soon.pem"
        ));
        dir
    })
}

pub(crate) fn file(name: &str) -> String {
    certs().join(name).display().to_string()
}

pub(crate) fn pem(name: &str) -> String {
    std::fs::read_to_string(certs().join(name)).unwrap().trim_end().replace('\n', "\n    ")
}

/// Entities of a certificate, for kong.yml.
pub(crate) fn entity(name: &str, snis: &str) -> String {
    let alt = match name {
        "a.test" => format!("  cert_alt: |\n    {}\n  key_alt: |\n    {}\n", pem("alt.pem"), pem("alt.key")),
        _ => String::new(),
    };
    let (cert, key) = (pem(&format!("{name}.pem")), pem(&format!("{name}.key")));
    format!("- cert: |\n    {cert}\n  key: |\n    {key}\n{alt}  snis: [{snis}]\n")
}

pub(crate) fn setup(upstream: &Upstream) -> Setup {
    let mut setup = Setup::open_to(upstream.addr);
    setup.kong += &format!("certificates:\n{}{}", entity("a.test", "a.test"), entity("w.test", "'*.w.test'"));
    setup.listen = "ssl".into();
    setup
}

/// curl to the gateway as `host`; exit code and output.
pub(crate) fn curl(gateway: &Gateway, host: &str, args: &[&str]) -> (i32, String) {
    let port = gateway.proxy.port();
    let (resolve, url) = (format!("{host}:{port}:127.0.0.1"), format!("https://{host}:{port}/"));
    let ca = file("ca.pem");
    let base = ["-sS", "--http1.1", "--max-time", "20", "--cacert", &ca, "--resolve", &resolve];
    let mut all: Vec<&str> = base.to_vec();
    all.extend(args);
    if !args.iter().any(|arg| arg.starts_with("https:")) {
        all.push(&url);
    }
    let (code, out, err) = run("curl", &all, b"");
    (code, out + &err)
}

pub(crate) fn s_client(gateway: &Gateway, args: &[&str], input: &[u8]) -> String {
    let addr = gateway.proxy.to_string();
    let mut all = vec!["s_client", "-connect", &addr];
    all.extend(args);
    let (_, out, err) = run("openssl", &all, input);
    out + &err
}

#[test]
fn requests_pass_in_both_versions_over_both_drivers() {
    let upstream = Upstream::start();
    for driver in ["uring", "epoll"] {
        let gateway = setup(&upstream).driver(driver).start();
        for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
            let (code, out) = curl(&gateway, "a.test", &version);
            assert_eq!((code, out.as_str()), (0, "GET /"), "{driver} {version:?}");
        }
        let seen = upstream.log().requests.pop().unwrap();
        assert_eq!(seen.head.one("X-Forwarded-Proto"), Some("https"));
    }
}

#[test]
fn the_server_name_chooses_the_certificate() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    for (name, want) in [("a.test", "CN = a.test"), ("x.w.test", "CN = w.test"), ("other.test", "CN = localhost")] {
        let said = s_client(&gateway, &["-servername", name], b"");
        assert!(said.replace("CN=", "CN = ").contains(&format!("subject={want}")), "{name}: {said}");
    }
    // Both kinds of key of one certificate.
    for (algorithms, kind) in [("ecdsa_secp256r1_sha256", "id-ecPublicKey"), ("rsa_pss_rsae_sha256", "rsaEncryption")] {
        let said = s_client(&gateway, &["-servername", "a.test", "-sigalgs", algorithms], b"");
        assert!(said.contains(kind), "{algorithms}: {said}");
    }
}

#[test]
fn http2_is_agreed_on_by_alpn() {
    let upstream = Upstream::start();
    let body = certs().join("body-of-http2");
    let bytes: Vec<u8> = (0..300_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    std::fs::write(&body, &bytes).unwrap();
    let data = format!("@{}", body.display());
    for (listen, asked, spoken) in
        [("ssl http2", "--http2", "2"), ("ssl http2", "--http1.1", "1.1"), ("ssl", "--http2", "1.1")]
    {
        let mut setup = setup(&upstream);
        setup.listen = listen.into();
        let gateway = setup.start();
        let (code, out) = curl(&gateway, "a.test", &[asked, "-w", " over %{http_version}", "--data-binary", &data]);
        assert!(code == 0 && out.ends_with(&format!(" over {spoken}")), "{listen}, {asked}: {out}");
        gateway.wait_until("the upstream has noted it", || {
            upstream.log().requests.last().is_some_and(|seen| seen.message.is_some())
        });
        let seen = upstream.log().requests.pop().unwrap();
        assert_eq!(seen.head.one("X-Forwarded-Proto"), Some("https"), "{listen}, {asked}");
        assert!(seen.message.unwrap().unwrap().body == bytes, "{listen}, {asked}");
    }
}

#[test]
fn large_bodies_pass_both_ways() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let body = certs().join("body");
    let bytes: Vec<u8> = (0..300_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    std::fs::write(&body, &bytes).unwrap();
    let data = format!("@{}", body.display());
    for expect in ["Expect:", "Expect: 100-continue"] {
        let (code, out) = curl(&gateway, "a.test", &["--data-binary", &data, "-H", expect]);
        assert_eq!(code, 0, "{out}");
        let seen = upstream.log().requests.pop().unwrap();
        let body = seen.message.unwrap().unwrap().body;
        assert!(body == bytes, "{} bytes came", body.len());
    }
}

#[test]
fn a_session_is_resumed_and_by_another_node_with_the_same_keys() {
    let upstream = Upstream::start();
    let secret = certs().join("tickets");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef0123456789abcdef").unwrap();
    let with_keys = || {
        let mut setup = setup(&upstream);
        setup.node.push(format!("tls: {{ticket_keys: [{}]}}", secret.display()));
        setup.start()
    };
    let (one, two, other) = (with_keys(), with_keys(), setup(&upstream).start());
    for version in ["-tls1_2", "-tls1_3"] {
        let session = file(&format!("session{version}"));
        let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        let args = ["-servername", "a.test", version, "-ign_eof"];
        let mut first = args.to_vec();
        first.extend(["-sess_out", &session]);
        assert!(s_client(&one, &first, request).contains("New, TLS"), "{version}");
        let mut again = args.to_vec();
        again.extend(["-sess_in", &session]);
        assert!(s_client(&two, &again, request).contains("Reused, TLS"), "{version}");
        assert!(s_client(&other, &again, request).contains("New, TLS"), "{version}");
    }
}

#[test]
fn a_request_in_the_clear_is_told_so() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let mut client = TcpStream::connect(gateway.proxy).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("The plain HTTP request was sent to HTTPS port"), "{answer}");
}

#[test]
fn a_client_that_does_not_shake_hands_is_cut() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let begun = Instant::now();
    let mut client = TcpStream::connect(gateway.proxy).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").unwrap();
    assert_eq!(client.read(&mut [0; 64]).unwrap_or(0), 0);
    assert!((9..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // What is no handshake is answered with an alert at once.
    let mut client = TcpStream::connect(gateway.proxy).unwrap();
    client.write_all(b"\x00nonsense that is no record").unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert_eq!(curl(&gateway, "a.test", &[]).1, "GET /", "others are served");
}

#[test]
fn routes_match_server_names_and_schemes() {
    let upstream = Upstream::start();
    let mut setup = setup(&upstream);
    setup.kong = setup.kong.replace("    paths: [/]\n", "    paths: [/]\n    protocols: [https]\n    snis: [a.test]\n");
    let gateway = setup.start();
    assert_eq!(curl(&gateway, "a.test", &[]).1, "GET /");
    assert!(curl(&gateway, "x.w.test", &[]).1.contains("no Route matched"), "another name");
}

#[test]
fn a_reload_shows_another_certificate_and_drops_nobody() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let kong = gateway.dir.join("kong.yml");
    let text = std::fs::read_to_string(&kong).unwrap();
    let addr = gateway.proxy.to_string();
    let mut held = Command::new("openssl")
        .args(["s_client", "-quiet", "-servername", "a.test", "-connect", &addr])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut ask, mut hear) = (held.stdin.take().unwrap(), held.stdout.take().unwrap());
    let mut get = || {
        ask.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let mut got = String::new();
        let mut piece = [0; 4096];
        while !got.ends_with("GET /") {
            let bytes = hear.read(&mut piece).unwrap();
            assert!(bytes > 0, "the connection was closed: {got}");
            got += &String::from_utf8_lossy(&piece[..bytes]);
        }
    };
    get();
    std::fs::write(&kong, text.replace("'*.w.test'", "'*.w.test', new.test")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !s_client(&gateway, &["-servername", "new.test"], b"").replace("CN=", "CN = ").contains("subject=CN = w.test")
    {
        assert!(Instant::now() < until, "the new name is not served");
    }
    get();
    held.kill().unwrap();
    held.wait().unwrap();
}

#[test]
fn faults_of_certificates_are_found_by_check() {
    let dir = certs();
    let path = dir.join("check.yml");
    let check = |body: &str| {
        std::fs::write(&path, format!("_format_version: \"3.0\"\n{body}")).unwrap();
        let (code, out, err) = ringway(&["check", "-c", path.to_str().unwrap()]);
        (code, out + &err)
    };
    let wrong = entity("w.test", "x.test").replace(&pem("w.test.key"), &pem("up.key"));
    let authority = |name: &str| format!("ca_certificates:\n- cert: |\n    {}\n", pem(name));
    let rows = [
        (format!("certificates:\n{}", entity("a.test", "a.test")), 0, ""),
        (format!("certificates:\n{wrong}"), 1, "certificate does not match key"),
        (authority("ca.pem"), 0, ""),
        (authority("a.test.pem"), 1, "does not appear to be a CA"),
    ];
    for (body, want, why) in rows {
        let (code, said) = check(&body);
        assert_eq!(code, want, "{said}");
        assert!(said.contains(why), "{said}");
    }
    let soon = format!("certificates:\n- cert: |\n    {}\n  key: |\n    {}\n", pem("soon.pem"), pem("a.test.key"));
    let (code, said) = check(&soon);
    assert!(code == 0 && said.contains("expires in 2 days"), "{said}");
    let native = dir.join("check.yaml");
    std::fs::write(&native, "tls: {certificates: [{cert: /nowhere.pem, key: /nowhere.key}]}\n").unwrap();
    let (code, said, _) = ringway(&["check", "-c", path.to_str().unwrap(), "-c", native.to_str().unwrap()]);
    assert!(code == 1 && said.contains("cannot read /nowhere.pem"), "{said}");
}

/// openssl as an upstream that answers every request with a page about the connection.
pub(crate) struct Server(Child, pub(crate) u16);

impl Server {
    pub(crate) fn start(args: &[&str]) -> Server {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let accept = port.to_string();
        let (cert, key) = (file("up.pem"), file("up.key"));
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-cert", &cert, "-key", &key, "-accept", &accept])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "openssl does not serve");
            std::thread::yield_now();
        }
        Server(child, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn toward(server: &Server, host: &str, more: &str) -> Setup {
    let mut setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: up\n  url: https://{host}:{}\n  retries: 0\n{more}  routes:\n  - name: all\n    \
         paths: [/]\n",
        server.1
    ));
    setup.node.push(format!("tls: {{upstream_authorities: {}, system_authorities: false}}", file("ca.pem")));
    setup
}

fn get(gateway: &Gateway) -> String {
    let url = format!("http://{}/", gateway.proxy);
    run("curl", &["-sSi", "--max-time", "20", &url], b"").1
}

#[test]
fn an_upstream_is_verified() {
    let server = Server::start(&[]);
    let good = toward(&server, "127.0.0.1", "").start();
    assert!(get(&good).starts_with("HTTP/1.1 200"), "{}", get(&good));
    // Its certificate names 127.0.0.1 and not localhost.
    let wrong = toward(&server, "localhost", "").start();
    assert!(get(&wrong).starts_with("HTTP/1.1 502"), "{}", get(&wrong));
    let unverified = toward(&server, "localhost", "  tls_verify: false\n").start();
    assert!(get(&unverified).starts_with("HTTP/1.1 200"), "{}", get(&unverified));
    let clear = toward(&server, "127.0.0.1", "").start();
    assert!(get(&clear).contains("New, TLSv1.3"));
}

#[test]
fn an_upstream_is_shown_a_certificate() {
    let ca = file("ca.pem");
    let server = Server::start(&["-Verify", "1", "-CAfile", &ca, "-verify_return_error"]);
    let without = toward(&server, "127.0.0.1", "").start();
    assert!(get(&without).starts_with("HTTP/1.1 502"), "{}", get(&without));
    let id = "0855b320-0dd2-547d-891d-601e9b386470";
    let mut setup = toward(&server, "127.0.0.1", &format!("  client_certificate: {id}\n"));
    let (cert, key) = (pem("client.pem"), pem("client.key"));
    setup.kong += &format!("certificates:\n- id: {id}\n  cert: |\n    {cert}\n  key: |\n    {key}\n");
    let with = setup.start();
    assert!(get(&with).starts_with("HTTP/1.1 200"), "{}", get(&with));
}

#[test]
fn clients_show_certificates_where_they_must() {
    let upstream = Upstream::start();
    let begin = |word: &str| {
        let mut setup = setup(&upstream);
        let ca = file("ca.pem");
        setup.node.push(format!("tls: {{client_certificate: {word}, client_authorities: {ca}}}"));
        setup.start()
    };
    let (cert, key) = (file("client.pem"), file("client.key"));
    let shown = ["--cert", &cert, "--key", &key];
    let required = begin("required");
    assert_ne!(curl(&required, "a.test", &[]).0, 0);
    assert_eq!(curl(&required, "a.test", &shown), (0, "GET /".into()));
    let optional = begin("optional");
    assert_eq!(curl(&optional, "a.test", &[]), (0, "GET /".into()));
    assert_eq!(curl(&optional, "a.test", &shown), (0, "GET /".into()));
}

#[test]
fn handshakes_that_never_end_keep_nobody_out() {
    many_files();
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    // More than may be under way on its one shard, each with the beginning of a hello and no more.
    let half_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let begin = |_| {
        let mut stream = TcpStream::connect(gateway.proxy).unwrap();
        stream.write_all(half_hello).unwrap();
        stream
    };
    let stuck: Vec<TcpStream> = (0..1100).map(begin).collect();
    let gave_way = || gateway.admin("/metrics").contains("tls_handshakes_refused_total 100\n");
    gateway.wait_until("those that began first have given way", gave_way);
    for _ in 0..3 {
        assert_eq!(curl(&gateway, "a.test", &[]), (0, "GET /".into()));
    }
    // Which began first is the gateway's to say. Where it has not read all bytes, the kernel resets a connection.
    let is_closed = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.read(&mut [0; 64]).map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true)
    };
    gateway.wait_until("they are closed", || stuck.iter().filter(|stream| is_closed(stream)).count() >= 100);
    drop(stuck);
}
