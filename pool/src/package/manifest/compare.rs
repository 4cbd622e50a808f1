//! Version comparisons: `>=3.9,<4` enters, whether a version meets it leaves. Used for interpreters and for PAR.

/// Numbers of a version, most significant first; missing ones are zero.
type Numbers = Vec<u64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// A list of comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparisons(Vec<(Operator, Numbers, Prefix)>);

/// Whether only the numbers that were written count (`==3.11.*`).
type Prefix = bool;

impl Comparisons {
    /// Reads comparisons separated by commas: `<`, `<=`, `==` (`.*` allowed), `!=`, `>=`, `>`, `~=` and `^`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (operator, version) = part.split_at(part.find(|c: char| c.is_ascii_digit() || c == 'v')?);
            let version = version.trim().trim_start_matches('v');
            let (version, prefix) = match version.strip_suffix(".*") {
                Some(version) => (version, true),
                None => (version, false),
            };
            let numbers = numbers(version)?;
            match operator.trim() {
                "<" => all.push((Operator::Less, numbers, false)),
                "<=" => all.push((Operator::LessOrEqual, numbers, false)),
                "=" | "==" | "===" => all.push((Operator::Equal, numbers, prefix)),
                "!=" => all.push((Operator::NotEqual, numbers, prefix)),
                ">=" => all.push((Operator::GreaterOrEqual, numbers, false)),
                ">" => all.push((Operator::Greater, numbers, false)),
                "~=" => {
                    let fixed = numbers.len().checked_sub(1).filter(|fixed| *fixed > 0)?;
                    let start = numbers.get(..fixed)?.to_vec();
                    all.extend([(Operator::GreaterOrEqual, numbers, false), (Operator::Equal, start, true)]);
                }
                "^" | "" => {
                    let start = numbers.get(..1)?.to_vec();
                    all.extend([(Operator::GreaterOrEqual, numbers, false), (Operator::Equal, start, true)]);
                }
                _ => return None,
            }
        }
        (!all.is_empty()).then_some(Self(all))
    }

    /// Whether a version meets all of them. What follows the numbers (`-rc1`) is not looked at.
    pub(crate) fn accept(&self, version: &[u64]) -> bool {
        self.0.iter().all(|(operator, wanted, prefix)| {
            let length = if *prefix { wanted.len() } else { wanted.len().max(version.len()) };
            let of = |numbers: &[u64]| -> Numbers {
                (0..length).map(|at| numbers.get(at).copied().unwrap_or_default()).collect()
            };
            let (have, wanted) = (of(version), of(wanted));
            match operator {
                Operator::Less => have < wanted,
                Operator::LessOrEqual => have <= wanted,
                Operator::Equal => have == wanted,
                Operator::NotEqual => have != wanted,
                Operator::GreaterOrEqual => have >= wanted,
                Operator::Greater => have > wanted,
            }
        })
    }
}

/// The numbers at the start of a version.
pub(crate) fn numbers(version: &str) -> Option<Numbers> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Option<Numbers> = release.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() <= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_as_written() {
        for (text, yes, no) in [
            (">=0.1,<1", "0.1.0", "1.0.0"),
            ("0.1.0", "0.9", "1.0"),
            ("0.1.1", "0.1.1", "0.1.0"),
            (">=3.8", "3.11.2", "3.7.9"),
            ("~=3.9", "3.12", "4.0"),
            ("~=3.9.1", "3.9.5", "3.10"),
            ("==3.11.*", "3.11.7", "3.12"),
            ("!=3.10", "3.10.1", "3.10.0"),
            (" > 3 , != 3.10.*", "3.11", "3.10.4"),
            ("^3.9", "3.13", "4.0"),
            ("<=3.12", "3.12", "3.12.1"),
        ] {
            let comparisons = Comparisons::parse(text).unwrap();
            assert!(comparisons.accept(&numbers(yes).unwrap()), "{text} {yes}");
            assert!(!comparisons.accept(&numbers(no).unwrap()), "{text} {no}");
        }
        for text in ["", "latest", ">=", ">=x", "=>3", "~=3", ">=3.9 or 4", "1.2.3.4.5"] {
            assert_eq!(Comparisons::parse(text), None, "{text}");
        }
    }
}
