//! Fetches that are under way: a source enters, the fetch that already runs for the same bytes leaves, or a
//! new one.

use std::{collections::HashMap, fmt};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use par_proto::ids::Digest;
use parking_lot::Mutex;

use crate::package::{Location, PullError, Source, Unpacked};

/// A fetch.
pub(super) type Pulling = BoxFuture<'static, Result<Unpacked, PullError>>;

/// A fetch that everybody who waits for it drives, and that ends when nobody waits any more.
pub(super) type Flight = Shared<Pulling>;

/// What makes two fetches the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Want {
    /// These bytes.
    Digest(Digest),
    /// Whatever is at this place now.
    Place(String),
}

impl Want {
    /// What a source wants. Local files without a digest are not shared: who asks after an edit wants the
    /// edit, and copying twice costs little.
    pub(super) fn of(source: &Source) -> Option<Self> {
        match (&source.sha256, &source.location) {
            (Some(digest), _) => Some(Self::Digest(*digest)),
            (None, Location::Https(_) | Location::S3 { .. }) => Some(Self::Place(source.given.clone())),
            (None, Location::File(_) | Location::Directory(_)) => None,
        }
    }
}

/// The fetches under way.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Want, (Source, WeakShared<Pulling>)>>,
}

/// Wants may contain credentials.
impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("under_way", &self.under_way.lock().len()).finish()
    }
}

impl Flights {
    /// The fetch that runs for `want`, and the source that it fetches from; without one, that of `begin`.
    pub(super) fn join(
        &self,
        want: &Want,
        source: &Source,
        begin: impl FnOnce() -> Pulling,
    ) -> (Flight, Source) {
        let mut under_way = self.under_way.lock();
        let running = under_way.get(want).and_then(|(from, flight)| Some((flight.upgrade()?, from.clone())));
        // One that has landed tells what was there then, not what is there now.
        if let Some((flight, from)) = running.filter(|(flight, _)| flight.peek().is_none()) {
            return (flight, from);
        }
        let flight = begin().shared();
        under_way.retain(|_, (_, flight)| flight.upgrade().is_some());
        if let Some(weak) = flight.downgrade() {
            under_way.insert(want.clone(), (source.clone(), weak));
        }
        (flight, source.clone())
    }
}
