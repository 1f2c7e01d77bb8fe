//! Every example of `config/` is loaded as a user would load it, so that none rots.

use ringway::config::gather::{load, Loaded};
use ringway::hook::Shelf;
use ringway::plan::balancing::HashOn;
use ringway::plan::{Plan, Secret, Upstream};
use ringway::shard::Tables;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

/// Loads files of `config/`, with these variables and no others.
fn run(files: &[&str], env: &[(&str, &str)]) -> Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<String> = files.iter().map(|file| folder.join(file).display().to_string()).collect();
    let env: Vec<(String, String)> = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    // What is not among the examples is not there: this machine's own files have no say.
    let open = |path: &str| match Path::new(env!("CARGO_MANIFEST_DIR")).join(path).starts_with(&folder) {
        true => std::fs::read(path),
        false => Err(std::io::ErrorKind::NotFound.into()),
    };
    let mut next = 0u8;
    let mut random = |bytes: &mut [u8]| {
        for byte in bytes {
            next = next.wrapping_mul(5).wrapping_add(1);
            *byte = next;
        }
    };
    load(&files, None, &env, &open, ringway::plugins::ALL, &mut random)
}

/// The plan, of files that nothing is to be said about.
#[track_caller]
fn plan(files: &[&str]) -> Plan {
    let loaded = run(files, &[]);
    let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new(), "{files:?}");
    let plan = loaded.plan.expect("a report without faults has a plan");
    none_asks_itself(&plan);
    plan
}

/// No service of an example is the gateway that serves it, or its Admin API, which a route would publish.
#[track_caller]
fn none_asks_itself(plan: &Plan) {
    let own: Vec<_> = plan.listeners.iter().map(|listener| &listener.bind).chain(&plan.node.admin).collect();
    for target in plan.upstreams.iter().flat_map(|upstream| &upstream.targets) {
        let local = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = match (plan.node.hosts.get(&target.host), target.host.parse::<IpAddr>()) {
            (Some(addresses), _) => addresses.clone(),
            (None, Ok(address)) => vec![address],
            (None, Err(_)) if target.host == "localhost" => local.to_vec(),
            (None, Err(_)) => Vec::new(),
        };
        for address in addresses {
            let takes = |own: IpAddr| own == address || (own.is_unspecified() && address.is_loopback());
            let itself = own.iter().find(|bind| bind.addr.port() == target.port && takes(bind.addr.ip()));
            assert!(itself.is_none(), "{}:{} is {}", target.host, target.port, itself.map_or("", |bind| &bind.at));
        }
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.routes.iter().filter_map(|route| route.name.as_deref()).collect()
}

#[test]
fn the_demo_is_two_services_on_loopback() {
    let plan = plan(&["demo.yaml"]);
    assert_eq!(names(&plan), ["hello", "limited", "echo", "secure"]);
    let ports: Vec<(&str, u16)> = plan.services.iter().map(|service| (service.host.as_str(), service.port)).collect();
    assert_eq!(ports, [("127.0.0.1", 18081), ("127.0.0.1", 18082)]);
    assert_eq!(plan.listeners[0].bind.addr.to_string(), "127.0.0.1:8000");
    assert_eq!(plan.node.admin[0].addr.to_string(), "127.0.0.1:8001");
    assert_eq!(plan.credentials.len(), 1);
}

#[test]
fn the_production_example_says_nothing_but_what_holds() {
    let plan = plan(&["production.yaml"]);
    assert_eq!(names(&plan), ["orders", "users", "robots"]);
    let declared: Vec<&Upstream> = plan.upstreams.iter().filter(|upstream| !upstream.implied).collect();
    let [orders] = declared[..] else { panic!("{} upstreams", declared.len()) };
    assert_eq!((&orders.hashing.on, &orders.hashing.fallback), (&HashOn::Consumer, &HashOn::Ip));
    let active = orders.checks.active.as_ref().expect("its targets are probed");
    assert_eq!([active.timeout_ms, active.healthy_interval_ms, active.unhealthy_interval_ms], [1000, 5000, 1000]);
    assert_eq!((orders.checks.passive.http_failures, orders.checks.threshold), (5, 30.0));
    assert_eq!(plan.node.hosts["users.internal"].len(), 2);
    assert_eq!(plan.node.runtime.body_bytes_max, 10 << 20);
    assert_eq!(plan.services[0].connect_timeout_ms, 2000);
}

#[test]
fn the_kong_example_for_production_is_served() {
    let plan = plan(&["production-kong.yml"]);
    // The route of the disabled service is not there.
    assert_eq!(names(&plan), ["orders", "catalogue", "catalogue-item", "maintenance"]);
    assert!(plan.node.dress.server.as_deref().is_some_and(|server| server.starts_with("kong/")));
}

#[test]
fn the_kong_example_of_policies_is_served() {
    let plan = plan(&["policies-kong.yml"]);
    assert_eq!(names(&plan), ["reports", "payments", "shop", "old-shop"]);
    let mut used: Vec<&str> = plan.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    used.sort_unstable();
    let want = ["acl", "basic-auth", "bot-detection", "cors", "hmac-auth", "ip-restriction", "key-auth", "redirect"];
    assert_eq!(used[..8], want);
    assert_eq!(used[8..], ["request-size-limiting"]);
    assert!(plan.consumers.iter().next().unwrap().groups().eq(["staff"]));
}

#[test]
fn the_kong_example_of_validation_is_served() {
    let plan = plan(&["validation-kong.yml"]);
    assert_eq!(names(&plan), ["order", "orders-old", "payments", "prices"]);
    let mut used: Vec<&str> = plan.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    used.sort_unstable();
    assert_eq!(used, ["fault-injection", "request-termination", "request-validator", "request-validator"]);
    let tables = Tables::compile(Arc::new(plan), ringway::plugins::ALL, &Shelf::default());
    assert!(tables.is_ok(), "{:?}", tables.err());
}

#[test]
fn the_kong_example_of_limits_is_served() {
    let plan = plan(&["limits-kong.yml"]);
    assert_eq!(names(&plan), ["search", "legacy", "reports", "media"]);
    let algorithms: Vec<&str> =
        plan.plugins.iter().filter_map(|plugin| plugin.config.get("algorithm")?.as_str()).collect();
    assert_eq!(algorithms, ["token-bucket", "leaky-bucket", "sliding-window"]);
    let tables = ringway::shard::Tables::compile(std::sync::Arc::new(plan), ringway::plugins::ALL, &Default::default());
    assert_eq!(tables.err(), None);
}

#[test]
fn the_kong_example_of_grpc_is_served() {
    let plan = plan(&["grpc-kong.yml"]);
    assert_eq!(names(&plan), ["greeter"]);
    assert_eq!((plan.services[0].protocol, plan.services[0].port), (ringway::plan::Protocol::Grpc, 50051));
}

#[test]
fn the_kong_example_of_grpc_for_others_is_served() {
    let plan = plan(&["grpc-web-kong.yml"]);
    assert_eq!(names(&plan), ["greeter-web", "greeter-json", "greeter-http1"]);
    let typed = plan.plugins.iter().filter(|plugin| plugin.name != "grpc-http1-bridge");
    assert_eq!(typed.filter(|plugin| plugin.made_of("proto").is_some()).count(), 2);
    let tables = Tables::compile(Arc::new(plan), ringway::plugins::ALL, &Shelf::default());
    assert_eq!(tables.err(), None);
}

#[test]
fn the_kong_example_of_http2_is_served() {
    use ringway::plan::spoken::{ProxyVersion, Spoken};
    let plan = plan(&["http2-kong.yml"]);
    let spoken: Vec<Spoken> = plan.services.iter().map(|service| service.speaks()).collect();
    assert_eq!(spoken, [Spoken::Either, Spoken::Http2, Spoken::Http2, Spoken::Http1]);
    assert_eq!(plan.services[3].announces, Some(ProxyVersion::V2));
    let tables = Tables::compile(Arc::new(plan), ringway::plugins::ALL, &Shelf::default());
    assert_eq!(tables.err(), None);
}

#[test]
fn the_kong_example_of_shared_limits_is_served() {
    let loaded = run(&["redis-limits-kong.yml"], &[("REDIS_PASSWORD", "s3")]);
    let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new());
    let plan = loaded.plan.expect("a report without faults has a plan");
    assert_eq!(names(&plan), ["orders", "reports", "search", "media"]);
    assert_eq!(plan.plugins[0].config["redis"]["password"], "s3");
    let tables = Tables::compile(Arc::new(plan), ringway::plugins::ALL, &Default::default());
    assert_eq!(tables.err(), None);
}

/// The files that it names are made here: an authority, and two certificates of different kinds of key.
#[test]
fn the_example_of_tls_says_nothing_but_what_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let made = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).expect("signs").pem(), key.serialize_pem())
    };
    let (one, two) = (made(&rcgen::PKCS_ECDSA_P256_SHA256), made(&rcgen::PKCS_ECDSA_P384_SHA384));
    let open = |path: &str| match path {
        "certs/ecdsa.pem" | "certs/inside.pem" | "certs/clients.pem" => Ok(one.0.clone().into_bytes()),
        "certs/ecdsa.key" => Ok(one.1.clone().into_bytes()),
        "certs/rsa.pem" => Ok(two.0.clone().into_bytes()),
        "certs/rsa.key" => Ok(two.1.clone().into_bytes()),
        "certs/tickets.new" | "certs/tickets.old" => {
            Ok(format!("{path} 0123456789abcdef0123456789abcdef").into_bytes())
        }
        // A successful answer of OCSP that says nothing.
        "certs/ecdsa.ocsp" => Ok(vec![0x30, 3, 0x0a, 1, 0]),
        path if Path::new(path).starts_with(&folder) => std::fs::read(path),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let files = [folder.join("tls.yaml").display().to_string()];
    let loaded = load(&files, None, &[], &open, ringway::plugins::ALL, &mut |bytes: &mut [u8]| bytes.fill(1));
    let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new());
    let plan = loaded.plan.expect("a report without faults has a plan");
    assert!(plan.listeners[1].bind.tls && plan.node.tls.listeners.default.len() == 2);
    let compiled = ringway::shard::secure::Secure::compile(&plan, &Default::default(), 1_800_000_000);
    let (secure, findings) = compiled.unwrap_or_else(|findings| panic!("{}", findings[0].what));
    // Those of the proxy's clients, and the same again for the Admin API.
    assert!(findings.is_empty() && secure.expiries.len() == 4 && secure.admin.len() == 1);
    assert_eq!(plan.node.tls.listeners.of_names.len(), 1);
}

#[test]
fn the_kong_example_of_client_certificates_is_served() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["partners.test".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).expect("signs").pem();
    let loaded = run(&["mtls-kong.yml"], &[("PARTNERS_CA", &cert)]);
    let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new());
    let plan = loaded.plan.expect("a report without faults has a plan");
    let mtls: Vec<_> = plan.plugins.iter().filter(|plugin| plugin.name == "mtls-auth").collect();
    assert_eq!(mtls.len(), 2);
    let compiled = ringway::shard::Tables::compile(plan.into(), ringway::plugins::ALL, &Default::default());
    assert!(compiled.is_ok(), "{:?}", compiled.err());
}

#[test]
fn the_kong_example_of_tls_is_served() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (cert, key) = (params.self_signed(&key).expect("signs").pem(), key.serialize_pem());
    let loaded = run(&["tls-kong.yml"], &[("SHOP_CERT", &cert), ("SHOP_KEY", &key), ("INSIDE_CA", &cert)]);
    let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(said, Vec::<String>::new());
    let plan = loaded.plan.expect("a report without faults has a plan");
    assert_eq!(plan.services[0].tls.authorities, Some(vec![0]));
    assert_eq!(plan.secure.certificates[0].names, ["shop.test", "*.shop.test"]);
    let compiled = ringway::shard::secure::Secure::compile(&plan, &Default::default(), 1_800_000_000);
    let (secure, findings) = compiled.unwrap_or_else(|findings| panic!("{}", findings[0].what));
    assert!(findings.is_empty(), "{}", findings[0].what);
    assert_eq!(secure.expiries.len(), 1);
}

#[test]
fn the_kong_example_of_transformers_is_served() {
    let plan = plan(&["transform-kong.yml"]);
    assert_eq!(names(&plan), ["orders", "legacy", "texts", "keyed"]);
    let of = |name: &str| plan.plugins.iter().filter(|plugin| plugin.name == name).count();
    assert_eq!((of("request-transformer"), of("response-transformer")), (3, 1));
    let limit = plan.plugins.iter().find(|plugin| plugin.name == "rate-limiting").expect("there is one");
    assert_eq!(limit.ordering.as_ref().map(|ordering| &ordering.before[..]), Some(&["key-auth".to_owned()][..]));
}

#[test]
fn the_kong_example_of_tokens_is_served() {
    let plan = plan(&["jwt-kong.yml"]);
    assert_eq!(names(&plan), ["orders", "reports", "shop"]);
    let jwt: Vec<_> = plan.plugins.iter().filter(|plugin| plugin.name == "jwt").collect();
    assert_eq!(jwt.len(), 3);
    assert_eq!(jwt[0].config["claims_to_headers"]["realm_access.roles"], "X-Roles");
    assert_eq!(jwt[1].config["consumer_claim"], "sub");
}

#[test]
fn groups_have_limits_of_their_own() {
    let plan = plan(&["groups-kong.yml"]);
    let members: Vec<(&str, &str)> = plan
        .groups
        .members
        .iter()
        .map(|(who, group)| (plan.consumer(*who).username.unwrap_or("-"), plan.groups.all[group.ix()].name.as_str()))
        .collect();
    assert_eq!(members, [("shop", "gold"), ("kiosk", "silver")]);
    assert_eq!(plan.plugins.iter().filter(|plugin| plugin.scope.group.is_some()).count(), 2);
}

#[test]
fn kong_yml_is_served_with_secrets_and_hosts_beside_it() {
    let plan = plan(&["kong.yml", "jwt-secrets.yml", "hosts.yaml"]);
    assert_eq!(names(&plan), ["user-service-route", "product-service-route"]);
    let owners: Vec<Option<&str>> = plan
        .credentials
        .iter()
        .filter(|credential| matches!(credential.secret, Secret::Jwt { .. }))
        .map(|credential| plan.consumer(credential.consumer).username)
        .collect();
    assert_eq!(owners, [Some("mobile-app"), Some("web-app")]);
    assert_eq!(plan.node.hosts.len(), 2);
    let targets = plan.upstreams.iter().flat_map(|upstream| &upstream.targets);
    let asked: Vec<(&str, u16)> = targets.map(|target| (target.host.as_str(), target.port)).collect();
    assert_eq!(asked, [("user-service", 8000), ("product-service", 8001)]);
    // Neither file needs the others to be well-formed, but for the consumers that the secrets name.
    assert!(run(&["kong.yml"], &[]).report.is_clean());
    assert!(run(&["jwt-secrets.yml"], &[]).plan.is_none());
}

/// What `ringway plugins NAME` shows is served as it stands, nothing said about it.
#[test]
fn the_example_of_every_plugin_is_served() {
    for row in ringway::plugins::ALL {
        let text = format!("_format_version: \"3.0\"\n{}", row.example);
        let open = |path: &str| match path {
            "example.yml" => Ok(text.clone().into_bytes()),
            "config/greeter.proto" => std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let mut random = |bytes: &mut [u8]| bytes.fill(7);
        let loaded = load(&["example.yml".to_owned()], None, &[], &open, ringway::plugins::ALL, &mut random);
        let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
        assert_eq!(said, Vec::<String>::new(), "the example of {}:\n{text}", row.name);
        let plan = loaded.plan.expect("a report without faults has a plan");
        assert!(plan.plugins.iter().any(|plugin| plugin.name == row.name), "{} is not in its own example", row.name);
        let tables = Tables::compile(Arc::new(plan), ringway::plugins::ALL, &Shelf::default());
        assert!(tables.is_ok(), "{}: {:?}", row.name, tables.err());
    }
}

#[test]
fn what_is_served_is_not_said_to_be_unbuilt() {
    for row in ringway::plugins::ALL {
        assert!(ringway::hook::unbuilt(row.name).is_none(), "{}: take its row out of hook/unbuilt.rs", row.name);
    }
}

/// The environment of the compose file that people try images with: none of it may keep the gateway from starting.
#[test]
fn a_compose_files_variables_are_understood() {
    let env = [
        ("KONG_DATABASE", "postgres"),
        ("KONG_PG_HOST", "kong-database"),
        ("KONG_PG_USER", "kong"),
        ("KONG_PG_PASSWORD", "kong"),
        ("KONG_PROXY_ACCESS_LOG", "/dev/stdout"),
        ("KONG_ADMIN_ACCESS_LOG", "/dev/stdout"),
        ("KONG_PROXY_ERROR_LOG", "/dev/stderr"),
        ("KONG_ADMIN_ERROR_LOG", "/dev/stderr"),
        ("KONG_ADMIN_LISTEN", "0.0.0.0:8001"),
    ];
    let loaded = run(&["kong.yml"], &env);
    let said: Vec<String> = loaded.report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["KONG_DATABASE: warning: settings without a counterpart here, ignored: database: KONG_DATABASE, \
          KONG_PG_HOST, KONG_PG_PASSWORD, KONG_PG_USER"]
    );
    let plan = loaded.plan.expect("a report without faults has a plan");
    assert_eq!(plan.node.admin[0].addr.to_string(), "0.0.0.0:8001");
}

/// systemd ends the process after its own patience: it must be longer than ours.
#[test]
fn the_unit_waits_longer_than_the_gateway_drains() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let unit = std::fs::read_to_string(folder.join("ringway.service")).expect("the unit is there");
    let setting = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)).expect("the unit has the setting");
        line.trim().parse::<u64>().expect("the setting is a number")
    };
    let runtime = plan(&["production.yaml"]).node.runtime;
    assert!(setting("TimeoutStopSec=") * 1000 > runtime.drain_timeout_ms);
    assert!(setting("LimitNOFILE=") > 2 * runtime.connections_max);
}
