//! A request head: what we accept httparse accepts and reads the same; how it was cut changes nothing; what we forward is
//! a head that we accept again, with the same framing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::http::headers::Drop;
use ringway::http::{encode, framing, Target};
use ringway::{check_fields, read, Said};

fuzz_target!(|input: &[u8]| {
    let Some((&cut, buf)) = input.split_first() else { return };
    let (said, head) = read(buf, 0, false);
    assert_eq!(read(buf, usize::from(cut), false).0, said);
    let Said::Read(len, ..) = said else { return };
    check_fields(buf, &head);

    let on = head.on(buf);
    // httparse gives the target as text; we leave that question to `Target`, which refuses what is no UTF-8.
    if std::str::from_utf8(on.target()).is_err() {
        assert!(Target::of(on).is_err());
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut fields);
    match theirs.parse(buf) {
        // It knows no minor version above 1; that difference is meant.
        Err(httparse::Error::Version) => return,
        parsed => assert_eq!(parsed, Ok(httparse::Status::Complete(len))),
    }
    assert_eq!(theirs.method.map(str::as_bytes), Some(on.method_bytes()));
    assert_eq!(theirs.path.map(str::as_bytes), Some(on.target()));
    assert_eq!(theirs.headers.len(), head.fields.len());
    for (field, (_, name, value)) in theirs.headers.iter().zip(on.fields()) {
        assert_eq!((field.name.as_bytes(), field.value), (name, value));
    }

    let (Ok(target), Ok(length), Ok(drop)) = (Target::of(on), framing::of_request(on), Drop::of_request(on)) else {
        return;
    };
    let Ok(host) = framing::host_of(on, &target) else { return };
    let mut out = Vec::new();
    encode::request_line(on.method_bytes(), on.target(), b"", &mut out);
    encode::fields(on, &drop, &mut out);
    if length == framing::Length::Chunked {
        encode::length(length, &mut out);
    }
    if !on.has(ringway::http::Known::Host) {
        encode::field(b"Host", host.map_or(b"none", |host| host.sent), &mut out);
    }
    encode::end(&mut out);
    let (again, sent) = read(&out, 0, false);
    let fresh_is_full = matches!(again, Said::Refused(fault) if fault.status() == 431);
    assert!(fresh_is_full || matches!(again, Said::Read(len, ..) if len == out.len()), "{again:?}");
    if !fresh_is_full {
        assert_eq!(framing::of_request(sent.on(&out)), Ok(length));
        assert!(sent.fields.iter().all(|field| field.plain));
    }
});
