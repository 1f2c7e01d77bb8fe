//! Time as plain numbers. Clocks are read in `io` only; everything below takes `now` as an argument.

/// Monotonic nanoseconds since an arbitrary start, for latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// `self - earlier`, or 0 where the clock went backwards.
    pub fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same moment for deadlines: both count from the same start.
    pub fn millis(self) -> Millis {
        Millis(self.0 / 1_000_000)
    }
}

/// Monotonic milliseconds since an arbitrary start, for deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Millis(pub u64);

/// Wall-clock milliseconds since 1970-01-01T00:00:00Z, for dates, windows and expiries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct WallMs(pub u64);

impl WallMs {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Writes an IMF-fixdate (RFC 9110 §5.6.7), 29 bytes: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn imf_fixdate(self) -> [u8; 29] {
        const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let (date, secs) = (Date::of(self), self.seconds() % 86_400);
        let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        let day = (self.seconds() / 86_400 % 7) as usize * 3;
        out[..3].copy_from_slice(&DAYS[day..day + 3]);
        two(&mut out[5..7], u64::from(date.day));
        let month = (date.month as usize - 1) * 3;
        out[8..11].copy_from_slice(&MONTHS[month..month + 3]);
        two(&mut out[12..14], u64::from(date.year) / 100);
        two(&mut out[14..16], u64::from(date.year) % 100);
        two(&mut out[17..19], secs / 3600);
        two(&mut out[20..22], secs / 60 % 60);
        two(&mut out[23..25], secs % 60);
        out
    }

    /// Reads a date in any of the three forms that recipients must take (RFC 9110 §5.6.7); `None` where it is none of them,
    /// or before 1970. The day of the week is not checked against the date.
    pub fn of_http_date(text: &[u8]) -> Option<WallMs> {
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let text = std::str::from_utf8(text).ok()?;
        let (weekday, rest) = text.split_once(' ')?;
        if !DAYS.contains(&weekday.get(..3)?) {
            return None;
        }
        let (date, time) = if let Some(rest) = rest.strip_suffix(" GMT").filter(|_| weekday.ends_with(',')) {
            let (date, time) = rest.rsplit_once(' ')?;
            let (day, rest) = date.split_once([' ', '-'])?;
            let (month, year) = rest.split_once([' ', '-'])?;
            ((year, month, day), time)
        } else {
            // Nov  6 08:49:37 1994
            let (month, rest) = rest.split_once(' ')?;
            let (day, rest) = rest.trim_start().split_once(' ')?;
            let (time, year) = rest.split_once(' ')?;
            ((year, month, day), time)
        };
        let (hour, rest) = time.split_once(':')?;
        let (minute, second) = rest.split_once(':')?;
        let [hour, minute, second] = [number(hour, 23)?, number(minute, 59)?, number(second, 60)?];
        let date = Date::of_words(date)?;
        let seconds = u64::from(hour * 3600 + minute * 60 + second);
        Some(WallMs(date.midnight().0 + seconds * 1000))
    }
}

/// One or two digits, four for what may be larger than 99.
fn number(text: &str, max: u32) -> Option<u32> {
    let digits = text.len() <= if max > 99 { 4 } else { 2 } && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok()? } else { return None };
    (number <= max).then_some(number)
}

fn two(out: &mut [u8], n: u64) {
    out[0] = b'0' + (n / 10 % 10) as u8;
    out[1] = b'0' + (n % 10) as u8;
}

/// A UTC calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Year, e.g. 2026.
    pub year: u32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, 1 to 31.
    pub day: u32,
}

impl Date {
    /// The UTC day that `at` falls in. O(1); proleptic Gregorian, by counting eras of 400 years from 1 March.
    pub fn of(at: WallMs) -> Date {
        let days = at.seconds() / 86_400 + 719_468;
        let era = days / 146_097;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * month_shifted + 2) / 5 + 1) as u32;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 } as u32;
        let year = (year_of_era + era * 400 + u64::from(month <= 2)) as u32;
        Date { year, month, day }
    }

    /// Year, month (`Nov`) and day as dates of HTTP write them. A year of two digits is of the 20th or 21st century.
    fn of_words((year, month, day): (&str, &str, &str)) -> Option<Date> {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = MONTHS.iter().position(|&name| name == month)? as u32 + 1;
        let year = match (year.len(), number(year, 9999)?) {
            (2, year) if year < 70 => year + 2000,
            (2, year) => year + 1900,
            (4, year) if year >= 1970 => year,
            _ => return None,
        };
        let date = Date { year, month, day: number(day, 31)? };
        // The 31st of a short month would be some day of the next.
        (date.day > 0 && Date::of(date.midnight()) == date).then_some(date)
    }

    /// Midnight of this day.
    pub fn midnight(self) -> WallMs {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, year_of_era) = (u64::from(year / 400), u64::from(year % 400));
        let month_shifted = u64::from((self.month + 9) % 12);
        let of_year = (153 * month_shifted + 2) / 5 + u64::from(self.day) - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        WallMs((era * 146_097 + of_era - 719_468) * 86_400_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_rfc_writes_them() {
        let rows: &[(u64, &str)] = &[
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_478_399, "Mon, 23 Nov 2026 23:59:59 GMT"),
        ];
        for &(secs, want) in rows {
            assert_eq!(std::str::from_utf8(&WallMs(secs * 1000).imf_fixdate()), Ok(want));
        }
    }

    #[test]
    fn dates_are_read_in_three_forms() {
        let at = Some(WallMs(784_111_777_000));
        let rows: &[(&str, Option<WallMs>)] = &[
            ("Sun, 06 Nov 1994 08:49:37 GMT", at),
            ("Sunday, 06-Nov-94 08:49:37 GMT", at),
            ("Sun Nov  6 08:49:37 1994", at),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(WallMs(0))),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(WallMs(951_782_400_000))),
            ("Sat, 31 Dec 2016 23:59:60 GMT", Some(WallMs(1_483_228_800_000))),
            ("Mon, 29 Feb 2021 00:00:00 GMT", None),
            ("Mon, 00 Feb 2021 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 08:49:37 +0100", None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None),
            ("Sun, 06 Nov 1994 -1:49:37 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("Sun, 06 Nov 99999 08:49:37 GMT", None),
            ("Fun, 06 Nov 1994 08:49:37 GMT", None),
            ("\u{e9}\u{e9}, 06 Nov 1994 08:49:37 GMT", None),
            ("784111777", None),
            ("", None),
            (" ", None),
        ];
        for &(text, want) in rows {
            assert_eq!(WallMs::of_http_date(text.as_bytes()), want, "{text}");
        }
        assert_eq!(WallMs::of_http_date(b"\xff, 06 Nov 1994 08:49:37 GMT"), None);
    }

    #[test]
    fn midnight_undoes_the_calendar() {
        for day in 0..60_000u64 {
            let at = WallMs(day * 86_400_000);
            assert_eq!(Date::of(at).midnight(), at);
        }
    }
}
