//! A request-target: what is accepted has a normal form that is normal, is encoded to visible ASCII, and means the same
//! after encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::http::target::{encode_path, encode_query, normalize, Normal};
use ringway::http::{query, Head, Method, Part, Target};

fn normal(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match normalize(path, &mut out) {
        Normal::Already => path.to_vec(),
        Normal::Rewritten => out,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&method, raw)) = input.split_first() else { return };
    if raw.iter().any(|&byte| byte <= 0x20 || byte == 0x7f) {
        return; // The parser lets no such byte into a target.
    }
    let mut head = Head::new();
    head.method = [Method::Get, Method::Options, Method::Connect, Method::Other][usize::from(method & 3)];
    head.target_part = Part::new(0, raw.len());
    let Ok(target) = Target::of(head.on(raw)) else { return };
    let path = target.path(raw);
    if path.starts_with(b"/") {
        let once = normal(path);
        assert_eq!(normal(&once), once);
        assert!(!once.windows(2).any(|pair| pair == b"//"));
        assert!(!once.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b".."));
        let mut wire = Vec::new();
        encode_path(&once, &mut wire);
        assert!(wire.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'?' && *byte != b'#'));
        assert_eq!(normal(&wire), once);
    }
    let (mut scratch, mut out, mut wire) = (Vec::new(), Vec::new(), Vec::new());
    let pairs = target.query(raw).unwrap_or(b"");
    assert!(!query::remove(pairs, |_| false, &mut scratch, &mut out));
    assert_eq!(out, pairs);
    encode_query(pairs, &mut wire);
    assert!(wire.iter().all(|byte| (0x21..0x7f).contains(byte)));
});
