//! Runs the plugins of a chain. Synchronous: what a plugin needs of the world is handed back to the caller, who fetches
//! it and comes again.

use super::request::Parts;
use super::tables::World;
use super::Shard;
use crate::hook::{Captures, Ctx, Edits, Identity, Need, Outcome, Reply, Verdict};
use crate::io::clock;
use crate::route;

/// How far the request phase came.
pub(super) enum Phase {
    /// Every plugin said `Next`.
    Done,
    /// A plugin answers.
    Reply(Box<Reply>),
    /// The plugin at this step needs something; call again with the outcome.
    Need(usize, Need),
}

/// Runs request hooks from step `from` on. With an outcome, the plugin at `from` gets it first.
pub(super) fn request(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    identity: &mut Identity,
    edits: &mut Edits,
    from: usize,
    mut outcome: Option<Outcome<'_>>,
) -> Phase {
    if !parts.way.chained {
        return Phase::Done;
    }
    let chain = world.tables.chain(parts.route_ix);
    let (mut locals, mut rng) = (shard.locals.borrow_mut(), shard.rng.borrow_mut());
    for (at, step) in chain.iter().enumerate().skip(from) {
        let Some(ix) = step.instance(identity.consumer) else { continue };
        let (plugin, hooks) = world.tables.plugin(ix);
        if !hooks.request || !world.tables.runs_for(ix, parts.facts.https) {
            continue;
        }
        let mut cx = Ctx {
            now: clock::wall(),
            head: parts.head,
            facts: &parts.facts,
            route: parts.route,
            service: parts.service,
            captures: &Groups { shard, world, parts },
            directory: &world.tables.directory,
            identity,
            edits,
            locals: &mut locals,
            rng: &mut rng,
        };
        let verdict = match outcome.take() {
            Some(outcome) => plugin.on_outcome(&mut cx, outcome),
            None => plugin.on_request(&mut cx),
        };
        match verdict {
            Verdict::Next => {}
            Verdict::Reply(reply) => return Phase::Reply(reply),
            Verdict::Need(need) => return Phase::Need(at, need),
        }
    }
    Phase::Done
}

/// Runs response hooks for an answer of `status`, whoever made it.
pub(super) fn response(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    identity: &mut Identity,
    edits: &mut Edits,
    status: u16,
) {
    if !parts.way.responds {
        return;
    }
    let (mut locals, mut rng) = (shard.locals.borrow_mut(), shard.rng.borrow_mut());
    for step in world.tables.chain(parts.route_ix) {
        let Some(ix) = step.instance(identity.consumer) else { continue };
        let (plugin, hooks) = world.tables.plugin(ix);
        if !hooks.response || !world.tables.runs_for(ix, parts.facts.https) {
            continue;
        }
        let mut cx = Ctx {
            now: clock::wall(),
            head: parts.head,
            facts: &parts.facts,
            route: parts.route,
            service: parts.service,
            captures: &Groups { shard, world, parts },
            directory: &world.tables.directory,
            identity,
            edits,
            locals: &mut locals,
            rng: &mut rng,
        };
        plugin.on_response(&mut cx, status);
    }
}

/// The groups of the path's expression, searched when they are asked for.
struct Groups<'a> {
    shard: &'a Shard,
    world: &'a World,
    parts: &'a Parts<'a>,
}

impl<'a> Groups<'a> {
    fn with<T>(&self, look: impl FnOnce(route::Captures<'_, 'a>) -> Option<T>) -> Option<T> {
        let found = self.parts.found.as_ref()?;
        let mut scratch = self.shard.captures.borrow_mut();
        let captures = self.world.tables.routes.captures(found, self.parts.facts.path, &mut scratch)?;
        look(captures)
    }
}

impl Captures for Groups<'_> {
    fn at(&self, group: usize) -> Option<&[u8]> {
        self.with(|captures| captures.at(group))
    }

    fn named<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.with(|captures| captures.named(name))
    }

    fn each(&self, told: &mut dyn FnMut(usize, Option<&str>, &[u8])) {
        self.with(|captures| {
            let taken = captures.iter().skip(1).filter_map(|(at, name, bytes)| Some((at, name, bytes?)));
            taken.for_each(|(at, name, bytes)| told(at, name, bytes));
            Some(())
        });
    }
}
