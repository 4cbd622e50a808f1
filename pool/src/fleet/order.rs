//! The order of versions: semantic versions by their rules, others by text after them.

use std::cmp::Ordering;

use par_proto::ids::Version;

/// Compares two versions; `1.10` is read as `1.10.0`.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    match (semantic(a.as_str()), semantic(b.as_str())) {
        (Some(x), Some(y)) => x.cmp(&y),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => a.as_str().cmp(b.as_str()),
    }
}

/// For sorting with the newest first.
pub(crate) fn newer_first(a: &Version, b: &Version) -> Ordering {
    compare(b, a)
}

fn semantic(text: &str) -> Option<semver::Version> {
    let cut = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(cut);
    let padded = match numbers.matches('.').count() {
        0 => format!("{numbers}.0.0{rest}"),
        1 => format!("{numbers}.0{rest}"),
        _ => text.to_owned(),
    };
    semver::Version::parse(&padded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_expect() {
        let mut versions: Vec<Version> = ["1.9", "nightly", "1.10", "2", "1.10.0-rc1", "alpha"]
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect();
        versions.sort_by(newer_first);
        let texts: Vec<&str> = versions.iter().map(Version::as_str).collect();
        assert_eq!(texts, ["2", "1.10", "1.10.0-rc1", "1.9", "nightly", "alpha"]);
    }
}
