//! What the control thread knows, as the Admin API shows it: one immutable [`View`], swapped whole by the loop.
//!
//! Handlers read the view of the moment and the shards' gauges; they never reach into the loop, so a slow scraper cannot
//! hold a reload.

use super::store::Store;
use crate::base::limits;
use crate::bus::{Endpoints, RouteSnapshot, Shards, Snapshot};
use crate::plan::report::Finding;
use crate::plan::Plan;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Reads a node-wide counter or gauge that neither the shards nor the loop own: name without the product's prefix, and
/// how to read it. `boot` hands them in.
pub type Reading = (&'static str, Box<dyn Fn() -> u64 + Send + Sync>);

/// Everything the Admin API can show.
pub(super) struct Board {
    view: ArcSwap<View>,
    /// The way to gauges and counters.
    pub(super) shards: Arc<dyn Shards>,
    /// More counters, of those who have no shard.
    pub(super) readings: Vec<Reading>,
    started: Instant,
    /// The last snapshot of each shard: one that answers late is shown as it was, so that no counter goes backwards.
    last: Mutex<BTreeMap<usize, Snapshot>>,
    /// One scrape at a time; who comes meanwhile waits and asks anew.
    scraping: tokio::sync::Mutex<()>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was published yet.
    Starting,
    /// Shards serve.
    Serving,
    /// Shards accept nobody and finish what they have.
    Draining,
}

impl Phase {
    /// The word in `/status`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// The state of the node at one moment.
#[derive(Clone)]
pub(super) struct View {
    /// Where in its life.
    pub(super) phase: Phase,
    /// What is served, or at the start will be.
    pub(super) plan: Arc<Plan>,
    /// Was it handed in, in the place of the files' entities?
    pub(super) is_posted: bool,
    /// Its entities as they were written.
    pub(super) store: Arc<Store>,
    /// Where its targets are, and how.
    pub(super) endpoints: Arc<Endpoints>,
    /// The files it came from; those that give the settings, where its entities were handed in.
    pub(super) files: Vec<PathBuf>,
    /// When it was published.
    pub(super) published: Option<SystemTime>,
    /// How reloads went.
    pub(super) reloads: Reloads,
    /// What of the configuration waits for a restart.
    pub(super) restart: Vec<&'static str>,
    /// The shards, by number.
    pub(super) shards: Vec<ShardView>,
    /// Names that are looked up.
    pub(super) names: Arc<[NameView]>,
    /// Names that changed their addresses.
    pub(super) refreshes: u64,
    /// Look-ups by how they ended.
    pub(super) lookups: Lookups,
}

/// How reloads went.
#[derive(Clone, Debug, Default)]
pub(super) struct Reloads {
    /// Published.
    pub(super) success: u64,
    /// Refused; the old configuration served on.
    pub(super) failure: u64,
    /// The same configuration as before.
    pub(super) unchanged: u64,
    /// The last one, first load included.
    pub(super) last: Option<LastReload>,
}

/// The last reload.
#[derive(Clone, Debug)]
pub(super) struct LastReload {
    /// Is what was read being served?
    pub(super) ok: bool,
    /// When it ended.
    pub(super) at: SystemTime,
    /// What was found, warnings included.
    pub(super) findings: Vec<String>,
    /// How many were found; the list is bounded.
    pub(super) found: usize,
}

impl LastReload {
    /// A reload that ends now.
    pub(super) fn now(ok: bool, findings: &[&Finding], more: &[String]) -> LastReload {
        let all = findings.iter().map(ToString::to_string).chain(more.iter().cloned());
        LastReload {
            ok,
            at: SystemTime::now(),
            findings: all.take(limits::STATUS_FINDINGS_MAX).collect(),
            found: findings.len() + more.len(),
        }
    }
}

/// A shard, as it introduced itself.
#[derive(Clone, Debug, Default)]
pub(super) struct ShardView {
    /// Does it accept?
    pub(super) ready: bool,
    /// Has it finished?
    pub(super) drained: bool,
    /// Its CPU, where it is pinned.
    pub(super) cpu: Option<usize>,
    /// `io_uring` or `epoll`; empty before it is ready.
    pub(super) driver: &'static str,
}

/// A name that is looked up.
#[derive(Clone, Debug)]
pub(super) struct NameView {
    /// The name.
    pub(super) name: String,
    /// `fresh`, `stale`, `failed`, `unasked`.
    pub(super) state: &'static str,
    /// Addresses in use.
    pub(super) addresses: Vec<String>,
    /// What the last bad answer said.
    pub(super) error: String,
}

/// Look-ups by how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lookups {
    /// Answered.
    pub(super) success: u64,
    /// Denied or unanswered.
    pub(super) failure: u64,
}

impl Board {
    /// A board that shows `view`.
    pub(super) fn new(view: View, shards: Arc<dyn Shards>, readings: Vec<Reading>) -> Board {
        Board {
            view: ArcSwap::from_pointee(view),
            shards,
            readings,
            started: Instant::now(),
            last: Mutex::default(),
            scraping: tokio::sync::Mutex::default(),
        }
    }

    /// The state of the moment.
    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Changes the state. Only the loop calls this: there is one writer.
    pub(super) fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = View::clone(&self.view.load());
        change(&mut view);
        self.view.store(Arc::new(view));
    }

    /// Since the start of the control thread.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The counters of every shard, as of now, or of the last time where a shard is late.
    pub(super) async fn snapshots(&self) -> Vec<Snapshot> {
        let _one = self.scraping.lock().await;
        let shards = self.shards.clone();
        let fresh = tokio::task::spawn_blocking(move || shards.snapshots(limits::SCRAPE_WAIT_MS)).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.extend(fresh.unwrap_or_default().into_iter().map(|snapshot| (snapshot.shard, snapshot)));
        last.values().cloned().collect()
    }
}

/// The sum of a node-wide counter over shards.
pub(super) fn total(snapshots: &[Snapshot], name: &str) -> u64 {
    let all = snapshots.iter().flat_map(|snapshot| &snapshot.counters);
    all.filter(|(counter, _)| *counter == name).map(|(_, count)| count).sum()
}

/// The counters of each service and route, over all shards.
pub(super) fn by_route(snapshots: &[Snapshot]) -> HashMap<(&str, &str), Vec<&RouteSnapshot>> {
    let mut routes: HashMap<_, Vec<_>> = HashMap::new();
    for route in snapshots.iter().flat_map(|snapshot| &snapshot.routes) {
        routes.entry((route.service.as_str(), route.route.as_str())).or_default().push(route);
    }
    routes
}
