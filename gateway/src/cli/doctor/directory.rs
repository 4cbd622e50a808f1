//! Whether a directory can hold what survives a restart: written, locked, mapped, with room, on this machine.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock, statfs, statvfs},
    process::geteuid,
};

use super::{checked::Check, kernel::size};
use crate::meter;

/// Below this a start cannot even keep its records of usage and unpack a small package.
const LEAST_ROOM: u64 = 64 << 20;

/// Below this many files an environment of pandas (12,000 files) has no room.
const LEAST_FILES: u64 = 20_000;

/// File systems that are reached over a network, by their magic numbers (statfs(2)).
const REMOTE: [(u64, &str); 9] = [
    (0x6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb"),
    (0x517B, "smb"),
    (0x00C3_6400, "ceph"),
    (0x0BD0_0BD0, "lustre"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "afs"),
    (0x4750_4653, "gpfs"),
];

/// What was found.
#[derive(Debug)]
struct Found {
    /// Itself, or the nearest above it that is there.
    place: PathBuf,
    /// Whether that is the directory itself.
    is_there: bool,
    /// Who may use it: the owner and permissions of what is there.
    owner: u32,
    mode: u32,
    /// What a network file system it is on.
    remote: Option<&'static str>,
    /// The first thing that could not be done.
    tried: Result<(), (&'static str, io::Error)>,
    /// Bytes and files that may still be written.
    room: u64,
    files: u64,
}

/// Looks at a directory. `wanted`: bytes that the configuration lets it grow by.
pub(super) fn check(name: &'static str, variable: &'static str, directory: &Path, wanted: u64) -> Check {
    match probe(directory) {
        Ok(found) => judge(name, variable, &found, wanted, geteuid().as_raw()),
        Err(error) => Check::failed(
            name,
            format!("{}: {error}", directory.display()),
            format!("set {variable} to a directory that can be made"),
        ),
    }
}

fn probe(directory: &Path) -> io::Result<Found> {
    let place = directory.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let about = fs::metadata(place)?;
    if !about.is_dir() {
        return Err(io::Error::other(format!("{} is no directory", place.display())));
    }
    let kind = statfs(place)?.f_type as u64;
    let room = statvfs(place)?;
    Ok(Found {
        is_there: place == directory,
        owner: about.uid(),
        mode: about.mode() & 0o777,
        // The number may be kept with a sign.
        remote: REMOTE.iter().find(|(magic, _)| *magic == kind & 0xFFFF_FFFF).map(|(_, name)| *name),
        tried: attempt(place),
        room: room.f_bavail.saturating_mul(room.f_frsize),
        // File systems that make files as they are needed tell of none.
        files: if room.f_files == 0 { u64::MAX } else { room.f_favail },
        place: place.to_path_buf(),
    })
}

/// Does what a data directory is for, and leaves nothing.
fn attempt(place: &Path) -> Result<(), (&'static str, io::Error)> {
    let scratch = tempfile::Builder::new().prefix(".par-doctor-").tempdir_in(place);
    let scratch = scratch.map_err(|error| ("written", error))?;
    locks(&scratch.path().join("lock")).map_err(|error| ("locked", error))?;
    meter::attempt(scratch.path()).map_err(|error| ("mapped to memory", error))
}

fn locks(file: &Path) -> io::Result<()> {
    let (first, second) = (fs::File::create(file)?, fs::File::open(file)?);
    flock(&first, FlockOperation::NonBlockingLockExclusive)?;
    match flock(&second, FlockOperation::NonBlockingLockExclusive) {
        Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(io::Error::other("two may hold one lock")),
    }
}

/// Pure. `me`: the user that asks.
fn judge(name: &str, variable: &str, found: &Found, wanted: u64, me: u32) -> Check {
    let place = found.place.display();
    let elsewhere = format!("set {variable} to a directory on a local disk that this user may write");
    if let Err((what, error)) = &found.tried {
        let found = format!("{place} cannot be {what}: {error}");
        return Check::failed(name, found, elsewhere);
    }
    let room = format!("{} free", size(found.room));
    if found.room < LEAST_ROOM || found.files < LEAST_FILES {
        let files =
            if found.files < LEAST_FILES { format!(", {} files", found.files) } else { String::new() };
        return Check::failed(name, format!("{place}: {room}{files}"), format!("free some, or {elsewhere}"));
    }
    if found.is_there && found.owner != me {
        return Check::failed(
            name,
            format!("{place} belongs to user {}, par would run as {me}", found.owner),
            format!("run par as its owner, chown it, or {elsewhere}"),
        );
    }
    if let Some(kind) = found.remote {
        let text = format!("{place} is on a network file system ({kind})");
        return Check::warning(
            name,
            text,
            format!("{elsewhere}: mapped records and locks are not safe on it"),
        );
    }
    if found.room < wanted {
        return Check::warning(
            name,
            format!("{place}: {room}, and {} may be used", size(wanted)),
            "free some, or lower MAX_CACHE_SIZE_MB and metering.journal_bytes",
        );
    }
    if found.is_there && found.mode & 0o022 != 0 {
        let text = format!("others may write to {place} (mode {:03o})", found.mode);
        return Check::warning(name, text, "chmod 700; par does so at its start");
    }
    let made = if found.is_there { "" } else { " (the rest will be made)" };
    Check::ok(name, format!("{place}{made}: written, locked and mapped; {room}"))
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    const ME: u32 = 1000;

    fn good() -> Found {
        Found {
            place: "/data".into(),
            is_there: true,
            owner: ME,
            mode: 0o700,
            remote: None,
            tried: Ok(()),
            room: 10 << 30,
            files: u64::MAX,
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_directory_is_told_with_its_cure() {
        let judged = |found: &Found| judge("data directory", "PAR_DATA_DIR", found, 1 << 30, ME);
        assert_eq!(judged(&good()).verdict, Verdict::Ok);
        assert_eq!(judged(&Found { is_there: false, owner: 0, mode: 0o755, ..good() }).verdict, Verdict::Ok);
        let refused = Err(("written", io::ErrorKind::PermissionDenied.into()));
        for (found, wanted, part) in [
            (Found { tried: refused, ..good() }, Verdict::Failed, "cannot be written"),
            (Found { room: 1 << 20, ..good() }, Verdict::Failed, "1 MiB free"),
            (Found { files: 10, ..good() }, Verdict::Failed, "10 files"),
            (Found { owner: 0, ..good() }, Verdict::Failed, "belongs to user 0"),
            (Found { remote: Some("nfs"), ..good() }, Verdict::Warning, "(nfs)"),
            (Found { room: 512 << 20, ..good() }, Verdict::Warning, "1.0 GiB may be used"),
            (Found { mode: 0o777, ..good() }, Verdict::Warning, "mode 777"),
        ] {
            let judged = judged(&found);
            assert!(judged.verdict == wanted && judged.found.contains(part), "{judged:?}");
            assert!(judged.remedy.is_some());
        }
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_tried_where_it_would_be_made_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let check = check("data directory", "PAR_DATA_DIR", &root.path().join("a/b"), 0);
        assert_eq!(check.verdict, Verdict::Ok, "{check:?}");
        assert!(check.found.contains("will be made"), "{check:?}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::write(root.path().join("file"), "").unwrap();
        let check = super::check("data directory", "PAR_DATA_DIR", &root.path().join("file/b"), 0);
        assert_eq!(check.verdict, Verdict::Failed, "{check:?}");
    }
}
