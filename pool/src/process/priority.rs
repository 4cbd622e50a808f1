//! Who gets the processor first. An import may take seconds of it, and calls should not notice.
//!
//! A process may always make itself less important, but only `CAP_SYS_NICE` takes that back, and workers inherit from
//! their template. So a template imports at low priority where we may raise it again before the first fork; elsewhere
//! its own code makes it a batch task meanwhile (`SCHED_BATCH`), which costs it the right to interrupt others.

use std::sync::LazyLock;

use rustix::{
    process::{Pid, setpriority_process},
    thread::{CapabilitySet, capabilities},
};

/// Weight 15 against 1,024 of a process of normal priority: an import beside busy calls gets what nobody else wants.
/// With 10 (weight 110) the p99 of calls during rollouts at half load was 2.5 times as high, their median 7 times.
const LOW: i32 = 19;

static MAY_RAISE: LazyLock<bool> =
    LazyLock::new(|| capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE)));

/// Makes a process that imports less important, if that can be taken back.
pub(crate) fn lower(pid: u32) {
    if *MAY_RAISE && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that is gone needs no priority.
        setpriority_process(Some(pid), LOW).ok();
    }
}

/// Takes it back.
pub(crate) fn raise(pid: u32) {
    if *MAY_RAISE && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        setpriority_process(Some(pid), 0).ok();
    }
}
