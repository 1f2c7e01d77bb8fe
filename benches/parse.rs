//! How long a head takes to become offsets and known ids: ours, and httparse with the same classification behind it.
//!
//! `cargo bench --bench parse`. First the ratios that the parser is held to (at most 0.8 on each head), measured in turns
//! so that a busy machine is unfair to both alike; then divan's tables.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Instant;

use ringway::http::parse::{Parser, Progress};
use ringway::http::{headers, Field, Head, Known, Method, Part, Version};

/// What a browser sends with a page's sub-request: 703 bytes, 16 fields.
const BROWSER: &[u8] = b"GET /assets/app/main.js?v=2026.11 HTTP/1.1\r\n\
Host: www.example.test\r\n\
Connection: keep-alive\r\n\
sec-ch-ua: \"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"8\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Accept: */*\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: no-cors\r\n\
Sec-Fetch-Dest: script\r\n\
Referer: https://www.example.test/shop/catalogue?page=2\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=8d0f6a3b9c1e4f72a5; theme=dark; _ga=GA1.2.1234567890.1699999999; consent=yes; cart=3; seen=4711\r\n\
Cache-Control: no-cache\r\n\
Priority: u=2, i=?0\r\n\
\r\n";

/// What a service sends to an API: 421 bytes, 11 fields.
const API: &[u8] = b"POST /v1/orders/7f3a9c/items HTTP/1.1\r\n\
Host: api.example.test\r\n\
User-Agent: orders/2.4.1\r\n\
Accept: application/json\r\n\
Accept-Encoding: gzip\r\n\
Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.mM1Q0kV8nTQ\r\n\
Content-Type: application/json\r\n\
Content-Length: 128\r\n\
X-Request-Id: 0b9f6e62c4d14a35\r\n\
X-Forwarded-For: 10.1.2.3\r\n\
X-Forwarded-Proto: https\r\n\
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
\r\n";

/// What a load generator sends: 79 bytes, 3 fields.
const SHORT: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n";

const HEADS: [(&str, &[u8]); 3] = [("browser", BROWSER), ("api", API), ("short", SHORT)];

fn ours(parser: &mut Parser, buf: &[u8], head: &mut Head) {
    assert_eq!(parser.request(buf, head), Ok(Progress::Done));
}

/// httparse at its fastest, and then what every user of it does next: offsets instead of slices, ids instead of names.
fn theirs(buf: &[u8], head: &mut Head) {
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; 128];
    let mut request = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(len)) = request.parse_with_uninit_headers(buf, &mut fields) else {
        panic!("a sound head");
    };
    let offset = |bytes: &[u8]| bytes.as_ptr() as usize - buf.as_ptr() as usize;
    let part = |text: &str| Part { at: offset(text.as_bytes()) as u32, len: text.len() as u32 };
    head.clear();
    head.len = len;
    head.version = if request.version == Some(1) { Version::H11 } else { Version::H10 };
    let method = request.method.unwrap_or_default();
    head.method = Method::classify(method.as_bytes());
    head.method_part = part(method);
    head.target_part = part(request.path.unwrap_or_default());
    for field in request.headers.iter() {
        let name_at = offset(field.name.as_bytes());
        head.push(Field {
            name_at: name_at as u32,
            value_at: offset(field.value) as u32,
            value_len: field.value.len() as u32,
            name_len: field.name.len() as u16,
            id: headers::classify_in(buf, name_at, field.name.len()),
            plain: true,
        });
    }
}

/// Nanoseconds per call of the faster half of many short turns.
fn nanos(turn: &mut dyn FnMut()) -> f64 {
    const CALLS: u32 = 2000;
    let start = Instant::now();
    for _ in 0..CALLS {
        turn();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn ratios() {
    println!("{:8} {:>6} {:>10} {:>10} {:>7}", "head", "bytes", "ours ns", "httparse ns", "ratio");
    for (name, buf) in HEADS {
        let (mut parser, mut head, mut other) = (Parser::default(), Head::new(), Head::new());
        let (mut our, mut their) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            our.push(nanos(&mut || ours(&mut parser, black_box(buf), black_box(&mut head))));
            their.push(nanos(&mut || theirs(black_box(buf), black_box(&mut other))));
        }
        assert_eq!((head.fields.len(), head.seen, head.len), (other.fields.len(), other.seen, other.len));
        let median = |turns: &mut Vec<f64>| {
            turns.sort_by(f64::total_cmp);
            turns[turns.len() / 4]
        };
        let (our, their) = (median(&mut our), median(&mut their));
        println!("{name:8} {:>6} {our:>10.1} {their:>11.1} {:>7.2}", buf.len(), our / their);
    }
    println!();
}

#[divan::bench(args = ["browser", "api", "short"])]
fn ringway(bencher: divan::Bencher<'_, '_>, name: &str) {
    let buf = named(name);
    let (mut parser, mut head) = (Parser::default(), Head::new());
    bencher.bench_local(|| ours(&mut parser, black_box(buf), &mut head));
}

#[divan::bench(args = ["browser", "api", "short"])]
fn httparse_classified(bencher: divan::Bencher<'_, '_>, name: &str) {
    let buf = named(name);
    let mut head = Head::new();
    bencher.bench_local(|| theirs(black_box(buf), &mut head));
}

#[divan::bench(args = ["browser", "api", "short"])]
fn httparse_alone(bencher: divan::Bencher<'_, '_>, name: &str) {
    let buf = named(name);
    bencher.bench_local(|| {
        let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; 128];
        let mut request = httparse::Request::new(&mut []);
        black_box(request.parse_with_uninit_headers(black_box(buf), &mut fields)).is_ok()
    });
}

#[divan::bench]
fn classify_by_any_caller() -> Known {
    Known::classify(black_box(b"X-Forwarded-Proto"))
}

fn named(name: &str) -> &'static [u8] {
    HEADS.iter().find(|(known, _)| *known == name).map_or(SHORT, |(_, buf)| buf)
}

fn main() {
    ratios();
    divan::main();
}
