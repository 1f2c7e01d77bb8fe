//! Replies the gateway makes itself: a small builder over the connection's output buffer, and the reason phrases.

use super::encode;
use super::head::Version;

/// A reply being written. Begun with [`Reply::begin`], ended by [`Reply::body`], [`Reply::head_only`] or [`Reply::empty`].
///
/// The caller vouches for names and values (no control bytes); Date, Server and Connection are its business too.
#[must_use = "a reply without an end is half a message"]
#[derive(Debug)]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Reply<'o> {
    /// Writes the status line, always HTTP/1.1: RFC 9112 §2.3, a server sends its own version.
    pub fn begin(status: u16, out: &'o mut Vec<u8>) -> Reply<'o> {
        encode::status_line(Version::H11, status, reason(status).as_bytes(), out);
        Reply { out }
    }

    /// Adds a field.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Reply<'o> {
        encode::field(name.as_bytes(), value.as_ref(), self.out);
        self
    }

    /// Adds a field with a number for a value.
    pub fn number(self, name: &str, value: u64) -> Reply<'o> {
        encode::field_number(name.as_bytes(), value, self.out);
        self
    }

    /// Ends the reply with a body.
    pub fn body(self, content_type: &str, body: &[u8]) {
        let out = self.described(content_type, body.len());
        out.extend_from_slice(body);
    }

    /// Ends the reply to a HEAD request: the head that [`Reply::body`] would write, and no body.
    pub fn head_only(self, content_type: &str, body_len: usize) {
        self.described(content_type, body_len);
    }

    /// Ends the reply with `Content-Length: 0`.
    pub fn empty(self) {
        encode::field_number(b"Content-Length", 0, self.out);
        encode::end(self.out);
    }

    /// Ends a head that must not have a Content-Length (1xx, 204, 304).
    pub fn bare(self) {
        encode::end(self.out);
    }

    fn described(self, content_type: &str, body_len: usize) -> &'o mut Vec<u8> {
        encode::field(b"Content-Type", content_type.as_bytes(), self.out);
        encode::field_number(b"Content-Length", body_len as u64, self.out);
        encode::end(self.out);
        self.out
    }
}

/// The interim reply that asks a client for its body (RFC 9110 §10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The reason phrase of a status, as IANA registers it; empty for others.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_written_whole() {
        let mut out = Vec::new();
        Reply::begin(404, &mut out).field("X-Id", "7").number("Age", 3).body("text/plain", b"gone");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 404 Not Found\r\nX-Id: 7\r\nAge: 3\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ngone"
        );
        out.clear();
        Reply::begin(301, &mut out).field("Location", "https://a.test/").empty();
        assert_eq!(
            String::from_utf8_lossy(&out),
            "HTTP/1.1 301 Moved Permanently\r\nLocation: https://a.test/\r\nContent-Length: 0\r\n\r\n"
        );
        out.clear();
        Reply::begin(599, &mut out).bare();
        assert_eq!(out, b"HTTP/1.1 599 \r\n\r\n");
    }
}
