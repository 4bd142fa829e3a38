//! Places in a source's history, as people name them: `offset:EPOCH:OFFSET`, `time:2026-01-31T12:00:00Z`.

use apply::replay::{Origin, Place};

/// Milliseconds of a minute and of a day.
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Where to begin.
///
/// # Errors
/// What it has to look like.
pub(super) fn origin(text: &str) -> Result<Origin, String> {
    match text {
        "snapshot" => Ok(Origin::Snapshot),
        "beginning" => Ok(Origin::Beginning),
        other => place(other).map(Origin::At).map_err(|what| {
            format!("is {other:?}, it has to be snapshot, beginning or a place, {what}")
        }),
    }
}

/// Where to end.
///
/// # Errors
/// What it has to look like.
pub(super) fn until(text: &str) -> Result<Place, String> {
    place(text).map_err(|what| format!("is {text:?}, it has to be a place, {what}"))
}

fn place(text: &str) -> Result<Place, String> {
    let form = || {
        "offset:EPOCH:OFFSET, offset:OFFSET, time:2026-01-31T12:00:00Z or time:MILLISECONDS"
            .to_owned()
    };
    if let Some(time) = text.strip_prefix("time:") {
        let ms = time.parse().ok().or_else(|| rfc_3339(time));
        return ms.map(Place::TimeMs).ok_or_else(form);
    }
    let place = text.strip_prefix("offset:").ok_or_else(form)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| form());
    match place.split_once(':') {
        Some((epoch, offset)) => {
            Ok(Place::Offset { epoch: Some(number(epoch)?), offset: number(offset)? })
        }
        None => Ok(Place::Offset { epoch: None, offset: number(place)? }),
    }
}

/// A date and time with its distance from UTC, as Unix milliseconds.
fn rfc_3339(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at_checked(at)?;
    let date: [i64; 3] = numbers(date, '-', &[4, 2, 2])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second]: [i64; 3] = numbers(time, ':', &[2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let zone_ms = match zone {
        "Z" | "z" => 0,
        zone => {
            let (sign, zone) = zone.split_at_checked(1)?;
            let [hours, minutes]: [i64; 2] = numbers(zone, ':', &[2, 2])?;
            let ms = (hours * 60 + minutes) * MINUTE_MS;
            if sign == "-" { -ms } else { ms }
        }
    };
    let of_day = (hour * 60 + minute) * MINUTE_MS + second * 1_000 + ms;
    Some(days(date)? * DAY_MS + of_day - zone_ms)
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: &[usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == *digits)?;
        *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// Days from 1970-01-01 to a date that there is. Years are counted from March, so that the day that comes and goes is
/// the last one.
fn days([year, month, day]: [i64; 3]) -> Option<i64> {
    const DAYS_TO_1970_FROM_0000_03_01: i64 = 719_468;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let of_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=of_month).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(365 * year + leap_days + of_year - DAYS_TO_1970_FROM_0000_03_01)
}

#[cfg(test)]
mod tests {
    use event::text::Utc;

    use super::*;

    #[test]
    fn a_time_is_what_it_is_shown_as() {
        for ms in [1, 951_782_400_000, 1_709_164_799_999, 1_795_000_000_123, 4_102_444_800_000] {
            assert_eq!(rfc_3339(&Utc(ms).to_string()), Some(ms), "{}", Utc(ms));
        }
        assert_eq!(rfc_3339("2026-11-22T21:00:00+01:30"), rfc_3339("2026-11-22 19:30:00Z"));
        assert_eq!(rfc_3339("2026-11-22T21:00:00.5-01:00"), rfc_3339("2026-11-22T22:00:00.500Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-1-01T00:00:00Z",
            "2026-01-01T00:00:00.xZ",
            "yesterday",
            "",
        ] {
            assert_eq!(rfc_3339(text), None, "{text}");
        }
    }

    #[test]
    fn places_are_read_as_they_are_shown() {
        assert_eq!(origin("snapshot"), Ok(Origin::Snapshot));
        assert_eq!(origin("beginning"), Ok(Origin::Beginning));
        let offset = Place::Offset { epoch: Some(7), offset: 500 };
        assert_eq!(origin("offset:7:500"), Ok(Origin::At(offset)));
        assert_eq!(until("offset:500"), Ok(Place::Offset { epoch: None, offset: 500 }));
        assert_eq!(until("time:1500"), Ok(Place::TimeMs(1_500)));
        assert_eq!(until("time:1970-01-01T00:00:02Z"), Ok(Place::TimeMs(2_000)));
        for text in ["500", "offset:a:5", "time:", "snapshot", "offset:1:2:3"] {
            assert!(until(text).is_err(), "{text}");
        }
    }
}
