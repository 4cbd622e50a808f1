//! Bounds that the kernel itself keeps, where a cgroup (version 2) was given into this runtime's hands: one group for
//! each package's processes. They stand behind the counting: what that would end a moment later cannot happen at all.
//!
//! A group is used that was delegated, and no other: by systemd (`Delegate=yes`, which marks the directory), by a
//! container whose own root it is, or by letting an ordinary user write to it. Source: the kernel's
//! `Documentation/admin-guide/cgroup-v2.rst`, systemd's `CGROUP_DELEGATION.md`.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rustix::fs::{Access, access, getxattr};

use super::mark::Mark;

/// What has to be there to bound a package.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// The group into which the runtime goes by itself: whatever bounds its children holds no processes.
const OWN: &str = "par";

/// How the groups of packages begin; the number of the runtime's process follows.
const PACKAGE: &str = "par-";

/// Marks of delegation, on the directory of a group.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Where groups may be made; none: nothing was delegated.
static BASE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let base = own().and_then(|(own, depth)| delegated(&own, depth))?;
    forget_others(&base);
    tracing::info!(event = "cgroup", path = %base.display(), "packages are bounded by groups of their own");
    Some(base)
});

/// Finds out whether a group was delegated, and goes into one of its own if so. Before anything else is started:
/// children stay where their parent was.
pub fn prepare() {
    LazyLock::force(&BASE);
}

/// The group of one package. Dropping it leaves it for [`Group::remove`] or for the next start.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    /// Whoever writes `0` to it goes in.
    door: Arc<File>,
    bounds: Mutex<Bounds>,
    /// Processes that the kernel has ended for their memory, as far as they were told.
    ended: AtomicU64,
}

/// What the kernel was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Processes and threads.
    pub(super) tasks: u64,
    /// Bytes.
    pub(super) memory: u64,
}

impl Group {
    /// A group for the processes that carry a mark; none where nothing was delegated or the kernel refuses.
    pub(super) fn of(mark: Mark, bounds: Bounds) -> Option<Self> {
        let base = BASE.as_deref()?;
        let made = Self::make(&base.join(name(std::process::id(), mark)), bounds);
        made.inspect_err(|error| {
            tracing::warn!(event = "cgroup_refused", %error, "a package is bounded by counting alone");
        })
        .ok()
    }

    fn make(path: &Path, bounds: Bounds) -> io::Result<Self> {
        match fs::create_dir(path) {
            // Marks come round again; what is left of the former one is ended by now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let opened = OpenOptions::new().write(true).open(path.join("cgroup.procs"));
        let made = opened.and_then(|door| {
            let (bounds_now, ended) = (Mutex::default(), AtomicU64::new(0));
            let group = Self { path: path.to_owned(), door: Arc::new(door), bounds: bounds_now, ended };
            group.bound(bounds)?;
            group.ended.store(group.count_ended(), Ordering::Relaxed);
            Ok(group)
        });
        if made.is_err() {
            fs::remove_dir(path).ok();
        }
        made
    }

    /// The way in, for a child that is about to start.
    pub(super) fn door(&self) -> Arc<File> {
        Arc::clone(&self.door)
    }

    /// Raises the bounds. They are never lowered: what is in use already would be ended, or not be bounded.
    pub(super) fn bound(&self, wanted: Bounds) -> io::Result<()> {
        let mut now = self.bounds.lock();
        let Bounds { tasks, memory } = &mut *now;
        for (file, wanted, now) in [("pids.max", wanted.tasks, tasks), ("memory.max", wanted.memory, memory)]
        {
            if wanted > *now {
                fs::write(self.path.join(file), wanted.to_string())?;
                *now = wanted;
            }
        }
        Ok(())
    }

    /// Whether the kernel has ended a process for its memory since this was asked last.
    pub(super) fn was_too_large(&self) -> bool {
        let ended = self.count_ended();
        self.ended.swap(ended, Ordering::Relaxed) < ended
    }

    fn count_ended(&self) -> u64 {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }

    /// Ends all that is in it, at once. Kernels before 5.14 cannot: the sweep does it.
    pub(super) fn kill(&self) {
        fs::write(self.path.join("cgroup.kill"), "1").ok();
    }

    /// Takes the group away. Those that still end hold it for a moment; what is left then is taken by the next start.
    pub(super) fn remove(&self) {
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            match fs::remove_dir(&self.path) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Ok(()) | Err(_) => return,
            }
        }
    }
}

fn name(pid: u32, mark: Mark) -> String {
    format!("{PACKAGE}{pid}-{}", mark.bytes())
}

/// Takes away what runtimes have left that are gone. What has processes cannot be taken.
fn forget_others(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(PACKAGE)?.split('-').next()?.parse().ok());
        let is_gone = owner.is_some_and(|pid: u32| !Path::new(&format!("/proc/{pid}")).exists());
        if is_gone {
            fs::remove_dir(entry.path()).ok();
        }
    }
}

/// The directory of the group that this process is in, and how far it is below the root of what it sees.
fn own() -> Option<(PathBuf, usize)> {
    place(&fs::read_to_string("/proc/self/cgroup").ok()?, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// From what proc(5) tells of groups and mounts. Pure.
fn place(groups: &str, mounts: &str) -> Option<(PathBuf, usize)> {
    let group = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = group.strip_prefix(root).ok()?;
        Some((Path::new(point).join(below), below.components().count()))
    })
}

/// Where groups can be made, given the directory of the own one; goes into a group of its own where that is needed.
fn delegated(own: &Path, depth: usize) -> Option<PathBuf> {
    // Where the service manager has put us beside the groups that we make (`DelegateSubgroup=`), or we have, before this
    // process became another binary. The root of a container has no more marks than when that was done.
    let was_ours = own.file_name().is_some_and(|name| name == OWN);
    if let Some(parent) = own.parent().filter(|_| depth > 0)
        && is_given(parent, was_ours && depth == 1)
        && offers(parent, "cgroup.subtree_control")
    {
        return Some(parent.to_owned());
    }
    let is_alone = || {
        let there = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
        there.split_ascii_whitespace().eq([std::process::id().to_string()])
    };
    if !is_given(own, depth == 0) || !offers(own, "cgroup.controllers") || !is_alone() {
        return None;
    }
    move_down(own)
        .inspect_err(|error| {
            tracing::warn!(event = "cgroup_refused", %error, "packages are bounded by counting alone");
        })
        .ok()
        .map(|()| own.to_owned())
}

/// Whether a group is ours to part. The superuser may write everywhere, so it has to be said; the root of a host is
/// nobody's.
fn is_given(group: &Path, is_root: bool) -> bool {
    let is_writable = [group.to_owned(), group.join("cgroup.procs"), group.join("cgroup.subtree_control")]
        .iter()
        .all(|path| access(path, Access::WRITE_OK).is_ok());
    let is_marked = || {
        DELEGATED.iter().any(|name| {
            let mut value = [0_u8; 4];
            getxattr(group, *name, &mut value[..]).is_ok_and(|length| value.get(..length) == Some(b"1"))
        })
    };
    // The root of a host has no type.
    let is_container = || is_root && group.join("cgroup.type").exists();
    is_writable && (!rustix::process::geteuid().is_root() || is_marked() || is_container())
}

fn offers(group: &Path, file: &str) -> bool {
    let there = fs::read_to_string(group.join(file)).unwrap_or_default();
    CONTROLLERS.iter().all(|one| there.split_ascii_whitespace().any(|there| there == *one))
}

/// Goes into a group below and hands the controllers on. What fails is taken back.
fn move_down(own: &Path) -> io::Result<()> {
    let (below, pid) = (own.join(OWN), std::process::id().to_string());
    match fs::create_dir(&below) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let moved = fs::write(below.join("cgroup.procs"), &pid).and_then(|()| {
        let wanted = CONTROLLERS.map(|one| format!("+{one}")).join(" ");
        fs::write(own.join("cgroup.subtree_control"), wanted)
    });
    moved.inspect_err(|_| {
        fs::write(own.join("cgroup.procs"), &pid).ok();
        fs::remove_dir(&below).ok();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_by_its_mount() {
        let hybrid = "9:name=systemd:/x\n4:memory:/y\n0::/user.slice/par.service\n";
        let mounts = "25 1 0:22 / /sys rw - sysfs sysfs rw\n\
                      30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let at = |path: &str, depth: usize| Some((PathBuf::from(path), depth));
        assert_eq!(place(hybrid, mounts), at("/sys/fs/cgroup/unified/user.slice/par.service", 2));
        assert_eq!(place("0::/\n", mounts), at("/sys/fs/cgroup/unified/", 0));
        // A container that sees the host's names, and only its own group.
        let bound = "31 25 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(place("0::/docker/abc/x\n", bound), at("/sys/fs/cgroup/x", 1));
        for (groups, mounts) in [("4:memory:/y\n", mounts), ("0::/\n", ""), ("0::/other\n", bound)] {
            assert_eq!(place(groups, mounts), None);
        }
    }

    /// A directory that looks like a group, as far as files can.
    fn pretended(controllers: &str, processes: &str) -> tempfile::TempDir {
        let group = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", ""),
            ("cgroup.procs", processes),
            ("cgroup.type", "domain\n"),
        ] {
            fs::write(group.path().join(file), text).unwrap();
        }
        group
    }

    #[test]
    fn a_group_is_parted_only_if_it_is_ours_alone_and_offers_what_is_needed() {
        let me = format!("{}\n", std::process::id());
        let enough = "cpuset cpu io memory hugetlb pids\n";
        let group = pretended(enough, &me);
        // A pretended directory has no files that appear by themselves.
        fs::create_dir(group.path().join(OWN)).unwrap();
        assert_eq!(delegated(group.path(), 0), Some(group.path().to_owned()));
        let read = |file: &str| fs::read_to_string(group.path().join(file)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+memory +pids");
        assert_eq!(read("par/cgroup.procs"), me.trim());
        // The same process has become another binary: it is below by now.
        fs::write(group.path().join("cgroup.subtree_control"), "memory pids\n").unwrap();
        assert_eq!(delegated(&group.path().join(OWN), 1), Some(group.path().to_owned()));
        for (controllers, processes) in [
            ("cpu memory\n", me.clone()),
            ("", me.clone()),
            (enough, format!("1\n{me}")),
            (enough, String::new()),
        ] {
            let group = pretended(controllers, &processes);
            assert_eq!(delegated(group.path(), 0), None, "{controllers} {processes}");
            assert!(!group.path().join(OWN).exists());
        }
    }

    #[test]
    fn bounds_are_raised_and_never_lowered_and_ends_are_told_once() {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("cgroup.procs"), "").unwrap();
        let made = Group::make(group.path(), Bounds { tasks: 5, memory: 100 }).unwrap();
        let read = |file: &str| fs::read_to_string(group.path().join(file)).unwrap();
        assert_eq!((read("pids.max"), read("memory.max")), ("5".to_owned(), "100".to_owned()));
        made.bound(Bounds { tasks: 9, memory: 50 }).unwrap();
        assert_eq!((read("pids.max"), read("memory.max")), ("9".to_owned(), "100".to_owned()));
        assert!(!made.was_too_large());
        fs::write(group.path().join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
            .unwrap();
        assert!(made.was_too_large());
        assert!(!made.was_too_large());
    }
}
