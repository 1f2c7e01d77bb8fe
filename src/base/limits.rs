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

/// Largest regular expression of a route, bytes once compiled. What the `regex` crate allows; 10 MiB is an expression
/// with Unicode classes repeated by the thousand. Larger ones make a table slow to compile.
pub const ROUTE_PATTERN_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Largest table of an expression that needs no looking back, bytes; one for all shards. Larger ones are searched by
/// engines that need memory per shard.
pub const ROUTE_ONE_PASS_BYTES_MAX: usize = 512 * 1024;

/// Memory that one expression which is not one-pass may take on each shard, bytes. Grows with the variety of paths,
/// which clients choose: expressions × shards of these must be bearable.
pub const ROUTE_PATTERN_MEMORY_BYTES: usize = 256 * 1024;

/// Rests of expressions at one place that are searched one by one: an automaton of all costs as much as four.
pub const ROUTE_RESTS_ONE_BY_ONE_MAX: usize = 4;

/// Rests in one automaton. More make its states so large that a few hundred paths fill its memory.
pub const ROUTE_SET_RESTS_MAX: usize = 128;

/// Largest such automaton, bytes; beyond it the rests are searched one by one.
pub const ROUTE_SET_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Memory that such an automaton may take on each shard, bytes. When a request would make it larger it starts again
/// from nothing, so that this also bounds the work a hostile path can cause.
pub const ROUTE_SET_MEMORY_BYTES: usize = 2 * 1024 * 1024;

/// Routes with the same host and path that are asked one by one; longer lists are split by a field.
pub const ROUTE_CANDIDATES_MAX: usize = 8;

/// Fields by which one list of routes is split, one after the other: each is a look-up for every request that comes
/// there.
pub const ROUTE_SPLITS_MAX: usize = 4;
