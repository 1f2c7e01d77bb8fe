//! What a generation compiles to, off the serving threads: routes, chains, plugins, consumers. Immutable; one `Arc` for
//! all shards, and on each shard one `Rc` that requests hold.

use super::count::{RouteCount, Sample};
use super::greeting::Asking;
use super::secure::{Finding, Secure};
use super::upstream::Group;
use super::Shard;
use crate::balance::round_robin::{Turn, Turns};
use crate::base::id::{PluginIx, RouteIx, ServiceIx};
use crate::hook::directory::Directory;
use crate::hook::{Descriptor, Env, Hooks, Plugin, Shelf};
use crate::plan::chain::{Chains, Step};
use crate::plan::{Plan, PluginInstance, Protocol, Route, Upstream};
use crate::route;
use crate::route::entry::Door;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// The compiled form of a plan.
pub struct Tables {
    /// What it was compiled from.
    pub plan: Arc<Plan>,
    /// Consumers and credentials.
    pub directory: Directory,
    /// Handshakes.
    pub secure: Secure,
    pub(super) routes: route::Table,
    pub(super) chains: Chains,
    /// By [`PluginIx`].
    plugins: Vec<(Arc<dyn Plugin>, Hooks)>,
    /// By `RouteIx`; the last one is for requests that no route matched.
    labels: Vec<Label>,
    /// By `RouteIx`; the last one is for requests that no route matched.
    ways: Vec<Way>,
    /// Cursors, by `UpstreamIx`.
    pub(super) turns: Vec<Arc<Turn>>,
}

/// What logs and metrics call a route.
pub(super) struct Label {
    pub(super) id: Uuid,
    pub(super) route: String,
    pub(super) service: String,
}

/// What every request asks of its route, in less than half a cache line: with ten thousand routes, each look at the whole
/// one would be waited for.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Way {
    pub(super) door: Door,
    pub(super) service: Option<ServiceIx>,
    pub(super) strip_path: bool,
    pub(super) preserve_host: bool,
    /// Does any plugin run?
    pub(super) chained: bool,
    /// Does any of them look at answers?
    pub(super) responds: bool,
    /// May any of them rewrite the body of one?
    pub(super) rewrites: bool,
}

impl Tables {
    /// Compiles `plan`. Tens of milliseconds for ten thousand routes and consumers: keep it off the shards.
    ///
    /// # Errors
    /// What route expressions, plugins' constructors and keys of TLS refused: faults.
    pub fn compile(plan: Arc<Plan>, descriptors: &'static [Descriptor], shelf: &Shelf) -> Result<Tables, Vec<Finding>> {
        let mut faults = Vec::new();
        let directory = Directory::of(&plan).loaded_at(crate::io::clock::wall_exact());
        let generation = Shelf::default();
        let rows: HashMap<&str, &Descriptor> = descriptors.iter().map(|row| (row.name, row)).collect();
        let mut plugins = Vec::with_capacity(plan.plugins.len());
        for instance in &plan.plugins {
            let Some(row) = rows.get(instance.name.as_str()) else {
                faults.push(Finding::fault(&instance.at, format!("there is no plugin {:?}", instance.name)));
                continue;
            };
            let env = Env { plan: &plan, directory: &directory, instance, shelf, generation: &generation };
            match (row.build)(&instance.config, &env) {
                Ok(plugin) => plugins.push((plugin, row.hooks)),
                Err(what) => faults.push(Finding::fault(&instance.at, format!("plugin {}: {what}", instance.name))),
            }
        }
        let routes = route::Table::compile(&plan.routes);
        let routes = match (routes, faults.is_empty()) {
            (Ok(routes), true) => routes,
            (Ok(_), false) => return Err(faults),
            (Err(more), _) => {
                let at = |route: RouteIx| &plan.routes[route.ix()].at;
                faults.extend(more.into_iter().map(|fault| Finding::fault(at(fault.route), fault.what)));
                return Err(faults);
            }
        };
        let now = crate::io::clock::wall_exact().seconds() as i64;
        let asks = |((plugin, _), instance): (&(Arc<dyn Plugin>, Hooks), &PluginInstance)| {
            Some(Asking { hints: plugin.asks_certificate()?, scope: instance.scope })
        };
        let asking: Vec<Asking> = plugins.iter().zip(&plan.plugins).filter_map(asks).collect();
        let (secure, _) = Secure::compile_for(&plan, shelf, now, &asking)
            .map_err(|findings| findings.into_iter().filter(|finding| finding.is_fault).collect::<Vec<_>>())?;
        let chains = Chains::of(&plan, |name| rows.get(name).map_or(0, |row| row.priority));
        let all_turns: Arc<Turns> = shelf.take_or(Turns::default);
        let turns = plan.upstreams.iter().map(|upstream| all_turns.of(&upstream.name)).collect();
        all_turns.forget_unused();
        let mut tables =
            Tables { directory, secure, routes, chains, plugins, labels: Vec::new(), ways: Vec::new(), turns, plan };
        let all = || (0..tables.plan.routes.len()).map(|ix| Some(RouteIx(ix as u32))).chain([None]);
        (tables.labels, tables.ways) = all().map(|route| (tables.label_of(route), tables.way_of(route))).unzip();
        Ok(tables)
    }

    fn way_of(&self, ix: Option<RouteIx>) -> Way {
        let chain = self.chain(ix);
        // A consumer's own instance may have the hook where the plain one does not exist.
        let any = |test: &dyn Fn(&dyn Plugin, Hooks) -> bool| {
            let instances = || self.plugins.iter().zip(&self.plan.plugins);
            let has = |step: &Step| {
                instances()
                    .any(|((plugin, hooks), instance)| instance.name == step.name() && test(plugin.as_ref(), *hooks))
            };
            chain.iter().any(has)
        };
        let responds = any(&|_, hooks| hooks.response);
        let rewrites = any(&|plugin, _| plugin.rewrites());
        let chained = !chain.is_empty();
        let Some(route) = ix.map(|ix| &self.plan.routes[ix.ix()]) else {
            let door = Door::of(&[], 0);
            return Way { door, service: None, strip_path: false, preserve_host: false, chained, responds, rewrites };
        };
        Way {
            door: Door::of(&route.protocols, route.https_redirect_status),
            service: route.service,
            strip_path: route.strip_path,
            preserve_host: route.preserve_host,
            chained,
            responds,
            rewrites,
        }
    }

    fn label_of(&self, ix: Option<RouteIx>) -> Label {
        let Some(route) = ix.map(|ix| &self.plan.routes[ix.ix()]) else {
            return Label { id: Uuid::nil(), route: String::new(), service: String::new() };
        };
        let named = |name: &Option<String>, id: Uuid| name.clone().unwrap_or_else(|| id.to_string());
        let service = self.plan.service_of(route).map_or(String::new(), |service| named(&service.name, service.id));
        Label { id: route.id, route: named(&route.name, route.id), service }
    }

    /// The ids that requests are counted by.
    pub(super) fn counted(&self) -> impl ExactSizeIterator<Item = Uuid> + '_ {
        self.labels.iter().map(|label| label.id)
    }

    /// The plugins of a route, or those of requests that no route matched.
    pub(super) fn chain(&self, route: Option<RouteIx>) -> &[Step] {
        route.map_or(&self.chains.unmatched, |ix| &self.chains.routes[ix.ix()])
    }

    /// The same on the way back, where priority alone counts.
    pub(super) fn chain_back(&self, route: Option<RouteIx>) -> &[Step] {
        route.map_or(&self.chains.unmatched, |ix| &self.chains.replies[ix.ix()])
    }

    /// What every request asks of it.
    pub(super) fn way(&self, route: Option<RouteIx>) -> Way {
        self.ways[route.map_or(self.ways.len() - 1, RouteIx::ix)]
    }

    /// What logs and metrics call it.
    pub(super) fn label(&self, route: Option<RouteIx>) -> &Label {
        &self.labels[route.map_or(self.labels.len() - 1, RouteIx::ix)]
    }

    pub(super) fn plugin(&self, ix: PluginIx) -> (&dyn Plugin, Hooks) {
        let (plugin, hooks) = &self.plugins[ix.ix()];
        (plugin.as_ref(), *hooks)
    }

    /// Does the instance run for requests of this scheme?
    pub(super) fn runs_for(&self, ix: PluginIx, https: bool) -> bool {
        let scheme = if https { Protocol::Https } else { Protocol::Http };
        self.plan.plugins[ix.ix()].protocols.contains(&scheme)
    }

    pub(super) fn route(&self, ix: RouteIx) -> &Route {
        &self.plan.routes[ix.ix()]
    }
}

/// A generation on one shard.
pub(super) struct World {
    pub(super) tables: Arc<Tables>,
    /// By `UpstreamIx`.
    groups: Vec<Rc<Group>>,
    /// By `RouteIx`, the unmatched last; filled at first use.
    counts: RefCell<Vec<Option<Rc<RouteCount>>>>,
}

const _: () = assert!(size_of::<Way>() == 32, "two to a cache line");

impl World {
    pub(super) fn new(tables: Arc<Tables>, groups: Vec<Rc<Group>>) -> World {
        let counts = RefCell::new(vec![None; tables.labels.len()]);
        World { tables, groups, counts }
    }

    /// Before the first publication; serves nobody.
    pub(super) fn empty(tables: Arc<Tables>) -> World {
        World::new(tables, Vec::new())
    }

    /// Every upstream, and where it is.
    pub(super) fn located(&self) -> impl Iterator<Item = (&Upstream, &Rc<Group>)> {
        self.tables.plan.upstreams.iter().zip(&self.groups)
    }

    /// The targets of a service.
    pub(super) fn group(&self, service: ServiceIx) -> &Rc<Group> {
        &self.groups[self.tables.plan.services[service.ix()].upstream.ix()]
    }

    /// Counts one request to a route.
    pub(super) fn count(&self, shard: &Shard, route: Option<RouteIx>, sample: Sample) {
        let at = route.map_or(self.tables.labels.len() - 1, RouteIx::ix);
        let first = || {
            let label = self.tables.label(route);
            shard.counts.of(label.id, &label.route, &label.service)
        };
        // Borrowed, not cloned: the count of who holds it would be one more line to wait for.
        self.counts.borrow_mut()[at].get_or_insert_with(first).add(sample);
    }
}
