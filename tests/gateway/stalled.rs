//! Streams that stand still: whoever does not read, or whose upstream does not, costs the others of a connection nothing.

use crate::harness::board::Board;
use crate::harness::frames::*;
use crate::harness::origin::{by_hand, Origin};
use crate::harness::upstream::Step;
use crate::harness::{Gateway, Setup, Upstream};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// A gateway before an upstream that speaks HTTP/2, and may be silent for so long.
fn before(addr: SocketAddr, read_timeout_ms: u32) -> Gateway {
    let mut setup = Setup::kong(format!(
        "_format_version: \"3.0\"\nservices:\n- name: up\n  url: http://{addr}\n  http2: true\n  retries: 0\n  read_timeout: {read_timeout_ms}\n  \
         routes:\n  - name: all\n    paths: [/]\n    strip_path: false\n"
    ));
    setup.listen = "http2".into();
    setup.start()
}

/// Waits until the upstream can send no more.
fn wait_stalled(origin: &Origin) {
    let mut flowed = 0;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = origin.counts.flowed.load(Ordering::SeqCst);
        if now > 0 && now == flowed {
            return;
        }
        flowed = now;
    }
}

#[test]
fn clients_that_do_not_read_hold_up_no_others() {
    for frame_bytes in [16_384, 10] {
        let origin = Origin::start(100);
        let gateway = before(origin.addr, 5000);
        let mut greedy = H2::to(gateway.proxy);
        let streams = 8;
        for n in 0..streams {
            greedy.send(get(2 * n + 1, &format!("/flow/{frame_bytes}")));
        }
        gateway.wait_until("all of them flow", || origin.counts.asked.load(Ordering::SeqCst) == streams as usize);
        wait_stalled(&origin);
        for _ in 0..3 {
            assert_eq!(gateway.get("/length").body, b"hello", "in frames of {frame_bytes}");
        }
        assert_eq!(origin.counts.connections.load(Ordering::SeqCst), 1, "in frames of {frame_bytes}");
        // What each of them holds is a window.
        assert!(origin.counts.flowed.load(Ordering::SeqCst) < 16 << 20);
    }
}

#[test]
fn an_upstream_that_does_not_read_holds_up_no_other_stream() {
    // It reads no body: it answers what has none, or everything at once.
    for at_once in [false, true] {
        let addr = by_hand(b"", move |_, mut connection| {
            while let Some(frame) = connection.next() {
                if frame.kind == HEADERS && (at_once || frame.flags & END_STREAM != 0) {
                    connection.send(headers(frame.stream, END_STREAM, &[(":status", "200")]));
                }
            }
        });
        let gateway = before(addr, 5000);
        let mut client = H2::to(gateway.proxy);
        client.send(headers(1, 0, &request("POST", "/", &[])));
        // As much as the window of a stream takes, in small messages; the upstream takes a quarter.
        let many = frame(DATA, 0, 1, b"0123456789").repeat(100);
        for _ in 0..260 {
            client.send(&many);
        }
        client.send(get(3, "/"));
        assert_eq!(client.told(3), Told::Status(200), "{at_once}: {}", gateway.said());
    }
}

#[test]
fn an_upstream_may_send_a_frame_of_nothing_with_every_answer() {
    let addr = by_hand(b"", |nth, mut connection| {
        assert_eq!(nth, 0);
        while let Some(asked) = connection.next() {
            if asked.kind == HEADERS {
                let begin = headers(asked.stream, 0, &[(":status", "200")]);
                let (none, end) = (frame(DATA, 0, asked.stream, b""), frame(DATA, END_STREAM, asked.stream, b"ok"));
                connection.send([begin, none, end].concat());
            }
        }
    });
    let gateway = before(addr, 5000);
    let mut client = gateway.client();
    for n in 0..300 {
        assert_eq!(client.get("/", "").body, b"ok", "answer {n}");
    }
}

#[test]
fn answers_that_are_given_up_midway_are_no_rapid_reset() {
    let upstream = Upstream::start();
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "http2".into();
    let gateway = setup.start();
    let count = 400;
    let script =
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec()), Step::Send(vec![b'x'; 1000])];
    upstream.begin(vec![script; count], &Board::default());
    let mut client = H2::bare(gateway.proxy);
    // No stream's window has room for more than a byte.
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])].concat());
    for n in 0..count as u32 {
        let stream = 2 * n + 1;
        client.send(get(stream, "/"));
        loop {
            let frame = client.next().unwrap_or_else(|| panic!("the connection ends at {n}"));
            assert_ne!(frame.kind, GOAWAY, "at {n}");
            if frame.kind == DATA && frame.stream == stream {
                break;
            }
        }
        client.send(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
}

#[test]
fn bodies_that_have_ended_take_nothing_of_the_window() {
    let upstream = Upstream::start();
    let mut setup = Setup::open_to(upstream.addr);
    setup.kong = setup.kong.replace("read_timeout: 1000", "read_timeout: 20000");
    setup.listen = "http2".into();
    let gateway = setup.start();
    let (count, board) = (120, Board::default());
    upstream.begin(vec![vec![Step::Body, Step::Wait("go".into()), Step::Own]; count], &board);
    let mut client = H2::to(gateway.proxy);
    let body = [b'x'; 16_384];
    let mut window = 65_535;
    for n in 0..count as u32 {
        while window < body.len() as u32 {
            let frame = client.next().unwrap_or_else(|| panic!("the window stays shut behind {n} bodies"));
            assert_ne!(frame.kind, HEADERS, "the upstream has answered nothing");
            if (frame.kind, frame.stream) == (WINDOW_UPDATE, 0) {
                window += u32::from_be_bytes(frame.payload.try_into().unwrap());
            }
        }
        window -= body.len() as u32;
        let stream = 2 * n + 1;
        client.send([headers(stream, 0, &request("POST", "/", &[])), frame(DATA, END_STREAM, stream, &body)].concat());
    }
    board.pin("go");
    assert_eq!(client.told(2 * count as u32 - 1), Told::Status(200));
}

#[test]
fn a_call_lives_for_as_long_as_either_side_says_something() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = ended.clone();
    // It answers what has ended.
    let addr = by_hand(b"", move |_, mut connection| {
        while let Some(frame) = connection.next() {
            if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                connection.send(headers(frame.stream, END_STREAM, &[(":status", "200"), ("grpc-status", "0")]));
            }
            seen.fetch_add(usize::from(frame.kind == RST_STREAM), Ordering::SeqCst);
        }
    });
    let gateway = before(addr, 1000);
    let mut client = H2::to(gateway.proxy);
    let call = |stream| headers(stream, 0, &request("POST", "/a.S/M", &[("content-type", "application/grpc")]));
    client.send(call(1));
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(400));
        client.send(frame(DATA, 0, 1, b"\0\0\0\0\x01x"));
    }
    client.send(frame(DATA, END_STREAM, 1, b""));
    assert_eq!(client.told(1), Told::Status(200));
    // Both silent: the client has not ended, and the upstream waits for it.
    client.send(call(3));
    assert_eq!(client.told(3), Told::Status(408));
    gateway.wait_until("the upstream is let go", || ended.load(Ordering::SeqCst) == 1);
}
