//! What gRPC adds to HTTP: its media type, its time limit, its statuses.

/// Is this the media type of a call? gRPC-Web's is another.
pub fn is_call(media: Option<&[u8]>) -> bool {
    let Some(rest) = media.and_then(|media| media.strip_prefix(b"application/grpc")) else { return false };
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Is this the media type of a call of gRPC-Web, in bytes or in text?
pub fn is_web(media: Option<&[u8]>) -> bool {
    let Some(rest) = media.and_then(|media| media.strip_prefix(b"application/grpc-web")) else { return false };
    let rest = rest.strip_prefix(b"-text").unwrap_or(rest);
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// How long a caller waits, ms, of `grpc-timeout`: up to eight digits and a unit. Less than a millisecond counts as one.
pub fn timeout_ms(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => count * 3_600_000,
        b'M' => count * 60_000,
        b'S' => count * 1000,
        b'm' => count,
        b'u' => count.div_ceil(1000),
        b'n' => count.div_ceil(1_000_000),
        _ => return None,
    })
}

/// The status of a call that ends with this status of HTTP.
pub fn status_of(http: u16) -> u16 {
    match http {
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        429 => 8,
        499 => 1,
        501 => 12,
        503 => 14,
        504 => 4,
        400..=499 => 3,
        500..=599 => 13,
        _ => 0,
    }
}

/// Codes that the gateway itself says.
pub const UNKNOWN: u16 = 2;
/// The request is wrong whatever the state of the service.
pub const INVALID_ARGUMENT: u16 = 3;
/// Time was up.
pub const DEADLINE_EXCEEDED: u16 = 4;
/// There is no such method.
pub const UNIMPLEMENTED: u16 = 12;
/// What ought not to happen did.
pub const INTERNAL: u16 = 13;
/// Nobody is there to answer.
pub const UNAVAILABLE: u16 = 14;

/// The status of a call whose answer is none of gRPC, by its status of HTTP: as gRPC's own clients take it.
pub fn status_of_foreign(http: u16) -> u16 {
    match http {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// The status of HTTP for a call that ended with this one.
pub fn http_of(code: u16) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The value of a field in the lines of a trailer section.
pub fn trailer<'a>(lines: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines.split(|&byte| byte == b'\n').find_map(|line| {
        let (held, value) = super::parse::field_line(line.strip_suffix(b"\r").unwrap_or(line)).ok()?;
        held.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// What [`encode_message`] has encoded; what is no text becomes U+FFFD.
pub fn decode_message(value: &[u8]) -> String {
    percent_encoding::percent_decode(value).decode_utf8_lossy().into_owned()
}

/// A message as `grpc-message` has it: percent-encoded but for what is printable.
pub fn encode_message(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_media_type() {
        let rows: [(&[u8], bool); 6] = [
            (b"application/grpc", true),
            (b"application/grpc+proto", true),
            (b"application/grpc;x=y", true),
            (b"application/grpc-web", false),
            (b"application/grpc-web-text", false),
            (b"application/json", false),
        ];
        rows.iter().for_each(|(media, want)| assert_eq!(is_call(Some(media)), *want));
        assert!(!is_call(None));
        let web: [&[u8]; 4] = [
            b"application/grpc-web",
            b"application/grpc-web+proto",
            b"application/grpc-web-text;x=y",
            b"application/grpc-web-text+proto",
        ];
        assert!(web.iter().all(|media| is_web(Some(media))));
        assert!(!is_web(Some(b"application/grpc-website")) && !is_web(Some(b"application/grpc")) && !is_web(None));
    }

    #[test]
    fn a_time_limit_has_digits_and_a_unit() {
        let rows: [(&[u8], Option<u64>); 10] = [
            (b"1H", Some(3_600_000)),
            (b"2M", Some(120_000)),
            (b"3S", Some(3000)),
            (b"99999999m", Some(99_999_999)),
            (b"1u", Some(1)),
            (b"1500000n", Some(2)),
            (b"123456789m", None),
            (b"m", None),
            (b"1x", None),
            (b"", None),
        ];
        rows.iter().for_each(|(value, want)| assert_eq!(timeout_ms(value), *want, "{value:?}"));
    }

    #[test]
    fn a_message_is_printable() {
        assert_eq!(encode_message("100% \u{e9}\n"), "100%25 %C3%A9%0A");
        assert_eq!(decode_message(b"100%25 %C3%A9%0A%"), "100% \u{e9}\n%");
    }

    #[test]
    fn trailers_are_found_by_name() {
        let lines = b"grpc-status: 5\r\nGrpc-Message:none\r\n";
        assert_eq!(trailer(lines, b"grpc-status"), Some(&b"5"[..]));
        assert_eq!(trailer(lines, b"grpc-message"), Some(&b"none"[..]));
        assert_eq!(trailer(lines, b"grpc"), None);
    }
}
