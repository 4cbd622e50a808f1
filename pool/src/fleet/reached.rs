//! What an id reaches: one version, or several that share what is asked of it.

use std::sync::Arc;

use super::split::Split;

/// What an id reaches.
#[derive(Debug)]
pub(super) enum Reached<T> {
    /// It alone.
    One(Arc<T>),
    /// Versions that share the calls.
    Shared(Split<T>),
}

impl<T> Reached<T> {
    /// The one that people are told about.
    pub(super) fn first(&self) -> &Arc<T> {
        match self {
            Self::One(one) => one,
            Self::Shared(split) => split.first(),
        }
    }

    /// The one that answers; those of one session get the same as long as the shares stay.
    pub(super) fn pick(&self, session: Option<&[u8]>) -> &Arc<T> {
        match self {
            Self::One(one) => one,
            Self::Shared(split) => split.pick(session),
        }
    }
}
