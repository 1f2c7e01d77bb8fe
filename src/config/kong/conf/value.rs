//! The values of a node's settings: switches, and nginx's sizes and times.

/// Reads `on`, `off`, `true`, `false`.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" => Some(true),
        "off" | "false" => Some(false),
        _ => None,
    }
}

/// Reads an nginx size, `8k`, `10m`, `1g` or plain bytes, in bytes.
pub(crate) fn size_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = number_and_unit(text)?;
    let scale: u64 = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits.checked_mul(scale)
}

/// Reads an nginx time, `500ms`, `60s`, `1h 30m`, plain seconds, in milliseconds.
pub(crate) fn time_ms(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_len = rest[unit_at..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - unit_at);
        let (part, after) = rest.split_at(unit_at + unit_len);
        total = total.checked_add(one_time_ms(part)?)?;
        rest = after.trim_start();
    }
    Some(total)
}

fn one_time_ms(text: &str) -> Option<u64> {
    let (digits, unit) = number_and_unit(text)?;
    let scale = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        "M" => 2_592_000_000,
        "y" => 31_536_000_000,
        _ => return None,
    };
    digits.checked_mul(scale)
}

/// Reads seconds with a fraction, in milliseconds.
pub(crate) fn seconds_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.parse().ok()?;
    // 1e9 s is thirty years: what is larger is a slip of the pen, and would lose precision below.
    (0.0..=1e9).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}

/// The items of a comma-separated list, trimmed, empty ones left out.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_nginx_sizes() {
        let rows = [
            ("0", Some(0)),
            ("8k", Some(8192)),
            ("10M", Some(10 << 20)),
            ("1g", Some(1 << 30)),
            ("8kb", None),
            ("", None),
            ("-1", None),
            ("99999999999g", None),
        ];
        for (text, want) in rows {
            assert_eq!(size_bytes(text), want, "{text:?}");
        }
    }

    #[test]
    fn times_are_nginx_times() {
        let rows = [
            ("60", Some(60_000)),
            ("60s", Some(60_000)),
            ("500ms", Some(500)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("5 parsecs", None),
            ("1.5s", None),
        ];
        for (text, want) in rows {
            assert_eq!(time_ms(text), want, "{text:?}");
        }
        assert_eq!(seconds_ms("0.5"), Some(500));
        assert_eq!(seconds_ms("-1"), None);
        assert_eq!(seconds_ms("nan"), None);
    }
}
