//! Every bound of the gateway: value, unit, why, and what breaks if it is larger. Relations are checked by the compiler.

/// Largest body that is looked into for an API key, bytes. Held whole while the request waits; forms are far smaller.
pub const KEY_BODY_BYTES_MAX: usize = 64 * 1024;

/// Most names that a signature may be over. Each costs a search through the fields of the request.
pub const HMAC_NAMES_MAX: usize = 64;

/// Largest set of expressions of a plugin, bytes compiled. A list of a thousand names is a tenth of it.
pub const PLUGIN_PATTERNS_BYTES_MAX: usize = 4 << 20;

/// What a shard may hold for running one such set, bytes. Less is thrown away more often, and learnt again.
pub const PLUGIN_PATTERNS_MEMORY_BYTES: usize = 512 * 1024;

/// Largest body that is shown back to who sent it, bytes.
pub const ECHO_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting of a JSON body that is checked against a schema, and of a schema. Each level is a few frames of the stack.
pub const JSON_DEPTH_MAX: usize = 64;

/// Most values of such a body; each takes up to 100 bytes while it is judged.
pub const JSON_NODES_MAX: usize = 100_000;

/// Longest text of a schema, bytes. The schemas of whole standards have 100 KiB.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;

/// Largest expression of a schema, bytes compiled, and what matching it may learn.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1 << 20;

/// Most values of a body of which it is told where it misses a schema with branches (`anyOf`, `oneOf`): looking for that
/// copies what each branch refuses.
pub const SCHEMA_DETAIL_NODES_MAX: usize = 1000;

/// Longest pointer that is shown of where a body misses a schema, bytes. The names in it are the sender's.
pub const POINTER_SHOWN_BYTES_MAX: usize = 256;

/// Groups of a path's expression that are shown back, by place.
pub const ECHO_GROUPS_MAX: usize = 32;

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

/// Largest announcement of a load balancer (PROXY protocol), bytes. Addresses take 52 at most; the rest is what it adds of
/// its own, such as a certificate's name. Read before anything else is known of a client.
pub const PROXY_ANNOUNCEMENT_BYTES_MAX: usize = 4096;

/// Streams a client may have open on one HTTP/2 connection, as nginx and Apache have it. Each is a request with its buffers.
pub const H2_STREAMS_MAX: usize = 128;

/// Window of a stream, bytes: what a client may send of a body before the upstream has taken it. 256 KiB fills a link of
/// 200 Mbit/s over 10 ms.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Window of a client's connection, bytes: what all its streams may hold of bodies that upstreams have not taken. Towards an
/// upstream it is as large as those of all streams that the connection may have, since they are of many clients: four that do
/// not read their answers would stop everybody else's.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const _: () =
    assert!(H2_STREAM_WINDOW_BYTES < H2_CONNECTION_WINDOW_BYTES, "one slow stream must not hold up the others");

/// The largest window there is, bytes (RFC 9113 §6.9.1).
pub const H2_WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

/// What DATA frames below 256 bytes take beside their payload by the engine's count, 256 less their own each, bytes of a
/// connection; one more ends it. It counts those that nobody has read, which a stream does as they come, and for good those for
/// a stream that it has reset: half a million small messages that came too late are more than a connection sees.
pub const H2_UNREAD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What waits to be sent on one stream, bytes; the upstream is not read from before there is room.
pub const H2_SEND_BYTES_MAX: usize = 64 * 1024;

/// Streams of one connection that may end by a fault of the client's frames (CVE-2025-8671, "MadeYouReset"): work was begun
/// for each. One more ends the connection. Sound clients make none.
pub const H2_FAULTY_STREAMS_MAX: usize = 100;

/// Requests that wait on a shard for a place on the HTTP/2 connections to one address; one more fails at once. Each holds what
/// a request in flight holds, and waits no longer than its service's connect_timeout.
pub const H2_WAITING_MAX: usize = 10_000;

/// Silence of an HTTP/2 connection to an upstream after which the kernel asks whether it is there, seconds; after twice that it
/// is given up. Streams may last for hours, and middle boxes forget connections that are silent for some minutes.
pub const H2_KEEPALIVE_S: u64 = 60;

/// What a request over HTTP/2 entitles its upstream to, in frames that carry nothing (see [`H2_IDLE_FRAMES`]), where a
/// HEADERS frame counts ten: head, trailers, two interim answers. Beyond it they are taken from what may come at once, and a
/// connection that sends them without end is closed: the engine holds interim answers until somebody reads them.
pub const H2_FRAMES_PER_CALL: u64 = 40;

/// Bytes sent to a peer for each of which it may send one more frame that carries nothing: those that measure their link
/// send a PING per round trip for as long as data comes, and answering them costs 17 bytes.
pub const H2_BYTES_PER_IDLE_FRAME: u64 = 512;

/// Times a request is sent again because an upstream has refused its stream untouched, as when its connection is closing.
pub const H2_REFUSALS_MAX: u32 = 3;

/// Requests a client may give up before their answers (CVE-2023-44487, "rapid reset"): at once, and a second beside one for
/// each that it does not give up. A browser that leaves a page gives up some dozens. Malformed ones count as well.
pub const H2_GIVEN_UP: (u64, u64) = (200, 50);

/// Frames of HTTP/2 that carry nothing (PING, PRIORITY, RST_STREAM and unknown ones; SETTINGS and empty DATA count ten) a
/// client may send: at once, and a second beside one for each request. Clients that measure their link send a PING per
/// round trip at first.
pub const H2_IDLE_FRAMES: (u64, u64) = (1000, 200);

/// CONTINUATION frames of one header block, but for its last. Three full frames hold a head of [`HEAD_BYTES_MAX`], and no
/// sound peer sends smaller ones; the engine has the same bound, but whoever goes on would hear another reason from it.
pub const H2_CONTINUATIONS_MAX: usize = 5;

/// WINDOW_UPDATE frames a client may send: at once, and a second beside those for what it was sent.
pub const H2_WINDOW_UPDATES: (u64, u64) = (10_000, 1000);

/// Bytes sent to a client for each of which it may send one more WINDOW_UPDATE. Many send two per frame of 16 KiB; some one
/// per small frame.
pub const H2_BYTES_PER_WINDOW_UPDATE: u64 = 64;

/// Slots of a round-robin wheel; weights are rounded to fit. Memory: two bytes a slot, per upstream and shard.
pub const WHEEL_SLOTS_MAX: usize = 4096;

/// Turns of a wheel that one pick takes to find a target that may be asked; then the rest of the wheel is walked without
/// turning it. Each is an add on a line that all shards share.
pub const WHEEL_TURNS_MAX: usize = 64;

/// Fewest points of a hash ring, whatever is configured: a smaller one has no room for the entries of ten targets.
pub const RING_POINTS_MIN: u32 = 1000;

/// Entries of a target of average weight on a hash ring, as other gateways have them: 160 keep shares within about a
/// tenth of what weights say.
pub const RING_ENTRIES_PER_TARGET: u64 = 160;

/// Values of one query argument that a hash is made of; more are left out. Sorted on the stack, 16 bytes each.
pub const HASH_ARGS_MAX: usize = 32;

/// Messages waiting in a shard's mailbox. Adopted clients are the only ones that come in numbers; beyond it the
/// accepting shard keeps its client.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// Connections taken from a listener before other work gets its turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Pause after the process has run out of descriptors, ms: long enough not to spin, short enough not to be felt.
pub const ACCEPT_PAUSE_MS: u64 = 50;

/// Quiet clients whose sockets are taken when the process has run out of descriptors, at a time and per shard.
pub const QUIET_ENDED_MAX: usize = 32;

/// Buffers that lie free and are freed in a second, bytes, from which on the memory goes back to the system. Less is not
/// worth the millisecond it takes.
pub const RELEASE_BYTES_MIN: usize = 1024 * 1024;

/// Shortest wait of a quiet client before its buffers go back to the pool, ms; the longest is twice that, as it is looked at
/// as often. Clients that come by the thousand hold about 10 KB each until then; a client that asks less often pays one poll more per request.
/// The same for connections of HTTP/2, both sides.
pub const IDLE_BUFFERS_MS: u64 = 200;

/// After a refusal: how long the rest of what the client sends is read and thrown away, so that the answer is not lost
/// to a reset (RFC 9112 §9.6), ms: in all, and of silence. Many clients send their whole body before they read.
pub const LINGER_MS: u64 = 15_000;
/// See [`LINGER_MS`].
pub const LINGER_QUIET_MS: u64 = 2000;
/// See [`LINGER_MS`]; bytes.
pub const LINGER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Interim (1xx) answers an upstream may send before the final one.
pub const INTERIM_REPLIES_MAX: usize = 16;

/// Seconds a request body may take before its rate is judged.
pub const BODY_RATE_GRACE_MS: u64 = 5000;

/// Body of a request with an idempotent method that is kept in memory until its answer begins, bytes, so that another
/// upstream can be asked. Copying it costs as much again as relaying it; larger ones are sent once.
pub const BODY_REPLAYED_BYTES_MAX: usize = 64 * 1024;

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

// ---- The control thread ----------------------------------------------------------------------------------------------

/// Bytes the access-log writer gathers before it writes, at least. One write of 256 KiB costs a syscall per ~1000 lines;
/// larger gains nothing and only ages in memory. It may hold one whole ring more.
pub const ACCESS_LOG_WRITE_BYTES: usize = 256 * 1024;

/// Shortest and longest sleep of the access-log writer between two looks at the rings, ms. At 20 ms a ring of 1 MiB holds
/// what a shard logs at 50 MB/s; longer would drop lines under load, shorter would wake an idle machine for nothing.
pub const ACCESS_LOG_NAP_MS: (u64, u64) = (1, 20);

/// How long the end of the process waits for the access log to be written, ms. A stuck disk must not hold a restart.
pub const ACCESS_LOG_FLUSH_MS: u64 = 2_000;

/// How often a log file is compared with what its path names now, ms: renamed files are reopened without a signal.
pub const LOG_RENAME_CHECK_MS: u64 = 1_000;

/// Lines of the program's own log (and of the Admin API's) that wait for the disk; more are dropped and counted.
pub const JOURNAL_LINES_MAX: usize = 8_192;

/// Shortest life of a DNS answer, ms, whatever its TTL says. A TTL of 0 would ask for every name all the time.
pub const DNS_TTL_MS_MIN: u64 = 1_000;

/// Longest life of a DNS answer, ms. Longer, and a TTL of a week would hide a move for a week.
pub const DNS_TTL_MS_MAX: u64 = 3_600_000;

/// How long an entry of the hosts file is believed before the file is read again, ms.
pub const DNS_HOSTS_FILE_MS: u64 = 10_000;

/// First and longest wait before a failed name is asked again, ms; doubled between, with a quarter of jitter.
pub const DNS_RETRY_MS: (u64, u64) = (500, 30_000);

/// Denials in a row (no such name, no addresses) that outlive a stale answer. Timeouts and server failures never do:
/// they say nothing of the name (RFC 8767 §4).
pub const DNS_DENIALS_MAX: u32 = 3;

/// One question to a DNS server, ms, before it is repeated; and the whole look-up of a name, search list included.
pub const DNS_QUESTION_MS: u64 = 1_500;
/// See [`DNS_QUESTION_MS`].
pub const DNS_LOOKUP_MS: u64 = 10_000;
const _: () = assert!(DNS_QUESTION_MS * 2 < DNS_LOOKUP_MS, "a lost packet must leave room for a second question");

/// Look-ups under way at once. More would flood a small resolver at every reload of a large plan.
pub const DNS_LOOKUPS_MAX: usize = 32;

/// Addresses used of one name. Bounds what a bad answer can put into the balancers.
pub const DNS_ADDRESSES_MAX: usize = 256;

/// Probes of targets under way at once, over all upstreams; each is a socket of the control thread. More would take
/// descriptors from clients where an operator has checked thousands of targets every second.
pub const PROBES_MAX: usize = 256;

/// Settings of TLS that probes remember: one per certificate that upstreams are shown, and kind of probe. More are made anew
/// at each reload, with some µs and some KB each.
pub const PROBE_SETTINGS_MAX: usize = 1024;

/// Longest status line of a probe's answer, bytes; what comes after it is not read.
pub const PROBE_REPLY_BYTES_MAX: usize = 1024;

/// Shortest interval between two probes of a target, ms, whatever is configured.
pub const PROBE_INTERVAL_MS_MIN: u64 = 10;

/// How long the first publication, or that of a reload, waits for names nobody has resolved yet, ms. Names that are late
/// count as failed and arrive by a refresh.
pub const RESOLVE_WAIT_MS: u64 = 2_000;

/// Quiet time after the last change of a watched folder before files are read, ms; editors and volume mounts change
/// several entries in one go. And the longest that a busy folder can put it off.
pub const WATCH_QUIET_MS: u64 = 100;
/// See [`WATCH_QUIET_MS`].
pub const WATCH_DELAY_MS_MAX: u64 = 1_000;
const _: () = assert!(WATCH_QUIET_MS < WATCH_DELAY_MS_MAX);

/// Symbolic links followed from a config file to its text; the kernel's own bound is 40.
pub const SYMLINKS_MAX: usize = 40;

/// Open connections of the Admin API; one more is closed at once. It serves operators and scrapers, not clients.
pub const ADMIN_CONNECTIONS_MAX: usize = 128;

/// From accept, or from the end of the last answer, to the end of an admin request's head, ms.
pub const ADMIN_HEAD_MS: u64 = 10_000;

/// One admin request from head to answer, ms.
pub const ADMIN_REQUEST_MS: u64 = 10_000;

/// Bytes of an admin request's head, and of its body.
pub const ADMIN_HEAD_BYTES_MAX: usize = 16 * 1024;
/// See [`ADMIN_HEAD_BYTES_MAX`].
pub const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;

/// Requests over one HTTP/2 connection to the Admin API at once. Operators ask one thing at a time, scrapers a few.
pub const ADMIN_STREAMS_MAX: u32 = 32;

/// Bytes of the body of one kind of admin request: a whole configuration may be as large as a file of one.
pub const ADMIN_CONFIG_BYTES_MAX: usize = DOC_BYTES_MAX;

/// Such bodies at once; one more is told to come again. Each may take its size and, while it is read, twenty times that.
pub const ADMIN_CONFIGS_MAX: usize = 4;

/// How long the answer to a configuration that was handed in waits for it to be served, ms. Reading and compiling 100,000
/// routes takes some seconds, and names nobody knows [`RESOLVE_WAIT_MS`]; afterwards it is still served or refused.
pub const ADMIN_CONFIG_MS: u64 = 60_000;
const _: () = assert!(RESOLVE_WAIT_MS * 4 < ADMIN_CONFIG_MS);

/// Rows of a page of a list where none says how many, and the most that may be asked for.
pub const ADMIN_PAGE: usize = 100;
/// See [`ADMIN_PAGE`].
pub const ADMIN_PAGE_MAX: usize = 1000;

/// Digits after the point that memory is written with. More are no memory's; each is a byte of the answer.
pub const ADMIN_SCALE_MAX: usize = 99;

/// Tags that one filter may name; each is a pass over the tags of every entity.
pub const ADMIN_TAGS_MAX: usize = 5;

/// Steps of the path of a fault that are told apart. A document is nested no deeper, but a key with dots in it looks so.
pub const ADMIN_FAULT_STEPS_MAX: usize = DOC_DEPTH_MAX;

/// Places of lists that one answer writes out to say where its faults are; 5 bytes each, 32 while it is written.
pub const ADMIN_FAULT_PLACES_MAX: usize = 1_000_000;

/// Fields of one form, and how deep their names may nest. Forms are written by hand; more is somebody's attack.
pub const ADMIN_FORM_FIELDS_MAX: usize = 1000;
/// See [`ADMIN_FORM_FIELDS_MAX`].
pub const ADMIN_FORM_DEPTH_MAX: usize = 16;

/// How long a scrape waits for the shards' counters, ms; a shard that is late is shown as it was last time.
pub const SCRAPE_WAIT_MS: u64 = 250;

/// Pairs of service and route that metrics name; later ones are counted together under `other`. A pair costs about 45
/// lines of text, so this is some 20 MB for a scraper.
pub const METRIC_ROUTES_MAX: usize = 4_000;

/// Label values of one node-wide counter; later ones are counted together under `other`.
pub const METRIC_LABELS_MAX: usize = 1_000;

/// Addresses of targets whose health metrics show, three lines each; the rest is left out.
pub const METRIC_TARGETS_MAX: usize = 4_000;

/// Findings of the last load that `/status` shows.
pub const STATUS_FINDINGS_MAX: usize = 100;

/// How long the start waits for every shard to accept before it says what listens where, ms.
pub const READY_WAIT_MS: u64 = 5_000;

/// Largest regular expression of a route, bytes once compiled. What the `regex` crate allows; 10 MiB is an expression
/// with Unicode classes repeated by the thousand. Larger ones make a table slow to compile.
pub const ROUTE_PATTERN_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Largest table of an expression that needs no looking back, bytes; one for all shards. Larger ones are searched by
/// engines that need memory per shard.
pub const ROUTE_ONE_PASS_BYTES_MAX: usize = 512 * 1024;

/// Memory that one expression which is not one-pass may take on each shard, bytes. Grows with the variety of paths,
/// which clients choose: expressions × shards of these must be bearable.
pub const ROUTE_PATTERN_MEMORY_BYTES: usize = 256 * 1024;

/// Rests of expressions at one place that are searched one by one; to sieve more of them costs as much as four.
pub const ROUTE_RESTS_ONE_BY_ONE_MAX: usize = 4;

/// Routes with the same host and path that are asked one by one; longer lists are split by a field.
pub const ROUTE_CANDIDATES_MAX: usize = 8;

/// Fields by which one list of routes is split, one after the other: each is a look-up for every request that comes
/// there.
pub const ROUTE_SPLITS_MAX: usize = 4;

/// Largest configuration file, bytes. 10,000 routes are 2 MB; a tree takes about ten times its text.
pub const DOC_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Deepest nesting of a configuration document. The deepest real path, a plugin's map below a nested route, is 12;
/// larger lets a hostile document take the stack.
pub const DOC_DEPTH_MAX: usize = 64;

/// Longest word that it is asked of what was probably meant, characters. Names are shorter; measuring costs the square.
pub const NEAREST_CHARS_MAX: usize = 64;

/// Most nodes of a configuration document with its aliases written out. Anchors of anchors grow a few lines into
/// gigabytes ("billion laughs"); 100,000 routes written out are 3 million.
pub const DOC_NODES_MAX: usize = 4_000_000;

/// Sets of the bank that counts fixed windows, eight counts each; 128 bytes a set, so 8 MiB and 524 288 counts, taken
/// when the first limit is configured. A count is one client, one limit, one period. Fewer: living counts are given up
/// when very many clients come at once (counted); more: memory that nobody touches.
pub const BANK_SETS: usize = 64 * 1024;

/// The most that one request may cost where `cost_header` says what it costs and nothing bounds it, tokens.
pub const LIMIT_COST_DEFAULT: u64 = 100;

/// The most that a bound of such costs may be. Larger ones would be mistakes: one request would empty any limit.
pub const LIMIT_COST_MAX: u64 = 1_000_000;

/// Tiers of a limit. Each is a search through the groups and tags of the consumer.
pub const LIMIT_TIERS_MAX: usize = 32;

/// Names of usage that one answer may raise, and limits by name that one instance may have. Each is a take per period.
pub const NAMED_LIMITS_MAX: usize = 32;

/// Rows of a shard's refusals by plugin, service, route, consumer and kind of key, some 300 bytes each; later ones are
/// counted under `other`. Consumers are many, and whoever attacks chooses among them.
pub const REFUSAL_ROWS_MAX: usize = 4 * 1024;

/// Rows of refusals that metrics show, of all shards; later ones are counted under `other`. One line each, some 200 bytes.
pub const METRIC_REFUSALS_MAX: usize = 8 * 1024;

/// Longest JSON Web Token, bytes; longer ones are not decoded. Real ones have 300 to 2000, those with group lists 6000.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Deepest nesting of a token's JSON. Claims are flat or nearly so; deeper is somebody looking for a stack to overflow.
pub const TOKEN_DEPTH_MAX: usize = 16;

/// Verified tokens a shard remembers, some 130 bytes each: 2 MiB, taken when the first token comes. More clients than this
/// at once: the others pay a signature check per request, 2 µs (HS256) to 60 µs (ES256).
pub const TOKENS_CACHED: usize = 16 * 1024;

/// What may be remembered of a token's claims for headers, bytes; a token with more is verified again at each request.
/// With [`TOKENS_CACHED`] of them a shard holds 16 MiB at most.
pub const TOKEN_TOLD_BYTES_MAX: usize = 1024;

/// Longest value of a claim that goes into a header, bytes; longer ones are left out. Upstreams cut heads at 8 KiB.
pub const CLAIM_BYTES_MAX: usize = 4096;

/// Longest name of a key (`kid`), bytes; those in use are digests or UUIDs. A longer one names no key.
pub const JWKS_KID_BYTES_MAX: usize = 256;

/// Keys of an issuer that are tried for a token that names none. Each costs a signature check.
pub const JWKS_TRIES_MAX: usize = 4;

/// Largest set of keys, or discovery document, bytes, and most keys in one. Google's are 1.5 KB and two keys.
pub const JWKS_BYTES_MAX: usize = 512 * 1024;
/// See [`JWKS_BYTES_MAX`].
pub const JWKS_KEYS_MAX: usize = 256;

/// How long a set of keys is used before it is fetched again, ms: at least and at most, whatever the issuer's
/// Cache-Control says, and where it says nothing. A key that was withdrawn is believed for so long.
pub const JWKS_AGE_MS: (u64, u64) = (60_000, 24 * 3_600_000);
/// See [`JWKS_AGE_MS`].
pub const JWKS_AGE_MS_DEFAULT: u64 = 600_000;

/// One fetch of an issuer's keys, from the first byte to the last, ms; and redirects followed in it.
pub const JWKS_FETCH_MS: u64 = 5_000;
/// See [`JWKS_FETCH_MS`].
pub const JWKS_REDIRECTS_MAX: usize = 3;

/// Fetches of keys under way at once, over all issuers.
pub const JWKS_FETCHES_MAX: usize = 8;

/// First and longest wait before an issuer that failed is asked again, ms; doubled between.
pub const JWKS_RETRY_MS: (u64, u64) = (500, 60_000);

/// Least time between two fetches that tokens with unknown keys ask for, ms. Who makes names of keys up makes us ask the
/// issuer this often and no oftener; a new key that is used at once may be refused for so long after such a storm.
pub const JWKS_ASK_MS_MIN: u64 = 10_000;

/// How long a request waits for keys that are being fetched, ms, and how often it looks.
pub const JWKS_WAIT_MS: u64 = 1_000;
/// See [`JWKS_WAIT_MS`].
pub const JWKS_LOOK_MS: u64 = 20;
const _: () = assert!(JWKS_WAIT_MS < JWKS_ASK_MS_MIN, "a request waits for one fetch at most");

/// How long a client that has closed its side (FIN) is waited for with its answer, ms. Some close only half and read on;
/// most have left, and hold an upstream for nothing.
pub const HALF_CLOSED_MS: u64 = 5000;

/// How long an upstream may be silent on `Expect: 100-continue` before the client is told to go on, ms. Upstreams that do
/// not know the field would wait for the body as long as the client waits for them.
pub const EXPECT_SILENCE_MS: u64 = 250;

/// Largest body that a transformer changes, bytes, before and after: it is held whole, and JSON takes some ten times its text
/// meanwhile. A larger request is told 413, a larger answer becomes a 502: what was to be changed never passes unchanged.
pub const TRANSFORMED_BODY_BYTES_MAX: usize = 1024 * 1024;
const _: () = assert!(TRANSFORMED_BODY_BYTES_MAX <= BODY_KEPT_BYTES_MAX, "a plugin is given no larger one");

/// How long a plugin may hold a request back, ms: what a queueing limit or an injected delay asks for beyond it is cut.
pub const SLEEP_MS_MAX: u64 = 60_000;

/// Bytes of one TLS handshake that a peer may send. A ClientHello has 300 to 1800, a chain of client certificates 3000 to
/// 10000; larger is memory for nothing.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 32 * 1024;

/// Largest ClientHello, bytes, and so the most that is held for a peer before it is known what it asks for. With the key
/// shares of the post-quantum groups they have 1800.
pub const TLS_HELLO_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!(TLS_HELLO_BYTES_MAX <= TLS_HANDSHAKE_BYTES_MAX, "a hello is part of a handshake");

/// From the first byte of a handshake to its end, ms. Two round trips over a bad line; longer is a slot for nothing.
pub const TLS_HANDSHAKE_MS: u64 = 10_000;

/// Handshakes under way on a shard. Each holds about 20 KB, and 70 µs of work that others wait for: a thousand of them are
/// 70 ms. One more ends the one that began first, and is counted.
pub const TLS_HANDSHAKES_MAX: usize = 1_000;

/// TLS handshakes of an Admin API listener under way. An operator and a scraper or two; one more is closed.
pub const ADMIN_HANDSHAKES_MAX: usize = 32;

/// Records in a row without data: empty ones, key updates, tickets. Two are usual at a session's start; each costs the peer
/// nothing and us a decryption, a key update some µs more.
pub const TLS_IDLE_RECORDS_MAX: u32 = 32;

/// Largest handshake message after the handshake, bytes: a ticket of a server that puts client certificates into it.
pub const TLS_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// How long a random key of session tickets seals, seconds; it opens for as long again. Whoever takes it can read the
/// sessions of this time.
pub const TICKET_KEY_S: u64 = 6 * 3600;

/// Bytes that a client may send before the end of a handshake, where a listener takes any. Room for a request and its
/// cookies; it is held for a peer that has proved nothing, within [`TLS_HANDSHAKE_BYTES_MAX`].
pub const TLS_EARLY_BYTES_MAX: u32 = 16 * 1024;
const _: () = assert!(TLS_EARLY_BYTES_MAX as usize <= TLS_HANDSHAKE_BYTES_MAX / 2, "it is part of a handshake");

/// Sessions that are kept for clients of listeners that take early data; some 300 bytes each. Beyond it the oldest half is
/// forgotten, and those clients make full handshakes.
pub const TLS_SESSIONS_MAX: usize = 32_768;

/// Ticket keys from files. Two are needed while they change.
pub const TICKET_KEYS_MAX: usize = 8;

/// Certificates of one PEM text; a system's store of authorities has 150.
pub const PEM_CERTIFICATES_MAX: usize = 1_000;

/// Pools of idle TLS connections a shard keeps, one per address and name. Clients choose names where a route preserves
/// hosts: beyond the bound a connection serves one request and is closed.
pub const SECURE_POOLS_MAX: usize = 16_384;

/// Sessions with upstreams that a shard remembers per setting: one per name is used.
pub const TLS_CLIENT_SESSIONS_MAX: usize = 256;

// ---- Redis ----------------------------------------------------------------------------------------------------------

/// Largest reply of a Redis, bytes. The largest we ask for is a cluster's map, some 100 bytes a node.
pub const REDIS_REPLY_BYTES_MAX: usize = 1024 * 1024;

/// Longest line of a reply, bytes: a length, a number, a word or an error. More is no Redis.
pub const REDIS_LINE_BYTES_MAX: usize = 4096;

/// Deepest nesting of a reply; a cluster's map has 4. Replies are read by recursion.
pub const REDIS_REPLY_DEPTH_MAX: usize = 8;

/// Elements of all lists of a reply.
pub const REDIS_REPLY_ITEMS_MAX: usize = 65_536;

/// Replies that one connection to Redis waits for; one call more fails at once. At 100,000 calls a second and shard it is
/// a tenth of a second.
pub const REDIS_IN_FLIGHT_MAX: usize = 16_384;

/// Bytes that wait to be sent to one Redis; one call more fails at once.
pub const REDIS_OUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests that wait for one Redis to be connected.
pub const REDIS_WAITING_MAX: usize = 16_384;

/// First and longest wait before Redis is tried again, ms; doubled between, with a quarter of jitter.
pub const REDIS_RETRY_MS: (u64, u64) = (50, 5_000);

/// A connection that ended sooner than this after it was made is not made again at once, ms: its server takes calls and
/// drops them.
pub const REDIS_LIVE_MS_MIN: u64 = 1_000;

/// Between two looks for calls that have waited too long, ms.
pub const REDIS_TICK_MS: u64 = 10;

/// A connection to Redis that nobody has asked for so long is closed, ms.
pub const REDIS_IDLE_MS: u64 = 60_000;

/// Nodes of a cluster that one command is sent to in turn.
pub const REDIS_REDIRECTS_MAX: usize = 5;

/// A cluster is asked for its map at most once in this time, ms, and a sentinel for its master.
pub const REDIS_MAP_MS: u64 = 500;

/// Nodes of a cluster.
pub const REDIS_NODES_MAX: usize = 1_024;

/// Calls to Redis, and commands of them, that a shard keeps to use again: as many as requests that wait for Redis at once on
/// a busy one.
pub const REDIS_SPARE_MAX: usize = 1_024;

/// Bytes of a command that is kept so. A key with a long header in it is freed.
pub const REDIS_SPARE_BYTES_MAX: usize = 1_024;

/// Exhausted limits that a shard remembers, some 80 bytes each; more ask Redis again, each time.
pub const REDIS_DENIALS_MAX: usize = 65_536;

/// Counts that a shard keeps between two exchanges with Redis, some 250 bytes each; for more askers than that Redis is asked
/// with each request.
pub const REDIS_SYNCED_MAX: usize = 65_536;

/// Counts of answers that a shard knows from Redis, some 40 bytes each; of those it has not asked about for the last half as
/// many it does not know what answers that come late have used, until the next request tells.
pub const REDIS_KNOWN_MAX: usize = 65_536;

/// Counts of one exchange; more follow in the next. One command each, half of what may wait for answers.
pub const REDIS_SYNCED_AT_ONCE_MAX: usize = 4_096;
const _: () = assert!(REDIS_SYNCED_AT_ONCE_MAX < REDIS_IN_FLIGHT_MAX);

/// Names that shards may ask to have resolved, over the life of the process. They come from configurations and from what
/// clusters and sentinels say.
pub const NAMES_WANTED_MAX: usize = 1_024;

/// Certificates whose last good files are remembered. Each is some KB; nodes show tens, and more files than this come from
/// names that change with every reload.
pub const PAIRS_KEPT_MAX: usize = 10_000;

/// How often it is warned of again, ms: daily, which is seen and is no noise.
pub const EXPIRY_WARNING_MS: u64 = 86_400_000;

/// How long before a certificate's end it is warned of, seconds: 14 days, the last of two renewals that have failed.
pub const EXPIRY_WARNED_S: i64 = 14 * 86_400;

/// Largest message of a call that is told in JSON, bytes. It is held whole; small numbers take some forty times their bytes
/// while it is read.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const _: () = assert!(GRPC_MESSAGE_BYTES_MAX <= TRANSFORMED_BODY_BYTES_MAX, "one message is a body as well");

/// Largest file of types, bytes: a `.proto`, or a set of descriptors. Those of whole clouds have a few MiB.
pub const PROTO_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most files that a `.proto` imports, those of its imports included. The compiler begins anew for each.
pub const PROTO_FILES_MAX: usize = 256;

/// Folders above a `.proto` in which its imports are looked for.
pub const PROTO_FOLDERS_MAX: usize = 16;
