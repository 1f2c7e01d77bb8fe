//! The life of the process: starting, what it says of itself, reloading, ending; and its other commands.

use crate::harness::client::try_get;
use crate::harness::echo::Echo;
use crate::harness::gateway::ringway;
use crate::harness::wire::End;
use crate::harness::{Client, Gateway, Setup, Upstream, PATIENCE};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients that ask without a pause until told to stop, and what they met.
struct Load {
    stop: Arc<AtomicBool>,
    /// Set before the gateway is told to end: from then on a request that got no byte of an answer is not counted as
    /// failed. It may have been sent into a connection that was being closed, and its sender knows that it may try again.
    ending: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(addr: SocketAddr, clients: usize, target: &'static str) -> Load {
        let (stop, ending, served) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::default());
        let threads = (0..clients)
            .map(|_| {
                let (stop, ending, served) = (stop.clone(), ending.clone(), Arc::clone(&served));
                std::thread::spawn(move || ask(addr, target, &stop, &ending, &served))
            })
            .collect();
        Load { stop, ending, served, threads }
    }

    /// Waits until so many more have been served.
    #[track_caller]
    fn wait_served(&self, more: usize) {
        let end = Instant::now() + PATIENCE * 3;
        let want = self.served.load(Ordering::SeqCst) + more;
        while self.served.load(Ordering::SeqCst) < want {
            assert!(Instant::now() < end, "the load stands still");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops, and returns what failed.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn ask(addr: SocketAddr, target: &str, stop: &AtomicBool, ending: &AtomicBool, served: &AtomicUsize) -> Vec<String> {
    let mut failed = Vec::new();
    let mut client = None;
    while !stop.load(Ordering::SeqCst) {
        let mut one = match client.take() {
            Some(client) => client,
            None => match std::net::TcpStream::connect(addr) {
                Ok(stream) => Client { wire: crate::harness::wire::Wire::of(stream, PATIENCE) },
                Err(_) if ending.load(Ordering::SeqCst) => return failed,
                Err(e) => {
                    failed.push(format!("connect: {e}"));
                    return failed;
                }
            },
        };
        match one.try_get(target, "") {
            Ok(answer) if answer.head.status() == 200 => {
                served.fetch_add(1, Ordering::SeqCst);
                if !answer.head.holds("Connection: close") {
                    client = Some(one);
                }
            }
            Ok(answer) => failed.push(answer.head.start),
            Err(End::Closed | End::Reset) if ending.load(Ordering::SeqCst) => {}
            Err(end) => failed.push(format!("{end:?}")),
        }
    }
    failed
}

fn routes(upstream: SocketAddr, paths: &[&str]) -> String {
    let mut text = format!("_format_version: \"3.0\"\nservices:\n- name: up\n  url: http://{upstream}\n  routes:\n");
    for (number, path) in paths.iter().enumerate() {
        text += &format!("  - {{name: r{number}, paths: [{path}], strip_path: false}}\n");
    }
    text
}

fn hash(gateway: &Gateway) -> serde_json::Value {
    gateway.status()["configuration_hash"].clone()
}

#[track_caller]
fn none_failed(failed: &[String]) {
    assert!(failed.is_empty(), "{} requests failed, e.g. {}", failed.len(), failed[0]);
}

// Starting.

#[test]
fn it_says_what_it_does_and_where() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).runtime("shards: 2").start();
    gateway.wait_said(&gateway.proxy.to_string());
    gateway.wait_said(&gateway.admin.to_string());
    let said = gateway.said().to_lowercase();
    assert!(said.contains("uring") || said.contains("epoll"), "it names no driver:\n{said}");
    let status = gateway.status();
    assert!(status["version"].is_string(), "{status}");
    assert_eq!(status["shards"].as_array().map(Vec::len), Some(2), "{status}");
    assert!(hash(&gateway).as_str().is_some_and(|hash| hash.len() >= 32), "{status}");
}

#[test]
fn epoll_serves_as_well() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).driver("epoll").start();
    gateway.check_serves();
    gateway.wait_said("epoll");
}

#[test]
fn every_shard_serves() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).runtime("shards: 4").start();
    let clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = gateway.client();
            assert_eq!(client.get("/", "").head.status(), 200);
            client
        })
        .collect();
    let status = gateway.status();
    let open: Vec<u64> =
        status["shards"].as_array().unwrap().iter().filter_map(|s| s["connections"].as_u64()).collect();
    assert_eq!(open.iter().sum::<u64>(), 200, "{status}");
    // 200 over 4: 50 each, were it perfect; the kernel's hash alone is about as even as this asks for.
    assert!(open.iter().all(|count| (10..=110).contains(count)), "{open:?}");
    drop(clients);
}

#[test]
fn the_environment_of_the_reference_is_enough() {
    let upstream = Upstream::start();
    let dir = std::env::temp_dir().join(format!("ringway-env-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("kong.yml"), routes(upstream.addr, &["/"])).unwrap();
    let (proxy, admin) = (crate::harness::ports::free(), crate::harness::ports::free());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["run"])
        .env("KONG_DATABASE", "off")
        .env("KONG_DECLARATIVE_CONFIG", dir.join("kong.yml"))
        .env("KONG_PROXY_LISTEN", format!("127.0.0.1:{proxy} reuseport backlog=1024"))
        .env("KONG_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
        .env("KONG_PROXY_ACCESS_LOG", "off")
        .env("KONG_NGINX_WORKER_PROCESSES", "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], proxy));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match try_get_quick(addr) {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    child.kill().ok();
    child.wait().ok();
    assert_eq!(status, Some(200));
}

#[test]
fn a_node_without_files_is_given_its_configuration() {
    let upstream = Upstream::start();
    let (proxy, admin) = (crate::harness::ports::free(), crate::harness::ports::free());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["run", "--shards", "1"])
        .env("KONG_DATABASE", "off")
        .env("KONG_PROXY_LISTEN", format!("127.0.0.1:{proxy}"))
        .env("KONG_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
        .env("KONG_PROXY_ACCESS_LOG", "off")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (proxy, admin) = (SocketAddr::from(([127, 0, 0, 1], proxy)), SocketAddr::from(([127, 0, 0, 1], admin)));
    let end = Instant::now() + PATIENCE;
    let ask = |path: &str| match crate::harness::client::try_get(admin, path) {
        Ok(answer) => format!("{} {}", answer.head.status(), String::from_utf8_lossy(&answer.body)),
        Err(_) => String::new(),
    };
    let waiting = "503 {\"message\":\"no configuration available (empty configuration present)\"}";
    while ask("/status/ready") != waiting && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = [ask("/status/ready"), ask("/status")];
    let answer = std::panic::catch_unwind(|| {
        crate::harness::client::post(admin, "/config", "text/yaml", &routes(upstream.addr, &["/"]))
    });
    let status = try_get_quick(proxy);
    let after = [ask("/status/ready"), ask("/status")];
    child.kill().ok();
    child.wait().ok();
    let zeros = format!("\"configuration_hash\":\"{}\"", "0".repeat(32));
    assert!(before[0] == waiting && before[1].contains(&zeros), "{before:?}");
    assert_eq!(answer.unwrap().head.status(), 201);
    assert_eq!(status, Some(200));
    assert!(after[0] == "200 {\"message\":\"ready\"}" && !after[1].contains(&zeros), "{after:?}");
}

fn try_get_quick(addr: SocketAddr) -> Option<u16> {
    std::net::TcpStream::connect(addr).ok()?;
    try_get(addr, "/").ok().map(|answer| answer.head.status())
}

/// The first shards to listen take everybody, and hand on what is too much for them: not to those that have nothing to serve by.
#[test]
fn who_comes_while_it_starts_is_served() {
    let upstream = Upstream::start();
    for _ in 0..4 {
        let mut gateway = Setup::open_to(upstream.addr).runtime("shards: 12").spawn();
        let (addr, started) = (gateway.proxy, Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let started = started.clone();
                std::thread::spawn(move || {
                    // Open until the end, so that there is a load to be handed on.
                    let mut open = Vec::new();
                    while !started.load(Ordering::SeqCst) && open.len() < 100 {
                        if std::net::TcpStream::connect(addr).is_err() {
                            std::thread::yield_now();
                            continue;
                        }
                        let mut client = Client::to(addr);
                        let status = client.try_get("/x", "").map(|answer| answer.head.status());
                        assert_eq!(status, Ok(200), "after {}", open.len());
                        open.push(client);
                    }
                })
            })
            .collect();
        let ready = gateway.wait_ready();
        started.store(true, Ordering::SeqCst);
        assert!(clients.into_iter().all(|client| client.join().is_ok()), "{}", gateway.said());
        ready.unwrap();
    }
}

#[test]
fn a_taken_port_ends_it_with_a_word() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).start();
    let native = std::fs::read_to_string(gateway.dir.join("native.yaml")).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = gateway.dir.join("second");
    std::fs::create_dir_all(&dir).unwrap();
    let native = native.replace(&gateway.proxy.to_string(), &taken.local_addr().unwrap().to_string());
    std::fs::write(dir.join("native.yaml"), native).unwrap();
    let kong = gateway.dir.join("kong.yml").display().to_string();
    let (code, out, err) = ringway(&["run", "-c", &kong, "-c", &dir.join("native.yaml").display().to_string()]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(format!("{out}{err}").contains(&taken.local_addr().unwrap().port().to_string()), "{out}{err}");
}

#[test]
fn a_bad_configuration_does_not_start() {
    let why =
        Setup::kong("_format_version: \"3.0\"\nservices:\n- {name: s, host: h, port: x}\n").try_start().err().unwrap();
    assert!(why.contains("kong.yml:3:"), "{why}");
}

// Reloading.

#[test]
fn reloads_under_load_fail_no_request() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/keep", "/x0"])).runtime("shards: 2").start();
    let load = Load::on(gateway.proxy, 4, "/keep");
    for turn in 1..15 {
        let before = hash(&gateway);
        gateway.put_kong(&routes(upstream.addr, &["/keep", &format!("/x{turn}")]));
        gateway.signal("HUP");
        gateway.wait_until("the next configuration is served", || hash(&gateway) != before);
        load.wait_served(50);
        assert_eq!(gateway.get(&format!("/x{turn}")).head.status(), 200);
        assert_eq!(gateway.get(&format!("/x{}", turn - 1)).head.status(), 404);
    }
    none_failed(&load.end());
}

#[test]
fn configurations_handed_in_under_load_fail_no_request() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/keep", "/x0"])).runtime("shards: 2").start();
    let load = Load::on(gateway.proxy, 4, "/keep");
    for turn in 1..15 {
        let (status, body) = gateway.post_config("", &routes(upstream.addr, &["/keep", &format!("/x{turn}")]));
        assert_eq!(status, 201, "{body}");
        // Whoever was told that it is served finds it so, at once and on every shard.
        for _ in 0..4 {
            assert_eq!(gateway.get(&format!("/x{turn}")).head.status(), 200);
            assert_eq!(gateway.get(&format!("/x{}", turn - 1)).head.status(), 404);
        }
        let (status, body) = gateway.post_config("", "_format_version: \"3.0\"\nservices: [{name: s}]\n");
        assert_eq!((status, &body["code"]), (400, &14.into()), "{body}");
        load.wait_served(20);
    }
    none_failed(&load.end());
}

#[test]
fn the_files_win_again_when_they_change() {
    let upstream = Upstream::start();
    let file = routes(upstream.addr, &["/file"]);
    let gateway = Setup::kong(&file).start();
    assert_eq!(gateway.post_config("?check_hash=1", &file).0, 304, "the text of the file is what is served");
    assert_eq!(gateway.post_config("", &routes(upstream.addr, &["/posted"])).0, 201);
    assert_eq!((gateway.get("/posted").head.status(), gateway.get("/file").head.status()), (200, 404));
    assert_eq!(gateway.status()["configuration"]["handed_in"], true);
    gateway.signal("HUP");
    gateway.wait_until("the file is served", || gateway.get("/file").head.status() == 200);
    assert_eq!(gateway.get("/posted").head.status(), 404);
    assert_eq!(gateway.post_config("", &routes(upstream.addr, &["/posted"])).0, 201);
    gateway.put_kong(&routes(upstream.addr, &["/changed"]));
    gateway.wait_until("the changed file is served", || gateway.get("/changed").head.status() == 200);
    assert_eq!(gateway.get("/posted").head.status(), 404);
    assert_eq!(gateway.status()["configuration"]["handed_in"], false);
    // What was handed in has no say over the node: its listeners are those of the files.
    assert_eq!(gateway.status()["reload"]["restart_needed_for"], serde_json::json!([]));
}

#[test]
fn an_exported_configuration_is_the_same_again() {
    let upstream = Upstream::start();
    let text = routes(upstream.addr, &["/a"])
        + "consumers: [{username: c, keyauth_credentials: [{key: k}], basicauth_credentials: [{username: b, password: p}], acls: [{group: g}]}]\n\
           plugins: [{name: rate-limiting, consumer: c, config: {minute: 5}}]\n\
           upstreams: [{name: u, tags: [t], targets: [{target: '10.0.0.1:80'}]}]\n";
    let gateway = Setup::kong(text).start();
    let export = || {
        let body: serde_json::Value = serde_json::from_str(&gateway.admin("/config")).unwrap();
        body["config"].as_str().unwrap().to_owned()
    };
    let first = export();
    let (status, body) = gateway.post_config("", &first);
    assert_eq!(status, 201, "{body}");
    assert_eq!(export(), first);
    assert_eq!(body["services"].as_object().map(|all| all.len()), Some(1), "{body}");
    assert_eq!(gateway.get("/a").head.status(), 200);
}

#[test]
fn a_large_configuration_is_taken_in_either_form() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/file"])).start();
    let large = |path| {
        format!(
            "{}{}",
            routes(upstream.addr, &[path]),
            "# a remark of 50 bytes ..........................\n".repeat(60_000)
        )
    };
    assert_eq!(gateway.post_config("", &large("/text")).0, 201);
    assert_eq!(gateway.get("/text").head.status(), 200);
    let head = "--b\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n";
    let form = format!("{head}{}\r\n--b--\r\n", large("/form"));
    let answer = crate::harness::client::post(gateway.admin, "/config", "multipart/form-data; boundary=b", &form);
    assert_eq!(answer.head.status(), 201, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(gateway.get("/form").head.status(), 200);
}

#[test]
fn a_key_that_looks_like_a_deep_path_is_refused_and_no_more() {
    let mut gateway = Setup::kong("_format_version: \"3.0\"\n").start();
    let deep = |levels| format!("a{}", ".a".repeat(levels));
    let rows = [
        ("/config", deep(500_000)),
        ("/config?flatten_errors=1", deep(500_000)),
        ("/config", "services[4294967294]".to_owned()),
        ("/schemas/services/validate", deep(30_000)),
    ];
    for (path, key) in rows {
        let body = format!("{{\"_format_version\": \"3.0\", \"{key}\": 1}}");
        let answer = crate::harness::client::post(gateway.admin, path, "application/json", &body);
        assert_eq!(answer.head.status(), 400, "{path}: {}", String::from_utf8_lossy(&answer.body[..200]));
        assert!(gateway.runs(), "{}", gateway.said());
    }
    assert_eq!(gateway.status()["phase"], "serving");
}

#[test]
fn lists_are_walked_by_their_next_pages() {
    let names: String = (0..25).map(|n| format!("- {{name: s{n}, host: h, tags: [even]}}\n")).collect();
    let gateway = Setup::kong(format!("_format_version: \"3.0\"\nservices:\n{names}")).start();
    let (mut next, mut seen, mut pages) = ("/services?size=10&tags=even".to_owned(), Vec::new(), 0);
    while next != "null" {
        let page: serde_json::Value = serde_json::from_str(&gateway.admin(&next)).unwrap();
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
        next = page["next"].as_str().unwrap_or("null").to_owned();
        pages += 1;
    }
    seen.sort();
    seen.dedup();
    assert_eq!((pages, seen.len()), (3, 25));
}

#[test]
fn a_request_sees_one_configuration_from_start_to_end() {
    let slow = Echo::start("slow");
    let gateway = Setup::kong(routes(slow.addr, &["/delay"])).start();
    let addr = gateway.proxy;
    let waiting = std::thread::spawn(move || try_get(addr, "/delay/1.5").map(|answer| answer.head.status()));
    gateway.wait_until("it is in flight", || slow.take_count() == 1);
    let before = hash(&gateway);
    gateway.put_kong("_format_version: \"3.0\"\nservices: []\n");
    gateway.signal("HUP");
    gateway.wait_until("the empty configuration is served", || hash(&gateway) != before);
    assert_eq!(gateway.get("/delay/0").head.status(), 404);
    assert_eq!(waiting.join().unwrap(), Ok(200));
}

#[test]
fn a_bad_file_leaves_the_old_one_serving_and_says_so() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/a"])).start();
    let before = hash(&gateway);
    gateway.put_kong("_format_version: \"3.0\"\nservices:\n- {name: s, host: h, port: 99999}\n");
    gateway.signal("HUP");
    gateway.wait_said("value should be between 0 and 65535");
    assert_eq!(gateway.get("/a").head.status(), 200);
    assert_eq!(hash(&gateway), before);
    let status = gateway.status().to_string();
    assert!(status.contains("between 0 and 65535"), "/status does not say why: {status}");
    gateway.put_kong(&routes(upstream.addr, &["/b"]));
    gateway.signal("HUP");
    gateway.wait_until("the mended file is served", || gateway.get("/b").head.status() == 200);
    assert!(!gateway.status().to_string().contains("between 0 and 65535"), "/status still says what is mended");
}

#[test]
fn a_file_replaced_by_rename_is_read_without_being_told() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/a"])).start();
    for path in ["/b", "/c"] {
        gateway.put_kong(&routes(upstream.addr, &[path]));
        gateway.wait_until("the new file is served", || gateway.get(path).head.status() == 200);
    }
}

#[test]
fn a_file_written_in_place_is_read_without_being_told() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/a"])).start();
    std::fs::write(gateway.dir.join("kong.yml"), routes(upstream.addr, &["/b"])).unwrap();
    gateway.wait_until("the new text is served", || gateway.get("/b").head.status() == 200);
}

#[test]
fn a_swapped_symlink_is_followed_without_being_told() {
    let upstream = Upstream::start();
    let base = Setup::kong(routes(upstream.addr, &["/a"])).start();
    // As a ConfigMap is mounted: kong.yml → ..data/kong.yml, and ..data is swapped.
    let dir = base.dir.join("mount");
    let put = |version: &str, path: &str| {
        std::fs::create_dir_all(dir.join(version)).unwrap();
        std::fs::write(dir.join(version).join("kong.yml"), routes(upstream.addr, &[path])).unwrap();
        let _ = std::fs::remove_file(dir.join("..data.new"));
        std::os::unix::fs::symlink(version, dir.join("..data.new")).unwrap();
        std::fs::rename(dir.join("..data.new"), dir.join("..data")).unwrap();
    };
    put("v1", "/v1");
    std::os::unix::fs::symlink("..data/kong.yml", dir.join("kong.yml")).unwrap();
    let (proxy, admin) = (crate::harness::ports::free(), crate::harness::ports::free());
    let native = std::fs::read_to_string(base.dir.join("native.yaml")).unwrap();
    let native = native.replace(&base.proxy.to_string(), &format!("127.0.0.1:{proxy}"));
    let native = native.replace(&base.admin.to_string(), &format!("127.0.0.1:{admin}"));
    std::fs::write(base.dir.join("other.yaml"), native).unwrap();
    let files: Vec<PathBuf> = vec![dir.join("kong.yml"), base.dir.join("other.yaml")];
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["run", "-c"])
        .arg(&files[0])
        .arg("-c")
        .arg(&files[1])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], proxy));
    let served = |path: &str| {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let up = std::net::TcpStream::connect(addr).is_ok();
            if up && try_get(addr, path).is_ok_and(|answer| answer.head.status() == 200) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    };
    let first = served("/v1");
    put("v2", "/v2");
    let second = served("/v2");
    put("v3", "/v3");
    let third = served("/v3");
    child.kill().ok();
    child.wait().ok();
    assert_eq!((first, second, third), (true, true, true));
}

#[test]
fn upstream_connections_outlive_a_reload() {
    let upstream = Upstream::start();
    let gateway = Setup::kong(routes(upstream.addr, &["/keep"])).start();
    gateway.get("/keep");
    let before = hash(&gateway);
    gateway.put_kong(&routes(upstream.addr, &["/keep", "/more"]));
    gateway.signal("HUP");
    gateway.wait_until("the next configuration is served", || hash(&gateway) != before);
    gateway.get("/keep");
    assert_eq!(upstream.log().conns, 1, "the pool was thrown away");
}

// Ending.

#[test]
fn sigterm_finishes_what_is_in_flight() {
    let slow = Echo::start("slow");
    let mut gateway = Setup::kong(routes(slow.addr, &["/"])).start();
    let mut idle = gateway.client();
    idle.get("/", "");
    let addr = gateway.proxy;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::to(addr);
                client
                    .try_get("/delay/1", "")
                    .map(|answer| (answer.head.status(), answer.head.holds("Connection: close")))
            })
        })
        .collect();
    let mut seen = 0;
    gateway.wait_until("all are in flight", || {
        seen += slow.take_count();
        seen >= 21
    });
    let start = Instant::now();
    gateway.signal("TERM");
    assert_eq!(idle.wire.until_close(), Ok(Vec::new()), "an idle connection stays open");
    for answer in waiting {
        assert_eq!(answer.join().unwrap(), Ok((200, true)));
    }
    assert_eq!(gateway.wait_exit(Duration::from_secs(5)).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn sigint_ends_it_as_well() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).start();
    gateway.signal("INT");
    assert_eq!(gateway.wait_exit(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn sigterm_under_load_breaks_no_answer() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("shards: 2").start();
    let load = Load::on(gateway.proxy, 8, "/load");
    load.wait_served(500);
    load.ending.store(true, Ordering::SeqCst);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));
    none_failed(&load.end());
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let slow = Echo::start("slow");
    let mut gateway = Setup::kong(routes(slow.addr, &["/"])).start();
    let mut client = gateway.client();
    client.send("GET /delay/20 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    gateway.wait_until("it is in flight", || slow.take_count() == 1);
    gateway.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(gateway.runs(), "it did not wait for what is in flight");
    gateway.signal("TERM");
    gateway.wait_exit(Duration::from_secs(2));
}

#[test]
fn what_takes_too_long_is_cut_off_at_the_deadline() {
    let slow = Echo::start("slow");
    let mut gateway = Setup::kong(routes(slow.addr, &["/"])).runtime("timeouts.drain: 1s").start();
    let mut client = gateway.client();
    client.send("GET /delay/20 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    gateway.wait_until("it is in flight", || slow.take_count() == 1);
    let start = Instant::now();
    gateway.signal("TERM");
    gateway.wait_exit(Duration::from_secs(6));
    assert!(start.elapsed() >= Duration::from_millis(900), "it did not wait: {:?}", start.elapsed());
}

#[test]
fn an_ending_gateway_accepts_nobody() {
    let slow = Echo::start("slow");
    let gateway = Setup::kong(routes(slow.addr, &["/"])).start();
    let mut client = gateway.client();
    client.send("GET /delay/3 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    gateway.wait_until("it is in flight", || slow.take_count() == 1);
    gateway.signal("TERM");
    gateway.wait_until("nobody can connect", || std::net::TcpStream::connect(gateway.proxy).is_err());
    assert_eq!(client.answer("GET").map(|answer| answer.head.status()), Ok(200));
}

// Seeing it.

#[test]
fn the_access_log_holds_a_line_a_request() {
    let echo = Echo::start("up");
    let path = std::env::temp_dir().join(format!("ringway-access-{}.log", std::process::id()));
    std::fs::remove_file(&path).ok();
    let mut setup = Setup::kong(routes(echo.addr, &["/a"]));
    setup.access_log = path.display().to_string();
    let gateway = setup.start();
    let answer = gateway.get("/a/x?y=%22");
    gateway.get("/none");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    gateway.wait_until("both lines are written", || read().lines().count() >= 2);
    let lines: Vec<serde_json::Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0];
    for key in [
        "timestamp",
        "request_id",
        "remote_addr",
        "method",
        "path",
        "status",
        "latency",
        "upstream_latency",
        "bytes_sent",
        "consumer",
    ] {
        assert!(first.get(key).is_some(), "{key} is missing in {first}");
    }
    assert_eq!((first["method"].as_str(), first["path"].as_str()), (Some("GET"), Some("/a/x?y=%22")));
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    assert_eq!((text(&first["status"]).as_str(), text(&lines[1]["status"]).as_str()), ("200", "404"));
    assert_eq!(first["request_id"].as_str(), answer.head.one("X-Kong-Request-Id"));
    let sent = answer.head.raw.len() + answer.body.len();
    assert_eq!(text(&first["bytes_sent"]), sent.to_string());
    std::fs::remove_file(&path).ok();
}

#[test]
fn metrics_count_what_was_served() {
    let echo = Echo::start("up");
    let gateway = Setup::kong(routes(echo.addr, &["/a"])).runtime("shards: 2").start();
    for _ in 0..7 {
        gateway.get("/a/x");
    }
    gateway.get("/a/status/503");
    gateway.get("/none");
    let metrics = gateway.admin("/metrics");
    let value = |parts: &[&str]| -> f64 {
        metrics
            .lines()
            .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    assert_eq!(value(&["requests_total", "200"]), 7.0, "{metrics}");
    assert_eq!(value(&["requests_total", "503"]), 1.0, "{metrics}");
    assert_eq!(value(&["requests_total", "404"]), 1.0, "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        let ours = name.starts_with("ringway_") || name.starts_with("process_");
        assert!(number.parse::<f64>().is_ok() && ours, "{line}");
    }
}

#[test]
fn the_admin_listener_survives_nonsense() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).start();
    let mut client = Client::to(gateway.admin);
    client.send("nonsense\r\n\r\n");
    client.wire.until_close().ok();
    assert_eq!(crate::harness::client::get(gateway.admin, "/nothing-here").head.status(), 404);
    assert!(gateway.status().is_object());
    gateway.check_serves();
}

// The other commands.

fn kong_file(name: &str, text: &str) -> String {
    let dir = std::env::temp_dir().join(format!("ringway-cli-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("kong.yml"), text).unwrap();
    dir.join("kong.yml").display().to_string()
}

#[test]
fn check_tells_every_fault_with_its_place() {
    let good = kong_file("good", "_format_version: \"3.0\"\nservices:\n- {name: s, url: \"http://h\"}\n");
    assert_eq!(ringway(&["check", "-c", &good]).0, 0);
    let bad = kong_file("bad", "_format_version: \"3.0\"\nservices:\n- {nam: s, url: \"http://h\"}\n- {name: t}\n");
    let (code, out, err) = ringway(&["check", "-c", &bad]);
    let said = format!("{out}{err}");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("kong.yml:3:") && said.contains("kong.yml:4:"), "{said}");
    assert!(said.contains("name"), "no nearest name: {said}");
    let (code, out, _) = ringway(&["check", "--json", "-c", &bad]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!(code, 1);
    assert!(report.to_string().contains("kong.yml"), "{report}");
    assert_eq!(ringway(&["check", "-c", "/nowhere.yml"]).0, 1);
}

#[test]
fn check_refuses_what_run_would_refuse() {
    let plugins = [
        "{name: mtls-auth, config: {ca_certificates: [4f2a1dd2-6ba5-4b2c-8f0a-1d1b8a8c1e11]}}",
        "{name: rate-limiting, config: {minute: 1, error_code: 100}}",
    ];
    for plugin in plugins {
        let text =
            format!("_format_version: \"3.0\"\nservices:\n- {{name: s, url: \"http://h\"}}\nplugins:\n- {plugin}\n");
        let file = kong_file("refused", &text);
        let (code, out, err) = ringway(&["check", "-c", &file]);
        assert!(code == 1 && out.contains("kong.yml:5:3: plugin "), "{plugin}: {code} {out}{err}");
        assert!(Setup::kong(text).try_start().is_err(), "{plugin}: it starts");
    }
}

#[test]
fn explain_tells_which_route_and_why_not_the_others() {
    let file = kong_file(
        "explain",
        "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://127.0.0.1:9\n  plugins: [{name: key-auth}]\n  routes:\n  \
         - {name: chosen, paths: [/a]}\n  - {name: passed-over, paths: [/a], methods: [POST]}\n",
    );
    let (code, out, err) = ringway(&["explain", "-c", &file, "GET http://h.test/a/b", "-H", "k: v"]);
    assert_eq!(code, 0, "{out}{err}");
    for word in ["chosen", "passed-over", "key-auth", "127.0.0.1:9", "method"] {
        assert!(out.contains(word), "it does not say {word:?}:\n{out}");
    }
}

#[test]
fn schema_is_json_and_help_teaches() {
    let (code, out, _) = ringway(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && schema["properties"]["runtime"].is_object(), "{out}");
    let (code, out, _) = ringway(&["--help"]);
    assert_eq!(code, 0);
    for word in ["run", "check", "explain", "demo", "-c"] {
        assert!(out.contains(word), "--help does not say {word:?}:\n{out}");
    }
    let (code, _, err) = ringway(&["explan"]);
    assert!(code != 0 && err.contains("explain"), "no nearest command: {err}");
}
