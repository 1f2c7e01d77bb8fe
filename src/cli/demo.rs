//! `ringway demo`: upstreams, a gateway before them, a request and its answer, on a bare machine.
//!
//! Everything runs in this process: two upstreams on threads of their own, and the gateway by the configuration that is
//! printed in `config/demo.yaml`. With `--once` it ends after the request.

use super::echo::Upstream;
use super::run::begin;
use super::{say, seam};
use crate::control::{Line, Loaded};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Port of the gateway.
    #[arg(long, default_value_t = GATEWAY)]
    port: u16,
    /// Port of the Admin API; by default the one after the gateway's.
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// End after the first request. Exit code 0 if it was answered with 200.
    #[arg(long)]
    once: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringway demo                 then, in another terminal: curl -i http://127.0.0.1:8000/hello
  ringway demo --port 9000     where 8000 is taken; the Admin API is then on 9001
  ringway demo --once          one request, and the end: a check that this machine can run it";

/// The configuration, with the addresses that follow.
const TEXT: &str = include_str!("../../config/demo.yaml");
const GATEWAY: u16 = 8000;
const ADMIN: u16 = 8001;
/// The upstreams by name and port in [`TEXT`].
const UPSTREAMS: [(&str, u16); 2] = [("hello", 18081), ("echo", 18082)];

/// How long the gateway may take to accept, s; a debug build on a busy machine needs a second.
const START_S: u64 = 20;

/// Runs it.
pub(super) fn main(args: &Args) -> ExitCode {
    let admin = args.admin_port.unwrap_or_else(|| args.port.wrapping_add(1).max(1));
    for port in [args.port, admin] {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            let other = args.port.wrapping_add(1000).max(1024);
            eprintln!("ringway: port {port} of 127.0.0.1 cannot be had: {error}\ntry: ringway demo --port {other}");
            return ExitCode::FAILURE;
        }
    }
    let text = match config(args.port, admin) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("ringway: the demo's upstreams cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    let load = move |posted: Option<&str>| -> Loaded { seam::load_text("demo.yaml", &text, posted) };
    let loaded = load(None);
    let (line, inbox) = Line::new();
    let (first, reopen, journal) = match begin(loaded) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let (port, once, good) = (args.port, args.once, Arc::new(AtomicBool::new(false)));
    let (told, answered) = (line.clone(), good.clone());
    let guest = thread::Builder::new().name("demo-client".to_owned()).spawn(move || {
        answered.store(show(port, admin, once), Ordering::Release);
        if once {
            told.stop();
        }
    });
    if let Err(error) = guest {
        eprintln!("ringway: the demo's client cannot start: {error}");
        return ExitCode::FAILURE;
    }
    let code = seam::serve(seam::Start { first, load: Arc::new(load), line, inbox, reopen, journal });
    match once && !good.load(Ordering::Acquire) {
        true => ExitCode::FAILURE,
        false => code,
    }
}

/// Starts the upstreams; the configuration with the ports as they are.
fn config(port: u16, admin: u16) -> io::Result<String> {
    let mut text = TEXT.to_owned();
    let mut replace = |from: u16, to: u16| {
        text = text.replace(&format!("127.0.0.1:{from}\n"), &format!("127.0.0.1:{to}\n"));
    };
    for (name, wanted) in UPSTREAMS {
        let upstream = Upstream::start(name, SocketAddr::from((Ipv4Addr::LOCALHOST, wanted)))?;
        replace(wanted, upstream.addr.port());
    }
    // The Admin API first: its new port may be the gateway's old one, and must not be replaced twice.
    replace(ADMIN, admin);
    if port != GATEWAY {
        let (before, after) = text.split_once("\nadmin:").unwrap_or((&text, ""));
        let before = before.replace(&format!("127.0.0.1:{GATEWAY}\n"), &format!("127.0.0.1:{port}\n"));
        text = format!("{before}\nadmin:{after}");
    }
    Ok(text)
}

/// Waits for the gateway, sends a request, shows both. Was it answered with 200?
fn show(port: u16, admin: u16, once: bool) -> bool {
    let request =
        format!("GET /hello HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: demo\r\nConnection: close\r\n\r\n");
    let answer = match exchange(port, &request) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("ringway: the gateway on port {port} does not answer: {error}");
            return false;
        }
    };
    let quoted = |mark: &str, text: &str| -> String {
        text.trim_end().lines().map(|line| format!("{mark} {}", line.trim_end()).trim_end().to_owned() + "\n").collect()
    };
    say(&format!("\n{}{}", quoted(">", &request), quoted("<", &answer)));
    if !once {
        say(&format!(
            "\nNow it is your turn, in another terminal:\n\
             \n  curl -i http://127.0.0.1:{port}/hello\
             \n  curl -i http://127.0.0.1:{port}/echo/any/path -d 'some body'\
             \n  curl -i http://127.0.0.1:{port}/limited                          # six times: the last is refused\
             \n  curl -i http://127.0.0.1:{port}/secure                           # 401\
             \n  curl -i http://127.0.0.1:{port}/secure -H 'apikey: demo-key'     # 200\
             \n  curl -s http://127.0.0.1:{admin}/status\
             \n  curl -s http://127.0.0.1:{admin}/metrics\
             \n\nCtrl-C ends it.\n\n"
        ));
    }
    answer.starts_with("HTTP/1.1 200 ")
}

fn exchange(port: u16, request: &str) -> io::Result<String> {
    let started = Instant::now();
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            Err(error) if started.elapsed() > Duration::from_secs(START_S) => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(START_S)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_the_demo_are_those_it_was_given() {
        let text = config(8001, 8002).unwrap();
        let lists = text.split_once("access_log:").unwrap().0;
        assert!(lists.contains("listeners:\n  - 127.0.0.1:8001\n"), "{lists}");
        assert!(lists.contains("admin:\n  - 127.0.0.1:8002\n"), "{lists}");
        assert_eq!(config(GATEWAY, ADMIN).unwrap().matches("- 127.0.0.1:8000\n").count(), 1);
    }
}
