//! What clients' handshakes are made by: per listener, and on it per server name.
//!
//! A listener's names that clients must prove themselves for differently are told apart by [`Manner`]s. A request that
//! names a host of another manner than its connection was greeted in is misdirected (RFC 9110 §15.5.20): what the
//! connection has proved is not what that host asks for.

use super::secure::Compiling;
use crate::base::span::Span;
use crate::plan::tls::{Certificate, ClientCertificate, ClientTls, TlsOptions};
use crate::plan::{Bind, Scope};
use crate::tls::certs::{self, Names, Pair};
use crate::tls::settings::{self, ClientAuth, Clients, Server};
use crate::tls::tickets::Tickets;
use crate::tls::ServerConfig;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Handshakes of one listener.
pub(super) struct Greeting {
    names: Arc<Names>,
    /// The first one is the listener's own.
    manners: Vec<Manner>,
    /// By server name, as patterns: places in `manners`.
    by_name: HashMap<String, usize>,
}

/// How clients that ask for some names are greeted.
pub(super) struct Manner {
    pub(super) config: Arc<ServerConfig>,
    /// Are they asked for a certificate?
    asks: bool,
    /// Is what they show verified, or only theirs?
    pub(super) verifies: bool,
}

/// A plugin that looks at clients' certificates.
pub(super) struct Asking {
    /// Where it runs.
    pub(super) scope: Scope,
    /// Names of the authorities that clients may choose by, DER; empty: it does not say.
    pub(super) hints: Vec<Vec<u8>>,
}

impl Greeting {
    fn place(&self, name: Option<&str>) -> usize {
        name.and_then(|name| certs::by_name(&self.by_name, name)).copied().unwrap_or(0)
    }

    /// How a client is greeted that asks for this name, lower-case.
    pub(super) fn manner(&self, name: Option<&str>) -> &Manner {
        &self.manners[self.place(name)]
    }

    /// Does it matter which name a client asks for, or that it asks for none? Else no request is misdirected.
    pub(super) fn tells_apart(&self, name: Option<&str>) -> bool {
        self.manners.len() > 1 || name.is_some() && !self.names.is_empty()
    }

    /// The certificate a client was shown that asked for this name: its first kind of key.
    pub(super) fn shown(&self, name: Option<&str>) -> Option<&Pair> {
        self.names.find(name).first()
    }

    /// Is a request for `host`, lower-case and without a port, misdirected on a connection that asked for `name`?
    ///
    /// It is where clients are asked for a certificate under that host and were greeted in another manner. Over HTTP/2,
    /// where clients choose connections by what certificates cover, it is also where the host has a certificate of its own
    /// and the one that was shown does not cover it.
    pub(super) fn is_misdirected(&self, name: Option<&str>, host: &str, http2: bool) -> bool {
        let (greeted, asked) = (self.place(name), self.place(Some(host)));
        if greeted != asked && self.manners[asked].asks {
            return true;
        }
        let (true, Some(name), Some(own)) = (http2, name, self.names.own(host)) else { return false };
        let Some(shown) = self.names.own(name).and_then(<[Pair]>::first) else { return false };
        !own.iter().any(|pair| pair.identity.sha256 == shown.identity.sha256) && !shown.identity.covers(host)
    }
}

impl Compiling<'_> {
    /// By the name of the listener, and by the address of a listener of the Admin API.
    pub(super) fn greetings(
        &mut self,
        certificates: &[Vec<Pair>],
        asking: &[Asking],
    ) -> (HashMap<String, Arc<Greeting>>, HashMap<SocketAddr, Arc<ServerConfig>>) {
        let plan = self.plan;
        let node = &plan.node.tls.listeners;
        let names = Arc::new(names(&plan.secure.certificates, certificates));
        let mut clients = HashMap::new();
        for listener in plan.listeners.iter().filter(|listener| listener.bind.tls) {
            let options = listener.bind.options.as_deref().unwrap_or(node);
            if let Some(greeting) = self.greeting(&listener.bind, options, &names, asking, "") {
                clients.insert(listener.name.clone(), Arc::new(greeting));
            }
        }
        let mut admin = HashMap::new();
        for bind in plan.node.admin.iter().filter(|bind| bind.tls) {
            let own = bind.options.as_deref().cloned();
            let options = own.unwrap_or_else(|| TlsOptions {
                default: if plan.node.tls.admin.is_empty() {
                    node.default.clone()
                } else {
                    plan.node.tls.admin.clone()
                },
                tls13_only: node.tls13_only,
                ..TlsOptions::default()
            });
            // Its certificates are its own: those of services are for the clients of services.
            let names = Arc::new(Names::default());
            if let Some(greeting) = self.greeting(bind, &options, &names, &[], "admin") {
                admin.insert(bind.addr, greeting.manners[0].config.clone());
            }
        }
        (clients, admin)
    }

    fn greeting(
        &mut self,
        bind: &Bind,
        options: &TlsOptions,
        names: &Arc<Names>,
        asking: &[Asking],
        side: &str,
    ) -> Option<Greeting> {
        let nowhere = Span::nowhere();
        let default: Vec<Pair> = options.default.iter().filter_map(|pem| self.pair(pem, &pem.at)).collect();
        let names = match (default.is_empty(), names.has_default()) {
            (false, false) => Arc::new(names.with_default(default)),
            (_, true) => names.clone(),
            (true, false) => match self.made_up() {
                Ok(pair) => Arc::new(names.with_default(vec![pair])),
                Err(what) => {
                    self.say(&nowhere, format!("cannot make a certificate: {what}"), true);
                    return None;
                }
            },
        };
        let tickets = super::secure::tickets(self.plan, self.shelf, self.now);
        let spoken = [b"h2".to_vec(), b"http/1.1".to_vec()];
        let alpn = &spoken[usize::from(!bind.http2)..];
        let mut greeting = Greeting { names, manners: Vec::new(), by_name: HashMap::new() };
        let own = std::iter::once((None, &options.client));
        let of_names = options.of_names.iter().map(|(name, client)| (Some(name), client));
        let mut known: Vec<(Arc<[u8]>, usize)> = Vec::new();
        for (name, client) in own.chain(of_names) {
            let asked_by = match name {
                None => Asked::Anywhere,
                Some(name) => Asked::For(name),
            };
            let wanted = match self.clients(client, asked_by.hints(self.plan, asking)) {
                Ok(wanted) => wanted,
                Err(what) => {
                    self.say(&nowhere, format!("{}: {what}", bind.at), true);
                    continue;
                }
            };
            self.add(&mut greeting, &mut known, name, wanted, client, (&tickets, alpn, options, side, bind));
        }
        // Names that plugins ask certificates for, where the listener does not ask all: the map is by the names of routes.
        if greeting.manners.first().is_some_and(|own| !own.asks) {
            let mut asked: Vec<&String> = asking.iter().flat_map(|one| one.names(self.plan)).collect();
            asked.sort_unstable();
            asked.dedup();
            for name in asked.into_iter().filter(|name| !options.of_names.iter().any(|(own, _)| own == *name)) {
                if let Some(hints) = Asked::For(name).hints(self.plan, asking) {
                    let parts = (&tickets, alpn, options, side, bind);
                    self.add(
                        &mut greeting,
                        &mut known,
                        Some(name),
                        Clients::Asked(hints),
                        &ClientTls::default(),
                        parts,
                    );
                }
            }
        }
        (!greeting.manners.is_empty()).then_some(greeting)
    }

    /// Adds a manner, unless there is one of its kind, and its name.
    fn add(
        &mut self,
        greeting: &mut Greeting,
        known: &mut Vec<(Arc<[u8]>, usize)>,
        name: Option<&String>,
        clients: Clients,
        said: &ClientTls,
        (tickets, alpn, options, side, bind): (&Arc<Tickets>, &[Vec<u8>], &TlsOptions, &str, &Bind),
    ) {
        // The Admin API changes what it is asked to.
        let early_data = if side.is_empty() { said.early_data } else { 0 };
        if early_data > 0 && said.certificate != ClientCertificate::None {
            let what =
                "early_data and client_certificate exclude each other: a session would prove a certificate that was \
                        shown to nobody";
            self.say(&Span::nowhere(), format!("{}: {what}", bind.at), true);
        }
        let context = context(side, &clients, said, early_data);
        let place = match known.iter().find(|(known, _)| *known == context) {
            Some((_, place)) => *place,
            None => {
                let (asks, verifies) = (!matches!(clients, Clients::Unasked), matches!(clients, Clients::Verified(_)));
                let server = Server {
                    names: greeting.names.clone(),
                    tickets: tickets.clone(),
                    tls13_only: options.tls13_only,
                    alpn: alpn.to_vec(),
                    clients,
                    context: context.clone(),
                    early_data,
                };
                match server.build() {
                    Ok(config) => greeting.manners.push(Manner { config, asks, verifies }),
                    Err(what) => return self.say(&Span::nowhere(), format!("{}: {what}", bind.at), true),
                }
                known.push((context, greeting.manners.len() - 1));
                greeting.manners.len() - 1
            }
        };
        if let Some(name) = name {
            greeting.by_name.insert(name.clone(), place);
        }
    }

    /// How clients prove themselves by what is said; `hints`: a plugin asks them too.
    fn clients(&self, client: &ClientTls, hints: Option<Vec<Vec<u8>>>) -> Result<Clients, String> {
        if client.certificate == ClientCertificate::None {
            return Ok(hints.map_or(Clients::Unasked, Clients::Asked));
        }
        if client.authorities.is_empty() {
            return Err("clients are to show certificates, and no authority is named that vouches for them".to_owned());
        }
        let roots = settings::roots_of(std::iter::once(client.authorities.as_str()))?;
        let revoked = match client.revoked.as_str() {
            "" => Vec::new(),
            pem => certs::revocations(pem)?,
        };
        Ok(Clients::Verified(ClientAuth {
            roots: Arc::new(roots),
            revoked,
            optional: client.certificate == ClientCertificate::Optional,
            depth: client.depth as usize,
        }))
    }
}

/// The certificates of entities by the names they are for.
fn names(entities: &[Certificate], certificates: &[Vec<Pair>]) -> Names {
    let mut names = Names::default();
    for (certificate, pairs) in entities.iter().zip(certificates) {
        if !pairs.is_empty() {
            names.add(&certificate.names, pairs);
        }
    }
    names
}

/// Among what sessions are resumed: a digest of how clients prove themselves. Nothing where they do not, so that their
/// sessions go on over every change of the configuration.
fn context(side: &str, clients: &Clients, said: &ClientTls, early_data: u32) -> Arc<[u8]> {
    if side.is_empty() && matches!(clients, Clients::Unasked) && early_data == 0 {
        return Arc::default();
    }
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut add = |text: &[u8]| {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    add(side.as_bytes());
    add(&early_data.to_be_bytes());
    match clients {
        Clients::Unasked => add(b"unasked"),
        Clients::Asked(hints) => {
            add(b"asked");
            hints.iter().for_each(|hint| add(hint));
        }
        Clients::Verified(_) => {
            add(format!("{:?} {}", said.certificate, said.depth).as_bytes());
            add(said.authorities.as_bytes());
            add(said.revoked.as_bytes());
        }
    }
    hash.finish().as_ref().into()
}

/// Which clients a plugin may want a certificate of.
enum Asked<'a> {
    /// Those whose name says nothing of the route that they will ask for.
    Anywhere,
    /// Those that ask for this name.
    For(&'a String),
}

impl Asked<'_> {
    /// What the plugins that may run for them want them to choose by, where there is such a plugin.
    fn hints(&self, plan: &crate::plan::Plan, asking: &[Asking]) -> Option<Vec<Vec<u8>>> {
        let wanted = |one: &&Asking| {
            one.is_anywhere(plan) || matches!(self, Asked::For(name) if one.names(plan).any(|held| held == *name))
        };
        let all: Vec<&Asking> = asking.iter().filter(wanted).collect();
        if all.is_empty() {
            return None;
        }
        // One that does not say takes any: a list of the others' would keep clients from choosing what it wants.
        if all.iter().any(|one| one.hints.is_empty()) {
            return Some(Vec::new());
        }
        let mut hints: Vec<Vec<u8>> = all.iter().flat_map(|one| one.hints.iter().cloned()).collect();
        hints.sort_unstable();
        hints.dedup();
        Some(hints)
    }
}

impl Asking {
    /// The routes it may run for.
    fn routes<'p>(&self, plan: &'p crate::plan::Plan) -> impl Iterator<Item = &'p crate::plan::Route> {
        let Scope { route, service, .. } = self.scope;
        let fits = move |(ix, held): &(usize, &crate::plan::Route)| {
            route.is_none_or(|route| route.ix() == *ix) && service.is_none_or(|service| held.service == Some(service))
        };
        plan.routes.iter().enumerate().filter(fits).map(|(_, route)| route)
    }

    /// Does it run for requests that any connection may bring?
    fn is_anywhere(&self, plan: &crate::plan::Plan) -> bool {
        let is_global = self.scope.route.is_none() && self.scope.service.is_none();
        is_global || self.routes(plan).any(|route| route.snis.is_empty())
    }

    /// The server names of its routes.
    fn names<'p>(&self, plan: &'p crate::plan::Plan) -> impl Iterator<Item = &'p String> {
        self.routes(plan).flat_map(|route| &route.snis)
    }
}
