//! How many sessions there may be, and what they may take.

use par_pool::{fleet::SessionSettings, session::Caps};

use super::{Check, parse, raw};

impl Check<'_> {
    /// Caps and memory of sessions.
    pub(super) fn sessions(&mut self) -> SessionSettings {
        let default = SessionSettings::default();
        SessionSettings {
            caps: Caps {
                per_package: self.value(&raw::SESSIONS_PER_PACKAGE, default.caps.per_package, parse::count),
                per_tenant: self.value(&raw::SESSIONS_PER_TENANT, default.caps.per_tenant, parse::count),
            },
            memory: self.parsed(&raw::SESSIONS_MEMORY, parse::mebibytes).or(default.memory),
        }
    }
}
