//! The way to one Redis server: connects when it is first needed, and again when the connection has ended.
//!
//! ```text
//! idle ──call──→ connecting ──→ up ──nobody waited──→ idle
//!                 │  ↑           │
//!                 │  └─at once───┤ ended while somebody waited, after a second or more
//!                 ↓              ↓
//!                down: calls fail at once; tried again after a while that doubles
//! ```
//!
//! While connecting, calls wait, each until its own time is over. While down they do not: a server that hangs costs one
//! timeout, not one for each request. What happened is said once, and once that it is over.

use super::super::Shard;
use super::live::Live;
use super::{all_fail, locate, Answer};
use crate::base::limits;
use crate::base::time::Millis;
use crate::io::channel::Channel;
use crate::io::tcp::Stream;
use crate::io::{self, clock};
use crate::redis::call::Shape;
use crate::redis::{codec, sentinel, Command, Fault, Host, Login, Place, Reply, Secure, Server};
use crate::tls::ServerName;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A server as it is.
    Server,
    /// A server that must be a master.
    Master,
    /// A sentinel, which has an own login and no databases.
    Sentinel,
}

/// The way to one server.
pub(super) struct Conn {
    pub(super) host: Host,
    kind: Kind,
    server: Arc<Server>,
    state: RefCell<State>,
    /// Who waits for it to be up.
    waiting: RefCell<Vec<Waker>>,
    /// When it was last asked for.
    used: Cell<Millis>,
    /// Has the log been told that it is down?
    said_down: Cell<bool>,
    /// What was wrong with the last handshake of TLS; for the log.
    tls_fault: RefCell<String>,
}

#[derive(Clone)]
enum State {
    Idle,
    Connecting,
    Up(Rc<Live>),
    Down(Fault),
}

impl Conn {
    pub(super) fn new(host: Host, kind: Kind, server: Arc<Server>) -> Rc<Conn> {
        Rc::new(Conn {
            host,
            kind,
            server,
            state: RefCell::new(State::Idle),
            waiting: RefCell::default(),
            used: Cell::new(clock::millis()),
            said_down: Cell::new(false),
            tls_fault: RefCell::default(),
        })
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(*self.state.borrow(), State::Down(_))
    }

    /// Sends commands, those of scripts by hash, and whole where the server does not know them; one answer for each.
    pub(super) async fn ask(self: &Rc<Conn>, shard: &Rc<Shard>, commands: &[Command], deadline: Millis) -> Vec<Answer> {
        let replies = match self.ask_by_hash(shard, commands, deadline).await {
            Ok(replies) => replies,
            Err(fault) => return all_fail(commands, fault),
        };
        let mut answers: Vec<Answer> = replies.into_iter().map(Ok).collect();
        for (command, answer) in commands.iter().zip(&mut answers) {
            if answer.as_ref().is_ok_and(is_forgotten) {
                *answer = self.ask_whole(shard, command, deadline).await;
            }
        }
        answers
    }

    async fn ask_by_hash(
        self: &Rc<Conn>,
        shard: &Rc<Shard>,
        commands: &[Command],
        deadline: Millis,
    ) -> Result<Vec<Reply>, Fault> {
        let live = self.live(shard, deadline).await?;
        let write = |out: &mut Vec<u8>| commands.iter().for_each(|command| codec::write_command(command, false, out));
        live.submit(write, commands.len(), deadline)?.answered().await
    }

    /// Sends a script with its text.
    pub(super) async fn ask_whole(
        self: &Rc<Conn>,
        shard: &Rc<Shard>,
        command: &Command,
        deadline: Millis,
    ) -> Result<Reply, Fault> {
        let live = self.live(shard, deadline).await?;
        let ticket = live.submit(|out| codec::write_command(command, true, out), 1, deadline)?;
        ticket.answered().await?.pop().ok_or(Fault::Rubbish)
    }

    /// The connection, as soon as it is up.
    ///
    /// # Errors
    /// Why it is not: at once where it is known to be down, at `deadline` where it takes too long.
    pub(super) async fn live(self: &Rc<Conn>, shard: &Rc<Shard>, deadline: Millis) -> Result<Rc<Live>, Fault> {
        let now = clock::millis();
        self.used.set(now);
        poll_fn(|cx| {
            if matches!(*self.state.borrow(), State::Idle) {
                *self.state.borrow_mut() = State::Connecting;
                io::spawn(self.clone().drive(shard.clone()));
            }
            match &*self.state.borrow() {
                State::Up(live) => return Poll::Ready(Ok(live.clone())),
                State::Down(fault) => return Poll::Ready(Err(*fault)),
                State::Connecting | State::Idle => {}
            }
            if clock::millis() >= deadline {
                return Poll::Ready(Err(Fault::Timeout));
            }
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= limits::REDIS_WAITING_MAX {
                return Poll::Ready(Err(Fault::Full));
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Wakes who has waited for too long; ends what nobody needs.
    pub(super) fn tick(&self, now: Millis) {
        let state = self.state.borrow().clone();
        match state {
            State::Up(live) => {
                live.expire(now);
                if live.is_idle() && now.0.saturating_sub(self.used.get().0) > limits::REDIS_IDLE_MS {
                    live.end(Fault::Closed);
                }
            }
            // Each of them looks at its own deadline, and waits on.
            State::Connecting => self.wake(),
            State::Idle | State::Down(_) => {}
        }
    }

    /// Ends the connection: the server is no part of its group any more.
    pub(super) fn close(&self) {
        let state = self.state.borrow().clone();
        if let State::Up(live) = state {
            live.end(Fault::Closed);
        }
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    fn set(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.wake();
    }

    /// Connects and keeps connected; ends when nobody needs it.
    async fn drive(self: Rc<Conn>, shard: Rc<Shard>) {
        if let Err(panic) = io::catch_panic(self.drive_on(&shard)).await {
            let state = self.state.borrow().clone();
            if let State::Up(live) = state {
                live.end(Fault::Closed);
            }
            super::super::count::bump(&shard.counters.panics);
            tracing::error!(shard = shard.index, server = %self.host, "a panic while speaking to Redis: {panic}");
            self.set(State::Idle);
        }
    }

    async fn drive_on(&self, shard: &Rc<Shard>) {
        let mut failures = 0;
        loop {
            let made = self.establish(shard).await;
            let (fault, lived_ms) = match made {
                Ok(stream) => {
                    let (live, since) = (Rc::new(Live::new(stream)), clock::millis());
                    self.say_up(shard);
                    self.set(State::Up(live.clone()));
                    let fault = live.run().await;
                    if live.ended_quietly() && fault == Fault::Closed {
                        return self.set(State::Idle);
                    }
                    (fault, clock::millis().0.saturating_sub(since.0))
                }
                Err(fault) => (fault, 0),
            };
            self.say_down(shard, fault);
            if lived_ms >= limits::REDIS_LIVE_MS_MIN {
                failures = 0;
                if fault == Fault::Closed {
                    self.set(State::Connecting);
                    continue;
                }
            }
            self.set(State::Down(fault));
            let pause = pause_ms(failures, &mut shard.rng.borrow_mut());
            failures += 1;
            io::sleep_ms(pause).await;
            if clock::millis().0.saturating_sub(self.used.get().0) > limits::REDIS_IDLE_MS {
                return self.set(State::Idle);
            }
        }
    }

    fn say_down(&self, shard: &Shard, fault: Fault) {
        if self.said_down.replace(true) {
            return;
        }
        let tls_fault = self.tls_fault.take();
        let why = match fault {
            Fault::Tls => &format!("makes no connection over TLS: {tls_fault}"),
            Fault::Auth => "refuses user or password",
            Fault::Rubbish => "does not answer as Redis does",
            Fault::Timeout => "does not answer in time",
            Fault::Closed => "has closed the connection",
            Fault::Refused => "refuses what every connection begins with",
            Fault::Down | Fault::Full => "cannot be reached or does not serve",
        };
        tracing::warn!(shard = shard.index, server = %self.host, "Redis {why}; what its users' settings say of that holds");
    }

    fn say_up(&self, shard: &Shard) {
        if self.said_down.replace(false) {
            tracing::info!(shard = shard.index, server = %self.host, "Redis answers again");
        }
    }

    /// A connection on which somebody has answered as he should.
    async fn establish(&self, shard: &Rc<Shard>) -> Result<Channel, Fault> {
        let by = Millis(clock::millis().0 + self.server.connect_ms.max(1));
        let addrs = locate(shard, &self.host, by).await;
        let mut fault = Fault::Down;
        for addr in addrs {
            let left_ms = by.0.saturating_sub(clock::millis().0);
            if left_ms == 0 {
                return Err(Fault::Timeout);
            }
            match Stream::connect(addr, left_ms).await {
                Ok(stream) => {
                    let stream = self.secured(shard, stream.into(), addr, by).await?;
                    return self.greet(shard, stream).await;
                }
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => fault = Fault::Timeout,
                Err(_) => {}
            }
        }
        Err(fault)
    }

    /// The same connection over TLS, where it is to be.
    async fn secured(
        &self,
        shard: &Shard,
        mut stream: Channel,
        addr: SocketAddr,
        by: Millis,
    ) -> Result<Channel, Fault> {
        let Some(Secure { verify, name }) = &self.server.secure else { return Ok(stream) };
        let config = shard.redis_config(*verify).ok_or(Fault::Tls)?;
        let name = name.as_ref().unwrap_or(&self.host.name).clone();
        // What is no name, such as one with an underscore, is asked for by address.
        let name = ServerName::try_from(name).unwrap_or_else(|_| ServerName::from(addr.ip()));
        // Dropped before the stream is closed: it holds the stream's descriptor.
        let watch = shard.deadlines.watch(stream.fd());
        watch.arm_read(by);
        watch.arm_write(by);
        let shaken = stream.connect(config, name, &shard.sealed).await;
        let late = watch.fired().is_some();
        watch.disarm_read();
        watch.disarm_write();
        drop(watch);
        match shaken {
            Ok(()) => Ok(stream),
            Err(_) if late => Err(Fault::Timeout),
            Err(error) => {
                *self.tls_fault.borrow_mut() = error.to_string();
                Err(Fault::Tls)
            }
        }
    }

    /// Says who we are and what we want, and hears whether that is granted.
    async fn greet(&self, shard: &Rc<Shard>, stream: Channel) -> Result<Channel, Fault> {
        let greetings = self.greetings();
        let mut out = Vec::new();
        greetings.iter().for_each(|(_, command)| codec::write_command(command, false, &mut out));
        // Dropped before the stream is closed: it holds the stream's descriptor.
        let watch = shard.deadlines.watch(stream.fd());
        let fault = |closed: Fault| if watch.fired().is_some() { Fault::Timeout } else { closed };
        watch.arm_write(Millis(clock::millis().0 + self.server.send_ms.max(1)));
        let (sent, _) = stream.send(out, 0).await;
        watch.disarm_write();
        if sent.is_err() {
            return Err(fault(Fault::Closed));
        }
        watch.arm_read(Millis(clock::millis().0 + self.server.read_ms.max(1)));
        let (mut buf, mut at) = (Vec::with_capacity(512), 0);
        for (greeting, _) in &greetings {
            let reply = loop {
                if let Some((reply, len)) = codec::read(&buf[at..]).map_err(|_| Fault::Rubbish)? {
                    at += len;
                    break reply;
                }
                if buf.len() == buf.capacity() {
                    buf.reserve(buf.len());
                }
                let (received, back) = stream.recv(buf).await;
                buf = back;
                if !received.is_ok_and(|bytes| bytes > 0) {
                    return Err(fault(Fault::Closed));
                }
            };
            greeting.judge(&reply)?;
        }
        if at < buf.len() {
            return Err(Fault::Rubbish);
        }
        watch.disarm_read();
        drop(watch);
        Ok(stream)
    }

    fn greetings(&self) -> Vec<(Greeting, Command)> {
        let mut all = Vec::new();
        let login = match (&self.server.place, self.kind) {
            (Place::Sentinel { login, .. }, Kind::Sentinel) => login,
            _ => &self.server.login,
        };
        if let Login { username, password: Some(password) } = login {
            let mut command = Command::plain("AUTH", Shape::Any);
            if let Some(username) = username {
                command.push(username.as_bytes());
            }
            command.push(password.as_bytes());
            all.push((Greeting::Auth, command));
        }
        if self.server.database != 0 && self.kind != Kind::Sentinel {
            let mut command = Command::plain("SELECT", Shape::Any);
            command.push_number(i64::from(self.server.database));
            all.push((Greeting::Select, command));
        }
        // Always: a server may take connections and never answer, or want a password that we were not given.
        all.push((Greeting::Ping, Command::plain("PING", Shape::Any)));
        if self.kind == Kind::Master {
            all.push((Greeting::Role, Command::plain("ROLE", Shape::Any)));
        }
        all
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Auth,
    Select,
    Ping,
    Role,
}

impl Greeting {
    fn judge(self, reply: &Reply) -> Result<(), Fault> {
        match (self, reply) {
            (Greeting::Auth, Reply::Error(error)) if error.starts_with("LOADING") => Err(Fault::Down),
            (Greeting::Auth, Reply::Error(_)) => Err(Fault::Auth),
            // A user that may not PING is known all the same.
            (Greeting::Ping, Reply::Error(error)) if error.starts_with("NOPERM") => Ok(()),
            (_, Reply::Error(error)) => Err(Fault::of_error(error)),
            (Greeting::Auth | Greeting::Select, reply) if reply.text() == Some("OK") => Ok(()),
            (Greeting::Ping, reply) if reply.text() == Some("PONG") => Ok(()),
            (Greeting::Role, role) if sentinel::is_master(role) => Ok(()),
            (Greeting::Role, Reply::List(_)) => Err(Fault::Down),
            _ => Err(Fault::Rubbish),
        }
    }
}

/// Does the server not know the script by its hash?
pub(super) fn is_forgotten(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(error) if error.starts_with("NOSCRIPT"))
}

/// How long to wait after the `failures`-th failure in a row, from 0.
fn pause_ms(failures: u32, rng: &mut crate::base::rng::Rng) -> u64 {
    let (first, longest) = limits::REDIS_RETRY_MS;
    let wait = first.saturating_mul(1 << failures.min(16)).min(longest);
    wait - wait / 4 + rng.below(wait / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let mut rng = crate::base::rng::Rng::new(3);
        for (failures, want) in [(0, 50), (1, 100), (5, 1600), (7, 5000), (60, 5000)] {
            let pause = pause_ms(failures, &mut rng);
            assert!((want - want / 4..=want + want / 4).contains(&pause), "{failures}: {pause}");
        }
    }

    #[test]
    fn greetings_are_judged() {
        let text = |text: &str| Reply::Text(text.as_bytes().to_vec());
        let error = |text: &str| Reply::Error(text.to_owned());
        let rows = [
            (Greeting::Auth, text("OK"), Ok(())),
            (Greeting::Auth, error("ERR wrong number of arguments"), Err(Fault::Auth)),
            (Greeting::Auth, error("LOADING …"), Err(Fault::Down)),
            (Greeting::Auth, text("PONG"), Err(Fault::Rubbish)),
            (Greeting::Select, error("ERR DB index is out of range"), Err(Fault::Refused)),
            (Greeting::Ping, text("PONG"), Ok(())),
            (Greeting::Ping, error("NOPERM no"), Ok(())),
            (Greeting::Ping, error("NOAUTH Authentication required."), Err(Fault::Auth)),
            (Greeting::Ping, Reply::Integer(1), Err(Fault::Rubbish)),
            (Greeting::Role, Reply::List(vec![text("slave")]), Err(Fault::Down)),
            (Greeting::Role, Reply::List(vec![text("master")]), Ok(())),
            (Greeting::Role, text("master"), Err(Fault::Rubbish)),
        ];
        for (greeting, reply, want) in rows {
            assert_eq!(greeting.judge(&reply), want, "{greeting:?} {reply:?}");
        }
    }
}
