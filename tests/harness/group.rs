//! Groups of processes (cgroups, version 2) that were given away, as service managers and containers do it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::fs::{XattrFlags, setxattr};

use super::ParBuilder;

/// Where the kernel shows them, if it shows those of version 2 alone.
const ROOT: &str = "/sys/fs/cgroup";

/// Lives until it is dropped; whoever is in it then has ended.
pub(crate) struct Group(PathBuf);

impl Group {
    /// A new one, marked as somebody's own. None where this machine has none to give: then it says why.
    pub(crate) fn delegated() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = Path::new(ROOT);
        let offered = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        if !["memory", "pids"].iter().all(|one| offered.split_ascii_whitespace().any(|there| there == *one)) {
            eprintln!("skipped: {ROOT} offers no memory and pids of version 2");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("par-tests-{}-{number}", std::process::id()));
        let given = fs::write(root.join("cgroup.subtree_control"), "+memory +pids")
            .and_then(|()| fs::create_dir(&path))
            .and_then(|()| Ok(setxattr(&path, "user.delegate", b"1", XattrFlags::empty())?));
        match given {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("skipped: no group can be given away here: {error}");
                None
            }
        }
    }

    /// A `par` that starts in it.
    pub(crate) fn holding(&self, par: ParBuilder) -> ParBuilder {
        let enter = "echo 0 > \"$1/cgroup.procs\" && shift && exec \"$@\"";
        par.through(&["sh", "-c", enter, "sh", &self.0.to_string_lossy()])
    }

    /// The groups that were made in it.
    pub(crate) fn parts(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("it is there");
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in self.parts() {
            fs::remove_dir(part).ok();
        }
        fs::remove_dir(&self.0).ok();
    }
}
