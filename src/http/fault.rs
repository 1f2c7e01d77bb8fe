//! Why a message was refused, and the status that says so. One variant per reason, so that a log line is a diagnosis.

/// The reason a head, a target, a length or a chunk was refused. Copy, no text of the peer in it.
///
/// The status of [`Fault::status`] is for a *client's* message; when an upstream's message is at fault the caller
/// answers 502 and logs [`Fault::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    // The head as bytes (parse).
    /// A carriage return without a line feed.
    BareCr,
    /// A line feed without a carriage return.
    BareLf,
    /// More empty lines before the request line than we skip.
    EmptyLines,
    /// The method is empty or holds a byte that is not a token character.
    Method,
    /// The method is longer than any we know of.
    MethodTooLong,
    /// The request-target is empty or holds a control character, a space or DEL.
    TargetByte,
    /// The request-target is longer than the limit.
    TargetTooLong,
    /// Something else than `HTTP/d.d` where the version stands.
    Version,
    /// A well-formed version whose major number is not 1.
    VersionUnsupported,
    /// A status line that is not `HTTP/1.x SP 3DIGIT SP reason`.
    StatusLine,
    /// A field name that is empty, or a byte in it that is not a token character.
    FieldName,
    /// White space between a field name and its colon.
    SpaceBeforeColon,
    /// A line in the field section without a colon.
    NoColon,
    /// A control character in a field value.
    FieldValue,
    /// A continuation line (obs-fold), or white space before the first field.
    Fold,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,

    // The request-target and the authority (target, framing).
    /// The target has a form that its method does not allow, or none of the four forms.
    TargetForm,
    /// The target is an absolute URI of a scheme that is not http or https.
    TargetScheme,
    /// The target's authority is not a host with an optional port, or carries userinfo.
    TargetAuthority,
    /// The target holds bytes above 0x7f that are not UTF-8.
    TargetEncoding,
    /// An HTTP/1.1 request without Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host that is not a host with an optional port.
    HostInvalid,

    // Lengths (framing).
    /// Content-Length is not a number of digits only.
    LengthInvalid,
    /// Content-Length given twice, or as a list.
    LengthRepeated,
    /// Content-Length beyond 2⁶³ − 1.
    LengthTooLarge,
    /// Content-Length and Transfer-Encoding in one message.
    LengthAndCoding,
    /// Transfer-Encoding whose last coding is not the one `chunked`.
    Coding,
    /// Codings before the final `chunked` that we do not undo.
    CodingUnsupported,
    /// Transfer-Encoding in an HTTP/1.0 message.
    CodingInOld,
    /// Transfer-Encoding beside a name that a lenient peer would read as a framing field (`Transfer_Encoding`).
    Lookalike,
    /// More names in Connection than the limit.
    ConnectionTooLong,

    // Chunks (chunked).
    /// A chunk size that is missing or not hexadecimal.
    ChunkSize,
    /// A chunk size with more than 16 digits or beyond 2⁶³ − 1.
    ChunkSizeTooLarge,
    /// A chunk extension that does not follow the grammar.
    ChunkExtension,
    /// A chunk-size line, or all extensions together, over the limit.
    ChunkExtensionTooLong,
    /// Chunk data that is not followed by CRLF.
    ChunkEnd,
    /// A trailer field that would change framing, routing or authentication.
    TrailerForbidden,
    /// The trailer section is larger than the limit.
    TrailerTooLarge,
}

impl Fault {
    /// The status for a client that sent this. The framing of what follows is in doubt: close after it.
    pub fn status(self) -> u16 {
        match self {
            Fault::TargetTooLong => 414,
            Fault::HeadTooLarge | Fault::TooManyFields | Fault::TrailerTooLarge => 431,
            Fault::MethodTooLong | Fault::CodingUnsupported => 501,
            Fault::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// One phrase for logs, in lower case, without a full stop.
    pub fn text(self) -> &'static str {
        match self {
            Fault::BareCr => "carriage return without line feed",
            Fault::BareLf => "line feed without carriage return",
            Fault::EmptyLines => "too many empty lines before the request line",
            Fault::Method => "method is not a token",
            Fault::MethodTooLong => "method is too long",
            Fault::TargetByte => "control character or nothing in the request-target",
            Fault::TargetTooLong => "request-target is too long",
            Fault::Version => "malformed protocol version",
            Fault::VersionUnsupported => "unsupported protocol version",
            Fault::StatusLine => "malformed status line",
            Fault::FieldName => "field name is not a token",
            Fault::SpaceBeforeColon => "white space before the colon of a field",
            Fault::NoColon => "field line without a colon",
            Fault::FieldValue => "control character in a field value",
            Fault::Fold => "folded field line",
            Fault::HeadTooLarge => "head is too large",
            Fault::TooManyFields => "too many fields",
            Fault::TargetForm => "form of the request-target does not fit the method",
            Fault::TargetScheme => "scheme of the request-target is not http or https",
            Fault::TargetAuthority => "invalid authority in the request-target",
            Fault::TargetEncoding => "request-target is neither ASCII nor UTF-8",
            Fault::HostMissing => "Host is missing",
            Fault::HostRepeated => "more than one Host",
            Fault::HostInvalid => "invalid Host",
            Fault::LengthInvalid => "Content-Length is not a number",
            Fault::LengthRepeated => "more than one Content-Length",
            Fault::LengthTooLarge => "Content-Length is too large",
            Fault::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Fault::Coding => "Transfer-Encoding is not a single final chunked",
            Fault::CodingUnsupported => "transfer coding is not supported",
            Fault::CodingInOld => "Transfer-Encoding in HTTP/1.0",
            Fault::Lookalike => "Transfer-Encoding beside a field that looks like framing",
            Fault::ConnectionTooLong => "Connection lists too many names",
            Fault::ChunkSize => "malformed chunk size",
            Fault::ChunkSizeTooLarge => "chunk size is too large",
            Fault::ChunkExtension => "malformed chunk extension",
            Fault::ChunkExtensionTooLong => "chunk extensions are too long",
            Fault::ChunkEnd => "chunk data does not end with CRLF",
            Fault::TrailerForbidden => "field is forbidden in trailers",
            Fault::TrailerTooLarge => "trailer section is too large",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Fault {}
