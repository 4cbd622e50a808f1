//! SIGHUP: the configuration is read again, and what has changed takes effect at once or not at all.

use std::sync::Arc;

use prometheus::IntCounter;
use tokio::{signal::unix::Signal, task::spawn_blocking};

use super::{
    Live, Shared,
    keys::{Change, decide},
};
use crate::{
    auth::adapters::{self, ChainError},
    config::{Config, Faults, identity::IdentitySettings},
    limit::Limiter,
    observe::{
        LogSink,
        levels::{Levels, Rules},
        sample::Sampler,
    },
    service_manager::ServiceManager,
};

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error("the configuration has faults:\n{0}")]
    Faults(#[from] Faults),
    #[error("these keys need a restart: {}", .0.join(", "))]
    Restart(Vec<&'static str>),
    #[error("identity: {0}")]
    Identity(#[from] ChainError),
    #[error("the quotas of the day cannot be read")]
    Quotas(#[from] std::io::Error),
    #[error("the reading was given up")]
    Ended,
}

/// Reads again when it is told to.
pub(crate) struct Reloader {
    /// What is in force.
    pub(crate) config: Arc<Config>,
    /// Where it takes effect.
    pub(crate) live: Shared,
    /// The levels of the log.
    pub(crate) levels: Levels,
    /// What keeps new secrets out of the log.
    pub(crate) sink: LogSink,
    /// Access lines that were left out.
    pub(crate) left_out: IntCounter,
    /// Who is told that this is done.
    pub(crate) manager: ServiceManager,
}

impl Reloader {
    /// Obeys for ever. Signals that come while one is obeyed are one signal.
    pub(crate) async fn obey(mut self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            self.manager.reloading();
            let reloaded = self.reload().await;
            // Also when nothing has changed: what was ready before still is.
            self.manager.ready();
            match reloaded {
                Ok(changed) => tracing::info!(event = "config_reloaded", ?changed),
                Err(kept) => {
                    tracing::error!(event = "config_not_reloaded", reason = %kept, "nothing has changed");
                }
            }
        }
    }

    /// The keys that have changed, once they are in force.
    async fn reload(&mut self) -> Result<Vec<&'static str>, Kept> {
        let config = Arc::clone(&self.config);
        // It reads files, which may be on a disk that is slow.
        let next = spawn_blocking(move || config.again()).await.map_err(|_| Kept::Ended)??;
        let changed = self.config.changed(&next);
        let (was_on, is_on) = (self.config.identity.is_some(), next.identity.is_some());
        let identity = match decide(&changed, was_on, is_on) {
            Change::Now { identity } => identity,
            Change::Restart(keys) => return Err(Kept::Restart(keys)),
        };
        let anew = next.identity.as_ref().filter(|_| identity);
        for secret in anew.into_iter().flat_map(IdentitySettings::secrets) {
            self.sink.redact(secret.reveal());
        }
        let made = self.made(&next, anew)?;
        // From here on nothing fails.
        self.live.store(Arc::new(made));
        if self.config.log.level != next.log.level {
            self.levels.configure(Rules::new(next.log.level));
        }
        for warning in &next.warnings {
            tracing::warn!(event = "configuration", "{warning}");
        }
        self.config = Arc::new(next);
        Ok(changed)
    }

    /// The settings of `next`; what they have in common with those in force is kept.
    fn made(&self, next: &Config, identity: Option<&IdentitySettings>) -> Result<Live, Kept> {
        let before = self.live.load_full();
        let authentication = match (identity, &before.authentication) {
            (Some(settings), Some(before)) => {
                Some(Arc::new(before.renewed(adapters::chain(settings)?, settings.cached_tokens)))
            }
            (Some(_), None) | (None, _) => before.authentication.clone(),
        };
        let limiter = if self.config.allowances == next.allowances {
            before.limiter.clone()
        } else {
            match &before.limiter {
                Some(limiter) => limiter.renewed(&next.allowances),
                None => Limiter::start(&next.allowances, next.quotas_file())?,
            }
        };
        let sampler = if self.config.log.sampling == next.log.sampling {
            before.sampler.clone()
        } else {
            next.log.sampling.map(|rule| Arc::new(Sampler::new(rule, self.left_out.clone())))
        };
        Ok(Live { limiter, authentication, sampler })
    }
}
