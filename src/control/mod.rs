//! The control plane: one thread, one loop over one closed enum of events.
//!
//! ```text
//!   access_log.rs  the writer of the access log       names.rs    which names, how they stand, when to ask again
//!   admin/         the Admin API                      probe/      asks targets how they are
//!   board.rs       what the Admin API can see         restart.rs  what a reload cannot apply
//!   dns.rs         asks for names                     roster.rs   the members of upstreams, over reloads
//!   health.rs      how targets are, as data           sink.rs     where log lines end
//!   journal.rs     the program's own log              store.rs    entities as they were written
//!   keys.rs        fetches the keys of issuers        systemd.rs  tells the supervisor
//!   life.rs      ★ the loop                           watch.rs    notices changed files
//! ```
//!
//! `boot` lends it [`Hands`] and calls [`run`]; nothing here knows how shards, files or plugins are made. The loop never
//! waits: reading files, compiling tables and asking shards for counters happen on threads of the blocking pool, and each
//! comes back as an event.

pub mod access_log;
mod admin;
mod board;
mod dns;
mod health;
pub mod journal;
mod keys;
mod life;
mod names;
mod probe;
mod restart;
mod roster;
pub mod sink;
mod store;
mod systemd;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watch;

pub use board::Reading;
pub use watch::{look, Look, Watched};

use crate::auth::issuer::Issuers;
use crate::bus::{FromShard, Shards};
use crate::hook::{Descriptor, ThisNode};
use crate::plan::record::Written;
use crate::plan::report::Report;
use crate::plan::Plan;
use crate::tls::ServerConfig;
use arc_swap::ArcSwap;
use journal::Journal;
use sink::Reopen;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

/// What the control thread works with.
pub struct Hands {
    /// The shards; their threads run, and serve once something was published.
    pub shards: Arc<dyn Shards>,
    /// Reads the configuration anew; called on a thread that may block.
    pub load: Arc<Load>,
    /// What was read at the start.
    pub first: First,
    /// The other end of the [`Line`]s.
    pub inbox: Inbox,
    /// Reopens log files (SIGUSR1).
    pub reopen: Reopen,
    /// The program's own log, where it was started: its level follows the configuration.
    pub journal: Option<Journal>,
    /// The issuers whose keys plugins need.
    pub issuers: Arc<Issuers>,
    /// Counters beside those of the shards.
    pub readings: Vec<Reading>,
    /// What handshakes of the Admin API are made by.
    pub doors: Arc<Doors>,
    /// This process, for the Admin API.
    pub node: Arc<ThisNode>,
    /// The plugins there are, likewise.
    pub descriptors: &'static [Descriptor],
}

/// What handshakes of the Admin API are made by, by address; changed by whoever publishes a configuration.
pub type Doors = ArcSwap<HashMap<SocketAddr, Arc<ServerConfig>>>;

/// Reads the configuration: the files, or their settings and the entities of a text that was handed in.
pub type Load = dyn Fn(Option<&str>) -> Loaded + Send + Sync;

/// The configuration the process starts with.
pub struct First {
    /// Linked, not yet published.
    pub plan: Arc<Plan>,
    /// What was found in it, warnings only.
    pub report: Report,
    /// The files it came from.
    pub files: Watched,
    /// Its entities as they were written.
    pub written: Written,
}

/// What reading the configuration gave.
#[derive(Debug)]
pub struct Loaded {
    /// The plan, where it can be served.
    pub plan: Option<Plan>,
    /// Everything that was found.
    pub report: Report,
    /// The files to watch.
    pub files: Watched,
    /// The entities as they were written.
    pub written: Written,
}

/// A way to tell the loop something from any thread; never blocks.
#[derive(Clone, Debug)]
pub struct Line(UnboundedSender<life::Event>);

/// Where what was said on the [`Line`]s waits for the loop.
#[derive(Debug)]
pub struct Inbox {
    line: Line,
    // Unbounded: shards say three things in their lives, and every other event answers something the loop started.
    events: UnboundedReceiver<life::Event>,
}

impl Line {
    /// A line and its other end.
    pub fn new() -> (Line, Inbox) {
        let (sender, events) = unbounded_channel();
        let line = Line(sender);
        (line.clone(), Inbox { line, events })
    }

    /// Passes on what a shard says.
    pub fn tell(&self, message: FromShard) {
        self.say(life::Event::Shard(message));
    }

    /// Asks for an orderly end, as SIGTERM does.
    pub fn stop(&self) {
        self.say(life::Event::Signal(life::Signal::Stop));
    }

    fn say(&self, event: life::Event) {
        // Nobody listens any more: the process is ending.
        let _ = self.0.send(event);
    }
}

/// Runs the control plane on the calling thread until the process is to end. The caller then flushes logs and exits; it
/// must not wait for shards, which may be stuck.
///
/// 0: told to end, and everything in flight was finished or the drain timeout passed. 1: a shard died, the first
/// configuration could not be published, the Admin API could not listen, or a second signal cut the drain short.
pub fn run(hands: Hands) -> ExitCode {
    match life::run(hands) {
        life::Ending::Drained => ExitCode::SUCCESS,
        life::Ending::Forced | life::Ending::Broken => ExitCode::FAILURE,
    }
}
