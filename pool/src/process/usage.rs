//! What the kernel tells about a process: time on the processor, memory.

use std::path::PathBuf;

/// Whether any thread of a process is running or waiting for a core right now. Its time on the processor would not
/// tell: on a full machine a worker that computes may get none of it for milliseconds. Source: proc(5), `stat`, third
/// field.
pub(crate) fn is_runnable(pid: u32) -> Option<bool> {
    let runnable = |stat: PathBuf| {
        let stat = std::fs::read_to_string(stat).ok()?;
        // The name in parentheses may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        Some(rest.trim_start().starts_with('R'))
    };
    let threads = PathBuf::from(format!("/proc/{pid}/task"));
    // The first thread is mostly the one that computes.
    if runnable(threads.join(format!("{pid}/stat")))? {
        return Some(true);
    }
    let others = std::fs::read_dir(threads).ok()?.flatten().map(|thread| thread.path().join("stat"));
    Some(others.filter_map(runnable).any(|state| state))
}

/// Time on the processor since its start, of all its threads, in seconds. Source: proc(5), `stat`, `utime` and `stime`.
pub(crate) fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory in bytes, shared pages included: cheap, and an upper bound of [`proportional`].
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Proportional set size in bytes: shared pages divided among those that share them. Costs the kernel a walk over the
/// page tables, up to a millisecond for large processes.
pub(crate) fn proportional(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Bytes that a process is to answer for: its proportional set, or all that is resident if it has made itself
/// unreadable.
pub(crate) fn own(pid: u32) -> Option<u64> {
    proportional(pid).or_else(|| resident(pid))
}

/// Memory that could be used without swapping, in bytes.
pub fn available_memory() -> Option<u64> {
    memory("MemAvailable:")
}

/// Memory of the machine, in bytes.
pub fn total_memory() -> Option<u64> {
    memory("MemTotal:")
}

fn memory(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_figures_are_there() {
        let me = std::process::id();
        assert_eq!(is_runnable(me), Some(true));
        let resident = resident(me).unwrap();
        assert!(resident > 100_000);
        assert!(proportional(me).unwrap() <= resident + 4096 * 1024);
        assert!(processor_seconds(me).unwrap() < 1e6);
        assert!(available_memory().unwrap() > 0);
        assert_eq!(resident_of_nobody(), None);
    }

    fn resident_of_nobody() -> Option<u64> {
        resident(u32::MAX)
    }
}
