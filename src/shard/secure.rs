//! What a generation's certificates compile to: a configuration of handshakes per listener and per service.
//!
//! Everything that can be wrong with a key or a certificate is found here, before it is served.

mod redis;

use super::count::bump;
use super::greeting::{Asking, Greeting};
use super::pool::{Link, Pool, Wire};
use super::Shard;
use crate::base::limits::{EXPIRY_WARNED_S, SECURE_POOLS_MAX, TLS_CLIENT_SESSIONS_MAX};
use crate::base::time::Millis;
use crate::hook::Shelf;
use crate::http::proxy_protocol;
use crate::io::clock;
use crate::plan::spoken::{ProxyVersion, Spoken};
use crate::plan::tls::{Certificate, PemPair, ServiceTls};
use crate::plan::Plan;
use crate::tls::certs::{self, Identity, Kept, Pair};
use crate::tls::settings::{self, Client};
use crate::tls::tickets::Tickets;
use crate::tls::{ClientConfig, RootCertStore, ServerConfig, ServerName};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// A finding: where it was written, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entity, or the socket.
    pub at: crate::base::span::Span,
    /// A sentence.
    pub what: String,
    /// Can it not be served?
    pub is_fault: bool,
}

impl Finding {
    /// What cannot be served.
    pub(super) fn fault(at: &crate::base::span::Span, what: String) -> Finding {
        Finding { at: at.clone(), what, is_fault: true }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// Handshakes of a generation.
#[derive(Default)]
pub struct Secure {
    /// By the listener's name.
    greetings: HashMap<String, Arc<Greeting>>,
    /// Those of the Admin API, by its address.
    pub admin: HashMap<SocketAddr, Arc<ServerConfig>>,
    /// By `ServiceIx`.
    clients: Vec<Clients>,
    /// How a Redis is asked, unverified and verified; `None` where none is over TLS.
    redis: [Option<Arc<ClientPlan>>; 2],
    tickets: Option<Arc<Tickets>>,
    /// Subject and end of each certificate that is shown, for metrics.
    pub expiries: Vec<(String, i64)>,
    /// Certificates that are shown in the place of files that are broken.
    pub broken: u64,
}

/// How the upstreams of a service are asked over TLS; both `None` in the clear.
#[derive(Default)]
struct Clients {
    /// Where requests may share a connection: HTTP/2 is on offer.
    shared: Option<Arc<ClientPlan>>,
    /// Where each has one to itself: HTTP/1.1 alone is.
    own: Option<Arc<ClientPlan>>,
}

/// To whom a connection is made, where that is more than an address: over which settings of TLS, by which name, and for which
/// client. Connections of two of these never meet.
pub(super) struct Toward<'a> {
    plan: Option<&'a Arc<ClientPlan>>,
    /// The host as it is told, without a port; empty in the clear.
    host: &'a [u8],
    announced: Option<Announced>,
    /// Of all of it; what it leads to is compared.
    pub(super) key: u64,
}

/// The same, of a connection that was made.
pub(super) struct Made {
    plan: Option<[u8; 32]>,
    host: Vec<u8>,
    announced: Option<Announced>,
    pub(super) key: u64,
}

/// Whom a connection is announced to be made for, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Announced {
    pub(super) version: ProxyVersion,
    /// The client.
    pub(super) source: SocketAddr,
    /// What it has connected to.
    pub(super) target: SocketAddr,
}

impl<'a> Toward<'a> {
    pub(super) fn new(
        shard: &Shard,
        plan: Option<&'a Arc<ClientPlan>>,
        host: &'a [u8],
        announced: Option<Announced>,
    ) -> Toward<'a> {
        let key = shard.hasher.hash_one((plan.map(|plan| plan.name), host, announced));
        Toward { plan, host, announced, key }
    }

    /// A connection of the pool that was made to the same.
    pub(super) fn take(&self, pool: &Pool) -> Option<Box<Link>> {
        pool.take().filter(|link| link.toward.as_ref().is_some_and(|made| self.is(made)))
    }

    /// Was it made to the same?
    pub(super) fn is(&self, made: &Made) -> bool {
        made.plan == self.plan.map(|plan| plan.name) && made.host == self.host && made.announced == self.announced
    }

    /// Is it over TLS?
    pub(super) fn is_secure(&self) -> bool {
        self.plan.is_some()
    }

    /// Says what is to be said over a fresh connection before the first request, within `timeout_ms`: whom it is for, and
    /// the handshake.
    ///
    /// # Errors
    /// Why it was not; `TimedOut` where it took too long.
    pub(super) async fn begin(
        &self,
        shard: &Shard,
        link: &mut Link,
        addr: SocketAddr,
        timeout_ms: u64,
    ) -> std::io::Result<()> {
        let until = Millis(clock::millis().0 + timeout_ms);
        link.watch.arm_read(until);
        link.watch.arm_write(until);
        let mut begun = self.announce(shard, link).await;
        if let (Ok(()), Some(plan)) = (&begun, self.plan) {
            begun = self.shake(plan, shard, link, addr).await;
        }
        let late = link.watch.fired().is_some();
        link.watch.disarm_read();
        link.watch.disarm_write();
        if begun.is_err() && late {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        begun?;
        let plan = self.plan.map(|plan| plan.name);
        let (host, announced, key) = (self.host.to_vec(), self.announced, self.key);
        link.toward = Some(Box::new(Made { plan, host, announced, key }));
        Ok(())
    }

    async fn announce(&self, shard: &Shard, link: &Link) -> std::io::Result<()> {
        let (Some(announced), Some(stream)) = (self.announced, link.channel()) else { return Ok(()) };
        let Announced { version, source, target } = announced;
        let mut out = shard.small.take();
        match version {
            ProxyVersion::V1 => proxy_protocol::write_text(source, target, &mut out),
            ProxyVersion::V2 => proxy_protocol::write_binary(source, target, &mut out),
        }
        let (sent, out) = stream.send(out, 0).await;
        shard.put_buf(out);
        sent
    }

    /// Makes the handshake.
    ///
    /// # Errors
    /// Why there is none.
    async fn shake(&self, plan: &ClientPlan, shard: &Shard, link: &mut Link, addr: SocketAddr) -> std::io::Result<()> {
        let config = shard.client_config(plan).ok_or(std::io::ErrorKind::Unsupported)?;
        let text = std::str::from_utf8(self.host).unwrap_or("");
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        // What is no name, such as one with an underscore, is asked for by address.
        let name = ServerName::try_from(text.to_owned()).unwrap_or_else(|_| ServerName::from(addr.ip()));
        let Wire::Socket(stream) = &mut link.wire else { return Err(std::io::ErrorKind::Unsupported.into()) };
        stream.connect(config, name, &shard.sealed).await?;
        bump(&shard.counters.upstream_handshakes);
        if stream.facts().is_some_and(|facts| facts.resumed) {
            bump(&shard.counters.upstream_handshakes_resumed);
        }
        Ok(())
    }
}

impl Clients {
    fn all(&self) -> impl Iterator<Item = &Arc<ClientPlan>> {
        self.shared.iter().chain(&self.own)
    }
}

impl Shard {
    /// This shard's configuration of a plan, with its memory of sessions; outlives a reload that keeps the plan.
    fn client_config(&self, plan: &ClientPlan) -> Option<Arc<ClientConfig>> {
        if let Some(config) = self.clients.borrow().get(&plan.name) {
            return Some(config.clone());
        }
        let config = plan.build()?;
        self.clients.borrow_mut().insert(plan.name, config.clone());
        Some(config)
    }

    /// Forgets those that nothing asks for any more.
    pub(super) fn keep_clients(&self, secure: &Secure) {
        let all = || secure.clients.iter().flat_map(Clients::all).chain(secure.redis.iter().flatten());
        let kept = |name: &[u8; 32]| all().any(|plan| plan.name == *name);
        self.clients.borrow_mut().retain(|name, _| kept(name));
    }

    /// Connections to an address by [`Toward::key`]; a pool that nobody keeps where there are too many.
    pub(super) fn secure_pool(&self, addr: SocketAddr, key: u64) -> Rc<Pool> {
        let mut pools = self.secure_pools.borrow_mut();
        if pools.len() >= SECURE_POOLS_MAX && !pools.contains_key(&(addr, key)) {
            return Rc::default();
        }
        pools.entry((addr, key)).or_default().clone()
    }
}

/// How a service's upstreams are asked.
pub(super) struct ClientPlan {
    /// Two of one name are the same.
    pub(super) name: [u8; 32],
    client: Client,
}

impl ClientPlan {
    /// With a memory of sessions of its own.
    pub(super) fn build(&self) -> Option<Arc<ClientConfig>> {
        self.client.build(TLS_CLIENT_SESSIONS_MAX).ok()
    }
}

/// The made-up certificate of the process: the same after a reload.
struct MadeUp(Result<Pair, String>);

/// The authorities of the machine.
struct System(Arc<RootCertStore>);

impl Secure {
    /// Compiles what `plan` says of TLS; `now` in seconds of the wall clock.
    ///
    /// # Errors
    /// Every finding, where one of them is a fault.
    pub fn compile(plan: &Plan, shelf: &Shelf, now: i64) -> Result<(Secure, Vec<Finding>), Vec<Finding>> {
        Secure::compile_for(plan, shelf, now, &[])
    }

    /// The same where plugins look at clients' certificates.
    ///
    /// # Errors
    /// As [`Secure::compile`].
    pub(super) fn compile_for(
        plan: &Plan,
        shelf: &Shelf,
        now: i64,
        asking: &[Asking],
    ) -> Result<(Secure, Vec<Finding>), Vec<Finding>> {
        let mut compiling = Compiling { plan, shelf, now, findings: Vec::new(), expiries: Vec::new(), broken: 0 };
        let certificates: Vec<Vec<Pair>> =
            plan.secure.certificates.iter().map(|certificate| compiling.certificate(certificate)).collect();
        let authorities = compiling.authorities();
        let (greetings, admin) = compiling.greetings(&certificates, asking);
        let clients = compiling.asked(&certificates, &authorities);
        let redis = compiling.redis();
        let Compiling { findings, expiries, broken, .. } = compiling;
        if findings.iter().any(|finding| finding.is_fault) {
            return Err(findings);
        }
        let tickets = (!greetings.is_empty() || !admin.is_empty()).then(|| tickets(plan, shelf, now));
        Ok((Secure { greetings, admin, clients, redis, tickets, expiries, broken }, findings))
    }

    /// What handshakes on a listener are made by.
    pub(super) fn greeting(&self, listener: &str) -> Option<&Arc<Greeting>> {
        self.greetings.get(listener)
    }

    /// How the upstreams of a service are asked; `None` in the clear. `shared`: over connections that requests share?
    pub(super) fn client(&self, service: usize, shared: bool) -> Option<&Arc<ClientPlan>> {
        let clients = self.clients.get(service)?;
        if shared {
            clients.shared.as_ref()
        } else {
            clients.own.as_ref()
        }
    }

    /// Replaces the key of session tickets when it is old enough.
    pub(super) fn turn(&self, now: u64) {
        if let Some(tickets) = &self.tickets {
            tickets.turn(now);
        }
    }
}

pub(super) fn tickets(plan: &Plan, shelf: &Shelf, now: i64) -> Arc<Tickets> {
    let now = u64::try_from(now).unwrap_or(0);
    let tickets = shelf.take_or(|| Tickets::new(now));
    let secrets: Vec<Vec<u8>> =
        plan.node.tls.ticket_secrets.iter().map(|secret| secret.0.trim().as_bytes().to_vec()).collect();
    tickets.set(&secrets, now);
    tickets
}

/// What is said of a certificate that may sign no other.
const NO_AUTHORITY: &str = "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint";

pub(super) struct Compiling<'a> {
    pub(super) plan: &'a Plan,
    pub(super) shelf: &'a Shelf,
    pub(super) now: i64,
    findings: Vec<Finding>,
    expiries: Vec<(String, i64)>,
    /// Pairs that are shown in the place of broken files.
    broken: u64,
}

impl Compiling<'_> {
    pub(super) fn say(&mut self, at: &crate::base::span::Span, what: String, is_fault: bool) {
        self.findings.push(Finding { at: at.clone(), what, is_fault });
    }

    pub(super) fn pair(&mut self, pem: &PemPair, at: &crate::base::span::Span) -> Option<Pair> {
        // A reference that could not be resolved is empty, and was warned of.
        if pem.chain.trim().is_empty() || pem.key.0.trim().is_empty() {
            self.say(at, "a certificate without text is not shown".to_owned(), false);
            return None;
        }
        let staple = Some(&pem.staple).filter(|staple| !staple.is_empty()).cloned();
        let kept = self.shelf.take_or(Kept::default);
        let pair = match Pair::read(&pem.chain, &pem.key.0, staple) {
            Ok(pair) if pem.files.is_empty() => pair,
            Ok(pair) => {
                kept.put(&pem.files, &pair);
                pair
            }
            Err(what) => {
                let what = match (pem.files.as_str(), pem.is_secret) {
                    ("", _) => what,
                    (_, true) => format!("{what} (files that are referred to)"),
                    (files, false) => format!("{what} ({files})"),
                };
                let Some(pair) = kept.find(&pem.files) else {
                    self.say(at, what, true);
                    return None;
                };
                self.say(at, format!("{what}; what was there before is shown on"), false);
                self.broken += 1;
                pair
            }
        };
        self.expiry(&pair.identity, at);
        Some(pair)
    }

    /// The certificate of listeners that were given none.
    pub(super) fn made_up(&self) -> Result<Pair, String> {
        self.shelf.take_or(|| MadeUp(Pair::self_signed("localhost"))).0.clone()
    }

    fn expiry(&mut self, identity: &Identity, at: &crate::base::span::Span) {
        let name = match identity.common_name.as_str() {
            "" => identity.dns.first().cloned().unwrap_or_default(),
            name => name.to_owned(),
        };
        let left = identity.not_after - self.now;
        if left <= 0 {
            self.say(at, format!("the certificate of {name:?} has expired"), false);
        } else if left < EXPIRY_WARNED_S {
            self.say(at, format!("the certificate of {name:?} expires in {} days", left / 86_400), false);
        }
        self.expiries.push((name, identity.not_after));
    }

    fn certificate(&mut self, certificate: &Certificate) -> Vec<Pair> {
        let pairs: Vec<Pair> = certificate.pairs.iter().filter_map(|pem| self.pair(pem, &certificate.at)).collect();
        if let [one, two] = pairs.as_slice() {
            if one.algorithm() == two.algorithm() {
                self.say(&certificate.at, "cert and cert_alt are of the same kind of key".to_owned(), true);
            }
        }
        pairs
    }

    /// By place; `None` where one has a fault.
    fn authorities(&mut self) -> Vec<Option<String>> {
        let mut all = Vec::new();
        for authority in &self.plan.secure.authorities {
            let read = certs::certificates(&authority.pem).and_then(|certs| match certs.as_slice() {
                [one] => Identity::of(one),
                _ => Err("please submit only one certificate at a time".to_owned()),
            });
            let fault = match read {
                Ok(identity) if !identity.is_authority => Some(NO_AUTHORITY.to_owned()),
                Ok(identity) if identity.not_after <= self.now => {
                    Some("certificate expired, \"Not After\" time is in the past".to_owned())
                }
                Ok(_) => None,
                Err(_) if authority.pem.trim().is_empty() => None,
                Err(what) => Some(what),
            };
            let sound = fault.is_none();
            if let Some(what) = fault {
                self.say(&authority.at, what, true);
            }
            all.push((sound && !authority.pem.trim().is_empty()).then(|| authority.pem.clone()));
        }
        all
    }

    fn asked(&mut self, certificates: &[Vec<Pair>], authorities: &[Option<String>]) -> Vec<Clients> {
        let plan = self.plan;
        let mut made: HashMap<[u8; 32], Arc<ClientPlan>> = HashMap::new();
        let mut all = Vec::with_capacity(plan.services.len());
        for service in &plan.services {
            let mut clients = Clients::default();
            if service.is_secure() {
                let shared: Option<&[&[u8]]> = match service.speaks() {
                    Spoken::Http1 => None,
                    Spoken::Http2 => Some(&[b"h2"]),
                    Spoken::Either => Some(&[b"h2", b"http/1.1"]),
                };
                let mut tls = service.tls.clone();
                tls.certificate = tls.certificate.or(plan.upstream(service.upstream).certificate);
                let mut client = |alpn| self.client(&tls, alpn, certificates, authorities, &mut made);
                match (shared.map(&mut client).transpose(), client(&[b"http/1.1"])) {
                    (Ok(shared), Ok(own)) => clients = Clients { shared, own: Some(own) },
                    (Err(what), _) | (_, Err(what)) => self.say(&service.at, what, true),
                }
            }
            all.push(clients);
        }
        all
    }

    fn client(
        &mut self,
        tls: &ServiceTls,
        alpn: &[&[u8]],
        certificates: &[Vec<Pair>],
        authorities: &[Option<String>],
        made: &mut HashMap<[u8; 32], Arc<ClientPlan>>,
    ) -> Result<Arc<ClientPlan>, String> {
        let node = &self.plan.node.tls;
        let pems: Option<Vec<&str>> =
            tls.authorities.as_ref().map(|all| all.iter().filter_map(|ix| authorities.get(*ix)?.as_deref()).collect());
        let wanted = tls.verify.unwrap_or(node.upstream_verify);
        let identity = tls.certificate.and_then(|ix| certificates.get(ix)?.first().cloned());
        let name = {
            let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            let mut add = |bytes: &[u8]| {
                hash.update(&(bytes.len() as u64).to_be_bytes());
                hash.update(bytes);
            };
            add(&[u8::from(wanted), u8::from(tls.verify.is_some()), u8::from(pems.is_some())]);
            add(format!("{:?} {}", tls.depth, node.system_authorities).as_bytes());
            add(node.upstream_authorities.as_bytes());
            pems.iter().flatten().for_each(|pem| add(pem.as_bytes()));
            add(&alpn.join(&b','));
            add(identity.as_ref().map_or("", |pair| &pair.identity.sha256).as_bytes());
            let mut name = [0; 32];
            name.copy_from_slice(hash.finish().as_ref());
            name
        };
        if let Some(made) = made.get(&name) {
            return Ok(made.clone());
        }
        let roots = match (wanted, pems) {
            (false, _) => None,
            (true, Some(pems)) if !pems.is_empty() => Some(Arc::new(settings::roots_of(pems.into_iter())?)),
            (true, _) => Some(self.node_roots()?),
        };
        let roots = match roots {
            Some(roots) if roots.is_empty() && tls.verify == Some(true) => {
                return Err("tls_verify is on, and there is no authority to ask".to_owned());
            }
            Some(roots) if roots.is_empty() => None,
            roots => roots,
        };
        let depth = tls.depth.map(|depth| depth as usize);
        let client = Client { roots, depth, identity, alpn: alpn.iter().map(|word| word.to_vec()).collect() };
        client.build(1)?;
        let plan = Arc::new(ClientPlan { name, client });
        made.insert(name, plan.clone());
        Ok(plan)
    }

    /// The authorities that the node trusts for upstreams.
    fn node_roots(&self) -> Result<Arc<RootCertStore>, String> {
        let node = &self.plan.node.tls;
        let system = match node.system_authorities {
            true => self.shelf.take_or(|| System(Arc::new(settings::system_roots()))).0.clone(),
            false => Arc::new(RootCertStore::empty()),
        };
        if node.upstream_authorities.is_empty() {
            return Ok(system);
        }
        let mut roots = settings::roots_of(std::iter::once(node.upstream_authorities.as_str()))?;
        roots.extend(system.roots.iter().cloned());
        Ok(Arc::new(roots))
    }
}
