//! What was used in a day. Pure.

use serde::{Deserialize, Serialize};

/// Calls and tokens of one day (UTC).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// Days since the epoch of Unix.
    pub(super) day: u64,
    /// Calls that were let in.
    pub(super) calls: u64,
    /// Tokens that agents reported.
    pub(super) tokens: u64,
}

impl Usage {
    /// The usage as of a day: another day begins with nothing. A clock that is set back a little over midnight gives
    /// nobody a second day; one that was wrong by more does not hold anybody to a day that never was.
    pub(super) fn on(self, day: u64) -> Self {
        if day > self.day || day + 1 < self.day { Self { day, ..Self::default() } } else { self }
    }

    /// With one more call.
    pub(super) fn with_call(self) -> Self {
        Self { calls: self.calls.saturating_add(1), ..self }
    }

    /// With more tokens.
    pub(super) fn with_tokens(self, tokens: u64) -> Self {
        Self { tokens: self.tokens.saturating_add(tokens), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_day_begins_with_nothing() {
        let today = Usage::default().on(20_000).with_call().with_tokens(7);
        assert_eq!(today, Usage { day: 20_000, calls: 1, tokens: 7 });
        assert_eq!(today.on(20_000), today);
        assert_eq!(today.on(20_001), Usage { day: 20_001, calls: 0, tokens: 0 });
        assert_eq!(today.with_tokens(u64::MAX).tokens, u64::MAX);
    }

    #[test]
    fn a_clock_that_is_set_back_over_midnight_gives_no_second_day() {
        let today = Usage::default().on(20_000).with_call();
        assert_eq!(today.on(19_999), today);
        assert_eq!(today.on(19_998).calls, 0);
    }
}
