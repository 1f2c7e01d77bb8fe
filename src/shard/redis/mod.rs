//! Redis as the shard reaches it: who asks gets an answer or a [`Fault`] within the server's timeout, whatever Redis does.
//!
//! ```text
//! ask ─→ client, by server ─┬ one server ────────────────────────────→ conn ─→ live: one pipelined connection
//!                           ├ cluster: which node has the key? ──────→ conn, per node
//!                           └ sentinel: who is the master? ──────────→ conn, of the master
//! ```
//!
//! Per shard there is one connection to each server, over which all calls go: those of one turn of the loop leave in one
//! write. Clients are found by what they connect to, so they outlive a reload.
//!
//! Not here: what is asked, and what an answer means (the plugins); bytes and scripts (`redis/`).

mod cluster;
mod conn;
mod live;
mod lookup;
mod sentinel;

use super::Shard;
use crate::base::limits;
use crate::base::time::Millis;
use crate::bus::Snapshot;
use crate::hook::{Chores, Outbox};
use crate::io::clock;
use crate::redis::{Call, Command, Fault, Host, Place, Reply, Server, Spare};
use conn::{Conn, Kind};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

/// All Redis clients of a shard, and what they count.
#[derive(Default)]
pub(super) struct Redis {
    clients: RefCell<Vec<Rc<Client>>>,
    ticking: Cell<bool>,
    calls: Cell<u64>,
    /// By place in [`Fault::ALL`].
    faults: [Cell<u64>; Fault::ALL.len()],
}

/// What becomes of a command: its reply, which may be an error, or why there is none.
type Answer = Result<Reply, Fault>;

/// One server, cluster or group of sentinels.
struct Client {
    server: Arc<Server>,
    label: String,
    used: Cell<Millis>,
    group: Group,
}

enum Group {
    Single(Rc<Conn>),
    Cluster(Rc<cluster::Cluster>),
    Sentinel(Rc<sentinel::Sentinels>),
}

/// Sends the commands of `call` and waits for their answers: one for each, and of the shape it says.
///
/// # Errors
/// The first [`Fault`] of any, at the latest when the server's timeout has passed; what was sent may have been done.
pub(super) async fn ask(shard: &Rc<Shard>, call: &Call) -> Result<Vec<Reply>, Fault> {
    ask_each(shard, call).await.into_iter().collect()
}

/// The same with each command for itself: one may fail, on its node of a cluster, when others are answered.
async fn ask_each(shard: &Rc<Shard>, call: &Call) -> Vec<Answer> {
    let redis = &shard.redis;
    redis.calls.set(redis.calls.get() + 1);
    let now = clock::millis();
    let client = redis.client(shard, &call.server);
    client.used.set(now);
    let deadline = Millis(now.0 + call.server.call_ms());
    let mut answers = match &client.group {
        Group::Single(conn) => conn.ask(shard, &call.commands, deadline).await,
        Group::Cluster(cluster) => cluster.ask(shard, &call.commands, deadline).await,
        Group::Sentinel(sentinels) => sentinels.ask(shard, &call.commands, deadline).await,
    };
    check(&call.commands, &mut answers);
    if let Some(fault) = answers.iter().find_map(|answer| answer.as_ref().err()) {
        let count = &redis.faults[*fault as usize];
        count.set(count.get() + 1);
    }
    answers
}

/// Keeps a call that is over for the next.
pub(super) fn keep(shard: &Shard, call: Box<Call>) {
    shard.locals.borrow_mut().of(Spare::default).put(call);
}

/// Sends the calls that nobody waits for.
pub(super) fn send_outbox(shard: &Rc<Shard>) {
    let calls = std::mem::take(&mut shard.locals.borrow_mut().of(Outbox::default).0);
    for call in calls {
        let shard = shard.clone();
        crate::io::spawn(async move {
            // Counted; there is nobody to tell.
            let _ = ask(&shard, &call).await;
            keep(&shard, call);
        });
    }
}

/// Makes the calls that are due of themselves; each tells its chore how it ended.
fn chores(shard: &Rc<Shard>, ending: bool) -> Vec<impl Future<Output = ()>> {
    let chores = shard.locals.borrow_mut().of(Chores::default).0.clone();
    let due = chores.into_iter().filter_map(|chore| {
        let call = chore.borrow_mut().due(clock::wall(), ending)?;
        Some((chore, call))
    });
    due.map(|(chore, call)| {
        let shard = shard.clone();
        async move {
            let answers = ask_each(&shard, &call).await;
            chore.borrow_mut().on_answer(&call, &answers);
        }
    })
    .collect()
}

/// Sends what must not be lost when the process ends; bounded by the servers' timeouts.
pub(super) async fn flush(shard: &Rc<Shard>) {
    for chore in chores(shard, true) {
        chore.await;
    }
}

/// Makes faults of replies that are errors, or have not the shape that their command asks for.
fn check(commands: &[Command], answers: &mut [Answer]) {
    for (command, answer) in commands.iter().zip(answers) {
        let Ok(reply) = &*answer else { continue };
        match reply {
            Reply::Error(error) => *answer = Err(Fault::of_error(error)),
            reply if !command.shape.fits(reply) => *answer = Err(Fault::Rubbish),
            _ => {}
        }
    }
}

/// Is it one of a server that is not where it was?
fn is_loss(fault: Fault) -> bool {
    matches!(fault, Fault::Down | Fault::Closed | Fault::Timeout)
}

/// The same fault for each of these commands.
fn all_fail(commands: &[Command], fault: Fault) -> Vec<Answer> {
    vec![Err(fault); commands.len()]
}

impl Redis {
    /// The client of a server; O(servers), of which there are a handful.
    fn client(&self, shard: &Rc<Shard>, server: &Arc<Server>) -> Rc<Client> {
        if let Some(client) = self.clients.borrow().iter().find(|client| client.server == *server) {
            return client.clone();
        }
        let conn = |host: &Host| Conn::new(host.clone(), Kind::Server, server.clone());
        let group = match &server.place {
            Place::Single(host) => Group::Single(conn(host)),
            Place::Cluster(seeds) => Group::Cluster(Rc::new(cluster::Cluster::new(server.clone(), seeds.clone()))),
            Place::Sentinel { sentinels, master, .. } => {
                Group::Sentinel(Rc::new(sentinel::Sentinels::new(server.clone(), sentinels, master)))
            }
        };
        let (server, label, used) = (server.clone(), server.label(), Cell::new(clock::millis()));
        let client = Rc::new(Client { server, label, used, group });
        self.clients.borrow_mut().push(client.clone());
        if !self.ticking.replace(true) {
            crate::io::spawn(tick(shard.clone()));
        }
        client
    }

    /// Forgets servers that no configuration names any more, once their connections have gone. Is there nothing left to look
    /// after, until somebody asks again?
    fn rests(&self, now: Millis, chores: &Chores) -> bool {
        // Who waits for an answer holds the client: its deadline may be longer than anybody's patience here.
        let is_over = |client: &Rc<Client>| client.is_idle(now) && Rc::strong_count(client) == 1;
        let mut clients = self.clients.borrow_mut();
        clients.retain(|client| !is_over(client));
        clients.is_empty() && chores.0.iter().all(|chore| chore.borrow().rests())
    }

    /// Adds what was counted here to a snapshot.
    pub(super) fn count_into(&self, snapshot: &mut Snapshot) {
        let clients = self.clients.borrow();
        if self.calls.get() == 0 && clients.is_empty() {
            return;
        }
        snapshot.counters.push(("redis_calls_total", self.calls.get()));
        for (fault, count) in Fault::ALL.iter().zip(&self.faults) {
            snapshot.labelled.push(("redis_errors_total", "kind", fault.word().to_owned(), count.get()));
        }
        for client in clients.iter() {
            let (mut up, mut down) = (0, 0);
            client.each_conn(&mut |conn| {
                up += u64::from(conn.is_up());
                down += u64::from(conn.is_down());
            });
            snapshot.labelled.push(("redis_connections", "server", client.label.clone(), up));
            snapshot.labelled.push(("redis_connections_down", "server", client.label.clone(), down));
        }
    }
}

impl Client {
    /// May it be forgotten? Nobody has asked it for long.
    fn is_idle(&self, now: Millis) -> bool {
        now.0.saturating_sub(self.used.get().0) > 2 * limits::REDIS_IDLE_MS
    }

    fn each_conn(&self, each: &mut dyn FnMut(&Rc<Conn>)) {
        match &self.group {
            Group::Single(conn) => each(conn),
            Group::Cluster(cluster) => cluster.each_conn(each),
            Group::Sentinel(sentinels) => sentinels.each_conn(each),
        }
    }
}

/// Looks for calls that wait too long, for connections that nobody needs and for chores that are due, as long as there may
/// be any.
async fn tick(shard: Rc<Shard>) {
    loop {
        crate::io::sleep_ms(limits::REDIS_TICK_MS).await;
        let now = clock::millis();
        let clients = shard.redis.clients.borrow().clone();
        clients.iter().for_each(|client| client.each_conn(&mut |conn| conn.tick(now)));
        drop(clients);
        chores(&shard, false).into_iter().for_each(crate::io::spawn);
        if shard.redis.rests(now, shard.locals.borrow_mut().of(Chores::default)) {
            shard.redis.ticking.set(false);
            return;
        }
    }
}

/// Where `host` is. Asks the control thread for a name that it has not told of yet, and waits until `by`; none where it
/// does not resolve.
async fn locate(shard: &Shard, host: &Host, by: Millis) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, host.port);
    if let Ok(ip) = host.name.parse() {
        return vec![at(ip)];
    }
    let known = |shard: &Shard| {
        let endpoints = shard.endpoints.borrow().clone();
        endpoints.names.get(&host.name).map(|ips| ips.iter().map(|&ip| at(ip)).collect::<Vec<_>>())
    };
    let mut asked = false;
    loop {
        if let Some(found) = known(shard) {
            return found;
        }
        if clock::millis() >= by {
            return Vec::new();
        }
        if !std::mem::replace(&mut asked, true) {
            (shard.report)(crate::bus::FromShard::Wanted { name: host.name.clone() });
        }
        crate::io::sleep_ms(limits::REDIS_TICK_MS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::WallMs;
    use crate::hook::Chore;
    use crate::redis::Login;

    struct Exchange {
        rests: bool,
    }

    impl Chore for Exchange {
        fn due(&mut self, _: WallMs, _: bool) -> Option<Box<Call>> {
            None
        }

        fn rests(&self) -> bool {
            self.rests
        }

        fn on_answer(&mut self, _: &Call, _: &[Answer]) {}
    }

    #[test]
    fn it_looks_after_chores_and_calls_however_long_nobody_asks() {
        let (place, login) = (Place::Single(Host::new("127.0.0.1", 1)), Login::default());
        let server =
            Arc::new(Server { place, login, secure: None, database: 0, connect_ms: 1, send_ms: 1, read_ms: 1 });
        let conn = Conn::new(Host::new("127.0.0.1", 1), Kind::Server, server.clone());
        let (redis, label, used) = (Redis::default(), server.label(), Cell::new(Millis(0)));
        let client = Rc::new(Client { server, label, used, group: Group::Single(conn) });
        redis.clients.borrow_mut().push(client.clone());
        let exchange = Rc::new(RefCell::new(Exchange { rests: false }));
        let chores = Chores(vec![exchange.clone()]);
        let late = Millis(2 * limits::REDIS_IDLE_MS + 1);
        assert!(!redis.rests(late, &chores) && redis.clients.borrow().len() == 1, "a call is under way");
        drop(client);
        assert!(!redis.rests(Millis(late.0 - 1), &chores) && redis.clients.borrow().len() == 1);
        assert!(!redis.rests(late, &chores) && redis.clients.borrow().is_empty(), "there is something to exchange");
        exchange.borrow_mut().rests = true;
        assert!(redis.rests(late, &chores));
    }
}
