//! A Redis Cluster: each command goes to the node that has its key, and follows where it is sent from there.
//!
//! A node that says MOVED corrects the one slot at once and has the whole map asked for; so does a node that cannot be
//! reached, since its slots may be another's by now.

use super::super::Shard;
use super::conn::{is_forgotten, Conn, Kind};
use super::live::Ticket;
use super::lookup::{self, Group, Lookup};
use super::{all_fail, is_loss, Answer};
use crate::base::limits;
use crate::base::time::Millis;
use crate::io::{self, clock};
use crate::redis::call::Shape;
use crate::redis::cluster::{slot_of, Redirect, SlotMap};
use crate::redis::{codec, Command, Fault, Host, Reply, Server};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A cluster.
pub(super) struct Cluster {
    server: Arc<Server>,
    seeds: Vec<Host>,
    map: RefCell<SlotMap>,
    conns: RefCell<HashMap<Host, Rc<Conn>>>,
    lookup: Lookup,
}

impl Group for Cluster {
    fn lookup(&self) -> &Lookup {
        &self.lookup
    }

    fn is_known(&self) -> bool {
        !self.map.borrow().nodes.is_empty()
    }

    async fn learn(self: Rc<Cluster>, shard: Rc<Shard>) -> Result<(), Fault> {
        let mut hosts = self.map.borrow().nodes.clone();
        hosts.extend(self.seeds.iter().cloned());
        let mut fault = Fault::Down;
        for host in hosts {
            match self.ask_map(&shard, &host).await {
                Ok(map) => {
                    self.replace(map);
                    return Ok(());
                }
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

impl Cluster {
    /// Asks a node for the map: by SHARDS, which knows of TLS and of who has failed, and by SLOTS where it has no such
    /// command (before Redis 7), or may not be asked by it.
    async fn ask_map(&self, shard: &Rc<Shard>, host: &Host) -> Result<SlotMap, Fault> {
        let mut fault = Fault::Rubbish;
        for is_newer in [true, false] {
            let word: &[u8] = if is_newer { b"SHARDS" } else { b"SLOTS" };
            let question = [Command::plain("CLUSTER", Shape::Any).arg(word)];
            let deadline = Millis(clock::millis().0 + self.server.call_ms());
            let Some(answer) = self.conn(host).ask(shard, &question, deadline).await.pop() else { continue };
            let reply = &answer?;
            let map = match is_newer {
                true => SlotMap::of_shards(reply, host, self.server.secure.is_some()),
                false => SlotMap::of_reply(reply, host),
            };
            match (map, reply) {
                (Some(map), _) => return Ok(map),
                (None, Reply::Error(error)) => fault = Fault::of_error(error),
                (None, _) => fault = Fault::Rubbish,
            }
        }
        Err(fault)
    }

    pub(super) fn new(server: Arc<Server>, seeds: Vec<Host>) -> Cluster {
        let (map, conns) = (RefCell::default(), RefCell::default());
        Cluster { server, seeds, map, conns, lookup: Lookup::default() }
    }

    pub(super) fn each_conn(&self, each: &mut dyn FnMut(&Rc<Conn>)) {
        let conns: Vec<Rc<Conn>> = self.conns.borrow().values().cloned().collect();
        conns.iter().for_each(each);
    }

    pub(super) async fn ask(
        self: &Rc<Cluster>,
        shard: &Rc<Shard>,
        commands: &[Command],
        deadline: Millis,
    ) -> Vec<Answer> {
        if let Err(fault) = lookup::known(self, shard, deadline).await {
            return all_fail(commands, fault);
        }
        // All of them are on their way before the first answer is waited for.
        let mut sent = Vec::with_capacity(commands.len());
        for command in commands {
            sent.push(self.send(shard, command, deadline).await);
        }
        let mut answers = Vec::with_capacity(commands.len());
        for (command, sent) in commands.iter().zip(sent) {
            answers.push(match sent {
                Ok((conn, ticket)) => self.answer(shard, command, conn, &ticket, deadline).await,
                Err(fault) => Err(fault),
            });
        }
        if answers.iter().any(|answer| answer.as_ref().is_err_and(|fault| is_loss(*fault))) {
            lookup::doubt(self, shard);
        }
        answers
    }

    /// Sends a command to the node that has its key.
    async fn send(
        self: &Rc<Cluster>,
        shard: &Rc<Shard>,
        command: &Command,
        deadline: Millis,
    ) -> Result<(Rc<Conn>, Rc<Ticket>), Fault> {
        let conn = self.conn_of(command)?;
        let live = conn.live(shard, deadline).await?;
        // Another node may have been waited for until now: a call that is late when it comes would end the connection.
        if clock::millis() >= deadline {
            return Err(Fault::Timeout);
        }
        let ticket = live.submit(|out| codec::write_command(command, false, out), 1, deadline)?;
        Ok((conn, ticket))
    }

    /// Waits for the reply to a command, wherever that is.
    async fn answer(
        self: &Rc<Cluster>,
        shard: &Rc<Shard>,
        command: &Command,
        conn: Rc<Conn>,
        ticket: &Ticket,
        deadline: Millis,
    ) -> Answer {
        match ticket.answered().await?.pop().ok_or(Fault::Rubbish)? {
            reply @ Reply::Error(_) => self.follow(shard, command, conn, reply, deadline).await,
            reply => Ok(reply),
        }
    }

    /// Follows where an error reply of `conn` sends a command; the last answer may be an error all the same.
    async fn follow(
        self: &Rc<Cluster>,
        shard: &Rc<Shard>,
        command: &Command,
        mut conn: Rc<Conn>,
        mut reply: Reply,
        deadline: Millis,
    ) -> Answer {
        for _ in 0..limits::REDIS_REDIRECTS_MAX {
            let Reply::Error(error) = &reply else { break };
            let redirect = Redirect::of(error, &conn.host);
            let forgotten = is_forgotten(&reply);
            let asking = match redirect {
                None if forgotten => false,
                None => break,
                Some(Redirect::Moved(slot, host)) => {
                    conn = self.conn(&host);
                    self.map.borrow_mut().moved(slot, host);
                    lookup::doubt(self, shard);
                    false
                }
                Some(Redirect::Ask(host)) => {
                    conn = self.conn(&host);
                    true
                }
                Some(Redirect::TryAgain) => {
                    io::sleep_ms(limits::REDIS_TICK_MS).await;
                    false
                }
            };
            let live = conn.live(shard, deadline).await?;
            let write = |out: &mut Vec<u8>| {
                if asking {
                    codec::write_command(&Command::plain("ASKING", Shape::Any), false, out);
                }
                codec::write_command(command, forgotten, out);
            };
            let ticket = live.submit(write, 1 + usize::from(asking), deadline)?;
            reply = ticket.answered().await?.pop().ok_or(Fault::Rubbish)?;
            // A node that was asked once may not know the script either.
            if asking && is_forgotten(&reply) {
                let write = |out: &mut Vec<u8>| {
                    codec::write_command(&Command::plain("ASKING", Shape::Any), false, out);
                    codec::write_command(command, true, out);
                };
                reply = live.submit(write, 2, deadline)?.answered().await?.pop().ok_or(Fault::Rubbish)?;
            }
        }
        Ok(reply)
    }

    /// The way to the node that has a command's key; to any node where nobody is known to have it.
    fn conn_of(&self, command: &Command) -> Result<Rc<Conn>, Fault> {
        let host = {
            let map = self.map.borrow();
            let of_key = command.key().and_then(|key| map.node_of(slot_of(key)));
            of_key.or(map.nodes.first()).cloned()
        };
        Ok(self.conn(&host.ok_or(Fault::Down)?))
    }

    fn conn(&self, host: &Host) -> Rc<Conn> {
        let mut conns = self.conns.borrow_mut();
        if let Some(conn) = conns.get(host) {
            return conn.clone();
        }
        let conn = Conn::new(host.clone(), Kind::Server, self.server.clone());
        // Nodes come from what a peer says: past the bound they are used once and not kept.
        if conns.len() < limits::REDIS_NODES_MAX {
            conns.insert(host.clone(), conn.clone());
        }
        conn
    }

    fn replace(&self, map: SlotMap) {
        let gone: Vec<Rc<Conn>> = {
            let mut conns = self.conns.borrow_mut();
            let is_gone = |host: &Host| !map.nodes.contains(host) && !self.seeds.contains(host);
            let gone = conns.iter().filter(|(host, _)| is_gone(host)).map(|(_, conn)| conn.clone()).collect();
            conns.retain(|host, _| !is_gone(host));
            gone
        };
        *self.map.borrow_mut() = map;
        gone.iter().for_each(|conn| conn.close());
    }
}
