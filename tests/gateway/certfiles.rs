//! Certificate files that change while they are served, what stands beside them, and what scanners say of it all.

use crate::harness::{Gateway, Setup, Upstream};
use crate::tls::{certs, curl, file, openssl, run, s_client, setup};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A folder of its own for a test, with generations of a pair in it and a link to the first.
fn folder(name: &str, pairs: &[(&str, &str)]) -> PathBuf {
    let dir = certs().join(name);
    for (generation, (cert, key)) in pairs.iter().enumerate() {
        let dir = dir.join(format!("..{generation}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::copy(file(cert), dir.join("tls.crt")).unwrap();
        std::fs::copy(file(key), dir.join("tls.key")).unwrap();
    }
    point(&dir, 0);
    dir
}

/// Makes `..data` lead to a generation in one step, as volume mounts do.
fn point(dir: &Path, generation: usize) {
    std::os::unix::fs::symlink(format!("..{generation}"), dir.join("..new")).unwrap();
    std::fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
}

fn subject(gateway: &Gateway, name: &str) -> String {
    let said = s_client(gateway, &["-servername", name], b"");
    let line = said.lines().find(|line| line.starts_with("subject=")).unwrap_or(&said).to_owned();
    line.replace("CN = ", "CN=")
}

/// A connection that stays.
struct Kept(Child, BufReader<std::process::ChildStdout>);

impl Kept {
    fn begin(gateway: &Gateway) -> Kept {
        let addr = gateway.proxy.to_string();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-servername", "other.test", "-connect", &addr]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Kept(child, out)
    }

    fn ask(&mut self) -> String {
        self.0.stdin.as_mut().unwrap().write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let (mut head, mut body) = (String::new(), vec![0; "GET /".len()]);
        while !head.ends_with("\r\n\r\n") {
            assert!(self.1.read_line(&mut head).unwrap() > 0, "the connection has ended: {head}");
        }
        self.1.read_exact(&mut body).unwrap();
        assert_eq!(body, b"GET /", "{head}");
        head
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn changed_files_are_shown_to_whoever_comes_next() {
    let upstream = Upstream::start();
    let pairs = [("a.test.pem", "a.test.key"), ("w.test.pem", "w.test.key"), ("w.test.pem", "a.test.key")];
    let dir = folder("live", &pairs);
    let data = dir.join("..data");
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "ssl".into();
    setup.kong = setup.kong.replace("  read_timeout: 1000", "  read_timeout: 20000");
    let (cert, key) = (data.join("tls.crt"), data.join("tls.key"));
    setup.node.push(format!("tls: {{certificates: [{{cert: {}, key: {}}}]}}", cert.display(), key.display()));
    let gateway = setup.start();
    assert_eq!(subject(&gateway, "other.test"), "subject=CN=a.test");
    let mut kept = Kept::begin(&gateway);
    assert!(kept.ask().contains("200"));
    point(&dir, 1);
    gateway.wait_until("the new one is shown", || subject(&gateway, "other.test") == "subject=CN=w.test");
    assert!(kept.ask().contains("200"), "whoever was there before stays");
    // A key that is not its own: said once, counted, and the pair before it is shown on.
    point(&dir, 2);
    gateway.wait_said("what was there before is shown on");
    gateway.wait_until("it is counted", || gateway.admin("/metrics").contains("ringway_certificates_broken 1\n"));
    assert_eq!(subject(&gateway, "other.test"), "subject=CN=w.test");
    assert_eq!(gateway.said().matches("certificate does not match key").count(), 1, "{}", gateway.said());
    // The rest of the configuration goes on.
    let kong = std::fs::read_to_string(gateway.dir.join("kong.yml")).unwrap();
    gateway.put_kong(&kong.replace("paths: [/]", "paths: [/only]"));
    gateway.wait_until("the route has changed", || curl(&gateway, "a.test", &["-k"]).1.contains("no Route"));
    point(&dir, 0);
    gateway.wait_until("the good one is shown", || subject(&gateway, "other.test") == "subject=CN=a.test");
    gateway.wait_until("none is broken", || gateway.admin("/metrics").contains("ringway_certificates_broken 0\n"));
    assert!(kept.0.try_wait().unwrap().is_none(), "the first connection is still there");
}

#[test]
fn a_renewed_certificate_leaves_what_was_handed_in_serving() {
    let upstream = Upstream::start();
    let dir = folder("posted", &[("a.test.pem", "a.test.key"), ("w.test.pem", "w.test.key")]);
    let data = dir.join("..data");
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "ssl".into();
    let (cert, key) = (data.join("tls.crt"), data.join("tls.key"));
    setup.node.push(format!("tls: {{certificates: [{{cert: {}, key: {}}}]}}", cert.display(), key.display()));
    let gateway = setup.clone().start();
    let posted = setup.kong.replace("paths: [/]", "paths: [/posted]");
    assert_eq!(gateway.post_config("", &posted).0, 201);
    let get = |path| curl(&gateway, "a.test", &["-k", &format!("https://a.test:{}{path}", gateway.proxy.port())]).1;
    let is_posted = || {
        assert_eq!(get("/posted"), "GET /posted");
        assert_eq!(gateway.status()["configuration"]["handed_in"], true);
    };
    is_posted();
    point(&dir, 1);
    gateway.wait_until("the new one is shown", || subject(&gateway, "other.test") == "subject=CN=w.test");
    is_posted();
    // One that is refused does not end the watch over what is served.
    for refused in ["services: [{name: s}]", "plugins: [{name: rate-limiting, config: {minute: 1, error_code: 100}}]"] {
        assert_eq!(gateway.post_config("", &format!("_format_version: \"3.0\"\n{refused}\n")).0, 400, "{refused}");
    }
    point(&dir, 0);
    gateway.wait_until("the first one is shown", || subject(&gateway, "other.test") == "subject=CN=a.test");
    is_posted();
    gateway.put_kong(&setup.kong.replace("paths: [/]", "paths: [/file]"));
    gateway.wait_until("the files win", || get("/file") == "GET /file");
    assert_eq!(gateway.status()["configuration"]["handed_in"], false);
}

#[test]
fn entities_may_name_files() {
    let upstream = Upstream::start();
    let dir = folder("entity", &[("a.test.pem", "a.test.key"), ("alt.pem", "alt.key")]);
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "ssl".into();
    let data = dir.join("..data");
    setup.kong +=
        &format!("certificates:\n- cert: {0}/tls.crt\n  key: {0}/tls.key\n  snis: [a.test]\n", data.display());
    let gateway = setup.clone().start();
    assert_eq!(curl(&gateway, "a.test", &[]), (0, "GET /".into()));
    let kind = || s_client(&gateway, &["-servername", "a.test"], b"");
    assert!(kind().contains("id-ecPublicKey"));
    point(&dir, 1);
    gateway.wait_until("the new one is shown", || kind().contains("rsaEncryption"));
    drop(gateway);
    setup.kong = setup.kong.replace("tls.crt", "gone.crt");
    let said = setup.try_start().err().unwrap();
    assert!(said.contains("cannot read") && said.contains("gone.crt"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_leaves_the_old_configuration_and_says_where() {
    let upstream = Upstream::start();
    let dir = folder("gone", &[("a.test.pem", "a.test.key")]);
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "ssl".into();
    let data = dir.join("..data");
    setup.kong +=
        &format!("certificates:\n- cert: {0}/tls.crt\n  key: {0}/tls.key\n  snis: [a.test]\n", data.display());
    let gateway = setup.clone().start();
    let serves = || assert_eq!(curl(&gateway, "a.test", &[]), (0, "GET /".into()));
    serves();
    let hash = || gateway.status()["configuration_hash"].clone();
    let before = hash();
    // The configuration names another file, and other routes: neither is served.
    gateway.put_kong(&setup.kong.replace("tls.crt", "gone.crt").replace("paths: [/]", "paths: [/other]"));
    gateway.signal("HUP");
    let line = 1 + setup.kong.lines().position(|line| line.starts_with("- cert: ")).unwrap();
    let what = format!("kong.yml:{line}:3: cannot read {}/gone.crt: ", data.display());
    gateway.wait_said(&what);
    gateway.wait_until("it is told of", || gateway.status()["reload"]["failure"] == 1);
    let told = gateway.status()["reload"].clone();
    assert!(told["last_successful"] == false && told.to_string().contains("gone.crt"), "{told}");
    assert_eq!(hash(), before);
    serves();
    // It is the old one again, but now its file is away.
    let (file, away) = (data.join("tls.crt"), dir.join("away"));
    gateway.put_kong(&setup.kong);
    gateway.wait_until("it is mended", || gateway.status()["reload"]["last_successful"] == true);
    std::fs::rename(&file, &away).unwrap();
    gateway.signal("HUP");
    gateway.wait_said(&format!("kong.yml:{line}:3: cannot read {}: ", file.display()));
    serves();
    std::fs::rename(&away, &file).unwrap();
    gateway.wait_until("it is there again", || gateway.status()["reload"]["last_successful"] == true);
    serves();
}

/// What the authority says of `a.test`, DER.
fn staple() -> String {
    let dir = certs().join("ocsp");
    std::fs::create_dir_all(&dir).unwrap();
    let d = dir.display();
    let (ca, key, cert) = (file("ca.pem"), file("ca.key"), file("a.test.pem"));
    let (_, serial, _) = run("openssl", &["x509", "-in", &cert, "-noout", "-serial"], b"");
    let serial = serial.trim().rsplit('=').next().unwrap().to_owned();
    std::fs::write(dir.join("index"), format!("V\t360101000000Z\t\t{serial}\tunknown\t/CN=a.test\n")).unwrap();
    openssl(&format!("ocsp -issuer {ca} -cert {cert} -reqout {d}/ask.der -no_nonce"));
    openssl(&format!(
        "ocsp -index {d}/index -CA {ca} -rsigner {ca} -rkey {key} -reqin {d}/ask.der -respout {d}/staple.der -ndays 7"
    ));
    format!("{d}/staple.der")
}

#[test]
fn what_the_authority_says_is_stapled() {
    let upstream = Upstream::start();
    let (cert, key, staple) = (file("a.test.pem"), file("a.test.key"), staple());
    let begin = |staple: &str| {
        let mut setup = Setup::open_to(upstream.addr);
        setup.listen = "ssl".into();
        setup.node.push(format!("tls: {{certificates: [{{cert: {cert}, key: {key}, staple: {staple}}}]}}"));
        setup.try_start()
    };
    let gateway = begin(&staple).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client(&gateway, &["-servername", "a.test", "-status", version], b"");
        assert!(said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good"), "{said}");
    }
    for (bad, want) in [(cert.as_str(), "no successful OCSP answer"), ("/nowhere", "cannot read /nowhere")] {
        let said = begin(bad).err().unwrap();
        assert!(said.contains(want), "{said}");
    }
}

#[test]
fn scanners_find_no_weakness() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let addr = gateway.proxy.to_string();
    let (code, said, why) = run("sslscan", &["--no-colour", "--sni-name=a.test", &addr], b"");
    assert_eq!(code, 0, "{why}");
    for want in [
        "SSLv2     disabled",
        "SSLv3     disabled",
        "TLSv1.0   disabled",
        "TLSv1.1   disabled",
        "TLSv1.2   enabled",
        "TLSv1.3   enabled",
        "Session renegotiation not supported",
        "TLSv1.3 not vulnerable to heartbleed",
        "TLSv1.2 not vulnerable to heartbleed",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    let suites = said.lines().filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted"));
    let suites: Vec<&str> = suites.filter_map(|line| line.split_whitespace().nth(4)).collect();
    assert!(suites.len() >= 9, "{said}");
    let strong = |suite: &&str| suite.starts_with("TLS_") || suite.starts_with("ECDHE-");
    let sealed = |suite: &&str| suite.contains("GCM") || suite.contains("CHACHA20");
    assert!(suites.iter().all(|suite| strong(suite) && sealed(suite)), "{suites:?}");
}

#[test]
fn testssl_finds_no_weakness() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let addr = gateway.proxy.to_string();
    let report = certs().join("testssl.json");
    std::fs::remove_file(&report).ok();
    let report_path = report.display().to_string();
    // Protocols, kinds of suites, and what follows from them.
    let mut args = vec!["--quiet", "--warnings", "batch", "--color", "0", "--sneaky", "--jsonfile", &report_path];
    args.extend(["--protocols", "--std", "--renegotiation", "--compression", "--freak", "--sweet32", "--beast", &addr]);
    let (_, said, why) = run("testssl", &args, b"");
    let text = std::fs::read_to_string(&report).unwrap_or_else(|_| panic!("{said}{why}"));
    let found: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(found.len() > 15, "{text}");
    // That its own openssl has no engine for GOST says nothing of the gateway.
    for one in found.iter().filter(|one| one["id"] != "engine_problem") {
        let severity = one["severity"].as_str().unwrap_or_default();
        assert!(["OK", "INFO"].contains(&severity), "{one}");
    }
    let of = |id: &str| found.iter().find(|one| one["id"] == id).map(|one| one["finding"].to_string());
    for id in ["secure_client_renego", "CRIME_TLS", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_LOW"] {
        let finding = of(id).unwrap_or_else(|| panic!("{id}: {text}"));
        assert!(finding.contains("not"), "{id}: {finding}");
    }
}

#[test]
fn a_pair_that_does_not_fit_is_told_with_its_place_and_files() {
    let path = certs().join("misfit.yaml");
    let (cert, key) = (file("w.test.pem"), file("a.test.key"));
    let text =
        format!("listeners: [\"127.0.0.1:8443 ssl\"]\ntls:\n  certificates:\n  - {{cert: {cert}, key: {key}}}\n");
    std::fs::write(&path, text).unwrap();
    let (code, out, err) = crate::harness::gateway::ringway(&["check", "-c", &path.display().to_string()]);
    let want = format!("misfit.yaml:4:5: certificate does not match key ({cert} {key})");
    assert!(code == 1 && out.contains(&want), "{code} {out}{err}");
}
