//! What the contract names and this version does not do yet. A setting that nobody reads must not look as if it
//! worked: where safety or the mode depends on it the start is refused, else a warning says so.
//!
//! A feature that arrives removes its rows here and adds its settings to `raw.rs`.

use super::{
    fault::{Fault, Origin},
    raw::Environment,
};

/// What happens when a setting is present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// The start is refused: somebody relies on it.
    Refused,
    /// A warning: nothing breaks without it.
    Noted,
}

/// When a value asks for the feature.
type Asks = fn(&str) -> bool;

const PRESENT: Asks = |_| true;
const FILLED: Asks = |text| !text.trim().is_empty();

/// `(variable, weight, when, feature)`.
const ROWS: &[(&str, Weight, Asks, &str)] = &[
    ("AGENT_APP_ID", Weight::Refused, PRESENT, "single mode"),
    ("PACKAGE_URL", Weight::Refused, PRESENT, "single mode"),
    ("RUNTIME_MODE", Weight::Refused, |text| text.eq_ignore_ascii_case("single"), "single mode"),
    ("STRIPE_KEY", Weight::Noted, FILLED, "usage billing"),
    ("STRIPE_API_KEY", Weight::Noted, FILLED, "usage billing"),
    ("STRIPE_API_URL", Weight::Noted, FILLED, "usage billing"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", Weight::Noted, FILLED, "OTLP export"),
    ("BOOT_BUDGET_MS", Weight::Noted, FILLED, "the boot budget"),
    ("BOOT_FAILURE_COUNT", Weight::Noted, FILLED, "the boot-failure back-off"),
];

/// Refusals and warnings for what was asked and is not offered.
pub(super) fn review(environment: &Environment) -> (Vec<Fault>, Vec<String>) {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    for (name, weight, asks, feature) in ROWS {
        if !environment.get(name).is_some_and(asks) {
            continue;
        }
        match weight {
            Weight::Refused => faults.push(refusal(name, Origin::Environment, feature)),
            Weight::Noted => {
                warnings.push(format!("{name} has no effect: {feature} is not offered by this version"));
            }
        }
    }
    (faults, warnings)
}

/// The fault of one setting whose feature is missing.
pub(super) fn refusal(name: &str, origin: Origin, feature: &str) -> Fault {
    Fault { name: name.to_owned(), origin, problem: format!("{feature} is not offered by this version") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_safety_depends_on_is_refused_and_the_rest_is_noted() {
        let environment = [("AGENT_APP_ID", ""), ("RUNTIME_MODE", "multi-agent"), ("STRIPE_KEY", "sk_live")]
            .into_iter()
            .collect();
        let (faults, warnings) = review(&environment);
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["AGENT_APP_ID (environment): single mode is not offered by this version"]);
        assert_eq!(warnings, ["STRIPE_KEY has no effect: usage billing is not offered by this version"]);
    }
}
