//! Where does this message end, and whom is it for? (RFC 9112 §6, §3.2.) The one place that refuses request smuggling.
//!
//! In: a parsed head. Out: a [`Length`], the checked host, or the [`Fault`] to close with. No I/O; bodies are read by the
//! shard, chunks decoded by `chunked`. The policy is that of a strict gateway between peers that may be lenient: of two
//! readings of one message we pass on neither.

use super::authority::{self, Authority};
use super::head::{HeadRef, Method, Version};
use super::headers::{self, Known};
use super::target::Target;
use super::{scan, Fault};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is no body.
    None,
    /// So many bytes. A request with `Content-Length: 0` is `Fixed(0)`: its sender said so, and so shall we.
    Fixed(u64),
    /// Until the chunk of size 0 and the trailers after it.
    Chunked,
    /// Until the peer closes. Replies only.
    UntilClose,
}

/// The length of a request's body.
///
/// # Errors
/// Every doubt is a fault, and the connection cannot be kept: see the rows of `tests/conformance/`.
pub fn of_request(head: HeadRef<'_>) -> Result<Length, Fault> {
    // Most requests have neither: three bits of one word.
    if head.head.seen & FRAMING == 0 {
        return Ok(Length::None);
    }
    match declared(head)? {
        Declared::Chunked => Ok(Length::Chunked),
        Declared::Fixed(length) => Ok(Length::Fixed(length)),
        // RFC 9112 §6.3 item 7: "If this is a request message and none of the above are true, then the message body
        // length is zero (no message body is present)."
        Declared::Nothing => Ok(Length::None),
    }
}

/// The length of a reply's body. `method` is that of the request it answers.
///
/// # Errors
/// The rules for requests; the caller answers 502. A Content-Length that is not used (HEAD, 304) must be sound as well,
/// because it is passed on.
pub fn of_reply(head: HeadRef<'_>, method: Method) -> Result<Length, Fault> {
    let declared = declared(head)?;
    // RFC 9112 §6.3 item 1: "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No
    // Content), or 304 (Not Modified) status code is always terminated by the first empty line after the header fields".
    if method == Method::Head || matches!(head.head.status, 100..=199 | 204 | 304) {
        return Ok(Length::None);
    }
    Ok(match declared {
        Declared::Chunked => Length::Chunked,
        Declared::Fixed(length) => Length::Fixed(length),
        Declared::Nothing => Length::UntilClose,
    })
}

const FRAMING: u64 = Known::bits(&[Known::ContentLength, Known::TransferEncoding]);

enum Declared {
    Nothing,
    Fixed(u64),
    Chunked,
}

fn declared(head: HeadRef<'_>) -> Result<Declared, Fault> {
    if !head.has(Known::TransferEncoding) {
        if !head.has(Known::ContentLength) {
            return Ok(Declared::Nothing);
        }
        return Ok(Declared::Fixed(content_length(head)?));
    }
    // RFC 9112 §6.3 item 3: a message with both lengths "might indicate an attempt to perform request smuggling or
    // response splitting and ought to be handled as an error". It also allows preferring chunked; we refuse, because
    // a strict front before a lenient origin is the attack.
    if head.has(Known::ContentLength) {
        return Err(Fault::LengthAndCoding);
    }
    // RFC 9112 §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field
    // MUST treat the message as if the framing is faulty".
    if head.head.version == Version::H10 {
        return Err(Fault::CodingInOld);
    }
    // An origin behind CGI naming sees one variable for both spellings and may take either value.
    if head.has(Known::TransferEncodingLookalike) || head.has(Known::ContentLengthLookalike) {
        return Err(Fault::Lookalike);
    }
    only_chunked(head)?;
    Ok(Declared::Chunked)
}

/// Exactly one Content-Length, digits only. RFC 9112 §6.3 item 5 would let a list of equal values pass; two equal values
/// still are two for an origin that takes the first or the last of different ones tomorrow.
fn content_length(head: HeadRef<'_>) -> Result<u64, Fault> {
    let mut values = head.all(Known::ContentLength);
    let Some(value) = values.next() else { return Err(Fault::LengthInvalid) };
    if values.next().is_some() {
        return Err(Fault::LengthRepeated);
    }
    length(value)
}

/// `1*DIGIT` up to 2⁶³ − 1: what a signed 64-bit peer can still count. Leading zeros are taken, and not passed on.
fn length(value: &[u8]) -> Result<u64, Fault> {
    if value.contains(&b',') {
        return Err(Fault::LengthRepeated);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::LengthInvalid);
    }
    let mut length = 0i64;
    for &digit in value {
        length = length
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(i64::from(digit - b'0')))
            .ok_or(Fault::LengthTooLarge)?;
    }
    Ok(length as u64)
}

/// Transfer-Encoding must be one `chunked`. Codings that stand before it are not supported rather than wrong, known or not
/// (RFC 9112 §6.1: "SHOULD respond with 501"); they cannot be passed on, since they end at this hop. `identity` is no
/// coding any more.
fn only_chunked(head: HeadRef<'_>) -> Result<(), Fault> {
    let mut others = false;
    let mut last_is_chunked = false;
    for value in head.all(Known::TransferEncoding) {
        for coding in value.split(|&byte| byte == b',').map(headers::trim) {
            // An empty member is a list with something removed from it; nobody sends one by accident.
            if coding.is_empty() || last_is_chunked {
                return Err(Fault::Coding);
            }
            match coding {
                _ if coding.eq_ignore_ascii_case(b"chunked") => last_is_chunked = true,
                _ if coding.eq_ignore_ascii_case(b"identity") => return Err(Fault::Coding),
                _ if coding.iter().all(|&byte| scan::is_token(byte)) => others = true,
                _ => return Err(Fault::Coding),
            }
        }
    }
    match (last_is_chunked, others) {
        (true, false) => Ok(()),
        (true, true) => Err(Fault::CodingUnsupported),
        (false, _) => Err(Fault::Coding),
    }
}

/// The host a request is for, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// `host[:port]` as it was sent.
    pub sent: &'a [u8],
    /// The same, taken apart.
    pub authority: Authority<'a>,
}

/// The host a request is for: the authority of an absolute target, otherwise the Host field.
///
/// `None` only for an HTTP/1.0 request that names none. An empty Host is refused: it would stand for an http URI
/// without a host, which RFC 9110 §4.2.1 makes recipients reject.
///
/// # Errors
/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks
/// a Host header field and to any request message that contains more than one Host header field line or a Host header
/// field with an invalid field value." The field is checked even where the target's authority replaces it.
pub fn host_of<'a>(head: HeadRef<'a>, target: &Target) -> Result<Option<Host<'a>>, Fault> {
    let read = |sent: &'a [u8]| authority::read(sent).map(|authority| Host { sent, authority });
    let mut values = head.all(Known::Host);
    let field = values.next();
    if values.next().is_some() {
        return Err(Fault::HostRepeated);
    }
    let field = match field {
        Some(value) => Some(read(value).ok_or(Fault::HostInvalid)?),
        None if head.head.version == Version::H11 => return Err(Fault::HostMissing),
        None => None,
    };
    Ok(target.authority.and_then(|part| read(part.of(head.buf))).or(field))
}

/// Whether the sender of this head wants the connection kept after the message (RFC 9112 §9.3).
///
/// `close` wins over everything; HTTP/1.0 is kept only when it asks to be.
pub fn keep_alive(head: HeadRef<'_>) -> bool {
    let by_default = head.head.version == Version::H11;
    if !head.has(Known::Connection) {
        return by_default;
    }
    let mut keep = by_default;
    for token in headers::connection_tokens(head) {
        if token.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep |= token.eq_ignore_ascii_case(b"keep-alive");
    }
    keep
}

/// What a request expects of whoever reads it (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100 Continue`, before it sends its body.
    Continue,
    /// Something nobody knows: "A server that receives an Expect field value containing a member other than 100-continue
    /// MAY respond with a 417".
    Unknown,
}

/// What the Expect fields of a request say, all of them together.
///
/// Nothing for HTTP/1.0: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that
/// expectation."
pub fn expectation(head: HeadRef<'_>) -> Expectation {
    if !head.has(Known::Expect) || head.head.version == Version::H10 {
        return Expectation::None;
    }
    let mut found = Expectation::None;
    for member in head.all(Known::Expect).flat_map(headers::csv) {
        if !member.eq_ignore_ascii_case(b"100-continue") {
            return Expectation::Unknown;
        }
        found = Expectation::Continue;
    }
    found
}

/// Whether a field only looks like Content-Length or Transfer-Encoding. Such fields are dropped when a message is
/// passed on ([`headers::Drop`]); beside a real Transfer-Encoding the message is refused.
pub fn is_lookalike(id: Known) -> bool {
    matches!(id, Known::ContentLengthLookalike | Known::TransferEncodingLookalike)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse::{Parser, Progress};
    use crate::http::Head;

    /// The lines of a head, `|` for CRLF, and what `judge` says of it.
    #[track_caller]
    fn read<T>(lines: &str, judge: impl FnOnce(HeadRef<'_>) -> T) -> T {
        let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
        let (mut parser, mut head) = (Parser::default(), Head::new());
        let progress = match text.starts_with("HTTP/") {
            true => parser.reply(text.as_bytes(), &mut head),
            false => parser.request(text.as_bytes(), &mut head),
        };
        assert_eq!(progress, Ok(Progress::Done), "{lines}");
        judge(head.on(text.as_bytes()))
    }

    #[test]
    fn a_reply_ends_where_its_request_and_status_say() {
        use Length::*;
        let rows: &[(&str, Method, Result<Length, Fault>)] = &[
            ("HTTP/1.1 200 OK|Content-Length: 5", Method::Get, Ok(Fixed(5))),
            ("HTTP/1.1 200 OK|Content-Length: 5", Method::Head, Ok(None)),
            ("HTTP/1.1 304 x|Content-Length: 5", Method::Get, Ok(None)),
            ("HTTP/1.1 204 x|Content-Length: 0", Method::Get, Ok(None)),
            ("HTTP/1.1 103 x|Link: </a>", Method::Get, Ok(None)),
            ("HTTP/1.1 200 OK|Transfer-Encoding: chunked", Method::Get, Ok(Chunked)),
            ("HTTP/1.1 200 OK|Transfer-Encoding: chunked", Method::Head, Ok(None)),
            ("HTTP/1.1 200 OK", Method::Get, Ok(UntilClose)),
            ("HTTP/1.0 200 OK", Method::Get, Ok(UntilClose)),
            ("HTTP/1.1 200 OK|Content-Length: 5|Transfer-Encoding: chunked", Method::Get, Err(Fault::LengthAndCoding)),
            ("HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 5", Method::Get, Err(Fault::LengthRepeated)),
            ("HTTP/1.1 200 OK|Content-Length: x", Method::Head, Err(Fault::LengthInvalid)),
            ("HTTP/1.1 304 x|Content-Length: 5, 6", Method::Get, Err(Fault::LengthRepeated)),
            ("HTTP/1.0 200 OK|Transfer-Encoding: chunked", Method::Get, Err(Fault::CodingInOld)),
            ("HTTP/1.1 200 OK|Transfer-Encoding: gzip", Method::Get, Err(Fault::Coding)),
            ("HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked", Method::Get, Err(Fault::CodingUnsupported)),
        ];
        for &(lines, method, want) in rows {
            assert_eq!(read(lines, |head| of_reply(head, method)), want, "{lines} to {method:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_by_version_and_wish() {
        let rows: &[(&str, bool)] = &[
            ("GET / HTTP/1.1", true),
            ("GET / HTTP/1.1|Connection: Close", false),
            ("GET / HTTP/1.1|Connection: keep-alive, close", false),
            ("GET / HTTP/1.1|Connection: x|Connection: CLOSE", false),
            ("GET / HTTP/1.1|Connection: closed", true),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0|Connection: Keep-Alive", true),
            ("GET / HTTP/1.0|Connection: keep-alive|Connection: close", false),
            ("GET / HTTP/1.0|Proxy-Connection: keep-alive", false),
        ];
        for &(lines, want) in rows {
            assert_eq!(read(lines, keep_alive), want, "{lines}");
        }
    }

    #[test]
    fn an_expectation_is_known_or_not() {
        use Expectation::*;
        let rows: &[(&str, Expectation)] = &[
            ("PUT / HTTP/1.1|Expect: 100-continue", Continue),
            ("PUT / HTTP/1.1|Expect: 100-Continue", Continue),
            ("PUT / HTTP/1.1|Expect: 100-continue, |Expect: 100-CONTINUE", Continue),
            ("PUT / HTTP/1.1|Expect:", None),
            ("PUT / HTTP/1.1|Expect: 200-ok", Unknown),
            ("PUT / HTTP/1.1|Expect: 100-continue|Expect: 200-ok", Unknown),
            ("PUT / HTTP/1.1|Expect: 100-continue;x=y", Unknown),
            ("PUT / HTTP/1.0|Expect: 100-continue", None),
            ("PUT / HTTP/1.0|Expect: 200-ok", None),
            ("PUT / HTTP/1.1", None),
        ];
        for &(lines, want) in rows {
            assert_eq!(read(lines, expectation), want, "{lines}");
        }
    }

    #[test]
    fn lookalikes_are_told_apart_from_the_fields_they_look_like() {
        assert!(is_lookalike(Known::classify(b"Content_Length")));
        assert!(is_lookalike(Known::classify(b"TRANSFER_ENCODING")));
        assert!(!is_lookalike(Known::ContentLength));
    }
}
