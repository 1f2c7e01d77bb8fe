//! Commands on their way to Redis, and why they failed.

use super::script::Script;
use super::server::Server;
use super::Reply;
use crate::base::limits::{REDIS_SPARE_BYTES_MAX, REDIS_SPARE_MAX};
use std::sync::Arc;

/// Commands for one Redis, sent together; there is one reply for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which Redis.
    pub server: Arc<Server>,
    /// The commands, in order; a cluster gives no order between commands of different keys.
    pub commands: Vec<Command>,
    /// What whoever asks wants to know again when the answers come; nobody else reads it.
    pub note: u64,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The script that it runs; its arguments are then the keys and what comes after them.
    pub script: Option<&'static Script>,
    /// How many of the arguments of a script are keys.
    pub keys: u32,
    /// What the answer must look like.
    pub shape: Shape,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

/// What an answer must look like; another is [`Fault::Rubbish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Like anything but an error.
    Any,
    /// An integer.
    Integer,
    /// A list of so many integers.
    Integers(usize),
    /// A list of so many texts, or nothings.
    Texts(usize),
}

impl Shape {
    /// Does `reply` look like it?
    pub fn fits(self, reply: &Reply) -> bool {
        let is_integer = |reply: &Reply| matches!(reply, Reply::Integer(_));
        match (self, reply) {
            (_, Reply::Error(_)) => false,
            (Shape::Any, _) => true,
            (Shape::Integer, reply) => is_integer(reply),
            (Shape::Integers(count), Reply::List(list)) => list.len() == count && list.iter().all(is_integer),
            (Shape::Texts(count), Reply::List(list)) => {
                list.len() == count && list.iter().all(|item| matches!(item, Reply::Text(_) | Reply::Nil))
            }
            (Shape::Integers(_) | Shape::Texts(_), _) => false,
        }
    }
}

/// Calls that have been answered, and their commands, to be used again: so that asking Redis allocates nothing.
#[derive(Debug, Default)]
pub struct Spare {
    #[expect(clippy::vec_box, reason = "the box is what is used again: a call is handed on in it")]
    calls: Vec<Box<Call>>,
    commands: Vec<Command>,
}

impl Spare {
    /// A call without commands.
    pub fn call(&mut self, server: &Arc<Server>, note: u64) -> Box<Call> {
        match self.calls.pop() {
            Some(mut call) => {
                // Mostly it is the same, and then no count is touched that other threads use as well.
                if !Arc::ptr_eq(&call.server, server) {
                    call.server = server.clone();
                }
                call.note = note;
                call
            }
            None => Box::new(Call { server: server.clone(), commands: Vec::with_capacity(1), note }),
        }
    }

    /// As [`Command::script`].
    pub fn script(&mut self, script: &'static Script, keys: u32, shape: Shape) -> Command {
        match self.commands.pop() {
            Some(command) => Command { script: Some(script), keys, shape, ..command },
            None => Command::script(script, keys, shape),
        }
    }

    /// As [`Command::plain`].
    pub fn plain(&mut self, name: &str, shape: Shape) -> Command {
        match self.commands.pop() {
            Some(command) => Command { script: None, keys: 0, shape, ..command }.arg(name.as_bytes()),
            None => Command::plain(name, shape),
        }
    }

    /// Keeps a call that is over; not all that a burst has made, and none that is large.
    pub fn put(&mut self, mut call: Box<Call>) {
        for mut command in call.commands.drain(..) {
            if self.commands.len() < REDIS_SPARE_MAX && command.bytes.capacity() <= REDIS_SPARE_BYTES_MAX {
                command.bytes.clear();
                command.ends.clear();
                self.commands.push(command);
            }
        }
        if self.calls.len() < REDIS_SPARE_MAX {
            self.calls.push(call);
        }
    }
}

impl Command {
    /// A plain command: its name, to be followed by its arguments.
    pub fn plain(name: &str, shape: Shape) -> Command {
        Command { script: None, keys: 0, shape, bytes: Vec::new(), ends: Vec::new() }.arg(name.as_bytes())
    }

    /// A script, to be followed by so many keys and then by what else it takes.
    pub fn script(script: &'static Script, keys: u32, shape: Shape) -> Command {
        Command { script: Some(script), keys, shape, bytes: Vec::with_capacity(160), ends: Vec::with_capacity(8) }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: &[u8]) -> Command {
        self.push(arg);
        self
    }

    /// One more argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.bytes.extend_from_slice(arg);
        self.ends.push(self.bytes.len() as u32);
    }

    /// One more argument: what `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    /// One more argument, a number in decimal.
    pub fn push_number(&mut self, number: i64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Its arguments.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let start = |at: usize| if at == 0 { 0 } else { self.ends[at - 1] as usize };
        (0..self.ends.len()).map(move |at| &self.bytes[start(at)..self.ends[at] as usize])
    }

    /// The key that says which node of a cluster it is for: the first one. `None`: any node will do.
    pub fn key(&self) -> Option<&[u8]> {
        match self.script {
            Some(_) if self.keys == 0 => None,
            Some(_) => self.args().next(),
            None => self.args().nth(1),
        }
    }
}

/// Why Redis has not answered a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be reached: refused, no such name, no master, not back yet.
    Down,
    /// The connection ended before the answer came.
    Closed,
    /// No answer in time.
    Timeout,
    /// User, password or permission are wrong.
    Auth,
    /// What came is no answer to what was asked.
    Rubbish,
    /// It answered with an error.
    Refused,
    /// Too many calls wait already.
    Full,
    /// No handshake of TLS: what answers speaks none, or shows a certificate that is not good.
    Tls,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] = [
        Fault::Down,
        Fault::Closed,
        Fault::Timeout,
        Fault::Auth,
        Fault::Rubbish,
        Fault::Refused,
        Fault::Full,
        Fault::Tls,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Down => "down",
            Fault::Closed => "closed",
            Fault::Timeout => "timeout",
            Fault::Auth => "auth",
            Fault::Rubbish => "rubbish",
            Fault::Refused => "refused",
            Fault::Full => "full",
            Fault::Tls => "tls",
        }
    }

    /// What an error reply means for whoever asked.
    pub fn of_error(error: &str) -> Fault {
        let word = error.split(' ').next().unwrap_or("");
        match word {
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Fault::Auth,
            _ if error.contains("invalid password") || error.contains("without any password") => Fault::Auth,
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "READONLY" => Fault::Down,
            _ => Fault::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::TAKE;
    use super::super::{Host, Login, Place};
    use super::*;

    #[test]
    fn the_first_key_says_where_a_command_goes() {
        let plain = Command::plain("GET", Shape::Any).arg(b"k");
        assert_eq!((plain.key(), plain.args().len()), (Some(&b"k"[..]), 2));
        assert_eq!(Command::plain("PING", Shape::Any).key(), None);
        let mut script = Command::script(&TAKE, 1, Shape::Integers(2)).arg(b"").arg(b"x");
        script.push_number(-7);
        assert_eq!(script.key(), Some(&b""[..]));
        assert_eq!(script.args().collect::<Vec<_>>(), [&b""[..], b"x", b"-7"]);
        assert_eq!(Command::script(&TAKE, 0, Shape::Any).arg(b"x").key(), None);
    }

    #[test]
    fn a_call_that_is_used_again_holds_nothing_of_before() {
        let server = |port| {
            let place = Place::Single(Host::new("127.0.0.1", port));
            let login = Login::default();
            Arc::new(Server { place, login, secure: None, database: 0, connect_ms: 1, send_ms: 1, read_ms: 1 })
        };
        let (one, other) = (server(1), server(2));
        let mut spare = Spare::default();
        let ask = |spare: &mut Spare, server: &Arc<Server>, key: &[u8]| {
            let mut call = spare.call(server, key.len() as u64);
            let mut command = spare.script(&TAKE, 1, Shape::Integers(2));
            command.push_with(|bytes| bytes.extend_from_slice(key));
            call.commands.push(command);
            call
        };
        let first = ask(&mut spare, &one, b"a-long-key");
        spare.put(first);
        let second = ask(&mut spare, &other, b"k");
        assert_eq!(*second, *ask(&mut Spare::default(), &other, b"k"));
        assert_eq!(spare.plain("PING", Shape::Any), Command::plain("PING", Shape::Any));
        let long = ask(&mut spare, &one, &[b'k'; REDIS_SPARE_BYTES_MAX + 1]);
        spare.put(long);
        assert!(spare.commands.is_empty() && spare.calls.len() == 1);
        for _ in 0..=REDIS_SPARE_MAX {
            let call = ask(&mut Spare::default(), &one, b"k");
            spare.put(call);
        }
        assert_eq!((spare.calls.len(), spare.commands.len()), (REDIS_SPARE_MAX, REDIS_SPARE_MAX));
    }

    #[test]
    fn answers_of_another_shape_do_not_fit() {
        let (one, text) = (Reply::Integer(1), Reply::Text(b"1".to_vec()));
        let rows = [
            (Shape::Any, text.clone(), true),
            (Shape::Any, Reply::Error("ERR".to_owned()), false),
            (Shape::Integer, one.clone(), true),
            (Shape::Integer, text.clone(), false),
            (Shape::Integers(1), one.clone(), false),
            (Shape::Integers(1), Reply::List(vec![one.clone()]), true),
            (Shape::Integers(2), Reply::List(vec![one.clone()]), false),
            (Shape::Integers(1), Reply::List(vec![text.clone()]), false),
            (Shape::Texts(2), Reply::List(vec![text.clone(), Reply::Nil]), true),
            (Shape::Texts(1), Reply::List(vec![text.clone(), Reply::Nil]), false),
            (Shape::Texts(1), Reply::List(vec![one]), false),
            (Shape::Texts(1), text, false),
        ];
        for (shape, reply, want) in rows {
            assert_eq!(shape.fits(&reply), want, "{shape:?} {reply:?}");
        }
    }

    #[test]
    fn errors_say_whose_fault_it_is() {
        let rows = [
            ("NOAUTH Authentication required.", Fault::Auth),
            ("WRONGPASS invalid username-password pair or user is disabled.", Fault::Auth),
            ("ERR invalid password", Fault::Auth),
            ("NOPERM this user has no permissions to run the 'evalsha' command", Fault::Auth),
            ("LOADING Redis is loading the dataset in memory", Fault::Down),
            ("CLUSTERDOWN The cluster is down", Fault::Down),
            ("READONLY You can't write against a read only replica.", Fault::Down),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Fault::Refused),
            ("", Fault::Refused),
        ];
        for (error, want) in rows {
            assert_eq!(Fault::of_error(error), want, "{error}");
        }
    }
}
