//! The master that sentinels tell of. Asked for when it is first needed, and whenever the one that is known fails.

use super::super::Shard;
use super::conn::{Conn, Kind};
use super::lookup::{self, Group, Lookup};
use super::{all_fail, is_loss, Answer};
use crate::base::time::Millis;
use crate::io::clock;
use crate::redis::{sentinel, Command, Fault, Host, Reply, Server};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Sentinels, and their master.
pub(super) struct Sentinels {
    server: Arc<Server>,
    sentinels: Vec<Rc<Conn>>,
    name: String,
    master: RefCell<Option<Rc<Conn>>>,
    lookup: Lookup,
}

impl Group for Sentinels {
    fn lookup(&self) -> &Lookup {
        &self.lookup
    }

    fn is_known(&self) -> bool {
        self.master.borrow().is_some()
    }

    async fn learn(self: Rc<Sentinels>, shard: Rc<Shard>) -> Result<(), Fault> {
        let mut fault = Fault::Down;
        let question = [sentinel::ask_master(&self.name)];
        for conn in &self.sentinels {
            let deadline = Millis(clock::millis().0 + self.server.call_ms());
            match conn.ask(&shard, &question, deadline).await.first() {
                Some(Ok(reply)) => match sentinel::master(reply) {
                    Some(host) => {
                        self.follow(host);
                        return Ok(());
                    }
                    // It does not know the master; another may.
                    None => fault = Fault::Down,
                },
                Some(Err(other)) => fault = *other,
                None => {}
            }
        }
        Err(fault)
    }
}

impl Sentinels {
    pub(super) fn new(server: Arc<Server>, sentinels: &[Host], name: &str) -> Sentinels {
        let sentinels = sentinels.iter().map(|host| Conn::new(host.clone(), Kind::Sentinel, server.clone())).collect();
        let (name, master) = (name.to_owned(), RefCell::default());
        Sentinels { server, sentinels, name, master, lookup: Lookup::default() }
    }

    pub(super) fn each_conn(&self, each: &mut dyn FnMut(&Rc<Conn>)) {
        self.sentinels.iter().for_each(&mut *each);
        if let Some(master) = self.master() {
            each(&master);
        }
    }

    pub(super) async fn ask(
        self: &Rc<Sentinels>,
        shard: &Rc<Shard>,
        commands: &[Command],
        deadline: Millis,
    ) -> Vec<Answer> {
        if let Err(fault) = lookup::known(self, shard, deadline).await {
            return all_fail(commands, fault);
        }
        let Some(master) = self.master() else { return all_fail(commands, Fault::Down) };
        let answers = master.ask(shard, commands, deadline).await;
        let is_doubtful = |answer: &Answer| match answer {
            Ok(Reply::Error(error)) => error.starts_with("READONLY"),
            Ok(_) => false,
            Err(fault) => is_loss(*fault),
        };
        if answers.iter().any(is_doubtful) {
            lookup::doubt(self, shard);
        }
        answers
    }

    fn master(&self) -> Option<Rc<Conn>> {
        self.master.borrow().clone()
    }

    fn follow(&self, host: Host) {
        let old = self.master();
        if old.as_ref().is_some_and(|old| old.host == host) {
            return;
        }
        if let Some(old) = old {
            tracing::info!(master = self.name, from = %old.host, to = %host, "Redis has another master");
            old.close();
        }
        *self.master.borrow_mut() = Some(Conn::new(host, Kind::Master, self.server.clone()));
    }
}
