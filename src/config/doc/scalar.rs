//! What a plain YAML scalar means.

use super::Value;

/// Reads a plain scalar. The order matters: `0755` is octal before it is decimal.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    // Every number begins with a digit, a sign, a dot or an underscore; most scalars are words and end here.
    let begins = |b: &u8| b.is_ascii_digit() || b"+-._".contains(b);
    if !text.as_bytes().first().is_some_and(begins) {
        return Value::Str(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::Str(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let (sign, body) = match text.as_bytes()[0] {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if let Some(rest) = body.strip_prefix("0x") {
        return radix(rest, 16, sign);
    }
    if let Some(rest) = body.strip_prefix("0b") {
        return radix(rest, 2, sign);
    }
    if body.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        let octal = body.len() > 1 && body.starts_with('0') && !body.bytes().any(|b| b > b'7' && b != b'_');
        return radix(body, if octal { 8 } else { 10 }, sign);
    }
    if body.contains(':') {
        return sexagesimal(body, sign);
    }
    let float = |b: u8| b.is_ascii_digit() || b"+-._eE".contains(&b);
    if !text.bytes().all(float) || !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    text.replace('_', "").parse().ok().map(Value::Float)
}

/// Digits with underscores between them.
fn radix(digits: &str, radix: u32, sign: i64) -> Option<Value> {
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    match i64::from_str_radix(&digits, radix) {
        Ok(n) => Some(Value::Int(sign * n)),
        // Larger than 64 bits: a number all the same, if not an exact one.
        Err(_) if radix == 10 => digits.parse().ok().map(|x: f64| Value::Float(sign as f64 * x)),
        Err(_) => None,
    }
}

/// `190:20:30`, base 60; a last part may have a fraction.
fn sexagesimal(body: &str, sign: i64) -> Option<Value> {
    let (whole, fraction) = match body.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (body, None),
    };
    let mut sum: i64 = 0;
    for (ix, part) in whole.split(':').enumerate() {
        let narrow = ix == 0 || part.len() <= 2;
        let n: i64 = part.parse().ok().filter(|n| *n >= 0 && narrow && (ix == 0 || *n < 60))?;
        sum = sum.checked_mul(60)?.checked_add(n)?;
    }
    match fraction {
        None => Some(Value::Int(sign * sum)),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() => {
            let part: f64 = format!("0.{digits}").parse().ok()?;
            Some(Value::Float(sign as f64 * (sum as f64 + part)))
        }
        Some(_) => None,
    }
}
