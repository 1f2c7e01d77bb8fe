//! The life of a node, as one loop over one closed enum: start, serve, reload, drain, end.
//!
//! A configuration travels through [`Step`]: read, wait for names nobody knows yet (bounded), compile and publish, done.
//! One travels at a time; a reload that is asked for meanwhile starts when it has arrived.

use super::admin;
use super::board::{Board, LastReload, NameView, Phase, Reloads, ShardView, View};
use super::dns::Dns;
use super::journal::Journal;
use super::keys::Keeper;
use super::names::{self, Answer, Book, Question, Standing};
use super::probe::Prober;
use super::restart::{self, SetUp};
use super::roster::{self, Roster};
use super::sink::Reopen;
use super::store::Store;
use super::watch::{stamp, Stir, Watch, Watched};
use super::{systemd, First, Hands, Line, Load, Loaded};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::span::Span;
use crate::base::time::{Millis, WallMs};
use crate::bus::{Endpoints, FromShard, Shards};
use crate::plan::record::Written;
use crate::plan::report::{Finding, Report, Severity};
use crate::plan::Plan;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Everything that can happen to a node.
#[derive(Debug)]
pub(super) enum Event {
    /// The system, or [`Line::stop`], wants something.
    Signal(Signal),
    /// Something happened in a folder of config files, and it is quiet now.
    Stirred,
    /// A configuration was handed in.
    Posted(Post),
    /// The configuration was read.
    Loaded(Box<Loaded>, Arc<Store>, Option<Reply>),
    /// A name was answered, or was not.
    Answered(Question, Answer),
    /// Tables were compiled and given to the shards, or a plugin refused its configuration.
    Published(Result<(), Vec<String>>),
    /// New addresses were given to the shards.
    Refreshed,
    /// A shard speaks.
    Shard(FromShard),
    /// Something is due: a name, the end of a wait.
    Due,
}

/// What a node can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM, SIGINT: end; the second time at once.
    Stop,
    /// SIGHUP: read the configuration, the hosts file and the DNS settings anew.
    Reload,
    /// SIGUSR1: open log files anew.
    Reopen,
}

/// A configuration that was handed in: a declarative text whose entities take the place of the files'.
///
/// It goes the way of a reload. The files win again when one of them changes, on SIGHUP, and after a restart; when a file
/// changes that is only named, by a setting or by the text, the text is read again.
#[derive(Debug)]
pub(super) struct Post {
    /// The text.
    pub(super) text: String,
    /// Where the answer goes.
    pub(super) reply: Reply,
}

/// Takes the answer to a [`Post`]; nobody may wait for it any more.
pub(super) type Reply = oneshot::Sender<Posted>;

/// What became of a configuration that was handed in.
#[derive(Debug)]
pub(super) enum Posted {
    /// Every shard serves it.
    Served(Arc<Store>),
    /// It has faults, of its own or, as sentences, in what plugins made of it. What was served before still is.
    Refused(Report, Vec<String>),
    /// Another one that was handed in is on its way.
    Busy,
    /// The process is ending.
    Ending,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Drained,
    /// Cut short by a second signal.
    Forced,
    /// By a fault of our own, which was logged.
    Broken,
}

/// Where the configuration on its way is.
enum Step {
    /// None is.
    Rest,
    /// Being read.
    Loading,
    /// Waits for names until `until` at most.
    Resolving { next: Next, until: Millis },
    /// Being compiled and given to the shards.
    Publishing { next: Next, endpoints: Arc<Endpoints> },
}

/// Where a configuration comes from.
enum Origin {
    /// From the files.
    Files,
    /// From a text that is served already: something that it names has changed.
    Renewed(Arc<str>),
    /// From a text that was handed in.
    Posted(Arc<str>),
}

impl Origin {
    fn text(&self) -> Option<&Arc<str>> {
        match self {
            Origin::Files => None,
            Origin::Renewed(text) | Origin::Posted(text) => Some(text),
        }
    }
}

/// A configuration that sets out when the one on its way has arrived.
enum Wanted {
    /// That of the files.
    Files,
    /// What is served, read again.
    Renewed,
    /// One that was handed in.
    Posted(Post),
}

/// A configuration on its way.
struct Next {
    plan: Arc<Plan>,
    report: Report,
    store: Arc<Store>,
    questions: BTreeSet<Question>,
    is_first: bool,
    /// What it was read from, where that is to be watched once it is served.
    files: Option<Watched>,
    /// Who handed it in and waits.
    reply: Option<Reply>,
}

/// See [`super::run`].
pub(super) fn run(hands: Hands) -> Ending {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // The threads of blocking work: configurations are read and tables compiled there.
        .on_thread_start(crate::io::runtime::step_back)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the control thread cannot be set up");
            return Ending::Broken;
        }
    };
    let ending = runtime.block_on(async {
        match Life::begin(hands) {
            Ok((mut life, events)) => life.go(events).await,
            Err(reason) => {
                tracing::error!("{reason}");
                Ending::Broken
            }
        }
    });
    // A compilation may be under way on the blocking pool; the end does not wait for it.
    runtime.shutdown_background();
    ending
}

struct Life {
    shards: Arc<dyn Shards>,
    load: Arc<Load>,
    line: Line,
    board: Arc<Board>,
    reopen: Reopen,
    journal: Option<Journal>,
    watch: Watch,
    dns: Dns,
    keeper: Keeper,
    book: Book,
    roster: Roster,
    prober: Prober,
    rng: Rng,
    born: Instant,
    /// What threads and sockets were set up by: a reload is compared with this to see what it cannot change.
    running: SetUp,
    /// What the shards serve by; the first plan before they do.
    served: Arc<Plan>,
    /// Invariant: the endpoints that every shard was given last.
    sent: Arc<Endpoints>,
    files: Watched,
    /// The text that is served in the place of the files' entities, where one is; it may be as large as a file.
    posted: Option<Arc<str>>,
    step: Step,
    /// Are new addresses on their way to the shards? One post at a time, of addresses or of tables, so that an older one
    /// never arrives after a newer.
    refreshing: bool,
    /// Has an answer come in that the shards and the board have not seen?
    names_changed: bool,
    /// Where the configuration on its way comes from.
    origin: Origin,
    /// Is there an Admin API that entities are shown by? Reloads do not change that.
    is_shown: bool,
    /// What was asked for meanwhile, in that order; of each kind once.
    wanted: VecDeque<Wanted>,
    /// Until when to wait for shards before saying what listens where; `None` once it was said.
    introduce_by: Option<Millis>,
    /// When certificates are looked at again that end soon.
    expiry_at: Millis,
    /// When draining ends; `None` while serving.
    drain_by: Option<Millis>,
}

impl Life {
    /// Binds the Admin API, starts the sources of events, and sets the first configuration on its way.
    ///
    /// # Errors
    /// A sentence: why the Admin API cannot listen.
    fn begin(hands: Hands) -> Result<(Life, UnboundedReceiver<Event>), String> {
        let Hands { shards, load, first, inbox, reopen, journal, issuers, readings, doors, node, descriptors } = hands;
        let First { plan, report, files, written } = first;
        let is_shown = !plan.node.admin.is_empty();
        let store = Arc::new(stored(written, is_shown));
        let line = inbox.line;
        listen_to_signals(&line);
        let (mut watch, stir) = Watch::new();
        watch.follow(&files.paths);
        if stamp(&files.paths) != files.stamp {
            // Since it was read; nobody watched it then.
            line.say(Event::Stirred);
        }
        tokio::spawn(pass_on(stir, line.clone()));
        let board = Arc::new(Board::new(
            View {
                phase: Phase::Starting,
                plan: plan.clone(),
                is_posted: false,
                store: store.clone(),
                endpoints: Arc::default(),
                files: files.paths.clone(),
                published: None,
                reloads: Reloads::default(),
                restart: Vec::new(),
                shards: vec![ShardView::default(); shards.gauges().len()],
                names: Arc::default(),
                refreshes: 0,
                lookups: Default::default(),
            },
            shards.clone(),
            readings,
        ));
        admin::start(&plan.node, admin::Desk::new(&board, &line, descriptors, node), &reopen, &doors)?;
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let dns = Dns::new(&plan.node.dns_servers);
        let mut life = Life {
            shards,
            load,
            line,
            board,
            reopen,
            journal,
            watch,
            keeper: Keeper::start(issuers, &dns),
            dns,
            book: Book::default(),
            roster: Roster::default(),
            prober: Prober::start(),
            rng: Rng::new(seed),
            born: Instant::now(),
            running: SetUp::of(&plan),
            served: plan.clone(),
            sent: Arc::default(),
            files,
            posted: None,
            step: Step::Rest,
            refreshing: false,
            names_changed: false,
            origin: Origin::Files,
            is_shown,
            wanted: VecDeque::new(),
            introduce_by: None,
            // What is loaded is looked at as it is loaded.
            expiry_at: Millis(limits::EXPIRY_WARNING_MS),
            drain_by: None,
        };
        life.resolve(Next {
            plan,
            report,
            store,
            questions: BTreeSet::new(),
            is_first: true,
            files: None,
            reply: None,
        });
        Ok((life, inbox.events))
    }

    async fn go(&mut self, mut events: UnboundedReceiver<Event>) -> Ending {
        loop {
            if self.names_changed && events.is_empty() {
                self.on_names_changed();
            }
            self.ask_due();
            let event = tokio::select! {
                // The line is ours as well, so the channel never closes.
                event = events.recv() => event.unwrap_or(Event::Due),
                () = self.until_due() => Event::Due,
            };
            if let Some(ending) = self.on(event) {
                return ending;
            }
        }
    }

    fn on(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::Signal(Signal::Stop) => return self.on_stop(),
            Event::Signal(Signal::Reload) => {
                tracing::info!("told to reload");
                self.renew_dns();
                self.book.hurry(self.now());
                self.reload();
            }
            Event::Signal(Signal::Reopen) => {
                self.reopen.all();
                tracing::info!("log files are opened anew");
            }
            Event::Stirred => self.on_stirred(),
            Event::Posted(post) => self.on_post(post),
            Event::Loaded(loaded, store, reply) => self.on_loaded(*loaded, store, reply),
            Event::Answered(question, answer) => self.on_answered(&question, answer),
            Event::Published(result) => return self.on_published(result),
            Event::Refreshed => {
                self.refreshing = false;
                self.names_changed = true;
                self.publish_if_resolved();
            }
            Event::Shard(message) => return self.on_shard(message),
            Event::Due => return self.on_due(),
        }
        None
    }

    // ---- A configuration on its way ----

    fn on_stirred(&mut self) {
        // Folders hold other files, too; a stamp is far cheaper than reading and linking everything.
        let (now, own) = (stamp(&self.files.paths), self.files.own);
        if now[..own] != self.files.stamp[..own] {
            tracing::info!("a config file has changed");
            self.reload();
        } else if now != self.files.stamp {
            tracing::info!("a file that the configuration names has changed");
            self.renew();
        }
    }

    fn reload(&mut self) {
        if self.drain_by.is_some() {
            return;
        }
        if !matches!(self.step, Step::Rest) {
            if !self.wanted.iter().any(|wanted| matches!(wanted, Wanted::Files)) {
                self.wanted.push_back(Wanted::Files);
            }
            return;
        }
        self.read(Origin::Files, None);
    }

    /// Has what is served read again, wherever it comes from.
    fn renew(&mut self) {
        if !matches!(self.step, Step::Rest) {
            if !self.wanted.iter().any(|wanted| matches!(wanted, Wanted::Renewed)) {
                self.wanted.push_back(Wanted::Renewed);
            }
            return;
        }
        match &self.posted {
            Some(text) if self.drain_by.is_none() => self.read(Origin::Renewed(text.clone()), None),
            _ => self.reload(),
        }
    }

    fn on_post(&mut self, post: Post) {
        if self.drain_by.is_some() {
            return answer(Some(post.reply), || Posted::Ending);
        }
        if matches!(self.origin, Origin::Posted(_))
            || self.wanted.iter().any(|wanted| matches!(wanted, Wanted::Posted(_)))
        {
            return answer(Some(post.reply), || Posted::Busy);
        }
        if !matches!(self.step, Step::Rest) {
            return self.wanted.push_back(Wanted::Posted(post));
        }
        let Post { text, reply } = post;
        tracing::info!(bytes = text.len(), "a configuration was handed in");
        self.read(Origin::Posted(text.into()), Some(reply));
    }

    /// Has the files read, or a text beside their settings.
    fn read(&mut self, origin: Origin, reply: Option<Reply>) {
        self.step = Step::Loading;
        // What is seen now is being read, and no reason to read it once more. A text leaves the files alone whose change
        // ends it: one that has changed since is still to be noticed.
        let now = stamp(&self.files.paths);
        let read_from = match origin {
            Origin::Files => 0,
            Origin::Renewed(_) => self.files.own,
            Origin::Posted(_) => now.len(),
        };
        self.files.stamp[read_from..].copy_from_slice(&now[read_from..]);
        let text = origin.text().cloned();
        self.origin = origin;
        let (load, line, files, is_shown) = (self.load.clone(), self.line.clone(), self.files.clone(), self.is_shown);
        tokio::spawn(async move {
            let read = move || {
                let mut loaded = load(text.as_deref());
                let written = std::mem::take(&mut loaded.written);
                let store = stored(written, is_shown);
                (loaded, store)
            };
            let (loaded, store) = tokio::task::spawn_blocking(read).await.unwrap_or_else(|panic| {
                let mut report = Report::default();
                report.fault(&Span::nowhere(), "", format!("reading the configuration failed: {panic}"), "");
                (Loaded { plan: None, report, files, written: Written::default() }, Store::default())
            });
            line.say(Event::Loaded(Box::new(loaded), Arc::new(store), reply));
        });
    }

    fn on_loaded(&mut self, loaded: Loaded, store: Arc<Store>, reply: Option<Reply>) {
        // A text may still be refused when tables are made of it. Files are watched at once: they are mended by changing them.
        let is_sound = loaded.plan.is_some() && loaded.report.is_clean();
        let mut files = Some(loaded.files);
        if let Some(read) = files.take_if(|_| !is_sound || matches!(self.origin, Origin::Files)) {
            self.note(read, is_sound);
        }
        if self.drain_by.is_some() {
            return answer(reply, || Posted::Ending);
        }
        log_findings(&loaded.report);
        let plan = match loaded.plan {
            Some(plan) if loaded.report.is_clean() => plan,
            _ => return self.refuse(loaded.report, Vec::new(), reply),
        };
        if plan.hash == self.served.hash {
            tracing::info!(hash = plan.hash, "the configuration is the one being served");
            let report = loaded.report;
            if let Some(read) = files {
                self.note(read, true);
            }
            self.posted = self.origin.text().cloned();
            self.board.change(|view| {
                view.is_posted = self.posted.is_some();
                view.reloads.unchanged += 1;
                view.reloads.last = Some(LastReload::now(true, &report.sorted(), &[]));
            });
            answer(reply, || Posted::Served(store));
            return self.rest();
        }
        let (plan, questions) = (Arc::new(plan), BTreeSet::new());
        self.resolve(Next { plan, report: loaded.report, store, questions, is_first: false, files, reply });
    }

    /// Watches the files that were read for the configuration on its way.
    fn note(&mut self, mut read: Watched, is_sound: bool) {
        if !is_sound && !matches!(self.origin, Origin::Files) {
            // A text that is refused leaves what is served as it is, and its files watched.
            let looks: HashMap<_, _> = read.paths.iter().zip(&read.stamp).collect();
            let named = self.files.paths.iter().zip(&mut self.files.stamp).skip(self.files.own);
            for (path, seen) in named.filter(|_| matches!(self.origin, Origin::Renewed(_))) {
                *seen = looks.get(path).map_or(*seen, |look| **look);
            }
            return;
        }
        // Even the same files may be reached by other folders now.
        self.watch.follow(&read.paths);
        if stamp(&read.paths) != read.stamp {
            // Since it was read; nobody may have watched it then.
            self.line.say(Event::Stirred);
        }
        if !matches!(self.origin, Origin::Files) {
            for (path, seen) in read.paths.iter().zip(&mut read.stamp).take(read.own) {
                let held = self.files.paths.iter().take(self.files.own).position(|held| held == path);
                *seen = held.map_or(*seen, |at| self.files.stamp[at]);
            }
        }
        self.files = read;
    }

    fn refuse(&mut self, report: Report, more: Vec<String>, reply: Option<Reply>) {
        let faults = report.findings.iter().filter(|finding| finding.severity == Severity::Fault).count() + more.len();
        tracing::error!(faults, serving = self.served.hash, "the new configuration is refused; the old one serves on");
        self.board.change(|view| {
            view.reloads.failure += 1;
            view.reloads.last = Some(LastReload::now(false, &report.sorted(), &more));
        });
        answer(reply, || Posted::Refused(report, more));
        self.rest();
    }

    /// Asks for the names of a plan that are not known yet, and waits for them a while.
    fn resolve(&mut self, mut next: Next) {
        next.questions = names::questions(&next.plan);
        self.book.add(&next.questions, self.now());
        let until = Millis(self.now().0 + limits::RESOLVE_WAIT_MS);
        self.step = Step::Resolving { next, until };
        self.publish_if_resolved();
    }

    fn publish_if_resolved(&mut self) {
        let Step::Resolving { next, until } = &self.step else { return };
        if self.refreshing || (self.book.waits_for(&next.questions) && self.now() < *until) {
            return;
        }
        let Step::Resolving { next, .. } = std::mem::replace(&mut self.step, Step::Rest) else { return };
        let endpoints = Arc::new(self.book.endpoints(&next.plan, &mut self.roster));
        let (shards, line, plan, given) =
            (self.shards.clone(), self.line.clone(), next.plan.clone(), endpoints.clone());
        tokio::spawn(async move {
            let publish = move || {
                shards.publish(plan, given)?;
                // A shard reads its mailbox in order: once it has answered this it serves by the new tables, and whoever
                // is told that they are served finds them so. One that is stuck is not waited for.
                shards.snapshots(limits::SCRAPE_WAIT_MS);
                Ok(())
            };
            let result = tokio::task::spawn_blocking(publish).await;
            line.say(Event::Published(result.unwrap_or_else(|panic| Err(vec![format!("compiling failed: {panic}")]))));
        });
        self.step = Step::Publishing { next, endpoints };
    }

    fn on_published(&mut self, result: Result<(), Vec<String>>) -> Option<Ending> {
        let Step::Publishing { mut next, endpoints } = std::mem::replace(&mut self.step, Step::Rest) else {
            return None;
        };
        if let Some(read) = next.files.take() {
            self.note(read, result.is_ok());
        }
        if let Err(reasons) = result {
            for reason in &reasons {
                tracing::error!("{reason}");
            }
            if next.is_first {
                tracing::error!("the configuration cannot be served");
                return Some(Ending::Broken);
            }
            self.refuse(next.report, reasons, next.reply);
            return None;
        }
        let before = std::mem::replace(&mut self.served, next.plan.clone());
        self.sent = endpoints;
        roster::release(&before, &self.served, &self.sent);
        self.book.keep(&next.questions, &self.served, self.now());
        self.follow();
        if before.node.dns_servers != self.served.node.dns_servers {
            self.renew_dns();
            self.book.hurry(self.now());
        }
        if let Some(journal) = self.journal.as_ref().filter(|_| before.node.log_level != self.served.node.log_level) {
            journal.set_level(self.served.node.log_level);
        }
        drop(before);
        let restart = restart::needed(&self.running, &self.served);
        if !restart.is_empty() {
            tracing::warn!(settings = restart.join(", "), "these changes need a restart; everything else is applied");
        }
        let plan = &self.served;
        let (routes, services, plugins) = (plan.routes.len(), plan.services.len(), plan.plugins.len());
        tracing::info!(hash = plan.hash, routes, services, plugins, "the configuration is served");
        self.posted = self.origin.text().cloned();
        self.board.change(|view| {
            if view.phase == Phase::Starting {
                view.phase = Phase::Serving;
            }
            view.plan = self.served.clone();
            view.is_posted = self.posted.is_some();
            view.store = next.store.clone();
            view.endpoints = self.sent.clone();
            view.files.clone_from(&self.files.paths);
            view.published = Some(SystemTime::now());
            view.reloads.success += u64::from(!next.is_first);
            view.reloads.last = Some(LastReload::now(true, &next.report.sorted(), &[]));
            view.restart = restart;
        });
        if next.is_first {
            self.introduce_by = Some(Millis(self.now().0 + limits::READY_WAIT_MS));
            self.introduce_if_ready();
        }
        answer(next.reply, || Posted::Served(next.store));
        // Names may have been answered while the tables were compiled.
        self.names_changed = true;
        self.rest();
        None
    }

    fn renew_dns(&mut self) {
        self.dns = Dns::new(&self.served.node.dns_servers);
        self.keeper.ask_by(&self.dns);
    }

    /// The configuration has arrived or was refused; the next one may set out.
    fn rest(&mut self) {
        self.step = Step::Rest;
        self.origin = Origin::Files;
        // What was read and what it was read from are gone, or will be with the last request that knows the old tables.
        tokio::task::spawn_blocking(crate::io::runtime::release_memory);
        match self.wanted.pop_front() {
            Some(Wanted::Files) => self.reload(),
            Some(Wanted::Renewed) => self.renew(),
            Some(Wanted::Posted(post)) => self.on_post(post),
            None => {}
        }
    }

    // ---- Names ----

    fn ask_due(&mut self) {
        for question in self.book.take_due(self.now()) {
            let (dns, line) = (self.dns.clone(), self.line.clone());
            tokio::spawn(async move {
                let answer = dns.ask(&question).await;
                line.say(Event::Answered(question, answer));
            });
        }
    }

    fn on_answered(&mut self, question: &Question, answer: Answer) {
        let ok = answer.is_ok();
        let now = self.now();
        let heard = self.book.on_answer(question, answer, now, &mut self.rng);
        if let (Some(heard), Some(entry)) = (heard, self.book.entry(question)) {
            let (name, error) = (question.name(), &entry.error);
            match (heard.before, entry.standing) {
                (before, after) if before == after => {}
                (_, Standing::Stale) => tracing::warn!(name, error, "cannot resolve; the last addresses are used on"),
                (_, Standing::Failed) => tracing::error!(name, error, "cannot resolve, and no address is known"),
                (Standing::Unasked, _) => tracing::debug!(name, addresses = entry.places.len(), "resolved"),
                (_, _) => tracing::info!(name, addresses = entry.places.len(), "resolved again"),
            }
            // Answers come in swarms; shards and board get the sum of them once the swarm is through.
            self.names_changed |= heard.moved || heard.before != entry.standing;
        }
        self.board.change(|view| {
            view.lookups.success += u64::from(ok);
            view.lookups.failure += u64::from(!ok);
        });
        self.publish_if_resolved();
    }

    /// A shard needs a name. One that is known already has been told, or is told by the next refresh.
    fn on_wanted(&mut self, name: String) {
        if !self.book.want(name, &self.served, self.now()) {
            tracing::warn!(most = limits::NAMES_WANTED_MAX, "too many names are asked for; one is not resolved");
        }
        // Static addresses need no answer to wait for.
        self.names_changed = true;
    }

    fn on_names_changed(&mut self) {
        self.names_changed = false;
        self.show_names();
        self.refresh();
    }

    /// Gives the shards new addresses if any are other than those they have.
    fn refresh(&mut self) {
        let is_served = self.board.view().phase != Phase::Starting;
        if !is_served || self.refreshing || matches!(self.step, Step::Publishing { .. }) {
            // What is on its way comes back here when it has arrived.
            return;
        }
        let endpoints = self.book.endpoints(&self.served, &mut self.roster);
        if endpoints == *self.sent {
            return;
        }
        let changed = endpoints.of.iter().filter(|(name, located)| self.sent.of.get(*name) != Some(located));
        let upstreams: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
        tracing::debug!(upstreams = upstreams.join(", "), "addresses have changed");
        self.sent = Arc::new(endpoints);
        self.refreshing = true;
        self.follow();
        self.board.change(|view| {
            view.refreshes += 1;
            view.endpoints = self.sent.clone();
        });
        let (shards, line, given) = (self.shards.clone(), self.line.clone(), self.sent.clone());
        // A shard that is slow to empty its mailbox makes the post wait; the loop does not.
        tokio::spawn(async move {
            let posted = tokio::task::spawn_blocking(move || shards.refresh(given)).await;
            if posted.is_err() {
                tracing::error!("giving new addresses to the shards failed");
            }
            line.say(Event::Refreshed);
        });
    }

    /// The members of what was sent are those that live on, and that are probed.
    fn follow(&mut self) {
        self.prober.follow(&self.served, &self.sent);
        self.roster.sweep();
    }

    fn show_names(&self) {
        let of = |(question, entry): (&Question, &names::Entry)| NameView {
            name: question.name().to_owned(),
            state: entry.standing.word(),
            addresses: entry.places.iter().map(|place| place.ip.to_string()).collect(),
            error: entry.error.clone(),
        };
        let names = self.book.iter().map(of).collect();
        self.board.change(|view| view.names = names);
    }

    // ---- Shards, and the end ----

    fn on_shard(&mut self, message: FromShard) -> Option<Ending> {
        match message {
            FromShard::Ready { shard, cpu, driver } => {
                self.change_shard(shard, |view| (view.ready, view.cpu, view.driver) = (true, cpu, driver));
                self.introduce_if_ready();
                None
            }
            FromShard::Drained { shard } => {
                self.change_shard(shard, |view| view.drained = true);
                let view = self.board.view();
                let all = view.shards.iter().all(|shard| shard.drained);
                if !(all && self.drain_by.is_some()) {
                    return None;
                }
                tracing::info!("everything in flight is finished");
                Some(Ending::Drained)
            }
            FromShard::Wanted { name } => {
                self.on_wanted(name);
                None
            }
            FromShard::Died { shard, reason } => {
                // With a shard gone its listeners are gone, too: the kernel would go on giving it clients. The process
                // ends at once, and whoever supervises it starts a whole one.
                tracing::error!(shard, reason, "a shard has died; the process ends");
                Some(Ending::Broken)
            }
        }
    }

    fn change_shard(&self, shard: usize, change: impl FnOnce(&mut ShardView)) {
        self.board.change(|view| {
            if let Some(shard) = view.shards.get_mut(shard) {
                change(shard);
            }
        });
    }

    fn on_stop(&mut self) -> Option<Ending> {
        if self.drain_by.is_some() {
            tracing::warn!(open = self.open_connections(), "told to end a second time; what is in flight is cut");
            return Some(Ending::Forced);
        }
        let timeout_ms = self.served.node.runtime.drain_timeout_ms;
        self.drain_by = Some(Millis(self.now().0.saturating_add(timeout_ms)));
        tracing::info!(open = self.open_connections(), timeout_ms, "told to end; finishing what is in flight");
        systemd::notify("STOPPING=1");
        self.board.change(|view| view.phase = Phase::Draining);
        let shards = self.shards.clone();
        tokio::task::spawn_blocking(move || shards.drain());
        (self.shards.gauges().is_empty()).then_some(Ending::Drained)
    }

    fn open_connections(&self) -> u64 {
        self.shards.gauges().iter().map(|gauges| gauges.connections.load(Ordering::Relaxed)).sum()
    }

    // ---- Time ----

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn on_due(&mut self) -> Option<Ending> {
        let now = self.now();
        if self.drain_by.is_some_and(|by| by <= now) {
            tracing::warn!(open = self.open_connections(), "the drain timeout has passed; what is in flight is cut");
            return Some(Ending::Drained);
        }
        if self.introduce_by.is_some_and(|by| by <= now) {
            self.introduce();
        }
        if self.expiry_at <= now {
            self.expiry_at = Millis(now.0 + limits::EXPIRY_WARNING_MS);
            for warning in ending_soon(&self.shards.expiries(), wall().seconds()) {
                tracing::warn!("{warning}");
            }
        }
        self.publish_if_resolved();
        None
    }

    async fn until_due(&self) {
        let wait = match &self.step {
            // While addresses are on their way their arrival is waited for, whatever the time.
            Step::Resolving { until, .. } if !self.refreshing => Some(*until),
            _ => None,
        };
        let due = [self.book.next_due(), wait, self.introduce_by, Some(self.expiry_at), self.drain_by]
            .into_iter()
            .flatten()
            .min();
        match due {
            // One more, since `now` is rounded down and would still be before it. A day at most: a wait that is
            // configured to be endless must not overflow the clock.
            Some(due) => {
                let wait = due.0.saturating_sub(self.now().0).saturating_add(1).min(86_400_000);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            None => std::future::pending().await,
        }
    }

    // ---- What listens where ----

    fn introduce_if_ready(&mut self) {
        if self.introduce_by.is_some() && self.board.view().shards.iter().all(|shard| shard.ready) {
            self.introduce();
        }
    }

    /// One line per listener, one for the shards.
    fn introduce(&mut self) {
        self.introduce_by = None;
        let view = self.board.view();
        for listener in &self.running.listeners {
            let bind = &listener.bind;
            tracing::info!(name = listener.name, address = %bind.addr, tls = bind.tls, http2 = bind.http2, "listening");
        }
        let ready: Vec<&ShardView> = view.shards.iter().filter(|shard| shard.ready).collect();
        let cpus: Vec<String> =
            ready.iter().map(|shard| shard.cpu.map_or("any".to_owned(), |cpu| cpu.to_string())).collect();
        let drivers: BTreeSet<&str> = ready.iter().map(|shard| shard.driver).collect();
        let drivers = drivers.into_iter().collect::<Vec<_>>().join(", ");
        tracing::info!(shards = ready.len(), cpus = cpus.join(","), driver = drivers, "serving");
        if ready.len() < view.shards.len() {
            let missing = view.shards.len() - ready.len();
            tracing::warn!(missing, "not every shard accepts clients yet");
        }
        systemd::notify("READY=1");
    }
}

/// Tells whoever waits what became of a configuration; nobody may, or not any more.
fn answer(reply: Option<Reply>, what: impl FnOnce() -> Posted) {
    if let Some(reply) = reply {
        let _ = reply.send(what());
    }
}

/// What is said of certificates that have ended, or will soon; `now` in seconds of the wall clock.
pub(super) fn ending_soon(expiries: &[(String, i64)], now: u64) -> Vec<String> {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let said = |(name, end): &(String, i64)| match end - now {
        left if left <= 0 => Some(format!("the certificate of {name:?} has expired")),
        left if left < limits::EXPIRY_WARNED_S => {
            Some(format!("the certificate of {name:?} expires in {} days", left / 86_400))
        }
        _ => None,
    };
    expiries.iter().filter_map(said).collect()
}

/// What was written, to be shown; nothing where there is nobody to show it to, as it takes as much room as the plan.
fn stored(written: Written, is_shown: bool) -> Store {
    if !is_shown {
        return Store::default();
    }
    crate::io::runtime::apart(|| Store::of(written, wall()))
}

/// The wall clock.
fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    WallMs(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

fn log_findings(report: &Report) {
    for finding in report.sorted() {
        log_finding(finding);
    }
}

fn log_finding(finding: &Finding) {
    match finding.severity {
        Severity::Warning => tracing::warn!("{finding}"),
        Severity::Fault => tracing::error!("{finding}"),
    }
}

async fn pass_on(stir: Stir, line: Line) {
    loop {
        stir.next().await;
        line.say(Event::Stirred);
    }
}

fn listen_to_signals(line: &Line) {
    let table = [
        (SignalKind::terminate(), Signal::Stop),
        (SignalKind::interrupt(), Signal::Stop),
        (SignalKind::hangup(), Signal::Reload),
        (SignalKind::user_defined1(), Signal::Reopen),
    ];
    for (kind, meaning) in table {
        match signal(kind) {
            Ok(mut stream) => {
                let line = line.clone();
                tokio::spawn(async move {
                    while stream.recv().await.is_some() {
                        line.say(Event::Signal(meaning));
                    }
                });
            }
            Err(error) => tracing::warn!(%error, signal = kind.as_raw_value(), "cannot listen to a signal"),
        }
    }
}
