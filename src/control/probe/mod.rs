//! Asks targets how they are: active health checks, on the control thread, over connections of their own.
//!
//! One task follows what the loop has sent to the shards last. Every upstream with active checks has two clocks, one for
//! its healthy targets and one for the others; when one strikes, every target that is so at that moment is probed, unless
//! its last probe is still on its way. Probes of one upstream are bounded by its `concurrency`, all of them by
//! [`limits::PROBES_MAX`]. A reload or new addresses leave the clocks of upstreams that stay running.
//!
//! What a probe finds goes to the target's [`Health`](crate::balance::health::Health), which shards read. Not here: TLS
//! and gRPC; such checks are refused with a warning where they are read.

use super::roster;
use crate::balance::health::Report;
use crate::base::limits;
use crate::base::time::Millis;
use crate::bus::{Endpoint, Endpoints};
use crate::plan::balancing::{Active, Probe};
use crate::plan::{Plan, Upstream};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{watch, Semaphore};
use tokio::time::Instant;

/// The way to the task. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Prober(watch::Sender<Vec<Arc<Ward>>>);

/// An upstream whose targets are probed.
#[derive(Debug, PartialEq)]
struct Ward {
    upstream: String,
    host_header: Option<String>,
    active: Active,
    endpoints: Vec<Endpoint>,
}

impl Prober {
    /// Starts the task on the current runtime; it probes nobody yet.
    pub(super) fn start() -> Prober {
        let (sender, wards) = watch::channel(Vec::new());
        tokio::spawn(run(wards));
        Prober(sender)
    }

    /// Probes the targets of `plan` at `endpoints` from now on, and no others.
    pub(super) fn follow(&self, plan: &Plan, endpoints: &Endpoints) {
        let wards = plan.upstreams.iter().filter_map(|upstream| ward(upstream, endpoints)).map(Arc::new).collect();
        self.0.send_if_modified(|held| {
            let changed = *held != wards;
            *held = wards;
            changed
        });
    }
}

fn ward(upstream: &Upstream, endpoints: &Endpoints) -> Option<Ward> {
    let active = upstream.checks.active.clone()?;
    let endpoints = endpoints.of.get(&upstream.name).map(|located| located.endpoints.clone()).unwrap_or_default();
    Some(Ward { upstream: upstream.name.clone(), host_header: upstream.host_header.clone(), active, endpoints })
}

async fn run(mut wards: watch::Receiver<Vec<Arc<Ward>>>) {
    let born = Instant::now();
    let now = || Millis(u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX));
    let places = Arc::new(Semaphore::new(limits::PROBES_MAX));
    let mut rounds: Vec<Round> = Vec::new();
    loop {
        for round in &mut rounds {
            for at in round.take_due(now()) {
                tokio::spawn(probe(round.ward.clone(), at, [round.places.clone(), places.clone()]));
            }
        }
        let due = rounds.iter().filter_map(Round::next_due).min();
        let until_due = async {
            match due {
                // One more, since `now` is rounded down.
                Some(due) => {
                    tokio::time::sleep(Duration::from_millis(due.0.saturating_sub(now().0).saturating_add(1))).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = wards.changed() => {
                if changed.is_err() {
                    return;
                }
                rounds = follow(rounds, &wards.borrow_and_update(), now());
            }
            () = until_due => {}
        }
    }
}

/// The rounds of `wards`; those of upstreams that were there before keep their clocks.
fn follow(rounds: Vec<Round>, wards: &[Arc<Ward>], now: Millis) -> Vec<Round> {
    let mut before: HashMap<String, Round> =
        rounds.into_iter().map(|round| (round.ward.upstream.clone(), round)).collect();
    let round = |ward: &Arc<Ward>| Round::new(ward.clone(), before.remove(&ward.upstream), now);
    wards.iter().map(round).collect()
}

/// The clocks of one upstream.
struct Round {
    ward: Arc<Ward>,
    places: Arc<Semaphore>,
    well: Clock,
    ill: Clock,
}

/// Strikes at once and then every so often.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// ms; 0 is never.
    interval: u64,
    due: Millis,
}

impl Clock {
    fn new(interval: u64, before: Option<Clock>, now: Millis) -> Clock {
        let interval = if interval == 0 { 0 } else { interval.max(limits::PROBE_INTERVAL_MS_MIN) };
        match before {
            Some(clock) if clock.interval == interval => clock,
            _ => Clock { interval, due: now },
        }
    }

    fn strikes(&mut self, now: Millis) -> bool {
        let strikes = self.interval > 0 && self.due <= now;
        if strikes {
            // From now on: a thread that was late does not probe twice to make up for it.
            self.due = Millis(now.0 + self.interval);
        }
        strikes
    }
}

impl Round {
    fn new(ward: Arc<Ward>, before: Option<Round>, now: Millis) -> Round {
        let active = &ward.active;
        let same = before.as_ref().filter(|round| round.ward.active.concurrency == active.concurrency);
        let concurrency = (active.concurrency as usize).min(limits::PROBES_MAX);
        let places = same.map_or_else(|| Arc::new(Semaphore::new(concurrency)), |round| round.places.clone());
        let well = Clock::new(active.healthy_interval_ms, before.as_ref().map(|round| round.well), now);
        let ill = Clock::new(active.unhealthy_interval_ms, before.as_ref().map(|round| round.ill), now);
        Round { ward, places, well, ill }
    }

    /// Places of the targets to probe now.
    fn take_due(&mut self, now: Millis) -> Vec<usize> {
        let (well, ill) = (self.well.strikes(now), self.ill.strikes(now));
        if !well && !ill {
            return Vec::new();
        }
        let endpoints = self.ward.endpoints.iter().enumerate();
        let due = |endpoint: &Endpoint| if endpoint.member.health().is_up() { well } else { ill };
        endpoints.filter(|(_, endpoint)| due(endpoint)).map(|(at, _)| at).collect()
    }

    fn next_due(&self) -> Option<Millis> {
        [self.well, self.ill].into_iter().filter(|clock| clock.interval > 0).map(|clock| clock.due).min()
    }
}

/// Probes one target and takes in what was found.
async fn probe(ward: Arc<Ward>, at: usize, places: [Arc<Semaphore>; 2]) {
    let endpoint = &ward.endpoints[at];
    let Some(_probing) = endpoint.member.try_probe() else { return };
    let [own, all] = &places;
    let (_own, _all) = (own.acquire().await, all.acquire().await);
    let life = Duration::from_millis(ward.active.timeout_ms);
    let report = match tokio::time::timeout(life, ask(&ward, endpoint)).await {
        Ok(Ok(report)) => report,
        Ok(Err(_)) => Report::Broken,
        Err(_) => Report::Late,
    };
    if let Some(flip) = endpoint.member.health().hear(report, &ward.active.criteria) {
        roster::say(flip, "a probe", &ward.upstream, endpoint);
    }
}

async fn ask(ward: &Ward, endpoint: &Endpoint) -> io::Result<Report> {
    if ward.active.probe == Probe::Tcp {
        TcpStream::connect(endpoint.addr).await?;
        return Ok(Report::Connected);
    }
    let host = ward.host_header.as_deref().unwrap_or(&endpoint.host);
    let status = status_of(endpoint.addr, &request(&ward.active, host, "1.1")).await?;
    // 505 HTTP Version Not Supported: an old server; it says how it is when it is asked in its own tongue.
    let status =
        if status == 505 { status_of(endpoint.addr, &request(&ward.active, host, "1.0")).await? } else { status };
    Ok(Report::Status(status))
}

/// The request, as bytes. A field whose name is none is left out, and no value can end its line.
fn request(active: &Active, host: &str, version: &str) -> Vec<u8> {
    // RFC 9110 §7.2: an IPv6 address stands in brackets.
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { clean(host) };
    let mut text = format!("GET {} HTTP/{version}\r\nConnection: close\r\n", clean(&active.path));
    let given = |name: &str| active.headers.iter().any(|(held, _)| held.eq_ignore_ascii_case(name));
    if !given("host") {
        text += &format!("Host: {host}\r\n");
    }
    if !given("user-agent") {
        text += "User-Agent: ringway-probe\r\n";
    }
    let is_token =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    for (name, values) in active.headers.iter().filter(|(name, _)| is_token(name)) {
        for value in values {
            text += &format!("{name}: {}\r\n", clean(value));
        }
    }
    text += "\r\n";
    text.into_bytes()
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Sends the request on a new connection and reads the status of the answer; nothing after that is of interest.
async fn status_of(addr: SocketAddr, request: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request).await?;
    let mut head = Vec::with_capacity(limits::PROBE_REPLY_BYTES_MAX);
    loop {
        if let Some(end) = head.iter().position(|&b| b == b'\n') {
            return status(&head[..end]).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        let room = limits::PROBE_REPLY_BYTES_MAX - head.len();
        if room == 0 || (&mut stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// `HTTP/1.1 200 OK` → 200.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (b' ', digits) = (rest.get(1)?, rest.get(2..5)?) else { return None };
    let ends = rest.get(5).is_none_or(|&b| b == b' ' || b == b'\r');
    let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (ends && status >= 100).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Member;
    use crate::plan::balancing::Criteria;

    fn active(healthy_interval_ms: u64, unhealthy_interval_ms: u64) -> Active {
        Active {
            probe: Probe::Http,
            timeout_ms: 1000,
            concurrency: 10,
            path: "/health".to_owned(),
            headers: vec![
                ("X-A".to_owned(), vec!["1".to_owned(), "2\r\nX-Evil: 3".to_owned()]),
                ("bad name".to_owned(), vec!["x".to_owned()]),
            ],
            healthy_interval_ms,
            unhealthy_interval_ms,
            criteria: Criteria { successes: 1, ..Criteria::default() },
        }
    }

    fn ward(name: &str, active: Active, targets: u16) -> Arc<Ward> {
        let endpoint = |n: u16| Endpoint {
            addr: SocketAddr::from(([127, 0, 0, 1], n + 1)),
            weight: 1,
            host: "a.test".into(),
            port: n + 1,
            target: u32::from(n),
            member: Arc::new(Member::default()),
        };
        let endpoints = (0..targets).map(endpoint).collect();
        Arc::new(Ward { upstream: name.to_owned(), host_header: None, active, endpoints })
    }

    #[test]
    fn each_health_has_a_clock_of_its_own() {
        let ward = ward("u", active(1000, 100), 3);
        let mut round = Round::new(ward.clone(), None, Millis(5));
        ward.endpoints[1].member.health().set(false);
        assert_eq!(round.take_due(Millis(5)), [0, 1, 2]);
        assert_eq!(round.take_due(Millis(50)), [0; 0]);
        assert_eq!(round.next_due(), Some(Millis(105)));
        assert_eq!(round.take_due(Millis(105)), [1]);
        // The thread was held up: one round, not many.
        assert_eq!(round.take_due(Millis(9000)), [0, 1, 2]);
        assert_eq!(round.next_due(), Some(Millis(9100)));
    }

    #[test]
    fn an_interval_of_0_is_never() {
        let mut round = Round::new(ward("u", active(0, 50), 2), None, Millis(0));
        assert_eq!(round.take_due(Millis(1000)), [0; 0]);
        assert_eq!(round.next_due(), Some(Millis(1050)));
    }

    #[test]
    fn a_reload_leaves_the_clocks_of_those_who_stay() {
        let rounds = follow(Vec::new(), &[ward("a", active(1000, 1000), 1), ward("b", active(10, 0), 1)], Millis(0));
        let mut rounds = follow(rounds, &[ward("a", active(1000, 1000), 1)], Millis(1));
        assert_eq!(rounds[0].take_due(Millis(1)), [0]);
        let wards = [ward("c", active(1000, 0), 2), ward("a", active(1000, 1000), 4)];
        let mut rounds = follow(rounds, &wards, Millis(500));
        assert_eq!(rounds[0].take_due(Millis(500)), [0, 1]);
        assert_eq!(rounds[1].take_due(Millis(500)), [0; 0], "its clock has begun anew");
        assert_eq!(rounds[1].take_due(Millis(1001)), [0, 1, 2, 3]);
        let mut rounds = follow(rounds, &[ward("a", active(300, 1000), 1)], Millis(1100));
        assert_eq!(rounds[0].take_due(Millis(1100)), [0], "another interval is another clock");
    }

    #[test]
    fn a_request_says_whom_it_wants_and_cannot_be_split() {
        let text = |host, version| String::from_utf8(request(&active(1, 1), host, version)).unwrap();
        assert_eq!(
            text("a.test", "1.1"),
            "GET /health HTTP/1.1\r\nConnection: close\r\nHost: a.test\r\nUser-Agent: ringway-probe\r\nX-A: 1\r\n\
             X-A: 2  X-Evil: 3\r\n\r\n"
        );
        assert!(text("::1", "1.0").starts_with("GET /health HTTP/1.0\r\nConnection: close\r\nHost: [::1]\r\n"));
        assert!(text("a.test:81", "1.1").contains("\r\nHost: a.test:81\r\n"));
    }

    #[test]
    fn a_status_is_read_from_its_line_only() {
        for (line, want) in [
            ("HTTP/1.1 200 OK\r", Some(200)),
            ("HTTP/1.0 503", Some(503)),
            ("HTTP/1.1 200\r", Some(200)),
            ("HTTP/1.1 2000 OK", None),
            ("HTTP/1.1 099 OK", None),
            ("HTTP/1.1 2 0", None),
            ("HTTP/1.1  200", None),
            ("HTTP/2 200", None),
            ("SSH-2.0-x", None),
            ("", None),
        ] {
            assert_eq!(status(line.as_bytes()), want, "{line:?}");
        }
    }

    /// Real sockets: what a server says is what a probe finds.
    #[test]
    fn a_probe_finds_what_the_server_says() {
        use tokio::net::TcpListener;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rows: &[(&[u8], Result<u16, ()>)] = &[
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(200)),
            (b"HTTP/1.0 404 Not Found\n\n", Ok(404)),
            (b"", Err(())),
            (b"nonsense\r\n", Err(())),
            (&[b'x'; 4096], Err(())),
        ];
        for (answer, want) in rows {
            let got = runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let server = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = [0; 1024];
                    let count = stream.read(&mut head).await.unwrap();
                    assert!(head[..count].starts_with(b"GET /health HTTP/1.1\r\n"));
                    let _ = stream.write_all(answer).await;
                };
                let asked = request(&active(1, 1), "a.test", "1.1");
                let (got, ()) = tokio::join!(status_of(addr, &asked), server);
                got.map_err(|_| ())
            });
            assert_eq!(got, *want, "{:?}", String::from_utf8_lossy(&answer[..answer.len().min(20)]));
        }
    }
}
