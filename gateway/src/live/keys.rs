//! Which keys take effect without a restart, and what becomes of a change. Pure.

use crate::config::raw::{self, Setting};

/// Keys that are followed while the process runs. `conf/par.yaml` marks them.
pub(super) const LIVE: &[&Setting] = &[
    &raw::LOG_LEVEL,
    &raw::LOG_SAMPLE_AFTER,
    &raw::LOG_SAMPLE_ONE_IN,
    &raw::GLOBAL_RATE,
    &raw::TENANT_RATE,
    &raw::TENANT_CONCURRENT,
    &raw::TENANT_DAILY_CALLS,
    &raw::TENANT_DAILY_TOKENS,
    &raw::AGENT_RATE,
    &raw::AGENT_CONCURRENT,
    &raw::TENANTS,
    &raw::AGENTS,
    &raw::OIDC_ISSUER,
    &raw::OIDC_AUDIENCE,
    &raw::ISSUERS,
    &raw::ADAPTERS,
    &raw::ALGORITHMS,
    &raw::LEEWAY,
    &raw::CLAIM_SUBJECT,
    &raw::CLAIM_TENANT,
    &raw::CLAIM_ROLES,
    &raw::CLAIM_SCOPES,
    &raw::OPERATOR_ROLES,
    &raw::VIEWER_ROLES,
    &raw::IDENTITY_CA,
    &raw::CACHED_TOKENS,
];

/// Whether a key takes effect without a restart, as long as identity is neither switched on nor off.
pub(crate) fn is_live(setting: &Setting) -> bool {
    LIVE.contains(&setting)
}

/// Prefix of the keys that say who proves who calls.
const IDENTITY: &str = "identity.";

/// What a change of these keys asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// All of it can be done now.
    Now {
        /// Whether the authenticators are made anew.
        identity: bool,
    },
    /// Nothing is done: these keys are read at the start alone.
    Restart(Vec<&'static str>),
}

/// Decides. Identity that is switched on or off changes what strangers see of the whole runtime, so that is a matter
/// for a restart.
pub(super) fn decide(changed: &[&'static str], identity_was_on: bool, identity_is_on: bool) -> Change {
    let is_live = |key: &str| {
        LIVE.iter().any(|setting| setting.key == key)
            && (identity_was_on == identity_is_on || !key.starts_with(IDENTITY))
    };
    let fixed: Vec<_> = changed.iter().copied().filter(|key| !is_live(key)).collect();
    if !fixed.is_empty() {
        return Change::Restart(fixed);
    }
    let identity = identity_is_on && changed.iter().any(|key| key.starts_with(IDENTITY));
    Change::Now { identity }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_that_needs_a_restart_keeps_all_of_them_back() {
        assert_eq!(
            decide(&["limits.tenant_rate", "log.level"], false, false),
            Change::Now { identity: false }
        );
        assert_eq!(
            decide(&["limits.tenant_rate", "server.port", "tls.mode"], false, false),
            Change::Restart(vec!["server.port", "tls.mode"])
        );
        assert_eq!(decide(&[], true, true), Change::Now { identity: false });
    }

    #[test]
    fn authenticators_are_exchanged_but_not_switched_on_or_off() {
        assert_eq!(decide(&["identity.issuer"], true, true), Change::Now { identity: true });
        assert_eq!(decide(&["identity.leeway"], false, false), Change::Now { identity: false });
        for (was, is) in [(true, false), (false, true)] {
            assert_eq!(
                decide(&["identity.issuer", "log.level"], was, is),
                Change::Restart(vec!["identity.issuer"])
            );
        }
    }

    #[test]
    fn the_example_file_names_every_key_that_is_followed() {
        let text = include_str!("../../../conf/par.yaml");
        let head: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        for setting in LIVE {
            let section = setting.key.split('.').next().unwrap();
            let named = if section == "identity" { section } else { setting.key };
            assert!(head.contains(&format!("`{named}`")), "{}", setting.key);
        }
        let identity = raw::ALL.iter().filter(|setting| setting.key.starts_with(IDENTITY));
        assert!(identity.into_iter().all(|setting| LIVE.contains(&setting)), "it says all of it");
    }
}
