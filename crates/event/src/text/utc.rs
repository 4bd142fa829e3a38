//! Unix milliseconds as a date and time.

use std::fmt;

/// Displays Unix milliseconds as RFC 3339 in UTC: `2026-01-31T23:59:59.999Z`. Years that RFC 3339
/// does not have come with their sign and all their digits; 0, which stands for "not known" in
/// events, as `-`.
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub i64);

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

// === impl Utc ===

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = date(days);
        let (s, ms) = (ms / 1000, ms % 1000);
        let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+}")?,
        }
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years are counted from March, so that the
/// day that comes and goes is the last one.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_1970_FROM_0000_03_01: i64 = 719_468;
    let days = days + DAYS_TO_1970_FROM_0000_03_01;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day / 1460 - day / 36_524 + day / 146_096;
    let year = (day - leap_days) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days, whichever they are.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (year + era * 400, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_dates_as_rfc_3339() {
        let cases = [
            (1, "1970-01-01T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_760_000_000_123, "2025-10-09T08:53:20.123Z"),
            (0, "-"),
        ];
        for (ms, text) in cases {
            assert_eq!(Utc(ms).to_string(), text);
        }
    }

    #[test]
    fn shows_the_ends_of_time() {
        assert_eq!(Utc(i64::MAX).to_string(), "+292278994-08-17T07:12:55.807Z");
        assert_eq!(Utc(i64::MIN).to_string(), "-292275055-05-16T16:47:04.192Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(-800_000);
        for days in -799_999..800_000 {
            let next = date(days);
            let (year, month, day) = last;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            assert_eq!(next, expected);
            last = next;
        }
    }
}
