//! What the contract names and this version does not do yet. A setting that nobody reads must not look as if it
//! worked: a warning says so.
//!
//! A feature that arrives removes its rows here and adds its settings to `raw.rs`.

use super::raw::Environment;

/// `(variable, feature)`.
const ROWS: &[(&str, &str)] = &[
    ("STRIPE_KEY", "usage billing"),
    ("STRIPE_API_KEY", "usage billing"),
    ("STRIPE_API_URL", "usage billing"),
];

/// Warnings for what was asked and is not offered.
pub(super) fn review(environment: &Environment) -> Vec<String> {
    let asked = |name: &str| environment.get(name).is_some_and(|text| !text.trim().is_empty());
    ROWS.iter()
        .filter(|(name, _)| asked(name))
        .map(|(name, feature)| format!("{name} has no effect: {feature} is not offered by this version"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_and_is_not_offered_is_noted() {
        let environment = [("STRIPE_API_KEY", ""), ("STRIPE_KEY", "sk_live")].into_iter().collect();
        assert_eq!(
            review(&environment),
            ["STRIPE_KEY has no effect: usage billing is not offered by this version"]
        );
    }
}
