//! Real servers: Redis alone, in a cluster, behind sentinels; stopped, frozen and started again.

use super::{ports, PATIENCE};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A redis-server. Killed when dropped.
pub(crate) struct Redis {
    pub(crate) addr: SocketAddr,
    dir: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// On a free port, with these arguments beside those that every test needs.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Redis {
        let mut redis = Redis::stopped(args);
        redis.restart();
        redis
    }

    /// The same, not started yet.
    pub(crate) fn stopped(args: &[&str]) -> Redis {
        Redis::stopped_at(SocketAddr::from(([127, 0, 0, 1], ports::free())), args)
    }

    /// At this address, not started yet.
    pub(crate) fn stopped_at(addr: SocketAddr, args: &[&str]) -> Redis {
        let dir = std::env::temp_dir().join(format!("ringway-redis-{}-{addr}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Redis { addr, dir, args, child: None }
    }

    /// Starts it, anew if it runs, and waits until it answers.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        let mut command = Command::new("redis-server");
        if self.args.first().is_some_and(|arg| arg == "--sentinel") {
            // A sentinel insists on a file that it may write.
            let file = self.dir.join("sentinel.conf");
            if !file.exists() {
                std::fs::write(&file, "").unwrap();
            }
            command.arg(file);
        }
        command.args(["--bind", &self.addr.ip().to_string(), "--port", &self.addr.port().to_string(), "--save", ""]);
        command.args(["--dir", &self.dir.display().to_string(), "--protected-mode", "no"]).args(&self.args);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("tests/run installs redis-server"));
        let end = Instant::now() + PATIENCE;
        // It has no event to wait for but that it answers; an error is an answer.
        while self.try_ask(&["PING"]).is_none() {
            assert!(Instant::now() < end, "redis-server does not start");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(pid).status().unwrap().success());
    }

    /// What it says to a command, on a connection of its own: lists line by line.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> String {
        self.try_ask(args).unwrap_or_else(|| panic!("{} does not answer {args:?}", self.addr))
    }

    /// The same of several commands on one connection; the last answer.
    #[track_caller]
    pub(crate) fn ask_all(&self, commands: &[&[&str]]) -> String {
        let mut stream = BufReader::new(TcpStream::connect(self.addr).unwrap());
        let mut last = None;
        for args in commands {
            last = ask_on(&mut stream, args);
        }
        last.unwrap()
    }

    fn try_ask(&self, args: &[&str]) -> Option<String> {
        let stream = TcpStream::connect_timeout(&self.addr, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        ask_on(&mut BufReader::new(stream), args)
    }

    /// How often it has run a script by its hash.
    #[track_caller]
    pub(crate) fn scripts_run(&self) -> u64 {
        let info = self.ask(&["INFO", "commandstats"]);
        let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// The same on this connection.
pub(crate) fn ask_on(stream: &mut BufReader<TcpStream>, args: &[&str]) -> Option<String> {
    let mut command = format!("*{}\r\n", args.len());
    args.iter().for_each(|arg| command += &format!("${}\r\n{arg}\r\n", arg.len()));
    stream.get_mut().write_all(command.as_bytes()).ok()?;
    reply(stream)
}

fn reply(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let (kind, rest) = line.trim_end().split_at(1);
    Some(match kind {
        "$" => {
            let Ok(len) = rest.parse::<usize>() else { return Some("(nil)".to_owned()) };
            let mut bytes = vec![0; len + 2];
            stream.read_exact(&mut bytes).ok()?;
            String::from_utf8_lossy(&bytes[..len]).into_owned()
        }
        "*" => {
            let parts: Option<Vec<String>> = (0..rest.parse().unwrap_or(0)).map(|_| reply(stream)).collect();
            parts?.join("\n")
        }
        _ => rest.to_owned(),
    })
}

/// A cluster of so many masters, none with a replica, that serves.
#[track_caller]
pub(crate) fn cluster(count: usize) -> Vec<Redis> {
    let node = |_| {
        let port = ports::free().to_string();
        let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &port];
        Redis::start(&[&args[..], &["--cluster-require-full-coverage", "no"]].concat())
    };
    let nodes: Vec<Redis> = (0..count).map(node).collect();
    let addrs = nodes.iter().map(|node| node.addr.to_string());
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "create"]).args(addrs).arg("--cluster-yes");
    let made = command.stdin(Stdio::null()).output().expect("tests/run installs redis-cli");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let end = Instant::now() + PATIENCE;
    while !nodes.iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
        assert!(Instant::now() < end, "the cluster does not come up");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    nodes
}
