//! Ending what carries a mark, faster than it can start more.

use std::{collections::HashSet, thread, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    census::{self, Resident},
    mark::Mark,
};

/// Rounds until a sweep gives up; it is repeated at the next look. Each ends all that it sees, so what forks
/// must have started a process between the look at its number and its end, every time.
const ROUNDS: usize = 200;

/// Between two rounds, for the kernel to end what was killed.
const BREATH: Duration = Duration::from_millis(1);

/// Rounds in a row that find nobody. A process that changes its parent during a look is not seen by that one.
const QUIET: usize = 2;

/// Ends all that carry a mark but for whom `spared` speaks, until nobody else is left. It is told the round
/// and the process.
pub(super) fn sweep(mark: Mark, mut spared: impl FnMut(usize, &Resident) -> bool) {
    let mut quiet = 0;
    for round in 0..ROUNDS {
        let found = census::take();
        let victims: HashSet<u32> =
            found.iter().filter(|one| one.mark == mark && !spared(round, one)).map(|one| one.pid).collect();
        for pid in &victims {
            kill(*pid, mark);
        }
        quiet = if victims.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET {
            return;
        }
        thread::sleep(BREATH);
    }
}

fn kill(pid: u32, mark: Mark) {
    let Some(number) = Pid::from_raw(pid.cast_signed()) else { return };
    let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else { return };
    // Its number may be somebody else's by now; the descriptor cannot.
    if Mark::of(pid) == Some(mark) {
        pidfd_send_signal(&process, Signal::KILL).ok();
    }
}
