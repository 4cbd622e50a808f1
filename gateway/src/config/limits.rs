//! What tenants and agents may take: rates, calls at once, quotas of a day. Everything is off unless configured.

use std::{collections::BTreeMap, str::FromStr};

/// Most calls a second that a rate may name. Beyond it the interval between two calls is so few nanoseconds that its
/// rounding would be felt in the rate.
const FASTEST: u32 = 10_000_000;

/// Longest time in which a burst comes back, in seconds. A century fits a 64-bit clock of nanoseconds five times.
const SLOWEST_BURST: u64 = 100 * 365 * 86_400;

/// So many calls in a time, and so many of them at once: `100/s`, `6000/m burst 200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Calls in the time.
    pub(crate) count: u32,
    /// The time.
    pub(crate) seconds: u32,
    /// Calls at once after a rest: one second's worth unless written.
    pub(crate) burst: u32,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        rate(text).ok_or_else(|| {
            format!(
                "{text:?} is not a rate like 100/s, 6000/m or 100/s burst 200 (at most {FASTEST} a second)"
            )
        })
    }
}

fn rate(text: &str) -> Option<Rate> {
    let mut words = text.split_whitespace();
    let (count, unit) = words.next()?.split_once('/')?;
    let seconds: u32 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count: u32 = whole(count)?;
    let burst = match (words.next(), words.next(), words.next()) {
        (None, _, _) => (count / seconds).max(1),
        (Some("burst"), Some(burst), None) => whole(burst)?,
        (Some(_), _, _) => return None,
    };
    let fits = u64::from(count) <= u64::from(FASTEST) * u64::from(seconds)
        && u64::from(burst) * u64::from(seconds) <= SLOWEST_BURST * u64::from(count);
    fits.then_some(Rate { count, seconds, burst })
}

/// A number of at least one, without sign.
fn whole<T: FromStr + PartialOrd + Default>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > T::default())
}

/// What one tenant or one agent may take; `None`: as much as it likes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Calls in a time.
    pub(crate) rate: Option<Rate>,
    /// Calls at once.
    pub(crate) concurrent: Option<u32>,
    /// Calls a day (UTC); tenants only.
    pub(crate) daily_calls: Option<u64>,
    /// Tokens a day (UTC); tenants only.
    pub(crate) daily_tokens: Option<u64>,
}

impl Allowance {
    /// Whether it allows everything.
    pub(crate) fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// All that is limited by rate, number or day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Allowances {
    /// Of everybody together.
    pub(crate) global_rate: Option<Rate>,
    /// Of a tenant that is not named.
    pub(crate) tenant: Allowance,
    /// Of an agent that is not named.
    pub(crate) agent: Allowance,
    /// Of named tenants, whole: what is not written is as for the others.
    pub(crate) tenants: BTreeMap<String, Allowance>,
    /// Of named agents, `package/export` or `export`, whole likewise.
    pub(crate) agents: BTreeMap<String, Allowance>,
}

impl Allowances {
    /// Whether nothing is limited.
    pub(crate) fn is_off(&self) -> bool {
        let named = self.tenants.values().chain(self.agents.values());
        self.global_rate.is_none() && named.chain([&self.tenant, &self.agent]).all(Allowance::is_off)
    }
}

/// One key of an allowance: its name, and how its text changes it. An empty text takes the limit away.
pub(super) type Key = (&'static str, fn(&mut Allowance, &str) -> Result<(), String>);

const RATE: Key =
    ("rate", |allowance, text| optional(text, Rate::from_str).map(|rate| allowance.rate = rate));
const CONCURRENT: Key =
    ("concurrent", |allowance, text| concurrent(text).map(|most| allowance.concurrent = most));
const DAILY_CALLS: Key =
    ("daily_calls", |allowance, text| optional(text, daily).map(|most| allowance.daily_calls = most));
const DAILY_TOKENS: Key =
    ("daily_tokens", |allowance, text| optional(text, daily).map(|most| allowance.daily_tokens = most));

/// Keys of an agent's allowance.
pub(super) const AGENT_KEYS: &[Key] = &[RATE, CONCURRENT];

/// Keys of a tenant's allowance.
pub(super) const TENANT_KEYS: &[Key] = &[RATE, CONCURRENT, DAILY_CALLS, DAILY_TOKENS];

/// Nothing, or what the text says.
pub(super) fn optional<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// Calls at once; zero is no limit.
pub(super) fn concurrent(text: &str) -> Result<Option<u32>, String> {
    if text == "0" {
        return Ok(None);
    }
    optional(text, |text| whole(text).ok_or_else(|| format!("{text:?} is not a whole number")))
}

/// A quota of a day.
pub(super) fn daily(text: &str) -> Result<u64, String> {
    whole(text).ok_or_else(|| format!("{text:?} is not a whole number of at least 1; empty is no limit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time_with_a_burst() {
        for (text, count, seconds, burst) in [
            ("100/s", 100, 1, 100),
            ("6000/m", 6000, 60, 100),
            ("1/h", 1, 3600, 1),
            ("100/s burst 200", 100, 1, 200),
            ("  5/m   burst  1 ", 5, 60, 1),
            ("10000000/s", 10_000_000, 1, 10_000_000),
            ("1/h burst 800000", 1, 3600, 800_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate { count, seconds, burst }), "{text:?}");
        }
        for text in [
            "",
            "100",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "100/d",
            "100/ s",
            "100/S",
            "10000001/s",
            "1/s burst",
            "1/s burst 0",
            "1/s burst 2 3",
            "1/s 5",
            "1/h burst 900000",
            "99999999999/h",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn nothing_configured_is_nothing_limited() {
        assert!(Allowances::default().is_off());
        let tenant = Allowance { concurrent: Some(1), ..Allowance::default() };
        assert!(!Allowances { tenant, ..Allowances::default() }.is_off());
        assert!(!Allowances { agents: [("a".to_owned(), tenant)].into(), ..Allowances::default() }.is_off());
        assert!(
            Allowances { agents: [("a".to_owned(), Allowance::default())].into(), ..Allowances::default() }
                .is_off()
        );
    }
}
