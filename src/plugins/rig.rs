//! What the tests of plugins stand on: one small plan, one plugin, requests as text, and what came of them.

use crate::base::id::{ConsumerIx, GroupIx, RouteIx, ServiceIx, UpstreamIx};
use crate::base::rng::Rng;
use crate::base::span::Span;
use crate::base::time::WallMs;
use crate::hook::directory::Directory;
use crate::hook::{
    ClientCertificate, Ctx, Descriptor, Edits, Env, Facts, Group, Identity, Locals, Need, Op, Outcome, Plugin, Reply,
};
use crate::hook::{ReplyBody, Shelf, Verdict};
use crate::http::{Head, Method, Part};
use crate::plan::groups::{ConsumerGroup, Groups};
use crate::plan::schema::{Field, Kind, Rule};
use crate::plan::{
    Consumers, Credentials, Dress, Level, LogPath, NewConsumer, Node, PathPattern, Plan, PluginInstance, Protocol,
    Route, Runtime, Scope, Secret, Service,
};
use crate::redis::{Call, Fault, Reply as Answer};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use uuid::Uuid;

/// Noon of 23 November 2026, when every test begins.
pub(super) const NOON: WallMs = WallMs(1_795_435_200_000);

pub(super) const ROUTE: Uuid = Uuid::from_u128(0x10);
pub(super) const SERVICE: Uuid = Uuid::from_u128(0x20);
/// Consumers: bob has a name only and is in `admin` and `dev`; alice has a custom id too; guest has no credential and is in
/// `guests`. Of consumer groups bob is in `dev` and `silver`, alice in `gold` and `silver`.
pub(super) const BOB: ConsumerIx = ConsumerIx(0);
pub(super) const ALICE: ConsumerIx = ConsumerIx(1);
pub(super) const GUEST: ConsumerIx = ConsumerIx(2);

/// One plugin instance on the route of the rig, and everything it may look at.
pub(super) struct Rig {
    plan: Arc<Plan>,
    directory: Directory,
    pub(super) plugin: Arc<dyn Plugin>,
    /// The shard's memory; outlives an instance.
    pub(super) locals: Locals,
    rng: Rng,
    pub(super) now: WallMs,
    pub(super) client_ip: IpAddr,
    /// The certificate that the client has shown.
    pub(super) client: Option<ClientCertificate>,
    pub(super) identity: Identity,
    /// Whether requests come to the route; else nothing matched.
    pub(super) matched: bool,
    /// Groups of the route's expression: their names, and the words of the path that they match; the first is also group 1.
    pub(super) captures: Vec<(&'static str, &'static str)>,
    /// What a plugin before this one has left of the body, where it has changed it.
    pub(super) left: Option<&'static str>,
    /// Fields of the upstream's answer.
    pub(super) reply: Vec<(&'static str, &'static str)>,
    /// What comes behind its body.
    pub(super) trailers: &'static str,
    /// What Redis will say, call by call.
    pub(super) redis: VecDeque<Result<Vec<Answer>, Fault>>,
    /// What it was asked.
    pub(super) asked: Vec<Call>,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Seen {
    /// The answer, when the plugin made one.
    pub(super) reply: Option<Reply>,
    /// Who it is said to come from.
    pub(super) identity: Identity,
    /// Was a body asked for?
    pub(super) asked_body: bool,
    /// How long it was held back, ms.
    pub(super) slept_ms: u64,
    /// The upstream's body as the client gets it, where it was rewritten.
    pub(super) rewritten: Option<String>,
    /// How long the plugin wants to wait, ms; then nothing else came of it yet.
    pub(super) asked_sleep: Option<u64>,
    edits: Edits,
}

/// `config` with the defaults of `fields`, as a front-end would hand it over.
pub(super) fn with_defaults(fields: &[Field], config: &Value) -> Value {
    let mut out = Map::new();
    for field in fields {
        let given = config.get(field.name).cloned().unwrap_or(Value::Null);
        let value = match (field.kind, given) {
            (Kind::Record(inner), Value::Null) if field.default != "null" => with_defaults(inner, &Value::Null),
            (Kind::Record(inner), given @ Value::Object(_)) => with_defaults(inner, &given),
            (_, Value::Null) => serde_json::from_str(field.default).unwrap(),
            (_, given) => given,
        };
        out.insert(field.name.to_owned(), value);
    }
    for name in config.as_object().into_iter().flat_map(Map::keys) {
        assert!(out.contains_key(name), "{name} is no field of this plugin");
    }
    Value::Object(out)
}

/// The faults of a configuration.
pub(super) fn faults(descriptor: &Descriptor, config: Value) -> Vec<(String, String)> {
    (descriptor.check)(&with_defaults(descriptor.fields, &config))
}

impl Rig {
    /// One instance of the plugin on the route.
    #[track_caller]
    pub(super) fn new(descriptor: &Descriptor, config: Value) -> Rig {
        Rig::with(descriptor, config, &Shelf::default(), Vec::new())
    }

    /// The same with a shelf to share, and more credentials than [`plan`] has.
    #[track_caller]
    pub(super) fn with(descriptor: &Descriptor, config: Value, shelf: &Shelf, more: Vec<Held>) -> Rig {
        let config = with_defaults(descriptor.fields, &config);
        assert_eq!((descriptor.check)(&config), Vec::<(String, String)>::new());
        let files = files(descriptor, &config);
        let plan = Arc::new(plan(descriptor.name, config, files, more));
        let directory = Directory::of(&plan).loaded_at(NOON);
        let generation = Shelf::default();
        let instance = &plan.plugins[0];
        let env = Env { plan: &plan, directory: &directory, instance, shelf, generation: &generation };
        let plugin = (descriptor.build)(&instance.config, &env).expect("the configuration is right");
        Rig {
            plan: plan.clone(),
            directory,
            plugin,
            locals: Locals::default(),
            rng: Rng::new(1),
            now: NOON,
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            client: None,
            identity: Identity::default(),
            matched: true,
            captures: Vec::new(),
            left: None,
            reply: Vec::new(),
            trailers: "",
            redis: VecDeque::new(),
            asked: Vec::new(),
        }
    }

    /// What an authentication plugin of this configuration does before it looks for a credential.
    pub(super) fn gate(&self, config: Value) -> super::authentication::Gate {
        let (shelf, generation) = (Shelf::default(), Shelf::default());
        let (plan, directory) = (&self.plan, &self.directory);
        let env = Env { plan, directory, instance: &plan.plugins[0], shelf: &shelf, generation: &generation };
        super::authentication::Gate::of(&config, &env)
    }

    /// The plan that the rig stands on, to be changed.
    pub(super) fn plan_copy(&self) -> Plan {
        Plan::clone(&self.plan)
    }

    /// What happens to a request: `GET /path?query`, then fields, then after an empty line a body; one per line.
    #[track_caller]
    pub(super) fn ask(&mut self, request: &str) -> Seen {
        self.run(request, true, None, None)
    }

    /// The same with the response hook after it, which sees `status` or the plugin's own.
    #[track_caller]
    pub(super) fn ask_and_answer(&mut self, request: &str, status: u16) -> Seen {
        self.run(request, self.matched, Some(status), None)
    }

    /// What comes of a request that is answered with this status and body: the upstream's, or where the plugin has answered
    /// itself, its own.
    #[track_caller]
    pub(super) fn answered(&mut self, request: &str, status: u16, body: &str) -> Seen {
        self.run(request, true, Some(status), Some(body))
    }

    /// What becomes of the body of an upstream's answer with these fields.
    pub(super) fn rewritten(&mut self, fields: &[(&'static str, &'static str)], body: &str) -> Option<String> {
        self.reply = fields.to_vec();
        self.run("GET /", false, Some(200), Some(body)).rewritten
    }

    fn run(&mut self, request: &str, hooked: bool, status: Option<u16>, reply_body: Option<&str>) -> Seen {
        let (text, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = text.lines();
        let (method, target) = lines.next().and_then(|line| line.split_once(' ')).expect("METHOD target");
        let (mut head, mut buf) = (Head::new(), Vec::new());
        head.method = Method::classify(method.as_bytes());
        buf.extend_from_slice(method.as_bytes());
        head.method_part = Part::new(0, buf.len());
        let from = buf.len();
        buf.extend_from_slice(target.as_bytes());
        head.target_part = Part::new(from, buf.len());
        for (name, value) in lines.map(|line| line.split_once(':').expect("name: value")) {
            head.append(&mut buf, name.as_bytes(), value.trim().as_bytes());
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let facts = Facts {
            client_ip: self.client_ip,
            peer: SocketAddr::from(([192, 0, 2, 1], 40_000)),
            local: SocketAddr::from(([198, 51, 100, 1], 8000)),
            https: false,
            http2: false,
            host: b"a.test",
            port: 8000,
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            request_id: "0123456789abcdef0123456789abcdef",
            client: self.client.as_ref(),
            connection: 42,
            connection_request: 3,
        };
        let mut seen = Seen {
            reply: None,
            identity: self.identity,
            asked_body: false,
            slept_ms: 0,
            rewritten: None,
            asked_sleep: None,
            edits: Edits::default(),
        };
        if let Some(left) = self.left {
            seen.edits.set_body(left.into());
        }
        let groups = &self.captures;
        let captures = |group: Group<'_>| {
            let (_, word) = match group {
                Group::At(place) => groups.get(place.checked_sub(1)?),
                Group::Named(name) => groups.iter().find(|(held, _)| *held == name),
            }?;
            path.find(word).map(|from| from..from + word.len())
        };
        let (mut reply, mut reply_buf) = (Head::new(), Vec::new());
        let mut cx = Ctx {
            now: self.now,
            head: head.on(&buf),
            facts: &facts,
            route: self.matched.then(|| &self.plan.routes[0]),
            service: self.matched.then(|| &self.plan.services[0]),
            directory: &self.directory,
            identity: &mut seen.identity,
            edits: &mut seen.edits,
            locals: &mut self.locals,
            rng: &mut self.rng,
            captures: &captures,
            reply: None,
            trailers: self.trailers.as_bytes(),
            made_here: false,
        };
        if hooked {
            let mut verdict = self.plugin.on_request(&mut cx);
            if let Verdict::Need(Need::Body { bytes_max }) = verdict {
                seen.asked_body = true;
                let whole = (body.len() <= bytes_max).then_some(body.as_bytes());
                verdict = self.plugin.on_outcome(&mut cx, Outcome::Body(whole));
            }
            if let Verdict::Need(Need::Sleep(ms)) = verdict {
                seen.slept_ms = ms;
                verdict = self.plugin.on_outcome(&mut cx, Outcome::Slept);
            }
            if let Verdict::Need(Need::Redis(call)) = verdict {
                let answers = self.redis.pop_front().expect("Redis was not expected to be asked");
                let outcome = Outcome::Redis(&call, answers.as_deref().map_err(|fault| *fault));
                verdict = self.plugin.on_outcome(&mut cx, outcome);
                self.asked.push(*call);
            }
            seen.reply = match verdict {
                Verdict::Next => None,
                Verdict::Reply(reply) => Some(*reply),
                Verdict::Refuse(status) => Some(Reply::message(status, cx.edits.message().to_owned())),
                Verdict::Need(Need::Sleep(ms)) => {
                    seen.asked_sleep = Some(ms);
                    None
                }
                Verdict::Need(need) => panic!("asked again: {need:?}"),
            };
        }
        if let Some(status) = status {
            reply.status = seen.reply.as_ref().map_or(status, |reply| reply.status);
            match &seen.reply {
                Some(own) => {
                    own.headers.iter().for_each(|(n, v)| reply.append(&mut reply_buf, n.as_bytes(), v.as_bytes()))
                }
                None => self.reply.iter().for_each(|(n, v)| reply.append(&mut reply_buf, n.as_bytes(), v.as_bytes())),
            }
            cx.reply = Some(reply.on(&reply_buf));
            cx.made_here = seen.reply.is_some();
            if let Some(ReplyBody::Message(message)) = seen.reply.as_ref().map(|reply| &reply.body) {
                cx.edits.set_message(message);
            }
            self.plugin.on_response(&mut cx, reply.status);
            if let Some(body) = reply_body.filter(|_| self.plugin.rewrites() && self.plugin.wants_body(&cx)) {
                let new = self.plugin.on_response_body(&mut cx, body.as_bytes());
                seen.rewritten = new.map(|new| String::from_utf8_lossy(&new).into_owned());
            }
        }
        seen
    }
}

impl Seen {
    /// `next`, `waits`, or the status and the content of the answer.
    pub(super) fn said(&self) -> String {
        let went_on = if self.asked_sleep.is_some() { "waits" } else { "next" };
        let Some(reply) = &self.reply else { return went_on.to_owned() };
        match &reply.body {
            ReplyBody::Empty => format!("{}", reply.status),
            ReplyBody::Noted => unreachable!("made by who serves"),
            ReplyBody::Message(text) => format!("{} E({text})", reply.status),
            ReplyBody::Json(text) => format!("{} {text}", reply.status),
            ReplyBody::Raw { content_type, bytes } => {
                format!("{} {content_type}: {}", reply.status, String::from_utf8_lossy(bytes))
            }
        }
    }

    /// A field of the answer that the plugin made.
    pub(super) fn reply_field(&self, name: &str) -> Option<&str> {
        let fields = &self.reply.as_ref()?.headers;
        fields.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_ref())
    }

    /// What the upstream gets under `name`: `Some("")` where it is taken away, `None` where nothing was said.
    pub(super) fn upstream(&self, name: &str) -> Option<&str> {
        let edit = self.edits.of_request().iter().rev().find(|edit| self.edits.name(edit) == name.as_bytes())?;
        assert_eq!(edit.op == Op::Remove, self.edits.value(edit).is_empty());
        Some(std::str::from_utf8(self.edits.value(edit)).unwrap())
    }

    /// What the client gets under `name` by an edit.
    pub(super) fn client(&self, name: &str) -> Option<&str> {
        let edit = self.edits.of_reply().iter().rev().find(|edit| self.edits.name(edit) == name.as_bytes())?;
        Some(std::str::from_utf8(self.edits.value(edit)).unwrap())
    }

    /// What the client gets under `name` of an answer with these fields.
    pub(super) fn client_values(&self, name: &str, reply: &[(&str, &str)]) -> Vec<String> {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        reply.iter().for_each(|(name, value)| head.append(&mut buf, name.as_bytes(), value.as_bytes()));
        let values = self.edits.reply_values(head.on(&buf), name.as_bytes());
        values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// What the upstream gets under `name` of a request that brings it itself with these values.
    pub(super) fn upstream_values(&self, name: &str, brought: &[&str]) -> Vec<String> {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        brought.iter().for_each(|value| head.append(&mut buf, name.as_bytes(), value.as_bytes()));
        let values = self.edits.request_values(head.on(&buf), name.as_bytes());
        values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// Method, path, query and host that edits ask the upstream with; `-` where they say nothing.
    pub(super) fn aim(&self) -> [String; 4] {
        let edits = &self.edits;
        [edits.method(), edits.path(), edits.query(), edits.host()]
            .map(|part| part.map_or("-".to_owned(), |part| String::from_utf8_lossy(part).into_owned()))
    }

    /// Names of the fields that the client gets by edits, in order.
    pub(super) fn client_fields(&self) -> Vec<&str> {
        self.edits.of_reply().iter().map(|edit| std::str::from_utf8(self.edits.name(edit)).unwrap()).collect()
    }

    /// The group that was proved.
    pub(super) fn group(&self) -> Option<&str> {
        self.edits.group().map(|group| std::str::from_utf8(group).unwrap())
    }

    /// The body that the upstream gets in the place of the client's.
    pub(super) fn body(&self) -> Option<String> {
        self.edits.body().map(|body| String::from_utf8_lossy(body).into_owned())
    }

    /// The most that the body may have, where it is cut off.
    pub(super) fn body_limit(&self) -> Option<u64> {
        self.edits.body_limit().map(|limit| limit.bytes)
    }

    /// The status that the client gets with the upstream's content.
    pub(super) fn status(&self) -> Option<u16> {
        self.edits.status()
    }

    /// The status that stands in the place of the upstream's answer.
    pub(super) fn replaced(&self) -> Option<u16> {
        self.edits.replaced()
    }

    /// Names of query arguments that are kept from the upstream.
    pub(super) fn dropped_args(&self) -> Vec<&str> {
        self.edits.dropped_query_args().map(|name| std::str::from_utf8(name).unwrap()).collect()
    }
}

type Files = Vec<(Box<str>, Arc<[u8]>)>;

/// What is made of the files that a configuration names, which are the repository's.
#[track_caller]
fn files(descriptor: &Descriptor, config: &Value) -> Files {
    let read = |path: &str| std::fs::read(path).map_err(|error| error.to_string());
    let mut made = Files::new();
    for field in descriptor.fields {
        for rule in field.rules {
            let (Rule::Reads(make), Some(name)) = (rule, config[field.name].as_str()) else { continue };
            made.push((field.name.into(), make(name, &read).expect("the file is right").into()));
        }
    }
    made
}

/// A credential of the rig's plan: its id, whose, and the proof.
pub(super) type Held = (u128, ConsumerIx, Secret<String>);

/// See [`Held`].
pub(super) fn credential(id: u128, consumer: ConsumerIx, secret: Secret<String>) -> Held {
    (id, consumer, secret)
}

impl<'a> FromIterator<&'a Held> for Credentials {
    fn from_iter<I: IntoIterator<Item = &'a Held>>(all: I) -> Credentials {
        let mut credentials = Credentials::default();
        for (id, consumer, secret) in all {
            credentials.push(Uuid::from_u128(*id), *consumer, secret, &Span::nowhere());
        }
        credentials
    }
}

/// One service with one route, three consumers, API keys `bobs`, `alices` and `short` (bob's, lives 10 s), and the
/// plugin on the route.
fn plan(name: &str, config: Value, files: Files, more: Vec<Held>) -> Plan {
    let at = &Span::nowhere();
    let mut consumers = Consumers::default();
    let mut consumer = |id: u128, username: &str, custom_id: Option<&str>, groups: &[&str]| {
        let (id, username) = (Uuid::from_u128(id), Some(username));
        consumers.push(NewConsumer { id, username, custom_id, groups, tags: &[], at });
    };
    consumer(0xb0, "bob", None, &["admin", "dev"]);
    consumer(0xb1, "alice", Some("a-1"), &[]);
    consumer(0xb2, "guest", None, &["guests"]);
    let key = |key: &str, ttl_s| Secret::Key { key: key.into(), ttl_s };
    let mut credentials = vec![
        credential(0xc0, BOB, key("bobs", None)),
        credential(0xc1, ALICE, key("alices", None)),
        credential(0xc2, BOB, key("short", Some(10))),
    ];
    credentials.extend(more);
    Plan {
        hash: String::new(),
        node: node(),
        listeners: Vec::new(),
        services: vec![Service {
            id: SERVICE,
            name: Some("s".to_owned()),
            protocol: Protocol::Http,
            host: "s.test".to_owned(),
            port: 80,
            path: None,
            retries: 5,
            connect_timeout_ms: 60_000,
            write_timeout_ms: 60_000,
            read_timeout_ms: 60_000,
            upstream: UpstreamIx(0),
            tls: Default::default(),
            http2: false,
            announces: None,
            tags: Vec::new(),
            at: Span::nowhere(),
        }],
        routes: vec![Route {
            id: ROUTE,
            name: Some("r".to_owned()),
            protocols: vec![Protocol::Http, Protocol::Https],
            methods: Vec::new(),
            hosts: Vec::new(),
            paths: vec![PathPattern::Prefix("/".to_owned())],
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
            at: Span::nowhere(),
        }],
        upstreams: Vec::new(),
        consumers,
        credentials: credentials.iter().collect(),
        groups: consumer_groups(),
        secure: Default::default(),
        plugins: vec![PluginInstance {
            id: Uuid::from_u128(0x30),
            name: name.to_owned(),
            instance_name: None,
            scope: Scope { route: Some(RouteIx(0)), ..Scope::default() },
            protocols: Vec::new(),
            config,
            files,
            ordering: None,
            tags: Vec::new(),
            at: Span::nowhere(),
        }],
    }
}

fn consumer_groups() -> Groups {
    let group = |id: u128, name: &str| {
        let (id, name) = (Uuid::from_u128(id), name.to_owned());
        ConsumerGroup { id, name, tags: Vec::new(), at: Span::nowhere() }
    };
    Groups {
        all: vec![group(0x40, "gold"), group(0x41, "dev"), group(0x42, "silver")],
        members: vec![(BOB, GroupIx(1)), (BOB, GroupIx(2)), (ALICE, GroupIx(0)), (ALICE, GroupIx(2))],
    }
}

fn node() -> Node {
    Node {
        runtime: Runtime::default(),
        admin: Vec::new(),
        access_log: None,
        admin_log: None,
        error_log: LogPath::Off,
        log_level: Level::Info,
        trusted: Vec::new(),
        real_ip_header: "x-real-ip".to_owned(),
        real_ip_recursive: false,
        port_maps: Vec::new(),
        dress: Dress {
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
            error_type: "text/plain".to_owned(),
            head_too_large: 431,
            tagline: String::new(),
            version: String::new(),
            admin_latency: None,
        },
        hosts: Default::default(),
        dns_servers: Vec::new(),
        tls: Default::default(),
    }
}
