//! Asks for names: the hosts file first, then the DNS servers of the plan or of the system. Keeps nothing: what is
//! known, and when to ask again, is `names.rs`.

use super::names::{Answer, Failure, Found, Place, Question};
use crate::base::limits;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The way to the servers. Clones share it.
#[derive(Clone)]
pub(super) struct Dns {
    /// The resolver, or why there is none.
    resolver: Result<Arc<TokioResolver>, String>,
    hosts_file: PathBuf,
    places: Arc<Semaphore>,
}

impl Dns {
    /// Reads `/etc/resolv.conf` for servers, search list and `ndots`; `servers`, where there are any, replace its servers.
    pub(super) fn new(servers: &[SocketAddr]) -> Dns {
        Dns {
            resolver: resolver(servers).map(Arc::new),
            hosts_file: PathBuf::from("/etc/hosts"),
            places: Arc::new(Semaphore::new(limits::DNS_LOOKUPS_MAX)),
        }
    }

    /// Asks; never longer than [`limits::DNS_LOOKUP_MS`] once it is its turn.
    pub(super) async fn ask(&self, question: &Question) -> Answer {
        let _place = self.places.acquire().await;
        let life = Duration::from_millis(limits::DNS_LOOKUP_MS);
        let asked = async {
            match question {
                Question::Ip(name) => self.ask_ip(name).await,
                Question::Srv(name) => self.ask_srv(name).await,
            }
        };
        let answer = tokio::time::timeout(life, asked).await;
        answer.unwrap_or_else(|_| Err(Failure::Unknown("no server answered in time".to_owned())))
    }

    async fn ask_ip(&self, name: &str) -> Answer {
        let (ips, ttl_ms) = match self.in_hosts_file(name) {
            Some(ips) => (ips, limits::DNS_HOSTS_FILE_MS),
            None => self.addresses(name).await?,
        };
        let places = usable(name, ips).into_iter().map(|ip| Place { ip, srv: None }).collect();
        Ok(Found { places, ttl_ms })
    }

    async fn addresses(&self, name: &str) -> Result<(Vec<IpAddr>, u64), Failure> {
        let resolver = self.resolver.clone().map_err(Failure::Unknown)?;
        let lookup = resolver.lookup_ip(name).await.map_err(|error| failure(&error))?;
        let ips: Vec<IpAddr> = lookup.iter().collect();
        if ips.is_empty() {
            return Err(Failure::Denied("the name has no address".to_owned()));
        }
        Ok((ips, ttl_ms(lookup.as_lookup().answers())))
    }

    /// RFC 2782: only the records of the lowest priority are used; the others are for when none of those can be reached,
    /// which is not known here.
    async fn ask_srv(&self, name: &str) -> Answer {
        let resolver = self.resolver.clone().map_err(Failure::Unknown)?;
        let lookup = resolver.srv_lookup(name).await.map_err(|error| failure(&error))?;
        let mut ttl = ttl_ms(lookup.answers());
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.clone()),
            _ => None,
        });
        let mut records: Vec<_> = records.collect();
        let Some(first) = records.iter().map(|srv| srv.priority).min() else {
            return Err(Failure::Denied("the name has no SRV record".to_owned()));
        };
        // RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
        records.retain(|srv| srv.priority == first && !srv.target.is_root());
        records.truncate(limits::DNS_ADDRESSES_MAX);
        let mut asked = JoinSet::new();
        for srv in records {
            let dns = self.clone();
            asked.spawn(async move {
                let found = dns.ask_ip(&srv.target.to_ascii()).await;
                (found, (srv.port, u32::from(srv.weight)))
            });
        }
        let (mut places, mut bad) = (Vec::new(), Failure::Denied("the service is not available".to_owned()));
        while let Some(Ok((found, srv))) = asked.join_next().await {
            match found {
                Ok(found) => {
                    ttl = ttl.min(found.ttl_ms);
                    places.extend(found.places.into_iter().map(|place| Place { srv: Some(srv), ..place }));
                }
                Err(failure) => bad = failure,
            }
        }
        if places.is_empty() {
            return Err(bad);
        }
        Ok(Found { places, ttl_ms: ttl })
    }

    /// Addresses of the hosts file. A name that stands there with one family is not asked for the other: somebody wrote
    /// down where it is.
    fn in_hosts_file(&self, name: &str) -> Option<Vec<IpAddr>> {
        let file = std::fs::File::open(&self.hosts_file).ok()?;
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(file).ok()?;
        let name = Name::from_utf8(name).ok()?;
        let families = [RecordType::A, RecordType::AAAA];
        let found =
            families.into_iter().filter_map(|family| hosts.lookup_static_host(&Query::query(name.clone(), family)));
        let ips: Vec<IpAddr> = found
            .flat_map(|lookup| lookup.answers().iter().filter_map(|r| r.data.ip_addr()).collect::<Vec<_>>())
            .collect();
        (!ips.is_empty()).then_some(ips)
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let (config, mut options) = match (read_system_conf(), servers.is_empty()) {
        (Ok((config, options)), true) => (config, options),
        (Err(error), true) => return Err(format!("there is no DNS server to ask: /etc/resolv.conf: {error}")),
        (system, false) => {
            // The search list stays the system's: naming a server says where to ask, not what short names mean.
            let (config, options) = system.unwrap_or_default();
            let (domain, search, _) = config.into_parts();
            (ResolverConfig::from_parts(domain, search, servers.iter().map(server).collect()), options)
        }
    };
    options.timeout = Duration::from_millis(limits::DNS_QUESTION_MS);
    options.attempts = 2;
    // Answers are kept in the book, with TTL bounds and stale use of its own; a second cache would hide changes.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // The TTL of an alias counts as well as that of the address behind it.
    options.preserve_intermediates = true;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| format!("the DNS resolver cannot be set up: {error}"))
}

fn server(addr: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = addr.port();
        connection
    };
    NameServerConfig::new(addr.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}

fn ttl_ms(records: &[Record]) -> u64 {
    records.iter().map(|record| u64::from(record.ttl) * 1000).min().unwrap_or(0)
}

fn failure(error: &NetError) -> Failure {
    if error.is_nx_domain() {
        return Failure::Denied("no such name".to_owned());
    }
    if error.is_no_records_found() {
        return Failure::Denied("the name has no such record".to_owned());
    }
    Failure::Unknown(error.to_string())
}

/// Leaves out addresses of which every use would fail here, as long as others remain: IPv6 where this machine has no way
/// to it, and `::1` of `localhost`, which is the same machine as `127.0.0.1` and where most servers listen on that only.
fn usable(name: &str, ips: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ips.into_iter().partition(IpAddr::is_ipv4);
    if v4.is_empty() {
        return v6;
    }
    let is_local = name.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    let v6 = v6.into_iter().filter(|ip| !is_local && has_way(*ip));
    v4.into_iter().chain(v6).collect()
}

/// Has the kernel a route to `ip`? Connecting a datagram socket looks the route up and sends nothing.
fn has_way(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((ip, 9))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::dns::{Server, Zone};

    fn ask(zone: Zone, question: Question) -> (Result<(Vec<String>, u64), Failure>, Server) {
        let server = Server::start(zone);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async { Dns::new(&[server.addr]).ask(&question).await });
        let shown = answer.map(|found| {
            let mut places: Vec<String> = found
                .places
                .iter()
                .map(|place| match place.srv {
                    Some((port, weight)) => format!("{} {port} {weight}", place.ip),
                    None => place.ip.to_string(),
                })
                .collect();
            places.sort();
            (places, found.ttl_ms)
        });
        (shown, server)
    }

    fn ip(name: &str) -> Question {
        Question::Ip(name.to_owned())
    }

    #[test]
    fn both_families_of_a_name_are_found_with_the_shorter_ttl() {
        let zone =
            Zone::default().a("up.test.", 30, "10.0.0.1").a("up.test.", 30, "10.0.0.2").aaaa("up.test.", 20, "::1");
        let (answer, _server) = ask(zone, ip("up.test."));
        assert_eq!(answer, Ok((vec!["10.0.0.1".into(), "10.0.0.2".into(), "::1".into()], 20_000)));
    }

    #[test]
    fn an_alias_is_followed_and_its_ttl_counts() {
        let zone = Zone::default().cname("alias.test.", 5, "up.test.").a("up.test.", 300, "10.0.0.1");
        let (answer, _server) = ask(zone, ip("alias.test."));
        assert_eq!(answer, Ok((vec!["10.0.0.1".into()], 5_000)));
    }

    #[test]
    fn srv_records_of_the_lowest_priority_give_port_and_weight() {
        let zone = Zone::default()
            .srv("_http._tcp.up.test.", 60, (1, 10, 8080), "a.test.")
            .srv("_http._tcp.up.test.", 60, (1, 30, 8081), "b.test.")
            .srv("_http._tcp.up.test.", 60, (2, 99, 8082), "c.test.")
            .a("a.test.", 15, "10.0.0.1")
            .a("b.test.", 60, "10.0.0.2")
            .a("c.test.", 60, "10.0.0.3");
        let (answer, _server) = ask(zone, Question::Srv("_http._tcp.up.test.".to_owned()));
        assert_eq!(answer, Ok((vec!["10.0.0.1 8080 10".into(), "10.0.0.2 8081 30".into()], 15_000)));
    }

    #[test]
    fn a_denial_is_told_from_a_failing_server() {
        let (answer, _server) = ask(Zone::default(), ip("nobody.test."));
        assert_eq!(answer, Err(Failure::Denied("no such name".to_owned())));
        let (answer, _server) = ask(Zone::default().failing(), ip("up.test."));
        assert!(matches!(answer, Err(Failure::Unknown(_))), "{answer:?}");
    }

    #[test]
    fn a_silent_server_is_a_failure_in_bounded_time() {
        let started = std::time::Instant::now();
        let (answer, _server) = ask(Zone::default().silent(), ip("up.test."));
        assert!(matches!(answer, Err(Failure::Unknown(_))), "{answer:?}");
        assert!(started.elapsed() <= Duration::from_millis(limits::DNS_LOOKUP_MS + 500));
    }

    #[test]
    fn the_hosts_file_is_asked_first() {
        let file = crate::control::testing::folder("hosts").join("hosts");
        std::fs::write(&file, "127.0.0.9 Up.test other\n::1 localhost\n127.0.0.1 localhost # both\n").unwrap();
        let dns = Dns { hosts_file: file, ..Dns::new(&[]) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (name, want) in [("up.test", "127.0.0.9"), ("localhost", "127.0.0.1")] {
            let found = runtime.block_on(dns.ask(&ip(name))).unwrap();
            assert_eq!(found.places, [Place { ip: want.parse().unwrap(), srv: None }], "{name}");
            assert_eq!(found.ttl_ms, limits::DNS_HOSTS_FILE_MS);
        }
    }
}
