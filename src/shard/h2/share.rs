//! The connections of HTTP/2 to one target, as one shard has them: which takes the next request, when one more is made, and
//! who waits meanwhile.
//!
//! The first that has room is taken, so that few are busy and the surplus grows idle. While one is being made, as many
//! requests as it will take wait for it instead of making their own. Whatever makes room calls as many of those who wait.

use super::mux::Mux;
use crate::base::limits;
use crate::base::time::Millis;
use crate::io::deadline::Watch;
use crate::shard::pool::Bounds;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The connections to one target.
#[derive(Default)]
pub(in crate::shard) struct Share {
    muxes: RefCell<Vec<Rc<Mux>>>,
    /// Connections being made.
    making: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    /// The target has chosen HTTP/1.1 the last time it could choose.
    declined: Cell<bool>,
}

/// Somebody who waits for room.
#[derive(Default)]
struct Waiter {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Share {
    /// A connection that has room for one more request, of those to the `same`; those that take none any more are let go.
    pub(in crate::shard) fn free(&self, now: Millis, bounds: &Bounds, same: impl Fn(&Mux) -> bool) -> Option<Rc<Mux>> {
        let mut muxes = self.muxes.borrow_mut();
        muxes.retain(|mux| mux.is_open(now, bounds));
        muxes.iter().find(|mux| mux.has_room(bounds) && same(mux)).cloned()
    }

    /// Does somebody wait? Whoever comes later does not overtake him.
    pub(in crate::shard) fn is_awaited(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// May one more connection be made? Not while those being made have room for all who wait.
    pub(in crate::shard) fn may_make(&self, bounds: &Bounds) -> bool {
        let making = self.making.get();
        self.muxes.borrow().len() + making < bounds.http2_connections_max
            && self.waiting.borrow().len() >= making * bounds.http2_streams_max
    }

    /// Counts a connection as being made until it is [`Making::done`], or the guard is dropped.
    pub(in crate::shard) fn make(self: &Rc<Share>) -> Making {
        self.making.set(self.making.get() + 1);
        Making(self.clone())
    }

    /// Keeps a connection for those who come.
    pub(in crate::shard) fn put(&self, mux: Rc<Mux>) {
        self.declined.set(false);
        self.muxes.borrow_mut().push(mux);
    }

    /// Has the target chosen HTTP/1.1?
    pub(in crate::shard) fn is_declined(&self) -> bool {
        self.declined.get()
    }

    /// It has: everybody makes a connection of his own.
    pub(in crate::shard) fn decline(&self) {
        self.declined.set(true);
        self.call(usize::MAX);
    }

    /// Calls the first `count` of those who wait.
    pub(super) fn call(&self, count: usize) {
        for _ in 0..count {
            let Some(waiter) = self.waiting.borrow_mut().pop_front() else { return };
            waiter.called.set(true);
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }

    /// Waits until there may be room; `again` where it was called before and there was none. Wakes by the watch's deadline,
    /// and looks then and otherwise whether `gone`.
    ///
    /// # Errors
    /// `TimedOut`, `ConnectionAborted` where it is `gone`, and `QuotaExceeded` where too many wait.
    pub(in crate::shard) async fn wait(
        self: &Rc<Share>,
        again: bool,
        watch: &Watch,
        gone: impl Fn() -> bool,
    ) -> Result<()> {
        let waiter = Rc::new(Waiter::default());
        {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= limits::H2_WAITING_MAX {
                return Err(ErrorKind::QuotaExceeded.into());
            }
            match again {
                true => waiting.push_front(waiter.clone()),
                false => waiting.push_back(waiter.clone()),
            }
        }
        let mut place = Place { share: self, waiter: &waiter, used: false };
        poll_fn(|cx| {
            if waiter.called.get() {
                place.used = true;
                return Poll::Ready(Ok(()));
            }
            if gone() {
                return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
            }
            if watch.fired().is_some() {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            watch.wait(cx.waker());
            *waiter.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Lets go of those that are idle for too long or take no more requests.
    pub(in crate::shard) fn sweep(&self, now: Millis, bounds: &Bounds) {
        self.muxes.borrow_mut().retain(|mux| {
            let idle_ms = mux.idle_since().map_or(0, |since| now.0.saturating_sub(since.0));
            mux.is_open(now, bounds) && (bounds.idle_ms == 0 || idle_ms < bounds.idle_ms)
        });
    }

    /// Lets go of all of them; requests under way are finished.
    pub(in crate::shard) fn clear(&self) {
        self.muxes.borrow_mut().clear();
    }

    /// How many there are, those being made included.
    pub(in crate::shard) fn len(&self) -> usize {
        self.muxes.borrow().len() + self.making.get()
    }
}

/// A place among those who wait; left when dropped, and handed on where it was called for nothing.
struct Place<'a> {
    share: &'a Share,
    waiter: &'a Rc<Waiter>,
    used: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        if self.waiter.called.get() {
            return self.share.call(1);
        }
        self.share.waiting.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, self.waiter));
    }
}

/// A connection that is being made. Dropped before it is [`done`](Making::done), it has failed: the next who waits tries.
pub(in crate::shard) struct Making(Rc<Share>);

impl Making {
    /// It is made, and has room for so many more.
    pub(in crate::shard) fn done(self, room: usize) {
        // One more is called by the drop: where there is none left for him, he may make the next.
        self.0.call(room);
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.0.making.set(self.0.making.get() - 1);
        self.0.call(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::deadline::Deadlines;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    const BOUNDS: Bounds = Bounds {
        idle_max: 1,
        requests_max: 0,
        idle_ms: 0,
        age_ms: 0,
        http2_connections_max: 3,
        http2_streams_max: 2,
        http2_ping_ms: 0,
    };

    #[test]
    fn one_is_made_for_as_many_as_it_takes() {
        let share = Rc::new(Share::default());
        let deadlines = Deadlines::default();
        let (watch, mut cx) = (deadlines.watch_waiter(), Context::from_waker(Waker::noop()));
        assert!(share.may_make(&BOUNDS));
        let first = share.make();
        assert!(!share.may_make(&BOUNDS));
        let (mut one, mut two) = (pin!(share.wait(false, &watch, || false)), pin!(share.wait(false, &watch, || false)));
        assert!(one.as_mut().poll(&mut cx).is_pending() && !share.may_make(&BOUNDS));
        assert!(
            two.as_mut().poll(&mut cx).is_pending() && share.may_make(&BOUNDS),
            "two wait, and one connection takes two"
        );
        let second = share.make();
        assert_eq!(share.len(), 2);
        first.done(0);
        assert!(one.as_mut().poll(&mut cx).is_ready() && two.as_mut().poll(&mut cx).is_pending());
        drop(second);
        assert!(two.as_mut().poll(&mut cx).is_ready(), "who waits for one that failed makes the next");
        assert!(!share.is_awaited() && share.len() == 0);
    }

    #[test]
    fn who_leaves_hands_his_call_on() {
        let share = Rc::new(Share::default());
        let deadlines = Deadlines::default();
        let (watch, mut cx) = (deadlines.watch_waiter(), Context::from_waker(Waker::noop()));
        let mut one = Box::pin(share.wait(false, &watch, || false));
        let mut two = Box::pin(share.wait(false, &watch, || false));
        let mut three = Box::pin(share.wait(true, &watch, || true));
        assert!(one.as_mut().poll(&mut cx).is_pending() && two.as_mut().poll(&mut cx).is_pending());
        let Poll::Ready(Err(error)) = three.as_mut().poll(&mut cx) else { panic!("it is gone") };
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        drop(three);
        share.call(1);
        drop(one);
        assert!(two.as_mut().poll(&mut cx).is_ready());
        watch.arm_read(Millis(5));
        deadlines.sweep(Millis(5));
        let Poll::Ready(Err(error)) = Box::pin(share.wait(false, &watch, || false)).as_mut().poll(&mut cx) else {
            panic!("its time is over")
        };
        assert_eq!((error.kind(), share.is_awaited()), (ErrorKind::TimedOut, false));
    }
}
