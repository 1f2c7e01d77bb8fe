//! The service of `config/greeter.proto`: a server of grpcio (`python3-grpcio`), for what must hold with a real one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The system's own Python, whose packages `tests/run` installs: another one on the path may lack them.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A file of `tests/gateway/peers`.
pub(crate) fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/peers").join(name)
}

/// A running server; it ends when this is dropped.
pub(crate) struct Greeter {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Greeter {
    /// Starts one on a port of its own.
    #[track_caller]
    pub(crate) fn start() -> Greeter {
        Greeter::with(&[])
    }

    /// Starts one with a key and a certificate, PEM files.
    #[track_caller]
    pub(crate) fn with(files: &[&str]) -> Greeter {
        let mut command = Command::new(PYTHON);
        command.arg(script("greeter.py")).args(files).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{PYTHON}: {error}; tests/run installs it"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("greeter.py prints its port; tests/run installs python3-grpcio");
        Greeter { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
