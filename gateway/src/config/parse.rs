//! One text to one value. Each function says in its error what it did not understand and what would be right.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use par_pool::package::{Location, Source, SourceError};
use url::Url;

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

/// A whole number of milliseconds, at least one.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse().ok().filter(|number| *number > 0).map(Duration::from_millis);
    milliseconds.ok_or_else(|| format!("{text:?} is not a number of milliseconds of at least 1"))
}

/// A time between two looks. Below a second it would be a load, not a look.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    time(text).and_then(|time| {
        if time < Duration::from_secs(1) { Err(format!("{text:?} must be at least 1s")) } else { Ok(time) }
    })
}

/// How many former generations are kept warm. Each holds a template and workers in memory: more than sixteen is a
/// typing error.
pub(super) fn parked(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= 16)
        .ok_or_else(|| format!("{text:?} is not a number from 0 to 16"))
}

/// Percent points.
pub(super) fn points(text: &str) -> Result<f64, String> {
    let points = text.parse().ok().filter(|points| *points > 0.0 && *points <= 100.0);
    points.ok_or_else(|| format!("{text:?} is not a number of percent points above 0, 100 at most"))
}

/// How many times as much.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| *ratio > 1.0 && ratio.is_finite());
    ratio.ok_or_else(|| format!("{text:?} is not a number above 1, like 1.5"))
}

/// `https://…`, or `http://…` of a loopback host. What it is is not repeated: addresses contain tokens.
pub(super) fn web_address(text: &str) -> Result<Url, String> {
    match Source::parse(text) {
        Ok(Source { location: Location::Https(url), sha256: None, .. }) => Ok(url),
        Err(SourceError::LinkLocal(_)) => {
            Err("link-local and instance metadata addresses are refused".to_owned())
        }
        Ok(_) | Err(_) => Err("must be an https:// address, or http:// on loopback".to_owned()),
    }
}

/// The address of a server: no user, no query.
pub(super) fn bare_address(text: &str) -> Result<Url, String> {
    let url = web_address(text)?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if bare {
        Ok(url)
    } else {
        Err("must be the address of a server, without credentials and query".to_owned())
    }
}

/// A bucket of S3, old names included.
pub(super) fn bucket(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (3..=255).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not the name of a bucket"))
}

/// A region of AWS, or what another server calls so.
pub(super) fn region(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a region like us-east-2"))
}

/// A secret of Standard Webhooks: `whsec_` and base64, or any other text. What it is is not repeated.
pub(super) fn signing_secret(text: &str) -> Result<(), String> {
    let Some(coded) = text.strip_prefix("whsec_") else { return Ok(()) };
    // Secrets are copied by hand, and their padding is what gets lost.
    let key = STANDARD_NO_PAD.decode(coded.trim_end_matches('='));
    match key {
        Ok(key) if key.is_empty() => Err("is empty behind whsec_".to_owned()),
        Ok(_) => Ok(()),
        Err(_) => Err("begins with whsec_ but does not go on in base64".to_owned()),
    }
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
    fn an_interval_is_at_least_a_second() {
        assert_eq!(interval("1"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("2m"), Ok(Duration::from_mins(2)));
        for text in ["0", "999ms", "-1", "x", ""] {
            assert!(interval(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn rules_of_rollouts_are_numbers_that_make_sense() {
        assert_eq!((parked("0"), parked("16")), (Ok(0), Ok(16)));
        assert_eq!((points("0.5"), points("100")), (Ok(0.5), Ok(100.0)));
        assert_eq!(ratio("1.5"), Ok(1.5));
        for text in ["", "x", "-1", "17", "1.5"] {
            assert!(parked(text).is_err(), "{text:?}");
        }
        for text in ["", "x", "-1", "0", "101", "nan", "inf"] {
            assert!(points(text).is_err(), "{text:?}");
        }
        for text in ["", "x", "-2", "0", "0.5", "1", "nan", "inf"] {
            assert!(ratio(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_of_servers_are_safe_and_not_repeated() {
        assert_eq!(web_address("https://u:t0ken@h/p?q").unwrap().host_str(), Some("h"));
        assert!(web_address("http://127.0.0.1:9").is_ok() && bare_address("http://localhost:9/").is_ok());
        for text in [
            "http://t0ken.example.com/",
            "s3://t0ken/k",
            "/t0ken",
            "ftp://t0ken",
            "",
            "t0ken",
            "https://169.254.169.254/t0ken",
        ] {
            let problem = web_address(text).unwrap_err();
            assert!(!problem.contains("t0ken"), "{problem}");
        }
        for text in ["https://t0ken@h/", "https://u:t0ken@h", "https://h/?t0ken", "https://h/#t0ken"] {
            let problem = bare_address(text).unwrap_err();
            assert!(!problem.contains("t0ken"), "{problem}");
        }
    }

    #[test]
    fn buckets_and_regions_are_names() {
        assert_eq!(bucket("pixell-agent-packages"), Ok("pixell-agent-packages".to_owned()));
        assert_eq!(region("us-east-2"), Ok("us-east-2".to_owned()));
        for text in ["", "a/b/c", "a b c", "s3://b"] {
            assert!(bucket(text).is_err() && region(text).is_err(), "{text:?}");
        }
        assert!(bucket("ab").is_err() && region("us_east").is_err());
    }

    #[test]
    fn secrets_of_webhooks_are_base64_behind_their_mark_and_not_repeated() {
        for text in ["plain text", "whsec_AAECAw==", "whsec_AAECAw", "whsec_AAEC"] {
            assert_eq!(signing_secret(text), Ok(()), "{text:?}");
        }
        for text in ["whsec_", "whsec_==", "whsec_hunter2!"] {
            let problem = signing_secret(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
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
