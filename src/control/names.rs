//! Which names a plan needs resolved, what is known of them, and when to ask again.
//!
//! [`Book`] decides and remembers; it opens no socket, and clock and randomness are arguments. `dns.rs` asks the servers,
//! the loop of `mod.rs` stands between the two.

use super::roster::Roster;
use crate::balance::Member;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Millis;
use crate::bus::{Endpoint, Endpoints, Located};
use crate::plan::{Plan, Target};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is asked about a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Question {
    /// Its A and AAAA records.
    Ip(String),
    /// Its SRV records, and the addresses of their targets.
    Srv(String),
}

impl Question {
    /// The question a target's host stands for; `None` where the host is an address.
    ///
    /// SRV where the name has the form of one (RFC 2782: `_service._proto.name`) or where the target has no port.
    fn of(target: &Target) -> Option<Question> {
        if literal(&target.host).is_some() {
            return None;
        }
        let name = target.host.to_ascii_lowercase();
        let mut labels = name.split('.');
        let is_srv = labels.next().is_some_and(|label| label.starts_with('_'))
            && labels.next().is_some_and(|label| label.starts_with('_'));
        Some(if is_srv || target.port == 0 { Question::Srv(name) } else { Question::Ip(name) })
    }

    /// The name, lower-case.
    pub(super) fn name(&self) -> &str {
        match self {
            Question::Ip(name) | Question::Srv(name) => name,
        }
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// One place that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Its address.
    pub(super) ip: IpAddr,
    /// Port and weight of an SRV record; they go before those of the target.
    pub(super) srv: Option<(u16, u32)>,
}

/// What came of a question.
pub(super) type Answer = Result<Found, Failure>;

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// At least one place; any order.
    pub(super) places: Vec<Place>,
    /// The answer's own idea of its life, ms.
    pub(super) ttl_ms: u64,
}

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A server with authority says that there is no such name, or that it has no address.
    Denied(String),
    /// Nobody could be asked, or nobody knew: says nothing of the name.
    Unknown(String),
}

impl Failure {
    fn text(&self) -> &str {
        match self {
            Failure::Denied(text) | Failure::Unknown(text) => text,
        }
    }
}

/// How a name stands, for the log and `/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not answered yet.
    Unasked,
    /// The last answer was good.
    Fresh,
    /// The last answer was bad; the one before it is used on.
    Stale,
    /// The last answer was bad, and there is none to go on with.
    Failed,
}

impl Standing {
    /// The word in `/status`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Standing::Unasked => "unasked",
            Standing::Fresh => "fresh",
            Standing::Stale => "stale",
            Standing::Failed => "failed",
        }
    }
}

/// What an answer has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// How the name stood before.
    pub(super) before: Standing,
    /// Are its addresses others now?
    pub(super) moved: bool,
}

/// What is known of one name.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// How it stands.
    pub(super) standing: Standing,
    /// Sorted, without duplicates; empty unless fresh or stale.
    pub(super) places: Vec<Place>,
    /// What the last bad answer said; empty after a good one.
    pub(super) error: String,
    due: Millis,
    asking: bool,
    failures: u32,
    denials: u32,
}

/// All names in use.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<Question, Entry>,
    /// Names that shards have asked for, whatever the plan; bounded by [`limits::NAMES_WANTED_MAX`].
    wanted: BTreeSet<String>,
}

impl Book {
    /// Adds the names of a plan that are not known yet; they are due at once.
    pub(super) fn add(&mut self, questions: &BTreeSet<Question>, now: Millis) {
        for question in questions {
            self.entries.entry(question.clone()).or_insert_with(|| Entry {
                standing: Standing::Unasked,
                places: Vec::new(),
                error: String::new(),
                due: now,
                asking: false,
                failures: 0,
                denials: 0,
            });
        }
    }

    /// Adds a name that a shard needs; false where there are too many.
    pub(super) fn want(&mut self, name: String, plan: &Plan, now: Millis) -> bool {
        if !self.wanted.contains(&name) && self.wanted.len() >= limits::NAMES_WANTED_MAX {
            return false;
        }
        self.wanted.insert(name);
        self.add(&self.questions_of_wanted(plan), now);
        true
    }

    /// Forgets all names but these, and those that shards need.
    pub(super) fn keep(&mut self, questions: &BTreeSet<Question>, plan: &Plan, now: Millis) {
        let wanted = self.questions_of_wanted(plan);
        self.entries.retain(|question, _| questions.contains(question) || wanted.contains(question));
        self.add(&wanted, now);
    }

    fn questions_of_wanted(&self, plan: &Plan) -> BTreeSet<Question> {
        let unknown = self.wanted.iter().filter(|name| known_of(plan, name).is_none());
        unknown.map(|name| Question::Ip(name.clone())).collect()
    }

    /// Makes every name due now: the servers are others, or an operator asked for it.
    pub(super) fn hurry(&mut self, now: Millis) {
        for entry in self.entries.values_mut() {
            entry.due = now;
        }
    }

    /// The questions to ask now; each counts as being asked until [`Book::on_answer`].
    pub(super) fn take_due(&mut self, now: Millis) -> Vec<Question> {
        let due = self.entries.iter_mut().filter(|(_, entry)| !entry.asking && entry.due <= now);
        due.map(|(question, entry)| {
            entry.asking = true;
            question.clone()
        })
        .collect()
    }

    /// When the next question is due; `None` while there is none that is not being asked.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.entries.values().filter(|entry| !entry.asking).map(|entry| entry.due).min()
    }

    /// Is any of these still waiting for its first answer?
    pub(super) fn waits_for(&self, questions: &BTreeSet<Question>) -> bool {
        questions
            .iter()
            .any(|question| self.entries.get(question).is_some_and(|entry| entry.standing == Standing::Unasked))
    }

    /// Takes an answer in; `None` for names that nobody needs any more.
    pub(super) fn on_answer(
        &mut self,
        question: &Question,
        answer: Answer,
        now: Millis,
        rng: &mut Rng,
    ) -> Option<Heard> {
        let entry = self.entries.get_mut(question)?;
        entry.asking = false;
        let (before, mut moved) = (entry.standing, false);
        match answer {
            Ok(found) => {
                let mut places = found.places;
                // Servers turn the order of records with every answer; that is no change.
                places.sort();
                places.dedup();
                places.truncate(limits::DNS_ADDRESSES_MAX);
                moved = places != entry.places;
                entry.places = places;
                entry.error.clear();
                (entry.failures, entry.denials) = (0, 0);
                entry.standing = Standing::Fresh;
                let life = found.ttl_ms.clamp(limits::DNS_TTL_MS_MIN, limits::DNS_TTL_MS_MAX);
                entry.due = Millis(now.0 + life);
            }
            Err(failure) => {
                failure.text().clone_into(&mut entry.error);
                entry.denials = if matches!(failure, Failure::Denied(_)) { entry.denials + 1 } else { 0 };
                // RFC 8767 §4: an authoritative denial "MUST be considered to refresh the data at the resolver". One
                // denial may be a zone in the middle of a change; so many in a row mean it.
                if entry.denials >= limits::DNS_DENIALS_MAX {
                    moved = !entry.places.is_empty();
                    entry.places.clear();
                }
                entry.standing = if entry.places.is_empty() { Standing::Failed } else { Standing::Stale };
                entry.due = Millis(now.0 + retry_ms(entry.failures, rng));
                entry.failures = entry.failures.saturating_add(1);
            }
        }
        Some(Heard { before, moved })
    }

    /// What is known of a name.
    pub(super) fn entry(&self, question: &Question) -> Option<&Entry> {
        self.entries.get(question)
    }

    /// All names and how they stand.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Question, &Entry)> {
        self.entries.iter()
    }

    /// The addresses of every upstream of `plan`, as far as they are known. Targets of weight 0 are left out.
    ///
    /// And those of the names that shards have asked for: an entry for each that was answered, well or ill.
    pub(super) fn endpoints(&self, plan: &Plan, roster: &mut Roster) -> Endpoints {
        let mut of = HashMap::with_capacity(plan.upstreams.len());
        for upstream in &plan.upstreams {
            let mut located = Located::default();
            let targets = upstream.targets.iter().enumerate().filter(|(_, target)| target.weight > 0);
            for (ix, target) in targets {
                let member = |host: &Arc<str>, addr| roster.of(&upstream.name, host, addr);
                self.locate(plan, ix as u32, target, member, &mut located);
            }
            of.insert(upstream.name.clone(), located);
        }
        let names = self.wanted.iter().filter_map(|name| Some((name.clone(), self.addresses(plan, name)?))).collect();
        Endpoints { of, names }
    }

    /// The addresses of a name that a shard has asked for; `None` before the first answer.
    fn addresses(&self, plan: &Plan, name: &str) -> Option<Vec<IpAddr>> {
        if let Some(ips) = known_of(plan, name) {
            return Some(ips);
        }
        let entry = self.entries.get(&Question::Ip(name.to_owned()))?;
        let answered = entry.standing != Standing::Unasked;
        answered.then(|| entry.places.iter().map(|place| place.ip).collect())
    }

    fn locate(
        &self,
        plan: &Plan,
        ix: u32,
        target: &Target,
        mut member: impl FnMut(&Arc<str>, SocketAddr) -> Arc<Member>,
        into: &mut Located,
    ) {
        let host: Arc<str> = Arc::from(target.host.as_str());
        let mut add = |ip: IpAddr, port: u16, weight: u32| {
            let addr = SocketAddr::new(ip, port);
            let member = member(&host, addr);
            into.endpoints.push(Endpoint { addr, weight, host: host.clone(), port, target: ix, member });
        };
        if let Some(ips) = known(plan, target) {
            ips.into_iter().for_each(|ip| add(ip, target.port, target.weight));
            return;
        }
        let entry = Question::of(target).and_then(|question| self.entries.get(&question));
        for place in entry.map(|entry| entry.places.as_slice()).unwrap_or_default() {
            // RFC 2782: weight 0 is a record with little chance, not with none; 1 is the least we have.
            let (port, weight) = place.srv.map_or((target.port, target.weight), |(port, weight)| (port, weight.max(1)));
            add(place.ip, port, weight);
        }
        into.failed |= entry.is_none_or(|entry| entry.places.is_empty());
    }
}

/// Addresses that need no question: the host is one, or the plan names them.
fn known(plan: &Plan, target: &Target) -> Option<Vec<IpAddr>> {
    known_of(plan, &target.host)
}

/// The same of a host.
fn known_of(plan: &Plan, host: &str) -> Option<Vec<IpAddr>> {
    if let Some(ip) = literal(host) {
        return Some(vec![ip]);
    }
    // O(overrides): there are a handful, and their keys are as somebody wrote them.
    let mut overrides = plan.node.hosts.iter();
    let ips = overrides.find_map(|(name, ips)| name.eq_ignore_ascii_case(host).then_some(ips))?;
    (!ips.is_empty()).then(|| ips.clone())
}

/// The names of a plan that have to be asked for.
pub(super) fn questions(plan: &Plan) -> BTreeSet<Question> {
    let targets = plan.upstreams.iter().flat_map(|upstream| &upstream.targets);
    let unknown = targets.filter(|target| target.weight > 0 && known(plan, target).is_none());
    unknown.filter_map(Question::of).collect()
}

/// How long to wait after the `failures`-th failure in a row: doubled each time, and spread by a quarter either way, so
/// that a fleet does not ask in step.
fn retry_ms(failures: u32, rng: &mut Rng) -> u64 {
    let (first, longest) = limits::DNS_RETRY_MS;
    let wait = first.saturating_mul(1 << failures.min(16)).min(longest);
    wait - wait / 4 + rng.below(wait / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{plan_of, target};

    fn found(ips: &[&str], ttl_ms: u64) -> Answer {
        let places = ips.iter().map(|ip| Place { ip: ip.parse().unwrap(), srv: None }).collect();
        Ok(Found { places, ttl_ms })
    }

    fn addresses(book: &Book, plan: &Plan) -> Vec<String> {
        let endpoints = book.endpoints(plan, &mut Roster::default());
        let located = &endpoints.of["up"];
        let mut all: Vec<String> = located.endpoints.iter().map(|e| format!("{}*{}", e.addr, e.weight)).collect();
        if located.failed {
            all.push("failed".to_owned());
        }
        all
    }

    fn book(plan: &Plan) -> (Book, Rng) {
        let mut book = Book::default();
        book.add(&questions(plan), Millis(0));
        (book, Rng::new(1))
    }

    #[test]
    fn a_target_is_asked_for_by_the_form_of_its_host() {
        let rows = [
            ("127.0.0.1", 80, None),
            ("::1", 80, None),
            ("[::1]", 80, None),
            ("A.test", 80, Some(Question::Ip("a.test".to_owned()))),
            ("_http._tcp.a.test", 80, Some(Question::Srv("_http._tcp.a.test".to_owned()))),
            ("_http.a.test", 80, Some(Question::Ip("_http.a.test".to_owned()))),
            ("a.test", 0, Some(Question::Srv("a.test".to_owned()))),
        ];
        for (host, port, want) in rows {
            assert_eq!(Question::of(&target(host, port, 1)), want, "{host}");
        }
    }

    #[test]
    fn addresses_and_overrides_need_no_answer() {
        let mut plan =
            plan_of(&[("up", &[target("10.0.0.1", 80, 3), target("DB.test", 81, 2), target("10.0.0.9", 80, 0)])]);
        plan.node.hosts.insert("db.test".to_owned(), vec!["10.0.0.2".parse().unwrap(), "::1".parse().unwrap()]);
        let (book, _) = book(&plan);
        assert_eq!(addresses(&book, &plan), ["10.0.0.1:80*3", "10.0.0.2:81*2", "[::1]:81*2"]);
        assert_eq!(book.next_due(), None);
    }

    #[test]
    fn an_answer_lives_as_long_as_its_ttl_within_bounds() {
        for (ttl_ms, want) in [(0, limits::DNS_TTL_MS_MIN), (5000, 5000), (u64::MAX, limits::DNS_TTL_MS_MAX)] {
            let plan = plan_of(&[("up", &[target("a.test", 80, 1)])]);
            let (mut book, mut rng) = book(&plan);
            let asked = book.take_due(Millis(0));
            assert_eq!(book.take_due(Millis(0)), [], "a name was asked for twice at once");
            book.on_answer(&asked[0], found(&["10.0.0.1"], ttl_ms), Millis(10), &mut rng);
            assert_eq!(book.next_due(), Some(Millis(10 + want)));
        }
    }

    #[test]
    fn a_stale_answer_outlives_silence_but_not_denials() {
        let plan = plan_of(&[("up", &[target("a.test", 80, 1)])]);
        let (mut book, mut rng) = book(&plan);
        let question = book.take_due(Millis(0)).remove(0);
        let silent = || Err(Failure::Unknown("timed out".to_owned()));
        let denied = || Err(Failure::Denied("no such name".to_owned()));
        let both = &["10.0.0.1:80*1", "10.0.0.2:80*1"];
        let rows: &[(Answer, Standing, bool, &[&str])] = &[
            (silent(), Standing::Failed, false, &["failed"]),
            (silent(), Standing::Failed, false, &["failed"]),
            (found(&["10.0.0.2", "10.0.0.1"], 1), Standing::Fresh, true, both),
            (found(&["10.0.0.1", "10.0.0.2"], 1), Standing::Fresh, false, both),
            (silent(), Standing::Stale, false, both),
            (denied(), Standing::Stale, false, both),
            (denied(), Standing::Stale, false, both),
            (silent(), Standing::Stale, false, both),
            (denied(), Standing::Stale, false, both),
            (denied(), Standing::Stale, false, both),
            (denied(), Standing::Failed, true, &["failed"]),
            (denied(), Standing::Failed, false, &["failed"]),
            (found(&["10.0.0.3"], 1), Standing::Fresh, true, &["10.0.0.3:80*1"]),
        ];
        let mut before = Standing::Unasked;
        for (n, (answer, standing, moved, want)) in rows.iter().enumerate() {
            let heard = book.on_answer(&question, answer.clone(), Millis(n as u64), &mut rng);
            assert_eq!(heard, Some(Heard { before, moved: *moved }), "row {n}");
            before = book.entry(&question).unwrap().standing;
            assert_eq!(before, *standing, "row {n}");
            assert_eq!(addresses(&book, &plan), *want, "row {n}");
        }
    }

    #[test]
    fn an_srv_record_brings_its_own_port_and_weight() {
        let plan = plan_of(&[("up", &[target("_http._tcp.a.test", 80, 9)])]);
        let (mut book, mut rng) = book(&plan);
        let question = book.take_due(Millis(0)).remove(0);
        let place = |ip: &str, port, weight| Place { ip: ip.parse().unwrap(), srv: Some((port, weight)) };
        let places = vec![place("10.0.0.2", 8081, 20), place("10.0.0.1", 8080, 0)];
        book.on_answer(&question, Ok(Found { places, ttl_ms: 1 }), Millis(0), &mut rng);
        assert_eq!(addresses(&book, &plan), ["10.0.0.1:8080*1", "10.0.0.2:8081*20"]);
    }

    #[test]
    fn retries_double_and_stay_within_their_bounds() {
        let mut rng = Rng::new(3);
        let (first, longest) = limits::DNS_RETRY_MS;
        let waits: Vec<u64> = (0..40).map(|failures| retry_ms(failures, &mut rng)).collect();
        assert!(waits[0] >= first - first / 4 && waits[0] <= first + first / 4, "{waits:?}");
        assert!(waits[39] >= longest - longest / 4 && waits[39] <= longest + longest / 4, "{waits:?}");
        assert_ne!(waits[38], waits[39], "no jitter");
    }

    #[test]
    fn a_reload_keeps_what_is_known_and_forgets_what_is_not_needed() {
        let old = plan_of(&[("up", &[target("a.test", 80, 1), target("b.test", 80, 1)])]);
        let (mut book, mut rng) = book(&old);
        for question in book.take_due(Millis(0)) {
            book.on_answer(&question, found(&["10.0.0.1"], 60_000), Millis(0), &mut rng);
        }
        let new = plan_of(&[("up", &[target("b.test", 80, 1), target("c.test", 80, 1)])]);
        book.add(&questions(&new), Millis(1));
        assert!(book.waits_for(&questions(&new)));
        assert_eq!(book.take_due(Millis(1)), [Question::Ip("c.test".to_owned())]);
        book.keep(&questions(&new), &new, Millis(0));
        let names: Vec<&str> = book.iter().map(|(question, _)| question.name()).collect();
        assert_eq!(names, ["b.test", "c.test"]);
    }
}
