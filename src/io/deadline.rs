//! Deadlines of sockets without a timer per operation: a table of due times, looked at a few dozen times a second.
//!
//! What is due is *shut down*, not cancelled: the pending read ends with 0 bytes, the pending write with EPIPE, and the
//! task that awaited it finds [`Watch::fired`] set. Arming is a store into a cell; it costs a nanosecond, so that every
//! read and write can have its own deadline. Resolution: [`TICK_MS`].

use super::clock;
use crate::base::time::Millis;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

/// Between two looks at the table, ms. A deadline fires at most so much late; 50 looks a second cost nothing measurable.
pub const TICK_MS: u64 = 20;

/// In the place of a descriptor: there is none, and who waits is woken.
const NO_FD: RawFd = -1;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// What a deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A read; the socket can still be written to.
    Read,
    /// A write; the socket is of no use afterwards.
    Write,
}

struct Slot {
    fd: RawFd,
    read_at: Cell<u64>,
    write_at: Cell<u64>,
    fired: Cell<Option<Side>>,
    /// Is the read one for a next request, which may end at any time?
    quiet: Cell<bool>,
    /// Is it one for the rest of a head or of a handshake? Nobody has worked for it yet.
    midway: Cell<bool>,
    /// Who waits, where there is no descriptor.
    waker: RefCell<Option<Waker>>,
}

/// All deadlines of a shard.
#[derive(Clone, Default)]
pub struct Deadlines(Rc<Table>);

struct Table {
    slots: RefCell<Slab<Rc<Slot>>>,
    /// Invariant: no armed deadline is earlier. It may be too early after a disarm; then a look finds nothing.
    soonest: Cell<u64>,
}

impl Default for Table {
    fn default() -> Table {
        Table { slots: RefCell::default(), soonest: Cell::new(NEVER) }
    }
}

impl Deadlines {
    /// Watches a socket until the [`Watch`] is dropped, which must happen before the socket is closed.
    pub fn watch(&self, fd: RawFd) -> Watch {
        let slot = Rc::new(Slot {
            fd,
            read_at: Cell::new(NEVER),
            write_at: Cell::new(NEVER),
            fired: Cell::new(None),
            quiet: Cell::new(false),
            midway: Cell::new(false),
            waker: RefCell::default(),
        });
        let key = self.0.slots.borrow_mut().insert(slot.clone());
        Watch { table: self.0.clone(), slot, key }
    }

    /// Watches something that has no socket of its own, such as one of many streams on a connection: whoever waits is woken,
    /// and finds [`Watch::fired`] set. See [`Watch::wait`].
    pub fn watch_waiter(&self) -> Watch {
        self.watch(NO_FD)
    }

    /// Ends what is due. O(watched sockets) when something may be due, O(1) otherwise.
    pub fn sweep(&self, now: Millis) {
        if self.0.soonest.get() > now.0 {
            return;
        }
        let mut soonest = NEVER;
        for (_, slot) in self.0.slots.borrow().iter() {
            if slot.write_at.get() <= now.0 {
                slot.fire(Side::Write, Shutdown::Both);
            } else if slot.read_at.get() <= now.0 {
                slot.fire(Side::Read, Shutdown::Read);
            }
            soonest = soonest.min(slot.read_at.get()).min(slot.write_at.get());
        }
        self.0.soonest.set(soonest);
    }

    /// Ends the reads of those who wait for a next request: the process is about to end. O(watched sockets).
    pub fn end_quiet(&self) {
        for (_, slot) in self.0.slots.borrow().iter().filter(|(_, slot)| slot.quiet.get()) {
            slot.fire(Side::Read, Shutdown::Read);
        }
    }

    /// Ends the reads of up to `count` of those who wait for a next request, whoever waits longest first: their sockets are
    /// needed. Where they are not enough, of those who have sent a part of a head as well. O(watched sockets).
    pub fn end_quietest(&self, count: usize) {
        let slots = self.0.slots.borrow();
        let is_waiting = |slot: &&Slot| (slot.quiet.get() || slot.midway.get()) && slot.fired.get().is_none();
        let mut waiting: Vec<&Slot> = slots.iter().map(|(_, slot)| &**slot).filter(is_waiting).collect();
        // All of a kind wait equally long, so the one whose deadline comes first began first.
        waiting.sort_unstable_by_key(|slot| (slot.midway.get(), slot.read_at.get()));
        waiting.into_iter().take(count).for_each(|slot| slot.fire(Side::Read, Shutdown::Read));
    }

    /// Sweeps for ever.
    pub async fn run(self) {
        loop {
            super::sleep_ms(TICK_MS).await;
            self.sweep(clock::millis());
        }
    }

    /// Sockets watched now.
    pub fn len(&self) -> usize {
        self.0.slots.borrow().len()
    }

    /// No socket is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Slot {
    fn fire(&self, side: Side, how: Shutdown) {
        self.fired.set(Some(side));
        self.read_at.set(NEVER);
        self.write_at.set(NEVER);
        if self.fd == NO_FD {
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
            return;
        }
        super::tcp::shutdown_raw(self.fd, how);
    }
}

/// The deadlines of one socket. Every read and write arms one, so the slot is at hand without a look into the table.
pub struct Watch {
    table: Rc<Table>,
    slot: Rc<Slot>,
    key: usize,
}

impl Watch {
    /// The next read must end by `at`.
    pub fn arm_read(&self, at: Millis) {
        self.slot.read_at.set(at.0);
        self.table.soonest.set(self.table.soonest.get().min(at.0));
    }

    /// The next write must end by `at`.
    pub fn arm_write(&self, at: Millis) {
        self.slot.write_at.set(at.0);
        self.table.soonest.set(self.table.soonest.get().min(at.0));
    }

    /// Reads have no deadline any more.
    pub fn disarm_read(&self) {
        self.slot.read_at.set(NEVER);
    }

    /// Writes have no deadline any more.
    pub fn disarm_write(&self) {
        self.slot.write_at.set(NEVER);
    }

    /// Is the next read one for a next request? See [`Deadlines::end_quiet`].
    pub fn set_quiet(&self, quiet: bool) {
        self.slot.quiet.set(quiet);
    }

    /// Is the next read one for the rest of a head? See [`Deadlines::end_quietest`].
    pub fn set_midway(&self, midway: bool) {
        self.slot.midway.set(midway);
    }

    /// Wakes `waker` when a deadline passes; for watches without a socket.
    pub fn wait(&self, waker: &Waker) {
        let mut held = self.slot.waker.borrow_mut();
        if !held.as_ref().is_some_and(|held| held.will_wake(waker)) {
            *held = Some(waker.clone());
        }
    }

    /// Which deadline has passed, if any.
    pub fn fired(&self) -> Option<Side> {
        self.slot.fired.get()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.table.slots.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_due_read_ends_and_an_early_one_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let _peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (mut stream, _) = listener.accept().expect("accepts");
        let deadlines = Deadlines::default();
        let watch = deadlines.watch(stream.as_raw_fd());
        watch.arm_read(Millis(100));
        deadlines.sweep(Millis(99));
        assert_eq!(watch.fired(), None);
        deadlines.sweep(Millis(100));
        assert_eq!(watch.fired(), Some(Side::Read));
        assert_eq!(stream.read(&mut [0; 8]).expect("the socket is shut for reading"), 0);
        drop(watch);
        assert!(deadlines.is_empty());
    }

    #[test]
    fn who_is_quiet_for_longest_ends_first() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let deadlines = Deadlines::default();
        let watches: Vec<Watch> = (0..4).map(|_| deadlines.watch(listener.as_raw_fd())).collect();
        for (watch, at) in watches.iter().zip([400, 100, 300, 200]) {
            watch.arm_read(Millis(at));
            watch.set_quiet(at != 200);
        }
        deadlines.end_quietest(2);
        let ended = || watches.iter().map(|watch| watch.fired().is_some()).collect::<Vec<bool>>();
        assert_eq!(ended(), [false, true, true, false]);
        // Half a head is worth more than nothing, and less than a request.
        watches[3].set_midway(true);
        deadlines.end_quietest(1);
        assert_eq!(ended(), [true, true, true, false]);
        deadlines.end_quietest(9);
        assert_eq!(ended(), [true, true, true, true]);
    }

    #[test]
    fn a_disarmed_deadline_does_not_fire() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let deadlines = Deadlines::default();
        let watch = deadlines.watch(listener.as_raw_fd());
        watch.arm_write(Millis(5));
        watch.disarm_write();
        deadlines.sweep(Millis(1000));
        assert_eq!(watch.fired(), None);
        assert_eq!(deadlines.0.soonest.get(), NEVER);
    }
}
