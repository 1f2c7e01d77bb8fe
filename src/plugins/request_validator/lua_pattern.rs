//! Lua patterns → regular expressions (ECMA-262's, in which JSON Schema writes them), so that they are matched in time
//! linear in the text. What has no counterpart there (`%b`, `%f`, references back) is refused.

/// The expression that matches what a pattern does.
///
/// # Errors
/// A sentence.
pub(super) fn translated(pattern: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    // Groups mean nothing to a match that is only asked for.
    let mut open = 0;
    while let Some(c) = chars.next() {
        let piece = match c {
            '(' => {
                open += 1;
                out.push_str("(?:");
                continue;
            }
            ')' if open > 0 => {
                open -= 1;
                out.push(')');
                continue;
            }
            ')' => return Err("a group that nobody opened".to_owned()),
            '$' if chars.peek().is_none() => {
                out.push('$');
                continue;
            }
            '.' => "[\\s\\S]".to_owned(),
            '%' => match chars.next() {
                Some(letter) => class_of(letter, false)?,
                None => return Err("it ends with %".to_owned()),
            },
            '[' => set(&mut chars)?,
            c => escaped(c),
        };
        out.push_str(&piece);
        if let Some(&mark) = chars.peek().filter(|&&c| "*+?-".contains(c)) {
            chars.next();
            // A shortest match is a match.
            out.push(if mark == '-' { '*' } else { mark });
        }
    }
    match open {
        0 => Ok(out),
        _ => Err("a group that nobody closes".to_owned()),
    }
}

/// What `%` and a letter mean; within a set without the brackets.
fn class_of(letter: char, within: bool) -> Result<String, String> {
    let body = match letter.to_ascii_lowercase() {
        'a' => "A-Za-z",
        'c' => "\\x00-\\x1f\\x7f",
        'd' => "0-9",
        'l' => "a-z",
        'p' => "!-\\/:-@\\[-`\\{-~",
        's' => " \\t-\\r",
        'u' => "A-Z",
        'w' => "0-9A-Za-z",
        'x' => "0-9A-Fa-f",
        'z' => "\\x00",
        'b' | 'f' => return Err(format!("%{letter} has no counterpart among regular expressions")),
        '0'..='9' => return Err("a reference back to a group has no counterpart here".to_owned()),
        c if c.is_alphabetic() => return Err(format!("%{letter} is no class")),
        _ => return Ok(escaped(letter)),
    };
    match (letter.is_ascii_uppercase(), within) {
        (false, true) => Ok(body.to_owned()),
        (false, false) => Ok(format!("[{body}]")),
        (true, false) => Ok(format!("[^{body}]")),
        (true, true) => Err(format!("%{letter} within a set has no counterpart here")),
    }
}

/// A set, whose bracket was read.
fn set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut out = "[".to_owned();
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(c) = chars.next() else { return Err("a set that nobody closes".to_owned()) };
        match c {
            ']' if !first => break,
            '%' => match chars.next() {
                Some(letter) => out.push_str(&class_of(letter, true)?),
                None => return Err("a set that nobody closes".to_owned()),
            },
            // Between two characters it is a range, else it is itself.
            '-' if !first && chars.peek().is_some_and(|&next| next != ']') => out.push('-'),
            c => out.push_str(&escaped(c)),
        }
        first = false;
    }
    out.push(']');
    Ok(out)
}

/// A character that stands for itself, as an expression.
pub(super) fn escaped(c: char) -> String {
    match c {
        '^' | '$' | '\\' | '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '/' => format!("\\{c}"),
        '-' => "\\x2d".to_owned(),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_match_there() {
        let rows = [
            ("^%d+$", "123", true),
            ("^%d+$", "12a", false),
            ("%d%d", "a12b", true),
            ("^[%w_%-]+$", "a_b-9", true),
            ("^[%w_%-]+$", "a.b", false),
            ("^[^%s]+$", "a b", false),
            ("^[a-c]-x$", "abcx", true),
            ("^(%a+)%.(%a+)$", "a.b", true),
            ("^(%a+)%.(%a+)$", "a-b", false),
            ("^a.c$", "a\nc", true),
            ("^[]]$", "]", true),
            ("^a-$", "aaa", true),
            ("a$b", "a$b", true),
            ("^%u%l%p%x?$", "Ab!F", true),
            ("^%D+$", "ab", true),
            ("^{|}/%%$", "{|}/%", true),
        ];
        for (pattern, text, want) in rows {
            let regex = regex::Regex::new(&translated(pattern).unwrap().replace("\\/", "/")).unwrap();
            assert_eq!(regex.is_match(text), want, "{pattern} {text}: {regex}");
        }
        for pattern in ["%b()", "%f[%w]", "(a)%1", "[a", "(a", "a)", "a%", "%q", "[%S]"] {
            assert!(translated(pattern).is_err(), "{pattern}");
        }
    }
}
