//! What one tenant or agent has taken of its policy.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};

use super::{
    bucket::{Bucket, Decision},
    moment::Moment,
    policy::{Policy, State},
    quota::Usage,
    scope::Scope,
};

/// When it is worth coming back after too many calls at once: nobody knows when one of them ends.
const CONCURRENT_AGAIN: Duration = Duration::from_secs(1);

/// A policy and what is taken of it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) policy: Arc<Policy>,
    /// Shared with what this account was under a former policy: calls that were let in by that one still run.
    state: Arc<Mutex<State>>,
}

impl Account {
    /// Nothing is taken, except for what was used before a restart.
    pub(super) fn new(policy: Arc<Policy>, usage: Usage) -> Self {
        Self { policy, state: Arc::new(Mutex::new(State { usage, ..State::default() })) }
    }

    /// The same account under another policy: what was used today and what runs goes on to count. A bucket that fills at
    /// another pace begins full, since nobody can say what the former state means at the new one.
    pub(super) fn under(&self, policy: Arc<Policy>) -> Self {
        if self.policy.pace != policy.pace {
            self.state.lock().bucket = Bucket::default();
        }
        Self { policy, state: Arc::clone(&self.state) }
    }

    /// The state, held while a call is decided.
    pub(super) fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What would be taken by one more call, or which limit stands against it and for how long. Nothing is changed.
    pub(super) fn with_call(&self, state: &State, at: u64, now: Moment) -> Result<State, (Scope, Duration)> {
        let policy = &self.policy;
        let limits = &policy.allowance;
        let mut after = *state;
        if let Some(pace) = policy.pace {
            match state.bucket.decide(pace, at, 1) {
                Decision::Taken(bucket) => after.bucket = bucket,
                Decision::Short(wait) => return Err((policy.rate_scope(), wait)),
            }
        }
        if limits.concurrent.is_some_and(|most| state.running >= most) {
            return Err((policy.concurrent_scope(), CONCURRENT_AGAIN));
        }
        after.running += 1;
        let usage = state.usage.on(now.day());
        if limits.daily_calls.is_some_and(|most| usage.calls >= most) {
            return Err((Scope::TenantDailyCalls, now.until_tomorrow()));
        }
        if limits.daily_tokens.is_some_and(|most| usage.tokens >= most) {
            return Err((Scope::TenantDailyTokens, now.until_tomorrow()));
        }
        after.usage = usage.with_call();
        Ok(after)
    }

    /// A call is over.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
    }

    /// An agent has reported tokens.
    pub(super) fn use_tokens(&self, tokens: u64, now: Moment) {
        let mut state = self.state.lock();
        state.usage = state.usage.on(now.day()).with_tokens(tokens);
    }

    /// What was used today, if that is limited.
    pub(super) fn usage(&self, day: u64) -> Option<Usage> {
        let limits = &self.policy.allowance;
        let counted = limits.daily_calls.is_some() || limits.daily_tokens.is_some();
        let is_used = |usage: &Usage| usage.calls > 0 || usage.tokens > 0;
        Some(self.state.lock().usage).filter(|usage| counted && usage.day == day && is_used(usage))
    }

    /// Whether forgetting it changes nothing.
    pub(super) fn is_idle(&self, at: u64, day: u64) -> bool {
        let used = self.usage(day).is_some();
        let state = self.state.lock();
        state.running == 0 && state.bucket.is_full(at) && !used
    }
}
