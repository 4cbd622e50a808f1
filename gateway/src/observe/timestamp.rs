//! Times as text: RFC 3339 in UTC with milliseconds, `2026-01-31T23:59:59.123Z`.

use std::time::{Duration, SystemTime};

/// Appends a time. Times before 1970 are shown as 1970: no clock of ours is set there on purpose.
pub(crate) fn append(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    number(out, year, 4);
    out.push(b'-');
    number(out, month, 2);
    out.push(b'-');
    number(out, day, 2);
    out.push(b'T');
    number(out, second / 3600, 2);
    out.push(b':');
    number(out, second / 60 % 60, 2);
    out.push(b':');
    number(out, second % 60, 2);
    out.push(b'.');
    number(out, u64::from(since.subsec_millis()), 3);
    out.push(b'Z');
}

/// A time as text.
pub(crate) fn text(time: SystemTime) -> String {
    let mut out = Vec::with_capacity(24);
    append(&mut out, time);
    String::from_utf8(out).unwrap_or_default()
}

/// Days since 1970 to year, month, day: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`, for days that are not negative.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn number(out: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b'0' + (value / 10_u64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_704_067_199, "2023-12-31T23:59:59.007Z"),
            (1_709_210_096, "2024-02-29T12:34:56.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(text(SystemTime::UNIX_EPOCH + Duration::new(seconds, 7_000_000)), wanted);
        }
    }
}
