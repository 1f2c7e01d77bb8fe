//! The plugin contract. A plugin is synchronous and pure: it reads a [`Ctx`], writes [`Edits`], and answers with a
//! [`Verdict`]; what it needs of the world it asks for by [`Need`] and gets as an [`Outcome`].
//!
//! One [`Descriptor`] row per plugin holds its name, its place in the order, the shape of its configuration and its
//! constructor; `boot` hands the rows to those who need them, so that neither `config` nor `shard` knows a plugin.

mod certificate;
pub mod directory;
mod edits;
mod recode;
mod shelf;
mod tally;
mod unbuilt;

pub use certificate::ClientCertificate;
pub use edits::{is_ours, BodyLimit, Edit, Edits, Op};
pub use recode::{Recode, Stop, Unfit};
pub use shelf::{Locals, Shelf};
pub use tally::{Refusals, Tally};
pub use unbuilt::{unbuilt, Unbuilt, UNBUILT};

use crate::base::id::{ConsumerIx, CredentialIx};
use crate::base::rng::Rng;
use crate::base::time::WallMs;
use crate::http::HeadRef;
use crate::plan::groups::Membership;
use crate::plan::schema::{Field, Protocols};
use crate::plan::{Plan, PluginInstance, Route, Service};
use crate::redis::{Call, Fault, Reply as Answer};
use directory::Directory;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use uuid::Uuid;

/// A configured plugin at work; shared by all shards, so it holds nothing that changes but atomics.
pub trait Plugin: Send + Sync {
    /// Before the request is sent on. Called once per request, in order of priority.
    fn on_request(&self, cx: &mut Ctx<'_>) -> Verdict {
        let _ = cx;
        Verdict::Next
    }

    /// What was needed has come; called after [`Verdict::Need`].
    fn on_outcome(&self, cx: &mut Ctx<'_>, outcome: Outcome<'_>) -> Verdict {
        let _ = (cx, outcome);
        Verdict::Next
    }

    /// Before the head of the answer goes to the client, whoever made it: an upstream, a plugin or a refusal. Also for
    /// requests that no route matched. Edits with [`Edits::set_reply`] and its siblings.
    fn on_response(&self, cx: &mut Ctx<'_>, status: u16) {
        let _ = (cx, status);
    }

    /// May it rewrite bodies of answers? Asked when the generation is compiled: only answers to routes with such a plugin
    /// are held back until they are whole, all others leave as they come.
    fn rewrites(&self) -> bool {
        false
    }

    /// Does it look at clients' certificates ([`Facts::client`])? Asked when the generation is compiled: where it may run,
    /// handshakes ask for one. `Some`: with the names (DER) of authorities that clients choose by; empty: any.
    fn asks_certificate(&self) -> Option<Vec<Vec<u8>>> {
        None
    }

    /// Does it want the body of this answer? Asked after every plugin's [`Plugin::on_response`].
    fn wants_body(&self, cx: &Ctx<'_>) -> bool {
        let _ = cx;
        false
    }

    /// The whole body of an answer it wanted, without framing; gives the new one, or `None` where it stays. What came behind
    /// it is in [`Ctx::trailers`], and the status is [`Edits::set_status`]'s to change. A body of more than
    /// [`crate::base::limits::TRANSFORMED_BODY_BYTES_MAX`] never comes here: the client gets a 502 instead.
    fn on_response_body(&self, cx: &mut Ctx<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let _ = (cx, body);
        None
    }
}

/// What a plugin decided.
#[derive(Debug)]
pub enum Verdict {
    /// Go on with the next plugin.
    Next,
    /// Answer with this; later plugins' request hooks are skipped, their response hooks are not.
    Reply(Box<Reply>),
    /// Answer with this status and the node's error template, whose message stands in [`Edits::set_message`], and further
    /// fields in its edits of the reply. As [`Verdict::Reply`] without allocating anything: for floods.
    Refuse(u16),
    /// Ask the world first; [`Plugin::on_outcome`] follows.
    Need(Need),
}

/// What a plugin may ask of the world. Closed: a new need is a new variant that every interpreter must handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The request's body, whole, if it has at most so many bytes.
    Body {
        /// Largest body that is of use.
        bytes_max: usize,
    },
    /// Time: the request goes on after so many milliseconds, at most [`crate::base::limits::SLEEP_MS_MAX`]. The client's
    /// connection is held, a thread is not.
    Sleep(u64),
    /// What Redis says to these commands. Boxed: most requests need none.
    Redis(Box<Call>),
}

/// What the world answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The body, decoded from its framing; `None`: there is more of it than asked for.
    Body(Option<&'a [u8]>),
    /// The time asked for has passed.
    Slept,
    /// The commands, and one answer for each, of the shape it asks for; or why there are none. Within the server's timeout.
    Redis(&'a Call, Result<&'a [Answer], Fault>),
}

impl<'a> Outcome<'a> {
    /// The body that was asked for; `None` where there is more of it, and for whoever asked for something else.
    pub fn body(self) -> Option<&'a [u8]> {
        match self {
            Outcome::Body(body) => body,
            Outcome::Slept | Outcome::Redis(..) => None,
        }
    }
}

/// Calls that nobody waits for, in a shard's [`Locals`]: sent when a plugin that was given an [`Outcome::Redis`] has
/// returned, and after the response hooks of an upstream's answer. How they end is counted and no more.
#[derive(Default)]
pub struct Outbox(pub Vec<Box<Call>>);

/// What a plugin has to exchange with Redis now and then, on a shard; requests do not wait for it.
pub trait Chore {
    /// The call to make now, if it is time for one; with `ending` whatever must not be lost, as the process is about to
    /// end. Asked for a hundred times a second, until it rests and nobody has used Redis for two minutes.
    fn due(&mut self, now: WallMs, ending: bool) -> Option<Box<Call>>;
    /// Will nothing be due before a request has asked Redis again?
    fn rests(&self) -> bool;
    /// How each command of a call of [`Chore::due`] ended.
    fn on_answer(&mut self, call: &Call, answers: &[Result<Answer, Fault>]);
}

/// The chores of a shard, in its [`Locals`].
#[derive(Default)]
pub struct Chores(pub Vec<Rc<RefCell<dyn Chore>>>);

/// An answer made by a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Fields beside those that the body implies.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Its content.
    pub body: ReplyBody,
}

/// The content of an answer made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// None; `Content-Length: 0`.
    Empty,
    /// The node's error template with this message, in the media type the client accepts.
    Message(Cow<'static, str>),
    /// The node's error template with the message of [`Edits::set_message`].
    Noted,
    /// These bytes as `application/json; charset=utf-8`.
    Json(Cow<'static, str>),
    /// These bytes of this media type.
    Raw {
        /// `Content-Type`.
        content_type: Cow<'static, str>,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Reply {
    /// The error template with `message`.
    pub fn message(status: u16, message: impl Into<Cow<'static, str>>) -> Reply {
        Reply { status, headers: Vec::new(), body: ReplyBody::Message(message.into()) }
    }

    /// A JSON body.
    pub fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Reply {
        Reply { status, headers: Vec::new(), body: ReplyBody::Json(body.into()) }
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// One request as a plugin sees it.
pub struct Ctx<'a> {
    /// Wall clock at the start of the request.
    pub now: WallMs,
    /// The head as the client sent it; edits do not change it.
    pub head: HeadRef<'a>,
    /// What is known of the request beside its head.
    pub facts: &'a Facts<'a>,
    /// The matched route; `None` in response hooks of requests that none matched.
    pub route: Option<&'a Route>,
    /// Its service.
    pub service: Option<&'a Service>,
    /// Consumers and credentials of this generation.
    pub directory: &'a Directory,
    /// Who sends it, once a plugin has said so.
    pub identity: &'a mut Identity,
    /// What to change on the way to the upstream and back.
    pub edits: &'a mut Edits,
    /// State of plugins on this shard.
    pub locals: &'a mut Locals,
    /// Random numbers; not for secrets.
    pub rng: &'a mut Rng,
    /// Where groups of the route's path expression stand in [`Facts::path`]; see [`Ctx::capture`].
    pub captures: &'a (dyn Fn(Group<'_>) -> Option<Range<usize>> + 'a),
    /// In response hooks the head of the answer: an upstream's, or that of one made here, which has its status and the
    /// fields its maker gave it. Edits do not change it; see [`Edits::reply_values`].
    pub reply: Option<HeadRef<'a>>,
    /// With the whole body of an upstream's answer: the lines of the trailer section behind it.
    pub trailers: &'a [u8],
    /// Is the answer one that was made here: by a plugin, or because something failed?
    pub made_here: bool,
}

impl<'a> Ctx<'a> {
    /// What a group of the route's path expression matched. Each question runs the expression again.
    pub fn capture(&self, group: Group<'_>) -> Option<&'a [u8]> {
        self.facts.path.get((self.captures)(group)?)
    }
}

/// A group of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group<'n> {
    /// By place; 0 is the whole match.
    At(usize),
    /// By name.
    Named(&'n str),
}

/// What is known of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Client address after trust.
    pub client_ip: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// This end of the connection.
    pub local: SocketAddr,
    /// Did it come by TLS, or does a trusted peer say so?
    pub https: bool,
    /// Did it come by HTTP/2?
    pub http2: bool,
    /// Host without port, as sent; empty where there is none.
    pub host: &'a [u8],
    /// Port that the client meant: of `Host`, or of the listener.
    pub port: u16,
    /// Normalised path.
    pub path: &'a [u8],
    /// Query without `?`; `None` where there is no `?`.
    pub query: Option<&'a [u8]>,
    /// The request's id, 32 lower-case hex digits.
    pub request_id: &'a str,
    /// The certificate that the client has shown.
    pub client: Option<&'a ClientCertificate>,
    /// Serial of the connection on this process.
    pub connection: u64,
    /// Serial of the request on its connection, from 1.
    pub connection_request: u64,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The consumer.
    pub consumer: Option<ConsumerIx>,
    /// By which credential; `None` with a consumer means the anonymous one, or one that is vouched for.
    pub credential: Option<CredentialIx>,
    /// Does an issuer that is trusted vouch for who sends it? Then there is no credential, and there need be no consumer.
    pub is_vouched: bool,
}

impl Identity {
    /// Has who sends it proved who he is?
    pub fn is_proved(&self) -> bool {
        self.is_vouched || self.credential.is_some()
    }
}

/// A plugin as a row of data.
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// Its name in configurations.
    pub name: &'static str,
    /// Larger runs first.
    pub priority: i32,
    /// Version shown by the Admin API.
    pub version: &'static str,
    /// One or two sentences for the documentation.
    pub about: &'static str,
    /// A small configuration that uses it: a declarative file without its first line. A test serves it.
    pub example: &'static str,
    /// The shape of `config`.
    pub fields: &'static [Field],
    /// May an instance be scoped to a consumer?
    pub consumer_scope: bool,
    /// Protocols that instances may name.
    pub protocols: Protocols,
    /// Checks that span fields, in the words of the reference; returns (path below `config`, message). Given the value
    /// after defaults. An empty path speaks of `config` as a whole.
    pub check: fn(&serde_json::Value) -> Vec<(String, String)>,
    /// Builds the plugin from a checked configuration.
    ///
    /// # Errors
    /// A sentence: what the checks could not see.
    pub build: fn(&serde_json::Value, &Env<'_>) -> Result<Arc<dyn Plugin>, String>,
    /// Which hooks it has; a route whose plugins have no response hook skips that phase.
    pub hooks: Hooks,
}

/// Which hooks a plugin has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `on_request`.
    pub request: bool,
    /// `on_response`.
    pub response: bool,
}

/// This process among others, as plugins and the Admin API name it. One per process, on the [`Shelf`] that outlives reloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThisNode {
    /// Made up when the process starts.
    pub id: Uuid,
    /// The machine's name.
    pub hostname: String,
}

/// What a plugin may look at while it is built.
pub struct Env<'a> {
    /// The generation it belongs to.
    pub plan: &'a Plan,
    /// Its consumers and credentials.
    pub directory: &'a Directory,
    /// The instance being built.
    pub instance: &'a PluginInstance,
    /// Things that outlive a reload and are shared by all shards.
    pub shelf: &'a Shelf,
    /// Things shared by the plugins of this generation.
    pub generation: &'a Shelf,
}

impl Env<'_> {
    /// What was made of the file that this field of the configuration names; see [`crate::plan::schema::Rule::Reads`].
    pub fn made_of(&self, field: &str) -> Option<&[u8]> {
        self.instance.made_of(field)
    }

    /// Who is in which group of consumers; one for all plugins of the generation. O(consumers) at first.
    pub fn membership(&self) -> Arc<Membership> {
        self.generation.take_or(|| Membership::of(&self.plan.groups, self.plan.consumers.len()))
    }

    /// Id of the route the instance is attached to, or the nil UUID.
    pub fn route_id(&self) -> Uuid {
        self.instance.scope.route.map_or(Uuid::nil(), |ix| self.plan.routes[ix.ix()].id)
    }

    /// Id of the service the instance is attached to, or the nil UUID.
    pub fn service_id(&self) -> Uuid {
        self.instance.scope.service.map_or(Uuid::nil(), |ix| self.plan.services[ix.ix()].id)
    }
}
