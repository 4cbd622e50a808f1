//! What the kernel offers: confinement, the calls that the pool is built on, descriptors, memory.

use std::{
    fs, io,
    os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr, unix::net::UnixListener},
    path::{Path, PathBuf},
};

use par_pool::process::{SandboxLevel, SandboxMode, available_memory, total_memory};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{PidfdFlags, getpid, pidfd_open, set_child_subreaper},
};

use super::checked::Check;
use crate::edge::most_connections;

/// Below this the gateway, a template and a few workers of a package with pandas (200 MB) have no room.
const LEAST_MEMORY: u64 = 256 << 20;

/// What of a package's confinement this host can do.
pub(super) fn sandbox(mode: SandboxMode) -> Check {
    judge_sandbox(mode, &SandboxLevel::of_host())
}

/// Pure.
fn judge_sandbox(mode: SandboxMode, level: &SandboxLevel) -> Check {
    const NAME: &str = "sandbox";
    const REMEDY: &str = "use Linux 6.12 or newer with Landlock among its `lsm`; in a container let its seccomp profile allow \
                          the landlock system calls";
    let found = format!("{}: {}", level.level, level.layers.join(", "));
    let lacking = || format!("{found}; missing: {}", level.missing.join(", "));
    match mode {
        SandboxMode::Off => Check::warning(
            NAME,
            "switched off: packages reach all that the user of par reaches",
            "set `sandbox` to auto or require",
        ),
        SandboxMode::Auto | SandboxMode::Require if level.is_full() => Check::ok(NAME, found),
        SandboxMode::Auto => Check::warning(NAME, lacking(), REMEDY),
        SandboxMode::Require => {
            Check::failed(NAME, format!("{}; so no package is mounted", lacking()), REMEDY)
        }
    }
}

/// Whether the calls that the pool is built on work here, each tried once.
pub(super) fn calls() -> Check {
    let calls: [(&'static str, io::Result<()>); 4] = [
        ("pidfd_open", pidfd_open(getpid(), PidfdFlags::empty()).map(drop).map_err(Into::into)),
        ("memfd_create", memfd_create("par-doctor", MemfdFlags::CLOEXEC).map(drop).map_err(Into::into)),
        ("PR_SET_CHILD_SUBREAPER", set_child_subreaper(Some(getpid())).map_err(Into::into)),
        ("abstract Unix sockets", abstract_socket()),
    ];
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let tried = calls.map(|(name, outcome)| (name, outcome.err().map(|error| error.to_string())));
    judge_calls(release.trim(), &tried)
}

fn abstract_socket() -> io::Result<()> {
    let name = format!("par-doctor-{}", std::process::id());
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?).map(drop)
}

/// Pure. Each call with what went wrong.
fn judge_calls(release: &str, tried: &[(&str, Option<String>)]) -> Check {
    let broken: Vec<_> =
        tried.iter().filter_map(|(name, fault)| Some(format!("{name} ({})", fault.as_deref()?))).collect();
    if broken.is_empty() {
        let names: Vec<_> = tried.iter().map(|(name, _)| *name).collect();
        return Check::ok("kernel", format!("Linux {release}: {}", names.join(", ")));
    }
    Check::failed(
        "kernel",
        format!("Linux {release} refuses {}", broken.join(", ")),
        "use Linux 5.10 or newer; in a container let its seccomp profile allow these calls",
    )
}

/// Whether there are descriptors for as many connections as are allowed.
pub(super) fn descriptors(wanted: usize) -> Check {
    judge_descriptors(wanted, most_connections(wanted))
}

/// Pure.
fn judge_descriptors(wanted: usize, most: usize) -> Check {
    if most >= wanted {
        return Check::ok("open files", format!("enough for {wanted} connections"));
    }
    Check::warning(
        "open files",
        format!("enough for {most} connections only, {wanted} are allowed"),
        "raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower server.max_connections",
    )
}

/// How much memory there is for par and its workers.
pub(super) fn memory() -> Check {
    judge_memory(total_memory(), available_memory(), group_limit())
}

/// Pure. All in bytes; `limit`: of the control group, if it has one.
fn judge_memory(total: Option<u64>, available: Option<u64>, limit: Option<u64>) -> Check {
    let (Some(total), Some(available)) = (total, available) else {
        return Check::skipped("memory", "/proc/meminfo cannot be read");
    };
    let bound = limit.filter(|limit| *limit < total);
    let group =
        bound.map_or_else(|| "no limit of a cgroup".to_owned(), |limit| format!("cgroup: {}", size(limit)));
    let found = format!("{} of {} available; {group}", size(available), size(total));
    if available.min(bound.unwrap_or(u64::MAX)) < LEAST_MEMORY {
        let remedy = format!("give it more: {} are little for a gateway and workers", size(LEAST_MEMORY));
        return Check::warning("memory", found, remedy);
    }
    Check::ok("memory", found)
}

/// The least of what our control group and those around it allow. Sources: the kernel's
/// `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`.
fn group_limit() -> Option<u64> {
    let ours = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (root, file, path) = group(&ours)?;
    let mut places: Vec<PathBuf> =
        Path::new(path).ancestors().map(|path| root.join(path.strip_prefix("/").unwrap_or(path))).collect();
    // A container sees its own group at the root, whatever the path says.
    places.push(root.to_path_buf());
    places.iter().filter_map(|place| fs::read_to_string(place.join(file)).ok()?.trim().parse().ok()).min()
}

/// Where limits of a group are, which file of it has that of memory, and which group is ours. Pure.
fn group(ours: &str) -> Option<(&'static Path, &'static str, &str)> {
    let first = ours.lines().find_map(|line| line.strip_prefix("0::"));
    let memory = ours.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|controller| controller == "memory").then_some(path)
    });
    match (memory, first) {
        (Some(path), _) => Some((Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", path)),
        (None, Some(path)) => Some((Path::new("/sys/fs/cgroup"), "memory.max", path)),
        (None, None) => None,
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    if bytes >= 1 << 30 {
        return format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    }
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    #[test]
    fn what_is_missing_of_the_sandbox_matters_as_far_as_the_operator_asks() {
        let full = SandboxLevel { level: "full", layers: vec!["landlock-6".to_owned()], missing: vec![] };
        let partial = SandboxLevel { level: "partial", missing: vec!["scopes"], ..full.clone() };
        for (mode, level, wanted) in [
            (SandboxMode::Auto, &full, Verdict::Ok),
            (SandboxMode::Require, &full, Verdict::Ok),
            (SandboxMode::Auto, &partial, Verdict::Warning),
            (SandboxMode::Require, &partial, Verdict::Failed),
            (SandboxMode::Off, &full, Verdict::Warning),
        ] {
            assert_eq!(judge_sandbox(mode, level).verdict, wanted, "{mode:?} {level:?}");
        }
        assert_eq!(judge_sandbox(SandboxMode::Auto, &partial).found, "partial: landlock-6; missing: scopes");
    }

    #[test]
    fn a_call_that_is_refused_is_named_with_its_reason() {
        let judged = judge_calls("5.4.0", &[("pidfd_open", None), ("memfd_create", Some("refused".into()))]);
        assert_eq!(
            (judged.verdict, judged.found.as_str()),
            (Verdict::Failed, "Linux 5.4.0 refuses memfd_create (refused)")
        );
        assert_eq!(calls().verdict, Verdict::Ok, "here they work");
    }

    #[test]
    fn connections_are_as_many_as_there_are_descriptors_for() {
        assert_eq!(judge_descriptors(100, 100).verdict, Verdict::Ok);
        assert_eq!(judge_descriptors(10_000, 768).verdict, Verdict::Warning);
    }

    #[test]
    fn memory_is_the_less_of_what_is_available_and_what_the_group_may_have() {
        let (gib, mib) = (1 << 30, 1 << 20);
        for (available, limit, wanted) in [
            (gib, None, Verdict::Ok),
            (gib, Some(2 * gib), Verdict::Ok),
            (gib, Some(128 * mib), Verdict::Warning),
            (100 * mib, None, Verdict::Warning),
        ] {
            assert_eq!(judge_memory(Some(4 * gib), Some(available), limit).verdict, wanted);
        }
        let unbounded = judge_memory(Some(4 * gib), Some(gib), Some(u64::MAX));
        assert_eq!(unbounded.found, "1.0 GiB of 4.0 GiB available; no limit of a cgroup");
        assert_eq!(judge_memory(None, None, None).verdict, Verdict::Skipped);
    }

    #[test]
    fn our_group_is_found_in_both_versions() {
        let second = group("0::/system.slice/par.service\n").unwrap();
        assert_eq!((second.1, second.2), ("memory.max", "/system.slice/par.service"));
        let first = group("12:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/\n").unwrap();
        assert_eq!((first.1, first.2), ("memory.limit_in_bytes", "/docker/abc"));
        assert_eq!(group(""), None);
    }
}
