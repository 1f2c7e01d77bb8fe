//! The only room that names monoio, and the only one below `control` that touches sockets and clocks.
//!
//! A seam of few functions, so that the runtime can be replaced: run a thread, spawn a task, sleep, listen and accept,
//! connect, receive into and send from owned buffers, wait for readability. Two rules hold everywhere:
//!
//! * A read or write is never dropped to time it out: the kernel owns its buffer, and bytes it has already received would
//!   be lost. [`deadline`] ends it by shutting the socket down, which completes it. One kind may be dropped, with a proof that
//!   there are none: [`tcp::Lull`].
//! * Accepting is polling plus `accept4`: an accept operation that is dropped leaks the socket it accepted.

pub mod buf;
pub mod channel;
pub mod clock;
pub mod deadline;
pub mod duplex;
mod early;
pub mod listen;
pub mod mailbox;
pub mod runtime;
pub mod tcp;

use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::{pin, Pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// Starts a task on this thread's runtime; it runs to its end whether or not anyone waits.
pub fn spawn<F: Future<Output = ()> + 'static>(future: F) {
    monoio::spawn(future);
}

/// Sleeps; 1 ms resolution. Never used to yield: awaiting real I/O does that.
pub async fn sleep_ms(ms: u64) {
    monoio::time::sleep(Duration::from_millis(ms)).await;
}

/// Runs a future that may panic; the panic's message instead of the end of the thread.
///
/// # Errors
/// The text of the panic.
pub async fn catch_panic<F: Future>(future: F) -> Result<F::Output, String> {
    struct Caught<'a, F>(Pin<&'a mut F>);
    impl<F: Future> Future for Caught<'_, F> {
        type Output = Result<F::Output, String>;
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            // Unwind safety: after a panic the future is dropped and never polled again; what it shares with others
            // are the shard's cells, which hold plain numbers and free lists.
            match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => {
                    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    Poll::Ready(Err(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()))
                }
            }
        }
    }
    let future = pin!(future);
    Caught(future).await
}

/// Polls `first` and `second` in turns until `second` ends; what `first` returned by then. `first` is dropped if it has
/// not ended: only pass one whose sockets are closed afterwards.
pub async fn until_second<A: Future, B: Future>(first: A, second: B) -> (Option<A::Output>, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut ended = None;
    std::future::poll_fn(move |cx| {
        if ended.is_none() {
            if let Poll::Ready(output) = first.as_mut().poll(cx) {
                ended = Some(output);
            }
        }
        second.as_mut().poll(cx).map(|output| (ended.take(), output))
    })
    .await
}

/// Polls both until both have ended.
pub async fn both<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut a, mut b) = (None, None);
    std::future::poll_fn(move |cx| {
        if a.is_none() {
            if let Poll::Ready(output) = first.as_mut().poll(cx) {
                a = Some(output);
            }
        }
        if b.is_none() {
            if let Poll::Ready(output) = second.as_mut().poll(cx) {
                b = Some(output);
            }
        }
        match (a.take(), b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (left, right) => {
                (a, b) = (left, right);
                Poll::Pending
            }
        }
    })
    .await
}
