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

/// Slots of a round-robin wheel; weights are rounded to fit. Memory: two bytes a slot, per upstream and shard.
pub const WHEEL_SLOTS_MAX: usize = 4096;

/// Messages waiting in a shard's mailbox. Adopted clients are the only ones that come in numbers; beyond it the
/// accepting shard keeps its client.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// Connections taken from a listener before other work gets its turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Pause after the process has run out of descriptors, ms: long enough not to spin, short enough not to be felt.
pub const ACCEPT_PAUSE_MS: u64 = 50;

/// How long an upstream connection counts as surely alive without asking the kernel, ms. See `shard/pool.rs`.
pub const UPSTREAM_FRESH_MS: u64 = 2;

/// Longest wait of a quiet client before its buffers go back to the pool, ms.
pub const IDLE_BUFFERS_MS: u64 = 1000;

/// After a refusal: how long the rest of what the client sends is read and thrown away, so that the answer is not lost
/// to a reset (RFC 9112 §9.6), ms and bytes.
pub const LINGER_MS: u64 = 2000;
/// See [`LINGER_MS`].
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Interim (1xx) answers an upstream may send before the final one.
pub const INTERIM_REPLIES_MAX: usize = 16;

/// Seconds a request body may take before its rate is judged.
pub const BODY_RATE_GRACE_MS: u64 = 5000;

/// Body that is kept in memory for a plugin that asked for it, bytes.
pub const BODY_KEPT_BYTES_MAX: usize = 1024 * 1024;

/// How long clients that are quiet when draining begins may still send a request, ms.
pub const DRAIN_QUIET_MS: u64 = 300;

/// One kind of complaint is written to the log at most once in this time, ms; the rest is counted.
pub const COMPLAINT_MS: u64 = 10_000;

const _: () = assert!(IDLE_BUFFERS_MS < 5000, "idle connections must not hold buffers for long");

/// Longest method, bytes. The longest registered one has 17; nothing legitimate comes near. Longer: 501.
pub const METHOD_BYTES_MAX: usize = 32;

/// Most names in the Connection fields of one message. Each costs a pass over the fields: 32 × 128 comparisons at worst.
pub const CONNECTION_TOKENS_MAX: usize = 32;

const _: () = assert!(HEAD_BYTES_MAX < u16::MAX as usize, "a field name's length is a u16");
const _: () = assert!(TARGET_BYTES_MAX + METHOD_BYTES_MAX < HEAD_BYTES_MAX, "a long target is a 414, not a 431");

/// Largest regular expression of a route, bytes once compiled. What the `regex` crate allows; 10 MiB is an expression
/// with Unicode classes repeated by the thousand. Larger ones make a table slow to compile.
pub const ROUTE_PATTERN_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Largest table of an expression that needs no looking back, bytes; one for all shards. Larger ones are searched by
/// engines that need memory per shard.
pub const ROUTE_ONE_PASS_BYTES_MAX: usize = 512 * 1024;

/// Memory that one expression which is not one-pass may take on each shard, bytes. Grows with the variety of paths,
/// which clients choose: expressions × shards of these must be bearable.
pub const ROUTE_PATTERN_MEMORY_BYTES: usize = 256 * 1024;

/// Regular expressions that begin alike and are still searched one by one: an automaton of all costs as much as four.
pub const ROUTE_PATTERNS_ONE_BY_ONE_MAX: usize = 4;

/// Largest automaton of the expressions that begin alike, bytes; beyond it they are searched one by one.
pub const ROUTE_SET_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Memory that the automaton of one group of expressions may take on each shard, bytes. When a request would make it
/// larger it starts again from nothing, so that this also bounds the work a hostile path can cause.
pub const ROUTE_SET_MEMORY_BYTES: usize = 2 * 1024 * 1024;

/// Routes with the same host and path that are asked one by one; longer lists are split by a field.
pub const ROUTE_CANDIDATES_MAX: usize = 8;

/// Largest configuration file, bytes. 10,000 routes are 2 MB; a tree takes about ten times its text.
pub const DOC_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Deepest nesting of a configuration document. The deepest real path, a plugin's map below a nested route, is 12;
/// larger lets a hostile document take the stack.
pub const DOC_DEPTH_MAX: usize = 64;

/// Most nodes of a configuration document with its aliases written out. Anchors of anchors grow a few lines into
/// gigabytes ("billion laughs"); 100,000 routes written out are 3 million.
pub const DOC_NODES_MAX: usize = 4_000_000;
