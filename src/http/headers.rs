//! The field names we know, and which fields end at this hop.
//!
//! A name is classified once, while the head is parsed: eight bytes at a time into three words, one multiplication, one
//! table slot, one comparison. Afterwards everything asks for a [`Known`] id or a bit, never for a string.

use super::head::HeadRef;
use super::Fault;
use crate::base::limits;

macro_rules! known {
    ($($name:ident $text:literal,)+) => {
        /// A field name we know. At most 64, so that [`crate::http::Head::seen`] is one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the variant is the field name")]
        pub enum Known { $($name,)+
            /// Any other name.
            Other,
        }

        /// Lower-case names; the index is the id.
        const NAMES: &[&str] = &[$($text),+];
        const IDS: &[Known] = &[$(Known::$name),+];
    };
}

known! {
    Host "host",
    Connection "connection",
    ContentLength "content-length",
    TransferEncoding "transfer-encoding",
    // What CGI-like servers cannot tell from the two above: they turn `-` into `_` (see framing.rs).
    ContentLengthLookalike "content_length",
    TransferEncodingLookalike "transfer_encoding",
    Te "te",
    Trailer "trailer",
    Upgrade "upgrade",
    KeepAlive "keep-alive",
    ProxyConnection "proxy-connection",
    Proxy "proxy",
    Expect "expect",
    Authorization "authorization",
    ProxyAuthorization "proxy-authorization",
    ProxyAuthenticate "proxy-authenticate",
    WwwAuthenticate "www-authenticate",
    Cookie "cookie",
    SetCookie "set-cookie",
    Accept "accept",
    AcceptEncoding "accept-encoding",
    AcceptLanguage "accept-language",
    AcceptRanges "accept-ranges",
    ContentType "content-type",
    ContentEncoding "content-encoding",
    ContentRange "content-range",
    Date "date",
    Server "server",
    Via "via",
    Location "location",
    Age "age",
    Vary "vary",
    CacheControl "cache-control",
    Pragma "pragma",
    Etag "etag",
    Expires "expires",
    LastModified "last-modified",
    Range "range",
    IfMatch "if-match",
    IfNoneMatch "if-none-match",
    IfModifiedSince "if-modified-since",
    IfUnmodifiedSince "if-unmodified-since",
    IfRange "if-range",
    RetryAfter "retry-after",
    UserAgent "user-agent",
    Referer "referer",
    Origin "origin",
    Forwarded "forwarded",
    XForwardedFor "x-forwarded-for",
    XForwardedProto "x-forwarded-proto",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    XForwardedPath "x-forwarded-path",
    XForwardedPrefix "x-forwarded-prefix",
    XForwardedClientCert "x-forwarded-client-cert",
    XRealIp "x-real-ip",
    XRequestId "x-request-id",
    Traceparent "traceparent",
    SecWebsocketKey "sec-websocket-key",
    SecWebsocketAccept "sec-websocket-accept",
    SecWebsocketVersion "sec-websocket-version",
    Apikey "apikey",
    Http2Settings "http2-settings",
}

const _: () = assert!(NAMES.len() < 64, "`Other` must have a bit in a u64 too");

impl Known {
    /// The id of a name, in any case. `Other` for what we do not know, tokens or not. O(1).
    #[inline]
    pub fn classify(name: &[u8]) -> Known {
        if name.len() > NAME_BYTES_MAX {
            return Known::Other;
        }
        let as_sent = words_of(name);
        let folds = match name.len() {
            len @ 0..8 => (FOLD & !(u64::MAX << (8 * len)), 0, 0),
            8 => (FOLD, 0, 0),
            9..=16 => (FOLD, FOLD, 0),
            _ => (FOLD, FOLD, FOLD),
        };
        let id = lookup((as_sent.0 | folds.0, as_sent.1 | folds.1, as_sent.2 | folds.2), name.len());
        // The words fold case by setting a bit, which also folds some bytes that no token holds; the parser has
        // validated its names, a caller from elsewhere has not.
        let added = |word: u64, fold: u64| !word & fold & !upper(word);
        let beyond = added(as_sent.0, folds.0) | added(as_sent.1, folds.1) | added(as_sent.2, folds.2);
        // `_` is folded too.
        const SPELLED: u64 = Known::bits(&[Known::ContentLengthLookalike, Known::TransferEncodingLookalike]);
        if beyond == 0 && SPELLED & id.bit() == 0
            || id != Known::Other && name.eq_ignore_ascii_case(id.name().as_bytes())
        {
            return id;
        }
        Known::Other
    }

    /// The lower-case name; empty for `Other`.
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or("")
    }

    /// The id's bit in a set.
    #[inline]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The ids' bits together.
    pub const fn bits(ids: &[Known]) -> u64 {
        let (mut set, mut i) = (0, 0);
        while i < ids.len() {
            set |= ids[i].bit();
            i += 1;
        }
        set
    }
}

/// A name of at most 24 bytes as three words: its first eight bytes, its last eight, and the eight in the middle.
/// Letters are folded to lower case; the words of a short name are padded with zeros.
type Words = (u64, u64, u64);

const FOLD: u64 = 0x2020_2020_2020_2020;
const NAME_BYTES_MAX: usize = 24;

/// The slow twin of [`words_in`]: byte by byte, for any slice, at compile time too.
const fn words(name: &[u8]) -> Words {
    const fn word(name: &[u8], from: usize, to: usize) -> u64 {
        let (mut word, mut i) = (0, from);
        while i < to {
            word |= ((name[i] | 0x20) as u64) << (8 * (i - from));
            i += 1;
        }
        word
    }
    let len = name.len();
    match len {
        0..=8 => (word(name, 0, len), 0, 0),
        9..=16 => (word(name, 0, 8), word(name, len - 8, len), 0),
        17..=NAME_BYTES_MAX => (word(name, 0, 8), word(name, len - 8, len), word(name, 8, 16)),
        _ => (0, 0, 0),
    }
}

/// The bit of case of every byte of `word` that is an upper-case letter.
#[inline(always)]
fn upper(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    let low = word & (0x7f * EACH);
    let (from_a, beyond_z) = (low + (0x80 - b'A' as u64) * EACH, low + (0x7f - b'Z' as u64) * EACH);
    (from_a & !beyond_z & !word & (0x80 * EACH)) >> 2
}

/// [`words`] of a name of at most [`NAME_BYTES_MAX`] as it was sent, in two or three reads, which overlap where the name
/// is not as long as they are.
#[inline(always)]
fn words_of(name: &[u8]) -> Words {
    let (len, word) = (name.len(), |bytes: &[u8; 8]| u64::from_le_bytes(*bytes));
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return match len {
            8 => (word(first), 0, 0),
            9..=16 => (word(first), word(last), 0),
            _ => (word(first), word(last), name[8..].first_chunk().map_or(0, word)),
        };
    }
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    let word = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => half(first) | half(last) << (8 * (len - 4)),
        _ if len == 0 => 0,
        _ => [0, len / 2, len - 1].iter().fold(0, |word, &at| word | u64::from(name[at]) << (8 * at)),
    };
    (word, 0, 0)
}

/// [`words`] of `buf[at..at + len]`, reading eight bytes at once wherever the buffer has them.
#[inline(always)]
fn words_in(buf: &[u8], at: usize, len: usize) -> Words {
    #[inline(always)]
    fn eight(buf: &[u8], at: usize) -> Option<u64> {
        let bytes = buf.get(at..at + 8)?;
        Some(u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]))
    }
    let fast = || {
        let first = eight(buf, at)? | FOLD;
        if len <= 8 {
            return Some((first & (u64::MAX >> (64 - 8 * len as u32)), 0, 0));
        }
        let last = eight(buf, at + len - 8)? | FOLD;
        if len <= 16 {
            return Some((first, last, 0));
        }
        Some((first, last, eight(buf, at + 8)? | FOLD))
    };
    fast().unwrap_or_else(|| words(&buf[at..at + len]))
}

/// The id of a *validated* name inside a buffer: `buf[at..at + len]` holds token characters only, `len > 0`. For the parser
#[inline(always)]
pub fn classify_in(buf: &[u8], at: usize, len: usize) -> Known {
    if len > NAME_BYTES_MAX {
        return Known::Other;
    }
    lookup(words_in(buf, at, len), len)
}

#[derive(Clone, Copy)]
struct Slot {
    words: Words,
    len: u8,
    id: Known,
}

const SLOTS: usize = 256;

/// Found by trial: an odd multiplier that sends every known name to a slot of its own. The table does not compile when
/// a new name collides; then try others (one in about two thousand does).
const SPREAD: u64 = 0x0f21_ddb6_6cad_4a27;

const fn slot_of(words: Words, len: usize) -> usize {
    let mixed = (words.0 ^ words.1.rotate_left(23) ^ words.2.rotate_left(41) ^ len as u64).wrapping_mul(SPREAD);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}

static TABLE: [Slot; SLOTS] = table();

const fn table() -> [Slot; SLOTS] {
    let mut table = [Slot { words: (0, 0, 0), len: 0, id: Known::Other }; SLOTS];
    let mut i = 0;
    while i < NAMES.len() {
        let name = NAMES[i].as_bytes();
        let words = words(name);
        let slot = slot_of(words, name.len());
        assert!(matches!(table[slot].id, Known::Other), "two names share a slot: choose another multiplier");
        table[slot] = Slot { words, len: name.len() as u8, id: IDS[i] };
        i += 1;
    }
    table
}

#[inline(always)]
fn lookup(words: Words, len: usize) -> Known {
    let slot = &TABLE[slot_of(words, len)];
    let same =
        slot.words.0 == words.0 && slot.words.1 == words.1 && slot.words.2 == words.2 && slot.len as usize == len;
    if same {
        slot.id
    } else {
        Known::Other
    }
}

/// The members of a comma-separated list without the white space around them; empty members are skipped
/// (RFC 9110 §5.6.1.2). Not for values that may hold quoted commas.
pub fn csv(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// `value` without spaces and tabs at both ends.
pub fn trim(value: &[u8]) -> &[u8] {
    let is_ows = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = value.iter().position(|byte| !is_ows(byte)) else { return &[] };
    let end = value.iter().rposition(|byte| !is_ows(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Every name that the Connection fields of a message list, as written; names are case-insensitive.
pub fn connection_tokens(head: HeadRef<'_>) -> impl Iterator<Item = &[u8]> + Clone {
    head.all(Known::Connection).flat_map(csv)
}

/// Whether some list-valued field holds `token`, in any case.
pub fn lists(head: HeadRef<'_>, id: Known, token: &[u8]) -> bool {
    head.has(id) && head.all(id).flat_map(csv).any(|member| member.eq_ignore_ascii_case(token))
}

/// Whether the sender of the head takes trailers (`TE: trailers`). The Te field itself ends at this hop.
pub fn takes_trailers(head: HeadRef<'_>) -> bool {
    // A coding may carry a weight (`trailers;q=0` means nothing, but is not `trailers`).
    lists(head, Known::Te, b"trailers")
}

/// Fields of this hop only, whatever Connection lists (RFC 9110 §7.6.1), and those that must never be passed on blindly:
/// `Proxy` (it becomes HTTP_PROXY in a CGI) and the two lookalikes of framing fields.
const HOP_BY_HOP: u64 = Known::bits(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Proxy,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
    Known::ContentLengthLookalike,
    Known::TransferEncodingLookalike,
]);

/// Fields that Connection cannot remove. A name listed there is dropped without being understood, so a client could
/// use it to take away what later hops decide by: where the body ends, which host is meant, what the bytes are, and who
/// the client was according to the proxies in between. RFC 9110 §7.6.1: "A sender MUST NOT send a connection option
/// corresponding to a field that is intended for all recipients of the content." We ignore the listing instead of
/// refusing the message: harmless senders do list odd names.
const NOT_BY_CONNECTION: u64 = Known::bits(&[
    Known::Host,
    Known::ContentLength,
    Known::ContentType,
    Known::ContentEncoding,
    Known::ContentRange,
    Known::CacheControl,
    Known::Trailer,
    Known::Via,
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedPath,
    Known::XForwardedPrefix,
    Known::XForwardedClientCert,
    Known::XRealIp,
]);

/// Whether a field of this id always ends at this hop. Names listed in Connection do so too: see [`Drop`].
pub fn is_hop_by_hop(id: Known) -> bool {
    HOP_BY_HOP & id.bit() != 0
}

/// Which fields of one head are not passed on: a bit per field line. 16 bytes, Copy; built once per message and then
/// added to by whoever writes a field of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Drop {
    lines: u128,
}

const _: () = assert!(limits::FIELDS_MAX <= 128, "Drop has a bit for every field of a head");

impl Drop {
    /// Nothing is dropped.
    pub fn none() -> Drop {
        Drop::default()
    }

    /// What ends here of a request: hop-by-hop fields, those that Connection lists, and `ids` ([`Known::bits`]).
    ///
    /// Content-Length stays, in its normal form. Te and Upgrade go; the caller writes its own when it means them.
    ///
    /// # Errors
    /// [`Fault::ConnectionTooLong`]: each listed name costs a pass over the fields, so their number has a bound.
    pub fn of_request(head: HeadRef<'_>, ids: u64) -> Result<Drop, Fault> {
        Drop::of(head, HOP_BY_HOP | ids)
    }

    /// What ends here of a reply: as for requests, and Content-Length where RFC 9110 §8.6 forbids one (1xx, 204).
    ///
    /// Trailer stays; whoever leaves out the trailers drops it too.
    ///
    /// # Errors
    /// As [`Drop::of_request`].
    pub fn of_reply(head: HeadRef<'_>, ids: u64) -> Result<Drop, Fault> {
        let status = head.head.status;
        let more = if status < 200 || status == 204 { Known::ContentLength.bit() } else { 0 };
        Drop::of(head, HOP_BY_HOP | more | ids)
    }

    fn of(head: HeadRef<'_>, ids: u64) -> Result<Drop, Fault> {
        let mut drop = Drop::none();
        drop.add_bits(head, ids);
        if !head.has(Known::Connection) {
            return Ok(drop);
        }
        for (i, token) in connection_tokens(head).enumerate() {
            if i == limits::CONNECTION_TOKENS_MAX {
                return Err(Fault::ConnectionTooLong);
            }
            match Known::classify(token) {
                Known::Other => drop.add_name(head, token),
                id if NOT_BY_CONNECTION & id.bit() != 0 => {}
                id => drop.add(head, id),
            }
        }
        Ok(drop)
    }

    /// Drops every field of a known id. Absent: one bit test; present: O(fields).
    pub fn add(&mut self, head: HeadRef<'_>, id: Known) {
        self.add_bits(head, id.bit());
    }

    /// Drops every field of these ids ([`Known::bits`]) in one pass.
    pub fn add_bits(&mut self, head: HeadRef<'_>, ids: u64) {
        if head.head.seen & ids == 0 {
            return;
        }
        for (i, field) in head.head.fields.iter().enumerate() {
            self.lines |= u128::from(field.id.bit() & ids != 0) << (i & 127);
        }
    }

    /// Drops every field of this name, in any case. O(fields).
    #[inline]
    pub fn add_name(&mut self, head: HeadRef<'_>, name: &[u8]) {
        for (i, field) in head.head.fields.iter().enumerate() {
            if field.name_len as usize == name.len() && field.name(head.buf).eq_ignore_ascii_case(name) {
                self.add_line(i);
            }
        }
    }

    /// Drops the field line at this index of [`crate::http::Head::fields`].
    pub fn add_line(&mut self, index: usize) {
        debug_assert!(index < limits::FIELDS_MAX);
        self.lines |= 1 << (index & 127);
    }

    /// Whether the field line at this index is dropped.
    #[inline]
    pub fn has(&self, index: usize) -> bool {
        self.lines >> (index & 127) & 1 == 1
    }

    /// The dropped lines, a bit per index of [`crate::http::Head::fields`].
    #[inline]
    pub(super) fn lines(&self) -> u128 {
        self.lines
    }
}

/// What becomes of a field in a trailer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerRule {
    /// Passed on as a trailer.
    Forward,
    /// Left out: it belongs in a head, and a recipient that merged it would be misled. Harmless to receive.
    Discard,
    /// The message is refused: it would change framing, routing or authentication of a careless recipient.
    Refuse,
}

/// RFC 9110 §6.5.1: "A sender MUST NOT generate a trailer field unless the sender knows the corresponding header field
/// name's definition permits sending in trailers", and which kinds never do.
pub fn trailer_rule(id: Known) -> TrailerRule {
    const REFUSE: u64 = HOP_BY_HOP
        | Known::bits(&[
            Known::ContentLength,
            Known::Host,
            Known::Trailer,
            Known::Expect,
            Known::Authorization,
            Known::ProxyAuthorization,
            Known::Cookie,
        ]);
    const DISCARD: u64 = Known::bits(&[
        Known::ContentType,
        Known::ContentEncoding,
        Known::ContentRange,
        Known::CacheControl,
        Known::Pragma,
        Known::Range,
        Known::IfMatch,
        Known::IfNoneMatch,
        Known::IfModifiedSince,
        Known::IfUnmodifiedSince,
        Known::IfRange,
        Known::Age,
        Known::Date,
        Known::Expires,
        Known::Location,
        Known::RetryAfter,
        Known::Vary,
        Known::SetCookie,
        Known::WwwAuthenticate,
        Known::ProxyAuthenticate,
        Known::Via,
        Known::Forwarded,
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedHost,
        Known::XForwardedPort,
        Known::XForwardedPath,
        Known::XForwardedPrefix,
        Known::XForwardedClientCert,
        Known::XRealIp,
        Known::Apikey,
    ]);
    if REFUSE & id.bit() != 0 {
        TrailerRule::Refuse
    } else if DISCARD & id.bit() != 0 {
        TrailerRule::Discard
    } else {
        TrailerRule::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;
    use proptest::prelude::*;

    #[test]
    fn every_known_name_is_known_in_any_case() {
        for (i, name) in NAMES.iter().enumerate() {
            assert_eq!(Known::classify(name.as_bytes()), IDS[i]);
            assert_eq!(Known::classify(name.to_ascii_uppercase().as_bytes()), IDS[i]);
            assert_eq!((IDS[i] as usize, IDS[i].name()), (i, *name));
        }
        for name in [
            "",
            "x",
            "hos",
            "hosts",
            "content-lengtH1",
            "content length",
            "content\rlength",
            "x-forwarded-foo",
            "content\x7flength",
        ] {
            assert_eq!(Known::classify(name.as_bytes()), Known::Other, "{name:?}");
        }
        assert_eq!(Known::Other.name(), "");
    }

    proptest! {
        #[test]
        fn the_words_agree_with_their_slow_twin(name in "[A-Za-z0-9_-]{1,30}", before in 0usize..9, after in 0usize..9) {
            let buf = [&vec![b':'; before], name.as_bytes(), &vec![b':'; after]].concat();
            prop_assert_eq!(classify_in(&buf, before, name.len()), Known::classify(name.as_bytes()));
            if name.len() <= NAME_BYTES_MAX {
                prop_assert_eq!(words_in(&buf, before, name.len()), words(name.as_bytes()));
            }
        }
    }

    proptest! {
        #[test]
        fn a_name_is_known_by_all_its_bytes(nth in 0..IDS.len(), at in 0usize..30, byte: u8, upper: bool) {
            let mut name = NAMES[nth].as_bytes().to_vec();
            if upper {
                name.make_ascii_uppercase();
            }
            let at = at % name.len();
            name[at] = byte;
            let want = NAMES.iter().position(|held| held.as_bytes().eq_ignore_ascii_case(&name));
            prop_assert_eq!(Known::classify(&name), want.map_or(Known::Other, |nth| IDS[nth]));
        }
    }

    fn head(lines: &[(&str, &str)]) -> (Head, Vec<u8>) {
        let (mut head, mut buf) = (Head::new(), Vec::new());
        for (name, value) in lines {
            head.append(&mut buf, name.as_bytes(), value.as_bytes());
        }
        (head, buf)
    }

    #[track_caller]
    fn check(drop: Result<Drop, Fault>, head: &Head, buf: &[u8], want: &str) {
        let drop = drop.expect("within limits");
        let kept: Vec<_> = (0..head.fields.len()).filter(|&i| !drop.has(i)).collect();
        let kept: Vec<_> = kept.iter().map(|&i| String::from_utf8_lossy(head.fields[i].name(buf))).collect();
        assert_eq!(kept.join(" "), want);
    }

    #[test]
    fn hop_by_hop_fields_and_those_connection_lists_end_here() {
        let rows: &[(&[(&str, &str)], &str)] = &[
            (&[("Host", "a"), ("Accept", "b")], "Host Accept"),
            (
                &[("Host", "a"), ("Connection", "close, X-One"), ("x-one", "1"), ("X-Two", "2"), ("X-ONE", "3")],
                "Host X-Two",
            ),
            (
                &[
                    ("Keep-Alive", "1"),
                    ("Proxy", "x"),
                    ("Proxy-Connection", "x"),
                    ("TE", "x"),
                    ("Upgrade", "x"),
                    ("Via", "v"),
                ],
                "Via",
            ),
            (&[("Proxy-Authorization", "x"), ("Trailer", "x"), ("Expect", "x")], "Proxy-Authorization Trailer Expect"),
            (
                &[
                    ("Connection", "Host, Content-Length,content-type"),
                    ("Connection", "X-Forwarded-For, x-real-ip, Cookie"),
                    ("Host", "a"),
                    ("Content-Length", "1"),
                    ("Content-Type", "x"),
                    ("X-Forwarded-For", "x"),
                    ("X-Real-IP", "x"),
                    ("Cookie", "x"),
                ],
                "Host Content-Length Content-Type X-Forwarded-For X-Real-IP",
            ),
            (&[("Transfer_Encoding", "x"), ("CONTENT_LENGTH", "x"), ("Transfer-Encoding", "chunked")], ""),
            (&[("HTTP2-Settings", "x"), ("Connection", " , ,, "), ("A", "x")], "A"),
        ];
        for (lines, want) in rows {
            let (head, buf) = head(lines);
            check(Drop::of_request(head.on(&buf), 0), &head, &buf, want);
        }
        let (mut reply, buf) = head(&[("Content-Length", "0"), ("Server", "s"), ("Connection", "x"), ("X", "1")]);
        reply.status = 204;
        check(Drop::of_reply(reply.on(&buf), 0), &reply, &buf, "Server");
        reply.status = 304;
        check(Drop::of_reply(reply.on(&buf), 0), &reply, &buf, "Content-Length Server");
    }

    #[test]
    fn connection_may_not_list_without_end() {
        let names = |count: usize| vec!["x"; count].join(",");
        let (within, buf) = head(&[("Connection", &names(limits::CONNECTION_TOKENS_MAX))]);
        assert!(Drop::of_request(within.on(&buf), 0).is_ok());
        let (beyond, buf) = head(&[("Connection", &names(limits::CONNECTION_TOKENS_MAX + 1))]);
        assert_eq!(Drop::of_request(beyond.on(&buf), 0), Err(Fault::ConnectionTooLong));
    }

    #[test]
    fn lines_can_be_dropped_one_by_one() {
        let lines = vec![("a", "b"); limits::FIELDS_MAX];
        let (head, buf) = head(&lines);
        let mut drop = Drop::none();
        drop.add_line(0);
        drop.add_line(limits::FIELDS_MAX - 1);
        let kept = (0..head.fields.len()).filter(|&i| !drop.has(i)).count();
        assert_eq!(kept, limits::FIELDS_MAX - 2);
        drop.add_name(head.on(&buf), b"A");
        assert_eq!(drop.lines(), u128::MAX);
    }

    #[test]
    fn trailers_are_taken_only_when_offered() {
        for (value, want) in [("trailers", true), ("gzip;q=1, Trailers", true), ("trailers;q=0", false), ("x", false)] {
            let (head, buf) = head(&[("TE", value)]);
            assert_eq!(takes_trailers(head.on(&buf)), want, "{value}");
        }
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let members: Vec<_> = csv(b" a ,, b\t,c d,").collect();
        assert_eq!(members, [&b"a"[..], b"b", b"c d"]);
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(csv(b"").count(), 0);
    }
}
