//! Fails on purpose: run it to know that a failure is seen. It must stop within seconds with a crash artifact.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::{read, Said};

fuzz_target!(|input: &[u8]| {
    assert!(!matches!(read(input, 0, false).0, Said::Read(..)), "the alarm works: a head was accepted");
});
