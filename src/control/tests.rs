//! The loop and the Admin API as a whole: real threads, sockets, files and datagrams; only the shards are made up.

use super::life::{run, Ending, Event, Signal};
use super::testing::dns::{Server, Zone};
use super::testing::{folder, plan_of, target};
use super::*;
use crate::base::latency::{Latencies, Of};
use crate::base::limits;
use crate::base::span::Span;
use crate::bus::{Endpoints, Gauges, RefusalSnapshot, RouteSnapshot, Snapshot};
use crate::plan::{Bind, LogPath, Target};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Shards that remember what they were given.
struct Fake {
    line: Line,
    gauges: Vec<Arc<Gauges>>,
    published: Mutex<Vec<(String, Arc<Endpoints>)>>,
    refreshed: Mutex<Vec<Arc<Endpoints>>>,
    refuses: AtomicBool,
    /// Do they finish when told to drain?
    finishes: AtomicBool,
}

impl Shards for Fake {
    fn publish(&self, plan: Arc<Plan>, endpoints: Arc<Endpoints>) -> Result<(), Vec<String>> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(vec!["plugin x: no".to_owned()]);
        }
        self.published.lock().unwrap().push((plan.hash.clone(), endpoints));
        Ok(())
    }

    fn refresh(&self, endpoints: Arc<Endpoints>) {
        self.refreshed.lock().unwrap().push(endpoints);
    }

    fn drain(&self) {
        if self.finishes.load(Ordering::Relaxed) {
            (0..self.gauges.len()).for_each(|shard| self.line.tell(FromShard::Drained { shard }));
        }
    }

    fn snapshots(&self, _wait_ms: u64) -> Vec<Snapshot> {
        let mut latencies = Latencies::default();
        latencies.record(Of::Request, 1500);
        latencies.record(Of::Upstream, 1500);
        let route = RouteSnapshot {
            route: "r".to_owned(),
            service: "s".to_owned(),
            statuses: vec![(200, 1)],
            bytes_in: 1,
            bytes_out: 2,
            latencies,
        };
        let of = |shard| Snapshot {
            shard,
            // The second one has the name of a family by route.
            counters: vec![("connections_accepted_total", 3), ("requests_total", 9)],
            labelled: vec![("detours_total", "reason", "no_route".to_owned(), 2)],
            routes: vec![route.clone()],
            refusals: vec![RefusalSnapshot {
                plugin: "rate-limiting".to_owned(),
                service: "s".to_owned(),
                route: "r".to_owned(),
                consumer: "ann".to_owned(),
                by: "consumer",
                code: 429,
                shadow: false,
                count: 5,
            }],
        };
        (0..self.gauges.len()).map(of).collect()
    }

    fn gauges(&self) -> &[Arc<Gauges>] {
        &self.gauges
    }
}

/// A running node.
struct Node {
    line: Line,
    shards: Arc<Fake>,
    admin: SocketAddr,
    loads: Arc<Mutex<Loaded>>,
    thread: JoinHandle<Ending>,
}

fn copy(loaded: &Loaded) -> Loaded {
    Loaded {
        plan: loaded.plan.clone(),
        report: loaded.report.clone(),
        // As if it had been read just now.
        files: Watched::new(loaded.files.paths.clone(), loaded.files.own, &HashMap::new()),
        written: loaded.written.clone(),
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Node {
    fn start(mut plan: Plan, files: &[&Path]) -> Node {
        let admin = free_port();
        plan.node.admin = vec![Bind {
            addr: admin,
            tls: false,
            http2: false,
            proxy_protocol: false,
            backlog: 16,
            at: "a test".to_owned(),
            options: None,
        }];
        let (line, inbox) = Line::new();
        let shards = Arc::new(Fake {
            line: line.clone(),
            gauges: vec![Arc::default(), Arc::default()],
            published: Mutex::default(),
            refreshed: Mutex::default(),
            refuses: AtomicBool::new(false),
            finishes: AtomicBool::new(true),
        });
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        let files = Watched::new(files, 1, &HashMap::new());
        let loads = Arc::new(Mutex::new(Loaded {
            plan: Some(plan.clone()),
            report: Report::default(),
            files: files.clone(),
            written: Written::default(),
        }));
        let read = loads.clone();
        let hands = Hands {
            shards: shards.clone(),
            load: Arc::new(move |_| copy(&read.lock().unwrap())),
            first: First { plan: Arc::new(plan), report: Report::default(), files, written: Written::default() },
            inbox,
            reopen: Reopen::default(),
            journal: None,
            issuers: Arc::default(),
            doors: Arc::default(),
            readings: vec![("access_log_bytes_total", Box::new(|| 42))],
            node: Arc::default(),
            descriptors: &[],
        };
        let thread = thread::spawn(move || run(hands));
        let node = Node { line, shards, admin, loads, thread };
        node.line.tell(FromShard::Ready { shard: 0, cpu: Some(0), driver: "io_uring" });
        node.line.tell(FromShard::Ready { shard: 1, cpu: Some(1), driver: "io_uring" });
        node
    }

    /// Changes what the next load gives, and asks for it.
    fn reload(&self, change: impl FnOnce(&mut Loaded)) {
        change(&mut self.loads.lock().unwrap());
        self.line.say(Event::Signal(Signal::Reload));
    }

    fn request(&self, text: &str) -> String {
        self.try_request(text).unwrap()
    }

    fn try_request(&self, text: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(text.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn get(&self, path: &str) -> String {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    }

    fn status(&self) -> Value {
        self.try_status().unwrap()
    }

    /// `None` while nobody listens, or while all places are taken.
    fn try_status(&self) -> Option<Value> {
        let answer = self.try_request("GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits until `/status` shows it.
    #[track_caller]
    fn until(&self, what: &str, shows: impl Fn(&Value) -> bool) {
        wait_for(what, || self.try_status().is_some_and(|status| shows(&status)));
    }

    fn end(self) -> Ending {
        self.line.stop();
        self.thread.join().unwrap()
    }
}

#[track_caller]
fn wait_for(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn serving(status: &Value) -> bool {
    status["phase"] == "serving"
}

fn plain_plan() -> Plan {
    plan_of(&[("up", &[target("127.0.0.1", 9999, 100)])])
}

#[test]
fn a_node_starts_answers_and_ends() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    let status = node.status();
    for (pointer, want) in [
        ("/version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("/configuration_hash", Value::from("0".repeat(64))),
        ("/shards/1/driver", Value::from("io_uring")),
        ("/shards/1/cpu", Value::from(1)),
        ("/shards/0/state", Value::from("ready")),
        ("/server/connections_accepted", Value::from(6)),
        ("/reload/last_successful", Value::from(true)),
    ] {
        assert_eq!(status.pointer(pointer), Some(&want), "{pointer} of {status:#}");
    }
    let published = node.shards.published.lock().unwrap();
    assert_eq!(published[0].1.of["up"].endpoints[0].addr, "127.0.0.1:9999".parse().unwrap());
    drop(published);
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn the_admin_api_answers_by_method_and_path() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    let close = "Host: a\r\nConnection: close\r\n";
    let (large, vast) = (limits::ADMIN_BODY_BYTES_MAX + 1, limits::ADMIN_CONFIG_BYTES_MAX + 1);
    let rows: &[(&str, u16, &[&str])] = &[
        ("GET / HTTP/1.1\r\n", 200, &["\"version\":", "server: ringway", "application/json; charset=utf-8"]),
        ("GET /status/ready HTTP/1.1\r\n", 200, &["{\"message\":\"ready\"}"]),
        ("GET /nowhere HTTP/1.1\r\n", 404, &["{\"message\":\"Not found\"}"]),
        (
            "POST /status HTTP/1.1\r\nContent-Length: 0\r\n",
            405,
            &["{\"message\":\"Method not allowed\"}", "allow: GET"],
        ),
        (&format!("POST / HTTP/1.1\r\nContent-Length: {large}\r\n"), 413, &["{\"message\":\"Payload too large\"}"]),
        // A whole configuration may be larger, and has a bound as well.
        (
            &format!("POST /config HTTP/1.1\r\nContent-Length: {vast}\r\n"),
            413,
            &["{\"message\":\"Payload too large\"}"],
        ),
        ("nonsense\r\n", 400, &[]),
        (&format!("GET /{} HTTP/1.1\r\n", "x".repeat(limits::ADMIN_HEAD_BYTES_MAX)), 431, &[]),
        (&format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(limits::ADMIN_HEAD_BYTES_MAX)), 431, &[]),
    ];
    for (request, status, wants) in rows {
        let answer = node.request(&format!("{request}{close}\r\n"));
        let shown = &request[..request.len().min(60)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}\n{answer}");
        wants.iter().for_each(|want| assert!(answer.contains(want), "{shown}: no {want} in\n{answer}"));
    }
    let head = node.request(&format!("HEAD /metrics HTTP/1.1\r\n{close}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn metrics_are_prometheus_text() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    node.shards.gauges[1].connections.store(7, Ordering::Relaxed);
    let answer = node.get("/metrics");
    for want in [
        "content-type: text/plain; version=0.0.4; charset=utf-8",
        "\nringway_requests_total{service=\"s\",route=\"r\",code=\"200\"} 2\n",
        "\nringway_request_duration_seconds_bucket{service=\"s\",route=\"r\",le=\"0.0025\"} 2\n",
        "\nringway_connections{shard=\"1\"} 7\n",
        "\nringway_connections_accepted_total 6\n",
        "\nringway_refusals_total{plugin=\"rate-limiting\",service=\"s\",route=\"r\",consumer=\"ann\",key=\"consumer\",code=\"429\",mode=\"enforced\"} 10\n",
        "\nringway_detours_total{reason=\"no_route\"} 4\n",
        "\nringway_access_log_bytes_total 42\n",
        "\nringway_config_last_reload_successful 1\n",
        "\nringway_phase{phase=\"serving\"} 1\n",
        "\nprocess_open_fds ",
    ] {
        assert!(answer.contains(want), "no {want} in\n{answer}");
    }
    let text = answer.split_once("\r\n\r\n").unwrap().1;
    let mut seen = std::collections::HashSet::new();
    for family in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert!(seen.insert(family.split(' ').nth(2).unwrap()), "{family} stands there twice");
    }
    seen.clear();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(series), "{series} stands there twice");
    }
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn a_configuration_is_handed_in_by_one_at_a_time() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    let post = |text: &str| {
        let length = text.len();
        let head = "POST /config HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: text/yaml\r\n";
        format!("{head}Content-Length: {length}\r\n\r\n{text}")
    };
    let answers: Vec<String> = thread::scope(|scope| {
        let (node, post) = (&node, &post);
        // While the lock is held, the loading of the first of them waits.
        let loads = node.loads.lock().unwrap();
        let both: Vec<_> = ["x", "y"].map(|text| scope.spawn(move || node.request(&post(text)))).into_iter().collect();
        wait_for("one of the two is answered", || both.iter().any(|one| one.is_finished()));
        drop(loads);
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
    assert_eq!((count("HTTP/1.1 201 "), count("HTTP/1.1 429 ")), (1, 1), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.contains("\r\nretry-after: 1\r\n")), "{answers:?}");
    node.shards.refuses.store(true, Ordering::Relaxed);
    node.loads.lock().unwrap().plan.as_mut().unwrap().hash = "1".repeat(64);
    wait_for("a refusal by a plugin", || node.request(&post("z")).contains(r#""@entity":["plugin x: no"]"#));
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn a_reload_is_published_refused_or_left_alone() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    let hash = |c: &str| c.repeat(64);
    node.reload(|_| ());
    node.until("an unchanged reload", |status| status["reload"]["unchanged"] == 1);
    node.reload(|loaded| {
        let plan = loaded.plan.as_mut().unwrap();
        plan.hash = hash("1");
        plan.node.runtime.ring_entries = 7;
    });
    node.until("a reload", |status| status["configuration_hash"] == hash("1"));
    assert_eq!(node.status()["reload"]["restart_needed_for"][0], "runtime.ring_entries");
    node.reload(|loaded| {
        loaded.plan = None;
        loaded.report.fault(&Span::nowhere(), "services[0].host", "required field missing", "");
    });
    node.until("a refusal", |status| status["reload"]["failure"] == 1);
    let status = node.status();
    assert_eq!(status["configuration_hash"], hash("1"));
    assert_eq!(status["reload"]["last_successful"], false);
    assert_eq!(status["reload"]["findings"][0], "-: services[0].host: required field missing");
    assert!(node.get("/metrics").contains("\nringway_config_last_reload_successful 0\n"));
    // A plugin's constructor may refuse what all checks let pass.
    node.shards.refuses.store(true, Ordering::Relaxed);
    node.reload(|loaded| {
        *loaded = Loaded {
            plan: Some(plain_plan()),
            report: Report::default(),
            files: Watched::default(),
            written: Written::default(),
        }
    });
    node.until("a refusal by a plugin", |status| status["reload"]["findings"][0] == "plugin x: no");
    node.shards.refuses.store(false, Ordering::Relaxed);
    node.reload(|_| ());
    node.until("a mended reload", |status| status["configuration_hash"] == hash("0"));
    let published: Vec<String> = node.shards.published.lock().unwrap().iter().map(|p| p.0.clone()).collect();
    assert_eq!(published, [hash("0"), hash("1"), hash("0")]);
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn a_changed_file_reloads() {
    let file = folder("life").join("a.yml");
    std::fs::write(&file, "1").unwrap();
    let node = Node::start(plain_plan(), &[&file]);
    node.until("serving", serving);
    node.loads.lock().unwrap().plan.as_mut().unwrap().hash = "2".repeat(64);
    std::fs::write(file.with_extension("new"), "2").unwrap();
    std::fs::rename(file.with_extension("new"), &file).unwrap();
    node.until("the new file", |status| status["configuration_hash"] == "2".repeat(64));
    assert_eq!(node.end(), Ending::Drained);
}

fn plan_with_names(server: &Server, targets: &[Target]) -> Plan {
    let mut plan = plan_of(&[("up", targets)]);
    plan.node.dns_servers = vec![server.addr];
    plan
}

fn addresses(endpoints: &Endpoints) -> Vec<String> {
    endpoints.of["up"].endpoints.iter().map(|endpoint| endpoint.addr.to_string()).collect()
}

#[test]
fn names_are_resolved_before_the_first_publication_and_refreshed_after() {
    let server = Server::start(Zone::default().a("up.test.", 1, "10.0.0.1"));
    let node = Node::start(plan_with_names(&server, &[target("up.test", 80, 1)]), &[]);
    node.until("serving", serving);
    assert_eq!(addresses(&node.shards.published.lock().unwrap()[0].1), ["10.0.0.1:80"]);
    server.become_zone(Zone::default().a("up.test.", 1, "10.0.0.2").a("up.test.", 1, "10.0.0.3"));
    let refreshed = || node.shards.refreshed.lock().unwrap().last().map(|endpoints| addresses(endpoints));
    wait_for("new addresses", || refreshed().is_some());
    assert_eq!(refreshed(), Some(vec!["10.0.0.2:80".to_owned(), "10.0.0.3:80".to_owned()]));
    // A failing server changes nothing for the shards, and shows.
    server.become_zone(Zone::default().failing());
    node.until("a stale name", |status| status["names"][0]["state"] == "stale");
    assert_eq!(node.status()["names"][0]["addresses"][1], "10.0.0.3");
    assert_eq!(node.shards.refreshed.lock().unwrap().len(), 1);
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn a_silent_name_server_delays_the_start_a_little_and_is_asked_again() {
    let server = Server::start(Zone::default().silent());
    let targets = [target("127.0.0.1", 80, 1), target("up.test", 80, 1)];
    let started = Instant::now();
    let node = Node::start(plan_with_names(&server, &targets), &[]);
    node.until("serving", serving);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(limits::RESOLVE_WAIT_MS), "{waited:?}");
    let first = node.shards.published.lock().unwrap()[0].1.clone();
    assert!(first.of["up"].failed);
    assert_eq!(addresses(&first), ["127.0.0.1:80"]);
    server.become_zone(Zone::default().a("up.test.", 60, "10.0.0.1"));
    wait_for("the late name", || {
        node.shards.refreshed.lock().unwrap().last().is_some_and(|endpoints| !endpoints.of["up"].failed)
    });
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn a_drain_ends_with_its_timeout_and_shows_meanwhile() {
    let mut plan = plain_plan();
    plan.node.runtime.drain_timeout_ms = 700;
    let node = Node::start(plan, &[]);
    node.until("serving", serving);
    node.shards.finishes.store(false, Ordering::Relaxed);
    let started = Instant::now();
    node.line.stop();
    node.until("draining", |status| status["phase"] == "draining");
    assert!(node.get("/status/ready").starts_with("HTTP/1.1 503 "));
    assert_eq!(node.thread.join().unwrap(), Ending::Drained);
    assert!(started.elapsed() >= Duration::from_millis(700));
}

#[test]
fn a_second_signal_ends_at_once() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    node.shards.finishes.store(false, Ordering::Relaxed);
    node.line.stop();
    assert_eq!(node.end(), Ending::Forced);
}

#[test]
fn a_dead_shard_ends_the_process() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    node.line.tell(FromShard::Died { shard: 1, reason: "a test".to_owned() });
    assert_eq!(node.thread.join().unwrap(), Ending::Broken);
}

#[test]
fn an_address_in_use_is_an_end_before_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = plain_plan();
    plan.node.admin = vec![Bind {
        addr: taken.local_addr().unwrap(),
        tls: false,
        http2: false,
        proxy_protocol: false,
        backlog: 16,
        at: "a test".to_owned(),
        options: None,
    }];
    let (line, inbox) = Line::new();
    let shards = Arc::new(Fake {
        line,
        gauges: Vec::new(),
        published: Mutex::default(),
        refreshed: Mutex::default(),
        refuses: AtomicBool::new(false),
        finishes: AtomicBool::new(true),
    });
    let hands = Hands {
        shards: shards.clone(),
        load: Arc::new(|_| Loaded {
            plan: None,
            report: Report::default(),
            files: Watched::default(),
            written: Written::default(),
        }),
        first: First {
            plan: Arc::new(plan),
            report: Report::default(),
            files: Watched::default(),
            written: Written::default(),
        },
        inbox,
        reopen: Reopen::default(),
        journal: None,
        issuers: Arc::default(),
        doors: Arc::default(),
        readings: Vec::new(),
        node: Arc::default(),
        descriptors: &[],
    };
    assert_eq!(run(hands), Ending::Broken);
    assert!(shards.published.lock().unwrap().is_empty());
}

#[test]
fn idle_and_slow_clients_of_the_admin_api_are_let_go() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    let started = Instant::now();
    let mut slow = TcpStream::connect(node.admin).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let mut idle = TcpStream::connect(node.admin).unwrap();
    idle.write_all(b"GET /status/ready HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    for stream in [&mut slow, &mut idle] {
        stream.set_read_timeout(Some(Duration::from_millis(limits::ADMIN_HEAD_MS + 5000))).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(limits::ADMIN_HEAD_MS + 3000), "{waited:?}");
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn connections_of_the_admin_api_have_a_bound() {
    let node = Node::start(plain_plan(), &[]);
    node.until("serving", serving);
    let held: Vec<TcpStream> =
        (0..limits::ADMIN_CONNECTIONS_MAX).map(|_| TcpStream::connect(node.admin).unwrap()).collect();
    let mut more = TcpStream::connect(node.admin).unwrap();
    more.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(more.read(&mut [0; 1]).unwrap(), 0, "one too many was kept");
    drop(held);
    node.until("room again", serving);
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn the_admin_log_is_json_lines_without_the_query() {
    let path = folder("admin-log").join("admin.log");
    let mut plan = plain_plan();
    plan.node.admin_log = Some(LogPath::File(path.display().to_string()));
    let node = Node::start(plan, &[]);
    node.until("serving", serving);
    node.get("/nowhere?key=secret");
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_for("a log line", || lines().contains("/nowhere"));
    assert!(!lines().contains("secret"));
    let text = lines();
    let line: Value = serde_json::from_str(text.lines().find(|line| line.contains("/nowhere")).unwrap()).unwrap();
    assert_eq!((&line["method"], &line["status"]), (&Value::from("GET"), &Value::from(404)));
    assert_eq!(node.end(), Ending::Drained);
}

#[test]
fn certificates_are_warned_of_before_their_end() {
    let expiries = [("a.test", 0), ("b.test", 14 * 86_400 + 99), ("c.test", 3 * 86_400 + 200)];
    let expiries = expiries.map(|(name, end)| (name.to_owned(), end));
    let said = super::life::ending_soon(&expiries, 100);
    assert_eq!(said[0], "the certificate of \"a.test\" has expired");
    assert_eq!(said[1], "the certificate of \"b.test\" expires in 13 days");
    assert_eq!(said[2], "the certificate of \"c.test\" expires in 3 days");
    assert!(super::life::ending_soon(&expiries[1..2], 0).is_empty());
}
