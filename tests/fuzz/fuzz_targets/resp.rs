//! What a Redis answers: it is read within its bytes, the same however it is cut, and what is said of slots and masters in
//! it brings nobody down.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::redis::cluster::{Redirect, SlotMap, SLOTS};
use ringway::redis::{codec, sentinel, Host, Reply};

fuzz_target!(|bytes: &[u8]| {
    let mut at = 0;
    while let Ok(Some((reply, len))) = codec::read(&bytes[at..]) {
        assert!(len > 0 && at + len <= bytes.len());
        for cut in 0..len {
            assert_eq!(codec::read(&bytes[at..at + cut]), Ok(None));
        }
        let from = Host::new("10.0.0.1", 6379);
        if let Some(map) = SlotMap::of_reply(&reply, &from) {
            for slot in 0..SLOTS {
                let _ = map.node_of(slot);
            }
        }
        if let Reply::Error(error) = &reply {
            let _ = Redirect::of(error, &from);
        }
        let _ = (sentinel::master(&reply), sentinel::is_master(&reply));
        at += len;
    }
});
