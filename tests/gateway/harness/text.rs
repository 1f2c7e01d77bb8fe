//! Bytes as text in case files, and text as bytes.
//!
//! A case file writes bytes as a literal string with escapes of our own: `\r \n \t \0 \\ \xHH`, and `\{TEXT*N}` for TEXT
//! repeated N times with `#` as the number of the turn. A real line break means nothing, so that a head can be written
//! a field a line.

/// The bytes that `text` stands for.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\r' => {}
            '\\' => match rest.next() {
                Some('r') => out.push(b'\r'),
                Some('n') => out.push(b'\n'),
                Some('t') => out.push(b'\t'),
                Some('0') => out.push(0),
                Some('\\') => out.push(b'\\'),
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("bad \\x in {text:?}")));
                }
                Some('{') => {
                    let inner: String = rest.by_ref().take_while(|&c| c != '}').collect();
                    let (what, times) = inner.rsplit_once('*').unwrap_or_else(|| panic!("no * in \\{{{inner}}}"));
                    for turn in 0..times.trim().parse::<usize>().unwrap() {
                        out.extend(bytes(&what.replace('#', &turn.to_string())));
                    }
                }
                other => panic!("unknown escape \\{other:?} in {text:?}"),
            },
            c => out.extend(c.to_string().bytes()),
        }
    }
    out
}

/// Each byte as one character, so that nothing is lost and everything can be searched.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// For failure messages: escapes shown, long runs cut.
pub(crate) fn show(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(1200).flat_map(|&b| std::ascii::escape_default(b)).map(char::from).collect();
    let cut = if bytes.len() > 1200 { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}{cut}\"", shown.replace("\\r\\n", "\\r\\n\n      "))
}

#[test]
fn escapes_stand_for_bytes() {
    let rows: [(&str, &[u8]); 4] =
        [(r"a\r\nb", b"a\r\nb"), (r"\x80\0", b"\x80\0"), (r"\{X#: v\r\n*2}", b"X0: v\r\nX1: v\r\n"), ("a\nb", b"ab")];
    for (text, want) in rows {
        assert_eq!(bytes(text), want, "{text}");
    }
}
