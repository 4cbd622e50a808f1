//! Values of gRPC's metadata: how long a client waits, and texts that stand in a header.

use std::{fmt::Write as _, time::Duration};

/// Longest text of a status. Longer ones meet the limits of headers somewhere on their way.
const LONGEST: usize = 1024;

/// `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// A text as `grpc-message` has it: what is not visible ASCII, and `%`, in hexadecimal.
pub(crate) fn encoded_message(text: &str) -> String {
    let text = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, 0x20..=0x7e) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_number_and_a_unit() {
        for (text, wanted) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("123456789S", None),
            ("1s", None),
            ("1ä", None),
        ] {
            assert_eq!(timeout(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn texts_of_statuses_are_visible_ascii() {
        assert_eq!(encoded_message("a b~"), "a b~");
        assert_eq!(encoded_message("100 %\r\nä"), "100 %25%0D%0A%C3%A4");
        assert_eq!(encoded_message(&"ä".repeat(1000)).len(), 3 * LONGEST);
    }
}
