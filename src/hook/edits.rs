//! What plugins change on a message: a list of operations over one text buffer, reused from request to request.
//!
//! Fields that frame a message, end at this hop or are written by the gateway itself cannot be edited ([`is_ours`]): an edit
//! of one is no edit. So no value of a configuration, a token or a query can say where a body ends.

use super::Recode;
use crate::base::bytes;
use crate::http::headers::Known;
use crate::http::HeadRef;

/// What an edit does with the fields of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Takes all of them away and writes one.
    Set,
    /// Writes one more.
    Add,
    /// Takes all of them away.
    Remove,
}

/// One edit: a line of [`Edits`]' text, `name: value CRLF`, without a value too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What it does.
    pub op: Op,
    /// Of the name: see [`mark`].
    mark: u32,
    at: u32,
    name_len: u32,
    value_len: u32,
}

/// What names that are the same in any case have in common, and others mostly have not: length, both ends and a byte between.
#[inline]
fn mark(name: &[u8]) -> u32 {
    let at = |at: usize| name.get(at).map_or(0, |byte| u32::from(byte | 0x20));
    let len = name.len();
    (len as u32) << 24 | at(0) << 16 | at(len * 3 / 4) << 8 | at(len.wrapping_sub(1))
}

/// How large a body may be that comes without a declared length, and what its sender is told if it is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    /// Largest body, bytes.
    pub bytes: u64,
    /// Message of the 413.
    pub message: &'static str,
}

/// What a request asks for, where a plugin has changed it. Spans of [`Edits`]' text.
#[derive(Clone, Copy, Debug, Default)]
struct Aim {
    method: Option<(u32, u32)>,
    path: Option<(u32, u32)>,
    query: Option<(u32, u32)>,
    host: Option<(u32, u32)>,
}

/// Fields that are the gateway's own on the way to the upstream.
const OURS: u64 = Known::bits(&[
    Known::Host,
    Known::Connection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::ContentLengthLookalike,
    Known::TransferEncodingLookalike,
    Known::Te,
    Known::Trailer,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Proxy,
    Known::Expect,
    Known::Via,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedPath,
    Known::XForwardedPrefix,
    Known::XForwardedClientCert,
    Known::XRealIp,
    Known::Http2Settings,
]);

/// The same on the way back.
const OURS_BACK: u64 = Known::bits(&[
    Known::Connection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::ContentLengthLookalike,
    Known::TransferEncodingLookalike,
    Known::Te,
    Known::Trailer,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Proxy,
]);

/// Is a field of a request one that no edit changes?
pub fn is_ours(name: &[u8]) -> bool {
    OURS & Known::classify(name).bit() != 0
}

fn is_ours_back(name: &[u8]) -> bool {
    // Most that plugins tell begin otherwise (`X-…`, `RateLimit-…`), and need not be looked up.
    let may_be = name.first().is_some_and(|first| matches!(first | 0x20, b'c' | b'k' | b'p' | b't' | b'u'));
    may_be && OURS_BACK & Known::classify(name).bit() != 0
}

/// The edits of one request. Cleared between requests; keeps its memory, so that the steady state allocates nothing.
#[derive(Debug, Default)]
pub struct Edits {
    text: Vec<u8>,
    request: Vec<Edit>,
    reply: Vec<Edit>,
    query: Vec<(u32, u32)>,
    aim: Aim,
    body: Option<Vec<u8>>,
    body_limit: Option<BodyLimit>,
    message: (u32, u32),
    group: Option<(u32, u32)>,
    replaced: Option<u16>,
    status: Option<u16>,
    recode: Option<Box<dyn Recode>>,
}

impl Edits {
    /// Forgets everything, keeps the memory (of a body it does not: that is rare, and large).
    pub fn clear(&mut self) {
        self.text.clear();
        self.request.clear();
        self.reply.clear();
        self.query.clear();
        self.aim = Aim::default();
        self.body = None;
        self.body_limit = None;
        self.message = (0, 0);
        self.group = None;
        self.replaced = None;
        self.status = None;
        self.recode = None;
    }

    /// The client gets this status in the place of the upstream's, and the content. Not one that means that there is none.
    pub fn set_status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The status of [`Edits::set_status`].
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The body of the upstream's answer goes to the client by way of `recode`, as it comes. For response hooks; a second one
    /// takes the place of the first.
    pub fn recode_reply(&mut self, recode: Box<dyn Recode>) {
        self.recode = Some(recode);
    }

    /// What [`Edits::recode_reply`] said.
    pub fn take_recode(&mut self) -> Option<Box<dyn Recode>> {
        self.recode.take()
    }

    /// The client gets this status and no content in the place of the upstream's answer, with the edits of the reply. For
    /// response hooks of answers that an upstream made.
    pub fn replace_reply(&mut self, status: u16) {
        self.replaced = Some(status);
    }

    /// The status of [`Edits::replace_reply`].
    pub fn replaced(&self) -> Option<u16> {
        self.replaced
    }

    /// What a client is told that is refused; see [`Verdict::Refuse`](super::Verdict::Refuse). Response hooks find here what
    /// the error template says, whoever refuses.
    pub fn set_message(&mut self, message: &str) {
        self.message = self.store(message.as_bytes());
    }

    /// The message of [`Edits::set_message`].
    pub fn message(&self) -> &str {
        std::str::from_utf8(self.message_bytes()).unwrap_or_default()
    }

    /// The bytes of [`Edits::message`].
    pub fn message_bytes(&self) -> &[u8] {
        self.at(self.message)
    }

    /// Whoever sends the request is in this group, by what he has proved and not by what a consumer is in.
    pub fn set_group(&mut self, group: &[u8]) {
        self.group = Some(self.store(group));
    }

    /// The group of [`Edits::set_group`].
    pub fn group(&self) -> Option<&[u8]> {
        self.group.map(|span| self.at(span))
    }

    /// The upstream gets exactly this field under this name, whatever the client sent. Later edits of a name win.
    pub fn set_request(&mut self, name: &str, value: &[u8]) {
        if is_ours(name.as_bytes()) {
            return;
        }
        put(&mut self.text, &mut self.request, Op::Set, name, value);
    }

    /// The upstream gets this field beside those of the same name.
    pub fn add_request(&mut self, name: &str, value: &[u8]) {
        if is_ours(name.as_bytes()) {
            return;
        }
        put(&mut self.text, &mut self.request, Op::Add, name, value);
    }

    /// The upstream gets no field of this name.
    pub fn remove_request(&mut self, name: &str) {
        if is_ours(name.as_bytes()) {
            return;
        }
        put(&mut self.text, &mut self.request, Op::Remove, name, b"");
    }

    /// The upstream gets the values of `old` under `new`, in the place of those that were there; `false` where there is
    /// none. `head` is the client's.
    pub fn rename_request(&mut self, head: HeadRef<'_>, old: &str, new: &str) -> bool {
        let Self { text, request, .. } = self;
        rename(text, request, head, (old, is_ours(old.as_bytes())), (new, is_ours(new.as_bytes())))
    }

    /// What the upstream would get under `name` if it was asked now. `head` is the client's.
    pub fn request_values<'s>(&'s self, head: HeadRef<'s>, name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        values(&self.text, &self.request, head, name)
    }

    /// The client gets exactly this field under this name, whatever the upstream sent.
    pub fn set_reply(&mut self, name: &str, value: &[u8]) {
        if is_ours_back(name.as_bytes()) {
            return;
        }
        put(&mut self.text, &mut self.reply, Op::Set, name, value);
    }

    /// The client gets this field beside those of the same name.
    pub fn add_reply(&mut self, name: &str, value: &[u8]) {
        if is_ours_back(name.as_bytes()) {
            return;
        }
        put(&mut self.text, &mut self.reply, Op::Add, name, value);
    }

    /// The client gets no field of this name.
    pub fn remove_reply(&mut self, name: &str) {
        if is_ours_back(name.as_bytes()) {
            return;
        }
        put(&mut self.text, &mut self.reply, Op::Remove, name, b"");
    }

    /// As [`Edits::rename_request`], on the way back; `head` is the answer's.
    pub fn rename_reply(&mut self, head: HeadRef<'_>, old: &str, new: &str) -> bool {
        let Self { text, reply, .. } = self;
        rename(text, reply, head, (old, is_ours_back(old.as_bytes())), (new, is_ours_back(new.as_bytes())))
    }

    /// What the client would get under `name` if it was answered now, of an answer with this head.
    pub fn reply_values<'s>(&'s self, head: HeadRef<'s>, name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        values(&self.text, &self.reply, head, name)
    }

    /// Do edits decide what the client gets under this name?
    pub fn decides_reply(&self, name: &[u8]) -> bool {
        self.reply.iter().any(|edit| is_of(&self.text, edit, name))
    }

    /// The upstream is asked with this method, which is a token.
    pub fn set_method(&mut self, method: &[u8]) {
        self.aim.method = Some(self.store(method));
    }

    /// The method of [`Edits::set_method`].
    pub fn method(&self) -> Option<&[u8]> {
        self.aim.method.map(|span| self.at(span))
    }

    /// The upstream is asked for this path, whatever service and route make of the client's. It begins with `/`; what may
    /// not stand in a path is encoded.
    pub fn set_path(&mut self, path: &[u8]) {
        self.aim.path = Some(self.store(path));
    }

    /// The path of [`Edits::set_path`].
    pub fn path(&self) -> Option<&[u8]> {
        self.aim.path.map(|span| self.at(span))
    }

    /// The upstream gets this query, encoded, in the place of the client's; empty for none. Arguments that were to be
    /// dropped are not dropped from it.
    pub fn set_query(&mut self, query: &[u8]) {
        self.query.clear();
        self.aim.query = Some(self.store(query));
    }

    /// The query of [`Edits::set_query`].
    pub fn query(&self) -> Option<&[u8]> {
        self.aim.query.map(|span| self.at(span))
    }

    /// The upstream is told this host, whatever route and upstream say; `host[:port]`.
    pub fn set_host(&mut self, host: &[u8]) {
        self.aim.host = Some(self.store(host));
    }

    /// The host of [`Edits::set_host`].
    pub fn host(&self) -> Option<&[u8]> {
        self.aim.host.map(|span| self.at(span))
    }

    /// The upstream gets the query without the arguments of this (decoded) name.
    pub fn drop_query_arg(&mut self, name: &[u8]) {
        let span = self.store(name);
        self.query.push(span);
    }

    /// The upstream gets this body. Only for a plugin that was given the client's whole one.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.body = Some(body);
    }

    /// The body that the upstream gets in the place of the client's.
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// The body is passed on as long as it is no larger, and cut off with a 413 where it turns out to be. Of several limits
    /// the least counts.
    pub fn limit_body(&mut self, limit: BodyLimit) {
        if self.body_limit.is_none_or(|held| limit.bytes < held.bytes) {
            self.body_limit = Some(limit);
        }
    }

    /// What [`Edits::limit_body`] said.
    pub fn body_limit(&self) -> Option<BodyLimit> {
        self.body_limit
    }

    /// What [`Edits::set_request`] or [`Edits::add_request`] wrote last under `name`.
    pub fn request_value(&self, name: &str) -> Option<&[u8]> {
        let found = self.request.iter().rev().find(|edit| is_of(&self.text, edit, name.as_bytes()))?;
        (found.op != Op::Remove).then(|| self.value(found))
    }

    /// Sends the client what the upstream gets under `name` by an edit, as [`Edits::set_reply`]. `false`: no edit wrote it.
    pub fn copy_to_reply(&mut self, name: &str) -> bool {
        match self.request.iter().rev().find(|edit| is_of(&self.text, edit, name.as_bytes())).copied() {
            Some(edit) if edit.op != Op::Remove => {
                forget(&self.text, &mut self.reply, name.as_bytes());
                self.reply.push(Edit { op: Op::Set, ..edit });
                true
            }
            _ => false,
        }
    }

    /// The edits of the request, in order.
    pub fn of_request(&self) -> &[Edit] {
        &self.request
    }

    /// The edits of the reply, in order.
    pub fn of_reply(&self) -> &[Edit] {
        &self.reply
    }

    /// Names of query arguments to drop.
    pub fn dropped_query_args(&self) -> impl Iterator<Item = &[u8]> {
        self.query.iter().map(|&span| self.at(span))
    }

    /// The name an edit is about, as written.
    pub fn name(&self, edit: &Edit) -> &[u8] {
        name_of(&self.text, edit)
    }

    /// The value an edit writes; empty for [`Op::Remove`].
    pub fn value(&self, edit: &Edit) -> &[u8] {
        value_of(&self.text, edit)
    }

    /// Appends the lines that the upstream gets by edits.
    pub fn write_request(&self, out: &mut Vec<u8>) {
        write(&self.text, &self.request, out);
    }

    /// Appends the lines that the client gets by edits.
    pub fn write_reply(&self, out: &mut Vec<u8>) {
        write(&self.text, &self.reply, out);
    }

    fn at(&self, (from, to): (u32, u32)) -> &[u8] {
        &self.text[from as usize..to as usize]
    }

    fn store(&mut self, bytes: &[u8]) -> (u32, u32) {
        let from = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        (from, self.text.len() as u32)
    }
}

/// Does what an edit of this name says: writes its line, and forgets those before it that it takes the place of.
fn put(text: &mut Vec<u8>, edits: &mut Vec<Edit>, op: Op, name: &str, value: &[u8]) {
    if op != Op::Add {
        forget(text, edits, name.as_bytes());
    }
    edits.push(line(text, op, name.as_bytes(), value));
}

/// Writes a line. A value must never end it: what a token or a query brought here is still a peer's byte.
#[inline]
fn line(text: &mut Vec<u8>, op: Op, name: &[u8], value: &[u8]) -> Edit {
    let at = text.len();
    bytes::put(text, [name, b": ", value, b"\r\n"]);
    if !bytes::is_one_line(value) {
        let from = at + name.len() + 2;
        let broken = text[from..from + value.len()].iter_mut().filter(|b| b.is_ascii_control() && **b != b'\t');
        broken.for_each(|b| *b = b' ');
    }
    let (name_len, value_len) = (name.len() as u32, value.len() as u32);
    Edit { op, mark: mark(name), at: at as u32, name_len, value_len }
}

/// Writes a line that adds the value of `edit` under another name.
fn again(text: &mut Vec<u8>, name: &[u8], edit: &Edit) -> Edit {
    let (at, from) = (text.len() as u32, (edit.at + edit.name_len) as usize);
    text.extend_from_slice(name);
    // Colon and line end come along.
    text.extend_from_within(from..from + edit.value_len as usize + 4);
    Edit { op: Op::Add, mark: mark(name), at, name_len: name.len() as u32, ..*edit }
}

/// Copies the lines of all edits but those that only take away; one copy for lines that stand together, as most do.
fn write(text: &[u8], edits: &[Edit], out: &mut Vec<u8>) {
    let mut run = 0..0;
    for edit in edits.iter().filter(|edit| edit.op != Op::Remove) {
        let from = edit.at as usize;
        let to = from + edit.name_len as usize + edit.value_len as usize + 4;
        if from != run.end {
            out.extend_from_slice(&text[run]);
            run = from..from;
        }
        run.end = to;
    }
    out.extend_from_slice(&text[run]);
}

#[inline]
fn forget(text: &[u8], edits: &mut Vec<Edit>, name: &[u8]) {
    let mark = mark(name);
    if edits.iter().any(|edit| edit.mark == mark) {
        edits.retain(|edit| !is_of(text, edit, name));
    }
}

#[inline]
fn is_of(text: &[u8], edit: &Edit, name: &[u8]) -> bool {
    edit.mark == mark(name) && name_of(text, edit).eq_ignore_ascii_case(name)
}

fn name_of<'t>(text: &'t [u8], edit: &Edit) -> &'t [u8] {
    let at = edit.at as usize;
    &text[at..at + edit.name_len as usize]
}

fn value_of<'t>(text: &'t [u8], edit: &Edit) -> &'t [u8] {
    let at = (edit.at + edit.name_len) as usize + 2;
    &text[at..at + edit.value_len as usize]
}

fn values<'s>(text: &'s [u8], edits: &'s [Edit], head: HeadRef<'s>, name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
    let replaced = edits.iter().any(|edit| edit.op != Op::Add && is_of(text, edit, name));
    let written = edits.iter().filter(move |edit| edit.op != Op::Remove && is_of(text, edit, name));
    let written = written.map(|edit| value_of(text, edit));
    head.find_all(name).filter(move |_| !replaced).chain(written)
}

/// Each name comes with whether it is ours: then what it holds can be read and not changed.
fn rename(
    text: &mut Vec<u8>,
    edits: &mut Vec<Edit>,
    head: HeadRef<'_>,
    (old, old_is_ours): (&str, bool),
    (new, new_is_ours): (&str, bool),
) -> bool {
    let (old_bytes, new_bytes) = (old.as_bytes(), new.as_bytes());
    if values(text, edits, head, old_bytes).next().is_none() {
        return false;
    }
    let same = old.eq_ignore_ascii_case(new);
    let replaced = edits.iter().any(|edit| edit.op != Op::Add && is_of(text, edit, old_bytes));
    if !same {
        forget(text, edits, new_bytes);
    }
    // What is left of edits of `old` becomes the last of `new`; before it stands what the head has under it.
    let first = edits.len();
    if !new_is_ours {
        edits.push(line(text, Op::Remove, new_bytes, b""));
        if !replaced {
            for value in head.find_all(old_bytes) {
                edits.push(line(text, Op::Add, new_bytes, value));
            }
        }
        for at in 0..first {
            if edits[at].op != Op::Remove && is_of(text, &edits[at], old_bytes) {
                let edit = again(text, new_bytes, &edits[at]);
                edits.push(edit);
            }
        }
    }
    let mut at = 0;
    edits.retain(|edit| {
        at += 1;
        at > first || !is_of(text, edit, old_bytes)
    });
    if !same && !old_is_ours {
        edits.push(line(text, Op::Remove, old_bytes, b""));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_edit_of_a_name_wins() {
        let mut edits = Edits::default();
        edits.set_request("X-A", b"1");
        edits.set_request("x-a", b"2");
        edits.add_request("X-A", b"3");
        let seen: Vec<_> = edits.of_request().iter().map(|e| (e.op, edits.value(e).to_vec())).collect();
        assert_eq!(seen, [(Op::Set, b"2".to_vec()), (Op::Add, b"3".to_vec())]);
        edits.remove_request("X-a");
        assert_eq!(edits.request_value("x-a"), None);
        assert_eq!(edits.of_request().len(), 1);
    }

    #[test]
    fn what_the_upstream_gets_can_be_sent_to_the_client() {
        let mut edits = Edits::default();
        assert!(!edits.copy_to_reply("X-A"));
        edits.set_request("X-A", b"1");
        edits.set_reply("x-a", b"0");
        assert!(edits.copy_to_reply("x-a"));
        assert_eq!(edits.of_reply().iter().map(|edit| edits.value(edit)).collect::<Vec<_>>(), [b"1"]);
    }

    #[test]
    fn the_least_of_several_limits_counts() {
        let mut edits = Edits::default();
        let limit = |bytes| BodyLimit { bytes, message: "" };
        [7, 5, 9].into_iter().for_each(|bytes| edits.limit_body(limit(bytes)));
        assert_eq!(edits.body_limit(), Some(limit(5)));
        edits.clear();
        assert_eq!(edits.body_limit(), None);
    }

    /// A head with these fields, and what the upstream would get of `x-a` and `x-b` once `work` is done.
    #[track_caller]
    fn check(fields: &[(&str, &str)], work: impl Fn(&mut Edits, HeadRef<'_>), want: [&str; 2]) {
        let (mut head, mut buf) = (crate::http::Head::new(), Vec::new());
        fields.iter().for_each(|(name, value)| head.append(&mut buf, name.as_bytes(), value.as_bytes()));
        let mut edits = Edits::default();
        work(&mut edits, head.on(&buf));
        let of = |name: &str| {
            let all: Vec<_> = edits.request_values(head.on(&buf), name.as_bytes()).collect();
            String::from_utf8(all.join(&b"|"[..])).expect("text")
        };
        assert_eq!([of("x-a"), of("x-b")], want);
    }

    #[test]
    fn values_are_those_that_would_be_sent() {
        let two = [("X-A", "1"), ("x-a", "2")];
        check(&two, |_, _| {}, ["1|2", ""]);
        check(&two, |edits, _| edits.add_request("x-A", b"3"), ["1|2|3", ""]);
        check(&two, |edits, _| edits.set_request("x-A", b"3"), ["3", ""]);
        check(&two, |edits, _| edits.remove_request("x-A"), ["", ""]);
    }

    #[test]
    fn a_renamed_field_takes_its_values_along() {
        let two = [("X-A", "1"), ("x-a", "2"), ("X-B", "old")];
        let rename = |edits: &mut Edits, head: HeadRef<'_>| assert!(edits.rename_request(head, "x-a", "X-B"));
        check(&two, rename, ["", "1|2"]);
        check(&two, |edits, head| (edits.add_request("X-A", b"3"), rename(edits, head)).1, ["", "1|2|3"]);
        check(&two, |edits, head| (edits.set_request("X-A", b"3"), rename(edits, head)).1, ["", "3"]);
        check(&two, |edits, head| (edits.set_request("X-B", b"3"), rename(edits, head)).1, ["", "1|2"]);
        check(&two, |edits, head| (rename(edits, head), edits.add_request("x-a", b"9")).1, ["9", "1|2"]);
        check(&two, |edits, head| assert!(edits.rename_request(head, "X-a", "x-A")), ["1|2", "old"]);
        check(&two[2..], |edits, head| assert!(!edits.rename_request(head, "x-a", "x-b")), ["", "old"]);
        let gone = |edits: &mut Edits, head: HeadRef<'_>| {
            edits.remove_request("x-a");
            assert!(!edits.rename_request(head, "x-a", "x-b"));
        };
        check(&two, gone, ["", "old"]);
    }

    #[test]
    fn what_frames_a_message_cannot_be_edited() {
        let two = [("Content-Length", "5"), ("X-B", "1")];
        let (mut head, mut buf) = (crate::http::Head::new(), Vec::new());
        two.iter().for_each(|(name, value)| head.append(&mut buf, name.as_bytes(), value.as_bytes()));
        let mut edits = Edits::default();
        for name in ["content-length", "Transfer-Encoding", "Transfer_Encoding", "Connection", "Host", "TE", "Expect"] {
            edits.set_request(name, b"1");
            edits.add_request(name, b"1");
            edits.remove_request(name);
        }
        assert!(edits.of_request().is_empty());
        assert!(edits.rename_request(head.on(&buf), "X-B", "Transfer-Encoding"));
        let names: Vec<_> = edits.of_request().iter().map(|edit| (edit.op, edits.name(edit).to_vec())).collect();
        assert_eq!(names, [(Op::Remove, b"X-B".to_vec())]);
        let ours = "Content-Length transfer-encoding Content_Length transfer_encoding Connection TE Trailer Upgrade Keep-Alive \
                    Proxy-Connection Proxy";
        assert_eq!(ours.split_whitespace().count(), OURS_BACK.count_ones() as usize);
        for name in ours.split_whitespace() {
            edits.set_reply(name, b"1");
            edits.add_reply(name, b"1");
            edits.remove_reply(name);
        }
        assert!(edits.of_reply().is_empty());
    }

    #[test]
    fn a_value_cannot_break_its_line() {
        let mut edits = Edits::default();
        edits.set_reply("X-A", b"a\r\nSet-Cookie: b\0");
        assert_eq!(edits.value(&edits.of_reply()[0]), b"a  Set-Cookie: b ");
    }
}
