//! What of this host a package may see: lists of paths, and the largest subtrees of a path that lead to
//! nothing hidden.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What may be done below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read, and run programs.
    Run,
    /// Read.
    Read,
    /// Read files whose names one knows; no listing.
    Known,
    /// Read, write and control a device.
    Device,
    /// Make, read, write and remove files whose names one knows; no listing.
    Share,
    /// Everything but making devices.
    Write,
}

/// One path with what may be done below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) path: PathBuf,
    pub(super) access: Access,
}

impl Grant {
    pub(super) fn new(path: impl Into<PathBuf>, access: Access) -> Self {
        Self { path: path.into(), access }
    }
}

/// Programs and libraries of the host.
const PROGRAMS: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];

/// What of `/etc` programs read: the linker, names, users, time, certificates, languages, fonts.
const ETC: [&str; 50] = [
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ld.so.preload",
    "ld-musl-x86_64.path",
    "ld-musl-aarch64.path",
    "nsswitch.conf",
    "hosts",
    "host.conf",
    "hostname",
    "resolv.conf",
    "gai.conf",
    "networks",
    "protocols",
    "services",
    "rpc",
    "passwd",
    "group",
    "localtime",
    "timezone",
    "adjtime",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/ca-bundle.pem",
    "ssl/openssl.cnf",
    "ca-certificates",
    "ca-certificates.conf",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust/extracted",
    "crypto-policies",
    "mime.types",
    "magic",
    "magic.mime",
    "os-release",
    "lsb-release",
    "debian_version",
    "redhat-release",
    "alpine-release",
    "fonts",
    "locale.alias",
    "locale.conf",
    "default/locale",
    "inputrc",
    "terminfo",
    "alternatives",
    "ImageMagick-6",
    "OpenCL",
    "vulkan",
];

/// What no permission opens: passwords, keys, and who may become whom.
const SECRETS: [&str; 11] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/krb5.keytab",
    "/etc/security/opasswd",
];

/// File systems of the kernel: what is open of them is named one by one.
pub(super) const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Devices without content of their own. No terminals: an agent has nothing to say on the operator's.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Beginnings of the names of devices that compute.
const ACCELERATORS: [&str; 4] = ["nvidia", "kfd", "dri", "accel"];

/// Facts about the machine that libraries of mathematics and allocators ask for.
const MACHINE: [&str; 3] = ["/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"];

/// What every package may see, as far as it exists here. `hidden` is left out.
pub(super) fn system(hidden: &[PathBuf]) -> Vec<Grant> {
    let opened = |path: &str, access| {
        let found = open(Path::new(path), hidden);
        found.into_iter().map(move |path| Grant { path, access })
    };
    let mut grants: Vec<Grant> = PROGRAMS.iter().flat_map(|path| opened(path, Access::Run)).collect();
    grants.extend(ETC.iter().flat_map(|name| opened(&format!("/etc/{name}"), Access::Read)));
    // As a whole: a fork's own directory there has a number that nobody knows before. What of another process
    // lies below it is refused by the check that tracing would meet; its names, numbers and `net` are not.
    grants.push(Grant::new("/proc", Access::Read));
    grants.extend(DEVICES.map(|path| Grant::new(path, Access::Device)));
    // Locks and shared arrays of `multiprocessing`: random names, which other packages cannot list.
    grants.push(Grant::new("/dev/shm", Access::Share));
    let accelerators = accelerators(Path::new("/dev"));
    if accelerators.is_empty() {
        grants.extend(MACHINE.map(|path| Grant::new(path, Access::Read)));
    } else {
        grants.push(Grant::new("/sys", Access::Read));
        grants.extend(accelerators.into_iter().map(|path| Grant::new(path, Access::Device)));
    }
    grants
}

fn accelerators(devices: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(devices).into_iter().flatten().flatten();
    let computes = |name: &str| ACCELERATORS.iter().any(|beginning| name.starts_with(beginning));
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(computes))
        .map(|entry| entry.path())
        .collect()
}

/// What no grant of ours, of the operator or of a manifest opens, beside what the runtime hides.
pub(super) fn secrets() -> impl Iterator<Item = PathBuf> {
    SECRETS.iter().map(PathBuf::from)
}

/// The largest subtrees of `path` that lead to nothing hidden: the path itself, or on the way to what is
/// hidden every sibling by itself, since Landlock only grants. Links among the siblings are left out: where
/// they lead is granted by itself or not at all. Nothing if the path does not exist or is hidden.
pub(super) fn open(path: &Path, hidden: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    if let Ok(path) = path.canonicalize() {
        walk(&path, hidden, &mut found);
    }
    found
}

fn walk(path: &Path, hidden: &[PathBuf], found: &mut BTreeSet<PathBuf>) {
    if hidden.iter().any(|hidden| path.starts_with(hidden)) {
        return;
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(path)) {
        found.insert(path.to_path_buf());
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            walk(&entry.path(), hidden, found);
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
        for name in ["a/secret/deep", "a/open", "b"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(top.join("a/secret"), top.join("a/link")).unwrap();
        let hidden = [top.join("a/secret")];
        let granted = open(&top, &hidden);
        assert_eq!(
            granted,
            BTreeSet::from([top.join("a/open"), top.join("b")]),
            "no link leads there either"
        );
        assert_eq!(open(&top.join("a/secret/deep"), &hidden), BTreeSet::new());
        assert_eq!(open(&top.join("a/link"), &hidden), BTreeSet::new());
        assert_eq!(open(&top.join("b"), &hidden), BTreeSet::from([top.join("b")]));
        assert_eq!(open(&top.join("missing"), &hidden), BTreeSet::new());
    }

    #[test]
    fn the_list_of_the_host_has_no_home_no_password_and_no_socket() {
        let hidden: Vec<PathBuf> = secrets().collect();
        let grants = system(&hidden);
        for never in ["/root", "/home", "/tmp", "/var", "/run", "/etc", "/dev", "/mnt", "/srv", "/"] {
            assert!(!grants.iter().any(|grant| grant.path == Path::new(never)), "{never}");
        }
        for secret in &hidden {
            assert!(!grants.iter().any(|grant| secret.starts_with(&grant.path)), "{}", secret.display());
        }
        assert!(grants.iter().all(|grant| grant.access != Access::Write), "nothing of the host is writable");
        assert!(grants.contains(&Grant::new("/usr", Access::Run)));
    }
}
