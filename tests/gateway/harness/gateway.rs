//! The program under test as a child process: its files, its ports, its signals, its memory and CPU time.

use super::{nginx, ports, wire::Wire, Client, PATIENCE};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How to start it.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// Text of kong.yml.
    pub(crate) kong: String,
    /// Settings of `runtime:` beside those that every test needs: `timeouts.header: 1s`.
    pub(crate) runtime: Vec<String>,
    /// Further environment.
    pub(crate) env: Vec<(String, String)>,
    /// Descriptors that it may have, where the test wants few.
    pub(crate) nofile: Option<u64>,
    /// Where the access log goes; `off` where empty.
    pub(crate) access_log: String,
    /// Flags of the proxy's listener, as its line has them: `proxy_protocol`.
    pub(crate) listen: String,
    /// A further socket of the Admin API, as its line has it.
    pub(crate) admin_listen: String,
    /// Further lines of the native file.
    pub(crate) node: Vec<String>,
    driver: Option<String>,
}

impl Setup {
    /// This kong.yml and one shard: with one, every client shares the pool of idle upstream connections, which is where
    /// one client's poison would meet another.
    pub(crate) fn kong(text: impl Into<String>) -> Setup {
        Setup { kong: text.into(), runtime: vec!["shards: 1".into()], ..Setup::default() }
    }

    /// One service at `upstream`, tried once, and one route that takes every path as it is.
    pub(crate) fn open_to(upstream: SocketAddr) -> Setup {
        Setup::kong(format!(
            "_format_version: \"3.0\"\nservices:\n- name: up\n  url: http://{upstream}\n  retries: 0\n  connect_timeout: 1000\n  \
             read_timeout: 1000\n  write_timeout: 1000\n  routes:\n  - name: all\n    paths: [/]\n    strip_path: false\n"
        ))
    }

    /// One more setting of `runtime:`, a dot before each deeper name; the same setting again replaces it.
    pub(crate) fn runtime(mut self, line: &str) -> Setup {
        let key = line.split(':').next();
        self.runtime.retain(|had| had.split(':').next() != key);
        self.runtime.push(line.to_owned());
        self
    }

    /// This driver, whatever the run asks for.
    pub(crate) fn driver(mut self, driver: &str) -> Setup {
        self.driver = Some(driver.to_owned());
        self
    }

    /// One more variable of the environment.
    pub(crate) fn env(mut self, key: &str, value: impl Into<String>) -> Setup {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// The native file that goes beside kong.yml.
    fn native(&self, proxy: SocketAddr, admin: SocketAddr) -> String {
        let of_run = || std::env::var("RINGWAY_TEST_DRIVER").unwrap_or_else(|_| "auto".into());
        let driver = self.driver.clone().unwrap_or_else(of_run);
        let log = if self.access_log.is_empty() { "off" } else { &self.access_log };
        let listen = format!("{proxy} {}", self.listen);
        // Test processes run side by side on the same CPUs: pinned, they would all sit on the first ones.
        let more = if self.admin_listen.is_empty() { String::new() } else { format!(", {}", self.admin_listen) };
        let mut text = format!(
            "listeners: [\"{}\"]\nadmin: [\"{admin}\"{more}]\naccess_log: \"{log}\"\nadmin_access_log: \"off\"\n\
             runtime:\n  pin: false\n",
            listen.trim_end()
        );
        if !self.runtime.iter().any(|line| line.starts_with("driver:")) {
            text += &format!("  driver: {driver}\n");
        }
        let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &self.runtime {
            match line.split_once('.').filter(|(section, _)| !section.contains(':')) {
                Some((section, rest)) => sections.entry(section).or_default().push(rest),
                None => text += &format!("  {line}\n"),
            }
        }
        let mut node = String::new();
        self.node.iter().for_each(|line| node += &format!("{line}\n"));
        for (section, lines) in sections {
            text += &format!("  {section}: {{{}}}\n", lines.join(", "));
        }
        text + &node
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Gateway {
        match self.try_start() {
            Ok(gateway) => gateway,
            Err(why) => panic!("the gateway does not start: {why}"),
        }
    }

    /// As [`Setup::start`]; `Err` holds what it said before it ended.
    pub(crate) fn try_start(self) -> Result<Gateway, String> {
        let mut gateway = self.spawn();
        gateway.wait_ready()?;
        Ok(gateway)
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(self) -> Gateway {
        let dir = temp_dir();
        let (proxy, admin) = (local(ports::free()), local(ports::free()));
        std::fs::write(dir.join("kong.yml"), &self.kong).unwrap();
        std::fs::write(dir.join("native.yaml"), self.native(proxy, admin)).unwrap();
        let mut command = match nginx::peer() {
            Some(program) => nginx::command(&program, &dir, proxy, &self.kong),
            None => self.command(&dir),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if let Some(count) = self.nofile {
            limit_files(child.id(), count);
        }
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stdout.take(), &said);
        listen(child.stderr.take(), &said);
        Gateway { dir, proxy, admin, child, said }
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("run").arg("-c").arg(dir.join("kong.yml")).arg("-c").arg(dir.join("native.yaml"));
        command.env("NO_COLOR", "1").env("KONG_ALLOW_DEBUG_HEADER", "on");
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }
}

/// `ringway` with these arguments, run to its end: exit code, standard output, standard error.
pub(crate) fn ringway(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_ringway")).args(args).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// A running gateway. Killed when dropped.
pub(crate) struct Gateway {
    /// Its directory: kong.yml, native.yaml.
    pub(crate) dir: PathBuf,
    /// Where clients connect.
    pub(crate) proxy: SocketAddr,
    /// Where the admin listener is.
    pub(crate) admin: SocketAddr,
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Gateway {
    /// Waits until it serves; `Err` holds what it said before it ended.
    pub(crate) fn wait_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE * 3;
        let is_serving = || match nginx::peer() {
            Some(_) => TcpStream::connect(self.proxy).is_ok(),
            None => super::client::try_get(self.admin, "/status").is_ok_and(|status| {
                let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap_or_default();
                status["phase"] == "serving"
            }),
        };
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last words may still be in the pipe.
                std::thread::sleep(Duration::from_millis(50));
                return Err(format!("{status}\n{}", self.said()));
            }
            // There is no event to wait for that every log level lets through.
            if is_serving() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("it does not serve\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A new client connection.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::to(self.proxy)
    }

    /// `GET target` on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> super::wire::Message {
        super::client::get(self.proxy, target)
    }

    /// The admin listener's answer as text.
    #[track_caller]
    pub(crate) fn admin(&self, target: &str) -> String {
        let answer = super::client::get(self.admin, target);
        assert_eq!(answer.head.status(), 200, "admin {target}: {}\n{}", answer.head.start, self.said());
        String::from_utf8(answer.body).unwrap()
    }

    /// Hands a configuration in; the status of the answer, and its body as JSON.
    #[track_caller]
    pub(crate) fn post_config(&self, query: &str, text: &str) -> (u16, serde_json::Value) {
        let answer = super::client::post(self.admin, &format!("/config{query}"), "text/yaml", text);
        (answer.head.status(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// The admin listener's answer to a request without a body.
    #[track_caller]
    pub(crate) fn admin_send(&self, method: &str, target: &str) -> super::wire::Message {
        let mut client = Client::to(self.admin);
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        client.answer(method).unwrap_or_else(|end| panic!("{method} {target}: {end:?}\n{}", self.said()))
    }

    /// `/status` as JSON.
    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.admin("/status")).unwrap()
    }

    /// What it wrote to its standard output and error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said `what`, in any case of letters.
    #[track_caller]
    pub(crate) fn wait_said(&self, what: &str) {
        self.wait_until(&format!("it says {what:?}"), || self.said().to_lowercase().contains(&what.to_lowercase()));
    }

    /// Waits until `done`; there is no event for what happens inside another process, so it looks again and again.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "waited in vain until {what}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `HUP` …
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(done.success(), "kill -{name}");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end within {limit:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Does it still run?
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory, KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// CPU time of all its threads, ms. The kernel counts in ticks of 10 ms.
    pub(crate) fn cpu_ms(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (after_name[11].parse::<u64>().unwrap() + after_name[12].parse::<u64>().unwrap()) * 10
    }

    /// Open descriptors.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Replaces kong.yml by rename and does not wait.
    pub(crate) fn put_kong(&self, text: &str) {
        std::fs::write(self.dir.join("kong.yml.new"), text).unwrap();
        std::fs::rename(self.dir.join("kong.yml.new"), self.dir.join("kong.yml")).unwrap();
    }

    /// Is it still well? A request on a new connection gets its answer.
    #[track_caller]
    pub(crate) fn check_serves(&mut self) {
        assert!(self.runs(), "it has ended\n{}", self.said());
        let answer = super::client::try_get(self.proxy, "/canary");
        let status = answer.as_ref().map(|answer| answer.head.status());
        assert_eq!(status, Ok(200), "it does not serve any more\n{}", self.said());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let said = self.said();
            let last: Vec<&str> = said.lines().rev().take(20).collect();
            eprintln!("--- the gateway's last words ---");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        } else {
            std::fs::remove_dir_all(&self.dir).ok();
        }
    }
}

/// Sets the soft and the hard limit of open files of a process.
pub(crate) fn limit_files(pid: u32, count: u64) {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={count}:{count}")]).status();
    assert!(done.unwrap().success(), "prlimit");
}

/// Lets this test process open many sockets.
pub(crate) fn many_files() {
    let id = std::process::id().to_string();
    let of_this = |arg: &str| {
        Command::new("prlimit").args(["--pid", &id, arg, "--raw", "--noheadings", "--output=HARD"]).output()
    };
    let hard = String::from_utf8(of_this("--nofile").unwrap().stdout).unwrap();
    assert!(of_this(&format!("--nofile={}:", hard.trim())).unwrap().status.success(), "prlimit");
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn temp_dir() -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("ringway-test-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn listen(stream: Option<impl std::io::Read + Send + 'static>, said: &Arc<Mutex<String>>) {
    let (stream, said) = (stream.unwrap(), said.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            // A program that floods its log must not fill the memory of the test.
            if said.len() < 1_000_000 {
                said.push_str(&line);
                said.push('\n');
            }
        }
    });
}

/// A wire to `addr` with a limit of its own.
pub(crate) fn wire_to(addr: SocketAddr, limit: Duration) -> Wire {
    Wire::of(TcpStream::connect_timeout(&addr, PATIENCE).unwrap(), limit)
}
