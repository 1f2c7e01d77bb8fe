//! Sizes and durations as people write them: `5s`, `16KiB`. Never bare magic numbers.

/// Reads a duration: a whole number and `ms`, `s`, `m` or `h`, in milliseconds. `5s` → 5000.
///
/// # Errors
/// A sentence that says what is missing, for the person who wrote it.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" => {
            return Err(format!("\"{text}\" has no unit; write \"{text}ms\", \"{text}s\", \"{text}m\" or \"{text}h\""))
        }
        other => return Err(format!("unknown unit \"{other}\"; durations are written in ms, s, m or h")),
    };
    number.checked_mul(scale).ok_or_else(|| format!("\"{text}\" is too long"))
}

/// Reads a size: a whole number and `B`, `KiB`, `MiB`, `GiB` (or `KB`, `MB`, `GB`, powers of 1000), in bytes.
///
/// # Errors
/// A sentence that says what is missing.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(format!("\"{text}\" has no unit; write \"{text}B\", \"{text}KiB\" or \"{text}MiB\"")),
        other => return Err(format!("unknown unit \"{other}\"; sizes are written in B, KiB, MiB or GiB")),
    };
    number.checked_mul(scale).ok_or_else(|| format!("\"{text}\" is too large"))
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().map_err(|_| format!("\"{text}\" does not begin with a whole number"))?;
    Ok((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_their_absence_is_explained() {
        assert_eq!(duration_ms("250ms"), Ok(250));
        assert_eq!(duration_ms("5s"), Ok(5000));
        assert_eq!(duration_ms("2 m"), Ok(120_000));
        assert_eq!(duration_ms("1h"), Ok(3_600_000));
        assert_eq!(size_bytes("16KiB"), Ok(16_384));
        assert_eq!(size_bytes("10MB"), Ok(10_000_000));
        for bad in ["", "5", "s", "-5s", "5 parsecs", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration_ms(bad).is_err(), "{bad:?} was read as a duration");
            assert!(size_bytes(bad).is_err(), "{bad:?} was read as a size");
        }
    }
}
