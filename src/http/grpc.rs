//! What gRPC adds to HTTP: its media type, its time limit, its statuses.

/// Is this the media type of a call? gRPC-Web's is another.
pub fn is_call(media: Option<&[u8]>) -> bool {
    let Some(rest) = media.and_then(|media| media.strip_prefix(b"application/grpc")) else { return false };
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
    }
}
