//! Rows of HTTP/2: what a client sends, and what it is told. Each is judged three ways: by what the client is told, by what
//! reaches the upstream, and by what comes next, on the same connection and on another.

use super::frames::*;
use super::upstream::Seen;
use super::{Gateway, Setup, Upstream};

/// A name, what is sent behind the preface and empty settings, and what is wanted: a status (`200`, `4xx`), `reset CODE` of
/// stream 1, `away CODE`, or `closed`; any of several with `|`. Words behind that:
/// `whole`: it is not run with its bytes in pieces; `bare`: it brings its own preface.
pub(crate) type Row = (&'static str, Vec<u8>, &'static str);

/// Codes of RFC 9113 §7, by number.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

fn code(number: u32) -> String {
    CODES.get(number as usize).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn text(told: &Told) -> String {
    match told {
        Told::Status(status) => status.to_string(),
        Told::Reset(number) => format!("reset {}", code(*number)),
        Told::Away(number) => format!("away {}", code(*number)),
        Told::Closed => "closed".into(),
        Told::Silent => "silent".into(),
    }
}

/// Starts a gateway of HTTP/2 in the clear.
pub(crate) fn start(upstream: &Upstream) -> Gateway {
    let mut setup = Setup::open_to(upstream.addr);
    setup.listen = "http2".into();
    setup.start()
}

/// Runs the rows, each twice: as it is, and in pieces.
#[track_caller]
pub(crate) fn judge(rows: &[Row]) {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let mut other = Other { client: H2::to(gateway.proxy), stream: 1 };
    let mut wrong = Vec::new();
    for (name, send, want) in rows {
        let (want, words) = match want.split_once(" / ") {
            Some((want, words)) => (want, words),
            None => (*want, ""),
        };
        let has = |word: &str| words.split(' ').any(|had| had == word);
        for piece in [usize::MAX, 7] {
            if piece == 7 && has("whole") {
                continue;
            }
            let before = upstream.log().requests.len();
            let mut client = if has("bare") { H2::bare(gateway.proxy) } else { H2::to(gateway.proxy) };
            // Whoever is refused early is not heard to the end.
            let _ = send.chunks(piece.min(send.len().max(1))).all(|piece| client.send(piece));
            let told = client.told(1);
            let said = text(&told);
            let fits = |want: &str| want == said || want == "4xx" && said.len() == 3 && said.starts_with('4');
            let how = if piece == 7 { " in pieces" } else { "" };
            if !want.split('|').any(fits) {
                wrong.push(format!("{name}{how}: {said}, not {want}"));
            }
            if let Told::Status(_) | Told::Reset(_) = told {
                client.send(get(1001, "/next"));
                let next = (client.told(1001), client.body(1001));
                if next != (Told::Status(200), b"GET /next".to_vec()) {
                    wrong.push(format!("{name}{how}: the next request is told {next:?}"));
                }
            }
            if !other.is_served(&gateway) {
                wrong.push(format!("{name}{how}: others are not served"));
            }
            let served = matches!(told, Told::Status(200..=399));
            let log = upstream.log();
            let reached = log.requests[before..].iter().filter(|seen| !seen.head.target().starts_with("/next"));
            // The head of one that was broken off may be heard of later, in the time of another row; it never is whole.
            let is_whole = |seen: &&Seen| seen.head.method() == "GET" || matches!(seen.message, Some(Ok(_)));
            if !served && reached.filter(is_whole).count() > 0 || !log.bad.is_empty() {
                wrong.push(format!("{name}{how}: it reached the upstream {:?}", log.bad));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A client that does nothing wrong.
struct Other {
    client: H2,
    stream: u32,
}

impl Other {
    fn is_served(&mut self, gateway: &Gateway) -> bool {
        // It is not to be a connection's last request.
        if self.stream > 199 {
            *self = Other { client: H2::to(gateway.proxy), stream: 1 };
        }
        self.client.send(get(self.stream, "/next"));
        let served = (self.client.told(self.stream), self.client.body(self.stream));
        self.stream += 2;
        served == (Told::Status(200), b"GET /next".to_vec())
    }
}

/// A request with these fields and no body.
pub(crate) fn asked(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, fields)
}

/// A GET with these fields beside the pseudo-fields.
pub(crate) fn with(more: &[(&str, &str)]) -> Vec<u8> {
    asked(&request("GET", "/", more))
}

/// The head of a POST whose body is to come.
pub(crate) fn begun(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, 0, &request("POST", "/", more))
}

/// A POST with a body in these pieces, the last of them its end.
pub(crate) fn posted(more: &[(&str, &str)], data: &[&str]) -> Vec<u8> {
    let mut out = begun(more);
    for (at, piece) in data.iter().enumerate() {
        out.extend(frame(DATA, u8::from(at + 1 == data.len()), 1, piece.as_bytes()));
    }
    out
}
