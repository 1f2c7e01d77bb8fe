//! Wiring: the only file that knows configuration, plugins, the control plane and the shards together.

use crate::auth::issuer::Issuers;
use crate::base::limits::MAILBOX_MESSAGES_MAX;
use crate::bus::{Endpoints, FromShard, Gauges, Shards, Snapshot, ToShard};
use crate::control::access_log::AccessLog;
use crate::control::journal::Journal;
use crate::control::sink::Reopen;
use crate::control::{self, First, Hands, Inbox, Line, Load};
use crate::hook::{Descriptor, Shelf, ThisNode};
use crate::io::listen::{self, Bound};
use crate::io::mailbox::{mailbox, Seat, Sender};
use crate::io::runtime::{self, Wait};
use crate::plan::{self, Driver, Listener, Plan, Runtime};
use crate::shard::{self, Tables};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The plugins there are.
pub fn descriptors() -> &'static [Descriptor] {
    crate::plugins::ALL
}

/// What a gateway is started with.
pub struct Start {
    /// The configuration it starts with.
    pub first: First,
    /// Reads it anew.
    pub load: Arc<Load>,
    /// To tell the control thread something.
    pub line: Line,
    /// Its other end.
    pub inbox: Inbox,
    /// Reopens log files.
    pub reopen: Reopen,
    /// The program's own log.
    pub journal: Option<Journal>,
}

/// Starts the shards, runs the control plane on the calling thread, and returns when the process is to end.
pub fn serve(start: Start) -> ExitCode {
    let plan = start.first.plan.clone();
    let files = listen::raise_file_limit();
    let runtime = &plan.node.runtime;
    let Some(wait) = driver(runtime) else { return ExitCode::FAILURE };
    let cpus = cpus(&runtime.shards);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        shards = cpus.len(),
        driver = wait.word(),
        open_files = files,
        "ringway starts"
    );
    let Some(bound) = bind(&plan.listeners, cpus.len()) else { return ExitCode::FAILURE };
    let parts = (0..cpus.len()).map(|_| mailbox(MAILBOX_MESSAGES_MAX)).collect::<std::io::Result<Vec<_>>>();
    let (senders, seats): (Vec<Sender<_>>, Vec<Seat<_>>) = match parts {
        Ok(parts) => parts.into_iter().unzip(),
        Err(error) => {
            tracing::error!("cannot make mailboxes: {error}");
            return ExitCode::FAILURE;
        }
    };
    let gauges: Vec<Arc<Gauges>> = cpus.iter().map(|_| Arc::default()).collect();

    let (mut rings, mut readers) = (Vec::new(), Vec::new());
    for _ in &cpus {
        let (ring, reader) = rtrb::RingBuffer::new((runtime.log_ring_bytes as usize).max(2 * shard::LINE_BYTES_MAX));
        rings.push(plan.node.access_log.as_ref().map(|_| ring));
        readers.push(reader);
    }
    let mut readings = Vec::new();
    let access_log = match &plan.node.access_log {
        None => None,
        Some(log) => match AccessLog::start(&log.path, readers, &start.reopen) {
            Ok(log) => {
                let (lost, errors) = (log.tally(), log.tally());
                let lost: control::Reading =
                    ("access_log_lines_lost_total", Box::new(move || lost.lines_lost.load(Ordering::Relaxed)));
                let errors: control::Reading =
                    ("access_log_write_errors_total", Box::new(move || errors.errors.load(Ordering::Relaxed)));
                readings.extend([lost, errors]);
                Some(log)
            }
            Err(error) => {
                tracing::error!("cannot open the access log {:?}: {error}", log.path);
                return ExitCode::FAILURE;
            }
        },
    };

    let seed = RandomState::new();
    for (index, (((cpu, seat), listeners), log)) in cpus.iter().zip(seats).zip(bound).zip(rings).enumerate() {
        let mut hasher = seed.build_hasher();
        hasher.write_usize(index);
        let (seed, cpu) = (hasher.finish(), *cpu);
        let (runtime, senders, gauges, line) = (runtime.clone(), senders.clone(), gauges.clone(), start.line.clone());
        let body = move || {
            let told = line.clone();
            let report = Box::new(move |message| told.tell(message));
            let ended = shard::run(shard::Start {
                index,
                cpu: if runtime.pin { cpu } else { None },
                wait,
                runtime,
                listeners,
                seat,
                shards: senders,
                gauges,
                log,
                seed,
                report,
            });
            let reason = ended.err().map_or_else(|| "its mailbox was closed".to_owned(), |error| error.to_string());
            line.tell(FromShard::Died { shard: index, reason });
        };
        let line = start.line.clone();
        let guarded = move || {
            let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            if panic.is_err() {
                line.tell(FromShard::Died { shard: index, reason: "it panicked".to_owned() });
            }
        };
        if let Err(error) = std::thread::Builder::new().name(format!("shard-{index}")).spawn(guarded) {
            tracing::error!("cannot start the thread of shard {index}: {error}");
            return ExitCode::FAILURE;
        }
    }

    // What is served may be another plan soon; this one's consumers are not to be kept.
    drop(plan);
    let expiry = Arc::new(AtomicU64::new(0));
    let soonest = expiry.clone();
    readings.push(("certificates_expiry_seconds", Box::new(move || soonest.load(Ordering::Relaxed))));
    let broken = Arc::new(AtomicU64::new(0));
    let broken_now = broken.clone();
    readings.push(("certificates_broken", Box::new(move || broken_now.load(Ordering::Relaxed))));
    let shelf = Shelf::default();
    let node = shelf.take_or(|| ThisNode { id: uuid::Uuid::new_v4(), hostname: runtime::hostname() });
    let issuers: Arc<Issuers> = shelf.take_or(Issuers::default);
    type Counter = fn(&Issuers) -> &AtomicU64;
    let counters: [(&str, Counter); 3] = [
        ("jwks_fetches_total", |issuers| &issuers.fetches),
        ("jwks_fetch_failures_total", |issuers| &issuers.failures),
        ("jwks_keys_ignored_total", |issuers| &issuers.ignored),
    ];
    readings.extend(counters.map(|(name, counter)| -> control::Reading {
        let issuers = issuers.clone();
        (name, Box::new(move || counter(&issuers).load(Ordering::Relaxed)))
    }));
    let doors: Arc<control::Doors> = Arc::default();
    let fleet = Fleet { expiry, expiries: Mutex::default(), broken, doors: doors.clone(), senders, gauges, shelf };
    let code = control::run(Hands {
        shards: Arc::new(fleet),
        load: start.load,
        first: start.first,
        inbox: start.inbox,
        reopen: start.reopen,
        journal: start.journal,
        issuers,
        readings,
        doors,
        node,
        descriptors: descriptors(),
    });
    if let Some(log) = access_log {
        if !log.stop() {
            tracing::warn!("the access log could not be written to its end");
        }
    }
    code
}

/// What the shards wait with; `None` where the plan insists on io_uring and there is none.
fn driver(runtime: &Runtime) -> Option<Wait> {
    if runtime.driver == Driver::Epoll {
        return Some(Wait::Epoll);
    }
    match runtime::probe_uring(runtime.ring_entries) {
        Ok(()) => Some(Wait::Uring),
        Err(error) if runtime.driver == Driver::Uring => {
            tracing::error!("io_uring is asked for and is not to be had: {}", runtime::why_no_uring(&error));
            None
        }
        Err(error) => {
            tracing::warn!("serving by epoll, since io_uring is not to be had: {}", runtime::why_no_uring(&error));
            Some(Wait::Epoll)
        }
    }
}

/// A shard for each; `None` where there is no CPU to pin it to.
fn cpus(shards: &plan::Shards) -> Vec<Option<usize>> {
    let mine = runtime::cpus();
    match shards {
        plan::Shards::Auto if mine.is_empty() => vec![None],
        plan::Shards::Auto => mine.into_iter().map(Some).collect(),
        // More shards than CPUs share them in turn: a test of many shards on a small machine.
        plan::Shards::Count(count) => {
            (0..(*count).max(1) as usize).map(|at| mine.get(at % mine.len().max(1)).copied()).collect()
        }
        plan::Shards::Cpus(cpus) => cpus.iter().map(|&cpu| Some(cpu as usize)).collect(),
    }
}

/// Binds every listener once per shard, before anything else starts; says every address that cannot be had.
fn bind(listeners: &[Listener], shards: usize) -> Option<Vec<Vec<(Arc<Listener>, Bound)>>> {
    let mut of_shard: Vec<Vec<(Arc<Listener>, Bound)>> = (0..shards).map(|_| Vec::new()).collect();
    let mut failed = false;
    for listener in listeners {
        let mut listener = Arc::new(listener.clone());
        let addr = listener.bind.addr;
        if addr.port() != 0 && listen::is_taken(addr) {
            tracing::error!("{addr} ({}) is taken by another process", listener.name);
            failed = true;
            continue;
        }
        for of_shard in &mut of_shard {
            let bound = listen::bind(listener.bind.addr).and_then(|bound| bound.addr().map(|addr| (bound, addr)));
            match bound {
                Ok((bound, addr)) => {
                    // Port 0: the kernel chose one for the first shard, the others share it.
                    Arc::make_mut(&mut listener).bind.addr = addr;
                    of_shard.push((listener.clone(), bound));
                }
                Err(error) => {
                    tracing::error!("cannot listen on {addr} ({}): {error}", listener.name);
                    failed = true;
                    break;
                }
            }
        }
    }
    (!failed).then_some(of_shard)
}

/// The shards, as the control thread sees them.
struct Fleet {
    /// When the first of the certificates ends that are shown, seconds of the wall clock; 0 where none is.
    expiry: Arc<AtomicU64>,
    /// All of them, by name.
    expiries: Mutex<Vec<(String, i64)>>,
    /// How many are shown in the place of broken files.
    broken: Arc<AtomicU64>,
    /// What handshakes of the Admin API are made by.
    doors: Arc<control::Doors>,
    senders: Vec<Sender<ToShard<Tables>>>,
    gauges: Vec<Arc<Gauges>>,
    /// What outlives a reload: counters of limits, cursors of upstreams.
    shelf: Shelf,
}

impl Fleet {
    /// Posts to every shard; a full mailbox is waited for, a little.
    fn tell(&self, message: impl Fn() -> ToShard<Tables>) {
        for (index, sender) in self.senders.iter().enumerate() {
            let until = Instant::now() + Duration::from_secs(5);
            let mut left = message();
            while let Err(back) = sender.post(left) {
                if Instant::now() > until {
                    tracing::error!(shard = index, "the shard's mailbox is full: it does not hear the control plane");
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
                left = back;
            }
        }
    }
}

impl Shards for Fleet {
    fn publish(&self, plan: Arc<Plan>, endpoints: Arc<Endpoints>) -> Result<(), Vec<String>> {
        let tables = Tables::compile(plan, descriptors(), &self.shelf)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let tables = Arc::new(tables);
        let soonest = tables.secure.expiries.iter().map(|(_, end)| *end).min().unwrap_or(0);
        self.expiry.store(u64::try_from(soonest).unwrap_or(0), Ordering::Relaxed);
        *self.expiries.lock().unwrap_or_else(PoisonError::into_inner) = tables.secure.expiries.clone();
        self.broken.store(tables.secure.broken, Ordering::Relaxed);
        self.doors.store(Arc::new(tables.secure.admin.clone()));
        self.tell(|| ToShard::Endpoints(endpoints.clone()));
        self.tell(|| ToShard::Publish(tables.clone()));
        Ok(())
    }

    fn refresh(&self, endpoints: Arc<Endpoints>) {
        self.tell(|| ToShard::Endpoints(endpoints.clone()));
    }

    fn drain(&self) {
        self.tell(|| ToShard::Drain);
    }

    fn snapshots(&self, wait_ms: u64) -> Vec<Snapshot> {
        let (answer, answers) = sync_channel(self.senders.len());
        let asked = self.senders.iter().filter(|sender| sender.post(ToShard::Scrape(answer.clone())).is_ok()).count();
        let until = Instant::now() + Duration::from_millis(wait_ms);
        (0..asked).map_while(|_| answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok()).collect()
    }

    fn expiries(&self) -> Vec<(String, i64)> {
        self.expiries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn gauges(&self) -> &[Arc<Gauges>] {
        &self.gauges
    }
}
