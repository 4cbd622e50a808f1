//! Ending what carries a mark, faster than it can start more.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    census::{self, Resident},
    mark::Mark,
};

/// Rounds until a sweep gives up; it is repeated at the next look. Each ends all that it sees, so what forks
/// must have started a process between the look at its number and its end, every time.
const ROUNDS: usize = 200;

/// Between two rounds, for the kernel to end what was killed.
const BREATH: Duration = Duration::from_millis(1);

/// The same while nobody new has come: what was killed goes in its own time, and every look at all processes takes
/// some milliseconds of a processor from others.
const PATIENCE: Duration = Duration::from_millis(50);

/// Rounds in a row that find nobody. A process that changes its parent during a look is not seen by that one.
const QUIET: usize = 2;

/// Ends all that carry a mark but for whom `spared` speaks, until nobody else is left. It is told the round
/// and the process.
pub(super) fn sweep(mark: Mark, mut spared: impl FnMut(usize, &Resident) -> bool) {
    let mut quiet = 0;
    let mut killed: HashMap<u32, OwnedFd> = HashMap::new();
    for round in 0..ROUNDS {
        let found = census::take();
        let mut victims = Vec::new();
        let mut fresh = false;
        for one in found.iter().filter(|one| one.mark == mark && !spared(round, one)) {
            victims.push(one.pid);
            // What was killed already is on its way, unless its number is somebody else's by now.
            if killed.get(&one.pid).is_some_and(|process| !has_ended(process)) {
                continue;
            }
            fresh = true;
            killed.extend(kill(one.pid, mark).map(|process| (one.pid, process)));
        }
        killed.retain(|pid, _| victims.contains(pid));
        quiet = if victims.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET {
            return;
        }
        if fresh || killed.is_empty() {
            thread::sleep(BREATH);
        } else {
            await_ends(killed.values(), PATIENCE);
        }
    }
}

fn kill(pid: u32, mark: Mark) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
    // Its number may be somebody else's by now; the descriptor cannot.
    if Mark::of(pid) == Some(mark) {
        pidfd_send_signal(&process, Signal::KILL).ok();
    }
    Some(process)
}

fn has_ended(process: &OwnedFd) -> bool {
    ended(process, Duration::ZERO)
}

/// Waits until a process has ended, at most for so long; whether it has. One that cannot be asked has.
fn ended(process: &OwnedFd, longest: Duration) -> bool {
    let longest = Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&longest)) != Ok(0)
}

/// Returns when all of them have ended, or after `longest`.
fn await_ends<'a>(processes: impl Iterator<Item = &'a OwnedFd>, longest: Duration) {
    let begin = Instant::now();
    for process in processes {
        ended(process, longest.saturating_sub(begin.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_is_awaited_and_no_longer_than_it_takes() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(!has_ended(&process));
        let begin = Instant::now();
        await_ends([&process, &process].into_iter(), Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20));
        child.kill().unwrap();
        let begin = Instant::now();
        await_ends([&process, &process].into_iter(), Duration::from_millis(900));
        assert!(has_ended(&process) && begin.elapsed() < Duration::from_millis(900));
        child.wait().unwrap();
    }
}
