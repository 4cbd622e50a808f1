//! The way back: until this process serves, it can become again what it was before.

use std::{collections::BTreeMap, fs::File, os::fd::OwnedFd, sync::Arc};

use parking_lot::Mutex;

use super::{FLUSH, legacy::Legacy};
use crate::{
    observe::LogSink,
    sockets::{Given, Use},
};

/// What this process was, if it was something else and does not serve yet. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fallback(Arc<Mutex<Option<Former>>>);

#[derive(Debug)]
struct Former {
    program: File,
    sockets: BTreeMap<Use, OwnedFd>,
    owns_file: bool,
}

impl Fallback {
    /// As it was handed on, with copies of the sockets. Where there are no descriptors left for those, there is no way back.
    pub(crate) fn of(given: &mut Given) -> Self {
        let former = given.former().and_then(|program| {
            let (sockets, owns_file) = (given.copies().ok()?, given.owns_file());
            Some(Former { program: program.into(), sockets, owns_file })
        });
        Self(Arc::new(Mutex::new(former)))
    }

    /// This process serves: there is no way back any more, and nothing is kept for it.
    pub(crate) fn forget(&self) {
        self.0.lock().take();
    }

    /// Whether there is a way back.
    pub(crate) fn is_there(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Becomes what it was before, once this stands in the log. Returns if there is no way back.
    pub(crate) fn take(&self, reason: &str, log: Option<&LogSink>) {
        let Some(Former { program, sockets, owns_file }) = self.0.lock().take() else { return };
        tracing::error!(event = "upgrade_failed", reason, "starting again as what it was");
        if let Some(log) = log {
            log.flush(FLUSH);
        }
        let error = Legacy { sockets: &sockets, owns_file }.return_to(&program, reason);
        tracing::error!(event = "upgrade_failed", %error, "this process can become nothing");
    }
}
