//! A parsed head: offsets into the bytes it was read from, and the ids of the fields we know.
//!
//! Offsets, not slices: they stay true when the buffer grows or moves, so the head of a connection is one struct that
//! is cleared and filled again. [`HeadRef`] joins it with its bytes for reading.

use super::headers::Known;

/// The protocol version of a message. Others never get past the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// HTTP/1.0
    H10,
    /// HTTP/1.1
    #[default]
    H11,
}

impl Version {
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub fn text(self) -> &'static str {
        match self {
            Version::H10 => "HTTP/1.0",
            Version::H11 => "HTTP/1.1",
        }
    }
}

/// The methods that something in the gateway decides by. The bytes of any method: [`HeadRef::method_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "a method's name is its documentation")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Trace,
    Connect,
    Lock,
    /// Any other token. Passed on as it was written.
    Other,
}

impl Method {
    /// The method of these bytes; methods are case-sensitive (RFC 9110 §9.1), `get` is `Other`.
    #[inline]
    pub fn classify(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"HEAD" => Method::Head,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            b"LOCK" => Method::Lock,
            _ => Method::Other,
        }
    }

    /// RFC 9110 §9.2.1: asks for nothing to change.
    pub fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options | Method::Trace)
    }

    /// RFC 9110 §9.2.2: may be sent twice. Unknown methods are not known to be.
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Method::Put | Method::Delete)
    }
}

/// A stretch of the buffer that a head was read from: offset and length, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Part {
    /// Offset of the first byte.
    pub at: u32,
    /// Length; may be 0.
    pub len: u32,
}

impl Part {
    /// From `at` to `end`, exclusive. Buffers are far smaller than 4 GiB; `end` must not be below `at`.
    #[inline]
    pub fn new(at: usize, end: usize) -> Part {
        debug_assert!(at <= end && end <= u32::MAX as usize);
        Part { at: at as u32, len: (end - at) as u32 }
    }

    /// The bytes. Panics unless `buf` is the buffer (or a copy of it) that the part was made for.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.at as usize..(self.at + self.len) as usize]
    }

    /// Offset after the last byte.
    #[inline]
    pub fn end(self) -> usize {
        (self.at + self.len) as usize
    }
}

/// One field line: where its name and its value are. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset of the name, which is also where its line begins.
    pub name_at: u32,
    /// Offset of the value, after leading white space.
    pub value_at: u32,
    /// Length of the value without white space around it.
    pub value_len: u32,
    /// Length of the name.
    pub name_len: u16,
    /// What the name is.
    pub id: Known,
    /// Whether the line is `name: value CRLF` exactly: one space, none after. Such lines are copied as they are.
    pub plain: bool,
}

const _: () = assert!(size_of::<Field>() == 16, "128 of them are one head's table; keep it at 2 KiB");

impl Field {
    /// The name as it was written.
    #[inline]
    pub fn name<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.name_at as usize..self.name_at as usize + self.name_len as usize]
    }

    /// The value without white space around it.
    #[inline]
    pub fn value<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.value_at as usize..self.value_at as usize + self.value_len as usize]
    }
}

/// The head of a request or a reply. Filled by [`super::parse::Parser`]; reused from message to message.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Version of the message.
    pub version: Version,
    /// Method of a request; `Get` in a reply's head.
    pub method: Method,
    /// Status of a reply, 100 to 999; 0 in a request's head.
    pub status: u16,
    /// The method's bytes (request).
    pub method_part: Part,
    /// The request-target as it was written (request).
    pub target_part: Part,
    /// The reason phrase, often empty (reply).
    pub reason_part: Part,
    /// All fields in the order of the wire, at most `limits::FIELDS_MAX`.
    pub fields: Vec<Field>,
    /// Bit `1 << id` is set when `fields` holds that id. `Other` has its bit too.
    pub seen: u64,
    /// Bytes of the head from the start of the buffer, skipped empty lines and the final empty line included.
    pub len: usize,
}

impl Head {
    /// An empty head with room for the fields of most messages.
    pub fn new() -> Head {
        Head { fields: Vec::with_capacity(32), ..Head::default() }
    }

    /// Forgets the message, keeps the room.
    #[inline]
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Head { fields, ..Head::default() };
    }

    /// Joins the head with the bytes it was read from.
    #[inline]
    pub fn on<'a>(&'a self, buf: &'a [u8]) -> HeadRef<'a> {
        HeadRef { buf, head: self }
    }

    /// Notes the parts of a field line that stands in the buffer.
    #[inline]
    pub fn push(&mut self, field: Field) {
        self.seen |= field.id.bit();
        self.fields.push(field);
    }

    /// Writes `name: value CRLF` at the end of `buf` and notes it: how a head that came otherwise (HTTP/2, a test) is
    /// given the shape everything else reads. The caller vouches for the bytes of both.
    pub fn append(&mut self, buf: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let name_at = buf.len();
        buf.extend_from_slice(name);
        buf.extend_from_slice(b": ");
        let value_at = buf.len();
        buf.extend_from_slice(value);
        buf.extend_from_slice(b"\r\n");
        self.push(Field {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            id: Known::classify(name),
            plain: true,
        });
    }
}

/// A head and the bytes it was read from. Copy: two references.
#[derive(Clone, Copy, Debug)]
pub struct HeadRef<'a> {
    /// The buffer, from the offset that was given to the parser.
    pub buf: &'a [u8],
    /// The offsets.
    pub head: &'a Head,
}

impl<'a> HeadRef<'a> {
    /// The method as it was written.
    pub fn method_bytes(self) -> &'a [u8] {
        self.head.method_part.of(self.buf)
    }

    /// The request-target as it was written.
    pub fn target(self) -> &'a [u8] {
        self.head.target_part.of(self.buf)
    }

    /// The reason phrase of a reply.
    pub fn reason(self) -> &'a [u8] {
        self.head.reason_part.of(self.buf)
    }

    /// Whether a field of this id is there. One bit test.
    #[inline]
    pub fn has(self, id: Known) -> bool {
        self.head.seen & id.bit() != 0
    }

    /// The first value of a known field. Absent: one bit test; present: O(fields).
    #[inline]
    pub fn field(self, id: Known) -> Option<&'a [u8]> {
        if !self.has(id) {
            return None;
        }
        self.head.fields.iter().find(|field| field.id == id).map(|field| field.value(self.buf))
    }

    /// Every value of a known field, in order.
    pub fn all(self, id: Known) -> impl Iterator<Item = &'a [u8]> + Clone {
        let fields: &'a [Field] = if self.has(id) { &self.head.fields } else { &[] };
        let buf = self.buf;
        fields.iter().filter(move |field| field.id == id).map(move |field| field.value(buf))
    }

    /// The first value of any field by its name, in any case. O(fields).
    pub fn find(self, name: &[u8]) -> Option<&'a [u8]> {
        self.find_all(name).next()
    }

    /// Every value of any field by its name, in any case.
    pub fn find_all<'n>(self, name: &'n [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a, 'n> {
        let buf = self.buf;
        self.head
            .fields
            .iter()
            .filter(move |field| field.name_len as usize == name.len() && field.name(buf).eq_ignore_ascii_case(name))
            .map(move |field| field.value(buf))
    }

    /// All fields with their names and values, in order.
    pub fn fields(self) -> Fields<'a> {
        Fields { buf: self.buf, rest: self.head.fields.iter() }
    }
}

/// Iterator of [`HeadRef::fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    buf: &'a [u8],
    rest: std::slice::Iter<'a, Field>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Field, &'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let field = *self.rest.next()?;
        Some((field, field.name(self.buf), field.value(self.buf)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appended_field_reads_back() {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        head.append(&mut buf, b"Host", b"a.test");
        head.append(&mut buf, b"X-One", b"");
        head.append(&mut buf, b"x-one", b"2");
        let on = head.on(&buf);
        assert_eq!(buf, b"Host: a.test\r\nX-One: \r\nx-one: 2\r\n");
        assert_eq!(on.field(Known::Host), Some(&b"a.test"[..]));
        assert_eq!(on.find(b"X-ONE"), Some(&b""[..]));
        assert_eq!(on.find_all(b"X-ONE").collect::<Vec<_>>(), [&b""[..], b"2"]);
        assert_eq!(on.field(Known::Cookie), None);
        assert!(on.has(Known::Other) && !on.has(Known::Te));
    }

    #[test]
    fn a_cleared_head_keeps_its_room_and_nothing_else() {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        head.append(&mut buf, b"Host", b"a.test");
        head.status = 200;
        head.clear();
        assert_eq!((head.fields.len(), head.seen, head.status, head.len), (0, 0, 0, 0));
        assert!(head.fields.capacity() >= 32);
    }
}
