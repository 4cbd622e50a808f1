//! How versions replace each other.

use par_pool::fleet::RolloutSettings;

use super::{Check, parse, raw};

impl Check<'_> {
    /// Times and limits of rollouts.
    pub(super) fn rollout(&mut self) -> RolloutSettings {
        let default = RolloutSettings::default();
        RolloutSettings {
            rollback_ttl: self.value(&raw::ROLLBACK_TTL, default.rollback_ttl, parse::time),
            parked: self.value(&raw::PARKED, default.parked, parse::parked),
            drain_timeout: self.value(&raw::DRAIN_TIMEOUT, default.drain_timeout, parse::limit),
            bake_window: self.value(&raw::BAKE_WINDOW, default.bake_window, parse::time),
            bake_min_calls: self
                .parsed(&raw::BAKE_MIN_CALLS, parse::count)
                .map_or(default.bake_min_calls, |calls| calls as u64),
            bake_error_points: self.value(&raw::BAKE_ERROR_POINTS, default.bake_error_points, parse::points),
            bake_p99_ratio: self.parsed(&raw::BAKE_P99_RATIO, parse::ratio).or(default.bake_p99_ratio),
        }
    }
}
