//! `permissions` of a manifest as paths and ports of this host, or why the package is refused.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{
    paths::{self, Access, Grant, KERNEL},
    rules::Network,
};
use crate::package::Permissions;

/// Names are resolved over TCP where ports are listed: with them alone, no name would lead anywhere.
const NAMES: u16 = 53;

/// Why a package cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// `sandbox: require`, and not all of it can be had.
    #[error("the sandbox is required, but this host lacks {}", missing.join(", "))]
    Missing {
        /// The layers and parts that are missing.
        missing: Vec<&'static str>,
    },
    /// A permission that no package gets.
    #[error("permissions.{permission}: {path} {problem}")]
    Refused {
        /// `fs_read` or `fs_write`.
        permission: &'static str,
        /// The path as written.
        path: String,
        /// Why not.
        problem: &'static str,
    },
    /// The operating system refused.
    #[error("the sandbox could not be prepared")]
    System(#[from] io::Error),
}

/// The places that a package's relative paths start from, and what leads nowhere.
pub(super) struct Places<'a> {
    /// The package's files.
    pub(super) root: &'a Path,
    /// Its temporary directory.
    pub(super) temporary: &'a Path,
    /// What no permission opens, as real paths.
    pub(super) hidden: &'a [PathBuf],
}

/// What a manifest's paths grant. Those that do not exist on this host grant nothing, which is logged.
pub(super) fn paths(permissions: &Permissions, places: &Places<'_>) -> Result<Vec<Grant>, SandboxError> {
    let mut grants = Vec::new();
    let wanted =
        [("fs_read", &permissions.fs_read, Access::Read), ("fs_write", &permissions.fs_write, Access::Write)];
    for (permission, texts, access) in wanted {
        for text in texts {
            let refuse = |problem| SandboxError::Refused { permission, path: text.clone(), problem };
            let found = resolve(Path::new(text), access, places).map_err(refuse)?;
            if found.is_empty() {
                tracing::warn!(event = "permission_void", permission, path = text, "there is no such path");
            }
            grants.extend(found.into_iter().map(|path| Grant { path, access }));
        }
    }
    Ok(grants)
}

/// The ports that a manifest asks for.
pub(super) fn network(permissions: &Permissions) -> Network {
    let mut connect = permissions.net_connect.clone();
    if let Some(ports) = connect.as_mut().filter(|ports| !ports.is_empty() && !ports.contains(&NAMES)) {
        ports.push(NAMES);
    }
    Network { connect, bind: permissions.net_bind.clone() }
}

fn resolve(path: &Path, access: Access, places: &Places<'_>) -> Result<Vec<PathBuf>, &'static str> {
    if path.is_relative() {
        if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err("leads out of the package");
        }
        // Both are the package's own anyway: what is left is that the directory is there.
        if access == Access::Write {
            let own = places.temporary.join(path);
            return match fs::create_dir_all(&own) {
                Ok(()) => Ok(vec![own]),
                Err(_) => Err("cannot be made in the temporary directory"),
            };
        }
        return Ok(vec![places.root.join(path)]);
    }
    let Ok(real) = path.canonicalize() else {
        // Nobody could say where it leads if it appeared later.
        return if is_hidden(path, places.hidden) { Err(HIDDEN) } else { Ok(Vec::new()) };
    };
    if is_hidden(&real, places.hidden) {
        return Err(HIDDEN);
    }
    let kernel = KERNEL.iter().any(|name| real.starts_with(name));
    let devices = real.starts_with("/dev");
    // One device may be asked for by its name, all of them may not.
    let too_much = if devices { real.is_dir() } else { access == Access::Write };
    if kernel && too_much {
        return Err("belongs to the kernel");
    }
    let mut hidden = places.hidden.to_vec();
    if !kernel {
        hidden.extend(KERNEL.iter().map(PathBuf::from));
    }
    Ok(paths::open(&real, &hidden).into_iter().collect())
}

const HIDDEN: &str = "leads to what no package may reach";

fn is_hidden(path: &Path, hidden: &[PathBuf]) -> bool {
    hidden.iter().any(|hidden| path.starts_with(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_lead_neither_into_the_runtime_nor_to_passwords_nor_into_the_kernel() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for name in ["data/packages/x", "data/tmp/x", "data/packages/y", "shared"] {
            fs::create_dir_all(top.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(top.join("data"), top.join("link")).unwrap();
        let mut hidden = vec![top.join("data")];
        hidden.extend(paths::secrets());
        let places = Places {
            root: &top.join("data/packages/x"),
            temporary: &top.join("data/tmp/x"),
            hidden: &hidden,
        };
        let asked = |read: &[&str], write: &[&str]| {
            let texts = |all: &[&str]| -> Vec<String> {
                all.iter().map(|text| text.replace('~', &top.to_string_lossy())).collect()
            };
            let permissions =
                Permissions { fs_read: texts(read), fs_write: texts(write), ..Permissions::default() };
            super::paths(&permissions, &places)
        };
        for path in
            ["~/data", "~/data/packages/y", "~/link", "~/data/not-there", "~/shared/../data", "/etc/shadow"]
        {
            assert!(asked(&[path], &[]).is_err(), "{path}");
            assert!(asked(&[], &[path]).is_err(), "{path}");
        }
        for path in ["../y", "a/../../y", "/proc", "/sys/kernel", "/dev"] {
            assert!(asked(&[], &[path]).is_err(), "{path}");
        }
        let granted = asked(&["~", "models"], &["~/shared", "cache", "~/nowhere"]).unwrap();
        assert_eq!(
            granted,
            [
                Grant::new(top.join("shared"), Access::Read),
                Grant::new(top.join("data/packages/x/models"), Access::Read),
                Grant::new(top.join("shared"), Access::Write),
                Grant::new(top.join("data/tmp/x/cache"), Access::Write),
            ],
            "what is hidden is left out of what contains it"
        );
        assert!(top.join("data/tmp/x/cache").is_dir());
        let all = asked(&["/"], &[]).unwrap();
        for never in ["/", "/dev", "/proc", "/sys", "/etc", "/etc/shadow"] {
            assert!(!all.iter().any(|grant| grant.path == Path::new(never)), "{never}");
        }
    }

    #[test]
    fn whoever_lists_ports_may_resolve_names() {
        let ports = |connect: Option<Vec<u16>>| {
            network(&Permissions { net_connect: connect, ..Permissions::default() }).connect
        };
        assert_eq!(ports(None), None);
        assert_eq!(ports(Some(vec![])), Some(vec![]), "none is none");
        assert_eq!(ports(Some(vec![443])), Some(vec![443, 53]));
    }
}
