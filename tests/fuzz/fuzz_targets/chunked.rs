//! A chunked body: pieces change nothing, httparse agrees on the sizes we accept, and what we write again decodes to the
//! same payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::http::chunked::{encode_size, write_end, Decoder, Step, CHUNK_END};
use ringway::http::Fault;

type Body = (Vec<u8>, Vec<u8>, usize);

fn decode(input: &[u8], piece: usize) -> Result<Option<Body>, Fault> {
    let (mut decoder, mut payload) = (Decoder::new(), Vec::new());
    let (mut at, mut end) = (0, 0);
    loop {
        let window = &input[at..end];
        match decoder.step(window)? {
            Step::Data { data } => {
                assert!(!data.is_empty());
                payload.extend_from_slice(&window[data.clone()]);
                at += data.end;
            }
            Step::Done { used, trailers } => return Ok(Some((payload, window[trailers].to_vec(), at + used))),
            Step::NeedMore { used } => {
                at += used;
                if end == input.len() {
                    return Ok(None);
                }
                end = (end + piece).min(input.len());
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, wire)) = input.split_first() else { return };
    let whole = decode(wire, wire.len().max(1));
    assert_eq!(decode(wire, usize::from(piece) + 1), whole);
    let Ok(Some((payload, trailers, used))) = whole else { return };
    assert!(used <= wire.len() && used >= 5);
    if let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(wire) {
        assert!(payload.len() as u64 >= size);
    } else {
        panic!("httparse refuses a size that we accept");
    }
    let mut again = Vec::new();
    if !payload.is_empty() {
        encode_size(payload.len() as u64, &mut again);
        again.extend_from_slice(&payload);
        again.extend_from_slice(CHUNK_END);
    }
    write_end(&trailers, &mut again);
    let (same, kept, len) = decode(&again, again.len()).expect("ours is sound").expect("ours is whole");
    assert_eq!((same, len), (payload, again.len()));
    assert!(kept.len() <= trailers.len() + 128);
});
