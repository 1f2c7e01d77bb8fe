//! Slow, greedy and sick peers: what they cost, and that everybody else is served meanwhile.
//!
//! Memory is the child's VmRSS, CPU time its utime + stime; bounds are several times what a sound build needs, so that a
//! busy machine fails nothing, and far below what the fault they look for would take.

use crate::harness::client::try_get;
use crate::harness::gateway::{limit_files, many_files, wire_to};
use crate::harness::text::latin1;
use crate::harness::wire::End;
use crate::harness::{Client, Gateway, Setup, Upstream};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// Connections of the large tests.
const MANY: usize = 5000;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An upstream that hands each connection to `serve`, on a thread of its own.
fn upstream_by(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    // Room for a whole crowd: where the queue is full the kernel drops, and the other side tries again after a second.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Reads one head off a stream and nothing behind it.
fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(head)
}

/// A kong.yml with `/sick` to one upstream and `/canary` to a sound one; timeouts are a second.
fn sick_and_sound(sick: SocketAddr, sound: &Upstream) -> Setup {
    let service = |name: &str, addr: SocketAddr| {
        format!(
            "- name: {name}\n  url: http://{addr}\n  retries: 0\n  connect_timeout: 1000\n  read_timeout: 1000\n  \
             write_timeout: 1000\n  routes:\n  - name: {name}\n    paths: [/{name}]\n    strip_path: false\n"
        )
    };
    Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n{}{}",
        service("sick", sick),
        service("canary", sound.addr)
    ))
}

/// Connects `count` clients.
fn crowd(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    many_files();
    (0..count)
        .map(|n| TcpStream::connect_timeout(&addr, seconds(10)).unwrap_or_else(|e| panic!("client {n}: {e}")))
        .collect()
}

/// Runs `work` on `count` threads and returns what each made.
fn all<T: Send + 'static>(count: usize, work: impl Fn(usize) -> T + Send + Sync + 'static) -> Vec<T> {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let work = work.clone();
            std::thread::Builder::new().stack_size(256 * 1024).spawn(move || work(n)).unwrap()
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Waits until the gateway holds at most `count` descriptors.
#[track_caller]
fn wait_files(gateway: &Gateway, count: usize) {
    gateway.wait_until(&format!("it holds at most {count} descriptors"), || gateway.files() <= count);
}

/// Everybody else gets an answer, soon.
#[track_caller]
fn others_are_served(gateway: &mut Gateway) {
    let start = Instant::now();
    for _ in 0..20 {
        gateway.check_serves();
    }
    assert!(start.elapsed() < seconds(5), "20 requests of others took {:?}", start.elapsed());
}

// Slow clients.

#[test]
fn heads_that_trickle_are_ended() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.header: 1s").start();
    let mut clients = crowd(gateway.proxy, 300);
    let start = Instant::now();
    let mut head = b"GET /slow HTTP/1.1\r\nHost: a.test\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a'));
    while start.elapsed() < seconds(3) {
        let byte = [*head.next().unwrap()];
        for client in &mut clients {
            client.write_all(&byte).ok();
        }
        gateway.check_serves();
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in clients {
        let mut wire = crate::harness::wire::Wire::of(client, seconds(5));
        match wire.answer("GET") {
            Ok(answer) => assert_eq!(answer.head.status(), 408),
            // It went on sending after the end: its kernel may have thrown the answer away.
            Err(End::Closed | End::Reset) => {}
            Err(end) => panic!("{end:?}"),
        }
    }
    assert!(upstream.log().requests.iter().all(|seen| seen.head.target() != "/slow"));
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let upstream = Upstream::start();
    let gateway =
        Setup::open_to(upstream.addr).runtime("timeouts.header: 1s").runtime("timeouts.keepalive: 1s").start();
    let mut silent = wire_to(gateway.proxy, seconds(8));
    assert_eq!(silent.until_close().map(|bytes| bytes.len()), Ok(0), "no words are needed for one who said none");
    let mut kept = gateway.client();
    kept.get("/", "");
    kept.wire.patience(seconds(8));
    assert_eq!(kept.wire.until_close(), Ok(Vec::new()), "a kept connection ends without a 408");
}

#[test]
fn bodies_below_the_lowest_rate_are_ended() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("body_rate_min: 1000B/s").start();
    let mut client = gateway.client();
    client.send("POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n");
    let start = Instant::now();
    while client.send("a") && start.elapsed() < seconds(25) {
        std::thread::sleep(Duration::from_millis(40));
    }
    assert!(start.elapsed() < seconds(25), "25 bytes a second went on for {:?}", start.elapsed());
    others_are_served(&mut gateway);
}

#[test]
fn a_body_that_waits_for_the_upstream_is_not_slow() {
    let upstream = upstream_by(|mut stream| {
        read_head(&mut stream);
        // Longer than a body may take before its rate is judged.
        std::thread::sleep(seconds(6));
        let mut body = (&stream).take(16 * MIB);
        std::io::copy(&mut body, &mut std::io::sink()).ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
    });
    let mut setup = Setup::open_to(upstream).runtime("body_rate_min: 1GiB/s");
    setup.kong = setup.kong.replace("_timeout: 1000", "_timeout: 20000");
    let gateway = setup.start();
    let mut client = gateway.client();
    client.send(format!("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", 16 * MIB));
    (0..16).for_each(|_| assert!(client.send(vec![b'x'; MIB as usize])));
    assert_eq!(client.answer("POST").map(|answer| answer.head.status()), Ok(200));
}

#[test]
fn a_body_that_stops_is_ended_and_heard_of() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).runtime("timeouts.body: 1s").start();
    let mut client = gateway.client();
    client.send("POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.answer("POST").map(|answer| answer.head.status()), Ok(408));
    assert_eq!(client.wire.until_close(), Ok(Vec::new()));
}

#[test]
fn a_slow_body_above_the_lowest_rate_passes() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).runtime("timeouts.body: 2s").runtime("body_rate_min: 10B/s").start();
    let mut client = gateway.client();
    client.send("POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 400\r\n\r\n");
    for _ in 0..40 {
        client.send("aaaaaaaaaa");
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(client.answer("POST").map(|answer| answer.head.status()), Ok(200));
}

/// An upstream that answers every request with `mib` MiB.
fn large_answers(mib: u64) -> SocketAddr {
    upstream_by(move |mut stream| {
        while read_head(&mut stream).is_some() {
            let block = vec![b'x'; 64 * 1024];
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", mib * MIB);
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
            for _ in 0..mib * 16 {
                if stream.write_all(&block).is_err() {
                    return;
                }
            }
        }
    })
}

/// Answers of so many bytes as their path says, each byte told by its place; behind a path that begins with `/x`, two bytes
/// too many.
fn sized_answers() -> SocketAddr {
    upstream_by(|mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let path = latin1(&head).split(' ').nth(1).unwrap().to_owned();
            let bytes: usize = path.trim_start_matches(['/', 'x', 'l']).parse().unwrap();
            // A head that is longer than the gateway's: `/l`.
            let more = if path.starts_with("/l") { format!("X-Long: {}\r\n", "l".repeat(1500)) } else { String::new() };
            let mut answer = format!("HTTP/1.1 200 OK\r\n{more}Content-Length: {bytes}\r\n\r\n").into_bytes();
            answer.extend((0..bytes).map(|n| b'a' + (n % 23) as u8));
            if path.starts_with("/x") {
                answer.extend_from_slice(b"HT");
            }
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

#[test]
fn answers_of_every_size_follow_each_other() {
    let gateway = Setup::open_to(sized_answers()).start();
    let mut client = gateway.client();
    // After a large answer the next is received into a large buffer, and sent from where it lies.
    let sizes =
        [0, 1, 200, 70_000, 70_000, 1, 0, 5000, 5000, 4096, 4097, 32_000, 32_768, 33_000, 200_000, 65_536, 12, 1];
    for kind in ["", "l", "x"] {
        for size in sizes.iter().chain(sizes.iter().rev()) {
            let answer = client.get(&format!("/{kind}{size}"), "");
            let told = answer.body.iter().enumerate().all(|(n, &byte)| byte == b'a' + (n % 23) as u8);
            assert!(answer.body.len() == *size && told, "/{kind}{size}: {} bytes", answer.body.len());
            assert_eq!(answer.head.all("content-length"), [size.to_string()]);
        }
    }
}

#[test]
fn clients_that_never_read_cost_little() {
    let sound = Upstream::start();
    let mut gateway = sick_and_sound(large_answers(64), &sound).runtime("timeouts.send: 3s").start();
    gateway.check_serves();
    let (rss, files) = (gateway.rss_kib(), gateway.files());
    let mut clients = crowd(gateway.proxy, 100);
    for client in &mut clients {
        client.write_all(b"GET /sick HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    }
    std::thread::sleep(seconds(1));
    others_are_served(&mut gateway);
    let grown = gateway.rss_kib().saturating_sub(rss);
    assert!(grown < 64 * 1024, "100 clients that do not read cost {grown} KiB");
    // None of them is waited for beyond the send timeout; the sockets of both sides come back.
    wait_files(&gateway, files + 10);
}

#[test]
fn a_slow_reader_slows_its_upstream_down() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let upstream = upstream_by(move |mut stream| {
        read_head(&mut stream);
        let block = vec![b'x'; 64 * 1024];
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").ok();
        while stream.write_all(&block).is_ok() {
            counter.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    });
    let gateway = Setup::open_to(upstream).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.wire.head().unwrap();
    std::thread::sleep(seconds(2));
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 64 * MIB, "the upstream could send {} MiB to a client that reads nothing", sent / MIB);
}

#[test]
fn an_upstream_that_does_not_read_slows_its_client_down() {
    let upstream = upstream_by(|mut stream| {
        read_head(&mut stream);
        std::thread::sleep(seconds(20));
    });
    let gateway = Setup::open_to(upstream).start();
    let rss = gateway.rss_kib();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1073741824\r\n\r\n");
    client.wire.stream.set_write_timeout(Some(seconds(1))).unwrap();
    let block = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while client.wire.stream.write(&block).is_ok_and(|count| count > 0) && sent < 1024 * MIB {
        sent += block.len() as u64;
    }
    assert!(sent < 64 * MIB, "{} MiB went to an upstream that reads nothing", sent / MIB);
    assert!(gateway.rss_kib() < rss + 32 * 1024);
    let answer = client.answer("POST").map(|answer| answer.head.status());
    assert!(matches!(answer, Ok(504 | 502) | Err(End::Reset | End::Cut(_))), "{answer:?}");
}

#[test]
fn pipelining_without_reading_is_bounded() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.send: 20s").start();
    gateway.check_serves();
    let rss = gateway.rss_kib();
    let mut client = gateway.client();
    let requests: Vec<u8> = b"GET /pipelined HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(20_000);
    let mut writer = client.wire.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&requests).is_ok());
    std::thread::sleep(seconds(1));
    others_are_served(&mut gateway);
    assert!(gateway.rss_kib() < rss + 32 * 1024, "grew from {rss} to {} KiB", gateway.rss_kib());
    client.wire.patience(seconds(30));
    for n in 0..20_000 {
        let answer = client.answer("GET").unwrap_or_else(|end| panic!("answer {n}: {end:?}"));
        assert_eq!((answer.head.status(), &answer.body[..]), (200, &b"GET /pipelined"[..]), "answer {n}");
    }
    assert!(sender.join().unwrap());
}

// Many clients.

#[test]
fn five_thousand_idle_clients_hold_nobody_up() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.header: 60s").start();
    gateway.check_serves();
    let (rss, files) = (gateway.rss_kib(), gateway.files());
    let clients = crowd(gateway.proxy, MANY);
    let open = || gateway.status()["server"]["connections_active"].as_u64();
    gateway.wait_until("all are accepted", || open() >= Some(MANY as u64));
    others_are_served(&mut gateway);
    let each = gateway.rss_kib().saturating_sub(rss) * 1024 / MANY as u64;
    assert!(each < 16 * 1024, "an idle client costs {each} bytes");
    let cpu = gateway.cpu_ms();
    std::thread::sleep(seconds(2));
    let busy = gateway.cpu_ms() - cpu;
    assert!(busy < 500, "{busy} ms of CPU in 2 s of silence");
    drop(clients);
    wait_files(&gateway, files + 10);
}

#[test]
fn five_thousand_kept_clients_give_their_buffers_back() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.keepalive: 60s").start();
    gateway.check_serves();
    let rss = gateway.rss_kib();
    let mut clients = crowd(gateway.proxy, MANY);
    let mut wires = Vec::with_capacity(MANY);
    // A hundred at a time: the accept queue of a plain upstream holds 128.
    while !clients.is_empty() {
        let mut some = clients.split_off(clients.len().saturating_sub(100));
        for client in &mut some {
            client.write_all(b"GET /kept HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        }
        for client in some {
            let mut wire = crate::harness::wire::Wire::of(client, seconds(20));
            assert_eq!(wire.answer("GET").map(|answer| answer.head.status()), Ok(200));
            wires.push(wire);
        }
    }
    let each = gateway.rss_kib().saturating_sub(rss) * 1024 / MANY as u64;
    assert!(each < 20 * 1024, "a kept client costs {each} bytes");
    for wire in wires.iter_mut().step_by(100) {
        wire.stream.write_all(b"GET /again HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        assert_eq!(wire.answer("GET").map(|answer| answer.head.status()), Ok(200));
    }
}

#[test]
fn five_thousand_half_heads_hold_nobody_up() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.header: 3s").start();
    gateway.check_serves();
    let (rss, files) = (gateway.rss_kib(), gateway.files());
    let mut clients = crowd(gateway.proxy, MANY);
    for client in &mut clients {
        client.write_all(b"GET /half HTTP/1.1\r\nHost: a.te").ok();
    }
    others_are_served(&mut gateway);
    let each = gateway.rss_kib().saturating_sub(rss) * 1024 / MANY as u64;
    assert!(each < 48 * 1024, "half a head costs {each} bytes");
    wait_files(&gateway, files + 10);
}

#[test]
fn a_flood_of_refused_requests_holds_nobody_up() {
    many_files();
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).start();
    let files = gateway.files();
    let mut clients = crowd(gateway.proxy, 3000);
    for (number, client) in clients.iter_mut().enumerate() {
        let bytes =
            [&b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"[..], b"\x16\x03\x01\x02\0", b"GET / HTTP/1.1\r\n\r\n"][number % 3];
        client.write_all(bytes).unwrap();
    }
    others_are_served(&mut gateway);
    // Nobody has closed or sent on: each is told, and let go without.
    for client in &mut clients {
        let mut answer = Vec::new();
        client.set_read_timeout(Some(seconds(10))).unwrap();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
    }
    wait_files(&gateway, files + 20);
    assert_eq!(upstream.log().bad.len(), 0);
}

#[test]
fn a_long_pipeline_is_answered_in_its_order() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).start();
    let mut client = gateway.client();
    let mut sending = client.wire.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for number in 0..3000 {
            let request = match number % 3 {
                0 => format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
                1 => format!("PUT /{number} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"),
                _ => format!(
                    "POST /{number} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                ),
            };
            sending.write_all(request.as_bytes()).unwrap();
        }
    });
    for number in 0..3000 {
        let method = ["GET", "PUT", "POST"][number % 3];
        let answer = client.answer(method).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.body), format!("{method} /{number}"));
    }
    sender.join().unwrap();
}

#[test]
fn a_flood_of_connections_leaves_nothing_behind() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).start();
    gateway.check_serves();
    let files = gateway.files();
    let addr = gateway.proxy;
    all(4, move |n| {
        for turn in 0..1500 {
            let Ok(stream) = TcpStream::connect_timeout(&addr, seconds(10)) else { continue };
            // By turns: closed, half-closed, reset.
            match (turn + n) % 3 {
                0 => drop(stream),
                1 => drop(stream.shutdown(Shutdown::Write)),
                _ => drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
            }
        }
    });
    wait_files(&gateway, files + 10);
    others_are_served(&mut gateway);
}

#[test]
fn out_of_descriptors_it_neither_spins_nor_dies() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.header: 60s").start();
    gateway.check_serves();
    let files = gateway.files();
    limit_files(gateway.pid(), files as u64 + 40);
    let clients = crowd(gateway.proxy, 400);
    std::thread::sleep(Duration::from_millis(500));
    let cpu = gateway.cpu_ms();
    std::thread::sleep(seconds(2));
    let busy = gateway.cpu_ms() - cpu;
    assert!(gateway.runs(), "it died\n{}", gateway.said());
    assert!(busy < 600, "{busy} ms of CPU in 2 s without descriptors");
    assert!(gateway.said().lines().count() < 500, "it floods its log");
    drop(clients);
    others_are_served(&mut gateway);
}

#[test]
fn out_of_descriptors_half_heads_give_way() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("timeouts.header: 60s").start();
    gateway.check_serves();
    limit_files(gateway.pid(), gateway.files() as u64 + 100);
    let mut clients = crowd(gateway.proxy, 300);
    for client in &mut clients {
        client.write_all(b"GET /half HTTP/1.1\r\nHost: a.test\r\nX-").ok();
    }
    others_are_served(&mut gateway);
    drop(clients);
}

#[test]
fn beyond_the_most_connections_clients_are_told() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("connections_max: 20").start();
    let first = crowd(gateway.proxy, 20);
    for _ in 0..10 {
        // It is told before it asks.
        let mut client = gateway.client();
        let head = client.wire.head().expect("an answer");
        assert_eq!(head.status(), 503);
        let framing = head.framing_of_answer("GET").expect("a length");
        let (body, _) = client.wire.body(framing).expect("a whole body");
        assert!(String::from_utf8_lossy(&body).contains("Too many connections"));
        assert!(client.wire.until_close().is_ok_and(|rest| rest.is_empty()));
    }
    drop(first);
    gateway.wait_until("it has room again", || try_get(gateway.proxy, "/").is_ok_and(|a| a.head.status() == 200));
    others_are_served(&mut gateway);
}

#[test]
fn a_thousand_at_once_are_all_answered() {
    many_files();
    let upstream = upstream_by(|mut stream| {
        while read_head(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(50));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    });
    let kong = format!(
        "_format_version: \"3.0\"\nservices:\n- name: up\n  url: http://{upstream}\n  routes:\n  - paths: [/]\n"
    );
    let gateway = Setup::kong(kong).start();
    let addr = gateway.proxy;
    let statuses = all(1000, move |_| {
        let mut client = Client::to(addr);
        client.wire.patience(seconds(30));
        client.try_get("/at-once", "").map(|answer| answer.head.status())
    });
    let failed: Vec<_> = statuses.iter().filter(|status| **status != Ok(200)).collect();
    assert!(failed.is_empty(), "{} of 1000 failed, e.g. {:?}", failed.len(), failed[0]);
}

// Clients that go away.

#[test]
fn clients_that_reset_in_the_middle_of_an_answer_are_forgotten() {
    let sound = Upstream::start();
    let mut gateway = sick_and_sound(large_answers(64), &sound).start();
    gateway.check_serves();
    let files = gateway.files();
    let addr = gateway.proxy;
    all(100, move |_| {
        let mut client = Client::to(addr);
        client.send("GET /sick HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.wire.exactly(100_000).ok();
        socket2::SockRef::from(&client.wire.stream).set_linger(Some(Duration::ZERO)).ok();
    });
    wait_files(&gateway, files + 10);
    others_are_served(&mut gateway);
}

#[test]
fn clients_that_reset_in_the_middle_of_a_body_are_forgotten() {
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).start();
    gateway.check_serves();
    let files = gateway.files();
    let addr = gateway.proxy;
    all(100, move |_| {
        let mut client = Client::to(addr);
        client.send("POST /gone HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n");
        client.send(vec![b'x'; 10_000]);
        socket2::SockRef::from(&client.wire.stream).set_linger(Some(Duration::ZERO)).ok();
    });
    wait_files(&gateway, files + 10);
    others_are_served(&mut gateway);
    let whole =
        upstream.log().requests.iter().any(|seen| seen.head.target() == "/gone" && matches!(seen.message, Some(Ok(_))));
    assert!(!whole, "a body that was given up reached the upstream as whole");
}

#[test]
fn clients_that_leave_while_the_upstream_thinks_free_the_upstream() {
    let sound = Upstream::start();
    let open = Arc::new(AtomicU64::new(0));
    let counter = open.clone();
    let sick = upstream_by(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        read_head(&mut stream);
        // Ends when the gateway gives the exchange up.
        let _ended = stream.read(&mut [0]).map_or(0, |count| count);
        counter.fetch_sub(1, Ordering::SeqCst);
    });
    let kong = sick_and_sound(sick, &sound).kong.replace("read_timeout: 1000", "read_timeout: 60000");
    let mut gateway = Setup::kong(kong).start();
    let mut clients = crowd(gateway.proxy, 50);
    for client in &mut clients {
        client.write_all(b"GET /sick HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    }
    gateway.wait_until("all have reached the upstream", || open.load(Ordering::SeqCst) == 50);
    drop(clients);
    gateway.wait_until("the upstream is free", || open.load(Ordering::SeqCst) == 0);
    others_are_served(&mut gateway);
}

// Sick upstreams.

#[test]
fn an_upstream_that_never_answers_holds_nobody_else_up() {
    let sound = Upstream::start();
    let sick = upstream_by(|mut stream| {
        read_head(&mut stream);
        std::thread::sleep(seconds(30));
    });
    let mut gateway = sick_and_sound(sick, &sound).start();
    let addr = gateway.proxy;
    let waiting =
        std::thread::spawn(move || all(200, move |_| try_get(addr, "/sick").map(|answer| answer.head.status())));
    others_are_served(&mut gateway);
    for status in waiting.join().unwrap() {
        assert_eq!(status, Ok(504));
    }
}

#[test]
fn an_upstream_that_never_accepts_is_given_up_in_time() {
    let sound = Upstream::start();
    // A listener whose queue is full drops what comes: a black hole.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
        fill.push(stream);
        assert!(fill.len() < 100, "the queue does not fill");
    }
    let mut gateway = sick_and_sound(addr, &sound).start();
    let proxy = gateway.proxy;
    let start = Instant::now();
    let waiting =
        std::thread::spawn(move || all(50, move |_| try_get(proxy, "/sick").map(|answer| answer.head.status())));
    others_are_served(&mut gateway);
    for status in waiting.join().unwrap() {
        assert!(matches!(status, Ok(504 | 502)), "{status:?}");
    }
    assert!(start.elapsed() < seconds(6), "connect_timeout is 1 s, it took {:?}", start.elapsed());
}

#[test]
fn an_upstream_that_is_down_and_comes_back_is_used_again() {
    let upstream = Upstream::start();
    let port = crate::harness::ports::free();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let mut gateway = sick_and_sound(addr, &upstream).start();
    for _ in 0..5 {
        assert_eq!(gateway.get("/sick").head.status(), 502);
    }
    others_are_served(&mut gateway);
    let listener = TcpListener::bind(addr).unwrap();
    let echo = crate::harness::echo::Echo::on(listener, "back");
    assert_eq!(gateway.get("/sick").head.status(), 200);
    assert_eq!(echo.take_count(), 1);
}

#[test]
fn an_upstream_that_resets_every_connection_is_a_bad_gateway() {
    let sound = Upstream::start();
    let sick = upstream_by(|stream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
    });
    let mut gateway = sick_and_sound(sick, &sound).start();
    gateway.check_serves();
    let files = gateway.files();
    let addr = gateway.proxy;
    for status in all(200, move |_| try_get(addr, "/sick").map(|answer| answer.head.status())) {
        assert_eq!(status, Ok(502));
    }
    wait_files(&gateway, files + 10);
    others_are_served(&mut gateway);
}

#[test]
fn an_upstream_that_breaks_off_is_seen_to_break_off() {
    let sound = Upstream::start();
    let sick = upstream_by(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").ok();
        stream.write_all(&vec![b'x'; 50_000]).ok();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
    });
    let mut gateway = sick_and_sound(sick, &sound).start();
    let addr = gateway.proxy;
    for end in all(100, move |_| try_get(addr, "/sick").map(|answer| answer.body.len())) {
        assert!(matches!(end, Err(End::Cut(_) | End::Reset)) || end.is_ok_and(|len| len < 300), "taken for whole");
    }
    others_are_served(&mut gateway);
}

#[test]
fn answers_that_drip_pass_and_hold_nobody_up() {
    let sound = Upstream::start();
    let dripping = upstream_by(|mut stream| {
        read_head(&mut stream);
        // Slower altogether than the upstream's timeout of a second, but never silent for so long.
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhello hello hello he" {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    });
    let mut gateway = sick_and_sound(dripping, &sound).start();
    let addr = gateway.proxy;
    let slow = std::thread::spawn(move || all(100, move |_| try_get(addr, "/sick").map(|answer| answer.body)));
    others_are_served(&mut gateway);
    for body in slow.join().unwrap() {
        assert_eq!(body.as_deref(), Ok(&b"hello hello hello he"[..]));
    }
}

#[test]
fn what_an_upstream_sent_before_it_broke_off_is_not_lost() {
    let upstream = upstream_by(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").ok();
        stream.write_all(&[b'#'; 200_000]).ok();
    });
    let gateway = Setup::open_to(upstream).start();
    let mut client = gateway.client();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    // The client does not read before all is over at the gateway.
    gateway.wait_said("the body ended before its end");
    gateway.wait_until("it has let the client go", || gateway.status()["shards"][0]["connections"] == 0);
    let all = client.wire.until_close().expect("an end in good order");
    assert_eq!(all.iter().filter(|&&byte| byte == b'#').count(), 200_000);
}

#[test]
fn the_word_of_an_upstream_to_go_on_is_passed_on_at_once() {
    let upstream = upstream_by(|mut stream| {
        while read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok();
            let mut body = [0; 2];
            stream.read_exact(&mut body).ok();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
        }
    });
    let gateway = Setup::open_to(upstream).start();
    let mut client = gateway.client();
    let begun = Instant::now();
    for _ in 0..20 {
        client.send("PUT /x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(client.wire.head().expect("an interim answer").status(), 100);
        client.send("hi");
        assert_eq!(client.answer("PUT").expect("an answer").body, b"ok");
    }
    // Each would take the 250 ms that an upstream may be silent.
    assert!(begun.elapsed() < seconds(3), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_goes_on_by_itself_is_not_kept_waiting() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).start();
    let mut client = gateway.client();
    let begun = Instant::now();
    for number in 1..=20 {
        client.send("PUT /x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        // The head has gone to the upstream before the body is sent.
        gateway.wait_until("the upstream has the head", || upstream.log().requests.len() == number);
        client.send("hi");
        assert_eq!(client.wire.head().expect("no interim answer").status(), 200);
        assert_eq!(client.wire.exactly(6).as_deref(), Ok(&b"PUT /x"[..]));
    }
    // Each would take the 250 ms that an upstream may be silent.
    assert!(begun.elapsed() < seconds(3), "{:?}", begun.elapsed());
}

#[test]
fn an_upstream_that_closes_after_each_answer_fails_nobody() {
    // Without a word: the gateway cannot know before it looks.
    let upstream = upstream_by(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
    });
    let gateway = Setup::open_to(upstream).start();
    let addr = gateway.proxy;
    let failed: Vec<_> = all(8, move |_| {
        let mut client = Client::to(addr);
        (0..200).filter(|_| client.get("/", "").head.status() != 200).count()
    });
    assert_eq!(failed.iter().sum::<usize>(), 0, "of 1600 requests");
}

#[test]
fn idle_upstream_connections_are_let_go() {
    many_files();
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr).runtime("upstream.idle_timeout: 1s").start();
    gateway.check_serves();
    let files = gateway.files();
    let addr = gateway.proxy;
    all(200, move |_| Client::to(addr).get("/", "").head.status());
    wait_files(&gateway, files + 5);
    gateway.check_serves();
}

#[test]
fn no_more_idle_upstream_connections_are_kept_than_told() {
    let upstream = upstream_by(|mut stream| {
        while read_head(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(300));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    });
    let gateway = Setup::open_to(upstream).runtime("upstream.idle_max: 4").start();
    let files = gateway.files();
    let addr = gateway.proxy;
    all(60, move |_| Client::to(addr).get("/", "").head.status());
    wait_files(&gateway, files + 6);
}

// Large bodies.

/// MiB of the bodies that must pass in constant memory; a release check may ask for 10 GiB.
fn large_mib() -> u64 {
    std::env::var("RINGWAY_TEST_BODY_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(512)
}

/// Watches the child's memory while `work` runs; returns the most it grew, KiB.
fn grown_during(gateway: &Gateway, work: impl FnOnce() + Send) -> u64 {
    let before = gateway.rss_kib();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            while !done.load(Ordering::SeqCst) {
                most = most.max(gateway.rss_kib());
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let worked = scope.spawn(work).join();
        done.store(true, Ordering::SeqCst);
        worked.unwrap();
        watch.join().unwrap() - before
    })
}

/// An upstream that counts the bytes after the head until the body has ended, and answers their number.
fn counting() -> SocketAddr {
    upstream_by(|mut stream| {
        let head = read_head(&mut stream).unwrap_or_default();
        let chunked = String::from_utf8_lossy(&head).to_lowercase().contains("transfer-encoding: chunked");
        let mut reader = std::io::BufReader::with_capacity(256 * 1024, stream.try_clone().unwrap());
        let mut count = 0u64;
        if chunked {
            count = count_chunks(&mut reader);
        } else {
            let want = large_mib() * MIB;
            count += std::io::copy(&mut reader.by_ref().take(want), &mut std::io::sink()).unwrap();
        }
        let body = count.to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).ok();
        std::thread::sleep(Duration::from_millis(200));
    })
}

fn count_chunks(reader: &mut impl std::io::BufRead) -> u64 {
    let mut count = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = u64::from_str_radix(line.trim_end(), 16).unwrap();
        std::io::copy(&mut reader.by_ref().take(size + 2), &mut std::io::sink()).unwrap();
        count += size;
        if size == 0 {
            return count;
        }
    }
}

#[track_caller]
fn upload(chunked: bool) {
    let gateway = Setup::open_to(counting()).start();
    let length = large_mib() * MIB;
    let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
    let grown = grown_during(&gateway, || {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n"));
        let block = vec![b'x'; 256 * 1024];
        for _ in 0..large_mib() * 4 {
            if chunked {
                client.send("40000\r\n");
            }
            assert!(client.send(&block), "the gateway closed");
            if chunked {
                client.send("\r\n");
            }
        }
        if chunked {
            client.send("0\r\n\r\n");
        }
        client.wire.patience(seconds(60));
        let answer = client.answer("POST").unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.body), length.to_string());
    });
    assert!(grown < 32 * 1024, "{} MiB passed, and memory grew by {grown} KiB", large_mib());
}

#[test]
fn a_large_upload_of_known_length_passes_in_constant_memory() {
    upload(false);
}

#[test]
fn a_large_chunked_upload_passes_in_constant_memory() {
    upload(true);
}

#[track_caller]
fn download(chunked: bool) {
    let upstream = upstream_by(move |mut stream| {
        read_head(&mut stream);
        let framing = match chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", large_mib() * MIB),
        };
        write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").ok();
        let block = vec![b'x'; 256 * 1024];
        for _ in 0..large_mib() * 4 {
            if chunked {
                stream.write_all(b"40000\r\n").ok();
            }
            stream.write_all(&block).ok();
            if chunked {
                stream.write_all(b"\r\n").ok();
            }
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").ok();
        }
    });
    let gateway = Setup::open_to(upstream).start();
    let grown = grown_during(&gateway, || {
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let stream = client.wire.stream.try_clone().unwrap();
        stream.set_read_timeout(Some(seconds(10))).unwrap();
        let mut reader = std::io::BufReader::with_capacity(256 * 1024, stream);
        let mut head = String::new();
        while std::io::BufRead::read_line(&mut reader, &mut head).unwrap() > 2 {}
        let count = match chunked {
            true => count_chunks(&mut reader),
            false => std::io::copy(&mut reader.by_ref().take(large_mib() * MIB), &mut std::io::sink()).unwrap(),
        };
        assert_eq!(count, large_mib() * MIB);
    });
    assert!(grown < 32 * 1024, "{} MiB passed, and memory grew by {grown} KiB", large_mib());
}

#[test]
fn a_large_download_of_known_length_passes_in_constant_memory() {
    download(false);
}

#[test]
fn a_large_chunked_download_passes_in_constant_memory() {
    download(true);
}

#[test]
fn a_body_over_the_bound_is_refused() {
    let upstream = Upstream::start();
    let gateway = Setup::open_to(upstream.addr).runtime("body_max: 1000B").start();
    let mut client = gateway.client();
    client.send(format!("POST /fixed HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001)));
    assert_eq!(client.answer("POST").map(|answer| answer.head.status()), Ok(413));
    let mut client = gateway.client();
    client.send("POST /chunked HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("3e8\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1000)));
    assert_eq!(client.answer("POST").map(|answer| answer.head.status()), Ok(413));
    let mut client = gateway.client();
    client.send(format!("POST /fits HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000)));
    assert_eq!(client.answer("POST").map(|answer| answer.head.status()), Ok(200));
    let whole = |target: &str| {
        upstream.log().requests.iter().any(|s| s.head.target() == target && matches!(s.message, Some(Ok(_))))
    };
    gateway.wait_until("the upstream has noted what fits", || whole("/fits"));
    assert!(!whole("/fixed") && !whole("/chunked"));
}

/// A limit that is larger than what is held in memory: the body is passed on as it comes, and cut off.
#[test]
fn a_chunked_body_is_cut_off_at_a_plugins_limit() {
    let upstream = Upstream::start();
    let plugin = "{name: request-size-limiting, config: {allowed_payload_size: 2}}";
    let routes = "[{name: r, paths: [/]}]";
    let gateway = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices: [{{name: s, url: \"http://{}\", routes: {routes}}}]\nplugins: [{plugin}]\n",
        upstream.addr
    ))
    .start();
    let block = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let post = |blocks: usize, last: &str| {
        let mut client = gateway.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        (0..blocks).all(|_| client.send(&block));
        client.send(format!("{last}0\r\n\r\n"));
        client.answer("POST").unwrap()
    };
    assert_eq!(post(32, "").head.status(), 200);
    let refused = post(32, "1\r\nx\r\n");
    assert_eq!(refused.head.status(), 413);
    assert!(String::from_utf8_lossy(&refused.body).contains("Request size limit exceeded"));
    let whole = upstream.log().requests.iter().filter(|seen| matches!(seen.message, Some(Ok(_)))).count();
    assert_eq!(whole, 1, "what is too large never ends for the upstream");
}

// Tunnels.

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn tunnel(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.send(HANDSHAKE);
    assert_eq!(client.answer("GET").map(|answer| answer.head.status()), Ok(101));
    client
}

#[test]
fn a_tunnel_passes_bytes_both_ways() {
    let echo = crate::harness::echo::Echo::start("ws");
    let gateway = Setup::open_to(echo.addr).start();
    let mut client = tunnel(&gateway);
    let noise: Vec<u8> = (0..8 * MIB as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut writer = client.wire.stream.try_clone().unwrap();
    let bytes = noise.clone();
    let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    assert!(client.wire.exactly(noise.len()).unwrap() == noise, "the bytes came back changed");
    sender.join().unwrap();
}

#[test]
fn bytes_sent_with_the_handshake_pass_after_it() {
    let echo = crate::harness::echo::Echo::start("ws");
    let gateway = Setup::open_to(echo.addr).start();
    let mut client = gateway.client();
    client.send(format!("{HANDSHAKE}hello"));
    assert_eq!(client.answer("GET").map(|answer| answer.head.status()), Ok(101));
    assert_eq!(client.wire.exactly(5).unwrap(), b"hello");
}

#[test]
fn a_silent_tunnel_ends_and_a_busy_one_stays() {
    let echo = crate::harness::echo::Echo::start("ws");
    let gateway = Setup::open_to(echo.addr).runtime("timeouts.tunnel: 1s").start();
    let mut silent = tunnel(&gateway);
    let mut busy = tunnel(&gateway);
    for _ in 0..12 {
        busy.send("ping");
        assert_eq!(busy.wire.exactly(4).unwrap(), b"ping");
        std::thread::sleep(Duration::from_millis(250));
    }
    silent.wire.patience(seconds(1));
    assert!(matches!(silent.wire.until_close(), Ok(_) | Err(End::Reset)), "a silent tunnel stays open");
}

#[test]
fn when_one_end_of_a_tunnel_closes_so_does_the_other() {
    let (told, ended) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = upstream_by(move |mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
        told.lock().unwrap().send(rest).ok();
    });
    let gateway = Setup::open_to(upstream).start();
    let mut client = tunnel(&gateway);
    client.send("bye");
    client.wire.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ended.recv_timeout(seconds(5)).unwrap(), b"bye");
    assert_eq!(client.wire.until_close(), Ok(Vec::new()));
}

// The log.

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let upstream = Upstream::start();
    let fifo = std::env::temp_dir().join(format!("ringway-test-fifo-{}", std::process::id()));
    std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    // Open for reading, so that it can be opened for writing, and never read: after 64 KiB a writer blocks.
    let held = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut setup = Setup::open_to(upstream.addr).runtime("log_ring: 64KiB");
    setup.access_log = fifo.display().to_string();
    let gateway = setup.start();
    let start = Instant::now();
    let mut client = gateway.client();
    for _ in 0..3000 {
        assert_eq!(client.get("/logged", "").head.status(), 200);
    }
    assert!(start.elapsed() < seconds(30), "3000 requests took {:?}", start.elapsed());
    let metrics = gateway.admin("/metrics");
    let dropped = metrics.lines().find(|line| line.contains("log") && line.contains("drop") && !line.starts_with('#'));
    let count: f64 = dropped.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0);
    assert!(count > 0.0, "no dropped lines counted: {dropped:?}");
    drop(held);
    std::fs::remove_file(&fifo).ok();
}
