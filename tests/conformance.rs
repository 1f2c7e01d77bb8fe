//! RFC 9110 and 9112 as data: every row of `tests/conformance/*.txt` through the HTTP room, without a socket.
//!
//! A row is a sentence that is true, a message and what becomes of it:
//!
//! ```text
//! A request with two lengths is refused
//!   POST / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 2||
//!   -> 400 LengthRepeated
//! ```
//!
//! In messages `|` is CRLF (`\|` a bar), and `\r \n \t \0 \\ \xNN` are what they are in Rust; a line ending in `\` goes on
//! below. `@ HEAD` names the method that a reply answers. After `->` stands a status with the fault's name, `partial`, or
//! `ok` and below it the facts that matter, one `= fact: value` each: see `facts`. Lines beginning with `#` are comments.
//! Rows that we knowingly fail are named in `disabled.toml` with their reason; such a row must go on failing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ringway::http::chunked::{self, Decoder, Step};
use ringway::http::framing::{self, Length};
use ringway::http::headers::{self, Drop};
use ringway::http::parse::{Parser, Progress};
use ringway::http::{encode, target, upgrade, Fault, Head, HeadRef, Method, Target};

#[derive(Debug, Default)]
struct Row {
    place: String,
    name: String,
    message: String,
    method: String,
    verdict: String,
    facts: Vec<(String, String)>,
}

/// What was made of a message: a verdict line, and by fact what can be said about it.
type Outcome = Result<BTreeMap<&'static str, String>, Fault>;

#[test]
fn every_row_holds() {
    let disabled = disabled();
    let mut wrong = String::new();
    let (mut rows, mut named) = (0, Vec::new());
    for row in read_rows() {
        rows += 1;
        let reason = disabled.get(&row.name);
        let faults = judge(&row);
        match (reason, faults.is_empty()) {
            (None, true) => {}
            (None, false) => writeln!(wrong, "{}: {}\n{faults}", row.place, row.name).expect("a String takes all"),
            (Some(_), false) => named.push(row.name),
            (Some(_), true) => {
                writeln!(wrong, "{}: {}\n  holds now; take it out of disabled.toml", row.place, row.name)
                    .expect("a String takes all");
            }
        }
    }
    for name in disabled.keys().filter(|&name| !named.contains(name)) {
        writeln!(wrong, "disabled.toml names a row that fails nowhere: {name}").expect("a String takes all");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(rows > 100, "only {rows} rows were found");
}

/// Empty when the row holds; otherwise what is different, indented.
fn judge(row: &Row) -> String {
    let bytes = unescape(&row.message);
    let is_reply = row.message.starts_with("HTTP/");
    let read = |pieces: usize| match is_reply {
        true => reply(&bytes, Method::classify(row.method.as_bytes()), pieces),
        false => request(&bytes, pieces),
    };
    let outcome = read(bytes.len().max(1));
    let mut wrong = String::new();
    if read(1) != outcome {
        wrong += "  byte by byte it reads differently\n";
    }
    let verdict = match &outcome {
        Err(fault) => format!("{} {fault:?}", if is_reply { 502 } else { fault.status() }),
        Ok(facts) if facts.contains_key("partial") => "partial".to_owned(),
        Ok(_) => "ok".to_owned(),
    };
    if verdict != row.verdict {
        let _ = writeln!(wrong, "  want {}\n  got  {verdict}", row.verdict);
    }
    for (fact, want) in &row.facts {
        let got = outcome.as_ref().ok().and_then(|facts| facts.get(fact.as_str())).map_or("(nothing)", String::as_str);
        if got != want {
            let _ = writeln!(wrong, "  want {fact}: {want}\n  got  {fact}: {got}");
        }
    }
    wrong
}

/// Reads a head that arrives in pieces. `None`: it is not whole.
fn head(
    bytes: &[u8],
    piece: usize,
    mut read: impl FnMut(&[u8], &mut Head) -> Result<Progress, Fault>,
) -> Result<Option<Head>, Fault> {
    let mut head = Head::new();
    let mut end = 0;
    loop {
        end = (end + piece).min(bytes.len());
        if read(&bytes[..end], &mut head)? == Progress::Done {
            return Ok(Some(head));
        }
        if end == bytes.len() {
            return Ok(None);
        }
    }
}

fn partial() -> Outcome {
    Ok(BTreeMap::from([("partial", String::new())]))
}

/// The facts of a request: `method`, `host`, `form`, `path` (normal form), `query` (with its mark), `length`, `body`,
/// `trailers` (as they would be sent), `left` (bytes after the message), `keep`, `websocket`, `sent` (the fields that are
/// passed on).
fn request(bytes: &[u8], piece: usize) -> Outcome {
    let mut parser = Parser::default();
    let Some(head) = head(bytes, piece, |buf, head| parser.request(buf, head))? else { return partial() };
    let on = head.on(bytes);
    let target = Target::of(on)?;
    let host = framing::host_of(on, &target)?;
    let length = framing::of_request(on)?;
    let drop = Drop::of_request(on, 0)?;
    let mut facts = BTreeMap::new();
    facts.insert("method", text(on.method_bytes()));
    facts.insert("host", host.map_or("none".to_owned(), |host| text(host.sent)));
    facts.insert("form", format!("{:?}", target.form));
    let mut normal = Vec::new();
    let path = match target::normalize(target.path(bytes), &mut normal) {
        _ if !target.path(bytes).starts_with(b"/") => target.path(bytes),
        target::Normal::Already => target.path(bytes),
        target::Normal::Rewritten => &normal,
    };
    let mut wire = Vec::new();
    target::encode_path(path, &mut wire);
    facts.insert("path", text(&wire));
    facts.insert("query", text(target.query_marked(bytes)));
    facts.insert("websocket", yes(upgrade::is_websocket(on, length)));
    common(on, length, &drop, bytes, piece, facts)
}

/// The facts of a reply: `status`, `reason`, and those of a request that make sense.
fn reply(bytes: &[u8], method: Method, piece: usize) -> Outcome {
    let mut parser = Parser::default();
    let Some(head) = head(bytes, piece, |buf, head| parser.reply(buf, head))? else { return partial() };
    let on = head.on(bytes);
    let length = framing::of_reply(on, method)?;
    let drop = Drop::of_reply(on, 0)?;
    let mut facts = BTreeMap::new();
    facts.insert("status", head.status.to_string());
    facts.insert("reason", text(on.reason()));
    facts.insert("websocket", yes(upgrade::is_granted(on)));
    common(on, length, &drop, bytes, piece, facts)
}

fn common(
    on: HeadRef<'_>,
    length: Length,
    drop: &Drop,
    bytes: &[u8],
    piece: usize,
    mut facts: BTreeMap<&'static str, String>,
) -> Outcome {
    let rest = &bytes[on.head.len..];
    facts.insert("length", format!("{length:?}"));
    facts.insert("keep", yes(framing::keep_alive(on)));
    facts.insert("trailers ok", yes(headers::takes_trailers(on)));
    let mut sent = Vec::new();
    encode::fields(on, drop, &mut sent);
    facts.insert("sent", text(&sent));
    let (body, left) = match length {
        Length::None => (Vec::new(), rest),
        Length::UntilClose => (rest.to_vec(), &[][..]),
        Length::Fixed(length) => match rest.split_at_checked(length as usize) {
            Some((body, left)) => (body.to_vec(), left),
            None => return partial(),
        },
        Length::Chunked => {
            let Some((body, trailers, used)) = unchunk(rest, piece)? else { return partial() };
            let mut end = Vec::new();
            chunked::write_end(&trailers, &mut end);
            facts.insert("trailers", text(&end[3..]));
            (body, &rest[used..])
        }
    };
    facts.insert("body", text(&body));
    facts.insert("left", text(left));
    Ok(facts)
}

/// Payload, trailer section and bytes used of a chunked body that arrives in pieces.
fn unchunk(input: &[u8], piece: usize) -> Result<Option<(Vec<u8>, Vec<u8>, usize)>, Fault> {
    let (mut decoder, mut body) = (Decoder::new(), Vec::new());
    let (mut at, mut end) = (0, 0);
    loop {
        let window = &input[at..end];
        match decoder.step(window)? {
            Step::Data { data } => {
                body.extend_from_slice(&window[data.clone()]);
                at += data.end;
            }
            Step::Done { used, trailers } => return Ok(Some((body, window[trailers].to_vec(), at + used))),
            Step::NeedMore { used } => {
                at += used;
                if end == input.len() {
                    return Ok(None);
                }
                end = (end + piece).min(input.len());
            }
        }
    }
}

fn yes(fact: bool) -> String {
    if fact { "yes" } else { "no" }.to_owned()
}

/// Bytes in the notation of the rows.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\r\\n", "|").replace("\\\"", "\"").replace("\\'", "'")
}

fn unescape(message: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = message.chars();
    while let Some(symbol) = rest.next() {
        match symbol {
            '|' => bytes.extend_from_slice(b"\r\n"),
            '\\' => match rest.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('0') => bytes.push(0),
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).expect("two hex digits after \\x"));
                }
                Some(other) => bytes.extend_from_slice(other.to_string().as_bytes()),
                None => panic!("a message ends in a backslash: {message}"),
            },
            other => bytes.extend_from_slice(other.to_string().as_bytes()),
        }
    }
    bytes
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn read_rows() -> Vec<Row> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .expect("tests/conformance exists")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mut rows: Vec<Row> = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{file}:{}", number + 1);
            let body = line.trim_start();
            if body.is_empty() || body.starts_with('#') {
                continue;
            }
            if body.len() == line.len() {
                rows.push(Row { place, name: line.to_owned(), ..Row::default() });
                continue;
            }
            let row = rows.last_mut().unwrap_or_else(|| panic!("{place}: a row begins with its name"));
            if let Some(verdict) = body.strip_prefix("-> ") {
                row.verdict = verdict.to_owned();
            } else if let Some(fact) = body.strip_prefix("= ") {
                let (fact, want) = fact.split_once(':').unwrap_or_else(|| panic!("{place}: `= fact: value`"));
                row.facts.push((fact.to_owned(), want.trim_start().to_owned()));
            } else if let Some(method) = body.strip_prefix("@ ") {
                row.method = method.to_owned();
            } else {
                let message = row.message.strip_suffix('\\').map(str::to_owned);
                row.message = message.unwrap_or_else(|| std::mem::take(&mut row.message)) + body;
            }
        }
    }
    for row in &rows {
        assert!(!row.verdict.is_empty(), "{}: no verdict", row.place);
    }
    rows
}

/// Names and reasons of the rows that are known to fail.
fn disabled() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join("disabled.toml")).expect("disabled.toml is there");
    let mut disabled = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let pair = line.split_once(" = ").and_then(|(name, reason)| {
            Some((name.strip_prefix('"')?.strip_suffix('"')?, reason.strip_prefix('"')?.strip_suffix('"')?))
        });
        let (name, reason) = pair.unwrap_or_else(|| panic!("disabled.toml: `\"row\" = \"reason\"`, not {line}"));
        assert!(!reason.is_empty(), "{name} has no reason");
        disabled.insert(name.to_owned(), reason.to_owned());
    }
    disabled
}
