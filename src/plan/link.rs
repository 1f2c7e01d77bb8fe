//! Draft → Plan: references become places in tables, names become unique, services get their upstreams.
//!
//! What is disabled is taken out here, after it was held to the same rules as everything else. What is not served yet
//! was warned of by its reader; routes of streams are left out, as a request would match them by what they do not say.

use super::balancing::{Checks, Hashing};
use super::chain::Chains;
use super::draft::{
    Common, ConsumerDraft, ConsumerGroupDraft, CredentialDraft, Draft, GroupDraft, MemberDraft, OtherDraft, PemDraft,
    PluginDraft, Ref, RouteDraft, ServiceDraft, UpstreamDraft,
};
use super::groups::{ConsumerGroup, Groups};
use super::ids::{derived, Table};
use super::report::Report;
use super::tls::{Authority, Certificate, Secure};
use super::{
    Algorithm, Consumers, Credentials, NewConsumer, Plan, PluginInstance, Protocol, Route, Scope, Secret, Service,
    Target, Upstream,
};
use crate::base::id::{ConsumerIx, GroupIx, RouteIx, ServiceIx, UpstreamIx};
use crate::base::span::{At, Span};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Weight of the one target of an implied upstream; any will do.
const IMPLIED_WEIGHT: u32 = 100;

/// Links a draft. `hash` names the sources; `report` holds what reading them has found, and is added to.
///
/// `None` for the plan where there is any fault, earlier ones included. O(entities).
pub fn link(draft: Draft, hash: String, mut report: Report) -> (Option<Plan>, Report) {
    let plan = linked(draft, hash, &mut report);
    (report.is_clean().then_some(plan), report)
}

/// The plan of what could be linked; every fault is found.
fn linked(draft: Draft, hash: String, report: &mut Report) -> Plan {
    let Draft {
        node,
        services,
        routes,
        upstreams,
        targets,
        consumers,
        groups,
        consumer_groups,
        members,
        credentials,
        plugins,
        pems,
        others,
        records: _,
        unnamed: _,
    } = draft;
    let (node, listeners) = node.finish(report);

    let mut services = services;
    let mut credentials = credentials;
    let (secure, shown) = other_names(&others, &pems, &mut services, &upstreams, &mut credentials, report);

    let mut service_names = Names::of(Table::Services);
    for (ix, service) in services.iter().enumerate() {
        service_names.add(&service.common, service.name.as_deref().map(|name| ("name", name)), ix, report);
    }
    let mut route_names = Names::of(Table::Routes);
    for (ix, route) in routes.iter().enumerate() {
        route_names.add(&route.common, route.name.as_deref().map(|name| ("name", name)), ix, report);
    }
    let mut upstream_names = Names::of(Table::Upstreams);
    for (ix, upstream) in upstreams.iter().enumerate() {
        upstream_names.add(&upstream.common, Some(("name", &upstream.name)), ix, report);
    }
    let mut consumer_names = Names::of(Table::Consumers);
    let mut custom_ids = HashMap::new();
    for (ix, consumer) in consumers.iter().enumerate() {
        consumer_names.add(&consumer.common, consumer.username.as_deref().map(|name| ("username", name)), ix, report);
        if let Some(custom_id) = &consumer.custom_id {
            unique(&mut custom_ids, custom_id.as_str(), Table::Consumers, "custom_id", &consumer.common, report);
        }
    }

    // Upstreams, and the places of their names for the services.
    let mut linked_upstreams: Vec<Upstream> = upstreams
        .iter()
        .zip(shown)
        .map(|(upstream, certificate)| Upstream {
            id: upstream.common.id,
            name: upstream.name.clone(),
            implied: false,
            algorithm: upstream.algorithm,
            hashing: upstream.hashing.clone(),
            checks: upstream.checks.clone(),
            host_header: upstream.host_header.clone(),
            certificate,
            targets: Vec::new(),
            tags: upstream.common.tags.clone(),
            at: upstream.common.at.clone(),
        })
        .collect();
    let mut target_names = HashMap::new();
    for target in &targets {
        let Some(ix) = upstream_names.find("upstream", &target.upstream, &target.common, report) else { continue };
        let name = format!("{}|{}:{}", linked_upstreams[ix].name, target.host, target.port);
        let shown = format!("{}:{}", target.host, target.port);
        if let Some(first) = target_names.insert(name, target.common.at.clone()) {
            violation(Table::Targets, "target", &shown, &target.common, &first, report);
        }
        linked_upstreams[ix].targets.push(Target {
            id: target.common.id,
            host: target.host.clone(),
            port: target.port,
            weight: target.weight,
            tags: target.common.tags.clone(),
            at: target.common.at.clone(),
        });
    }

    // Services that are enabled; their places move up.
    let mut implied: HashMap<String, UpstreamIx> = HashMap::new();
    let mut service_places: Vec<Option<ServiceIx>> = Vec::with_capacity(services.len());
    let mut linked_services = Vec::with_capacity(services.len());
    for service in &services {
        service_places.push(service.enabled.then_some(ServiceIx(linked_services.len() as u32)));
        if service.enabled {
            let upstream = match upstream_names.by_name.get(service.host.as_str()) {
                Some(ix) => UpstreamIx(*ix as u32),
                None => imply(service, &mut implied, &mut linked_upstreams),
            };
            linked_services.push(link_service(service, upstream));
        }
    }

    // Routes of enabled services and of none.
    let mut route_places: Vec<Option<RouteIx>> = Vec::with_capacity(routes.len());
    let mut route_services: Vec<Option<usize>> = Vec::with_capacity(routes.len());
    let mut service_protocols: HashMap<usize, HashSet<Protocol>> = HashMap::new();
    let mut linked_routes = Vec::with_capacity(routes.len());
    for route in &routes {
        let target = route.service.as_ref().map(|at| service_names.find("service", at, &route.common, report));
        let service = target.flatten();
        route_services.push(service);
        if let Some(ix) = service {
            service_protocols.entry(ix).or_default().extend(&route.protocols);
        }
        let place = service.and_then(|ix| service_places[ix]);
        let served = (service.is_none() || place.is_some()) && !route.protocols.iter().all(is_stream);
        route_places.push(served.then_some(RouteIx(linked_routes.len() as u32)));
        if served {
            linked_routes.push(link_route(route, place));
        }
    }

    let mut group_names = Names::of(Table::ConsumerGroups);
    for (ix, group) in consumer_groups.iter().enumerate() {
        group_names.add(&group.common, Some(("name", &group.name)), ix, report);
    }
    let linked_groups = link_groups(&consumer_groups, &members, &group_names, &consumer_names, report);
    let linked_consumers = link_consumers(&consumers, &groups, &consumer_names, report);
    let linked_credentials = link_credentials(&credentials, &consumer_names, &linked_consumers, report);

    let mut linker = PluginLinker {
        service_names: &service_names,
        route_names: &route_names,
        consumer_names: &consumer_names,
        group_names: &group_names,
        service_protocols: &service_protocols,
        routes: &routes,
        scopes: HashMap::new(),
        ids: HashMap::new(),
        instances: HashMap::new(),
    };
    let mut linked_plugins = Vec::with_capacity(plugins.len());
    for plugin in plugins {
        let Some((route, service, consumer, group)) = linker.link(&plugin, report) else { continue };
        // An instance of what is not served is not there either: it must not become a global one.
        let route_place = route.map(|ix| route_places[ix]);
        let service_place = service.map(|ix| service_places[ix]);
        if !plugin.enabled || route_place == Some(None) || service_place == Some(None) {
            continue;
        }
        let scope = Scope {
            route: route_place.flatten(),
            service: service_place.flatten(),
            consumer: consumer.map(|ix| ConsumerIx(ix as u32)),
            group: group.map(|ix| GroupIx(ix as u32)),
        };
        linked_plugins.push(link_plugin(plugin, scope));
    }

    let plan = Plan {
        hash,
        node,
        listeners,
        services: linked_services,
        routes: linked_routes,
        upstreams: linked_upstreams,
        consumers: linked_consumers,
        credentials: linked_credentials,
        groups: linked_groups,
        plugins: linked_plugins,
        secure,
    };
    circles(&plan, report);
    plan
}

/// An order in which one plugin waits for another that waits for it. Priorities have no part in that.
fn circles(plan: &Plan, report: &mut Report) {
    if plan.plugins.iter().all(|instance| instance.ordering.is_none()) {
        return;
    }
    for ix in Chains::of(plan, |_| 0).circles {
        if let Some(ordering) = &plan.plugin(ix).ordering {
            let message = "runs before a plugin that is to run before it";
            report.fault(&ordering.at, &*ordering.path, message, "take one of the two lines out");
        }
    }
}

/// Ids and names of a table, and where each was declared.
struct Names<'a> {
    table: Table,
    by_id: HashMap<Uuid, usize>,
    by_name: HashMap<&'a str, usize>,
    spans: Vec<&'a Span>,
}

impl<'a> Names<'a> {
    fn of(table: Table) -> Names<'a> {
        Names { table, by_id: HashMap::new(), by_name: HashMap::new(), spans: Vec::new() }
    }

    /// Declares an entity; what is declared twice is a fault, and the first counts.
    fn add(&mut self, common: &'a Common, name: Option<(&str, &'a str)>, ix: usize, report: &mut Report) {
        self.spans.push(&common.at);
        if let Some((column, name)) = name {
            if let Some(first) = self.by_name.get(name) {
                violation(self.table, column, name, common, self.spans[*first], report);
                // The id follows from the name as a rule: the second violation would say the same.
                self.by_id.entry(common.id).or_insert(ix);
                return;
            }
            self.by_name.insert(name, ix);
        }
        match self.by_id.get(&common.id) {
            Some(first) => {
                let id = common.id.to_string();
                violation(self.table, "primary key", &id, common, self.spans[*first], report);
            }
            None => {
                self.by_id.insert(common.id, ix);
            }
        }
    }

    /// What a reference means; a fault where it means nothing.
    fn find(&self, column: &str, at: &At<Ref>, common: &Common, report: &mut Report) -> Option<usize> {
        let found = match &at.value {
            Ref::Id(id) => self.by_id.get(id),
            Ref::Text(text) => {
                let id = (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten();
                id.and_then(|id| self.by_id.get(&id)).or_else(|| self.by_name.get(text.as_str()))
            }
        };
        if found.is_none() {
            let shown = match &at.value {
                Ref::Id(id) => id.to_string(),
                Ref::Text(text) => text.clone(),
            };
            let message = format!("invalid reference '{column}: {shown}' (no such entry in '{}')", self.table.name());
            let near = crate::base::nearest::nearest(&shown, self.by_name.keys().copied());
            let hint = near.map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
            report.fault(&at.span, format!("{}.{column}", common.path), message, hint);
        }
        found.copied()
    }
}

fn violation(table: Table, column: &str, value: &str, common: &Common, first: &Span, report: &mut Report) {
    let table = table.name();
    let message = format!("uniqueness violation: '{table}' entity with {column} set to '{value}' already declared");
    report.fault(&common.at, &common.path, message, format!("first at {first}"));
}

/// Holds a column to its being unique.
fn unique<'a>(
    seen: &mut HashMap<&'a str, &'a Span>,
    value: &'a str,
    table: Table,
    column: &str,
    common: &'a Common,
    report: &mut Report,
) {
    if let Some(first) = seen.get(value) {
        violation(table, column, value, common, first, report);
    } else {
        seen.insert(value, &common.at);
    }
}

/// Names, ids and references of what stands beside services and routes; certificates and authorities with their texts. And
/// which certificates upstreams are shown.
fn other_names(
    others: &[OtherDraft],
    pems: &[PemDraft],
    services: &mut [ServiceDraft],
    upstreams: &[UpstreamDraft],
    credentials: &mut [CredentialDraft],
    report: &mut Report,
) -> (Secure, Vec<Option<usize>>) {
    let tables = [Table::Certificates, Table::Authorities, Table::KeySets, Table::Vaults, Table::Snis, Table::SetKeys];
    let mut names: Vec<Names<'_>> = Vec::new();
    for table in tables {
        let mut held = Names::of(table);
        for (ix, other) in others.iter().filter(|other| other.table == table).enumerate() {
            held.add(&other.common, other.name.as_ref().map(|(column, name)| (*column, name.as_str())), ix, report);
        }
        names.push(held);
    }
    for held in names.iter().filter(|held| matches!(held.table, Table::KeySets | Table::SetKeys)) {
        if let Some(first) = others.iter().find(|other| other.table == held.table) {
            let message = format!("{} are not served yet", held.table.name());
            report.warning(&first.common.at, &*first.common.path, message, "");
        }
    }
    let pairs = |id: Uuid| pems.iter().find(|pem| pem.id == id).map(|pem| pem.pairs.clone()).unwrap_or_default();
    let of = |table: Table| others.iter().filter(move |other| other.table == table);
    let certificate = |other: &OtherDraft| Certificate {
        id: other.common.id,
        pairs: pairs(other.common.id),
        names: Vec::new(),
        tags: other.common.tags.clone(),
        at: other.common.at.clone(),
    };
    let authority = |other: &OtherDraft| Authority {
        id: other.common.id,
        pem: pairs(other.common.id).into_iter().next().map(|pair| pair.chain).unwrap_or_default(),
        tags: other.common.tags.clone(),
        at: other.common.at.clone(),
    };
    let mut secure = Secure {
        certificates: of(Table::Certificates).map(certificate).collect(),
        authorities: of(Table::Authorities).map(authority).collect(),
    };
    for other in others {
        let Some((column, table, at)) = &other.parent else { continue };
        let Some(held) = names.iter().find(|held| held.table == *table) else { continue };
        let found = held.find(column, at, &other.common, report);
        if let (Table::Snis, Some(ix), Some((_, name))) = (other.table, found, &other.name) {
            secure.certificates[ix].names.push(name.to_ascii_lowercase());
        }
    }
    let (certificates, authorities) = (&names[0], &names[1]);
    for service in services {
        let common = &service.common;
        service.tls.certificate =
            service.certificate.as_ref().and_then(|at| certificates.find("client_certificate", at, common, report));
        service.tls.authorities = service
            .authorities
            .as_ref()
            .map(|all| all.iter().filter_map(|at| authorities.find("ca_certificates", at, common, report)).collect());
    }
    for draft in credentials {
        if let (Secret::Subject { authority, .. }, Some(at)) = (&mut draft.secret, &draft.authority) {
            *authority = authorities.find("ca_certificate", at, &draft.common, report).map(|ix| ix as u32);
        }
    }
    let mut shown = |upstream: &UpstreamDraft| {
        let at = upstream.certificate.as_ref()?;
        certificates.find("client_certificate", at, &upstream.common, report)
    };
    let shown = upstreams.iter().map(&mut shown).collect();
    (secure, shown)
}

/// The upstream of a service with a plain host; services of one host and port share it, and so its connections.
fn imply(
    service: &ServiceDraft,
    implied: &mut HashMap<String, UpstreamIx>,
    upstreams: &mut Vec<Upstream>,
) -> UpstreamIx {
    let bracketed = service.host.contains(':');
    let name = if bracketed {
        format!("[{}]:{}", service.host, service.port)
    } else {
        format!("{}:{}", service.host, service.port)
    };
    *implied.entry(name).or_insert_with_key(|name| {
        upstreams.push(Upstream {
            // Names of declared upstreams have no port: the two can never be the same.
            id: derived(Table::Upstreams, &[name]),
            name: name.clone(),
            implied: true,
            algorithm: Algorithm::RoundRobin,
            hashing: Hashing::default(),
            checks: Checks::default(),
            host_header: None,
            certificate: None,
            targets: vec![Target {
                id: derived(Table::Targets, &[name, name]),
                host: service.host.clone(),
                port: service.port,
                weight: IMPLIED_WEIGHT,
                tags: Vec::new(),
                at: service.common.at.clone(),
            }],
            tags: Vec::new(),
            at: service.common.at.clone(),
        });
        UpstreamIx(upstreams.len() as u32 - 1)
    })
}

fn link_service(service: &ServiceDraft, upstream: UpstreamIx) -> Service {
    Service {
        id: service.common.id,
        name: service.name.clone(),
        protocol: service.protocol,
        host: service.host.clone(),
        port: service.port,
        path: service.prefix.clone(),
        retries: service.retries,
        connect_timeout_ms: service.connect_timeout_ms,
        write_timeout_ms: service.write_timeout_ms,
        read_timeout_ms: service.read_timeout_ms,
        upstream,
        tls: service.tls.clone(),
        http2: service.http2,
        announces: service.announces,
        tags: service.common.tags.clone(),
        at: service.common.at.clone(),
    }
}

fn is_stream(protocol: &Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Tls | Protocol::Udp | Protocol::TlsPassthrough)
}

fn link_route(route: &RouteDraft, service: Option<ServiceIx>) -> Route {
    Route {
        id: route.common.id,
        name: route.name.clone(),
        protocols: route.protocols.clone(),
        methods: route.methods.clone(),
        hosts: route.hosts.clone(),
        paths: route.paths.clone(),
        headers: route.headers.clone(),
        snis: route.snis.clone(),
        strip_path: route.strip_path,
        preserve_host: route.preserve_host,
        https_redirect_status: route.https_redirect_status,
        regex_priority: route.regex_priority,
        request_buffering: route.request_buffering,
        response_buffering: route.response_buffering,
        service,
        tags: route.common.tags.clone(),
        at: route.common.at.clone(),
    }
}

fn link_plugin(plugin: PluginDraft, scope: Scope) -> PluginInstance {
    PluginInstance {
        id: plugin.common.id,
        name: plugin.name,
        instance_name: plugin.instance_name,
        scope,
        protocols: plugin.protocols,
        config: plugin.config,
        files: plugin.files,
        ordering: plugin.ordering,
        tags: plugin.common.tags,
        at: plugin.common.at,
    }
}

/// Groups that plugins may be for. Being in one may be said from both sides, and twice is not more.
fn link_groups(
    groups: &[ConsumerGroupDraft],
    members: &[MemberDraft],
    names: &Names<'_>,
    consumer_names: &Names<'_>,
    report: &mut Report,
) -> Groups {
    let of = |ConsumerGroupDraft { common, name }: &ConsumerGroupDraft| ConsumerGroup {
        id: common.id,
        name: name.clone(),
        tags: common.tags.clone(),
        at: common.at.clone(),
    };
    let mut linked = Groups { all: groups.iter().map(of).collect(), members: Vec::with_capacity(members.len()) };
    for MemberDraft { common, consumer, group } in members {
        let consumer = consumer_names.find("consumer", consumer, common, report);
        let group = names.find("consumer_group", group, common, report);
        if let (Some(consumer), Some(group)) = (consumer, group) {
            linked.members.push((ConsumerIx(consumer as u32), GroupIx(group as u32)));
        }
    }
    linked.members.sort_unstable();
    linked.members.dedup();
    linked
}

/// Consumers with the groups of access lists that they are in.
fn link_consumers(
    consumers: &[ConsumerDraft],
    groups: &[GroupDraft],
    names: &Names<'_>,
    report: &mut Report,
) -> Consumers {
    let mut members: HashMap<usize, Vec<&str>> = HashMap::new();
    for group in groups {
        let Some(ix) = names.find("consumer", &group.consumer, &group.common, report) else { continue };
        let held = members.entry(ix).or_default();
        if held.contains(&group.group.as_str()) {
            let message =
                format!("uniqueness violation: 'acls' entity with group set to '{}' already declared", group.group);
            report.fault(&group.common.at, &group.common.path, message, "");
        } else {
            held.push(&group.group);
        }
    }
    let mut linked = Consumers::default();
    for (ix, ConsumerDraft { common, username, custom_id }) in consumers.iter().enumerate() {
        let groups = members.remove(&ix).unwrap_or_default();
        let tags: Vec<&str> = common.tags.iter().map(String::as_str).collect();
        linked.push(NewConsumer {
            id: common.id,
            username: username.as_deref(),
            custom_id: custom_id.as_deref(),
            groups: &groups,
            tags: &tags,
            at: &common.at,
        });
    }
    linked
}

/// Credentials by kind must be unique in what they are found by.
fn link_credentials(
    drafts: &[CredentialDraft],
    consumer_names: &Names<'_>,
    consumers: &Consumers,
    report: &mut Report,
) -> Credentials {
    let mut seen: HashMap<(Table, &str, Option<u32>), &Span> = HashMap::with_capacity(drafts.len());
    let mut ids: HashMap<(Table, Uuid), &Span> = HashMap::with_capacity(drafts.len());
    let mut linked = Credentials::default();
    for CredentialDraft { common, consumer, secret, plain, .. } in drafts {
        let (table, column, value) = match secret {
            Secret::Key { key, .. } => (Table::Keys, "key", key),
            Secret::Jwt(held) => (Table::Jwts, "key", &held.key),
            Secret::Basic { username, .. } => (Table::Basics, "username", username),
            Secret::Hmac { username, .. } => (Table::Hmacs, "username", username),
            Secret::Subject { name, .. } => (Table::Subjects, "subject_name", name),
        };
        // One name of a certificate may mean several, told apart by who vouches.
        let by = match secret {
            Secret::Subject { authority, .. } => *authority,
            _ => None,
        };
        if let Some(first) = seen.insert((table, value, by), &common.at) {
            // An API key is a secret: a log must not show it.
            let shown = if table == Table::Keys { "***" } else { value };
            violation(table, column, shown, common, first, report);
        } else if let Some(first) = ids.insert((table, common.id), &common.at) {
            violation(table, "primary key", &common.id.to_string(), common, first, report);
        }
        let Some(ix) = consumer_names.find("consumer", consumer, common, report) else { continue };
        let ix = ConsumerIx(ix as u32);
        match secret {
            Secret::Basic { username, password_hash } if *plain => {
                let password_hash = salted(password_hash, consumers.id(ix));
                linked.push(
                    common.id,
                    ix,
                    &Secret::Basic { username: &**username, password_hash: &password_hash },
                    &common.at,
                );
            }
            secret => linked.push(common.id, ix, secret, &common.at),
        }
    }
    linked
}

/// SHA-1 of password and consumer id, hex. What a migrated database holds; weak as hashes of passwords go.
pub fn salted(password: &str, consumer: Uuid) -> String {
    use aws_lc_rs::digest::{digest, SHA1_FOR_LEGACY_USE_ONLY};
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{password}{consumer}").as_bytes());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Places in the draft's tables: route, service, consumer, group of consumers.
type Places = (Option<usize>, Option<usize>, Option<usize>, Option<usize>);

struct PluginLinker<'a> {
    service_names: &'a Names<'a>,
    route_names: &'a Names<'a>,
    consumer_names: &'a Names<'a>,
    group_names: &'a Names<'a>,
    /// Schemes of a service's routes together.
    service_protocols: &'a HashMap<usize, HashSet<Protocol>>,
    routes: &'a [RouteDraft],
    scopes: HashMap<(String, Places), Span>,
    ids: HashMap<Uuid, Span>,
    instances: HashMap<String, Span>,
}

impl PluginLinker<'_> {
    /// Resolves what an instance is for; `None` where it has a fault that makes the rest unknowable.
    fn link(&mut self, plugin: &PluginDraft, report: &mut Report) -> Option<Places> {
        let common = &plugin.common;
        let mut broken = false;
        let mut place = |names: &Names<'_>, column: &str, at: &Option<At<Ref>>, report: &mut Report| {
            let at = at.as_ref()?;
            let found = names.find(column, at, common, report);
            broken |= found.is_none();
            found
        };
        let route = place(self.route_names, "route", &plugin.route, report);
        let service = place(self.service_names, "service", &plugin.service, report);
        let consumer = place(self.consumer_names, "consumer", &plugin.consumer, report);
        let group = place(self.group_names, "consumer_group", &plugin.group, report);
        if broken {
            return None;
        }
        let places = (route, service, consumer, group);
        if let Some(name) = &plugin.instance_name {
            if let Some(first) = self.instances.insert(name.clone(), common.at.clone()) {
                violation(Table::Plugins, "instance_name", name, common, &first, report);
            }
        }
        if let Some(first) = self.scopes.insert((plugin.name.clone(), places), common.at.clone()) {
            let id = |names: &Names<'_>, place: Option<usize>| match place {
                Some(ix) => {
                    let id = names.by_id.iter().find(|(_, held)| **held == ix).map(|(id, _)| id.to_string());
                    format!("{{id=\"{}\"}}", id.unwrap_or_default())
                }
                None => "null".to_owned(),
            };
            // Files that are taken elsewhere know the column only where it is used.
            let of_group = group.map_or(String::new(), |_| format!("consumer_group={},", id(self.group_names, group)));
            let message = format!(
                "UNIQUE violation detected on '{{consumer={},{of_group}name=\"{}\",route={},service={}}}'",
                id(self.consumer_names, consumer),
                plugin.name,
                id(self.route_names, route),
                id(self.service_names, service),
            );
            report.fault(&common.at, &common.path, message, format!("first at {first}"));
        } else if let Some(first) = self.ids.insert(common.id, common.at.clone()) {
            violation(Table::Plugins, "primary key", &common.id.to_string(), common, &first, report);
        }
        self.protocols(plugin, route, service, report);
        Some(places)
    }

    /// An instance that could never run is a mistake.
    fn protocols(&self, plugin: &PluginDraft, route: Option<usize>, service: Option<usize>, report: &mut Report) {
        let runs = |one: &Protocol| plugin.protocols.contains(one);
        let message = match (route, service.and_then(|ix| self.service_protocols.get(&ix))) {
            (Some(ix), _) if !self.routes[ix].protocols.iter().any(runs) => {
                "must match the associated route's protocols"
            }
            (None, Some(protocols)) if !protocols.iter().any(runs) => {
                "must match the protocols of at least one route pointing to this Plugin's service"
            }
            _ => return,
        };
        report.fault(&plugin.common.at, format!("{}.protocols", plugin.common.path), message, "");
    }
}
