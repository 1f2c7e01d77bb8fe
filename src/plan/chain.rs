//! Which plugin instances run for a route, in which order: the most specific instance of each name wins, and the names
//! run by falling priority.
//!
//! An instance may ask to run before or after others on the way to the upstream ([`Ordering`]): it is moved by as little
//! as that takes, the others stay where they were.
//!
//! Instances for a consumer or a group of consumers are only known once authentication has spoken, so a [`Step`] holds the
//! answer for "no consumer", and [`Step::instance`] finds the other one: in at most four look-ups, and four more for each
//! group that the consumer is in.

use super::groups::Membership;
use super::{Ordering, Plan, Scope};
use crate::base::id::{ConsumerIx, GroupIx, PluginIx, RouteIx, ServiceIx};
use std::collections::HashMap;
use std::sync::Arc;

/// All instances of one plugin name, by scope.
#[derive(Debug, Default)]
pub struct Family {
    /// Plugin name.
    pub name: String,
    by_scope: HashMap<Scope, PluginIx>,
    /// Is any of them for a consumer, or for a group?
    any_consumer: bool,
    /// Who is in which group; `None` where none of them is for a group.
    membership: Option<Arc<Membership>>,
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

    /// The instance that runs for `consumer`, most specific first: route+service+consumer, route+service+group,
    /// route+consumer, service+consumer, route+group, service+group, route+service, consumer, group, route, service, global.
    /// Of a consumer's groups the one that was written first counts, where both have an instance of the same kind.
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
        let groups = match (&self.membership, consumer) {
            (Some(membership), Some(consumer)) => membership.groups(consumer),
            _ => &[],
        };
        let held =
            |route, service, consumer| self.by_scope.get(&Scope { route, service, consumer, group: None }).copied();
        let of_group = |route, service| {
            let held = |group: &GroupIx| {
                self.by_scope.get(&Scope { route, service, consumer: None, group: Some(*group) }).copied()
            };
            groups.iter().find_map(held)
        };
        // A missing part makes two rows of the table the same scope; the first hit is still the most specific one.
        held(route, service, consumer)
            .or_else(|| of_group(route, service))
            .or_else(|| held(route, None, consumer))
            .or_else(|| held(None, service, consumer))
            .or_else(|| of_group(route, None))
            .or_else(|| of_group(None, service))
            .or_else(|| held(route, service, None))
            .or_else(|| held(None, None, consumer))
            .or_else(|| of_group(None, None))
            .or_else(|| held(route, None, None))
            .or_else(|| held(None, service, None))
            .or_else(|| held(None, None, None))
    }
}

/// The chains of a plan: one per route, and one for requests that no route matched.
#[derive(Debug, Default)]
pub struct Chains {
    /// On the way to the upstream, by [`RouteIx`].
    pub routes: Vec<Arc<[Step]>>,
    /// On the way back, by [`RouteIx`]: the same by priority alone.
    pub replies: Vec<Arc<[Step]>>,
    /// Global instances only.
    pub unmatched: Arc<[Step]>,
    /// Instances whose ordering cannot be kept, because they wait for each other; each once.
    pub circles: Vec<PluginIx>,
}

impl Chains {
    /// Builds the chains; `priority` gives a plugin name's place, larger runs first. O(routes × plugin names).
    pub fn of(plan: &Plan, priority: impl Fn(&str) -> i32) -> Chains {
        let mut families: HashMap<&str, Family> = HashMap::new();
        let for_groups = plan.plugins.iter().any(|instance| instance.scope.group.is_some());
        let membership = for_groups.then(|| Arc::new(Membership::of(&plan.groups, plan.consumers.len())));
        for (ix, instance) in plan.plugins.iter().enumerate() {
            let family = families.entry(&instance.name).or_default();
            family.name.clone_from(&instance.name);
            family.any_consumer |= instance.scope.consumer.is_some() || instance.scope.group.is_some();
            if instance.scope.group.is_some() {
                family.membership.clone_from(&membership);
            }
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
        let replies: Vec<Arc<[Step]>> =
            plan.routes.iter().enumerate().map(|(ix, route)| chain(Some(RouteIx(ix as u32)), route.service)).collect();
        let mut circles = Vec::new();
        let routes = match plan.plugins.iter().any(|instance| instance.ordering.is_some()) {
            true => replies.iter().map(|chain| ordered(plan, chain, &mut circles)).collect(),
            false => replies.clone(),
        };
        circles.sort_unstable();
        circles.dedup();
        Chains { routes, replies, unmatched: chain(None, None), circles }
    }
}

/// The chain with those moved that ask for it. Those that wait for each other stay where they were, and are noted.
fn ordered(plan: &Plan, chain: &Arc<[Step]>, circles: &mut Vec<PluginIx>) -> Arc<[Step]> {
    let ordering = |at: usize| -> Option<&Ordering> { plan.plugin(chain[at].plain?).ordering.as_deref() };
    if (0..chain.len()).all(|at| ordering(at).is_none()) {
        return chain.clone();
    }
    let names: Vec<&str> = chain.iter().map(Step::name).collect();
    let (order, stuck) = arrange(&names, ordering);
    circles.extend(stuck.into_iter().filter_map(|at| chain[at].plain));
    order.into_iter().map(|at| chain[at].clone()).collect()
}

/// In which order plugins of these names run that would run in this one; and those that wait for each other.
/// O(n³) for n plugins on one route, which are a dozen.
fn arrange<'o>(names: &[&str], ordering: impl Fn(usize) -> Option<&'o Ordering>) -> (Vec<usize>, Vec<usize>) {
    let all = || 0..names.len();
    let lists = |list: &[String], at: usize| list.iter().any(|name| name == names[at]);
    let precedes = |a: usize, b: usize| {
        ordering(a).is_some_and(|ordering| lists(&ordering.before, b))
            || ordering(b).is_some_and(|ordering| lists(&ordering.after, a))
    };
    // Who runs before another moves up to it; whoever runs after one is passed over until that one has run.
    let mut places: Vec<usize> = all().collect();
    for _ in all() {
        for at in all() {
            let targets = all().filter(|&to| ordering(at).is_some_and(|ordering| lists(&ordering.before, to)));
            places[at] = targets.map(|to| places[to]).chain([places[at]]).min().unwrap_or(at);
        }
    }
    let mut waiting: Vec<usize> = all().collect();
    waiting.sort_by_key(|&at| (places[at], at));
    let (mut order, mut stuck) = (Vec::with_capacity(names.len()), Vec::new());
    while !waiting.is_empty() {
        let next = waiting.iter().position(|&at| !waiting.iter().any(|&other| precedes(other, at)));
        if next.is_none() {
            stuck.extend(waiting.iter().copied().filter(|&at| ordering(at).is_some()));
        }
        order.push(waiting.remove(next.unwrap_or(0)));
    }
    stuck.sort_unstable();
    stuck.dedup();
    (order, stuck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::span::Span;

    /// Plugins in order of priority, each with what it runs before (`<`) and after (`>`); the order they run in, and
    /// those that wait for each other.
    #[track_caller]
    fn check(plugins: &str, want: &str, want_stuck: &str) {
        let rows: Vec<Vec<&str>> = plugins.split("; ").map(|row| row.split(' ').collect()).collect();
        let named = |row: &[&str], sign: char| -> Vec<String> {
            row.iter().filter_map(|word| word.strip_prefix(sign)).map(str::to_owned).collect()
        };
        let orderings: Vec<Option<Ordering>> = rows
            .iter()
            .map(|row| {
                let (before, after) = (named(row, '<'), named(row, '>'));
                (row.len() > 1).then(|| Ordering { before, after, at: Span::nowhere(), path: String::new() })
            })
            .collect();
        let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
        let (order, stuck) = arrange(&names, |at| orderings[at].as_ref());
        let words = |places: Vec<usize>| places.into_iter().map(|at| names[at]).collect::<Vec<_>>().join(" ");
        assert_eq!((words(order), words(stuck)), (want.to_owned(), want_stuck.to_owned()), "{plugins}");
    }

    #[test]
    fn who_asks_for_it_is_moved_and_nobody_else() {
        check("a; b; c", "a b c", "");
        check("key; acl; limit <key", "limit key acl", "");
        check("cors >key; jwt; key; acl", "jwt key cors acl", "");
        check("a; b <a; c <b; d", "c b a d", "");
        check("a; b; c <b <a", "c a b", "");
        check("a >gone; b <gone", "a b", "");
        check("a >c; b; c >d; d; e", "b d c a e", "");
        check("a <b; b", "a b", "");
    }

    #[test]
    fn who_waits_for_each_other_is_named() {
        check("a >b; b >a; c", "c a b", "a b");
        check("a; b <a; c <b >a", "a c b", "b c");
        check("a <a; b", "b a", "a");
    }
}
