//! Every bound of the gateway: value, unit, why, and what breaks if it is larger. Relations are checked by the compiler.

/// Largest body that is looked into for an API key, bytes. Held whole while the request waits; forms are far smaller.
pub const KEY_BODY_BYTES_MAX: usize = 64 * 1024;

/// Largest body that is shown back to who sent it, bytes.
pub const ECHO_BODY_BYTES_MAX: usize = 1024 * 1024;

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

/// Sets of the bank that counts fixed windows, eight counts each; 128 bytes a set, so 8 MiB and 524 288 counts, taken
/// when the first limit is configured. A count is one client, one limit, one period. Fewer: living counts are given up
/// when very many clients come at once (counted); more: memory that nobody touches.
pub const BANK_SETS: usize = 64 * 1024;

/// Longest JSON Web Token, bytes; longer ones are not decoded. Real ones have 300 to 2000, those with group lists 6000.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Deepest nesting of a token's JSON. Claims are flat or nearly so; deeper is somebody looking for a stack to overflow.
pub const TOKEN_DEPTH_MAX: usize = 16;

/// Verified tokens a shard remembers, some 80 bytes each. More clients than this at once: the others pay a signature
/// check per request, 2 µs (HS256) to 60 µs (ES256).
pub const TOKENS_CACHED: usize = 8 * 1024;
