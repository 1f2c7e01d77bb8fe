//! Events by name, so that one side of a case acts when the other has come to a point, and nobody sleeps.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A board that both sides pin names on. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<(Mutex<HashSet<String>>, Condvar)>);

impl Board {
    /// Says that `name` has happened.
    pub(crate) fn pin(&self, name: impl Into<String>) {
        self.0 .0.lock().unwrap().insert(name.into());
        self.0 .1.notify_all();
    }

    /// Waits until `name` has happened; false when `limit` passes first.
    pub(crate) fn wait(&self, name: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut names = self.0 .0.lock().unwrap();
        while !names.contains(name) {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            names = self.0 .1.wait_timeout(names, left).unwrap().0;
        }
        true
    }
}
