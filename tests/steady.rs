//! In the steady state a request that passes its plugins allocates nothing, and neither does the pick of its target. What
//! a consumer takes is bounded.
//!
//! One request over and over through the plugins that let it pass, with an allocator that counts: jwt with a token seen
//! before, the others with what they ask for; hmac-auth by itself, as it shares a header with jwt. The first rounds may
//! allocate: buffers grow to their size, a shard makes its cache.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ringway::balance::consistent_hashing::Hash;
use ringway::balance::health::Report;
use ringway::balance::round_robin::Turn;
use ringway::balance::{Member, Pick, Picker, Standing};
use ringway::base::id::{ConsumerIx, RouteIx, ServiceIx, UpstreamIx};
use ringway::base::rng::Rng;
use ringway::base::span::Span;
use ringway::base::time::{Millis, WallMs};
use ringway::hook::directory::Directory;
use ringway::hook::{Ctx, Edits, Env, Facts, Identity, Locals, Need, Outcome, Plugin, Shelf, Tally, Verdict};
use ringway::http::parse::{Parser, Progress};
use ringway::http::Head;
use ringway::plan::balancing::{Checks, Criteria, Hashing};
use ringway::plan::{
    Algorithm, Credentials, Dress, Level, LogPath, NewConsumer, Node, Plan, PluginInstance, Protocol, Route, Runtime,
    Scope, Secret, Service, TokenKey, Upstream,
};
use ringway::redis::{Reply as Answer, Spare};
use serde_json::{json, Value};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use uuid::Uuid;

struct Counting;

/// What an allocation of so many bytes takes: a word before it, in steps of 16, 32 at least.
fn chunk(bytes: usize) -> i64 {
    ((bytes + 8).next_multiple_of(16)).max(32) as i64
}

thread_local! {
    /// Of this thread alone: what other tests and their runner do meanwhile is no business of the code under test.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread has taken and not given back, as glibc rounds them.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts and passes on")]
// SAFETY: every call goes to `System` with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + chunk(layout.size()));
        // SAFETY: the caller keeps `System`'s contract, because it is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - chunk(layout.size()));
        // SAFETY: `at` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + chunk(bytes) - chunk(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

fn plan() -> Plan {
    let at = Span::nowhere();
    let id = Uuid::from_u128;
    let dress = Dress {
        server: None,
        via_request: None,
        via_reply: None,
        request_id_upstream: None,
        request_id_client: None,
        upstream_latency: None,
        proxy_latency: None,
        response_latency: None,
        upstream_status: None,
        debug_trigger: None,
        debug_names: Default::default(),
        error_type: "text/plain".into(),
        head_too_large: 431,
        tagline: String::new(),
        version: String::new(),
        admin_latency: None,
    };
    let node = Node {
        runtime: Runtime::default(),
        admin: Vec::new(),
        access_log: None,
        admin_log: None,
        error_log: LogPath::Stderr,
        log_level: Level::Info,
        trusted: Vec::new(),
        real_ip_header: "x-real-ip".into(),
        real_ip_recursive: false,
        port_maps: Vec::new(),
        dress,
        hosts: Default::default(),
        dns_servers: Vec::new(),
        tls: Default::default(),
    };
    let service = Service {
        id: id(1),
        name: None,
        protocol: Protocol::Http,
        host: "s.test".into(),
        port: 80,
        path: None,
        retries: 5,
        connect_timeout_ms: 1,
        write_timeout_ms: 1,
        read_timeout_ms: 1,
        upstream: UpstreamIx(0),
        tls: Default::default(),
        http2: false,
        announces: None,
        tags: Vec::new(),
        at: at.clone(),
    };
    let route = Route {
        id: id(2),
        name: None,
        protocols: vec![Protocol::Http],
        methods: Vec::new(),
        hosts: Vec::new(),
        paths: Vec::new(),
        headers: Vec::new(),
        snis: Vec::new(),
        strip_path: true,
        preserve_host: false,
        https_redirect_status: 426,
        regex_priority: 0,
        request_buffering: true,
        response_buffering: true,
        service: Some(ServiceIx(0)),
        tags: Vec::new(),
        at: at.clone(),
    };
    let bob = NewConsumer {
        id: id(3),
        username: Some("bob"),
        custom_id: Some("b-1"),
        groups: &["a", "b"],
        tags: &[],
        at: &at,
    };
    let password_hash = &*ringway::plan::link::salted("kong", bob.id);
    let mut credentials = Credentials::default();
    let secrets = [
        Secret::Key { key: "bobs-key", ttl_s: Some(3600) },
        Secret::Jwt(TokenKey { key: "k", secret: "secret", algorithm: "HS256", public_key: None }),
        Secret::Basic { username: "bob", password_hash },
        Secret::Hmac { username: "bob", secret: "secret" },
    ];
    for (n, secret) in secrets.iter().enumerate() {
        credentials.push(id(4 + n as u128), ConsumerIx(0), secret, &at);
    }
    Plan {
        hash: String::new(),
        node,
        listeners: Vec::new(),
        services: vec![service],
        routes: vec![route],
        upstreams: Vec::new(),
        consumers: [bob].into_iter().collect(),
        credentials,
        groups: Default::default(),
        plugins: Vec::new(),
        secure: Default::default(),
    }
}

/// What a front-end hands over: every field, defaults filled in.
fn config(name: &str) -> Value {
    match name {
        "acl" => json!({"allow": ["b"], "deny": null, "hide_groups_header": false,
            "always_use_authenticated_groups": false}),
        "basic-auth" => json!({"anonymous": null, "hide_credentials": true, "realm": "service"}),
        "bot-detection" => json!({"allow": ["^allowed"], "deny": ["denied$"]}),
        "cors" => json!({"origins": ["http://b.test", r"(.*\.)?a\.test"], "headers": null, "exposed_headers": ["x-a"],
            "methods": ["GET"], "max_age": null, "credentials": true, "private_network": false,
            "preflight_continue": false, "allow_origin_absent": true}),
        "hmac-auth" => json!({"hide_credentials": true, "clock_skew": 300, "anonymous": null,
            "validate_request_body": false, "enforce_headers": ["date"], "algorithms": ["hmac-sha1", "hmac-sha256"],
            "realm": null}),
        "ip-restriction" => json!({"allow": ["10.0.0.0/8"], "deny": ["10.9.0.0/16"], "status": null, "message": null}),
        "request-size-limiting" => json!({"allowed_payload_size": 1, "size_unit": "megabytes",
            "require_content_length": false}),
        "request-transformer" => json!({"http_method": "POST",
            "remove": {"headers": ["x-none"], "querystring": ["y"], "body": []},
            "rename": {"headers": ["cookie:x-cookie"], "querystring": ["x:z"], "body": []},
            "replace": {"uri": "/b/$(headers.user_agent)", "headers": ["user-agent:other", "host:b.test"], "querystring": [], "body": []},
            "add": {"headers": ["x-version:1", "x-who:$(headers.x_consumer_username or 'nobody')"], "querystring": ["n:$(query_params.x)"], "body": []},
            "append": {"headers": ["x-version:2"], "querystring": ["m:1"], "body": []}, "dots_in_keys": null}),
        "response-transformer" => json!({"remove": {"headers": ["x-none"], "json": []},
            "rename": {"headers": ["x-id:x-other"], "json": []}, "replace": {"headers": [], "json": [], "json_types": []},
            "add": {"headers": ["x-version:1"], "json": [], "json_types": []},
            "append": {"headers": ["x-version:2"], "json": [], "json_types": []}, "dots_in_keys": null}),
        "correlation-id" => json!({"header_name": "X-Id", "generator": "uuid#counter", "echo_downstream": true}),
        "jwt" => json!({"uri_param_names": ["jwt"], "cookie_names": ["jwt"], "header_names": ["authorization"],
            "key_claim_name": "iss", "secret_is_base64": false, "claims_to_verify": ["exp"], "anonymous": null,
            "run_on_preflight": true, "maximum_expiration": 0, "realm": null}),
        "key-auth" => {
            json!({"key_names": ["apikey"], "hide_credentials": true, "anonymous": null, "key_in_header": true,
            "key_in_query": true, "key_in_body": false, "run_on_preflight": true, "realm": null})
        }
        "rate-limiting used up" => {
            json!({"hour": 3, "year": 10, "algorithm": "sliding-window", "limit_by": ["consumer", "ip"], "policy": "local",
                "cost_header": "x-cost", "error_code": 429, "error_message": "no", "tiers": {"none": {"hour": 1}}})
        }
        "rate-limiting redis" => {
            json!({"minute": 1_000_000, "hour": 2_000_000, "limit_by": ["consumer", "ip"], "policy": "redis",
            "redis": {"host": "127.0.0.1", "port": 1, "database": 0, "timeout": 100}, "sync_rate": -1})
        }
        _ => {
            json!({"second": 1_000_000, "minute": 2_000_000, "hour": 3_000_000, "day": null, "month": null, "year": null,
            "limit_by": "consumer", "header_name": null, "path": null, "policy": "local", "fault_tolerant": true,
            "redis": {}, "hide_client_headers": false, "error_code": 429, "error_message": "no", "sync_rate": -1})
        }
    }
}

const NOW: WallMs = WallMs(1_795_435_200_000);

#[test]
fn a_request_that_passes_its_plugins_allocates_nothing() {
    // {"alg":"HS256"}.{"iss":"k","exp":2000000000}
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &json!({"iss": "k", "exp": 2_000_000_000u64}),
        &jsonwebtoken::EncodingKey::from_secret(b"secret"),
    )
    .expect("it is signed");
    let most = [
        "bot-detection",
        "cors",
        "correlation-id",
        "jwt",
        "key-auth",
        "basic-auth",
        "ip-restriction",
        "request-size-limiting",
        "acl",
        "rate-limiting",
        "request-transformer",
        "response-transformer",
    ];
    allocates_nothing(&most, &format!("Bearer {token}"));
    let date = format!("date: {}", String::from_utf8_lossy(&NOW.imf_fixdate()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
    let signature = STANDARD.encode(aws_lc_rs::hmac::sign(&key, date.as_bytes()));
    let signed =
        format!("hmac username=\"bob\", algorithm=\"hmac-sha256\", headers=\"date\", signature=\"{signature}\"");
    allocates_nothing(&["hmac-auth"], &signed);
    allocates_nothing(&["key-auth", "rate-limiting used up"], "Bearer none");
    allocates_nothing(&["key-auth", "rate-limiting redis"], "Bearer none");
}

#[track_caller]
fn allocates_nothing(names: &[&str], authorization: &str) {
    let plan = Arc::new(plan());
    let directory = Directory::of(&plan).loaded_at(NOW);
    let (shelf, generation) = (Shelf::default(), Shelf::default());
    let build = |name: &str| -> Arc<dyn Plugin> {
        let (plain, _) = name.split_once(' ').unwrap_or((name, ""));
        let row = ringway::plugins::ALL.iter().find(|row| row.name == plain).expect("there is such a plugin");
        let instance = PluginInstance {
            id: Uuid::nil(),
            name: name.into(),
            instance_name: None,
            scope: Scope { route: Some(RouteIx(0)), ..Scope::default() },
            protocols: Vec::new(),
            config: config(name),
            files: Vec::new(),
            ordering: None,
            tags: Vec::new(),
            at: Span::nowhere(),
        };
        let env =
            Env { plan: &plan, directory: &directory, instance: &instance, shelf: &shelf, generation: &generation };
        (row.build)(&instance.config, &env).expect("it is built")
    };
    let plugins: Vec<_> = names.iter().map(|name| build(name)).collect();
    let proxy = if authorization.starts_with("Bearer") { "Basic Ym9iOmtvbmc=" } else { "" };
    let date = String::from_utf8_lossy(&NOW.imf_fixdate()).into_owned();
    let request = format!(
        "GET /a?x=1&y HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\napikey: bobs-key\r\nAuthorization: {authorization}\r\n\
         Proxy-Authorization: {proxy}\r\nOrigin: https://x.a.test:8443\r\nDate: {date}\r\n\
         Cookie: a=1; b=2\r\nX-Consumer-Username: evil\r\n\r\n"
    );
    let mut head = Head::new();
    assert_eq!(Parser::default().request(request.as_bytes(), &mut head), Ok(Progress::Done));
    let facts = Facts {
        client_ip: [10, 0, 0, 7].into(),
        peer: ([10, 0, 0, 7], 4000).into(),
        local: ([127, 0, 0, 1], 8000).into(),
        https: false,
        host: b"a.test",
        port: 8000,
        path: b"/a",
        query: Some(b"x=1&y"),
        request_id: "0123456789abcdef0123456789abcdef",
        client: None,
        connection: 1,
        connection_request: 1,
        http2: false,
    };
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: up\r\n\r\n";
    let mut reply_head = Head::new();
    assert_eq!(Parser::default().reply(reply, &mut reply_head), Ok(Progress::Done));
    let (mut edits, mut locals, mut rng) = (Edits::default(), Locals::default(), Rng::new(1));
    // What Redis says: the tokens were taken, and so many are used of each period.
    let answers = [Answer::List([1, 7, 7].map(Answer::Integer).to_vec())];
    let mut serve = |n: u64| {
        edits.clear();
        let mut identity = Identity::default();
        let mut cx = Ctx {
            now: WallMs(NOW.0 + n * 7),
            head: head.on(request.as_bytes()),
            facts: &facts,
            route: plan.routes.first(),
            service: plan.services.first(),
            directory: &directory,
            identity: &mut identity,
            edits: &mut edits,
            locals: &mut locals,
            rng: &mut rng,
            captures: &|_| None,
            reply: Some(reply_head.on(reply)),
            trailers: b"",
            made_here: false,
        };
        for plugin in &plugins {
            match plugin.on_request(&mut cx) {
                Verdict::Next => {}
                Verdict::Refuse(status) if names.last() == Some(&"rate-limiting used up") => {
                    let consumer = cx.identity.consumer.map(|ix| plan.consumer(ix));
                    let tally = cx.locals.of(Tally::default);
                    tally.add("rate-limiting", cx.route, cx.service, consumer, status, false);
                }
                Verdict::Need(Need::Redis(call)) => {
                    let verdict = plugin.on_outcome(&mut cx, Outcome::Redis(&call, Ok(&answers)));
                    assert!(matches!(verdict, Verdict::Next), "{verdict:?}");
                    cx.locals.of(Spare::default).put(call);
                }
                verdict => panic!("{verdict:?}"),
            }
        }
        for plugin in &plugins {
            plugin.on_response(&mut cx, 200);
        }
        assert!(cx.edits.request_value("X-Consumer-Username") == Some(b"bob"));
    };
    assert_eq!(allocations(&mut serve), 0, "allocations in 1,000 requests through {names:?}");
}

/// Allocations of a thousand calls, after ten that may.
fn allocations(mut work: impl FnMut(u64)) -> u64 {
    (0..10).for_each(&mut work);
    let before = ALLOCATIONS.get();
    (10..1010).for_each(work);
    ALLOCATIONS.get() - before
}

#[test]
fn a_pick_and_what_is_learnt_of_it_allocate_nothing() {
    let targets: Vec<(SocketAddr, u32)> = (1..6).map(|n| (SocketAddr::from(([10, 0, 0, n], 80)), 100)).collect();
    let members: Vec<Member> = targets.iter().map(|_| Member::default()).collect();
    let (turn, rng) = (Turn::default(), RefCell::new(Rng::new(3)));
    let criteria =
        Criteria { successes: 1, http_failures: 200, bad: [500].into_iter().collect(), ..Criteria::default() };
    for algorithm in
        [Algorithm::RoundRobin, Algorithm::ConsistentHashing, Algorithm::LeastConnections, Algorithm::Latency]
    {
        let upstream = Upstream {
            id: Uuid::nil(),
            name: "u".into(),
            implied: false,
            algorithm,
            hashing: Hashing::default(),
            checks: Checks::default(),
            host_header: None,
            certificate: None,
            targets: Vec::new(),
            tags: Vec::new(),
            at: Span::nowhere(),
        };
        let picker = Picker::new(&upstream, &targets);
        let work = |n: u64| {
            let mut hash = Hash::new();
            hash.add(b"/a/path/of/some/length/");
            hash.add(&n.to_le_bytes());
            let cx = Pick { turn: &turn, hash: hash.finish(), now: Millis(n), rng: &rng };
            let standing = |at: usize| [Standing::Ready, Standing::Tried, Standing::Down][(at + n as usize) % 3];
            let at = picker.pick(&cx, |at| &members[at], standing).expect("there are five");
            let open = members[at].begin();
            members[at].answered(n, Millis(n));
            members[at].health().hear(Report::Status(if n.is_multiple_of(2) { 200 } else { 500 }), &criteria);
            drop(open);
        };
        assert_eq!(allocations(work), 0, "{algorithm:?}");
    }
}

/// One with a name of eleven characters and an API key of 32, in the plan and in the tables it is found by. What the Admin
/// API shows of it is held besides, by the control side: 140 more at most, see `control/store.rs`.
#[test]
fn a_consumer_with_a_key_takes_at_most_150_bytes_to_serve_by() {
    // As full as the tables are with 100,000.
    const CONSUMERS: i64 = 25_000;
    let mut text = String::from("_format_version: \"3.0\"\nconsumers:\n");
    for n in 0..CONSUMERS {
        text += &format!("- username: user-{n:06}\n  keyauth_credentials:\n  - key: k{n:031}\n");
    }
    let files = [("kong.yml".to_owned(), text)];
    let read = |path: &str| Err(format!("{path} is not there"));
    let sources = ringway::config::Sources { files: &files, conf: None, env: &[], read: &read };
    // Ids that nobody wrote; each is another one.
    let mut last = 0u64;
    let mut random = |bytes: &mut [u8]| {
        last += 1;
        bytes.iter_mut().zip(last.to_le_bytes().into_iter().cycle()).for_each(|(to, from)| *to = from);
    };
    let reading = ringway::config::read(&sources, None, ringway::boot::descriptors(), &mut random);
    let plan = reading.plan.expect("it has no fault");
    let before = HELD.get();
    let directory = Directory::of(&Arc::new(plan.clone()));
    let each = (HELD.get() - before) / CONSUMERS;
    println!("{each} bytes each");
    assert!(each <= 150, "{each} bytes");
    let last = directory.by_key(format!("k{:031}", CONSUMERS - 1).as_bytes()).expect("the last key is found");
    let owner = directory.plan().consumer(directory.plan().credential(last).consumer);
    assert_eq!(owner.username, Some("user-024999"));
}
