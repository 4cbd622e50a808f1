//! Times as people ask for them: text in, a minute out. Pure.

use std::time::{Duration, SystemTime};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The minute (since 1970) that a text names: `2026-11-28`, `2026-11-28T19:30:00Z` (with seconds, fractions and an offset,
/// or without), seconds since 1970, or a time before `now` like `90m`, `24h` or `7d`. `up`: the next whole minute.
pub(crate) fn minute(text: &str, now: SystemTime, up: bool) -> Result<i64, String> {
    let seconds = back(text, now).or_else(|| text.parse().ok()).or_else(|| calendar(text));
    let seconds = seconds.filter(|seconds| (0..=i64::from(u32::MAX) * 60).contains(seconds));
    match seconds {
        Some(seconds) => Ok((seconds + if up { 59 } else { 0 }).div_euclid(60)),
        None => Err(format!(
            "{text:?} is not a time like 2026-11-28, 2026-11-28T19:30:00Z, seconds since 1970, or 24h ago as 24h"
        )),
    }
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn back(text: &str, now: SystemTime) -> Option<i64> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY.cast_unsigned(),
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let time = now.checked_sub(Duration::from_secs(count.checked_mul(seconds)?));
    Some(time.map_or(0, unix))
}

fn calendar(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-').map(|part| number(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=longest).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * DAY + time.map_or(Some(0), clock)?)
}

/// Seconds of a day, less the offset.
fn clock(text: &str) -> Option<i64> {
    let (text, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => {
            let (time, zone) = text.split_at(at);
            (time, offset(zone)?)
        }
        None => (text, 0),
    };
    let whole = match text.split_once('.') {
        Some((whole, fraction)) => {
            let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
            whole.get(..8).filter(|_| is_number && whole.len() == 8)?
        }
        None => text,
    };
    let mut parts = whole.split(':').map(|part| number(part, 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().map_or(Some(0), |second| second)?;
    let is_real = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    is_real.then(|| hour * 3600 + minute * 60 + second - offset)
}

fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (number(hours, 2)? * 3600 + number(minutes, 2)? * 60))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Days since 1970: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_and_become_minutes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_030);
        for (text, down, up) in [
            ("1970-01-01", 0, 0),
            ("2000-02-29", 15_863_040, 15_863_040),
            ("2026-11-28T19:30:00Z", 29_931_570, 29_931_570),
            ("2026-11-28T19:30", 29_931_570, 29_931_570),
            ("2026-11-28T20:30:01.5+01:00", 29_931_570, 29_931_571),
            ("2026-11-28 18:00:00-01:30", 29_931_570, 29_931_570),
            ("1795894200", 29_931_570, 29_931_570),
            ("30s", 16_666_666, 16_666_667),
            ("1d", 16_665_227, 16_665_228),
            ("99999999h", 0, 0),
        ] {
            assert_eq!(minute(text, now, false), Ok(down), "{text}");
            assert_eq!(minute(text, now, true), Ok(up), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-11-28T25:00:00Z",
            "-5",
            "5w",
            "ä",
            "2026-11-28T19:30:00.Z",
            "2026-11-28T1:30",
            "d",
        ] {
            assert!(minute(text, now, false).is_err(), "{text}");
        }
    }
}
