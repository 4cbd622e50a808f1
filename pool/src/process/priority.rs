//! Who gets the processor first. An import may take seconds of it, and calls should not notice.
//!
//! What imports runs when nobody else wants to (`SCHED_IDLE`). A low priority alone is not enough: it gets little time,
//! but what it gets is a slice of its own, and whoever wakes up meanwhile waits for its end.
//!
//! A worker that finds everything imported is raised as soon as it is forked. Its start takes some milliseconds; taken
//! from what nobody else wants, they are a debt. The kernel remembers that it had more than its share, and when its first
//! calls come, on a processor that has other work, it lets it wait until the others have had as much: 10 to 20 ms in
//! which every caller of the new version waited.
//!
//! A process may always make itself less important, but only `CAP_SYS_NICE` takes that back, and workers inherit from
//! their template. So a template imports at low priority where we may raise it again before the first fork; elsewhere
//! its own code makes it a batch task meanwhile (`SCHED_BATCH`), which costs it the right to interrupt others.

use std::{
    fs,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    process::{Pid, setpriority_process},
    thread::{CapabilitySet, capabilities},
};

/// Only where the policy is refused: weight 15 against 1,024 of a process of normal priority. With 10 (weight 110) the
/// p99 of calls during rollouts at half load was 2.5 times as high, their median 7 times.
const LOW: i32 = 19;

static MAY_RAISE: LazyLock<bool> =
    LazyLock::new(|| capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE)));

/// How long a fork makes do with what nobody else wants: a hundred times what one takes on a machine with room.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A template that came for a rollout, and what it forks until that has imported: they take what nobody else wants.
#[derive(Debug)]
pub(crate) struct Low {
    pid: u32,
    is_low: AtomicBool,
}

impl Low {
    /// Makes it less important, if that can be taken back.
    pub(super) fn new(pid: u32) -> Self {
        set_other(pid, LOW, libc::SCHED_IDLE);
        Self { pid, is_low: AtomicBool::new(true) }
    }

    /// Whether what it forks now begins low.
    pub(super) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Takes it back.
    pub(super) fn raise(&self) {
        if self.is_low.swap(false, Ordering::Relaxed) {
            set_other(self.pid, 0, libc::SCHED_OTHER);
        }
    }
}

/// The same for a process that was forked by one that was low, with the threads that it has started.
pub(super) fn raise(pid: u32) {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for thread in threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
        set_other(thread, 0, libc::SCHED_OTHER);
    }
}

/// Whether what is lowered can be raised again.
pub(super) fn may_raise() -> bool {
    *MAY_RAISE
}

/// Makes a child less important that is about to become its program. Makes system calls and nothing else.
pub(super) fn lower_child() {
    set(None, LOW, libc::SCHED_IDLE);
}

fn set_other(pid: u32, nice: i32, policy: i32) {
    if may_raise()
        && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
    {
        set(Some(pid), nice, policy);
    }
}

/// `None`: the calling process.
fn set(pid: Option<Pid>, nice: i32, policy: i32) {
    // A process that is gone needs no priority, and a host that refuses is obeyed.
    setpriority_process(pid, nice).ok();
    let param = libc::sched_param { sched_priority: 0 };
    #[expect(unsafe_code, reason = "no crate sets the policy of another process")]
    // SAFETY: `param` lives for the whole call, which only reads it.
    unsafe {
        libc::sched_setscheduler(Pid::as_raw(pid), policy, &raw const param);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    /// Policy and nice value, as the kernel tells them.
    fn shown(pid: u32) -> (String, String) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        let field = |number: usize| stat.split_whitespace().nth(number - 1).unwrap_or_default().to_owned();
        (field(41), field(19))
    }

    #[test]
    fn a_process_is_lowered_where_it_can_be_raised_again() {
        let sleeper = Sleeper(Command::new("sleep").arg("60").spawn().expect("a process"));
        let pid = sleeper.0.id();
        let low = Low::new(pid);
        let (policy, nice) = if *MAY_RAISE { ("5", "19") } else { ("0", "0") };
        assert_eq!(shown(pid), (policy.to_owned(), nice.to_owned()));
        low.raise();
        assert!(!low.is_low());
        assert_eq!(shown(pid), ("0".to_owned(), "0".to_owned()));
    }

    #[test]
    fn what_it_has_forked_is_raised_apart() {
        let sleeper = Sleeper(Command::new("sleep").arg("60").spawn().expect("a process"));
        let _low = Low::new(sleeper.0.id());
        raise(sleeper.0.id());
        assert_eq!(shown(sleeper.0.id()), ("0".to_owned(), "0".to_owned()));
    }
}
