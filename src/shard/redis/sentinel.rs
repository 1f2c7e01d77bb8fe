//! The master that sentinels tell of. Asked for when it is first needed, and whenever the one that is known fails.

use super::super::Shard;
use super::conn::{Conn, Kind};
use super::lookup::{self, Group, Lookup};
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
            match conn.ask(&shard, &question, deadline).await {
                Ok(replies) => match replies.first().map(sentinel::master) {
                    Some(Some(host)) => {
                        self.follow(host);
                        return Ok(());
                    }
                    // It does not know the master; another may.
                    _ => fault = Fault::Down,
                },
                Err(other) => fault = other,
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
    ) -> Result<Vec<Reply>, Fault> {
        lookup::known(self, shard, deadline).await?;
        let master = self.master().ok_or(Fault::Down)?;
        let asked = master.ask(shard, commands, deadline).await;
        let is_demoted = |reply: &Reply| matches!(reply, Reply::Error(error) if error.starts_with("READONLY"));
        let doubtful = match &asked {
            Ok(replies) => replies.iter().any(is_demoted),
            Err(fault) => matches!(fault, Fault::Down | Fault::Closed | Fault::Timeout),
        };
        if doubtful {
            lookup::doubt(self, shard);
        }
        asked
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
