//! A client at a fixed rate: what a request waits while the proxy is *not* driven to its limit.
//!
//! Every connection has a schedule of its own. A request that is due while the last one is still unanswered counts from
//! the moment it was due, so a stall is seen by all the requests it held up (coordinated omission). A request that is
//! due later counts from the moment it is sent: the timer's millisecond is ours, not the proxy's. Timers make arrivals
//! come in small bursts, once a millisecond, for every peer alike.
//!
//! Prints one line of JSON: requests, failed, seconds, and microseconds p50, p99, p999, max.

use hdrhistogram::Histogram;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

const USAGE: &str = "pace --to ADDR --rate PER_SECOND --seconds N [--connections N] [--path '/r/{}/' --paths N] \
                     [--header 'Name: value'] [--cpu N]";

/// Largest answer head.
const BUFFER_BYTES: usize = 16 * 1024;

fn main() {
    let mut args = ring::Args::read(USAGE);
    let plan = Plan {
        to: args.need("to"),
        rate: args.need("rate"),
        seconds: args.need("seconds"),
        connections: args.take("connections").unwrap_or(64),
        path: args.take("path").unwrap_or_else(|| "/".to_owned()),
        paths: args.take("paths").unwrap_or(0),
        header: args.take("header"),
    };
    let cpu = args.take("cpu");
    args.end();
    if plan.rate <= 0.0 || plan.connections == 0 {
        ring::fail(USAGE);
    }
    println!("{}", ring::run(cpu, drive(plan)));
}

/// What is asked, and how fast.
struct Plan {
    to: SocketAddr,
    /// Requests per second over all connections.
    rate: f64,
    seconds: f64,
    connections: u32,
    path: String,
    /// 0: `path` as it is. Else `{}` in it stands for `0` … `paths - 1`, spread evenly.
    paths: u32,
    header: Option<String>,
}

#[derive(Debug)]
struct Seen {
    /// Microseconds.
    waits: Histogram<u64>,
    failed: u64,
    first_failure: Option<String>,
}

async fn drive(plan: Plan) -> String {
    // Three digits; a minute at most.
    let waits = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap_or_else(|error| ring::fail(error));
    let seen = Rc::new(RefCell::new(Seen { waits, failed: 0, first_failure: None }));
    let (plan, begin) = (Rc::new(plan), Instant::now());
    let clients: Vec<_> =
        (0..plan.connections).map(|at| monoio::spawn(client(plan.clone(), at, begin, seen.clone()))).collect();
    for client in clients {
        client.await;
    }
    let seen = seen.borrow();
    let at = |quantile| seen.waits.value_at_quantile(quantile);
    format!(
        "{{\"requests\": {}, \"failed\": {}, \"seconds\": {:.3}, \"p50\": {}, \"p99\": {}, \"p999\": {}, \"max\": {}, \
         \"first_failure\": {:?}}}",
        seen.waits.len(),
        seen.failed,
        begin.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        seen.waits.max(),
        seen.first_failure.as_deref().unwrap_or_default()
    )
}

async fn client(plan: Rc<Plan>, at: u32, begin: Instant, seen: Rc<RefCell<Seen>>) {
    let between = Duration::from_secs_f64(f64::from(plan.connections) / plan.rate);
    let end = begin + Duration::from_secs_f64(plan.seconds);
    let mut due = begin + between.mul_f64(f64::from(at) / f64::from(plan.connections));
    let mut stream = None;
    let (mut buf, mut turn) = (Vec::with_capacity(BUFFER_BYTES), u64::from(at));
    while due < end {
        let mut from = due;
        if Instant::now() < due {
            monoio::time::sleep(due - Instant::now().min(due)).await;
            from = Instant::now();
        }
        // A step that is prime to most counts of routes, so that neighbours in time are not neighbours in the table.
        turn = turn.wrapping_add(7919);
        let answer;
        (answer, buf) = ask(&plan, turn, &mut stream, buf).await;
        let mut seen = seen.borrow_mut();
        match answer {
            Ok(()) => {
                let us = from.elapsed().as_micros() as u64;
                seen.waits.saturating_record(us.max(1));
            }
            Err(error) => {
                seen.failed += 1;
                seen.first_failure.get_or_insert_with(|| error.to_string());
                stream = None;
            }
        }
        due += between;
    }
}

/// One request and its whole answer, over `stream` or a new connection.
async fn ask(plan: &Plan, turn: u64, stream: &mut Option<TcpStream>, mut buf: Vec<u8>) -> (Result<()>, Vec<u8>) {
    let tcp = match stream {
        Some(tcp) => tcp,
        None => match TcpStream::connect_addr(plan.to).await {
            Ok(tcp) => {
                let _ = tcp.set_nodelay(true);
                stream.insert(tcp)
            }
            Err(error) => return (Err(error), buf),
        },
    };
    buf.clear();
    buf.extend_from_slice(b"GET ");
    match plan.path.split_once("{}") {
        Some((before, behind)) if plan.paths > 0 => {
            buf.extend_from_slice(before.as_bytes());
            buf.extend_from_slice((turn % u64::from(plan.paths)).to_string().as_bytes());
            buf.extend_from_slice(behind.as_bytes());
        }
        _ => buf.extend_from_slice(plan.path.as_bytes()),
    }
    buf.extend_from_slice(b" HTTP/1.1\r\nHost: load.test\r\n");
    if let Some(header) = &plan.header {
        buf.extend_from_slice(header.as_bytes());
        buf.extend_from_slice(b"\r\n");
    }
    buf.extend_from_slice(b"\r\n");
    let sent;
    (sent, buf) = tcp.write_all(buf).await;
    if let Err(error) = sent {
        return (Err(error), buf);
    }
    buf.clear();
    // Bytes of body still to come; `None` before the end of the head.
    let mut left: Option<usize> = None;
    loop {
        let filled = if left.is_none() { buf.len() } else { 0 };
        let (got, slice) = tcp.read(buf.slice_mut(filled..BUFFER_BYTES)).await;
        buf = slice.into_inner();
        let got = match got {
            Ok(0) => return (Err(ErrorKind::UnexpectedEof.into()), buf),
            Ok(got) => got,
            Err(error) => return (Err(error), buf),
        };
        left = match left {
            Some(left) => Some(left.saturating_sub(got)),
            None => match memchr::memmem::find(&buf, b"\r\n\r\n") {
                None if buf.len() == BUFFER_BYTES => return (Err(Error::other("the answer's head is too long")), buf),
                None => None,
                Some(end) => match length(&buf[..end]) {
                    Ok(length) => Some(length.saturating_sub(buf.len() - end - 4)),
                    Err(error) => return (Err(error), buf),
                },
            },
        };
        if left == Some(0) {
            return (Ok(()), buf);
        }
    }
}

/// Bytes of the body that follows this head, if it is an answer one can be happy with.
fn length(head: &[u8]) -> Result<usize> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(Error::other(format!("status {status}")));
    }
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| Error::other("an answer without Content-Length"))
}
