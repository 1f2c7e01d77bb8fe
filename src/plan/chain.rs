//! Which plugin instances run for a route, in which order: the most specific instance of each name wins, and the names
//! run by falling priority.
//!
//! Consumer-scoped instances are only known once authentication has spoken, so a [`Step`] holds the answer for "no
//! consumer" and [`Step::instance`] finds the other one in at most four look-ups.

use super::{Plan, Scope};
use crate::base::id::{ConsumerIx, PluginIx, RouteIx, ServiceIx};
use std::collections::HashMap;
use std::sync::Arc;

/// All instances of one plugin name, by scope.
#[derive(Debug, Default)]
pub struct Family {
    /// Plugin name.
    pub name: String,
    by_scope: HashMap<Scope, PluginIx>,
    /// Is any of them scoped to a consumer?
    any_consumer: bool,
}

/// One plugin of a route's chain.
#[derive(Clone, Debug)]
pub struct Step {
    family: Arc<Family>,
    route: Option<RouteIx>,
    service: Option<ServiceIx>,
    /// The instance for a request without consumer.
    pub plain: Option<PluginIx>,
}

impl Step {
    /// The name of the plugin.
    pub fn name(&self) -> &str {
        &self.family.name
    }

    /// The instance that runs for `consumer`, most specific first: route+service+consumer, route+consumer,
    /// service+consumer, route+service, consumer, route, service, global.
    pub fn instance(&self, consumer: Option<ConsumerIx>) -> Option<PluginIx> {
        let (Some(_), true) = (consumer, self.family.any_consumer) else { return self.plain };
        self.family.find(self.route, self.service, consumer)
    }
}

impl Family {
    fn find(
        &self,
        route: Option<RouteIx>,
        service: Option<ServiceIx>,
        consumer: Option<ConsumerIx>,
    ) -> Option<PluginIx> {
        let scopes = [
            (route, service, consumer),
            (route, None, consumer),
            (None, service, consumer),
            (route, service, None),
            (None, None, consumer),
            (route, None, None),
            (None, service, None),
            (None, None, None),
        ];
        // A missing part makes two rows of the table the same scope; the first hit is still the most specific one.
        scopes
            .iter()
            .find_map(|&(route, service, consumer)| self.by_scope.get(&Scope { route, service, consumer }).copied())
    }
}

/// The chains of a plan: one per route, and one for requests that no route matched.
#[derive(Debug, Default)]
pub struct Chains {
    /// By [`RouteIx`].
    pub routes: Vec<Arc<[Step]>>,
    /// Global instances only.
    pub unmatched: Arc<[Step]>,
}

impl Chains {
    /// Builds the chains; `priority` gives a plugin name's place, larger runs first. O(routes × plugin names).
    pub fn of(plan: &Plan, priority: impl Fn(&str) -> i32) -> Chains {
        let mut families: HashMap<&str, Family> = HashMap::new();
        for (ix, instance) in plan.plugins.iter().enumerate() {
            let family = families.entry(&instance.name).or_default();
            family.name.clone_from(&instance.name);
            family.any_consumer |= instance.scope.consumer.is_some();
            family.by_scope.insert(instance.scope, PluginIx(ix as u32));
        }
        let mut families: Vec<Arc<Family>> = families.into_values().map(Arc::new).collect();
        // Ties are broken by name, descending: the order the reference's sorter yields.
        families.sort_by(|a, b| priority(&b.name).cmp(&priority(&a.name)).then_with(|| b.name.cmp(&a.name)));
        let chain = |route: Option<RouteIx>, service: Option<ServiceIx>| -> Arc<[Step]> {
            families
                .iter()
                .filter_map(|family| {
                    let plain = family.find(route, service, None);
                    // A consumer-scoped instance may still apply where nothing else does.
                    (plain.is_some() || (family.any_consumer && route.is_some())).then(|| Step {
                        family: family.clone(),
                        route,
                        service,
                        plain,
                    })
                })
                .collect()
        };
        let routes =
            plan.routes.iter().enumerate().map(|(ix, route)| chain(Some(RouteIx(ix as u32)), route.service)).collect();
        Chains { routes, unmatched: chain(None, None) }
    }
}
