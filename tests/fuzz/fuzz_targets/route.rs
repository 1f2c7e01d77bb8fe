//! The compiled table of routes and the linear scan that defines it, on whatever routes and requests the bytes make:
//! same route, same length, same groups.
//!
//! Line of the package's `Cargo.toml`: `[[bin]]`, `name = "route"`, `path = "fuzz_targets/route.rs"`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ringway::route::wild::agree(bytes));
