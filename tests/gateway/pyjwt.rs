//! Tokens as a library of others makes them: PyJWT's, of every algorithm, good and forged.

use crate::harness::echo::Echo;
use crate::harness::gateway::ringway;
use crate::harness::Setup;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::Command;

/// What pyjwt.py prints.
#[derive(Deserialize)]
struct Made {
    secret: String,
    /// Public keys by algorithm, as PEM.
    public: BTreeMap<String, String>,
    /// One of a curve that is not served.
    ed448: String,
    /// A name, a token, and the status it has to get.
    rows: Vec<(String, String, u16)>,
}

fn made() -> Made {
    // The system's own interpreter: that of a version manager has other packages. tests/run installs python3-jwt.
    let python = "/usr/bin/python3";
    let out = Command::new(python).args(["-c", include_str!("pyjwt.py")]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn secrets(made: &Made) -> String {
    let mut text = String::new();
    for alg in ["HS256", "HS384", "HS512"] {
        text += &format!("  - {{key: {alg}, algorithm: {alg}, secret: {}}}\n", made.secret);
    }
    for (alg, pem) in &made.public {
        text += &format!("  - {{key: {alg}, algorithm: {alg}, rsa_public_key: {}}}\n", serde_json::json!(pem));
    }
    text
}

#[test]
fn tokens_of_pyjwt_are_taken_and_forged_ones_are_not() {
    let (made, up) = (made(), Echo::start("UP"));
    let gateway = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices: [{{name: s, url: \"http://{}\", routes: [{{name: r, paths: [/]}}]}}]\n\
         plugins: [{{name: jwt, config: {{claims_to_verify: [exp, nbf, iat]}}}}]\nconsumers:\n- username: bob\n  jwt_secrets:\n{}",
        up.addr,
        secrets(&made)
    ))
    .start();
    let mut wrong = Vec::new();
    for (name, token, want) in &made.rows {
        let mut client = gateway.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: client.test\r\nAuthorization: Bearer {token}\r\n\r\n"));
        let status = client.answer("GET").map(|answer| answer.head.status());
        if status.as_ref().ok() != Some(want) {
            wrong.push(format!("{name}: {status:?}, wanted {want}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), made.rows.len(), wrong.join("\n"));
    assert_eq!(made.rows.iter().filter(|row| row.2 == 200).count(), 13);
    assert_eq!(up.take_count(), 13);
}

#[test]
fn a_key_of_a_curve_that_is_not_served_is_a_fault_of_the_file() {
    let dir = std::env::temp_dir().join(format!("ringway-ed448-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("kong.yml");
    let text = format!(
        "_format_version: \"3.0\"\nconsumers: [{{username: bob, jwt_secrets: [{{key: a, algorithm: EdDSA, rsa_public_key: {}}}]}}]\n",
        serde_json::json!(made().ed448)
    );
    std::fs::write(&path, text).unwrap();
    let (code, out, err) = ringway(&["check", "-c", &path.display().to_string()]);
    std::fs::remove_dir_all(&dir).ok();
    assert!(code == 1 && format!("{out}{err}").contains("not an Ed25519 public key"), "{code} {out}{err}");
}
