//! Policy `redis` with a `sync_rate`: counts are kept here and exchanged with Redis in the background.
//!
//! The first request of an asker is counted in Redis, as if there were no `sync_rate`; that tells what others have used.
//! (If the node refuses it, since its other shards have used up what is left, that is given back.)
//! From then on the shard decides by that number and by what it has admitted itself, and every `sync_rate` seconds it
//! adds what is new to Redis, and learns the sum.
//!
//! **How exact that is.** One gateway never admits more than the limit in a window, whatever its shards do not know of each
//! other: the node's own count is looked at, too. Several gateways together may exceed it by what the others have admitted
//! since the last exchange, so by no more than (gateways − 1) × what one admits in `sync_rate` seconds, and never by more
//! than the limit for each gateway but the first. What a gateway has admitted since its last exchange is lost if it
//! crashes; one that drains sends it first. What fails of an exchange is repeated: it may then count twice, which refuses too
//! early, never too late.

use crate::base::limits;
use crate::base::time::WallMs;
use crate::hook::{Chore, Chores, Locals};
use crate::limit::bank::Key;
use crate::limit::window::Window;
use crate::redis::script::ADD;
use crate::redis::{Call, Command, Fault, Reply, Server, Shape};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The counts that a shard exchanges with one server at one rate.
pub(super) struct Table {
    server: Arc<Server>,
    every_ms: u64,
    next_ms: u64,
    /// Is an exchange under way?
    running: bool,
    entries: HashMap<Key, Entry, ahash::RandomState>,
}

struct Entry {
    /// Its key in Redis.
    name: Box<[u8]>,
    window: Window,
    /// The count in Redis at the last exchange.
    base: i64,
    /// Admitted here since.
    delta: i64,
    /// As much of it as is on its way to Redis.
    sent: i64,
    /// Asked for since the last exchange?
    touched: bool,
}

/// All tables of a shard; they outlive a reload.
#[derive(Default)]
struct Tables(Vec<Rc<RefCell<Table>>>);

/// The shard's table for a server and a rate; made, and put among the chores, at first use.
pub(super) fn table(locals: &mut Locals, server: &Arc<Server>, every_ms: u64) -> Rc<RefCell<Table>> {
    let tables = &mut locals.of(Tables::default).0;
    let is_it = |table: &&Rc<RefCell<Table>>| {
        let table = table.borrow();
        table.every_ms == every_ms && table.server == *server
    };
    if let Some(table) = tables.iter().find(is_it) {
        return table.clone();
    }
    let (server, entries) = (server.clone(), HashMap::default());
    let table = Rc::new(RefCell::new(Table { server, every_ms, next_ms: 0, running: false, entries }));
    tables.push(table.clone());
    locals.of(Chores::default).0.push(table.clone());
    table
}

impl Table {
    /// What is used of a window, as far as is known here; `None` where Redis has to be asked first.
    ///
    /// A window that follows one that is known begins with 0: if others have used of it, the next exchange tells.
    pub(super) fn used(&mut self, key: Key, window: Window, name: impl FnOnce() -> Vec<u8>) -> Option<u32> {
        let entry = self.entries.get_mut(&key)?;
        if entry.window.end_s < window.end_s {
            let name = name().into_boxed_slice();
            *entry = Entry { name, window, base: 0, delta: 0, sent: 0, touched: true };
        }
        entry.touched = true;
        Some((entry.base + entry.delta).clamp(0, i64::from(u32::MAX)) as u32)
    }

    /// Counts what was admitted.
    pub(super) fn add(&mut self, key: Key, cost: u32) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.delta += i64::from(cost);
        }
    }

    /// Notes what Redis says of a window. Beyond the bound it is not kept, and Redis is asked again.
    pub(super) fn learn(&mut self, key: Key, window: Window, name: &[u8], used: u32) {
        let base = i64::from(used);
        let held = self.entries.get_mut(&key);
        let is_held = held.is_some();
        if let Some(entry) = held.filter(|entry| entry.window.end_s >= window.end_s) {
            // Another request has come first; what Redis said last is the larger one.
            if entry.window == window {
                entry.base = entry.base.max(base);
            }
            return;
        }
        if is_held || self.entries.len() < limits::REDIS_SYNCED_MAX {
            let entry = Entry { name: name.into(), window, base, delta: 0, sent: 0, touched: false };
            self.entries.insert(key, entry);
        }
    }
}

impl Chore for Table {
    fn due(&mut self, now: WallMs, ending: bool) -> Option<Box<Call>> {
        if self.running || (now.0 < self.next_ms && !ending) {
            return None;
        }
        self.next_ms = now.0 + self.every_ms;
        // A window that is over matters to nobody; it is kept a little, so that the next one is known to follow it.
        self.entries.retain(|_, entry| now.seconds() < u64::from(entry.window.end_s) + KEPT_S);
        let mut commands = Vec::new();
        for entry in self.entries.values_mut() {
            let is_over = now.seconds() >= u64::from(entry.window.end_s);
            if is_over || (entry.delta == 0 && (ending || !entry.touched)) {
                continue;
            }
            if commands.len() >= limits::REDIS_SYNCED_AT_ONCE_MAX {
                // The rest goes with the next one, at once.
                self.next_ms = now.0;
                break;
            }
            (entry.sent, entry.touched) = (entry.delta, false);
            let mut command = Command::script(&ADD, 1, Shape::Integer).arg(&entry.name);
            command.push_number(entry.delta);
            command.push_number(i64::from(entry.window.end_s) + 1);
            commands.push(command);
        }
        if commands.is_empty() {
            return None;
        }
        self.running = true;
        Some(Box::new(Call { server: self.server.clone(), commands, note: 0 }))
    }

    fn rests(&self) -> bool {
        self.entries.is_empty() && !self.running
    }

    fn on_answer(&mut self, call: &Call, answers: &[Result<Reply, Fault>]) {
        self.running = false;
        let mut counts: HashMap<&[u8], i64, ahash::RandomState> = HashMap::default();
        for (command, answer) in call.commands.iter().zip(answers) {
            let count = answer.as_ref().ok().and_then(Reply::integer);
            if let (Some(name), Some(count)) = (command.key(), count) {
                counts.insert(name, count);
            }
        }
        for entry in self.entries.values_mut() {
            let sent = std::mem::take(&mut entry.sent);
            match counts.get(&*entry.name) {
                Some(count) => (entry.base, entry.delta) = (*count, entry.delta - sent),
                // It failed, or another window has begun meanwhile: what was not added stays here.
                None => entry.touched |= entry.delta > 0,
            }
        }
    }
}

/// Seconds that a window is kept after its end.
const KEPT_S: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::bank::Bank;
    use crate::redis::{Host, Login, Place};

    const WINDOW: Window = Window { start_s: 60, end_s: 120 };
    const NEXT: Window = Window { start_s: 120, end_s: 180 };

    fn new() -> (Table, Key) {
        let place = Place::Single(Host::new("r.test", 1));
        let login = Login::default();
        let server =
            Arc::new(Server { place, login, secure: None, database: 0, connect_ms: 1, send_ms: 1, read_ms: 1 });
        let table = Table { server, every_ms: 500, next_ms: 0, running: false, entries: HashMap::default() };
        (table, Bank::new(1).key(&[b"a"]))
    }

    fn used(table: &mut Table, key: Key, window: Window) -> Option<u32> {
        table.used(key, window, || b"next".to_vec())
    }

    fn sent(call: &Call) -> Vec<Vec<String>> {
        let text = |arg: &[u8]| String::from_utf8(arg.to_vec()).unwrap();
        call.commands.iter().map(|command| command.args().map(text).collect()).collect()
    }

    #[test]
    fn what_is_new_is_added_and_the_sum_is_learnt() {
        let (mut table, key) = new();
        assert_eq!(used(&mut table, key, WINDOW), None);
        table.learn(key, WINDOW, b"k", 4);
        table.add(key, 1);
        table.add(key, 1);
        assert_eq!(used(&mut table, key, WINDOW), Some(6));
        let call = table.due(WallMs(100_000), false).expect("there is something new");
        assert_eq!(sent(&call), [["k", "2", "121"]]);
        // Meanwhile one more; and no second exchange beside the first.
        table.add(key, 1);
        assert!(table.due(WallMs(101_000), false).is_none());
        table.on_answer(&call, &[Ok(Reply::Integer(30))]);
        assert_eq!(used(&mut table, key, WINDOW), Some(31));
        assert!(table.due(WallMs(100_400), false).is_none(), "it is not time yet");
        assert_eq!(sent(&table.due(WallMs(100_500), false).expect("one more")), [["k", "1", "121"]]);
    }

    #[test]
    fn what_fails_of_an_exchange_is_repeated_and_nothing_else() {
        let (mut table, key) = new();
        let other = Bank::new(1).key(&[b"b"]);
        for (key, name) in [(key, b"k"), (other, b"o")] {
            table.learn(key, WINDOW, name, 0);
            table.add(key, 1);
        }
        let call = table.due(WallMs(100_000), false).expect("there is something new");
        let answer = |command: &Command| match command.key() {
            Some(b"k") => Err(Fault::Down),
            _ => Ok(Reply::Integer(1)),
        };
        table.on_answer(&call, &call.commands.iter().map(answer).collect::<Vec<_>>());
        assert_eq!([key, other].map(|key| used(&mut table, key, WINDOW)), [Some(1), Some(1)]);
        let mut again = sent(&table.due(WallMs(100_500), false).expect("again"));
        again.sort();
        assert_eq!(again, [["k", "1", "121"], ["o", "0", "121"]]);
    }

    #[test]
    fn a_next_window_begins_anew_and_old_ones_are_forgotten() {
        let (mut table, key) = new();
        table.learn(key, WINDOW, b"k", 9);
        table.add(key, 1);
        let call = table.due(WallMs(119_900), false).expect("there is something new");
        assert_eq!(used(&mut table, key, NEXT), Some(0));
        table.add(key, 1);
        // The answer speaks of the window before.
        table.on_answer(&call, &[Ok(Reply::Integer(10))]);
        assert_eq!(used(&mut table, key, NEXT), Some(1));
        assert_eq!(used(&mut table, key, WINDOW), Some(1), "a slow clock counts in the window that has begun");
        assert!(!table.rests(), "it has something to tell, or may have");
        assert!(table.due(WallMs(182_000), true).is_none() && table.rests());
    }

    #[test]
    fn who_asks_no_more_costs_nothing() {
        let (mut table, key) = new();
        table.learn(key, WINDOW, b"k", 9);
        assert!(table.due(WallMs(100_000), false).is_none());
        used(&mut table, key, WINDOW);
        let call = table.due(WallMs(101_000), false).expect("who is refused wants to know");
        assert_eq!(sent(&call), [["k", "0", "121"]]);
        table.on_answer(&call, &[Ok(Reply::Integer(9))]);
        assert!(table.due(WallMs(102_000), false).is_none());
    }
}
