//! Fixed windows: UTC calendar periods, each with its end. Pure arithmetic on the wall clock.

use crate::base::time::{Date, WallMs};

/// A calendar period, shortest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Period {
    /// One second.
    Second,
    /// 60 s, from second 0.
    Minute,
    /// 3600 s, from minute 0.
    Hour,
    /// 86 400 s, from midnight UTC.
    Day,
    /// From midnight UTC of the 1st.
    Month,
    /// From midnight UTC of 1 January.
    Year,
}

impl Period {
    /// All of them, shortest first.
    pub const ALL: [Period; 6] =
        [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month, Period::Year];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Month => "month",
            Period::Year => "year",
        }
    }

    /// Seconds it counts as when a client is told when to come back: months and years are 30 and 365 days long.
    pub fn nominal_s(self) -> u32 {
        match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
            Period::Day => 86_400,
            Period::Month => 2_592_000,
            Period::Year => 31_536_000,
        }
    }

    /// The window of this period that `now` falls in. O(1).
    pub fn window(self, now: WallMs) -> Window {
        // 2106 is when u32 seconds end; a clock beyond it stands still here instead of wrapping.
        let now_s = now.seconds().min(u64::from(u32::MAX) - 1);
        let date = || Date::of(WallMs(now_s * 1000));
        let (start, end) = match self {
            Period::Second | Period::Minute | Period::Hour | Period::Day => {
                let len = u64::from(self.nominal_s());
                let start = now_s - now_s % len;
                (start, start + len)
            }
            Period::Month => {
                let date = Date { day: 1, ..date() };
                let next = if date.month == 12 {
                    Date { year: date.year + 1, month: 1, day: 1 }
                } else {
                    Date { month: date.month + 1, ..date }
                };
                (date.midnight().seconds(), next.midnight().seconds())
            }
            Period::Year => {
                let date = Date { month: 1, day: 1, ..date() };
                (date.midnight().seconds(), Date { year: date.year + 1, ..date }.midnight().seconds())
            }
        };
        let clip = |at: u64| at.min(u64::from(u32::MAX)) as u32;
        Window { start_s: clip(start), end_s: clip(end) }
    }
}

impl Period {
    /// The window before `window`.
    pub fn before(self, window: Window) -> Window {
        self.window(WallMs((u64::from(window.start_s) * 1000).saturating_sub(1)))
    }

    /// Is its number odd? Of two windows in a row one is.
    pub fn is_odd(self, window: Window) -> bool {
        let date = || Date::of(WallMs(u64::from(window.start_s) * 1000));
        match self {
            Period::Second | Period::Minute | Period::Hour | Period::Day => window.start_s / self.nominal_s() % 2 == 1,
            Period::Month => date().month % 2 == 1,
            Period::Year => date().year % 2 == 1,
        }
    }
}

/// One window, in whole seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Its first second.
    pub start_s: u32,
    /// The first second after it.
    pub end_s: u32,
}

impl Window {
    /// Seconds from its start to its end.
    pub fn len_s(self) -> u32 {
        self.end_s - self.start_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_utc_calendar() {
        // (period, now in ms, start, end): checked with `date -u -d @…`.
        let rows: &[(Period, u64, u32, u32)] = &[
            (Period::Second, 1_795_478_399_999, 1_795_478_399, 1_795_478_400),
            (Period::Minute, 1_795_478_399_999, 1_795_478_340, 1_795_478_400),
            (Period::Minute, 1_795_478_400_000, 1_795_478_400, 1_795_478_460),
            (Period::Hour, 1_795_478_399_999, 1_795_474_800, 1_795_478_400),
            (Period::Day, 1_795_478_399_999, 1_795_392_000, 1_795_478_400),
            // November 2026 and the whole of that year.
            (Period::Month, 1_795_478_399_999, 1_793_491_200, 1_796_083_200),
            (Period::Year, 1_795_478_399_999, 1_767_225_600, 1_798_761_600),
            // The last instant of 2026, the first of 2027.
            (Period::Month, 1_798_761_599_999, 1_796_083_200, 1_798_761_600),
            (Period::Month, 1_798_761_600_000, 1_798_761_600, 1_801_440_000),
            // 29 February 2028.
            (Period::Month, 1_835_395_200_000, 1_832_976_000, 1_835_481_600),
            (Period::Year, 0, 0, 31_536_000),
        ];
        for &(period, now, start_s, end_s) in rows {
            assert_eq!(period.window(WallMs(now)), Window { start_s, end_s }, "{period:?} at {now}");
        }
    }

    #[test]
    fn a_window_holds_its_moment_and_ends_where_the_next_begins() {
        let mut now = WallMs(0);
        while now.0 < 4_200_000_000_000 {
            for period in Period::ALL {
                let window = period.window(now);
                assert!(u64::from(window.start_s) <= now.seconds() && now.seconds() < u64::from(window.end_s));
                let next = period.window(WallMs(u64::from(window.end_s) * 1000));
                assert_eq!(next.start_s, window.end_s, "{period:?} at {now:?}");
                assert_eq!(period.before(next), window);
                assert_ne!(period.is_odd(next), period.is_odd(window));
            }
            now.0 += 997 * 86_400_000 / 10 + 12_345;
        }
    }
}
