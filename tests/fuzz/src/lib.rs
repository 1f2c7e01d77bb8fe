//! The pure rooms of the gateway, compiled for fuzzing, and the judges that several targets share.

#[path = "../../../src/base/mod.rs"]
pub mod base;
#[path = "../../../src/http/mod.rs"]
pub mod http;
#[path = "../../../src/plan/mod.rs"]
pub mod plan;
#[path = "../../../src/redis/mod.rs"]
pub mod redis;
#[path = "../../../src/route/mod.rs"]
pub mod route;

use http::parse::{Parser, Progress};
use http::{Fault, Field, Head};

/// What a parser said, in a form that can be compared.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// The head is not whole.
    Partial,
    /// It is refused.
    Refused(Fault),
    /// It was read: bytes, version, method or status, start-line parts, fields.
    Read(usize, String, Vec<Field>),
}

/// Reads the head in two pieces cut by `cut`, or in one when `cut` is 0.
pub fn read(buf: &[u8], cut: usize, reply: bool) -> (Said, Head) {
    let (mut parser, mut head) = (Parser::default(), Head::new());
    let mut step =
        |buf: &[u8], head: &mut Head| if reply { parser.reply(buf, head) } else { parser.request(buf, head) };
    let mut result = Ok(Progress::Partial);
    if cut > 0 {
        result = step(&buf[..cut.min(buf.len())], &mut head);
    }
    if result == Ok(Progress::Partial) {
        result = step(buf, &mut head);
    }
    let said = match result {
        Ok(Progress::Partial) => Said::Partial,
        Err(fault) => Said::Refused(fault),
        Ok(Progress::Done) => {
            let line = format!(
                "{:?} {:?} {} {:?} {:?} {:?}",
                head.version, head.method, head.status, head.method_part, head.target_part, head.reason_part
            );
            Said::Read(head.len, line, head.fields.clone())
        }
    };
    (said, head)
}

/// The fields of a head that was read are tokens and clean values, in order, inside the head.
pub fn check_fields(buf: &[u8], head: &Head) {
    let mut end = 0;
    for (field, name, value) in head.on(buf).fields() {
        assert!(field.name_at as usize >= end);
        end = (field.value_at + field.value_len) as usize;
        assert!(end + 2 <= head.len - 2);
        assert!(
            !name.is_empty()
                && name.iter().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte))
        );
        assert!(!value.iter().any(|&byte| byte < 0x20 && byte != b'\t' || byte == 0x7f));
        assert_eq!(http::headers::trim(value), value);
        assert_eq!(field.id, http::Known::classify(name));
    }
    assert!(buf[..head.len].ends_with(b"\r\n\r\n"));
}
