//! An upstream that plays a script and remembers every byte: what did reach it, and what did not?
//!
//! A script is a list of steps per request, in the order in which requests arrive on whatever connection. A request
//! without script gets [`own`]: 200 and its own request line as body, so that an answer that went to the wrong client
//! is seen at once.

use super::board::Board;
use super::text;
use super::wire::{End, Head, Message, Wire};
use super::PATIENCE;
use std::collections::VecDeque;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What an upstream does once the head of a request has come.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads the request's body.
    Body,
    /// Reads so many bytes of it.
    Take(usize),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one by one.
    Drip(Vec<u8>),
    /// Answers as it answers when there is no script.
    Own,
    /// Waits for an event of the board.
    Wait(String),
    /// Closes.
    Close,
    /// Closes with RST.
    Reset,
    /// Closes its sending side only, and goes on reading up to the end.
    Half,
    /// Reads up to the end, remembers what came, sends nothing more.
    Drain,
}

/// Reads a step as a case file writes it: a word after `@`, or bytes to send after reading the whole body.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let Some(word) = text.strip_prefix('@') else {
        return vec![Step::Body, Step::Send(text::bytes(text))];
    };
    let (word, rest) = word.split_once(' ').unwrap_or((word, ""));
    vec![match word {
        "body" => Step::Body,
        "take" => Step::Take(rest.parse().unwrap()),
        "send" => Step::Send(text::bytes(rest)),
        "drip" => Step::Drip(text::bytes(rest)),
        "own" => Step::Own,
        "wait" => Step::Wait(rest.to_owned()),
        "close" => Step::Close,
        "reset" => Step::Reset,
        "half" => Step::Half,
        "drain" => Step::Drain,
        _ => panic!("no such step of an upstream: {text:?}"),
    }]
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Number of its connection.
    pub(crate) conn: usize,
    pub(crate) head: Head,
    /// Its body and trailers, as far as the script read them; `Err` says how it ended instead.
    pub(crate) message: Option<Result<Message, End>>,
    /// Has its script come to its end?
    pub(crate) done: bool,
}

/// What was seen since [`Upstream::begin`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) requests: Vec<Seen>,
    /// Bytes that are no request, per occurrence.
    pub(crate) bad: Vec<String>,
    /// Connections that were opened.
    pub(crate) conns: usize,
    /// All bytes in the order they were looked at.
    pub(crate) raw: Vec<u8>,
}

#[derive(Default)]
struct State {
    generation: usize,
    scripts: VecDeque<Vec<Step>>,
    log: Log,
    open: Vec<TcpStream>,
    board: Board,
}

/// A scripted upstream on a port of 127.0.0.1.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    /// Listens, on its own threads, until the test process ends.
    pub(crate) fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = shared.lock().unwrap();
                let conn = state.log.conns;
                state.log.conns += 1;
                state.open.extend(stream.try_clone());
                let generation = state.generation;
                drop(state);
                let shared = shared.clone();
                std::thread::spawn(move || serve(&shared, stream, generation, conn));
            }
        });
        Upstream { addr, state }
    }

    /// Forgets the last case: closes its connections, empties the log, and takes these scripts.
    pub(crate) fn begin(&self, scripts: Vec<Vec<Step>>, board: &Board) {
        let mut state = self.state.lock().unwrap();
        state.generation += 1;
        for stream in state.open.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
        state.log = Log::default();
        state.scripts = scripts.into();
        state.board = board.clone();
    }

    /// What has been seen so far.
    pub(crate) fn log(&self) -> Log {
        self.state.lock().unwrap().log.clone()
    }
}

/// The answer to a request without script.
pub(crate) fn own(head: &Head) -> Vec<u8> {
    let body = format!("{} {}", head.method(), head.target());
    let mut answer = format!("HTTP/1.1 200 OK\r\nX-Own: yes\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    if head.method() != "HEAD" {
        answer.extend(body.bytes());
    }
    answer
}

fn serve(shared: &Mutex<State>, stream: TcpStream, generation: usize, conn: usize) {
    let mut wire = Wire::of(stream, PATIENCE * 3);
    // Runs `f` on the log, unless the case is over.
    let live = |f: &mut dyn FnMut(&mut State)| {
        let mut state = shared.lock().unwrap();
        let live = state.generation == generation;
        if live {
            f(&mut state);
        }
        live
    };
    loop {
        let (head, framing) = match wire.head().and_then(|head| Ok((head.clone(), head.framing_of_request()?))) {
            Ok(head) => head,
            Err(End::Closed | End::Reset | End::Silent) => return,
            Err(end) => {
                live(&mut |state| {
                    state.log.raw.extend(&wire.all);
                    state.log.bad.push(format!("{end:?}"));
                });
                return;
            }
        };
        let mut script = None;
        let mut number = 0;
        let mut board = Board::default();
        let is_live = live(&mut |state| {
            state.log.requests.push(Seen { conn, head: head.clone(), message: None, done: false });
            number = state.log.requests.len();
            // What a case does afterwards, to see whether it left poison behind, is not of its script.
            let canary = head.target().starts_with("/canary");
            script = if canary { None } else { state.scripts.pop_front() };
            board = state.board.clone();
        });
        if !is_live {
            return;
        }
        board.pin(format!("request-{number}"));
        let mut body: Option<Result<Message, End>> = None;
        let mut took = Vec::new();
        let mut over = false;
        for step in script.unwrap_or_else(|| vec![Step::Body, Step::Own]) {
            match step {
                Step::Body => {
                    let read = wire.body(framing);
                    body = Some(read.map(|(rest, trailers)| {
                        let body = [std::mem::take(&mut took), rest].concat();
                        Message { head: head.clone(), body, trailers, framing }
                    }));
                    // Before a byte of the answer leaves: whoever has it may look at once.
                    live(&mut |state| {
                        if let Some(seen) = state.log.requests.get_mut(number - 1) {
                            seen.message.clone_from(&body);
                        }
                    });
                    if matches!(body, Some(Err(_))) {
                        over = true;
                        break;
                    }
                    board.pin(format!("body-{number}"));
                }
                Step::Take(count) => match wire.exactly(count) {
                    Ok(bytes) => {
                        took.extend(bytes);
                        board.pin(format!("took-{number}"));
                    }
                    Err(end) => {
                        body = Some(Err(end));
                        over = true;
                        break;
                    }
                },
                Step::Send(bytes) => over |= wire.stream.write_all(&bytes).is_err(),
                Step::Drip(bytes) => bytes.iter().for_each(|byte| {
                    wire.stream.write_all(&[*byte]).ok();
                }),
                Step::Own => over |= wire.stream.write_all(&own(&head)).is_err(),
                Step::Wait(event) => {
                    if !board.wait(&event, PATIENCE) {
                        live(&mut |state| state.log.bad.push(format!("upstream waited for {event} in vain")));
                    }
                }
                Step::Close => {
                    wire.stream.shutdown(Shutdown::Both).ok();
                    over = true;
                }
                Step::Reset => {
                    socket2::SockRef::from(&wire.stream).set_linger(Some(std::time::Duration::ZERO)).ok();
                    // The copy that `begin` would close keeps the socket open; it must go first.
                    live(&mut |state| state.open.retain(|open| open.peer_addr().ok() != wire.stream.peer_addr().ok()));
                    over = true;
                }
                Step::Half => {
                    wire.stream.shutdown(Shutdown::Write).ok();
                    took.extend(wire.until_close().unwrap_or_default());
                    over = true;
                }
                Step::Drain => {
                    took.extend(wire.until_close().unwrap_or_default());
                    over = true;
                }
            }
        }
        live(&mut |state| {
            if let Some(seen) = state.log.requests.get_mut(number - 1) {
                seen.message = body.take();
                seen.done = true;
            }
            state.log.raw.extend(std::mem::take(&mut wire.all));
            state.log.raw.extend(&took);
        });
        board.pin(format!("done-{number}"));
        if over {
            return;
        }
    }
}
