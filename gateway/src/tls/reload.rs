//! New certificates without a new start: what the files hold is compared every second, and swapped in when it
//! is good.
//!
//! Contents are compared, not notices of the kernel awaited: renewals come as files that are written over, as
//! renamed ones, as links that are turned elsewhere several directories above (Kubernetes), and on network
//! disks, which tell nobody. Two or three small files a second cost nothing that could be measured.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Gate, MaterialFault, material::Fingerprint, material::Written};
use crate::observe::timestamp;

/// Between two looks. Renewals are written in several steps (key, certificate): contents count when two looks
/// in a row find the same, so this is also how long such a step may take without being called a fault.
const LOOK: Duration = Duration::from_secs(1);

/// What one look finds: contents, or why there are none.
type Seen = Result<Fingerprint, String>;

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is what serves.
    Rest,
    /// It has just changed, and may not be complete.
    Wait,
    /// It is new and has come to rest.
    Try,
}

/// What was seen last, and what was complained of.
#[derive(Debug)]
struct Watch {
    last: Seen,
    complaint: Option<String>,
}

impl Watch {
    fn new(served: Fingerprint) -> Self {
        Self { last: Ok(served), complaint: None }
    }

    fn look(&mut self, seen: Seen, served: Fingerprint) -> Step {
        if seen == Ok(served) {
            self.complaint = None;
            self.last = seen;
            return Step::Rest;
        }
        let is_settled = self.last == seen;
        self.last = seen;
        if is_settled { Step::Try } else { Step::Wait }
    }

    /// Whether this is news: a fault that lasts is tried again at every look and told once.
    fn complains(&mut self, fault: &str) -> bool {
        let is_news = self.complaint.as_deref() != Some(fault);
        self.complaint = Some(fault.to_owned());
        is_news
    }
}

impl Gate {
    /// Swaps in what the files hold, whenever they hold something new that is good. Never ends.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut watch = Watch::new(self.written());
        loop {
            tokio::time::sleep(LOOK).await;
            let gate = Arc::clone(&self);
            // Disks may be slow, and this thread has other things to do.
            let Ok(read) = tokio::task::spawn_blocking(move || gate.source.read()).await else { continue };
            let seen = read.as_ref().map(Written::fingerprint).map_err(MaterialFault::told);
            match watch.look(seen, self.written()) {
                Step::Rest | Step::Wait => {}
                Step::Try => {
                    let renewed = read.and_then(|written| self.renew(&written));
                    if let Err(fault) = renewed.map_err(|fault| fault.told())
                        && watch.complains(&fault)
                    {
                        tracing::warn!(
                            event = "tls_reload_failed",
                            reason = fault,
                            "the former certificate serves on"
                        );
                    }
                }
            }
        }
    }

    fn renew(&self, written: &Written) -> Result<(), MaterialFault> {
        let material = self.source.check_timely(written, SystemTime::now())?;
        let fingerprint = material.pair.fingerprint().to_owned();
        let until = timestamp::text(material.pair.not_after());
        self.serve(material);
        tracing::info!(event = "tls_reloaded", sha256_fingerprint = fingerprint, valid_until = until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Fingerprint = [1; 32];
    const HALF: Fingerprint = [2; 32];
    const NEW: Fingerprint = [3; 32];

    #[test]
    fn contents_count_when_two_looks_find_the_same() {
        let mut watch = Watch::new(OLD);
        for (seen, wanted) in [
            (Ok(OLD), Step::Rest),
            (Ok(HALF), Step::Wait),
            (Ok(NEW), Step::Wait),
            (Err("gone"), Step::Wait),
            (Ok(NEW), Step::Wait),
            (Ok(NEW), Step::Try),
        ] {
            assert_eq!(watch.look(seen.map_err(str::to_owned), OLD), wanted, "{seen:?}");
        }
        assert_eq!(watch.look(Ok(NEW), NEW), Step::Rest);
    }

    #[test]
    fn a_fault_is_tried_again_and_told_once() {
        let mut watch = Watch::new(OLD);
        assert_eq!(watch.look(Ok(NEW), OLD), Step::Wait);
        for told in [true, false, false] {
            assert_eq!(watch.look(Ok(NEW), OLD), Step::Try);
            assert_eq!(watch.complains("broken"), told);
        }
        assert!(watch.complains("broken otherwise"));
        assert_eq!(watch.look(Ok(OLD), OLD), Step::Rest);
        assert!(watch.complains("broken otherwise"), "it was good in between");
    }
}
