//! Frames of HTTP/2 and header blocks, row by row (RFC 9113 §3 to §6, RFC 7541): what ends a stream, what ends the connection,
//! and with what code.

use crate::harness::frames::*;
use crate::harness::rows::{begun, judge};

const PADDED: u8 = 8;
const HAS_PRIORITY: u8 = 0x20;

/// SETTINGS with this one.
fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// The block of a plain GET.
fn plain() -> Vec<u8> {
    block(&request("GET", "/", &[]))
}

/// A GET whose head has these flags and this payload.
fn head(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, payload)
}

/// A GET whose block goes on with these bytes.
fn coded(more: &[u8]) -> Vec<u8> {
    head(0, &[&plain()[..], more].concat())
}

/// A GET on another stream that may reach the upstream, whose block goes on with these bytes.
fn then(stream: u32, more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[&block(&request("GET", "/next", &[]))[..], more].concat())
}

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let hello = || [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    let behind = |frame: Vec<u8>| [PREFACE, &frame, &get(1, "/")].concat();
    judge(&[
        ("all in one", [hello(), get(1, "/")].concat(), "200 / bare"),
        (
            "settings acknowledged before they came",
            [hello(), frame(SETTINGS, ACK, 0, b""), get(1, "/")].concat(),
            "200 / bare whole",
        ),
        ("another protocol", b"SPDY * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "closed / bare"),
        ("another second half", b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n".to_vec(), "closed / bare"),
        ("no settings", behind(Vec::new()), "away PROTOCOL_ERROR / bare"),
        ("an acknowledgement for settings", behind(frame(SETTINGS, ACK, 0, b"")), "away PROTOCOL_ERROR / bare"),
        ("a PING for settings", behind(frame(PING, 0, 0, &[0; 8])), "away PROTOCOL_ERROR / bare"),
        ("a window for settings", behind(window(0, 1)), "away PROTOCOL_ERROR / bare"),
        ("a frame that nobody knows for settings", behind(frame(0x77, 0, 0, b"")), "away PROTOCOL_ERROR / bare"),
        ("settings that are wrong", behind(setting(2, 7)), "away PROTOCOL_ERROR / bare"),
        ("the preface twice", [hello(), hello()].concat(), "away FRAME_SIZE_ERROR / bare"),
    ]);
}

#[test]
fn frames_have_their_sizes() {
    let size = "away FRAME_SIZE_ERROR";
    let of = |kind, flags, stream, bytes: usize| frame(kind, flags, stream, &vec![0; bytes]);
    judge(&[
        ("SETTINGS of 5 bytes", of(SETTINGS, 0, 0, 5), size),
        ("SETTINGS of 7 bytes", of(SETTINGS, 0, 0, 7), size),
        ("an acknowledgement with settings", of(SETTINGS, ACK, 0, 6), size),
        ("PING of 7 bytes", of(PING, 0, 0, 7), size),
        ("PING of 9 bytes", of(PING, 0, 0, 9), size),
        ("no PING", of(PING, 0, 0, 0), size),
        ("WINDOW_UPDATE of 3 bytes", of(WINDOW_UPDATE, 0, 0, 3), size),
        ("WINDOW_UPDATE of 5 bytes", of(WINDOW_UPDATE, 0, 0, 5), size),
        ("RST_STREAM of 3 bytes", [begun(&[]), of(RST_STREAM, 0, 1, 3)].concat(), size),
        ("RST_STREAM of 5 bytes", [begun(&[]), of(RST_STREAM, 0, 1, 5)].concat(), size),
        ("GOAWAY of 7 bytes", of(GOAWAY, 0, 0, 7), size),
        ("PRIORITY of 4 bytes", of(PRIORITY, 0, 1, 4), size),
        ("PRIORITY of 6 bytes", of(PRIORITY, 0, 1, 6), size),
        ("HEADERS without the priority they say", head(HAS_PRIORITY, &[0; 4]), size),
        ("HEADERS without the padding they say", head(PADDED, &[]), size),
        ("HEADERS without either", head(PADDED | HAS_PRIORITY, &[0; 5]), size),
        ("DATA without the padding they say", [begun(&[]), of(DATA, PADDED, 1, 0)].concat(), size),
        ("DATA too large", [begun(&[]), of(DATA, 0, 1, 16_385)].concat(), size),
        ("HEADERS too large", head(0, &block(&request("GET", "/", &[("x", &"y".repeat(16_400))]))), size),
        ("an unknown frame too large", of(0x77, 0, 0, 16_385), size),
        ("an unknown frame as large as may be", [of(0x77, 0, 0, 16_384), get(1, "/")].concat(), "200 / whole"),
        ("DATA as large as may be", [begun(&[]), of(DATA, END_STREAM, 1, 16_384)].concat(), "200 / whole"),
    ]);
}

#[test]
fn padding_and_priority_are_passed_by() {
    let bad = "away PROTOCOL_ERROR";
    let padded = |padding: u8, more: usize| [&[padding][..], &plain(), &vec![0; more]].concat();
    let body = |flags, payload: &[u8]| [begun(&[]), frame(DATA, flags | END_STREAM, 1, payload)].concat();
    judge(&[
        ("padding", head(PADDED, &padded(3, 3)), "200"),
        ("padding that is not zero", head(PADDED, &[padded(2, 0), vec![1, 2]].concat()), "200"),
        ("no padding", head(PADDED, &padded(0, 0)), "200"),
        ("more padding than is there", head(PADDED, &padded(255, 3)), bad),
        ("as much padding as payload", head(PADDED, &[3, 0, 0]), bad),
        ("padding over the priority", head(PADDED | HAS_PRIORITY, &[2, 0, 0, 0, 0, 1, 0x82]), bad),
        ("priority", head(HAS_PRIORITY, &[&[0x80, 0, 0, 0, 255][..], &plain()].concat()), "200"),
        (
            "priority on itself",
            head(HAS_PRIORITY, &[&[0, 0, 0, 1, 255][..], &plain()].concat()),
            "reset PROTOCOL_ERROR",
        ),
        ("both", head(PADDED | HAS_PRIORITY, &[&[1, 0, 0, 0, 0, 1][..], &plain(), &[0]].concat()), "200"),
        ("flags that mean nothing", head(0xd2, &plain()), "200"),
        ("a body with padding", body(PADDED, b"\x03hello\0\0\0"), "200"),
        ("a body of padding", body(PADDED, b"\x03\0\0\0"), "200"),
        ("a body with too much padding", body(PADDED, b"\x06hello"), "away PROTOCOL_ERROR"),
        (
            "padding is not of the length",
            [begun(&[("content-length", "5")]), frame(DATA, END_STREAM | PADDED, 1, b"\x01hello\0")].concat(),
            "200",
        ),
        ("PRIORITY before its stream", [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), get(1, "/")].concat(), "200"),
        ("PRIORITY of another stream", [frame(PRIORITY, 0, 99, &[0, 0, 0, 1, 1]), get(1, "/")].concat(), "200"),
        ("PRIORITY on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1]), "reset PROTOCOL_ERROR"),
        ("PRIORITY of nothing", frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1]), bad),
    ]);
}

#[test]
fn frames_are_of_the_stream_they_are_for() {
    let bad = "away PROTOCOL_ERROR";
    judge(&[
        ("DATA of no stream", frame(DATA, 0, 0, b"x"), bad),
        ("HEADERS of no stream", headers(0, END_STREAM, &request("GET", "/", &[])), bad),
        ("RST_STREAM of no stream", reset(0), bad),
        ("CONTINUATION of no stream", frame(CONTINUATION, END_HEADERS, 0, &plain()), bad),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, b""), bad),
        ("PING of a stream", frame(PING, 0, 1, &[0; 8]), bad),
        ("GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), bad),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &plain()].concat()), bad),
        (
            "PUSH_PROMISE within a stream",
            [begun(&[]), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
            "away PROTOCOL_ERROR",
        ),
        ("the reserved bit", frame(HEADERS, END_HEADERS | END_STREAM, 0x8000_0001, &plain()), "200"),
        ("a window's reserved bit", [window(0, 0x8000_0001), get(1, "/")].concat(), "200"),
        (
            "unknown frames",
            [frame(0x77, 0xff, 0, b"x"), frame(0x77, 1, 1, b""), frame(0x77, 4, 99, b"y"), get(1, "/")].concat(),
            "200",
        ),
        (
            "an ORIGIN, an ALTSVC, a PRIORITY_UPDATE",
            [
                frame(12, 0, 0, b"\0\x01a"),
                frame(10, 0, 0, b"\0\x01ah2"),
                frame(16, 0, 0, b"\0\0\0\x01u=1"),
                get(1, "/"),
            ]
            .concat(),
            "200",
        ),
        ("a PING that answers nothing", [frame(PING, ACK, 0, &[0; 8]), get(1, "/")].concat(), "200"),
    ]);
}

#[test]
fn streams_live_once() {
    let bad = "away PROTOCOL_ERROR";
    let closed = "away STREAM_CLOSED";
    let sent = || [headers(3, 0, &request("POST", "/next", &[])), frame(DATA, END_STREAM, 3, b"x")].concat();
    judge(&[
        ("an even stream", headers(2, END_STREAM, &request("GET", "/", &[])), bad),
        ("a stream that was passed over", [get(5, "/next"), get(3, "/")].concat(), bad),
        ("a stream again", [get(3, "/next"), get(3, "/")].concat(), closed),
        ("DATA before a stream", frame(DATA, 0, 1, b"x"), bad),
        ("RST_STREAM before a stream", reset(1), bad),
        ("RST_STREAM of a stream of ours", reset(2), bad),
        ("WINDOW_UPDATE before a stream", window(1, 1), bad),
        ("DATA behind the end of the head", [get(3, "/next"), frame(DATA, 0, 3, b"x")].concat(), closed),
        ("DATA behind the end of the body", [sent(), frame(DATA, END_STREAM, 3, b"y")].concat(), closed),
        ("empty DATA behind the end", [sent(), frame(DATA, END_STREAM, 3, b"")].concat(), closed),
        ("trailers behind the end", [sent(), headers(3, END_STREAM, &[("x", "y")])].concat(), closed),
        (
            "DATA behind a reset",
            [begun(&[]), reset(1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            "away STREAM_CLOSED",
        ),
        ("HEADERS behind a reset", [begun(&[]), reset(1), get(1, "/")].concat(), "away STREAM_CLOSED"),
        ("a window behind the end", [get(1, "/"), window(1, 1)].concat(), "200"),
        ("PRIORITY behind the end", [get(1, "/"), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])].concat(), "200"),
    ]);
}

#[test]
fn settings_and_windows_are_within_bounds() {
    let bad = "away PROTOCOL_ERROR";
    let flow = "away FLOW_CONTROL_ERROR";
    let before = |settings: Vec<u8>| [settings, get(1, "/")].concat();
    judge(&[
        ("push of 2", setting(2, 2), bad),
        ("a window of 2^31", setting(4, 1 << 31), flow),
        ("frames of 16383", setting(5, 16_383), bad),
        ("frames of 2^24", setting(5, 1 << 24), bad),
        ("extended CONNECT of 2", setting(8, 2), bad),
        ("no push", before(setting(2, 0)), "200"),
        ("no streams of ours", before(setting(3, 0)), "200"),
        ("no table", before(setting(1, 0)), "200"),
        ("any table", before(setting(1, u32::MAX)), "200"),
        ("the largest window", before(setting(4, (1 << 31) - 1)), "200"),
        ("the largest frames", before(setting(5, (1 << 24) - 1)), "200"),
        ("no list of fields", before(setting(6, 0)), "200"),
        ("a setting that nobody knows", before(setting(0x77, 7)), "200"),
        ("one setting twice", before([setting(4, 100), setting(4, 1000)].concat()), "200"),
        (
            "a second acknowledgement",
            before([frame(SETTINGS, ACK, 0, b""), frame(SETTINGS, ACK, 0, b"")].concat()),
            "200 / whole",
        ),
        ("a window opened by nothing", window(0, 0), bad),
        (
            "a stream's window opened by nothing",
            [begun(&[]), window(1, 0)].concat(),
            "away PROTOCOL_ERROR|reset PROTOCOL_ERROR",
        ),
        ("a window opened beyond 2^31", window(0, (1 << 31) - 1), flow),
        (
            "a stream's window opened beyond 2^31",
            [begun(&[]), window(1, (1 << 31) - 1)].concat(),
            "reset FLOW_CONTROL_ERROR",
        ),
        (
            "a window beyond 2^31 by settings",
            [begun(&[]), window(1, (1 << 30) + 1), setting(4, 1 << 30)].concat(),
            "away FLOW_CONTROL_ERROR",
        ),
    ]);
}

#[test]
fn a_block_is_one_piece() {
    let bad = "away PROTOCOL_ERROR";
    let open = || frame(HEADERS, END_STREAM, 1, &plain()[..9]);
    let rest = |flags, stream| frame(CONTINUATION, flags, stream, &plain()[9..]);
    judge(&[
        ("two pieces", [open(), rest(END_HEADERS, 1)].concat(), "200"),
        ("an empty piece at the end", [open(), rest(0, 1), frame(CONTINUATION, END_HEADERS, 1, b"")].concat(), "200"),
        (
            "all behind an empty piece",
            [frame(HEADERS, END_STREAM, 1, b""), frame(CONTINUATION, END_HEADERS, 1, &plain())].concat(),
            "200",
        ),
        ("CONTINUATION alone", rest(END_HEADERS, 1), bad),
        ("CONTINUATION behind the end", [begun(&[]), rest(END_HEADERS, 1)].concat(), "away PROTOCOL_ERROR"),
        ("CONTINUATION of another stream", [open(), rest(END_HEADERS, 3)].concat(), bad),
        ("CONTINUATION of no stream", [open(), rest(END_HEADERS, 0)].concat(), bad),
        ("DATA within", [open(), frame(DATA, 0, 1, b"")].concat(), bad),
        ("HEADERS within", [open(), get(3, "/")].concat(), bad),
        ("PING within", [open(), frame(PING, 0, 0, &[0; 8])].concat(), bad),
        ("an unknown frame within", [open(), frame(0x77, 0, 1, b"")].concat(), bad),
        ("RST_STREAM within", [open(), reset(1)].concat(), bad),
        (
            "empty pieces without end",
            [open(), frame(CONTINUATION, 0, 1, b"").repeat(200)].concat(),
            "away ENHANCE_YOUR_CALM",
        ),
        (
            "small pieces without end",
            // Each a whole field, so that nothing but their number is wrong.
            [frame(HEADERS, END_STREAM, 1, &plain()), frame(CONTINUATION, 0, 1, &[0x90]).repeat(200)].concat(),
            "away ENHANCE_YOUR_CALM",
        ),
        ("no fields at all", head(0, b""), "reset PROTOCOL_ERROR"),
    ]);
}

#[test]
fn a_block_that_is_none_is_a_compression_error() {
    let bad = "away COMPRESSION_ERROR";
    // `x: y`, put into the table.
    let kept = [0x40, 1, b'x', 1, b'y'];
    let large = [&[0x40, 1, b'x', 127, 0xd1, 0x0e][..], &[b'y'; 2000]].concat();
    judge(&[
        ("the index 0", coded(&[0x80]), bad),
        ("an index beyond the table", coded(&[0xbe]), bad),
        ("an index beyond all", coded(&[0xff, 0xff, 0xff, 0xff, 0x0f]), bad),
        ("a number without end", coded(&[0xff; 12]), bad),
        ("a number of many zeros", coded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0]), bad),
        ("a name beyond the table", coded(&[0x7f, 0x80, 1, 1, b'a']), bad),
        ("half a number", coded(&[0xff, 0x80]), bad),
        ("half a text", coded(&[0, 5, b'a', b'b']), bad),
        ("no value", coded(&[0, 1, b'x']), bad),
        ("EOS", coded(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]), bad),
        ("padding of zeros", coded(&[0, 1, b'x', 0x81, 0x18]), bad),
        ("padding of a byte and more", coded(&[0, 1, b'x', 0x82, 0x1f, 0xff]), bad),
        ("a table too large", head(0, &[&[0x3f, 0xe2, 0x1f][..], &plain()].concat()), bad),
        ("the table's size behind a field", coded(&[0x20]), bad),
        (
            "a fault in the second piece",
            [frame(HEADERS, END_STREAM, 1, &plain()), frame(CONTINUATION, END_HEADERS, 1, &[0x80])].concat(),
            bad,
        ),
        (
            "a fault in trailers",
            [begun(&[]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80])].concat(),
            "away COMPRESSION_ERROR",
        ),
        (
            "what the table lost by its size",
            [then(3, &kept), frame(HEADERS, END_HEADERS | END_STREAM, 5, &[&[0x20][..], &plain(), &[0xbe]].concat())]
                .concat(),
            bad,
        ),
        (
            "what was too large for the table",
            [then(3, &[&[0x40, 1, b'x', 127, 0x89, 0x26][..], &[b'y'; 5000]].concat()), then(5, &[0xbe])].concat(),
            bad,
        ),
        (
            "what the table lost to the newer",
            [then(3, &large), then(5, &large), then(7, &large), then(9, &[0xc0])].concat(),
            bad,
        ),
        ("a compressed value", coded(&[0, 1, b'x', 0x81, 0x1f]), "200"),
        ("a field never to be indexed", coded(&[0x10, 1, b'x', 1, b'y']), "200"),
        ("the table as large as may be", head(0, &[&[0x3f, 0xe1, 0x1f][..], &plain()].concat()), "200"),
        ("no table", head(0, &[&[0x20][..], &plain()].concat()), "200"),
        ("no table and then one", head(0, &[&[0x20, 0x3f, 0xe1, 0x1f][..], &plain()].concat()), "200"),
    ]);
}
