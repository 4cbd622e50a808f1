//! Whether packages must be signed, and the keys that are trusted for it.

use std::{error::Error as _, path::absolute, sync::Arc};

use par_pool::package::{Keyring, SignaturePolicy, signature::KeyringError};

use super::{Check, raw};

/// What `verify_signatures` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// As soon as there are keys.
    Auto,
    /// In any case.
    Require,
    /// Never.
    Off,
}

impl Check<'_> {
    /// The policy. Keys are read now, so that what is wrong with them is known before the first package.
    pub(super) fn signatures(&mut self, warnings: &mut Vec<String>) -> SignaturePolicy {
        let wanted = self.text(&raw::VERIFY_SIGNATURES).map_or(Wanted::Auto, |text| match text.as_str() {
            "auto" => Wanted::Auto,
            "require" => Wanted::Require,
            "off" => Wanted::Off,
            other => {
                let problem = format!("{other:?} is not one of auto, require, off");
                self.fault(&raw::VERIFY_SIGNATURES, problem);
                Wanted::Auto
            }
        });
        let files = self
            .list(&raw::TRUSTED_KEYS, |text| absolute(text).map_err(|error| format!("{text:?}: {error}")));
        if files.is_empty() {
            if wanted == Wanted::Require {
                let problem =
                    "require needs trusted keys, and TRUSTED_KEYS (packages.trusted_keys) names none";
                self.fault(&raw::VERIFY_SIGNATURES, problem);
            }
            return SignaturePolicy::NotNeeded;
        }
        if wanted == Wanted::Off {
            let warning =
                "TRUSTED_KEYS has no effect: VERIFY_SIGNATURES is off, unsigned packages are accepted";
            warnings.push(warning.to_owned());
            return SignaturePolicy::NotNeeded;
        }
        let mut sound = true;
        for file in &files {
            if let Err(error) = Keyring::read(std::slice::from_ref(file)) {
                self.fault(&raw::TRUSTED_KEYS, told(&error));
                sound = false;
            }
        }
        // Together: a key that one file holds may be revoked by another.
        match Keyring::read(&files) {
            Ok(keys) => {
                warnings.extend(keys.unfit());
                SignaturePolicy::Required(Arc::new(keys))
            }
            Err(error) => {
                if sound {
                    self.fault(&raw::TRUSTED_KEYS, told(&error));
                }
                SignaturePolicy::NotNeeded
            }
        }
    }
}

fn told(error: &KeyringError) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
