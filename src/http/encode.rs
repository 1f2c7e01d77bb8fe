//! Writing heads: one normal form for everything that is passed on.
//!
//! `name: value CRLF`, one space, no white space around the value, names in the spelling of their sender. Most lines are in
//! that form already ([`super::Field::plain`]), so what is forwarded is copied in runs between the fields that are dropped:
//! one to three copies for a usual head.

use super::framing::Length;
use super::head::{HeadRef, Version};
use super::headers::{Drop, Known};
use crate::base::bytes::put;

/// Appends `method SP path query SP HTTP/1.1 CRLF`. `query` comes with its `?`, or is empty.
pub fn request_line(method: &[u8], path: &[u8], query: &[u8], out: &mut Vec<u8>) {
    put(out, [method, b" ", path, query, b" HTTP/1.1\r\n"]);
}

/// Appends `HTTP/1.x SP status SP reason CRLF`. `status` has three digits.
pub fn status_line(version: Version, status: u16, reason: &[u8], out: &mut Vec<u8>) {
    let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    put(out, [version.text().as_bytes(), b" ", &digits, b" ", reason, b"\r\n"]);
}

/// Appends the fields of `head` that `drop` does not name. One copy for each run of lines in normal form that stand
/// together; other lines are written anew. O(fields).
pub fn fields(head: HeadRef<'_>, drop: &Drop, out: &mut Vec<u8>) {
    let mut gone = drop.lines();
    let mut run = 0..0;
    for field in &head.head.fields {
        let keep = gone & 1 == 0;
        gone >>= 1;
        if !keep {
            continue;
        }
        let line = field.name_at as usize..(field.value_at + field.value_len) as usize + 2;
        if field.plain && line.start == run.end {
            run.end = line.end;
            continue;
        }
        out.extend_from_slice(&head.buf[run]);
        if field.plain {
            run = line;
            continue;
        }
        run = 0..0;
        let mut value = field.value(head.buf);
        if field.id == Known::ContentLength {
            // Leading zeros are a spelling that some peer reads as octal.
            while let [b'0', rest @ ..] = value {
                if rest.is_empty() {
                    break;
                }
                value = rest;
            }
        }
        self::field(field.name(head.buf), value, out);
    }
    out.extend_from_slice(&head.buf[run]);
}

/// Appends one field line. The caller vouches for the bytes: no control byte in either.
#[inline]
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!value.iter().any(|&byte| super::scan::is_control(byte)), "a field value with a control byte");
    put(out, [name, b": ", value, b"\r\n"]);
}

/// Appends one field line with a number for a value.
pub fn field_number(name: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    number(value, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the field that frames a body of this length; none for [`Length::None`] and [`Length::UntilClose`].
///
/// For messages whose own Content-Length was dropped: [`fields`] passes on the one they came with.
pub fn length(length: Length, out: &mut Vec<u8>) {
    match length {
        Length::None | Length::UntilClose => {}
        Length::Fixed(bytes) => field_number(b"Content-Length", bytes, out),
        Length::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// Appends the empty line that ends a head.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal digits.
pub fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse::{Parser, Progress};
    use crate::http::Head;
    use proptest::prelude::*;

    fn parsed(text: &[u8]) -> Head {
        let mut head = Head::new();
        assert_eq!(Parser::default().request(text, &mut head), Ok(Progress::Done));
        head
    }

    #[test]
    fn what_is_kept_comes_out_in_normal_form() {
        let rows: &[(&str, &str)] = &[
            ("", ""),
            ("A: b|", "A: b|"),
            ("A:b|C:  d |E: f|", "A: b|C: d|E: f|"),
            ("A: b|Connection: close|C: d|E: f|", "A: b|C: d|E: f|"),
            ("Connection: close|", ""),
            ("Connection: A|A: b|C: d|Keep-Alive: x|", "C: d|"),
            ("A: b|Content-Length: 0003|C: d|", "A: b|Content-Length: 3|C: d|"),
            ("Content-Length:\t000|", "Content-Length: 0|"),
            ("A:|B: |C: d|", "A: |B: |C: d|"),
        ];
        for &(lines, want) in rows {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n", lines.replace('|', "\r\n"));
            let head = parsed(text.as_bytes());
            let on = head.on(text.as_bytes());
            let drop = Drop::of_request(on, 0).expect("within limits");
            let mut out = Vec::new();
            fields(on, &drop, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want.replace('|', "\r\n"), "{lines}");
        }
    }

    #[test]
    fn lines_are_written_as_the_grammar_has_them() {
        let mut out = Vec::new();
        request_line(b"GET", b"/a", b"?b", &mut out);
        status_line(Version::H10, 204, b"No Content", &mut out);
        length(Length::Fixed(u64::MAX), &mut out);
        length(Length::Chunked, &mut out);
        length(Length::None, &mut out);
        end(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "GET /a?b HTTP/1.1\r\nHTTP/1.0 204 No Content\r\nContent-Length: 18446744073709551615\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
    }

    proptest! {
        /// Runs are an optimisation: line by line gives the same.
        #[test]
        fn runs_equal_lines(
            lines in prop::collection::vec((prop::sample::select(vec!["A: b", "Cc:dd", "E:  f ", "Empty:", "Proxy: x"]), any::<bool>()), 0..20),
        ) {
            let text: String = lines.iter().map(|(line, _)| format!("{line}\r\n")).collect();
            let text = format!("GET / HTTP/1.1\r\n{text}\r\n");
            let head = parsed(text.as_bytes());
            let on = head.on(text.as_bytes());
            let mut drop = Drop::none();
            let mut want = Vec::new();
            for (i, (_, name, value)) in on.fields().enumerate() {
                match lines[i].1 {
                    true => drop.add_line(i),
                    false => field(name, value, &mut want),
                }
            }
            let mut out = Vec::new();
            fields(on, &drop, &mut out);
            prop_assert_eq!(out, want);
        }
    }
}
