//! Who is there: the living processes below this one that carry a mark.

use std::{collections::HashMap, fs};

use super::mark::Mark;

/// A living process of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) threads: u32,
    pub(super) mark: Mark,
}

/// All that descend from this process through marked ones. Marks of another runtime on this host are its own
/// affair. Costs about 10 us for each process of the host.
pub(super) fn take() -> Vec<Resident> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    below(std::process::id(), pids.filter_map(resident))
}

/// Those that descend from `root`. Pure.
fn below(root: u32, all: impl Iterator<Item = Resident>) -> Vec<Resident> {
    let mut children: HashMap<u32, Vec<Resident>> = HashMap::new();
    for one in all {
        children.entry(one.parent).or_default().push(one);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut seen = 0;
    while let Some(one) = found.get(seen) {
        let more = children.remove(&one.pid).unwrap_or_default();
        found.extend(more);
        seen += 1;
    }
    found
}

fn resident(pid: u32) -> Option<Resident> {
    let mark = Mark::of(pid)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads = fields.nth(15)?.parse().ok()?;
    // What has ended takes a number, and no more.
    (!matches!(state, "Z" | "X")).then_some(Resident { pid, parent, threads, mark })
}

/// The number that was given to a process or thread last: numbers ascend, so it tells how many have started.
/// Source: proc(5), `/proc/loadavg`, fifth field.
pub(super) fn newest() -> Option<u32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descendants_through_marked_processes_are_found() {
        let mark = Mark::next();
        let one = |pid, parent| Resident { pid, parent, threads: 1, mark };
        let all = [one(30, 20), one(20, 10), one(40, 1), one(50, 40), one(60, 30), one(70, 10)];
        let mut found: Vec<u32> = below(10, all.into_iter()).iter().map(|one| one.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [20, 30, 60, 70]);
    }

    #[test]
    fn numbers_ascend_with_what_starts() {
        let before = newest().unwrap();
        std::thread::spawn(|| ()).join().unwrap();
        assert_ne!(newest().unwrap(), before);
    }
}
