//! Commands to bytes, bytes to replies (RESP2, redis.io/docs/reference/protocol-spec).
//!
//! The crate `redis-protocol` reads replies. It reads as deep and as many as a peer says, so the end of a reply is found
//! here first, within bounds, and only a whole one of bounded size and depth is given to it.

use super::call::Command;
use crate::base::limits;
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Integer(i64),
    /// Text or bytes.
    Text(Vec<u8>),
    /// An error: a word in capitals and more.
    Error(String),
    /// A list.
    List(Vec<Reply>),
}

impl Reply {
    /// Its text; `None` where it is none, or no UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Reply::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Its elements; none where it is no list.
    pub fn list(&self) -> &[Reply] {
        match self {
            Reply::List(list) => list,
            _ => &[],
        }
    }

    /// Its number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Reply::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// What came is not RESP, or is larger than any answer we ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rubbish;

/// Appends an array of these arguments.
pub fn write<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    prefix(b'*', args.len(), out);
    args.for_each(|arg| write_arg(arg, out));
}

/// Appends a command; with `whole` the text of its script in the place of the hash.
pub fn write_command(command: &Command, whole: bool, out: &mut Vec<u8>) {
    let args = command.args();
    let Some(script) = command.script else { return write(args, out) };
    prefix(b'*', args.len() + 3, out);
    let (name, text) = if whole { ("EVAL", script.source) } else { ("EVALSHA", script.sha1) };
    write_arg(name.as_bytes(), out);
    write_arg(text.as_bytes(), out);
    write_arg(itoa::Buffer::new().format(command.keys).as_bytes(), out);
    args.for_each(|arg| write_arg(arg, out));
}

fn prefix(kind: u8, count: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_arg(arg: &[u8], out: &mut Vec<u8>) {
    prefix(b'$', arg.len(), out);
    out.extend_from_slice(arg);
    out.extend_from_slice(b"\r\n");
}

/// Reads the first reply of `bytes`, and how long it is; `None`: it is not all there yet.
///
/// # Errors
/// [`Rubbish`]; the connection is then of no use any more.
pub fn read(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Rubbish> {
    let Some(len) = end_of_reply(bytes)? else { return Ok(None) };
    let whole = &bytes[..len];
    match decode_range(whole) {
        Ok(Some((frame, read))) if read == len => Ok(Some((reply(whole, frame), len))),
        _ => Err(Rubbish),
    }
}

fn reply(bytes: &[u8], frame: RangeFrame) -> Reply {
    match frame {
        RangeFrame::Null => Reply::Nil,
        RangeFrame::Integer(number) => Reply::Integer(number),
        RangeFrame::SimpleString((from, to)) | RangeFrame::BulkString((from, to)) => {
            Reply::Text(bytes[from..to].to_vec())
        }
        RangeFrame::Error((from, to)) => Reply::Error(String::from_utf8_lossy(&bytes[from..to]).into_owned()),
        RangeFrame::Array(frames) => Reply::List(frames.into_iter().map(|frame| reply(bytes, frame)).collect()),
    }
}

/// Where the first reply ends. O(bytes of it); holds no more than the counts of the lists it is in.
fn end_of_reply(bytes: &[u8]) -> Result<Option<usize>, Rubbish> {
    let mut open = [0usize; limits::REDIS_REPLY_DEPTH_MAX];
    let (mut at, mut depth, mut items) = (0usize, 0usize, 0usize);
    loop {
        if at > limits::REDIS_REPLY_BYTES_MAX {
            return Err(Rubbish);
        }
        let Some(&kind) = bytes.get(at) else { return Ok(None) };
        if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
            return Err(Rubbish);
        }
        let rest = &bytes[at + 1..];
        let Some(cr) = memchr::memchr(b'\r', &rest[..rest.len().min(limits::REDIS_LINE_BYTES_MAX)]) else {
            return if rest.len() >= limits::REDIS_LINE_BYTES_MAX { Err(Rubbish) } else { Ok(None) };
        };
        match rest.get(cr + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(Rubbish),
        }
        let line = &rest[..cr];
        at += cr + 3;
        match kind {
            b'$' => {
                if let Some(len) = length(line)? {
                    if at + len > limits::REDIS_REPLY_BYTES_MAX {
                        return Err(Rubbish);
                    }
                    match bytes.get(at + len..at + len + 2) {
                        None => return Ok(None),
                        Some(b"\r\n") => at += len + 2,
                        Some(_) => return Err(Rubbish),
                    }
                }
            }
            b'*' => {
                let count = length(line)?.unwrap_or(0);
                items += count;
                if items > limits::REDIS_REPLY_ITEMS_MAX {
                    return Err(Rubbish);
                }
                if count > 0 {
                    *open.get_mut(depth).ok_or(Rubbish)? = count;
                    depth += 1;
                    continue;
                }
            }
            _ => {}
        }
        loop {
            if depth == 0 {
                return Ok(Some(at));
            }
            open[depth - 1] -= 1;
            if open[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
    }
}

/// A length in decimal; `None` is -1.
fn length(line: &[u8]) -> Result<Option<usize>, Rubbish> {
    if line == b"-1" {
        return Ok(None);
    }
    if line.is_empty() || line.len() > 9 || !line.iter().all(u8::is_ascii_digit) {
        return Err(Rubbish);
    }
    Ok(Some(line.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::super::call::Shape;
    use super::super::script::TAKE;
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        write_command(&Command::plain("SET", Shape::Any).arg(b"k").arg(b"a\r\n"), false, &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\r\n\r\n");
        let command = Command::script(&TAKE, 1, Shape::Any).arg(b"k").arg(b"1");
        for (whole, begins) in [(false, "*5\r\n$7\r\nEVALSHA\r\n$40\r\n644b"), (true, "*5\r\n$4\r\nEVAL\r\n$")] {
            out.clear();
            write_command(&command, whole, &mut out);
            let text = String::from_utf8(out.clone()).unwrap();
            assert!(text.starts_with(begins) && text.ends_with("\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\n1\r\n"), "{text}");
        }
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        let rows: &[(&str, Reply)] = &[
            ("+OK\r\n", text("OK")),
            (":-42\r\n", Reply::Integer(-42)),
            ("-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            ("$-1\r\n", Reply::Nil),
            ("*-1\r\n", Reply::Nil),
            ("$0\r\n\r\n", text("")),
            ("$4\r\na\r\nb\r\n", text("a\r\nb")),
            ("*0\r\n", Reply::List(vec![])),
            (
                "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n+y\r\n",
                Reply::List(vec![Reply::Integer(1), Reply::List(vec![text("x"), Reply::Nil]), text("y")]),
            ),
        ];
        for (bytes, want) in rows {
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes.as_bytes()[..cut]), Ok(None), "{bytes:?} cut at {cut}");
            }
            let more = format!("{bytes}:7\r\n");
            assert_eq!(read(more.as_bytes()), Ok(Some((want.clone(), bytes.len()))), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_reply_or_too_much_of_one_is_refused() {
        let deep = "*1\r\n".repeat(100_000);
        let long = format!("+{}", "a".repeat(limits::REDIS_LINE_BYTES_MAX));
        let rows = [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            ":x\r\n",
            ":\r\n",
            "$-2\r\n",
            "$+1\r\na\r\n",
            "$1\r\nab\r\n",
            "$99999999999999999999\r\n",
            "$2000000\r\n",
            "*999999999\r\n",
            "+a\rb\r\n",
            "*1\r\n?",
            "%1\r\n+a\r\n+b\r\n",
            &deep,
            &long,
        ];
        for bytes in rows {
            assert_eq!(read(bytes.as_bytes()), Err(Rubbish), "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = crate::base::rng::Rng::new(7);
        let alphabet = b"+-:$*0123456789\r\nab";
        for _ in 0..50_000 {
            let len = rng.below(40);
            let bytes: Vec<u8> = (0..len).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect();
            if let Ok(Some((_, read))) = read(&bytes) {
                assert!(read <= bytes.len() && read > 0);
            }
        }
    }
}
