//! The server name of a ClientHello, before any state is made for its sender (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! Only looked at, never trusted: what cannot be read here is refused by the handshake itself.

/// The first handshake message of what was received, without its four bytes of head; `None` while a part is missing, or
/// where it is none.
fn message(bytes: &[u8]) -> Option<Vec<u8>> {
    const HANDSHAKE: u8 = 22;
    let (mut joined, mut rest) = (Vec::new(), bytes);
    loop {
        let [HANDSHAKE, _, _, a, b, behind @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        joined.extend_from_slice(behind.get(..length)?);
        rest = &behind[length..];
        if let [_, a, b, c, ..] = joined[..] {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if joined.len() >= 4 + length {
                joined.truncate(4 + length);
                joined.drain(..4);
                return Some(joined);
            }
        }
    }
}

/// Cuts `bytes` with a length of `width` before them off `rest`.
fn cut<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = rest.get(..width)?.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    let bytes = rest.get(width..width + length)?;
    *rest = &rest[width + length..];
    Some(bytes)
}

/// What a ClientHello says of whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// A part is missing.
    Partial,
    /// It is whole; the name in lower case, where it has one.
    Whole(Option<String>),
}

/// Looks at the bytes a client began with.
pub fn look(bytes: &[u8]) -> Hello {
    match message(bytes) {
        None => Hello::Partial,
        Some(hello) => Hello::Whole(server_name(&hello)),
    }
}

fn server_name(hello: &[u8]) -> Option<String> {
    // Version and random, then session id, cipher suites, compression methods.
    let mut rest = hello.get(2 + 32..)?;
    cut(&mut rest, 1)?;
    cut(&mut rest, 2)?;
    cut(&mut rest, 1)?;
    let mut extensions = cut(&mut rest, 2)?;
    while let [a, b, ..] = *extensions {
        extensions = &extensions[2..];
        let mut body = cut(&mut extensions, 2)?;
        if [a, b] == [0, 0] {
            let mut names = cut(&mut body, 2)?;
            let ([0, ..], Some(rest)) = (names, names.get(1..)) else { return None };
            names = rest;
            let name = std::str::from_utf8(cut(&mut names, 2)?).ok()?;
            let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            return (name.bytes().all(sound) && !name.is_empty() && name.len() < 254)
                .then(|| name.to_ascii_lowercase());
        }
    }
    None
}

/// Is this the beginning of a request in the clear? A client that took the port for another.
pub fn is_plain_http(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] =
        [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT ", b"PRI * "];
    METHODS.iter().any(|method| bytes.starts_with(method) || !bytes.is_empty() && method.starts_with(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn hello(name: &str) -> Vec<u8> {
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut out = Vec::new();
        client.write_tls(&mut out).expect("to memory");
        out
    }

    #[test]
    fn the_name_is_found_wherever_the_hello_is_cut() {
        let bytes = hello("A.example.test");
        assert_eq!(look(&bytes), Hello::Whole(Some("a.example.test".into())));
        for end in 0..bytes.len() {
            assert_eq!(look(&bytes[..end]), Hello::Partial, "cut at {end}");
        }
        // One message over two records.
        let (a, b) = bytes[5..].split_at(40);
        let record = |part: &[u8]| [&[22, 3, 1, (part.len() >> 8) as u8, part.len() as u8], part].concat();
        assert_eq!(look(&[record(a), record(b)].concat()), Hello::Whole(Some("a.example.test".into())));
    }

    #[test]
    fn an_address_is_no_name() {
        assert_eq!(look(&hello("127.0.0.1")), Hello::Whole(None));
    }

    #[test]
    fn requests_in_the_clear_are_known() {
        assert!(is_plain_http(b"GET / HTTP/1.1\r\n") && is_plain_http(b"PO"));
        assert!(!is_plain_http(b"\x16\x03\x01") && !is_plain_http(b""));
    }
}
