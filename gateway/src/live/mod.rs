//! What may change while the process runs, as one value that is exchanged whole: a request meets the former settings or
//! the new ones, never some of each at one place.

mod keys;
mod reload;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use keys::is_live;
pub(crate) use reload::Reloader;

use crate::{auth::Identity, limit::Limiter, observe::sample::Sampler};

/// The settings in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// Rates and quotas; none: nothing is limited.
    pub(crate) limiter: Option<Arc<Limiter>>,
    /// What proves who calls; none: identity is off, which only a restart can change.
    pub(crate) authentication: Option<Arc<Identity>>,
    /// Which access lines of what went well are written; none: all.
    pub(crate) sampler: Option<Arc<Sampler>>,
}

/// Where they stand. A read costs a few nanoseconds and no lock.
pub(crate) type Shared = Arc<ArcSwap<Live>>;
