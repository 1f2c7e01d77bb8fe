//! Issuers of tokens whose keys the gateway fetches: real keys made by openssl, tokens by `jsonwebtoken`, a real endpoint
//! that is stopped and started again.

use crate::harness::{ports, Gateway, Setup, Upstream};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{encode, Algorithm, EncodingKey, Header};
use serde_json::{json, Value};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

fn openssl(args: &[&str]) -> String {
    let out = Command::new("openssl").args(args).output().expect("openssl is installed");
    assert!(out.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// An RSA key of an issuer.
struct SigningKey {
    kid: String,
    pem: String,
    jwk: Value,
}

impl SigningKey {
    fn new(folder: &Path, kid: &str) -> SigningKey {
        let file = folder.join(format!("{kid}.pem"));
        let path = file.to_str().unwrap();
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path]);
        let modulus = openssl(&["rsa", "-in", path, "-noout", "-modulus"]);
        let hex = modulus.trim().strip_prefix("Modulus=").unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let jwk =
            json!({"kty": "RSA", "kid": kid, "use": "sig", "n": BASE64_URL_SAFE_NO_PAD.encode(bytes), "e": "AQAB"});
        SigningKey { kid: kid.to_owned(), pem: std::fs::read_to_string(&file).unwrap(), jwk }
    }

    /// A token of `issuer` for `subject`, good for a minute, whose header says `kid`.
    fn token_as(&self, issuer: &str, subject: &str, kid: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::RS256) };
        let claims = json!({"iss": issuer, "sub": subject, "aud": ["api"], "iat": now, "exp": now + 60});
        encode(&header, &claims, &EncodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap()).unwrap()
    }

    /// One whose header says nothing of the key.
    fn token_without_kid(&self, issuer: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({"iss": issuer, "sub": "u", "exp": now + 60});
        let key = EncodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap();
        encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
    }

    fn token(&self, issuer: &str, subject: &str) -> String {
        self.token_as(issuer, subject, &self.kid)
    }
}

/// A folder that is removed with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("ringway-issuer-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An endpoint over HTTP: `/keys` are the keys, and the discovery document leads there. Every answer closes.
struct Endpoint {
    port: u16,
    pages: Arc<Mutex<Vec<(String, String)>>>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    fn on(port: u16) -> Endpoint {
        let mut endpoint =
            Endpoint { port, pages: Arc::default(), asked: Arc::default(), stop: Arc::default(), thread: None };
        endpoint.start();
        endpoint
    }

    fn issuer(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
        let discovery = json!({"issuer": self.issuer(), "jwks_uri": format!("{}/keys", self.issuer())});
        *self.pages.lock().unwrap() = vec![
            ("/keys".to_owned(), json!({ "keys": keys }).to_string()),
            ("/.well-known/openid-configuration".to_owned(), discovery.to_string()),
        ];
    }

    /// How often the keys were asked for.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        self.stop.store(false, Ordering::SeqCst);
        let (pages, asked, stop) = (self.pages.clone(), self.asked.clone(), self.stop.clone());
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream.unwrap(), &pages, &asked);
            }
        }));
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it, so that it sees.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        thread.join().unwrap();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, pages: &Mutex<Vec<(String, String)>>, asked: &AtomicUsize) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    asked.fetch_add(usize::from(path == "/keys"), Ordering::SeqCst);
    let page = pages.lock().unwrap().iter().find(|(held, _)| held == path).map(|(_, text)| text.clone());
    let (status, text) = page.map_or(("404 Not Found", String::new()), |text| ("200 OK", text));
    let length = text.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{text}");
}

/// A gateway whose one route wants tokens of the issuer.
fn gateway(upstream: &Upstream, config: &str) -> Setup {
    Setup::kong(format!(
        "_format_version: \"3.0\"\nservices: [{{name: s, url: \"http://{}\", routes: [{{name: r, paths: [/]}}]}}]\n\
         plugins: [{{name: jwt, config: {config}}}]\n",
        upstream.addr
    ))
}

/// Status of the answer to a token, and its body.
fn ask(gateway: &Gateway, token: &str) -> (u16, String) {
    let answer = gateway.client().get("/x", &format!("Authorization: Bearer {token}\r\n"));
    (answer.head.status(), String::from_utf8_lossy(&answer.body).into_owned())
}

fn counter(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.admin("/metrics");
    let line = metrics.lines().find(|line| line.starts_with(&format!("ringway_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{metrics}"))
}

#[test]
fn keys_are_discovered_rotated_and_kept_while_their_issuer_is_down() {
    let folder = Folder::new("rotated");
    let [one, two, three] = ["one", "two", "three"].map(|kid| SigningKey::new(&folder.0, kid));
    let mut endpoint = Endpoint::on(ports::free());
    endpoint.publish(&[&one]);
    let issuer = endpoint.issuer();
    let upstream = Upstream::start();
    let config = format!("{{issuer: \"{issuer}\", audiences: [api], claims_to_headers: {{sub: X-User}}}}");
    let gateway = gateway(&upstream, &config).start();
    // The first request may come before the keys; it waits for them.
    let first = one.token(&issuer, "u-1");
    assert_eq!(ask(&gateway, &first).0, 200);
    let seen = upstream.log().requests.pop().unwrap();
    assert_eq!((seen.head.one("X-User"), seen.head.one("X-Credential-Identifier")), (Some("u-1"), Some("u-1")));
    assert_eq!(endpoint.asked(), 1);

    // The issuer is down. A key that nobody knows has it asked, in vain; the keys that are there count on.
    endpoint.stop();
    let (status, body) = ask(&gateway, &two.token(&issuer, "u-2"));
    assert_eq!((status, body.as_str()), (401, r#"{"message":"No key of the issuer found for given 'kid'"}"#));
    gateway.wait_until("a fetch has failed", || counter(&gateway, "jwks_fetch_failures_total") > 0);
    assert_eq!(ask(&gateway, &first).0, 200);
    assert_eq!(ask(&gateway, &one.token(&issuer, "u-3")).0, 200, "one that was not remembered");
    gateway.wait_said("the last ones are used on");

    // It is back with another key; the next try finds it, and the old key counts no more.
    endpoint.publish(&[&two]);
    endpoint.start();
    gateway.wait_until("the new key is fetched", || ask(&gateway, &two.token(&issuer, "u-4")).0 == 200);
    assert_eq!(ask(&gateway, &first).0, 401, "it was remembered, and its key is gone");
    let said = gateway.said();
    assert_eq!(said.matches("the last ones are used on").count(), 1, "once per change:\n{said}");

    // Names of keys that somebody makes up do not reach the issuer.
    let before = endpoint.asked();
    for n in 0..40 {
        assert_eq!(ask(&gateway, &three.token_as(&issuer, "u", &format!("made-up-{n}"))).0, 401);
    }
    assert_eq!(endpoint.asked(), before);

    // A reload keeps the keys: the issuer is not needed for it.
    endpoint.stop();
    let reloaded = config.replace("[api]", "[api, web]");
    let hash = gateway.status()["configuration_hash"].clone();
    gateway.put_kong(&format!(
        "_format_version: \"3.0\"\nservices: [{{name: s, url: \"http://{}\", routes: [{{name: r, paths: [/]}}]}}]\n\
         plugins: [{{name: jwt, config: {reloaded}}}]\n",
        upstream.addr
    ));
    gateway.signal("HUP");
    gateway.wait_until("it is served", || gateway.status()["configuration_hash"] != hash);
    assert_eq!(ask(&gateway, &two.token(&issuer, "u-5")).0, 200);
}

#[test]
fn a_new_key_is_fetched_for_the_request_that_brings_it() {
    let folder = Folder::new("new-key");
    let [one, two] = ["one", "two"].map(|kid| SigningKey::new(&folder.0, kid));
    let endpoint = Endpoint::on(ports::free());
    endpoint.publish(&[&one]);
    let (issuer, upstream) = (endpoint.issuer(), Upstream::start());
    let gateway = gateway(&upstream, &format!("{{jwks_uri: \"{issuer}/keys\"}}")).start();
    assert_eq!(ask(&gateway, &one.token("anybody", "u")).0, 200);
    endpoint.publish(&[&one, &two]);
    // All at once, on whatever shard: each waits for the one fetch, and none is refused.
    let new = two.token("anybody", "u");
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| ask(&gateway, &new).0)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!((answers, endpoint.asked()), (vec![200; 16], 2));
}

#[test]
fn a_token_without_kid_is_tried_with_newer_keys_at_a_bounded_rate() {
    let folder = Folder::new("no-kid");
    let [one, two, three] = ["one", "two", "three"].map(|kid| SigningKey::new(&folder.0, kid));
    let endpoint = Endpoint::on(ports::free());
    endpoint.publish(&[&one]);
    let (issuer, upstream) = (endpoint.issuer(), Upstream::start());
    let gateway = gateway(&upstream, &format!("{{jwks_uri: \"{issuer}/keys\"}}")).start();
    assert_eq!(ask(&gateway, &one.token_without_kid("anybody")).0, 200);
    endpoint.publish(&[&one, &two]);
    assert_eq!(ask(&gateway, &two.token_without_kid("anybody")).0, 200);
    assert_eq!(endpoint.asked(), 2);
    for _ in 0..20 {
        let (status, body) = ask(&gateway, &three.token_without_kid("anybody"));
        assert_eq!((status, body.as_str()), (401, r#"{"message":"Invalid signature"}"#));
    }
    assert_eq!(endpoint.asked(), 2);
}

/// RFC 7517 §5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" (key type) values that are not
/// understood by them, that are missing required members, or for which values are out of the supported ranges."
#[test]
fn keys_that_are_not_understood_take_no_others_away() {
    let folder = Folder::new("odd");
    let one = SigningKey::new(&folder.0, "one");
    let endpoint = Endpoint::on(ports::free());
    endpoint.publish(&[&one]);
    let x = BASE64_URL_SAFE_NO_PAD.encode([7; 57]);
    let odd = [
        json!({"kty": "OKP", "crv": "Ed448", "kid": "ed448", "use": "sig", "x": x}),
        json!({"kty": "OKP", "crv": "Ed448", "alg": "Ed448", "kid": "named", "x": x}),
        json!({"kty": "EC", "crv": "secp256k1", "alg": "ES256K", "kid": "k1", "x": x, "y": x}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": x}),
        json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": one.jwk["n"], "e": "AQAB"}),
    ];
    let mut keys = odd.to_vec();
    keys.insert(2, one.jwk.clone());
    endpoint.pages.lock().unwrap()[0].1 = json!({ "keys": keys }).to_string();
    let (issuer, upstream) = (endpoint.issuer(), Upstream::start());
    let gateway = gateway(&upstream, &format!("{{jwks_uri: \"{issuer}/keys\"}}")).start();
    assert_eq!(ask(&gateway, &one.token("anybody", "u")).0, 200);
    assert_eq!(ask(&gateway, &one.token_without_kid("anybody")).0, 200);
    assert_eq!(ask(&gateway, &one.token_as("anybody", "u", "ed448")).0, 401);
    assert_eq!(counter(&gateway, "jwks_fetch_failures_total"), 0);
    assert!(counter(&gateway, "jwks_keys_ignored_total") >= odd.len() as u64);
}

#[test]
fn a_claim_may_name_one_of_our_consumers() {
    let folder = Folder::new("claim");
    let one = SigningKey::new(&folder.0, "one");
    let endpoint = Endpoint::on(ports::free());
    endpoint.publish(&[&one]);
    let (issuer, upstream) = (endpoint.issuer(), Upstream::start());
    let mut setup = gateway(&upstream, &format!("{{jwks_uri: \"{issuer}/keys\", consumer_claim: sub}}"));
    setup.kong += "consumers: [{username: ann, custom_id: a-1}]\n";
    let gateway = setup.start();
    for name in ["ann", "a-1"] {
        assert_eq!(ask(&gateway, &one.token("anybody", name)).0, 200, "{name}");
        let seen = upstream.log().requests.pop().unwrap();
        let heard = (seen.head.one("X-Consumer-Username"), seen.head.one("X-Consumer-Custom-ID"));
        assert_eq!(heard, (Some("ann"), Some("a-1")), "{name}");
    }
    let (status, body) = ask(&gateway, &one.token("anybody", "nobody"));
    assert_eq!((status, body.as_str()), (401, r#"{"message":"Could not find consumer for the token"}"#));
}

#[test]
fn an_issuer_that_was_never_there_is_a_503_until_it_comes() {
    let folder = Folder::new("absent");
    let one = SigningKey::new(&folder.0, "one");
    let port = ports::free();
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, &format!("{{jwks_uri: \"http://127.0.0.1:{port}/keys\"}}")).start();
    let token = one.token("anybody", "u");
    assert_eq!(ask(&gateway, &token), (503, r#"{"message":"The keys of the issuer are not available"}"#.to_owned()));
    assert_eq!(upstream.log().requests.len(), 0);
    gateway.wait_said("and there are none");
    let endpoint = Endpoint::on(port);
    // What is too large is not taken, though it holds the key.
    let large = json!({ "keys": [one.jwk] }).to_string() + &" ".repeat(600_000);
    *endpoint.pages.lock().unwrap() = vec![("/keys".to_owned(), large)];
    gateway.wait_until("it is asked", || endpoint.asked() > 0);
    assert_eq!(ask(&gateway, &token).0, 503);
    endpoint.publish(&[&one]);
    gateway.wait_until("the keys are there", || ask(&gateway, &token).0 == 200);
}

/// `openssl s_server`, which serves the files of a folder over TLS.
struct Safe(Child);

impl Drop for Safe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_issuer_over_https_is_verified_by_the_systems_store() {
    let folder = Folder::new("https");
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let one = SigningKey::new(&folder.0, "one");
    std::fs::write(path("keys"), json!({ "keys": [one.jwk] }).to_string()).unwrap();
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let request = |more: &[&str]| openssl(&[&["req", "-x509"][..], &new[..], more].concat());
    request(&["-keyout", &path("ca.key"), "-out", &path("ca.pem"), "-subj", "/CN=a test's authority"]);
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let (key, cert) = (path("tls.key"), path("tls.pem"));
    let (authority, authority_key) = (path("ca.pem"), path("ca.key"));
    let signed = ["-CA", &authority, "-CAkey", &authority_key, "-keyout", &key, "-out", &cert];
    request(&[&signed[..], &name[..], &leaf[..]].concat());
    let port = ports::free();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", &port.to_string(), "-key", &key, "-cert", &cert, "-WWW", "-quiet"]);
    server.current_dir(&folder.0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Safe(server.spawn().unwrap());
    let upstream = Upstream::start();
    let config = format!("{{jwks_uri: \"https://localhost:{port}/keys\"}}");
    let token = one.token("anybody", "u");

    let trusting = gateway(&upstream, &config).env("SSL_CERT_FILE", &authority).start();
    trusting.wait_until("the keys are fetched", || ask(&trusting, &token).0 == 200);

    let wary = gateway(&upstream, &config).env("SSL_CERT_FILE", "").start();
    wary.wait_said("cannot fetch the keys of the issuer");
    assert_eq!(ask(&wary, &token).0, 503);
    assert!(wary.said().contains("certificate"), "{}", wary.said());
}
