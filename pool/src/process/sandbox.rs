//! What a package's processes cannot reach: the runtime's own directories. Applied between fork and exec of the
//! template and inherited by all its workers. The rest of the file system stays as the operator's user sees it.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::{CapabilitySet, remove_capability_from_bounding_set},
};

/// Directories that agents never see (data, cache, sockets), and directories below them that all agents may read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shield {
    /// Never seen, as real paths.
    pub(crate) hidden: Vec<PathBuf>,
    /// Readable all the same: the worker's own code.
    pub(crate) shared: Vec<PathBuf>,
    /// Each package's own temporary directory is made below this one.
    pub(crate) temporary: PathBuf,
}

/// Capabilities that no agent has, not even one that runs as root: with them it could read the runtime's memory
/// (`PERFMON` and `SYS_ADMIN` are enough for `/proc/<pid>/environ` since Linux 6.13), trace it, or undo the rules.
const NEVER: &[CapabilitySet] = &[
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::PERFMON,
    CapabilitySet::BPF,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::MKNOD,
    CapabilitySet::DAC_READ_SEARCH,
];

/// The newest interface we know how to use; older kernels do what they can.
const NEWEST: ABI = ABI::V6;

/// What the running kernel lets us enforce, for people.
pub fn level() -> &'static str {
    // A ruleset that demands the feature is refused by a kernel that lacks it.
    let has = |abi: ABI| {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))
            .and_then(Ruleset::create)
            .is_ok()
    };
    if has(ABI::V1) {
        "landlock: runtime directories hidden, signals scoped where the kernel can"
    } else {
        "none"
    }
}

impl Shield {
    /// Prepares a command: own process group, death with its parent, a temporary directory (and home) of its own, and
    /// the rules. `name` must be fit for a file name.
    pub(crate) fn apply(&self, command: &mut Command, readable: &[PathBuf], name: &str) -> io::Result<()> {
        let temporary = self.temporary.join(name);
        std::fs::create_dir_all(&temporary)?;
        command.process_group(0).env("TMPDIR", &temporary).env("HOME", &temporary);
        let mut rules = Some(self.rules(readable, &temporary)?);
        let confine = move || -> io::Result<()> {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            for capability in NEVER {
                // Whoever may not drop it does not have it to give.
                remove_capability_from_bounding_set(*capability).ok();
            }
            if let Some(rules) = rules.take() {
                rules.restrict_self().map_err(|error| io::Error::other(error.to_string()))?;
            }
            Ok(())
        };
        #[expect(unsafe_code, reason = "Command::pre_exec is the only hook between fork and exec")]
        // SAFETY: the closure runs in the forked child before exec. It makes system calls (prctl,
        // landlock_restrict_self) on values made before the fork, takes no lock that another thread could hold and
        // allocates only on the path that then fails the spawn.
        unsafe {
            command.pre_exec(confine);
        }
        Ok(())
    }

    fn rules(&self, readable: &[PathBuf], temporary: &Path) -> io::Result<RulesetCreated> {
        let all = AccessFs::from_all(NEWEST);
        let read = AccessFs::from_read(NEWEST);
        let denied = |error: landlock::RulesetError| io::Error::other(error.to_string());
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)
            .and_then(|rules| rules.scope(Scope::Signal))
            .and_then(Ruleset::create)
            .map_err(denied)?;
        let open = visible(&self.hidden);
        let granted = open
            .iter()
            .map(|path| (path.as_path(), all))
            .chain(self.shared.iter().map(|path| (path.as_path(), read)))
            .chain(readable.iter().map(|path| (path.as_path(), read)))
            .chain(std::iter::once((temporary, all)));
        for (path, access) in granted {
            // A path that went away since it was listed grants nothing.
            let Ok(fd) = PathFd::new(path) else { continue };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
            rules = rules.add_rule(PathBeneath::new(fd, access)).map_err(denied)?;
        }
        Ok(rules)
    }
}

/// The largest subtrees that contain no hidden directory. Landlock only grants, so what is to be hidden must be left
/// out: along the way to a hidden directory every sibling is granted by itself.
fn visible(hidden: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut granted = BTreeSet::new();
    walk(Path::new("/"), hidden, &mut granted);
    granted
}

fn walk(directory: &Path, hidden: &[PathBuf], granted: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if hidden.contains(&path) {
            continue;
        }
        let leads_to_hidden = hidden.iter().any(|hidden| hidden.starts_with(&path));
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if leads_to_hidden && !is_link {
            walk(&path, hidden, granted);
        } else if !is_link || path.file_name() != Some(OsStr::new("..")) {
            granted.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_below_nothing_that_is_granted() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for name in ["a/secret", "a/open", "b"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        let granted = visible(&[top.join("a/secret")]);
        assert!(granted.contains(&top.join("a/open")));
        assert!(granted.contains(&top.join("b")));
        assert!(!granted.iter().any(|path| top.join("a/secret").starts_with(path)));
    }
}
