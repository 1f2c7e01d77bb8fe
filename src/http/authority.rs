//! `host[:port]`, as it stands in Host and in an absolute request-target (RFC 3986 §3.2).
//!
//! The grammar is taken as written, with three cuts: no userinfo (RFC 9110 §4.2.4 asks to treat it as an error), no comma
//! (a list of hosts is what two Host fields become on the way) and no IPvFuture (nobody has one).

/// A checked authority: its host and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as written; an IPv6 address keeps its brackets.
    pub host: &'a [u8],
    /// The port, when there is one. `host:` has none (RFC 3986 §3.2.3 lets the colon stand alone).
    pub port: Option<u16>,
}

/// Reads an authority; `None` when it is not one, or when its host is empty (RFC 9110 §4.2.1: an http URI with an empty
/// host is invalid).
pub fn read(bytes: &[u8]) -> Option<Authority<'_>> {
    let host_len = if bytes.first() == Some(&b'[') {
        let close = bytes.iter().position(|&byte| byte == b']')?;
        let address = std::str::from_utf8(&bytes[1..close]).ok()?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        close + 1
    } else {
        reg_name_len(bytes)?
    };
    let host = &bytes[..host_len];
    let port = match &bytes[host_len..] {
        [] | [b':'] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        _ => return None,
    };
    (!host.is_empty()).then_some(Authority { host, port })
}

/// Decimal digits only, up to 65535.
fn port(digits: &[u8]) -> Option<u16> {
    let mut port = 0u32;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        port = port * 10 + u32::from(digit - b'0');
        if port > 65_535 {
            return None;
        }
    }
    Some(port as u16)
}

/// Bytes of `*( unreserved / pct-encoded / sub-delims )` without the comma, up to a colon or the end; `None` where
/// something else stands before.
fn reg_name_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            _ if REG_NAME[usize::from(byte)] => at += 1,
            b':' => break,
            b'%' => {
                super::target::triplet(&bytes[at..])?;
                at += 3;
            }
            _ => return None,
        }
    }
    Some(at)
}

/// What a registered name may hold as it is.
static REG_NAME: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0u8);
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_maybe_a_port() {
        type Row = (&'static str, Option<(&'static str, Option<u16>)>);
        let rows: &[Row] = &[
            ("a.test", Some(("a.test", None))),
            ("a.test:80", Some(("a.test", Some(80)))),
            ("a.test:", Some(("a.test", None))),
            ("a.test:00080", Some(("a.test", Some(80)))),
            ("a.test:65535", Some(("a.test", Some(65535)))),
            ("under_score.test", Some(("under_score.test", None))),
            ("0.0.0.0=5000", Some(("0.0.0.0=5000", None))),
            ("a%20b", Some(("a%20b", None))),
            ("[::1]:8080", Some(("[::1]", Some(8080)))),
            ("[::1]", Some(("[::1]", None))),
            ("a.test:65536", None),
            ("a.test:99999999999999999999", None),
            ("a.test:8o", None),
            ("a.test:80:80", None),
            ("a.test:-1", None),
            ("a.test:+1", None),
            ("", None),
            (":80", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::g]", None),
            ("[]", None),
            ("[127.0.0.1]", None),
            ("u@a.test", None),
            ("a.test,b.test", None),
            ("a test", None),
            ("a/b", None),
            ("a?b", None),
            ("a#b", None),
            ("a\\b", None),
            ("a%2", None),
            ("a%zz", None),
            ("a\"", None),
            ("\u{e4}.test", None),
        ];
        for &(text, want) in rows {
            let got = read(text.as_bytes()).map(|found| (found.host, found.port));
            assert_eq!(got, want.map(|(host, port)| (host.as_bytes(), port)), "{text:?}");
        }
    }
}
