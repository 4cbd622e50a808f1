//! Names and tags as receivers of StatsD can read them, and what to do if two become one. Pure.

use std::{collections::HashMap, fmt::Write as _};

use crate::config::telemetry::Dialect;

/// Longest value of a tag: Datadog cuts tags at 200 characters.
const TAG: usize = 200;

/// How one series is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// Without prefix.
    pub(super) name: String,
    /// `key:value`, in the order of the keys.
    pub(super) tags: Vec<String>,
}

/// Names of one round, each with the series that has it.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Name, String>);

impl Names {
    /// What a series is called. The second of two that would be called alike gets a number behind its name that stays
    /// the same; then the name that they share is given as well.
    pub(super) fn of(
        &mut self,
        dialect: Dialect,
        family: &str,
        labels: &[(&str, &str)],
    ) -> (Name, Option<String>) {
        let mut name = named(dialect, family, labels);
        let identity = identity(family, labels);
        let taken = self.0.get(&name).is_some_and(|other| *other != identity);
        let shared = taken.then(|| name.name.clone());
        if taken {
            // Writing to a text never fails.
            write!(name.name, "_{:08x}", fnv(&identity)).ok();
        }
        self.0.insert(name.clone(), identity);
        (name, shared)
    }
}

/// What no other series has.
pub(super) fn identity(family: &str, labels: &[(&str, &str)]) -> String {
    let mut identity = family.to_owned();
    for (key, value) in labels {
        for part in [key, value] {
            identity.push('\0');
            identity.push_str(part);
        }
    }
    identity
}

fn named(dialect: Dialect, family: &str, labels: &[(&str, &str)]) -> Name {
    match dialect {
        Dialect::Dogstatsd => {
            let tag = |(key, value): &(&str, &str)| format!("{}:{}", plain(key, "_-./"), tag_value(value));
            Name { name: plain(family, "_."), tags: labels.iter().map(tag).collect() }
        }
        Dialect::Statsd => {
            let mut name = plain(family, "_");
            for (_, value) in labels {
                name.push('.');
                name.push_str(&plain(value, "_-"));
            }
            Name { name, tags: Vec::new() }
        }
    }
}

/// Letters, digits and what else may stand there; the rest becomes `_`, and nothing at all as well.
fn plain(text: &str, others: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    text.chars().map(|c| if c.is_ascii_alphanumeric() || others.contains(c) { c } else { '_' }).collect()
}

fn tag_value(text: &str) -> String {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '|' | ',' | '#');
    let cut = text.chars().take(TAG).map(|c| if bad(c) { '_' } else { c }).collect::<String>();
    if cut.is_empty() { "_".to_owned() } else { cut }
}

/// FNV-1a (Fowler, Noll, Vo), 32 bits: the same number in every process and version.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_parts_of_names_or_tags() {
        let labels = [("agent", "echo@1.0.0/echo"), ("code", "ok")];
        let (name, shared) = Names::default().of(Dialect::Statsd, "par_requests_total", &labels);
        assert_eq!((name.name.as_str(), name.tags.len()), ("par_requests_total.echo_1_0_0_echo.ok", 0));
        assert_eq!(shared, None);
        let (name, _) = Names::default().of(Dialect::Dogstatsd, "par_requests_total", &labels);
        assert_eq!(
            (name.name.as_str(), name.tags),
            ("par_requests_total", vec!["agent:echo@1.0.0/echo".into(), "code:ok".into()])
        );
    }

    #[test]
    fn nothing_in_a_label_can_forge_a_line() {
        let hostile = "a|c|#x:y\nb:1|g,\u{0}";
        for dialect in [Dialect::Statsd, Dialect::Dogstatsd] {
            let (name, _) = Names::default().of(dialect, "f", &[("l", hostile), ("m", "")]);
            let whole = format!("{}{}", name.name, name.tags.concat());
            assert!(!whole.contains(['|', '\n', ',', '#', '\0']), "{whole}");
        }
        let (name, _) = Names::default().of(Dialect::Dogstatsd, "f", &[("l", &"ä".repeat(900))]);
        assert_eq!(name.tags[0].chars().count(), TAG + 2);
    }

    #[test]
    fn two_series_of_one_name_are_told_and_kept_apart() {
        let mut names = Names::default();
        let (first, _) = names.of(Dialect::Statsd, "f", &[("agent", "a.b")]);
        let (second, shared) = names.of(Dialect::Statsd, "f", &[("agent", "a_b")]);
        assert_eq!(shared.as_deref(), Some("f.a_b"));
        assert_ne!(first, second);
        let mut later = Names::default();
        later.of(Dialect::Statsd, "f", &[("agent", "a.b")]);
        assert_eq!(
            later.of(Dialect::Statsd, "f", &[("agent", "a_b")]).0,
            second,
            "the same in the next round"
        );
        assert_eq!(names.of(Dialect::Statsd, "f", &[("agent", "a.b")]), (first, None));
    }
}
