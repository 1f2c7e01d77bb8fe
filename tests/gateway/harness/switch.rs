//! An upstream that can be turned: well, ill, slow, silent or gone, while requests come.
//!
//! `/health` is for probes and has a status of its own; every other path is traffic. Both are counted.

use super::wire::Wire;
use super::PATIENCE;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Answers with this status.
    Says(u16),
    /// Answers 200, so many ms late.
    Late(u64),
    /// Closes without an answer.
    Closes,
    /// Keeps the request until the mood is another one, and then answers as that says.
    Holds,
}

/// The upstream.
#[derive(Clone)]
pub(crate) struct Switch {
    pub(crate) addr: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    mood: Mood,
    health: Mood,
    requests: usize,
    probes: usize,
    held: usize,
    heads: Vec<String>,
}

impl Switch {
    /// Listens on any port of 127.0.0.1; well at first.
    pub(crate) fn start() -> Switch {
        Switch::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Serves a listener until the test process ends.
    pub(crate) fn on(listener: TcpListener) -> Switch {
        let mood = Mood::Says(200);
        let state = State { mood, health: mood, requests: 0, probes: 0, held: 0, heads: Vec::new() };
        let switch =
            Switch { addr: listener.local_addr().unwrap(), state: Arc::new((Mutex::new(state), Condvar::new())) };
        let served = switch.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        switch
    }

    /// What traffic meets from now on.
    pub(crate) fn turn(&self, mood: Mood) {
        self.change(|state| state.mood = mood);
    }

    /// What probes meet from now on.
    pub(crate) fn turn_health(&self, mood: Mood) {
        self.change(|state| state.health = mood);
    }

    /// Requests since the last call, probes left out.
    pub(crate) fn take_requests(&self) -> usize {
        std::mem::take(&mut self.state.0.lock().unwrap().requests)
    }

    /// Probes so far.
    pub(crate) fn probes(&self) -> usize {
        self.state.0.lock().unwrap().probes
    }

    /// The head of the last probe.
    pub(crate) fn last_probe(&self) -> String {
        self.state.0.lock().unwrap().heads.last().cloned().unwrap_or_default()
    }

    /// Waits until it holds so many requests; false when patience ends first.
    pub(crate) fn wait_held(&self, count: usize, limit: Duration) -> bool {
        let (state, turned) = &*self.state;
        let state = state.lock().unwrap();
        !turned.wait_timeout_while(state, limit, |state| state.held < count).unwrap().1.timed_out()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.0.lock().unwrap());
        self.state.1.notify_all();
    }

    fn serve(&self, stream: TcpStream) {
        let mut wire = Wire::of(stream, PATIENCE * 6);
        while let Ok(request) = wire.request() {
            let is_probe = request.head.target().starts_with("/health");
            self.change(|state| {
                state.requests += usize::from(!is_probe);
                state.probes += usize::from(is_probe);
                if is_probe {
                    state.heads.push(request.head.raw.iter().map(|&b| char::from(b)).collect());
                }
            });
            let status = match self.mood(is_probe) {
                Mood::Says(status) => status,
                Mood::Late(ms) => {
                    std::thread::sleep(Duration::from_millis(ms));
                    200
                }
                Mood::Closes | Mood::Holds => return,
            };
            let port = self.addr.port().to_string();
            let answer = format!("HTTP/1.1 {status} Switch\r\nContent-Length: {}\r\n\r\n{port}", port.len());
            if wire.stream.write_all(answer.as_bytes()).is_err() || request.head.holds("Connection: close") {
                return;
            }
        }
    }

    /// The mood of the moment; the next one while it holds.
    fn mood(&self, is_probe: bool) -> Mood {
        let (state, turned) = &*self.state;
        let of = |state: &State| if is_probe { state.health } else { state.mood };
        let mut state = state.lock().unwrap();
        if of(&state) == Mood::Holds {
            state.held += 1;
            turned.notify_all();
            let held = turned.wait_timeout_while(state, PATIENCE * 6, |state| of(state) == Mood::Holds);
            state = held.unwrap().0;
            state.held -= 1;
        }
        of(&state)
    }
}
