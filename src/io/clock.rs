//! The clocks. Everything below `io` takes what they say as an argument.
#![expect(unsafe_code, reason = "clock_gettime of the coarse clocks, which std does not offer")]

use crate::base::time::{Millis, Nanos, WallMs};

fn read(clock: libc::clockid_t) -> (u64, u64) {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `at` is a valid timespec to write to; the call reads and keeps nothing else.
    let result = unsafe { libc::clock_gettime(clock, &mut at) };
    debug_assert_eq!(result, 0, "the clocks asked for here are in every Linux since 2.6.32");
    (at.tv_sec as u64, at.tv_nsec as u64)
}

/// The monotonic clock, for latencies; ~20 ns a reading.
pub fn nanos() -> Nanos {
    let (secs, nanos) = read(libc::CLOCK_MONOTONIC);
    Nanos(secs * 1_000_000_000 + nanos)
}

/// The monotonic clock as of the last tick (1–4 ms), for deadlines; ~6 ns a reading.
pub fn millis() -> Millis {
    let (secs, nanos) = read(libc::CLOCK_MONOTONIC_COARSE);
    Millis(secs * 1000 + nanos / 1_000_000)
}

/// The wall clock as of the last tick (1–4 ms), for dates, windows and logs; ~6 ns a reading.
pub fn wall() -> WallMs {
    let (secs, nanos) = read(libc::CLOCK_REALTIME_COARSE);
    WallMs(secs * 1000 + nanos / 1_000_000)
}

/// The wall clock, exact to the ms.
pub fn wall_exact() -> WallMs {
    let (secs, nanos) = read(libc::CLOCK_REALTIME);
    WallMs(secs * 1000 + nanos / 1_000_000)
}
