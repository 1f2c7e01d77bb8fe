//! Asking a group how it is made up: in the background, one at a time, at a bounded rate. Who needs the answer waits for
//! it; who only doubts what is known does not.

use super::super::Shard;
use crate::base::limits;
use crate::base::time::Millis;
use crate::io::{self, clock};
use crate::redis::Fault;
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

/// What a group is asked.
pub(super) trait Group: 'static {
    /// Where its state is.
    fn lookup(&self) -> &Lookup;
    /// Is there something to go on with?
    fn is_known(&self) -> bool;
    /// Asks, and keeps what was learnt.
    fn learn(self: Rc<Self>, shard: Rc<Shard>) -> impl Future<Output = Result<(), Fault>>;
}

/// When a group was asked last, and with what result.
#[derive(Default)]
pub(super) struct Lookup {
    running: Cell<bool>,
    /// When the last one began; `None` before the first.
    begun: Cell<Option<Millis>>,
    fault: Cell<Option<Fault>>,
}

/// What is known may be wrong: asks anew, unless somebody does or did a moment ago.
pub(super) fn doubt<G: Group>(group: &Rc<G>, shard: &Rc<Shard>) {
    let (lookup, now) = (group.lookup(), clock::millis());
    let recent = lookup.begun.get().is_some_and(|begun| now.0.saturating_sub(begun.0) < limits::REDIS_MAP_MS);
    if recent || lookup.running.replace(true) {
        return;
    }
    lookup.begun.set(Some(now));
    let (group, shard) = (group.clone(), shard.clone());
    io::spawn(async move {
        let learnt = io::catch_panic(group.clone().learn(shard)).await;
        let fault = learnt.unwrap_or(Err(Fault::Rubbish)).err();
        group.lookup().fault.set(fault);
        group.lookup().running.set(false);
    });
}

/// Waits until something is known.
///
/// # Errors
/// What the last look-up ended with, or that it takes too long.
pub(super) async fn known<G: Group>(group: &Rc<G>, shard: &Rc<Shard>, deadline: Millis) -> Result<(), Fault> {
    while !group.is_known() {
        doubt(group, shard);
        let lookup = group.lookup();
        if let (false, Some(fault)) = (lookup.running.get(), lookup.fault.get()) {
            return Err(fault);
        }
        if clock::millis() >= deadline {
            return Err(Fault::Timeout);
        }
        io::sleep_ms(limits::REDIS_TICK_MS).await;
    }
    Ok(())
}
