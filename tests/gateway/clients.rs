//! Clients and servers of other hands: WebSockets by Python's `websockets`, HTTP/2 by its `h2`.

use crate::harness::greeter::{script, PYTHON};
use crate::harness::{Gateway, Setup, Upstream};
use crate::tls::{entity, file, setup};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A server of `peers/websocket.py`; it ends when this is dropped.
struct Server(Child, u16);

impl Server {
    fn start() -> Server {
        let mut command = Command::new(PYTHON);
        command.arg(script("websocket.py")).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("it prints its port; tests/run installs python3-websockets");
        Server(child, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a script prints.
#[track_caller]
fn told(name: &str, args: &[&str], gateway: &Gateway) -> String {
    let out = Command::new(PYTHON).arg(script(name)).args(args).stdin(Stdio::null()).output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{name} {args:?}: {said}{why}{}", gateway.said());
    said.into_owned()
}

#[test]
fn websockets_of_a_library_pass() {
    let server = Server::start();
    let want = "subprotocol\ncompression\nmessages\nfragments\nping\nmany at once\nclose\n";
    for driver in ["uring", "epoll"] {
        for listen in ["", "ssl", "ssl http2"] {
            let mut setup = Setup::open_to(([127, 0, 0, 1], server.1).into()).driver(driver);
            setup.kong += &format!("certificates:\n{}", entity("a.test", "a.test"));
            setup.listen = listen.into();
            let gateway = setup.start();
            let ca = file("ca.pem");
            let said = if listen.is_empty() {
                told("websocket.py", &["ask", &format!("ws://{}/", gateway.proxy)], &gateway)
            } else {
                told("websocket.py", &["ask", &format!("wss://{}/", gateway.proxy), &ca], &gateway)
            };
            assert_eq!(said, want, "{driver} {listen}");
        }
    }
}

#[test]
fn http2_of_a_library_is_served() {
    let upstream = Upstream::start();
    let want = "request\nstreams\nHEAD\nlarge body\ntrailers\nreset\nping\ncookies\nsettings\nend\n";
    for driver in ["uring", "epoll"] {
        for listen in ["http2", "ssl http2"] {
            let mut setup = setup(&upstream).driver(driver);
            setup.listen = listen.into();
            let gateway = setup.start();
            let (proxy, ca) = (gateway.proxy.to_string(), file("ca.pem"));
            let args: &[&str] = if listen == "http2" { &[&proxy] } else { &[&proxy, &ca] };
            assert_eq!(told("h2_client.py", args, &gateway), want, "{driver} {listen}");
        }
    }
    let log = upstream.log();
    let of = |path: &str| log.requests.iter().find(|seen| seen.head.target() == path).expect("it came");
    assert_eq!(of("/cookies").head.one("cookie"), Some("a=1; b=2"));
    let body = &of("/large").message.as_ref().unwrap().as_ref().unwrap().body;
    assert!(body.len() == 400_000 && body.iter().all(|&byte| byte == b'z'));
}
