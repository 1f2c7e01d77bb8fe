//! Draft → Plan: names become places, unique things are held to be unique, and every fault is found at once.
//!
//! What is disabled falls away here: a disabled service takes its routes with it (404), a disabled plugin instance lets
//! the next less specific one speak.

use super::draft::{Common, Draft, Ref};
use super::ids::Table;
use super::report::Report;
use super::{
    Algorithm, Consumer, Credential, Plan, PluginInstance, Protocol, Route, Scope, Secret, Service, Target, Upstream,
};
use crate::base::id::{ConsumerIx, RouteIx, ServiceIx, UpstreamIx};
use crate::base::span::{At, Span};
use aws_lc_rs::digest;
use std::collections::HashMap;
use uuid::Uuid;

/// Links a draft. `hash` names the sources; `report` holds what reading them has found, and is added to.
///
/// `None` for the plan when there is any fault.
pub fn link(draft: Draft, hash: String, mut report: Report) -> (Option<Plan>, Report) {
    let mut names = Names::default();
    let (node, listeners) = draft.node.finish(&mut report);

    let mut upstreams: Vec<Upstream> = Vec::new();
    for upstream in draft.upstreams {
        let ix = upstreams.len() as u32;
        names.add(Table::Upstreams, &upstream.common, Some(("name", &upstream.name)), ix, &mut report);
        if upstream.algorithm != Algorithm::RoundRobin {
            let message = "this algorithm is not served yet; its targets are taken in turn, by weight";
            report.warning(&upstream.common.at, format!("{}.algorithm", upstream.common.path), message, "");
        }
        upstreams.push(Upstream {
            id: upstream.common.id,
            name: upstream.name,
            implied: false,
            algorithm: upstream.algorithm,
            host_header: upstream.host_header,
            targets: Vec::new(),
            tags: upstream.common.tags,
            at: upstream.common.at,
        });
    }
    for target in draft.targets {
        names.add(Table::Targets, &target.common, None, 0, &mut report);
        let Some(ix) = names.find(Table::Upstreams, "upstream", &target.upstream, &target.common, &mut report) else {
            continue;
        };
        upstreams[ix as usize].targets.push(Target {
            host: target.host,
            port: target.port,
            weight: target.weight,
            at: target.common.at,
        });
    }

    let mut implied: HashMap<(String, u16), UpstreamIx> = HashMap::new();
    let mut services: Vec<Service> = Vec::new();
    let mut enabled: Vec<bool> = Vec::new();
    for service in draft.services {
        let ix = services.len() as u32;
        let name = service.name.as_deref().map(|name| ("name", name));
        names.add(Table::Services, &service.common, name, ix, &mut report);
        let named = upstreams.iter().position(|upstream| !upstream.implied && upstream.name == service.host);
        let upstream = match named {
            Some(ix) => UpstreamIx(ix as u32),
            None => *implied.entry((service.host.clone(), service.port)).or_insert_with(|| {
                upstreams.push(imply(&service.host, service.port, &service.common.at));
                UpstreamIx(upstreams.len() as u32 - 1)
            }),
        };
        if service.enabled && service.protocol != Protocol::Http {
            let message = format!("{} is not served yet: its requests are answered with 501", service.protocol.word());
            report.warning(&service.common.at, format!("{}.protocol", service.common.path), message, "");
        }
        enabled.push(service.enabled);
        services.push(Service {
            id: service.common.id,
            name: service.name,
            protocol: service.protocol,
            host: service.host,
            port: service.port,
            path: service.prefix,
            retries: service.retries,
            connect_timeout_ms: service.connect_timeout_ms,
            write_timeout_ms: service.write_timeout_ms,
            read_timeout_ms: service.read_timeout_ms,
            upstream,
            tls_verify: service.tls_verify,
            tags: service.common.tags,
            at: service.common.at,
        });
    }

    // Routes of disabled services keep their names, so that what refers to them is understood; they get no place.
    let mut routes: Vec<Route> = Vec::new();
    let mut route_at: Vec<Option<RouteIx>> = Vec::new();
    for route in draft.routes {
        let ix = route_at.len() as u32;
        let name = route.name.as_deref().map(|name| ("name", name));
        names.add(Table::Routes, &route.common, name, ix, &mut report);
        let service = match &route.service {
            None => None,
            Some(service) => match names.find(Table::Services, "service", service, &route.common, &mut report) {
                Some(ix) => Some(ServiceIx(ix)),
                None => {
                    route_at.push(None);
                    continue;
                }
            },
        };
        if service.is_some_and(|service| !enabled[service.ix()]) {
            route_at.push(None);
            continue;
        }
        route_at.push(Some(RouteIx(routes.len() as u32)));
        routes.push(Route {
            id: route.common.id,
            name: route.name,
            protocols: route.protocols,
            methods: route.methods,
            hosts: route.hosts,
            paths: route.paths,
            headers: route.headers,
            snis: route.snis,
            strip_path: route.strip_path,
            preserve_host: route.preserve_host,
            https_redirect_status: route.https_redirect_status,
            regex_priority: route.regex_priority,
            request_buffering: route.request_buffering,
            response_buffering: route.response_buffering,
            service,
            tags: route.common.tags,
            at: route.common.at,
        });
    }

    let mut consumers: Vec<Consumer> = Vec::new();
    for consumer in draft.consumers {
        let ix = consumers.len() as u32;
        let username = consumer.username.as_deref().map(|name| ("username", name));
        names.add(Table::Consumers, &consumer.common, username, ix, &mut report);
        if let Some(custom_id) = &consumer.custom_id {
            names.unique(Table::Consumers, "custom_id", custom_id, custom_id, &consumer.common, &mut report);
        }
        consumers.push(Consumer {
            id: consumer.common.id,
            username: consumer.username,
            custom_id: consumer.custom_id,
            groups: Vec::new(),
            tags: consumer.common.tags,
            at: consumer.common.at,
        });
    }
    for group in draft.groups {
        names.add(Table::Groups, &group.common, None, 0, &mut report);
        if let Some(ix) = names.find(Table::Consumers, "consumer", &group.consumer, &group.common, &mut report) {
            consumers[ix as usize].groups.push(group.group);
        }
    }

    let mut credentials: Vec<Credential> = Vec::new();
    for credential in draft.credentials {
        let (table, column, key, shown) = match &credential.secret {
            // A key is a secret: a message that is logged does not repeat it.
            Secret::Key { key, .. } => (Table::Keys, "key", key, "***"),
            Secret::Jwt { key, .. } => (Table::Jwts, "key", key, key.as_str()),
            Secret::Basic { username, .. } => (Table::Basics, "username", username, username.as_str()),
            Secret::Hmac { username, .. } => (Table::Hmacs, "username", username, username.as_str()),
        };
        let fresh = names.unique(table, column, key, shown, &credential.common, &mut report);
        if fresh {
            names.add(table, &credential.common, None, 0, &mut report);
        }
        let found = names.find(Table::Consumers, "consumer", &credential.consumer, &credential.common, &mut report);
        let Some(consumer) = found.map(ConsumerIx) else { continue };
        let mut secret = credential.secret;
        if let (Secret::Basic { password_hash, .. }, true) = (&mut secret, credential.plain) {
            *password_hash = hashed(password_hash, consumers[consumer.ix()].id);
        }
        credentials.push(Credential { id: credential.common.id, consumer, secret, at: credential.common.at });
    }

    let mut plugins: Vec<PluginInstance> = Vec::new();
    for plugin in draft.plugins {
        let name = plugin.instance_name.as_deref().map(|name| ("instance_name", name));
        names.add(Table::Plugins, &plugin.common, name, 0, &mut report);
        let mut lost = false;
        let mut refer = |table, column, to: &Option<At<Ref>>, report: &mut Report| {
            let to = to.as_ref()?;
            let found = names.find(table, column, to, &plugin.common, report);
            lost |= found.is_none();
            found
        };
        let route = refer(Table::Routes, "route", &plugin.route, &mut report);
        let service = refer(Table::Services, "service", &plugin.service, &mut report);
        let consumer = refer(Table::Consumers, "consumer", &plugin.consumer, &mut report);
        let place = route.map(|ix| route_at[ix as usize]);
        // Attached to a route that is not served, or to something that does not exist, or switched off.
        if lost || place == Some(None) || !plugin.enabled {
            continue;
        }
        let scope =
            Scope { route: place.flatten(), service: service.map(ServiceIx), consumer: consumer.map(ConsumerIx) };
        meets_protocols(&plugin.protocols, scope, &routes, &plugin.common, &mut report);
        plugins.push(PluginInstance {
            id: plugin.common.id,
            name: plugin.name,
            instance_name: plugin.instance_name,
            scope,
            protocols: plugin.protocols,
            config: plugin.config,
            tags: plugin.common.tags,
            at: plugin.common.at,
        });
    }

    for (ix, other) in draft.others.iter().enumerate() {
        let name = other.name.as_ref().map(|(column, name)| (*column, name.as_str()));
        names.add(other.table, &other.common, name, ix as u32, &mut report);
    }
    for other in &draft.others {
        if let Some((column, table, parent)) = &other.parent {
            names.find(*table, column, parent, &other.common, &mut report);
        }
    }
    let mut kinds: Vec<Table> = draft.others.iter().map(|other| other.table).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let Some(first) = draft.others.iter().find(|other| other.table == kind) else { continue };
        report.warning(&first.common.at, &*first.common.path, format!("{} are not served yet", kind.name()), "");
    }

    if !report.is_clean() {
        return (None, report);
    }
    let plan = Plan { hash, node, listeners, services, routes, upstreams, consumers, credentials, plugins };
    (Some(plan), report)
}

/// The upstream of a service with a plain host: one target.
fn imply(host: &str, port: u16, at: &Span) -> Upstream {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Upstream {
        id: Uuid::nil(),
        name: format!("{host}:{port}"),
        implied: true,
        algorithm: Algorithm::RoundRobin,
        host_header: None,
        targets: vec![Target { host: bare.to_owned(), port, weight: 100, at: at.clone() }],
        tags: Vec::new(),
        at: at.clone(),
    }
}

/// SHA-1 of password and consumer id, as the credentials of a database hold it.
fn hashed(password: &str, consumer: Uuid) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{password}{consumer}").as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A plugin must run for a protocol of its route, or of at least one route of its service.
fn meets_protocols(protocols: &[Protocol], scope: Scope, routes: &[Route], common: &Common, report: &mut Report) {
    let meets = |route: &Route| route.protocols.iter().any(|protocol| protocols.contains(protocol));
    let path = || format!("{}.protocols", common.path);
    if let Some(route) = scope.route {
        if !meets(&routes[route.ix()]) {
            report.fault(&common.at, path(), "must match the associated route's protocols", "");
        }
    } else if let Some(service) = scope.service {
        let mut of_service = routes.iter().filter(|route| route.service == Some(service)).peekable();
        if of_service.peek().is_some() && !of_service.any(meets) {
            let message = "must match the protocols of at least one route pointing to this Plugin's service";
            report.fault(&common.at, path(), message, "");
        }
    }
}

/// What is named so far, by table.
#[derive(Default)]
struct Names {
    by_id: HashMap<(Table, Uuid), u32>,
    by_name: HashMap<(Table, String), u32>,
    unique: HashMap<(Table, &'static str, String), Span>,
}

impl Names {
    /// Notes an entity; a second one of its id or name is a fault.
    fn add(&mut self, table: Table, common: &Common, name: Option<(&'static str, &str)>, ix: u32, report: &mut Report) {
        if self.by_id.insert((table, common.id), ix).is_some() {
            let hint = "each must differ; plugins and targets are told apart by what they are attached to";
            let message = format!(
                "uniqueness violation: '{}' entity with primary key set to '{}' already declared",
                table.name(),
                common.id
            );
            // The name says it better, where there is one and it is the reason.
            let by_name =
                name.is_some_and(|(column, name)| self.unique.contains_key(&(table, column, name.to_owned())));
            if !by_name {
                report.fault(&common.at, &*common.path, message, hint);
            }
        }
        if let Some((column, name)) = name {
            if self.unique(table, column, name, name, common, report) {
                self.by_name.insert((table, name.to_owned()), ix);
            }
        }
    }

    /// Notes a value of a unique column; whether it is the first.
    fn unique(
        &mut self,
        table: Table,
        column: &'static str,
        value: &str,
        shown: &str,
        common: &Common,
        report: &mut Report,
    ) -> bool {
        match self.unique.entry((table, column, value.to_owned())) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(common.at.clone());
                true
            }
            std::collections::hash_map::Entry::Occupied(first) => {
                let table = table.name();
                let message =
                    format!("uniqueness violation: '{table}' entity with {column} set to '{shown}' already declared");
                report.fault(&common.at, &*common.path, message, format!("the first is at {}", first.get()));
                false
            }
        }
    }

    fn find(&self, table: Table, column: &str, to: &At<Ref>, common: &Common, report: &mut Report) -> Option<u32> {
        let (found, text) = match &to.value {
            Ref::Id(id) => (self.by_id.get(&(table, *id)), id.to_string()),
            Ref::Text(text) => {
                let by_id = Uuid::parse_str(text).ok().and_then(|id| self.by_id.get(&(table, id)));
                (by_id.or_else(|| self.by_name.get(&(table, text.clone()))), text.clone())
            }
        };
        if found.is_none() {
            let known = self.by_name.keys().filter(|(held, _)| *held == table).map(|(_, name)| name.as_str());
            let hint = crate::base::nearest::nearest(&text, known)
                .map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
            let message = format!("invalid reference '{column}: {text}' (no such entry in '{}')", table.name());
            report.fault(&to.span, format!("{}.{column}", common.path), message, hint);
        }
        found.copied()
    }
}
