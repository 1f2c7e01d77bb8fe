//! What the plugins of a request cost, without any socket: kong.yml's chain and its parts.
//!
//! `cargo bench --bench phase`. The loop is the shard's: edits are cleared and used again, consumers are looked up, the
//! chain runs in order. divan counts allocations: a request in the steady state is to make none.

use divan::{black_box, AllocProfiler, Bencher};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ringway::base::id::RouteIx;
use ringway::base::rng::Rng;
use ringway::base::time::WallMs;
use ringway::boot::descriptors;
use ringway::config::{self, Sources};
use ringway::hook::directory::Directory;
use ringway::hook::{Ctx, Edits, Env, Facts, Hooks, Identity, Locals, Plugin, Shelf, Verdict};
use ringway::http::parse::{Parser, Progress};
use ringway::http::{Head, HeadRef};
use ringway::plan::chain::Chains;
use ringway::plan::Plan;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Noon of 23 November 2026.
const NOON: WallMs = WallMs(1_795_435_200_000);

/// What stands before the plugins of a row.
const FILE: &str =
    "_format_version: '3.0'\nservices:\n  - {name: s, url: 'http://127.0.0.1:1', routes: [{name: r, paths: [/]}]}\n\
     consumers:\n  - {username: mobile-app}\njwt_secrets:\n\
     \x20 - {consumer: mobile-app, key: mobile, algorithm: HS256, secret: a-secret-of-more-than-thirty-two-bytes}\n\
     keyauth_credentials:\n  - {consumer: mobile-app, key: a-key-of-the-consumer}\nplugins:\n";

/// Chains, by name.
const CHAINS: [(&str, &str); 6] = [
    ("correlation-id", "  - {name: correlation-id, config: {header_name: X-Request-ID, generator: uuid}}\n"),
    ("rate-limiting", "  - {name: rate-limiting, config: {minute: 1000000000, policy: local}}\n"),
    ("key-auth", "  - {name: key-auth}\n"),
    (
        "request-transformer",
        "  - {name: request-transformer, config: {add: {headers: ['X-Gateway-Version:1.0']}, \
         remove: {headers: [X-Internal-Debug]}, rename: {headers: ['X-Old-Name:X-New-Name']}}}\n",
    ),
    ("jwt", "  - {name: jwt, config: {claims_to_verify: [exp]}}\n"),
    (
        "kong.yml",
        "  - {name: correlation-id, config: {header_name: X-Request-ID, generator: uuid}}\n\
         \x20 - {name: rate-limiting, config: {minute: 1000000000, policy: local}}\n\
         \x20 - {name: jwt, config: {claims_to_verify: [exp]}}\n",
    ),
];

fn main() {
    divan::main();
}

/// A chain ready to run, and one request for it.
struct Bench {
    plan: Arc<Plan>,
    directory: Directory,
    plugins: Vec<(Arc<dyn Plugin>, Hooks)>,
    chains: Chains,
    text: Vec<u8>,
    head: Head,
    locals: Locals,
    edits: Edits,
    rng: Rng,
}

impl Bench {
    fn new(chain: &str) -> Bench {
        let (_, rows) = CHAINS.iter().find(|(name, _)| *name == chain).copied().unwrap_or(CHAINS[0]);
        let files = [("bench.yml".to_owned(), format!("{FILE}{rows}"))];
        let sources = Sources { files: &files, conf: None, env: &[], read: &|path| Err(format!("no {path} here")) };
        let (plan, report) = config::load(&sources, descriptors(), &mut |bytes| bytes.fill(7));
        let plan = Arc::new(plan.unwrap_or_else(|| panic!("{report:?}")));
        let directory = Directory::of(&plan).loaded_at(NOON);
        let (shelf, generation) = (Shelf::default(), Shelf::default());
        let row = |name: &str| descriptors().iter().find(|row| row.name == name).expect("a plugin there is");
        let plugins = plan.plugins.iter().map(|instance| {
            let env = Env { plan: &plan, directory: &directory, instance, shelf: &shelf, generation: &generation };
            let plugin = (row(&instance.name).build)(&instance.config, &env).expect("a good configuration");
            (plugin, row(&instance.name).hooks)
        });
        let plugins = plugins.collect();
        let chains = Chains::of(&plan, |name| row(name).priority);

        let claims = serde_json::json!({"iss": "mobile", "exp": NOON.0 / 1000 + 3600});
        let key = EncodingKey::from_secret(b"a-secret-of-more-than-thirty-two-bytes");
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token");
        let text = format!(
            "GET /api/v1/users/7 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\
             apikey: a-key-of-the-consumer\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let mut head = Head::new();
        assert_eq!(Parser::default().request(text.as_bytes(), &mut head), Ok(Progress::Done));
        Bench {
            plan,
            directory,
            plugins,
            chains,
            text: text.into_bytes(),
            head,
            locals: Locals::default(),
            edits: Edits::default(),
            rng: Rng::new(1),
        }
    }

    /// The request and the response phase.
    fn run(&mut self) {
        let facts = Facts {
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            peer: SocketAddr::from(([192, 0, 2, 1], 40_000)),
            local: SocketAddr::from(([198, 51, 100, 1], 8000)),
            https: false,
            host: b"a.test",
            port: 8000,
            path: b"/api/v1/users/7",
            query: None,
            request_id: "0123456789abcdef0123456789abcdef",
            client: None,
            connection: 42,
            connection_request: 3,
            http2: false,
        };
        self.edits.clear();
        let mut identity = Identity::default();
        let route = RouteIx(0);
        for response in [false, true] {
            for step in self.chains.routes[route.ix()].iter() {
                let Some(ix) = step.instance(identity.consumer) else { continue };
                let (plugin, hooks) = &self.plugins[ix.ix()];
                let mut cx = Ctx {
                    now: NOON,
                    head: HeadRef { buf: &self.text, head: &self.head },
                    facts: &facts,
                    route: self.plan.routes.first(),
                    service: self.plan.services.first(),
                    directory: &self.directory,
                    identity: &mut identity,
                    edits: &mut self.edits,
                    locals: &mut self.locals,
                    rng: &mut self.rng,
                    captures: &|_| None,
                    reply: None,
                    trailers: b"",
                    made_here: false,
                };
                if response && hooks.response {
                    plugin.on_response(&mut cx, 200);
                } else if !response && hooks.request {
                    let verdict = plugin.on_request(&mut cx);
                    assert!(matches!(verdict, Verdict::Next), "{verdict:?}");
                }
            }
        }
        black_box(self.edits.of_request().len());
    }
}

/// All phases of one request with a token, or key, that was seen before.
#[divan::bench(args = CHAINS.map(|(name, _)| name))]
fn request(bencher: Bencher<'_, '_>, chain: &str) {
    let mut bench = Bench::new(chain);
    bench.run();
    bencher.bench_local(|| bench.run());
}
