//! What one process of a package may hold.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::cage::Mark;

/// Open files of one process. A worker needs a dozen; an async agent with a thousand calls in flight needs
/// three connections for each of them. Twice would let one package take half of what a small host has.
const DESCRIPTORS: u64 = 4096;

/// Processes and threads of the whole user, agents of all packages and the runtime's own included: half of
/// what Linux numbers by default, so that the rest of the host goes on. It counts per user, so it cannot be
/// the limit of one package, and it does not bind the superuser.
const PROCESSES_OF_THE_USER: u64 = 16_384;

/// What a process may write when it crashes: less than any image of its memory has, which would hold what it was told.
/// Not zero: where the host gives images to a program, only one byte says that there is none. Source: the kernel's
/// `fs/coredump.c`.
const CORE_BYTES: u64 = 1;

/// The limits of a process, set between fork and exec and inherited from then on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest file.
    pub(super) file_bytes: u64,
    /// What the package's processes are counted by.
    pub(super) mark: Option<Mark>,
}

impl Limits {
    /// Sets them for the calling process. Allocates nothing.
    pub(super) fn set(self) -> io::Result<()> {
        let mark = self.mark.map(|mark| (Resource::Msgqueue, mark.bytes()));
        let limits = [
            (Resource::Core, CORE_BYTES),
            (Resource::Fsize, self.file_bytes),
            (Resource::Nofile, DESCRIPTORS),
            (Resource::Nproc, PROCESSES_OF_THE_USER),
        ];
        for (resource, most) in limits.into_iter().chain(mark) {
            // What is stricter already stays so, and nobody may raise it.
            let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(())
    }
}
