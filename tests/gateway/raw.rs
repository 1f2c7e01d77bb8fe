//! HTTP/1.1 as bytes. Each row of `raw/*.toml` is judged three ways: by the answer, by the bytes that reach the upstream,
//! and by what the next client gets, on the same connection and on another.
//!
//! A row is run twice: as written, and with every byte sent by itself, which must make no difference.
//! `RINGWAY_CASE=text` runs only the rows whose name holds the text, and shows their bytes.

use crate::harness::board::Board;
use crate::harness::text::{self, latin1, show};
use crate::harness::upstream::{steps, Log, Seen, Step};
use crate::harness::wire::{End, Message};
use crate::harness::{nginx, Client, Gateway, Setup, Upstream, PATIENCE};
use serde::Deserialize;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Case>,
}

/// One row. README.md has the table of its keys.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// What the client does: bytes, or `@wait EVENT`, `@pause`, `@fin`, `@reset`.
    send: OneOrMore<String>,
    /// Answers in order; none where the connection only closes.
    want: OneOrMore<Want>,
    /// Is the connection `keep`, `close`, or `any` after the last answer? By default a 4xx or 5xx that the row has no
    /// upstream script for closes, anything else keeps.
    conn: Option<String>,
    /// How many requests reach the upstream, -1 for any number; by default as many as there are 2xx answers.
    reach: Option<i64>,
    /// What the upstream does with each request; see `harness/upstream.rs`.
    #[serde(default)]
    upstream: Vec<OneOrMore<String>>,
    /// About each request that reaches the upstream.
    #[serde(default)]
    up: Vec<Up>,
    /// Texts that reach the upstream nowhere, in no case of letters.
    #[serde(default)]
    up_not: Vec<String>,
    /// The client gave up or was refused in the middle of its last request: that one may reach the upstream, but then
    /// never complete, since its framing was bad.
    #[serde(default)]
    partial: bool,
    /// Connections to the upstream, where it matters.
    conns: Option<usize>,
    /// Not with every byte by itself.
    #[serde(default)]
    whole_only: bool,
    /// May interim answers come that `want` does not list?
    #[serde(default)]
    interim: bool,
    /// Methods of the requests, for answers without body; by default what the bytes begin with.
    #[serde(default)]
    methods: Vec<String>,
    /// Why a good peer answers otherwise; the row is then left out when it is nginx that is under test.
    #[serde(default)]
    nginx: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn all(&self) -> &[T] {
        match self {
            OneOrMore::One(one) => std::slice::from_ref(one),
            OneOrMore::More(more) => more,
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Want {
    /// `"200"`, `"4xx"`, `"400|501"`.
    Status(String),
    Answer(Answer),
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: String,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    not: Vec<String>,
    body: Option<String>,
    /// Trailer fields, exactly.
    trailers: Option<Vec<String>>,
    /// It breaks off: its head comes, its body does not end well.
    #[serde(default)]
    cut: bool,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Up {
    start: Option<String>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    not: Vec<String>,
    body: Option<String>,
    trailers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disabled {
    #[serde(default)]
    disabled: Vec<DisabledRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisabledRow {
    case: String,
    reason: String,
}

/// Runs the rows of one file against a gateway of their own.
fn run(file: &str, rows: &str) {
    let cases: File = toml::from_str(rows).unwrap_or_else(|e| panic!("raw/{file}: {e}"));
    let disabled: Disabled = toml::from_str(include_str!("raw/disabled.toml")).unwrap();
    assert!(disabled.disabled.iter().all(|row| row.reason.len() > 10), "disabled.toml: each row needs its reason");
    let only = std::env::var("RINGWAY_CASE").unwrap_or_default();
    let upstream = Upstream::start();
    let mut gateway = Setup::open_to(upstream.addr)
        .runtime("timeouts.header: 2s")
        .runtime("timeouts.body: 2s")
        .runtime("timeouts.keepalive: 10s")
        .start();
    let mut failed = Vec::new();
    let mut ran = 0;
    for case in &cases.case {
        let is_off = disabled.disabled.iter().any(|row| row.case == format!("{file}/{}", case.name));
        if is_off || !case.name.contains(&only) || (nginx::peer().is_some() && case.nginx.is_some()) {
            continue;
        }
        ran += 1;
        for bytewise in [false, true] {
            // nginx does not linger after a refusal, so that what is sent late resets the connection.
            if bytewise && (case.whole_only || nginx::peer().is_some() || sent_bytes(case) > 3000) {
                continue;
            }
            if !gateway.runs() {
                panic!("the gateway ended before \"{}\"\n{}", case.name, gateway.said());
            }
            if let Err(why) = run_case(case, &gateway, &upstream, bytewise, !only.is_empty()) {
                let how = if bytewise { ", byte by byte" } else { "" };
                failed.push(format!("{file}/{}{how}:\n   {why}", case.name));
                break;
            }
        }
    }
    gateway.check_serves();
    assert!(ran > 0 || !only.is_empty(), "no rows in {file}");
    assert!(failed.is_empty(), "{} of {ran} rows of {file} fail\n\n{}\n", failed.len(), failed.join("\n\n"));
    println!("{file}: {ran} rows hold");
}

fn sent_bytes(case: &Case) -> usize {
    case.send.all().iter().filter(|piece| !piece.starts_with('@')).map(|piece| text::bytes(piece).len()).sum()
}

fn run_case(case: &Case, gateway: &Gateway, upstream: &Upstream, bytewise: bool, loud: bool) -> Result<(), String> {
    let board = Board::default();
    let scripts = case.upstream.iter().map(|script| script.all().iter().flat_map(|s| steps(s)).collect()).collect();
    upstream.begin(scripts, &board);
    let wants = case.want.all();
    let mut client = gateway.client();
    let sender = send(&client, case, &board, bytewise);
    let outcome = read_answers(case, &mut client, &board);
    board.pin("answers");
    if loud {
        println!("{}\n   client got {}", case.name, show(&client.wire.all));
    }
    let with_bytes = |why: String, client: &Client| format!("{why}\n   client got {}", show(&client.wire.all));
    outcome.map_err(|why| with_bytes(why, &client))?;
    // What reached the upstream is looked at before the canaries come, but after it is quiet: a connection that is
    // about to close is waited for first.
    let conn = case.conn.as_deref().unwrap_or_else(|| {
        let refused = wants.last().is_none_or(|want| !want.expects("2") && !want.expects("3") && !want.expects("101"));
        match refused && case.upstream.is_empty() {
            true => "close",
            false => "keep",
        }
    });
    sender.join().map_err(|_| "the sender panicked".to_owned())?;
    after_answers(conn, &mut client).map_err(|why| with_bytes(why, &client))?;
    drop(client);
    // The next client, twice, so that the second request goes over a connection that the first one left in the pool.
    let mut next = gateway.client();
    for turn in 0..2 {
        canary(&mut next, &format!("next-{turn}")).map_err(|why| format!("the next client: {why}"))?;
    }
    let log = settled(upstream, case);
    if loud {
        println!("   upstream got {}", show(&log.raw));
    }
    judge_upstream(case, &log, &upstream.addr.to_string()).map_err(|why| {
        let heads: Vec<u8> = log.requests.iter().flat_map(|seen| seen.head.raw.clone()).collect();
        format!("{why}\n   upstream got heads {}\n   and raw {}", show(&heads), show(&log.raw))
    })
}

/// Sends the row's pieces from a thread of its own, so that answers are read while it goes on.
fn send(client: &Client, case: &Case, board: &Board, bytewise: bool) -> std::thread::JoinHandle<()> {
    let (pieces, board) = (case.send.all().to_vec(), board.clone());
    let mut stream = client.wire.stream.try_clone().unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    std::thread::spawn(move || {
        for piece in pieces {
            match piece.strip_prefix('@').map(|word| word.split_once(' ').unwrap_or((word, ""))) {
                None => {
                    let bytes = text::bytes(&piece);
                    let step = if bytewise { 1 } else { bytes.len().max(1) };
                    for part in bytes.chunks(step) {
                        // A gateway that has refused need not take the rest.
                        if stream.write_all(part).is_err() {
                            return;
                        }
                    }
                }
                Some(("wait", event)) => {
                    board.wait(event, PATIENCE);
                }
                // The one thing without an event: that the gateway has read what was sent so far.
                Some(("pause", ms)) => std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(30))),
                Some(("fin", _)) => {
                    stream.shutdown(Shutdown::Write).ok();
                }
                Some(("reset", _)) => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
                    stream.shutdown(Shutdown::Both).ok();
                }
                Some((word, _)) => panic!("no such step of a client: @{word}"),
            }
        }
    })
}

fn read_answers(case: &Case, client: &mut Client, board: &Board) -> Result<(), String> {
    let first = case.send.all().iter().find(|piece| !piece.starts_with('@')).cloned().unwrap_or_default();
    let first = latin1(&text::bytes(&first));
    let guess = first.trim_start_matches("\r\n").split(' ').next().unwrap_or("").to_owned();
    let mut finals = 0;
    for (number, want) in case.want.all().iter().enumerate() {
        let method = case.methods.get(finals).unwrap_or(&guess);
        let ended = |end: End| format!("answer {number}: {end:?}");
        let mut head = client.wire.head().map_err(ended)?;
        while case.interim && head.status() < 200 && !want.expects("1") {
            head = client.wire.head().map_err(ended)?;
        }
        board.pin(format!("head-{}", number + 1));
        let framing = head.framing_of_answer(method).map_err(ended)?;
        let (body, trailers) = match (client.wire.body(framing), matches!(want, Want::Answer(Answer { cut: true, .. }))) {
            (Ok(_), true) => return Err(format!("answer {number} should break off, but ends well")),
            (Err(End::Cut(_) | End::Reset | End::Closed), true) => (Vec::new(), Vec::new()),
            (read, _) => read.map_err(ended)?,
        };
        let answer = Message { head, body, trailers, framing };
        judge_answer(&answer, want).map_err(|why| format!("answer {number}: {why}"))?;
        board.pin(format!("answer-{}", number + 1));
        finals += usize::from(answer.head.status() >= 200);
    }
    Ok(())
}

impl Want {
    fn status(&self) -> &str {
        match self {
            Want::Status(status) => status,
            Want::Answer(answer) => &answer.status,
        }
    }

    /// Is any allowed status of this beginning?
    fn expects(&self, beginning: &str) -> bool {
        self.status().split('|').any(|status| status.starts_with(beginning))
    }
}

fn judge_answer(answer: &Message, want: &Want) -> Result<(), String> {
    let status = answer.head.status().to_string();
    let fits = |pattern: &str| match pattern.strip_suffix("xx") {
        Some(class) => status.starts_with(class),
        None => status == pattern,
    };
    if !want.status().split('|').any(fits) {
        return Err(format!("wanted {}, got \"{}\"", want.status(), answer.head.start));
    }
    if answer.head.status() >= 400 && answer.framing == crate::harness::wire::Framing::UntilClose {
        return Err("an error without length".into());
    }
    let Want::Answer(want) = want else { return Ok(()) };
    if let Some(row) = want.has.iter().find(|row| !answer.head.holds(row)) {
        return Err(format!("it lacks \"{row}\""));
    }
    if let Some(row) = want.not.iter().find(|row| answer.head.holds(row)) {
        return Err(format!("it has \"{row}\""));
    }
    if want.body.as_ref().is_some_and(|body| text::bytes(body) != answer.body) {
        return Err(format!("body {}", show(&answer.body)));
    }
    judge_trailers(want.trailers.as_ref(), &answer.trailers)
}

fn judge_trailers(want: Option<&Vec<String>>, got: &[(String, String)]) -> Result<(), String> {
    let Some(want) = want else { return Ok(()) };
    let got: Vec<String> = got.iter().map(|(name, value)| format!("{name}: {value}").to_lowercase()).collect();
    let want: Vec<String> = want.iter().map(|row| row.to_lowercase()).collect();
    (got == want).then_some(()).ok_or_else(|| format!("trailers {got:?}, wanted {want:?}"))
}

/// Is the connection as the row wants it?
fn after_answers(conn: &str, client: &mut Client) -> Result<(), String> {
    match conn {
        "close" => match client.wire.until_close() {
            Ok(rest) if rest.is_empty() => Ok(()),
            Ok(rest) => Err(format!("more bytes after the last answer: {}", show(&rest))),
            Err(End::Silent) => Err("the connection should close, but stays open".into()),
            Err(end) => Err(format!("the connection should close in good order: {end:?}")),
        },
        "keep" => canary(client, "same").map_err(|why| format!("the same connection afterwards: {why}")),
        "any" => {
            client.wire.stream.shutdown(Shutdown::Both).ok();
            Ok(())
        }
        other => panic!("conn = {other:?}"),
    }
}

/// A request that must get its own answer: not another's, and not an error.
fn canary(client: &mut Client, name: &str) -> Result<(), String> {
    let answer =
        client.try_get(&format!("/canary-{name}"), "Host: canary.test\r\n").map_err(|end| format!("{end:?}"))?;
    let body = latin1(&answer.body);
    match answer.head.status() == 200 && body == format!("GET /canary-{name}") {
        true => Ok(()),
        false => Err(format!("got {} {body:?}", answer.head.start)),
    }
}

/// The log, once what the row expects to arrive has arrived and been read to its end.
fn settled(upstream: &Upstream, case: &Case) -> Log {
    let want = usize::try_from(reach(case)).unwrap_or(0);
    let end = std::time::Instant::now() + Duration::from_secs(2);
    loop {
        let log = upstream.log();
        let own: Vec<&Seen> = requests(&log);
        let read = own.iter().all(|seen| seen.done);
        let done = read && (own.len() >= want || case.partial);
        if done || std::time::Instant::now() > end {
            return log;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn requests(log: &Log) -> Vec<&Seen> {
    log.requests.iter().filter(|seen| !seen.head.target().starts_with("/canary")).collect()
}

fn reach(case: &Case) -> i64 {
    case.reach.unwrap_or_else(|| case.want.all().iter().filter(|want| want.expects("2")).count() as i64)
}

fn judge_upstream(case: &Case, log: &Log, addr: &str) -> Result<(), String> {
    if !log.bad.is_empty() {
        return Err(format!("the upstream saw what is no request: {:?}", log.bad));
    }
    let seen = requests(log);
    let count = seen.len() as i64;
    let surplus = if case.partial { 0..=1 } else { 0..=0 };
    if reach(case) >= 0 && !surplus.contains(&(count - reach(case))) {
        return Err(format!("{count} requests reached the upstream, wanted {}", reach(case)));
    }
    if case.partial && count == reach(case) + 1 && matches!(seen[seen.len() - 1].message, Some(Ok(_))) {
        return Err("a request that was refused or given up reached the upstream complete".into());
    }
    if let Some(conns) = case.conns {
        let mut used: Vec<usize> = seen.iter().map(|seen| seen.conn).collect();
        used.sort_unstable();
        used.dedup();
        if used.len() != conns {
            return Err(format!("{} connections were used, wanted {conns}", used.len()));
        }
    }
    for seen in &seen {
        if let (Some(Err(end)), false) = (&seen.message, case.partial) {
            return Err(format!("an incomplete request reached the upstream: {end:?}"));
        }
    }
    for (number, want) in case.up.iter().enumerate() {
        let Some(seen) = seen.get(number) else { return Err(format!("request {number} did not reach the upstream")) };
        judge_request(seen, want, addr).map_err(|why| format!("request {number} at the upstream: {why}"))?;
    }
    let all = latin1(&log.raw).to_lowercase();
    match case.up_not.iter().find(|text| all.contains(&latin1(&text::bytes(text)).to_lowercase())) {
        Some(text) => Err(format!("\"{text}\" reached the upstream")),
        None => Ok(()),
    }
}

fn judge_request(seen: &Seen, want: &Up, addr: &str) -> Result<(), String> {
    if want.start.as_ref().is_some_and(|start| *start != seen.head.start) {
        return Err(format!("first line \"{}\"", seen.head.start));
    }
    if let Some(row) = want.has.iter().find(|row| !seen.head.holds(&row.replace("$UP", addr))) {
        return Err(format!("it lacks \"{row}\""));
    }
    if let Some(row) = want.not.iter().find(|row| seen.head.holds(row)) {
        return Err(format!("it has \"{row}\""));
    }
    let message = match (&seen.message, &want.body, &want.trailers) {
        (_, None, None) => return Ok(()),
        (Some(Ok(message)), ..) => message,
        (other, ..) => return Err(format!("its body was not read: {other:?}")),
    };
    if want.body.as_ref().is_some_and(|body| text::bytes(body) != message.body) {
        return Err(format!("body {}", show(&message.body)));
    }
    judge_trailers(want.trailers.as_ref(), &message.trailers)
}

#[test]
fn every_step_of_a_script_is_a_word_we_know() {
    assert!(matches!(steps("@take 3")[..], [Step::Take(3)]));
    assert!(matches!(&steps("HTTP/1.1 200 OK\\r\\n")[..], [Step::Body, Step::Send(_)]));
}

macro_rules! files {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            run(stringify!($name), include_str!(concat!("raw/", stringify!($name), ".toml")));
        }
    )* };
}

files! { request_line fields host length chunked smuggling hop_by_hop keep_alive pipeline expect upgrade answers interim early retry limits }
