//! What the running kernel can enforce, and what follows from it: the level that is told per package.

use std::{ptr, sync::LazyLock};

use serde::Serialize;

/// The newest Landlock interface that our rules make use of.
const NEWEST_LANDLOCK: i32 = 9;

/// What each Landlock interface added that the sandbox is weaker without: `(interface, name)`. Seven and
/// eight are about audit and threads. Nine (Linux 7.1) bounds Unix sockets by path; until it is common, its
/// lack is no fault.
const PARTS: [(i32, &str); 5] =
    [(1, "landlock"), (3, "truncate"), (4, "tcp"), (5, "device_ioctl"), (6, "scopes")];

/// What a kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Version of Landlock's interface; 0: none.
    pub(super) landlock: i32,
    /// Whether filters can refuse system calls.
    pub(super) seccomp: bool,
}

static RUNNING: LazyLock<Kernel> = LazyLock::new(|| Kernel { landlock: landlock(), seccomp: seccomp() });

impl Kernel {
    /// The one that runs; asked once.
    pub(super) fn running() -> Self {
        *RUNNING
    }
}

fn landlock() -> i32 {
    const VERSION: u32 = 1;
    #[expect(unsafe_code, reason = "the version is asked for by a system call that no crate offers alone")]
    // SAFETY: without attributes and with this flag the call only returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<libc::c_void>(), 0_usize, VERSION)
    };
    // Errors are negative: not built in, switched off, or refused by a container's own filter.
    i32::try_from(version).unwrap_or(0).clamp(0, NEWEST_LANDLOCK)
}

fn seccomp() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    const RETURN_ERRNO: u32 = libc::SECCOMP_RET_ERRNO;
    #[expect(unsafe_code, reason = "the question is a system call that no crate offers")]
    // SAFETY: the call reads four bytes behind the pointer, which is valid for its whole time.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0_u32, ptr::from_ref::<u32>(&RETURN_ERRNO))
    };
    answer == 0 && super::filter::is_native()
}

/// What the sandbox of a package achieves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SandboxLevel {
    /// `full`, `partial` or `none`.
    pub level: &'static str,
    /// What is enforced: `landlock-<interface>`, `seccomp`, `rlimits`, `no_new_privs`, `capabilities`,
    /// `workers` (each worker in a domain of its own), `watched` (processes and memory are counted and ended), `cgroup` (the
    /// kernel bounds them, too, where a group was delegated).
    pub layers: Vec<String>,
    /// What is not: one of the layers, or a part of Landlock: `truncate`, `tcp`, `device_ioctl`, `scopes`
    /// (signals and abstract sockets).
    pub missing: Vec<&'static str>,
}

impl SandboxLevel {
    /// What this host can do for a package whose workers are forked.
    pub fn of_host() -> Self {
        Self::of(Kernel::running(), true)
    }

    /// `apart`: whether workers enter a domain of their own. Pure.
    pub(super) fn of(kernel: Kernel, apart: bool) -> Self {
        let missing_parts = PARTS.iter().filter(|(interface, _)| kernel.landlock < *interface);
        let mut missing: Vec<&'static str> = missing_parts.map(|(_, name)| *name).collect();
        let mut layers = Vec::new();
        if kernel.landlock > 0 {
            layers.push(format!("landlock-{}", kernel.landlock));
        }
        for (name, there) in [("seccomp", kernel.seccomp), ("workers", apart && kernel.landlock > 0)] {
            if there {
                layers.push(name.to_owned());
            } else {
                missing.push(name);
            }
        }
        layers.extend(["rlimits", "no_new_privs", "capabilities", "watched"].map(str::to_owned));
        let level = match (missing.is_empty(), kernel.landlock > 0 || kernel.seccomp) {
            (true, _) => "full",
            (false, true) => "partial",
            (false, false) => "none",
        };
        Self { level, layers, missing }
    }

    /// The same where the kernel bounds processes and memory in a group.
    pub(crate) fn grouped(mut self, is_grouped: bool) -> Self {
        if is_grouped {
            self.layers.push("cgroup".to_owned());
        }
        self
    }

    /// What a sandbox that is switched off achieves.
    pub(super) fn off() -> Self {
        Self { level: "none", layers: Vec::new(), missing: vec!["landlock", "seccomp", "workers"] }
    }

    /// Whether nothing is missing.
    pub fn is_full(&self) -> bool {
        self.missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(landlock: i32, seccomp: bool, apart: bool) -> SandboxLevel {
        SandboxLevel::of(Kernel { landlock, seccomp }, apart)
    }

    #[test]
    fn a_kernel_that_lacks_something_is_told_by_what_it_lacks() {
        let full = level(6, true, true);
        assert_eq!((full.level, full.is_full(), full.missing.as_slice()), ("full", true, &[][..]));
        assert_eq!(full.layers[..3], ["landlock-6", "seccomp", "workers"]);
        for (landlock, seccomp, apart, name, missing) in [
            (5, true, true, "partial", vec!["scopes"]),
            (3, true, true, "partial", vec!["tcp", "device_ioctl", "scopes"]),
            (7, false, true, "partial", vec!["seccomp"]),
            (7, true, false, "partial", vec!["workers"]),
            (
                0,
                true,
                true,
                "partial",
                vec!["landlock", "truncate", "tcp", "device_ioctl", "scopes", "workers"],
            ),
        ] {
            let told = level(landlock, seccomp, apart);
            assert_eq!((told.level, told.missing.clone()), (name, missing), "{told:?}");
            assert!(!told.is_full());
        }
        assert_eq!(level(0, false, false).level, "none");
        assert_eq!(SandboxLevel::off().level, "none");
    }

    #[test]
    fn the_running_kernel_answers() {
        let kernel = Kernel::running();
        assert!((0..=NEWEST_LANDLOCK).contains(&kernel.landlock), "{kernel:?}");
    }
}
