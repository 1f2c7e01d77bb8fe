//! Runs the plugins of a chain. Synchronous: what a plugin needs of the world is handed back to the caller, who fetches
//! it and comes again.

use super::look::Parts;
use super::tables::World;
use super::Shard;
use crate::base::id::PluginIx;
use crate::hook::{Ctx, Edits, Group, Hooks, Identity, Locals, Need, Outcome, Plugin, Reply, Tally, Verdict};
use crate::http::HeadRef;
use crate::io::clock;
use std::ops::Range;

/// How far the request phase came.
pub(super) enum Phase {
    /// Every plugin said `Next`.
    Done,
    /// A plugin answers.
    Reply(Box<Reply>),
    /// A plugin refuses with this status; its message stands in the edits.
    Refuse(u16),
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
            directory: &world.tables.directory,
            identity,
            edits,
            locals: &mut locals,
            rng: &mut rng,
            captures: &|group| captured(shard, world, parts, group),
            reply: None,
            trailers: b"",
            made_here: false,
        };
        let verdict = match outcome.take() {
            Some(outcome) => plugin.on_outcome(&mut cx, outcome),
            None => plugin.on_request(&mut cx),
        };
        match verdict {
            Verdict::Next => {}
            Verdict::Reply(reply) => {
                // An answer of another kind is no refusal.
                if reply.status >= 400 {
                    count_refusal(&mut locals, world, parts, ix, *identity, reply.status);
                }
                return Phase::Reply(reply);
            }
            Verdict::Refuse(status) => {
                count_refusal(&mut locals, world, parts, ix, *identity, status);
                return Phase::Refuse(status);
            }
            Verdict::Need(need) => return Phase::Need(at, need),
        }
    }
    Phase::Done
}

/// Counts that a plugin has refused a request.
fn count_refusal(
    locals: &mut Locals,
    world: &World,
    parts: &Parts<'_>,
    plugin: PluginIx,
    identity: Identity,
    status: u16,
) {
    let plan = &world.tables.plan;
    let consumer = identity.consumer.map(|ix| plan.consumer(ix));
    let name = &plan.plugins[plugin.ix()].name;
    locals.of(Tally::default).add(name, parts.route, parts.service, consumer, status, false);
}

/// Runs response hooks for an answer with this head, whoever made it: those of every plugin of the chain, whether or not
/// its turn had come on the way to the upstream. For a request that no route matched the chain is that of global ones.
pub(super) fn response(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    identity: &mut Identity,
    edits: &mut Edits,
    reply: HeadRef<'_>,
    made_here: bool,
) {
    if parts.way.responds {
        let asked = |_: &dyn Plugin, hooks: Hooks| hooks.response;
        each_back(shard, world, parts, identity, edits, reply, b"", made_here, asked, |plugin, cx| {
            plugin.on_response(cx, reply.head.status);
        });
    }
}

/// Does any plugin want the body of an answer whose response hooks have run?
pub(super) fn wants_body(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    identity: &mut Identity,
    edits: &mut Edits,
    reply: HeadRef<'_>,
) -> bool {
    let mut wanted = false;
    if parts.way.rewrites {
        each_back(shard, world, parts, identity, edits, reply, b"", false, rewrites, |plugin, cx| {
            wanted |= plugin.wants_body(cx);
        });
    }
    wanted
}

/// What the plugins make of the body of an answer, behind which `trailers` came; `None` where it stays as it is.
#[expect(clippy::too_many_arguments, reason = "each is a piece of the exchange's state, borrowed apart")]
pub(super) fn rewrite(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    identity: &mut Identity,
    edits: &mut Edits,
    reply: HeadRef<'_>,
    made_here: bool,
    body: &[u8],
    trailers: &[u8],
) -> Option<Vec<u8>> {
    let mut new: Option<Vec<u8>> = None;
    if !parts.way.rewrites {
        return new;
    }
    each_back(shard, world, parts, identity, edits, reply, trailers, made_here, rewrites, |plugin, cx| {
        if plugin.wants_body(cx) {
            let next = plugin.on_response_body(cx, new.as_deref().unwrap_or(body));
            new = next.or(new.take());
        }
    });
    new
}

fn rewrites(plugin: &dyn Plugin, _: Hooks) -> bool {
    plugin.rewrites()
}

/// Does `work` with the plugins that `asked` picks, in the order of the way back.
#[expect(clippy::too_many_arguments, reason = "as for `rewrite`")]
fn each_back(
    shard: &Shard,
    world: &World,
    parts: &Parts<'_>,
    identity: &mut Identity,
    edits: &mut Edits,
    reply: HeadRef<'_>,
    trailers: &[u8],
    made_here: bool,
    asked: impl Fn(&dyn Plugin, Hooks) -> bool,
    mut work: impl FnMut(&dyn Plugin, &mut Ctx<'_>),
) {
    let (mut locals, mut rng) = (shard.locals.borrow_mut(), shard.rng.borrow_mut());
    for step in world.tables.chain_back(parts.route_ix) {
        let Some(ix) = step.instance(identity.consumer) else { continue };
        let (plugin, hooks) = world.tables.plugin(ix);
        if !asked(plugin, hooks) || !world.tables.runs_for(ix, parts.facts.https) {
            continue;
        }
        let mut cx = Ctx {
            now: clock::wall(),
            head: parts.head,
            facts: &parts.facts,
            route: parts.route,
            service: parts.service,
            directory: &world.tables.directory,
            identity,
            edits,
            locals: &mut locals,
            rng: &mut rng,
            captures: &|group| captured(shard, world, parts, group),
            reply: Some(reply),
            trailers,
            made_here,
        };
        work(plugin, &mut cx);
    }
}

/// Where in the path a group of the route's expression stands.
fn captured(shard: &Shard, world: &World, parts: &Parts<'_>, group: Group<'_>) -> Option<Range<usize>> {
    let mut scratch = shard.captures.borrow_mut();
    let captures = world.tables.routes.captures(parts.found.as_ref()?, parts.facts.path, &mut scratch)?;
    captures.span(match group {
        Group::At(place) => place,
        Group::Named(name) => captures.place(name)?,
    })
}
