//! Every bound of the gateway: value, unit, why, and what breaks if it is larger. Relations are checked by the compiler.

/// Largest request head, bytes: request line, fields and the empty line. 32 KiB holds every cookie jar we have seen
/// and is what four of nginx's 8 KiB buffers hold; one such buffer per connection that is busy with a head.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Largest response head, bytes. As for requests: an upstream is no more trusted than a client.
pub const REPLY_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Longest request-target, bytes; RFC 9112 §3 asks for 8000 at least. Longer: 414.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Most fields in one head or trailer section; nginx and Apache live with 100. More: 431.
pub const FIELDS_MAX: usize = 128;

/// Longest chunk-size line, its extensions included, bytes. Nobody uses extensions but those who attack.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// All extension bytes of one chunked body. Bounds what a client can make us read that no one gets (CVE-2023-39326).
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Largest trailer section, bytes.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Empty lines a client may send before a request line (RFC 9112 §2.2 asks to skip at least one).
pub const EMPTY_LINES_MAX: usize = 8;

/// Longest method, bytes. The longest registered one has 17; nothing legitimate comes near. Longer: 501.
pub const METHOD_BYTES_MAX: usize = 32;

/// Most names in the Connection fields of one message. Each costs a pass over the fields: 32 × 128 comparisons at worst.
pub const CONNECTION_TOKENS_MAX: usize = 32;

const _: () = assert!(HEAD_BYTES_MAX < u16::MAX as usize, "a field name's length is a u16");
const _: () = assert!(TARGET_BYTES_MAX + METHOD_BYTES_MAX < HEAD_BYTES_MAX, "a long target is a 414, not a 431");
