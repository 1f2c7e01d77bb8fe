//! What plugins change on a message: a list of operations over one text buffer, reused from request to request.

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

/// One edit: spans of [`Edits`]' text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What it does.
    pub op: Op,
    name: (u32, u32),
    value: (u32, u32),
}

/// How large a body may be that comes without a declared length, and what its sender is told if it is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    /// Largest body, bytes.
    pub bytes: u64,
    /// Message of the 413.
    pub message: &'static str,
}

/// The edits of one request. Cleared between requests; keeps its memory, so that the steady state allocates nothing.
#[derive(Debug, Default)]
pub struct Edits {
    text: Vec<u8>,
    request: Vec<Edit>,
    reply: Vec<Edit>,
    query: Vec<(u32, u32)>,
    body: Option<Vec<u8>>,
    body_limit: Option<BodyLimit>,
    message: (u32, u32),
}

impl Edits {
    /// Forgets everything, keeps the memory (of a body it does not: that is rare, and large).
    pub fn clear(&mut self) {
        self.text.clear();
        self.request.clear();
        self.reply.clear();
        self.query.clear();
        self.body = None;
        self.body_limit = None;
        self.message = (0, 0);
    }

    /// What a client is told that is refused; see [`Verdict::Refuse`](super::Verdict::Refuse).
    pub fn set_message(&mut self, message: &str) {
        self.message = self.store(message.as_bytes());
    }

    /// The message of [`Edits::set_message`].
    pub fn message(&self) -> &str {
        std::str::from_utf8(self.at(self.message)).unwrap_or_default()
    }

    /// The upstream gets exactly this field under this name, whatever the client sent. Later edits of a name win.
    pub fn set_request(&mut self, name: &str, value: &[u8]) {
        let edit = self.edit(Op::Set, name, value);
        Self::forget(&self.text, &mut self.request, name);
        self.request.push(edit);
    }

    /// The upstream gets this field beside those of the same name.
    pub fn add_request(&mut self, name: &str, value: &[u8]) {
        let edit = self.edit(Op::Add, name, value);
        self.request.push(edit);
    }

    /// The upstream gets no field of this name.
    pub fn remove_request(&mut self, name: &str) {
        let edit = self.edit(Op::Remove, name, b"");
        Self::forget(&self.text, &mut self.request, name);
        self.request.push(edit);
    }

    /// The client gets exactly this field under this name, whatever the upstream sent.
    pub fn set_reply(&mut self, name: &str, value: &[u8]) {
        let edit = self.edit(Op::Set, name, value);
        Self::forget(&self.text, &mut self.reply, name);
        self.reply.push(edit);
    }

    /// The client gets this field beside those of the same name.
    pub fn add_reply(&mut self, name: &str, value: &[u8]) {
        let edit = self.edit(Op::Add, name, value);
        self.reply.push(edit);
    }

    /// The client gets no field of this name.
    pub fn remove_reply(&mut self, name: &str) {
        let edit = self.edit(Op::Remove, name, b"");
        Self::forget(&self.text, &mut self.reply, name);
        self.reply.push(edit);
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
        let found = self.request.iter().rev().find(|edit| self.name(edit).eq_ignore_ascii_case(name.as_bytes()))?;
        (found.op != Op::Remove).then(|| self.value(found))
    }

    /// Sends the client what the upstream gets under `name` by an edit, as [`Edits::set_reply`]. `false`: no edit wrote it.
    pub fn copy_to_reply(&mut self, name: &str) -> bool {
        let of_name = |edit: &&Edit| self.name(edit).eq_ignore_ascii_case(name.as_bytes());
        match self.request.iter().rev().find(of_name).copied() {
            Some(edit) if edit.op != Op::Remove => {
                Self::forget(&self.text, &mut self.reply, name);
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
        self.at(edit.name)
    }

    /// The value an edit writes; empty for [`Op::Remove`].
    pub fn value(&self, edit: &Edit) -> &[u8] {
        self.at(edit.value)
    }

    fn at(&self, (from, to): (u32, u32)) -> &[u8] {
        &self.text[from as usize..to as usize]
    }

    fn store(&mut self, bytes: &[u8]) -> (u32, u32) {
        let from = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        (from, self.text.len() as u32)
    }

    fn edit(&mut self, op: Op, name: &str, value: &[u8]) -> Edit {
        let name = self.store(name.as_bytes());
        // A value must never end the line it stands on: what a token or a query brought here is still a peer's byte.
        let from = self.text.len() as u32;
        self.text.extend(value.iter().map(|&b| if b < b' ' && b != b'\t' || b == 0x7f { b' ' } else { b }));
        Edit { op, name, value: (from, self.text.len() as u32) }
    }

    fn forget(text: &[u8], edits: &mut Vec<Edit>, name: &str) {
        edits.retain(|edit| !text[edit.name.0 as usize..edit.name.1 as usize].eq_ignore_ascii_case(name.as_bytes()));
    }
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

    #[test]
    fn a_value_cannot_break_its_line() {
        let mut edits = Edits::default();
        edits.set_reply("X-A", b"a\r\nSet-Cookie: b\0");
        assert_eq!(edits.value(&edits.of_reply()[0]), b"a  Set-Cookie: b ");
    }
}
