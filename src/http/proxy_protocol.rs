//! The PROXY protocol: what a load balancer writes before a connection's first byte, to say whom it speaks for. Version 1
//! is a line of text, version 2 is binary; a listener with the flag takes both.
//!
//! In: the first bytes of a connection. Out: how many of them were the announcement, and the address it names; and the other
//! way round, what is said to an upstream. No I/O; who may be believed is decided in `shard/look.rs`, where forwarding
//! headers are.

use crate::base::bytes::put;
use crate::base::limits::PROXY_ANNOUNCEMENT_BYTES_MAX;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A whole announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its bytes; the first request begins behind them.
    pub len: usize,
    /// The client that the load balancer speaks for. `None` where it speaks for itself (LOCAL) or does not know (UNKNOWN,
    /// a Unix socket): the socket's own address is then the client's.
    pub source: Option<SocketAddr>,
}

/// Not an announcement; the connection is to be closed without a word, since who sent it speaks something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the announcement at the start of a connection; `None` where more bytes are needed. O(bytes); a byte that cannot be
/// part of one is told as soon as it is there, and never more than [`PROXY_ANNOUNCEMENT_BYTES_MAX`] bytes are asked for.
///
/// # Errors
/// [`Malformed`], also for what a later version may mean: "Receivers must drop connections presenting unexpected values".
pub fn read(buf: &[u8]) -> Result<Option<Announcement>, Malformed> {
    match buf {
        [] => Ok(None),
        _ if starts_alike(buf, SIGNATURE) => binary(buf),
        _ if starts_alike(buf, b"PROXY ") => text(buf),
        _ => Err(Malformed),
    }
}

/// Writes the announcement of a client at `source` that has connected to `target`, as a line of text.
pub fn write_text(source: SocketAddr, target: SocketAddr, out: &mut Vec<u8>) {
    use std::io::Write;
    let (source, target) = alike(source, target);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    // A vector takes all of it.
    let _ = write!(out, "PROXY {family} {} {} {} {}\r\n", source.ip(), target.ip(), source.port(), target.port());
}

/// The same in binary.
pub fn write_binary(source: SocketAddr, target: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    match alike(source, target) {
        (SocketAddr::V4(source), SocketAddr::V4(target)) => {
            put(out, [&[0x21, 0x11, 0, 12], &source.ip().octets(), &target.ip().octets()]);
        }
        (source, target) => {
            put(out, [&[0x21, 0x21, 0, 36], &mapped(source.ip()).octets(), &mapped(target.ip()).octets()])
        }
    }
    put(out, [&source.port().to_be_bytes(), &target.port().to_be_bytes()]);
}

/// Both of one family: an announcement has one for both.
fn alike(source: SocketAddr, target: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let (source, target) = (plain(source), plain(target));
    if source.is_ipv4() == target.is_ipv4() {
        return (source, target);
    }
    let six = |addr: SocketAddr| SocketAddr::new(mapped(addr.ip()).into(), addr.port());
    (six(source), six(target))
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The first twelve bytes of version 2: no line of HTTP, and none of version 1.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest line of version 1, CRLF included: both addresses in their longest spelling.
const LINE_BYTES_MAX: usize = 107;

/// Do both begin with the same bytes, as far as there are bytes?
fn starts_alike(buf: &[u8], whole: &[u8]) -> bool {
    buf.iter().zip(whole).all(|(a, b)| a == b)
}

fn text(buf: &[u8]) -> Result<Option<Announcement>, Malformed> {
    let seen = &buf[..buf.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(Malformed);
    // The balancer's own end is not needed, and yet a line whose rest is no announcement is none.
    let (source, _target): (IpAddr, IpAddr) = match word()? {
        // What follows the word is to be ignored up to the end of the line.
        "UNKNOWN" => return Ok(Some(Announcement { len: end + 1, source: None })),
        "TCP4" => (parsed::<Ipv4Addr>(word()?)?.into(), parsed::<Ipv4Addr>(word()?)?.into()),
        "TCP6" => (parsed::<Ipv6Addr>(word()?)?.into(), parsed::<Ipv6Addr>(word()?)?.into()),
        _ => return Err(Malformed),
    };
    let (source_port, _target_port) = (port(word()?)?, port(word()?)?);
    match words.next() {
        None => Ok(Some(Announcement { len: end + 1, source: Some(SocketAddr::new(source, source_port)) })),
        Some(_) => Err(Malformed),
    }
}

fn parsed<T: std::str::FromStr>(word: &str) -> Result<T, Malformed> {
    word.parse().map_err(|_| Malformed)
}

/// Digits without leading zeros, up to 65535.
fn port(word: &str) -> Result<u16, Malformed> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain {
        parsed(word)
    } else {
        Err(Malformed)
    }
}

fn binary(buf: &[u8]) -> Result<Option<Announcement>, Malformed> {
    let Some(&version_command) = buf.get(SIGNATURE.len()) else { return Ok(None) };
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let Some(&[family, high, low]) = buf.get(13..16).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let (kind, transport) = (family >> 4, family & 15);
    if !local && (kind > 3 || transport > 2) {
        return Err(Malformed);
    }
    let len = 16 + usize::from(u16::from_be_bytes([high, low]));
    if len > PROXY_ANNOUNCEMENT_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(body) = buf.get(16..len) else { return Ok(None) };
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let source = match (kind, transport) {
        _ if local => None,
        // The addresses come first; what a sender adds behind them is not for us.
        (1, 1) => {
            let addresses: &[u8; 12] = body.first_chunk().ok_or(Malformed)?;
            let [a, b, c, d, ..] = *addresses;
            Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port(8)))
        }
        (2, 1) => {
            let addresses: &[u8; 36] = body.first_chunk().ok_or(Malformed)?;
            let source: &[u8; 16] = addresses.first_chunk().ok_or(Malformed)?;
            Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port(32)))
        }
        _ => None,
    };
    Ok(Some(Announcement { len, source }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announced(source: &str, len: usize) -> Result<Option<Announcement>, Malformed> {
        Ok(Some(Announcement { len, source: source.parse().ok() }))
    }

    fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).expect("a test's body is short").to_be_bytes();
        [SIGNATURE, &[version_command, family], &len, body].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdb, 0x04, 0x01, 0xbb];

    /// As written, and cut at every byte: a part says nothing but that it is a part, or is refused as the whole is.
    #[track_caller]
    fn check(bytes: &[u8], want: Result<Option<Announcement>, Malformed>) {
        assert_eq!(read(bytes), want, "{}", bytes.escape_ascii());
        let len = want.ok().flatten().map_or(bytes.len(), |announcement| announcement.len);
        for cut in 0..len {
            let part = read(&bytes[..cut]);
            assert!(part == Ok(None) || part == want, "{} cut at {cut}: {part:?}", bytes.escape_ascii());
        }
        if want.is_ok() {
            assert_eq!(read(&[bytes, b"GET / HTTP/1.1\r\n\r\n"].concat()), want, "with a request behind it");
        }
    }

    #[test]
    fn a_line_of_text_names_the_client_or_is_none() {
        let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ".len();
        type Row = (&'static str, Result<Option<&'static str>, Malformed>);
        let rows: &[Row] = &[
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Ok(Some("192.0.2.1:56324"))),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Ok(Some("255.255.255.255:65535"))),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 0\r\n", Ok(Some("[2001:db8::1]:1"))),
            ("PROXY UNKNOWN\r\n", Ok(None)),
            ("PROXY UNKNOWN whatever stands here\r\n", Ok(None)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n", Err(Malformed)),
            ("PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 01 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.02.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            ("PROXY TCP4 2001:db8::1 198.51.100.1 1 443\r\n", Err(Malformed)),
            ("PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            ("PROXY TCP6 [2001:db8::1] [2001:db8::2] 1 443\r\n", Err(Malformed)),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            ("PROXY \r\n", Err(Malformed)),
            ("PROXY\r\n", Err(Malformed)),
            ("proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n", Err(Malformed)),
            ("GET / HTTP/1.1\r\n\r\n", Err(Malformed)),
            ("\r\nPROXY UNKNOWN\r\n", Err(Malformed)),
        ];
        for &(line, want) in rows {
            check(line.as_bytes(), want.and_then(|source| announced(source.unwrap_or(""), line.len())));
        }
        assert!(longest < LINE_BYTES_MAX);
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        check(endless.as_bytes(), Err(Malformed));
        assert_eq!(read(&endless.as_bytes()[..LINE_BYTES_MAX - 1]), Ok(None));
    }

    #[test]
    fn a_binary_announcement_names_the_client_or_is_none() {
        let v6: Vec<u8> = [&[0x20, 1, 0x0d, 0xb8], &[0; 11][..], &[1], &[9; 16], &[0, 80, 1, 187]].concat();
        let with_more = [&V4[..], b"\x04\x00\x03abc"].concat();
        check(&v2(0x21, 0x11, &V4), announced("192.0.2.1:56068", 28));
        check(&v2(0x21, 0x11, &with_more), announced("192.0.2.1:56068", 34));
        check(&v2(0x21, 0x21, &v6), announced("[2001:db8::1]:80", 52));
        check(&v2(0x20, 0x11, &V4), announced("", 28));
        check(&v2(0x20, 0x00, b""), announced("", 16));
        check(&v2(0x20, 0xff, b"x"), announced("", 17));
        check(&v2(0x21, 0x00, b"xyz"), announced("", 19));
        check(&v2(0x21, 0x12, &V4), announced("", 28));
        check(&v2(0x21, 0x31, &[0; 216]), announced("", 232));
        check(&v2(0x21, 0x11, &V4[..11]), Err(Malformed));
        check(&v2(0x21, 0x21, &v6[..35]), Err(Malformed));
        check(&v2(0x22, 0x11, &V4), Err(Malformed));
        check(&v2(0x11, 0x11, &V4), Err(Malformed));
        check(&v2(0x21, 0x41, &V4), Err(Malformed));
        check(&v2(0x21, 0x13, &V4), Err(Malformed));
        check(&v2(0x21, 0x11, &[0; PROXY_ANNOUNCEMENT_BYTES_MAX]), Err(Malformed));
        check(b"\r\n\r\n\0\r\nQUIX\n", Err(Malformed));
    }

    #[test]
    fn what_is_said_to_an_upstream_is_an_announcement() {
        let rows = [
            ("192.0.2.1:56324", "198.51.100.1:443", "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"),
            ("[2001:db8::1]:1", "[::1]:80", "PROXY TCP6 2001:db8::1 ::1 1 80\r\n"),
            ("192.0.2.1:0", "[::1]:80", "PROXY TCP6 ::ffff:192.0.2.1 ::1 0 80\r\n"),
            ("[::ffff:192.0.2.1]:7", "198.51.100.1:443", "PROXY TCP4 192.0.2.1 198.51.100.1 7 443\r\n"),
        ];
        for (source, target, want) in rows {
            let (source, target) = (source.parse().unwrap(), target.parse().unwrap());
            let (mut text, mut binary) = (Vec::new(), Vec::new());
            write_text(source, target, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), want);
            write_binary(source, target, &mut binary);
            let read = |bytes: &[u8]| read(bytes).ok().flatten().unwrap();
            assert_eq!((read(&text).len, read(&binary).len), (text.len(), binary.len()), "{want}");
            assert_eq!(read(&text).source, read(&binary).source, "{want}");
            assert_eq!(read(&text).source.unwrap().ip().to_canonical(), source.ip().to_canonical(), "{want}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(v4: [u8; 4], v6: [u8; 16], port: u16, more in prop::collection::vec(any::<u8>(), 0..40)) {
            let (one, two) = (SocketAddr::from((v4, port)), SocketAddr::from((v6, port)));
            for source in [one, two] {
                let line = match source {
                    SocketAddr::V4(_) => format!("PROXY TCP4 {} 10.0.0.1 {port} 80\r\n", source.ip()),
                    SocketAddr::V6(_) => format!("PROXY TCP6 {} ::1 {port} 80\r\n", source.ip()),
                };
                check(line.as_bytes(), Ok(Some(Announcement { len: line.len(), source: Some(source) })));
            }
            let (port, target_port) = (port.to_be_bytes(), [0, 80]);
            let four = v2(0x21, 0x11, &[&v4[..], &[10, 0, 0, 1], &port, &target_port, &more].concat());
            check(&four, Ok(Some(Announcement { len: four.len(), source: Some(one) })));
            let six = v2(0x21, 0x21, &[&v6[..], &[0; 16], &port, &target_port, &more].concat());
            check(&six, Ok(Some(Announcement { len: six.len(), source: Some(two) })));
        }

        #[test]
        fn no_bytes_make_it_panic_or_read_beyond_their_end(
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n!\x11\0"]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &rest].concat();
            if let Ok(Some(announcement)) = read(&bytes) {
                assert!(announcement.len <= bytes.len());
                check(&bytes[..announcement.len], Ok(Some(announcement)));
            }
        }
    }
}
