//! One text to one value. Each function says in its error what it did not understand and what would be right.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

/// Longest time that a setting may name. Ten years: beyond it a typing error is more likely than a wish, and sums
/// of two such times still fit every clock.
const LONGEST: f64 = 10.0 * 365.0 * 86_400.0;

/// A port that can be bound.
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a port between 1 and 65535")),
        Ok(port) => Ok(port),
    }
}

/// An address to bind: IPv4, IPv6 with or without brackets, or `localhost`.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("{text:?} is not an IP address or localhost"))
}

/// A whole number of at least one.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a whole number of at least 1")),
        Ok(count) => Ok(count),
    }
}

/// A number of mebibytes, in bytes.
pub(super) fn mebibytes(text: &str) -> Result<u64, String> {
    let bytes =
        text.parse().ok().filter(|count| *count > 0).and_then(|count: u64| count.checked_mul(1 << 20));
    bytes.ok_or_else(|| format!("{text:?} is not a whole number of megabytes of at least 1"))
}

/// Bytes: a number, or one with `KiB`, `MiB` or `GiB` (also `KB`, `MB`, `GB`, which mean the same here).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" | "KB" | "K" => 1 << 10,
        "MiB" | "MB" | "M" => 1 << 20,
        "GiB" | "GB" | "G" => 1 << 30,
        _ => 0,
    };
    let bytes =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("{text:?} is not a size like 65536, 64KiB or 10MiB"))
}

/// A time: seconds, or a number with `ms`, `s`, `m`, `h` or `d`. Zero is a time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => f64::NAN,
    };
    let seconds = number.parse::<f64>().map_or(f64::NAN, |number| number * factor);
    if (0.0..=LONGEST).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(format!("{text:?} is not a time like 30, 1.5s, 500ms, 2m or 1h"))
}

/// A time that is not zero: a limit of nothing would fail everything.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    time(text)
        .and_then(|time| if time.is_zero() { Err(format!("{text:?} must be more than 0")) } else { Ok(time) })
}

/// Yes or no.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is not true or false")),
    }
}

/// The least level that is logged; any case, `warning` as other runtimes write it.
pub(super) fn level(text: &str) -> Result<tracing::Level, String> {
    let lower = text.to_ascii_lowercase();
    let name = if lower == "warning" { "warn" } else { &lower };
    let known = ["trace", "debug", "info", "warn", "error"].contains(&name);
    known
        .then(|| tracing::Level::from_str(name).ok())
        .flatten()
        .ok_or_else(|| format!("{text:?} is not one of trace, debug, info, warn, error"))
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.trim(), unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_between_1_and_65535() {
        assert_eq!(port("1"), Ok(1));
        assert_eq!(port("65535"), Ok(65535));
        for text in ["0", "", "x", "65536", "-1", "80 ", "8e3", "0x50", "8000.0"] {
            assert_eq!(port(text), Err(format!("{text:?} is not a port between 1 and 65535")));
        }
    }

    #[test]
    fn addresses_are_ip_addresses_or_localhost() {
        assert_eq!(address("localhost").unwrap().to_string(), "127.0.0.1");
        assert_eq!(address("[::1]").unwrap().to_string(), "::1");
        assert_eq!(address("0.0.0.0").unwrap().to_string(), "0.0.0.0");
        for text in ["", "example.org", "1.2.3", "127.0.0.1:80", "[::1"] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("0", 0),
            ("1.5", 1500),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1 s", 1000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text:?}");
        }
        for text in ["", "-1", "x", "1y", "nan", "inf", "1e99", "s"] {
            assert!(time(text).is_err(), "{text:?}");
        }
        assert!(limit("0").is_err());
    }

    #[test]
    fn sizes_have_a_unit_or_are_bytes() {
        for (text, wanted) in [("1", 1), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1 GiB", 1 << 30)] {
            assert_eq!(bytes(text), Ok(wanted), "{text:?}");
        }
        for text in ["", "0", "-1", "1.5MiB", "1TiB", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
        assert_eq!(mebibytes("100"), Ok(104_857_600));
        assert!(mebibytes("0").is_err());
        assert!(mebibytes("99999999999999999").is_err());
    }

    #[test]
    fn levels_and_switches_take_any_case() {
        assert_eq!(level("INFO"), Ok(tracing::Level::INFO));
        assert_eq!(level("Warning"), Ok(tracing::Level::WARN));
        assert!(level("3").is_err() && level("").is_err());
        assert_eq!(boolean("True"), Ok(true));
        assert_eq!(boolean("off"), Ok(false));
        assert!(boolean("").is_err());
        assert!(count("0").is_err());
    }
}
