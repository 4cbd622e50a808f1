//! What `/proc` tells about processes.

use std::{collections::HashMap, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// One process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: u32,
    started: u64,
}

struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

/// Fields 3, 4 and 22 of proc(5) `stat`; the name in brackets may hold anything, so counting starts behind it.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is there");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

impl Process {
    /// A process that runs now.
    pub(crate) fn running(pid: u32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.started })
    }

    /// Whether it still runs; a zombie does not.
    pub(crate) fn alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Its children, their children and so on.
    pub(crate) fn descendants(self) -> Vec<Self> {
        let mut children: HashMap<u32, Vec<Self>> = HashMap::new();
        for pid in all() {
            if let Some(stat) = stat(pid) {
                children.entry(stat.parent).or_default().push(Self { pid, started: stat.started });
            }
        }
        let mut found = vec![];
        let mut next = vec![self];
        while let Some(process) = next.pop() {
            let born = children.remove(&process.pid).unwrap_or_default();
            found.extend(&born);
            next.extend(born);
        }
        found
    }

    /// Sends a signal; a process that is gone is fine.
    pub(crate) fn signal(self, signal: Signal) {
        if self.alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal).ok();
        }
    }

    /// Its command line, for messages.
    pub(crate) fn command(self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }
}

/// Processes that have a file below `directory` open, as their working directory, or named in their command line:
/// also finds those that lost their parent.
pub(crate) fn using(directory: &Path) -> Vec<Process> {
    let named = directory.to_string_lossy();
    all()
        .into_iter()
        .filter(|pid| *pid != std::process::id())
        .filter_map(Process::running)
        .filter(|process| process.alive())
        .filter(|process| {
            let base = format!("/proc/{}", process.pid);
            let works = fs::read_link(format!("{base}/cwd")).is_ok_and(|path| path.starts_with(directory));
            let opens = fs::read_dir(format!("{base}/fd")).is_ok_and(|entries| {
                entries
                    .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                    .any(|path| path.starts_with(directory))
            });
            works || opens || process.command().contains(&*named)
        })
        .collect()
}
