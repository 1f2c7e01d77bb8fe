//! A reply head: as for requests, except for what only requests have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::http::{framing, Method};
use ringway::{check_fields, read, Said};

fuzz_target!(|input: &[u8]| {
    let Some((&cut, buf)) = input.split_first() else { return };
    let (said, head) = read(buf, 0, true);
    assert_eq!(read(buf, usize::from(cut), true).0, said);
    let Said::Read(len, ..) = said else { return };
    check_fields(buf, &head);
    assert!((100..=999).contains(&head.status));

    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut fields);
    match theirs.parse(buf) {
        // It knows no minor version above 1; that difference is meant.
        Err(httparse::Error::Version) => return,
        parsed => assert_eq!(parsed, Ok(httparse::Status::Complete(len))),
    }
    assert_eq!(theirs.code, Some(head.status));
    let on = head.on(buf);
    assert_eq!(theirs.headers.len(), head.fields.len());
    for (field, (_, name, value)) in theirs.headers.iter().zip(on.fields()) {
        assert_eq!((field.name.as_bytes(), field.value), (name, value));
    }
    for method in [Method::Get, Method::Head] {
        if let Ok(length) = framing::of_reply(on, method) {
            assert!(method != Method::Head || length == framing::Length::None);
        }
    }
});
