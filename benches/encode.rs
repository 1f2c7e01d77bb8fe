//! What it costs to write the head that is passed on: which fields stay, and copying them.
//!
//! `cargo bench --bench encode`. Beside ours stands the plain way: every field on its own, name by name.

use divan::counter::BytesCount;
use divan::{black_box, AllocProfiler, Bencher};
use ringway::http::headers::Drop;
use ringway::http::parse::{Parser, Progress};
use ringway::http::{encode, Head, HeadRef};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// What a browser sends, cookies and all: one field in the middle is dropped.
const BROWSER: &[u8] = b"GET /assets/app/main.js?v=2026.11 HTTP/1.1\r\n\
Host: www.example.test\r\n\
Connection: keep-alive\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
Accept: */*\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: no-cors\r\n\
Referer: https://www.example.test/shop/catalogue?page=2\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=8d0f6a3b9c1e4f72a5; theme=dark; consent=yes; cart=3; seen=4711\r\n\
\r\n";

/// What a load generator sends.
const SHORT: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n";

/// Fields with room around their values: each line is written anew.
const ROOMY: &[u8] = b"GET /hello HTTP/1.1\r\nHost:   127.0.0.1:8000  \r\nUser-Agent:\tcurl/8\r\nAccept:*/*\r\n\r\n";

const HEADS: [(&str, &[u8]); 3] = [("browser", BROWSER), ("short", SHORT), ("roomy", ROOMY)];

fn main() {
    divan::main();
}

fn parsed(name: &str) -> (&'static [u8], Head) {
    let (_, text) = HEADS.iter().find(|(held, _)| *held == name).copied().unwrap_or(HEADS[0]);
    let mut head = Head::new();
    assert_eq!(Parser::default().request(text, &mut head), Ok(Progress::Done));
    (text, head)
}

/// Runs of lines between the fields that are dropped.
#[divan::bench(args = HEADS.map(|(name, _)| name))]
fn runs(bencher: Bencher<'_, '_>, name: &str) {
    let (buf, head) = parsed(name);
    let mut out = Vec::with_capacity(4096);
    bencher.counter(BytesCount::new(buf.len())).bench_local(|| {
        out.clear();
        let head = HeadRef { buf: black_box(buf), head: &head };
        let drop = Drop::of_request(head, 0).expect("a good head");
        encode::request_line(b"GET", b"/hello", b"", &mut out);
        encode::fields(head, &drop, &mut out);
        encode::field(b"Via", b"1.1 ringway", &mut out);
        encode::end(&mut out);
        black_box(out.len())
    });
}

/// The plain way: a look at each field, and four copies for each that stays.
#[divan::bench(args = HEADS.map(|(name, _)| name))]
fn one_by_one(bencher: Bencher<'_, '_>, name: &str) {
    let (buf, head) = parsed(name);
    let mut out = Vec::with_capacity(4096);
    bencher.counter(BytesCount::new(buf.len())).bench_local(|| {
        out.clear();
        let head = HeadRef { buf: black_box(buf), head: &head };
        let drop = Drop::of_request(head, 0).expect("a good head");
        encode::request_line(b"GET", b"/hello", b"", &mut out);
        for (at, field) in head.head.fields.iter().enumerate() {
            if !drop.has(at) {
                encode::field(field.name(head.buf), field.value(head.buf), &mut out);
            }
        }
        encode::field(b"Via", b"1.1 ringway", &mut out);
        encode::end(&mut out);
        black_box(out.len())
    });
}

/// The status line and a length, as every answer has them.
#[divan::bench]
fn answer_line(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        encode::status_line(ringway::http::Version::H11, black_box(200), b"OK", &mut out);
        encode::field_number(b"Content-Length", black_box(65_536), &mut out);
        encode::end(&mut out);
        black_box(out.len())
    });
}
