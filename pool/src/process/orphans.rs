//! Processes that agents leave behind come to us, so that they stay our descendants (and are refused at the inner
//! sockets), and are reaped when they end.

use std::{collections::HashSet, io, time::Duration};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

/// Time between two looks. A child of ours that has somebody who waits for it is gone by the second look.
const LOOK: Duration = Duration::from_secs(2);

/// Becomes the parent of all orphaned descendants, and starts the task that reaps them.
///
/// # Errors
/// If the kernel refuses.
pub fn adopt_orphans() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    tokio::spawn(async {
        let mut seen = HashSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let dead: HashSet<u32> = children().into_iter().filter(|pid| is_zombie(*pid)).collect();
            for pid in dead.intersection(&seen) {
                if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                    waitpid(Some(pid), WaitOptions::NOHANG).ok();
                }
            }
            seen = dead;
        }
    });
    Ok(())
}

/// Children of every thread of ours. Source: `/proc/<pid>/task/<tid>/children`, proc(5).
fn children() -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}
