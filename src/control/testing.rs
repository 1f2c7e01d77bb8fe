//! What the tests of this room share.

use crate::base::span::Span;
use crate::plan::balancing::{Checks, Hashing};
use crate::plan::{Algorithm, Dress, Level, LogPath, Node, Plan, Runtime, Target, Upstream};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// A new empty folder for one test, below the system's temporary one.
pub(crate) fn folder(name: &str) -> PathBuf {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ringway-{}-{serial}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A target as a plan holds it.
pub(crate) fn target(host: &str, port: u16, weight: u32) -> Target {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("{host}:{port}").as_bytes());
    Target { id, host: host.to_owned(), port, weight, tags: Vec::new(), at: Span::nowhere() }
}

/// A plan of nothing but upstreams, with no listener and no log.
pub(crate) fn plan_of(upstreams: &[(&str, &[Target])]) -> Plan {
    let upstreams = upstreams.iter().map(|(name, targets)| Upstream {
        id: Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()),
        name: (*name).to_owned(),
        implied: false,
        algorithm: Algorithm::RoundRobin,
        hashing: Hashing::default(),
        checks: Checks::default(),
        host_header: None,
        certificate: None,
        targets: targets.to_vec(),
        tags: Vec::new(),
        at: Span::nowhere(),
    });
    Plan {
        hash: "0".repeat(64),
        node: Node {
            runtime: Runtime::default(),
            admin: Vec::new(),
            access_log: None,
            admin_log: None,
            error_log: LogPath::Stderr,
            log_level: Level::Info,
            trusted: Vec::new(),
            real_ip_header: "x-real-ip".to_owned(),
            real_ip_recursive: false,
            port_maps: Vec::new(),
            dress: Dress {
                server: Some("ringway".to_owned()),
                via_request: None,
                via_reply: None,
                request_id_upstream: None,
                request_id_client: None,
                upstream_latency: None,
                proxy_latency: None,
                response_latency: None,
                upstream_status: None,
                debug_trigger: None,
                debug_names: Default::default(),
                error_type: "text/plain".to_owned(),
                head_too_large: 431,
                tagline: "a test".to_owned(),
                version: "1.2.3".to_owned(),
                admin_latency: None,
            },
            hosts: BTreeMap::new(),
            dns_servers: Vec::new(),
            tls: Default::default(),
        },
        listeners: Vec::new(),
        services: Vec::new(),
        routes: Vec::new(),
        upstreams: upstreams.collect(),
        consumers: Default::default(),
        credentials: Default::default(),
        groups: Default::default(),
        plugins: Vec::new(),
        secure: Default::default(),
    }
}

/// A name server of a few lines: real datagrams, made-up zones.
pub(crate) mod dns {
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    const CNAME: u16 = 5;
    const SRV: u16 = 33;

    /// What a server says: `(name, type, ttl, data)`.
    #[derive(Clone, Default)]
    pub(crate) struct Zone {
        records: Vec<(String, u16, u32, Vec<u8>)>,
        failing: bool,
        silent: bool,
    }

    impl Zone {
        fn with(mut self, name: &str, kind: u16, ttl: u32, data: Vec<u8>) -> Zone {
            self.records.push((name.to_owned(), kind, ttl, data));
            self
        }

        pub(crate) fn a(self, name: &str, ttl: u32, ip: &str) -> Zone {
            let IpAddr::V4(ip) = ip.parse().unwrap() else { panic!("{ip} is not IPv4") };
            self.with(name, 1, ttl, ip.octets().to_vec())
        }

        pub(crate) fn aaaa(self, name: &str, ttl: u32, ip: &str) -> Zone {
            let IpAddr::V6(ip) = ip.parse().unwrap() else { panic!("{ip} is not IPv6") };
            self.with(name, 28, ttl, ip.octets().to_vec())
        }

        pub(crate) fn cname(self, name: &str, ttl: u32, to: &str) -> Zone {
            self.with(name, CNAME, ttl, labels(to))
        }

        pub(crate) fn srv(self, name: &str, ttl: u32, (priority, weight, port): (u16, u16, u16), to: &str) -> Zone {
            let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
            data.extend(labels(to));
            self.with(name, SRV, ttl, data)
        }

        /// SERVFAIL to everything.
        pub(crate) fn failing(self) -> Zone {
            Zone { failing: true, ..self }
        }

        /// Answers nothing.
        pub(crate) fn silent(self) -> Zone {
            Zone { silent: true, ..self }
        }
    }

    fn labels(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out
    }

    /// A running server; ends when it is dropped.
    pub(crate) struct Server {
        pub(crate) addr: SocketAddr,
        zone: Arc<Mutex<Zone>>,
        stop: Arc<AtomicBool>,
    }

    impl Server {
        pub(crate) fn start(zone: Zone) -> Server {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let server = Server {
                addr: socket.local_addr().unwrap(),
                zone: Arc::new(Mutex::new(zone)),
                stop: Arc::new(AtomicBool::new(false)),
            };
            let (zone, stop) = (server.zone.clone(), server.stop.clone());
            std::thread::spawn(move || {
                let mut buf = [0; 1500];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((len, from)) = socket.recv_from(&mut buf) else { continue };
                    if let Some(answer) = answer(&buf[..len], &zone.lock().unwrap()) {
                        let _ = socket.send_to(&answer, from);
                    }
                }
            });
            server
        }

        /// From now on it answers by this zone.
        pub(crate) fn become_zone(&self, zone: Zone) {
            *self.zone.lock().unwrap() = zone;
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
        if zone.silent || query.len() < 17 {
            return None;
        }
        let (mut at, mut name) = (12, String::new());
        while query[at] != 0 {
            let len = query[at] as usize;
            name.push_str(&String::from_utf8_lossy(&query[at + 1..at + 1 + len]).to_lowercase());
            name.push('.');
            at += 1 + len;
        }
        let question = &query[12..at + 5];
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let mut records: Vec<(String, u16, u32, Vec<u8>)> = Vec::new();
        let mut wanted = name.clone();
        // One alias deep is as much as the tests need.
        if let Some((_, _, ttl, to)) = zone.records.iter().find(|r| r.0 == wanted && r.1 == CNAME) {
            records.push((wanted, CNAME, *ttl, to.clone()));
            let target = zone.records.iter().find(|r| labels(&r.0) == *to);
            wanted = target.map(|r| r.0.clone()).unwrap_or_default();
        }
        records.extend(zone.records.iter().filter(|r| r.0 == wanted && r.1 == kind).cloned());
        let known = zone.records.iter().any(|r| r.0 == name);
        let code = if zone.failing {
            2
        } else if known {
            0
        } else {
            3
        };
        let mut out = query[..2].to_vec();
        out.extend([0x81, 0x80 | code, 0, 1]);
        out.extend((records.len() as u16).to_be_bytes());
        out.extend([0, 0, 0, 0]);
        out.extend(question);
        for (name, kind, ttl, data) in records {
            out.extend(labels(&name));
            out.extend(kind.to_be_bytes());
            out.extend(1u16.to_be_bytes());
            out.extend(ttl.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        Some(out)
    }
}
